"""How those who wait come through the lines, one after the other.

A message stands in the line of the caller, of the gateway, of the failovers that led there and of smsgwd.yaml, in this
order: it joins the next one when it is its turn here and it fits. At the last it has to fit into all of them, and then
it leaves; otherwise it steps back to the first that it fits into no more, before all who came after it. While it
waits further on, those who have somewhere else to go on to pass it; after it has stepped back once they do not any
more, so that it does not go on for ever.

But one that is bound passes always: it holds a place already, of an earlier member of its failover, and whoever stands
before it may be waiting for just that. So nobody waits in a circle: what stands before a bound one waits for time, or
for what runs.

All this happens in one turn of the event loop, whenever something has changed, so there is nothing in between to see.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from smsgwd.limits.line import Place, Row
from smsgwd.limits.scope import Load, Refusal, Scope, now_s
from smsgwd.limits.window import Taken


@dataclass(frozen=True, slots=True)
class Stage:
    """A scope, and how long a message may wait in its line."""

    scope: Scope
    patience_s: float


def way_of(stages: Sequence[Stage], *, bound: bool) -> list[tuple[Stage, Row]]:
    """The lines that a message stands in which meets these limits, and the row in each."""
    detaining = [stage for stage in stages if stage.scope.detains]
    names = [stage.scope.name for stage in detaining]
    return [(stage, Row(to, bound)) for stage, to in zip(detaining, [*names[1:], None], strict=False)]


class Usher:
    """Lets those go on whose turn it is; for one event loop."""

    def __init__(self) -> None:
        self._due: dict[Scope, None] = {}  # in which something has changed
        self._at_work = False
        self._timers: dict[Scope, asyncio.TimerHandle] = {}

    def look(self, *scopes: Scope) -> None:
        """Something has changed there; what follows of it has happened when this returns."""
        self._due.update(dict.fromkeys(scopes))
        if self._at_work:
            return
        self._at_work = True
        try:
            while self._due:
                scope = next(iter(self._due))
                del self._due[scope]
                self._serve(scope)
        finally:
            self._at_work = False

    def _serve(self, scope: Scope) -> None:
        """Let one go on. Before the next one is chosen, those behind it have come up in the lines that it has left."""
        place = scope.line.first()
        now = now_s()
        at = math.inf if place is None else scope.has_room_at(now, place.segments)
        if place is None or at > now:
            self._wake(scope, at)
            return
        scope.line.step_out(place)
        place.who.go_on()
        self._due.pop(scope, None)
        self._due[scope] = None

    def _wake(self, scope: Scope, at: float) -> None:
        """Look again then, and not before; never without a time: something is going to change."""
        timer = self._timers.pop(scope, None)
        if timer is not None:
            timer.cancel()
        if at < math.inf:
            self._timers[scope] = asyncio.get_running_loop().call_at(at, self.look, scope)


class Waiter:
    """One message on its way through the lines; `bound` when it holds a place elsewhere."""

    def __init__(self, usher: Usher, stages: Sequence[Stage], load: Load, *, bound: bool) -> None:
        self.load = load
        self._usher = usher
        self._stages = stages
        self._way = way_of(stages, bound=bound)
        self._bound = bound
        self._places: list[Place[Waiter]] = []  # the last is where it stands; in those before it has stepped out
        self._began = now_s()
        self._admitted: list[tuple[Scope, Taken]] = []
        self._through: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._patience: asyncio.TimerHandle | None = None
        self._stood: tuple[Scope, Row] | None = None  # where it has waited for too long

    async def passed(self) -> bool:
        """Wait; False when its time is over: then, as when this is cancelled, it has left no trace."""
        self.go_on()
        try:
            return await self._through
        except asyncio.CancelledError:
            self.dismiss()
            raise

    # --- on its way

    def go_on(self) -> None:
        """It fits where it stands, and it is its turn."""
        if len(self._places) < len(self._way):
            self._stand()
            return
        now = now_s()
        for stage in self._stages:
            if stage.scope.has_room_at(now, self.load.segments) > now:
                self._wait_for(stage)
                return
        self._admitted = [(stage.scope, stage.scope.admit(self.load)) for stage in self._stages]
        self._end(served=True)
        self._settle(passed=True)

    def _stand(self) -> None:
        """Join the next line."""
        stage, row = self._way[len(self._places)]
        self._places.append(stage.scope.line.join(self, self.load.caller, self.load.segments, row))
        self._give_up_after(stage.patience_s)
        self._usher.look(stage.scope)

    def _wait_for(self, stage: Stage) -> None:
        """It fits there no more, or there is a limit since a reload."""
        for index, (one, _) in enumerate(self._way):
            if one is stage:
                self._step_back(index)
                return
        self._way.append((stage, Row(None, self._bound)))
        self._stand()

    def _step_back(self, index: int) -> None:
        for (stage, _), place in zip(self._way[index + 1 :], self._places[index + 1 :], strict=True):
            stage.scope.line.leave(place)
        del self._places[index + 1 :]
        for (stage, _), place in zip(self._way[:index], self._places, strict=False):
            stage.scope.line.stand_firm(place)
        stage = self._way[index][0]
        stage.scope.line.step_back(self._places[index])
        self._give_up_after(stage.patience_s)
        self._usher.look(*(stage.scope for stage, _ in self._way[index:]))

    def _give_up_after(self, patience_s: float) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_at(self._began + patience_s, self._give_up)

    def _give_up(self) -> None:
        self._stood = self._held_up_by()
        self._end(served=False)
        self._settle(passed=False)

    def _held_up_by(self) -> tuple[Scope, Row]:
        """The line that it waits in, or the one before it of the same caller, which it follows."""
        stage, row = self._way[len(self._places) - 1]
        before = stage.scope.line.followed(self._places[-1])
        return (stage.scope, row) if before is None else before._held_up_by()  # noqa: SLF001 - of the same class

    def _settle(self, *, passed: bool) -> None:
        if not self._through.done():  # cancelled: `passed` is about to hear of it
            self._through.set_result(passed)

    def _end(self, *, served: bool) -> None:
        """It stands in no line any more."""
        if self._patience is not None:
            self._patience.cancel()
        lines = [stage.scope.line for stage, _ in self._way[: len(self._places)]]
        for line, place in zip(lines, self._places, strict=True):
            if served:
                line.serve(place)
            else:
                line.leave(place)
        self._places.clear()
        self._usher.look(*(stage.scope for stage, _ in self._way))

    # --- at the end

    def refusal(self) -> Refusal | None:
        """Why it may not leave: it has waited for too long, or a limit was lowered meanwhile."""
        now = now_s()
        if self._stood is not None:
            scope, row = self._stood
            return scope.in_vain(self.load, now, row)
        return next(filter(None, (scope.overdrawn(self.load, now) for scope, _ in self._admitted)), None)

    def enter(self) -> dict[str, tuple[Scope, list[Taken]]]:
        """Count what leaves now."""
        return {scope.name: (scope, scope.enter(self.load, admitted)) for scope, admitted in self._admitted}

    def dismiss(self) -> None:
        """It is not going to leave."""
        if self._places:
            self._end(served=False)
        for scope, admitted in self._admitted:
            scope.leave([admitted])
        self._admitted.clear()
