"""The TCP sockets of `listen`: those that we open ourselves, and those that we were given."""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from smsgwd.registry import ListenSettings
from smsgwd.server.listen import BACKLOG, Listener, ListenError

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def open_tcp(settings: ListenSettings) -> list[Listener]:
    """Sockets that listen there: one, or one for each address that a name has. Raises ListenError."""
    opened: list[Listener] = []
    try:
        for family, address in _addresses(settings):
            with suppress(_NotHereError):
                opened.append(Listener(_bound(settings, family, address), name=settings.address, tls=settings.tls))
    except ListenError:
        for listener in opened:
            listener.close()
        raise
    if not opened:
        raise ListenError(f"{settings.address}: this machine has no such address")
    return opened


class _NotHereError(Exception):
    """An address of a name that this machine does not have; another one will do."""


def _addresses(settings: ListenSettings) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not the name of a host"
        raise ListenError(f"{settings.address}: {why}") from None
    return [(family, address) for family, _, _, _, address in found]


def _bound(settings: ListenSettings, family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier process may linger
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] is not 0.0.0.0 as well
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        if error.errno in _NOT_HERE:
            raise _NotHereError from None
        raise ListenError(f"{settings.address}{_why(error)}") from None
    return opened


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return " is in use: something listens there already"
    if error.errno == errno.EACCES:
        return ": only root may listen on this port: let systemd open it (ListenStream= in smsgwd.socket)"
    return f": {error.strerror}"


def named(inherited: socket.socket, listen: Iterable[ListenSettings]) -> Listener:
    """A socket that we were given, as `listen` names it; without TLS and without a name where it does not."""
    found = Listener(inherited)
    if found.local:
        return found
    host, port = inherited.getsockname()[:2]
    for settings in listen:
        if port == settings.port and ipaddress.ip_address(host) in _numbers(settings):
            return Listener(inherited, name=settings.address, tls=settings.tls)
    return found


def _numbers(settings: ListenSettings) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    with suppress(ListenError):
        return {ipaddress.ip_address(str(address[0])) for _, address in _addresses(settings)}
    return set()
