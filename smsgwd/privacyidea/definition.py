"""What privacyIDEA stores: gateway definitions and SMTP servers, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smsgwd.secret import Secret

CENSORED = "__CENSORED__"  # what privacyIDEA shows in the place of a secret value


@dataclass(frozen=True, slots=True)
class Definition:
    """One gateway as privacyIDEA stores it. `secret_options` and `secret_headers` name values that are secrets."""

    name: str
    module: str  # the dotted name of the class
    description: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_options: frozenset[str] = frozenset()
    secret_headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """One of privacyIDEA's central SMTP servers. `timeout` is in seconds, as text."""

    identifier: str
    server: str  # host, or host:port, which beats `port`
    port: str = ""
    username: str = ""
    password: str = ""
    sender: str = ""
    tls: bool = False  # STARTTLS
    timeout: str = ""


@dataclass(frozen=True, slots=True)
class ServerRef:
    """How a central SMTP server is called in `smtp_servers`; `sender` is empty for one that the source lacks."""

    name: str
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of a definition: the data of a gateway file (None: it has no counterpart) and its secrets.

    A secret that is None was censored: the file refers to it, and somebody still has to give it. `remarks` say what
    has no exact counterpart; none of them holds a value.
    """

    data: dict[str, Any] | None
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class NoCounterpartError(Exception):
    """A definition that cannot be a gateway of smsgwd; the text says why, without a value."""
