"""The usual order of keys: puts a file into it and changes nothing else, comments, quotes and blank lines included.

Only mappings whose keys the schema knows are put in order. Where a file chooses its keys (the parameters of a query,
the names of secrets and templates, JSON), their order may be that of the request, and stays.

A key takes with it the comments and blank lines right above it, what stands deeper in below it, and the rest of its
line. The comments at the top of the file stay there, those at the end of a mapping stay at its end. Blanks at the ends
of lines go, and the file ends in one line break.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from smsgwd import schema
from smsgwd.load import Entry, Mapping, Node, Path, Scalar, Source, load, walk
from smsgwd.load import Sequence as SequenceNode

_ENDING_BLANKS = re.compile(r"[ \t]+(?=\r?\n)")
_BLANKS = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\r?\n)+")
_BESIDE = re.compile(r"\A(?: *(?:#.*)?\r?\n)+")  # comments and blank lines above a key
_DASHES = re.compile(r" *(?:- +)+")  # a list whose items begin on the line of their dash

_OrderOf = Callable[[Path], tuple[str, ...]]


class LayoutError(Exception):
    """A file that cannot be put in order without changing what it says; the text says why."""


def arranged(source: Source, kind: str = "gateway") -> str:
    """The text of a sound file in the usual order. `kind` is the schema of it: gateway, smsgwd or token.

    Raises LayoutError.
    """
    text = _without_ending_blanks(load(_in_order(source, _orders(source, kind)).encode(), source.file))
    again = load(text.encode(), source.file)
    if again.problems or _said(again.data) != _said(source.data) or _signs(text) != _signs(source.text):
        raise LayoutError("the keys cannot be put in order without changing what the file says")
    return text


def _orders(source: Source, kind: str) -> _OrderOf:
    if kind != "gateway":
        return schema.site_order_of if kind == "smsgwd" else schema.token_order_of
    provider = source.node(("provider",))
    name = provider.text if isinstance(provider, Scalar) else ""
    return lambda path: schema.order_of(name, path)


def _said(node: Node | None) -> object:
    """What a tree says, whatever the order of its keys."""
    if isinstance(node, Mapping):
        return {key: _said(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [_said(item) for item in node.items]
    return (node.text, node.plain) if isinstance(node, Scalar) else None


def _signs(text: str) -> list[str]:
    """Every sign but blanks: none is lost, and none comes, in whatever order they stand."""
    return sorted(_BLANKS.sub("", text))


# --- blanks at the ends of lines


def _without_ending_blanks(source: Source) -> str:
    """The text without blanks at the ends of lines, where they are no part of a value."""
    nodes = [node for _, node in walk(source.data)] if source.data else []
    scalars = sorted((node for node in nodes if isinstance(node, Scalar)), key=lambda node: node.start)
    pieces, position = [], 0
    for scalar in scalars:
        pieces += [_ENDING_BLANKS.sub("", source.text[position : scalar.start]), source.text[scalar.start : scalar.end]]
        position = scalar.end
    rest = _ENDING_BLANKS.sub("", source.text[position:]).rstrip()
    whole = "".join([*pieces, rest])
    block = bool(scalars) and scalars[-1].style in {"|", ">"} and not rest  # its line breaks may be part of the value
    return whole if block or whole.endswith("\n") else whole + _line_break(source.text)


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


# --- order


_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Region:
    """A mapping in the text: the spans of its entries, and their new order."""

    start: int
    end: int
    spans: Sequence[_Span]
    wanted: Sequence[int]

    def written(self, texts: Sequence[str]) -> str:
        """The mapping, from the texts of its entries as they stand now."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Braces(_Region):
    """A mapping in braces: entries change places, what stands between the places stays."""

    between: Sequence[str]

    def written(self, texts: Sequence[str]) -> str:
        """The first of `between` stands before the first entry, the last one after the last."""
        first, *others = self.between
        pairs = zip(self.wanted, others, strict=True)
        return first + "".join(texts[index] + after for index, after in pairs)


@dataclass(frozen=True, slots=True)
class _Block(_Region):
    """A mapping on lines of its own, its keys at the column `indent`. `dashed`: the first one stands after a dash."""

    line_break: str
    indent: int
    dashed: bool

    def written(self, texts: Sequence[str]) -> str:
        """Whole lines change places; no blank lines come to the top."""
        first = " " * self.indent + texts[0] if self.dashed else _BESIDE.sub(self._aligned, texts[0])
        lines = [text if text.endswith("\n") else text + self.line_break for text in (first, *texts[1:])]
        whole = "".join(lines[index] for index in self.wanted)
        whole = _BLANK_LINES.sub("", whole) if self.wanted[0] else whole
        return whole[self.indent :] if self.dashed else whole

    def _aligned(self, beside: re.Match[str]) -> str:
        """Comments deeper in than the key below them would become part of a block text that comes before them."""
        return re.sub(rf"(?m)^ {{{self.indent},}}(?=#)", " " * self.indent, beside[0])


