"""The binds to one SMSC: made, kept, made anew; and the queue of what waits for them."""

import asyncio
import contextlib
import logging
import ssl
import traceback
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.privacy import mask_number
from smsgwd.providers._http.tls import Tls
from smsgwd.providers.smpp import pdu, status
from smsgwd.providers.smpp.pdu import Command, Frame
from smsgwd.providers.smpp.receipts import receipt
from smsgwd.providers.smpp.session import NoAnswerError, Session, SilenceError, words
from smsgwd.providers.smpp.window import Answer, Backoff, Item, Pace, Queue
from smsgwd.secret import Secret
from smsgwd.units import Deadline

log = logging.getLogger("smsgwd.smpp")

_MISSES = 2  # enquire_links in a row without an answer, until a connection counts as dead
_NEXT_ADDRESS_S = 0.25  # RFC 8305: a dead address of a host does not hold up the next one
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
    refused_s: tuple[float, float] = (
        5.0,
        30.0,
    )  # the same after a refused bind: each try may count against the account


class State(StrEnum):
    """How a bind stands."""

    BOUND = "bound"
    CONNECTING = "connecting"
    REFUSED = "refused"
    DOWN = "down"


class RefusedError(Exception):
    """The SMSC does not let us bind; `passing` when that is its own trouble and not the account's."""

    def __init__(self, command_status: int) -> None:
        self.passing = command_status in status.PASSING
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
        return {"state": str(self.state), "since": self.since.isoformat(timespec="seconds"), "error": self.error}


class Bind:
    """One bind: a session, and a new one whenever that ends."""

    def __init__(self, smsc: "Smsc", number: int) -> None:
        self._smsc = smsc
        self._number = number
        self._timing = smsc.timing
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._wake = asyncio.Event()  # the session has ended, or something was not answered
        self._after_pause: asyncio.TimerHandle | None = None
        self._reconnect = Backoff(*smsc.timing.reconnect_s)
        self._refused = Backoff(*smsc.timing.refused_s)
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
        item.on_its_way = True
        self.on_their_way += 1
        self._session.request(
            Command.SUBMIT_SM, item.body, self._timing.timeout_s, lambda answer: self._landed(item, answer)
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
        self._smsc.queue.put_back(item)
        if not self.pace.paused:
            pause_s = self.pace.throttled()
            self._after_pause = self._loop.call_later(pause_s, self._resume)
            self._log(logging.INFO, f"throttled, {status.name(command_status)}: pause of {pause_s:.2f} s")

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
        if self.standing.state is not State.REFUSED:
            self._now(State.CONNECTING, self.standing.reason, self.standing.error)
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
            happy_eyeballs_delay=_NEXT_ADDRESS_S,
        )
        try:
            _admit(await session.ask(_BINDS[account.mode], self._smsc.bind_body(), self._timing.timeout_s))
        except BaseException:
            session.end("not bound", abruptly=True)
            raise
        return session

    def _is_refused(self, error: RefusedError) -> float:
        if error.passing:
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
        wait_s = self._reconnect.next_s()
        if (
            self._loop.time() - bound_at > wait_s
        ):  # it did last: an SMSC that only lets us in to throw us out waits longer
            self._reconnect.reset()
            wait_s = self._reconnect.next_s()
        self._now(State.DOWN, Reason.UNREACHABLE, session.ended_by)
        return wait_s

    async def _watch(self, session: Session) -> None:
        """Ask the SMSC every so often whether it is there (enquire_link). Returns when the session has ended."""
        misses = 0
        self._wake.clear()
        while session.ended_by is None:
            if not misses:
                await _within(self._timing.enquire_link_s, self._wake)
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
            self._log(level, f"{state}: {error}" if error else str(state))

    def _log(self, level: int, words: str) -> None:
        log.log(level, "%s, bind %d %s", self._smsc.name, self._number, words, extra=self._smsc.about)

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no bind within {self._timing.timeout_s:g} s"
        if isinstance(error, OSError):
            return f"cannot connect to {self._smsc.account.host}:{self._smsc.account.port}: {words(error)}"
        if isinstance(error, NoAnswerError):
            return f"no answer to the bind: {error}"
        if isinstance(error, UnicodeError):
            return "the host is not a name that can be looked up"
        frames = "".join(traceback.format_tb(error.__traceback__))  # its text may hold what is secret
        self._log(logging.ERROR, f"unforeseen {type(error).__name__}\n{frames}")
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
        self._now(State.DOWN, Reason.UNREACHABLE, None)


