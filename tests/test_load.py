"""Loading: every value is the text that was written, every part has its place, no file is a crash."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smsgwd.load import Mapping, Node, Path, Scalar, Sequence, Source, load, pointer, walk

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
TREES = st.recursive(
    TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ROOTS = st.dictionaries(TEXT.filter(lambda key: key != "sops"), TREES, max_size=5)


def read(text: str) -> Source:
    """A file of that text."""
    return load(text.encode(), "x.yaml")


def told(source: Source) -> list[tuple[int, int, str]]:
    """Place and code of each finding."""
    return [(problem.line, problem.column, problem.code) for problem in source.problems]


def plain(node: Node | None) -> object:
    """A tree as plain values."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.text if isinstance(node, Scalar) else None


WRITTEN = [
    "+491701234567",
    "01701234567",
    "0171",
    "yes",
    "no",
    "on",
    "12:30",
    "1e3",
    "2026-11-21",
    "true",
    "1.50",
    "0o17",
]


@pytest.mark.parametrize("text", [*WRITTEN, "~", "null", "=", ".inf", "0x1F", "1_000", "190:20:30", "2026-13-41"])
def test_a_plain_scalar_is_the_text_that_was_written(text: str) -> None:
    """No word and no number is turned into something else."""
    source = read(f"a: {text}\n{text if text not in {'~', 'null'} else 'b'}: c\n")
    assert not source.problems
    assert source.data is not None
    assert source.data.entries["a"].value == Scalar(text, "", 3, 3 + len(text))


@given(ROOTS)
@settings(max_examples=150, deadline=None)
def test_what_pyyaml_dumps_loads_equal(tree: dict[str, object]) -> None:
    """Any tree of text, dumped by PyYAML with everything quoted, is read as the same tree."""
    source = read(yaml.safe_dump(tree, default_style='"', allow_unicode=True))
    assert not [problem for problem in source.problems if problem.code != "yaml-tag"]
    # `!!map` and `!!seq` are not written, `!!str` is implied by the quotes
    assert plain(source.data) == tree


@given(
    ROOTS, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]), st.sampled_from([None, True, False])
)
@settings(max_examples=150, deadline=None)
def test_every_key_stands_where_it_is_said_to(tree: dict[str, object], end: str, bom: str, flow: bool | None) -> None:
    """The text at a key's line and column, read as YAML, is that key; whatever ends the lines, with a BOM or not."""
    text = yaml.safe_dump(
        tree, default_style='"', allow_unicode=False, line_break=end, default_flow_style=flow, width=9999
    )
    source = load((bom + text).encode(), "x")
    assert source.data is not None
    for path, _ in walk(source.data):
        if path and isinstance(path[-1], str) and len(path[-1]) < 60:
            line, column = source.position(path, key=True)
            written = source.line(line)[column - 1 :].removeprefix("? ")
            assert yaml.safe_load(written[: closing_quote(written) + 1]) == path[-1]


def closing_quote(text: str) -> int:
    """Where a text in double quotes ends."""
    index = 1
    while text[index] != '"':
        index += 2 if text[index] == "\\" else 1
    return index


