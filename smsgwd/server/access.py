"""Who calls, and what they may do. The kernel or a token says who; the rules of smsgwd.yaml say what."""

import grp
import hmac
import ipaddress
import logging
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from smsgwd.access_token import OF_TOKENS, digest_of
from smsgwd.allowance import UNLIMITED, Allowance, Limits
from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.privacy import quotable
from smsgwd.registry import AccessRule, ListenSettings
from smsgwd.server.problems import MissingTokenError

log = logging.getLogger("smsgwd.access")

SEND, STATUS, RELOAD = "send", "status", "reload"
SMSGATEWAY_READ, SMSGATEWAY_WRITE = "smsgateway_read", "smsgateway_write"
OTP_CHALLENGE, OTP_VERIFY = "otp_challenge", "otp_verify"
ACTIONS = (SEND, STATUS, RELOAD, SMSGATEWAY_READ, SMSGATEWAY_WRITE, OTP_CHALLENGE, OTP_VERIFY)

_OWN_HEADER = "PI-Authorization"  # of privacyIDEA's clients, for where a proxy needs Authorization for itself
_BEARER = "bearer"

_CREDENTIALS = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python 3.11 has no name for it
_MAX_OPTION_OCTETS = 1024  # the most that getsockopt of Python takes: 256 groups


def read_caller(connection: socket.socket, listener: str = "") -> Caller:
    """Who connected (SO_PEERCRED and SO_PEERGROUPS of unix(7)), of TCP from where: that is nobody (credentials: -1).

    Raises OSError where the kernel does not say.
    """
    if connection.family != socket.AF_UNIX:
        return Caller(address=_address(connection.getpeername()[0]), listener=listener)
    option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(option)
    return Caller(uid, frozenset({gid, *_supplementary(connection)}))


