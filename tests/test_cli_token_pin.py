"""`smsgwd token hash-pin`: the PIN comes in unseen, its hash goes out."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest
from command import TIMEOUT_S, environment, python, spawn

from smsgwd.pin import MOST_OCTETS, PinHash


@pytest.mark.parametrize("written", [b"canary 1", b"canary 1\n", b"canary 1\r\n"])
def test_from_standard_input(written: bytes) -> None:
    """One line break at the end is not part of the PIN; what is printed is its hash and nothing else."""
    done = spawn("token", "hash-pin", stdin=written)
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert PinHash.parse(done.out.strip()).fits("canary 1")


def test_two_line_breaks() -> None:
    """Only one is dropped: what is left is what has to be typed."""
    assert PinHash.parse(spawn("token", "hash-pin", stdin=b" 1\n\n").out.strip()).fits(" 1\n")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"", "the PIN is empty"),
        (b"\n", "the PIN is empty"),
        (b"canary\xff", "standard input is not UTF-8 (octet 7)"),
        (b"7" * (MOST_OCTETS + 1), f"the PIN is longer than {MOST_OCTETS} octets"),
        (b"7" * 70_000, "longer than 64 KiB"),
    ],
)
def test_what_is_no_pin(written: bytes, words: str) -> None:
    """It is said what is wrong, and nothing of what was written."""
    done = spawn("token", "hash-pin", stdin=written)
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert "canary" not in done.err
    assert "777" not in done.err


def test_a_pin_is_no_argument() -> None:
    """There it could be seen by other users of the machine."""
    done = spawn("token", "hash-pin", "1234", stdin=b"")
    assert done.code == 2
    assert "unrecognized arguments" in done.err


def test_closed_input() -> None:
    """Without a standard input there is no PIN, and no traceback."""
    command = " ".join(python("-m", "smsgwd", "token", "hash-pin"))
    done = subprocess.run(
        ["sh", "-c", f"exec {command} <&-"], capture_output=True, env=environment(), check=False, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    assert b"standard input is closed" in done.stderr


def typed(lines: Sequence[str]) -> tuple[int, str, str]:
    """On a terminal, each line when it is asked for: exit code, what the terminal showed, standard output."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        python("-m", "smsgwd", "token", "hash-pin"),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        env=environment({"NO_COLOR": "1"}),
    ) as process:
        os.close(terminal)
        shown = ""
        answers = iter(lines)
        for octets in written(controller):
            shown += octets
            if shown.endswith(": "):
                os.write(controller, f"{next(answers)}\n".encode())
        out = b"" if process.stdout is None else process.stdout.read()
        process.wait(TIMEOUT_S)
    os.close(controller)
    return process.returncode, shown.replace("\r\n", "\n"), out.decode()


def written(controller: int) -> Iterator[str]:
    """What comes to the terminal, until the command closes it."""
    end = time.monotonic() + TIMEOUT_S
    while select.select([controller], [], [], max(0, end - time.monotonic()))[0]:
        try:
            yield os.read(controller, 1024).decode()
        except OSError:  # EIO: nobody has the other side open
            return
    raise AssertionError("it never ended")


def test_on_a_terminal() -> None:
    """The PIN is asked for twice and never shown."""
    code, shown, out = typed(["canary 1", "canary 1"])
    assert (code, shown) == (0, "PIN: \nPIN again: \n")
    assert PinHash.parse(out.strip()).fits("canary 1")


def test_two_different_ones_on_a_terminal() -> None:
    """Nobody knows which one was meant: no hash."""
    code, shown, out = typed(["canary 1", "canary 2"])
    assert (code, out) == (1, "")
    assert shown.endswith("smsgwd: the two PINs are not the same\n")
    assert "canary" not in shown
