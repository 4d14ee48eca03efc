"""Who changed what over the socket: one line of JSON for each action, refused ones included, and no secret in it.

It goes to the log (the logger `smsgwd.audit`), and to the file that smsgwd.yaml names. That one is opened before the
action: what cannot be written down is not done.
"""

import asyncio
import errno
import json
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smsgwd.caller import Caller
from smsgwd.errors import RequestError

log = logging.getLogger("smsgwd.server")
journal = logging.getLogger("smsgwd.audit")
journal.setLevel(logging.INFO)  # whatever level the rest has

DONE = "done"
_NOT_KNOWN = "internal"  # what nobody foresaw; what was cut off in the middle
_LONGEST_NAME = 64  # characters of a gateway's name as a caller wrote it
_QUIET_S = 1.0  # for each line that says that one caller may not, but for
_AT_ONCE = 10  # of them: nobody can fill the disk, and a few tries in a row are all told
_MOST_CALLERS = 1024
_ROOM = 4096  # octets that have to be free on the disk: a line is shorter
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(slots=True)
class Entry:
    """What is going to be written down. `before` and `after` are digests; `outcome` is `done` or a problem's code."""

    action: str  # create, change, delete, delete-option, reload, login
    gateway: str = ""
    before: str | None = None
    after: str | None = None
    outcome: str = DONE
    detail: str = ""
    by: Caller | None = None  # who it turned out to be, where that is not who called: of a login


class Audit:
    """Writes the lines. `file` says where to, beside the log; `socket` is where callers without an address come from.

    `clock` gives seconds.
    """

    def __init__(self, file: Callable[[], Path | None], clock: Callable[[], float] = time.monotonic) -> None:
        self.socket = ""
        self._file = file
        self._clock = clock
        self._refused: dict[str, tuple[float, int]] = {}  # by caller: when all is quiet again, and how often untold

    @asynccontextmanager
    async def action(self, action: str, caller: Caller, *, gateway: str = "") -> AsyncIterator[Entry]:
        """Write down what the block does, and how it ends. Raises RequestError audit-unavailable before it begins."""
        entry = Entry(action, gateway)
        try:
            file = await asyncio.to_thread(_opened, self._file())
        except OSError as error:
            entry.outcome = "audit-unavailable"
            self._log(self._members(entry, caller))
            reason = error.strerror or type(error).__name__
            raise RequestError(
                "audit-unavailable", f"nothing was done: the audit file cannot be opened: {reason}"
            ) from None
        try:
            yield entry
        except BaseException as error:
            entry.outcome = error.code if isinstance(error, RequestError) else _NOT_KNOWN
            entry.detail = entry.detail or _told(error)
            raise
        finally:
            await self._finish(entry, caller, file)

    async def _finish(self, entry: Entry, caller: Caller, file: "_File | None") -> None:
        untold = self._untold(entry, caller)
        members = {**self._members(entry, caller), **({"not_told": untold} if untold else {})}
        told = untold is not None
        if told:
            self._log(members)
        if file is None:
            return
        try:
            await asyncio.to_thread(file.write_and_close, members if told else None)
        except OSError as error:  # it is done: the log has the line, and says that the file has not
            log.warning("the audit file cannot be written: %s", error.strerror or type(error).__name__)

    def _untold(self, entry: Entry, caller: Caller) -> int | None:
        """How many refusals of this caller were not told before this one; None: this one is not told either."""
        if entry.outcome not in {"forbidden", "unauthorized"}:
            return 0
        now = self._clock()
        quiet_at, untold = self._refused.get(caller.name, (now, 0))
        quiet_at = max(quiet_at, now) + _QUIET_S
        if quiet_at > now + _AT_ONCE * _QUIET_S:
            self._refused[caller.name] = (quiet_at - _QUIET_S, untold + 1)
            return None
        if len(self._refused) >= _MOST_CALLERS:
            self._refused.clear()
        self._refused[caller.name] = (quiet_at, 0)
        return untold

    def _members(self, entry: Entry, caller: Caller) -> dict[str, Any]:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "at": moment,
            "action": entry.action,
            "gateway": entry.gateway[:_LONGEST_NAME],
            "by": (entry.by or caller).name,
            "from": caller.address or self.socket,
            "before": entry.before,
            "after": entry.after,
            "outcome": entry.outcome,
            "detail": entry.detail,
        }

    def _log(self, members: dict[str, Any]) -> None:
        journal.info("audit", extra=members)


def _told(error: BaseException) -> str:
    """Of what is wrong with a file only the codes: whatever else there is, it may repeat what a caller wrote."""
    problems = error.members.get("problems", []) if isinstance(error, RequestError) else []
    return ", ".join(sorted({problem["code"] for problem in problems if problem["severity"] == "error"}))


@dataclass(frozen=True, slots=True)
class _File:
    """The audit file, open."""

    path: Path
    descriptor: int

    def write_and_close(self, members: dict[str, Any] | None) -> None:
        """Append a line, durably; to the file that has the name now, if it was rotated meanwhile. Raises OSError."""
        try:
            if members is not None:
                line = json.dumps(members).encode() + b"\n"
                if self._moved():
                    _append(self.path, line)
                else:
                    _write(self.descriptor, line)
        finally:
            os.close(self.descriptor)

    def _moved(self) -> bool:
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return True
        own = os.fstat(self.descriptor)
        return (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino)


def _opened(path: Path | None) -> _File | None:
    """The file, opened for append; None without one. Raises OSError, also for what is no file, or a link."""
    if path is None:
        return None
    descriptor = os.open(path, _APPEND, 0o600)
    try:
        _check(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return _File(path, descriptor)


def _check(descriptor: int) -> None:
    """Raises OSError for what is no file, and for a disk without room for a line."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(0, "it is no file")
    disk = os.fstatvfs(descriptor)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < _ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _append(path: Path, line: bytes) -> None:
    file = _opened(path)
    if file is not None:
        try:
            _write(file.descriptor, line)
        finally:
            os.close(file.descriptor)


def _write(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # of a line only a part was taken, once
    rest = b"\n" + line if torn else line
    while rest:  # a disk that is full takes a part of it at first
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)
