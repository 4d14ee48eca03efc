"""Programs that read what we write, by other authors: npm packages that tests/readers/package-lock.json pins."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from command import CHECKOUT, TIMEOUT_S

PINNED = CHECKOUT / "tests" / "readers"
FOLDER = CHECKOUT / ".node" / "readers"  # outside of what is committed
_NEEDED = ("package.json", "package-lock.json")


def node_modules() -> Path:
    """The packages, installed once; test processes side by side wait for each other. None of their scripts is run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (PINNED / "package-lock.json").read_bytes()
        done = FOLDER / "installed.json"
        if not (done.is_file() and done.read_bytes() == wanted):
            for name in _NEEDED:
                shutil.copy(PINNED / name, FOLDER / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=55)
            done.write_bytes(wanted)
    return FOLDER / "node_modules"


def asked(script: str, texts: list[str]) -> list[Any]:
    """What a script of tests/readers answers to these texts."""
    here = node_modules().parent
    shutil.copy(PINNED / script, here / script)  # so that it finds the packages beside it
    done = subprocess.run(
        ["node", here / script], input=json.dumps(texts).encode(), capture_output=True, check=True, timeout=TIMEOUT_S
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers
