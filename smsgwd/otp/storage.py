"""The store that `otp` of smsgwd.yaml names, and what holds while it is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from smsgwd.otp.memory import Memory
from smsgwd.otp.seal import Sealed
from smsgwd.otp.store import Reason, Store, StoreLostError, Verdict
from smsgwd.registry import OtpSettings, RedisServer

if TYPE_CHECKING:
    from smsgwd.otp.redis import Redis

log = logging.getLogger("smsgwd.otp")

Answer = TypeVar("Answer")


class Storage:
    """Has the store that holds now: the memory, a redis (`fail: closed`), or `Both` (`fail: open`)."""

    def __init__(self, settings: Callable[[], OtpSettings]) -> None:
        self._settings = settings
        self._memory = Memory()
        self._server: RedisServer | None = None
        self._redis: Redis | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def store(self) -> Store:
        """The store for one call."""
        self.follow()
        if self._redis is None:
            return self._memory
        return Both(self._redis, self._memory) if self._settings().fail_open else self._redis

    @property
    def up(self) -> bool:
        """Whether the store answers, as far as is known."""
        return self._redis is None or self._redis.up is True

    def follow(self) -> None:
        """Take over the storage that is configured now; the one before is closed after its last call."""
        server = self._settings().storage
        if server == self._server:
            return
        log.info("counting in another storage", extra={"storage": "memory" if server is None else server.name})
        self._let_go()
        self._server = server
        self._redis = None if server is None else self._opened(server)

    def _opened(self, server: RedisServer) -> "Redis":
        from smsgwd.otp.redis import Redis  # noqa: PLC0415 - the package is an extra, and takes 0.1 s to import

        return Redis(server, lambda reason: self._tell(server, reason))

    def _tell(self, server: RedisServer, reason: str | None) -> None:
        """Log that a redis answers, or why it does not, and what holds then."""
        if reason is None:
            log.info("the storage answers", extra={"storage": server.name})
        else:
            fail = "open" if self._settings().fail_open else "closed"
            log.error("the storage is lost", extra={"storage": server.name, "reason": reason, "fail": fail})

    def _let_go(self) -> None:
        if self._redis is not None:
            task = asyncio.create_task(self._redis.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close what is open, after its last call."""
        self._let_go()
        self._redis, self._server = None, None
        if self._closing:
            await asyncio.wait(self._closing)


class Both:
    """A `Store` that is never lost: all is counted in the shared one and in our own, and the stricter one decides.

    So what this instance has counted holds before, while and after the shared store is lost.
    """

    def __init__(self, shared: Store, own: Memory) -> None:
        self._shared = shared
        self._own = own

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try, and judge it."""
        own = await self._own.judge(sealed, right=right, now=now, attempts=attempts)
        shared = await _or(own, self._shared.judge(sealed, right=right, now=now, attempts=attempts))
        return _stricter(own, shared)

    async def remember(self, user: str, transaction_id: str, *, now: float, expires_at: float) -> None:
        """Keep the user's open transaction."""
        await self._own.remember(user, transaction_id, now=now, expires_at=expires_at)
        await _or(None, self._shared.remember(user, transaction_id, now=now, expires_at=expires_at))

    async def recall(self, user: str, *, now: float) -> str | None:
        """The user's open transaction; the shared store may know a later one of another instance."""
        own = await self._own.recall(user, now=now)
        return await _or(own, self._shared.recall(user, now=now)) or own

    async def failed(self, key: str, *, now: float, window_s: float) -> int:
        """Count a failure."""
        own = await self._own.failed(key, now=now, window_s=window_s)
        return max(own, await _or(own, self._shared.failed(key, now=now, window_s=window_s)))

    async def failures(self, key: str, *, now: float, window_s: float) -> int:
        """How many failures there are."""
        own = await self._own.failures(key, now=now, window_s=window_s)
        return max(own, await _or(own, self._shared.failures(key, now=now, window_s=window_s)))

    async def forgive(self, key: str) -> None:
        """Forget the failures."""
        await self._own.forgive(key)
        await _or(None, self._shared.forgive(key))

    async def close(self) -> None:
        """Close the shared store."""
        await self._shared.close()


async def _or(own: Answer, shared: Awaitable[Answer]) -> Answer:
    """What the shared store answers, or our own answer while it is lost."""
    try:
        return await shared
    except StoreLostError:
        return own


def _stricter(own: Verdict, shared: Verdict) -> Verdict:
    if own.verified or shared.verified:
        return shared if own.verified else own
    if own.reason is shared.reason is Reason.WRONG:
        return min(own, shared, key=lambda verdict: verdict.attempts_left or 0)
    return own if shared.reason is Reason.WRONG else shared
