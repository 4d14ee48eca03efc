"""sipgate on loopback: the standard library's XML-RPC server, and an HTTP server that holds its REST contract."""

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer, ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

USER, PASSWORD = "token-KX5Q1N", "p:ä ß&<w>"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
DONE = {"StatusCode": 200, "StatusString": "Method success", "SessionID": "A1-b2"}


@dataclass
class Sipgate:
    """What a fake server got. `answer` makes what SessionInitiate returns, or raises a Fault."""

    answer: Callable[[], Any] = lambda: DONE
    url: str = ""
    sessions: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class _RpcHandler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.headers["Authorization"] != AUTHORIZATION or self.headers.get_all("Content-Type") != ["text/xml"]:
            self.send_error(401)
            return False
        return True


class _RpcServer(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True


class _RestHandler(BaseHTTPRequestHandler):
    """Takes what https://api.sipgate.com/v2/doc describes, and nothing else."""

    protocol_version = "HTTP/1.1"
    fake: Sipgate

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.fake.paths.append(self.path)
        status, words = self._judged(body)
        answer = b"" if status == 204 else json.dumps({"error": words}).encode()
        self.send_response(status)
        if answer:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _judged(self, body: bytes) -> tuple[int, str]:
        if self.path != "/v2/sessions/sms":
            return 404, "no such resource"
        if self.headers["Authorization"] != AUTHORIZATION:
            return 401, "Unauthorized"
        if self.headers["Content-Type"] != "application/json":
            return 415, "Unsupported Media Type"
        session = json.loads(body)
        if set(session) != {"smsId", "recipient", "message"} or not all(isinstance(v, str) for v in session.values()):
            return 400, "bad fields"
        if not session["recipient"].startswith("+"):
            return 400, f"invalid recipient {session['recipient']}"
        if session["smsId"] != "s0":
            return 403, f"no such extension {session['smsId']}"
        self.fake.sessions.append(session)
        return 204, ""

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@contextlib.contextmanager
def _serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@contextlib.contextmanager
def xmlrpc_server(answer: Callable[[], Any] = lambda: DONE) -> Iterator[Sipgate]:
    """An XML-RPC server that we did not write, with the one method."""
    fake = Sipgate(answer)

    def initiate(session: Any, /) -> Any:
        fake.sessions.append(session)
        return fake.answer()

    with _RpcServer(("127.0.0.1", 0), _RpcHandler, logRequests=False) as server:
        server.register_function(initiate, "samurai.SessionInitiate")
        fake.url = f"http://127.0.0.1:{server.server_address[1]}/RPC2"
        with _serving(server):
            yield fake


@contextlib.contextmanager
def rest_server() -> Iterator[Sipgate]:
    """An HTTP server that holds the contract of the REST API."""
    fake = Sipgate()
    handler = type("Handler", (_RestHandler,), {"fake": fake})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_address[1]}/v2/sessions/sms"
        with _serving(server):
            yield fake
