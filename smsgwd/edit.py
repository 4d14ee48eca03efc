"""Changes what a gateway file says and leaves the rest of its text as it is."""

from collections.abc import Mapping
from typing import Any

from smsgwd.dump import dump


def edited(text: str, data: Mapping[str, Any]) -> str:
    """The text, changed so that it says exactly `data`. Comments and the order of keys stay as far as they can."""
    comments = [line.removeprefix("#").removeprefix(" ") for line in text.split("\n") if line.startswith("#")]
    return dump(data, comments)
