import asyncio
import json
import os
import re
import resource
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import spawn
from daemon_process import activated, configuration, daemon
from fake_http import OK, Line, RawServer
from other_user import IS_ROOT, Call, become, called
from patience import wait_until
from socket_client import Response, call, send

KINDS = ("added", "changed", "removed", "stale", "rejected")
SEND = {"gateway": "console", "to": "+491701234567", "text": "hi"}
CALL: Call = ("POST", "/v1/messages", ["console"])


def answer(path: Path, method: str, target: str, body: Any = None) -> Response:
    """One request to the daemon."""
    return asyncio.run(call(path, method, target, body))


@contextmanager
def slow_provider() -> Iterator[tuple[RawServer, threading.Event, str]]:
    """A provider on loopback that answers when the gate opens, and the gateway file for it."""
    gate = threading.Event()

    def script(line: Line) -> None:
        while line.read():
            gate.wait(15)
            line.send(OK)

    with RawServer(script) as server:
        settings = f"settings: {{url: 'http://127.0.0.1:{server.port}/', form: {{t: '{{{{ message }}}}'}}}}"
        try:
            yield server, gate, f"provider: http\nretry: {{attempts: 1}}\n{settings}\n"
        finally:
            gate.set()


def test_it_serves_from_start_to_stop(tmp_path: Path) -> None:
    """READY is told when the socket stands; SIGTERM ends it with 0 and takes the socket away."""
    with daemon(configuration(tmp_path)) as running:
        assert running.ready().manager.told[-1] == "READY=1\nSTATUS=gateways: 1 ok"
        assert answer(running.path, "POST", "/v1/messages", SEND).json()["outcome"] == "accepted"
        assert answer(running.path, "GET", "/readyz").status == 200
        assert running.stop() == 0
        assert running.manager.wait_for("STOPPING=1")
        assert not running.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_send_that_runs_is_finished_first(tmp_path: Path, number: int) -> None:
    """A signal closes the door; whoever is inside gets the answer."""
    with (
        slow_provider() as (server, gate, gateway),
        daemon(configuration(tmp_path, {"gateways.d/gated.yaml": gateway})) as running,
    ):
        running.ready()
        answers: list[Response] = []
        client = threading.Thread(target=lambda: answers.append(asyncio.run(send(running.path, "hi"))))
        client.start()
        assert server.asked.wait(10)
        running.process.send_signal(number)
        wait_until(lambda: not running.path.exists())
        assert running.process.poll() is None
        gate.set()
        client.join(10)
        assert running.process.wait(10) == 0
        assert answers[0].json()["outcome"] == "accepted"
        assert answers[0].headers["connection"] == "close"


def test_a_send_whose_client_has_gone_is_finished_first(tmp_path: Path) -> None:
    """Nobody waits for the answer any more; the send has its time all the same."""
    with (
        slow_provider() as (server, gate, gateway),
        daemon(configuration(tmp_path, {"gateways.d/gated.yaml": gateway})) as running,
    ):
        running.ready()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(running.path))
            body = json.dumps({**SEND, "gateway": "gated"}).encode()
            client.sendall(
                b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert server.asked.wait(10)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not running.path.exists())
        gate.set()
        assert running.process.wait(10) == 0
        assert '"outcome": "accepted"' in running.printed()


def test_a_stream_ends_with_the_outcomes_of_what_was_read(tmp_path: Path) -> None:
    """A stop ends a stream as its client would: what was read is sent and answered, and the answer is whole."""
    with (
        slow_provider() as (server, gate, gateway),
        daemon(configuration(tmp_path, {"gateways.d/gated.yaml": gateway})) as running,
        socket.socket(socket.AF_UNIX) as client,
    ):
        running.ready()
        client.settimeout(10)
        client.connect(str(running.path))
        line = json.dumps({**SEND, "gateway": "gated"}).encode() + b"\n"
        client.sendall(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(line), line)
        )
        assert server.asked.wait(10)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not running.path.exists())
        gate.set()
        began = time.monotonic()
        assert running.process.wait(10) == 0
        assert time.monotonic() - began < 4
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.count(b'"outcome": "accepted"') == 1
        assert answer.endswith(b"\r\n0\r\n\r\n")


def test_asked_twice_it_goes_at_once(tmp_path: Path) -> None:
    """A second SIGTERM does not wait for the sends."""
    with (
        slow_provider() as (server, _, gateway),
        daemon(configuration(tmp_path, {"gateways.d/gated.yaml": gateway})) as running,
    ):
        running.ready()
        client = threading.Thread(target=ask_and_fail, args=(running.path,))
        client.start()
        assert server.asked.wait(10)
        running.process.send_signal(signal.SIGTERM)
        running.manager.wait_for("STOPPING=1", running.process)
        assert running.stop() == -signal.SIGTERM
        client.join(10)
        assert not running.path.exists()


def ask_and_fail(path: Path) -> None:
    """A request that gets no answer."""
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        asyncio.run(send(path, "hi"))


