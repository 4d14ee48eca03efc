"""Findings as SARIF 2.1.0 (OASIS), which GitHub, GitLab and editors read as results of an analysis."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smsgwd import __version__
from smsgwd.cli.findings import printable
from smsgwd.cli.github import relative
from smsgwd.errors import Problem
from smsgwd.explanations import Explanation, explanations

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(problems: Sequence[Problem]) -> str:
    """One run with its results, and the rules that these are about."""
    codes = sorted({problem.code for problem in problems})
    rules = {code: index for index, code in enumerate(codes)}
    run = {
        "tool": {"driver": {"name": "smsgwd", "version": __version__, "rules": [_rule(code) for code in codes]}},
        "columnKind": "unicodeCodePoints",  # 3.14.17: how `column` counts
        "results": [_result(problem, rules) for problem in problems],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    """What a code means (3.49)."""
    explained = explanations()[code]
    return {
        "id": code,
        "shortDescription": {"text": explained.title},
        "fullDescription": {"text": explained.cause},
        "help": {"text": f"{explained.cause}\n\n{explained.mend}", "markdown": _markdown(explained)},
        "defaultConfiguration": {"level": str(explained.severity)},
    }


def _markdown(explained: Explanation) -> str:
    parts = [explained.cause, f"**Mend:** {explained.mend}"]
    parts += [f"```yaml\n{_printable_lines(text)}```" for text in (explained.bad, explained.good) if text]
    return "\n\n".join(parts)


def _printable_lines(text: str) -> str:
    """Each line without what could steer a terminal."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


def _result(problem: Problem, rules: Mapping[str, int]) -> dict[str, Any]:
    """One finding (3.27)."""
    region = {"startLine": problem.line, "startColumn": problem.column}
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(problem.file), "region": region}}
    if problem.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.pointer}]
    return {
        "ruleId": problem.code,
        "ruleIndex": rules[problem.code],
        "level": str(problem.severity),
        "message": {"text": "\n".join(printable(part) for part in (problem.message, problem.hint) if part)},
        "locations": [location],
    }


def _artifact(file: str) -> dict[str, str]:
    """A file of the repository, or one elsewhere (3.4)."""
    path = relative(file)
    if Path(path).is_absolute():
        return {"uri": "file://" + quote(path)}
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
