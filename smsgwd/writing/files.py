"""Single files in an opened folder, read and written so that neither a link nor a power failure changes the meaning."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from smsgwd.files import MAX_OCTETS

TEMPORARY = ".writing-"  # how the names of files begin that are not yet, or no more; readers leave such names out
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ElsewhereError(Exception):
    """Something is a link, or neither file nor folder: what it stands for is not ours to change. The text says what."""


def open_folder(name: str, inside: int, *, make_mode: int | None = None) -> int:
    """The folder of that name, opened; `make_mode`: made, if it is missing.

    Raises ElsewhereError, FileNotFoundError, OSError.
    """
    if make_mode is not None:
        with suppress(FileExistsError):
            os.mkdir(name, make_mode, dir_fd=inside)
            os.fsync(inside)
    try:
        return os.open(name, _FOLDER, dir_fd=inside)
    except NotADirectoryError:
        raise ElsewhereError(f"{name} is a link, or no folder") from None


def read(name: str, folder: int) -> tuple[bytes, os.stat_result] | None:
    """The file, one octet more of it than a gateway file may have at most; None when there is none.

    Raises ElsewhereError for a link and for what is no file, OSError.
    """
    found = status(name, folder)
    if found is None:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise ElsewhereError(f"{name} is {'a link' if stat.S_ISLNK(found.st_mode) else 'no file'}")
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        opened = os.fstat(file.fileno())
        if not stat.S_ISREG(opened.st_mode):
            raise ElsewhereError(f"{name} is no file")
        return file.read(MAX_OCTETS + 1), opened


def names(folder: int | Path) -> list[str]:
    """What is in a folder. Raises OSError."""
    return os.listdir(folder)  # noqa: PTH208 - pathlib knows no opened folders


def status(name: str, folder: int) -> os.stat_result | None:
    """What the file system says of a name itself, not of what it may lead to. Raises OSError."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether nobody has touched a file between two looks at it."""
    return _version(one) == _version(other)


def _version(status: os.stat_result | None) -> tuple[int, ...] | None:
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def create(name: str, folder: int, data: bytes, *, like: os.stat_result | None = None, mode: int = 0o600) -> None:
    """Write a file that is not there yet; `like` gives it mode and owner. Raises OSError; then it is not there."""
    descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if like is not None:
                with suppress(PermissionError):  # only root gives files away; what it says counts, not whose it is
                    os.fchown(descriptor, like.st_uid, like.st_gid)
                mode = stat.S_IMODE(like.st_mode) & 0o777
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except BaseException:
        remove(name, folder)
        raise


def beside(name: str) -> str:
    """A name for what is to take the place of this file."""
    return f"{TEMPORARY}{name}-{secrets.token_hex(4)}"


def remove(name: str, folder: int) -> None:
    """The name is gone afterwards, if it can be removed at all: what stays is cleared up another time."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
