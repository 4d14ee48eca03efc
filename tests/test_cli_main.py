import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, run, spawn
from fake_daemon import fake_daemon, silent

from smsgwd import __version__
from smsgwd.cli import VERBS, build


def parser_of(verb: str) -> ArgumentParser:
    """The parser of one verb, out of the whole."""
    (verbs,) = (action for action in build()._actions if isinstance(action, _SubParsersAction))
    parser = verbs.choices[verb]
    assert isinstance(parser, ArgumentParser)
    return parser


HEAVY = {"aiohttp", "jinja2", "jsonschema", "phonenumbers", "requests", "watchdog", "yaml", "asyncio"}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the name and the version, and exits 0."""
    done = run(capsys, "--version")
    assert (done.code, done.out) == (0, f"smsgwd {__version__}\n")


def test_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments it shows its help and exits 2."""
    done = run(capsys)
    assert done.code == 2
    assert done.out == ""
    assert "usage: smsgwd" in done.err
    assert all(f"    {verb} " in done.err for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Each verb's --help exits 0, tells what it does, and shows an example of itself."""
    done = run(capsys, verb, "--help")
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"^example.*\bsmsgwd {verb}\b", done.out, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    """Every argument of every verb has a line of help."""
    assert all(action.help for action in parser_of(verb)._actions)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], "invalid choice: 'chekc'"),
        (["--bogus"], "the following arguments are required: VERB"),
        (["count"], "the following arguments are required: TEXT"),
        (["count", "a", "--bogus"], "unrecognized arguments: --bogus"),
        (["status", "--js"], "unrecognized arguments: --js"),
        (["status", "now"], "usage: smsgwd status"),
        (["status", "--socket", ""], "argument --socket: may not be empty"),
        (["check", "--config", ""], "argument --config: may not be empty"),
        (["reload", "--timeout", "30"], "argument --timeout: a duration is a whole number and a unit"),
        (["count", "\udcff"], "argument TEXT: not UTF-8"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """Wrong usage exits 2 with the reason on standard error and nothing on standard output."""
    done = run(capsys, *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["send", "--help"], set()),
        (["serve", "--help"], set()),
        (["count", "a"], set()),
        (["status", "--socket", "/nonexistent/s"], set()),
        (["send", "--socket", "/nonexistent/s", "--gateway", "a", "--to", "1", "--text", "b"], set()),
        (["send", "--config", "/nonexistent", "--gateway", "a", "--to", "1", "--text", "b"], set()),
    ],
)
def test_imports_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    """What is typed often starts at once: no library of the configuration or of the server is imported."""
    code = (
        "import sys; from smsgwd.cli import main; main(sys.argv[1:]);"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        python("-c", code, *arguments), capture_output=True, text=True, check=True, timeout=TIMEOUT_S, env=environment()
    )
    assert done.stderr.splitlines()[-1] == str(sorted(allowed))


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["count", "a" * 2000]])
def test_reader_that_goes_away(arguments: list[str]) -> None:
    """`smsgwd ... | head -0` says nothing about the broken pipe."""
    readable, writable = os.pipe()
    os.close(readable)
    done = subprocess.run(
        python("-m", "smsgwd", *arguments),
        stdout=writable,
        stderr=subprocess.PIPE,
        check=False,
        timeout=TIMEOUT_S,
        cwd=CHECKOUT,
        env=environment(),
    )
    os.close(writable)
    assert done.stderr == b""
    assert done.returncode in (0, 141)


def test_full_disk() -> None:
    """Data that cannot be written is told, and no success."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            python("-m", "smsgwd", "count", "a"),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=TIMEOUT_S,
            cwd=CHECKOUT,
        )
    assert done.returncode == 1
    assert done.stderr == b"smsgwd: standard output: No space left on device\n"


def test_closed_output() -> None:
    """A command whose standard streams are closed ends with its own exit code."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m smsgwd count a <&- >&- 2>&-; echo $?"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT_S,
        cwd=CHECKOUT,
    )
    assert done.stdout == b"0\n"


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends a verb that waits with exit code 130, without a traceback."""
    with fake_daemon(tmp_path / "s", silent) as daemon:
        waiting = subprocess.Popen(
            python("-m", "smsgwd", "status", "--socket", daemon.path),
            stderr=subprocess.PIPE,
            cwd=CHECKOUT,
            env=environment(),
        )
        daemon.wait_for_request()
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert (waiting.returncode, err) == (130, b"")


def test_text_for_a_terminal() -> None:
    """A character that the terminal's encoding lacks is written as an escape, never a traceback."""
    done = spawn("count", "“", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"})
    assert done.code == 0
    assert "\\u201c U+201C" in done.out
