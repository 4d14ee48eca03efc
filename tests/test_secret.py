"""Secrets: where they come from, and that they cannot be printed."""

import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import pytest
from secret_file import write_secret

from smsgwd.secret import Secret, SecretExposedError, SecretRef, SecretUnavailableError

CANARY = "kanarienvogel"


def test_a_secret_cannot_be_printed() -> None:
    """No way of turning a secret into text shows it, but for `reveal`."""
    secret = Secret(CANARY)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret, repr([secret])]  # noqa: UP031 - that way, too
    assert shown[0] == "***"
    assert not [text for text in shown if CANARY in text]
    assert secret.reveal() == CANARY
    with pytest.raises(TypeError):
        json.dumps(secret)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(secret)


def test_a_traceback_does_not_show_it() -> None:
    """An exception that carries a secret prints as stars."""
    with pytest.raises(ValueError, match=r"\*\*\*") as raised:
        raise ValueError(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"geheim", "geheim"),
        (b"geheim\n", "geheim"),
        (b"geheim\r\n", "geheim"),
        (b"geheim\n\n", "geheim\n"),
        (b" geheim ", " geheim "),
        ("gehe\u0131m€".encode(), "gehe\u0131m€"),
    ],
)
def test_a_file_holds_the_secret_but_for_one_line_break(tmp_path: Path, content: bytes, value: str) -> None:
    """One trailing newline is dropped and nothing else."""
    write_secret(tmp_path / "s", content)
    assert SecretRef("file", "s").resolve(tmp_path).reveal() == value


def test_files_count_from_the_configuration_directory(tmp_path: Path) -> None:
    """A relative path counts from there, an absolute one stands."""
    write_secret(tmp_path / "s", "geheim")
    assert SecretRef("file", str(tmp_path / "s")).resolve(Path("/nowhere")).reveal() == "geheim"


def test_credentials_come_from_systemd(tmp_path: Path) -> None:
    """`credential` is a file of $CREDENTIALS_DIRECTORY."""
    write_secret(tmp_path / "smsc", "geheim\n")
    reference = SecretRef("credential", "smsc")
    assert reference.resolve(Path("/nowhere"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).reveal() == "geheim"
    with pytest.raises(SecretUnavailableError, match="LoadCredential"):
        reference.resolve(tmp_path, {})


def test_the_environment_gives_a_secret(tmp_path: Path) -> None:
    """`env` is a variable, which must not be empty."""
    assert SecretRef("env", "A").resolve(tmp_path, {"A": "geheim"}).reveal() == "geheim"
    for environ in ({}, {"A": ""}):
        with pytest.raises(SecretUnavailableError, match="variable A"):
            SecretRef("env", "A").resolve(tmp_path, environ)


@pytest.mark.parametrize("kind", ["missing", "empty", "newline", "directory", "fifo", "large", "binary"])
def test_what_is_no_secret_is_told_without_its_content(tmp_path: Path, kind: str) -> None:
    """A file that cannot be one is an error that names the file; a FIFO does not block."""
    path = tmp_path / "s"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind != "missing":
        write_secret(path, {"empty": b"", "newline": b"\n", "large": b"x" * 65537, "binary": b"geheim\xff"}[kind])
    with pytest.raises(SecretUnavailableError, match=str(path)) as raised:
        SecretRef("file", "s").resolve(tmp_path)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_secret_that_others_may_read_is_not_taken(tmp_path: Path, mode: int) -> None:
    """Such a file is an error that names it, and not its content."""
    write_secret(tmp_path / "s", CANARY).chmod(mode)
    with pytest.raises(SecretExposedError, match=str(tmp_path / "s")) as raised:
        SecretRef("file", "s").resolve(tmp_path)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o400])
def test_a_secret_for_owner_and_group_is_taken(tmp_path: Path, mode: int) -> None:
    """The group is the owner's business: so systemd, Kubernetes and operators give a secret to a daemon."""
    write_secret(tmp_path / "s", CANARY).chmod(mode)
    assert SecretRef("file", "s").resolve(tmp_path) == Secret(CANARY)


@pytest.mark.parametrize("content", [CANARY, CANARY + "\n", CANARY + "\r", CANARY + "\r\n", "\n", "é\n\n"])
def test_what_is_written_is_what_is_read(tmp_path: Path, content: str) -> None:
    """`as_file` is the inverse of reading, line breaks at the end included."""
    write_secret(tmp_path / "s", Secret(content).as_file())
    assert SecretRef("file", "s").resolve(tmp_path) == Secret(content)