def test_sighup_reloads(tmp_path: Path) -> None:
    """RELOADING with its time in one datagram, READY when the new gateway serves."""
    config = configuration(tmp_path)
    with daemon(config) as running:
        running.ready()
        configuration(config, {"gateways.d/second.yaml": "provider: console\n"})
        running.reload()
        assert "STATUS=gateways: 2 ok" in running.manager.told[-1]
        assert answer(running.path, "GET", "/v1/gateways/second").status == 200


def test_the_log_names_what_a_reload_has_changed(tmp_path: Path) -> None:
    """Added, changed and removed gateways by name, and those that do not compile now."""
    files = {f"gateways.d/{name}.yaml": "provider: console\n" for name in ("a", "b", "c")}
    with daemon(configuration(tmp_path, files)) as running:
        running.ready()
        (tmp_path / "gateways.d/a.yaml").write_text("provider: console\nsender: ACME\n")
        (tmp_path / "gateways.d/b.yaml").write_text("provider: nothing\n")
        (tmp_path / "gateways.d/d.yaml").write_text("provider: console\n")
        (tmp_path / "gateways.d/e.yaml").write_text("provider: nothing\n")
        running.reload()
        (tmp_path / "gateways.d/c.yaml").unlink()
        running.reload()
        running.stop()
        told = [json.loads(line) for line in running.printed().splitlines()]
    lines = [line for line in told if line["message"] == "reload"]
    named = {key: {name for line in lines for name in line.get(key, [])} for key in KINDS}
    assert named == {"added": {"d"}, "changed": {"a"}, "removed": {"c"}, "stale": {"b"}, "rejected": {"e"}}


def test_the_api_reloads(tmp_path: Path) -> None:
    """POST /v1/reload answers when the new gateway serves."""
    config = configuration(tmp_path)
    with daemon(config) as running:
        running.ready()
        configuration(config, {"gateways.d/second.yaml": "provider: console\n"})
        result = answer(running.path, "POST", "/v1/reload").json()
        assert set(result) == {"digest", "generation", "added", "changed", "removed", "tokens", "problems"}
        assert result["digest"] == answer(running.path, "GET", "/v1/status").json()["digest"]
        assert answer(running.path, "POST", "/v1/messages", {**SEND, "gateway": "second"}).status == 200


def test_a_bad_gateway_does_not_stop_the_others(tmp_path: Path) -> None:
    """It serves the good ones and says of the bad one file, line and reason."""
    files = {"gateways.d/bad.yaml": "provider: console\nsetings: {}\n"}
    with daemon(configuration(tmp_path, files)) as running:
        assert running.ready().manager.told[-1] == "READY=1\nSTATUS=gateways: 1 ok, 1 rejected"
        assert answer(running.path, "POST", "/v1/messages", SEND).status == 200
        refused = answer(running.path, "POST", "/v1/messages", {**SEND, "gateway": "bad"})
        assert (refused.status, refused.type) == (503, "gateway-unavailable")
        assert "bad.yaml:2:1: error[unknown-key]" in refused.json()["detail"]


def test_the_log_level_follows_a_reload(tmp_path: Path) -> None:
    """`log` of smsgwd.yaml takes effect at the next reload."""
    config = configuration(tmp_path, {"smsgwd.yaml": "log: {level: error}\n"})
    with daemon(config) as running:
        running.ready()
        answer(running.path, "POST", "/v1/messages", SEND)
        assert running.printed() == ""
        configuration(config, {"smsgwd.yaml": "log: {level: info, format: text}\n"})
        running.reload()
        answer(running.path, "POST", "/v1/messages", SEND)
        assert " info    smsgwd.send: send to=+4917*****67 " in running.printed()


def test_access_rules_follow_a_reload(tmp_path: Path) -> None:
    """Rules count from the moment that the reload is told to be over; our own user may always do everything."""
    config = configuration(tmp_path)
    with daemon(config) as running:
        running.ready()
        running.path.parent.chmod(0o711)
        running.path.chmod(0o666)

        def status() -> int:
            ((status, _),) = called(become(60_001) if IS_ROOT else [], running.path, [CALL])
            return status

        assert status() == 200
        rules = "access:\n- {users: [60002], allow: [send]}\n"
        configuration(config, {"smsgwd.yaml": rules})
        running.reload()
        assert status() == (403 if IS_ROOT else 200)
        configuration(config, {"smsgwd.yaml": rules.replace("60002", "60001")})
        assert answer(running.path, "POST", "/v1/reload").status == 200
        assert status() == 200


def test_a_start_without_a_gateway_is_told(tmp_path: Path) -> None:
    """A daemon that serves nothing says where it has looked."""
    (tmp_path / "gateways.d").mkdir()
    with daemon(tmp_path) as running:
        running.ready()
        assert f"{tmp_path}/gateways.d:1:1: warning[no-gateways]" in running.printed()


def test_what_the_first_load_finds_is_logged_as_configured(tmp_path: Path) -> None:
    """A finding of a gateway at the start is a line in the configured format."""
    files = {"gateways.d/bad.yaml": "provider: console\nsetings: {}\n", "smsgwd.yaml": "log: {format: text}\n"}
    with daemon(configuration(tmp_path, files)) as running:
        running.ready()
        assert re.search(r"Z warning smsgwd.reload: .*bad.yaml:2:1: error\[unknown-key\]", running.printed())