def _address(text: str) -> str:
    """An address in its usual form: IPv4 as such, also where the socket is one of IPv6."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


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
    tokens: frozenset[str]
    allow: frozenset[str]
    gateways: tuple[str, ...]
    text: bool
    key: str = ""
    limits: Limits = UNLIMITED

    def is_for(self, caller: Caller, action: str, *, text: bool) -> bool:
        return action in self.allow and (self.text or not text) and self._names(caller)

    def _names(self, caller: Caller) -> bool:
        if caller.token is not None:
            return caller.token in self.tokens
        return caller.uid in self.uids or not self.gids.isdisjoint(caller.groups)

    def covers(self, gateway: str) -> bool:
        return any(fnmatchcase(gateway, pattern) for pattern in self.gateways)


@dataclass(frozen=True, slots=True)
class Access:
    """The rules, names looked up. `rules` None: none were given, whoever can open the socket may send.

    `tokens` are digests by name; `listeners` is what anybody may do there, by the listener's name.
    """

    rules: tuple[_Rule, ...] | None = None
    own_uid: int = 0
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    listeners: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def who(self, peer: Caller, headers: "CIMultiDictProxy[str]") -> Caller:
        """Who calls: whom the token names, if there is one in the headers, else who opened the connection.

        A token takes from a local caller all that it had beside it: a proxy on the socket passes on a caller with few
        rights.
        """
        given = list(_tokens_in(headers))
        if not given:
            return peer
        name = self.token_of(given[0]) if len(set(given)) == 1 else None
        if name is None:
            return replace(peer, unknown_token=True)
        return Caller(token=name, address=peer.address, listener=peer.listener)

    def token_of(self, token: str) -> str | None:
        """The name of a token; None for one that is none of ours. Takes as long for each: all are compared."""
        given, found = digest_of(token), None
        for name, digest in self.tokens.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found

    def allows(self, caller: Caller, action: str, gateway: str | None = None, *, text: bool = False) -> bool:
        """Whether the caller may do this. A call that is about no single gateway matches by caller and action.

        `text`: it brings a text of its own, where a template could be named.
        """
        if caller.unknown_token:
            return False
        if caller.token is None and caller.uid in (0, self.own_uid):
            return True
        if action in self.listeners.get(caller.listener, ()):
            return True
        if self.rules is None:
            return action == SEND and not _is_nobody(caller)
        return self._rule_for(caller, action, gateway, text=text) is not None

    def allows_everywhere(self, caller: Caller, action: str) -> bool:
        """Whether the caller may do this on every gateway, also on those that are yet to come."""
        if not self.allows(caller, action):
            return False
        if caller.token is None and caller.uid in (0, self.own_uid):
            return True
        if action in self.listeners.get(caller.listener, ()):
            return True
        return any(rule.is_for(caller, action, text=False) and "*" in rule.gateways for rule in self.rules or ())

    def _rule_for(self, caller: Caller, action: str, gateway: str | None, *, text: bool) -> _Rule | None:
        """The first rule that allows it."""
        matching = (rule for rule in self.rules or () if rule.is_for(caller, action, text=text))
        return next((rule for rule in matching if gateway is None or rule.covers(gateway)), None)

    def allowance(self, caller: Caller, action: str, gateway: str, *, text: bool = False) -> Allowance | None:
        """The limits on a caller that may do this: those of the first rule that allows it; None where it has none."""
        if caller.token is None and caller.uid in (0, self.own_uid):
            return None
        found = self._rule_for(caller, action, gateway, text=text)
        if found is None or found.limits is UNLIMITED:
            return None
        return Allowance(found.key, caller.name, found.limits)

    def permitted(self, caller: Caller, action: str, message: SendRequest) -> SendRequest:
        """The message, with its caller and the limits on it. Raises RequestError, as `require`."""
        text = message.text is not None
        self.require(caller, action, message.gateway, text=text)
        return replace(message, caller=caller, allowance=self.allowance(caller, action, message.gateway, text=text))

    def actions_of(self, caller: Caller) -> list[str]:
        """What the caller may do, by some gateway at least."""
        return [action for action in ACTIONS if self.allows(caller, action)]

    def admit(self, caller: Caller) -> None:
        """Raises RequestError unauthorized for a caller who may do nothing at all, before its body is read."""
        if caller.unknown_token:
            raise unknown_token()
        if _is_nobody(caller) and not self.listeners.get(caller.listener):
            raise MissingTokenError

    def require(self, caller: Caller, action: str, gateway: str | None = None, *, text: bool = False) -> None:
        """Raises RequestError forbidden when the caller may not do this, unauthorized when a token might help."""
        if self.allows(caller, action, gateway, text=text):
            return
        error = self._refusal(caller, action, gateway, text=text)
        error.action = action
        raise error

    def _refusal(self, caller: Caller, action: str, gateway: str | None, *, text: bool) -> RequestError:
        if caller.unknown_token:
            return unknown_token()
        if _is_nobody(caller):
            return MissingTokenError()
        if text and self.allows(caller, action, gateway):
            detail = f"the caller ({caller}) may send templates alone: name a 'template' in the place of 'text'"
            return RequestError("forbidden", detail)
        where = "" if gateway is None else f" on the gateway{quotable(gateway) or ' asked for'}"
        return RequestError("forbidden", f"the caller ({caller}) may not do this: it needs {action!r}{where}")


def unknown_token() -> RequestError:
    """What refuses a token that is none of ours."""
    return RequestError("unauthorized", "this token is not known here")


def _is_nobody(caller: Caller) -> bool:
    return caller.uid is None and caller.token is None


def _tokens_in(headers: "CIMultiDictProxy[str]") -> Iterator[str]:
    """The tokens that a request brings: alone in a header, or after the word Bearer. Other schemes bring none.

    A header without a value is a token that nobody has: whoever meant to give one must not become somebody else.
    """
    for value in headers.getall(_OWN_HEADER, ()):
        scheme, _, token = value.strip().partition(" ")
        yield token.strip() if scheme.lower() == _BEARER else value
    for value in headers.getall(hdrs.AUTHORIZATION, ()):
        scheme, blank, token = value.strip().partition(" ")
        if not blank:
            yield scheme
        elif scheme.lower() == _BEARER:
            yield token.strip()


def look_up(
    rules: tuple[AccessRule, ...],
    tokens: Mapping[str, bytes] | None = None,
    listen: Iterable[ListenSettings] = (),
) -> Access:
    """The rules with their names as numbers. May block for seconds (NSS, LDAP): not for the event loop.

    A name that this machine does not know matches nobody.
    """
    return Access(
        rules=tuple(map(_looked_up, rules)) or None,
        own_uid=os.geteuid(),
        tokens=tokens or {},
        listeners={one.address: one.allow for one in listen},
    )


def _looked_up(rule: AccessRule) -> _Rule:
    tokens = {name for name in rule.users if isinstance(name, str) and name.startswith(OF_TOKENS)}
    users = (name for name in rule.users if name not in tokens)
    return _Rule(
        uids=_numbers(users, lambda name: pwd.getpwnam(name).pw_uid),
        gids=_numbers(rule.groups, lambda name: grp.getgrnam(name).gr_gid),
        tokens=frozenset(name.removeprefix(OF_TOKENS) for name in tokens),
        allow=rule.allow,
        gateways=rule.gateways,
        text=rule.text,
        key=rule.key,
        limits=rule.limits,
    )


def _numbers(names: Iterable[str | int], number_of: Callable[[str], int]) -> frozenset[int]:
    return frozenset(number for name in names if (number := _number(name, number_of)) is not None)


def _number(name: str | int, number_of: Callable[[str], int]) -> int | None:
    if isinstance(name, int):
        return name
    try:
        return number_of(name)
    except (KeyError, OSError, ValueError):  # unknown; the name service is away; a name with a NUL in it
        return int(name) if name.isascii() and name.isdigit() else None
