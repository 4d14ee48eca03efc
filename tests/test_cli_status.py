import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, run
from fake_daemon import Behaviour, answering, by_target, fake_daemon, problem, saying, silent

from smsgwd.cli.status import _span

PROBLEM = {
    "file": "gateways.d/x.yaml",
    "line": 7,
    "column": 22,
    "code": "unknown-key",
    "severity": "error",
    "message": "unknown key `\x1b`",
    "hint": "",
    "pointer": "/x",
}
STATUS: dict[str, Any] = {
    "digest": "sha256:11",
    "generation": 4,
    "version": "0.1.0",
    "uptime": 3725.5,
    "gateways": {"ok": 1, "stale": 1, "rejected": 0, "disabled": 0},
    "tokens": {"ok": 30, "stale": 0, "rejected": 2, "disabled": 0},
    "problems": [PROBLEM],
}
LAST = {"outcome": "unsent", "reason": "throttled", "at": "2026-11-22T09:00:00Z", "elapsed": 0.1}
GATEWAYS: list[dict[str, Any]] = [
    {"name": "console", "provider": "console", "state": "ok", "problems": [], "digest": "d", "last": None},
    {"name": "x", "provider": "http", "state": "stale", "problems": [PROBLEM], "digest": "d", "last": LAST},
]
WELL = by_target({"/v1/status": answering(200, STATUS), "/v1/gateways": answering(200, GATEWAYS)})


def test_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The status: the daemon, a line for each gateway with its last outcome, every finding in one line."""
    with fake_daemon(tmp_path / "s", WELL) as daemon:
        done = run(capsys, "status", "--socket", daemon.path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "smsgwd 0.1.0, up 1 h 2 min, generation 4",
        "digest sha256:11",
        "gateways: 1 ok, 1 stale",
        "tokens: 30 ok, 2 rejected",
        "",
        "  console  console  ok",
        "  x        http     stale  last: unsent (throttled) 2026-11-22T09:00:00Z",
        "",
        "gateways.d/x.yaml:7:22: error[unknown-key]: unknown key `\\x1b`",
    ]


def test_details(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What only some gateways have is told below the table, of long lists the end."""
    messages = [{"message_id": f"console-{number}", "to": "+4917*****67"} for number in range(1, 13)]
    binds = [
        {"state": "refused", "since": "09:00", "error": "\x07wrong"},
        {"state": "bound", "error": None},
    ]
    gateways = [
        {**GATEWAYS[0], "messages": messages},
        {**GATEWAYS[1], "binds": binds, "breaker": "open", "receipts": {"DELIVRD": 2}},
        {**GATEWAYS[0], "name": "quiet", "messages": []},
        {**GATEWAYS[0], "name": "off", "state": "disabled", "modem": {"state": "closed", "error": ""}},
    ]
    answers = {"/v1/status": answering(200, STATUS), "/v1/gateways": answering(200, gateways)}
    with fake_daemon(tmp_path / "s", by_target(answers)) as daemon:
        lines = run(capsys, "status", "--socket", daemon.path).out.splitlines()
    assert lines[10:13] == [
        "console:",
        "  messages: 12, of which the last 10:",
        "    message_id console-3, to +4917*****67",
    ]
    assert lines[22:29] == [
        "",
        "x:",
        "  binds:",
        "    state refused, since 09:00, error \\x07wrong",
        "    state bound",
        "  breaker: open",
        "  receipts: DELIVRD 2",
    ]
    assert not {"quiet:", "off:"} & set(lines)


def test_what_says_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Something that listens and never answers is given up after the time that --timeout says."""
    with fake_daemon(tmp_path / "s", silent) as daemon:
        done = run(capsys, "status", "--timeout", "200ms", "--socket", daemon.path)
    assert (done.code, done.err) == (1, "smsgwd: no answer within 0.2 s\n")


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--json is what the daemon answers."""
    with fake_daemon(tmp_path / "s", WELL) as daemon:
        done = run(capsys, "status", "--json", "--socket", daemon.path)
    assert json.loads(done.out) == STATUS


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (problem("forbidden", 403, "you may not"), "refused (forbidden): you may not"),
        (saying(b""), "the connection to the daemon broke"),
        (answering(200, {"hello": 1}), "what answers on this socket is not smsgwd"),
    ],
)
@pytest.mark.parametrize("verb", ["status", "reload"])
def test_no_status(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str, behaviour: Behaviour, words: str
) -> None:
    """A daemon that does not answer, or will not, is told; exit code 1."""
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        done = run(capsys, verb, "--socket", daemon.path)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"smsgwd: {words}")


def test_nobody(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a daemon the path that was tried is told; exit code 1."""
    done = run(capsys, "status", "--socket", str(tmp_path / "s"))
    assert (done.code, done.out) == (1, "")
    assert str(tmp_path / "s") in done.err


def test_watch(tmp_path: Path) -> None:
    """--watch goes on, one document on a line, until its reader has enough."""
    with fake_daemon(tmp_path / "s", WELL) as daemon:
        watching = subprocess.Popen(
            python("-m", "smsgwd", "status", "--watch", "--json", "--socket", daemon.path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=CHECKOUT,
            env=environment(),
        )
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(2)]
        watching.stdout.close()
        _, err = watching.communicate(timeout=TIMEOUT_S)
    assert [json.loads(line) for line in lines] == [STATUS, STATUS]
    assert (watching.returncode, err) == (141, b"")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90_000, "1 d 1 h"), (86_405, "1 d 5 s")],
)
def test_span(seconds: float, words: str) -> None:
    """A span is said in its two largest units."""
    assert _span(seconds) == words
