"""The provider console: takes everything, tells no text and no whole number."""

import asyncio
import logging

import pytest
from http_gateway import PHONE, compiled, message

from smsgwd.outcome import Kind, Outcome
from smsgwd.providers._base import Site
from smsgwd.providers.console import KEPT, ConsoleProvider
from smsgwd.units import Deadline


@pytest.fixture
def console() -> ConsoleProvider:
    """A console gateway."""
    provider = compiled({"provider": "console"}, Site()).provider
    assert isinstance(provider, ConsoleProvider)
    return provider


def send(console: ConsoleProvider, *texts: str) -> list[Outcome]:
    """What becomes of these texts."""

    async def go() -> list[Outcome]:
        prepared = [console.render(message(text)) for text in texts]
        return [console.interpret(await console.submit(each, Deadline.after(1))) for each in prepared]

    return asyncio.run(go())


def test_it_accepts_everything(console: ConsoleProvider) -> None:
    """Each message is accepted under an id of its own."""
    assert [(outcome.kind, outcome.message_ids) for outcome in send(console, "a", "€" * 100)] == [
        (Kind.ACCEPTED, ("console-1",)),
        (Kind.ACCEPTED, ("console-2",)),
    ]


def test_it_logs_masked_number_and_segments(console: ConsoleProvider, caplog: pytest.LogCaptureFixture) -> None:
    """The log holds the masked number and the segments, neither text nor number."""
    caplog.set_level(logging.DEBUG)
    send(console, "canary " * 30)
    (record,) = [record for record in caplog.records if record.name == "smsgwd.console"]
    fields = vars(record)
    assert (fields["to"], fields["segments"], fields["encoding"]) == ("+4917*****67", 2, "gsm7")
    assert fields["gateway"] == "test"
    assert "canary" not in repr(fields)
    assert PHONE not in repr(fields)


def test_it_keeps_the_last_thousand(console: ConsoleProvider) -> None:
    """The status shows the last 1,000 masked entries, the oldest first."""
    assert console.status() == {"messages": []}
    send(console, *["hi"] * (KEPT + 5))
    entries = console.status()["messages"]
    assert len(entries) == KEPT
    assert entries[0] == {"message_id": "console-6", "to": "+4917*****67", "segments": 1, "encoding": "gsm7"}
    assert entries[-1]["message_id"] == f"console-{KEPT + 5}"


def test_render_shows_the_text(console: ConsoleProvider) -> None:
    """What would be sent is number and text: `render` is where they show."""
    assert console.describe(console.render(message("Hello"))) == {"to": PHONE, "text": "Hello"}


def test_the_answer_for_the_debug_log(console: ConsoleProvider) -> None:
    """The console's answer is its message id."""
    reply = asyncio.run(console.submit(console.render(message("x")), Deadline.after(1)))
    assert reply.as_dict() == {"message_id": "console-1"}
