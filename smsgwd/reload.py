"""Follows the configuration directory: what compiles takes effect, what does not keeps the version that did.

    look -> settle -> compile what changed -> start -> swap one reference -> close what serves no more

The daemon's one door is `Reloader.registry`, an immutable snapshot. A reload builds the next one beside it, off the
event loop, and touches nothing that did not change: an unchanged gateway stays the same object, sessions and all.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smsgwd import kept as keeping
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import ConfigError, Problem, Severity, has_errors
from smsgwd.files import GATEWAYS, ConfigFile, Look, look, shown, stamp_of
from smsgwd.kept import Kept
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Registry, Served, SiteConfig, State
from smsgwd.sightings import Sight, Sightings, at_rest
from smsgwd.watch import Watcher, places

log = logging.getLogger("smsgwd.reload")

_LONGEST_UNREST_S = 2.0  # what rests takes effect then, whatever goes on changing
_SOON_S = 1.0  # the next look, when the last one left something open
_BLIND_S = 0.5  # between two looks, when inotify cannot tell
_BREATH_S = 0.05  # between two looks at least, however many events there are
_SITE_PLACE = "smsgwd.yaml"
_DIRECTORY_PLACE = "directory"
_GATEWAYS_PLACE = GATEWAYS


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload did. The names are of the gateways that serve: now too, in another version, or no more."""

    digest: str
    generation: int
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The answer of `POST /v1/reload`."""
        return {
            "digest": self.digest,
            "generation": self.generation,
            "added": list(self.added),
            "changed": list(self.changed),
            "removed": list(self.removed),
            "problems": [problem.as_dict() for problem in self.problems],
        }


# The files that a version was compiled with, beside its own. False: what was read may not be what is there now.
_Besides = Mapping[Path, Sight]
_Compiled = tuple[Served | None, tuple[Problem, ...], _Besides]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known under one name: what was made of it, from what, and the bytes of the version that serves."""

    entry: Entry
    seen: Sight | bytes
    besides: _Besides = field(default_factory=dict)
    site: Site = field(default_factory=Site)
    good: bytes | None = None


