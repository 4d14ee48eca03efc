"""What would be served after a look: what compiles serves, what does not leaves the version that did.

beside  the files that a version was compiled with, beside its own
folder  the files of gateways.d or tokens.d, each by itself
site    smsgwd.yaml
tokens  tokens among other files: the gateways that they name, and each other
faults  findings that only a daemon has

Nothing here starts or stops anything: the reload takes what it finds right.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smsgwd.compile import compile_gateway, compile_token
from smsgwd.errors import Problem, Severity
from smsgwd.files import GATEWAYS, TOKENS, ConfigFile, Look, shown
from smsgwd.kept import Kept
from smsgwd.load import Source
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, OtpToken, Served, TokenEntry
from smsgwd.sightings import Sightings
from smsgwd.versions.beside import Besides
from smsgwd.versions.faults import being_written, gone, log_unforeseen, unforeseen
from smsgwd.versions.folder import Folder, Inside, Known, on_earlier
from smsgwd.versions.site import SITE_PLACE, KnownSite, SiteVersions
from smsgwd.versions.tokens import Tokens

__all__ = [
    "Known",
    "Next",
    "Versions",
    "entry_of",
    "file_of_gateway",
    "log_unforeseen",
    "on_earlier",
    "places_of",
    "token_entry_of",
    "unforeseen",
]


_NO_SITE = Site()  # a token takes nothing from smsgwd.yaml


@dataclass(frozen=True, slots=True)
class Next:
    """What would be served now, compiled and not yet started."""

    site: KnownSite
    gateways: Mapping[str, Known[Served]]
    token_files: Mapping[str, Known[OtpToken]]  # each by itself
    tokens: Mapping[str, Known[OtpToken]]  # as they would serve
    others: tuple[Problem, ...]  # findings that belong to no gateway and no token


class Versions:
    """Knows what was made of each file, and makes something of the next look.

    `inherited` is what an earlier process kept, until the first load is done.
    """

    def __init__(self, directory: Path, sightings: Sightings) -> None:
        self._directory = directory
        self._sightings = sightings
        self._site = SiteVersions(directory, sightings)
        self._gateways: Folder[Served] = Folder(directory / GATEWAYS, sightings, _gateway, _same_gateway)
        self._token_files = Folder(directory / TOKENS, sightings, _token, _same_token)
        self._tokens = Tokens(self._token_files)

    def inherit(self, kept: Kept) -> None:
        """Take what an earlier process kept; nothing (any more) where it is empty."""
        self._site.inherited = kept
        self._gateways.inherited = kept.gateways
        self._token_files.inherited = kept.tokens

    @property
    def begun(self) -> bool:
        """Whether something was taken already."""
        return self._site.known is not None

    def gateway(self, name: str) -> Known[Served] | None:
        """What is known under the name of a gateway."""
        return self._gateways.known.get(name)

    def besides(self) -> set[Path]:
        """The files that versions were compiled with, beside their own."""
        return {path for besides in self._all_besides() for path in besides}

    def unsure(self) -> bool:
        """Whether a file may have changed while something was compiled with it."""
        return any(False in besides.values() for besides in self._all_besides())

    def _all_besides(self) -> list[Besides]:
        site = [self._site.known.besides] if self._site.known else []
        return [*site, *(one.besides for one in self._gateways.known.values())]  # a token has none

    def compile_ahead(self, found: Look) -> None:
        """Compile what seems to have changed while it comes to rest; what goes on changing was compiled in vain."""
        if self._site.known is not None:
            self._gateways.compile_ahead(found.gateways, self._site.known.config.site)
            self._token_files.compile_ahead(found.tokens, _NO_SITE)

    def following(self, found: Look) -> Next:
        """What would be served after this look. Raises ConfigError when there is no smsgwd.yaml to serve with."""
        site = self._site.following(found)
        inside = Inside(found.gateways_present, found.steady, found.gateways, found.faults)
        gateways = self._gateways.following(inside, site.config.site)
        inside = Inside(found.tokens_present, found.steady, found.tokens, found.token_faults)
        token_files = self._token_files.following(inside, _NO_SITE)
        tokens = self._tokens.following(token_files, gateways)
        others = (*self._other_problems(found, site, tokens), *(() if gateways else found.empty))
        return Next(site, gateways, token_files, tokens, others)

    def take(self, following: Next) -> None:
        """This serves now."""
        self._site.known = following.site
        self._gateways.take(following.gateways)
        self._token_files.take(following.token_files)
        self._tokens.serving = following.tokens

    def good(self) -> Kept:
        """What is to be kept: the file of each version that serves."""
        site = None if self._site.known is None else self._site.known.good
        return Kept(site, _good(self._gateways.known), _good(self._tokens.serving))

    def _other_problems(
        self, found: Look, site: KnownSite, tokens: Mapping[str, Known[OtpToken]]
    ) -> tuple[Problem, ...]:
        of_tokens = [fault.problem for fault in found.token_faults if not fault.name]
        problems = [*site.problems, *(fault.problem for fault in found.faults if not fault.name)]
        if found.present and not found.gateways_present and self._gateways.known and not problems:
            problems.append(gone(self._directory / GATEWAYS, "the gateways"))
        if found.present and not found.tokens_present and tokens and not of_tokens:
            hint = "to take all tokens away, leave the folder and nothing in it, or a .gitkeep"
            of_tokens.append(gone(self._directory / TOKENS, "the tokens", hint))
        return (*problems, *of_tokens, *self._being_written(found))

    def _being_written(self, found: Look) -> list[Problem]:
        files = places_of(found)
        written = [file for place, file in files.items() if self._sightings.written(place)]
        return [being_written(file.file, Severity.WARNING) for file in written]


def places_of(found: Look) -> Mapping[Hashable, ConfigFile]:
    """The files of a look, by the places that are watched for rest."""
    places: dict[Hashable, ConfigFile] = {SITE_PLACE: found.site} if found.site else {}
    places |= {(GATEWAYS, file.name): file for file in found.gateways}
    return places | {(TOKENS, file.name): file for file in found.tokens}


def entry_of(known: Known[Served]) -> Entry:
    """A gateway as the registry has it."""
    return Entry(known.name, known.state, known.version, known.problems)


def token_entry_of(known: Known[OtpToken]) -> TokenEntry:
    """A token as the registry has it."""
    return TokenEntry(known.name, known.state, known.version, known.problems)


def file_of_gateway(directory: Path, name: str) -> str:
    """How findings call the file of a gateway."""
    return shown(directory / GATEWAYS / f"{name}.yaml")


def _good(known: "Mapping[str, Known[Served]] | Mapping[str, Known[OtpToken]]") -> dict[str, bytes]:
    return {name: one.good for name, one in known.items() if one.good is not None}


def _gateway(name: str, source: Source, site: Site, files: set[Path]) -> tuple[Served | None, tuple[Problem, ...]]:
    return compile_gateway(name, source, site, resolve=True, files=files)


def _same_gateway(one: Served, other: Served) -> bool:
    """Whether the running version may stay, sessions and all."""
    return one.fingerprint == other.fingerprint


def _token(name: str, source: Source, _site: Site, _files: set[Path]) -> tuple[OtpToken | None, tuple[Problem, ...]]:
    return compile_token(name, source)


def _same_token(one: OtpToken, other: OtpToken) -> bool:
    return one == other and one.places == other.places
