"""Users: whoever has a token is let in by PIN and one-time password, in two steps.

The PIN alone has the code sent; PIN and code, or the id of the transaction and the code, let in. Everything else is one
and the same: a name that nobody has, a token that is disabled and a wrong PIN take the same steps (one count, two runs
of scrypt, one look for an open transaction, one judgement of a code) and get the same answer.

Wrong PINs are counted before they are looked at, by name and caller, so that of any number at the same moment no more
are looked at than are allowed. Who knows a right one is never counted.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from smsgwd.allowance import Allowance
from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.otp import DEFAULT_DIGITS, Challenges, Send, Wanted
from smsgwd.otp.crowd import Crowd
from smsgwd.otp.pins import Pins, Reading, stand_in
from smsgwd.outcome import Reason as Unsent
from smsgwd.pin import PinHash
from smsgwd.registry import OtpToken, Registry
from smsgwd.secret import Secret, key_of

log = logging.getLogger("smsgwd.otp")

# A PIN of four digits is guessed within ten tries once in a thousand times; people mistype one twice in a row at most.
WINDOW_S = 900.0
MOST_WRONG = 10  # of one name by one caller in a window; then none is looked at
WAITS_S = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0)  # before the answer to the first wrong one, the second, ...; 8 for all others

# What it takes to make a context of ours is in no request: half of a character is refused there (`read_challenge`).
# So no challenge of `/v1/challenges` is one of a user, and no user's is verified there.
_OURS = "\ud800"
_LATER = {"overloaded", "storage-unavailable"}  # refusals that are no fault of the token

WRONG = "wrong PIN or one-time password"
RIGHT = "the one-time password is right"
ENTER = "Enter the OTP from the SMS:"
NOBODY = "there is no token to send a one-time password to"

May = Callable[[OtpToken], bool]
Allow = Callable[[OtpToken], Allowance | None]  # the limits on a caller who uses it


def without_limits(_: OtpToken) -> None:
    """The limits on a caller who has none."""


class Result(StrEnum):
    """What a login came to."""

    ACCEPT = "ACCEPT"
    CHALLENGE = "CHALLENGE"  # a code is on its way
    REJECT = "REJECT"


class Why(StrEnum):
    """Why somebody was rejected: for the log, never for an answer."""

    UNKNOWN = "unknown"  # nobody has this name, or the caller may not use the token's gateway
    DISABLED = "disabled"
    PIN = "wrong_pin"
    CODE = "wrong_code"
    STOPPED = "stopped"  # nothing was looked at
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a caller means: a user, or a serial instead. A user is looked for alone, then as `user@realm`."""

    user: str = ""
    realm: str = ""
    serial: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The users that it may be."""
        return (self.user, f"{self.user}@{self.realm}") if self.realm else (self.user,)

    @property
    def serials(self) -> tuple[str, ...]:
        """What tries are counted by: it does not depend on whether there is such a user, nor on how it is named."""
        return tuple(serial_of(name) for name in self.names) if self.user else (self.serial.upper(),)


@dataclass(frozen=True, slots=True)
class Login:
    """What a login came to. `message` is for the person; `token` is whose login it is, as far as that may be told."""

    result: Result
    message: str
    token: OtpToken | None = None
    transaction_id: str = field(default="", repr=False)
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """Who somebody says to be. `token` is the one that lets in: None where none does, and `why`."""

    name: str
    token: OtpToken | None
    pin: PinHash
    digits: int
    context: str
    why: Why = Why.PIN


class Users:
    """Lets in those who have a token of what `registry` tells; `send` takes their codes, `sleep` lets time pass."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        challenges: Challenges,
        send: Send,
        pins: Pins | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._challenges = challenges
        self._send = send
        self._pins = pins or Pins()
        self._sleep = sleep
        self._crowd = Crowd()
        self._index = _Index(registry())
        self._own_key = os.urandom(32)

    async def check(
        self,
        named: Named,
        password: Secret,
        transaction_id: str | None,
        caller: Caller,
        may: May,
        allow: Allow = without_limits,
    ) -> Login:
        """One step of a login. `may` says which tokens the caller may use; others are as if there were none.

        `allow` says within which limits it may have codes sent.

        Raises RequestError overloaded, or storage-unavailable.
        """
        claim = self._claim(named, may)
        if transaction_id is not None:
            return await self._by_transaction(claim, password, transaction_id)
        return await self._by_pin(claim, named, password, caller, allow)

    async def trigger(self, named: Named, caller: Caller, may: May, allow: Allow = without_limits) -> Login:
        """Send a code without asking for a PIN. Raises RequestError, as above."""
        claim = self._claim(named, may)
        if claim.token is None:
            return Login(Result.REJECT, NOBODY, why=claim.why)
        return await self._challenge(claim.token, caller, allow)

    def close(self) -> None:
        """Look at no further PINs."""
        self._pins.close()

    async def _by_transaction(self, claim: _Claim, password: Secret, transaction_id: str) -> Login:
        """No PIN is asked for: whoever has the id has given it before, or the code came by `trigger`."""
        verdict = await self._challenges.verify(transaction_id, password.reveal(), claim.context)
        if claim.token is None or not verdict.verified:
            return Login(Result.REJECT, WRONG, why=Why.CODE if claim.token else claim.why)
        return Login(Result.ACCEPT, RIGHT, claim.token)

    async def _by_pin(self, claim: _Claim, named: Named, password: Secret, caller: Caller, allow: Allow) -> Login:
        keys = {serial: f"{_counted(caller)} {serial}" for serial in named.serials}
        first = next(iter(keys.values()))
        with self._crowd.inside(first):
            async with self._crowd.turn(first):
                login, wrong = await self._judged(claim, password, keys)
            if login.result is Result.REJECT:
                await self._sleep(WAITS_S[min(wrong, len(WAITS_S)) - 1])
        if login.result is Result.CHALLENGE and login.token is not None:
            return await self._challenge(login.token, caller, allow)
        return login

    async def _judged(self, claim: _Claim, password: Secret, keys: dict[str, str]) -> tuple[Login, int]:
        """What the login comes to, CHALLENGE where a code has to be sent yet; and how many wrong ones there were."""
        with self._pins.place():
            wrong = max([await self._count(key) for key in keys.values()])
            if wrong > MOST_WRONG:
                return Login(Result.REJECT, WRONG, why=Why.STOPPED), wrong
            reading = await self._pins.read(password, claim.pin, claim.digits)
        is_code = await self._is_code(claim, reading, password)
        if claim.token is None or not (is_code or reading.is_pin):
            return Login(Result.REJECT, WRONG, why=_why(claim, reading)), wrong
        await self._forgive(claim.token, keys)
        if is_code:
            return Login(Result.ACCEPT, RIGHT, claim.token), wrong
        return Login(Result.CHALLENGE, ENTER, claim.token), wrong

    async def _count(self, key: str) -> int:
        return await self._challenges.store.failed(key, now=self._challenges.clock.now(), window_s=WINDOW_S)

    async def _forgive(self, token: OtpToken, keys: dict[str, str]) -> None:
        """Forgive the token's user. The request may mean another, too: of that one no more than this count is undone.

        Or whoever is `alice` could guess the PIN of `alice@corp` for ever.
        """
        store, own = self._challenges.store, serial_of(token.user)
        for serial, key in keys.items():
            if serial == own:
                await store.forgive(key)
            else:
                await store.excuse(key, now=self._challenges.clock.now())

    async def _is_code(self, claim: _Claim, reading: Reading, password: Secret) -> bool:
        """Whether the end of the password is the code of the user's open transaction.

        Where none is to be tried, one is tried all the same, that nobody has: the steps are always these.
        """
        open_id = await self._challenges.store.recall(claim.name, now=self._challenges.clock.now())
        code = password.reveal()[-claim.digits :]
        if claim.token is None or not reading.begins_with_pin or open_id is None:
            await self._challenges.pretend(code, claim.context)
            return False
        return (await self._challenges.verify(open_id, code, claim.context)).verified

    async def _challenge(self, token: OtpToken, caller: Caller, allow: Allow) -> Login:
        message = SendRequest(
            gateway=token.gateway, to=token.phone, template=token.template, caller=caller, allowance=allow(token)
        )
        wanted = Wanted(message, token.digits, token.ttl_s, context_of(token))
        try:
            transaction_id, outcome = await self._challenges.issue(wanted, self._send)
        except RequestError as error:
            if error.code in _LATER:
                raise
            log.warning("a token's gateway cannot send", extra={"gateway": token.gateway, "code": error.code})
            return _unsent(Unsent.CONFIG, token)
        if transaction_id is None:
            return _unsent(outcome.reason, token)
        now = self._challenges.clock.now()
        with contextlib.suppress(RequestError):  # the code is on its way: with its id it is as good
            await self._challenges.store.remember(token.user, transaction_id, now=now, expires_at=now + token.ttl_s)
        return Login(Result.CHALLENGE, ENTER, token, transaction_id)

    def _claim(self, named: Named, may: May) -> _Claim:
        token = self._token(named)
        if token is None:
            name = named.user or named.serial
            pin = stand_in(name, self._index.pins, self._key())
            return _Claim(name, None, pin, DEFAULT_DIGITS, _OURS + name, Why.UNKNOWN)
        why = Why.PIN if token.enabled else Why.DISABLED
        if not may(token):
            why = Why.UNKNOWN
        lets_in = token if why is Why.PIN else None
        return _Claim(token.user, lets_in, token.pin, token.digits, context_of(token), why)

    def _token(self, named: Named) -> OtpToken | None:
        registry = self._registry()
        if self._index.tokens is not registry.tokens:
            self._index = _Index(registry)
        if not named.user:
            return self._index.by_serial.get(named.serial.upper())
        found = (registry.token_of(name) for name in named.names)
        token = next((token for token in found if token is not None), None)
        if token is not None and named.serial and named.serial.upper() != serial_of(token.user):
            return None
        return token

    def _key(self) -> bytes:
        """Of what names that nobody has cost: the same in all instances that share a key."""
        keys = self._registry().config.otp.keys
        return key_of(keys[0]) if keys else self._own_key


