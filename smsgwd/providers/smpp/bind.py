"""One bind to an SMSC: made, watched, made anew; and what is on its way over it."""

import asyncio
import contextlib
import logging
import math
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._net.addresses import is_literal
from smsgwd.providers._net.tls import Tls
from smsgwd.providers.smpp import pdu, status
from smsgwd.providers.smpp.pdu import Command, Frame
from smsgwd.providers.smpp.session import NoAnswerError, Session, SilenceError, words
from smsgwd.providers.smpp.window import Answer, Backoff, Item, Pace, Queue
from smsgwd.secret import Secret

log = logging.getLogger("smsgwd.smpp")

_MISSES = 2  # enquire_links in a row without an answer, until a connection counts as dead
_NEXT_ADDRESS_S = 0.25  # RFC 8305: a dead address of a host does not hold up the next one
_TELL_AGAIN_S = 60.0  # an SMSC that throttles does so many times a second
_FAREWELL_S = 2.0  # how long an SMSC has to answer our unbind
_BINDS = {"transceiver": Command.BIND_TRANSCEIVER, "transmitter": Command.BIND_TRANSMITTER}


@dataclass(frozen=True, slots=True)
class Account:
    """Where to bind, and as whom."""

    host: str
    port: int
    system_id: str
    password: Secret
    system_type: str = ""
    mode: str = "transceiver"  # or transmitter
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, and how many at once. All spans in seconds."""

    timeout_s: float = 10.0  # to connect and bind; for each answer
    enquire_link_s: float = 30.0
    window: int = 50
    binds: int = 1
    reconnect_s: tuple[float, float] = (0.1, 10.0)  # the first wait and the longest, after network faults
    refused_s: tuple[float, float] = (5.0, 30.0)  # the same after refusals: each may count against the account
    handover_s: float = 10.0  # for the SMSC to notice that a session of ours has ended, the one before a reload too


class State(StrEnum):
    """How a bind stands."""

    BOUND = "bound"
    CONNECTING = "connecting"  # for the first time; whoever was bound or has failed is `down` until it is bound
    REFUSED = "refused"
    DOWN = "down"


class RefusedError(Exception):
    """The SMSC does not let us bind; `passing` when that is its own trouble and not the account's."""

    def __init__(self, command_status: int) -> None:
        self.passing = command_status in status.PASSING
        self.already_bound = command_status == status.ALREADY_BOUND
        super().__init__(f"the SMSC refused the bind: {status.name(command_status)}")


@dataclass(slots=True)
class Standing:
    """What is known of one bind."""

    state: State = State.CONNECTING
    reason: Reason = Reason.UNREACHABLE  # of an outcome, while there is no bind
    error: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_dict(self) -> dict[str, Any]:
        """As `/v1/gateways/NAME` shows it."""
        since = self.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # as all other times of the API
        return {"state": str(self.state), "since": since, "error": self.error}


class Owner(Protocol):
    """What a bind needs of the gateway that it belongs to."""

    name: str
    account: Account
    timing: Timing
    queue: Queue

    def pump(self) -> None:
        """There may be room."""

    def settle(self, item: Item, result: Answer | SubmitError) -> None:
        """This became of it."""

    def give_up(self, item: Item) -> None:
        """It has not left in time."""

    def turn_away(self) -> None:
        """A bind was refused."""

    def delivered(self, frame: Frame) -> None:
        """This came unasked."""


