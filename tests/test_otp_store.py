import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from command import CHECKOUT
from patience import until
from redis_server import Server, redis_server

from smsgwd.errors import RequestError
from smsgwd.otp.memory import Memory
from smsgwd.otp.redis import CONNECTIONS, MOST_ASKED, Redis
from smsgwd.otp.seal import Sealed
from smsgwd.otp.storage import Both
from smsgwd.otp.store import Store, StoreLostError, Verdict
from smsgwd.registry import RedisServer
from smsgwd.secret import Secret

NOW = 1_800_000_000.0
Opened = Callable[[], AbstractAsyncContextManager[Store]]


def sealed(number: int, expires_at: float = NOW + 300) -> Sealed:
    """A challenge."""
    return Sealed(number.to_bytes(12, "big"), expires_at, "123456")


def short(verdict: Verdict) -> str:
    """`verified`, or the reason and the attempts that are left."""
    return "verified" if verdict.verified else f"{verdict.reason} {verdict.attempts_left}"


@dataclass
class Tries:
    """Tries at challenges of one store."""

    store: Store
    attempts: int = 3

    async def __call__(self, challenge: Sealed, *, right: bool, now: float = NOW) -> str:
        """The verdict in short."""
        return short(await self.store.judge(challenge, right=right, now=now, attempts=self.attempts))


@dataclass
class Told:
    """What a redis says of itself."""

    words: list[str | None] = field(default_factory=list)

    @property
    def lost(self) -> list[str]:
        """Why it was lost."""
        return [word for word in self.words if word is not None]


