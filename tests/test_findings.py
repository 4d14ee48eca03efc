"""Findings: what people read, and what programs read."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.cli.findings import as_json, as_text, printable
from smsgwd.errors import Problem, Severity
from smsgwd.load import load


def shown(text: str, line: int, column: int, *, color: bool = False, code: str = "c") -> str:
    """One finding of a file of that text."""
    problem = Problem("x.yaml", line, column, code, "message", "hint")
    return as_text([problem], {"x.yaml": load(text.encode(), "x.yaml")}, color=color)


def test_a_finding_is_place_code_message_line_caret_and_hint() -> None:
    """A finding is four lines: where and what, the line itself, a caret, and the hint."""
    assert shown("a: 1\nb: 2\n", 2, 4) == ("x.yaml:2:4: error[c]: message\n    2 | b: 2\n      |    ^\n  hint: hint\n")


EXCERPTS = [
    ("a:\tb", 4, "a:    b", 6),
    ("漢字: b", 5, "漢字: b", 6),
    ("😀: b", 4, "😀: b", 4),
    ("e\u0301: b", 5, "e\u0301: b", 3),
    ("# \u202e: b", 6, "# \\u202e: b", 10),
]


@pytest.mark.parametrize(("text", "column", "line", "caret"), EXCERPTS)
def test_the_caret_stands_under_its_character(text: str, column: int, line: str, caret: int) -> None:
    """Below tabs, wide characters, emoji, accents and escapes, counted in columns of a terminal."""
    _, excerpt, pointed, _ = shown(text, 1, column).splitlines()
    assert excerpt == f"    1 | {line}"
    assert pointed.index("^") - len("      | ") == caret


@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 40), st.booleans())
def test_nothing_of_a_file_steers_the_terminal(text: str, words: str, column: int, color: bool) -> None:
    """Whatever a file, its name and its keys hold: our own colours are the only control sequences."""
    source = load(("a: " + text).encode("utf-8", "surrogatepass"), words)
    problem = Problem(words, 1, column, "c", words, words)
    output = as_text([problem], {words: source}, color=color)
    rest = re.sub("\x1b\\[[0-9;]*m", "", output) if color else output
    assert all(character.isprintable() or character in "\n\u200d" or character.isspace() for character in rest)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", rest)


@pytest.mark.parametrize("column", [1, 50, 500, 999, 1004])
def test_a_long_line_is_cut_around_its_caret(column: int) -> None:
    """The excerpt of a line of a thousand characters fits a screen, and the caret stays in it."""
    _, excerpt, pointed, _ = shown("a: " + "漢" * 1000, 1, column).splitlines()
    assert len(excerpt) < 120
    assert pointed.index("^") < 120


def test_a_literal_secret_is_in_no_excerpt() -> None:
    """Neither the finding itself nor another one of the same line shows it."""
    source = load(b"a: 1\nform: {pin: hunter2, b: c}\n", "x")
    found = [Problem("x", 2, 13, "literal-secret", "m"), Problem("x", 2, 22, "other", "m")]
    text = as_text(found, {"x": source}, color=False)
    assert "hunter2" not in text
    assert text.count("form: {pin: ***") == 2


UNREADABLE = ["password: hunter2: x", "x: {token=hunter2", "url: http://u:hunter2@h/: x", '"apiKey": "hunter2" y']


@pytest.mark.parametrize("line", UNREADABLE)
def test_a_line_that_cannot_be_read_shows_no_credential_either(line: str) -> None:
    """A syntax error beside a password does not bring the password into a build log."""
    source = load(line.encode(), "x")
    assert source.problems
    assert "hunter2" not in as_text(source.problems, {"x": source}, color=False)


def test_a_file_without_a_source_has_no_excerpt() -> None:
    """A finding of a file that could not be opened is still told."""
    assert as_text([Problem("x", 1, 1, "c", "m")], {}, color=False) == "x:1:1: error[c]: m\n"


def test_colour_is_only_where_it_is_asked_for() -> None:
    """A pipe gets plain text."""
    assert "\x1b[1;31merror[c]\x1b[0m" in shown("a: b", 1, 1, color=True)
    assert "\x1b" not in shown("a: b", 1, 1)


def test_the_document_counts_errors_and_warnings() -> None:
    """JSON has the findings and the three counts, and characters as they are."""
    problems = [Problem("é", 1, 2, "c", "m"), Problem("é", 1, 2, "c", "m", severity=Severity.WARNING)]
    document = json.loads(as_json(problems, 3))
    assert document == {"findings": [problem.as_dict() for problem in problems], "files": 3, "errors": 1, "warnings": 1}
    assert "é" in as_json(problems, 3)


def test_printable_text_stays_as_it_is() -> None:
    """Umlauts, CJK and emoji are no danger."""
    assert printable("größe 漢字 👩\u200d🔧 x") == "größe 漢字 👩\u200d🔧 x"
