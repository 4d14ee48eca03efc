"""The engine of our own: HTTP/1.1 over asyncio's transports, with llhttp's parser (the package httptools).

It knows when the first octet of a request is written, looks at a kept connection just before writing on it, and takes a
tenth of the time that requests takes.
"""

import asyncio
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httptools

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._http import wire
from smsgwd.providers._http.wire import Endpoint, WireRequest, WireResponse
from smsgwd.providers._net import addresses
from smsgwd.providers._net.addresses import Address
from smsgwd.providers._net.tls import TlsFileError
from smsgwd.units import Deadline

CONNECTIONS = 256  # of one gateway, kept ones included
_TLS_CLOSE_S = 1.0  # how long a peer may take to say goodbye
_NOTHING_SAID = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLRDHUP


class _Answer:
    """Collects one answer from the parser's events. Interim answers (RFC 9110, 15.2) are passed over."""

    def __init__(self) -> None:
        self.complete = False
        self.cut = False
        self.status = 0  # of the final answer; 0 before its head is there
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._head_octets = 0
        self._keep = False
        self._parser = httptools.HttpResponseParser(self)
        # What old servers write and every other client reads: bare line feeds, spaces after a chunk size.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_data_after_close=True,
        )

    def feed(self, data: bytes) -> None:
        """Take what came. Raises httptools.HttpParserError for what is not HTTP."""
        if not self.status:
            self._head_octets += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # 101, that nobody asked for: the answer ends with its head
            self.complete = True
        if not self.status and self._head_octets > wire.MAX_HEAD_OCTETS:
            raise httptools.HttpParserError("the head of the answer is too large")

    def end(self) -> None:
        """The peer sends no more: that ends a body without a length (RFC 9112, 6.3)."""
        framed = self.header("Content-Length") is not None or self.header("Transfer-Encoding") is not None
        if self.status and not framed:
            self.complete = True

    def header(self, name: str) -> str | None:
        """The value of the first field of that name."""
        return wire.find_header(tuple(self._headers), name)

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self._keep and not self.cut and self.status >= 200

    def response(self) -> WireResponse:
        """The answer as far as it is read."""
        return WireResponse(self.status, tuple(self._headers), bytes(self._body), truncated=self.cut)

    # The parser calls these.

    def on_message_begin(self) -> None:
        self._keep = False  # a second answer, to nothing

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # later ones are trailers
            self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.complete:
            return
        if status >= 200 or status == 101:
            self.status = status
        else:
            self._headers.clear()

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            return
        room = wire.MAX_BODY_OCTETS - len(self._body)
        self._body += piece[:room]
        self.cut = self.cut or len(piece) > room

    def on_message_complete(self) -> None:
        if self.complete:
            return
        self.complete = bool(self.status)
        self._keep = self.complete and bool(self._parser.should_keep_alive())


class _Connection(asyncio.Protocol):
    """One connection, used for one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.closed = asyncio.get_running_loop().create_future()
        self.rests_until = 0.0
        self._answer: _Answer | None = None
        self._done: asyncio.Future[WireResponse] | None = None

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: a stream transport it is
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._done is None or self._done.done():
            self.transport.abort()  # nobody asked
            return
        try:
            self._answer.feed(data)
        except httptools.HttpParserError:
            self._fail(wire.not_http())
            return
        if self._answer.complete or self._answer.cut:
            self._finish(self._answer)

    def eof_received(self) -> None:
        if self._answer is not None:
            self._answer.end()
            if self._answer.complete:
                self._finish(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(wire.no_answer(exc))
        if not self.closed.done():
            self.closed.set_result(None)

    # The engine calls these.

    @property
    def ready(self) -> bool:
        """Whether a request can be written: not closed, not hung up, nothing said unasked, not rested too long."""
        if self.transport.is_closing() or time.monotonic() >= self.rests_until:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), _NOTHING_SAID)
        return not poll.poll(0)

    async def exchange(self, octets: bytes, deadline: Deadline, endpoint: Endpoint) -> WireResponse:
        """Write the request and read the answer. Raises SubmitError."""
        loop = asyncio.get_running_loop()
        self._answer, self._done = _Answer(), loop.create_future()
        timer = loop.call_later(deadline.remaining(), self._fail, wire.too_late(written=True))
        try:
            self._write(octets, deadline, endpoint)
            return await self._done
        finally:
            timer.cancel()
            self._done.cancel()  # where nothing was written, nobody waits for it
            if not self._answer.reusable:
                self.transport.abort()
            self._answer = None

    def _write(self, octets: bytes, deadline: Deadline, endpoint: Endpoint) -> None:
        if deadline.passed:
            raise wire.too_late(written=False)
        if self.transport.is_closing():
            raise wire.spoke_first(endpoint)
        self.transport.write(octets)
        if endpoint.scheme == "http" and self.transport.is_closing():  # the very first octet was refused
            raise wire.unreachable(endpoint, "the connection was closed")

    def _finish(self, answer: _Answer) -> None:
        self.rests_until = time.monotonic() + wire.idle_limit(answer.header("Keep-Alive"))
        if self._done is not None and not self._done.done():
            self._done.set_result(answer.response())

    def _fail(self, error: SubmitError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.transport.abort()


class LlhttpEngine:
    """Sends over at most `CONNECTIONS` kept connections; more sends wait inside their deadline."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._seats = asyncio.Semaphore(CONNECTIONS)
        self._resting: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._resolver = _Resolver(*endpoint.peer)

    async def exchange(self, request: WireRequest, deadline: Deadline) -> WireResponse:
        """Send it and read the answer. Raises SubmitError when there is none in time."""
        deadline = deadline.earlier(self._endpoint.total_timeout_s)
        await self._take_seat(deadline.to_leave)
        try:
            connection = self._rested() or await self._connect(deadline)
            response = await connection.exchange(_octets(self._endpoint, request), deadline, self._endpoint)
            if not connection.transport.is_closing():
                self._resting.append(connection)
            return response
        finally:
            self._seats.release()

    async def close(self) -> None:
        """Close all connections; what is still under way ends as `unknown`."""
        self._resting.clear()
        self._resolver.close()
        for connection in self._open:
            connection.transport.abort()
        if self._open:
            await asyncio.wait([connection.closed for connection in self._open], timeout=_TLS_CLOSE_S)

    async def _take_seat(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._seats.acquire()
        except TimeoutError:
            raise wire.all_busy(CONNECTIONS) from None

    def _rested(self) -> _Connection | None:
        """The connection that rested least and is still good; those that are not are thrown away."""
        while self._resting:
            connection = self._resting.pop()
            if connection.ready:
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, deadline: Deadline) -> _Connection:
        connect_by = deadline.to_leave.earlier(self._endpoint.connect_timeout_s)
        try:
            async with asyncio.timeout(connect_by.remaining()):
                return await self._opened(connect_by)
        except TlsFileError as error:
            raise SubmitError(Reason.CONFIG, str(error), handed_over=False, retryable=False) from error
        except (OSError, TimeoutError) as error:
            raise (
                wire.too_late(written=False) if deadline.passed else wire.not_connected(error, self._endpoint)
            ) from error

    async def _opened(self, connect_by: Deadline) -> _Connection:
        connected = await _connected(await self._resolver.addresses(), connect_by)
        try:
            if self._endpoint.proxy and not self._endpoint.forwarded:
                await _open_tunnel(connected, self._endpoint)
            connection = await self._over(connected)
        except BaseException:
            connected.close()
            raise
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _over(self, connected: socket.socket) -> _Connection:
        """The connection on a connected socket: after the TLS handshake, or after a look whether the peer is quiet."""
        loop = asyncio.get_running_loop()
        tls = self._endpoint.tls.context if self._endpoint.scheme == "https" else None
        _, connection = await loop.create_connection(
            _Connection,
            sock=connected,
            ssl=tls,
            server_hostname=self._endpoint.host.rstrip(".") if tls else None,
            ssl_shutdown_timeout=_TLS_CLOSE_S if tls else None,
        )
        connection.rests_until = float("inf")
        if not tls and not connection.ready:
            connection.transport.abort()
            raise wire.spoke_first(self._endpoint)
        return connection


