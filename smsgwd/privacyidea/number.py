"""REGEXP: how privacyIDEA rewrites the number before anything else."""

import re
import warnings
from typing import Any

from smsgwd import msisdn
from smsgwd.privacyidea.sheet import Sheet

_REGEXP = re.compile("^/(.*)/(.*)/$")
_READ_OTHERWISE = re.compile(r"\[\[:|\{(?![0-9,]*\})")  # POSIX classes and fuzzy counts, which Python's `re` has not


def phone(sheet: Sheet, regexp: str) -> dict[str, Any]:
    """`phone` of the gateway file: the number as the caller wrote it, rewritten as REGEXP says."""
    rule = _rule(sheet, regexp) if regexp else None
    return {"format": msisdn.VERBATIM, **({"rewrite": [rule]} if rule else {})}


def _rule(sheet: Sheet, regexp: str) -> dict[str, str] | None:
    found = _REGEXP.match(regexp)
    if found is None:
        sheet.remark("REGEXP is not of the form /pattern/replacement/: it is left out, as privacyIDEA ignores it")
        return None
    match, replace = found.groups()
    if fault := _python_fault(match, replace):
        sheet.remark(f"REGEXP is left out, as privacyIDEA does not apply it: {fault}")
        return None
    match = match or "(?:)"  # a rule needs a pattern, and an empty one fits everywhere
    try:
        msisdn.compile_rewrite(match, replace)
    except ValueError:
        sheet.remark("REGEXP is left out: smsgwd cannot read this regular expression")
        return None
    if _READ_OTHERWISE.search(match):
        sheet.remark("REGEXP may mean another thing to smsgwd, which knows [[:alpha:]] and {e<=1}: look at it")
    return {"match": match, "replace": replace}


def _python_fault(match: str, replace: str) -> str:
    """Why Python's `re` refuses pattern or replacement; nothing if it takes them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what a later Python may read otherwise
            re.compile(match).sub(replace, "")
    except (re.error, IndexError, RecursionError, OverflowError) as error:
        return f"it is no regular expression ({type(error).__name__})"
    return ""
