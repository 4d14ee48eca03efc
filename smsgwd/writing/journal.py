"""Which secret files a write touches, written down before the first of them, for whoever clears up after it."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from smsgwd.files import NAME
from smsgwd.writing import files

_SUFFIX = ".json"
_MAX_OCTETS = 1 << 20
# as the writer and the importer call them; nothing else is ever removed
SECRET_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


def path_of(name: str) -> str:
    """The journal of a gateway, in secrets.d."""
    return f"{files.TEMPORARY}{name}{_SUFFIX}"


def write(name: str, touched: Iterable[str], folder: int) -> None:
    """Note them, durably. Raises OSError."""
    document = json.dumps({"gateway": name, "secrets": sorted(touched)}).encode()
    aside = files.beside(path_of(name))
    files.create(aside, folder, document)
    try:
        os.rename(aside, path_of(name), src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError:
        files.remove(aside, folder)
        files.remove(path_of(name), folder)
        raise


def remove(name: str, folder: int) -> None:
    """The write is over, and nothing is left to clear up. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(path_of(name), dir_fd=folder)
    os.fsync(folder)


def read_all(folder: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each gateway whose write was cut off, and the secret files that it touched: none where that makes no sense."""
    for entry in sorted(files.names(folder)):
        name = entry.removeprefix(files.TEMPORARY).removesuffix(_SUFFIX)
        if entry == path_of(name) and NAME.fullmatch(name):
            yield name, _touched(entry, name, folder)


def _touched(entry: str, name: str, folder: int) -> tuple[str, ...]:
    try:
        found = files.read(entry, folder)
        document = json.loads(found[0] if found else b"")
        named = document["secrets"] if document["gateway"] == name else []
        return tuple(one for one in named if isinstance(one, str) and SECRET_FILE.fullmatch(one))
    except (files.ElsewhereError, ValueError, KeyError, TypeError, RecursionError):
        return ()