@pytest.mark.parametrize("octets", [b"GET /healthz HTTP/1.1\r\n\r\n", b"POST /v1/mess"], ids=["idle", "half a request"])
def test_a_client_that_stays_does_not_hold_up_the_stop(tmp_path: Path, octets: bytes) -> None:
    """Kept connections are closed when nothing runs on them any more."""
    with daemon(configuration(tmp_path)) as running, socket.socket(socket.AF_UNIX) as client:
        running.ready()
        client.connect(str(running.path))
        client.sendall(octets)
        if octets.endswith(b"\n"):
            assert client.recv(100)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["socket: {mod: '0660'}\n", "log: [\n", "access: yes\n"])
def test_a_bad_smsgwd_yaml_exits_78(tmp_path: Path, text: str) -> None:
    """The findings stand on standard error, with file, line and column, and nothing is served."""
    done = spawn(
        "serve", "--config", str(configuration(tmp_path, {"smsgwd.yaml": text})), "--socket", str(tmp_path / "s")
    )
    assert (done.code, done.out) == (78, "")
    assert re.match(rf"{tmp_path}/smsgwd.yaml:\d+:\d+: error\[", done.err)
    assert "Traceback" not in done.err
    assert not (tmp_path / "s").exists()


def test_a_directory_that_is_not_there_exits_78(tmp_path: Path) -> None:
    """A mistyped --config is told, not served as no gateways at all."""
    done = spawn("serve", "--config", str(tmp_path / "nowhere"), "--socket", str(tmp_path / "s"))
    assert done.code == 78
    assert f"{tmp_path}/nowhere" in done.err
    assert "Traceback" not in done.err


def test_a_socket_that_is_served_exits_1(tmp_path: Path) -> None:
    """A second daemon at one socket says so and ends; the first goes on."""
    config = configuration(tmp_path)
    with daemon(config) as running:
        running.ready()
        done = spawn("serve", "--config", str(config), "--socket", str(running.path))
        assert (done.code, done.err) == (1, f"smsgwd: {running.path} is in use: something listens there already\n")
        assert answer(running.path, "GET", "/healthz").status == 200


def test_after_kill_9_it_starts_again(tmp_path: Path) -> None:
    """The socket file that a crash leaves behind is replaced."""
    config = configuration(tmp_path)
    path = tmp_path / "smsgwd.sock"
    with daemon(config, "--socket", str(path), socket_path=path) as first:
        first.ready()
        first.stop(signal.SIGKILL)
        assert path.is_socket()
        with daemon(config, "--socket", str(path), socket_path=path) as second:
            second.ready()
            assert answer(path, "GET", "/healthz").status == 200
            assert second.stop() == 0


def test_smsgwd_yaml_says_where_the_socket_is(tmp_path: Path) -> None:
    """path, relative to the directory, mode and group of `socket` are taken; the environment goes before it."""
    text = f"socket: {{path: run.sock, mode: '0600', group: '{os.getgid()}'}}\n"
    config = configuration(tmp_path, {"smsgwd.yaml": text})
    with daemon(config, socket_path=tmp_path / "run.sock") as running:
        running.ready()
        status = running.path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o600, os.getgid())
    other = tmp_path / "other.sock"
    with daemon(config, env={"SMSGWD_SOCKET": str(other)}, socket_path=other) as running:
        running.ready()
        assert other.is_socket()


def test_another_users_socket_file_is_not_removed(tmp_path: Path) -> None:
    """At the stop, a file that stands where our socket stood is left alone."""
    with daemon(configuration(tmp_path)) as running:
        running.ready()
        running.path.unlink()
        running.path.write_text("mine")
        assert running.stop() == 0
        assert running.path.read_text() == "mine"


def test_inherited_sockets_are_served_and_left(tmp_path: Path) -> None:
    """The sockets of systemd are all served, and still there after the stop: they are not ours to remove."""
    first, second = tmp_path / "first.sock", tmp_path / "second.sock"
    with activated(configuration(tmp_path), [first, second]) as running:
        wait_until(second.is_socket)
        assert answer(first, "POST", "/v1/messages", SEND).status == 200
        assert answer(second, "GET", "/healthz").status == 200
        assert running.stop() == 0
        assert first.is_socket()
        assert second.is_socket()


def test_waiting_clients_do_not_use_up_the_open_files(tmp_path: Path) -> None:
    """The usual soft limit of open files is raised as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with daemon(configuration(tmp_path)) as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            running.ready()
            raised, _ = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
            assert raised == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_watchdog_hears_of_it(tmp_path: Path) -> None:
    """WATCHDOG=1 comes twice as often as asked for, as long as the event loop turns."""
    with daemon(configuration(tmp_path), env={"WATCHDOG_USEC": "200000"}) as running:
        running.ready()
        began = time.monotonic()
        for _ in range(5):
            running.manager.wait_for("WATCHDOG=1", running.process)
        assert time.monotonic() - began < 5
