"""What one-time passwords need remembered, and what a store of it has to do.

Three things that no id can carry: how often a challenge was tried and that it was used, which transaction of a user is
open, and how many wrong PINs came lately. A store keeps each of them until its time is over and no longer. It counts
before it tells: whoever hears that a code was wrong has been counted, also one who does not wait for the answer.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from smsgwd.errors import RequestError
from smsgwd.otp.seal import Sealed


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


class StoreLostError(RequestError):
    """The store cannot be asked now. A call of the API that lets it pass answers 503 `storage-unavailable`."""

    def __init__(self, detail: str = "the storage of one-time passwords cannot be asked now") -> None:
        super().__init__("storage-unavailable", detail)


class Store(Protocol):
    """Remembers and counts. Times are in seconds since the epoch, from the clock of the challenges (`Clock`).

    Each call is one step: of any number at the same moment, also from several instances, each sees all that came
    before it. Each but `close` raises StoreLostError when the store cannot be asked; a `Memory` has no such moment.
    """

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try, and judge it. Raises RequestError overloaded when nothing more can be counted."""

    async def remember(self, user: str, transaction_id: str, *, now: float, expires_at: float) -> None:
        """Keep the user's open transaction until it expires, in the place of an earlier one."""

    async def recall(self, user: str, *, now: float) -> str | None:
        """The user's open transaction: the last one that was remembered, if it has not expired."""

    async def failed(self, key: str, *, now: float, window_s: float) -> int:
        """Count a failure of `key`, a wrong PIN: how many there are in its window, this one included.

        The window is fixed: it begins with the first failure and ends `window_s` later, whatever comes in between, and
        the next failure begins a new one.
        """

    async def failures(self, key: str, *, now: float, window_s: float) -> int:
        """How many failures of `key` are in its window; counts nothing."""

    async def excuse(self, key: str, *, now: float) -> None:
        """Take one failure of `key` back, if there is one; its window stays as it is."""

    async def forgive(self, key: str) -> None:
        """Forget the failures of `key`."""

    async def close(self) -> None:
        """Let go of what the store holds open. What it has counted may outlive it."""


def name_of(kind: str, name: str) -> str:
    """What a store calls a user, or a key of failures: of one length, and nobody reads the name in it."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, person=kind.encode()).hexdigest()