@asynccontextmanager
async def opened(server: RedisServer, told: Told | None = None) -> AsyncIterator[Redis]:
    """A store in a redis."""
    store = Redis(server, (told or Told()).words.append)
    try:
        yield store
    finally:
        async with asyncio.timeout(10):
            await store.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A redis for tests that leave it as it is."""
    with redis_server() as one:
        yield one


@pytest.fixture(params=["memory", "redis", "both", "both, one lost"])
def store(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Opened:
    """Opens an empty store of each kind."""
    server.client.flushall()

    @asynccontextmanager
    async def any_store() -> AsyncIterator[Store]:
        if request.param == "memory":
            yield Memory()
            return
        lost = RedisServer(path=str(tmp_path / "nobody"))
        async with opened(lost if "lost" in request.param else server.at_socket) as shared:
            yield shared if request.param == "redis" else Both(shared, Memory())

    return any_store


# --- what each store does -------------------------------------------------------------------------------------------


def test_tries_are_counted(store: Opened) -> None:
    """A challenge takes so many wrong codes, and the right one once; fewer attempts hold for what was counted."""

    async def scenario() -> None:
        async with store() as one:
            judge = Tries(one)
            told = [await judge(sealed(1), right=False) for _ in range(4)] + [await judge(sealed(1), right=True)]
            assert told == ["wrong 2", "wrong 1", "wrong 0", "too_many 0", "too_many 0"]
            told = [await judge(sealed(2), right=right) for right in (False, True, True, False)]
            assert told == ["wrong 2", "verified", "used 0", "used 0"]
            await judge(sealed(3), right=False)
            judge.attempts = 1
            assert await judge(sealed(3), right=True) == "too_many 0"

    asyncio.run(scenario())


def test_what_has_expired_is_not_counted(store: Opened) -> None:
    """From its last moment on a challenge is expired, whether it was tried before or not."""

    async def scenario() -> None:
        async with store() as one:
            judge = Tries(one)
            assert await judge(sealed(1), right=False, now=NOW + 299.999) == "wrong 2"
            for number, right in ((1, True), (2, True), (2, False)):
                assert await judge(sealed(number), right=right, now=NOW + 300) == "expired 0"
            assert await judge(sealed(2), right=True, now=NOW + 299) == "verified"

    asyncio.run(scenario())


def test_tries_at_one_moment_are_exact(store: Opened) -> None:
    """Of five hundred at one moment as many are wrong as are allowed; of right ones among wrong ones one at most."""

    async def scenario() -> None:
        async with store() as one:
            judge = Tries(one)
            told = await asyncio.gather(*(judge(sealed(1), right=False) for _ in range(500)))
            assert Counter(one.split(" ")[0] for one in told) == {"wrong": 3, "too_many": 497}
            mixed = Counter(await asyncio.gather(*(judge(sealed(2), right=number == 1) for number in range(50))))
            assert mixed["verified"] == (mixed["wrong 0"] == 0)
            assert sum(mixed[f"wrong {left}"] for left in range(3)) <= 3
            assert mixed.total() == 50
            rights = Counter(await asyncio.gather(*(judge(sealed(3), right=True) for _ in range(50))))
            assert rights == {"verified": 1, "used 0": 49}

    asyncio.run(scenario())


def test_a_user_has_one_open_transaction(store: Opened) -> None:
    """The last one that was remembered is recalled, for this user alone, whatever the name."""

    async def scenario() -> None:
        async with store() as one:
            users = ["alice", "Alice", "", "ü \0\ud800", "x" * 100_000]
            assert [await one.recall(user, now=NOW) for user in users] == [None] * 5
            for turn in range(2):
                for number, user in enumerate(users):
                    await one.remember(user, f"{turn}-{number}", now=NOW, expires_at=NOW + 300)
            assert [await one.recall(user, now=NOW + 1) for user in users] == [f"1-{number}" for number in range(5)]

    asyncio.run(scenario())


def test_failures_are_counted_by_key(store: Opened) -> None:
    """Each failure counts for its key alone until it is taken back or forgiven; asking counts nothing."""

    async def scenario() -> None:
        async with store() as one:
            assert [await one.failed("a", now=NOW, window_s=600) for _ in range(3)] == [1, 2, 3]
            assert await one.failed("b", now=NOW, window_s=600) == 1
            assert [await one.failures(key, now=NOW, window_s=600) for key in "aabc"] == [3, 3, 1, 0]
            at_once = await asyncio.gather(*(one.failed("c", now=NOW, window_s=600) for _ in range(100)))
            assert all(count >= place for place, count in enumerate(sorted(at_once), 1))  # of both, the larger
            assert max(at_once) == 100
            await one.excuse("b", now=NOW)
            for key in ("b", "c", "nobody"):
                await one.excuse(key, now=NOW)
            assert [await one.failures(key, now=NOW, window_s=600) for key in ("a", "b", "c", "nobody")] == [
                3,
                0,
                99,
                0,
            ]
            assert [await one.failed(key, now=NOW, window_s=600) for key in "bc"] == [1, 100]
            await one.forgive("a")
            await one.forgive("nobody")
            assert [await one.failures(key, now=NOW, window_s=600) for key in "abc"] == [0, 1, 100]
            assert await one.recall("a", now=NOW) is None

    asyncio.run(scenario())


def test_a_caller_who_goes_is_counted(store: Opened) -> None:
    """Who gives up as soon as the step has begun has been counted, all the same."""

    async def scenario() -> None:
        async with store() as one:
            for _ in range(2):
                task = asyncio.ensure_future(one.failed("a", now=NOW, window_s=60))
                await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            async with asyncio.timeout(10):
                while await one.failures("a", now=NOW, window_s=60) < 2:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0)

    asyncio.run(scenario())


def test_what_was_counted_without_the_shared_store_holds(server: Server) -> None:
    """With two stores the stricter one decides: what only the own one has counted, and what only the shared one has."""

    async def scenario() -> None:
        own = Memory()
        async with opened(server.at_socket) as shared:
            both = Tries(Both(shared, own))
            await own.judge(sealed(1), right=True, now=NOW, attempts=3)
            assert await both(sealed(1), right=True) == "used 0"
            await own.judge(sealed(2), right=False, now=NOW, attempts=3)
            assert await both(sealed(2), right=False) == "wrong 1"
            await shared.judge(sealed(3), right=False, now=NOW, attempts=3)
            assert await both(sealed(3), right=False) == "wrong 1"
            await shared.judge(sealed(4), right=True, now=NOW, attempts=3)
            assert await both(sealed(4), right=True) == "used 0"
            assert await both(sealed(5), right=True) == "verified"
            assert short(await own.judge(sealed(5), right=True, now=NOW, attempts=3)) == "used 0"

    server.client.flushall()
    asyncio.run(scenario())


# --- the memory -----------------------------------------------------------------------------------------------------


def test_counts_are_forgotten_with_their_challenge() -> None:
    """Nothing is kept of a challenge that has expired, whatever order they expire in."""

    async def scenario() -> None:
        store = Memory()
        for number in range(1000):
            await store.judge(sealed(number, 100 + number * 7919 % 1000), right=number % 2 == 0, now=0, attempts=3)
        assert len(store) == 1000
        for now in (99, 350, 1099, 1100):
            await store.judge(sealed(1000, 2000), right=False, now=now, attempts=9)
            assert len(store) == 1 + sum(end > now for end in range(100, 1100))

    asyncio.run(scenario())


def test_tried_challenges_are_bounded() -> None:
    """When no more can be counted, a try is refused and not let through; those that are known go on."""

    async def scenario() -> None:
        store = Memory(most_tried=2)
        for number in (1, 2):
            await store.judge(sealed(number, 10), right=False, now=0, attempts=3)
        with pytest.raises(RequestError, match="too many challenges") as caught:
            await store.judge(sealed(3, 10), right=True, now=0, attempts=3)
        assert caught.value.code == "overloaded"
        assert (await store.judge(sealed(1, 10), right=True, now=0, attempts=3)).verified
        assert (await store.judge(sealed(3, 20), right=True, now=10, attempts=3)).verified

    asyncio.run(scenario())


def test_a_window_is_fixed() -> None:
    """It begins with the first failure and ends its time later, whatever came in between."""

    async def scenario() -> None:
        store = Memory()
        assert [await store.failed("a", now=now, window_s=60) for now in (0, 30, 59.9, 60, 61)] == [1, 2, 3, 1, 2]
        assert [await store.failures("a", now=now, window_s=60) for now in (61, 119.9, 120)] == [2, 2, 0]
        await store.remember("u", "id", now=0, expires_at=60)
        assert [await store.recall("u", now=now) for now in (59.9, 60)] == ["id", None]

    asyncio.run(scenario())


def test_the_oldest_failures_are_forgotten_first() -> None:
    """Of too many names that failed the one goes that has failed the longest time ago; asking keeps none."""

    async def scenario() -> None:
        store = Memory(most_recent=3)
        for key in ("a", "b", "c", "a"):
            await store.failed(key, now=0, window_s=60)
        assert await store.failures("b", now=0, window_s=60) == 1
        await store.failed("x" * 1_000_000, now=1, window_s=60)
        assert [await store.failures(key, now=1, window_s=60) for key in "abc"] == [2, 0, 1]
        assert len(store) == 3
        await store.failed("d", now=61, window_s=60)
        assert len(store) == 1

    asyncio.run(scenario())


def test_the_oldest_transactions_are_forgotten_first() -> None:
    """Of too many open transactions the one goes that was remembered the longest time ago."""

    async def scenario() -> None:
        store = Memory(most_recent=2)
        for user in ("a", "b", "a", "c"):
            await store.remember(user, f"id of {user}", now=0, expires_at=10)
        assert [await store.recall(user, now=0) for user in "abc"] == ["id of a", None, "id of c"]

    asyncio.run(scenario())


# --- a redis --------------------------------------------------------------------------------------------------------


def test_instances_agree(server: Server) -> None:
    """Two instances on one redis, over a socket and over TCP, count together; another database counts for itself."""

    async def scenario() -> None:
        over_tcp = RedisServer(host="127.0.0.1", port=server.port)
        other = RedisServer(host="127.0.0.1", port=server.port, database=3)
        async with opened(server.at_socket) as first, opened(over_tcp) as second, opened(other) as stranger:
            tries = [Tries(one)(sealed(1), right=False) for _ in range(200) for one in (first, second)]
            counts = Counter(await asyncio.gather(*tries))
            assert counts == {"wrong 2": 1, "wrong 1": 1, "wrong 0": 1, "too_many 0": 397}
            assert await Tries(first)(sealed(2), right=True) == "verified"
            assert await Tries(second)(sealed(2), right=True) == "used 0"
            assert await Tries(stranger)(sealed(2), right=True) == "verified"
            await first.remember("alice", "id", now=NOW, expires_at=NOW + 300)
            assert await second.recall("alice", now=NOW) == "id"
            assert [await one.failed("k", now=NOW, window_s=60) for one in (first, second)] == [1, 2]

    server.client.flushall()
    asyncio.run(scenario())


def test_what_a_redis_keeps(server: Server) -> None:
    """No name, number or code stands in it, and each key goes by itself soon after its time."""
    server.client.flushall()

    async def scenario() -> None:
        async with opened(server.at_socket) as store:
            for number in range(3):
                await Tries(store)(sealed(number), right=number == 1)
            await Tries(store)(sealed(4, NOW - 1), right=True)
            await store.remember("alice", "sealed-id", now=NOW, expires_at=NOW + 300)
            await store.failed("alice uid:1001", now=NOW, window_s=120)
            first = lives()
            await store.failed("alice uid:1001", now=NOW, window_s=900)
            assert lives()["failed"] <= first["failed"] <= 120

    def lives() -> dict[str, float]:
        keys = sorted(server.client.scan_iter("*"))
        return {key.split(b":")[2].decode(): server.client.pttl(key) / 1000 for key in keys}

    asyncio.run(scenario())
    keys = list(server.client.scan_iter("*"))
    values = [server.client.get(key) for key in keys]
    assert all(key.startswith(b"smsgwd:otp:") for key in keys)
    assert len(keys) == 7  # four challenges, a transaction, failures, and that the server was looked at
    for canary in (b"alice", b"123456", b"1001"):
        assert not any(canary in text for text in (*keys, *values))
    assert all(0 < server.client.pttl(key) <= 360_000 for key in keys)
    assert lives()["tried"] > 0


def test_no_verdict_takes_another_way(server: Server) -> None:
    """Right, wrong, used, too many and expired cost the redis the same commands, so that none is answered sooner."""

    async def scenario() -> None:
        async with opened(server.at_socket) as store:
            await until(lambda: store.up is True)
            judge = Tries(store, attempts=1)
            ways = []
            for challenge, right in ((1, True), (1, True), (2, False), (2, True), (3, True)):
                server.client.config_resetstat()
                await judge(sealed(challenge, NOW if challenge == 3 else NOW + 300), right=right)
                stats = server.client.info("commandstats")
                ways.append({name: stats[f"cmdstat_{name}"]["calls"] for name in ("eval", "get", "pttl", "set")})
            assert ways == [dict.fromkeys(("eval", "get", "pttl", "set"), 1)] * 5

    server.client.flushall()
    asyncio.run(scenario())


def test_an_instance_whose_clock_is_behind_finds_the_count(server: Server) -> None:
    """What one has judged in its last second another one, a minute behind, still finds judged."""
    server.client.flushall()

    async def scenario() -> None:
        async with opened(server.at_socket) as store:
            assert await Tries(store)(sealed(1), right=True, now=NOW + 299) == "verified"
            assert await Tries(store)(sealed(1), right=True, now=NOW + 240) == "used 0"
            assert await Tries(store)(sealed(1), right=True, now=NOW) == "used 0"
        (key,) = server.client.scan_iter("*:tried:*")
        assert 300_000 < server.client.pttl(key) <= 360_000

    asyncio.run(scenario())


async def lost(call: Awaitable[Any]) -> bool:
    """Whether the store is lost."""
    with suppress(StoreLostError):
        await call
        return False
    return True


def test_a_redis_that_is_killed_comes_back() -> None:
    """While it is gone each call says so at once; when it is there again it is found without being asked for."""

    async def scenario(server: Server) -> None:
        told = Told()
        async with opened(server.at_socket, told) as store:
            assert await Tries(store)(sealed(1), right=False) == "wrong 2"
            server.kill()
            assert (
                await asyncio.gather(*(lost(Tries(store)(sealed(1), right=True)) for _ in range(100))) == [True] * 100
            )
            assert await lost(store.recall("alice", now=NOW))
            server.start()
            await until(lambda: store.up is True)
            assert await Tries(store)(sealed(1), right=True) == "verified"
            assert told.words[0] is told.words[-1] is None
            assert len(told.words) == 3

    with redis_server() as server:
        asyncio.run(scenario(server))


def test_a_redis_that_was_restarted_is_asked_again() -> None:
    """Connections that died while nobody used them do not cost a call."""

    async def scenario(server: Server) -> None:
        async with opened(server.at_socket) as store:
            assert await asyncio.gather(*(store.failed("a", now=NOW, window_s=60) for _ in range(40)))
            await asyncio.to_thread(server.kill)  # the loop turns meanwhile, as it does in a daemon
            await asyncio.to_thread(server.start)
            answers = [await lost(store.failed("a", now=NOW, window_s=60)) for _ in range(3)]
            assert answers == [False] * 3

    with redis_server() as server:
        asyncio.run(scenario(server))


def test_a_redis_that_hangs_holds_nobody() -> None:
    """Against one that takes connections and says nothing all callers are told in time, and it gets few connections."""

    async def scenario() -> None:
        connections = Counter[str]()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections["made"] += 1
            await reader.read()
            writer.close()

        fake = await asyncio.start_server(hang, "127.0.0.1", 0)
        told = Told()
        server = RedisServer(host="127.0.0.1", port=fake.sockets[0].getsockname()[1])
        async with asyncio.timeout(10), opened(server, told) as store:
            calls = [lost(store.failed(str(number), now=NOW, window_s=60)) for number in range(1000)]
            assert await asyncio.gather(*calls) == [True] * 1000
            assert told.words == ["it does not answer in time"]
            assert await lost(store.recall("alice", now=NOW))
        assert connections["made"] <= CONNECTIONS + 2
        fake.close()

    asyncio.run(scenario())


def test_more_than_can_be_asked_is_refused(server: Server) -> None:
    """What is too much at one moment is overload, which is no loss and is not counted; the rest is answered."""

    async def scenario() -> None:
        async with opened(server.at_socket) as store:
            calls = (store.failed("a", now=NOW, window_s=60) for _ in range(MOST_ASKED + 200))
            answers = await asyncio.gather(*calls, return_exceptions=True)
            refused = [answer for answer in answers if isinstance(answer, RequestError)]
            assert {error.code for error in refused} == {"overloaded"}
            assert await store.failures("a", now=NOW, window_s=60) == len(answers) - len(refused)
            assert len(refused) >= 200

    server.client.flushall()
    asyncio.run(scenario())


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    """After a pause that was too long each question gets its own answer, and what was asked in it has been counted."""

    async def scenario(server: Server) -> None:
        async with opened(server.at_socket) as store:
            await store.remember("alice", "id", now=NOW, expires_at=NOW + 300)
            server.command("CLIENT", "PAUSE", 1300, "ALL")
            calls = [lost(store.failed("k", now=NOW, window_s=60)) for _ in range(5)]
            assert await asyncio.gather(*calls) == [True] * 5
            await until(lambda: store.up is True)
            assert await store.recall("alice", now=NOW) == "id"
            assert await store.failures("k", now=NOW, window_s=60) in range(6)
            assert await Tries(store)(sealed(1), right=True) == "verified"

    with redis_server() as server:
        asyncio.run(scenario(server))


@pytest.mark.parametrize(
    ("ill", "well", "words"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "it is a replica, which takes no writes"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "its memory is full"),
        (
            ("ACL", "SETUSER", "default", "-eval"),
            ("ACL", "SETUSER", "default", "+eval"),
            "the user may not run a command that is needed (eval, get, set, del, incr, pttl, pexpire)",
        ),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "it has too few replicas to take a write",
        ),
    ],
)
def test_a_redis_that_takes_no_writes_is_lost(
    server: Server, ill: tuple[str, ...], well: tuple[str, ...], words: str
) -> None:
    """What it answers then is a loss, told once however many calls meet it; reading is no way around it."""

    async def scenario() -> None:
        told = Told()
        async with opened(server.at_socket, told) as store:
            await until(lambda: store.up is True)
            server.command(*ill)
            try:
                for number in range(20):
                    assert await lost(store.failed(str(number), now=NOW, window_s=60))
                    assert await lost(store.recall("alice", now=NOW))
            finally:
                server.command(*well)
            await until(lambda: store.up is True)
            assert not await lost(store.failed("a", now=NOW, window_s=60))
            assert told.words == [None, words, None]

    server.client.flushall()
    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("credentials", "lost_for"),
    [
        ({"password": Secret("redis-canary")}, []),
        ({"username": "default", "password": Secret("redis-canary")}, []),
        ({}, ["it wants a user or a password, or refuses those that it gets"]),
        ({"password": Secret("wrong-canary")}, ["it wants a user or a password, or refuses those that it gets"]),
        (
            {"username": "user-canary", "password": Secret("wrong-canary")},
            ["it wants a user or a password, or refuses those that it gets"],
        ),
    ],
)
def test_a_password(credentials: dict[str, Any], lost_for: list[str]) -> None:
    """With the right one it answers, with another one or none it is lost; nothing prints one."""

    async def scenario(server: Server) -> None:
        for where in ({"path": str(server.path)}, {"host": "127.0.0.1", "port": server.port, "database": 2}):
            told = Told()
            settings = RedisServer(**where, **credentials)
            assert "canary" not in f"{settings!r} {settings.name}"
            async with opened(settings, told) as store:
                await until(lambda: store.up is not None)
                assert await lost(store.failed("a", now=NOW, window_s=60)) is bool(lost_for)
            assert told.lost == lost_for

    with redis_server("redis-canary") as server:
        asyncio.run(scenario(server))


def test_a_user_of_few_rights() -> None:
    """The rights that docs/otp.md names are enough for all that is done, and every one of them is needed."""
    (rights,) = re.findall(r"`(~smsgwd:otp:\* [^`]*)`", (CHECKOUT / "docs" / "otp.md").read_text("utf-8"))
    key, *commands = rights.split()

    async def works(server: Server, *allowed: str) -> bool:
        server.command("ACL", "SETUSER", "smsgwd", "reset", "on", ">pw", key, *allowed)
        settings = RedisServer(path=str(server.path), database=1, username="smsgwd", password=Secret("pw"))
        async with opened(settings) as store:
            calls = [
                store.judge(sealed(1), right=False, now=NOW, attempts=3),
                store.remember("alice", "id", now=NOW, expires_at=NOW + 300),
                store.recall("alice", now=NOW),
                store.failed("a", now=NOW, window_s=60),
                store.excuse("a", now=NOW),
                store.forgive("a"),
            ]
            return not any(await asyncio.gather(*map(lost, calls)))

    with redis_server() as server:
        assert asyncio.run(works(server, *commands))
        for command in commands:
            assert not asyncio.run(works(server, *(one for one in commands if one != command))), command


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an authority that the system trusts is taken, for its own name alone; no other one is."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))

    async def words_of(server: RedisServer) -> list[str]:
        told = Told()
        async with opened(server, told) as store:
            await until(lambda: store.up is not None)
        return told.lost

    with redis_server(certificate=tmp_path) as server:
        port = server.tls_port
        (distrusted,) = asyncio.run(words_of(RedisServer(host="localhost", port=port, tls=True)))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert asyncio.run(words_of(RedisServer(host="localhost", port=port, tls=True))) == []
        (mismatch,) = asyncio.run(words_of(RedisServer(host="127.0.0.1", port=port, tls=True)))
    assert distrusted == "TLS: self-signed certificate in certificate chain"
    assert mismatch.startswith("TLS: IP address mismatch")
