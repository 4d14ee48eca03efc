"""A store in a redis that several instances share. Imported only where one is configured: the package is an extra.

Each step is one command or one script, which redis runs by itself: whatever asks at the same moment, the counts are
exact. A key is a prefix and a hash (of a challenge: its nonce), so nobody reads a name, a number or a code in it, and
each goes by itself soon after its challenge, transaction or window has ended.

A step is never asked twice: nobody knows whether one that was not answered has been counted, and a code that it has
used up would be told used. It is asked whether its caller waits or not. From a server that hangs all who wait are free
after `PATIENCE_S`.
"""

import asyncio
import contextlib
import math
import os
import re
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import redis.asyncio as client
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from smsgwd.errors import RequestError
from smsgwd.otp.seal import Sealed
from smsgwd.otp.store import Reason, StoreLostError, Verdict, name_of
from smsgwd.registry import RedisServer

PREFIX = "smsgwd:otp:"
CONNECTIONS = 16
CONNECT_S = 1.0
ANSWER_S = 1.0
PATIENCE_S = 2.0  # for connection and answer together
MOST_ASKED = 2_000  # at once, in tasks of two for each; what comes beyond is refused
LOOK_S = 5.0  # how often a server that answers is looked at
LOOK_AGAIN_S = 0.25  # and one that does not
_SLACK_MS = 60_000  # a count is kept for so much longer: the clock of another instance may be behind ours

# On each path the same three commands, a write among them, so that no answer comes sooner than another.
_JUDGE: Final = """
local life, attempts, right, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local tried = redis.call('GET', KEYS[1]) or '0'
local verdict, left = nil, 0
if life <= 0 then
  verdict = 'expired'
elseif tried == 'used' then
  verdict = 'used'
elseif tonumber(tried) >= attempts then
  verdict = 'too_many'
elseif right == '1' then
  verdict, tried = 'verified', 'used'
else
  tried = tonumber(tried) + 1
  verdict, left = 'wrong', attempts - tried
end
redis.call('SET', KEYS[1], tried, 'PX', math.max(keep, redis.call('PTTL', KEYS[1])))
return {verdict, left}
"""
_FAILED: Final = """
local count = redis.call('INCR', KEYS[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""
_EXCUSE: Final = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count > 0 then redis.call('SET', KEYS[1], count - 1, 'PX', math.max(1, redis.call('PTTL', KEYS[1]))) end
return count
"""

# What a server says of itself, by the first word of its error.
_SAYS = {
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it refuses the user or the password",
    "NOPERM": "the user may not run a command that is needed (eval, get, set, del, incr, pttl, pexpire)",
    "READONLY": "it is a replica, which takes no writes",
    "OOM": "its memory is full",
    "LOADING": "it is loading its data",
    "MISCONF": "it takes no writes because it cannot save them",
    "BUSY": "it is busy with a script",
    "MASTERDOWN": "it is a replica that has lost its master",
    "NOREPLICAS": "it has too few replicas to take a write",
    "CLUSTERDOWN": "its cluster is down",
    "MOVED": "it is part of a cluster, which is not supported",
}
_WORD = re.compile(r"\b(?:" + "|".join(_SAYS) + r")\b")
# Of some the library makes a class, and cuts the word off.
_CLASSES = {
    exceptions.BusyLoadingError: _SAYS["LOADING"],
    exceptions.MasterDownError: _SAYS["MASTERDOWN"],
    exceptions.ClusterDownError: _SAYS["CLUSTERDOWN"],
    exceptions.MovedError: _SAYS["MOVED"],
    exceptions.NoPermissionError: _SAYS["NOPERM"],
    exceptions.OutOfMemoryError: _SAYS["OOM"],
    exceptions.ReadOnlyError: _SAYS["READONLY"],
    exceptions.AuthenticationError: "it wants a user or a password, or refuses those that it gets",
    exceptions.TimeoutError: "it does not answer in time",
    TimeoutError: "it does not answer in time",
}


