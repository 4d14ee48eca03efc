"""Challenges: a one-time password goes out by SMS, and whoever brings it back with the transaction's id is believed.

There is no database: what a challenge has to remember travels in its id, sealed (`seal`). What no id can carry, how
often it was tried and that it was used, is counted in a `store`, until the challenge would end anyway.
"""

import hmac
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.otp.seal import KeyRing
from smsgwd.otp.storage import Storage
from smsgwd.otp.store import INVALID, Store, StoreLostError, Verdict
from smsgwd.outcome import Kind, Outcome
from smsgwd.registry import OtpSettings
from smsgwd.secret import Secret, key_of

__all__ = ["DIGITS", "TTL_S", "Challenges", "Clock", "StoreLostError", "Verdict", "Wanted"]

log = logging.getLogger("smsgwd.otp")

DIGITS = range(4, 11)
DEFAULT_DIGITS = 6
TTL_S = range(1, 3601)
DEFAULT_TTL_S = 300
_STAND_IN_S = 1.0  # what is counted of one is forgotten that fast
_SLACK_S = 60.0  # by so much the clock of another instance may be ahead of ours

Send = Callable[[SendRequest], Awaitable[Outcome]]


class Clock:
    """The time since the epoch, in seconds; it never goes back, and never slower than the monotonic clock.

    So a wall clock that is set back revives nothing that has expired, and keeps nothing alive for longer.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._now, self._read_at = wall(), monotonic()

    def now(self) -> float:
        """The time."""
        read_at = self._monotonic()
        self._now = max(self._wall(), self._now + read_at - self._read_at)
        self._read_at = read_at
        return self._now


@dataclass(frozen=True, slots=True)
class Wanted:
    """A challenge as the caller asked for it. `context` is bound to it: whoever verifies it has to give the same."""

    message: SendRequest
    digits: int = DEFAULT_DIGITS
    ttl_s: int = DEFAULT_TTL_S
    context: str = ""


class Challenges:
    """Issues challenges and verifies them, for one event loop; `settings` tells those that hold now.

    They are counted where the settings say, or in `store` if there is one. `observe` hears how each verification ended:
    `verified`, a reason, or `unavailable`.
    """

    def __init__(
        self,
        settings: Callable[[], OtpSettings],
        clock: Clock | None = None,
        store: Store | None = None,
        observe: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._observe = observe
        self.clock = clock or Clock()
        self.storage = Storage(settings)
        self._store = store
        self._own_key = os.urandom(32)
        self._given: Sequence[Secret] | None = None  # that the ring was made of
        self._ring = KeyRing([self._own_key])

    async def issue(self, wanted: Wanted, send: Send) -> tuple[str | None, Outcome]:
        """Send a new code: the id of the transaction, None unless the message was accepted, and the outcome."""
        code = new_code(wanted.digits)
        outcome = await send(replace(wanted.message, otp=code))
        if outcome.kind is not Kind.ACCEPTED:
            return None, outcome
        expires_at = self.clock.now() + wanted.ttl_s
        return self._keys().seal(code, expires_at, wanted.context), outcome

    @property
    def store(self) -> Store:
        """What remembers and counts, for one call: a reload may change it."""
        return self.storage.store if self._store is None else self._store

    async def verify(self, transaction_id: str, otp: str, context: str = "") -> Verdict:
        """Whether this code answers that challenge; a try is counted before anybody learns of it.

        Raises RequestError: storage-unavailable when the store is lost, overloaded when it cannot count any more.
        """
        try:
            verdict = await self._judged(transaction_id, otp, context)
        except RequestError:
            self._observe("unavailable")
            raise
        self._observe(str(verdict.reason or "verified"))
        return verdict

    async def pretend(self, otp: str, context: str) -> None:
        """Take the steps of `verify` for a code that nobody has: it takes as long. Raises RequestError, as above."""
        stand_in = self._keys().seal(new_code(DEFAULT_DIGITS), self.clock.now() + _STAND_IN_S, context)
        await self._judged(stand_in, otp, context)

    async def _judged(self, transaction_id: str, otp: str, context: str) -> Verdict:
        """The verdict. Wrong, used and expired take the same way; that an id is none is no secret."""
        now = self.clock.now()
        sealed = self._keys().open(transaction_id, context)
        if sealed is None or sealed.expires_at > now + TTL_S[-1] + _SLACK_S:
            return INVALID
        right = hmac.compare_digest(sealed.code.encode(), otp.encode("utf-8", "surrogatepass"))
        return await self.store.judge(sealed, right=right, now=now, attempts=self._settings().attempts)

    def _keys(self) -> KeyRing:
        given = self._settings().keys
        if given != self._given:
            self._given = given
            self._ring = KeyRing([key_of(key) for key in given] or [self._own_key])
            if not given:
                log.warning("no keys in `otp` of smsgwd.yaml: open challenges end with this process")
        return self._ring


def new_code(digits: int) -> str:
    """So many digits that nobody can guess."""
    return f"{secrets.randbelow(10**digits):0{digits}}"
