"""`smsgwd check --format github` and `--format sarif`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command import CHECKOUT, run
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from readers_of_ours import node_modules

from smsgwd.cli.github import as_github
from smsgwd.cli.sarif import as_sarif
from smsgwd.errors import Problem, Severity
from smsgwd.explanations import explanations

CASES = CHECKOUT / "tests" / "cases" / "bad"
COMMAND = re.compile(r"::(error|warning) file=([^,]*),line=(\d+),col=(\d+),title=([^,:]*)::(.*)")


def problem(**members: Any) -> Problem:
    given = {"file": "gateways.d/x.yaml", "line": 2, "column": 3, "code": "unknown-key", "message": "m", **members}
    return Problem(**given)


def read(command: str) -> tuple[str, ...]:
    """A workflow command as the runner of GitHub Actions reads it."""
    found = COMMAND.fullmatch(command)
    assert found, command
    signs = {"%25": "%", "%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}
    return tuple(re.sub("%25|%0D|%0A|%3A|%2C", lambda sign: signs[sign[0]], group) for group in found.groups())


def test_a_finding_for_github() -> None:
    """A command with severity, file, line, column and code; message and hint are its text."""
    text = as_github([problem(hint="h: i, 100%", severity=Severity.WARNING)])
    assert text == "::warning file=gateways.d/x.yaml,line=2,col=3,title=unknown-key::m%0Ah: i, 100%25\n"


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_breaks_out_of_a_command(file: str, message: str) -> None:
    """Whatever a file is called and a key in it: each finding is one command, and one line."""
    found = [problem(file=f"d/{file}x", message=message), problem()]
    first, second = as_github(found).removesuffix("\n").split("\n")
    assert read(second)[1:] == ("gateways.d/x.yaml", "2", "3", "unknown-key", "m")
    assert read(first)[0] == "error"


def test_a_file_of_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An absolute path inside of the working directory is named from there, in both formats."""
    monkeypatch.chdir(tmp_path)
    inside, outside = problem(file=str(tmp_path / "a b.yaml")), problem(file="/etc/smsgwd/x.yaml")
    assert [read(line)[1] for line in as_github([inside, outside]).splitlines()] == ["a b.yaml", "/etc/smsgwd/x.yaml"]
    results = json.loads(as_sarif([inside, outside]))["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
    assert places == [{"uri": "a%20b.yaml", "uriBaseId": "%SRCROOT%"}, {"uri": "file:///etc/smsgwd/x.yaml"}]


@pytest.fixture(scope="module")
def sarif_schema() -> Draft4Validator:
    """The schema of SARIF 2.1.0, as Microsoft's package ships it."""
    path = node_modules() / "@microsoft" / "jest-sarif" / "lib" / "schemas" / "sarif-2.1.0-rtm.5.json"
    return Draft4Validator(json.loads(path.read_text("utf-8")))


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    done = run(capsys, "check", "--config", str(CHECKOUT), "--format", "sarif", *arguments)
    assert done.err == ""
    return done.code, json.loads(done.out)


def test_sarif_of_all_bad_files(capsys: pytest.CaptureFixture[str], sarif_schema: Draft4Validator) -> None:
    """The document of hundreds of findings is valid against the schema, and holds what --format json holds."""
    code, document = check(capsys, str(CASES))
    assert [error.message for error in sarif_schema.iter_errors(document)] == []
    (only,) = document["runs"]
    listed = json.loads(run(capsys, "check", "--config", str(CHECKOUT), "--format", "json", str(CASES)).out)["findings"]
    assert code == 1
    assert [result["ruleId"] for result in only["results"]] == [finding["code"] for finding in listed]
    regions = [result["locations"][0]["physicalLocation"]["region"] for result in only["results"]]
    assert regions == [{"startLine": one["line"], "startColumn": one["column"]} for one in listed]
    rules = only["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in only["results"])
    assert "hunter2" not in json.dumps(document)


def test_sarif_without_findings(capsys: pytest.CaptureFixture[str], sarif_schema: Draft4Validator) -> None:
    """A run without results is a valid document, too, and exit code 0."""
    code, document = check(capsys, str(CHECKOUT / "gateways.d" / "console.yaml"))
    assert (code, document["runs"][0]["results"]) == (0, [])
    assert [error.message for error in sarif_schema.iter_errors(document)] == []


def test_every_rule_is_valid(sarif_schema: Draft4Validator) -> None:
    """Whatever the code: its rule has a description, help and level."""
    document = json.loads(as_sarif([problem(code=code) for code in explanations()]))
    assert [error.message for error in sarif_schema.iter_errors(document)] == []
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == set(explanations())


def test_check_for_github(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints commands alone on standard output, and the count beside them."""
    done = run(capsys, "check", "--config", str(CHECKOUT), "--format", "github", str(CASES / "template-name.yaml"))
    assert done.code == 1
    assert [read(line)[4] for line in done.out.splitlines()] == ["no-success-rule", "unknown-name", "unknown-name"]
    assert done.err == "1 file, 2 errors, 1 warning\n"
