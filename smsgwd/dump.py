"""Writes data as a YAML file that `load` and every other reader of YAML 1.1 and 1.2 take for the same.

The inverse of `load`: mappings in the order of their keys, block style, text quoted wherever a reader could guess a
type. PyYAML's own writer folds long lines and quotes by rules of its own; a file that people review should do neither.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(?:[ ,]+[A-Za-z0-9_./@(-][A-Za-z0-9_./@()-]*)*", re.ASCII)
_DURATION = re.compile(r"[0-9]+(?:ms|s|m|h)", re.ASCII)
_NOT_IN_FLOW = re.compile(r"[,()]")
_WIDTH = 100
_SHORT = 3  # items of a collection that stands on one line; of one at the top level a single one
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"}  # of YAML 1.1, in any case
# What double quotes hold as an escape: what YAML 1.1, 5.1, allows nowhere else, line breaks, and the BOM.
_ESCAPED = re.compile(
    '["\\\\]|[^\x20-\x7e\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]'
)
_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}


def dump(data: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """The file, with comments at its top, each of one line or several.

    Half of a surrogate pair is no text: it stays as it is, and encoding the file raises UnicodeEncodeError.
    """
    head = [f"# {_on_one_line(line)}".rstrip() for comment in comments for line in comment.split("\n")]
    return "\n".join([*head, *_mapping(data, 0)]) + "\n"


def entry_lines(key: str, value: Any, *, top: bool) -> list[str]:
    """A key and its value, as `dump` writes them; `top`: at the top level of a file."""
    depth = 0 if top else 1
    return [line[2 * depth :] for line in _entry(f"{'  ' * depth}{_text(key)}:", value, depth + 1)]


def block_lines(value: Mapping[str, Any] | list[Any]) -> list[str]:
    """A collection that is not empty, below the top level, as `dump` writes it."""
    lines = _sequence(value, 1) if isinstance(value, list) else _mapping(value, 1)
    return [line[2:] for line in lines]


def inline(value: Any) -> str | None:
    """A value on one line, as `dump` writes it; None for one that it would write on several."""
    return _flow(value) if _is_short(value, 2) else None


def _on_one_line(comment: str) -> str:
    return _ESCAPED.sub(lambda found: found[0] if found[0] in '"\\' else _escape(found), comment)


def _mapping(data: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{'  ' * depth}{_text(key)}:", value, depth + 1)


def _sequence(data: list[Any], depth: int) -> Iterator[str]:
    for value in data:
        yield from _entry(f"{'  ' * depth}-", value, depth + 1)


def _entry(head: str, value: Any, depth: int) -> Iterator[str]:
    """A value after its key or dash: on the same line if it is short, else below; after a dash it begins beside it."""
    inline = f"{head} {_flow(value)}" if _is_short(value, depth) else ""
    if inline and (not isinstance(value, dict | list) or not value or len(inline) <= _WIDTH):
        yield inline
        return
    lines = _mapping(value, depth) if isinstance(value, dict) else _sequence(value, depth)
    yield f"{head} {next(lines).lstrip(' ')}" if head.endswith("-") else head
    yield from lines


def _is_short(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = list(value.values()) if isinstance(value, dict) else value
    return len(items) <= (1 if depth == 1 else _SHORT) and not any(
        item and isinstance(item, dict | list) for item in items
    )


def _flow(value: Any) -> str:
    """A scalar, or a collection of scalars in brackets."""
    if isinstance(value, dict) and value:
        return "{" + ", ".join(f"{_in_flow(key)}: {_in_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list) and value:
        return "[" + ", ".join(map(_in_flow, value)) + "]"
    return _scalar(value)


def _in_flow(value: Any) -> str:
    plain = isinstance(value, str) and not _NOT_IN_FLOW.search(value)
    return _scalar(value) if plain or not isinstance(value, str) else _quoted(value)


def _scalar(value: Any) -> str:
    """A text, a number, true, false or null as JSON writes them, or an empty collection."""
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    plain = _DURATION.fullmatch(text) or (_PLAIN.fullmatch(text) and text.lower() not in _WORDS)
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """In single quotes where double ones would need escapes, unless there is what only double ones can hold."""
    escapes = set(_ESCAPED.findall(text))
    return (
        "'" + text.replace("'", "''") + "'"
        if escapes and escapes <= {"\\", '"'}
        else f'"{_ESCAPED.sub(_escape, text)}"'
    )


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] in _ESCAPES:
        return _ESCAPES[found[0]]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
