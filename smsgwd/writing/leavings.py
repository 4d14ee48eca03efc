"""Clears up what a write that was cut off has left: secret files that nobody uses, files that never got their name.

It takes no knowledge of how far the write came. Before the gateway file changed, it refers to the former secret files,
afterwards to the new ones; those of the journal that no file of the configuration refers to are in nobody's use.
"""

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from smsgwd import schema
from smsgwd.files import GATEWAYS, MAX_OCTETS, SECRETS, look
from smsgwd.load import Scalar, Source, load, walk
from smsgwd.writing import files, journal
from smsgwd.writing.area import Area, BusyError

log = logging.getLogger("smsgwd.writing")

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_YAML = (".yaml", ".yml")


def clear_up(directory: Path) -> None:
    """Clear up a configuration directory, if it is writable and there is something to clear up. Never raises.

    For the start of the daemon, when nothing is loaded yet.
    """
    try:
        if not _is_cut_off(directory) or not _is_writable(directory):
            return
        with Area.opened(directory) as area:
            settle(area)
    except (OSError, files.ElsewhereError, BusyError) as error:
        log.warning("what a write left behind cannot be cleared up: %s", type(error).__name__)


def settle(area: Area) -> None:
    """End every write that was cut off. Raises ElsewhereError, OSError."""
    _remove_temporary(area.gateways)
    folder = area.secrets()
    if folder is None:
        return
    for name, touched in journal.read_all(folder):
        log.warning("a write was cut off, and is settled", extra={"gateway": name})
        remove_unused(area, name, touched)
        journal.remove(name, folder)
    _remove_temporary(folder)


def remove_unused(area: Area, name: str, candidates: Collection[str]) -> None:
    """Remove those of these secret files of a gateway that no file refers to, and its folder when that is empty.

    Raises ElsewhereError, OSError.
    """
    folder = area.secrets(name)
    if folder is None:
        return
    there = set(files.names(folder)) & set(candidates)
    unused = there - _used(area, name, there) if there else there
    for one in sorted(unused):
        os.unlink(one, dir_fd=folder)
    if unused:
        os.fsync(folder)
    parent = area.secrets()
    if parent is not None and not files.names(folder):
        with suppress(OSError):  # somebody has put a file into it just now
            os.rmdir(name, dir_fd=parent)


def own_secrets(source: Source, name: str, directory: Path) -> set[str]:
    """The files of secrets.d/NAME that a file of the configuration names, anywhere in it."""
    folders = {os.path.normpath(root / SECRETS / name) for root in (directory, Path(os.path.realpath(directory)))}
    texts = (node.text for _, node in walk(source.data) if isinstance(node, Scalar)) if source.data else ()
    paths = (os.path.split(os.path.normpath(directory / text)) for text in texts)
    return {file for folder, file in paths if folder in folders}


def _used(area: Area, name: str, candidates: set[str]) -> set[str]:
    """Those that some file refers to, as far as it can be read; of one that cannot be understood, that it may mean."""
    used: set[str] = set()
    for data in _texts(area):
        # a file that says the name of the gateway nowhere, not even by an escape, refers to nothing of it
        if name.encode() not in data and b"\\" not in data:
            continue
        source = load(data, "")
        used |= own_secrets(source, name, area.directory)
        if source.data is None:
            used |= {one for one in candidates if one.encode() in data}
    return used & candidates


def _texts(area: Area) -> Iterator[bytes]:
    for folder in (area.root, area.gateways):
        for entry in files.names(folder):
            if entry.endswith(_YAML):
                with suppress(OSError), os.fdopen(os.open(entry, _READ, dir_fd=folder), "rb") as file:
                    yield file.read(MAX_OCTETS + 1)  # what is larger is no configuration


def _remove_temporary(folder: int) -> None:
    for entry in files.names(folder):
        if entry.startswith(files.TEMPORARY):
            os.unlink(entry, dir_fd=folder)


def _is_cut_off(directory: Path) -> bool:
    return any(
        name.startswith(files.TEMPORARY)
        for folder in (directory / GATEWAYS, directory / SECRETS)
        if folder.is_dir()
        for name in files.names(folder)
    )


def _is_writable(directory: Path) -> bool:
    site = look(directory).site
    data = None if site is None else schema.check_site(load(site.data, site.file))[0]
    return bool(data and data.get("writable"))
