import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsgwd.systemd import Notifier, inherited_sockets

PROGRAM = """
import os, sys
from smsgwd.systemd import InheritedSocketError, inherited_sockets
os.environ["LISTEN_PID"] = sys.argv[1] if sys.argv[1:] else str(os.getpid())
try:
    found = inherited_sockets()
except InheritedSocketError as error:
    sys.exit(f"refused: {error}")
print([one.getsockname() for one in found], [one.get_inheritable() for one in found])
print(sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def start(sockets: list[socket.socket], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that finds these sockets from descriptor 3 on, as systemd hands them over."""
    descriptors = [one.fileno() for one in sockets]
    moves = "".join(f" {3 + index}<&{number}" for index, number in enumerate(descriptors))
    return subprocess.run(
        ["bash", "-c", f'exec "$@"{moves}', "bash", sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": "a:b"},
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def unix_socket(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(path))
    opened.listen()
    return opened


def test_inherited_sockets_are_taken_over_once(tmp_path: Path) -> None:
    """All sockets are found, scripts inherit neither them nor the variables."""
    with unix_socket(tmp_path / "a") as first, unix_socket(tmp_path / "b") as second:
        done = start([first, second])
    assert done.stdout == f"['{tmp_path}/a', '{tmp_path}/b'] [False, False]\n[]\n", done.stderr


def test_sockets_of_another_process_are_not_ours(tmp_path: Path) -> None:
    """LISTEN_PID names another process: its sockets are left alone, its variables go."""
    with unix_socket(tmp_path / "a") as first:
        assert start([first], "1").stdout == "[] []\n[]\n"


def test_a_tcp_socket_is_taken_over() -> None:
    """Sockets of TCP are found as well."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        done = start([tcp])
        assert done.stdout == f"[('127.0.0.1', {tcp.getsockname()[1]})] [False]\n[]\n", done.stderr


def test_a_datagram_socket_is_refused() -> None:
    """What is no stream is refused with the reason."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        done = start([udp])
    assert done.returncode == 1
    assert "neither a Unix stream socket nor one of TCP" in done.stderr


def test_a_socket_that_does_not_listen_is_refused(tmp_path: Path) -> None:
    """With Accept=yes systemd hands over a connection: refused with the mend."""
    near, far = socket.socketpair()
    with near, far:
        done = start([near])
    assert "does not listen (Accept=no is needed)" in done.stderr


def test_a_descriptor_that_is_not_there_is_told() -> None:
    """LISTEN_FDS that promises too much ends in a sentence, not in a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "LISTEN_FDS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == "refused: inherited descriptor 3: Bad file descriptor\n"


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "me", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}],
    ids=["none", "no pid", "bad pid", "no number"],
)
def test_without_sockets_there_are_none(environ: dict[str, str]) -> None:
    """Without both variables, and right ones, nothing was inherited."""
    assert inherited_sockets(environ) == []
    assert environ == {}


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@smsgwd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name.replace("@", "\0"))
        channel.settimeout(10)
        yield channel, name


def test_the_service_manager_is_told(manager: tuple[socket.socket, str]) -> None:
    """READY, RELOADING with its time in one datagram, STATUS, WATCHDOG and STOPPING as sd_notify(3) has them."""
    channel, address = manager
    notifier = Notifier(address)
    before = time.monotonic_ns() // 1000
    notifier.ready("serving")
    notifier.reloading()
    notifier.status("ok")
    notifier.alive()
    notifier.stopping()
    told = [channel.recv(4096).decode() for _ in range(5)]
    assert told[0] == "READY=1\nSTATUS=serving"
    head, _, microseconds = told[1].partition("\nMONOTONIC_USEC=")
    assert head == "RELOADING=1"
    assert before <= int(microseconds) <= time.monotonic_ns() // 1000
    assert told[2:] == ["STATUS=ok", "WATCHDOG=1", "STOPPING=1\nSTATUS=finishing the sends that run"]


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "vsock:2:1234"])
def test_nobody_to_tell_is_no_fault(address: str) -> None:
    """Without a service manager, or with one that is gone, serving goes on."""
    Notifier(address).ready("serving")


@pytest.mark.parametrize(
    ("environ", "notifier"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/x"}, Notifier("/run/x")),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000"}, Notifier("@x", 30.0)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, Notifier("", 30.0)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, Notifier()),
        ({"WATCHDOG_USEC": "0"}, Notifier()),
        ({"WATCHDOG_USEC": "soon"}, Notifier()),
    ],
)
def test_the_environment_says_whom_to_tell(environ: dict[str, str], notifier: Notifier) -> None:
    """NOTIFY_SOCKET and WATCHDOG_USEC are read, and taken out of what our children see."""
    assert Notifier.from_environment(environ) == notifier
    assert environ == {}


UNITS = Path(__file__).resolve().parent.parent / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed: with the command where it is here."""
    for unit in UNITS.glob("smsgwd.*"):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/smsgwd/bin/smsgwd", f"{sys.executable} -m smsgwd")
        )
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, which needs no running systemd for this."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=30)


def test_the_units_are_sound(units: Path) -> None:
    """systemd-analyze verify finds nothing in them, unknown keys and missing programs included."""
    done = analyze("verify", "--man=no", str(units / "smsgwd.service"), str(units / "smsgwd.socket"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_sandboxed(units: Path) -> None:
    """The score of systemd for what the service could do is low: 0 is nothing, 10 is everything."""
    done = analyze("security", "--offline=yes", "--no-pager", "--threshold=14", str(units / "smsgwd.service"))
    assert done.returncode == 0, done.stdout


def test_the_service_sees_who_calls() -> None:
    """PrivateUsers= would make every caller nobody, and with it all access rules void."""
    settings = (UNITS / "smsgwd.service").read_text().splitlines()
    assert not [line for line in settings if line.startswith(("PrivateUsers", "PrivateNetwork"))]


def test_socket_and_service_agree() -> None:
    """Both speak of the default socket, in a folder that a stop of the service does not remove."""
    assert "ListenStream=/run/smsgwd/smsgwd.sock" in (UNITS / "smsgwd.socket").read_text()
    assert "RuntimeDirectoryPreserve=yes" in (UNITS / "smsgwd.service").read_text()


def test_the_user_can_be_made() -> None:
    """The sysusers.d file, which makes user and group of the units, is sound."""
    file = UNITS / "sysusers.conf"
    subprocess.run(["systemd-sysusers", "--dry-run", str(file)], capture_output=True, check=True, timeout=30)
    assert "\nu smsgwd " in file.read_text()
