"""Limits: how much may leave, and where to.

Counted are the last so many seconds, whenever one looks: `5/10m` means that no ten minutes, wherever they begin, see
more than five. (A token bucket is smaller, but lets twice as much pass after a rest: twice the budget of a day.)

`rate` and `in_flight` make a message wait, first come first served, inside its deadline; it is told at once when that
will not be long enough. Some of the time is left for the sending: a message that leaves with the last moment of its
deadline ends `unknown`. `per_recipient` and `budget` refuse at once. Where several limits hold, a message leaves when
it fits into all of them at one moment, and is counted in all of them then.

Counts belong to names, not to versions: of gateways, of failovers, and of smsgwd.yaml, whose limits are on all gateways
together. They survive a reload. A limit that was changed goes on with what was counted; one that was taken away is
forgotten once nobody waits for it. They are lost with the process.
"""

import asyncio
import hashlib
import logging
import math
import os
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from smsgwd import msisdn
from smsgwd.errors import MessageError
from smsgwd.message import Message, Recipient
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import UNLIMITED, Gateway, Limits, Registry
from smsgwd.units import Deadline, Pace

log = logging.getLogger("smsgwd.limits")

SITE = ""  # in the place of a name: smsgwd.yaml
CHALLENGES = ".otp"  # likewise: its `otp`; no gateway has such a name
RATE, IN_FLIGHT, PER_RECIPIENT, BUDGET = "rate", "in_flight", "per_recipient", "budget"
COUNTRIES, NUMBER_TYPES = "countries", "number_types"
MOST_NUMBERS = 200_000  # that are counted at once under one name; each takes some 400 octets
_MANY, _MANY_OF_A_NUMBER = 1_000, 32  # marks in a window; beyond them neighbours become one: never twice as many

_FOR_SENDING, _FOR_SENDING_S = 0.1, 2.0  # what is left of the time: this part of it, no more seconds than that

Bounds = Sequence[tuple[str, Limits]]  # whose limits a message meets, by name; the gateway's own first


# --- where to -------------------------------------------------------------------------------------------------------


class BarredError(MessageError):
    """A number that `limit` of `name` keeps from being written to."""

    def __init__(self, name: str, limit: str, detail: str) -> None:
        self.name = name
        self.limit = limit
        super().__init__(Reason.INVALID_DESTINATION, detail)


def bounds_of(registry: Registry, gateway: Gateway, path: Iterable[str] = (), *, challenge: bool = False) -> Bounds:
    """Whose limits a message meets that comes to a gateway by these failovers, also as the code of a challenge."""
    names = sorted(name for name in path if name in registry.entries)  # one order for all, whatever leads to what
    served = [registry.entries[name].gateway for name in names]
    met = [(gateway.name, gateway.limits), *((one.name, one.limits) for one in served if one is not None)]
    met.append((SITE, registry.config.limits))
    if challenge:
        met.append((CHALLENGES, registry.config.otp.limits))
    return [(name, limits) for name, limits in met if limits is not UNLIMITED]


def check_destination(recipient: Recipient, bounds: Bounds) -> None:
    """Raises BarredError for a number of a country or type that is not wanted, or of which that is not known."""
    for name, limits in bounds:
        for limit, choice, found in (
            (COUNTRIES, limits.countries, msisdn.regions_of),
            (NUMBER_TYPES, limits.number_types, lambda e164: frozenset([msisdn.type_of(e164)])),
        ):
            if choice is None:
                continue
            if recipient.e164 is None:
                raise BarredError(
                    name, limit, f"the number is not read as one, and `{limit}` of {_whose(name)} asks for that"
                )
            if not choice.admits(found(recipient.e164)):
                raise BarredError(name, limit, f"`{limit}` of {_whose(name)} does not allow this number")


def _whose(name: str) -> str:
    return {SITE: "smsgwd.yaml", CHALLENGES: "`otp` of smsgwd.yaml"}.get(name, f"`{name}`")


# --- counting -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Mark:
    """What left between two moments; it counts from the later one."""

    since: float
    at: float
    count: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """A part of a window that one message takes."""

    window: "Window"
    mark: _Mark
    count: int


