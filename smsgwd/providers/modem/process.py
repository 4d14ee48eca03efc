"""The parent's side of the child process: asks, and ends it when it does not answer."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("child.py")
_CLEAN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}  # and the parent's way to its packages
_GOODBYE_S = 1.0
_ALARM_AFTER_S = 5  # the child's own alarm is for the case that nobody is left to end it


class NoAnswerError(Exception):
    """The child did not answer in time, or ended. It is gone."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        super().__init__()


class Child:
    """One child process, for one modem. One question at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> "Child":
        """Start it. Raises OSError."""
        env = _CLEAN | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(_PROGRAM), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=env
            )
        )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    async def ask(self, operation: str, limit_s: float, **arguments: Any) -> dict[str, Any]:
        """Its answer. Raises NoAnswerError, and then it is ended: what it does meanwhile nobody knows."""
        request = {"operation": operation, "arguments": arguments, "alarm_s": int(limit_s) + _ALARM_AFTER_S}
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it was started with pipes
        assert self._process.stdout is not None  # noqa: S101 - as above
        try:
            async with asyncio.timeout(limit_s):
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                line = await self._process.stdout.readline()
        except TimeoutError:
            await self.kill()
            raise NoAnswerError(silent=True) from None
        except BaseException:
            await self.kill()
            raise
        if not line:
            await self.kill()
            raise NoAnswerError(silent=False)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        """Let it end by itself, or end it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it at once."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)  # not by Popen: it would take the exit code from asyncio
        await self._process.wait()
