"""The hooks for pre-commit, tried with pre-commit itself, which installs smsgwd from a clone."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import CHECKOUT, run

HOOKS: list[dict[str, Any]] = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text("utf-8"))
# What a clone of the repository has that the package is built of.
PARTS = (
    *("LICENSE", "README.md", ".pre-commit-hooks.yaml", "pyproject.toml"),
    *("smsgwd", "schemas", "gateways.d", "scripts", "systemd", "completions"),
)
FILES = {
    "gateways.d/a.yaml": "provider: consol\n",
    "gateways.d/b.yaml": (
        "# kept\ndescription: keys in no order\nprovider: console\n"
        "tests:\n  - send: {to: '+491701234567', text: hi}\n    expect: {segments: 2}\n"
    ),
    "other/a.yaml": "not: ours\n",
}


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=20)


def repository(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init")
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A repository of smsgwd as it is now, committed."""
    folder = repository(tmp_path / "smsgwd")
    for name in PARTS:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / name)
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "all")
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A repository with a configuration that has faults."""
    folder = repository(tmp_path / "config")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    return folder


@pytest.mark.timeout(170)  # pip installs the package and all that it needs: as slow as the network is
def test_try_repo(ours: Path, theirs: Path, tmp_path: Path) -> None:
    """pre-commit installs smsgwd from the repository; check finds, test fails, and fmt mends, each under its name."""
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(ours), "--all-files"],
        cwd=theirs,
        env={**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "PRE_COMMIT_COLOR": "never"},
        capture_output=True,
        text=True,
        check=False,
        timeout=160,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    parts = re.split(r"^(.*?)\.\.+(Failed|Passed|\(no files to check\)Skipped)$", done.stdout, flags=re.MULTILINE)
    ended = dict(zip(parts[1::3], zip(parts[2::3], parts[3::3], strict=True), strict=True))
    assert set(ended) == {hook["name"] for hook in HOOKS}
    assert all(result == "Failed" for result, _ in ended.values())
    checked = "gateways.d/a.yaml:1:11: error[unknown-provider]: there is no provider `consol`"
    assert checked in ended["check SMS gateways"][1]
    assert "gateways.d/b.yaml:6:" in ended["test SMS gateways"][1]
    assert "files were modified by this hook" in ended["format SMS gateways"][1]
    assert (theirs / "gateways.d" / "b.yaml").read_text().startswith("# kept\nprovider: console\n")
    assert (theirs / "other" / "a.yaml").read_text() == FILES["other/a.yaml"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_good_configuration_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hook: dict[str, Any]
) -> None:
    """What a hook runs has nothing to say about what `smsgwd init` writes."""
    run(capsys, "init", str(tmp_path), "--provider", "failover")
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = [path.relative_to(tmp_path) for path in before if re.search(hook["files"], str(path.relative_to(tmp_path)))]
    files = map(str, given if hook.get("pass_filenames", True) else ())
    done = run(capsys, *shlex.split(hook["entry"])[1:], *hook.get("args", ()), *files)
    assert done.code == 0, done.out + done.err
    assert {path: path.read_bytes() for path in before} == before


PATHS = {
    "gateways.d/a.yaml": True,
    "deploy/sms/gateways.d/a.yml": True,
    "smsgwd.yaml": True,
    "deploy/sms/smsgwd.yml": True,
    "gateways.d/old/a.yaml": False,
    "gateways.d/a.json": False,
    "xgateways.d/a.yaml": False,
    "values.yaml": False,
    "tokens.d/old/alice.yaml": False,
}
OF_TOKENS = ("tokens.d/alice@example.com.yaml", "deploy/sms/tokens.d/alice.yml")


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_files_that_a_hook_is_for(hook: dict[str, Any]) -> None:
    """Gateway files, token files and smsgwd.yaml wherever the configuration is, and nothing else.

    Token files have no tests.
    """
    paths = PATHS | dict.fromkeys(OF_TOKENS, hook["id"] != "smsgwd-test")
    assert {path: bool(re.search(hook["files"], path)) for path in paths} == paths
