"""From a host's name to the order in which its addresses are tried, and to a connected socket's options."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smsgwd.units import Deadline

SocketAddress = Any  # (host, port) or (host, port, flow, scope): the socket module's own shape


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host."""

    family: int
    sockaddr: SocketAddress

    def open(self) -> socket.socket:
        """A fresh socket for it: no waiting for full packets, and a look from time to time whether the peer lives."""
        fresh = socket.socket(self.family, socket.SOCK_STREAM)
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fresh.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return fresh


def resolve(host: str, port: int) -> list[Address]:
    """The addresses in the system's order of preference (RFC 6724). Blocks. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def is_literal(host: str) -> bool:
    """Whether the host is an address already, so that resolving it does not block."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def share(remaining_s: float, left: int) -> float:
    """The seconds for one address when `left` are still to be tried: a dead one must not use up the next one's."""
    return max(remaining_s / left, 0.001)


def connect(found: Sequence[Address], connect_by: Deadline, use: Callable[[socket.socket], object]) -> socket.socket:
    """A socket that is connected to one of the addresses, tried in order. Blocks.

    `use` gets each socket before it is connected, so that someone else can shut it. Raises OSError, and what `use`
    raises.
    """
    for left, address in zip(range(len(found), 0, -1), found, strict=True):
        fresh = address.open()
        try:
            use(fresh)
            fresh.settimeout(share(connect_by.remaining(), left))
            fresh.connect(address.sockaddr)
        except BaseException as error:
            fresh.close()
            if left == 1 or not isinstance(error, OSError):
                raise
        else:
            return fresh
    raise OSError("no address")
