"""How much may be on its way to an SMSC, and what waits for its turn."""

import asyncio
import heapq
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from smsgwd.units import Deadline

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 5.0


class Pace:
    """The window of one bind: halved, after a pause, when the SMSC throttles, and grown again as it accepts."""

    __slots__ = ("_accepted", "_full", "_pause_s", "limit", "paused")

    def __init__(self, full: int) -> None:
        self._full = full
        self._pause_s = FIRST_PAUSE_S
        self._accepted = 0
        self.limit = full  # PDUs on their way
        self.paused = False

    @property
    def slowed(self) -> bool:
        """Whether the SMSC has throttled lately."""
        return self.paused or self.limit < self._full

    def throttled(self) -> float:
        """The SMSC has too much: pause for that many seconds, then say `resumed`.

        Not to be called in a pause: what else of the same window the SMSC sends back does not count again.
        """
        pause_s = jittered(self._pause_s)
        self.paused = True
        self.limit = max(1, self.limit // 2)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        self._accepted = 0
        return pause_s

    def resumed(self) -> None:
        """The pause is over."""
        self.paused = False

    def accepted(self) -> None:
        """The SMSC took one. A whole window of them lets the window grow by an eighth, and shortens the next pause."""
        self._accepted += 1
        if self._accepted >= self.limit:
            self._accepted = 0
            self.limit = min(self._full, self.limit + max(1, self._full // 8))
            self._pause_s = max(FIRST_PAUSE_S, self._pause_s / 2)


class Backoff:
    """Waits between attempts, each twice as long as the one before, up to a longest one."""

    __slots__ = ("_first_s", "_longest_s", "_next_s")

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait_s = self._next_s
        self._next_s = min(self._longest_s, wait_s * 2)
        return jittered(wait_s)

    def reset(self) -> None:
        """It went well: the next wait is the first one again."""
        self._next_s = self._first_s


def jittered(seconds: float) -> float:
    """Up to half as long again, so that many who wait do not come back at once."""
    return seconds * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What the SMSC said to one submit_sm. `status` is a command_status, 0 for success."""

    status: int
    message_id: str = ""


@dataclass(slots=True, eq=False)
class Item:
    """One submit_sm from the moment it wants to leave until its answer is known."""

    make: Callable[[], bytes]  # its body; called once, when it leaves
    turn: int  # its place in the queue
    answer: "asyncio.Future[Answer]"
    to_leave: Deadline
    on_its_way: bool = False  # someone may have it
    was_throttled: bool = False
    _body: bytes = b""

    @property
    def body(self) -> bytes:
        """The body, the same at each try."""
        self._body = self._body or self.make()
        return self._body

    def __lt__(self, other: "Item") -> bool:
        return self.turn < other.turn


@dataclass(slots=True)
class Queue:
    """What waits to be sent, by turns. A message has one turn: its later parts, and what was throttled, go first."""

    _turns: "itertools.count[int]" = field(default_factory=itertools.count)
    _newest: int = -1
    _fresh: "OrderedDict[int, Item]" = field(default_factory=OrderedDict)
    _begun: list[Item] = field(default_factory=list)  # a heap; about as many as the windows hold

    def turn(self) -> int:
        """The place of a message that comes now."""
        return next(self._turns)

    def put(self, item: Item) -> None:
        """Take one, at its turn."""
        if item.turn > self._newest:
            self._newest = item.turn
            self._fresh[item.turn] = item
        elif not item.answer.done():
            heapq.heappush(self._begun, item)

    def take(self) -> Item | None:
        """The next one that somebody still waits for."""
        while self:
            item = heapq.heappop(self._begun) if self._begun else self._fresh.popitem(last=False)[1]
            if not item.answer.done():
                return item
        return None

    def discard(self, item: Item) -> None:
        """Nobody waits for this one any more."""
        self._fresh.pop(item.turn, None)

    def __bool__(self) -> bool:
        return bool(self._fresh or self._begun)
