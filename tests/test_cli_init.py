"""`smsgwd init`."""

import os
import pty
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from command import CHECKOUT, TIMEOUT_S, environment, python, run, spawn

from smsgwd import providers

EXAMPLES = sorted(path.stem for path in (CHECKOUT / "gateways.d").glob("*.yaml"))


@pytest.mark.parametrize("provider", sorted({*EXAMPLES, *providers.NAMES}))
def test_what_it_writes_is_fine(capsys: pytest.CaptureFixture[str], tmp_path: Path, provider: str) -> None:
    """Of every provider and example: check finds nothing, not even a warning, and the tests pass."""
    config = tmp_path / "a new folder"
    done = run(capsys, "init", str(config), "--provider", provider)
    assert done.code == 0, done.err
    written = sorted(str(path) for path in config.rglob("*") if path.is_file())
    assert sorted(done.out.splitlines()) == written
    assert run(capsys, "check", "--config", str(config), "--strict").out == ""
    tested = run(capsys, "test", "--config", str(config))
    assert (tested.code, tested.out) == (0, ""), tested.err


def test_the_default_sends_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without --provider, and with nobody to ask, it is the console, which renders what the next step says."""
    done = run(capsys, "init", str(tmp_path))
    assert done.code == 0
    assert {path.name for path in (tmp_path / "gateways.d").iterdir()} == {"console.yaml"}
    assert done.err.startswith(
        f"next: smsgwd check --config {tmp_path}; smsgwd render --config {tmp_path} --gateway console"
    )
    message = ("--gateway", "console", "--to", "+491701234567", "--text", "Hello")
    assert run(capsys, "render", "--config", str(tmp_path), *message).code == 0


def test_a_failover_comes_with_its_members(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the example refers to is written, too."""
    run(capsys, "init", str(tmp_path), "--provider", "failover")
    names = {path.stem for path in (tmp_path / "gateways.d").iterdir()}
    assert names == {"failover", "smpp", "twilio", "vonage"}


def test_scripts_can_be_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The programs of the script example are there, and nobody else can change them."""
    run(capsys, "init", str(tmp_path), "--provider", "script")
    programs = list((tmp_path / "scripts").iterdir())
    assert programs
    assert {stat.S_IMODE(path.stat().st_mode) for path in programs} == {0o755}


def test_what_is_there_stays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A second gateway can be added; nothing is ever overwritten."""
    (tmp_path / "smsgwd.yaml").write_text("log: {format: text}\n")
    assert run(capsys, "init", str(tmp_path)).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = run(capsys, "init", str(tmp_path))
    assert (again.code, again.out) == (1, "")
    assert again.err == f"smsgwd: {tmp_path}/gateways.d/console.yaml is there already, nothing was written\n"
    added = run(capsys, "init", str(tmp_path), "--provider", "twilio")
    assert (added.code, added.out) == (0, f"{tmp_path}/gateways.d/twilio.yaml\n")
    assert {path: path.read_bytes() for path in before} == before


def test_another_file_of_the_gateway(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """console.yml beside console.yaml would be a clash, so it is not made."""
    (tmp_path / "gateways.d").mkdir()
    (tmp_path / "gateways.d" / "console.yml").write_text("provider: console\n")
    done = run(capsys, "init", str(tmp_path))
    assert (done.code, done.err) == (
        1,
        f"smsgwd: {tmp_path}/gateways.d/console.yml is there already, nothing was written\n",
    )


def test_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A provider that does not exist is wrong usage, and the ones that do are named."""
    done = run(capsys, "init", str(tmp_path / "x"), "--provider", "htpp")
    assert done.code == 2
    assert "there is no provider 'htpp'; choose from console, " in done.err
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What cannot be written is told in a line."""
    (tmp_path / "file").write_text("")
    done = run(capsys, "init", str(tmp_path / "file"))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("smsgwd: ")
    assert len(done.err.splitlines()) == 1


def test_every_line_of_smsgwd_yaml_is_right(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without its comment signs each key that the file proposes passes check, too."""
    run(capsys, "init", str(tmp_path))
    path = tmp_path / "smsgwd.yaml"
    lines = path.read_text().splitlines()
    keys = [
        line.removeprefix("# ")
        for line in lines
        if line.startswith(("# ", "#   ")) and ("{" in line or line.endswith(":"))
    ]
    path.write_text("\n".join(["log: {format: json}", *keys]) + "\n")
    assert set(yaml.safe_load(path.read_text())) == {"log", "socket", "access", "smtp_servers", "scripts"}
    assert run(capsys, "check", "--config", str(tmp_path), "--strict").out == ""


def test_nobody_is_asked_without_a_terminal(tmp_path: Path) -> None:
    """Standard input that is a pipe is not read."""
    done = spawn("init", str(tmp_path / "x"), stdin=b"twilio\n")
    assert done.code == 0
    assert "console.yaml" in done.out


def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """On a terminal the provider is asked for, and what exists is shown."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        python("-m", "smsgwd", "init", str(tmp_path / "x")),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=CHECKOUT,
        env=environment({"TERM": "dumb"}),
    ) as command:
        os.close(terminal)
        shown = b""
        while b"provider [console]: " not in shown:
            shown += os.read(controller, 65536)
        os.write(controller, b"twilio\n")
        with suppress(OSError):  # EIO: the last one who had the terminal open is gone
            while data := os.read(controller, 65536):
                shown += data
        assert command.wait(TIMEOUT_S) == 0
    os.close(controller)
    assert b"clickatell" in shown
    assert (tmp_path / "x" / "gateways.d" / "twilio.yaml").is_file()
