"""Rules that make another number of a number, or let no number pass."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from smsgwd.errors import MessageError, Problem, Severity
from smsgwd.load import Source
from smsgwd.msisdn import DIGITS, INTERNATIONAL, NATIONAL, VERBATIM, PhoneRules
from smsgwd.registry import Gateway

_DIGITS = re.compile(r"[0-9]+")
_TWO = re.compile(r"[0-9]\+")  # a number inside of a number


class _Number(NamedTuple):
    """A mobile number in its parts (E.164); `trunk` is dialled before the number inside the country."""

    region: str
    country: str
    national: str
    trunk: str = "0"

    def formatted(self, style: str) -> str:
        """As `phone.format` writes it."""
        whole = self.country + self.national
        return {DIGITS: whole, INTERNATIONAL: "00" + whole, NATIONAL: self.trunk + self.national}.get(
            style, "+" + whole
        )

    def survives_in(self, text: str) -> bool:
        """Whether a text still holds this number: with its country code, `00` or `011` before it, or nationally."""
        heads = {self.country, f"00{self.country}", f"011{self.country}", self.trunk, "0", ""}
        if _TWO.search(text):
            return False
        return any(run in {head + self.national for head in heads} for run in _DIGITS.findall(text))


# One of each shape: with and without a trunk prefix, country codes of one to three digits, a leading zero in Italy.
_NUMBERS = (
    _Number("DE", "49", "1701234567"),
    _Number("AT", "43", "6641234567"),
    _Number("CH", "41", "781234567"),
    _Number("GB", "44", "7400123456"),
    _Number("FR", "33", "612345678"),
    _Number("IT", "39", "3123456789", ""),
    _Number("US", "1", "2015550123", ""),
    _Number("FI", "358", "412345678"),
)


def broken(source: Source, rules: PhoneRules) -> Iterator[Problem]:
    """A warning when the rules as a whole destroy one of the numbers, each given as its country's own gateway would."""
    if not rules.rewrite:
        return
    for number in _NUMBERS:
        if rules.format == NATIONAL and number.region != rules.region:
            continue  # is refused before it is rewritten
        before = number.formatted(rules.format)
        after = _rewritten(before, rules)
        if after is None or not number.survives_in(after):
            what = f"`{before}` would go out as `{after}`" if after is not None else f"nothing is left of `{before}`"
            hint = "choose the `format` that the provider wants, or anchor the rules: they see what `format` yields"
            yield source.problem(
                ("phone", "rewrite"),
                "rewrite-breaks-number",
                f"these rules destroy numbers: {what}",
                hint,
                on_key=True,
                severity=Severity.WARNING,
            )
            return


def _rewritten(number: str, rules: PhoneRules) -> str | None:
    try:
        for rule in rules.rewrite:
            number = rule.apply(number)
    except MessageError:
        return None
    return number


def refused(source: Source, gateway: Gateway) -> Iterator[Problem]:
    """A warning where limits ask for the country or type of numbers, and the gateway reads none."""
    if gateway.phone.format != VERBATIM:
        return
    for limit, choice in (("countries", gateway.limits.countries), ("number_types", gateway.limits.number_types)):
        if choice is not None:
            message = f"`{limit}` refuses every number here: `phone.format: verbatim` reads none"
            hint = "choose another `phone.format`, or leave this limit out"
            yield source.problem(
                ("limits", limit), "refuses-all", message, hint, on_key=True, severity=Severity.WARNING
            )
