"""A provider that echoes all it got: no text, number or secret comes out again, whichever engine sends."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from fake_http import ENGINES, Line, RawServer, Script, free_port, http
from http_gateway import Http
from secret_file import write_secret

from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Outcome
from smsgwd.registry import Entry, Registry, SiteConfig, State
from smsgwd.sender import send

TEXT = "Canary text 987654"
SECRETS = {"user": "user-canary", "password": "password-canary"}
LEAKS = ("Canary", "987654", "1701234567", "canary", "dXNlci1jYW5hcnk6cGFzc3dvcmQtY2FuYXJ5")
PATH = "/send/{{ phone }}?pw={{ secrets.password }}"
SETTINGS = {
    "json": {"to": "{{ phone }}", "text": "{{ message }}", "pw": "{{ secrets.password }}"},
    "auth": {"username": "{{ secrets.user }}", "password": "{{ secrets.password }}"},
    "error": {"json": "/echo"},
}


def echoes(status: int) -> Script:
    """A script that answers with the whole request."""

    def script(line: Line) -> None:
        while octets := line.read():
            line.send(http(status, json.dumps({"echo": octets.decode()}).encode()))

    return script


def sent(server: RawServer, directory: Path, engine: str, url: str = "") -> Outcome:
    """What becomes of the canary."""

    async def go() -> Outcome:
        secrets = {name: {"file": name} for name in SECRETS}
        settings = {**SETTINGS, "url": url + PATH}
        gateway = Http(server, directory, engine).gateway(settings, secrets=secrets, retry={"attempts": 1})
        registry = Registry.of([Entry("test", State.OK, gateway)], SiteConfig())
        outcome = await send(registry, SendRequest("test", "+491701234567", text=TEXT))
        await gateway.provider.close()
        return outcome

    for name, value in SECRETS.items():
        write_secret(directory / name, value)
    return asyncio.run(go())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("status", [200, 302, 401, 422, 429, 500])
def test_nothing_that_was_sent_comes_out(
    engine: str, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the outcome nor any log line of any library, at debug level, repeats what the provider echoes."""
    caplog.set_level(logging.DEBUG)
    with RawServer(echoes(status)) as server:
        outcome = sent(server, tmp_path, engine)
        assert all(leak.encode() in server.requests[0] for leak in ("Canary", "1701234567", LEAKS[-1]))
    shown = repr(outcome) + json.dumps(outcome.as_dict()) + caplog.text + repr([vars(one) for one in caplog.records])
    assert [leak for leak in LEAKS if leak in shown] == []
    assert (outcome.kind is Kind.ACCEPTED) is (status == 200)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failed_connection_tells_nothing(engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The words for a connection that did not come about name host and port, and nothing of the request."""
    caplog.set_level(logging.DEBUG)
    with RawServer(echoes(200)) as server:
        outcome = sent(server, tmp_path, engine, f"http://127.0.0.1:{free_port()}")
    assert outcome.kind is Kind.UNSENT
    assert [leak for leak in LEAKS if leak in repr(outcome) + caplog.text] == []
