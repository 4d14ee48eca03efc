"""A process that changes a gateway and is killed on the way: `python killed_writer.py`, one change for each line read.

A line is `{"config": DIR, "change": create|update|delete, "step": N}`: a child of its own makes the change, and kills
itself (SIGKILL) when it is about to touch the file system for the Nth time. Printed is `killed` or `done`.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from smsgwd.providers._base import Site
from smsgwd.registry import Registry, SiteConfig
from smsgwd.reload import Reloader
from smsgwd.secret import Secret
from smsgwd.writing import Wanted, Writer

STEPS = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.listdir",
    "os.truncate",
    "fcntl.flock",
}
DATA = {
    "provider": "http",
    "secrets": {"user": {"file": "secrets.d/web/user"}, "password": {"file": "secrets.d/web/password"}},
    "settings": {
        "url": "https://example.com/send",
        "form": {"to": "{{ phone }}", "text": "{{ message }}"},
        "auth": {"username": "{{ secrets.user }}", "password": "{{ secrets.password }}"},
    },
}
VALUES = {
    "create": {"user": Secret("somebody"), "password": Secret("first")},
    "update": {"user": Secret("somebody"), "password": Secret("second")},
}


def wanted(change: str) -> Wanted | None:
    """What the gateway is to become."""
    values = VALUES.get(change)
    return None if values is None else Wanted(data={**DATA, "sender": change[:6]}, secrets=values)


class Trap:
    """Counts the steps of one process in the configuration directory, and ends it at one of them."""

    def __init__(self, config: str, step: int) -> None:
        self.armed = False
        self._config = config
        self._left = step
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and event in STEPS and self._is_ours(arguments[0]):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_ours(self, path: object) -> bool:
        """By descriptor, by a name in an opened folder, or below the directory."""
        return not isinstance(path, str) or not path.startswith("/") or path.startswith(self._config)


async def make_change(config: str, change: str, trap: Trap) -> None:
    """The change, by the writer and over the reload of the daemon."""
    reloader = Reloader(Path(config), quiet_s=0.02)
    before = Registry(config=SiteConfig(site=Site(Path(config)), writable=True))

    async def reload() -> None:
        trap.armed = False
        await reloader.load()

    trap.armed = True
    await Writer(lambda: reloader.registry if reloader.registry.generation else before, reload).change(
        "web", lambda _: wanted(change)
    )


def main() -> None:
    """One child for each line."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            asyncio.run(make_change(asked["config"], asked["change"], Trap(asked["config"], asked["step"])))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        said = {0: "done", int(signal.SIGKILL): "killed"}.get(status, f"failed: {status}")
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
