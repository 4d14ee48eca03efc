"""How many logins there may be at once: all together, and of one name by one caller."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from smsgwd.errors import RequestError

MOST = 1000  # an answer that waits takes some KB; so many come from 125 wrong PINs a second
MOST_OF_ONE = 16  # far more than one person needs, and few enough that one name does not fill the house


@dataclass(slots=True)
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    inside: int = 0


class Crowd:
    """Lets logins in by a key, and those of one key take turns."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside = 0
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def inside(self, key: str) -> Iterator[None]:
        """Be one of those that are there. Raises RequestError overloaded when there are too many."""
        line = self._lines.get(key) or _Line()
        if self._inside >= self._most or line.inside >= self._most_of_one:
            raise RequestError("overloaded", "too many logins at once")
        self._lines[key] = line
        self._inside += 1
        line.inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            line.inside -= 1
            if not line.inside:
                del self._lines[key]

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """One at a time of those that are inside with this key, first come, first served."""
        async with self._lines[key].lock:
            yield
