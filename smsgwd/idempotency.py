"""A request sent twice under one key is one send: the second gets the first one's outcome."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from smsgwd.errors import RequestError
from smsgwd.outcome import Kind, Outcome

KEEP_S = 600.0
MAX_KEY = 255  # characters
_ENTRY_OCTETS = 2_000  # what an entry costs beside its texts, roughly
_VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))

Name = tuple[str, str]  # the caller's name and the key


@dataclass(slots=True)
class _Entry:
    digest: str
    running: "asyncio.Future[Outcome]"
    outcome: Outcome | None = None
    octets: int = 0
    until: float = 0.0


def check_key(key: str) -> str:
    """The key, if it can be one: 1 to 255 visible ASCII characters. Raises RequestError malformed-request."""
    if not 1 <= len(key) <= MAX_KEY or not _VISIBLE.issuperset(key):
        raise RequestError(
            "malformed-request", f"an Idempotency-Key is 1 to {MAX_KEY} visible ASCII characters without blanks"
        )
    return key


class Idempotency:
    """Remembers outcomes by caller and key, in bounded memory.

    An outcome is kept for `keep_s` seconds after its send ended; `unsent` and refusals are not. When there is no room,
    the outcomes that ended first go; when only running sends are left, a new key is refused. `clock` gives seconds.
    """

    def __init__(
        self,
        *,
        keep_s: float = KEEP_S,
        max_entries: int = 50_000,
        max_octets: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_s = keep_s
        self._max_entries = max_entries
        self._max_octets = max_octets
        self._clock = clock
        self._running: dict[Name, _Entry] = {}
        self._ended: OrderedDict[Name, _Entry] = OrderedDict()  # the first to end first
        self._octets = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._ended)

    async def once(self, caller: str, key: str, digest: str, start: "Callable[[], asyncio.Future[Outcome]]") -> Outcome:
        """The outcome of the send under this key; `start` begins it if it is the first.

        Whoever waits may go: the send goes on. Raises RequestError idempotency-mismatch where the key came with
        another body (`digest`), overloaded where there is no room, and what the send itself raises.
        """
        name = (caller, key)
        self._forget_expired()
        entry = self._running.get(name) or self._ended.get(name)
        if entry is None:
            entry = self._begin(name, digest, start)
        elif entry.digest != digest:
            raise RequestError("idempotency-mismatch", "this Idempotency-Key came with another body before")
        if entry.outcome is not None:
            return entry.outcome
        return await asyncio.shield(entry.running)

    def _begin(self, name: Name, digest: str, start: "Callable[[], asyncio.Future[Outcome]]") -> _Entry:
        if len(self) >= self._max_entries and not self._drop_oldest():
            raise RequestError("overloaded", "too many sends with an Idempotency-Key are running")
        entry = self._running[name] = _Entry(digest, start())
        entry.running.add_done_callback(lambda future: self._end(name, entry, future))
        return entry

    def _end(self, name: Name, entry: _Entry, future: "asyncio.Future[Outcome]") -> None:
        del self._running[name]
        if future.cancelled() or future.exception() is not None or future.result().kind is Kind.UNSENT:
            return
        entry.outcome = future.result()
        entry.octets = _octets(name, entry.outcome)
        entry.until = self._clock() + self._keep_s
        self._ended[name] = entry
        self._octets += entry.octets
        while self._octets > self._max_octets:
            self._drop_oldest()

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._ended and next(iter(self._ended.values())).until <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> bool:
        if not self._ended:
            return False
        _, entry = self._ended.popitem(last=False)
        self._octets -= entry.octets
        return True


def _octets(name: Name, outcome: Outcome) -> int:
    """What the outcome takes in memory, roughly: its texts, counted at four octets a character, and the rest."""
    texts = [name[1], outcome.reference or "", outcome.detail, *outcome.message_ids]
    return _ENTRY_OCTETS + 4 * sum(map(len, texts)) + 200 * len(outcome.tried)
