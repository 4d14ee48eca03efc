"""The engine on requests: `HTTPAdapter.send` in threads of the gateway's own.

Of requests only the adapter is used: a `Session` would read proxies, netrc and CA bundles of the environment, follow
redirects and keep cookies. Below it our own connection class says when the request begins to be written, because that
is what an outcome is about, and gives up a request whose time is over before that.
"""

import asyncio
import http.client
import logging
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from typing import Any

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.wait import wait_for_read

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._http import wire
from smsgwd.providers._http.wire import Endpoint, WireRequest, WireResponse
from smsgwd.providers._net import addresses
from smsgwd.providers._net.tls import TlsFileError
from smsgwd.units import Deadline

WORKERS = 32  # threads and connections of one gateway
_READ_OCTETS = 16 * 1024

_NO_HEADER = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect)

# Its debug lines, and some of its warnings, hold the URL: numbers, texts and credentials.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class _Handover:
    """What the event loop and the thread know in common of one exchange: how far it went, and whether it may go on."""

    def __init__(self, deadline: Deadline, connect_timeout_s: float) -> None:
        self.deadline = deadline
        self.connect_by = deadline.to_leave.earlier(connect_timeout_s)
        self.written = False
        self._abandoned = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def use(self, connection: socket.socket, *, to_write: bool = False) -> None:
        """From here on this socket is the one to shut; `to_write`: the next step writes the request.

        Raises OSError when the exchange was given up.
        """
        with self._lock:
            if self._abandoned:
                raise OSError("given up")
            self._socket = connection
            self.written = self.written or to_write

    def abandon(self) -> bool:
        """Give it up, and shut the socket so that the thread wakes. Tells whether the request may have left."""
        with self._lock:
            self._abandoned = True
            if self._socket is not None and self._socket.fileno() >= 0:
                _shut(self._socket)
            return self.written


def _shut(connected: socket.socket) -> None:
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # the one below TLS: SSLSocket's own would unwrap it
    except OSError:  # it is not connected any more
        return


class _Here(threading.local):
    handover: _Handover


_here = _Here()


