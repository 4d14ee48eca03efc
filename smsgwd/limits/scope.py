"""What is counted under one name."""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smsgwd.allowance import UNLIMITED, Limits
from smsgwd.limits.bounds import BUDGET, IN_FLIGHT, PER_RECIPIENT, RATE, whose
from smsgwd.limits.line import Line, Row
from smsgwd.limits.window import MANY, Recipients, Taken, Window, give_back
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.units import Pace

if TYPE_CHECKING:
    from smsgwd.limits.passage import Waiter


def now_s() -> float:
    """The time that the event loop goes by."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Load:
    """What a message asks of the limits. `number` is a keyed hash."""

    caller: str
    segments: int
    number: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A limit that a message does not fit into; it would in `wait_s` seconds, 0 where nobody can tell."""

    name: str
    limit: str
    size: Pace | int
    segments: int
    wait_s: float = 0.0

    @property
    def never(self) -> bool:
        """Whether it would not fit into an empty window either. A rate can be borrowed from, a budget cannot."""
        return self.limit == BUDGET and isinstance(self.size, Pace) and self.segments > self.size.count

    def as_outcome(self) -> Outcome:
        """What the caller gets to know."""
        limit = f"`{self.limit}: {self.size}` of {whose(self.name)}"
        if self.never:
            return Outcome(Kind.REJECTED, Reason.LIMIT, detail=f"{self.segments} segments are more than {limit}")
        return Outcome(Kind.UNSENT, Reason.LIMIT, detail=f"over {limit}", retry_after_s=self.wait_s)


