"""Limits as callers and administrators meet them: the socket, the metrics, a reload of files."""

import asyncio
import json
from pathlib import Path
from typing import Any

import gated_provider
import pytest
from api_document import API, validator
from patience import until
from reloading import Configuration, on_loop
from served import Served, serving
from socket_client import Response, call

from smsgwd.allowance import Choice, Limits
from smsgwd.caller import Caller
from smsgwd.cli.status import _lines
from smsgwd.errors import RequestError
from smsgwd.idempotency import Idempotency
from smsgwd.limits import Limiter
from smsgwd.message import SendRequest
from smsgwd.metrics import Metrics
from smsgwd.outcome import Outcome
from smsgwd.registry import Entry, Registry, SiteConfig
from smsgwd.reload import Reloader
from smsgwd.sender import send
from smsgwd.server.connection import Limits as Doors
from smsgwd.server.sends import Sends
from smsgwd.units import parse_pace

SITE = Limits(budget=parse_pace("100/d"), countries=Choice(frozenset({"DE"})))


def with_limits(served: Served, limits: Limits) -> None:
    """Serve `gated` with these limits."""
    one = gated_provider.gateway(served.provider, limits=limits)
    served.configuration.registry = Registry.of([Entry.of("gated", one)], SiteConfig(limits=SITE))


async def post(served: Served, text: str = "hi", to: str = "+491701234567", **headers: str) -> Response:
    """One message to `gated`."""
    body = {"gateway": "gated", "to": to, "text": text}
    return await call(served.path, "POST", "/v1/messages", body, {**headers})


def check(path: str, response: Response) -> Any:
    """The answer, which is as openapi.json describes it."""
    method = "post" if path == "/v1/messages" else "get"
    described = API["paths"][path][method]["responses"][str(response.status)]
    kind = response.headers["content-type"].partition(";")[0]
    validator(described["content"][kind]["schema"]).validate(response.json())
    return response.json()


def test_a_refusal_says_when_to_come_again(tmp_path: Path) -> None:
    """429 with Retry-After; the metric counts it, and the gateway shows what is used."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            with_limits(served, Limits(per_recipient=parse_pace("2/10m"), rate=parse_pace("30/s"), in_flight=5))
            answers = [await post(served) for _ in range(3)]
            assert [one.status for one in answers] == [200, 200, 429]
            assert check("/v1/messages", answers[2])["reason"] == "limit"
            assert 590 < int(answers[2].headers["retry-after"]) <= 600
            assert (await post(served, to="+436641234567")).status == 422
            metrics = (await call(served.path, "GET", "/metrics")).body.decode()
            assert 'smsgwd_limited_total{gateway="gated",limit="per_recipient"} 1.0' in metrics
            assert 'smsgwd_limited_total{gateway="gated",limit="countries"} 1.0' in metrics
            shown = check("/v1/gateways/{name}", await call(served.path, "GET", "/v1/gateways/gated"))
            assert shown["limits"]["per_recipient"] == {"limit": "2/10m", "numbers": 1}
            assert shown["limits"]["in_flight"] == {"limit": 5, "used": 0}
            status = check("/v1/status", await call(served.path, "GET", "/v1/status"))
            assert status["limits"] == {"budget": {"limit": "100/d", "used": 2}}
            lines = "\n".join(_lines(status, [shown]))
            assert "limit per_recipient: limit 2/10m, numbers 1" in lines
            assert "all gateways together:\n  limit budget: limit 100/d, used 2" in lines

    asyncio.run(scenario())


def test_an_answer_that_was_kept_counts_for_nothing(tmp_path: Path) -> None:
    """A repeated Idempotency-Key is answered whatever the limits say, and leaves them as they are."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            with_limits(served, Limits(budget=parse_pace("1/d")))
            answers = [await post(served, **{"Idempotency-Key": "k"}) for _ in range(3)]
            assert [one.status for one in answers] == [200, 200, 200]
            assert (await post(served)).status == 429
            with_limits(served, Limits(budget=parse_pace("2/d")))
            answers = [await post(served, **{"Idempotency-Key": "l"}) for _ in range(2)]
            assert [one.status for one in answers] == [200, 200]
            assert served.provider.ended == 2

    asyncio.run(scenario())


