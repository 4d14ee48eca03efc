"""Plain scalars that are text here and something else to readers that go by YAML 1.1 (https://yaml.org/type/).

smsgwd knows from the schema that text is wanted. What else reads these files and writes them anew (Helm, Ansible, yq, a
script) does not: of `NO` it makes `false`, of `0170` 120, of `+491701234567` the same without its plus.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from smsgwd.errors import Problem, Severity
from smsgwd.load import Mapping as MappingNode
from smsgwd.load import Node, Path, Scalar, Sequence, Source, shorten

_BOOLEANS = {
    form: word
    for word, words in {"true": ("yes", "on", "true"), "false": ("no", "off", "false")}.items()
    for one in words
    for form in (one, one.capitalize(), one.upper())
}
_FIRST = frozenset("+-.0123456789")
_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fA-Fx_.:+-]*")  # a first, rough look
_INTEGERS = (
    (re.compile(r"([-+]?)0b([01_]+)"), 2),
    (re.compile(r"([-+]?)0x([0-9a-fA-F_]+)"), 16),
    (re.compile(r"([-+]?)0o?([0-7_]+)"), 8),
    (re.compile(r"([-+]?)(0|[1-9][0-9_]*)"), 10),
)
_BASE_60 = re.compile(r"([-+]?)([1-9][0-9_]*(?::[0-5]?[0-9])+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*\.(?:[eE][-+][0-9]+)?")
_EXACT = 2**53  # beyond it a double, all that JSON has in many readers, cannot hold each integer
_MAX = 40  # characters of what is looked at: no number is longer


def surprises(source: Source, data: Mapping[str, Any]) -> Iterator[Problem]:
    """A warning for each such value, and for each such key that the file's author chose."""
    for path, text, other, on_key in _suspects(source, source.data or MappingNode(0), []):
        if on_key or _is_text(data, path):
            message = f"`{shorten(text)}` is text here, but to many other readers of YAML it is {other}"
            hint = f'quote it: "{shorten(text)}"'
            yield source.problem(path, "yaml-surprise", message, hint, on_key=on_key, severity=Severity.WARNING)


def _suspects(source: Source, node: Node, below: list[str | int]) -> Iterator[tuple[Path, str, str, bool]]:
    """Path, text and other meaning of each; whether it is a key. `below` is the path, one list for all."""
    if isinstance(node, Scalar):
        other = None if node.style else _other(node.text)
        if other is not None:
            yield tuple(below), node.text, other, False
        return
    for part, child in _children(node):
        below.append(part)
        if part in _BOOLEANS and _is_free_key(source, node, below):
            yield tuple(below), str(part), _BOOLEANS[str(part)], True
        yield from _suspects(source, child, below)
        below.pop()


def _children(node: Node) -> Iterable[tuple[str | int, Node]]:
    if isinstance(node, MappingNode):
        return ((key, entry.value) for key, entry in node.entries.items())
    return enumerate(node.items) if isinstance(node, Sequence) else ()


def _is_free_key(source: Source, node: Node, path: list[str | int]) -> bool:
    """Whether a key is plain, and its author could have chosen another: `on` of a failover is ours."""
    if not isinstance(node, MappingNode) or path == ["settings", "on"]:
        return False
    return source.text[node.entries[str(path[-1])].key_start] not in "\"'"


def _is_text(data: Any, path: Path) -> bool:
    """Whether the schema made text of it, which is taken for what was written."""
    for part in path:
        if isinstance(data, list):
            data = dict(enumerate(data))
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return isinstance(data, str)


def _other(text: str) -> str | None:
    """What another reader takes a plain scalar for, where it would write it otherwise; None where all agree."""
    if text in _BOOLEANS:
        return _BOOLEANS[text] if _BOOLEANS[text] != text else None
    if text[:1] not in _FIRST or len(text) > _MAX or not _NUMBER.fullmatch(text):
        return None
    number = _number(text)
    return number if number != text else None


def _number(text: str) -> str:
    for pattern, base in _INTEGERS:
        found = pattern.fullmatch(text)
        if found and found[2].strip("_"):
            number = int(found[1] + found[2].replace("_", ""), base)
            return str(number) if abs(number) <= _EXACT else f"{number:.6e}"
    found = _BASE_60.fullmatch(text)
    if found:
        value = 0
        for part in found[2].replace("_", "").split(":"):
            value = value * 60 + int(part)
        return f"{found[1].strip('+')}{value}"
    if _FLOAT.fullmatch(text):
        number_ = float(text.replace("_", ""))
        return repr(number_) if isfinite(number_) else text
    return text
