"""The sends that run: bounded in number, each to its end whatever becomes of the client that asked for it."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from smsgwd import sender
from smsgwd.errors import RequestError
from smsgwd.idempotency import Idempotency
from smsgwd.limits import Limiter
from smsgwd.message import SendRequest
from smsgwd.metrics import Configuration, Metrics
from smsgwd.outcome import Attempt, Outcome

_FOR_ALL = 0.75  # of the places are for whoever comes first


class Sends:
    """Starts sends and knows how they ended. `limit` is how many may run at once; `limiter` counts what leaves."""

    def __init__(
        self,
        configuration: Configuration,
        metrics: Metrics,
        idempotency: Idempotency,
        limiter: Limiter,
        limit: int,
    ) -> None:
        self._configuration = configuration
        self._metrics = metrics
        self._idempotency = idempotency
        self._limiter = limiter
        self._limit = limit
        self._running: set[asyncio.Task[Outcome]] = set()
        self._callers = Counter[str]()  # how many run of each
        self._last: dict[str, dict[str, Any]] = {}

    async def send(self, request: SendRequest) -> Outcome:
        """The outcome of this send, which goes on when whoever waits here goes. Raises RequestError."""
        return await asyncio.shield(self._start(request))

    async def once(self, request: SendRequest, caller: str, key: str | None, digest: str) -> tuple[Outcome, bool]:
        """The outcome of this send, or (True) of the one that this caller made before under the same key.

        The send goes on when whoever waits here goes. Raises RequestError, as the send itself and `Idempotency.once`.
        """
        if key is None:
            return await self.send(request), False
        begun: list[asyncio.Task[Outcome]] = []

        def start() -> "asyncio.Task[Outcome]":
            begun.append(self._start(request))
            return begun[0]

        return await self._idempotency.once(caller, key, digest, start), not begun

    def _start(self, request: SendRequest) -> "asyncio.Task[Outcome]":
        caller = "" if request.caller is None else request.caller.name
        self._make_sure_of_a_place(caller)
        task = asyncio.create_task(self._send(request))
        self._running.add(task)
        self._callers[caller] += 1
        task.add_done_callback(lambda ended: self._ended(ended, caller))
        return task

    def _make_sure_of_a_place(self, caller: str) -> None:
        """The last quarter of the places is for callers who have less than an equal part: others find room, too."""
        running = len(self._running)
        if running >= self._limit:
            raise RequestError("overloaded", "too many sends are running")
        callers = len(self._callers) + (caller not in self._callers)
        if running >= self._limit * _FOR_ALL and self._callers[caller] >= self._limit / callers * _FOR_ALL:
            raise RequestError("overloaded", "too many sends of this caller are running")

    async def _send(self, request: SendRequest) -> Outcome:
        outcome = await sender.send(self._configuration.registry, request, self._limiter)
        self._observe(outcome)
        return outcome

    def _ended(self, task: "asyncio.Task[Outcome]", caller: str) -> None:
        self._running.discard(task)
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left, and that is no reason to complain

    def _observe(self, outcome: Outcome) -> None:
        self._metrics.observe(outcome)
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for one in outcome.tries:
            self._last[one.gateway] = _last(one, at)
        if outcome.via is not None:
            self._last[outcome.via] = self._last[outcome.gateway]

    def last(self, gateway: str) -> dict[str, Any] | None:
        """How the last send through this gateway ended."""
        return self._last.get(gateway)

    def usage(self, name: str) -> dict[str, Any]:
        """`limits`: how much of each limit of a gateway (or `limits.SITE`) is used; nothing where nothing counts."""
        found = self._limiter.usage(self._configuration.registry, name)
        return {"limits": found} if found else {}

    def follow(self) -> None:
        """Take over the limits of a new configuration, and drop what is known of gateways that are served no more."""
        registry = self._configuration.registry
        self._limiter.follow(registry)
        self._last = {name: last for name, last in self._last.items() if name in registry.entries}

    async def drain(self) -> None:
        """Returns when no send runs any more; each has its own deadline."""
        while self._running:
            await asyncio.wait(self._running)


def _last(one: Attempt, at: str) -> dict[str, Any]:
    return {
        "outcome": str(one.kind),
        "reason": None if one.reason is None else str(one.reason),
        "at": at,
        "elapsed": round(one.elapsed_s, 3),
    }
