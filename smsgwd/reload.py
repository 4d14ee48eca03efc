"""Follows the configuration directory: what compiles takes effect, what does not keeps the version that did.

    look -> settle -> compile what changed -> start -> swap one reference -> close what serves no more

The daemon's one door is `Reloader.registry`, an immutable snapshot. A reload builds the next one beside it, off the
event loop, and touches nothing that did not change: an unchanged gateway stays the same object, sessions and all.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smsgwd import kept as keeping
from smsgwd.errors import Problem, Severity, has_errors
from smsgwd.files import GATEWAYS, TOKENS, Look, look, shown, stamp_of
from smsgwd.kept import Kept
from smsgwd.registry import Registry, Served, State
from smsgwd.sightings import Sight, Sightings
from smsgwd.versions import (
    Known,
    Next,
    Versions,
    entry_of,
    file_of_gateway,
    log_unforeseen,
    on_earlier,
    places_of,
    token_entry_of,
    unforeseen,
)
from smsgwd.versions.site import SITE_PLACE
from smsgwd.watch import Watcher, places

log = logging.getLogger("smsgwd.reload")

_LONGEST_UNREST_S = 2.0  # what rests takes effect then, whatever goes on changing
_SOON_S = 1.0  # the next look, when the last one left something open
_BLIND_S = 0.5  # between two looks, when inotify cannot tell
_BREATH_S = 0.05  # between two looks at least, however many events there are
_DIRECTORY_PLACE = "directory"


@dataclass(frozen=True, slots=True)
class Names:
    """What serves now too, in another version, or no more."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        """As the answer of `POST /v1/reload` has them."""
        return {"added": list(self.added), "changed": list(self.changed), "removed": list(self.removed)}


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload did. The names are of the gateways that serve: now too, in another version, or no more.

    `tokens` says the same of tokens, by the names of their files.
    """

    digest: str
    generation: int
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    tokens: Names = Names()
    problems: tuple[Problem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The answer of `POST /v1/reload`."""
        return {
            "digest": self.digest,
            "generation": self.generation,
            **Names(self.added, self.changed, self.removed).as_dict(),
            "tokens": self.tokens.as_dict(),
            "problems": [problem.as_dict() for problem in self.problems],
        }


class Reloader:
    """Holds what is served, and renews it.

    `state`: where the last version of each file that compiled is kept. `rescan_s`: how often the directory is looked
    at without an event; `quiet_s`: how far apart two equal looks have to be before a change counts (both in seconds).
    """

    def __init__(
        self, directory: Path, *, state: Path | None = None, rescan_s: float = 30.0, quiet_s: float = 0.2
    ) -> None:
        self._directory = directory
        self._state = state
        self._rescan_s = rescan_s
        self._quiet_s = quiet_s
        self._registry = Registry()
        self._sightings = Sightings(quiet_s)
        self._versions = Versions(directory, self._sightings)
        self._kept = Kept()
        self._watcher: Watcher | None = None
        self._lock = asyncio.Lock()
        self._subscribers: list[Callable[[ReloadResult], None]] = []
        self._started: dict[int, Served] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.last_success_at = 0.0  # Unix time in seconds; 0: never

    @property
    def registry(self) -> Registry:
        """What is served at this moment."""
        return self._registry

    @property
    def healthy(self) -> bool:
        """Whether everything that was found is as it should be: nothing stale or rejected, smsgwd.yaml sound."""
        registry = self._registry
        counts, of_tokens = registry.counts(), registry.token_counts()
        own = {problem for entry in registry.entries.values() for problem in entry.problems}
        own |= {problem for entry in registry.tokens.values() for problem in entry.problems}
        others = (problem for problem in registry.problems if problem not in own)
        stuck = any(count[state] for count in (counts, of_tokens) for state in ("stale", "rejected"))
        return not stuck and not has_errors(others)

    def subscribe(self, callback: Callable[[ReloadResult], None]) -> None:
        """Have this called after every reload that was asked for, and after each that changed something."""
        self._subscribers.append(callback)

    async def load(self) -> None:
        """The first load. Raises ConfigError without a sound smsgwd.yaml, or a directory, when nothing kept serves."""
        async with self._lock:
            found = await self._rest()
            self._kept = await asyncio.to_thread(self._read_kept)
            self._versions.inherit(self._kept)
            await self._apply(found, asked=True)
            self._versions.inherit(Kept())

    async def reload(self) -> ReloadResult:
        """Look now, and say what that changed. Calls queue; each sees what was there when it was called."""
        async with self._lock:
            return await self._apply(await self._rest(), asked=True)

    async def watch(self) -> None:
        """Follow the directory until cancelled."""
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()

        def wake_up() -> None:
            loop.call_soon_threadsafe(wake.set)

        watcher = self._watcher = Watcher(wake_up)
        wake.set()
        try:
            while True:
                with suppress(TimeoutError):  # not wait_for: before Python 3.12 it can swallow a cancellation
                    async with asyncio.timeout(self._pause_s(watcher)):
                        await wake.wait()
                wake.clear()
                await self._follow(watcher, wake)
                await asyncio.sleep(_BREATH_S)
        finally:
            self._watcher = None
            watcher.close()

    async def close(self) -> None:
        """Close every provider, each after its last send."""
        async with self._lock:
            for gateway in self._started.copy().values():
                self._retire(gateway)
            if self._retiring:
                await asyncio.wait(self._retiring)

    def _pause_s(self, watcher: Watcher) -> float:
        if watcher.blind:
            return min(self._rescan_s, _BLIND_S)
        open_ends = self._sightings.unsettled() or self._versions.unsure()
        return min(self._rescan_s, _SOON_S) if open_ends else self._rescan_s

    async def _follow(self, watcher: Watcher, wake: asyncio.Event) -> None:
        try:
            async with self._lock:
                await self._apply(await self._rest(), asked=False)
            if await asyncio.to_thread(lambda: watcher.follow(places(self._directory, self._versions.besides()))):
                wake.set()  # what happened before the watch was set was not seen
        except Exception as error:  # noqa: BLE001 - whatever it was: the daemon goes on, and looks again
            log_unforeseen("while following the configuration", error)
            await asyncio.sleep(_SOON_S)

    # ---- look ----

    async def _rest(self) -> Look:
        """The look in which everything has come to rest, or the last one, when that takes too long."""
        give_up = time.monotonic() + _LONGEST_UNREST_S
        while True:
            found = await asyncio.to_thread(self._look)
            if not (self._sightings.restless() or not found.steady) or time.monotonic() >= give_up:
                return found
            await asyncio.gather(asyncio.sleep(self._quiet_s), asyncio.to_thread(self._versions.compile_ahead, found))

    def _look(self) -> Look:
        now, clock_s = time.monotonic(), time.time()
        found = look(self._directory)
        sights = _sights(found)
        sights |= {path: stamp_of(path) for path in self._versions.besides()}
        unclosed = self._watcher.unclosed(now) if self._watcher else frozenset()
        self._sightings.see(sights, now, clock_s, unclosed)
        return found

    # ---- swap ----

    async def _apply(self, found: Look, *, asked: bool) -> ReloadResult:
        """Serve what this look has found. `asked`: somebody waits for the result."""
        following = await asyncio.to_thread(self._versions.following, found)
        gateways = {name: await self._begun(one) for name, one in following.gateways.items()}
        following = replace(following, gateways=gateways)
        before = self._registry
        after = await asyncio.to_thread(_snapshot, following, before.generation + 1)
        result = _difference(before, after)
        if not _differs(before, after):
            result, after = replace(result, generation=before.generation), replace(after, generation=before.generation)
        self._versions.take(following)
        self._registry = after
        self._retire_all()
        await self._keep()
        result = replace(result, problems=self._registry.problems)
        if asked or after.generation != before.generation or result.problems != before.problems:
            self._tell(before, result)
        return result

    async def _begun(self, known: Known[Served]) -> Known[Served]:
        """The same, with its provider started if it is new; where that fails, what served before."""
        gateway = known.version
        if gateway is None or not gateway.enabled or id(gateway) in self._started:
            return known
        try:
            await gateway.start()
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (*known.problems, unforeseen(file_of_gateway(self._directory, gateway.name), error))
            return on_earlier(replace(known, problems=problems), self._versions.gateway(gateway.name))
        self._started[id(gateway)] = gateway
        return known

    def _retire_all(self) -> None:
        serving = {id(entry.gateway) for entry in self._registry.entries.values()}
        for gateway in [gateway for key, gateway in self._started.items() if key not in serving]:
            self._retire(gateway)

    def _retire(self, gateway: Served) -> None:
        del self._started[id(gateway)]
        task = asyncio.create_task(_close_after_use(gateway))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _tell(self, before: Registry, result: ReloadResult) -> None:
        if self.healthy:
            self.last_success_at = time.time()
        for problem in set(result.problems) - set(before.problems):
            log.warning("%s", problem)
        for callback in self._subscribers:
            try:
                callback(result)
            except Exception as error:  # noqa: BLE001 - one who listens must not stop a reload
                log_unforeseen("in a subscriber of the reload", error)

    # ---- keep ----

    def _read_kept(self) -> Kept:
        if self._state is None:
            return Kept()
        try:
            return keeping.read(self._state)
        except (OSError, keeping.DamagedError, ValueError, KeyError) as error:
            log.warning("what was kept cannot be used: %s", error)
            return Kept()

    async def _keep(self) -> None:
        """Keep what serves, if that is something else by now. What cannot be kept is a warning, no more."""
        if self._state is None:
            return
        kept = self._versions.good()
        if kept == self._kept:
            return
        try:
            await asyncio.to_thread(keeping.write, self._state, kept)
            self._kept = kept
        except OSError as error:
            message = f"what serves cannot be kept for a restart: {error.strerror or type(error).__name__}"
            warning = Problem(shown(self._state), 1, 1, "not-kept", message, severity=Severity.WARNING)
            problems = sorted({*self._registry.problems, warning}, key=lambda problem: problem.sort_key)
            self._registry = replace(self._registry, problems=tuple(problems))


def _sights(found: Look) -> dict[Hashable, Sight]:
    sights: dict[Hashable, Sight] = {_DIRECTORY_PLACE: found.present, GATEWAYS: found.gateways_present}
    if found.tokens_present:  # most configurations have none: then there is nothing to wait for
        sights[TOKENS] = True
    sights[SITE_PLACE] = found.site_problems or None
    sights.update(places_of(found))
    faults = [((GATEWAYS, fault.name), fault) for fault in found.faults]
    faults += [((TOKENS, fault.name), fault) for fault in found.token_faults]
    for place, fault in faults:
        if fault.name:
            earlier = sights.get(place)
            sights[place] = (*(earlier if isinstance(earlier, tuple) else ()), fault.problem)
    return sights


def _snapshot(following: Next, generation: int) -> Registry:
    return Registry.of(
        map(entry_of, following.gateways.values()),
        following.site.config,
        following.others,
        generation,
        map(token_entry_of, following.tokens.values()),
    )


def _differs(before: Registry, after: Registry) -> bool:
    """Whether something else is served, or in another state."""
    return before.config != after.config or _versions(before) != _versions(after)


def _versions(registry: Registry) -> tuple[dict[str, tuple[State, int]], dict[str, tuple[State, str]]]:
    gateways = {name: (entry.state, id(entry.gateway)) for name, entry in registry.entries.items()}
    tokens = {name: (entry.state, entry.token.digest if entry.token else "") for name, entry in registry.tokens.items()}
    return gateways, tokens


def _difference(before: Registry, after: Registry) -> ReloadResult:
    gateways, tokens = (_names(old, new) for old, new in zip(_serving(before), _serving(after), strict=True))
    return ReloadResult(
        after.digest, after.generation, gateways.added, gateways.changed, gateways.removed, tokens=tokens
    )


def _serving(registry: Registry) -> tuple[Mapping[str, Hashable], Mapping[str, Hashable]]:
    """What tells the versions that serve from others: gateways, because sessions are theirs, by who they are."""
    gateways = {name: id(entry.gateway) for name, entry in registry.entries.items() if entry.gateway is not None}
    return gateways, {name: entry.token.digest for name, entry in registry.tokens.items() if entry.token is not None}


def _names(old: Mapping[str, Hashable], new: Mapping[str, Hashable]) -> Names:
    return Names(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


async def _close_after_use(gateway: Served) -> None:
    await gateway.usage.idle()
    try:
        await gateway.close()
    except Exception as error:  # noqa: BLE001 - a version that is gone must not trouble the others
        log_unforeseen(f"while closing a version of {gateway.name}", error)
