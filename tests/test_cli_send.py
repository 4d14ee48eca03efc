import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, run
from fake_daemon import OUTCOME, Behaviour, answering, fake_daemon, problem, saying, silent

TO = ("--gateway", "twilio", "--to", "+491701234567")
HI = (*TO, "--text", "hi")


def ended(kind: str, reason: str, status: int, detail: str) -> Behaviour:
    """The daemon's answer for an outcome that is not accepted."""
    members = {**OUTCOME, "outcome": kind, "reason": reason, "message_ids": [], "detail": detail}
    return answering(status, {"type": f"urn:smsgwd:problem:{kind}", "status": status, **members})


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own smsgwd."""
    monkeypatch.delenv("SMSGWD_SOCKET", raising=False)
    monkeypatch.setenv("SMSGWD_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({}, "accepted by twilio: SM1 (1 segment, gsm7)"),
        ({"message_ids": ["a", "b"], "segments": 2, "encoding": "ucs2"}, "accepted by twilio: a, b (2 segments, ucs2)"),
        ({"message_ids": []}, "accepted by twilio (1 segment, gsm7)"),
        ({"via": "germany"}, "accepted by twilio via germany: SM1 (1 segment, gsm7)"),
        ({"message_ids": ["\x1b[2J"]}, "accepted by twilio: \\x1b[2J (1 segment, gsm7)"),
    ],
)
def test_accepted(capsys: pytest.CaptureFixture[str], tmp_path: Path, members: dict[str, Any], line: str) -> None:
    """An accepted message is one line on standard output: by whom, its ids, its size; nothing steers the terminal."""
    with fake_daemon(tmp_path / "s", answering(200, {**OUTCOME, **members})) as daemon:
        done = run(capsys, "send", "--socket", daemon.path, *HI)
    assert (done.code, done.out, done.err) == (0, line + "\n", "")


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (ended("rejected", "content", 422, "the text is empty"), 1, "rejected by twilio (content): the text is empty"),
        (
            ended("unsent", "throttled", 503, "busy"),
            75,
            "unsent by twilio (throttled): busy; nobody took it: trying again is safe",
        ),
        (
            ended("unknown", "timeout", 504, ""),
            76,
            "unknown by twilio (timeout): someone may have it: sending it again may duplicate it",
        ),
        (problem("malformed-request", 400, "no such template"), 1, "refused (malformed-request): no such template"),
        (problem("forbidden", 403, "no"), 1, "refused (forbidden): no"),
        (problem("unknown-gateway", 404, "no"), 1, "refused (unknown-gateway): no"),
        (problem("idempotency-mismatch", 422, "no"), 1, "refused (idempotency-mismatch): no"),
        (problem("gateway-unavailable", 503, "x.yaml:1:1"), 75, "refused (gateway-unavailable): x.yaml:1:1"),
        (problem("overloaded", 503, "too much"), 75, "refused (overloaded): too much"),
        (problem("internal", 500, "oops"), 76, "unknown (internal): oops; someone may have it"),
        (saying(b""), 76, "unknown (unreachable): the connection to the daemon broke before its answer was complete"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), 76, "unknown (unreachable): the connection"),
    ],
)
def test_not_accepted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, behaviour: Behaviour, code: int, words: str
) -> None:
    """Any other end is told on standard error, with the exit code of its outcome."""
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        done = run(capsys, "send", "--socket", daemon.path, *HI)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"smsgwd: {words}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("behaviour", "code", "key", "value"),
    [
        (answering(200, OUTCOME), 0, "outcome", "accepted"),
        (ended("unsent", "throttled", 503, "busy"), 75, "retry_safe", True),
        (problem("forbidden", 403, "no"), 1, "type", "urn:smsgwd:problem:forbidden"),
        (saying(b""), 76, "outcome", "unknown"),
    ],
)
def test_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, behaviour: Behaviour, code: int, key: str, value: object
) -> None:
    """--json prints the outcome or the refusal as one JSON document on one line, whatever it is."""
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        done = run(capsys, "send", "--socket", daemon.path, "--json", *HI)
    assert (done.code, done.err, done.out.count("\n")) == (code, "", 1)
    assert json.loads(done.out)[key] == value


def test_no_daemon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a daemon the message is unsent: exit 75, and the path that was tried."""
    done = run(capsys, "send", "--socket", str(tmp_path / "s"), *HI)
    assert (done.code, done.out) == (75, "")
    assert f"{tmp_path}/s: No such file or directory (is the daemon running?)" in done.err
    assert "trying again is safe" in done.err


