"""Texts that cost more than they have to, and templates that will be refused."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from smsgwd import schema, segments
from smsgwd.credentials import expressions, names_read
from smsgwd.errors import MessageError, Problem, Severity
from smsgwd.load import Path, Source
from smsgwd.message import Message, Recipient
from smsgwd.providers._base import Prepared
from smsgwd.registry import Gateway, Served, TextTemplate, Variable

_MESSAGE = frozenset({"message", "otp"})
# What editors put in the place of what was typed. What Unicode decomposes by itself (an ellipsis, say) needs no entry.
_PLAIN = {
    **dict.fromkeys("`\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    **dict.fromkeys("\u2022\u00b7\u2023\u25e6", "*"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    **dict.fromkeys("\u2028\u2029\x0b\x0c", "a line break"),
    "\t": "a space",
    "\u2039": "<",
    "\u203a": ">",
    "\u00d7": "x",
    "\u2192": "->",
    "\u2190": "<-",
    "\u00a9": "(c)",
    "\u00ae": "(R)",
}
_SAMPLES = ("", "0", "a", "123456", "+491701234567", "00491701234567")
_LONG = 2000  # characters: what a variable without max_length may well hold
_WIDEST = {"digits": "0", "gsm7": "€", "any": "😀"}  # what takes the most room
_CODE = "12345678"
_TO = Recipient("+491701234567", "+491701234567", "+491701234567")


# --- UCS-2 -----------------------------------------------------------------------------------------------------------


def costly(source: Source, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Texts that need UCS-2 because of a character that has a cheap replacement."""
    settings = data.get("settings", {})
    if settings.get("data_coding", "auto") != "auto":
        return  # the alphabet does not follow from the text
    for path, text in _texts(data):
        if not segments.is_gsm7(text):
            yield from _replaceable(source, path, text)


def _texts(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """What recipients read: the templates, and the settings that put something around a message."""
    for name, template in data.get("templates", {}).items():
        yield ("templates", name, "text"), template["text"]
    settings = data.get("settings", {})
    for path, text in schema.template_leaves(data.get("provider", ""), settings):
        if _MESSAGE & names_read(text):
            yield ("settings", *path), text


def _replaceable(source: Source, path: Path, text: str) -> Iterator[Problem]:
    """A warning for each such character, when without them the text would be in the GSM alphabet."""
    literal = _literal(text)
    odd = {one: index for index, one in reversed(list(enumerate(literal))) if not segments.is_gsm7(one)}
    plain = {one: _plainer(literal, index) for one, index in odd.items()}
    letters = [one for one in odd if one.isalpha()]
    if None in plain.values() or len(letters) > 1:  # another language, or emoji: meant as it is
        return
    for one, index in sorted(odd.items(), key=lambda item: item[1]):
        name = unicodedata.name(one, "a control character").lower()
        message = f"U+{ord(one):04X} ({name}) makes this text UCS-2: 70 characters to a segment, not 160"
        hint = f"write {plain[one]}" if plain[one] else "delete it: it cannot be seen"
        yield source.problem(path, "ucs2-character", message, hint, offset=index, severity=Severity.WARNING)


def _literal(text: str) -> str:
    """The text with blanks in the place of all that is filled in: offsets stay."""
    pieces, position = [], 0
    for start, end in expressions(text):
        pieces += [text[position:start], " " * (end - start)]
        position = end
    return "".join([*pieces, text[position:]])


def _plainer(text: str, index: int) -> str | None:
    """What the GSM alphabet has for a character of the text; None where it has nothing like it."""
    one = text[index]
    if one in _PLAIN:
        return _PLAIN[one]
    if unicodedata.combining(one):
        whole = unicodedata.normalize("NFC", text[max(index - 1, 0) : index + 1])
        return f"{whole} as one character" if len(whole) == 1 and segments.is_gsm7(whole) else None
    parts = unicodedata.normalize("NFKD", one)
    base = "".join(part for part in parts if not unicodedata.combining(part))
    if base.isspace():
        return "a plain space"
    return base if base and segments.is_gsm7(base) else None


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(source: Source, data: Mapping[str, Any], served: Served) -> Iterator[Problem]:
    """Templates that nobody can render, and those that their own variables can push over max_segments."""
    most = data.get("max_segments") if isinstance(served, Gateway) else None
    for name, template in served.templates.items():
        at: Path = ("templates", name, "text")
        counts = (_count(served, template, values) for values in _fillings(template))
        if not any(count is not None and (most is None or count.segments <= most) for count in counts):
            message = f"nobody can render the template `{name}`: it is refused whatever its variables hold"
            yield source.problem(at, "unrenderable-template", message, _hint(most), severity=Severity.WARNING)
        elif most is not None:
            yield from _too_long(source, served, at, template, most)


def _hint(most: int | None) -> str:
    if most is None:
        return "look at the text, and at the charset of its variables"
    return f"look at the text, at the charset of its variables, and at max_segments, which is {most}"


def _too_long(source: Source, served: Served, at: Path, template: TextTemplate, most: int) -> Iterator[Problem]:
    longest = {name: _longest(variable) for name, variable in template.variables.items()}
    count = _count(served, template, longest)
    if count is None or count.segments <= most:
        return
    unbounded = [f"`{name}`" for name, variable in template.variables.items() if variable.max_length is None]
    if unbounded:
        message = f"{', '.join(unbounded)} may be of any length, but max_segments is {most}"
        hint = "give a max_length, or cut the value: {{ NAME | truncate(40) }}"
    else:
        message = (
            f"with the longest variables it is {count.segments} segments ({count.encoding}), but max_segments is {most}"
        )
        hint = "shorten max_length, narrow the charset, or raise max_segments"
    yield source.problem(at, "may-exceed-segments", message, hint, severity=Severity.WARNING)


def _count(served: Served, template: TextTemplate, values: Mapping[str, str]) -> segments.Count | None:
    """How long the message is with these values; None where it is refused."""
    try:
        text = template.template.render({**values, "otp": _CODE})
        if not text:
            return None
        if not isinstance(served, Gateway):
            return segments.count(text)
        variables = {name: values.get(name, "") for name in served.variables}
        prepared: Prepared = served.provider.render(Message(_TO, text, served.sender, vars=variables))
        return prepared.count()
    except (MessageError, segments.EncodingError):
        return None


def _fillings(template: TextTemplate) -> Iterator[Mapping[str, str]]:
    """Values that a caller could give, the same for each variable as far as it may hold them."""
    allowed = {name: _allowed(variable) for name, variable in template.variables.items()}
    for sample in _SAMPLES if allowed else ("",):
        yield {name: sample if sample in values else values[-1] for name, values in allowed.items()}


def _allowed(variable: Variable) -> list[str]:
    """Those samples that a variable may hold, and one that it may hold in any case."""
    short = [sample for sample in _SAMPLES if variable.max_length is None or len(sample) <= variable.max_length]
    if variable.charset == "digits":
        return [sample for sample in short if sample.isdigit()]
    return short


def _longest(variable: Variable) -> str:
    return _WIDEST[variable.charset] * (_LONG if variable.max_length is None else variable.max_length)
