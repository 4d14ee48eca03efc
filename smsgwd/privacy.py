"""What may be shown of a number, and how a foreign text is cleaned before we repeat it."""

import re
from collections.abc import Iterable

from smsgwd.secret import MASK, SHORT_SECRET, Secret

MAX_QUOTE = 200  # characters of a provider's words that an outcome repeats
_SHORTEST_TO_SHOW = 10  # below it the first five and the last two would be nearly all of the number
_DIGIT_RUN = re.compile(r"\+?\d(?:[\s()./-]{0,2}\d){5,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def mask_number(number: str) -> str:
    """The first five characters, five stars, the last two; of a short one the last two alone."""
    if len(number) < _SHORTEST_TO_SHOW:
        return "*****" + number[-2:] if len(number) > 4 else "*****"
    return f"{number[:5]}*****{number[-2:]}"


def hide_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret of four characters and more replaced by `***`, the longest first."""
    values = {secret.reveal() for secret in secrets}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORT_SECRET:
            text = text.replace(value, MASK)
    return text


def scrub(quote: str, *, hidden: Iterable[str], secrets: Iterable[Secret]) -> str:
    """A provider's words, fit to be shown: one line of 200 characters, without secrets, numbers and texts.

    `hidden` are the texts of the message (its text, variables, the number in all its forms). Any run of six digits and
    more is masked, because a provider may echo a number or a code in a form of its own.
    """
    quote = hide_secrets(quote, secrets)
    for value in sorted(set(hidden), key=len, reverse=True):
        if len(value) >= SHORT_SECRET:
            quote = quote.replace(value, MASK)
    quote = _DIGIT_RUN.sub(MASK, quote)
    quote = _CONTROL.sub(" ", quote).strip()
    return quote if len(quote) <= MAX_QUOTE else quote[: MAX_QUOTE - 1] + "…"