def _counted(caller: Caller) -> str:
    """By what wrong PINs of a caller are counted: addresses are for the taking, so all who only have one are one."""
    nobody = caller.uid is None and caller.token is None
    return f"at:{caller.listener}" if nobody else caller.name


def _why(claim: _Claim, reading: Reading) -> Why:
    return Why.CODE if claim.token is not None and reading.begins_with_pin else claim.why


def _unsent(reason: Unsent | None, token: OtpToken) -> Login:
    word = Unsent.INTERNAL if reason is None else reason
    return Login(Result.REJECT, f"the one-time password could not be sent ({word})", token, why=Why.UNSENT)


def serial_of(user: str) -> str:
    """What a token is called: it is made of the user's name, and does not tell it."""
    return "SMS" + hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:8].upper()


def context_of(token: OtpToken) -> str:
    """What the challenges of a token are bound to: another number or another PIN end those that are open."""
    return f"{_OURS}{token.user}\n{token.phone}\n{token.pin}"


class _Index:
    """The tokens of one snapshot. A serial that two users have is nobody's."""

    def __init__(self, registry: Registry) -> None:
        self.tokens = registry.tokens
        tokens = [entry.token for entry in registry.tokens.values() if entry.token is not None]
        self.pins = tuple(token.pin for token in tokens)
        self.by_serial: dict[str, OtpToken | None] = {}
        for user in {token.user for token in tokens}:
            serial = serial_of(user)
            self.by_serial[serial] = None if serial in self.by_serial else registry.token_of(user)
