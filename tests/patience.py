"""Waiting for what somebody else does, and no longer than it takes."""

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 15.0


async def until(true: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails after 15 seconds."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for happens elsewhere and tells nobody
            await asyncio.sleep(0.005)


def wait_until(true: Callable[[], bool]) -> None:
    """The same outside of an event loop."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
