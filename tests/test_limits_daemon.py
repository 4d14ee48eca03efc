"""Limits in the real daemon: streams, clients that hang up, reloads while many wait, and who waits for whom."""

import asyncio
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon_process import Running, configuration, daemon
from fake_http import Line, RawServer
from other_user import IS_ROOT, become, called
from reloading import on_loop
from socket_client import JSON, Response, call, connected, read_response, request

NDJSON = {"Content-Type": "application/x-ndjson"}
SLOW, BUSY = "slow", "busy"


class Provider:
    """An HTTP provider: what comes to /slow is answered when the gate opens, what comes to /busy is refused then."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.server = RawServer(self.answer)

    def answer(self, line: Line) -> None:
        """One connection."""
        while asked := line.read():
            path = asked.split(b" ")[1].decode()
            if SLOW in path or BUSY in path:
                self.gate.wait(15)
            line.send(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\nok" % (429 if BUSY in path else 200))

    def gateway(self, path: str, limits: str = "{}") -> str:
        """The file of a gateway."""
        settings = f'{{url: "http://127.0.0.1:{self.server.port}/{path}", query: {{to: "{{{{ phone }}}}"}}}}'
        return f"provider: http\nretry: {{attempts: 1}}\nlimits: {limits}\nsettings: {settings}\n"


def body(gateway: str, number: int = 0, **members: str) -> dict[str, Any]:
    """A message."""
    return {"gateway": gateway, "to": f"+49170{number:07}", "text": "hi", **members}


async def post(running: Running, gateway: str, number: int = 0, **members: str) -> Response:
    """Send one."""
    return await call(running.path, "POST", "/v1/messages", body(gateway, number, **members))


async def usage(running: Running, gateway: str) -> Mapping[str, Mapping[str, Any]]:
    """How much of each limit is used."""
    found: Mapping[str, Mapping[str, Any]] = (await call(running.path, "GET", f"/v1/gateways/{gateway}")).json()[
        "limits"
    ]
    return found


async def until_used(running: Running, gateway: str, limit: str, **wanted: Any) -> None:
    """Returns when so much of a limit is used."""
    async with asyncio.timeout(15):
        while wanted.items() - (await usage(running, gateway))[limit].items():  # noqa: ASYNC110 - it happens elsewhere
            await asyncio.sleep(0.01)


def stream_of(gateway: str, count: int, **members: str) -> bytes:
    """So many lines, as one request."""
    lines = "\n".join(json.dumps(body(gateway, number, **members)) for number in range(count))
    return request("POST", "/v1/messages", lines.encode(), NDJSON)


async def outcomes_of(reader: asyncio.StreamReader) -> list[dict[str, Any]]:
    """The lines that a stream is answered with, to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    found = []
    async with asyncio.timeout(15):
        while (size := int((await reader.readline()).strip(), 16)) > 0:
            found.append(json.loads(await reader.readexactly(size)))
            await reader.readline()
    return found


@on_loop
async def test_a_stream_is_in_nobodys_way(tmp_path: Path) -> None:
    """While sixty lines of one caller wait, the single message of another leaves among the next; the lines keep order.

    Without root both are one caller, whose messages go in their order.
    """
    config = configuration(tmp_path, {"gateways.d/g.yaml": "provider: console\nlimits: {rate: 20/s}\n"})
    with daemon(config) as running:
        running.ready()
        running.path.parent.chmod(0o711)
        running.path.chmod(0o666)
        async with connected(running.path) as (reader, writer):
            writer.write(stream_of("g", 60))
            await until_used(running, "g", "rate", waiting=40)
            who = become(60_001) if IS_ROOT else []
            answers = await asyncio.to_thread(called, who, running.path, [("POST", "/v1/messages", ["g"])])
            assert answers[0][0] == 200
            left = (await usage(running, "g"))["rate"]["waiting"]
            assert left > 0 if IS_ROOT else left == 0
            outcomes = await outcomes_of(reader)
        assert [one["outcome"] for one in outcomes] == ["accepted"] * 60
        assert [one["line"] for one in outcomes] == list(range(1, 61))
        assert (await usage(running, "g"))["rate"]["waiting"] == 0