def test_one_who_waits_does_not_keep_others_from_the_rest(tmp_path: Path) -> None:
    """While sends wait for a place, status and metrics answer; who hung up does not stop its send."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            with_limits(served, Limits(in_flight=1))
            sends = [asyncio.create_task(post(served, text="wait")) for _ in range(3)]
            await until(lambda: len(served.sends._running) == 3 and bool(served.provider.submitted))
            shown = (await call(served.path, "GET", "/v1/gateways/gated")).json()
            assert shown["limits"]["in_flight"] == {"limit": 1, "used": 1}
            sends[2].cancel()
            served.provider.gate.set()
            assert [(await one).status for one in sends[:2]] == [200, 200]
            await served.sends.drain()
            assert served.provider.ended == 3

    asyncio.run(scenario())


def test_one_caller_does_not_take_all_places(tmp_path: Path) -> None:
    """Whatever one keeps waiting, others are not told `overloaded`; all together there are no more than may be."""

    async def scenario() -> None:
        async with serving(tmp_path, Doors(in_flight=16)) as served:

            def send(caller: int) -> bool:
                request = SendRequest("gated", "+491701234567", text="wait", caller=Caller(caller))
                try:
                    served.sends._start(request)
                except RequestError as error:
                    return error.code != "overloaded"
                return True

            assert [send(1) for _ in range(20)] == [True] * 12 + [False] * 8
            assert [send(2) for _ in range(3)] == [True] * 3
            assert [send(1), send(3), send(4)] == [False, True, False]
            served.provider.gate.set()
            await served.sends.drain()
            assert send(1)
            await served.sends.drain()
            assert served.sends._callers == {}

    asyncio.run(scenario())


class Files:
    """A daemon's reloading and sending, over a real directory."""

    def __init__(self, root: Path) -> None:
        self.configuration = Configuration(root)
        self.reloader = Reloader(root, quiet_s=0.01)
        self.limiter = Limiter()
        self.sends = Sends(self.reloader, Metrics(self.reloader, self.limiter), Idempotency(), self.limiter, 100)

    def write(self, budget: str, description: str = "") -> None:
        """The file of gateway `g`."""
        data = {"provider": "console", "description": description, "limits": {"budget": budget}}
        self.configuration.write("g", json.dumps(data))

    async def reload(self) -> None:
        """As the daemon does it."""
        await self.reloader.reload()
        self.sends.follow()

    async def send(self) -> Outcome:
        """One message."""
        return await send(self.reloader.registry, SendRequest("g", "+491701234567", text="hi"), self.limiter)


@on_loop
async def test_files_may_change_and_the_counts_stay(tmp_path: Path) -> None:
    """A new description, a new limit, a file that is broken for a while or gone: what was sent stays counted."""
    files = Files(tmp_path)
    files.write("3/d")
    await files.reloader.load()
    assert (await files.send()).kind == "accepted"
    files.write("3/d", "another")
    await files.reload()
    assert (await files.send()).kind == "accepted"
    files.configuration.write("g", "provider: console\nlimits: {budget: 0/d}\n")
    await files.reload()
    assert files.reloader.registry.entries["g"].state == "stale"
    assert (await files.send()).kind == "accepted"
    assert (await files.send()).http_status == 429
    (tmp_path / "gateways.d" / "g.yaml").unlink()
    await files.reload()
    assert "g" not in files.reloader.registry.entries
    files.write("4/d")
    await files.reload()
    assert [(await files.send()).http_status for _ in range(2)] == [200, 429]
    assert files.sends.usage("g") == {"limits": {"budget": {"limit": "4/d", "used": 4}}}
    await files.reloader.close()


@pytest.mark.parametrize("name", ["gateway", "smsgwd"])
def test_the_schemas_of_both_files_say_the_same(name: str) -> None:
    """One definition, in each of the two files."""
    root = Path(__file__).parent.parent / "schemas"
    both = [json.loads((root / f"{one}.schema.json").read_text())["$defs"]["limits"] for one in ("gateway", name)]
    assert both[0] == both[1]
