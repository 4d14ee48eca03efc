"""The store that `otp` of smsgwd.yaml names, and what holds while it is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

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
        self._both: Both | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def store(self) -> Store:
        """The store for one call."""
        self.follow()
        return (self._both if self._settings().fail_open else self._redis) or self._memory

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
        self._both = None if self._redis is None else Both(self._redis, self._memory)

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
        self._redis = self._both = self._server = None
        if self._closing:
            await asyncio.wait(self._closing)


class Both:
    """A `Store` that is never lost: the shared one decides, and our own counts along and decides while it is lost.

    What our own has counted holds afterwards, too: of both verdicts the stricter one is given. The shared store is
    asked first, and our own hears of what that has counted: were both asked at once, of two right codes at one moment
    each could be the first in one of them, and neither in both. Each step runs to its end, also when its caller goes.
    """

    def __init__(self, shared: Store, own: Memory) -> None:
        self._shared = shared
        self._own = own
        self._running: set[asyncio.Task[Any]] = set()

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try, and judge it."""
        return await self._whole(self._judged(sealed, right=right, now=now, attempts=attempts))

    async def _judged(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        try:
            shared = await self._shared.judge(sealed, right=right, now=now, attempts=attempts)
        except StoreLostError:
            return await self._own.judge(sealed, right=right, now=now, attempts=attempts)
        if shared.reason not in (None, Reason.WRONG):
            return shared
        return _stricter(shared, await self._own.judge(sealed, right=right, now=now, attempts=attempts))

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
        return await self._whole(self._failed(key, now, window_s))

    async def _failed(self, key: str, now: float, window_s: float) -> int:
        shared = await _or(0, self._shared.failed(key, now=now, window_s=window_s))
        return max(shared, await self._own.failed(key, now=now, window_s=window_s))

    async def failures(self, key: str, *, now: float, window_s: float) -> int:
        """How many failures there are."""
        shared = await _or(0, self._shared.failures(key, now=now, window_s=window_s))
        return max(shared, await self._own.failures(key, now=now, window_s=window_s))

    async def excuse(self, key: str, *, now: float) -> None:
        """Take one failure back."""
        await self._own.excuse(key, now=now)
        await _or(None, self._shared.excuse(key, now=now))

    async def forgive(self, key: str) -> None:
        """Forget the failures."""
        await self._own.forgive(key)
        await _or(None, self._shared.forgive(key))

    async def close(self) -> None:
        """Close the shared store."""
        await self._shared.close()

    async def _whole(self, step: Coroutine[Any, Any, Answer]) -> Answer:
        task = asyncio.create_task(step)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left, and that is no reason to complain


async def _or(own: Answer, shared: Awaitable[Answer]) -> Answer:
    """What the shared store answers, or our own answer while it is lost."""
    try:
        return await shared
    except StoreLostError:
        return own


def _stricter(shared: Verdict, own: Verdict) -> Verdict:
    """The shared one has just counted this try; our own may know of more."""
    if own.verified or shared.reason is own.reason is Reason.WRONG:
        return min(shared, own, key=lambda verdict: verdict.attempts_left or 0)
    return own
