"""Reads a YAML file into a tree that knows where each part stands.

PyYAML's `load` would guess types (`+4917...` a number, `no` a boolean), forget positions, keep the last of two equal
keys, expand aliases without bound, and end the process on deep nesting. So only libyaml's event stream is used: the
tree is put together here, with a stack of its own, and every scalar stays the text that was written. Its type comes
later, from the schema.

A fault of the file never raises; it is a `Problem` of the `Source`.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml

from smsgwd.errors import Problem, Severity

if not yaml.__with_libyaml__:
    raise ImportError("smsgwd reads its files by libyaml, and this PyYAML was built without it: install a PyYAML wheel")

MAX_OCTETS = 1024 * 1024
MAX_DEPTH = 50
MAX_PROBLEMS = 1000  # of one file: nobody reads more, and a hostile file must not fill the memory with them

Path = tuple[str | int, ...]  # keys and indices from the root: ("settings", "query", "to")

# What an editor shows as a line. libyaml also counts NEL, LS and PS; editors do not.
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# What libyaml ends a line of a block scalar with; LS and PS stay in the value, the others become "\n".
_YAML_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_VALUE_BREAK = re.compile("[\n\u2028\u2029]")
# What YAML 1.1, section 5.1, does not allow in a file.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_ENCRYPTED = "ENC[AES256_GCM,"
_ESCAPE = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)
_SINGLE_QUOTED = re.compile(r"''|.", re.DOTALL)
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar as it was written. `style` is "" (plain), "'", '"', "|" or ">"; `start` and `end` are offsets."""

    text: str
    style: str
    start: int
    end: int

    @property
    def plain(self) -> bool:
        """Whether it stands without quotes and is no block scalar."""
        return not self.style


class Entry(NamedTuple):
    """A value of a mapping, and the offset of its key."""

    key_start: int
    value: "Node"


@dataclass(slots=True)
class Mapping:
    """A mapping. `broken`: it is none, but something that was told already (a template without quotes).

    `flow`: it is written in braces. `end` is the offset after its last part, comments that follow not counted.
    """

    start: int
    entries: dict[str, Entry] = field(default_factory=dict)
    broken: bool = False
    flow: bool = False
    end: int = 0