def test_everything_that_can_be_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each option becomes its member of the request; a variable may be empty and may hold equals signs."""
    options = ["--sender", "ACME", "--reference", "r1", "--deadline", "10s", "--idempotency-key", "k"]
    variables = ["--var", "code=1=2", "--var", "name="]
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        assert run(capsys, "send", "--socket", daemon.path, *TO, "--template", "t", *variables, *options).code == 0
    assert daemon.bodies == [
        {
            "gateway": "twilio",
            "to": "+491701234567",
            "template": "t",
            "vars": {"code": "1=2", "name": ""},
            "sender": "ACME",
            "reference": "r1",
            "deadline": "10s",
        }
    ]
    assert b"Idempotency-Key: k\r\n" in daemon.requests[0]


@pytest.mark.parametrize(
    ("stdin", "text"),
    [
        (b"hi\n", "hi"),
        (b"hi", "hi"),
        (b"hi\r\n", "hi"),
        (b"hi\n\n", "hi\n"),
        (b"hi\r", "hi\r"),
        (b"", ""),
        ("Grüße 😀\n".encode(), "Grüße 😀"),
    ],
)
def test_text_of_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stdin: bytes, text: str
) -> None:
    """`--text -` is standard input, less one line break at its end."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        assert run(capsys, "send", "--socket", daemon.path, *TO, "--text", "-").code == 0
    assert daemon.bodies[0]["text"] == text


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"abc\xff", "standard input is not UTF-8 (octet 4)"),
        (b"x" * 65537, "the text on standard input is longer than 64 KiB"),
        (None, "standard input is closed"),
    ],
)
def test_bad_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stdin: bytes | None, words: str
) -> None:
    """Standard input that is no text fails with its reason; nothing is sent."""
    monkeypatch.setattr(sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin)))
    done = run(capsys, "send", *TO, "--text", "-")
    assert (done.code, done.out) == (1, "")
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (TO, "one of the arguments --text --template is required"),
        ((*HI, "--template", "t"), "argument --template: not allowed with argument --text"),
        ((*TO, "--template", "t", "--var", "code"), "argument --var: write NAME=VALUE, such as code=123456"),
        ((*TO, "--template", "t", "--var", "=1"), "argument --var: write NAME=VALUE"),
        ((*TO, "--template", "t", "--var", "a=1", "--var", "a=2"), "argument --var: a variable is given twice"),
        ((*HI, "--var", "a=1"), "argument --var: goes with --template only"),
        ((*HI, "--deadline", "10"), "argument --deadline: a duration is"),
        ((*HI, "--deadline", "0s"), "argument --deadline: a duration of zero"),
        ((*HI, "--idempotency-key", "a\nb"), "argument --idempotency-key: a key is"),
        ((*HI, "--idempotency-key", ""), "argument --idempotency-key: a key is"),
        ((*TO, "--text", "\udcff"), "argument --text: not UTF-8"),
        ((*HI, "--socket", ""), "argument --socket: may not be empty"),
        (("--to", "1", "--text", "hi"), "the following arguments are required: --gateway"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    """Wrong usage exits 2 before anything is sent, and shows the usage of send."""
    done = run(capsys, "send", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "usage: smsgwd send" in done.err
    assert words in done.err


def test_socket_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """$SMSGWD_SOCKET says where the daemon is, unless --socket does."""
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        monkeypatch.setenv("SMSGWD_SOCKET", daemon.path)
        assert run(capsys, "send", *HI).code == 0
        assert run(capsys, "send", "--socket", str(tmp_path / "t"), *HI).code == 75


@pytest.mark.parametrize("written", ["run/s", "{here}/config/run/s"])
def test_socket_of_the_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path, written: str) -> None:
    """smsgwd.yaml says where the daemon is, counted from the configuration directory."""
    (tmp_path / "config" / "run").mkdir(parents=True)
    site = tmp_path / "config" / "smsgwd.yaml"
    site.write_text(f"socket: {{path: '{written.format(here=tmp_path)}'}}\n")
    with fake_daemon(tmp_path / "config" / "run" / "s", answering(200, OUTCOME)):
        assert run(capsys, "send", *HI).code == 0


@pytest.mark.parametrize("content", ["socket: {mode: '0600'}", "socket: [", "socket:\n\tx", "# socket\n", "log: {}"])
def test_configuration_that_says_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    """A smsgwd.yaml without a path, or a broken one, leaves the default."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "smsgwd.yaml").write_text(content)
    default = "/run/smsgwd/smsgwd.sock" if os.geteuid() == 0 else f"{tmp_path}/smsgwd.sock"
    assert default in run(capsys, "send", *HI).err


def test_configuration_that_never_ends(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A FIFO in the place of smsgwd.yaml does not stop the command."""
    (tmp_path / "config").mkdir()
    os.mkfifo(tmp_path / "config" / "smsgwd.yaml")
    assert run(capsys, "send", *HI).code == 75


def test_outcome_stands_without_its_words(tmp_path: Path) -> None:
    """A full disk behind standard output does not make an accepted message look like a failed one."""
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            python("-m", "smsgwd", "send", "--socket", daemon.path, *HI),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=TIMEOUT_S,
            cwd=CHECKOUT,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, b"smsgwd: standard output: No space left on device\n")


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C while the daemon sends ends with 130 and says that the message may have been taken."""
    with fake_daemon(tmp_path / "s", silent) as daemon:
        waiting = subprocess.Popen(
            python("-m", "smsgwd", "send", "--socket", daemon.path, *HI),
            stderr=subprocess.PIPE,
            cwd=CHECKOUT,
            env=environment(),
        )
        daemon.wait_for_request()
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 130
    assert err == b"smsgwd: interrupted: the daemon goes on with the send, if it has it\n"
