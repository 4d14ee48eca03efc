"""What one send takes of the limits."""

import unicodedata
from collections.abc import Iterable, Sequence

from smsgwd import msisdn
from smsgwd.errors import MessageError
from smsgwd.limits.bounds import Bounds, is_gateway
from smsgwd.limits.limiter import Limiter
from smsgwd.limits.line import Row
from smsgwd.limits.passage import Stage, Waiter, way_of
from smsgwd.limits.scope import Load, Refusal, Scope, now_s
from smsgwd.limits.window import Taken, give_back
from smsgwd.message import Message, Recipient
from smsgwd.outcome import Kind, Outcome
from smsgwd.registry import Gateway
from smsgwd.units import Deadline

_FOR_SENDING, _FOR_SENDING_S = 0.1, 2.0  # what is left of the time: this part of it, no more seconds than that


class Claim:
    """What one send takes of the limits until it has ended, all its attempts included.

    `refused_by` is the name whose limit has refused the last gateway that was tried.
    """

    def __init__(self, limiter: Limiter, generation: int, caller: str = "") -> None:
        self.refused_by: str | None = None
        self._limiter = limiter
        self._generation = generation
        self._caller = caller
        self._taken: dict[str, tuple[Scope, list[Taken]]] = {}

    async def take(
        self, bounds: Bounds, message: Message, gateway: Gateway, segments: int, deadline: Deadline
    ) -> Outcome | None:
        """Wait until a message may leave: None, or why it may not before the deadline.

        For the gateway's own limits it waits no longer than the time to leave, because there may be another way. What
        it has taken for an earlier member of a failover it does not take again.
        """
        self.refused_by = None
        stages = self._stages(bounds, gateway, deadline)
        if not stages:
            return None
        # also where no number is counted: a reload may want it before this message leaves
        number = self._limiter.hashed(_counted_number(message.to, gateway.phone.region))
        load = Load(self._caller, segments, number)
        refusal = _worst(stages, load, bound=bool(self._taken)) or await self._entered(stages, load)
        if refusal is None:
            return None
        self.refused(gateway, refusal.name, refusal.limit)
        return refusal.as_outcome()

    def _stages(self, bounds: Bounds, gateway: Gateway, deadline: Deadline) -> list[Stage]:
        return [
            Stage(
                self._limiter.scope(name, limits, self._generation),
                _patience_s(deadline.to_leave if name == gateway.name else deadline),
            )
            for name, limits in bounds
            if limits.counts and name not in self._taken
        ]

    def refused(self, gateway: Gateway, name: str, limit: str) -> None:
        """Take note that a limit of this name has refused the message for a gateway."""
        self.refused_by = name
        self._limiter.refused[name if is_gateway(name) else gateway.name, limit] += 1

    def refused_for_all(self, path: Iterable[str]) -> bool:
        """Whether it was refused by a limit that holds for all members of these failovers."""
        return self.refused_by is not None and (not is_gateway(self.refused_by) or self.refused_by in path)

    async def _entered(self, stages: Sequence[Stage], load: Load) -> Refusal | None:
        """Wait for a place under all limits and take it; or why there was none."""
        held = [one for stage in stages for one in stage.scope.hold(load)]
        waiter = Waiter(self._limiter.usher, stages, load, bound=bool(self._taken))
        try:
            await waiter.passed()
            refusal = waiter.refusal()
            if refusal is None:
                self._taken |= waiter.enter()
        finally:
            give_back(held)
        if refusal is not None:
            waiter.dismiss()
        return refusal

    def settle(self, name: str, outcome: Outcome) -> None:
        """What was tried under this name has ended so."""
        scope, taken = self._taken.pop(name, (None, []))
        if scope is not None:
            scope.leave(taken if outcome.kind is Kind.UNSENT else ())

    def settle_all(self, outcome: Outcome) -> None:
        """The send has ended so."""
        for name in list(self._taken):
            self.settle(name, outcome)


def _patience_s(deadline: Deadline) -> float:
    left_s = deadline.remaining()
    return left_s - min(left_s * _FOR_SENDING, _FOR_SENDING_S)


def _worst(stages: Sequence[Stage], load: Load, *, bound: bool) -> Refusal | None:
    """The refusal that lasts longest, if there is one."""
    now, coming, found = now_s(), 0, list[Refusal]()
    rows = {stage.scope.name: row for stage, row in way_of(stages, bound=bound)}
    for stage in stages:
        row = rows.get(stage.scope.name, Row(None, bound))
        found += stage.scope.refusals(load, now, stage.patience_s, row, coming)
        coming += stage.scope.line.standing(load.caller, row)
    return max(found, key=lambda one: (one.never, one.wait_s), default=None)


def _counted_number(recipient: Recipient, region: str | None) -> str:
    """A number as it is counted: E.164 where it can be read, however it was written and goes out."""
    if recipient.e164 is not None:
        return recipient.e164
    try:
        return msisdn.reformat(recipient.written, msisdn.E164, region)
    except MessageError:
        return "".join(unicodedata.normalize("NFKC", recipient.phone).casefold().split())
