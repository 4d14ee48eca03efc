import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_document import API, validator
from patience import until
from served import Served, serving
from socket_client import PATIENCE_S, connected, raw, request, send

from smsgwd.server.connection import Limits

HEAD = (
    b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Stream:
    """The client's side of one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        writer.write(HEAD)

    def write(self, octets: bytes) -> None:
        """These octets as a chunk."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(octets), octets))

    def message(self, text: str, **members: Any) -> None:
        """A message on a line."""
        line = {"gateway": "gated", "to": "+491701234567", "text": text, **members}
        self.write(json.dumps(line).encode() + b"\n")

    def end(self) -> None:
        """The end of the body."""
        self.writer.write(b"0\r\n\r\n")

    async def begun(self) -> None:
        """The header of the answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: application/x-ndjson\r\n" in head

    async def outcome(self) -> dict[str, Any] | None:
        """The next line of the answer; None at its end."""
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            line = (await self.reader.readexactly(size + 2))[:-2]
        if not size:
            return None
        assert line.endswith(b"\n")
        content: dict[str, Any] = json.loads(line)
        validator(API["components"]["schemas"]["LineOutcome"]).validate(content)
        return content

    async def rest(self) -> list[dict[str, Any]]:
        """All lines to the end."""
        found = []
        while (content := await self.outcome()) is not None:
            found.append(content)
        return found


async def streamed(served: Served, *lines: bytes) -> list[dict[str, Any]]:
    """The answer to these chunks, by line."""
    async with connected(served.path) as (reader, writer):
        stream = Stream(reader, writer)
        for line in lines:
            stream.write(line)
        stream.end()
        await stream.begun()
        return sorted(await stream.rest(), key=lambda content: int(content["line"]))


def test_each_line_gets_its_outcome_as_it_ends(tmp_path: Path) -> None:
    """A slow message holds up none behind it; line and reference tie outcomes to messages."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            stream = Stream(reader, writer)
            stream.message("wait", reference="first")
            stream.message("hi", reference="second")
            stream.message("rejected")
            await stream.begun()
            quick = [await stream.outcome(), await stream.outcome()]
            assert sorted((one["line"], one["reference"], one["outcome"]) for one in quick if one) == [
                (2, "second", "accepted"),
                (3, None, "rejected"),
            ]
            served.provider.gate.set()
            last = await stream.outcome()
            assert last is not None
            assert (last["line"], last["reference"], last["outcome"]) == (1, "first", "accepted")
            stream.message("hi")
            stream.end()
            assert [one["line"] for one in await stream.rest()] == [4]

    asyncio.run(scenario())


def test_a_bad_line_is_a_problem_with_its_number(tmp_path: Path) -> None:
    """Each line stands for itself: what is wrong with one is told with its number, the others are sent."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            good = b'{"gateway":"gated","to":"+491701234567","text":"hi"}\n'
            lines = [
                good,
                b"nonsense\n",
                b"\n",
                b'{"gateway":"nobody","to":"+491701234567","text":"hi"}\n',
                b'{"gateway":"gated","to":"1","text":"hi","more":1}\n',
                b'{"gateway":"gated","to":"+491701234567","text":"hi","idempotency_key":1}\r\n',
                b'{"gateway":"gated","to":"+491701234567","text":"unsent"}\n',
                b"[" * 10_000 + b"\n",
                good.rstrip(),
            ]
            found = await streamed(served, *lines)
            assert [(one["line"], one.get("type", "").rpartition(":")[2], one.get("status")) for one in found] == [
                (1, "", None),
                (2, "malformed-request", 400),
                (4, "unknown-gateway", 404),
                (5, "malformed-request", 400),
                (6, "malformed-request", 400),
                (7, "unsent", 503),
                (8, "malformed-request", 400),
                (9, "", None),
            ]

    asyncio.run(scenario())


def test_lines_may_be_cut_anywhere(tmp_path: Path) -> None:
    """Chunks and lines have nothing to do with each other."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            octets = b'{"gateway":"gated","to":"+491701234567","text":"\xc3\xa4"}\n' * 3
            found = await streamed(served, *(octets[index : index + 7] for index in range(0, len(octets), 7)))
            assert [one["outcome"] for one in found] == ["accepted"] * 3
            assert served.provider.submitted == ["ä"] * 3

    asyncio.run(scenario())


def test_an_over_long_line_ends_the_stream(tmp_path: Path) -> None:
    """What began before it is answered, what comes behind it is not read, and the connection is closed."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            stream = Stream(reader, writer)
            stream.message("wait")
            stream.write(b"x" * 70_000)
            stream.write(b"\n")
            stream.message("never")
            await stream.begun()
            problem = await stream.outcome()
            assert problem is not None
            assert (problem["line"], problem["status"]) == (2, 413)
            served.provider.gate.set()
            assert [one["line"] for one in await stream.rest()] == [1]
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b""
            assert served.provider.submitted == ["wait"]

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_not_read(tmp_path: Path) -> None:
    """Back-pressure: a stream has a bounded number of sends at once, however much is written."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            stream = Stream(reader, writer)
            for _ in range(2_000):
                stream.message("wait")
            stream.end()
            await until(lambda: len(served.provider.submitted) == 256)
            assert (await send(served.path, "hi")).status == 200
            assert len(served.provider.submitted) == 257
            served.provider.gate.set()
            await stream.begun()
            assert len(await stream.rest()) == 2_000

    asyncio.run(scenario())


def test_a_key_in_a_line_counts_like_the_header(tmp_path: Path) -> None:
    """The same key and message, on a line or alone, is one send."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            line = b'{"gateway":"gated","to":"+491701234567","text":"hi","idempotency_key":"k"}\n'
            found = await streamed(served, line, line)
            assert [one["outcome"] for one in found] == ["accepted"] * 2
            assert (await send(served.path, "hi", {"Idempotency-Key": "k"})).status == 200
            assert served.provider.submitted == ["hi"]

    asyncio.run(scenario())


def test_a_key_for_the_whole_stream_is_refused(tmp_path: Path) -> None:
    """A header Idempotency-Key cannot count for many messages: it is refused, never ignored."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            line = b'{"gateway":"gated","to":"+491701234567","text":"hi"}'
            headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "k"}
            answer = await raw(served.path, request("POST", "/v1/messages", line, headers))
            assert (answer.status, answer.type) == (400, "malformed-request")
            assert served.provider.submitted == []

    asyncio.run(scenario())


