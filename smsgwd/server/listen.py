"""The Unix socket that we open ourselves: right from its first moment, and never in the place of somebody else's."""

import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from smsgwd.registry import SocketSettings

_MAX_PATH_OCTETS = 107  # sun_path of unix(7): 108 with the NUL at its end
BACKLOG = 1024
_PROBE_S = 1.0
_DEFAULT_GROUP = "smsgwd"


class ListenError(Exception):
    """The socket cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket; `path` and `identity` of its file are known only of one that we opened ourselves.

    `name` is what `listen` calls it (empty: it is no part of that), `tls` whether clients speak TLS there.
    """

    socket: socket.socket
    path: Path | None = None
    identity: tuple[int, int, int] | None = None
    name: str = ""
    tls: bool = False

    @property
    def local(self) -> bool:
        """Whether it is a Unix socket: there the kernel says who calls."""
        return self.socket.family == socket.AF_UNIX

    def close(self) -> None:
        """Listen no more."""
        self.remove()
        self.socket.close()

    def remove(self) -> None:
        """Take the socket's file away, unless it is somebody else's by now."""
        if self.path is None:
            return
        with suppress(OSError):
            if _identity(self.path) == self.identity:
                self.path.unlink()


def open_listener(path: Path, settings: SocketSettings, *, make_parent: bool = False) -> Listener:
    """A socket that listens at the path, with mode and group of the settings.

    A socket file that nobody serves (a crash left it) is replaced. Raises ListenError for one that is served, for
    anything that is no socket, a path that is too long, a folder or a group that does not exist.
    """
    if len(os.fsencode(path)) > _MAX_PATH_OCTETS:
        raise ListenError(f"{path}: a socket's path has {_MAX_PATH_OCTETS} octets at most")
    group = _group(settings.group)
    if make_parent:
        _make(path.parent)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        _bind(opened, path, settings.mode, group, wanted=settings.group is not None)
    except OSError as error:
        opened.close()
        raise ListenError(f"{path}: {error.strerror or error}") from None
    except ListenError:
        opened.close()
        raise
    return Listener(opened, path, _identity(path))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise ListenError(f"{folder}: {error.strerror}") from None


def _group(name: str | None) -> int | None:
    try:
        return grp.getgrnam(name or _DEFAULT_GROUP).gr_gid
    except KeyError:
        if name is None:
            return None
    if name.isascii() and name.isdigit():
        return int(name)
    raise ListenError(f"there is no group {name!r} to give the socket to (socket.group of smsgwd.yaml)")


def _clear(path: Path) -> None:
    """Make room for the socket: a stale one goes, everything else stays and is told."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path} exists and is no socket: it is left alone, choose another path")
    if _is_served(path):
        raise ListenError(f"{path} is in use: something listens there already")
    path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            # Only a refusal proves that nobody is there: a full queue or missing rights do not.
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _bind(opened: socket.socket, path: Path, mode: int, group: int | None, *, wanted: bool) -> None:
    # Linux gives the file the mode of the unbound socket: nobody else can connect before mode and group are right,
    # and the umask, which belongs to the whole process, is not touched.
    os.fchmod(opened.fileno(), 0o600)
    try:
        opened.bind(os.fspath(path))
    except FileNotFoundError:
        raise ListenError(f"{path.parent} does not exist: make the folder, or choose another path") from None
    with _bound(path) as file:
        if group is not None:
            _give_to(file, path, group, wanted=wanted)
        file.chmod(mode)
    opened.listen(BACKLOG)
    opened.setblocking(False)


@contextmanager
def _bound(path: Path) -> Iterator[Path]:
    """A path to the very file that we have just made, whatever is put in its place meanwhile.

    Mode and group would follow a symlink. Raises ListenError where it is no socket of ours any more.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
            raise ListenError(f"{path} was replaced while it was made: somebody else may write to its folder")
        yield Path(f"/proc/self/fd/{descriptor}")  # proc(5): leads to the file itself
    finally:
        os.close(descriptor)


def _give_to(file: Path, path: Path, group: int, *, wanted: bool) -> None:
    try:
        os.chown(file, -1, group)
    except PermissionError:
        if not wanted:
            return  # the default group is for the system's daemon; a user's own keeps the user's group
        path.unlink()
        raise ListenError(f"{path}: only root or a member can give it to the group {group} (socket.group)") from None


def _identity(path: Path) -> tuple[int, int, int]:
    """Device, inode and time of birth: the number of an inode is given away again at once."""
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_mtime_ns
