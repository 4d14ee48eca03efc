"""The gateways that serve, as one immutable snapshot: reload builds a new one and swaps one reference."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from smsgwd import msisdn
from smsgwd.allowance import UNLIMITED, Limits
from smsgwd.certificates import Certificate
from smsgwd.errors import Problem, RequestError, Severity
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.pin import PinHash
from smsgwd.providers._base import Provider, Site
from smsgwd.secret import Secret
from smsgwd.templates import Template
from smsgwd.units import Pace


class State(StrEnum):
    """How a gateway or a token stands."""

    OK = "ok"
    STALE = "stale"  # its file does not compile now; the version that did goes on serving
    REJECTED = "rejected"  # its file does not compile, and no earlier version is known
    DISABLED = "disabled"  # enabled: false


@dataclass(frozen=True, slots=True)
class Retry:
    """When the same gateway is tried again. `wait_s` is the first wait, in seconds; each further is twice as long."""

    attempts: int = 3
    wait_s: float = 0.2
    on_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """What a template variable may hold. `charset` is digits, gsm7 or any; `max_length` is in characters."""

    max_length: int | None = None
    charset: str = "any"


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A message that callers name."""

    template: Template
    variables: Mapping[str, Variable]

    @property
    def one_time(self) -> bool:
        """Whether it is for one-time passwords: it uses `otp`, which a plain send does not have."""
        return "otp" in self.template.uses