HASTY = Limits(request_s=0.3, answer_s=0.3, idle_s=0.3)


@pytest.mark.parametrize("octets", [b'{"gateway":', b""], ids=["half a line", "nothing"])
def test_a_stream_that_stays_is_dropped(tmp_path: Path, octets: bytes) -> None:
    """A line has to end in time, and a stream that says nothing and waits for nothing is not kept."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            stream = Stream(reader, writer)
            if octets:
                stream.write(octets)
            await stream.begun()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await stream.outcome()

    asyncio.run(scenario())


def test_a_stream_may_wait_for_its_outcomes(tmp_path: Path) -> None:
    """Whoever waits for an outcome may rest longer than others."""

    async def scenario() -> None:
        async with serving(tmp_path, HASTY) as served, connected(served.path) as (reader, writer):
            stream = Stream(reader, writer)
            stream.message("wait")
            await stream.begun()
            await asyncio.sleep(3 * HASTY.idle_s)
            served.provider.gate.set()
            outcome = await stream.outcome()
            assert outcome is not None
            assert outcome["outcome"] == "accepted"

    asyncio.run(scenario())


def test_a_stream_that_breaks_off_is_gone_at_once(tmp_path: Path) -> None:
    """A hang-up in the middle of a stream does not keep its connection, though a minute's rest would be allowed."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            async with connected(served.path) as (reader, writer):
                stream = Stream(reader, writer)
                stream.message("hi")
                await stream.begun()
            await until(lambda: served.doors.connections == [])

    asyncio.run(scenario())


def test_a_vanished_stream_does_not_stop_its_sends(tmp_path: Path) -> None:
    """What was read is sent to its end."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            async with connected(served.path) as (reader, writer):
                stream = Stream(reader, writer)
                stream.message("wait")
                stream.message("wait")
                await until(lambda: len(served.provider.submitted) == 2)
            served.provider.gate.set()
            await until(lambda: served.provider.ended == 2)

    asyncio.run(scenario())


def test_a_stream_with_a_length_is_a_stream_too(tmp_path: Path) -> None:
    """A file of any size may be posted: the 64 KiB are those of a line."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            body = b'{"gateway":"gated","to":"+491701234567","text":"hi"}\n' * 3_000
            assert len(body) > 2 * 65_536
            kind = {"Content-Type": "application/x-ndjson"}
            task = asyncio.create_task(write(writer, request("POST", "/v1/messages", body, kind)))
            stream = Stream.__new__(Stream)
            stream.reader, stream.writer = reader, writer
            await stream.begun()
            assert len(await stream.rest()) == 3_000
            await task

    asyncio.run(scenario())


async def write(writer: asyncio.StreamWriter, octets: bytes) -> None:
    """Write all of it, at the speed at which it is taken."""
    writer.write(octets)
    await writer.drain()
