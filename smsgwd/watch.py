"""Wakes the reload when something near the configuration moves: an event says when to look, the look says what is.

inotify sees what happens in a folder, not where a path leads. So every folder that a link on the way stands in is
watched, too, and a watch is set anew when its folder is another one by now (watchdog's thread for a folder that was
removed is dead, and says nothing).
"""

import errno
import logging
import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from smsgwd.files import GATEWAYS, TOKENS

log = logging.getLogger("smsgwd.watch")

# A watch that ends while its thread reads is logged as an error by watchdog; it is none.
logging.getLogger("watchdog.observers.inotify").addFilter(lambda record: "thread is inactive" not in str(record.msg))

# Not "opened" and "closed without writing": every look of our own would wake the next one.
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
_MOST_FOLDERS = 100  # each takes a thread
_ABANDONED_S = (
    600.0  # a close that was never seen (the kernel drops events of a full queue) is not waited for any longer
)
_MOST_LINKS = 40  # as the kernel follows (path_resolution(7))
_OF_DIRECTORY = frozenset({"smsgwd.yaml", "smsgwd.yml", GATEWAYS, TOKENS, "..data"})
EVERYTHING: frozenset[str] = frozenset()

Places = Mapping[str, frozenset[str]]  # folder: the names in it that matter; EVERYTHING: all


def places(directory: Path, besides: Iterable[Path]) -> Places:
    """The folders to watch for a configuration directory and the files that it refers to."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    folders = [directory / GATEWAYS, directory / TOKENS]
    paths = [directory, directory / "smsgwd.yaml", directory / "smsgwd.yml", *folders, *besides]
    paths += (link for folder in folders for link in _links_in(folder))
    for path in paths:
        for folder, name in _steps(path):
            names[folder].add(name)
    found = {folder: frozenset(some) for folder, some in names.items()}
    if directory.is_dir():
        root = os.path.realpath(directory)
        found[root] = found.get(root, frozenset()) | _OF_DIRECTORY
    found |= {os.path.realpath(inner): EVERYTHING for inner in folders if inner.is_dir()}
    return found


def _links_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_symlink()]
    except OSError:
        return []


def _steps(path: Path) -> Iterator[tuple[str, str]]:
    """Each link on the way of a path, its end, or the first part that is missing: as folder and name."""
    folder, links = "/", 0
    rest = list(reversed(path.absolute().parts[1:]))
    while rest:
        name = rest.pop()
        if name == "..":
            folder = os.path.dirname(folder)  # noqa: PTH120 - a text, of which there are thousands
            continue
        whole = os.path.join(folder, name)  # noqa: PTH118 - as above
        try:
            is_link = stat.S_ISLNK(os.lstat(whole).st_mode) and links < _MOST_LINKS
            target = Path(whole).readlink() if is_link else None
        except OSError:
            yield folder, name
            return
        if target is not None:
            yield folder, name
            links += 1
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            folder = "/" if target.is_absolute() else folder
        elif rest:
            folder = whole
        else:
            yield folder, name


@dataclass(frozen=True, slots=True)
class _Watched:
    watch: ObservedWatch
    identity: tuple[int, int]


class Watcher(FileSystemEventHandler):
    """Calls `wake`, on a thread of its own, when something moves at the places that it follows."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._places: Places = {}
        self._watched: dict[str, _Watched] = {}
        self._unclosed: dict[str, tuple[tuple[int, int], float]] = {}
        self._lock = threading.Lock()  # of _unclosed
        self._following = threading.Lock()  # a reload that was cancelled may still follow on its thread
        self._observer: BaseObserver | None = None
        self._closed = False
        self.blind = False  # something cannot be watched: only looking again tells

    def follow(self, wanted: Places) -> bool:
        """Watch these places from now on. True when a watch was set: what happened before it was not seen."""
        with self._following:
            return not self._closed and self._follow(wanted)

    def _follow(self, wanted: Places) -> bool:
        self._places = wanted
        for folder in list(self._watched):
            if folder not in wanted or self._is_lost(folder):
                self._drop(folder)
        missing = sorted(wanted.keys() - self._watched.keys())
        errors = [self._add(folder) for folder in missing]
        self._tell({error for error in errors if error})
        return errors.count(0) > 0

    def unclosed(self, now: float) -> frozenset[tuple[int, int]]:
        """The files (device, inode) that were written and not closed since; `now` on the monotonic clock."""
        with self._lock:
            return frozenset(file for file, at in self._unclosed.values() if now - at < _ABANDONED_S)

    def close(self) -> None:
        """End the threads."""
        with self._following:
            self._closed = True
            if self._observer is not None:
                self._observer.stop()
                self._observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take an event; called by watchdog."""
        source, destination = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        with self._lock:
            self._note(event, source, destination)
        if self._concerns(source) or (destination and self._concerns(destination)):
            self._wake()

    def _concerns(self, path: str) -> bool:
        folder, name = os.path.split(path)
        names = self._places.get(folder)
        return path in self._places or (names is not None and (names == EVERYTHING or name in names))

    def _note(self, event: FileSystemEvent, source: str, destination: str) -> None:
        """Remember who began to write; forget who closed, or was replaced."""
        if isinstance(event, FileModifiedEvent):
            try:
                status = os.stat(source)  # noqa: PTH116 - a text, and there can be thousands of events
            except OSError:
                return
            self._unclosed[source] = (status.st_dev, status.st_ino), time.monotonic()
        if isinstance(event, (FileAttribEvent, FileModifiedEvent)):
            return
        before = self._unclosed.pop(source, None)
        if destination:
            self._unclosed.pop(destination, None)
            if before is not None:
                self._unclosed[destination] = before

    def _is_lost(self, folder: str) -> bool:
        watched = self._watched[folder]
        observer = self._observer
        alive = observer is not None and any(e.watch == watched.watch and e.is_alive() for e in observer.emitters)
        return not alive or _identity(folder) != watched.identity

    def _add(self, folder: str) -> int:
        """Watch a folder; 0, or the number of the error."""
        identity = _identity(folder)
        if len(self._watched) >= _MOST_FOLDERS:
            return errno.ENOSPC
        if identity is None:
            return errno.ENOENT
        if not os.access(folder, os.R_OK, effective_ids=True):  # watchdog says nothing when it is not allowed to
            return errno.EACCES
        try:
            watch = self._running().schedule(self, folder, event_filter=_EVENTS)
        except OSError as error:
            return error.errno or errno.EIO
        self._watched[folder] = _Watched(watch, identity)
        return 0

    def _drop(self, folder: str) -> None:
        watched = self._watched.pop(folder)
        if self._observer is not None:
            self._observer.unschedule(watched.watch)
        with self._lock:
            for path in [path for path in self._unclosed if path.startswith(folder + "/")]:
                del self._unclosed[path]

    def _running(self) -> BaseObserver:
        if self._observer is None:
            observer = Observer()
            observer.start()
            self._observer = observer
        return self._observer

    def _tell(self, errors: set[int]) -> None:
        was_blind, self.blind = self.blind, bool(errors)
        lasting = errors - {errno.ENOENT}
        if lasting and not was_blind:
            reasons = ", ".join(sorted(map(os.strerror, lasting)))
            log.warning(
                "not all folders of the configuration can be watched (%s): looking every moment instead", reasons
            )


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)  # noqa: PTH116 - a text
    except OSError:
        return None
    return status.st_dev, status.st_ino
