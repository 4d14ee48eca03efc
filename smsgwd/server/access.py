"""Who calls, and what they may do. The kernel says who; the rules of smsgwd.yaml say what."""

import grp
import logging
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.privacy import quotable
from smsgwd.registry import AccessRule

log = logging.getLogger("smsgwd.access")

SEND, STATUS, RELOAD = "send", "status", "reload"
OTP_CHALLENGE, OTP_VERIFY = "otp_challenge", "otp_verify"

_CREDENTIALS = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python 3.11 has no name for it
_MAX_OPTION_OCTETS = 1024  # the most that getsockopt of Python takes: 256 groups


def read_caller(connection: socket.socket) -> Caller:
    """Who connected (SO_PEERCRED and SO_PEERGROUPS of unix(7)). Raises OSError where the kernel does not say."""
    if connection.family != socket.AF_UNIX:
        raise OSError("only a Unix socket tells who connected")
    option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(option)
    return Caller(uid, frozenset({gid, *_supplementary(connection)}))


def _supplementary(connection: socket.socket) -> Iterable[int]:
    try:
        option = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_OPTION_OCTETS)
    except OSError:  # more groups than fit: fewer rights is the safe side
        log.warning("the supplementary groups of a caller cannot be read; only its primary group counts")
        return ()
    return struct.unpack(f"{len(option) // 4}I", option)


@dataclass(frozen=True, slots=True)
class _Rule:
    uids: frozenset[int]
    gids: frozenset[int]
    allow: frozenset[str]
    gateways: tuple[str, ...]

    def is_for(self, caller: Caller, action: str) -> bool:
        return action in self.allow and (caller.uid in self.uids or not self.gids.isdisjoint(caller.groups))

    def covers(self, gateway: str) -> bool:
        return any(fnmatchcase(gateway, pattern) for pattern in self.gateways)


@dataclass(frozen=True, slots=True)
class Access:
    """The rules, names looked up. `rules` None: none were given, whoever can open the socket may send."""

    rules: tuple[_Rule, ...] | None = None
    own_uid: int = 0

    def allows(self, caller: Caller, action: str, gateway: str | None = None) -> bool:
        """Whether the caller may do this. A call that is about no single gateway matches by caller and action."""
        if caller.uid in (0, self.own_uid):
            return True
        if self.rules is None:
            return action == SEND
        return any(rule.is_for(caller, action) and (gateway is None or rule.covers(gateway)) for rule in self.rules)

    def require(self, caller: Caller, action: str, gateway: str | None = None) -> None:
        """Raises RequestError forbidden when the caller may not do this."""
        if not self.allows(caller, action, gateway):
            where = "" if gateway is None else f" on the gateway{quotable(gateway) or ' asked for'}"
            error = RequestError("forbidden", f"the caller ({caller}) may not do this: it needs {action!r}{where}")
            error.action = action
            raise error


def look_up(rules: tuple[AccessRule, ...]) -> Access:
    """The rules with their names as numbers. May block for seconds (NSS, LDAP): not for the event loop.

    A name that this machine does not know matches nobody.
    """
    own = os.geteuid()
    if not rules:
        return Access(None, own)
    looked_up = tuple(
        _Rule(
            uids=_numbers(rule.users, lambda name: pwd.getpwnam(name).pw_uid),
            gids=_numbers(rule.groups, lambda name: grp.getgrnam(name).gr_gid),
            allow=rule.allow,
            gateways=rule.gateways,
        )
        for rule in rules
    )
    return Access(looked_up, own)


def _numbers(names: Iterable[str | int], number_of: Callable[[str], int]) -> frozenset[int]:
    return frozenset(number for name in names if (number := _number(name, number_of)) is not None)


def _number(name: str | int, number_of: Callable[[str], int]) -> int | None:
    if isinstance(name, int):
        return name
    try:
        return number_of(name)
    except (KeyError, OSError, ValueError):  # unknown; the name service is away; a name with a NUL in it
        return int(name) if name.isascii() and name.isdigit() else None
