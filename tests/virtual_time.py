"""An event loop whose time is made: where it would wait, the time has come."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_TICK_S = 1e-9  # of each turn of the loop: without it one that wakes a rounding error too early would turn for ever


class _Selector(selectors.DefaultSelector):
    """Never waits."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; when nothing is, it is as much later as would have been waited. Never for ever."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("all wait, and nothing is going to happen")
        self.loop.now += _TICK_S + (0 if ready else timeout or 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """The made time."""
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in made time, which takes hardly any."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