class Scope:
    """What is counted under one name. The limits are those of the latest configuration that was seen.

    `changed` is told when somebody who waits here may have got a place. `apart` keeps a caller's numbers apart where
    `recipients` are shared.
    """

    def __init__(
        self,
        name: str,
        changed: Callable[["Scope"], None],
        many: int = MANY,
        recipients: Recipients | None = None,
        apart: bytes = b"",
    ) -> None:
        self.name = name
        self.limits = UNLIMITED
        self.line: Line[Waiter] = Line()
        self._changed = changed
        self._generation = -1
        self._running = 0  # sends that were let through and have not ended
        self._rate = Window(many)
        self._recipients = Recipients() if recipients is None else recipients
        self._apart = apart
        self._budget = Window(many)

    @property
    def crowded(self) -> bool:
        """Whether as many sends run as may."""
        return self.limits.in_flight is not None and self._running >= self.limits.in_flight

    @property
    def busy(self) -> bool:
        """Whether sends run or wait."""
        return bool(self._running or self.line.waiting)

    @property
    def detains(self) -> bool:
        """Whether somebody may have to wait here."""
        return bool(self.limits.rate or self.limits.in_flight)

    def follow(self, limits: Limits, generation: int) -> None:
        """Go on with these limits, unless they are of an older configuration than the present ones."""
        if generation >= self._generation:
            changed, self.limits, self._generation = limits != self.limits, limits, generation
            if changed:
                self._changed(self)

    # --- whether something fits

    def refusals(self, load: Load, now: float, patience_s: float, row: Row, coming: int = 0) -> Iterator[Refusal]:
        """The limits that a message does not fit into: a rate within its patience, the others now.

        `coming` are segments of its caller that are going to stand before it in the line.
        """
        rate, each, budget = self.limits.rate, self.limits.per_recipient, self.limits.budget
        if rate:
            yield from self._too_late(rate, load, now, patience_s, (row, coming))
        if each:
            fits_at = self._recipients.of(self._number(load)).fits_at(now, each, 1)
            yield from self._refusal(PER_RECIPIENT, each, load, fits_at - now)
        if budget:
            yield from self._refusal(BUDGET, budget, load, self._budget.fits_at(now, budget, load.segments) - now)

    def _too_late(
        self, rate: Pace, load: Load, now: float, patience_s: float, behind: tuple[Row, int]
    ) -> Iterator[Refusal]:
        """Who is soon enough behind all others need not be told whom it is in front of."""
        row, coming = behind
        wait_s = self._rate.fits_at(now, rate, load.segments, self.line.waiting + coming) - now
        if wait_s > patience_s:
            wait_s = self._rate.fits_at(now, rate, load.segments, self.line.ahead(load.caller, row, coming)) - now
        if wait_s > patience_s:
            yield Refusal(self.name, RATE, rate, load.segments, wait_s)

    def _refusal(self, limit: str, pace: Pace, load: Load, wait_s: float) -> Iterator[Refusal]:
        refusal = Refusal(self.name, limit, pace, load.segments, wait_s)
        if refusal.never or wait_s > 0:
            yield refusal

    def has_room_at(self, now: float, segments: int) -> float:
        """When the first of the line may go on, as far as one can tell; not after `now` where it is now."""
        if self.crowded:
            return math.inf
        return self._rate.fits_at(now, self.limits.rate, segments) if self.limits.rate else now

    def overdrawn(self, load: Load, now: float) -> Refusal | None:
        """The limit that a message which has waited does not fit into any more: it was lowered meanwhile."""
        each, budget = self.limits.per_recipient, self.limits.budget
        if each and not self._recipients.of(self._number(load)).fits_beside_what_left(now, each, 1):
            return Refusal(self.name, PER_RECIPIENT, each, load.segments)
        if budget and not self._budget.fits_beside_what_left(now, budget, load.segments):
            return Refusal(self.name, BUDGET, budget, load.segments)
        return None

    def in_vain(self, load: Load, now: float, row: Row) -> Refusal:
        """The refusal of a message that has waited here for too long: for a place, or behind others."""
        for refusal in self.refusals(load, now, 0, row):
            if refusal.limit == RATE and not self.crowded:
                return refusal
        crowded = self.crowded or self.limits.rate is None
        limit, size = (IN_FLIGHT, self.limits.in_flight) if crowded else (RATE, self.limits.rate)
        return Refusal(self.name, limit, size or 0, load.segments)

    # --- counting

    def hold(self, load: Load) -> list[Taken]:
        """Count a message that waits, where nobody waits: those who come meanwhile are refused."""
        each, held = self.limits.per_recipient, list[Taken]()
        if each:
            held.append(self._recipients.kept(now_s(), each, self._number(load)).hold(1))
        if self.limits.budget:
            held.append(self._budget.hold(load.segments))
        return held

    def admit(self, load: Load) -> Taken:
        """Let a message through, which is going to leave in this turn of the event loop or the next."""
        self._running += 1
        return self._rate.hold(load.segments)

    def enter(self, load: Load, admitted: Taken) -> list[Taken]:
        """Count a message that leaves now."""
        now, limits, taken = now_s(), self.limits, list[Taken]()
        give_back([admitted])
        if limits.rate:
            taken += self._rate.take(now, limits.rate, load.segments)
        if limits.per_recipient:
            number = self._number(load)
            taken += self._recipients.kept(now, limits.per_recipient, number).take(now, limits.per_recipient, 1)
        if limits.budget:
            taken += self._budget.take(now, limits.budget, load.segments)
        # What was held without an end has one now. Who waits hears of it after this one has left, not meanwhile.
        asyncio.get_running_loop().call_soon(self._changed, self)
        return taken

    def leave(self, taken: Iterable[Taken]) -> None:
        """A send has ended; what it took is given back, or nothing."""
        self._running -= 1
        give_back(taken)
        self._changed(self)

    def _number(self, load: Load) -> bytes:
        return load.number + self._apart

    def usage(self, now: float) -> dict[str, dict[str, Any]]:
        """How much of each limit is used: segments, sends, or numbers of which something counts."""
        limits, found = self.limits, dict[str, dict[str, Any]]()
        if limits.rate:
            used = self._rate.used(now, limits.rate)
            found[RATE] = {"limit": str(limits.rate), "used": used, "waiting": self.line.waiting}
        if limits.in_flight:
            found[IN_FLIGHT] = {"limit": limits.in_flight, "used": self._running}
        if limits.per_recipient:
            numbers = self._recipients.used(now, limits.per_recipient)
            found[PER_RECIPIENT] = {"limit": str(limits.per_recipient), "numbers": numbers}
        if limits.budget:
            found[BUDGET] = {"limit": str(limits.budget), "used": self._budget.used(now, limits.budget)}
        return found

    def idle(self, now: float) -> bool:
        """Whether nothing counts, runs or waits; but for numbers that are shared."""
        limits = self.limits
        counted = self._rate.used(now, limits.rate) if limits.rate else 0
        counted += self._budget.used(now, limits.budget) if limits.budget else 0
        counted += self._recipients.used(now, limits.per_recipient) if limits.per_recipient and not self._apart else 0
        return not (counted or self.busy)
