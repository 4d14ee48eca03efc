"""A provider `smpp` for a test's SMSC, and sending as the sender does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.message import Message, Recipient
from smsgwd.outcome import Kind, Outcome
from smsgwd.providers._net.tls import Tls
from smsgwd.providers.smpp import address
from smsgwd.providers.smpp.bind import Account, Timing
from smsgwd.providers.smpp.parts import Style
from smsgwd.providers.smpp.provider import SmppProvider
from smsgwd.secret import Secret
from smsgwd.units import Deadline

NUMBER = "491701234567"
PASSWORD = "hunter2x"
QUICK = Timing(timeout_s=5, reconnect_s=(0.01, 0.05), refused_s=(0.05, 0.05))


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test in an event loop of its own, which must not be left with an unheard exception."""
    unheard: list[dict[str, Any]] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        await test

    asyncio.run(guarded())
    assert not unheard


@asynccontextmanager
async def gateway(
    port: int,
    timing: Timing = QUICK,
    style: Style | None = None,
    *,
    host: str = "127.0.0.1",
    password: str = PASSWORD,
    tls: Tls | None = None,
) -> AsyncIterator[SmppProvider]:
    """A provider that binds there, closed at the end."""
    account = Account(host, port, "smsgwd", Secret(password), tls=tls)
    provider = SmppProvider("gate", account, timing, style or Style(), address.Kind(), address.Kind())
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def send(
    provider: SmppProvider, text: str = "hello", *, to: str = NUMBER, sender: str = "ACME", deadline_s: float = 10
) -> Outcome:
    """Send as the sender does: what is not answered is an outcome, too."""
    prepared = provider.render(Message(Recipient(to), text, sender))
    try:
        return provider.interpret(await provider.submit(prepared, Deadline.after(deadline_s)))
    except SubmitError as error:
        kind = Kind.UNKNOWN if error.handed_over else Kind.UNSENT
        return Outcome(kind, error.reason, detail=error.detail, retryable=error.retryable)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task brings about; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - the state is the program's own, it has no event for tests
        await asyncio.sleep(0.005)


def states(provider: SmppProvider) -> list[str]:
    """The states of the binds."""
    return [bind["state"] for bind in provider.status()["binds"]]
