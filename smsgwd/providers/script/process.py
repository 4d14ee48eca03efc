"""One process: it gets nothing of ours but what it needs, never waits for a reader, ends with its whole group."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from smsgwd.units import Deadline

MAX_OUTPUT = 4096  # octets that are kept of what a process prints
GRACE_S = 1.0  # between SIGTERM and SIGKILL
_CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def start(
    path: Path, argv: Sequence[str], env: Mapping[str, str], *, stdin: bytes, output: int, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a program in `folder`, in a session of its own; `output` is the descriptor that it prints to.

    Its environment is PATH and LANG, and `env`. Raises OSError.
    """
    with os.fdopen(os.memfd_create("message"), "wb+") as message:  # no pipe: whoever does not read it breaks nothing
        message.write(stdin)
        message.seek(0)
        return subprocess.Popen(  # noqa: S603 - no shell; the program has just been looked at
            [item.encode() for item in argv],
            executable=path,
            stdin=message,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_CLEAN | {key: value.encode() for key, value in env.items()},
            start_new_session=True,
        )


async def end_of(process: subprocess.Popen[bytes], limit: Deadline) -> int | None:
    """The exit code, negative for a signal; None when it ran over its time and was ended with its whole group."""
    exited = _exited(process.pid)
    await asyncio.wait({exited}, timeout=limit.remaining())
    in_time = exited.done()
    if not in_time:
        await _end_group(process.pid, exited)
    code = process.wait()  # returns at once: it has exited
    return code if in_time else None


def _exited(pid: int) -> asyncio.Future[None]:
    """Done when the process has exited. It is not reaped: until then nobody else gets its number, nor its group's."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def wait() -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(_resolve, future)

    threading.Thread(target=wait, name=f"script {pid}", daemon=True).start()
    return future


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _end_group(pid: int, exited: asyncio.Future[None]) -> None:
    os.killpg(pid, signal.SIGTERM)
    await asyncio.wait({exited}, timeout=GRACE_S)
    os.killpg(pid, signal.SIGKILL)  # the group lives as long as its leader is not reaped
    await exited


class Output:
    """A pipe for what a process prints: 4 KiB are kept, the rest is read and dropped, so that it never waits."""

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._reader, self.descriptor = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        os.close(self.descriptor)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._kept += os.read(self._reader, 1 << 16)
            del self._kept[MAX_OUTPUT:]

    def text(self) -> str:
        """What was kept, up to now."""
        self._read()  # a pipe holds 64 KiB: that is the rest
        return self._kept.decode(errors="replace")
