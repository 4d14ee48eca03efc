"""The sessions of one gateway, and the threads that they block."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers.smtp.handover import Handover
from smsgwd.providers.smtp.mail import Mail
from smsgwd.providers.smtp.server import Server
from smsgwd.providers.smtp.session import GOODBYE_S, RefusedError, Session, SmtpReply, connect
from smsgwd.units import Deadline

IDLE_S = 30.0  # a session rests at least that long; servers close theirs after minutes (RFC 5321, 4.5.3.2.7: five)
SERVICE_CLOSING = 421  # RFC 5321, 3.8

_Result = SmtpReply | SubmitError


class Pool:
    """At most `size` sessions, each with a thread of its own while it is in use; further mails wait for one."""

    def __init__(self, server: Server, size: int, *, idle_s: float = IDLE_S) -> None:
        self._server = server
        self._size = size
        self._idle_s = idle_s
        self._turns = asyncio.Semaphore(size)
        self._threads = ThreadPoolExecutor(size, "smtp")
        self._underway: dict[asyncio.Future[_Result], Handover] = {}
        self._resting = _Resting()
        self._look_again: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, mail: Mail, deadline: Deadline) -> SmtpReply:
        """Send it over a rested session or a new one; one that ended at rest is replaced. Raises SubmitError."""
        await self._turn(deadline.to_leave)
        handover = Handover(deadline)
        future = self._started(mail, handover)
        try:
            await _end(future, handover)
        except asyncio.CancelledError:
            handover.give_up()
            raise
        if not future.done():
            raise handover.too_late()
        result = future.result()
        if isinstance(result, SubmitError):
            raise result
        return result

    async def close(self) -> None:
        """Leave the rested sessions, and cut off the mails that are still under way: their threads end."""
        self._closed = True
        for handover in self._underway.values():
            handover.give_up()
        ending: list[asyncio.Future[Any]] = list(self._underway)
        ending += [asyncio.wrap_future(self._threads.submit(session.leave)) for session in self._resting.close()]
        self._threads.shutdown(wait=False)
        if self._look_again is not None:
            self._look_again.cancel()
        if ending:
            await asyncio.wait(ending, timeout=2 * GOODBYE_S)

    # In the event loop.

    async def _turn(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._turns.acquire()
        except TimeoutError:
            detail = f"{self._size} mails were under way until the deadline"
            raise SubmitError(Reason.TIMEOUT, detail, handed_over=False) from None

    def _started(self, mail: Mail, handover: Handover) -> "asyncio.Future[_Result]":
        if self._closed:
            self._turns.release()
            raise SubmitError(Reason.UNREACHABLE, "the gateway was closed", handed_over=False)
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._deliver, mail, handover)
        self._underway[future] = handover
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: "asyncio.Future[_Result]") -> None:
        """The thread is free, which may be long after the mail was given up."""
        del self._underway[future]
        self._turns.release()
        if self._look_again is None and not self._closed:
            self._look_again = asyncio.get_running_loop().call_later(self._idle_s, self._retire)

    def _retire(self) -> None:
        self._look_again = None
        for session in self._resting.take_idle(time.monotonic() - self._idle_s):
            self._threads.submit(session.leave)
        if self._resting:
            self._look_again = asyncio.get_running_loop().call_later(self._idle_s, self._retire)

    # In a thread.

    def _deliver(self, mail: Mail, handover: Handover) -> _Result:
        """A fault is returned, not raised: nobody may be waiting for it any more."""
        try:
            while not handover.given_up and (session := self._resting.take()) is not None:
                reply = self._try_rested(session, mail, handover)
                if reply is not None:
                    return reply
            return self._through(connect(self._server, handover), mail, handover)
        except RefusedError as refused:
            return refused.reply
        except SubmitError as error:
            return error

    def _try_rested(self, session: Session, mail: Mail, handover: Handover) -> SmtpReply | None:
        """The answer; None when the session turned out to have ended before the mail was handed over."""
        try:
            reply = self._through(session, mail, handover)
        except SubmitError as error:
            if error.handed_over or error.reason is not Reason.UNREACHABLE:
                raise
            return None
        ended = reply.code == SERVICE_CLOSING and reply.step != "content"
        return None if ended else reply

    def _through(self, session: Session, mail: Mail, handover: Handover) -> SmtpReply:
        try:
            reply = session.send(mail, handover)
        except BaseException:
            session.abort()
            raise
        if not handover.finish() or reply.code == SERVICE_CLOSING:
            session.abort()
        elif not self._resting.keep(session):
            session.leave()
        return reply


async def _end(future: "asyncio.Future[_Result]", handover: Handover) -> None:
    """Wait for the end of a mail, or give it up in time: each read has its limit, but a thread may wait for a name."""
    await asyncio.wait({future}, timeout=handover.deadline.to_leave.remaining())
    if not future.done() and not handover.give_up(unless_left=True):
        await asyncio.wait({future}, timeout=handover.deadline.remaining())
        if not future.done():
            handover.give_up()


class _Resting:
    """The sessions between two mails. Threads take and keep them, the event loop ends them."""

    def __init__(self) -> None:
        self._sessions: list[Session] = []
        self._lock = threading.Lock()
        self._closed = False

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def take(self) -> Session | None:
        """The one that rested least and is still good; those that are not are thrown away."""
        while (session := self._last()) is not None:
            if session.ready:
                return session
            session.abort()
        return None

    def keep(self, session: Session) -> bool:
        """Whether it may rest: not after `close`."""
        session.rests_since = time.monotonic()
        with self._lock:
            if not self._closed:
                self._sessions.append(session)
            return not self._closed

    def take_idle(self, before: float) -> list[Session]:
        """Those that have rested since before a point on the monotonic clock: they rest here no more."""
        with self._lock:
            found = [session for session in self._sessions if session.rests_since <= before]
            self._sessions = [session for session in self._sessions if session.rests_since > before]
            return found

    def close(self) -> list[Session]:
        """All of them; no other will be kept."""
        with self._lock:
            self._closed = True
            found, self._sessions = self._sessions, []
            return found

    def _last(self) -> Session | None:
        with self._lock:
            return self._sessions.pop() if self._sessions else None
