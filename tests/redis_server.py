"""A real redis-server at a Unix socket and a port of the loopback, in a folder of its own; nothing is saved."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from patience import wait_until

from smsgwd.registry import RedisServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass
class Server:
    """A redis-server that can be ended and started again."""

    folder: Path
    password: str = ""
    certificate: Path | None = None  # a folder with cert.pem and key.pem
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def path(self) -> Path:
        """Its socket."""
        return self.folder / "redis.sock"

    @property
    def at_socket(self) -> RedisServer:
        """As the registry has it."""
        return RedisServer(path=str(self.path))

    @property
    def client(self) -> "redis.Redis":
        """A client of the test's own."""
        return self.client_of(0)

    def client_of(self, database: int) -> "redis.Redis":
        """The same for another database."""
        path, password = str(self.path), self.password or None
        return redis.Redis(unix_socket_path=path, password=password, db=database, socket_timeout=10)

    def command(self, *words: str | int) -> None:
        """An order of the test's own."""
        self.client.execute_command(*words)  # type: ignore[no-untyped-call] # theirs carries no types

    def start(self) -> None:
        """Returns when it answers."""
        at = ["--unixsocket", str(self.path), "--bind", "127.0.0.1", "--port", str(self.port)]
        secret = ["--requirepass", self.password] if self.password else []
        tls = self._tls(self.certificate) if self.certificate else []
        self.process = subprocess.Popen(
            ["redis-server", *at, *secret, *tls, "--dir", str(self.folder), "--save", "", "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _tls(self, folder: Path) -> list[str]:
        files = ["--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem")]
        authority = ["--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no"]
        return ["--tls-port", str(self.tls_port), *files, *authority]

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        """As when the machine is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None


@contextmanager
def redis_server(password: str = "", certificate: Path | None = None) -> Iterator[Server]:
    """A redis-server while the block runs."""
    with tempfile.TemporaryDirectory(prefix="smsgwd-") as folder:  # a short path: a socket's may have 107 octets
        server = Server(Path(folder), password, certificate)
        server.start()
        try:
            yield server
        finally:
            server.kill()
