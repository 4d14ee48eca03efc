"""Writes into a gateway file what its tests came to: the rest of the file, comments included, stays as it is."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from smsgwd import schema
from smsgwd.cases import ABSENT, Difference, Result
from smsgwd.dump import dump
from smsgwd.load import Mapping as MappingNode
from smsgwd.load import Node, Scalar, Source

_BLANKS = re.compile(r"[ \t]*\Z")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "none"}  # of YAML 1.1, in any case
# What a single-quoted text on one line cannot hold.
_NOT_SINGLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_FILLED = ("segments", "encoding", "request")  # what `{}` becomes where nothing answers
_FILLED_AFTER_REPLY = ("outcome", "reason", "message_ids")


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def can_be_written(found: Difference) -> bool:
    """Whether there is something to write: a key that is expected, and not there, has to be removed by hand."""
    return found.actual is not ABSENT


def updated(source: Source, results: Iterable[Result]) -> str:
    """The text of the file with each expected value that differs replaced by what came."""
    edits = [
        _filled_in(source, found) if found.path[2:] == ("expect",) else _edit(source, found)
        for result in results
        for found in result.differences
        if can_be_written(found)
    ]
    text = source.text
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def same_but_expectations(one: Source, other: Source) -> bool:
    """Whether two files say the same but for what their tests expect."""
    return not other.problems and _without_expectations(one) == _without_expectations(other)


def _without_expectations(source: Source) -> Any:
    data, problems = schema.check_gateway(source)
    tests = [{key: part for key, part in test.items() if key != "expect"} for test in (data or {}).get("tests", [])]
    return {**(data or {}), "tests": tests}, [problem.code for problem in problems]


def _edit(source: Source, found: Difference) -> _Edit:
    """A value in the place of another, in its style."""
    node = source.node(found.path)
    if node is None:
        raise KeyError(found.path)
    end = node.end
    if isinstance(node, Scalar) and node.style in {"|", ">"}:  # the value ends with its last line break
        end -= len(source.text[node.start : end]) - len(source.text[node.start : end].rstrip("\r\n"))
    return _Edit(node.start, end, _written(found.actual, _style(node)))


def _style(node: Node) -> str:
    return node.style if isinstance(node, Scalar) else '"'


def _written(value: Any, style: str = '"') -> str:
    """A value on one line, as it may stand in braces, too; texts in this style where it can hold them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_written(key, '')}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return _text(value, style)
    return _dumped(value)


def _text(text: str, style: str) -> str:
    if not style and _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if style == "'" and not _NOT_SINGLE.search(text):
        return "'" + text.replace("'", "''") + "'"
    written = _dumped(text)
    return written if written.startswith(('"', "'")) else f'"{written}"'


def _dumped(value: Any) -> str:
    return dump({"x": value}).removeprefix("x: ").removesuffix("\n")


def _filled_in(source: Source, found: Difference) -> _Edit:
    """The whole expectation in the place of `{}`: in braces where the test is, else on lines of its own."""
    test, node = source.node(found.path[:2]), source.node(found.path)
    if not isinstance(test, MappingNode) or not isinstance(node, MappingNode):
        raise KeyError(found.path)
    value = dict(_worth_expecting(found.actual))
    if test.flow:
        return _Edit(node.start, node.end, _written(value))
    indent = " " * (source.position(found.path, key=True)[1] - 1)
    line_break = "\r\n" if "\r\n" in source.text else "\n"
    lines = dump({"expect": value}).splitlines()[1:]
    blanks = _BLANKS.search(source.text, 0, node.start)
    start = blanks.start() if blanks else node.start
    return _Edit(start, node.end, "".join(f"{line_break}{indent}{line}" for line in lines))


def _worth_expecting(actual: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Less what is another one everywhere: header fields name versions."""
    for key in _FILLED_AFTER_REPLY if "outcome" in actual else _FILLED:
        value = actual.get(key)
        if key == "request":
            yield (
                key,
                {name: part for name, part in actual[key].items() if name != "headers" and part not in (None, {})},
            )
        elif value is not None and value != []:
            yield key, value
