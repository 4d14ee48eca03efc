"""What each code of a finding means: title, cause, mend and an example. The texts stand in explanations.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from smsgwd.errors import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One code. `bad` and `good` are a file with the finding and the same without it; else there is an `example`."""

    code: str
    part: str  # of docs/findings.md
    title: str
    cause: str
    mend: str
    severity: Severity = Severity.ERROR
    bad: str = ""
    good: str = ""
    example: str = ""
    secrets: bool = False  # it is found only where secrets are read
    file: str = "gateway"  # what `bad` and `good` are: a gateway file, a token file or smsgwd.yaml (`smsgwd`)


@cache
def explanations() -> Mapping[str, Explanation]:
    """All of them by code, in the order of the page."""
    parts = tomllib.loads(files("smsgwd").joinpath("explanations.toml").read_text("utf-8"))
    found = (_explanation(part, code, texts) for part, codes in parts.items() for code, texts in codes.items())
    return MappingProxyType({explanation.code: explanation for explanation in found})


def _explanation(part: str, code: str, texts: dict[str, Any]) -> Explanation:
    severity = Severity(texts.pop("severity", Severity.ERROR))
    return Explanation(code=code, part=part, severity=severity, **texts)
