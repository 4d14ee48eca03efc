"""One client's connection: who it is, how long it may take, and what it hears when it does not speak HTTP.

aiohttp waits for ever for the rest of a header and for a client that does not read its answer; the timer here does not.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import StreamReader, http_exceptions, web

from smsgwd.caller import Caller
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
    spare_connections: int = 64  # further ones hear `overloaded`; what comes beyond them is closed
    in_flight: int = 4096  # sends at once


class Connection(web.RequestHandler):
    """The protocol of one connection. `caller` is who opened it; `crowded` says that its caller has too many."""

    __slots__ = ("_answering", "_body", "_doors", "_said_all", "_timer", "caller", "crowded", "limits")

    def __init__(self, doors: "Doors", **settings: Any) -> None:
        super().__init__(doors, **settings)
        self._doors = doors
        self.limits = doors.limits
        self._timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._said_all = False
        self._body: StreamReader | None = None
        self.caller: Caller | None = None
        self.crowded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected: the kernel says who."""
        try:
            self.caller = read_caller(transport.get_extra_info("socket"))
        except OSError:
            log.warning("a connection without a caller was closed")
        open_already = self._doors.enter(self.caller)
        self.crowded = open_already >= self.limits.connections_per_caller
        super().connection_made(transport)
        if self.caller is None or open_already >= self.limits.connections_per_caller + self.limits.spare_connections:
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
        return not idle and not unfinished

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


class Doors(web.Server):
    """Makes a `Connection` for each client and counts them by caller."""

    def __init__(self, serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(serve)
        self.limits = limits
        self._open: Counter[str] = Counter()

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(
            self,
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

    def enter(self, caller: Caller | None) -> int:
        """Count a connection; returns how many its caller had before."""
        if caller is None:
            return 0
        self._open[caller.name] += 1
        return self._open[caller.name] - 1

    def leave(self, caller: Caller | None) -> None:
        """A connection is gone."""
        if caller is not None:
            self._open[caller.name] -= 1
            if not self._open[caller.name]:
                del self._open[caller.name]