@given(st.binary(max_size=200) | st.text("{}[]:,-?*&!|>'\"%@`#\n\t ab\r", max_size=60).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_no_octets_raise(data: bytes) -> None:
    """Whatever the file holds: a tree, or findings in lines and columns that exist."""
    source = load(data, "x")
    assert source.data is not None or source.problems
    for problem in source.problems:
        assert 1 <= problem.line <= len(source.line_starts)
        assert 1 <= problem.column <= len(source.line(problem.line)) + 2
    for path, _ in walk(source.data) if source.data else ():
        source.position(path)
        source.locate(path, 3)


LOCATED = [
    ("a: xyz", 2, "z"),
    ("a: 'x''yz'", 3, "z"),
    ('a: "\\u00e4\\t\\x41z"', 3, "z"),
    ('a: "\U0001f600\\U0001f600z"', 2, "z"),
    ("a: |\n  xy\n  z\n", 3, "z"),
    ("a: |\n\n\n    xy\n      z\n", 7, "z"),
    ("a: |2-\n    x\n   z", 5, "z"),
    ("a: |1\n\n  \nb: c\n", 1, " "),
    ("a:\n  - |+\n    é\n\n    z\n\n", 3, "z"),
    ("a: |\r\n  xy\r\n  z\r\n", 3, "z"),
    ("a: | # why\n  xy\n  z", 3, "z"),
    ("a: >\n  xy\n  z", 3, ">"),
    ("a: x\n  z", 2, "x"),
    ("a: 'x\n  z'", 2, "'"),
]


@pytest.mark.parametrize(("text", "offset", "there"), LOCATED, ids=[case[0] for case in LOCATED])
def test_a_character_of_a_value_is_found_in_the_file(text: str, offset: int, there: str) -> None:
    """Exactly in one line and in literal blocks, at the start of the value in folded text."""
    source = read(text)
    path: Path = ("a", 0) if "- " in text else ("a",)
    line, column = source.locate(path, offset)
    assert source.line(line)[column - 1] == there


@given(st.lists(st.text("ab é\U0001f600", max_size=6), min_size=1, max_size=5), st.integers(1, 4), st.data())
@settings(deadline=None)
def test_each_character_of_a_literal_block_is_found(lines: list[str], indent: int, data: st.DataObject) -> None:
    """With an explicit indentation, leading blanks and empty lines, every offset leads to its character."""
    source = read(f"a: |{indent}\n" + "".join(" " * indent + line + "\n" for line in lines) + "b: c\n")
    node = source.node(("a",))
    assert isinstance(node, Scalar)
    text = node.text.rstrip("\n")
    if text:
        offset = data.draw(st.integers(0, len(text) - 1))
        line, column = source.locate(("a",), offset)
        assert (source.line(line) + "\n")[column - 1] == text[offset]


FOUND: list[tuple[bytes, list[tuple[int, int, str]]]] = [
    (b"", [(1, 1, "empty-file")]),
    (b"# only a comment\n", [(1, 1, "empty-file")]),
    (b"- a\n", [(1, 1, "not-a-mapping")]),
    (b"\xff\xfea\0", [(1, 1, "not-utf8")]),
    (b"a: b\n\xc3\xa4\xff: c\n", [(2, 2, "not-utf8")]),
    (b"\xef\xbb\xbfa: 1\na: 2\n", [(2, 1, "duplicate-key")]),
    (b"a: 1\r\na: 2\ra: 3\n", [(2, 1, "duplicate-key"), (3, 1, "duplicate-key")]),
    ("ä: 'x\u2028y'\nä: 2\n".encode(), [(2, 1, "duplicate-key")]),
    ("a: 'x\x85y'\na: 2\n".encode(), [(2, 1, "duplicate-key")]),
    (b"a: 1\na: {x: *b}\n", [(2, 1, "duplicate-key"), (2, 8, "yaml-alias")]),
    (b"<<: {a: b}\n'<<': c\n", [(1, 1, "yaml-merge-key")]),
    (b"a: &x !y b\n", [(1, 4, "yaml-anchor"), (1, 7, "yaml-tag")]),
    (b"{a: b}: c\n", [(1, 1, "non-text-key")]),
    (b"'': a\n'~': b\n~: c\n", [(3, 1, "non-text-key")]),
    (b"a: \x07\x07\nb: \x1b\n", [(1, 4, "control-character"), (2, 4, "control-character")]),
    (b"a: b\n---\nc: d\n", [(2, 1, "multiple-documents")]),
    (b"%YAML 1.2\n---\na: b\n", [(1, 1, "yaml-directive")]),
    (b"a: {{ x }}\nb: [{{ y }}]\n", [(1, 4, "yaml-syntax"), (2, 5, "yaml-syntax")]),
    (b"a: {b: {c: d}}\n", []),
    (b"a: {? {b: c} : d}\n", [(1, 7, "non-text-key")]),
    (b"a:\n\tb: c\n", [(2, 1, "yaml-syntax")]),
    (b"sops: {mac: x}\na: 1\n", [(1, 1, "sops-encrypted")]),
    (b"a: b" + b" " * (1 << 20), [(1, 1, "too-large")]),
    (b"a: " + b"[" * 49 + b"]" * 49, []),
    (b"a: " + b"[" * 50 + b"]" * 50, [(1, 53, "too-deep")]),
    (b"# " + b"x" * ((1 << 20) - 8) + b"\na: b\n", []),
]


@pytest.mark.parametrize(("data", "findings"), FOUND, ids=[repr(case[0][:20]) for case in FOUND])
def test_a_fault_is_found_at_its_place(data: bytes, findings: list[tuple[int, int, str]]) -> None:
    """Line, column and code, all faults of the file, and none that is not there."""
    assert told(load(data, "x")) == findings


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 30_000,
        b"{a: " * 30_000,
        b"- " * 30_000,
        b"? " * 30_000,
        b"a:\n" * 300_000,
        b"\0" * (1 << 20),
        b"[" * (1 << 20),
    ],
    ids=["lists", "mappings", "blocks", "keys", "duplicates", "zeros", "a MiB of lists"],
)
def test_a_hostile_file_ends_soon(data: bytes) -> None:
    """Nesting, repetition and binary rubbish cost no more than a moment, and are findings."""
    began = time.monotonic()
    source = load(data, "x")
    assert source.problems
    assert len(source.problems) <= 1000
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("count", [998, 999, 1000, 1001])
def test_the_last_finding_that_is_told_may_be_any(count: int) -> None:
    """A syntax error after a thousand duplicates, more or fewer, does not raise."""
    source = read("a: b\n" * (count + 1) + "c: [\n")
    assert source.data is None
    assert len(source.problems) == min(count + 1, 1000)


def test_a_duplicate_names_the_line_of_the_first() -> None:
    """Whoever reads the finding knows both places; the first value stays."""
    source = read("a: 1\nb: 2\na: 3\n")
    assert source.problems[0].message == "`a` stands here a second time, first in line 1"
    assert plain(source.data) == {"a": "1", "b": "2"}


def test_a_place_that_is_not_there_is_its_nearest_parents() -> None:
    """A missing key is told at the key of what should hold it, or at the start of the file."""
    source = read("# c\na:\n  b:\n    - c: d\n")
    assert source.position(("a", "b", 0, "x"), key=True) == (4, 7)
    assert source.position(("a", "x", "y"), key=True) == (2, 1)
    assert source.position(("x",), key=True) == (1, 1)
    assert source.position(("a", "b", 7)) == (4, 5)
    assert source.problem(("a", "x/y~"), "c", "m").pointer == "/a/x~1y~0"


@given(st.lists(TEXT | st.integers(0, 9), max_size=4))
def test_a_pointer_can_be_read_back(parts: list[str | int]) -> None:
    """A pointer is what RFC 6901 says."""
    read_back = [part.replace("~1", "/").replace("~0", "~") for part in pointer(tuple(parts)).split("/")[1:]]
    assert read_back == [str(part) for part in parts]
