"""What systemd and a service tell each other: sockets that it opened for us, and how we are.

Sources: sd_listen_fds(3), sd_notify(3). Both are small protocols of environment variables and datagrams.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_MICROSECONDS = 1_000_000


class InheritedSocketError(Exception):
    """What was inherited cannot be served; the text says why."""


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that were opened for this process, none if there are none.

    The variables are taken out of the environment, so that no script takes the sockets for its own. Raises
    InheritedSocketError for a socket that is neither of Unix nor of TCP.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_adopt(descriptor) for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))]


def _adopt(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        adopted = socket.socket(fileno=descriptor)
    except OSError as error:
        raise InheritedSocketError(f"inherited descriptor {descriptor}: {error.strerror}") from None
    if adopted.family not in _FAMILIES or adopted.type != socket.SOCK_STREAM:
        adopted.close()
        raise InheritedSocketError(f"inherited descriptor {descriptor} is neither a Unix stream socket nor one of TCP")
    if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        adopted.close()
        raise InheritedSocketError(f"inherited descriptor {descriptor} does not listen (Accept=no is needed)")
    adopted.setblocking(False)
    return adopted


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells the service manager how we are; silent where there is none.

    `address` is $NOTIFY_SOCKET; `watchdog_s` is how long we may be silent before we are taken for dead, in seconds.
    """

    address: str = ""
    watchdog_s: float | None = None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """The notifier that systemd asked for. The variables are taken out: what we start has no say in it."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        meant = not pid or pid == str(os.getpid())
        watched = meant and microseconds.isdecimal() and int(microseconds) > 0
        return cls(address, int(microseconds) / _MICROSECONDS if watched else None)

    def ready(self, status: str) -> None:
        """We serve; also the end of a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins. Type=notify-reload wants the time in the same datagram, or it waits for ever."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={status}")

    def stopping(self) -> None:
        """We end; sends that run are finished first."""
        self._tell("STOPPING=1", "STATUS=finishing the sends that run")

    def alive(self) -> None:
        """We are not stuck."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self.address.startswith(("/", "@")):
            return
        # A leading @ stands for the zero octet of the abstract namespace (unix(7)).
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as channel:
            try:
                channel.sendto("\n".join(lines).encode(), address)
            except OSError:
                return  # nobody listens, or is too busy: no reason to stop serving
