"""Bad files beside the exact words that they get: tests/cases/bad/NAME.yaml and NAME.txt.

`UPDATE_CASES=1 pytest tests/test_bad_files.py` writes the words anew; read the difference before it is committed.
Files whose name begins with `site-` are read as smsgwd.yaml.
"""

import os
from pathlib import Path

import pytest

from smsgwd.cli.findings import as_text
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import Problem
from smsgwd.load import Source, load
from smsgwd.providers._base import Site

CASES = Path(__file__).parent / "cases" / "bad"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


def checked(name: str) -> tuple[Source, tuple[Problem, ...]]:
    """The file of a case, and its findings as `smsgwd check` has them."""
    path = CASES / f"{name}.yaml"
    source = load(path.read_bytes(), path.name)
    if name.startswith("site-"):
        return source, compile_site(source, Path(), resolve=False)[1]
    return source, compile_gateway(name, source, Site(), resolve=False)[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_gets_exactly_these_words(name: str) -> None:
    """Place, code, message, excerpt and hint of every finding are what the file beside the case says."""
    source, problems = checked(name)
    text = as_text(problems, {source.file: source}, color=False)
    words = CASES / f"{name}.txt"
    if os.environ.get("UPDATE_CASES"):
        words.write_text(text, "utf-8")
    assert words.read_text("utf-8") == text


@pytest.mark.parametrize("name", NAMES)
def test_no_word_about_a_bad_file_repeats_a_credential(name: str) -> None:
    """The credential of the cases, `hunter2`, is in no output, message, hint or pointer."""
    source, problems = checked(name)
    assert "hunter2" not in as_text(problems, {source.file: source}, color=True)
    assert not any("hunter2" in str(problem.as_dict()) for problem in problems)


def test_every_case_has_a_finding_and_every_word_a_case() -> None:
    """No case is a good file, and no text is left without its case."""
    assert all((CASES / f"{name}.txt").read_text("utf-8") for name in NAMES)
    assert sorted(path.stem for path in CASES.glob("*.txt")) == NAMES
    assert len(NAMES) >= 60
