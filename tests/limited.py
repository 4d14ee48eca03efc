"""Gateways with limits, what is counted of them, and when messages leave."""

import asyncio
import random
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from scripted import ACCEPTED, BUSY, NUMBER, Answer, Scripted, gateway

from smsgwd.allowance import UNLIMITED, Limits
from smsgwd.errors import Problem
from smsgwd.limits import Limiter
from smsgwd.message import SendRequest
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Prepared
from smsgwd.registry import Entry, Failover, Gateway, Reference, Registry, Retry, Served, SiteConfig
from smsgwd.sender import send
from smsgwd.units import Deadline, Pace, parse_pace

ONCE = Retry(attempts=1)
OTHER = "+491701234568"
LOST = Outcome(Kind.UNKNOWN, Reason.TIMEOUT)
REFUSED = Outcome(Kind.REJECTED, Reason.PROVIDER)


def limited(**members: Any) -> Limits:
    """Limits as a file says them."""
    read: dict[str, Any] = {
        key: parse_pace(value) if isinstance(value, str) else value for key, value in members.items()
    }
    return Limits(**read)


def served(*answers: Outcome | None, name: str = "g", limits: Limits = UNLIMITED, **members: Any) -> Gateway:
    """A gateway that tries once; without answers it accepts all."""
    script: Iterable[Outcome | None] = answers or repeat(ACCEPTED)
    one = gateway(name=name, limits=limits, retry=ONCE, **members)
    assert isinstance(one.provider, Scripted)
    one.provider.script = iter(script)
    return one


def submitted(one: Gateway) -> int:
    """How many messages have reached the provider."""
    assert isinstance(one.provider, Scripted)
    return len(one.provider.submitted)


def failover(*members: str, limits: Limits = UNLIMITED, name: str = "f", **more: Any) -> Failover:
    """A failover among these."""
    references = tuple(Reference(one, Problem(f"{name}.yaml", 1, 1, "", "")) for one in members)
    phone = PhoneRules(region="DE")
    return Failover(
        name=name, provider_name="failover", phone=phone, gateways=members, references=references, limits=limits, **more
    )


def registry(*all_served: Served, site: Limits = UNLIMITED, generation: int = 1) -> Registry:
    """A snapshot."""
    return Registry.of([Entry.of(one.name, one) for one in all_served], SiteConfig(limits=site), (), generation)


class House:
    """Gateways and what is counted of them."""

    def __init__(self, *all_served: Served, site: Limits = UNLIMITED) -> None:
        self.limiter = Limiter()
        self.registry = registry(*all_served, site=site)

    async def send(self, to: str = NUMBER, text: str = "hi", name: str = "g", **members: Any) -> Outcome:
        """One message."""
        return await send(self.registry, SendRequest(name, to, text=text, **members), self.limiter)

    def usage(self, name: str = "g") -> dict[str, Any]:
        """How much is used."""
        return self.limiter.usage(self.registry, name)


def kinds(outcomes: Iterable[Outcome]) -> str:
    """A letter for each: accepted, refused by a limit, or else what it is."""
    return "".join("L" if one.reason is Reason.LIMIT else str(one.kind)[0] for one in outcomes)


async def sent_in_a_row(house: House, count: int, **members: Any) -> list[Outcome]:
    """So many messages, one after the other."""
    return [await house.send(**members) for _ in range(count)]


class Times:
    """When messages leave, in made time."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.started = asyncio.get_running_loop().time()
        self.left: list[tuple[int, float]] = []

    async def send(self, index: int, **members: Any) -> Outcome:
        """Send one message, and note when it left."""
        outcome = await self.house.send(f"+49170{index:07}", **members)
        if outcome.kind is Kind.ACCEPTED:
            self.left.append((index, asyncio.get_running_loop().time() - self.started))
        return outcome

    async def all(self, count: int, **members: Any) -> list[Outcome]:
        """So many at once."""
        return await asyncio.gather(*(self.send(index, **members) for index in range(count)))


class Busy(Scripted):
    """Takes a while, refuses some, and notes when what it took had left."""

    def __init__(self, seed: int) -> None:
        super().__init__(iter(()))
        self.random = random.Random(seed)
        self.taken: list[tuple[float, int]] = []
        self.running = self.most = 0

    async def submit(self, prepared: Prepared, deadline: Deadline) -> Answer:
        """One message."""
        left = asyncio.get_running_loop().time()
        outcome = self.random.choice([ACCEPTED, ACCEPTED, BUSY, LOST])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.random.choice([0, 0.01, 0.5, 0.9]))
        finally:
            self.running -= 1
        if outcome is not BUSY:
            self.taken.append((left, prepared.count().segments))
        return Answer(outcome)


def check_window(taken: list[tuple[float, int]], pace: Pace, largest: int) -> None:
    """No span sees more than the pace, but for one message that borrows."""
    for at, _ in taken:
        inside = [count for other, count in taken if at <= other < at + pace.window_s]
        assert sum(inside) <= pace.count or (len(inside) == 1 and inside[0] <= largest)
