"""`dump` writes what `load`, and PyYAML, read back the same."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.dump import dump
from smsgwd.load import Mapping, Node, Scalar, Sequence, load

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["yes", "No", "null", "~", "", "12:30", "0171", "1e5", "0x1f", "=", "<<", "a: b", "a #b", "- a", "a,b", "3s", "'\""]
)
SCALARS = TEXT | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXT, inside, max_size=4), max_leaves=12
)


def plain(node: Node | None) -> Any:
    """The data of a tree, each scalar as the text that was written."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    assert isinstance(node, Sequence)
    return [plain(item) for item in node.items]


def as_text(value: Any) -> Any:
    """The data with each scalar as YAML writes it."""
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.lists(TEXT, max_size=2))
def test_load_reads_what_dump_wrote(data: dict[str, Any], comments: list[str]) -> None:
    """Whatever the data and the comments hold, `load` finds no fault and the same data in the same order."""
    source = load(dump(data, comments).encode(), "x.yaml")
    assert source.problems == ()
    assert plain(source.data) == as_text(data)
    assert isinstance(source.data, Mapping)
    assert list(source.data.entries) == list(data)


@given(
    st.dictionaries(
        TEXT, st.recursive(TEXT, lambda inside: st.lists(inside) | st.dictionaries(TEXT, inside)), max_size=4
    )
)
def test_other_readers_guess_no_type(data: dict[str, Any]) -> None:
    """Text is text to PyYAML too, which takes `no` for a boolean and 12:30 for 750 where it can."""
    if data:
        assert yaml.safe_load(dump(data)) == data


@pytest.mark.parametrize(
    ("data", "file"),
    [
        ({"phone": {"format": "verbatim"}}, "phone: {format: verbatim}\n"),
        ({"a": {"b": "1", "c": "x"}}, 'a:\n  b: "1"\n  c: x\n'),
        ({"s": {"t": {"connect": "3s", "total": "6s"}}}, "s:\n  t: {connect: 3s, total: 6s}\n"),
        ({"s": {"status": [200, 201, 202]}}, "s:\n  status: [200, 201, 202]\n"),
        ({"s": [{"match": r"^\+", "replace": ""}]}, "s:\n  - {match: '^\\+', replace: \"\"}\n"),
        ({"p": {"r": [{"match": "^0", "replace": "00"}]}}, 'p:\n  r:\n    - {match: "^0", replace: "00"}\n'),
        ({"d": "Mail to SMS, by hand"}, "d: Mail to SMS, by hand\n"),
        ({"s": {"x": ["a, b"]}}, 's:\n  x: ["a, b"]\n'),
        ({"d": 'it\'s "so"'}, "d: 'it''s \"so\"'\n"),
        ({"d": "a\nb\u2028"}, 'd: "a\\nb\\u2028"\n'),
    ],
)
def test_how_it_looks(data: dict[str, Any], file: str) -> None:
    """Short collections stand on one line, text is quoted where a type could be guessed, and no other."""
    assert dump(data) == file


def test_comments_stay_comments() -> None:
    """A comment of several lines, or with a line break of another kind, adds no key."""
    assert dump({"a": "b"}, ["one\ntwo: 2", "three\u2028four"]) == "# one\n# two: 2\n# three\\u2028four\na: b\n"
