"""`smsgwd demo`: the whole path of a message on the console gateway, in one command."""

import json
import os
import shlex
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from smsgwd import cli
from smsgwd.cli import options, terminal
from smsgwd.client import Client, NoAnswerError
from smsgwd.units import Deadline

_GATEWAY = """\
provider: console      # accepts everything and sends nothing: no account is needed
phone: {region: DE}    # how to read a number that is written nationally
"""
_REQUEST = {"gateway": "console", "to": "+491701234567", "text": "Hello from smsgwd"}
_START_S = 20.0
_STOP_S = 10.0
_LOOK_S = 0.05
# What would make the daemon of the demo listen to others than the demo.
_OURS = {"SMSGWD_CONFIG", "SMSGWD_SOCKET", "STATE_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES"}

_DESCRIPTION = """\
Show the whole path of a message: start a daemon on a socket of its own, send through the gateway `console`, which
accepts everything and sends nothing, look at the outcome, and stop the daemon. Nothing is left behind.
"""
_EPILOG = """\
examples:
  smsgwd demo
  smsgwd demo --config .     with the gateway files of this directory

exit codes: 0 the message was accepted; else as of `smsgwd send`, or 1 when the daemon does not serve.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--config",
        metavar="DIR",
        type=options.folder,
        help="a configuration directory with a gateway `console` (default: one made for the demo)",
    )


def run(args: Namespace) -> int:
    """Play it; the exit code is that of the send."""
    with TemporaryDirectory(prefix="smsgwd-demo-") as name:
        folder = Path(name)
        config = args.config or _made_config(folder)
        log = folder / "log"
        with _daemon(config, folder / "smsgwd.sock", log) as socket:
            code = _play(config, socket)
        terminal.say("\nThe log of the daemon (numbers are masked, texts never appear):")
        terminal.say(_text(log))
    return code


def _made_config(folder: Path) -> Path:
    gateways = folder / "config" / "gateways.d"
    gateways.mkdir(parents=True)
    (gateways / "console.yaml").write_text(_GATEWAY, "utf-8")
    return gateways.parent


def _play(config: Path, socket: str) -> int:
    """Look at the gateway, send through it, look again; returns the exit code of the send."""
    _show(config / "gateways.d" / "console.yaml")
    message = ["--gateway", _REQUEST["gateway"], "--to", _REQUEST["to"], "--text", _REQUEST["text"]]
    _step("check", str(config / "gateways.d" / "console.yaml"))
    _step("render", "--config", str(config), *message)
    code = _step("send", "--socket", socket, *message, "--json")
    terminal.say(f"\nAny program that speaks HTTP could have sent it:\n{_curl(socket)}")
    _step("status", "--socket", socket)
    return code


def _show(file: Path) -> None:
    if file.is_file():
        terminal.say(f"\n$ cat {shlex.quote(str(file))}\n{_text(file)}")


def _step(*words: str) -> int:
    """One command, as it could be typed, and what it prints; returns its exit code."""
    terminal.say(f"\n$ smsgwd {shlex.join(words)}")
    return cli.main(words)


def _curl(socket: str) -> str:
    body = shlex.quote(json.dumps(_REQUEST))
    return (
        f"  curl --unix-socket {shlex.quote(socket)} http://smsgwd/v1/messages \\\n"
        f"       -H 'Content-Type: application/json' -d {body}"
    )


@contextmanager
def _daemon(config: Path, socket: Path, log: Path) -> Iterator[str]:
    """A daemon that serves this configuration on this socket; it is stopped in the end."""
    words = ["serve", "--config", str(config), "--socket", str(socket)]
    terminal.say(f"$ smsgwd {shlex.join(words)} &")
    environ = {key: value for key, value in os.environ.items() if key not in _OURS}
    command = [sys.executable, "-m", "smsgwd", *words]
    with log.open("wb") as file:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=file, env=environ)  # noqa: S603 - our own
    try:
        _wait_for(daemon, str(socket), log)
        yield str(socket)
    finally:
        _stop(daemon)


def _wait_for(daemon: subprocess.Popen[bytes], socket: str, log: Path) -> None:
    """Returns when the daemon serves. Raises Failure, its log told, when it does not."""
    client, deadline = Client(socket), Deadline.after(_START_S)
    while daemon.poll() is None and not deadline.passed:
        try:
            client.status()
        except NoAnswerError:
            sleep(_LOOK_S)
        else:
            return
    terminal.note(_text(log))
    raise terminal.Failure("the daemon does not serve")


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """End the daemon as a service manager would. Raises Failure when it does not end in order."""
    daemon.send_signal(signal.SIGTERM)
    try:
        code = daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        code = daemon.wait()
    if code != 0:
        raise terminal.Failure(f"the daemon ended with exit code {code}")


def _text(file: Path) -> str:
    return terminal.printable(file.read_text("utf-8", "replace").rstrip("\n"))
