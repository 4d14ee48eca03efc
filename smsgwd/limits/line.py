"""Who waits, in an order that is fair between callers.

Start-time fair queueing (Goyal, Vin and Cheng 1996): a message's start tag is the virtual time when it came, or the
finish tag of its caller's message before it, if that is later; its finish tag is that many segments after. The smallest
start tag goes first, of equal ones who came first; the virtual time is the start tag of what went last. So callers
who all want much get equal parts, one who wants little is soon there, and each caller's own order stays. Nobody
collects a right to more by having been silent. A tag is given to a message only when it is its caller's first, so one
that goes without having been served leaves no trace in it.

A line has a row for each place to which those who stand in it have to go on, in another line. Whoever had its turn
here and waits there has stepped out: then the caller's next ones in this row wait for it, and all others go on. So what
waits for the limits of a failover is not in the way of those who came to its member directly.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
_FEW = 64  # callers whose tags are not worth looking through


class Row(NamedTuple):
    """Where one goes on from here: the name of the next line; None for what may leave. `bound`: see `Place.firm`."""

    to: str | None
    bound: bool = False


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """Somebody's place in a line."""

    who: T
    caller: str
    segments: int
    row: "_Queues[T]"
    since: int  # the virtual time when it came
    number: int  # by arrival
    standing: bool = True  # not stepped out, and not gone
    firm: bool = False  # it has stepped back once: while it is out, only those who are `bound` pass


class _Queues(Generic[T]):
    """Those of one row: a queue for each caller, and a heap of the first of each caller who has none that is out."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.out: dict[str, Place[T]] = {}  # by caller: had its turn, and waits elsewhere
        self.waiting = Counter[str]()  # segments of each caller, also of what is out
        self._queues: dict[str, deque[Place[T]]] = {}
        self._heap: list[tuple[int, int, Place[T]]] = []  # start tags that may be too early, and places that are gone

    def join(self, place: Place[T], start: int) -> None:
        """Stand at the end of the caller's queue."""
        self.waiting[place.caller] += place.segments
        queue = self._queues.setdefault(place.caller, deque())
        queue.append(place)
        if len(queue) == 1 and place.caller not in self.out:
            heappush(self._heap, (start, place.number, place))

    def step_out(self, place: Place[T]) -> None:
        """Wait elsewhere; those of the same caller wait for it."""
        self._take_out(place)
        self.out[place.caller] = place

    def step_back(self, place: Place[T], start: int) -> None:
        """Stand at the head of the caller's queue again."""
        del self.out[place.caller]
        place.standing = True
        self._queues.setdefault(place.caller, deque()).appendleft(place)
        heappush(self._heap, (start, place.number, place))

    def first(self, start_of: Callable[[Place[T]], int]) -> Place[T] | None:
        """The place with the smallest start tag."""
        while self._heap:
            start, number, place = self._heap[0]
            if not place.standing:
                heappop(self._heap)
            elif start < start_of(place):  # its caller has been served in another row
                heapreplace(self._heap, (start_of(place), number, place))
            else:
                return place
        return None

    def leave(self, place: Place[T], start_of: Callable[[Place[T]], int]) -> None:
        """Be here no more; the caller's next comes up."""
        self.waiting[place.caller] -= place.segments
        if not self.waiting[place.caller]:
            del self.waiting[place.caller]
        if self.out.get(place.caller) is place:
            del self.out[place.caller]
            comes_up = True
        else:
            comes_up = self._take_out(place) and place.caller not in self.out
        queue = self._queues.get(place.caller)
        if comes_up and queue:
            heappush(self._heap, (start_of(queue[0]), queue[0].number, queue[0]))

    def _take_out(self, place: Place[T]) -> bool:
        """Out of the caller's queue; whether it was the first there."""
        place.standing = False
        queue = self._queues[place.caller]
        was_first = queue[0] is place
        queue.remove(place)
        if not queue:
            del self._queues[place.caller]
        return was_first


