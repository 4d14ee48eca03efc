"""What was seen at each place of the configuration, and since when: a place counts only once it has come to rest.

A file that still changes between two looks is being written, and half a file can be a valid gateway that lacks its
limits; a file that is missing in one look may be about to be replaced. So a place has to be seen the same way twice,
a bit apart. What has not changed for some seconds by the clock of the file system needs no second look.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from smsgwd.errors import Problem
from smsgwd.files import ConfigFile, Stamp

# A file, the findings in its place, a file that the configuration refers to, whether a folder is there; None: nothing.
Sight = ConfigFile | tuple[Problem, ...] | Stamp | bool | None

AT_REST_S = 3.0  # seconds; more than the clocks of this machine and of a file server that keeps time are apart


@dataclass(frozen=True, slots=True)
class _Seen:
    sight: Sight
    since: float  # monotonic seconds
    at_rest: bool  # for long enough when it was first seen
    written_since: float | None  # monotonic seconds; None: nobody is known to have it open for writing


class Sightings:
    """Remembers the last sight of each place. `quiet_s` is how many seconds two looks have to be apart.

    All times are arguments: `now` on the monotonic clock, `clock_s` in seconds of Unix time.
    """

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._seen: dict[Hashable, _Seen] = {}
        self._now = 0.0

    def see(
        self,
        sights: Mapping[Hashable, Sight],
        now: float,
        clock_s: float,
        unclosed: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        """Take in one look. `unclosed` are the files (device, inode) that were seen being written and not closed."""
        self._now = now
        before = self._seen
        gone = {place for place, seen in before.items() if seen.sight is None and self.settled(place)}
        places = (before.keys() - gone) | sights.keys()  # gone is forgotten, unless it is still looked for
        self._seen = {
            place: self._next(before.get(place), sights.get(place), clock_s, unclosed=unclosed) for place in places
        }

    def __contains__(self, place: Hashable) -> bool:
        """Whether it was looked at."""
        return place in self._seen

    def sight(self, place: Hashable) -> Sight:
        """What was seen there last."""
        seen = self._seen.get(place)
        return None if seen is None else seen.sight

    def settled(self, place: Hashable) -> bool:
        """Whether what was seen there may be taken as it is."""
        seen = self._seen.get(place)
        if seen is None:
            return True
        return seen.written_since is None and (seen.at_rest or self._now - seen.since >= self._quiet_s)

    def written(self, place: Hashable) -> bool:
        """Whether someone is known to be writing there, and not only for a moment."""
        seen = self._seen.get(place)
        return seen is not None and seen.written_since is not None and self._now - seen.written_since >= self._quiet_s

    def restless(self) -> bool:
        """Whether another look is worth while: for a file that somebody keeps open it is not, that may take hours."""
        return any(not self.settled(place) and not self.written(place) for place in self._seen)

    def unsettled(self) -> bool:
        """Whether some place cannot be taken as it is."""
        return not all(map(self.settled, self._seen))

    def _next(
        self, before: _Seen | None, sight: Sight, clock_s: float, *, unclosed: frozenset[tuple[int, int]]
    ) -> _Seen:
        written_since = None
        if _written(sight, unclosed):
            earlier = None if before is None else before.written_since
            written_since = self._now if earlier is None else earlier
        if before is not None and before.sight == sight:
            return replace(before, written_since=written_since)
        return _Seen(sight, self._now, at_rest(sight, clock_s), written_since)


def at_rest(sight: Sight, clock_s: float) -> bool:
    """Whether it has not changed for so long that nobody can be at work on it. A time in the future proves nothing."""
    stamp = _stamp(sight)
    if stamp is None:
        return sight is True
    return clock_s - stamp.ctime_ns / 1e9 >= AT_REST_S


def _stamp(sight: Sight) -> Stamp | None:
    if isinstance(sight, ConfigFile):
        return sight.stamp
    return sight if isinstance(sight, Stamp) else None


def _written(sight: Sight, unclosed: frozenset[tuple[int, int]]) -> bool:
    stamp = _stamp(sight)
    if stamp is None:
        return False
    return (stamp.device, stamp.inode) in unclosed if stamp.writing is None else stamp.writing
