import asyncio
import socket
import time
from pathlib import Path

import pytest
from patience import until
from served import serving
from socket_client import call, connected, raw, read_response, request, send

from smsgwd.server.connection import Limits

HASTY = Limits(request_s=0.3, answer_s=0.3, idle_s=0.5)
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed, or broken off."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "octets",
    [b"", b"P", b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n", HEAD + b"\r\n", HEAD + b'\r\n{"gateway":'],
    ids=["nothing", "an octet", "half a header", "no body", "half a body"],
)
def test_an_unfinished_request_is_dropped(tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever does not finish a request in time is gone, wherever it stopped, without a word in the log."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            began = time.monotonic()
            writer.write(octets)
            assert await closed(reader) == b""
            assert 0.2 < time.monotonic() - began < 5

    asyncio.run(scenario())
    assert caplog.records == []


@pytest.mark.parametrize("octets", [b"POST /v1", HEAD + b"\r\n", HEAD + b'\r\n{"gateway":'])
def test_a_client_that_vanishes_in_its_request_leaves_nothing(
    tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a request and a hang-up: the connection is gone at once, without a word in the log."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            async with connected(served.path) as (_, writer):
                writer.write(octets)
                await until(lambda: len(served.doors.connections) == 1)
            await until(lambda: served.doors.connections == [])

    asyncio.run(scenario())
    assert caplog.records == []


def test_a_request_that_drips_is_dropped(tmp_path: Path) -> None:
    """Each octet in time does not help when the whole is not."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            ended = asyncio.create_task(closed(reader))
            began = time.monotonic()
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(0.02)
            assert time.monotonic() - began < 2

    asyncio.run(scenario())


def test_a_second_request_that_stays_unfinished_is_dropped(tmp_path: Path) -> None:
    """A kept connection has the same time for its next request."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            writer.write(request("GET", "/healthz"))
            await read_response(reader)
            writer.write(b"GET /hea")
            assert await closed(reader) == b""

    asyncio.run(scenario())


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    """Between requests a client may rest, but not for ever."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            writer.write(request("GET", "/healthz"))
            await read_response(reader)
            assert await closed(reader) == b""

    asyncio.run(scenario())


def test_a_long_send_is_not_cut(tmp_path: Path) -> None:
    """The time for a request ends with its last octet: how long the provider takes does not count."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served:
            answer = asyncio.create_task(send(served.path, "wait"))
            await until(lambda: served.provider.submitted == ["wait"])
            await asyncio.sleep(2 * HASTY.idle_s)
            served.provider.gate.set()
            assert (await answer).status == 200

    asyncio.run(scenario())


def test_a_client_that_takes_no_answer_is_dropped(tmp_path: Path) -> None:
    """Whoever asks and asks, and never reads, is gone in time."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served:
            with socket.socket(socket.AF_UNIX) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, str(served.path))
                await loop.sock_sendall(client, request("GET", "/openapi.json") * 20)
                await until(lambda: len(served.doors.connections) == 1)
                await until(lambda: served.doors.connections == [])

    asyncio.run(scenario())


def test_a_vanished_client_does_not_stop_its_send(tmp_path: Path) -> None:
    """Whoever hangs up has asked all the same: the send goes on to its end."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            client = asyncio.create_task(send(served.path, "wait"))
            await until(lambda: served.provider.submitted == ["wait"])
            client.cancel()
            await asyncio.gather(client, return_exceptions=True)
            assert (await call(served.path, "GET", "/healthz")).status == 200
            served.provider.gate.set()
            await until(lambda: served.provider.ended == 1)
            assert served.sends.last("gated") is not None

    asyncio.run(scenario())


def test_a_client_that_shuts_its_side_gets_its_answer(tmp_path: Path) -> None:
    """A half-closed connection (`nc -N`, shutdown) is no vanished client."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            writer.write(request("GET", "/healthz"))
            writer.write_eof()
            assert (await read_response(reader)).status == 200

    asyncio.run(scenario())


def test_slow_clients_block_nobody(tmp_path: Path) -> None:
    """Beside 200 half-sent requests a good one is answered at once."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            slow = [await asyncio.open_unix_connection(served.path) for _ in range(200)]
            for _, writer in slow:
                writer.write(HEAD)
            began = time.monotonic()
            assert (await send(served.path, "hi")).status == 200
            assert time.monotonic() - began < 2
            for _, writer in slow:
                writer.transport.abort()

    asyncio.run(scenario())


def test_a_send_that_waits_blocks_nobody(tmp_path: Path) -> None:
    """A hundred sends wait for their provider; the next is answered at once."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            waiting = [asyncio.create_task(send(served.path, f"wait {number}")) for number in range(100)]
            await until(lambda: len(served.provider.submitted) == 100)
            assert (await send(served.path, "hi")).status == 200
            served.provider.gate.set()
            assert {response.status for response in await asyncio.gather(*waiting)} == {200}

    asyncio.run(scenario())


def test_connections_of_one_caller_are_bounded(tmp_path: Path) -> None:
    """One too many hears `overloaded`, far too many are closed; when others leave there is room again."""
    limits = Limits(connections_per_caller=2, spare_connections=1)

    async def scenario() -> None:
        async with serving(tmp_path, limits) as served:
            async with connected(served.path) as first, connected(served.path):
                first[1].write(request("GET", "/healthz"))
                assert (await read_response(first[0])).status == 200
                refused = await raw(served.path, request("GET", "/healthz"))
                assert (refused.status, refused.type, refused.headers["retry-after"]) == (503, "overloaded", "1")
                assert refused.headers["connection"] == "close"
                async with connected(served.path), connected(served.path) as (reader, _):
                    assert await closed(reader) == b""
            await until(lambda: served.doors.connections == [])
            assert (await call(served.path, "GET", "/healthz")).status == 200

    asyncio.run(scenario())


def test_sends_at_once_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound a send is refused, safely, and the others go on."""

    async def scenario() -> None:
        async with serving(tmp_path, Limits(in_flight=1)) as served:
            waiting = asyncio.create_task(send(served.path, "wait"))
            await until(lambda: served.provider.submitted == ["wait"])
            refused = await send(served.path, "hi", {"Idempotency-Key": "k"})
            assert (refused.status, refused.type, refused.headers["retry-after"]) == (503, "overloaded", "1")
            served.provider.gate.set()
            assert (await waiting).status == 200
            again = await send(served.path, "hi", {"Idempotency-Key": "k"})
            assert again.status == 200
            assert served.provider.submitted == ["wait", "hi"]

    asyncio.run(scenario())
