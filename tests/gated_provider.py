"""A provider whose answers a test decides: what a text says is what becomes of it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from smsgwd.errors import Problem
from smsgwd.message import Message
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Prepared, Provider
from smsgwd.registry import Entry, Gateway, Registry, Retry, SiteConfig, State
from smsgwd.units import Deadline

OUTCOMES = {
    "rejected": Outcome(Kind.REJECTED, Reason.PROVIDER, detail="code 7"),
    "unsent": Outcome(Kind.UNSENT, Reason.AUTH, retryable=False),
    "throttled": Outcome(Kind.UNSENT, Reason.THROTTLED, retry_after_s=1.2),
    "limit": Outcome(Kind.UNSENT, Reason.LIMIT),
    "unknown": Outcome(Kind.UNKNOWN, Reason.TIMEOUT),
}
ACCEPTED = Outcome(Kind.ACCEPTED, message_ids=("m1",))


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back."""

    text: str

    def as_dict(self) -> dict[str, Any]:
        """As the contract wants it."""
        return {"text": self.text}


@dataclass
class Gated(Provider[Prepared, Answered]):
    """Counts what is submitted; a text `wait` stays until the gate opens, `crash` is a fault of ours."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: list[str] = field(default_factory=list)
    ended: int = 0

    def render(self, message: Message) -> Prepared:
        """The text as it is."""
        return Prepared(message.text)

    def describe(self, prepared: Prepared) -> dict[str, Any]:
        """The text as it is."""
        return {"text": prepared.text}

    async def submit(self, prepared: Prepared, deadline: Deadline) -> Answered:
        """Answers at once, or when the gate opens."""
        self.submitted.append(prepared.text)
        if prepared.text.startswith("wait"):
            await self.gate.wait()
        if prepared.text == "crash":
            raise RuntimeError("the text of this exception may hold a message")
        self.ended += 1
        return Answered(prepared.text)

    def interpret(self, reply: Answered) -> Outcome:
        """What the text says."""
        return OUTCOMES.get(reply.text, ACCEPTED)


def gateway(provider: Provider[Any, Any], name: str = "gated", **settings: Any) -> Gateway:
    """A gateway with this provider that tries once."""
    return Gateway(
        name=name,
        provider_name="gated",
        provider=provider,
        phone=PhoneRules(),
        retry=Retry(attempts=1),
        digest="sha256:" + "0" * 64,
        **settings,
    )


def registry(provider: Provider[Any, Any], config: SiteConfig | None = None) -> Registry:
    """`gated` serves, `ops-one` as well, `off` is disabled, `broken` does not compile."""
    problem = Problem("gateways.d/broken.yaml", 3, 5, "unknown-key", "unknown key 'hots'")
    entries = [
        Entry("gated", State.OK, gateway(provider)),
        Entry("ops-one", State.OK, gateway(provider, "ops-one")),
        Entry("off", State.DISABLED, gateway(provider, "off", enabled=False)),
        Entry("broken", State.REJECTED, None, (problem,)),
    ]
    return Registry.of(entries, config or SiteConfig())
