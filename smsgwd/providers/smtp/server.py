"""A mail server as smsgwd.yaml (`smtp_servers`) or a gateway file names it."""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from smsgwd.errors import Severity
from smsgwd.providers._base import Bench, KeyPath
from smsgwd.providers._net.tls import load_system_authorities
from smsgwd.providers.smtp.mail import read_address
from smsgwd.secret import MASKED, Secret
from smsgwd.templates import Scope, compile_template
from smsgwd.units import parse_duration

AT: KeyPath = ("settings", "server")
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
_STAND_IN = {"host": "localhost", "from": "nobody@localhost"}


@dataclass(frozen=True)
class Server:
    """Where mails go, and as whom. `timeout_s` is in seconds, for one step."""

    host: str
    port: int
    tls: str  # none | starttls | tls
    sender: str
    verify: bool = True
    ca_file: Path | None = None
    username: str = ""
    password: Secret = MASKED
    timeout_s: float = 10.0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @cached_property
    def tls_context(self) -> ssl.SSLContext:
        """What TLS trusts: `ca_file` alone, else the system's authorities. Raises OSError, ssl.SSLError among it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_file is None:
            load_system_authorities(context)
        else:
            context.load_verify_locations(cafile=self.ca_file)
        return context


def server_of(setting: str | Mapping[str, Any], bench: Bench) -> Server:
    """The server that `settings.server` names or is; a stand-in where that has faults."""
    if isinstance(setting, str):
        entry = _named(setting, bench)
        username, password = (_of_site(key, entry, bench) for key in ("username", "password"))
    else:
        entry = setting
        username, password = (_of_file(key, entry, bench) for key in ("username", "password"))
    server = _read(entry, username, Secret(password), bench)
    _look_at(server, bench)
    if bench.resolved and server.username:
        _hide(server, bench)
    return server


def _named(name: str, bench: Bench) -> Mapping[str, Any]:
    known = bench.site.smtp_servers
    if name in known:
        return known[name]
    nearest = get_close_matches(name, known, 1)
    hint = (
        f"did you mean {nearest[0]!r}?"
        if nearest
        else "name one of `smtp_servers` in smsgwd.yaml, or write its keys here"
    )
    bench.problem(AT, "unknown-smtp-server", f"smsgwd.yaml has no SMTP server {name!r}", hint)
    return _STAND_IN


def _of_site(key: str, entry: Mapping[str, Any], bench: Bench) -> str:
    """A text of smsgwd.yaml, whose secrets are its own; what is wrong with it is told there."""
    secrets = bench.site.secrets
    template, _ = compile_template(entry.get(key, ""), Scope(frozenset(), secrets))
    if bench.resolved and any(secrets[name.removeprefix("secrets.")] is MASKED for name in template.uses):
        bench.problem(AT, "missing-secret", f"the {key} of this server cannot be had: see smsgwd.yaml")
    return template.render({})


def _of_file(key: str, entry: Mapping[str, Any], bench: Bench) -> str:
    """A text of the gateway file."""
    template = bench.template(entry.get(key, ""), (*AT, key))
    if not template.constant:
        bench.problem((*AT, key), "not-constant", f"`{key}` cannot depend on the message", "use secrets alone")
        return ""
    return template.render({})


def _read(entry: Mapping[str, Any], username: str, password: Secret, bench: Bench) -> Server:
    tls = entry.get("tls", "starttls" if username else "none")
    return Server(
        host=entry["host"],
        port=entry.get("port", _usual_port(tls, username)),
        tls=tls,
        sender=read_address(entry["from"]) or entry["from"],
        verify=entry.get("verify", True),
        ca_file=bench.path(entry["ca_file"]) if "ca_file" in entry else None,
        username=username,
        password=password,
        timeout_s=_seconds(entry.get("timeout", "10s"), bench),
    )


def _usual_port(tls: str, username: str) -> int:
    """465 for TLS from the start (RFC 8314), 587 for who logs in (RFC 6409), else 25 (RFC 5321)."""
    if tls == "tls":
        return 465
    return 587 if username else 25


def _look_at(server: Server, bench: Bench) -> None:
    if read_address(server.sender) is None:
        bench.problem((*AT, "from"), "bad-address", "`from` is no mail address", "one address alone: sms@example.com")
    if server.tls == "none" and server.username and server.host not in _THIS_MACHINE:
        told = "the password crosses the network in the clear"
        bench.problem(AT, "clear-password", told, "write tls: starttls", severity=Severity.WARNING)
    if server.ca_file and bench.resolved:
        try:
            _ = server.tls_context
        except OSError as error:
            why = "no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
            bench.problem((*AT, "ca_file"), "bad-file", f"{server.ca_file}: {why}")


def _hide(server: Server, bench: Bench) -> None:
    """A server may echo the login as it went over the wire (RFC 4616, and the mechanism LOGIN)."""
    password = server.password.reveal()
    bench.hide(password)
    for text in (password, f"\0{server.username}\0{password}"):
        bench.hide(base64.b64encode(text.encode()).decode())


def _seconds(text: str, bench: Bench) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        bench.problem((*AT, "timeout"), "bad-duration", f"not a duration: {error}")
        return 10.0
