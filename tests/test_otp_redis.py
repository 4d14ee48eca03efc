"""Challenges through real daemons that count in a real redis."""

import asyncio
import base64
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from api_document import API, validator
from challenging import CHALLENGE, Provider, guessed, post, serving, verify
from command import spawn
from daemon_process import Running
from patience import wait_until
from redis_server import Server, redis_server
from secret_file import write_secret
from socket_client import JSON, Response, call, connected, request

from smsgwd.otp import Challenges, Clock
from smsgwd.otp.seal import KeyRing
from smsgwd.registry import OtpSettings
from smsgwd.secret import Secret

KEY, OLD_KEY = os.urandom(32), os.urandom(32)
VERIFY = "/v1/challenges/verify"


def site(folder: Path, storage: str, more: str = "") -> str:
    """smsgwd.yaml with both keys and this storage."""
    for name, key in (("new", KEY), ("old", OLD_KEY)):
        write_secret(folder / name, base64.b64encode(key))
    keys = "keys: {k2: {file: new}, k1: {file: old}}"
    return f"{{otp: {{{keys}, storage: {json.dumps(storage)}, per_recipient: 1000/s{more}}}, log: {{level: info}}}}"


@contextmanager
def instance(folder: Path, storage: str, more: str = "") -> Iterator[tuple[Running, Provider]]:
    """A daemon that counts there."""
    folder.mkdir(exist_ok=True)
    with serving(folder, site(folder, storage, more)) as served:
        yield served


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A redis for tests that leave it as it is."""
    with redis_server() as one:
        yield one


@pytest.fixture(scope="module")
def both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running, Provider]]:
    """Two daemons on one redis, and the provider of the first one."""
    folder = tmp_path_factory.mktemp("both")
    with ExitStack() as stack:
        first, provider = stack.enter_context(instance(folder / "first", f"unix://{server.path}?db=1"))
        second, _ = stack.enter_context(instance(folder / "second", f"redis://127.0.0.1:{server.port}/1"))
        yield first, second, provider


def issued(running: Running, **members: object) -> str:
    """A new transaction."""
    return str(post(running, "/v1/challenges", {**CHALLENGE, **members}).json()["transaction_id"])


def reason(running: Running, transaction_id: str, otp: str) -> str:
    """`verified`, or why not."""
    return str(verify(running, transaction_id, otp).get("reason", "verified"))


def metric(running: Running, name: str) -> float | None:
    """The value of a series."""
    lines = asyncio.run(call(running.path, "GET", "/metrics")).body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), None)


def test_ten_thousand_guesses_at_two_instances(both: tuple[Running, Running, Provider]) -> None:
    """From fifty connections to both no more guesses are judged than one challenge takes, and then no code is taken."""
    first, second, provider = both
    transaction_id = issued(first, digits=4)
    guesses = (f"{number:04}" for number in range(10_000) if f"{number:04}" != provider.code)

    async def everybody() -> Counter[str]:
        one, other = await asyncio.gather(
            *(guessed(running, transaction_id, guesses, 25) for running in (first, second))
        )
        return one + other

    assert asyncio.run(everybody()) == {"wrong": 3, "too_many": 9_996}
    assert [reason(running, transaction_id, provider.code) for running in (first, second)] == ["too_many"] * 2


def test_a_used_id_is_used_everywhere(both: tuple[Running, Running, Provider]) -> None:
    """What one instance has verified is used at the other one, and so are wrong tries."""
    first, second, provider = both
    transaction_id = issued(first)
    assert reason(first, transaction_id, provider.code) == "verified"
    assert [reason(running, transaction_id, provider.code) for running in (second, first)] == ["used", "used"]
    transaction_id = issued(first)
    left = [verify(running, transaction_id, "x")["attempts_left"] for running in (second, first, second)]
    assert left == [2, 1, 0]


def test_a_right_code_among_wrong_ones(both: tuple[Running, Running, Provider]) -> None:
    """Of one right and 49 wrong codes at the same moment three wrong ones are counted at most, and nothing twice."""
    first, second, provider = both
    for place in (0, 3, 49):
        transaction_id = issued(first)
        codes = ["x"] * 49
        codes.insert(place, provider.code)
        counts = asyncio.run(tried_at_once(zip(itertools.cycle((first, second)), codes, strict=False), transaction_id))
        assert counts["verified"] == 1 or counts["wrong"] == 3
        assert counts["verified"] <= 1
        assert counts["wrong"] <= 3
        assert counts.total() == 50
        assert reason(second, transaction_id, provider.code) in ("used" if counts["verified"] else "too_many")


async def tried_at_once(tries: Iterator[tuple[Running, str]], transaction_id: str) -> Counter[str]:
    """The reasons of all answers."""
    calls = [
        call(running.path, "POST", VERIFY, {"transaction_id": transaction_id, "otp": code}) for running, code in tries
    ]
    return Counter(answer.json().get("reason", "verified") for answer in await asyncio.gather(*calls))


def test_ids_that_are_none(both: tuple[Running, Running, Provider], server: Server) -> None:
    """Forged, cut and foreign ids are invalid and leave nothing in the redis; an expired one is expired."""
    first, second, _ = both
    now = time.time()
    good = KeyRing([KEY]).seal("123456", now + 300, "")
    foreign = KeyRing([os.urandom(32)]).seal("123456", now + 300, "")
    before = tried(server)
    forged = good[:30] + ("A" if good[30] != "A" else "B") + good[31:]
    for running in (first, second):
        for one in (forged, good[:-1], good + "A", good[:40], "", "x" * 10_000, foreign, "é" * 74):
            assert verify(running, one, "123456") == {"verified": False, "reason": "invalid"}
        assert reason(running, KeyRing([KEY]).seal("123456", now + 4000, ""), "123456") == "invalid"
        assert tried(server) == before
        assert reason(running, KeyRing([KEY]).seal("123456", now - 1, ""), "123456") == "expired"
        before = tried(server)


def tried(server: Server) -> set[bytes]:
    """The challenges that the redis knows of."""
    return set(server.client_of(1).scan_iter("*:tried:*"))


def test_a_key_is_rotated(both: tuple[Running, Running, Provider]) -> None:
    """What the old key has sealed is opened, once; the new one seals."""
    first, second, provider = both
    old = KeyRing([OLD_KEY]).seal("123456", time.time() + 300, "")
    assert [reason(running, old, "123456") for running in (second, first)] == ["verified", "used"]
    assert KeyRing([OLD_KEY]).open(issued(first), "") is None
    assert KeyRing([KEY]).open(issued(first), "") is not None
    assert provider.code


def test_a_client_that_hangs_up_is_counted(both: tuple[Running, Running, Provider], server: Server) -> None:
    """Who does not wait for the answer has tried all the same."""
    first, second, provider = both
    transaction_id = issued(first)
    sealed = KeyRing([KEY]).open(transaction_id, "")
    assert sealed is not None
    key = f"smsgwd:otp:tried:{sealed.nonce.hex()}"
    body = json.dumps({"transaction_id": transaction_id, "otp": "x"}).encode()

    async def hang_up() -> None:
        async with connected(first.path) as (_, writer):
            writer.write(request("POST", VERIFY, body, JSON))
            await writer.drain()

    client = server.client_of(1)
    for count in (b"1", b"2", b"3"):
        asyncio.run(hang_up())
        wait_until(lambda count=count: client.get(key) == count)  # type: ignore[misc] # mypy cannot infer a default
    assert reason(second, transaction_id, provider.code) == "too_many"


def lost_lines(running: Running) -> list[str]:
    """What the log says of the storage."""
    lines = running.printed().splitlines()
    return [line for line in lines if "the storage is lost" in line or "the storage answers" in line]


def test_a_lost_redis_refuses(tmp_path: Path) -> None:
    """Closed: while it is gone nothing is verified and it is told once; when it is back all goes on."""
    with redis_server() as server, instance(tmp_path, f"unix://{server.path}") as (running, provider):
        transaction_id = issued(running)
        assert reason(running, transaction_id, "x") == "wrong"
        assert metric(running, "smsgwd_otp_storage_up") == 1
        server.kill()
        answers = asyncio.run(many(running, {"transaction_id": transaction_id, "otp": provider.code}))
        for answer in answers:
            assert (answer.status, answer.type) == (503, "storage-unavailable")
            assert answer.headers["retry-after"] == "1"
        described = API["paths"][VERIFY]["post"]["responses"]["503"]["content"]["application/problem+json"]
        validator(described["schema"]).validate(answers[0].json())
        done = spawn("otp", "verify", "--socket", str(running.path), transaction_id, provider.code)
        assert (done.code, "storage-unavailable" in done.err) == (75, True)
        assert reason(running, "forged", "1") == "invalid"
        assert post(running, "/v1/challenges", CHALLENGE).status == 200
        assert metric(running, "smsgwd_otp_storage_up") == 0
        assert metric(running, 'smsgwd_otp_verifications_total{result="unavailable"}') == 51
        server.start()
        wait_until(lambda: metric(running, "smsgwd_otp_storage_up") == 1)
        assert reason(running, transaction_id, provider.codes[0]) == "verified"
        assert metric(running, 'smsgwd_otp_verifications_total{result="verified"}') == 1
        assert metric(running, 'smsgwd_otp_verifications_total{result="wrong"}') == 1
        assert metric(running, 'smsgwd_otp_verifications_total{result="invalid"}') == 1
        told = lost_lines(running)
        assert ["lost" in line for line in told] == [False, True, False]
        assert '"fail": "closed"' in told[1]


async def many(running: Running, body: object) -> list[Response]:
    """Fifty calls at once."""
    return await asyncio.gather(*(call(running.path, "POST", VERIFY, body) for _ in range(50)))


def test_an_open_daemon_goes_by_its_own_counts(tmp_path: Path) -> None:
    """Open: what it has counted before and while the redis is gone holds, also when the redis is back and empty."""
    with redis_server() as server, instance(tmp_path, f"unix://{server.path}", ", fail: open") as (running, provider):
        tried, used, fresh = issued(running), issued(running), issued(running)
        assert [reason(running, tried, "x") for _ in range(2)] == ["wrong"] * 2
        server.kill()
        assert verify(running, tried, "x") == {"verified": False, "reason": "wrong", "attempts_left": 0}
        assert reason(running, tried, provider.codes[0]) == "too_many"
        assert reason(running, used, provider.codes[1]) == "verified"
        wait_until(lambda: metric(running, "smsgwd_otp_storage_up") == 0)
        server.start()
        wait_until(lambda: metric(running, "smsgwd_otp_storage_up") == 1)
        assert reason(running, tried, provider.codes[0]) == "too_many"
        assert reason(running, used, provider.codes[1]) == "used"
        assert [reason(running, fresh, provider.codes[2]) for _ in range(2)] == ["verified", "used"]
        assert '"fail": "open"' in lost_lines(running)[1]


@pytest.mark.parametrize(("storage", "afterwards"), [("memory", "verified"), ("redis", "used")])
def test_what_a_restart_forgets(tmp_path: Path, server: Server, storage: str, afterwards: str) -> None:
    """With keys an id outlives the daemon: in memory its use is forgotten, in a redis not, unless that was emptied."""
    where = "memory" if storage == "memory" else f"unix://{server.path}?db=2"
    with instance(tmp_path, where) as (running, provider):
        transaction_id, code = issued(running), provider.code
        assert reason(running, transaction_id, code) == "verified"
        assert running.stop(signal.SIGTERM) == 0
    with instance(tmp_path, where) as (running, _):
        assert reason(running, transaction_id, code) == afterwards
        server.client_of(2).flushdb()
        assert reason(running, transaction_id, code) == ("used" if storage == "memory" else "verified")


def test_a_storage_is_changed_while_serving(tmp_path: Path, server: Server) -> None:
    """A reload takes another storage over at once and lets go of the one before; a bad one changes nothing."""
    at = [f"unix://{server.path}?db={number}" for number in (3, 4)]
    with instance(tmp_path, "memory") as (running, provider):
        transaction_id = issued(running)
        told = []
        for storage in (at[0], at[1], "redis://127.0.0.1/no-database", "memory"):
            (tmp_path / "smsgwd.yaml").write_text(site(tmp_path, storage))
            problems = post(running, "/v1/reload", None).json()["problems"]
            told.append([problem["code"] for problem in problems])
            told.append([reason(running, transaction_id, "x")])
            wait_until(lambda told=told: connected_to(server, 3) == (len(told) == 2))  # type: ignore[misc] # as above
        assert told == [[], ["wrong"]] * 2 + [["bad-storage"], ["wrong"]] + [[], ["wrong"]]
        assert [verify(running, transaction_id, "x")["attempts_left"]] == [1]
        wait_until(lambda: not connected_to(server, 4))
        assert reason(running, transaction_id, provider.code) == "verified"
        assert running.stop(signal.SIGTERM) == 0


def connected_to(server: Server, database: int) -> bool:
    """Whether somebody else is connected to it."""
    return any(one["db"] == str(database) for one in server.client.client_list())


PASSWORD = "pw canary:/@?#%"


@pytest.mark.parametrize("written", [PASSWORD, "wrong canary"])
def test_no_password_is_told(tmp_path: Path, written: str) -> None:
    """At the level debug no line, answer or metric holds the password of the redis, a code or an id."""
    write_secret(tmp_path / "pw", written)
    with redis_server(PASSWORD) as server:
        url = f"redis://:{{{{ secrets.redis }}}}@127.0.0.1:{server.port}/0"
        text = f"{{otp: {{storage: '{url}'}}, secrets: {{redis: {{file: pw}}}}, log: {{level: debug, privacy: false}}}}"
        with serving(tmp_path, text) as (running, provider):
            transaction_id = issued(running)
            code = provider.code
            body = {"transaction_id": transaction_id, "otp": code}
            answers = [post(running, VERIFY, body).body.decode() for _ in range(3)]
            assert ('"verified": true' in answers[0]) is (written == PASSWORD)
            server.kill()
            answers += [post(running, VERIFY, body).body.decode()]
            for target in ("/metrics", "/v1/status"):
                answers.append(asyncio.run(call(running.path, "GET", target)).body.decode())
            assert running.stop(signal.SIGTERM) == 0
            printed = [line for line in running.printed().splitlines() if '"submitted"' not in line]
            assert lost_lines(running)
        for line in (*answers, *printed):
            assert "canary" not in line.replace(str(tmp_path), "")
            assert transaction_id not in line
            assert f'"{code}"' not in line


def test_a_clock_that_jumps_back_revives_nothing_in_a_redis(server: Server) -> None:
    """What has expired, or was used, stays so when the wall clock is set back."""
    times = {"wall": time.time(), "monotonic": 50.0}
    clock = Clock(lambda: times["wall"], lambda: times["monotonic"])
    keys = (Secret(base64.b64encode(KEY).decode()),)
    settings = OtpSettings(keys=keys, storage=server.at_socket)
    expiring, used = (KeyRing([KEY]).seal("123456", clock.now() + 60, "") for _ in range(2))

    async def scenario() -> list[str]:
        challenges = Challenges(lambda: settings, clock)
        verdicts = [await challenges.verify(used, "123456")]
        times["monotonic"] += 61
        verdicts.append(await challenges.verify(expiring, "123456"))
        times["wall"] -= 3600
        verdicts += [await challenges.verify(one, "123456") for one in (expiring, used)]
        await challenges.storage.close()
        return [str(verdict.reason or "verified") for verdict in verdicts]

    assert asyncio.run(scenario()) == ["verified", "expired", "expired", "expired"]
