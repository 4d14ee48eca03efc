"""Runs the command: in this process where that is enough, else as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from smsgwd.cli import main

TIMEOUT_S = 30.0
CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """The command in this process."""
    capsys.readouterr()
    code = main(arguments)
    written = capsys.readouterr()
    return Done(code, written.out, written.err)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: that of this process less what concerns smsgwd and colours."""
    ours = {"SMSGWD_CONFIG", "SMSGWD_SOCKET", "NO_COLOR", "STATE_DIRECTORY", "LISTEN_FDS", "NOTIFY_SOCKET"}
    return {key: value for key, value in os.environ.items() if key not in ours} | dict(extra or {})


def spawn(*arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> Done:
    """The command as a process, from a folder that is not the checkout."""
    done = subprocess.run(
        python("-m", "smsgwd", *arguments),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=CHECKOUT,
        env=environment(env),
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def python(*arguments: str) -> Sequence[str]:
    """A Python process of this environment. Warnings are errors there, too."""
    return [sys.executable, "-W", "error", *arguments]
