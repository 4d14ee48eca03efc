"""The seam of HTTP: what goes over the wire, what comes back, and what it means when nothing does.

Two engines stand behind it (`engine_requests`, `engine_llhttp`). Both put the same octets on the wire and report the
same faults; the words for the faults are made here.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._net.tls import Tls
from smsgwd.units import Deadline

MAX_BODY_OCTETS = 64 * 1024  # of an answer; what lies beyond is cut
MAX_HEAD_OCTETS = 64 * 1024  # status line and header fields of an answer
IDLE_S = (
    4.0  # a kept connection rests no longer: many servers close after 5 s; a close that meets our write is `unknown`
)
MAX_IDLE_S = 30.0  # nor longer than this where the server says (`Keep-Alive: timeout=`) that it waits
_IDLE_MARGIN_S = 1.0  # the way of our request to the server
_KEEP_ALIVE = re.compile(r"timeout\s*=\s*(\d{1,5})", re.IGNORECASE | re.ASCII)
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})", re.ASCII)  # http.client's words
# Alerts by which a TLS 1.3 server ends the handshake after our first octets (RFC 8446, 4.4.2.4): it read no request.
_CLIENT_REFUSED = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)


_CLOSED_IN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_SYSTEM = ("builtins", "socket", "ssl")  # requests calls its exceptions OSError, too
_SPOKE_FIRST = "it closed the connection, or spoke, before the request"


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """A forward proxy, spoken to in plain HTTP: requests for http in absolute form, a CONNECT tunnel for https."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)  # value of Proxy-Authorization


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway's requests go. `host` is a name in ASCII (IDNA) or an address, an IPv6 one without brackets."""

    scheme: str  # http | https
    host: str
    port: int
    tls: Tls = field(default_factory=Tls)
    proxy: ProxySettings | None = None
    connect_timeout_s: float = 3.0
    total_timeout_s: float = 10.0

    @property
    def authority(self) -> str:
        """Host and port as the Host header says them: the port only when it is not the scheme's own (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority."""
        return f"{self.scheme}://{self.authority}"

    @property
    def peer(self) -> tuple[str, int]:
        """The address to connect to: the proxy's, or the host's."""
        return (self.proxy.host, self.proxy.port) if self.proxy else (self.host, self.port)

    @property
    def forwarded(self) -> bool:
        """Whether a proxy reads the request itself (http), instead of a tunnel through it (https)."""
        return self.proxy is not None and self.scheme == "http"


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it goes over the wire. `headers` is the whole block, Host and Content-Length included, in order."""

    method: str
    target: str = field(repr=False)  # origin form: the path, and the query after a `?`
    headers: tuple[tuple[str, bytes], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class WireResponse:
    """An answer, read to its end or, when `truncated`, up to 64 KiB of its body."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    truncated: bool = False

    def header(self, name: str) -> str | None:
        """The value of the first field of that name."""
        return find_header(self.headers, name)


class Engine(Protocol):
    """An HTTP/1.1 client for one endpoint. It sends each request once, follows no redirect, reads no environment."""

    async def exchange(self, request: WireRequest, deadline: Deadline) -> WireResponse:
        """Send it and read the answer. Raises SubmitError when there is none by the deadline or the total timeout."""

    async def close(self) -> None:
        """Close what is kept open."""


