"""What left in the last so many seconds.

It is counted whenever one looks: `5/10m` means that no ten minutes, wherever they begin, see more than five. (A token
bucket is smaller, but lets twice as much pass after a rest: twice the budget of a day.)
"""

import logging
import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from smsgwd.units import Pace

log = logging.getLogger("smsgwd.limits")

MOST_NUMBERS = 200_000  # that are counted at once under one name; each takes some 400 octets
# Marks in a window; beyond them neighbours become one: never twice as many.
MANY, MANY_OF_A_CALLER, _MANY_OF_A_NUMBER = 1_000, 100, 32


@dataclass(slots=True)
class _Mark:
    """What left between two moments; it counts from the later one."""

    since: float
    at: float
    count: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A part of a window that one message takes."""

    window: "Window"
    mark: _Mark
    count: int


class Window:
    """What left in the last `pace.window_s` seconds. `now` is a time in seconds, on any one clock.

    With more than `many` marks it is coarser, by that part of the window: something may count for longer, never less.
    """

    __slots__ = ("_held", "_many", "_marks", "_used")

    def __init__(self, many: int = MANY) -> None:
        self._held = 0  # of what is used: it has not left yet
        self._many = many
        self._marks: list[_Mark] = []
        self._used = 0

    def used(self, now: float, pace: Pace) -> int:
        """How much is counted."""
        over = 0
        for mark in self._marks:
            if mark.at + pace.window_s > now:
                break
            self._used -= mark.count
            mark.count = 0
            over += 1
        del self._marks[:over]
        return self._used

    def fits_at(self, now: float, pace: Pace, count: int, ahead: int = 0) -> float:
        """When so much more fits, behind `ahead` that wait already; not after `now` where it fits now.

        What is more than the whole window fits into an empty one: it borrows.
        """
        due = self.used(now, pace) + ahead + min(count, pace.count) - pace.count  # has to be over by then
        rounds = max(0, -((self._used - due) // pace.count))  # of those that wait, and have to be over as well
        due -= rounds * pace.count
        at = now
        for mark in self._marks:
            if due <= 0:
                break
            due -= mark.count
            at = mark.at + pace.window_s
        if due > 0:  # on some that have not left yet
            at = now + pace.window_s
        return at + rounds * pace.window_s

    def take(self, now: float, pace: Pace, count: int) -> list[Taken]:
        """Count so much as leaving now, and what does not fit as leaving in the windows that follow."""
        taken = []
        while count > 0:
            part = min(count, pace.count)
            taken.append(Taken(self, self._marked(now, pace, part), part))
            count -= part
            now += pace.window_s
        return taken

    def hold(self, count: int) -> Taken:
        """Count so much until it is given back: it may leave later."""
        self._used += count
        self._held += count
        return Taken(self, _Mark(math.inf, math.inf, count), count)

    def _marked(self, at: float, pace: Pace, count: int) -> _Mark:
        """Some may be of later times already: what a long message has borrowed, before the pace was raised."""
        self._used += count
        place = bisect_right(self._marks, at, key=lambda mark: mark.at)
        before = self._marks[place - 1] if place and len(self._marks) >= self._many else None
        if before is not None and at - before.since < pace.window_s / self._many:
            before.at = at
            before.count += count
            return before
        mark = _Mark(at, at, count)
        self._marks.insert(place, mark)
        return mark

    def give_back(self, taken: Taken) -> None:
        """Count it no more; what is over is not counted anyway."""
        count = min(taken.count, taken.mark.count)
        taken.mark.count -= count
        self._used -= count
        self._held -= count if taken.mark.at == math.inf else 0

    def fits_beside_what_left(self, now: float, pace: Pace, count: int) -> bool:
        """Whether so much may leave now, whatever else is held."""
        return self.used(now, pace) - self._held + count <= pace.count


def give_back(taken: Iterable[Taken]) -> None:
    """Count none of it any more."""
    for one in taken:
        one.window.give_back(one)


class Recipients:
    """A window for each number, by a keyed hash of it; the one that was written to last is the last."""

    def __init__(self) -> None:
        self._windows: OrderedDict[bytes, Window] = OrderedDict()
        self._complained = False

    def used(self, now: float, pace: Pace) -> int:
        """How many numbers there are of which something counts."""
        while self._windows:
            first = next(iter(self._windows))
            if self._windows[first].used(now, pace):
                break
            del self._windows[first]
        return len(self._windows)

    def of(self, number: bytes) -> Window:
        """The window of a number, to be looked at."""
        return self._windows.get(number) or Window(_MANY_OF_A_NUMBER)

    def kept(self, now: float, pace: Pace, number: bytes) -> Window:
        """The window of a number of which something is going to be taken."""
        if self.used(now, pace) >= MOST_NUMBERS and number not in self._windows:
            self._forget_one()
        window = self._windows[number] = self.of(number)
        self._windows.move_to_end(number)
        return window

    def _forget_one(self) -> None:
        self._windows.popitem(last=False)
        if not self._complained:
            self._complained = True
            log.warning("per_recipient: more than %d numbers at once; the oldest are forgotten early", MOST_NUMBERS)
