"""Results of tests as JUnit's XML, which every CI server reads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET  # it writes only: nothing is parsed

# What XML 1.0 (2.2) cannot hold, not even as a reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test. `failure` is empty when it passed; `broken`: it could not be run."""

    name: str
    line: int
    failure: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one file; `elapsed_s` in seconds."""

    file: str
    gateway: str
    cases: Sequence[Case]
    elapsed_s: float = 0.0


def document(suites: Sequence[Suite]) -> bytes:
    """The report, in UTF-8."""
    root = ET.Element("testsuites", {"name": "smsgwd test", **_counts([case for one in suites for case in one.cases])})
    for suite in suites:
        members = {"name": _text(suite.file), **_counts(suite.cases), "time": f"{suite.elapsed_s:.3f}"}
        inside = ET.SubElement(root, "testsuite", members)
        for case in suite.cases:
            _add(inside, suite, case)
    ET.indent(root)
    written: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return written + b"\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    failed = [case for case in cases if case.failure]
    errors = sum(case.broken for case in failed)
    return {"tests": str(len(cases)), "failures": str(len(failed) - errors), "errors": str(errors), "skipped": "0"}


def _add(suite: ET.Element, of: Suite, case: Case) -> None:
    members = {"classname": _text(of.gateway), "name": _text(case.name), "file": _text(of.file), "line": str(case.line)}
    element = ET.SubElement(suite, "testcase", {**members, "time": "0"})
    if case.failure:
        first, *_ = case.failure.splitlines()
        told = ET.SubElement(element, "error" if case.broken else "failure", {"message": _text(first)})
        told.text = _text(case.failure)


def _text(text: str) -> str:
    return _NO_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
