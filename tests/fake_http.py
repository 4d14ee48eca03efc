"""HTTP servers on loopback: one that a test scripts octet by octet, and what the tests of both engines share."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from smsgwd.errors import SubmitError
from smsgwd.providers._http import make_engine
from smsgwd.providers._http.wire import Endpoint, Engine, WireRequest, WireResponse
from smsgwd.units import Deadline

ENGINES = ("requests", "httptools")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line:
    """One accepted connection, as a script uses it."""

    def __init__(self, server: "RawServer", connected: socket.socket) -> None:
        self._server = server
        self._socket = connected
        self._unread = b""

    def read(self) -> bytes:
        """One request, recorded; empty when the client hung up."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return b""
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = _content_length(head)
        while len(rest) < length:
            if not self._more():
                return b""
            rest = self._unread.partition(b"\r\n\r\n")[2]
        request, self._unread = head + b"\r\n\r\n" + rest[:length], rest[length:]
        self._server.requests.append(request)
        self._server.asked.set()
        return request

    def _more(self) -> bool:
        data = self._socket.recv(65536)
        self._unread += data
        return bool(data)

    def send(self, octets: bytes) -> None:
        """Answer."""
        self._socket.sendall(octets)

    def drip(self, octets: bytes, every_s: float = 0.05) -> None:
        """Answer one octet at a time until the client hangs up."""
        for octet in octets:
            self.send(bytes([octet]))
            if self._server.stopped.wait(every_s):
                return

    def silence(self) -> None:
        """Say nothing until the client hangs up or the test is over."""
        with contextlib.suppress(OSError):
            while self._socket.recv(65536):
                pass

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def reset(self) -> None:
        """Hang up with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def tunnel(self, host: str, port: int) -> None:
        """Pass octets on in both directions, as a proxy does after CONNECT."""
        with socket.create_connection((host, port)) as other:
            back = threading.Thread(target=_pump, args=(other, self._socket), daemon=True)
            back.start()
            _pump(self._socket, other)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


Script = Callable[[Line], object]


class RawServer:
    """Runs a script for each connection, in a thread; counts connections and keeps the octets of each request."""

    def __init__(self, script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self.asked = threading.Event()  # set when a request is read
        self.hung_up = threading.Event()  # set when the script of a connection is over
        self._script = script
        self._tls = tls
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=self._family, backlog=128)
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connected in self._open:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def endpoint(self, **settings: Any) -> Endpoint:
        """The endpoint of this server."""
        values: dict[str, Any] = {"scheme": "https" if self._tls else "http", "host": self.host, "port": self.port}
        return Endpoint(**(values | settings))

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connected)
            thread = threading.Thread(target=self._serve, args=(connected,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        try:
            if self._tls:
                connected = self._tls.wrap_socket(connected, server_side=True)
                self._open.append(connected)
            self._script(Line(self, connected))
        except OSError:  # the client hung up, or the handshake failed
            pass
        finally:
            connected.close()
            self.hung_up.set()


def answers(*octets: bytes) -> Script:
    """A script that answers one request after the other on a connection with these, the last one again and again."""

    def script(line: Line) -> None:
        queue = list(octets)
        while line.read():
            line.send(queue.pop(0) if len(queue) > 1 else queue[0])

    return script


def once(*octets: bytes) -> Script:
    """A script that reads a request, writes these and hangs up."""

    def script(line: Line) -> None:
        if line.read():
            for piece in octets:
                line.send(piece)

    return script


def http(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    """An answer with a length."""
    lines = [b"HTTP/1.1 %d x" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def request(body: bytes = b"text=hi", host: str = "x", method: str = "POST") -> WireRequest:
    """A request such as the provider makes."""
    headers = (
        ("Host", host.encode()),
        ("User-Agent", b"smsgwd/test"),
        ("Accept-Encoding", b"identity"),
        ("Content-Length", b"%d" % len(body)),
    )
    return WireRequest(method, "/send?to=1", headers, body)


@dataclass
class Sends:
    """Exchanges on one engine, in one event loop."""

    engine: Engine

    async def one(self, sent: WireRequest | None = None, seconds: float = 5) -> WireResponse | SubmitError:
        """The answer, or the fault."""
        try:
            return await self.engine.exchange(sent or request(), Deadline.after(seconds))
        except SubmitError as error:
            return error


def exchange(
    choice: str, endpoint: Endpoint, *sent: WireRequest, seconds: float = 5
) -> list[WireResponse | SubmitError]:
    """Each request after the other over one engine."""

    async def go() -> list[WireResponse | SubmitError]:
        async with engine(choice, endpoint) as sends:
            return [await sends.one(each, seconds) for each in (sent or (request(),))]

    return asyncio.run(go())


@contextlib.asynccontextmanager
async def engine(choice: str, endpoint: Endpoint) -> AsyncIterator[Sends]:
    """An engine, closed at the end."""
    made = make_engine(endpoint, choice)
    try:
        yield Sends(made)
    finally:
        await made.close()


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
