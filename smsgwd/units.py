"""Durations as people write them, and deadlines as points in time."""

import re
import time
from dataclasses import dataclass

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `3s`, `2m` or `1h`.

    Raises ValueError, with the mend in its text, for anything else and for zero.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration is a whole number and a unit: 500ms, 3s, 2m or 1h")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError("a duration of zero is not possible: give at least 1ms")
    return seconds


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self.at

    def earlier(self, seconds: float) -> "Deadline":
        """This deadline, or the one that many seconds from now if that comes first."""
        return Deadline(min(self.at, time.monotonic() + seconds))
