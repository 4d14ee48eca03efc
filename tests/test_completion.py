import os
import pty
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S

from smsgwd.cli import VERBS

BASH = CHECKOUT / "completions" / "smsgwd.bash"
ZSH = CHECKOUT / "completions"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration directory with two gateways, and things that are none."""
    folder = tmp_path / "a config" / "gateways.d"
    folder.mkdir(parents=True)
    for name in ("clickatell.yaml", "console.yml", ".hidden.yaml", "$(echo x).yaml", "notes.txt"):
        (folder / name).write_text("")
    return folder.parent


def test_fresh() -> None:
    """The completions are those of the command's parser, as tools/write_completions.py writes them."""
    command = [sys.executable, "tools/write_completions.py", "--check"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, "")


def offered(words: list[str], folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    """What bash offers for the last of the words."""
    script = (
        f"set -u; source {shlex.quote(str(BASH))}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1};"
        '_smsgwd; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **(environ or {})},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "offer"),
    [
        ("smsgwd", list(VERBS)),
        ("smsgwd s", ["serve", "send", "status", "schema"]),
        ("smsgwd --", ["--help", "--version"]),
        ("smsgwd reload --w", ["--wait"]),
        ("smsgwd check --format ", ["text", "json", "github", "sarif"]),
        ("smsgwd check --format j", ["json"]),
        ("smsgwd check --format =", ["text", "json", "github", "sarif"]),
        ("smsgwd render --format = c", ["curl"]),
        ("smsgwd otp ", ["challenge", "verify"]),
        ("smsgwd otp challenge --di", ["--digits"]),
        ("smsgwd send --text c", []),
        ("smsgwd count c", []),
        ("smsgwd schema sm", ["smpp", "smsgwd", "smtp"]),
        ("smsgwd explain single", ["single-brace"]),
        ("smsgwd init --provider tw", ["twilio"]),
        ("smsgwd check c", ["config.yaml", "config"]),
        ("smsgwd serve --config c", ["config"]),
        ("smsgwd status --socket config.", ["config.yaml"]),
    ],
)
def test_bash(tmp_path: Path, words: str, offer: list[str]) -> None:
    """Bash offers verbs, flags, choices, files and folders where each belongs, and nothing for free text."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config.yaml").touch()
    typed = words.split(" ") if " " in words else [words, ""]
    assert sorted(filter(None, offered(typed, tmp_path))) == sorted(offer)


@pytest.mark.parametrize("verb", ["send", "render"])
@pytest.mark.parametrize("given", [["--config", "{config}"], ["--config", "=", "{config}"], []])
def test_gateways_in_bash(config: Path, verb: str, given: list[str]) -> None:
    """Bash offers the gateways of the configuration directory, by --config or $SMSGWD_CONFIG, and runs no file name."""
    words = ["smsgwd", verb, *(word.format(config=config) for word in given), "--gateway", "c"]
    environ = {} if given else {"SMSGWD_CONFIG": str(config)}
    assert offered(words, config, environ) == ["clickatell", "console"]


def test_gateways_of_a_home(config: Path) -> None:
    """Bash finds a configuration below ~, which the shell has not expanded yet."""
    assert offered(["smsgwd", "send", "--config", "~/a config", "--gateway", "cl"], config.parent) == ["clickatell"]


def test_registered_in_bash() -> None:
    """Sourcing the file is all that bash needs."""
    script = f"source {shlex.quote(str(BASH))}; complete -p smsgwd"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout == "complete -F _smsgwd smsgwd\n"


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {shlex.quote(str(BASH))}"),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"fpath=({shlex.quote(str(ZSH))} $fpath); bindkey -e; setopt no_beep; autoload -Uz compinit; compinit -u -D",
    ),
}


def typed(shell: str, keys: str, config: Path) -> str:
    """The line that stands in an interactive shell after these keys."""
    command, setup = SHELLS[shell]
    controller, terminal = pty.openpty()
    # PS1 in two parts, so that its echo is not taken for it; Ctrl-A makes the line one that prints itself
    lines = [f"{setup}; PS1='REA''DY> '\n", f"{keys}\x01echo 'LINE''<' \x05'>'\n", "exit\n"]
    with subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        cwd=config,
        env={
            "PATH": os.environ["PATH"],
            "TERM": "dumb",
            "SMSGWD_CONFIG": str(config),
            "HOME": str(config),
            "PS1": "> ",
        },
    ) as process:
        os.close(terminal)
        os.write(controller, lines[0].encode())
        read_until(controller, "READY> ")
        os.write(controller, lines[1].encode())
        shown = read_until(controller, "LINE< .*>")
        os.write(controller, lines[2].encode())
        process.wait(TIMEOUT_S)
    os.close(controller)
    found = re.search("LINE< (.*?) ?>", shown)
    assert found is not None, shown
    return found[1]


def read_until(descriptor: int, pattern: str) -> str:
    """What the terminal shows, up to this."""
    text, ends = "", time.monotonic() + TIMEOUT_S
    while not re.search(pattern, text):
        assert time.monotonic() < ends, text
        text += os.read(descriptor, 65536).decode(errors="replace")
    return text


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("smsgwd rel\t", "smsgwd reload"),
        ("smsgwd send --gat\tcl\t", "smsgwd send --gateway clickatell"),
        ("smsgwd check --format j\t", "smsgwd check --format json"),
        ("smsgwd render --format cu\t--tex\t", "smsgwd render --format curl --text"),
        ("smsgwd check gateways.d/cl\t", "smsgwd check gateways.d/clickatell.yaml"),
    ],
)
def test_tab(config: Path, shell: str, keys: str, line: str) -> None:
    """The tabulator completes in an interactive bash and an interactive zsh (which writes --name=value)."""
    assert typed(shell, keys, config).replace("=", " ") == line
