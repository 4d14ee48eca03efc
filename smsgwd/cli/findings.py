"""Findings for people and for programs."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from smsgwd.credentials import shown, shown_of_private
from smsgwd.errors import Problem, Severity, findings_document
from smsgwd.load import Source

EXCERPT_WIDTH = 100  # in columns, where no terminal says otherwise; a longer line is cut around the caret
_NARROWEST = 20
_GUTTER = len("    1 | ")
_TAB = "    "
_SECRET = "***"  # noqa: S105 - what stands for one
_CODES = {Severity.ERROR: "1;31", Severity.WARNING: "1;33"}  # ECMA-48: bold red, bold yellow


def as_text(
    problems: Iterable[Problem], sources: Mapping[str, Source], *, color: bool, columns: int | None = None
) -> str:
    """Each finding with its line and a caret: `file:7:22: error[code]: message`. Ends in a line break unless empty.

    `sources` are the files by the name that the findings give them. Nothing of a file can steer the terminal, and a
    literal secret shows in no excerpt. `columns`: how wide the terminal is, if it is one; excerpts are no wider.
    """
    problems = tuple(problems)
    room = EXCERPT_WIDTH if columns is None else min(EXCERPT_WIDTH, max(_NARROWEST, columns - _GUTTER - 1))
    hidden = _hidden(problems)
    return "".join(_finding(problem, sources.get(problem.file), hidden, room, color=color) for problem in problems)


def as_json(problems: Sequence[Problem], files: int) -> str:
    """The findings as one JSON document, for programs; `files` is how many were looked at."""
    return json.dumps(findings_document(problems, files), indent=2, ensure_ascii=False) + "\n"


def _hidden(problems: Iterable[Problem]) -> dict[tuple[str, int], int]:
    """From which column on a line holds a literal secret."""
    columns: dict[tuple[str, int], int] = {}
    for problem in problems:
        if problem.code == "literal-secret":
            line = (problem.file, problem.line)
            columns[line] = min(problem.column, columns.get(line, problem.column))
    return columns


def _finding(
    problem: Problem, source: Source | None, hidden: Mapping[tuple[str, int], int], width: int, *, color: bool
) -> str:
    place = f"{problem.file}:{problem.line}:{problem.column}"
    kind = f"{problem.severity}[{problem.code}]"
    painted = _CODES[problem.severity] if color else ""
    lines = [f"{_paint(printable(place), '1' if color else '')}: {_paint(kind, painted)}: {printable(problem.message)}"]
    if source and problem.line <= len(source.line_starts) and source.line(problem.line).strip():
        lines += _excerpt(problem, source, hidden.get((problem.file, problem.line)), width, painted)
    if problem.hint:
        lines.append(f"  hint: {printable(problem.hint)}")
    return "\n".join(lines) + "\n"


def _paint(text: str, codes: str) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def _excerpt(problem: Problem, source: Source, secret_from: int | None, width: int, painted: str) -> list[str]:
    """The line and a caret below it."""
    text, column = source.line(problem.line), problem.column
    if secret_from is not None:
        text = text[: secret_from - 1] + _SECRET
    text = shown_of_private(text) if source.private else shown(text)
    column = min(column, len(text) + 1)
    before, after = _window(printable(text[: column - 1]), printable(text[column - 1 :]), width)
    gutter = f"{problem.line:>5} | "
    caret = " " * (len(gutter) - 2) + "| " + " " * _width(before)
    return [f"{gutter}{before}{after}".rstrip(), caret + _paint("^", painted)]


def _window(before: str, after: str, width: int) -> tuple[str, str]:
    """As much of a long line as fits, around the place."""
    room = max(width - _width(before), width // 2)
    if _width(after) > room:
        after = _fitting(after, room - 1) + "…"
    room = width - min(_width(after), width // 2)
    if _width(before) > room:
        before = "…" + _fitting(before[::-1], room - 1)[::-1]
    return before, after


def _fitting(text: str, room: int) -> str:
    """The beginning of a text that is no wider than that."""
    width = 0
    for index, character in enumerate(text[: room + room]):
        width += _width(character)
        if width > room:
            return text[:index]
    return text[: room + room]


def _width(text: str) -> int:
    """How many columns of a terminal a printable text takes (Unicode UAX #11)."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str) -> str:
    """The text without what could steer a terminal or turn its direction: such characters show as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    if character.isprintable() or unicodedata.category(character) == "Zs" or character == "\u200d":
        return character  # U+200D joins emoji
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
