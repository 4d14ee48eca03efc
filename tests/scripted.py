"""A provider whose answers are given, and gateways with it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from smsgwd.message import Message
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Prepared, Provider
from smsgwd.registry import Gateway
from smsgwd.units import Deadline

ACCEPTED = Outcome(Kind.ACCEPTED, message_ids=("1",))
BUSY = Outcome(Kind.UNSENT, Reason.THROTTLED)
NUMBER = "+491701234567"


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply of a scripted provider: the outcome itself."""

    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        """What the debug log shows."""
        return {"answer": "took it, s3cr3t"}


@dataclass
class Scripted(Provider[Prepared, Answer]):
    """A provider whose answers are given: outcomes, errors to raise, or None for silence."""

    script: Iterator[Outcome | Exception | None]
    submitted: list[Deadline] = field(default_factory=list)
    rendered: list[Message] = field(default_factory=list)

    def render(self, message: Message) -> Prepared:
        """The text alone."""
        if message.text == "crash":
            raise ZeroDivisionError(message.text)
        self.rendered.append(message)
        return Prepared(message.text)

    def describe(self, prepared: Prepared) -> dict[str, Any]:
        """The text alone."""
        return {"text": prepared.text}

    async def submit(self, prepared: Prepared, deadline: Deadline) -> Answer:
        """The next of the script."""
        self.submitted.append(deadline)
        answer = next(self.script)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.sleep(60)
        assert answer is not None
        return Answer(answer)

    def interpret(self, reply: Answer) -> Outcome:
        """What was scripted."""
        return reply.outcome


def gateway(*script: Outcome | Exception | None, **members: Any) -> Gateway:
    """An enabled gateway called `g`, whose provider follows the script."""
    defaults = {"name": "g", "phone": PhoneRules(), "digest": "sha256:g"}
    return Gateway(provider_name="scripted", provider=Scripted(iter(script)), **{**defaults, **members})
