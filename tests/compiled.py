"""Compiles the text of one file, for tests of what is said about it."""

from pathlib import Path

from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import Problem
from smsgwd.load import load
from smsgwd.providers._base import Site


def problems(text: str, *, secrets: bool = False) -> tuple[Problem, ...]:
    """The findings of a gateway file."""
    return compile_gateway("x", load(text.encode(), "x.yaml"), Site(), resolve=secrets)[1]


def site_problems(text: str) -> tuple[Problem, ...]:
    """The findings of a smsgwd.yaml."""
    return compile_site(load(text.encode(), "smsgwd.yaml"), Path(), resolve=False)[1]


def told(text: str) -> list[str]:
    """Line, column and code of each finding of a gateway file: `2:9 unknown-key`."""
    return [f"{problem.line}:{problem.column} {problem.code}" for problem in problems(text)]