class Line(Generic[T]):
    """The order of those who wait for the limits of one name."""

    def __init__(self) -> None:
        self.waiting = 0  # segments
        self._rows: dict[Row, _Queues[T]] = {}
        self._firm = set[Place[T]]()  # those who are out
        self._finished: dict[str, int] = {}  # the last finish tag of each caller
        self._virtual = 0
        self._arrivals = 0
        self._look_through_at = _FEW

    def ahead(self, caller: str, row: Row, coming: int = 0) -> int:
        """How many segments go before what this caller would add to a row; as far as that is certain.

        `coming` are the caller's own, which wait in earlier lines. Not counted is who stands in other rows, and of a
        message that is only begun when it is its turn one segment.
        """
        queues = self._rows.get(row)
        if queues is None:
            return coming
        own = queues.waiting[caller] + coming
        start = self._start_of(caller, self._virtual) + own
        return own + sum(
            max(0, min(waiting, start - self._start_of(other, self._virtual) + 1))
            for other, waiting in queues.waiting.items()
            if other != caller
        )

    def standing(self, caller: str, row: Row) -> int:
        """How many segments of this caller stand in a row, and have yet to go on to the next line."""
        queues = self._rows.get(row)
        if queues is None:
            return 0
        out = queues.out.get(caller)
        return queues.waiting[caller] - (0 if out is None else out.segments)

    def join(self, who: T, caller: str, segments: int, row: Row) -> Place[T]:
        """Stand behind the others of the same caller."""
        queues = self._rows.get(row)
        if queues is None:
            queues = self._rows[row] = _Queues(row)
        self._arrivals += 1
        self.waiting += segments
        place = Place(who, caller, segments, queues, self._virtual, self._arrivals)
        queues.join(place, self._start(place))
        return place

    def first(self) -> Place[T] | None:
        """Whose turn it is: nobody's, where all who stand here wait for others who have stepped out."""
        found = [(self._start(place), place.number, place) for row in self._open() if (place := row.first(self._start))]
        return min(found, key=lambda one: one[:2])[2] if found else None

    def _open(self) -> Iterator["_Queues[T]"]:
        """The rows that go on; of all others somebody waits for one who is firm."""
        return (row for row in self._rows.values() if row.row.bound or not self._firm)

    def step_out(self, place: Place[T]) -> None:
        """It had its turn here, and waits elsewhere until it is served, or gone."""
        place.row.step_out(place)
        if place.firm:
            self._firm.add(place)

    def stand_firm(self, place: Place[T]) -> None:
        """Somebody passed it, who is out; nobody does it again."""
        place.firm = True
        self._firm.add(place)

    def step_back(self, place: Place[T]) -> None:
        """It had its turn in vain, and has it again before all who came after it."""
        place.firm = True
        self._firm.discard(place)
        place.row.step_back(place, self._start(place))

    def serve(self, place: Place[T]) -> None:
        """It is gone, having what it wanted."""
        start = self._start(place)
        self._virtual = max(self._virtual, start)
        self._finished[place.caller] = start + place.segments
        self.leave(place)

    def leave(self, place: Place[T]) -> None:
        """It is gone."""
        self.waiting -= place.segments
        self._firm.discard(place)
        place.row.leave(place, self._start)
        if not place.row.waiting:
            del self._rows[place.row.row]
        self._forget()

    def _forget(self) -> None:
        """The tags of callers that do not count any more: all, when nobody waits."""
        if not self._rows:
            self._finished.clear()
            self._virtual, self._look_through_at = 0, _FEW
        elif len(self._finished) > self._look_through_at:
            self._finished = {caller: tag for caller, tag in self._finished.items() if tag > self._virtual}
            self._look_through_at = max(_FEW, 2 * len(self._finished))

    def followed(self, place: Place[T]) -> T | None:
        """Whom somebody who stands here waits for: one of the same caller, who is out."""
        out = place.row.out.get(place.caller)
        return None if out is None or out is place else out.who

    def _start(self, place: Place[T]) -> int:
        """The start tag of a place that is the first of its caller's."""
        return self._start_of(place.caller, place.since)

    def _start_of(self, caller: str, since: int) -> int:
        return max(since, self._finished.get(caller, 0))