@dataclass(frozen=True, slots=True)
class _KnownSite:
    """The same of smsgwd.yaml."""

    config: SiteConfig
    seen: Sight | bytes = None
    besides: _Besides = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    good: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Next:
    """What would be served now, compiled and not yet started."""

    site: _KnownSite
    known: Mapping[str, _Known]
    others: tuple[Problem, ...]  # findings that belong to no gateway


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
        self._site: _KnownSite | None = None
        self._known: Mapping[str, _Known] = {}
        self._inherited = Kept()  # of an earlier process, until the first load is done
        self._kept = Kept()
        self._ahead: dict[str, tuple[bytes, Site, _Compiled]] = {}
        self._sightings = Sightings(quiet_s)
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
        counts = self._registry.counts()
        own = {problem for entry in self._registry.entries.values() for problem in entry.problems}
        others = (problem for problem in self._registry.problems if problem not in own)
        return not counts["stale"] and not counts["rejected"] and not has_errors(others)

    def subscribe(self, callback: Callable[[ReloadResult], None]) -> None:
        """Have this called after every reload that was asked for, and after each that changed something."""
        self._subscribers.append(callback)

    async def load(self) -> None:
        """The first load. Raises ConfigError without a sound smsgwd.yaml, or a directory, when nothing kept serves."""
        async with self._lock:
            found = await self._rest()
            self._inherited = self._kept = await asyncio.to_thread(self._read_kept)
            await self._apply(found, asked=True)
            self._inherited = Kept()

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
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), self._pause_s(watcher))
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
        open_ends = self._sightings.unsettled() or any(False in one.besides.values() for one in self._all_known())
        return min(self._rescan_s, _SOON_S) if open_ends else self._rescan_s

    async def _follow(self, watcher: Watcher, wake: asyncio.Event) -> None:
        try:
            async with self._lock:
                await self._apply(await self._rest(), asked=False)
            if await asyncio.to_thread(lambda: watcher.follow(places(self._directory, self._besides()))):
                wake.set()  # what happened before the watch was set was not seen
        except Exception as error:  # noqa: BLE001 - whatever it was: the daemon goes on, and looks again
            _log_unforeseen("while following the configuration", error)
            await asyncio.sleep(_SOON_S)

    # ---- look ----

    async def _rest(self) -> Look:
        """The look in which everything has come to rest, or the last one, when that takes too long."""
        give_up = time.monotonic() + _LONGEST_UNREST_S
        while True:
            found = await asyncio.to_thread(self._look)
            if not (self._sightings.restless() or not found.steady) or time.monotonic() >= give_up:
                return found
            await asyncio.gather(asyncio.sleep(self._quiet_s), asyncio.to_thread(self._compile_ahead, found))

    def _compile_ahead(self, found: Look) -> None:
        """Compile what seems to have changed while it comes to rest; what goes on changing was compiled in vain."""
        if self._site is None:
            return
        site = self._site.config.site
        for file in found.gateways:
            known, ahead = self._known.get(file.name), self._ahead.get(file.name)
            if not (known and known.seen == file.data) and not (ahead and ahead[:2] == (file.data, site)):
                self._ahead[file.name] = file.data, site, self._compile_gateway(file, site)

    def _look(self) -> Look:
        now, clock_s = time.monotonic(), time.time()
        found = look(self._directory)
        sights = _sights(found)
        sights |= {path: stamp_of(path) for path in self._besides()}
        unclosed = self._watcher.unclosed(now) if self._watcher else frozenset()
        self._sightings.see(sights, now, clock_s, unclosed)
        return found

    def _all_known(self) -> "list[_Known | _KnownSite]":
        return [*self._known.values(), *([self._site] if self._site else [])]

    def _besides(self) -> set[Path]:
        return {path for known in self._all_known() for path in known.besides}

    # ---- compile ----

    def _compile(self, found: Look) -> _Next:
        """What would be served after this look. Raises ConfigError when there is no smsgwd.yaml to serve with."""
        site = self._next_site(found)
        names = {*self._known, *self._inherited.gateways, *(file.name for file in found.gateways)}
        names |= {fault.name for fault in found.faults if fault.name}
        nexts = {name: self._next_known(name, found, site.config.site) for name in sorted(names)}
        known = {name: one for name, one in nexts.items() if one is not None}
        others = (*self._other_problems(found, site), *(() if known else found.empty))
        return _Next(site, known, others)

    def _next_site(self, found: Look) -> _KnownSite:
        before, sight = self._site, self._sightings.sight(_SITE_PLACE)
        if not found.present:
            return before or self._site_of_no_directory(found)
        if not self._sightings.settled(_SITE_PLACE) or not found.steady:
            return before or self._kept_site((_being_written(shown(self._directory / _SITE_PLACE), Severity.ERROR),))
        if sight is None:
            return _KnownSite(SiteConfig(site=Site(self._directory)))
        if not isinstance(sight, ConfigFile):
            return replace(before or self._kept_site(found.site_problems), seen=sight, problems=found.site_problems)
        if before and (before.seen, self._same(before.besides)) == (sight.data, True):
            return before
        return self._next_site_of_file(sight, before)

    def _next_site_of_file(self, file: ConfigFile, before: _KnownSite | None) -> _KnownSite:
        config, problems, besides = self._compile_site(file)
        if config is None:
            return replace(before or self._kept_site(problems), seen=file.data, besides=besides, problems=problems)
        return _KnownSite(config, file.data, besides, problems, file.data)

    def _site_of_no_directory(self, found: Look) -> _KnownSite:
        if self._inherited == Kept():
            raise ConfigError(found.problems)
        if self._inherited.site is None:
            return _KnownSite(SiteConfig(site=Site(self._directory)))
        return self._kept_site(())

    def _kept_site(self, problems: tuple[Problem, ...]) -> _KnownSite:
        """What an earlier process kept, for a smsgwd.yaml that has these problems. Raises ConfigError without it."""
        data = self._inherited.site
        config = None
        if data is not None:
            config, _, _ = self._compile_site(ConfigFile(shown(self._directory / _SITE_PLACE), "smsgwd", data))
        if config is None:
            raise ConfigError(problems)
        return _KnownSite(config, problems=problems, good=data)

    def _compile_site(self, file: ConfigFile) -> tuple[SiteConfig | None, tuple[Problem, ...], _Besides]:
        files: set[Path] = set()
        config = None
        try:
            source = load(file.data, file.file)
            config, problems = compile_site(source, self._directory, resolve=True, files=files)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (_unforeseen(file.file, error),)
        return config, problems, self._stamps(files, compiled=config is not None)

    def _next_known(self, name: str, found: Look, site: Site) -> _Known | None:
        """What to serve under a name; None: nothing (any more)."""
        before, place = self._known.get(name), _place(name)
        sight = self._sightings.sight(place)
        if not found.gateways_present:
            return before or self._from_kept(name, site, ())
        if not self._sightings.settled(place) or not found.steady:
            waiting = _being_written(self._file_of(name), Severity.ERROR)
            return before or (self._from_kept(name, site, (waiting,)) if sight is not None else None)
        if isinstance(sight, ConfigFile):
            return self._next_of_file(sight, before, site)
        if isinstance(sight, tuple):
            return self._not_compiled(name, sight, sight, {}, before, site)
        return None

    def _next_of_file(self, file: ConfigFile, before: _Known | None, site: Site) -> _Known:
        if before and before.seen == file.data and before.site == site and self._same(before.besides):
            return before
        if before and not all(map(self._sightings.settled, before.besides)):
            return before
        gateway, problems, besides = self._compiled_ahead(file, site) or self._compile_gateway(file, site)
        if gateway is None:
            return self._not_compiled(file.name, file.data, problems, besides, before, site)
        if before and before.entry.gateway and before.entry.gateway.fingerprint == gateway.fingerprint:
            gateway = before.entry.gateway
        state = State.OK if gateway.enabled else State.DISABLED
        return _Known(Entry(file.name, state, gateway, problems), file.data, besides, site, file.data)

    def _not_compiled(
        self,
        name: str,
        seen: Sight | bytes,
        problems: tuple[Problem, ...],
        besides: _Besides,
        before: _Known | None,
        site: Site,
    ) -> _Known:
        """Stale, where an earlier version is known; rejected, where none is."""
        earlier = before or self._from_kept(name, site, problems)
        gateway = earlier.entry.gateway if earlier else None
        entry = Entry(name, State.REJECTED if gateway is None else State.STALE, gateway, problems)
        return _Known(entry, seen, besides, site, earlier.good if earlier else None)

    def _from_kept(self, name: str, site: Site, problems: tuple[Problem, ...]) -> _Known | None:
        """The version that an earlier process kept; `problems` are those of the file itself."""
        data = self._inherited.gateways.get(name)
        if data is None:
            return None
        gateway, own, besides = self._compile_gateway(ConfigFile(self._file_of(name), name, data), site)
        if gateway is None:
            return _Known(Entry(name, State.REJECTED, None, problems or own), None, besides, site)
        state = State.STALE if problems else State.OK if gateway.enabled else State.DISABLED
        seen = None if problems else data  # with problems, it was made of something else than what is there
        return _Known(Entry(name, state, gateway, problems or own), seen, besides, site, data)

    def _compiled_ahead(self, file: ConfigFile, site: Site) -> _Compiled | None:
        """What was compiled from the same file, if all that went into it is as it was."""
        data, its_site, compiled = self._ahead.pop(file.name, (None, site, None))
        if compiled is None or (data, its_site) != (file.data, site) or not self._same(compiled[2]):
            return None
        return compiled

    def _compile_gateway(self, file: ConfigFile, site: Site) -> _Compiled:
        files: set[Path] = set()
        gateway = None
        try:
            source = load(file.data, file.file)
            gateway, problems = compile_gateway(file.name, source, site, resolve=True, files=files)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (_unforeseen(file.file, error),)
        return gateway, problems, self._stamps(files, compiled=gateway is not None)

    def _stamps(self, files: Iterable[Path], *, compiled: bool) -> _Besides:
        """What the files beside were when they were read, as far as that is known."""
        seen = self._sightings
        return {path: seen.sight(path) if path in seen else _fresh_stamp(path, compiled=compiled) for path in files}

    def _same(self, besides: _Besides) -> bool:
        return all(self._sightings.sight(path) == stamp for path, stamp in besides.items())

    def _file_of(self, name: str) -> str:
        return shown(self._directory / GATEWAYS / f"{name}.yaml")

    def _other_problems(self, found: Look, site: _KnownSite) -> tuple[Problem, ...]:
        problems = [*site.problems, *(fault.problem for fault in found.faults if not fault.name)]
        if found.present and not found.gateways_present and self._known and not problems:
            message = "it is gone: the gateways that were in it go on until it returns"
            problems.append(Problem(shown(self._directory / GATEWAYS), 1, 1, "no-such-folder", message))
        files = [file for file in (*found.sites, *found.gateways) if self._is_written(file)]
        return (*problems, *(_being_written(file.file, Severity.WARNING) for file in files))

    def _is_written(self, file: ConfigFile) -> bool:
        return any(
            self._sightings.written(place) and self._sightings.sight(place) == file
            for place in (_SITE_PLACE, _place(file.name))
        )

    # ---- swap ----

    async def _apply(self, found: Look, *, asked: bool) -> ReloadResult:
        """Serve what this look has found. `asked`: somebody waits for the result."""
        following = await asyncio.to_thread(self._compile, found)
        known = {name: await self._begun(one) for name, one in following.known.items()}
        before = self._registry
        after = Registry.of(
            (one.entry for one in known.values()), following.site.config, following.others, before.generation + 1
        )
        result = _difference(before, after)
        if not _differs(before, after):
            result, after = replace(result, generation=before.generation), replace(after, generation=before.generation)
        self._site, self._known, self._ahead = following.site, known, {}
        self._registry = after
        self._retire_all()
        await self._keep()
        result = replace(result, problems=self._registry.problems)
        if asked or after.generation != before.generation or result.problems != before.problems:
            self._tell(before, result)
        return result

    async def _begun(self, known: _Known) -> _Known:
        """The same, with its provider started if it is new; where that fails, what served before."""
        gateway = known.entry.gateway
        if gateway is None or not gateway.enabled or id(gateway) in self._started:
            return known
        try:
            await gateway.start()
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (*known.entry.problems, _unforeseen(self._file_of(gateway.name), error))
            before = self._known.get(gateway.name)
            earlier = before.entry.gateway if before else None
            entry = Entry(gateway.name, State.STALE if earlier else State.REJECTED, earlier, problems)
            return replace(known, entry=entry, good=before.good if before else None)
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
                _log_unforeseen("in a subscriber of the reload", error)

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
        if self._state is None or self._site is None:
            return
        good = {name: known.good for name, known in self._known.items() if known.good is not None}
        kept = Kept(self._site.good, good)
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


