from pathlib import Path
from typing import Any

import pytest
from command import run
from fake_daemon import answering, by_target, fake_daemon, in_turn, silent

WARNING = {"file": "a.yaml", "line": 1, "column": 2, "code": "short-secret", "severity": "warning", "message": "short"}
ERROR = {**WARNING, "severity": "error", "code": "unknown-key", "message": "no"}

TOKENS = {"added": ["alice", "bob"], "changed": [], "removed": ["carol"]}


def reloaded(digest: str = "sha256:22", problems: tuple[Any, ...] = (), **changes: Any) -> dict[str, Any]:
    return {
        "digest": digest,
        "generation": 5,
        "added": [],
        "changed": [],
        "removed": [],
        "problems": problems,
        **changes,
    }


@pytest.mark.parametrize(
    ("result", "options", "code", "out", "err"),
    [
        (reloaded(), (), 0, "nothing changed", ""),
        (reloaded(added=["a", "b"], removed=["c"]), (), 0, "added: a, b; removed: c", ""),
        (reloaded(tokens=TOKENS), (), 0, "tokens: 2 added, 1 removed", ""),
        (reloaded(changed=["a"], tokens=TOKENS), (), 0, "changed: a; tokens: 2 added, 1 removed", ""),
        (reloaded(problems=(WARNING,)), (), 0, "nothing changed", "a.yaml:1:2: warning[short-secret]: short\n"),
        (reloaded(problems=(ERROR,)), (), 1, "nothing changed", "a.yaml:1:2: error[unknown-key]: no\n"),
        (reloaded(), ("--expect", "sha256:22"), 0, "nothing changed", ""),
        (
            reloaded(),
            ("--expect", "sha256:33"),
            1,
            "nothing changed",
            "smsgwd: expected the digest sha256:33, but sha256:22 is served\n",
        ),
    ],
)
def test_reload(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    result: dict[str, Any],
    options: tuple[str, ...],
    code: int,
    out: str,
    err: str,
) -> None:
    """What changed goes to standard output, what is wrong to standard error; errors and another digest exit 1."""
    with fake_daemon(tmp_path / "s", answering(200, result)) as daemon:
        done = run(capsys, "reload", "--socket", daemon.path, *options)
    assert (done.code, done.err) == (code, err)
    assert done.out == f"{out}\ndigest sha256:22, generation 5\n"


def test_wait_for_a_digest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--wait asks until the expected configuration is served."""
    statuses = in_turn(answering(200, reloaded("sha256:22")), answering(200, reloaded("sha256:33")))
    behaviour = by_target({"/v1/reload": answering(200, reloaded()), "/v1/status": statuses})
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        done = run(capsys, "reload", "--wait", "--expect", "sha256:33", "--socket", daemon.path)
    assert (done.code, done.err) == (0, "")
    assert "digest sha256:33" in done.out
    assert len(daemon.requests) == 3


def test_wait_for_mending(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--wait asks until nothing is wrong any more."""
    behaviour = by_target(
        {"/v1/reload": answering(200, reloaded(problems=(ERROR,))), "/v1/status": answering(200, reloaded())}
    )
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        done = run(capsys, "reload", "--wait", "--socket", daemon.path)
    assert (done.code, done.err) == (0, "")


def test_wait_in_vain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """When the timeout is over the last state is told, and the exit code is 1."""
    with fake_daemon(tmp_path / "s", answering(200, reloaded())) as daemon:
        done = run(capsys, "reload", "--wait", "--expect", "sha256:33", "--timeout", "400ms", "--socket", daemon.path)
    assert done.code == 1
    assert "expected the digest sha256:33, but sha256:22 is served" in done.err


def test_silent_daemon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--timeout holds for a daemon that does not answer, too."""
    with fake_daemon(tmp_path / "s", silent) as daemon:
        done = run(capsys, "reload", "--timeout", "200ms", "--socket", daemon.path)
    assert (done.code, done.out) == (1, "")
    assert "no answer within 0.2 s" in done.err