class _Resolver:
    """Looks a name up in a thread of its own, once for all who wait for it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._literal = addresses.is_literal(host)
        self._thread: ThreadPoolExecutor | None = None
        self._lookup: asyncio.Future[list[Address]] | None = None

    async def addresses(self) -> list[Address]:
        """The host's addresses. Raises socket.gaierror."""
        if self._literal:
            return addresses.resolve(self._host, self._port)
        if self._lookup is None or self._lookup.done():
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="resolve")
            loop = asyncio.get_running_loop()
            self._lookup = loop.run_in_executor(self._thread, addresses.resolve, self._host, self._port)
            self._lookup.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, if nobody waits
        return await asyncio.shield(self._lookup)

    def close(self) -> None:
        """Let the thread end."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


async def _connected(found: list[Address], connect_by: Deadline) -> socket.socket:
    loop = asyncio.get_running_loop()
    for number, address in enumerate(found):
        left = len(found) - number
        fresh = address.open()
        fresh.setblocking(False)
        try:
            async with asyncio.timeout(addresses.share(connect_by.remaining(), left)):
                await loop.sock_connect(fresh, address.sockaddr)
        except BaseException as error:
            fresh.close()
            if left == 1 or not isinstance(error, OSError):
                raise
        else:
            return fresh
    raise OSError("no address")


async def _open_tunnel(connected: socket.socket, endpoint: Endpoint) -> None:
    """Ask the proxy for a tunnel (RFC 9110, 9.3.6). Raises SubmitError, OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, _connect_request(endpoint))
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        piece = await loop.sock_recv(connected, 4096)
        head += piece
        if not piece or len(head) > wire.MAX_HEAD_OCTETS:
            raise wire.unreachable(endpoint, "it closed the connection when asked for a tunnel")
    version, _, rest = head.partition(b" ")
    status = int(rest[:3]) if version.startswith(b"HTTP/") and rest[:3].isdigit() else 502
    if not 200 <= status < 300:
        raise wire.tunnel_refused(status)


def _connect_request(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    authority = f"{host}:{endpoint.port}".encode()
    block = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (authority, authority)
    return block + _proxy_authorization(endpoint) + b"\r\n"


def _octets(endpoint: Endpoint, request: WireRequest) -> bytes:
    target = endpoint.origin + request.target if endpoint.forwarded else request.target
    block = [f"{request.method} {target} HTTP/1.1\r\n".encode("ascii")]
    block += [b"%b: %b\r\n" % (name.encode("ascii"), value) for name, value in request.headers]
    if endpoint.forwarded:
        block.append(_proxy_authorization(endpoint))
    return b"".join((*block, b"\r\n", request.body))


def _proxy_authorization(endpoint: Endpoint) -> bytes:
    if endpoint.proxy is None or endpoint.proxy.authorization is None:
        return b""
    return b"Proxy-Authorization: %b\r\n" % endpoint.proxy.authorization