def _place(name: str) -> tuple[str, str]:
    return (GATEWAYS, name)


def _sights(found: Look) -> dict[Hashable, Sight]:
    sights: dict[Hashable, Sight] = {_DIRECTORY_PLACE: found.present, _GATEWAYS_PLACE: found.gateways_present}
    sights[_SITE_PLACE] = found.site or found.site_problems or None
    sights |= {_place(file.name): file for file in found.gateways}
    for fault in found.faults:
        if fault.name:
            earlier = sights.get(_place(fault.name))
            sights[_place(fault.name)] = (*(earlier if isinstance(earlier, tuple) else ()), fault.problem)
    return sights


def _fresh_stamp(path: Path, *, compiled: bool) -> Sight:
    """The stamp of a file that was just read for the first time; False where it may have changed since."""
    stamp = stamp_of(path)
    if stamp is None:
        return False if compiled else None
    return stamp if at_rest(stamp, time.time()) else False


def _differs(before: Registry, after: Registry) -> bool:
    """Whether something else is served, or in another state."""
    return before.config != after.config or _versions(before) != _versions(after)


def _versions(registry: Registry) -> dict[str, tuple[State, int]]:
    return {name: (entry.state, id(entry.gateway)) for name, entry in registry.entries.items()}


def _difference(before: Registry, after: Registry) -> ReloadResult:
    old = {name: entry.gateway for name, entry in before.entries.items() if entry.gateway is not None}
    new = {name: entry.gateway for name, entry in after.entries.items() if entry.gateway is not None}
    return ReloadResult(
        digest=after.digest,
        generation=after.generation,
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] is not old[name])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


async def _close_after_use(gateway: Served) -> None:
    await gateway.usage.idle()
    try:
        await gateway.close()
    except Exception as error:  # noqa: BLE001 - a version that is gone must not trouble the others
        _log_unforeseen(f"while closing a version of {gateway.name}", error)


def _being_written(file: str, severity: Severity) -> Problem:
    message = "this file is still being written: it is read when whoever has it open closes it"
    return Problem(file, 1, 1, "being-written", message, severity=severity)


def _unforeseen(file: str, error: Exception) -> Problem:
    _log_unforeseen(f"while compiling {file}", error)
    message = f"internal error ({type(error).__name__}) while this file was compiled"
    return Problem(file, 1, 1, "internal", message, "this is a fault of smsgwd: please report it")


def _log_unforeseen(where: str, error: Exception) -> None:
    # The text of an exception may quote a secret; its type and the places of the code do not.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("unforeseen %s %s\n%s", type(error).__name__, where, frames)
