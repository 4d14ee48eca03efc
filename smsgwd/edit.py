"""Changes what a gateway file says, and leaves the rest of its text as it is.

Our own loader knows where each key and value stands, so what changes is cut out and replaced, and no other character is
touched: comments, quotes, blank lines and the order of keys stay. (A library that reads a file and writes it anew, such
as ruamel.yaml, also touches lines that nobody wanted to change.) What comes out is read again; should it not say
exactly what is wanted, the file is written anew, with its comments at the top.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from smsgwd import schema
from smsgwd.dump import block_lines, dump, entry_lines, inline
from smsgwd.layout import Lines
from smsgwd.load import Entry, Node, Scalar, Source, load
from smsgwd.load import Mapping as MappingNode
from smsgwd.load import Sequence as SequenceNode


class _Change(NamedTuple):
    """The text from `start` to `end` becomes another."""

    start: int
    end: int
    text: str


class _TooOddError(Exception):
    """This is written in a way that is not changed piece by piece."""


def edited(text: str, data: Mapping[str, Any]) -> str:
    """The text, changed so that it says exactly `data`. Raises UnicodeError for what no file can hold."""
    source = load(text.encode(), "")
    present = _typed(source)
    if present is not None and source.data is not None:
        try:
            changed = _applied(source.text, list(_Editor(source).mapping(source.data, present, data)))
            if _same(_typed(load(changed.encode(), "")), dict(data)):
                return changed
        except _TooOddError:
            pass
    return dump(data, _comments(source))


def _typed(source: Source) -> Mapping[str, Any] | None:
    """What a text says; None where it is no sound YAML, or the schemas have something against it."""
    data, problems = schema.check_gateway(source)
    return None if problems or source.problems else data


def _applied(text: str, changes: Sequence[_Change]) -> str:
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.text + text[change.end :]
    return text


class _Editor:
    """Finds the changes that make a file say something else."""

    def __init__(self, source: Source) -> None:
        self._text = source.text
        self._lines = Lines(source)
        self._break = "\r\n" if "\r\n" in source.text else "\n"

    def mapping(self, node: MappingNode, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[_Change]:
        """The changes to a mapping on lines of its own. Raises _TooOddError."""
        entries = list(node.entries.values())
        if node.flow or not entries:
            raise _TooOddError
        indent, dashed = self._indent(entries)
        if dashed and next(iter(node.entries)) not in new:  # its first key stands beside the dash
            yield _Change(node.start, node.end, self._indented(block_lines(dict(new)), indent))
            return
        spans = self._lines.spans(entries, indent, dashed=dashed)
        for (key, entry), span in zip(node.entries.items(), spans, strict=True):
            if key not in new:
                yield _Change(*span, "")
            elif key not in old or not _same(old[key], new[key]):
                yield from self._value(key, entry, old.get(key), new[key], indent)
        yield from self._added(node, new, spans[-1][1], indent)

    def _indent(self, entries: Sequence[Entry]) -> tuple[int, bool]:
        """The column of the keys, and whether the first one stands after a dash."""
        heads = [self._text[self._lines.start(entry.key_start) : entry.key_start] for entry in entries]
        dashed = bool(heads[0].strip(" ")) and not heads[0].strip(" -")
        if any(head.strip(" ") for head in heads[dashed:]):
            raise _TooOddError
        return len(heads[0]), dashed

    def _added(self, node: MappingNode, new: Mapping[str, Any], end: int, indent: int) -> Iterator[_Change]:
        lines = [
            " " * indent + line
            for key, value in new.items()
            if key not in node.entries
            for line in entry_lines(key, value, top=not indent)
        ]
        if lines:
            before = "" if self._text[:end].endswith("\n") else self._break
            yield _Change(end, end, before + self._break.join([*lines, ""]))

    def _value(self, key: str, entry: Entry, old: Any, new: Any, indent: int) -> Iterator[_Change]:
        """The changes to the value of a key: within it, of it, or with its key."""
        node = entry.value
        if self._goes_inside(node, old, new):
            yield from self._inside(node, old, new)
            return
        text = inline(new)
        start = entry.key_start if text is None or self._is_below(entry) else node.start
        if text is None or start == entry.key_start:
            text = self._indented(entry_lines(key, new, top=not indent), indent)
        yield _Change(start, node.end, text + (self._break if self._text[: node.end].endswith("\n") else ""))

    def _goes_inside(self, node: Node, old: Any, new: Any) -> bool:
        """Whether a collection on lines of its own becomes another one of which parts can stay."""
        if isinstance(node, MappingNode) and not node.flow:
            return bool(node.entries and isinstance(old, dict) and isinstance(new, dict) and new)
        return isinstance(node, SequenceNode) and not node.flow and _same_length(old, new)

    def _inside(self, node: Node, old: Any, new: Any) -> Iterator[_Change]:
        if isinstance(node, MappingNode):
            yield from self.mapping(node, old, new)
        elif isinstance(node, SequenceNode):
            for item, before, after in zip(node.items, old, new, strict=True):
                if not _same(before, after):
                    yield from self._item(item, before, after)

    def _item(self, node: Node, old: Any, new: Any) -> Iterator[_Change]:
        """The changes to an item of a list."""
        if self._goes_inside(node, old, new):
            yield from self._inside(node, old, new)
            return
        text = inline(new)
        if text is None or (isinstance(node, Scalar) and node.style in {"|", ">"}):
            raise _TooOddError
        yield _Change(node.start, node.end, text)

    def _is_below(self, entry: Entry) -> bool:
        """Whether the value stands on another line than its key, or does not end on that line."""
        return "\n" in self._text[entry.key_start : entry.value.end]

    def _indented(self, lines: Sequence[str], indent: int) -> str:
        """The lines at a column; the first one stands there already."""
        return (self._break + " " * indent).join(lines)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and true are three things in a file."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return _same_length(one, other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _same_length(one: Any, other: Any) -> bool:
    return isinstance(one, list) and isinstance(other, list) and len(one) == len(other)


def _comments(source: Source) -> list[str]:
    """The comments that have a line of their own, without their signs."""
    lines = (source.line(number).strip() for number in range(1, len(source.line_starts) + 1))
    return [line.lstrip("#").removeprefix(" ") for line in lines if line.startswith("#")]