class _Lines:
    """The lines of a head. The standard library takes a head that breaks off for a whole one."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self, limit: int) -> bytes:
        line: bytes = self._lines.readline(limit)
        if not line:
            raise http.client.RemoteDisconnected("inside the head")
        return line

    def close(self) -> None:
        self._lines.close()


class _Response(http.client.HTTPResponse):
    """Stricter than the standard library where half an answer would pass for a whole one."""

    def begin(self) -> None:
        lines: Any = self.fp
        guarded: Any = _Lines(lines)
        self.fp = guarded
        try:
            super().begin()
        finally:
            self.fp = lines
        if any(isinstance(defect, _NO_HEADER) for defect in self.msg.defects):
            raise http.client.HTTPException("a line of the head is no header")

    def _read_status(self) -> tuple[str, int, str]:
        """Passes over each interim answer (RFC 9110, 15.2); the standard library does so for 100 alone."""
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # not in the stubs
            if not 100 <= line[1] < 200 or line[1] == 101:
                return line
            http.client.parse_headers(self.fp)


class _WatchedConnection(HTTPConnection):
    """A connection that tells its exchange's `_Handover` how far it is."""

    response_class = _Response
    idle_s = wire.IDLE_S
    rests_since = 0.0

    def _new_conn(self) -> socket.socket:
        handover = _here.handover
        try:
            return _connect(self._dns_host, self.port or 0, handover)
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error

    def request(self, method: str, url: str, *args: Any, **options: Any) -> None:
        if self.is_closed:
            self.connect()
            if self._speaks_first():
                raise NewConnectionError(self, "spoke first")
        _here.handover.use(self.sock, to_write=True)
        super().request(method, url, *args, **options)

    def _speaks_first(self) -> bool:
        return self.sock is not None and wait_for_read(self.sock, timeout=0.0)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self.idle_s = wire.idle_limit(response.headers.get("Keep-Alive"))
        return response

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again; urllib3 asks just before it writes."""
        return time.monotonic() - self.rests_since < self.idle_s and super().is_connected


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    def _speaks_first(self) -> bool:
        return False  # session tickets come first, and are no answer


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.rests_since = time.monotonic()
        super()._put_conn(conn)


class _HttpsPool(_HttpPool, HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection

    def _validate_conn(self, conn: Any) -> None:
        if conn.is_closed:  # urllib3 connects here, too; it also warns of each connection with `verify: false`
            conn.connect()


def _connect(host: str, port: int, handover: _Handover) -> socket.socket:
    connected = addresses.connect(addresses.resolve(host, port), handover.connect_by, handover.use)
    connected.settimeout(max(handover.connect_by.remaining(), 0.001))  # for the tunnel and the TLS handshake
    return connected


class _Adapter(HTTPAdapter):
    """requests' adapter with one pool, made from the gateway's file alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(pool_connections=1, pool_maxsize=WORKERS, max_retries=0, pool_block=False)
        self._endpoint = endpoint
        self._pool = _pool(endpoint)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing to do: the pool has its TLS context."""

    def request_url(self, request: PreparedRequest, _proxies: Any) -> str:
        url = str(request.url)
        return url if self._endpoint.forwarded else url.removeprefix(self._endpoint.origin)

    def build_response(self, _req: PreparedRequest, resp: Any) -> Response:
        response = Response()  # without the cookies, which take longer than all the rest
        response.status_code = resp.status
        response.raw = resp
        return response

    def close(self) -> None:
        self._pool.close()
        super().close()


def _pool(endpoint: Endpoint) -> HTTPConnectionPool:
    options: dict[str, Any] = {"num_pools": 1, "maxsize": WORKERS, "block": False}
    if endpoint.scheme == "https":
        options["ssl_context"] = endpoint.tls.context
    manager = _proxy_manager(endpoint, options) if endpoint.proxy else PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager.connection_from_host(endpoint.host, endpoint.port, endpoint.scheme)


def _proxy_manager(endpoint: Endpoint, options: Mapping[str, Any]) -> ProxyManager:
    host, port = endpoint.peer
    authorization = endpoint.proxy.authorization if endpoint.proxy else None
    headers = {"Proxy-Authorization": authorization.decode()} if authorization else {}
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return ProxyManager(url, proxy_headers=headers, **options)


class RequestsEngine:
    """Sends through requests, at most `WORKERS` at a time; more wait inside their deadline."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._seats = asyncio.Semaphore(WORKERS)
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="http")
        self._adapter: _Adapter | None = None
        self._underway: set[_Handover] = set()

    async def exchange(self, request: WireRequest, deadline: Deadline) -> WireResponse:
        """Send it and read the answer. Raises SubmitError when there is none in time."""
        deadline = deadline.earlier(self._endpoint.total_timeout_s)
        adapter = self._adapter or self._make_adapter()
        await self._take_seat(deadline.to_leave)
        handover = _Handover(deadline, self._endpoint.connect_timeout_s)
        self._underway.add(handover)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, _exchange, adapter, self._endpoint, request, handover)
        future.add_done_callback(lambda _: self._give_seat(handover))
        return await self._answer(future, handover)

    async def close(self) -> None:
        """Close the kept connections; what is still under way is cut off, and its thread ends."""
        for handover in self._underway:
            handover.abandon()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._adapter is not None:
            self._adapter.close()

    def _make_adapter(self) -> "_Adapter":
        try:
            self._adapter = _Adapter(self._endpoint)
        except TlsFileError as error:
            raise SubmitError(Reason.CONFIG, str(error), handed_over=False, retryable=False) from error
        return self._adapter

    async def _take_seat(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._seats.acquire()
        except TimeoutError:
            raise wire.all_busy(WORKERS) from None

    def _give_seat(self, handover: _Handover) -> None:
        self._underway.discard(handover)
        self._seats.release()

    async def _answer(self, future: "asyncio.Future[WireResponse | SubmitError]", handover: _Handover) -> WireResponse:
        try:
            # the thread's own time limits are per read; against headers that drip only this one helps
            await asyncio.wait({future}, timeout=handover.deadline.remaining())
        except asyncio.CancelledError:
            handover.abandon()
            raise
        if not future.done():
            raise wire.too_late(written=handover.abandon())
        result = future.result()
        if isinstance(result, SubmitError):
            raise result
        return result


def _exchange(
    adapter: _Adapter, endpoint: Endpoint, request: WireRequest, handover: _Handover
) -> WireResponse | SubmitError:
    """One exchange, in a thread. A fault is returned, not raised: nobody may be waiting for it any more."""
    _here.handover = handover
    try:
        timeout = (handover.connect_by.remaining(), handover.deadline.remaining())
        response = adapter.send(_prepared(endpoint, request), stream=True, timeout=timeout)
        try:
            return _read(response.raw, handover.deadline)
        finally:
            response.raw.close()  # after an answer read to its end this leaves the connection to the pool
    except SubmitError as error:
        return error
    except (RequestException, HTTPError, OSError, http.client.HTTPException, ValueError) as error:
        return _fault(error, endpoint, handover)


def _fault(error: Exception, endpoint: Endpoint, handover: _Handover) -> SubmitError:
    if handover.deadline.passed:
        return wire.too_late(written=handover.written)
    return wire.no_answer(error) if handover.written else wire.not_connected(error, endpoint)


def _prepared(endpoint: Endpoint, request: WireRequest) -> PreparedRequest:
    prepared = PreparedRequest()  # filled in by hand: `prepare` would add headers of its own and encode again
    prepared.method = request.method
    prepared.url = endpoint.origin + request.target
    prepared.headers = CaseInsensitiveDict[Any](request.headers)
    prepared.body = request.body or None
    return prepared


def _read(raw: BaseHTTPResponse, deadline: Deadline) -> WireResponse:
    body = bytearray()
    while len(body) <= wire.MAX_BODY_OCTETS:
        if deadline.passed:
            raise wire.too_late(written=True)
        piece = raw.read1(_READ_OCTETS, decode_content=False)
        if not piece:
            break
        body += piece
    headers = tuple(raw.headers.items())
    cut = len(body) > wire.MAX_BODY_OCTETS
    return WireResponse(raw.status, headers, bytes(body[: wire.MAX_BODY_OCTETS]), truncated=cut)
