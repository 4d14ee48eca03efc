"""Durations and paces as people write them, and deadlines as points in time."""

import math
import re
import time
from dataclasses import dataclass, replace

_LONGEST_S = 366 * 86_400.0  # a year: sockets and clocks refuse what is beyond some hundred years
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)", re.ASCII)
_PACE = re.compile(r"([0-9]{1,9})/([0-9]{0,4})([smhd])", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `3s`, `2m` or `1h`; more than a year is a year.

    Raises ValueError, with the mend in its text, for anything else and for zero.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration is a whole number and a unit: 500ms, 3s, 2m or 1h")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError("a duration of zero is not possible: give at least 1ms")
    return min(seconds, _LONGEST_S)


@dataclass(frozen=True, slots=True)
class Pace:
    """So many in so long: at most `count` in any `window_s` seconds."""

    count: int
    window_s: float
    written: str

    def __str__(self) -> str:
        return self.written


def parse_pace(text: str) -> Pace:
    """The pace of `30/s`, `600/m`, `5/10m`, `100/h` or `2000/d`.

    Raises ValueError, with the mend in its text, for anything else and for zero.
    """
    match = _PACE.fullmatch(text)
    if match is None:
        raise ValueError("a pace is a whole number, a slash and a time: 30/s, 5/10m, 100/h or 2000/d")
    count, times = int(match[1]), int(match[2] or 1)
    if not count or not times:
        raise ValueError("a pace of zero is not possible: leave the limit out, or give at least 1")
    return Pace(count, times * _SECONDS[match[3]], text)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds.

    `leave_at` is another: a message that has not left by then is given up as unsent, because there is another way.
    """

    at: float
    leave_at: float = math.inf

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
        return replace(self, at=min(self.at, time.monotonic() + seconds))

    @property
    def to_leave(self) -> "Deadline":
        """By when a message has to have left; what has left may take all the time until the deadline."""
        return Deadline(min(self.at, self.leave_at))

    def share(self, ways: int) -> "Deadline":
        """This deadline, with one of so many equal parts of the time that is left as the time to leave."""
        return replace(self, leave_at=time.monotonic() + self.to_leave.remaining() / ways)
