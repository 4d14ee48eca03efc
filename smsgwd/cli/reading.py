"""Reads a configuration as the daemon would, for the verbs that do without a daemon."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from smsgwd.cli.cores import on_all_cores
from smsgwd.cli.terminal import Failure
from smsgwd.compile import compile_gateway, compile_site, compile_token, gateway_problems, user_problems
from smsgwd.errors import Problem, has_errors, unforeseen_problem
from smsgwd.files import GATEWAYS, ConfigFile, Look, look, read_paths
from smsgwd.load import Source, load
from smsgwd.providers._base import Site
from smsgwd.registry import (
    Entry,
    Failover,
    OtpToken,
    Registry,
    Served,
    SiteConfig,
    State,
    TokenEntry,
    reference_problems,
    same_ids,
)

_NOT_IN_SITE = "unknown-smtp-server"
_V = TypeVar("_V")


@dataclass(slots=True)
class Reading:
    """Files that were compiled, and all that was found in them. `resolve`: the secrets are read, too."""

    directory: Path  # the configuration directory: what relative paths count from
    resolve: bool = False
    config: SiteConfig | None = None
    unsound: bool = False  # smsgwd.yaml has errors, which are told: what it holds nobody can say
    sources: dict[str, Source] = field(default_factory=dict)  # by the names that findings give them
    entries: dict[str, Entry] = field(default_factory=dict)  # of gateway files, by the same names
    tokens: dict[str, OtpToken] = field(default_factory=dict)  # those that compile by themselves, by the same names
    problems: list[Problem] = field(default_factory=list)

    def read_site(self, file: ConfigFile) -> None:
        """Compile smsgwd.yaml."""
        self.config, problems = compile_site(self._load(file), self.directory, resolve=self.resolve)
        self.unsound = self.config is None
        self.problems += problems

    def read_gateway(self, file: ConfigFile) -> Entry:
        """Compile a gateway file, for the site that was read before."""
        site = Site(self.directory) if self.config is None else self.config.site
        gateway, problems = _compiled(file.name, self._load(file), site, resolve=self.resolve)
        if self.unsound:
            problems = tuple(problem for problem in problems if problem.code != _NOT_IN_SITE)
        self.problems += problems
        state = State.REJECTED if gateway is None else State.OK
        entry = self.entries[file.file] = Entry(file.name, state, gateway, problems)
        return entry

    def read_token(self, file: ConfigFile) -> OtpToken | None:
        """Compile a token file by itself."""
        source = self._load(file, private=True)
        token, problems = _guarded(source, lambda: compile_token(file.name, source))
        self.problems += problems
        if token is not None:
            self.tokens[file.file] = token
        return token

    def checked_token(self, file: ConfigFile) -> "_CheckedToken":
        """What there is to find in a token file by itself."""
        alone = replace(self, sources={}, entries={}, tokens={}, problems=[])
        token = alone.read_token(file)
        source = replace(alone.sources[file.file], data=None) if alone.problems else None
        return _CheckedToken(file, tuple(alone.problems), source, token)

    def checked(self, file: ConfigFile) -> "_Checked":
        """What there is to find in a gateway file by itself."""
        alone = replace(self, sources={}, entries={}, problems=[])
        failover = isinstance(alone.read_gateway(file).gateway, Failover)
        source = replace(alone.sources[file.file], data=None) if alone.problems else None
        return _Checked(file.file, tuple(alone.problems), source, failover=failover)

    def registry(
        self, asked: Sequence[Entry], others: Iterable[ConfigFile], tokens: Iterable[ConfigFile] = ()
    ) -> Registry:
        """These gateways, and the others where one of these refers to them; what is wrong with that is found, too.

        `tokens` are files of tokens to be read among these gateways.
        """
        entries = {entry.name: entry for entry in asked}
        if any(isinstance(entry.gateway, Failover) for entry in asked):
            quiet = Reading(self.directory, config=self.config)  # nobody asked what is wrong with the others
            entries = {file.name: quiet.read_gateway(file) for file in others if file.name not in entries} | entries
        registry = Registry.of(entries.values(), self.config or SiteConfig(), tokens=self._read_tokens(tokens, entries))
        self.problems += (problem for entry in asked for problem in registry.entries[entry.name].problems)
        return registry

    def _read_tokens(self, files: Iterable[ConfigFile], entries: Mapping[str, Entry]) -> list[TokenEntry]:
        read = {file.file: (file.name, self.read_token(file)) for file in files}
        among = list(_problems_among(self.tokens.values(), (), entries))
        self.problems += (problem for _, problem in among)
        bad = {token.name for token, problem in among if has_errors([problem])}
        return [
            TokenEntry(name, State.REJECTED) if token is None or name in bad else TokenEntry(name, State.OK, token)
            for name, token in read.values()
        ]

    def _load(self, file: ConfigFile, *, private: bool = False) -> Source:
        source = self.sources[file.file] = load(file.data, file.file, private=private)
        return source

    @property
    def found(self) -> tuple[Problem, ...]:
        """The findings, each once, ordered by place."""
        return tuple(sorted(set(self.problems), key=lambda problem: problem.sort_key))


@dataclass(frozen=True, slots=True)
class _Checked:
    """What is kept of a gateway file: the findings, its text where there are some, and whether it names others."""

    file: str
    problems: tuple[Problem, ...]
    source: Source | None
    failover: bool


@dataclass(frozen=True, slots=True)
class _CheckedToken:
    """The same of a token file, and the token that it makes by itself."""

    file: ConfigFile
    problems: tuple[Problem, ...]
    source: Source | None
    token: OtpToken | None


class _Members(Mapping[str, Entry]):
    """Gateways by name, each compiled when a failover leads to it."""

    def __init__(self, reading: Reading, files: Mapping[str, ConfigFile]) -> None:
        self._reading = replace(reading, sources={}, entries={}, problems=[])  # nobody asked what is wrong with these
        self.files = files

    def __getitem__(self, name: str) -> Entry:
        file = self.files[name]
        return self._reading.entries.get(file.file) or self._reading.read_gateway(file)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def problems(self, file: ConfigFile) -> Iterator[Problem]:
        """What is wrong with the gateways that the failover of this file names."""
        failover = self._reading.read_gateway(file).gateway
        return reference_problems(failover, self) if isinstance(failover, Failover) else iter(())


def _compiled(name: str, source: Source, site: Site, *, resolve: bool) -> tuple[Served | None, tuple[Problem, ...]]:
    return _guarded(source, lambda: compile_gateway(name, source, site, resolve=resolve))


def _guarded(
    source: Source, compile_it: Callable[[], tuple[_V | None, tuple[Problem, ...]]]
) -> tuple[_V | None, tuple[Problem, ...]]:
    try:
        return compile_it()
    except Exception as error:  # noqa: BLE001 - what nobody foresaw in one file must not hide the findings of others
        return None, (unforeseen_problem(source.file, error),)


def check(paths: Sequence[Path], config: Path, *, resolve: bool) -> tuple[Reading, int]:
    """Compile what these paths name, or the configuration directory; also tells how many files were looked at.

    Of a gateway file nothing is kept but what was found in it: memory does not grow with the compiled gateways.
    """
    reading, seen, beside = _begun(paths, config, resolve=resolve)
    files = {file.file: file for file in seen.gateways}
    members = _Members(reading, {file.name: file for file in (*beside.gateways, *seen.gateways)})
    for found in on_all_cores(reading.checked, seen.gateways):
        reading.problems += found.problems
        if found.source is not None:
            reading.sources[found.file] = found.source
        if found.failover:
            reading.problems += members.problems(files[found.file])
    _check_tokens(reading, seen, beside, members)
    asked = {file.name for file in seen.gateways}
    alike = same_ids({name: file.file for name, file in members.files.items()})
    reading.problems += (problem for name, problem in alike if name in asked)
    reading.problems += (*seen.problems, *seen.empty)
    others = {file.file for file in (*seen.sites, *seen.tokens)} | {fault.file for fault in seen.problems}
    return reading, len(files.keys() | others)


def _check_tokens(reading: Reading, seen: Look, beside: Look, members: _Members) -> None:
    """Find what is wrong with tokens, by themselves and among the others."""
    checked = {found.file.file: found for found in on_all_cores(reading.checked_token, seen.tokens)}
    for file, found in checked.items():
        reading.problems += found.problems
        if found.source is not None:
            reading.sources[file] = found.source
    tokens = [found.token for found in checked.values() if found.token is not None]
    names = {file.name for file in seen.tokens}
    unasked = [file for file in beside.tokens if file.name not in names] if tokens else []
    others = [found.token for found in on_all_cores(reading.checked_token, unasked) if found.token is not None]
    for _, problem in _problems_among(tokens, others, members):
        of = checked[problem.file].file
        reading.sources.setdefault(of.file, replace(load(of.data, of.file, private=True), data=None))
        reading.problems.append(problem)


def _problems_among(
    tokens: Iterable[OtpToken], others: Iterable[OtpToken], entries: Mapping[str, Entry]
) -> Iterator[tuple[OtpToken, Problem]]:
    """What is wrong with tokens among these gateways and among each other; nobody asked about the others."""
    asked = list(tokens)
    for token in asked:
        yield from ((token, problem) for problem in gateway_problems(token, entries))
    ours = set(map(id, asked))
    yield from (found for found in user_problems([*asked, *others]) if id(found[0]) in ours)


def compiled(
    paths: Sequence[Path], config: Path, *, resolve: bool = False, tokens: bool = False
) -> tuple[Reading, Look, Registry]:
    """What these paths name, or the configuration directory, compiled: the findings, the files, the gateways.

    Among the gateways are those beside them, where a failover may refer to them. `tokens`: they are compiled, too.
    """
    reading, seen, beside = _begun(paths, config, resolve=resolve)
    asked = [reading.read_gateway(file) for file in seen.gateways]
    registry = reading.registry(asked, beside.gateways, seen.tokens if tokens else ())
    reading.problems += seen.problems
    return reading, seen, registry


def _begun(paths: Sequence[Path], config: Path, *, resolve: bool) -> tuple[Reading, Look, Look]:
    """A reading for which smsgwd.yaml was compiled, the files to read, and those beside them."""
    beside = look(config)
    seen = read_paths(paths) if paths else beside
    reading = Reading(config, resolve)
    if not seen.sites:
        reading.config = _site_beside(beside, resolve=resolve)
    for file in seen.sites:
        reading.read_site(file)
    return reading, seen, beside


def _site_beside(beside: Look, *, resolve: bool) -> SiteConfig | None:
    """What gateways may refer to of a smsgwd.yaml that nobody asked to check: its findings are not told."""
    reading = Reading(beside.directory, resolve)
    for file in beside.sites:
        reading.read_site(file)
    return reading.config


def registry_of(config: Path, name: str) -> tuple[Registry, Reading]:
    """One gateway of the configuration, compiled without secrets, and those that it refers to.

    Raises Failure when there is no such configuration or gateway.
    """
    seen = look(config)
    files = [file for file in seen.gateways if file.name == name]
    reading = Reading(config, problems=[fault.problem for fault in seen.faults if name and fault.name == name])
    if not files and not reading.problems:
        raise Failure(_no_gateway(seen, config, name))
    for site in seen.sites:
        reading.read_site(site)
    return reading.registry([reading.read_gateway(file) for file in files], seen.gateways), reading


def _no_gateway(seen: Look, config: Path, name: str) -> str:
    if not seen.present or not seen.gateways_present:
        reasons = [_reason(problem) for problem in seen.problems]
        return "; ".join(reasons) or f"{config} has no folder {GATEWAYS}"
    close = get_close_matches(name, [file.name for file in seen.gateways], 1)
    mend = f"; did you mean {close[0]}?" if close else ""
    return f"there is no gateway {name!r} in {config / GATEWAYS}{mend}"


def _reason(problem: Problem) -> str:
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.file}: {problem.message}{hint}"