class Redis:
    """A `Store`. `up` says whether the server answers; None until it was asked for the first time.

    While it does not, nobody but `_look` asks it, four times a second: callers are refused at once, and a server that
    comes back is not overrun. `tell` hears of each change: the reason of a loss in our words (a server's own may repeat
    a password), or None when the server answers.
    """

    def __init__(self, server: RedisServer, tell: Callable[[str | None], None]) -> None:
        self.up: bool | None = None
        self._tell = tell
        self._changes = 0  # how often it was found to be lost, or to answer
        self._redis = client.Redis.from_pool(_pool(server))
        self._running: set[asyncio.Task[Any]] = set()
        self._turns = asyncio.Semaphore(CONNECTIONS - 1)  # one is left for `_look`
        self._doubted = asyncio.Event()
        self._looking = asyncio.create_task(self._look())

    async def judge(self, sealed: Sealed, *, right: bool, now: float, attempts: int) -> Verdict:
        """Count a try, and judge it."""
        life_ms = math.ceil((sealed.expires_at - now) * 1000)
        key = f"{PREFIX}tried:{sealed.nonce.hex()}"
        word, left = await self._ask("EVAL", _JUDGE, 1, key, life_ms, attempts, int(right), _kept_ms(life_ms))
        return Verdict() if word == b"verified" else Verdict(Reason(word.decode()), int(left))

    async def remember(self, user: str, transaction_id: str, *, now: float, expires_at: float) -> None:
        """Keep the user's open transaction."""
        life_ms = max(1, math.ceil((expires_at - now) * 1000))
        await self._ask("SET", _open(user), transaction_id, "PX", life_ms)

    async def recall(self, user: str, *, now: float) -> str | None:  # noqa: ARG002 - it goes by the server's clock
        """The user's open transaction."""
        found = await self._ask("GET", _open(user))
        return None if found is None else found.decode()

    async def failed(self, key: str, *, now: float, window_s: float) -> int:  # noqa: ARG002 - as `recall`
        """Count a failure."""
        return int(await self._ask("EVAL", _FAILED, 1, _failed(key), math.ceil(window_s * 1000)))

    async def failures(self, key: str, *, now: float, window_s: float) -> int:  # noqa: ARG002 - as it began
        """How many failures there are."""
        return int(await self._ask("GET", _failed(key)) or 0)

    async def excuse(self, key: str, *, now: float) -> None:  # noqa: ARG002 - as `recall`
        """Take one failure back."""
        await self._ask("EVAL", _EXCUSE, 1, _failed(key))

    async def forgive(self, key: str) -> None:
        """Forget the failures."""
        await self._ask("DEL", _failed(key))

    async def close(self) -> None:
        """Close the connections, when all that was asked has been answered; what is counted stays."""
        self._looking.cancel()
        while self._running:
            await asyncio.wait(self._running)
        await asyncio.wait({self._looking})
        await self._redis.aclose()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _ask(self, *command: str | int) -> Any:
        """The answer to a command, which is asked whether somebody waits for it or not."""
        if len(self._running) >= MOST_ASKED:
            raise RequestError("overloaded", "too much is asked of the storage of one-time passwords")
        return await asyncio.shield(self._begin(self._asked(*command)))

    async def _asked(self, *command: str | int) -> Any:
        async with self._turns:  # many at one moment are no reason to think that a server is slow
            if self.up is False:
                raise StoreLostError
            began = self._changes
            try:
                return await self._answer(*command)
            except Exception as error:  # noqa: BLE001 - whatever the library raises: there is no answer
                if began == self._changes:  # else it is older than what is known by now
                    self._lost(_words(error))
                raise StoreLostError from None  # what is below may quote the server

    async def _answer(self, *command: str | int) -> Any:
        """The answer of the server, if it comes in time.

        A command is never cancelled: that could lose its connection to the pool. The library's own timeouts end it.
        """
        task = self._begin(self._redis.execute_command(*command))  # type: ignore[no-untyped-call] # theirs has no types
        await asyncio.wait({task}, timeout=PATIENCE_S)
        if not task.done():
            raise TimeoutError
        return task.result()

    def _begin(self, step: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(step)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left, and the loop would print a server's words

    # --- how it stands --------------------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        self._stands(up=False, reason=reason)
        self._doubted.set()

    def _stands(self, *, up: bool, reason: str | None = None) -> None:
        if up is not self.up:
            self.up = up
            self._changes += 1
            self._tell(reason)

    async def _look(self) -> None:
        """Learn how the server stands, by a step as others are: one that takes no writes is no store."""
        probe = f"{PREFIX}look:{os.urandom(8).hex()}"
        while True:
            try:
                await self._answer("EVAL", _JUDGE, 1, probe, 0, 1, 0, 1000)
            except Exception as error:  # noqa: BLE001 - whatever a server answers, a later look may find it well
                self._lost(_words(error))
            else:
                self._stands(up=True)
                self._doubted.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._doubted.wait()
            if not self.up:
                await asyncio.sleep(LOOK_AGAIN_S)


def _kept_ms(life_ms: int) -> int:
    return max(life_ms, 0) + _SLACK_MS


def _open(user: str) -> str:
    return f"{PREFIX}open:{name_of('user', user)}"


def _failed(key: str) -> str:
    return f"{PREFIX}failed:{name_of('failed', key)}"


def _pool(server: RedisServer) -> client.BlockingConnectionPool:
    kind: type[client.Connection | client.UnixDomainSocketConnection] = client.Connection
    options: dict[str, Any] = {"host": server.host, "port": server.port}
    if server.path:
        kind, options = client.UnixDomainSocketConnection, {"path": server.path}
    elif server.tls:
        kind, options = client.SSLConnection, options | {"ssl_check_hostname": True}
    return client.BlockingConnectionPool(
        max_connections=CONNECTIONS,
        timeout=ANSWER_S,
        connection_class=kind,
        db=server.database,
        username=server.username or None,
        password=None if server.password is None else server.password.reveal(),
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **options,
    )


def _words(error: BaseException) -> str:
    """Why there was no answer, in our words."""
    told = next(filter(None, (_own_words(one) for one in _chain(error))), "")
    if not told and isinstance(error, exceptions.ConnectionError):
        return "the connection was lost"
    return told or f"what it answers is not understood ({type(error).__name__})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from: the library wraps one in the other."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _own_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if not isinstance(error, ssl.SSLError) else "TLS failed"
    word = _WORD.search(str(error))
    by_class = next((words for kind, words in _CLASSES.items() if isinstance(error, kind)), "")
    return by_class or (_SAYS[word[0]] if word else "")
