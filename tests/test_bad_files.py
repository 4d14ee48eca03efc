"""Bad files beside the exact words that they get: tests/cases/bad/NAME.yaml and NAME.txt.

`UPDATE_CASES=1 pytest tests/test_bad_files.py` writes the words anew; read the difference before it is committed.
Files whose name begins with `site-` are read as smsgwd.yaml, `token-` as a token file.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsgwd import schema
from smsgwd.cli.findings import as_text
from smsgwd.compile import compile_gateway, compile_site, compile_token
from smsgwd.errors import Problem
from smsgwd.load import Source, load
from smsgwd.providers._base import Site

CASES = Path(__file__).parent / "cases" / "bad"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


def checked(name: str) -> tuple[Source, tuple[Problem, ...]]:
    """The file of a case, and its findings as `smsgwd check` has them."""
    path = CASES / f"{name}.yaml"
    source = load(path.read_bytes(), path.name, private=name.startswith("token-"))
    if name.startswith("token-"):
        return source, compile_token(name, source)[1]
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


def known_words(part: Any) -> set[str]:
    """The keys and choices of a schema."""
    if isinstance(part, list):
        return {word for item in part for word in known_words(item)}
    if not isinstance(part, dict):
        return {part} if isinstance(part, str) and len(part) < 20 else set()
    return {*part.get("properties", {}), *(word for value in part.values() for word in known_words(value))}


ODD = [
    "",
    "~",
    "null",
    "yes",
    "-1",
    "1e400",
    "{{ x }}",
    "{{ phone",
    "{otp}",
    "(",
    "<a",
    "https://u:p@h/",
    "0s",
    "a\nb",
    "é😀",
]
KNOWN = sorted(known_words(schema.read("gateway")) | known_words(schema.read("smsgwd")))
WORDS = st.sampled_from(KNOWN) | st.sampled_from([*ODD, "9" * 400])
SCALARS = WORDS | st.booleans() | st.integers(-5, 70000) | st.none() | st.floats(allow_nan=False)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
)


def of(name: str, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings whose keys are those of a schema, and whose values are anything."""
    free = {key: TREES for key in schema.read(name)["properties"] if key not in fixed}
    return st.fixed_dictionaries(dict(fixed), optional=free)


GATEWAYS = of(
    "gateway", provider=st.sampled_from(["http", "console"]), settings=TREES | of("http", url=st.just("http://h/"))
)
WRITTEN = {"default_style": st.sampled_from([None, '"', "'", "|"]), "default_flow_style": st.booleans()}


@given(GATEWAYS | of("smsgwd"), st.fixed_dictionaries(WRITTEN))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_file_is_a_traceback(tree: dict[str, Any], style: dict[str, Any]) -> None:
    """Known keys with any values, written in any style: a gateway, or findings at places that exist."""
    source = load(yaml.safe_dump(tree, allow_unicode=True, **style).encode(), "x.yaml")
    compiled: tuple[object, tuple[Problem, ...]]
    if "provider" in tree:
        compiled = compile_gateway("x", source, Site(), resolve=False)
    else:
        compiled = compile_site(source, Path(), resolve=False)
    assert compiled[0] is not None or compiled[1]
    assert all(1 <= problem.column <= len(source.line(problem.line)) + 2 for problem in compiled[1])
    assert as_text(compiled[1], {source.file: source}, color=False).count("\nx.yaml:") == max(len(compiled[1]) - 1, 0)
