"""One client's connection: who it is, how long it may take, and what it hears when it does not speak HTTP.

aiohttp waits for ever for the rest of a header and for a client that does not read its answer; the timer here does not.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import StreamReader, http_exceptions, web

from smsgwd.caller import Caller
from smsgwd.certificates import Certificate
from smsgwd.errors import RequestError
from smsgwd.server.access import read_caller
from smsgwd.server.problems import problem

log = logging.getLogger("smsgwd.server")

_MAX_HEADER = 8190  # octets of the request line, and of one header
_MAX_HEADERS = 64
_LINGER_S = 1.0  # a body that we refused is read that long, so that the client comes to read why


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one client may take. Times in seconds."""

    request_s: float = 10.0  # from the first octet of a request to its last
    answer_s: float = 10.0  # for the client to take the answer
    idle_s: float = 60.0  # between requests
    connections_per_caller: int = 1024  # by name
    connections_over_tcp: int = 8192  # of all addresses: whatever comes there, the Unix socket has files left to open
    spare_connections: int = 64  # further ones hear `overloaded`; what comes beyond them is closed
    in_flight: int = 4096  # sends at once; of the last quarter each caller gets an equal part


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who came in, and how many connections he had before. `caller` None: nobody can tell; `full`: TCP has no room."""

    caller: Caller | None
    open_already: int = 0
    full: bool = False


class Connection(web.RequestHandler):
    """The protocol of one connection. `caller` is who opened it; `crowded` says that its caller has too many.

    `listener` is the name of the TCP listener that it came to; `ticket` is of one that was counted before, for TLS.
    """

    __slots__ = (
        *("_answering", "_body", "_doors", "_listener", "_said_all", "_secured", "_ticket", "_timer"),
        *("caller", "crowded", "limits"),
    )

    def __init__(self, doors: "Doors", listener: str = "", ticket: Ticket | None = None, **settings: Any) -> None:
        super().__init__(doors, **settings)
        self._doors = doors
        self._listener = listener
        self._ticket = ticket
        self._secured = False
        self.limits = doors.limits
        self._timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._said_all = False
        self._body: StreamReader | None = None
        self.caller: Caller | None = None
        self.crowded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected: the kernel says who."""
        self._secured = transport.get_extra_info("sslcontext") is not None
        ticket = self._ticket or self._doors.enter(transport, self._listener)
        self.caller = ticket.caller
        self.crowded = ticket.open_already >= self.limits.connections_per_caller
        super().connection_made(transport)
        if self._doors.refuses(ticket):
            self.drop()
        else:
            self._allow(self.limits.request_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; what it asked for goes on."""
        self._stop_timer()
        self._doors.leave(self.caller)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request; its first one starts the clock."""
        if self._timer is None and not self._answering:
            self._allow(self.limits.request_s)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp says None: it never keeps a connection open
        """The client has said all that it has to say. A complete request still gets its answer (`nc -N`, shutdown)."""
        idle = self._waiter is not None and not self._waiter.done()
        unfinished = self._body is not None and not self._body.is_eof()
        self._said_all = True
        self.close()
        # asyncio ends both directions of TLS at once, and says so in the log if asked for anything else
        return not idle and not unfinished and not self._secured

    def request_begins(self, body: StreamReader) -> None:
        """The header is there. One that was already waiting behind another request gets its own time for the body."""
        self._answering, self._body = True, body
        if self._said_all and not body.is_eof():
            self.drop()
        if self._timer is None:
            self._allow(self.limits.request_s)

    def refuse_crowd(self) -> None:
        """Raises RequestError overloaded on a connection that is one too many."""
        if self.crowded:
            raise RequestError("overloaded", "too many connections of this user")

    def request_is_read(self) -> None:
        """The request is complete: how long its answer takes is not the client's fault."""
        self._stop_timer()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; a client that does not take it is dropped."""
        self._allow(self.limits.answer_s)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._stop_timer()
            self._answering, self._body = False, None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it repeats what the client sent
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, without a word in the log: anybody could fill it."""
        if isinstance(exc, ConnectionError) or request.writer.output_size:
            raise ConnectionResetError("nobody is there to be answered, or an answer has begun") from None
        if status == 400:
            long = isinstance(exc, http_exceptions.LineTooLong)
            error = RequestError("malformed-request", "the header is too large" if long else "this is not HTTP/1.1")
        else:
            log.error("unforeseen failure of an answer", exc_info=exc)
            error = RequestError("internal", "something unforeseen went wrong")
        refusal = problem(error)
        refusal.force_close()
        return refusal

    def _allow(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self.drop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drop(self) -> None:
        """Break the connection off."""
        # abort, not close: close would wait for a client that does not read
        if self.transport is not None:
            self.transport.abort()


class Handshake(asyncio.Protocol):
    """The beginning of a TLS connection: counted from its first octet, bounded in time, then handed to a `Connection`.

    asyncio's own TLS servers make a protocol when the handshake is done: until then nobody would count.
    """

    def __init__(self, doors: "Doors", listener: str) -> None:
        self._doors = doors
        self._listener = listener
        self._ticket = Ticket(None)
        self._early: list[bytes] = []  # what came between the end of the handshake and the handing over
        self._ended = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not the transport of a stream")
        self._ticket = self._doors.enter(transport, self._listener)
        certificate = self._doors.certificates.get(self._listener)
        if self._doors.refuses(self._ticket) or certificate is None:
            transport.abort()
            return
        transport.pause_reading()  # what comes is for the handshake
        self._doors.begin(self._shake_hands(transport, certificate))

    async def _shake_hands(self, transport: asyncio.Transport, certificate: Certificate) -> None:
        secured = None
        try:
            with suppress(OSError):  # no TLS, none that both know, or too slow
                secured = await asyncio.get_running_loop().start_tls(
                    transport,
                    self,
                    certificate.context,
                    server_side=True,
                    ssl_handshake_timeout=self._doors.limits.request_s,
                    ssl_shutdown_timeout=self._doors.limits.answer_s,
                )
        finally:
            if secured is None:
                transport.abort()
                self._leave()
        if secured is not None and not self._lost:
            self._hand_over(secured)

    def _hand_over(self, secured: asyncio.Transport) -> None:
        connection = self._doors.connection(self._listener, self._ticket)
        secured.set_protocol(connection)
        connection.connection_made(secured)
        for data in self._early:
            connection.data_received(data)
        if self._ended:
            connection.eof_received()

    def data_received(self, data: bytes) -> None:
        """The beginning of a request, in the last moment of the handshake."""
        self._early.append(data)

    def eof_received(self) -> bool:
        """The client has said all."""
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone, or was one too many."""
        self._leave()

    def _leave(self) -> None:
        if not self._lost:
            self._lost = True
            self._doors.leave(self._ticket.caller)


class Doors(web.Server):
    """Makes a `Connection` for each client and counts them by caller.

    `certificates` are those of the TLS listeners, by their names, as they are at this moment.
    """

    def __init__(self, serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(serve)
        self.limits = limits
        self.certificates: Mapping[str, Certificate] = {}
        self._open: Counter[str] = Counter()
        self._over_tcp = 0
        self._handshakes: set[asyncio.Task[None]] = set()

    def __call__(self) -> Connection:
        """The protocol of a new connection to the Unix socket."""
        return self.connection()

    def entrance(self, listener: str, *, tls: bool) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a new connection to that listener."""
        return lambda: Handshake(self, listener) if tls else self.connection(listener)

    def connection(self, listener: str = "", ticket: Ticket | None = None) -> Connection:
        """The protocol of a connection."""
        return Connection(
            self,
            listener,
            ticket,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self.limits.idle_s,
            lingering_time=_LINGER_S,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            max_headers=_MAX_HEADERS,
            tcp_keepalive=False,
        )

    def begin(self, handshake: Coroutine[Any, Any, None]) -> None:
        """Let a handshake go on by itself."""
        task = self._loop.create_task(handshake)
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def pre_shutdown(self) -> None:
        """No request can come of what has only begun; connections that rest are closed."""
        for handshake in self._handshakes:
            handshake.cancel()
        super().pre_shutdown()

    def enter(self, transport: asyncio.BaseTransport, listener: str) -> Ticket:
        """Count a connection."""
        try:
            caller = read_caller(transport.get_extra_info("socket"), listener)
        except OSError:  # of TCP: it was gone before we looked
            return Ticket(None)
        self._open[caller.name] += 1
        self._over_tcp += bool(caller.address)
        return Ticket(caller, self._open[caller.name] - 1, self._over_tcp > self.limits.connections_over_tcp)

    def refuses(self, ticket: Ticket) -> bool:
        """Whether there is no room for it, not even to be told so."""
        most = self.limits.connections_per_caller + self.limits.spare_connections
        if ticket.caller is None or ticket.open_already >= most:
            return True
        return ticket.full and bool(ticket.caller.address)

    def leave(self, caller: Caller | None) -> None:
        """A connection is gone."""
        if caller is not None:
            self._over_tcp -= bool(caller.address)
            self._open[caller.name] -= 1
            if not self._open[caller.name]:
                del self._open[caller.name]