class Window:
    """What left in the last `pace.window_s` seconds. `now` is a time in seconds, on any one clock.

    With more than `many` marks it is coarser, by that part of the window: something may count for longer, never less.
    """

    __slots__ = ("_many", "_marks", "_used")

    def __init__(self, many: int = _MANY) -> None:
        self._many = many
        self._marks: list[_Mark] = []
        self._used = 0

    def used(self, now: float, pace: Pace) -> int:
        """How much is counted."""
        over = 0
        for mark in self._marks:
            if mark.at + pace.window_s > now:
                break
            self._used -= mark.count
            mark.count = 0
            over += 1
        del self._marks[:over]
        return self._used

    def fits_at(self, now: float, pace: Pace, count: int, ahead: int = 0) -> float:
        """When so much more fits, behind `ahead` that wait already; not after `now` where it fits now.

        What is more than the whole window fits into an empty one: it borrows.
        """
        due = self.used(now, pace) + ahead + min(count, pace.count) - pace.count  # has to be over by then
        rounds = max(0, -((self._used - due) // pace.count))  # of those that wait, and have to be over as well
        due -= rounds * pace.count
        at = now
        for mark in self._marks:
            if due <= 0:
                break
            due -= mark.count
            at = mark.at + pace.window_s
        if due > 0:  # on some that have not left yet
            at = now + pace.window_s
        return at + rounds * pace.window_s

    def take(self, now: float, pace: Pace, count: int) -> list[_Taken]:
        """Count so much as leaving now, and what does not fit as leaving in the windows that follow."""
        taken = []
        while count > 0:
            part = min(count, pace.count)
            taken.append(_Taken(self, self._marked(now, pace, part), part))
            count -= part
            now += pace.window_s
        return taken

    def hold(self, count: int) -> _Taken:
        """Count so much until it is given back."""
        self._used += count
        return _Taken(self, _Mark(math.inf, math.inf, count), count)

    def _marked(self, at: float, pace: Pace, count: int) -> _Mark:
        self._used += count
        last = self._marks[-1] if len(self._marks) >= self._many else None
        if last is not None and at - last.since < pace.window_s / self._many:
            last.at = max(at, last.at)
            last.count += count
            return last
        mark = _Mark(at, at, count)
        self._marks.append(mark)
        return mark

    def give_back(self, taken: _Taken) -> None:
        """Count it no more; what is over is not counted anyway."""
        count = min(taken.count, taken.mark.count)
        taken.mark.count -= count
        self._used -= count


class Recipients:
    """A window for each number, by a keyed hash of it; the one that was written to last is the last."""

    def __init__(self) -> None:
        self._windows: OrderedDict[bytes, Window] = OrderedDict()
        self._complained = False

    def used(self, now: float, pace: Pace) -> int:
        """How many numbers there are of which something counts."""
        while self._windows:
            first = next(iter(self._windows))
            if self._windows[first].used(now, pace):
                break
            del self._windows[first]
        return len(self._windows)

    def of(self, number: bytes) -> Window:
        """The window of a number, to be looked at."""
        return self._windows.get(number) or Window(_MANY_OF_A_NUMBER)

    def kept(self, now: float, pace: Pace, number: bytes) -> Window:
        """The window of a number of which something is going to be taken."""
        if self.used(now, pace) >= MOST_NUMBERS and number not in self._windows:
            self._forget_one()
        window = self._windows[number] = self.of(number)
        self._windows.move_to_end(number)
        return window

    def _forget_one(self) -> None:
        self._windows.popitem(last=False)
        if not self._complained:
            self._complained = True
            log.warning("per_recipient: more than %d numbers at once; the oldest are forgotten early", MOST_NUMBERS)


# --- one name -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Load:
    """What a message asks of the limits. `number` is a keyed hash."""

    segments: int
    number: bytes


@dataclass(frozen=True, slots=True)
class _Refusal:
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
        limit = f"`{self.limit}: {self.size}` of {_whose(self.name)}"
        if self.never:
            return Outcome(Kind.REJECTED, Reason.LIMIT, detail=f"{self.segments} segments are more than {limit}")
        return Outcome(Kind.UNSENT, Reason.LIMIT, detail=f"over {limit}", retry_after_s=self.wait_s)


class _Scope:
    """What is counted under one name. The limits are those of the latest configuration that was seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.limits = UNLIMITED
        self._generation = -1
        self._running = 0  # sends that were let through and have not ended
        self._waiting = 0  # segments
        self._rate = Window()
        self._recipients = Recipients()
        self._budget = Window()
        self._turn = asyncio.Lock()  # first come first served
        self._freed = asyncio.Event()

    @property
    def crowded(self) -> bool:
        """Whether as many sends run as may."""
        return self.limits.in_flight is not None and self._running >= self.limits.in_flight

    def follow(self, limits: Limits, generation: int) -> None:
        """Go on with these limits, unless they are of an older configuration than the present ones."""
        if generation >= self._generation:
            self.limits, self._generation = limits, generation
            self._freed.set()

    def refusals(self, load: _Load, now: float, patience_s: float) -> Iterator[_Refusal]:
        """The limits that a message does not fit into: a rate within its patience, the others now."""
        for limit, pace, fits_at in self._fits(load, now):
            refusal = _Refusal(self.name, limit, pace, load.segments, fits_at - now)
            if refusal.never or refusal.wait_s > (patience_s if limit == RATE else 0):
                yield refusal

    def _fits(self, load: _Load, now: float) -> Iterator[tuple[str, Pace, float]]:
        rate, each, budget = self.limits.rate, self.limits.per_recipient, self.limits.budget
        if rate:
            yield RATE, rate, self._rate.fits_at(now, rate, load.segments, self._waiting)
        if each:
            yield PER_RECIPIENT, each, self._recipients.of(load.number).fits_at(now, each, 1)
        if budget:
            yield BUDGET, budget, self._budget.fits_at(now, budget, load.segments)

    def hold(self, load: _Load) -> list[_Taken]:
        """Count a message that waits, where nobody waits: those who come meanwhile are refused."""
        each, held = self.limits.per_recipient, list[_Taken]()
        if each:
            held.append(self._recipients.kept(_now(), each, load.number).hold(1))
        if self.limits.budget:
            held.append(self._budget.hold(load.segments))
        return held

    @asynccontextmanager
    async def turn(self, segments: int) -> AsyncIterator[None]:
        """Wait until it is this message's turn and it fits; nobody else enters before the end of the block."""
        self._waiting += segments
        try:
            async with self._turn:
                await self._room(segments)
                yield
        finally:
            self._waiting -= segments

    async def _room(self, segments: int) -> None:
        while True:
            now, rate = _now(), self.limits.rate
            fits_at = self._rate.fits_at(now, rate, segments) if rate else now
            if fits_at <= now and not self.crowded:
                return
            self._freed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if self.crowded else fits_at):
                    await self._freed.wait()

    def enter(self, load: _Load) -> list[_Taken]:
        """Count a message that leaves now."""
        self._running += 1
        now, limits, taken = _now(), self.limits, list[_Taken]()
        if limits.rate:
            taken += self._rate.take(now, limits.rate, load.segments)
        if limits.per_recipient:
            taken += self._recipients.kept(now, limits.per_recipient, load.number).take(now, limits.per_recipient, 1)
        if limits.budget:
            taken += self._budget.take(now, limits.budget, load.segments)
        return taken

    def leave(self, taken: Iterable[_Taken]) -> None:
        """A send has ended; what it took is given back, or nothing."""
        self._running -= 1
        _give_back(taken)
        self._freed.set()

    def usage(self, now: float) -> dict[str, dict[str, Any]]:
        """How much of each limit is used: segments, sends, or numbers of which something counts."""
        limits, found = self.limits, dict[str, dict[str, Any]]()
        if limits.rate:
            used = self._rate.used(now, limits.rate)
            found[RATE] = {"limit": str(limits.rate), "used": used, "waiting": self._waiting}
        if limits.in_flight:
            found[IN_FLIGHT] = {"limit": limits.in_flight, "used": self._running}
        if limits.per_recipient:
            numbers = self._recipients.used(now, limits.per_recipient)
            found[PER_RECIPIENT] = {"limit": str(limits.per_recipient), "numbers": numbers}
        if limits.budget:
            found[BUDGET] = {"limit": str(limits.budget), "used": self._budget.used(now, limits.budget)}
        return found

    def idle(self, now: float) -> bool:
        """Whether nothing counts, runs or waits."""
        counted = [one.get("used", one.get("numbers")) for one in self.usage(now).values()]
        return not any((*counted, self._running, self._waiting))


def _now() -> float:
    """The time that the event loop goes by."""
    return asyncio.get_running_loop().time()


def _give_back(taken: Iterable[_Taken]) -> None:
    for one in taken:
        one.window.give_back(one)


# --- all names ------------------------------------------------------------------------------------------------------


class Limiter:
    """What is counted, by name; for one event loop. Nothing here keeps a number, only a keyed hash of it."""

    def __init__(self) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()  # by gateway and limit
        self._scopes: dict[str, _Scope] = {}
        self._key = os.urandom(32)

    def scope(self, name: str, limits: Limits, generation: int) -> _Scope:
        """What is counted under a name, with these limits or later ones."""
        scope = self._scopes.get(name)
        if scope is None:
            scope = self._scopes[name] = _Scope(name)
        scope.follow(limits, generation)
        return scope

    def follow(self, registry: Registry) -> None:
        """Take over the limits of a new configuration; forget names that are gone and under which nothing counts."""
        now = _now()
        for name, scope in list(self._scopes.items()):
            limits = _limits_of(registry, name)
            if limits is not None:
                scope.follow(limits, registry.generation)
            if (limits is None or not limits.counts) and scope.idle(now):
                del self._scopes[name]

    def usage(self, registry: Registry, name: str) -> dict[str, dict[str, Any]]:
        """How much of each limit is used under a name, `SITE` included; empty where nothing is counted."""
        limits = _limits_of(registry, name)
        if limits is None or not limits.counts:
            return {}
        return self.scope(name, limits, registry.generation).usage(_now())

    def hashed(self, number: str) -> bytes:
        """What is kept of a number."""
        return hashlib.blake2b(number.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()


def _limits_of(registry: Registry, name: str) -> Limits | None:
    """None for a name that is not served."""
    if name == SITE:
        return registry.config.limits
    if name == CHALLENGES:
        return registry.config.otp.limits
    entry = registry.entries.get(name)
    return None if entry is None or entry.gateway is None else entry.gateway.limits


@dataclass(frozen=True, slots=True)
class _Line:
    """A scope, and how long a message may wait in it."""

    scope: _Scope
    patience_s: float


class Claim:
    """What one send takes of the limits until it has ended, all its attempts included.

    `refused_by` is the name whose limit has refused the last gateway that was tried.
    """

    def __init__(self, limiter: Limiter, generation: int) -> None:
        self.refused_by: str | None = None
        self._limiter = limiter
        self._generation = generation
        self._taken: dict[str, tuple[_Scope, list[_Taken]]] = {}

    async def take(
        self, bounds: Bounds, message: Message, gateway: Gateway, segments: int, deadline: Deadline
    ) -> Outcome | None:
        """Wait until a message may leave: None, or why it may not before the deadline.

        For the gateway's own limits it waits no longer than the time to leave, because there may be another way. What
        it has taken for an earlier member of a failover it does not take again.
        """
        self.refused_by = None
        lines = self._lines(bounds, gateway, deadline)
        if not lines:
            return None
        counted = any(line.scope.limits.per_recipient for line in lines)
        number = _counted_number(message.to, gateway.phone.region) if counted else ""
        load = _Load(segments, self._limiter.hashed(number))
        refusal = _worst(lines, load)
        if refusal is None and await self._entered(lines, load):
            return None
        refusal = refusal or _worst([replace(line, patience_s=0) for line in lines], load) or _in_vain(lines, load)
        self.refused(gateway, refusal.name, refusal.limit)
        return refusal.as_outcome()

    def _lines(self, bounds: Bounds, gateway: Gateway, deadline: Deadline) -> list[_Line]:
        return [
            _Line(
                self._limiter.scope(name, limits, self._generation),
                _patience_s(deadline.to_leave if name == gateway.name else deadline),
            )
            for name, limits in bounds
            if limits.counts and name not in self._taken
        ]

    def refused(self, gateway: Gateway, name: str, limit: str) -> None:
        """Take note that a limit of this name has refused the message for a gateway."""
        self.refused_by = name
        self._limiter.refused[gateway.name if name in {SITE, CHALLENGES} else name, limit] += 1

    async def _entered(self, lines: Sequence[_Line], load: _Load) -> bool:
        """Stand in one line after the other, the gateway's own first, and stay at its head meanwhile.

        Only the head takes, so what fits goes on to fit; all lines are in one order, so nobody waits in a circle.
        """
        began = _now()
        held = [one for line in lines for one in line.scope.hold(load)]
        try:
            async with asyncio.timeout(None) as end, AsyncExitStack() as turns:
                for line in lines:
                    end.reschedule(began + line.patience_s)
                    await turns.enter_async_context(line.scope.turn(load.segments))
                self._taken |= {line.scope.name: (line.scope, line.scope.enter(load)) for line in lines}
                return True
        except TimeoutError:
            return False
        finally:
            _give_back(held)

    def settle(self, name: str, outcome: Outcome) -> None:
        """What was tried under this name has ended so."""
        scope, taken = self._taken.pop(name, (None, []))
        if scope is not None:
            scope.leave(taken if outcome.kind is Kind.UNSENT else ())


def _patience_s(deadline: Deadline) -> float:
    left_s = deadline.remaining()
    return left_s - min(left_s * _FOR_SENDING, _FOR_SENDING_S)


def _worst(lines: Iterable[_Line], load: _Load) -> _Refusal | None:
    """The refusal that lasts longest, if there is one."""
    now = _now()
    found = [one for line in lines for one in line.scope.refusals(load, now, line.patience_s)]
    return max(found, key=lambda one: (one.never, one.wait_s), default=None)


def _in_vain(lines: Iterable[_Line], load: _Load) -> _Refusal:
    """The refusal of a message that fits now, but has waited for too long: for a place, or behind others."""
    at = max((line.scope for line in lines), key=lambda scope: (scope.crowded, scope.limits.rate is not None))
    limit, size = (IN_FLIGHT, at.limits.in_flight) if at.crowded else (RATE, at.limits.rate)
    return _Refusal(at.name, limit, size or 0, load.segments)


def _counted_number(recipient: Recipient, region: str | None) -> str:
    """A number as it is counted: E.164 where it can be read, however it was written and goes out."""
    if recipient.e164 is not None:
        return recipient.e164
    try:
        return msisdn.reformat(recipient.written, msisdn.E164, region)
    except MessageError:
        return "".join(unicodedata.normalize("NFKC", recipient.phone).casefold().split())
