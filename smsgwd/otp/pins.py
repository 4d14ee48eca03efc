"""PINs: looked at a few at a time, and with as much work for a name that nobody has as for one that somebody has.

A run of scrypt takes memory (32 MiB as PINs are usually hashed) and time (0.1 s). So there are as many at once as there
are cores, in threads of their own, and so many logins wait for them as are done within some seconds; what comes beyond
is refused.
"""

import asyncio
import hmac
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from smsgwd.errors import RequestError
from smsgwd.pin import PinHash
from smsgwd.secret import Secret

# Logins for each core, two runs of scrypt each: the last one waits some 6 s. Clients do not wait much longer than 10.
MOST_PER_CORE = 32


@dataclass(frozen=True, slots=True)
class Reading:
    """What a password turned out to be: the PIN, the PIN and so many more characters, or neither."""

    is_pin: bool
    begins_with_pin: bool


class Pins:
    """Compares passwords with the hashes of PINs. `cores` is how many runs of scrypt there may be at once."""

    def __init__(self, cores: int | None = None) -> None:
        cores = cores or len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(cores, "smsgwd-pin")
        self._most = cores * MOST_PER_CORE
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line for `read`. Raises RequestError overloaded when there is none left."""
        if self._taken >= self._most:
            raise RequestError("overloaded", "too many PINs are being looked at")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def read(self, password: Secret, pin: PinHash, digits: int) -> Reading:
        """Both readings of a password, always by two runs: whole, and without its last `digits` characters.

        An empty PIN is none, whatever the hash says.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, _read, password, pin, digits)

    def close(self) -> None:
        """Begin no further runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _read(password: Secret, pin: PinHash, digits: int) -> Reading:
    whole, part = password.reveal(), password.reveal()[:-digits]
    is_pin, begins_with_pin = pin.fits(whole), pin.fits(part)
    return Reading(is_pin and bool(whole), begins_with_pin and bool(part))


def stand_in(name: str, pins: Sequence[PinHash], key: bytes) -> PinHash:
    """The hash of no PIN, to compare with for a name that nobody has: it costs what one of `pins` costs.

    `key` decides which one, always the same for a name: whoever does not know it cannot tell what a name would cost.
    """
    if not pins:
        return PinHash.of_nobody()
    chosen = hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")
    return PinHash.of_nobody(pins[int.from_bytes(chosen) % len(pins)])