class Smsc:
    """All binds of one gateway. Made inside the event loop that it runs in; it begins to bind at once."""

    def __init__(self, name: str, account: Account, timing: Timing) -> None:
        self.name = name
        self.account = account
        self.timing = timing
        self.about = {"gateway": name}
        self.queue = Queue()
        self.receipts: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._closed = False
        self._binds = [Bind(self, number) for number in range(1, timing.binds + 1)]

    async def send(self, body: bytes, deadline: Deadline) -> Answer:
        """Send one submit_sm and wait for its answer, throttling apart: that is waited out.

        Raises SubmitError when there is none before the deadline.
        """
        if deadline.passed:
            raise SubmitError(Reason.TIMEOUT, "the deadline came before it could be sent", handed_over=False)
        item = Item(body, asyncio.get_running_loop().create_future())
        self.queue.put(item)
        if self._turned_away:
            self.turn_away()
        self.pump()
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await item.answer
        except TimeoutError:
            raise self._too_late(item) from None
        finally:
            self.queue.discard(item)

    def pump(self) -> None:
        """Let leave what may leave, by the bind that has the most room."""
        while self.queue:
            bind = max(self._binds, key=lambda bind: bind.room)
            item = self.queue.take() if bind.room > 0 else None
            if item is None:
                break
            bind.submit(item)
        if not self.queue and not any(bind.on_their_way for bind in self._binds):
            self._idle.set()

    def settle(self, item: Item, result: Answer | SubmitError) -> None:
        """Tell whoever waits for it. An answer that comes after the deadline is only logged."""
        if isinstance(result, Answer) and item.answer.done():
            self._log("an answer too late: %s, message_id %r", status.name(result.status), result.message_id)
        elif isinstance(result, Answer):
            item.answer.set_result(result)
        elif not item.answer.done():
            item.answer.set_exception(result)

    @property
    def _turned_away(self) -> bool:
        return self._closed or all(bind.standing.state is State.REFUSED for bind in self._binds)

    def turn_away(self) -> None:
        """Nothing that waits can leave soon, if every bind is refused: say so now, not at the deadline."""
        while self._turned_away and (item := self.queue.take()) is not None:
            self.settle(item, self._no_bind())

    def _no_bind(self) -> SubmitError:
        if self._closed:
            return SubmitError(Reason.UNREACHABLE, "the gateway is being closed", handed_over=False)
        standing = next((bind.standing for bind in self._binds if bind.standing.error), self._binds[0].standing)
        retryable = standing.reason is Reason.UNREACHABLE
        detail = standing.error or "not bound yet"
        return SubmitError(standing.reason, f"no bind: {detail}", handed_over=False, retryable=retryable)

    def _too_late(self, item: Item) -> SubmitError:
        if item.on_its_way:
            return SubmitError(Reason.TIMEOUT, "submit_sm was sent, no answer before the deadline", handed_over=True)
        if item.was_throttled:
            return SubmitError(Reason.THROTTLED, "the SMSC throttled until the deadline", handed_over=False)
        if any(bind.standing.state is State.BOUND for bind in self._binds):
            return SubmitError(Reason.TIMEOUT, "the window was full until the deadline", handed_over=False)
        return self._no_bind()

    def bind_body(self) -> bytes:
        """The body of our bind request (SMPP 4.1)."""
        account = self.account
        return pdu.bind_body(
            account.mode,
            system_id=account.system_id,
            password=account.password.reveal(),
            system_type=account.system_type,
        )

    def delivered(self, frame: Frame) -> None:
        """A deliver_sm came: count and log a receipt, log a phone's message without its text; log a stray answer."""
        if frame.is_response:
            self._log("an answer too late: %s, message_id %r", status.name(frame.status), pdu.message_id(frame))
            return
        delivery = pdu.delivery(frame)
        found = receipt(delivery)
        if found is None:
            self._log("a message from %s arrived; it is not kept", mask_number(delivery.source))
            return
        self.receipts[found.state] += 1
        number = mask_number(delivery.source)  # SMPP Appendix B: a receipt comes from whom the message went to
        self._log("receipt for %s to %s: %s, err %s", found.message_id or "?", number, found.state, found.error or "-")

    def _log(self, words: str, *values: object) -> None:
        log.info("%s, " + words, self.name, *values, extra=self.about)  # noqa: G003 - a constant before a constant

    def status(self) -> dict[str, Any]:
        """The binds as they stand, and what receipts said so far."""
        return {"binds": [bind.standing.as_dict() for bind in self._binds], "receipts": dict(self.receipts)}

    async def close(self) -> None:
        """Wait for what is on its way, as long as an answer may take; then unbind and end."""
        self._closed = True
        self.turn_away()
        self._idle.clear()
        self.pump()
        await _within(self.timing.timeout_s, self._idle)
        await asyncio.gather(*(bind.unbind() for bind in self._binds))
        self.turn_away()


async def _within(seconds: float, event: asyncio.Event) -> None:
    # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


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