@on_loop
async def test_who_hung_up_waits_on_and_a_lowered_limit_holds_for_it(tmp_path: Path) -> None:
    """Lines of a client that is gone are sent in their turn; of a budget that a reload lowers they get what is left."""
    wide = "provider: console\nlimits: {rate: 5/10s, budget: 50/d, in_flight: 9}\n"
    config = configuration(tmp_path, {"gateways.d/g.yaml": wide})
    with daemon(config) as running:
        running.ready()
        async with connected(running.path) as (_, writer):
            writer.write(stream_of("g", 10))
            await until_used(running, "g", "rate", waiting=5, used=5)
        assert (await usage(running, "g"))["budget"]["used"] == 10
        configuration(
            config, {"gateways.d/g.yaml": "provider: console\nlimits: {rate: 50/s, budget: 7/d, in_flight: 1}\n"}
        )
        assert (await call(running.path, "POST", "/v1/reload")).status == 200
        await until_used(running, "g", "rate", waiting=0)
        used = await usage(running, "g")
        assert used["budget"] == {"limit": "7/d", "used": 7}
        assert used["in_flight"] == {"limit": 1, "used": 0}
        metrics = (await call(running.path, "GET", "/metrics")).body.decode()
        assert 'smsgwd_limited_total{gateway="g",limit="budget"} 3.0' in metrics
        assert 'smsgwd_messages_total{gateway="g",outcome="accepted",reason=""} 7.0' in metrics
        refused = await post(running, "g")
        assert (refused.status, refused.json()["reason"]) == (429, "limit")
        assert int(refused.headers["retry-after"]) > 80_000


@on_loop
async def test_one_at_a_time_with_a_failover_waits_for_nobody_in_a_circle(tmp_path: Path) -> None:
    """A send that goes on to the next member does not wait behind those who wait for its place."""
    provider = Provider()
    with provider.server:
        files = {
            "gateways.d/a.yaml": provider.gateway(BUSY),
            "gateways.d/b.yaml": provider.gateway("ok", "{rate: 50/s, in_flight: 5}"),
            "gateways.d/f.yaml": "provider: failover\nlimits: {in_flight: 1}\nsettings: {gateways: [a, b]}\n",
            "smsgwd.yaml": "limits: {in_flight: 1}\n",
        }
        with daemon(configuration(tmp_path, files)) as running:
            running.ready()
            first = asyncio.create_task(post(running, "f"))
            assert await asyncio.to_thread(provider.server.asked.wait, 15)
            further = [asyncio.create_task(post(running, "b", 1 + number)) for number in range(3)]
            await until_used(running, "b", "rate", waiting=3)
            provider.gate.set()
            async with asyncio.timeout(8):
                answers = [(await one).json() for one in (first, *further)]
            assert [(one["outcome"], one["gateway"]) for one in answers] == [("accepted", "b")] * 4
            assert [one["gateway"] for one in answers[0]["tried"]] == ["a"]
            assert (await usage(running, "f"))["in_flight"] == {"limit": 1, "used": 0}
            assert (await usage(running, "b"))["in_flight"] == {"limit": 5, "used": 0}


@on_loop
async def test_a_place_that_is_hung_up_on_is_free_again(tmp_path: Path) -> None:
    """Who waits for the only place is refused at its own deadline, and a client that goes leaves none taken."""
    provider = Provider()
    with provider.server:
        files = {"gateways.d/one.yaml": provider.gateway(SLOW, "{in_flight: 1}")}
        with daemon(configuration(tmp_path, files)) as running:
            running.ready()
            async with connected(running.path) as (_, writer):
                writer.write(request("POST", "/v1/messages", json.dumps(body("one")).encode(), JSON))
                assert await asyncio.to_thread(provider.server.asked.wait, 15)
            refused = await post(running, "one", deadline="1s")
            assert (refused.status, refused.json()["detail"]) == (429, "over `in_flight: 1` of `one`")
            async with connected(running.path) as (reader, writer):
                writer.write(request("POST", "/v1/messages", json.dumps(body("one")).encode(), JSON))
                provider.gate.set()
                assert (await read_response(reader)).status == 200
            assert await usage(running, "one") == {"in_flight": {"limit": 1, "used": 0}}
