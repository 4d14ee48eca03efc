"""A configuration directory that is followed, and ways to wait for what it serves without sleeping to be lucky."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from patience import until

from smsgwd.registry import Registry
from smsgwd.reload import Reloader, ReloadResult
from smsgwd.watch import places

CONSOLE = "provider: console\n"
BROKEN = "provider: console\nsendr: ACME\n"
PATIENCE_S = 10.0  # seconds; what is promised within 1 s may take longer on a machine that others use, too


P = ParamSpec("P")


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test on an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Configuration:
    """A configuration directory with files to be written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gateways.mkdir(parents=True, exist_ok=True)

    @property
    def gateways(self) -> Path:
        """The folder of the gateway files."""
        return self.root / "gateways.d"

    def write(self, name: str, text: str = CONSOLE) -> Path:
        """Writes a gateway file."""
        path = self.gateways / f"{name}.yaml"
        path.write_text(text)
        return path

    def write_site(self, text: str) -> Path:
        """Writes smsgwd.yaml."""
        path = self.root / "smsgwd.yaml"
        path.write_text(text)
        return path


class Followed:
    """A reloader that watches."""

    def __init__(self, reloader: Reloader) -> None:
        self.reloader = reloader
        self.results: list[ReloadResult] = []
        self._news = asyncio.Event()
        reloader.subscribe(self._take)

    def _take(self, result: ReloadResult) -> None:
        self.results.append(result)
        self._news.set()

    async def until(self, condition: Callable[[Registry], bool]) -> Registry:
        """The first snapshot of which this is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self.reloader.registry):
                self._news.clear()
                await self._news.wait()
        return self.reloader.registry


@asynccontextmanager
async def followed(root: Path, *, state: Path | None = None, rescan_s: float = 30.0) -> AsyncIterator[Followed]:
    """The directory, loaded and watched. Returns when the watch stands."""
    reloader = Reloader(root, state=state, rescan_s=rescan_s, quiet_s=0.1)
    await reloader.load()
    found = Followed(reloader)
    watching = asyncio.create_task(reloader.watch())
    await until(lambda: _watches(reloader, root))
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await reloader.close()


def _watches(reloader: Reloader, root: Path) -> bool:
    """Whether all folders are watched, or it is known that they cannot be."""
    watcher = reloader._watcher
    wanted = {folder for folder in places(root, ()) if Path(folder).is_dir()}
    return watcher is not None and (watcher.blind or wanted <= watcher._watched.keys())


async def loaded(root: Path, *, state: Path | None = None) -> Reloader:
    """The directory, loaded as at the start of the daemon."""
    reloader = Reloader(root, state=state, quiet_s=0.05)
    await reloader.load()
    return reloader


def states(registry: Registry) -> dict[str, str]:
    """The gateways by name, with their states."""
    return {name: str(entry.state) for name, entry in registry.entries.items()}


def sender_of(registry: Registry, name: str) -> str:
    """The sender of the version that serves; empty without one."""
    entry = registry.entries.get(name)
    return "" if entry is None or entry.gateway is None else entry.gateway.sender
