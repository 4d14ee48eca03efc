"""`limits`: of either file, and of an access rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from smsgwd import msisdn
from smsgwd.allowance import UNLIMITED, Choice, Limits
from smsgwd.compile.draft import Draft
from smsgwd.providers._base import KeyPath
from smsgwd.units import Pace, parse_pace

AT: KeyPath = ("limits",)


def limits_of(draft: Draft, limits: Mapping[str, Any], at: KeyPath = AT) -> Limits:
    """The limits that stand at this place of the file."""
    if not limits:
        return UNLIMITED
    return Limits(
        rate=pace_of(draft, limits, "rate", at),
        in_flight=limits.get("in_flight"),
        per_recipient=pace_of(draft, limits, "per_recipient", at),
        budget=pace_of(draft, limits, "budget", at),
        countries=_countries(draft, limits, at),
        number_types=_choice(limits.get("number_types")),
    )


def pace_of(draft: Draft, limits: Mapping[str, Any], key: str, within: KeyPath) -> Pace | None:
    """The pace under a key of the mapping that stands at this place; None without one."""
    try:
        return parse_pace(limits[key]) if key in limits else None
    except ValueError as error:
        draft.problem((*within, key), "bad-value", str(error))
        return None


def _countries(draft: Draft, limits: Mapping[str, Any], at: KeyPath) -> Choice | None:
    for kind, names in limits.get("countries", {}).items():
        for index, name in enumerate(names):
            if not msisdn.known_region(name):
                place = (*at, "countries", kind, index)
                draft.problem(place, "unknown-region", f"{name!r} is no region", msisdn.nearest_regions(name))
    return _choice(limits.get("countries"))


def _choice(names: Mapping[str, Sequence[str]] | None) -> Choice | None:
    if names is None:
        return None
    return Choice(frozenset(names.get("allow", names.get("deny", ()))), denied="deny" in names)
