import io
import json
import sys

import pytest
from command import run


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Your code is 123456.", "1 segment, gsm7, 20 of 160 septets"),
        ("[€]", "1 segment, gsm7, 6 of 160 septets"),
        ("a" * 160, "1 segment, gsm7, 160 of 160 septets"),
        ("a" * 161, "2 segments, gsm7, 161 of 306 septets"),
    ],
)
def test_gsm7(capsys: pytest.CaptureFixture[str], text: str, line: str) -> None:
    """A text of the GSM alphabet is one line: segments, encoding, how full they are."""
    done = run(capsys, "count", text)
    assert (done.code, done.out, done.err) == (0, line + "\n", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("\x1b[2J", "holds a control character other than a tab, line or page break"),
        ("a" * 10_001, "is longer than 10,000 characters"),
    ],
)
def test_what_would_be_rejected(capsys: pytest.CaptureFixture[str], text: str, why: str) -> None:
    """A text that no gateway takes is counted all the same, and that is said."""
    done = run(capsys, "count", text)
    assert (done.code, done.err) == (0, f"smsgwd: it would be rejected: the text {why}\n")
    assert "segment" in done.out


def test_ucs2(capsys: pytest.CaptureFixture[str]) -> None:
    """The characters that make a text UCS-2 are named, each once, in their order."""
    done = run(capsys, "count", "“Hi” “😀”")
    assert done.out.splitlines() == [
        "1 segment, ucs2, 9 of 70 UTF-16 units",
        "not in the GSM alphabet: “ U+201C LEFT DOUBLE QUOTATION MARK",
        "not in the GSM alphabet: ” U+201D RIGHT DOUBLE QUOTATION MARK",
        "not in the GSM alphabet: 😀 U+1F600 GRINNING FACE",
    ]


def test_much_foreign_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many foreign characters the first ten are named, the others counted."""
    lines = run(capsys, "count", "абвгдежзийкл").out.splitlines()
    assert len(lines) == 12
    assert lines[-1] == "and 2 further characters"


def test_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A character that would steer the terminal is shown as an escape."""
    done = run(capsys, "count", "\x1b[2J")
    assert "\x1b" not in done.out
    assert "not in the GSM alphabet: \\x1b U+001B" in done.out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json tells the same to programs."""
    assert json.loads(run(capsys, "count", "--json", "a“").out) == {
        "segments": 1,
        "encoding": "ucs2",
        "units": 2,
        "per_segment": 70,
        "characters": 2,
        "not_gsm7": [{"character": "“", "code_point": "U+201C", "name": "LEFT DOUBLE QUOTATION MARK"}],
    }


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` counts standard input, less one line break at its end."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abc\n")))
    assert run(capsys, "count", "-").out == "1 segment, gsm7, 3 of 160 septets\n"


def test_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that no message can hold fails with its reason."""
    done = run(capsys, "count", "a" * 40_000)
    assert (done.code, done.out) == (1, "")
    assert "255" in done.err
