"""The files of one folder, each by itself: of gateways.d and of tokens.d alike."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from smsgwd.errors import Problem, Severity
from smsgwd.files import ConfigFile, Fault, shown
from smsgwd.load import Source, load
from smsgwd.providers._base import Site
from smsgwd.registry import State
from smsgwd.sightings import Sight, Sightings
from smsgwd.versions.beside import Besides, same, stamps
from smsgwd.versions.faults import being_written, unforeseen


class Version(Protocol):
    """What a file is compiled to."""

    @property
    def enabled(self) -> bool:
        """Whether it is in use."""


V = TypeVar("V", bound=Version)
_Compiled = tuple[V | None, tuple[Problem, ...], Besides]
_Compile = Callable[[str, Source, Site, set[Path]], tuple[V | None, tuple[Problem, ...]]]


@dataclass(frozen=True, slots=True)
class Known(Generic[V]):
    """What is known under one name: what was made of it, from what, and the octets of the version that serves."""

    name: str
    state: State
    version: V | None = None
    problems: tuple[Problem, ...] = ()
    seen: Sight | bytes = None
    besides: Besides = field(default_factory=dict)
    site: Site = field(default_factory=Site)
    good: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """What a look has found in the folder. `present`: it could be read; `steady`: it held still meanwhile."""

    present: bool
    steady: bool
    files: tuple[ConfigFile, ...]
    faults: tuple[Fault, ...]


class Folder(Generic[V]):
    """Knows what was made of each file of the folder at `path`, and makes something of the next look.

    `compile_file` compiles one (name, source, site, the set that takes every file that was looked for beside it);
    `is_same` says whether the version that serves may stay in the place of a new one.
    """

    def __init__(
        self, path: Path, sightings: Sightings, compile_file: _Compile[V], is_same: Callable[[V, V], bool]
    ) -> None:
        self._path = path
        self._sightings = sightings
        self._compile_file = compile_file
        self._is_same = is_same
        self._ahead: dict[str, tuple[bytes, Site, _Compiled[V]]] = {}
        self.known: Mapping[str, Known[V]] = {}
        self.inherited: Mapping[str, bytes] = {}  # what an earlier process kept

    def compile_ahead(self, files: Iterable[ConfigFile], site: Site) -> None:
        """Compile those that are new, or another than was seen."""
        for file in files:
            known, ahead = self.known.get(file.name), self._ahead.get(file.name)
            if not (known and known.seen == file.data) and not (ahead and ahead[:2] == (file.data, site)):
                self._ahead[file.name] = file.data, site, self._compile(file, site)

    def following(self, inside: Inside, site: Site) -> dict[str, Known[V]]:
        """What there would be to serve after this look, by name."""
        names = {*self.known, *self.inherited, *(file.name for file in inside.files)}
        names |= {fault.name for fault in inside.faults if fault.name}
        found = {name: self._next(name, inside, site) for name in sorted(names)}
        return {name: one for name, one in found.items() if one is not None}

    def take(self, following: Mapping[str, Known[V]]) -> None:
        """This is known now."""
        self.known, self._ahead = following, {}

    def from_kept(self, name: str, site: Site, problems: tuple[Problem, ...]) -> Known[V] | None:
        """The version that an earlier process kept; `problems` are those of the file itself."""
        data = self.inherited.get(name)
        if data is None:
            return None
        version, own, besides = self._compile(ConfigFile(self._file_of(name), name, data), site)
        if version is None:
            return Known(name, State.REJECTED, None, problems or own, None, besides, site)
        state = State.STALE if problems else _state_of(version)
        seen = None if problems else data  # with problems, it was made of something else than what is there
        return Known(name, state, version, problems or own, seen, besides, site, data)

    def _next(self, name: str, inside: Inside, site: Site) -> Known[V] | None:
        """What to serve under a name; None: nothing (any more)."""
        before, place = self.known.get(name), (self._path.name, name)
        sight = self._sightings.sight(place)
        if not inside.present:
            return before or self.from_kept(name, site, ())
        if not self._sightings.settled(place) or not inside.steady:
            waiting = being_written(self._file_of(name), Severity.ERROR)
            return before or (self.from_kept(name, site, (waiting,)) if sight is not None else None)
        if isinstance(sight, ConfigFile):
            return self._next_of_file(sight, before, site)
        if isinstance(sight, tuple):
            return self._not_compiled(Known(name, State.REJECTED, None, sight, sight, {}, site), before)
        return None

    def _next_of_file(self, file: ConfigFile, before: Known[V] | None, site: Site) -> Known[V]:
        if before and before.seen == file.data and before.site == site and same(self._sightings, before.besides):
            return before
        if before and not all(map(self._sightings.settled, before.besides)):
            return before
        version, problems, besides = self._compiled_ahead(file, site) or self._compile(file, site)
        if version is None:
            return self._not_compiled(
                Known(file.name, State.REJECTED, None, problems, file.data, besides, site), before
            )
        if before and before.version is not None and self._is_same(before.version, version):
            version = before.version
        return Known(file.name, _state_of(version), version, problems, file.data, besides, site, file.data)

    def _not_compiled(self, known: Known[V], before: Known[V] | None) -> Known[V]:
        return on_earlier(known, before or self.from_kept(known.name, known.site, known.problems))

    def _compiled_ahead(self, file: ConfigFile, site: Site) -> _Compiled[V] | None:
        """What was compiled from the same file, if all that went into it is as it was."""
        ahead = self._ahead.pop(file.name, None)
        if ahead is None or ahead[:2] != (file.data, site) or not same(self._sightings, ahead[2][2]):
            return None
        return ahead[2]

    def _compile(self, file: ConfigFile, site: Site) -> _Compiled[V]:
        files: set[Path] = set()
        version = None
        try:
            version, problems = self._compile_file(file.name, load(file.data, file.file), site, files)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (unforeseen(file.file, error),)
        return version, problems, stamps(self._sightings, files, compiled=version is not None)

    def _file_of(self, name: str) -> str:
        return shown(self._path / f"{name}.yaml")


def on_earlier(known: Known[V], earlier: Known[V] | None) -> Known[V]:
    """A file that cannot serve: stale, where an earlier version is known; rejected, where none is."""
    version = earlier.version if earlier else None
    return Known(
        known.name,
        State.REJECTED if version is None else State.STALE,
        version,
        known.problems,
        known.seen,
        known.besides,
        known.site,
        earlier.good if earlier else None,
    )


def _state_of(version: Version) -> State:
    return State.OK if version.enabled else State.DISABLED
