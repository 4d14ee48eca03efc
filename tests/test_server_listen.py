import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smsgwd.registry import SocketSettings
from smsgwd.server.listen import ListenError, open_listener

DEFAULT = SocketSettings()
LEFT_BEHIND = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o600 | stat.S_IRGRP])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_socket_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    """The configured mode counts, and the umask of the process is left alone."""
    path = tmp_path / "s"
    former = os.umask(umask)
    try:
        listener = open_listener(path, SocketSettings(mode=mode))
    finally:
        left = os.umask(former)
    assert (mode_of(path), left) == (mode, umask)
    listener.socket.close()


def test_a_socket_is_never_wider_than_it_should_be(tmp_path: Path) -> None:
    """Before it has its mode and its group the socket is for us alone: seen in the system calls."""
    program = (
        "from pathlib import Path; import sys; from smsgwd.server.listen import *; "
        "from smsgwd.registry import SocketSettings; import os; os.umask(0); log = []; "
        "sys.addaudithook(lambda event, args: log.append((event, os.path.exists(sys.argv[1]) "
        "and oct(os.stat(sys.argv[1]).st_mode & 0o777))) if event in ('os.chown', 'os.chmod') else None); "
        "open_listener(Path(sys.argv[1]), SocketSettings(group=str(os.getgid()))); print(log)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[('os.chmod', False), ('os.chown', '0o600'), ('os.chmod', '0o600')]\n"


def test_the_group_is_the_configured_one(tmp_path: Path) -> None:
    """socket.group is a name or a number of the system."""
    names = [one.gr_name for one in grp.getgrall() if one.gr_gid == os.getgid()]
    for group in (*names, str(os.getgid())):
        listener = open_listener(tmp_path / group, SocketSettings(group=group))
        assert (tmp_path / group).stat().st_gid == os.getgid()
        listener.socket.close()


def test_a_group_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A wrong name is an error, not a socket that somebody else may open."""
    with pytest.raises(ListenError, match="there is no group 'nobodys-group'"):
        open_listener(tmp_path / "s", SocketSettings(group="nobodys-group"))
    assert not (tmp_path / "s").exists()


def test_the_socket_of_a_crash_is_replaced(tmp_path: Path) -> None:
    """A socket file that nobody serves is no obstacle."""
    path = tmp_path / "s"
    subprocess.run([sys.executable, "-c", LEFT_BEHIND, str(path)], check=True, timeout=30)
    assert path.is_socket()
    listener = open_listener(path, DEFAULT)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.socket.close()


def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    """Somebody serves there: a clear error, and he goes on serving."""
    path = tmp_path / "s"
    first = open_listener(path, DEFAULT)
    with pytest.raises(ListenError, match="is in use: something listens there already"):
        open_listener(path, DEFAULT)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.socket.close()


def test_a_live_socket_with_a_full_queue_is_left_alone(tmp_path: Path) -> None:
    """A server that is too busy to accept is no crashed one."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(ListenError, match="is in use"):
            open_listener(path, DEFAULT)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo", "dangling"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A file, folder, link or FIFO in the place of the socket is told and never removed."""
    path, other = tmp_path / "s", tmp_path / "other"
    other.write_text("precious")
    make: dict[str, Callable[[], object]] = {
        "file": lambda: path.write_text("precious"),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(other),
        "fifo": lambda: os.mkfifo(path),
        "dangling": lambda: path.symlink_to(tmp_path / "nothing"),
    }
    make[kind]()
    with pytest.raises(ListenError, match="is no socket: it is left alone"):
        open_listener(path, DEFAULT)
    assert path.is_symlink() or path.exists()
    assert other.read_text() == "precious"


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    """Only the default folder is made."""
    with pytest.raises(ListenError, match="run does not exist: make the folder, or choose another path"):
        open_listener(tmp_path / "run" / "s", DEFAULT)
    listener = open_listener(tmp_path / "run" / "s", DEFAULT, make_parent=True)
    assert mode_of(tmp_path / "run") == 0o755
    listener.socket.close()


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    """The kernel takes 107 octets; the error says so. The longest that fits is taken."""
    room = 107 - len(os.fsencode(tmp_path)) - 1
    listener = open_listener(tmp_path / ("s" * room), DEFAULT)
    listener.socket.close()
    with pytest.raises(ListenError, match="107 octets at most"):
        open_listener(tmp_path / ("s" * (room + 1)), DEFAULT)


def test_the_socket_is_removed_if_it_is_ours(tmp_path: Path) -> None:
    """At the end our socket goes; one that somebody put there meanwhile stays."""
    path = tmp_path / "s"
    listener = open_listener(path, DEFAULT)
    listener.socket.close()
    listener.remove()
    assert not path.exists()
    listener.remove()

    first = open_listener(path, DEFAULT)
    first.socket.close()
    second = open_listener(path, DEFAULT)
    first.remove()
    assert path.is_socket()
    second.socket.close()


def test_what_takes_the_sockets_place_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who swaps a link into the place of the new socket changes nobody's mode or group, and is told of."""
    path, victim = tmp_path / "smsgwd.sock", tmp_path / "victim"
    victim.touch(0o600)
    real_open = os.open

    def swapping(where: Any, flags: int, *rest: Any, **more: Any) -> int:
        if where == path:  # the last moment before it is looked at
            path.unlink()
            path.symlink_to(victim)
        return real_open(where, flags, *rest, **more)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(ListenError, match="replaced"):
        open_listener(path, SocketSettings(mode=0o666))
    assert mode_of(victim) == 0o600
