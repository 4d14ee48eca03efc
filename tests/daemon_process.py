"""The real daemon as a process, with a service manager that listens to what it tells."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import command
from secret_file import write_secret

PATIENCE_S = 20.0


@dataclass
class ServiceManager:
    """A notify socket (sd_notify(3)) and what came there."""

    path: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(self.path))

    def wait_for(self, beginning: str, process: "subprocess.Popen[bytes] | None" = None) -> str:
        """The next datagram that begins so; fails when the process ends before it."""
        end = time.monotonic() + PATIENCE_S
        self._channel.settimeout(0.2)
        while time.monotonic() < end and (process is None or process.poll() is None):
            try:
                self.told.append(self._channel.recv(4096).decode())
            except TimeoutError:
                continue
            if self.told[-1].startswith(beginning):
                return self.told[-1]
        raise AssertionError(f"never told {beginning}, but {self.told}")

    def close(self) -> None:
        """No more."""
        self._channel.close()


class Running:
    """A daemon that serves."""

    def __init__(self, arguments: Sequence[str], folder: Path, socket_path: Path, env: Mapping[str, str]) -> None:
        self.path = socket_path
        self.manager = ServiceManager(folder / "notify")
        self._printed: IO[bytes] = (folder / "printed").open("w+b")
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
            cwd=command.CHECKOUT,
            env=command.environment({"NOTIFY_SOCKET": str(self.manager.path), **env}),
        )

    def ready(self) -> Self:
        """Returns when it says that it serves."""
        try:
            self.manager.wait_for("READY=1", self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.printed()}") from None
        return self

    def reload(self) -> None:
        """SIGHUP; returns when the new configuration serves."""
        self.process.send_signal(signal.SIGHUP)
        self.manager.wait_for("RELOADING=1\nMONOTONIC_USEC=", self.process)
        self.manager.wait_for("READY=1", self.process)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """A signal; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def printed(self) -> str:
        """All that it printed so far, on both outputs."""
        return Path(self._printed.name).read_text()

    def close(self) -> None:
        """Whatever it does now, it ends."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._printed.close()
        self.manager.close()


def configuration(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """A configuration directory with the gateway `console` and these files; what is not YAML may be a secret."""
    for name, text in {"gateways.d/console.yaml": "provider: console\n", **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in {".yaml", ".yml"}:
            path.write_text(text)
        else:
            write_secret(path, text)
    return folder


@contextmanager
def daemon(
    config: Path, *arguments: str, env: Mapping[str, str] | None = None, socket_path: Path | None = None
) -> Iterator[Running]:
    """`smsgwd serve` while the block runs, at a socket of its own; `socket_path` where the test has it elsewhere."""
    with tempfile.TemporaryDirectory(prefix="smsgwd-") as folder:  # a short path: a socket's may have 107 octets
        ours = socket_path or Path(folder, "smsgwd.sock")
        where = [] if socket_path else ["--socket", str(ours)]
        serve = command.python("-m", "smsgwd", "serve", "--config", str(config), *where, *arguments)
        running = Running(serve, Path(folder), ours, env or {})
        try:
            yield running
        finally:
            running.close()


@contextmanager
def activated(config: Path, sockets: Sequence[Path | str], *arguments: str) -> Iterator[Running]:
    """`smsgwd serve`, started by the first connection to one of these sockets (paths, or HOST:PORT), as by systemd."""
    with tempfile.TemporaryDirectory(prefix="smsgwd-") as folder:
        passed = [f"--setenv={name}" for name in ("PATH", "NOTIFY_SOCKET", "PYTHONPATH") if name in os.environ]
        passed.append(f"--setenv=NOTIFY_SOCKET={folder}/notify")
        listening = [f"--listen={path}" for path in sockets]
        serve = command.python("-m", "smsgwd", "serve", "--config", str(config), *arguments)
        command_line = ["systemd-socket-activate", *passed, *listening, *serve]
        running = Running(command_line, Path(folder), Path(sockets[0]), {})
        try:
            yield running
        finally:
            running.close()


@contextmanager
def open_daemon(config: Path) -> Iterator[Running]:
    """A daemon that serves, at a socket that other users can come to, and which is that of its own environment."""
    with tempfile.TemporaryDirectory(prefix="smsgwd-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "smsgwd.sock")
        with daemon(config, socket_path=path, env={"SMSGWD_SOCKET": str(path)}) as running:
            yield running.ready()
