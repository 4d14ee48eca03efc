"""What may be shown of a number, and how a foreign text is cleaned before we repeat it."""

import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from smsgwd.secret import MASK, SHORT_SECRET, Secret

MAX_QUOTE = 200  # characters of a provider's words that an outcome repeats
_MAX_READ = 4_096  # characters of them that are looked at: far more than is shown, and quickly done
_PIECE = 10  # characters: shorter pieces of a text are common words, which an answer may need
_SHORTEST_TO_SHOW = 10  # below it the first five and the last two would be nearly all of the number
_DIGIT_RUN = re.compile(r"\+?\d(?:[\s()./-]{0,2}\d){5,}")
_TELLING = 7  # digits at the end of a number that tell it, whatever stands before them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_WORD, _DIGIT = re.compile(r"\w+"), re.compile(r"\d")
_PERCENT = re.compile(r"%[0-9A-F]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def mask_number(number: str) -> str:
    """The first five characters, five stars, the last two; of a short one the last two alone."""
    if len(number) < _SHORTEST_TO_SHOW:
        return "*****" + number[-2:] if len(number) > 4 else "*****"
    return f"{number[:5]}*****{number[-2:]}"


def quotable(name: str) -> str:
    """A name that a caller made up, in backquotes and with a blank before it; empty where it may be something else.

    What has six digits in a row may be a number or a code, what is no possible name a text.
    """
    return f" `{name}`" if _NAME.fullmatch(name) and not _DIGIT_RUN.search(name) else ""


def repeats(words: str, *, texts: Iterable[str], number: str) -> bool:
    """Whether the words hold one of these texts or codes, a longer piece of a text, or the number however written."""
    digits = _digits(number)[-_TELLING:]
    if words == number or (len(digits) == _TELLING and digits in _digits(words)):
        return True
    pieces = {words[at : at + _PIECE] for at in range(len(words) - _PIECE + 1)}
    return any(_echoes(words, pieces, text) for text in texts if text)


def _echoes(words: str, pieces: Iterable[str], text: str) -> bool:
    return words == text or (len(text) >= SHORT_SECRET and text in words) or any(piece in text for piece in pieces)


def codes_in(text: str) -> list[str]:
    """The words of a text that have a digit: any may be a one-time password."""
    return [word for word in _WORD.findall(text) if _DIGIT.search(word)]


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def hide_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret of four characters and more replaced by `***`, the longest first."""
    return _without(text, (secret.reveal() for secret in secrets))


def _without(text: str, values: Iterable[str]) -> str:
    # no form of a value is shorter than the value
    forms = {form for value in values if SHORT_SECRET <= len(value) <= len(text) for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(value: str) -> set[str]:
    """How an answer may repeat a value: as it is, or as a URL, JSON or markup writes it, also inside JSON again."""
    if value.isascii() and value.isalnum():
        return {value}
    octets = value.encode("utf-8", "surrogatepass")
    forms = {
        value,
        html.escape(value),
        quote(octets, safe=""),
        quote(octets),
        quote_plus(octets),
        json.dumps(value)[1:-1],
    }
    forms |= {_PERCENT.sub(lambda found: found[0].lower(), form) for form in forms}
    forms |= {form.replace("/", "\\/") for form in forms}
    return forms | {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}


def _without_parts(words: str, values: Iterable[str]) -> str:
    """The words without the longer pieces of a value: a provider may have cut what it repeats."""
    forms = {form for value in values for form in _forms(value)}
    pieces = {form[at : at + _PIECE] for form in forms for at in range(len(form) - _PIECE + 1)}
    shown, at = "", 0
    while at < len(words):
        end = at
        while words[end : end + _PIECE] in pieces:
            end += 1
        shown += MASK if end > at else words[at]
        at = end + _PIECE - 1 if end > at else at + 1
    return shown


def scrub(words: str, *, hidden: Iterable[str], secrets: Iterable[Secret]) -> str:
    """A provider's words, fit to be shown: one line of 200 characters, without secrets, numbers and texts.

    `hidden` are the texts of the message (its text, variables, the number in all its forms). Any run of six digits and
    more is masked, because a provider may echo a number or a code in a form of its own.
    """
    if not words:
        return ""
    values = [*hidden, *(secret.reveal() for secret in secrets)]
    words = _without_parts(_without(words[:_MAX_READ], values), values)
    words = _DIGIT_RUN.sub(MASK, words)
    words = _CONTROL.sub(" ", words).strip()
    return words if len(words) <= MAX_QUOTE else words[: MAX_QUOTE - 1] + "…"
