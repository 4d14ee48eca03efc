"""One connection to an SMSC: requests go out numbered, answers find theirs by the number (SMPP v3.4, 2.2 and 3.2)."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from smsgwd.providers.smpp import pdu
from smsgwd.providers.smpp.pdu import Command, Frame, FrameError

_LINGER_S = 1.0  # an answer to unbind is flushed this long, whether the peer reads or not
_RINVCMDID = 0x03


class NoAnswerError(Exception):
    """A request that stays without an answer."""


class SilenceError(NoAnswerError):
    """The time for the answer is over; the connection still stands."""


class LostError(NoAnswerError):
    """The connection has ended; its text says how."""


Landed = Callable[[Frame | NoAnswerError], None]


@dataclass(frozen=True, slots=True)
class _Pending:
    command: Command
    landed: Landed
    timer: asyncio.TimerHandle


class Session(asyncio.Protocol):
    """A connection from its first octet to its last.

    `delivered` gets each deliver_sm and data_sm, which are answered already, and each answer that nobody waits for.
    `changed` is called when the session can write again and when it has ended.
    """

    def __init__(self, delivered: Callable[[Frame], None], changed: Callable[[], None]) -> None:
        self._delivered = delivered
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._framer = pdu.Framer()
        self._pending: dict[int, _Pending] = {}
        self._sequence = 0
        self._unwritten: list[bytes] = []
        self._blocked = False
        self.heard_at = 0.0  # when the peer last said something, on the loop's clock
        self.ended_by: str | None = None  # why it has ended; None while it stands

    @property
    def writable(self) -> bool:
        """Whether something more should be written."""
        return self.ended_by is None and not self._blocked

    def request(self, command: Command, body: bytes, timeout_s: float, landed: Landed) -> None:
        """Send a request. `landed` is called exactly once: with the answer, or with what came instead of one."""
        if self.ended_by is not None:
            landed(LostError(self.ended_by))
            return
        self._sequence = self._sequence % pdu.LAST_SEQUENCE + 1
        timer = self._loop.call_later(timeout_s, self._silent, self._sequence)
        self._pending[self._sequence] = _Pending(command, landed, timer)
        self._write(pdu.frame(command, self._sequence, body))

    async def ask(self, command: Command, body: bytes, timeout_s: float) -> Frame:
        """Send a request and wait for its answer. Raises NoAnswerError."""
        answer: asyncio.Future[Frame] = self._loop.create_future()

        def landed(got: Frame | NoAnswerError) -> None:
            if answer.done():
                return
            if isinstance(got, NoAnswerError):
                answer.set_exception(got)
            else:
                answer.set_result(got)

        self.request(command, body, timeout_s, landed)
        return await answer

    def end(self, why: str, *, abruptly: bool = False) -> None:
        """End the connection; what waits for an answer is told. What was written is still flushed unless `abruptly`."""
        if self.ended_by is not None:
            return
        self._flush()
        self.ended_by = why
        self._close(abruptly=abruptly)
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            waiting.timer.cancel()
            waiting.landed(LostError(why))
        self._changed()

    def _close(self, *, abruptly: bool) -> None:
        if self._transport is None:
            return
        if abruptly:
            self._transport.abort()
        else:
            self._transport.close()
            self._loop.call_later(_LINGER_S, self._transport.abort)

    def _silent(self, sequence: int) -> None:
        self._pending.pop(sequence).landed(SilenceError("no answer in time"))

    def _write(self, octets: bytes) -> None:
        # What one turn of the event loop brings leaves in one piece: a system call costs more than a PDU.
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(octets)

    def _flush(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if unwritten and self._transport is not None and self.ended_by is None:
            self._transport.write(b"".join(unwritten))

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, TLS included."""
        self._transport = cast("asyncio.Transport", transport)  # asyncio's promise for streams
        self.heard_at = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed it, or the network did."""
        self.end("the SMSC closed the connection" if exc is None else f"connection lost: {words(exc)}", abruptly=True)

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._blocked = False
        self._changed()

    def data_received(self, data: bytes) -> None:
        """Some octets, from a part of a PDU to many of them."""
        self.heard_at = self._loop.time()
        try:
            for frame in self._framer.feed(data):
                if self.ended_by is not None:
                    return
                self._received(frame)
        except FrameError as error:
            self.end(str(error), abruptly=True)

    # What the PDUs mean

    def _received(self, frame: Frame) -> None:
        if frame.is_response:
            self._answered(frame)
        else:
            self._asked(frame)

    def _answered(self, frame: Frame) -> None:
        waiting = self._pending.get(frame.sequence)
        if waiting is None or frame.command not in {waiting.command | pdu.RESPONSE, Command.GENERIC_NACK}:
            # It came too late, answers something else, or is a generic_nack for what the SMSC could not even number.
            self._delivered(frame)
            return
        del self._pending[frame.sequence]
        waiting.timer.cancel()
        waiting.landed(frame)

    def _asked(self, frame: Frame) -> None:
        match frame.command:
            case Command.DELIVER_SM | Command.DATA_SM:
                self._write(pdu.frame(frame.command | pdu.RESPONSE, frame.sequence, pdu.EMPTY_MESSAGE_ID))
                self._delivered(frame)
            case Command.ENQUIRE_LINK:
                self._write(pdu.frame(frame.command | pdu.RESPONSE, frame.sequence))
            case Command.UNBIND:
                self._write(pdu.frame(frame.command | pdu.RESPONSE, frame.sequence))
                self.end("the SMSC ended the bind (unbind)")
            case Command.ALERT_NOTIFICATION:
                pass  # SMPP 4.12.1: it has no answer
            case _:
                self._write(pdu.frame(Command.GENERIC_NACK, frame.sequence, status=_RINVCMDID))


def words(error: BaseException) -> str:
    """What a fault of the network is, in the system's words."""
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'handshake failure').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "no address of the host answers"  # each had a fault of its own