def find_header(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The value of the first field of that name, whatever the case of its letters."""
    name = name.lower()
    return next((value for key, value in headers if key.lower() == name), None)


def idle_limit(keep_alive: str | None) -> float:
    """Seconds that a connection may rest, given the Keep-Alive header of the last answer."""
    match = _KEEP_ALIVE.search(keep_alive or "")
    return min(max(int(match[1]) - _IDLE_MARGIN_S, 0.0), MAX_IDLE_S) if match else IDLE_S


def too_late(*, written: bool) -> SubmitError:
    """The deadline came: `unknown` when the request may have left, else `unsent`."""
    if written:
        return SubmitError(Reason.TIMEOUT, "no complete answer within the time limit", handed_over=True)
    return SubmitError(Reason.TIMEOUT, "the time limit came before the request could be sent", handed_over=False)


def all_busy(connections: int) -> SubmitError:
    """Each connection of the gateway was in use until the deadline."""
    return SubmitError(
        Reason.TIMEOUT, f"all {connections} connections were busy until the time limit", handed_over=False
    )


def unreachable(endpoint: Endpoint, why: str) -> SubmitError:
    """No connection came about, or it ended before the request was written."""
    host, port = endpoint.peer
    via = "the proxy " if endpoint.proxy else ""
    return SubmitError(Reason.UNREACHABLE, f"cannot connect to {via}{host}:{port}: {why}", handed_over=False)


def tunnel_refused(status: int) -> SubmitError:
    """The proxy answered CONNECT with that status."""
    detail = f"the proxy refused the tunnel with HTTP {status}"
    if status == 407:
        return SubmitError(Reason.AUTH, detail, handed_over=False, retryable=False)
    if status < 500:
        return SubmitError(Reason.CONFIG, detail, handed_over=False, retryable=False)
    return SubmitError(Reason.UNREACHABLE, detail, handed_over=False)


def not_connected(error: BaseException, endpoint: Endpoint) -> SubmitError:
    """What an exception means that came before the first octet of the request was written."""
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CLOSED_IN_TLS):
            return _tls_failed(cause, endpoint)
        if match := _TUNNEL_REFUSED.search(str(cause)):
            return tunnel_refused(int(match[1]))
    system_faults = [cause for cause in causes if isinstance(cause, OSError) and type(cause).__module__ in _SYSTEM]
    return unreachable(endpoint, _words(system_faults[0], endpoint) if system_faults else _SPOKE_FIRST)


def no_answer(error: BaseException | None) -> SubmitError:
    """What it means that the connection broke, or talked nonsense, after the request was written."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and cause.reason in _CLIENT_REFUSED:
            detail = f"TLS: the server refused our client certificate ({_alert(cause)})"
            return SubmitError(Reason.CONFIG, detail, handed_over=False, retryable=False)
        if isinstance(cause, TimeoutError):
            return too_late(written=True)
    return SubmitError(Reason.PROVIDER, "the connection was lost before a complete answer", handed_over=True)


def spoke_first(endpoint: Endpoint) -> SubmitError:
    """A server that hangs up, or talks, before it was asked."""
    return unreachable(endpoint, _SPOKE_FIRST)


def not_http() -> SubmitError:
    """The answer cannot be read as HTTP/1."""
    return SubmitError(Reason.PROVIDER, "the answer is not valid HTTP", handed_over=True)


def _tls_failed(error: ssl.SSLError, endpoint: Endpoint) -> SubmitError:
    why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else _alert(error)
    detail = f"TLS to {endpoint.host}:{endpoint.port} failed: {why}"
    return SubmitError(Reason.CONFIG, detail, handed_over=False, retryable=False)


def _alert(error: ssl.SSLError) -> str:
    return (error.reason or "handshake failure").replace("_", " ").lower()


def _words(fault: OSError, endpoint: Endpoint) -> str:
    if isinstance(fault, socket.gaierror):
        return f"the name cannot be resolved ({fault.strerror})"
    if isinstance(fault, TimeoutError):
        return f"no connection within {endpoint.connect_timeout_s:g} s"
    if isinstance(fault, _CLOSED_IN_TLS) or not fault.errno:
        return "the connection was closed"
    return os.strerror(fault.errno).lower()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what is wrapped in it: as cause, as `reason` (urllib3) or as argument (requests)."""
    seen: list[BaseException] = []
    queue = [error] if error else []
    while queue and len(seen) < 20:
        current = queue.pop(0)
        if current in seen:
            continue
        seen.append(current)
        yield current
        # no __context__: that is whatever else was being dealt with at the time
        inner = (getattr(current, "reason", None), *current.args, current.__cause__)
        queue += [item for item in inner if isinstance(item, BaseException)]