class Bind:
    """One bind: a session, and a new one whenever that ends."""

    def __init__(self, smsc: Owner, number: int) -> None:
        self._smsc = smsc
        self._about = {"gateway": smsc.name, "bind": number}
        self._timing = smsc.timing
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._wake = asyncio.Event()  # the session has ended, or something was not answered
        self._after_pause: asyncio.TimerHandle | None = None
        self._told_at = -math.inf  # when the log last said that the SMSC throttles
        self._reconnect = Backoff(*smsc.timing.reconnect_s)
        self._refused = Backoff(*smsc.timing.refused_s)
        self._ours_until = self._loop.time() + smsc.timing.handover_s  # so long who is bound already may be ourselves
        self.pace = Pace(smsc.timing.window)
        self.on_their_way = 0
        self.standing = Standing()
        self.task = asyncio.create_task(self._run(), name=f"smpp bind {number} of {smsc.name}")

    @property
    def room(self) -> int:
        """How many PDUs may leave now."""
        if self._session is None or not self._session.writable or self.pace.paused:
            return 0
        return self.pace.limit - self.on_their_way

    def submit(self, item: Item) -> None:
        """Send one. Needs `room`."""
        if self._session is None:
            raise RuntimeError("a bind without a session has no room")
        body = item.body
        item.on_its_way = True
        self.on_their_way += 1
        self._session.request(
            Command.SUBMIT_SM, body, self._timing.timeout_s, lambda answer: self._landed(item, answer)
        )

    def _landed(self, item: Item, answer: Frame | NoAnswerError) -> None:
        self.on_their_way -= 1
        if isinstance(answer, NoAnswerError):
            self._unanswered(item, answer)
        elif answer.status in status.THROTTLING:
            self._throttled(item, answer.status)
        else:
            self.pace.accepted()
            self._smsc.settle(item, _answer(answer))
        self._smsc.pump()

    def _unanswered(self, item: Item, error: NoAnswerError) -> None:
        silent = isinstance(error, SilenceError)
        reason = Reason.TIMEOUT if silent else Reason.UNREACHABLE
        self._smsc.settle(item, SubmitError(reason, f"submit_sm was sent, then: {error}", handed_over=True))
        if silent:
            self._wake.set()

    def _throttled(self, item: Item, command_status: int) -> None:
        item.on_its_way = False
        item.was_throttled = True
        self._smsc.queue.put(item)
        if item.to_leave.passed:
            self._smsc.give_up(item)
        if not self.pace.paused:
            self._after_pause = self._loop.call_later(self.pace.throttled(), self._resume)
            self._tell_throttled(command_status)

    def _tell_throttled(self, command_status: int) -> None:
        now = self._loop.time()
        if now - self._told_at > _TELL_AGAIN_S:
            self._told_at = now
            log.warning("throttled", extra={**self._about, "status": status.name(command_status)})

    def _resume(self) -> None:
        self.pace.resumed()
        self._smsc.pump()

    # The life of a bind

    async def _run(self) -> None:
        while True:
            wait_s = await self._once()
            await asyncio.sleep(wait_s)

    async def _once(self) -> float:
        """One session from connecting to its end. Returns how long to wait, in seconds, before the next."""
        try:
            async with asyncio.timeout(self._timing.timeout_s):
                session = await self._open()
        except RefusedError as error:
            return self._is_refused(error)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw must not end a bind for good
            self._now(State.DOWN, _reason(error), self._words(error))
            return self._reconnect.next_s()
        return await self._serve(session)

    async def _open(self) -> Session:
        """A bound session. Raises RefusedError; and OSError, UnicodeError, TimeoutError or NoAnswerError."""
        account = self._smsc.account
        _, session = await self._loop.create_connection(
            lambda: Session(self._smsc.delivered, self._changed),
            account.host,
            account.port,
            ssl=account.tls.context if account.tls else None,
            server_hostname=account.host if account.tls else None,
            # An address has no others beside it; and asyncio's race of addresses loses a socket when it is cancelled.
            happy_eyeballs_delay=None if is_literal(account.host) else _NEXT_ADDRESS_S,
        )
        try:
            _admit(await session.ask(_BINDS[account.mode], _bind_body(account), self._timing.timeout_s))
        except BaseException:
            session.end("not bound", abruptly=True)
            raise
        return session

    def _is_refused(self, error: RefusedError) -> float:
        if error.passing or (error.already_bound and self._loop.time() < self._ours_until):
            self._now(State.DOWN, Reason.UNREACHABLE, str(error))
            return self._reconnect.next_s()
        self._now(State.REFUSED, Reason.AUTH, str(error))
        self._smsc.turn_away()
        return self._refused.next_s()

    async def _serve(self, session: Session) -> float:
        self._session = session
        bound_at = self._loop.time()
        self._refused.reset()
        self._now(State.BOUND, Reason.UNREACHABLE, None)
        self._smsc.pump()
        await self._watch(session)
        self._session = None
        self._ours_until = self._loop.time() + self._timing.handover_s
        self._now(State.DOWN, Reason.UNREACHABLE, session.ended_by)
        wait_s = self._reconnect.next_s()
        if self._loop.time() - bound_at <= wait_s:  # an SMSC that lets us in only to throw us out is left alone longer
            return wait_s
        self._reconnect.reset()
        return self._reconnect.next_s()

    async def _watch(self, session: Session) -> None:
        """Ask the SMSC every so often whether it is there (enquire_link). Returns when the session has ended."""
        misses = 0
        self._wake.clear()
        while session.ended_by is None:
            if not misses:
                await within(self._timing.enquire_link_s, self._wake)
            self._wake.clear()
            misses = 0 if await self._lives(session) else misses + 1
            if misses == _MISSES:
                session.end(f"{misses} enquire_link without an answer", abruptly=True)

    async def _lives(self, session: Session) -> bool:
        asked_at = self._loop.time()
        try:
            await session.ask(Command.ENQUIRE_LINK, b"", self._timing.timeout_s)
        except NoAnswerError:
            return session.heard_at > asked_at  # whoever answers other things lives, too
        return True

    def _changed(self) -> None:
        if self._session is not None and self._session.ended_by is not None:
            self._wake.set()
        self._smsc.pump()

    def _now(self, state: State, reason: Reason, error: str | None) -> None:
        before, self.standing = self.standing, Standing(state, reason, error)
        if before.state is state:
            self.standing.since = before.since
        if state is State.BOUND or error != before.error:
            level = logging.INFO if state is State.BOUND else logging.WARNING
            log.log(level, "bind", extra={**self._about, **self.standing.as_dict()})

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no bind within {self._timing.timeout_s:g} s"
        if isinstance(error, OSError):
            return f"cannot connect to {self._smsc.account.host}:{self._smsc.account.port}: {words(error)}"
        if isinstance(error, NoAnswerError):
            return f"no answer to the bind: {error}"
        if isinstance(error, UnicodeError):
            return "the host is not a name that can be looked up"
        log.error("unforeseen", extra=self._about, exc_info=error)
        return f"internal error ({type(error).__name__})"

    async def unbind(self) -> None:
        """Leave politely (SMPP 4.2), then for good."""
        session = self._session
        self.task.cancel()
        await asyncio.wait([self.task])
        if self._after_pause is not None:
            self._after_pause.cancel()
        if session is not None:
            with contextlib.suppress(NoAnswerError):
                await session.ask(Command.UNBIND, b"", _FAREWELL_S)
            session.end("the gateway is closed")
        self._session = None
        self.standing = Standing(State.DOWN)


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, but not longer than that."""
    # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _bind_body(account: Account) -> bytes:
    return pdu.bind_body(
        account.mode,
        system_id=account.system_id,
        password=account.password.reveal(),
        system_type=account.system_type,
    )


def _admit(frame: Frame) -> None:
    if refused := _answer(frame).status:
        raise RefusedError(refused)


def _answer(frame: Frame) -> Answer:
    if frame.command == Command.GENERIC_NACK:
        return Answer(frame.status or status.UNNAMED)
    return Answer(frame.status, pdu.message_id(frame))


def _reason(error: Exception) -> Reason:
    tls = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return Reason.CONFIG if tls or isinstance(error, UnicodeError) else Reason.UNREACHABLE
