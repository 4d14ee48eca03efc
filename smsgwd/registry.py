"""The gateways that serve, as one immutable snapshot: reload builds a new one and swaps one reference."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from smsgwd.errors import Problem, RequestError
from smsgwd.msisdn import PhoneRules
from smsgwd.providers._base import Provider, Site
from smsgwd.secret import Secret
from smsgwd.templates import Template


class State(StrEnum):
    """How a gateway stands."""

    OK = "ok"
    STALE = "stale"  # its file does not compile now; the version that did goes on sending
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

    __slots__ = ("_idle", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._idle: asyncio.Event | None = None

    def __enter__(self) -> None:
        self.in_flight += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.in_flight -= 1
        if self._idle is not None and not self.in_flight:
            self._idle.set()

    async def idle(self) -> None:
        """Returns when no send runs on this version any more."""
        if self.in_flight:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()


@dataclass(frozen=True, slots=True)
class Gateway:
    """One compiled gateway: everything a send needs, nothing left to parse."""

    name: str
    provider_name: str
    provider: Provider[Any, Any]
    phone: PhoneRules
    sender: str = ""
    enabled: bool = True
    description: str = ""
    deadline_s: float = 30.0
    retry: Retry = Retry()
    max_segments: int | None = None
    templates: Mapping[str, TextTemplate] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()  # declared by some template of the file
    secrets: tuple[Secret, ...] = ()
    digest: str = ""  # of what the file says
    fingerprint: str = ""  # of all that shaped it, secret values included; equal: the running version may stay
    files: frozenset[Path] = (
        frozenset()
    )  # read beside the gateway file: secrets, certificates; the reload looks at them
    masked: "Callable[[], Gateway] | None" = None  # the same gateway with each secret `***`: what `render` shows
    usage: Usage = field(default_factory=Usage)

    def as_shown(self) -> "Gateway":
        """This gateway without its secrets, to render for people."""
        return self if self.masked is None else self.masked()


@dataclass(frozen=True, slots=True)
class Entry:
    """One gateway by name, with its state and what is wrong with its file."""

    name: str
    state: State
    gateway: Gateway | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """`socket` of smsgwd.yaml. `path` None: where INTERFACE says for this user."""

    path: str | None = None
    mode: int = 0o660
    group: str | None = None  # None: `smsgwd`, if it exists


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule: any of these callers may take these actions on gateways that match one of the globs."""

    users: tuple[str | int, ...] = ()
    groups: tuple[str | int, ...] = ()
    allow: frozenset[str] = frozenset()
    gateways: tuple[str, ...] = ("*",)


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
    access: tuple[AccessRule, ...] = ()
    log: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is served at one moment. `problems` are all findings, of gateways and of the rest."""

    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    config: SiteConfig = field(default_factory=SiteConfig)
    problems: tuple[Problem, ...] = ()
    generation: int = 0
    digest: str = ""

    @classmethod
    def of(
        cls, entries: Iterable[Entry], config: SiteConfig, problems: Iterable[Problem] = (), generation: int = 1
    ) -> "Registry":
        """The snapshot of these entries. `problems` are those that belong to no entry."""
        by_name = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
        found = [problem for entry in by_name.values() for problem in entry.problems]
        return cls(
            entries=MappingProxyType(by_name),
            config=config,
            problems=tuple(sorted({*found, *problems}, key=lambda problem: problem.sort_key)),
            generation=generation,
            digest=digest_of_set(by_name.values()),
        )

    def entry(self, name: str) -> Entry:
        """The entry of that name. Raises RequestError unknown-gateway."""
        entry = self.entries.get(name)
        if entry is None:
            raise RequestError("unknown-gateway", "there is no gateway of this name")
        return entry

    def renderable(self, name: str) -> Gateway:
        """The gateway, sending or not. Raises RequestError when there is none that compiles."""
        entry = self.entry(name)
        if entry.gateway is None:
            raise _unavailable(entry)
        return entry.gateway

    def sendable(self, name: str) -> Gateway:
        """The gateway, ready to send. Raises RequestError unknown-gateway or gateway-unavailable."""
        gateway = self.renderable(name)
        if not gateway.enabled:
            raise RequestError("gateway-unavailable", "the gateway is disabled (enabled: false)", {"state": "disabled"})
        return gateway

    def counts(self) -> dict[str, int]:
        """How many gateways are in each state."""
        counts = dict.fromkeys(map(str, State), 0)
        for entry in self.entries.values():
            counts[str(entry.state)] += 1
        return counts


def _unavailable(entry: Entry) -> RequestError:
    first = next(iter(entry.problems), None)
    reason = f": {first}" if first else ""
    members = {"state": str(entry.state), "problems": [problem.as_dict() for problem in entry.problems]}
    return RequestError("gateway-unavailable", f"the gateway's file does not compile{reason}", members)


def digest_of(value: Any) -> str:
    """The digest of a JSON value: `sha256:` and the hash of its canonical text (sorted keys, no blanks, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_set(entries: Iterable[Entry]) -> str:
    """The digest of a configuration: of the pairs of name and digest that are served."""
    return digest_of({entry.name: entry.gateway.digest for entry in entries if entry.gateway is not None})
