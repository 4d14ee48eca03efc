"""A failover over providers as they are, of which the first cannot be reached."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted import ACCEPTED, gateway

from smsgwd.compile import compile_gateway
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Outcome
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Failover, Gateway, Registry, SiteConfig
from smsgwd.sender import send

FAILOVER = "provider: failover\ndeadline: 2s\nsettings: {gateways: [first, second]}\n"
SMPP = "provider: smpp\nsettings: {host: 127.0.0.1, port: %d, system_id: me}\n"
SMTP = "provider: smtp\nsettings: {server: {host: 127.0.0.1, port: %d, from: a@example.com}, mail_to: b@example.com}\n"
HTTP = "provider: http\nsettings: {url: 'http://127.0.0.1:%d/', method: POST, text: '{{ message }}'}\n"


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port where connections are refused."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A port where connecting itself takes for ever: nobody accepts, and no more may wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, contextlib.ExitStack() as waiting:
        for _ in range(2):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def sent(first: str, site: Site) -> Outcome:
    """What becomes of a message through the failover; `first` is the file of the first member."""
    made = [
        compile_gateway(name, load(text.encode(), name), site, resolve=True)[0]
        for name, text in (("f", FAILOVER), ("first", first))
    ]
    assert isinstance(made[0], Failover)
    assert isinstance(made[1], Gateway)
    served = [*made, gateway(ACCEPTED, name="second")]
    snapshot = Registry.of([Entry.of(one.name, one) for one in served if one is not None], SiteConfig())
    await made[1].start()
    try:
        return await send(snapshot, SendRequest("f", "+491701234567", text="hi"))
    finally:
        await made[1].close()


@pytest.mark.parametrize(
    ("first", "where", "engine"),
    [
        (SMPP, nobody, "auto"),
        (SMPP, silent, "auto"),
        (SMTP, silent, "auto"),
        (SMTP, full, "auto"),
        (HTTP, full, "requests"),
        (HTTP, full, "httptools"),
    ],
)
def test_the_next_member_gets_its_time(
    first: str, where: Callable[[], contextlib.AbstractContextManager[int]], engine: str, tmp_path: Path
) -> None:
    """However long the first would wait for a connection, inside the failover's deadline the second takes it."""
    with where() as port:
        outcome = asyncio.run(sent(first % port, Site(tmp_path, http_engine=engine)))
    assert (outcome.kind, outcome.gateway) == (Kind.ACCEPTED, "second")
    assert {(one.gateway, one.kind) for one in outcome.tried} == {("first", Kind.UNSENT)}
    assert outcome.elapsed_s < 2
