"""The versions of smsgwd.yaml: the daemon serves with the last one that was sound."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from smsgwd.compile import compile_site
from smsgwd.errors import ConfigError, Problem, Severity
from smsgwd.files import ConfigFile, Look, shown
from smsgwd.kept import Kept
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import SiteConfig
from smsgwd.sightings import Sight, Sightings
from smsgwd.versions.beside import Besides, same, stamps
from smsgwd.versions.faults import being_written, unforeseen

SITE_PLACE = "smsgwd.yaml"


@dataclass(frozen=True, slots=True)
class KnownSite:
    """What is known of smsgwd.yaml: what was made of it, from what, and the octets of the version that serves."""

    config: SiteConfig
    seen: Sight | bytes = None
    besides: Besides = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    good: bytes | None = None


class SiteVersions:
    """Knows what was made of smsgwd.yaml, and makes something of the next look."""

    def __init__(self, directory: Path, sightings: Sightings) -> None:
        self._directory = directory
        self._sightings = sightings
        self.known: KnownSite | None = None
        self.inherited = Kept()  # what an earlier process kept

    def following(self, found: Look) -> KnownSite:
        """What to serve with after this look. Raises ConfigError when there is nothing."""
        before, sight = self.known, self._sightings.sight(SITE_PLACE)
        if not found.present:
            return before or self._of_no_directory(found)
        if not self._sightings.settled(SITE_PLACE) or not found.steady:
            return before or self._kept((being_written(self._file, Severity.ERROR),))
        if sight is None:
            return KnownSite(SiteConfig(site=Site(self._directory)))
        if not isinstance(sight, ConfigFile):
            return replace(before or self._kept(found.site_problems), seen=sight, problems=found.site_problems)
        if before and (before.seen, same(self._sightings, before.besides)) == (sight.data, True):
            return before
        return self._of_file(sight, before)

    def _of_file(self, file: ConfigFile, before: KnownSite | None) -> KnownSite:
        config, problems, besides = self._compile(file)
        if config is None:
            return replace(before or self._kept(problems), seen=file.data, besides=besides, problems=problems)
        return KnownSite(config, file.data, besides, problems, file.data)

    def _of_no_directory(self, found: Look) -> KnownSite:
        if self.inherited == Kept():
            raise ConfigError(found.problems)
        if self.inherited.site is None:
            return KnownSite(SiteConfig(site=Site(self._directory)))
        return self._kept(())

    def _kept(self, problems: tuple[Problem, ...]) -> KnownSite:
        """What an earlier process kept, for a smsgwd.yaml that has these problems. Raises ConfigError without it."""
        data = self.inherited.site
        config = None if data is None else self._compile(ConfigFile(self._file, "smsgwd", data))[0]
        if config is None:
            raise ConfigError(problems)
        return KnownSite(config, problems=problems, good=data)

    def _compile(self, file: ConfigFile) -> tuple[SiteConfig | None, tuple[Problem, ...], Besides]:
        files: set[Path] = set()
        config = None
        try:
            source = load(file.data, file.file)
            config, problems = compile_site(source, self._directory, resolve=True, files=files)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a finding of this file
            problems = (unforeseen(file.file, error),)
        return config, problems, stamps(self._sightings, files, compiled=config is not None)

    @property
    def _file(self) -> str:
        return shown(self._directory / SITE_PLACE)
