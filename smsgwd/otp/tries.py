"""How often each challenge was tried, and which were used: in memory, until they expire."""

import heapq
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from smsgwd.errors import RequestError
from smsgwd.otp.seal import Sealed

MOST = 200_000  # challenges that somebody has tried and that have not expired: some 60 MB


class Reason(StrEnum):
    """Why a code was not taken."""

    WRONG = "wrong"
    EXPIRED = "expired"
    USED = "used"
    TOO_MANY = "too_many"
    INVALID = "invalid"  # no id of ours, or one of another context


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a try. `attempts_left` is how many more this challenge takes; None where there is no challenge."""

    reason: Reason | None = None
    attempts_left: int | None = None

    @property
    def verified(self) -> bool:
        """Whether the code was right, in time, and the first that was."""
        return self.reason is None

    def as_dict(self) -> dict[str, Any]:
        """As the API answers it."""
        if self.reason is None:
            return {"verified": True}
        left = {} if self.attempts_left is None else {"attempts_left": self.attempts_left}
        return {"verified": False, "reason": str(self.reason), **left}


VERIFIED = Verdict()
INVALID = Verdict(Reason.INVALID)


@dataclass(slots=True)
class _Entry:
    failed: int = 0
    used: bool = False


class Tries:
    """Judges tries. Nothing in here waits, so on one event loop the counts are exact."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[bytes, _Entry] = {}
        self._ends: list[tuple[float, bytes]] = []  # a heap: what expires first

    def __len__(self) -> int:
        return len(self._entries)

    def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try and judge it. Raises RequestError overloaded when nothing more can be counted."""
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