class Usage:
    """Counts the sends that run on one version of a gateway, so that it is closed after the last of them."""

    __slots__ = ("_held", "_idle", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._held = 0
        self._idle: asyncio.Event | None = None

    def __enter__(self) -> None:
        self.in_flight += 1
        self._held += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.in_flight -= 1
        self._release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep this version from being closed, for a send that may yet come to it."""
        self._held += 1
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self._held -= 1
        if self._idle is not None and not self._held:
            self._idle.set()

    async def idle(self) -> None:
        """Returns when no send runs on this version any more, or may."""
        if self._held:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()


FAULTS_TO_REST = 5  # in a row; then a failover passes the gateway over
REST_S = 30.0
_FAULTS = {Reason.AUTH, Reason.CONFIG, Reason.INTERNAL, Reason.PROVIDER, Reason.TIMEOUT, Reason.UNREACHABLE}


class Breaker:
    """Counts the faults of a gateway in a row: after `FAULTS_TO_REST` it rests for `REST_S` seconds.

    Then one send at a time probes it. Only a failover asks; whoever names the gateway itself gets it. `now` is a time
    in seconds, on any one clock.
    """

    __slots__ = ("_probing", "_rests_until", "faults")

    def __init__(self) -> None:
        self.faults = 0
        self._rests_until = 0.0
        self._probing = False

    def admits(self, now: float) -> bool:
        """Whether a send may try this gateway; after a rest the one that is told so is the probe."""
        if self.closed:
            return True
        if self._probing or now < self._rests_until:
            return False
        self._probing = True
        return True

    def note(self, outcome: Outcome, now: float, *, asked: bool = True) -> None:
        """Learn how a send ended; `asked`: it had to be admitted. A message that was refused says that it works."""
        if asked:
            self._probing = False
        if not outcome.attempts:
            return
        if outcome.kind in {Kind.ACCEPTED, Kind.REJECTED}:
            self.faults = 0
        elif outcome.reason in _FAULTS:
            self.faults += 1
            self._rests_until = now + REST_S

    @property
    def closed(self) -> bool:
        """Whether sends pass."""
        return self.faults < FAULTS_TO_REST

    @property
    def state(self) -> str:
        """`closed`, `open` (it rests), or `half-open` (one send probes it)."""
        if self.closed:
            return "closed"
        return "half-open" if self._probing else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """What gateways and failovers share. Compiled, nothing left to parse."""

    name: str
    provider_name: str
    phone: PhoneRules
    file: str = ""  # as findings call it
    sender: str = ""
    enabled: bool = True
    disabled_at: str = ""  # FILE:LINE:COLUMN of what says so
    description: str = ""
    deadline_s: float = 30.0
    templates: Mapping[str, TextTemplate] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()  # declared by some template of the file
    limits: Limits = UNLIMITED
    secrets: tuple[Secret, ...] = ()
    digest: str = ""  # of what the file says
    fingerprint: str = ""  # of all that shaped it, secret values included; equal: the running version may stay
    files: frozenset[Path] = (
        frozenset()
    )  # read beside the gateway file: secrets, certificates; the reload looks at them
    usage: Usage = field(default_factory=Usage)

    async def start(self) -> None:
        """Begin what is kept open between sends; called when this version begins to serve."""

    def status(self) -> dict[str, Any]:
        """Further members for `/v1/gateways/NAME`."""
        return {}

    async def close(self) -> None:
        """End what is kept open. Called once, after the last send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway(_Named):
    """One way out."""

    provider: Provider[Any, Any]
    retry: Retry = Retry()
    max_segments: int | None = None
    masked: "Callable[[], Gateway] | None" = None  # the same gateway with each secret `***`: what `render` shows
    breaker: Breaker = field(default_factory=Breaker)

    def as_shown(self) -> "Gateway":
        """This gateway without its secrets, to render for people."""
        return self if self.masked is None else self.masked()

    async def start(self) -> None:
        """Start the provider."""
        await self.provider.start()

    def status(self) -> dict[str, Any]:
        """What the provider tells, and whether failovers pass this gateway over."""
        resting = {} if self.breaker.state == "closed" else {"breaker": self.breaker.state}
        return {**self.provider.status(), **resting}

    async def close(self) -> None:
        """Close the provider."""
        await self.provider.close()


@dataclass(frozen=True, slots=True)
class Route:
    """Which gateways a destination takes: numbers that begin with `prefix` (`+49`), or of one of the countries."""

    gateways: tuple[str, ...]
    prefix: str = ""
    countries: frozenset[str] = frozenset()  # two capital letters each (ISO 3166-1)

    def takes(self, e164: str) -> bool:
        """Whether it is for this number; where both are given, both have to fit."""
        if not e164.startswith(self.prefix):
            return False
        return not self.countries or msisdn.region_of(e164) in self.countries


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a file names another gateway."""

    name: str
    place: Problem  # stands at the name; what is wrong is filled in
    quiet: bool = False  # a comment says that it may be unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover(_Named):
    """A choice among gateways: the first route that takes the number, else `gateways`, one after the other."""

    routes: tuple[Route, ...] = ()
    gateways: tuple[str, ...] = ()
    on: frozenset[Kind] = frozenset({Kind.UNSENT})  # the outcomes after which the next one is tried
    references: tuple[Reference, ...] = ()

    def choices(self, e164: str | None) -> tuple[str, ...]:
        """The gateways for this number, in order; None where it could not be read or is a short code."""
        if e164 is not None:
            for route in self.routes:
                if route.takes(e164):
                    return route.gateways
        return self.gateways


Served = Gateway | Failover  # what a caller can name


@dataclass(frozen=True, slots=True)
class Entry:
    """One gateway by name, with its state and what is wrong with its file."""

    name: str
    state: State
    gateway: Served | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def file(self) -> str:
        """Its file, as findings call it; empty where nothing tells."""
        if self.gateway is not None:
            return self.gateway.file
        return self.problems[0].file if self.problems else ""

    @classmethod
    def of(cls, name: str, served: Served | None, problems: tuple[Problem, ...] = ()) -> "Entry":
        """The entry of a file that was compiled without regard to an earlier version."""
        if served is None:
            return cls(name, State.REJECTED, None, problems)
        return cls(name, State.OK if served.enabled else State.DISABLED, served, problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpToken:
    """One file of tokens.d, compiled: who gets one-time passwords, where they go, and the PIN of the first step."""

    name: str  # the stem of its file
    user: str
    phone: str = field(repr=False)
    gateway: str
    template: str | None = None
    pin: PinHash = field(repr=False)
    enabled: bool = True
    digits: int = 6
    ttl_s: int = 300
    digest: str = ""  # of what the file says; tells neither number nor PIN
    # where its keys stand: what is wrong with them among other files is filled in
    places: Mapping[str, Problem] = field(default_factory=dict, repr=False, compare=False)
    quiet: bool = False  # a comment says that its gateway may be unavailable


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One file of tokens.d by its stem, with its state and what is wrong with it."""

    name: str
    state: State
    token: OtpToken | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """`socket` of smsgwd.yaml. `path` None: where `socket_path` says for this user."""

    path: str | None = None
    mode: int = 0o660
    group: str | None = None  # None: `smsgwd`, if it exists


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """One of `listen`: an address for TCP clients. `certificate` None: without TLS, or there is none to be used."""

    host: str
    port: int
    tls: bool = False
    certificate: Certificate | None = None
    allow: frozenset[str] = frozenset()  # what whoever comes there may do

    @property
    def address(self) -> str:
        """Host and port as one text: the name of the listener."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule: any of these callers may take these actions on gateways that match one of the globs.

    `text` False: by this rule they send named templates alone.
    `limits` are on each caller by itself. `key` says who the rule is for, so that counts outlive its other changes.
    """

    users: tuple[str | int, ...] = ()
    groups: tuple[str | int, ...] = ()
    allow: frozenset[str] = frozenset()
    gateways: tuple[str, ...] = ("*",)
    text: bool = True
    limits: Limits = UNLIMITED
    number: int = 0  # among the rules that are for the same
    key: str = field(init=False)

    def __post_init__(self) -> None:
        """Make the key, once: it is asked for with every message."""
        object.__setattr__(self, "key", f"{digest_of(self.is_for)[-16:]}.{self.number}")

    @property
    def is_for(self) -> tuple[tuple[str, ...], ...]:
        """Who it is for, and which gateways; in whatever order that was written."""
        return tuple(tuple(sorted({str(one) for one in part})) for part in (self.users, self.groups, self.gateways))


_OF_CHALLENGES = Limits(per_recipient=Pace(5, 600.0, "5/10m"))


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A redis that instances share: at a host, or at a Unix socket (`path`). What it prints names no user."""

    host: str = ""
    port: int = 6379
    path: str = ""
    database: int = 0
    tls: bool = False
    username: str = field(default="", repr=False)
    password: Secret | None = None

    @property
    def name(self) -> str:
        """What a log calls it: its URL without user and password."""
        if self.path:
            return f"unix://{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class OtpSettings:
    """`otp` of smsgwd.yaml. Each key is base64 of 32 octets; the first one seals, each opens."""

    keys: tuple[Secret, ...] = ()
    attempts: int = 3  # wrong codes that one challenge takes
    limits: Limits = _OF_CHALLENGES  # on challenges, beside all other limits
    storage: RedisServer | None = None  # None: the memory
    fail_open: bool = False  # without the storage the counts of this instance alone decide


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`log` of smsgwd.yaml."""

    format: str = "json"
    level: str = "info"
    privacy: bool = True

    @property
    def shows_messages(self) -> bool:
        """The debug switch: message and answer are logged (secrets are not)."""
        return not self.privacy and self.level == "debug"


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """smsgwd.yaml, compiled. `site` is the part that gateways use."""

    site: Site = field(default_factory=Site)
    socket: SocketSettings = SocketSettings()
    listen: tuple[ListenSettings, ...] = ()
    access: tuple[AccessRule, ...] = ()
    tokens: Mapping[str, bytes] = field(default_factory=dict)  # the digests of access tokens, by name
    limits: Limits = UNLIMITED  # of all gateways together
    otp: OtpSettings = OtpSettings()
    log: LogSettings = LogSettings()
    writable: bool = False  # gateway files may be changed over the socket
    audit_file: Path | None = None  # takes a line for each such change, beside the log

    def limits_of_rule(self, key: str) -> Limits | None:
        """The limits of the access rule with this key; None where there is no such rule."""
        return next((rule.limits for rule in self.access if rule.key == key), None)


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is served at one moment. `problems` are all findings, of gateways and of the rest."""

    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    config: SiteConfig = field(default_factory=SiteConfig)
    problems: tuple[Problem, ...] = ()
    generation: int = 0
    digest: str = ""
    tokens: Mapping[str, TokenEntry] = field(default_factory=lambda: MappingProxyType({}))
    _by_user: Mapping[str, OtpToken] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # one that serves by what its file says now comes before one that is left of an earlier version
        ordered = sorted(self.tokens.values(), key=lambda entry: entry.state is not State.STALE)
        by_user = {entry.token.user: entry.token for entry in ordered if entry.token is not None}
        object.__setattr__(self, "_by_user", MappingProxyType(by_user))

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        config: SiteConfig,
        problems: Iterable[Problem] = (),
        generation: int = 1,
        tokens: Iterable[TokenEntry] = (),
    ) -> "Registry":
        """The snapshot of these entries. `problems` are those that belong to no entry."""
        by_name = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
        by_name = _with_same_ids(with_references(by_name))
        by_stem = {entry.name: entry for entry in sorted(tokens, key=lambda entry: entry.name)}
        found = {problem for entry in by_name.values() for problem in entry.problems}
        found |= {problem for entry in by_stem.values() for problem in entry.problems}
        return cls(
            entries=MappingProxyType(by_name),
            config=config,
            problems=tuple(sorted(found | {*problems}, key=lambda problem: problem.sort_key)),
            generation=generation,
            digest=digest_of_set(by_name.values(), by_stem.values()),
            tokens=MappingProxyType(by_stem),
        )

    def token_of(self, user: str) -> OtpToken | None:
        """The token that serves for a user, whose name is taken exactly as written; also one that is not enabled."""
        return self._by_user.get(user)

    def entry(self, name: str) -> Entry:
        """The entry of that name. Raises RequestError unknown-gateway."""
        entry = self.entries.get(name)
        if entry is None:
            raise RequestError("unknown-gateway", "there is no gateway of this name")
        return entry

    def renderable(self, name: str) -> Served:
        """The gateway, sending or not. Raises RequestError when there is none that compiles."""
        entry = self.entry(name)
        if entry.gateway is None:
            raise _unavailable(entry)
        return entry.gateway

    def sendable(self, name: str) -> Served:
        """The gateway, ready to send. Raises RequestError unknown-gateway or gateway-unavailable."""
        gateway = self.renderable(name)
        if not gateway.enabled:
            detail = f"the gateway is disabled: {gateway.disabled_at}: enabled: false"
            raise RequestError("gateway-unavailable", detail, {"state": "disabled"})
        return gateway

    def reach(self, served: Served) -> Iterator[Served]:
        """This one, and all that a send to it may come to."""
        seen, waiting = set[str](), [served]
        while waiting:
            one = waiting.pop()
            seen.add(one.name)
            yield one
            names = {reference.name for reference in one.references} if isinstance(one, Failover) else set()
            entries = [self.entries[name] for name in names - seen if name in self.entries]
            waiting += [entry.gateway for entry in entries if entry.gateway is not None]

    def counts(self) -> dict[str, int]:
        """How many gateways are in each state."""
        return _counted(entry.state for entry in self.entries.values())

    def token_counts(self) -> dict[str, int]:
        """How many tokens are in each state."""
        return _counted(entry.state for entry in self.tokens.values())


def _counted(states: Iterable[State]) -> dict[str, int]:
    counts = dict.fromkeys(map(str, State), 0)
    for state in states:
        counts[str(state)] += 1
    return counts


def _unavailable(entry: Entry) -> RequestError:
    first = next(iter(entry.problems), None)
    reason = f": {first}" if first else ""
    members = {"state": str(entry.state), "problems": [problem.as_dict() for problem in entry.problems]}
    return RequestError("gateway-unavailable", f"the gateway cannot be used{reason}", members)


def gateway_id(name: str) -> int:
    """The number that privacyIDEA's clients call a gateway by: the same for a name, always and everywhere.

    31 bits, as their databases have for it, and never 0.
    """
    return (int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1) or 1


def same_ids(files: Mapping[str, str]) -> Iterator[tuple[str, Problem]]:
    """What there is to say of gateways with the same id, by their names. `files` are the files of all by name."""
    by_id: dict[int, list[str]] = {}
    for name in files:
        by_id.setdefault(gateway_id(name), []).append(name)
    for number, names in by_id.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(f"`{other}`" for other in names if other != name)
            message = f"privacyIDEA's clients cannot tell it from {others}: both have the id {number}"
            hint = "give one of them another name"
            yield name, Problem(files[name], 1, 1, "same-id", message, hint, severity=Severity.WARNING)


def _with_same_ids(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries, those with the same id with a warning more."""
    found = dict(entries)
    for name, problem in same_ids({name: entry.file for name, entry in entries.items()}):
        found[name] = replace(found[name], problems=(*found[name].problems, problem))
    return found


def with_references(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries, with what is wrong with their references to each other added to their problems."""
    return {
        name: replace(entry, problems=(*entry.problems, *reference_problems(entry.gateway, entries)))
        if isinstance(entry.gateway, Failover)
        else entry
        for name, entry in entries.items()
    }


def reference_problems(failover: Failover, entries: Mapping[str, Entry]) -> Iterator[Problem]:
    """What is wrong with the gateways that a failover names, among these entries."""
    for reference in failover.references:
        target = entries.get(reference.name)
        if target is None:
            near = get_close_matches(reference.name, entries, 1)
            hint = f"did you mean `{near[0]}`?" if near else "it is skipped until there is one"
            message = f"there is no gateway `{reference.name}`"
            yield _wrong(reference, "unknown-gateway", message, hint)
        elif _leads_to(reference.name, failover.name, entries):
            yield _wrong(reference, "failover-cycle", f"`{reference.name}` leads back to `{failover.name}`")
        elif failover.enabled and not reference.quiet and (target.gateway is None or not target.gateway.enabled):
            state = "has errors" if target.gateway is None else "is disabled"
            message = f"the gateway `{reference.name}` {state}: it is skipped"
            yield replace(reference.place, code="unavailable-gateway", message=message, severity=Severity.WARNING)


def _wrong(reference: Reference, code: str, message: str, hint: str = "") -> Problem:
    return replace(reference.place, code=code, message=message, hint=hint, severity=Severity.ERROR)


def _leads_to(start: str, goal: str, entries: Mapping[str, Entry]) -> bool:
    """Whether a failover comes back to itself by this member."""
    seen, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        entry = entries.get(name)
        if name not in seen and entry is not None and isinstance(entry.gateway, Failover):
            waiting += (reference.name for reference in entry.gateway.references)
        seen.add(name)
    return False


def digest_of(value: Any) -> str:
    """The digest of a JSON value: `sha256:` and the hash of its canonical text (sorted keys, no blanks, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_set(entries: Iterable[Entry], tokens: Iterable[TokenEntry] = ()) -> str:
    """The digest of a configuration: of the pairs of name and digest that are served."""
    gateways = {entry.name: entry.gateway.digest for entry in entries if entry.gateway is not None}
    return digest_of(pairs(gateways, {entry.name: entry.token.digest for entry in tokens if entry.token is not None}))


def pairs(gateways: Mapping[str, str], tokens: Mapping[str, str]) -> dict[str, str]:
    """What the digest of a configuration covers, from the digests by name; no gateway is called like a token here."""
    return {**gateways, **{f"tokens.d/{name}": digest for name, digest in tokens.items()}}
