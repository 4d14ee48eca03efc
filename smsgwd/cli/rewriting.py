"""Puts a new text in the place of a file: whole or not at all, and only if nobody else changed it meanwhile."""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from smsgwd.cli.terminal import Failure

_BOM = b"\xef\xbb\xbf"


def encoded(text: str, before: bytes) -> bytes:
    """A text as octets, with a byte order mark if the file had one."""
    return (_BOM if before.startswith(_BOM) else b"") + text.encode()


def rewrite(path: Path, data: bytes, before: bytes) -> None:
    """Replace the content `before` of a file, or of what a link leads to; rights and owner stay. Raises Failure."""
    try:
        target = path.resolve(strict=True)
        found = target.read_bytes()
        if found == data:  # done already: it was reached by another link
            return
        if found != before:
            raise Failure(f"{path}: it was changed meanwhile, and is left as it is")
        _replace(target, data)
    except OSError as error:
        raise Failure(f"{path}: it cannot be written: {error.strerror}") from None


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; a device or FIFO is written to as it is. Raises Failure."""
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as error:
        raise Failure(f"{path}: it cannot be written: {error.strerror}") from None


def _replace(target: Path, data: bytes) -> None:
    # a name that begins with a dot is none of a gateway file
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        if target.exists():
            _like(aside, target)
        aside.replace(target)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


def _like(aside: Path, target: Path) -> None:
    """Give it the owner, as far as we may, and the rights of the file that it replaces."""
    status = target.stat()
    with suppress(PermissionError):
        os.chown(aside, status.st_uid, status.st_gid)
    shutil.copymode(target, aside)
