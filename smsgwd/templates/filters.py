"""The filters: on text they do what Jinja's own do, and nothing that they are given makes them fail or grow large."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from smsgwd.errors import MessageError
from smsgwd.msisdn import DIGITS, E164, INTERNATIONAL, NATIONAL
from smsgwd.outcome import Reason
from smsgwd.templates.model import MAX_VALUE, too_long

NUMBER_FILTERS = {E164, DIGITS, NATIONAL, INTERNATIONAL}
_LEEWAY = 5  # of `truncate`: Jinja's default policy
_HTML_UNSAFE = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "'": r"\u0027"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a filter; without a `default` it has to be given. A `literal` one is written out, no name."""

    name: str
    kind: type
    default: Any = ...
    literal: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: `apply` takes the text and a value for each parameter; `check` says what is wrong with literal ones."""

    apply: Callable[..., str]
    parameters: tuple[Parameter, ...] = ()
    check: Callable[..., str | None] = lambda *_: None


def _default(text: str, default_value: str, boolean: bool) -> str:
    return default_value if boolean and not text else text


def _replace(text: str, old: str, new: str, count: int) -> str:
    growth = len(new) - len(old)
    if growth > 0 and len(text) + growth * (text.count(old) if count < 0 else min(count, text.count(old))) > MAX_VALUE:
        raise too_long(MAX_VALUE)
    return text.replace(old, new, count)


def _truncate(text: str, length: int, killwords: bool, end: str, leeway: int) -> str:
    if len(text) <= length + leeway:
        return text
    cut = text[: length - len(end)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def _check_truncate(length: int, _killwords: bool, end: str, _leeway: int) -> str | None:
    return None if length >= len(end) else f"`truncate` to {length} characters has no room for its end, {len(end)} long"


def _tojson(text: str) -> str:
    return json.dumps(text).translate(_HTML_UNSAFE)


def _urlencode(text: str) -> str:
    try:
        return quote(text)
    except UnicodeEncodeError:
        raise MessageError(Reason.CONTENT, "the text holds half of a surrogate pair") from None


FILTERS = {
    "default": Filter(
        _default, (Parameter("default_value", str, "", literal=False), Parameter("boolean", bool, default=False))
    ),
    "replace": Filter(
        _replace,
        (Parameter("old", str, literal=False), Parameter("new", str, literal=False), Parameter("count", int, -1)),
    ),
    "trim": Filter(str.strip, (Parameter("chars", str, None, literal=False),)),
    "upper": Filter(str.upper),
    "lower": Filter(str.lower),
    "truncate": Filter(
        _truncate,
        (
            Parameter("length", int, 255),
            Parameter("killwords", bool, default=False),
            Parameter("end", str, "..."),
            Parameter("leeway", int, _LEEWAY),
        ),
        _check_truncate,
    ),
    "tojson": Filter(_tojson),
    "urlencode": Filter(_urlencode),
}
NAMES = (*FILTERS, *sorted(NUMBER_FILTERS))
