"""What the HTTP class makes of an option's value: JSON where it can be read as JSON, else text.

privacyIDEA puts number and message in first and reads then, so that they decide what is JSON. Here the value is read
with marks for the tags: its type comes from the configuration alone.
"""

import json
import math
import re
from typing import Any

from smsgwd.privacyidea import tags

# A text that is not closed is taken to the end, so that each character is looked at once.
_STRING_OR_MARK = re.compile(rf'("(?:[^"\\]|\\.)*(?:"|\\?\Z))|([{tags.PHONE}{tags.MESSAGE}])', re.DOTALL)
_TYPOGRAPHIC = re.compile("[“”„‟«»]")
_LONGEST_NUMBER = 99  # digits; a gateway file holds no longer ones


def read(value: str) -> tuple[Any, bool]:
    """The value with marks in its texts, and whether a tag stood where JSON has a number or a word."""
    marked = tags.mark(value)
    for text, bare in ((marked, False), (_STRING_OR_MARK.sub(_quoted, marked), True)):
        parsed = _parsed(text)
        if parsed is not None and not (bare and isinstance(parsed[0], str)):
            return parsed[0], bare
    return marked, False


def _quoted(found: re.Match[str]) -> str:
    return found[1] or f'"{found[2]}"'


def _parsed(text: str) -> tuple[Any] | None:
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return None


def parameters(value: Any) -> list[str]:
    """What goes out for a value in a query or form: requests repeats the parameter for what is inside a list.

    `None` is left out; of a mapping the keys are sent.
    """
    items = list(value) if isinstance(value, list | dict) else [value]
    return [text for item in items if item is not None for text in _inside(item)]


def _inside(item: Any) -> list[str]:
    return [_shown(each) for each in item] if isinstance(item, list | dict) else [_shown(item)]


def _shown(item: Any) -> str:
    """As Python shows it; what is nested deeper than requests looks has its marks written as escapes then."""
    return str(item).replace(r"\ufdd0", tags.PHONE).replace(r"\ufdd1", tags.MESSAGE)


def is_nearly_json(value: str) -> bool:
    """Whether only typographic quotes keep the value from being JSON: a manual's web page may show such."""
    return _parsed(value) is None and _parsed(_TYPOGRAPHIC.sub('"', tags.mark(value))) is not None


def is_carried(value: Any) -> bool:
    """Whether a gateway file can hold the value inside `json` with its type: most numbers, and all but numbers."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**_LONGEST_NUMBER