def _in_order(source: Source, order_of: _OrderOf) -> str:
    regions = [
        region
        for path, node in (walk(source.data) if source.data else ())
        if isinstance(node, Mapping) and (region := _region(source, node, order_of(path)))
    ]
    regions.sort(key=lambda region: (region.start, -region.end))
    return _text(source.text, regions, (0, len(source.text) + 1))


def _text(text: str, regions: Sequence[_Region], span: _Span) -> str:
    """A span of the text with the mappings inside of it in their order; one that fills it is the one that asks."""
    pieces, (position, end) = list[str](), span
    first = bisect_left(regions, position, key=lambda region: region.start)
    for region in regions[first:]:
        if region.start >= end:
            break
        if region.start >= position and region.end <= end and (region.start, region.end) != span:
            inner = [_text(text, regions, one) for one in region.spans]
            pieces += [text[position : region.start], region.written(inner)]
            position = region.end
    return "".join([*pieces, text[position:end]])


def _region(source: Source, node: Mapping, order: tuple[str, ...]) -> _Region | None:
    """What is to be done to a mapping; None where nothing is, or nothing can be."""
    names, entries = list(node.entries), list(node.entries.values())
    wanted = sorted(range(len(names)), key=lambda index: _rank(order, names[index]))
    if not order or wanted == list(range(len(names))):
        return None
    return _braces(source, node, entries, wanted) if node.flow else _block(source, entries, wanted)


def _rank(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _braces(source: Source, node: Mapping, entries: list[Entry], wanted: list[int]) -> _Braces | None:
    spans = [(entry.key_start, max(entry.key_start, entry.value.end)) for entry in entries]
    edges = pairwise([node.start, *(edge for span in spans for edge in span), node.end])
    between = [source.text[start:end] for start, end in edges][::2]
    if any("#" in text for text in between):  # a comment is somebody's, and nobody can tell whose
        return None
    return _Braces(node.start, node.end, spans, wanted, between)


def _block(source: Source, entries: list[Entry], wanted: list[int]) -> _Block | None:
    lines = Lines(source)
    heads = [source.text[lines.start(entry.key_start) : entry.key_start] for entry in entries]
    dashed = bool(_DASHES.fullmatch(heads[0]))
    if any(head.strip(" ") for head in heads[dashed:]):
        return None  # `? key`, or whatever else may stand before a key
    spans = lines.spans(entries, len(heads[0]), dashed=dashed)
    if dashed and source.text[slice(*spans[wanted[0]])].lstrip().startswith("#"):
        return None  # a comment cannot stand between a dash and its key
    return _Block(spans[0][0], spans[-1][1], spans, wanted, _line_break(source.text), len(heads[0]), dashed)


class Lines:
    """The lines of a file, and to which key they belong."""

    def __init__(self, source: Source) -> None:
        self._text = source.text
        self._starts = source.line_starts

    def start(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return self._starts[bisect_right(self._starts, offset) - 1]

    def spans(self, entries: list[Entry], indent: int, *, dashed: bool) -> list[_Span]:
        """The lines of each entry. They follow each other without a gap."""
        first = entries[0].key_start if dashed else self._above(entries[0])
        limits = [self.start(entry.key_start) for entry in entries[1:]]
        ends = [self._below(entry, limit, indent) for entry, limit in zip(entries, [*limits, None], strict=True)]
        return list(pairwise([first, *ends]))

    def _above(self, entry: Entry) -> int:
        """Where the comments above the first key begin that are its own, and not those of the file."""
        own = line = self.start(entry.key_start)
        while line and self._is_beside(before := self.start(line - 1)):
            line = before
        if line:
            return line
        blank = [start for start in self._starts if start < own and not self._line(start).strip()]
        return self._next(blank[-1]) if blank else own

    def _below(self, entry: Entry, limit: int | None, indent: int) -> int:
        """Where an entry ends: after its value, and after the last comment below that stands deeper than its key."""
        line = end = self._after(max(entry.value.end, entry.key_start))
        while (limit is None or line < limit) and line < len(self._text) and self._is_beside(line):
            text = self._line(line)
            blanks = len(text) - len(text.lstrip(" "))
            line = self._next(line)
            if text.strip() and blanks > indent:
                end = line
        return end

    def _after(self, offset: int) -> int:
        """Where the line after an offset begins. A block scalar ends where a line begins: that one."""
        at_start = offset and self._text[offset - 1] in "\r\n"
        return offset if at_start else self._next(offset)

    def _next(self, offset: int) -> int:
        number = bisect_right(self._starts, offset)
        return self._starts[number] if number < len(self._starts) else len(self._text)

    def _line(self, start: int) -> str:
        return self._text[start : self._next(start)]

    def _is_beside(self, start: int) -> bool:
        """Whether a line is blank or a comment."""
        text = self._line(start).strip()
        return not text or text.startswith("#")
