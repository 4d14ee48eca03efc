"""Findings as workflow commands of GitHub Actions: each shows up at its line of a pull request."""

from collections.abc import Iterable
from pathlib import Path

from smsgwd.cli.findings import printable
from smsgwd.errors import Problem

_IN_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = _IN_DATA | str.maketrans({":": "%3A", ",": "%2C"})


def as_github(problems: Iterable[Problem]) -> str:
    """One command for each finding; `smsgwd explain CODE` is what its title is for. Each line ends."""
    return "".join(_command(problem) for problem in problems)


def _command(problem: Problem) -> str:
    properties = {
        "file": relative(problem.file),
        "line": str(problem.line),
        "col": str(problem.column),
        "title": problem.code,
    }
    place = ",".join(f"{name}={printable(value).translate(_IN_PROPERTY)}" for name, value in properties.items())
    words = "\n".join(printable(part) for part in (problem.message, problem.hint) if part)
    return f"::{problem.severity} {place}::{words.translate(_IN_DATA)}\n"


def relative(file: str) -> str:
    """A file by its path from the working directory where it is inside of it: that is how a repository knows it."""
    path, here = Path(file), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()
