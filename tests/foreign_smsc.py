"""SMSCs that we did not write, as child processes on loopback: npm's `smpp` and Debian's libnet-smpp-perl."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NODE = HERE.parent / ".node"  # outside of what is committed
_NEEDED = ("package.json", "package-lock.json")


def install_node_modules() -> None:
    """Install what tests/smsc/package-lock.json pins, once; test processes side by side wait for each other."""
    NODE.mkdir(exist_ok=True)
    with (NODE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (HERE / "smsc" / "package-lock.json").read_bytes()
        done = NODE / "installed.json"
        if done.is_file() and done.read_bytes() == wanted:
            return
        for name in _NEEDED:
            shutil.copy(HERE / "smsc" / name, NODE / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE, check=True, capture_output=True, timeout=50)
        done.write_bytes(wanted)


class Child:
    """An SMSC in a process of its own, told what to do by lines on its standard input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0

    async def read(self) -> dict[str, Any]:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the SMSC has ended"
        said: dict[str, Any] = json.loads(line)
        return said

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something, and return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        return await self.read()

    def kill(self) -> None:
        """End it at once, without a word to anybody."""
        self._process.kill()


@contextlib.asynccontextmanager
async def _child(*command: str | Path) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(NODE / "node_modules")},
        limit=1 << 24,  # a report is one line
    )
    try:
        child = Child(process)
        child.port = (await child.read())["port"]
        yield child
    finally:
        assert process.stdin is not None
        process.stdin.close()  # both scripts end then
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else the garbage collector warns of open pipes


def node(**how: Any) -> contextlib.AbstractAsyncContextManager[Child]:
    """An SMSC on npm's `smpp`; `how` is what tests/smsc/script.js takes."""
    install_node_modules()
    return _child("node", HERE / "smsc" / "script.js", json.dumps(how))


def perl() -> contextlib.AbstractAsyncContextManager[Child]:
    """An SMSC on Net::SMPP."""
    return _child("perl", HERE / "smsc_perl.pl")
