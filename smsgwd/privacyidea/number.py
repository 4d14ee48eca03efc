"""REGEXP: how privacyIDEA rewrites the number before anything else."""

import re
import warnings
from typing import Any

from smsgwd import msisdn
from smsgwd.privacyidea.sheet import Sheet

_REGEXP = re.compile("/(.*)/(.*)/$")
_PART = re.compile(
    r"(\\N\{[^}]*\}|\\.)|\[(\^?\]?(?:\\.|[^\]\\])*)\]|\{(?!(?:[0-9]+,?[0-9]*|,[0-9]*)\})",  # an escape, a set, a brace
    re.DOTALL,
)
_IN_SET = re.compile(r"\\.|\[", re.DOTALL)


def phone(sheet: Sheet, regexp: str) -> dict[str, Any]:
    """`phone` of the gateway file: the number as the caller wrote it, rewritten as REGEXP says."""
    rule = _rule(sheet, regexp) if regexp else None
    return {"format": msisdn.VERBATIM, **({"rewrite": [rule]} if rule else {})}


def _rule(sheet: Sheet, regexp: str) -> dict[str, str] | None:
    found = _REGEXP.match(regexp) if regexp.endswith("/") and "\n" not in regexp else None  # one look at each character
    if found is None:
        sheet.remark("REGEXP is not of the form /pattern/replacement/: it is left out, as privacyIDEA ignores it")
        return None
    match, replace = found.groups()
    if fault := _python_fault(match, replace):
        sheet.remark(f"REGEXP is left out, as privacyIDEA does not apply it: {fault}")
        return None
    match = _PART.sub(_as_re_reads, match) or "(?:)"  # a rule needs a pattern, and an empty one fits everywhere
    try:
        msisdn.compile_rewrite(match, replace)
    except ValueError:
        sheet.remark("REGEXP is left out: smsgwd cannot read this regular expression")
        return None
    return {"match": match, "replace": replace}


def _as_re_reads(found: re.Match[str]) -> str:
    """A part of a pattern, in which `[[:alpha:]]` and `x{e<=1}` are what they are to `re`: nothing special.

    smsgwd's engine, `regex`, knows them as a POSIX class and a fuzzy count.
    """
    if found[1]:
        return found[1]
    if found[2] is None:
        return r"\{"
    return f"[{_IN_SET.sub(_escaped, found[2])}]"


def _escaped(part: re.Match[str]) -> str:
    return r"\[" if part[0] == "[" else part[0]


def _python_fault(match: str, replace: str) -> str:
    """Why Python's `re` refuses pattern or replacement; nothing if it takes them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what a later Python may read otherwise
            re.compile(match).sub(replace, "")
    except (re.error, IndexError, RecursionError, OverflowError) as error:
        return f"it is no regular expression ({type(error).__name__})"
    return ""
