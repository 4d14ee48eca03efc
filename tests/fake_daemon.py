"""A daemon that answers what a test tells it to, on a real Unix socket, octet for octet."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Behaviour = Callable[[socket.socket, bytes], None]  # what it does with a connection, and with the request it read

OUTCOME: dict[str, Any] = {
    "outcome": "accepted",
    "reason": None,
    "retry_safe": False,
    "gateway": "twilio",
    "provider": "http",
    "message_ids": ["SM1"],
    "segments": 1,
    "encoding": "gsm7",
    "reference": "order-42",
    "via": None,
    "attempts": 1,
    "tried": [],
    "elapsed": 0.123,
    "detail": "",
    "digest": "sha256:00",
}


class FakeDaemon:
    """Accepts connections and lets `behaviour` do with each what it likes; keeps what it read."""

    def __init__(self, path: Path, behaviour: Behaviour) -> None:
        self.path = str(path)
        self.requests: list[bytes] = []
        self._behaviour = behaviour
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            self._open.append(connection)
            request = read_request(connection)
            self.requests.append(request)
            self._asked.set()
            self._behaviour(connection, request)

    def wait_for_request(self) -> None:
        """Returns when the first request was read."""
        if not self._asked.wait(30):
            raise TimeoutError("no request came")

    @property
    def bodies(self) -> list[Any]:
        """The JSON of the requests."""
        return [json.loads(request.partition(b"\r\n\r\n")[2] or b"null") for request in self.requests]

    def close(self) -> None:
        """End it, and every connection that a behaviour left open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """One whole request, by its Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]) and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


def answering(status: int, document: Any, *headers: str) -> Behaviour:
    """Answers with a JSON document and ends the connection."""
    return saying(whole_answer(status, json.dumps(document).encode(), *headers))


def whole_answer(status: int, body: bytes, *headers: str) -> bytes:
    """The octets of an answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def saying(octets: bytes) -> Behaviour:
    """Writes these octets and ends the connection."""

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(octets)
        connection.close()

    return behave


def silent(connection: socket.socket, request: bytes) -> None:
    """Reads the request and says nothing; the connection stays open."""


def problem(code: str, status: int, detail: str, **members: Any) -> Behaviour:
    """Answers with a problem document (RFC 9457)."""
    document = {"type": f"urn:smsgwd:problem:{code}", "title": code, "status": status, "detail": detail, **members}
    return answering(status, document)


def dripping(octets: bytes, pause_s: float, over: threading.Event) -> Behaviour:
    """Writes one octet after the other, with a pause before each, until the peer leaves or the test is over."""

    def behave(connection: socket.socket, request: bytes) -> None:
        for octet in octets:
            if over.wait(pause_s):
                return
            try:
                connection.sendall(bytes([octet]))
            except OSError:
                return

    return behave


def by_target(behaviours: Mapping[str, Behaviour]) -> Behaviour:
    """Behaves as the request's target asks for."""

    def behave(connection: socket.socket, request: bytes) -> None:
        behaviours[request.split()[1].decode()](connection, request)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behaves one way after the other."""
    turns = iter(behaviours)

    def behave(connection: socket.socket, request: bytes) -> None:
        next(turns)(connection, request)

    return behave


@contextmanager
def fake_daemon(path: Path, behaviour: Behaviour) -> Iterator[FakeDaemon]:
    """A daemon of this behaviour, for the length of a `with`."""
    daemon = FakeDaemon(path, behaviour)
    try:
        yield daemon
    finally:
        daemon.close()
