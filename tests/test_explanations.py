"""Every code is explained, every explanation is true, and the page and the verb say the same."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, python, run

from smsgwd.compile import compile_gateway, compile_site, compile_token, gateway_problems
from smsgwd.errors import Problem
from smsgwd.explanations import Explanation, explanations
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Registry, SiteConfig

PACKAGE = CHECKOUT / "smsgwd"
KNOWN = explanations()
WITH_FILES = [one for one in KNOWN.values() if one.bad]
# What makes a finding, and what carries the code of one to it.
MAKERS = {
    *("problem", "_problem", "Problem", "replace", "Fault", "_Finding", "UrlError", "report", "_report", "_fault"),
    *("at_value", "_unreadable", "_made", "_refuse", "_fail", "_warning", "_wrong", "_instead"),
}
WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+|internal|unreadable")
# Words of the same form that are arguments of the same calls, or codes of requests: no codes of findings.
OTHERS = {"utf-8", "utf-8-sig", "latin-1", "utf-16-be"}


def made(path: Path) -> Iterator[str]:
    """The codes of findings that a module makes: arguments of those calls, and what constants and tuples give them."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                yield from (one for part in given for one in texts(part))
        elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            yield from (one for one in texts(node.value) if one in KNOWN)


def texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from [node.value] if WORD.fullmatch(node.value) and node.value not in OTHERS else []
    for child in ast.iter_child_nodes(node):
        yield from texts(child)


def all_made() -> set[str]:
    return {code for path in PACKAGE.rglob("*.py") if path.parent.name != "server" for code in made(path)}


def test_every_code_that_is_made_is_explained() -> None:
    """No module makes a finding whose code `smsgwd explain` does not know."""
    assert all_made() - set(KNOWN) == set()


def test_every_code_that_is_explained_is_made() -> None:
    """No explanation is left of a finding that nothing makes any more."""
    assert set(KNOWN) - all_made() == set()


def test_every_code_of_the_bad_files_is_explained() -> None:
    """What the cases of tests/cases/bad get is explained, too."""
    words = "".join(path.read_text("utf-8") for path in (CHECKOUT / "tests" / "cases" / "bad").glob("*.txt"))
    assert set(re.findall(r"(?:error|warning)\[([a-z0-9-]+)\]", words)) - set(KNOWN) == set()


TEXTS = "provider: console\ntemplates: {login: {text: 'Code {{ otp }}'}, greeting: {text: Hello}}\n"
OTHER_FILES = {
    "console": "provider: console\n",
    "disabled": "provider: console\nenabled: false\n",
    "texts": TEXTS,
}


def found(explained: Explanation, text: str) -> dict[str, Problem]:
    """The findings of a file called `example`, beside gateways: one with templates, and one that is disabled."""
    if explained.file == "smsgwd":
        _, told = compile_site(load(text.encode(), "smsgwd.yaml"), CHECKOUT, resolve=explained.secrets)
        return {problem.code: problem for problem in told}
    entries = []
    files = OTHER_FILES if explained.file == "token" else {**OTHER_FILES, "example": text}
    for name, content in files.items():
        source = load(content.encode(), f"{name}.yaml")
        served, problems = compile_gateway(name, source, Site(), resolve=explained.secrets)
        entries.append(Entry.of(name, served, problems))
    registry = Registry.of(entries, SiteConfig())
    of_token = found_in_token(text, registry) if explained.file == "token" else []
    return {problem.code: problem for problem in (*registry.problems, *of_token)}


def found_in_token(text: str, registry: Registry) -> list[Problem]:
    token, problems = compile_token("example", load(text.encode(), "tokens.d/example.yaml"))
    return [*problems, *(gateway_problems(token, registry.entries) if token else ())]


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that examples speak of."""
    monkeypatch.setenv("API_TOKEN", "canary-4711")
    monkeypatch.setenv("API_TOKEN_OF_3_CHARACTERS", "abc")
    monkeypatch.delenv("API_TOKEN_THAT_IS_NOT_SET", raising=False)


@pytest.mark.parametrize("explained", WITH_FILES, ids=lambda one: one.code)
def test_the_bad_example_has_the_finding(explained: Explanation) -> None:
    """`bad` has it, with the severity that the explanation names."""
    problem = found(explained, explained.bad)[explained.code]
    assert problem.severity == explained.severity


@pytest.mark.parametrize("explained", WITH_FILES, ids=lambda one: one.code)
def test_the_good_example_has_no_finding(explained: Explanation) -> None:
    """`good` is a file without any finding, this one and all others."""
    assert found(explained, explained.good) == {}


@pytest.mark.parametrize("explained", KNOWN.values(), ids=lambda one: one.code)
def test_every_explanation_is_whole(explained: Explanation) -> None:
    """Title, cause, mend, and either an example or two files; sentences where there are sentences."""
    assert explained.title
    assert explained.title[-1] not in ".:"
    assert explained.cause.endswith(".")
    assert bool(explained.example) != bool(explained.bad and explained.good)
    assert explained.mend


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """The verb prints severity, code, title, cause, mend and both files."""
    done = run(capsys, "explain", "single-brace")
    assert done.code == 0
    assert done.out.startswith("warning[single-brace]: a name in single braces\n\n`{otp}` is sent as it stands.")
    assert "\n\nTo mend it: Write {{ otp }}.\n\nWith this finding:\n\n    provider: console\n" in done.out
    assert run(capsys, "explain", "warning[single-brace]").out == done.out


@pytest.mark.parametrize("explained", KNOWN.values(), ids=lambda one: one.code)
def test_explain_every_code(capsys: pytest.CaptureFixture[str], explained: Explanation) -> None:
    """Whatever the code, there is an answer that no terminal takes for orders."""
    done = run(capsys, "explain", explained.code)
    assert done.code == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out)


def test_explain_without_a_code_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each code, with its severity and title."""
    done = run(capsys, "explain")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(KNOWN)
    assert all(line.split()[1] in {"error", "warning"} for line in lines)


def test_explain_a_code_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is wrong usage, and the nearest code is named."""
    done = run(capsys, "explain", "single-braces")
    assert (done.code, done.out) == (2, "")
    assert "there is no code 'single-braces'; did you mean single-brace?" in done.err
    assert "`smsgwd explain` lists them all" in run(capsys, "explain", "xyz").err


def test_explain_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are wrapped to the width of the terminal; examples are files and stay as they are."""
    monkeypatch.setenv("COLUMNS", "40")
    sentences = run(capsys, "explain", "may-exceed-segments").out.split("With this finding")[0].splitlines()
    assert max(map(len, sentences)) <= 40


def test_the_page_is_fresh() -> None:
    """docs/findings.md is what tools/describe_findings.py makes of the explanations today."""
    command = python(str(CHECKOUT / "tools" / "describe_findings.py"), "--check")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_has_every_code() -> None:
    """Each code has a heading of its own, to link to."""
    page = (CHECKOUT / "docs" / "findings.md").read_text("utf-8")
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == list(KNOWN)
    assert json.dumps(page, ensure_ascii=False).count("\\u00") == 0