@dataclass(slots=True)
class Sequence:
    """A list; `flow`: it is written in brackets. `end` as of a mapping."""

    start: int
    items: "list[Node]" = field(default_factory=list)
    flow: bool = False
    end: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of a value that cannot be used; a finding says why."""

    start: int

    @property
    def end(self) -> int:
        """Nothing stands there that could be used."""
        return self.start


Node = Scalar | Mapping | Sequence | Hole


def pointer(path: Path) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its tree (None when it cannot be read), what is wrong with it so far, and where everything stands.

    Lines and columns count from 1, columns in characters; a BOM is not counted. `private`: the file itself holds what
    nobody is to see, so no line of it is shown as it stands.
    """

    file: str
    text: str
    data: Mapping | None
    problems: tuple[Problem, ...]
    line_starts: tuple[int, ...]
    private: bool = False

    def line(self, number: int) -> str:
        """The text of a line, without its end."""
        starts = self.line_starts
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    def place(self, start: int) -> tuple[int, int]:
        """Line and column of an offset of the file."""
        return _place(self.line_starts, start)

    def node(self, path: Path) -> Node | None:
        """The part of the tree at a path; None when there is none."""
        found, depth = self._walk(path)
        return found.value if depth == len(path) else None

    def position(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Where a value stands, or its key; of what is not there, its nearest parent that is."""
        found, _ = self._walk(path)
        return self.place(found.key_start if key else found.value.start) if self.data else (1, 1)

    def locate(self, path: Path, offset: int) -> tuple[int, int]:
        """Where the character at an offset of a text value stands.

        Exact for text in one line and for literal block scalars (`|`); in folded and other text of several lines the
        start of the value.
        """
        node = self.node(path)
        if not isinstance(node, Scalar):
            return self.position(path)
        return self.place(_offset_in_file(self.text, node, offset))

    def problem(
        self,
        path: Path,
        code: str,
        message: str,
        hint: str = "",
        *,
        offset: int | None = None,
        on_key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        """A finding at a value, at its key, or `offset` characters into its text."""
        line, column = self.position(path, key=on_key) if offset is None else self.locate(path, offset)
        return Problem(self.file, line, column, code, message, hint, pointer(path), severity)

    def _walk(self, path: Path) -> tuple[Entry, int]:
        """The deepest part of a path that exists, and how many steps lead there."""
        found = Entry(0, self.data or Hole(0))
        for depth, part in enumerate(path):
            child = _child(found.value, part)
            if child is None:
                return found, depth
            found = child
        return found, len(path)


def _child(node: Node, part: str | int) -> Entry | None:
    if isinstance(node, Mapping):
        return node.entries.get(str(part))
    if isinstance(node, Sequence) and isinstance(part, int) and 0 <= part < len(node.items):
        return Entry(node.items[part].start, node.items[part])
    return None


def _place(line_starts: tuple[int, ...], start: int) -> tuple[int, int]:
    line = bisect_right(line_starts, start)
    return line, start - line_starts[line - 1] + 1


# --- a character of a value, found in the file ---------------------------------------------------------------------


def _offset_in_file(text: str, node: Scalar, offset: int) -> int:
    if node.style == "|":
        return _offset_in_block(text, node, offset)
    raw = text[node.start : node.end]
    if _YAML_BREAK.search(raw) or node.style == ">":
        return node.start
    if node.style:
        pieces = _ESCAPE if node.style == '"' else _SINGLE_QUOTED
        return node.start + 1 + _skip(pieces, raw[1:-1], offset)
    return node.start + offset if raw == node.text else node.start


def _skip(pieces: re.Pattern[str], raw: str, count: int) -> int:
    """The offset in quoted text after that many characters of its value: each piece stands for one."""
    end = 0
    for _, piece in zip(range(count), pieces.finditer(raw), strict=False):
        end = piece.end()
    return end


def _offset_in_block(text: str, node: Scalar, offset: int) -> int:
    """Lines of a literal block scalar stand one to one for lines of its value; all are indented alike."""
    starts = [found.end() for found in _YAML_BREAK.finditer(text, node.start, node.end)]
    if not starts:
        return node.start
    value_starts = [0, *(found.end() for found in _VALUE_BREAK.finditer(node.text))]
    index = min(bisect_right(value_starts, offset) - 1, len(starts) - 1)
    indent = _block_indent(text, node.text, starts, value_starts)
    return min(starts[index] + indent + offset - value_starts[index], _line_end(_YAML_BREAK, text, starts[index]))


def _block_indent(text: str, value: str, starts: list[int], value_starts: list[int]) -> int:
    """By how much its lines are longer than those of the value; an empty one does not tell."""
    for start, value_start in zip(starts, value_starts, strict=False):
        length = _line_end(_VALUE_BREAK, value, value_start) - value_start
        if length:
            return _line_end(_YAML_BREAK, text, start) - start - length
    return 0


def _line_end(line_break: re.Pattern[str], text: str, start: int) -> int:
    found = line_break.search(text, start)
    return found.start() if found else len(text)


# --- reading -------------------------------------------------------------------------------------------------------


def load(data: bytes, file: str, *, private: bool = False) -> Source:
    """Read one file. Never raises; `problems` says what is wrong, `data` is None when nothing more can be said."""
    return replace(_loaded(data, file), private=private)


def _loaded(data: bytes, file: str) -> Source:
    if len(data) > MAX_OCTETS:
        return _unreadable(file, "", 0, "too-large", "the file is larger than 1 MiB (1,048,576 octets)")
    text = data.decode("utf-8-sig", errors="replace")
    if data.startswith(_OTHER_ENCODINGS):
        return _unreadable(file, text, 0, "not-utf8", "the file is written in UTF-16 or UTF-32")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        start = len(data[: error.start].decode("utf-8-sig"))
        message = f"octet 0x{data[error.start]:02x} is not UTF-8"
        return _unreadable(file, text, start, "not-utf8", message)
    return _read(text, file)


def _unreadable(file: str, text: str, start: int, code: str, message: str) -> Source:
    line_starts = _line_starts(text)
    line, column = _place(line_starts, start)
    hint = "save the file as UTF-8" if code == "not-utf8" else ""
    return Source(file, text, None, (Problem(file, line, column, code, message, hint),), line_starts)


def _line_starts(text: str) -> tuple[int, ...]:
    return (0, *(found.end() for found in _LINE_BREAK.finditer(text)))


def _read(text: str, file: str) -> Source:
    composer = _Composer(text, file)
    data = None if composer.forbidden_characters() else composer.compose()
    problems = sorted(composer.problems, key=lambda problem: problem.sort_key)
    return Source(file, text, data, tuple(problems), composer.line_starts)


class _StopReadingError(Exception):
    """Nothing after this place can be understood, or needs to be."""


@dataclass(slots=True)
class _Frame:
    """A collection that is being read. `label` is its key or index; `key` the key that waits for its value."""

    node: Mapping | Sequence
    label: str | int
    key: "_Key | None" = None


class _Key(NamedTuple):
    text: str
    start: int
    dropped: bool  # its value has no place: a second one of its name, a merge key, no text


def _start(event: yaml.Event) -> int:
    """The offset of an event in the text."""
    return event.start_mark.index if event.start_mark else 0


class _Composer:
    """Puts the tree together from events."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.line_starts = _line_starts(text)
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._last: Scalar | None = None
        self._events: dict[type, Callable[[Any], None]] = {
            yaml.DocumentStartEvent: self._document,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
        }

    def forbidden_characters(self) -> bool:
        """Report the first character of each line that YAML does not allow, of twenty lines at most."""
        found = _FORBIDDEN.search(self.text)
        while found and len(self.problems) < 20:
            message = f"control character U+{ord(found[0]):04X} is not allowed in YAML"
            self._report(
                found.start(), "control-character", message, 'in "double quotes" it can be written as an escape'
            )
            line, _ = _place(self.line_starts, found.start())
            found = _FORBIDDEN.search(self.text, self.line_starts[line]) if line < len(self.line_starts) else None
        return bool(self.problems)

    def compose(self) -> Mapping | None:
        """The tree; None when the file cannot be understood to its end."""
        try:
            return self._composed()
        except _StopReadingError:
            return None

    def _composed(self) -> Mapping | None:
        try:
            self._see_events(self.text)
        except yaml.MarkedYAMLError as error:
            if error.problem == _TOO_DEEP_FOR_LIBYAML:
                self._too_deep(error)
            self._syntax(error)
        except yaml.YAMLError:
            self._report(0, "yaml-syntax", "this is not YAML")
        else:
            return self._checked_root()
        return None

    def _too_deep(self, error: yaml.MarkedYAMLError) -> None:
        """Find our own limit in what libyaml has read ahead: it gives no events of that. Raises _StopReadingError."""
        self._stack, self._root, self.problems = [], None, []
        end = error.problem_mark.index if error.problem_mark else 0
        with suppress(yaml.YAMLError):
            self._see_events(self.text[: end - 1])

    def _see_events(self, text: str) -> None:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent) and self._root:
                hint = "one file is one gateway: write a second file"
                self._report(_start(event), "multiple-documents", "a second YAML document begins here", hint)
                return
            see = self._events.get(type(event))
            if see:
                see(event)

    def _checked_root(self) -> Mapping | None:
        root = self._root
        if root is None or (isinstance(root, Scalar) and root.plain and not root.text):
            hint = "a gateway file begins with `provider: ...`, a token file with `user: ...`; smsgwd.yaml may be `{}`"
            self._report(0, "empty-file", "the file is empty", hint)
        elif isinstance(root, Mapping):
            sops = root.entries.get("sops")
            if not sops or not isinstance(sops.value, Mapping):
                return None if root.broken else root
            self._encrypted(sops.key_start)
        elif not isinstance(root, Hole):
            _, hint = _no_blank(self.text, root.start) or (0, "")
            self._report(root.start, "not-a-mapping", "the file has to be a mapping: lines of `key: value`", hint)
        return None

    # -- events

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        if event.version or event.tags:
            hint = "leave it out: files are always read the same way"
            self._report(_start(event), "yaml-directive", "YAML directives (`%...`) are not used", hint)

    def _mapping(self, event: yaml.MappingStartEvent) -> None:
        self._unquoted_template(_start(event))
        self._begin(event, Mapping(_start(event), flow=bool(event.flow_style)))

    def _sequence(self, event: yaml.SequenceStartEvent) -> None:
        self._begin(event, Sequence(_start(event), flow=bool(event.flow_style)))

    def _begin(self, event: yaml.CollectionStartEvent, node: Mapping | Sequence) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._report(node.start, "too-deep", f"nested deeper than {MAX_DEPTH} levels")
            raise _StopReadingError
        self._anchor_and_tag(event)
        self._stack.append(_Frame(node, self._put(node)))

    def _end(self, event: yaml.CollectionEndEvent) -> None:
        node = self._stack.pop().node
        if node.flow:
            node.end = event.end_mark.index if event.end_mark else node.start
        else:  # libyaml ends a block where the next one begins, comments later
            parts = node.items if isinstance(node, Sequence) else [entry.value for entry in node.entries.values()]
            node.end = max((part.end for part in parts), default=node.start)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._anchor_and_tag(event)
        if event.value.startswith(_ENCRYPTED):
            self._encrypted(_start(event))
            raise _StopReadingError
        style = event.style or ""
        end = event.end_mark.index if event.end_mark else 0
        self._last = Scalar(event.value, style, _start(event), end)
        self._put(self._last)

    def _alias(self, event: yaml.AliasEvent) -> None:
        start = _start(event)
        self._report(
            start, "yaml-alias", "YAML aliases (`*name`) are not allowed", f"write the value out{_OR_QUOTE}`*`"
        )
        self._put(Hole(start))

    def _anchor_and_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        start = _start(event)
        if event.anchor:
            hint = f"write the value out where it is needed{_OR_QUOTE}`&`"
            self._report(start, "yaml-anchor", "YAML anchors (`&name`) are not allowed", hint)
        if event.tag:
            hint = f"leave it out: the type follows from the key{_OR_QUOTE}`!`"
            self._report(self._tag_start(event), "yaml-tag", "YAML tags (`!name`) are not allowed", hint)

    def _tag_start(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> int:
        """An anchor may stand before the tag; the event begins at the first of both."""
        start = _start(event)
        return self.text.index("!", start) if event.anchor else start

    # -- where a node belongs

    def _put(self, node: Node) -> str | int:
        """Give a node its place in the collection that is being read; returns its key or index there."""
        if not self._stack:
            self._root = node
            return ""
        top = self._stack[-1]
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
            return len(top.node.items) - 1
        if top.key is None:
            top.key = self._key(top.node, node)
            return top.key.text
        key, top.key = top.key, None
        if not key.dropped:
            top.node.entries[key.text] = Entry(key.start, node)
        return key.text

    def _key(self, mapping: Mapping, node: Node) -> _Key:
        if not isinstance(node, Scalar):
            if not mapping.broken and not isinstance(node, Hole):
                self._report(node.start, "non-text-key", "a key has to be text, not a list or a mapping")
            return _Key("", node.start, dropped=True)
        if node.plain and node.text in ("", "~", "null"):
            self._report(node.start, "non-text-key", "a key has to be text", "quote it if it is meant")
        elif node.plain and node.text == "<<":
            self._report(node.start, "yaml-merge-key", "YAML merge keys (`<<`) are not allowed", "write the keys out")
        elif node.text in mapping.entries:
            self._duplicate(mapping, node)
        else:
            return _Key(node.text, node.start, dropped=False)
        return _Key(node.text, node.start, dropped=True)

    def _duplicate(self, mapping: Mapping, node: Scalar) -> None:
        line, _ = _place(self.line_starts, mapping.entries[node.text].key_start)
        message = f"`{shorten(node.text)}` stands here a second time, first in line {line}"
        self._report(node.start, "duplicate-key", message, "keep one of them", (node.text,))

    def _unquoted_template(self, start: int) -> None:
        """`{{ x }}` without quotes is, in YAML, a mapping whose key is a mapping: tell what was meant."""
        parent = self._stack[-1].node if self._stack else None
        if not isinstance(parent, Mapping) or parent.broken or parent.start != start - 1:
            return
        if self.text[start - 1] != "{" or parent.entries:
            return
        parent.broken = True
        self._report(parent.start, "yaml-syntax", "a template needs quotes", 'write "{{ ... }}"')

    # -- findings

    def _report(self, start: int, code: str, message: str, hint: str = "", below: Path = ()) -> None:
        line, column = _place(self.line_starts, start)
        self.problems.append(Problem(self.file, line, column, code, message, hint, pointer(self._path() + below)))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _StopReadingError

    def _path(self) -> Path:
        """The path of the collection that is being read, and the key that waits for a value."""
        path = tuple(frame.label for frame in self._stack[1:])
        key = self._stack[-1].key if self._stack else None
        return (*path, key.text) if key else path

    def _encrypted(self, start: int) -> None:
        hint = "decrypt it before it is deployed (sops --decrypt), or give the secret by `secrets: {NAME: {file: ...}}`"
        self._report(start, "sops-encrypted", "this file is encrypted with SOPS; smsgwd holds no key to it", hint)

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        start, message, hint = self._late_quote(error) or _explain(self.text, error)
        line, _ = _place(self.line_starts, start)
        template_told = any(problem.code == "yaml-syntax" and problem.line == line for problem in self.problems)
        if not template_told:  # what follows `{{ x }}` without quotes is a consequence of it
            self._report(start, "yaml-syntax", message, hint)

    def _late_quote(self, error: yaml.MarkedYAMLError) -> tuple[int, str, str] | None:
        """A text in quotes of several lines, behind which something follows: its quote was to be closed before."""
        last, here = self._last, error.problem_mark.index if error.problem_mark else 0
        if last is None or last.style not in {"'", '"'} or self.text[last.end : here].strip():
            return None
        first, end = (_place(self.line_starts, offset)[0] for offset in (last.start, last.end))
        if first == end:
            return None
        return last.start, f"this quote is closed in line {end} only", "close it where its text ends"


def shorten(text: str) -> str:
    """Text of the file, short enough for a message."""
    return text if len(text) <= 40 else text[:39] + "…"


# --- libyaml's complaints in our words -----------------------------------------------------------------------------

_TOO_DEEP_FOR_LIBYAML = "exceeded maximum nesting depth"  # since 0.2.6: 1000 levels

_QUOTE_TEXT = 'a text with special signs needs quotes: "..."'
# What stands behind these signs is not repeated: it may be a password that lacks its quotes.
_OR_QUOTE = "; or put quotes around a text that begins with "
_TAB = ("a tab cannot indent", "use spaces")
# libyaml's words: (ours, hint). What is not here is said in libyaml's own words.
_COMPLAINTS = {
    "mapping values are not allowed in this context": (
        "a `:` that makes no key here",
        'quote a text that holds ": ", or look at the indentation',
    ),
    "did not find expected key": (
        "no key is expected here",
        "look at the indentation, and at quotes: after a quoted text the line has to end",
    ),
    "did not find expected '-' indicator": ("this is no part of the list above", "look at the indentation"),
    "could not find expected ':'": ("a key without `:`", "write `key: value`; quote a text of several lines"),
    "did not find expected node content": ("a value is expected here", _QUOTE_TEXT),
    "did not find expected <document start>": ("something follows the end of the document", "one file is one mapping"),
    "found character that cannot start any token": ("a text cannot begin like this", _QUOTE_TEXT),
    "found a tab character that violates indentation": _TAB,
    "found a tab character where an indentation space is expected": _TAB,
    "found unexpected end of stream": ("this quote is never closed", "it opens here: close it where its text ends"),
    "found unexpected document indicator": ("this quote is not closed before the next document", ""),
    "found unknown escape character": (
        "there is no such escape in double quotes",
        "write the backslash twice, or use single quotes",
    ),
    "did not find expected hexdecimal number": ("an escape needs hexadecimal digits", "\\x41, \\u20ac or \\U0001f600"),
    "found invalid Unicode character escape code": ("this escape is no character", "\\U0001f600 stands for an emoji"),
    "did not find expected comment or line break": ("after `|` or `>` the line has to end", ""),
    "found an indentation indicator equal to 0": ("the indentation of a block is 1 to 9", ""),
    "did not find expected alphabetic or numeric character": ("`*` and `&` are special in YAML", _QUOTE_TEXT),
    "block sequence entries are not allowed in this context": (
        "a list cannot begin here",
        "put `-` on a line of its own",
    ),
    "mapping keys are not allowed in this context": ("a `?` cannot begin a text", _QUOTE_TEXT),
    "found unknown directive name": ("a line cannot begin with `%`", _QUOTE_TEXT),
    "found incompatible YAML document": ("this YAML version is not known", "leave the line out"),
    "found duplicate %YAML directive": ("YAML directives are not used", "leave the line out"),
    "found undefined tag handle": ("YAML tags (`!`) are not allowed", _QUOTE_TEXT),
    "did not find expected tag URI": ("YAML tags (`!`) are not allowed", _QUOTE_TEXT),
}
_CLOSERS = {"did not find expected ',' or ']'": "]", "did not find expected ',' or '}'": "}"}
# Complaints that are better told where the matter began than where libyaml gave up.
_BEGAN_EARLIER = (
    "found unexpected end of stream",
    "found unexpected document indicator",
    "could not find expected ':'",
)


_OF_A_COLON = ("could not find expected ':'", "mapping values are not allowed in this context")
_NO_BLANK = re.compile(r"[ ]*(?:- +)?([A-Za-z_][A-Za-z0-9_-]*):(?=[^\s:])")


def _no_blank(text: str, here: int) -> tuple[int, str] | None:
    """Where a key of this line, or of the last one before it that says something, lacks the blank after its colon."""
    end = _line_end(_LINE_BREAK, text, here)
    lines = [line for line in text[:end].splitlines(keepends=True)[-2:] if line.strip()]
    for line in reversed(lines):
        found = _NO_BLANK.match(line)
        if found:
            start = text.rindex(line, 0, end + 2) + found.start(1)
            return start, f"put a blank after the colon: `{shorten(found[1])}: ...`"
    return None


def _explain(text: str, error: yaml.MarkedYAMLError) -> tuple[int, str, str]:
    """Where a syntax error stands, what it is, and the mend."""
    complaint = error.problem or "this is not YAML"
    here = error.problem_mark.index if error.problem_mark else 0
    began = error.context_mark.index if error.context_mark else here
    if complaint in _CLOSERS:
        return _unclosed(text, began, here, _CLOSERS[complaint])
    if complaint in _BEGAN_EARLIER:
        here = began
    if complaint in _OF_A_COLON and (found := _no_blank(text, here)):
        return found[0], "a key without `: `", found[1]
    if complaint == "found character that cannot start any token":
        return here, *_bad_start(text, here)
    message, hint = _COMPLAINTS.get(complaint, (complaint, ""))
    return here, message, hint


def _unclosed(text: str, began: int, here: int, closer: str) -> tuple[int, str, str]:
    if _LINE_BREAK.search(text, began, here):  # libyaml only notices lines later
        return began, f"`{text[began : began + 1]}` is never closed, or a comma is missing", f"close it with `{closer}`"
    return here, f"`,` or `{closer}` is expected here", _QUOTE_TEXT


def _bad_start(text: str, here: int) -> tuple[str, str]:
    if text[here : here + 1] == "\t":
        return _TAB
    if text[here - 1 : here + 1] == "{%":
        return "a template needs quotes", 'write "{% ... %}"'
    return f"a text cannot begin with `{text[here : here + 1]}`", 'quote it: "..."'


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Each node of a tree with its path, in the order of the file."""
    pending: list[tuple[Path, Node]] = [(path, node)]
    while pending:
        path, node = pending.pop()
        yield path, node
        if isinstance(node, Mapping):
            pending.extend(((*path, key), entry.value) for key, entry in reversed(node.entries.items()))
        elif isinstance(node, Sequence):
            pending.extend(((*path, index), item) for index, item in reversed(list(enumerate(node.items))))
