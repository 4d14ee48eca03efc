"""A gateway that takes everything and sends nothing: for a first look, and for tests."""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from smsgwd.message import Message
from smsgwd.outcome import Kind, Outcome
from smsgwd.privacy import mask_number
from smsgwd.providers._base import Bench, Prepared, Provider
from smsgwd.units import Deadline

log = logging.getLogger("smsgwd.console")

KEPT = 1000  # entries that `smsgwd status` can show


@dataclass(frozen=True, slots=True)
class ConsolePrepared(Prepared):
    """A message for the console."""

    to: str


@dataclass(frozen=True, slots=True)
class ConsoleReply:
    """The console's answer."""

    message_id: str

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log."""
        return {"message_id": self.message_id}


class ConsoleProvider(Provider[ConsolePrepared, ConsoleReply]):
    """Logs number (masked) and segments, and keeps as much of the last messages."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._numbers = count(1)
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def render(self, message: Message) -> ConsolePrepared:
        """The message as it is."""
        return ConsolePrepared(text=message.text, to=message.phone)

    def describe(self, prepared: ConsolePrepared) -> dict[str, Any]:
        """Number and text: `render` is the place where they show."""
        return {"to": prepared.to, "text": prepared.text}

    async def submit(self, prepared: ConsolePrepared, deadline: Deadline) -> ConsoleReply:  # noqa: ARG002 - takes no time
        """Log it and keep the entry. Never raises SubmitError."""
        size = prepared.count()
        message_id = f"console-{next(self._numbers)}"
        entry = {"to": mask_number(prepared.to), "segments": size.segments, "encoding": size.encoding}
        self._entries.append({"message_id": message_id, **entry})
        log.info("message", extra={"gateway": self._gateway, "message_id": message_id, **entry})
        return ConsoleReply(message_id)

    def interpret(self, reply: ConsoleReply) -> Outcome:
        """It is accepted."""
        return Outcome(Kind.ACCEPTED, message_ids=(reply.message_id,))

    def status(self) -> dict[str, Any]:
        """The last 1,000 entries, the oldest first; numbers are masked, texts are not kept."""
        return {"messages": list(self._entries)}


def build(_settings: Mapping[str, Any], bench: Bench) -> ConsoleProvider:
    """The console; it has no settings."""
    return ConsoleProvider(bench.name)
