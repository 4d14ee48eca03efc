"""A store in the memory of this process: nothing of it outlives a restart, and no other instance sees it.

It is bounded. A challenge that was tried is never forgotten before it expires: when there are too many of them, further
ones are refused. Of open transactions and of failures the oldest are forgotten first: the transaction that was
remembered, or the key that has failed, the longest time ago. A key here is a hash of a name, so that long names take
no more than short ones.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from smsgwd.errors import RequestError
from smsgwd.otp.seal import Sealed
from smsgwd.otp.store import VERIFIED, Reason, Verdict, name_of

MOST_TRIED = 200_000  # challenges that somebody has tried and that have not expired: some 60 MB
MOST_RECENT = 100_000  # of open transactions, and of keys that failed: some 30 MB each

Value = TypeVar("Value")


class Memory:
    """A `Store`. Nothing in here waits, so on one event loop the counts are exact."""

    def __init__(self, most_tried: int = MOST_TRIED, most_recent: int = MOST_RECENT) -> None:
        self._tries = _Tries(most_tried)
        self._open = _Recent[str](most_recent)
        self._failures = _Recent[int](most_recent)

    def __len__(self) -> int:
        return len(self._tries) + len(self._open) + len(self._failures)

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try, and judge it. Raises RequestError overloaded when nothing more can be counted."""
        return self._tries.judge(sealed, right=right, now=now, attempts=attempts)

    async def remember(self, user: str, transaction_id: str, *, now: float, expires_at: float) -> None:
        """Keep the user's open transaction."""
        self._open.put(name_of("user", user), transaction_id, now, expires_at)

    async def recall(self, user: str, *, now: float) -> str | None:
        """The user's open transaction."""
        found = self._open.get(name_of("user", user), now)
        return None if found is None else found[0]

    async def failed(self, key: str, *, now: float, window_s: float) -> int:
        """Count a failure."""
        name = name_of("failed", key)
        count, ends_at = self._failures.get(name, now) or (0, now + window_s)
        self._failures.put(name, count + 1, now, ends_at)
        return count + 1

    async def failures(self, key: str, *, now: float, window_s: float) -> int:  # noqa: ARG002 - as it began
        """How many failures there are."""
        count, _ = self._failures.get(name_of("failed", key), now) or (0, 0.0)
        return count

    async def excuse(self, key: str, *, now: float) -> None:
        """Take one failure back."""
        name = name_of("failed", key)
        found = self._failures.get(name, now)
        if found is not None and found[0] > 0:
            self._failures.put(name, found[0] - 1, now, found[1])

    async def forgive(self, key: str) -> None:
        """Forget the failures."""
        self._failures.drop(name_of("failed", key))

    async def close(self) -> None:
        """There is nothing to let go of."""


@dataclass(slots=True)
class _Entry:
    failed: int = 0
    used: bool = False


class _Tries:
    """How often each challenge was tried, and which were used, until they expire."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[bytes, _Entry] = {}
        self._ends: list[tuple[float, bytes]] = []  # a heap: what expires first

    def __len__(self) -> int:
        return len(self._entries)

    def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        self._forget(now)
        if sealed.expires_at <= now:
            return Verdict(Reason.EXPIRED, 0)
        entry = self._entry(sealed)
        if entry.used:
            return Verdict(Reason.USED, 0)
        if entry.failed >= attempts:
            return Verdict(Reason.TOO_MANY, 0)
        if right:
            entry.used = True
            return VERIFIED
        entry.failed += 1
        return Verdict(Reason.WRONG, attempts - entry.failed)

    def _entry(self, sealed: Sealed) -> _Entry:
        entry = self._entries.get(sealed.nonce)
        if entry is None:
            if len(self._entries) >= self._most:
                raise RequestError("overloaded", "too many challenges are being tried: no more can be counted")
            entry = self._entries[sealed.nonce] = _Entry()
            heapq.heappush(self._ends, (sealed.expires_at, sealed.nonce))
        return entry

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            del self._entries[heapq.heappop(self._ends)[1]]


class _Recent(Generic[Value]):
    """Values, each until its end; of more than `most` the one that was put the longest time ago goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str, now: float) -> tuple[Value, float] | None:
        """The value and its end."""
        found = self._values.get(key)
        return None if found is None or found[1] <= now else found

    def put(self, key: str, value: Value, now: float, ends_at: float) -> None:
        """Keep a value; what is at its end in the front of the line goes."""
        self._values[key] = (value, ends_at)
        self._values.move_to_end(key)
        while self._values and (len(self._values) > self._most or self._front_ends_at() <= now):
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a value."""
        self._values.pop(key, None)

    def _front_ends_at(self) -> float:
        return next(iter(self._values.values()))[1]
