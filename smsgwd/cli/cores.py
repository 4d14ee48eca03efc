"""Does the same to many things on all cores, where there are enough things for that to pay."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

_PAYS = 40  # things for a core: a process costs as much as some ten gateway files
_T = TypeVar("_T")
_R = TypeVar("_R")
_FORK = get_context("fork")  # the things are there without being copied; of the results each core sends its own


def on_all_cores(work: Callable[[_T], _R], things: Sequence[_T]) -> Iterator[_R]:
    """What `work` makes of each thing, in no order that means something. Raises what `work` raises.

    Results have to be picklable. To be called where no thread runs; needs neither semaphores nor shared memory, which
    not every container has.
    """
    count = max(1, min(len(os.sched_getaffinity(0)), len(things) // _PAYS))
    shares = [things[index::count] for index in range(count)]
    others = [(_begin(work, share), share) for share in shares[1:]]
    yield from map(work, shares[0])
    for connection, share in others:
        yield from _results(connection) or map(work, share)


def _begin(work: Callable[[_T], _R], share: Sequence[_T]) -> Connection | None:
    """A process that sends its results there; None where there may be no more processes."""
    here, there = _FORK.Pipe(duplex=False)
    with there:
        try:
            _FORK.Process(target=_do, args=(work, share, here, there), daemon=True).start()
        except OSError:
            return None
    return here


def _do(work: Callable[[_T], _R], share: Sequence[_T], reader: Connection, results: Connection) -> None:
    reader.close()  # else it would wait for itself to read, when the first process is gone
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a word; the first process has some
    with suppress(Exception):  # the first process does the same again, and tells
        results.send([work(thing) for thing in share])


def _results(connection: Connection | None) -> list[Any]:
    """What a process sent; nothing where it came to nothing (out of memory, say)."""
    if connection is None:
        return []
    with connection, suppress(EOFError, OSError):
        found: list[Any] = connection.recv()
        return found
    return []
