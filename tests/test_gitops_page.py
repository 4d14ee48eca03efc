"""docs/gitops.md: its pipelines are valid, its commands exist, its scripts deploy to a daemon."""

import json
import os
import re
import shlex
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import CHECKOUT
from daemon_process import daemon
from jsonschema import validators

from smsgwd.cli import VERBS, build

PAGE = (CHECKOUT / "docs" / "gitops.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
DOCUMENTS = [text for kind, text in BLOCKS if kind == "yaml"]
SCRIPTS = {text.splitlines()[1].split()[1].rstrip(":"): text for _, text in BLOCKS if text.startswith("#!/bin/sh\n")}
PIPELINES = {"# .github/workflows/": "github-workflows", "# .gitlab-ci.yml": "gitlab-ci"}


def name(text: str) -> str:
    """What the first line says a block is."""
    return text.splitlines()[0]


@pytest.mark.parametrize("text", DOCUMENTS, ids=name)
def test_every_document_is_yaml(text: str) -> None:
    """Each block is a document with a name."""
    assert name(text).startswith("# ")
    assert yaml.safe_load(text)


@pytest.mark.parametrize("text", [text for text in DOCUMENTS if name(text).startswith(tuple(PIPELINES))], ids=name)
def test_pipelines_are_valid(text: str) -> None:
    """The pipelines are what the schemas of GitHub and GitLab want."""
    kind = next(kind for start, kind in PIPELINES.items() if name(text).startswith(start))
    path = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{kind}.json"
    schema = json.loads(path.read_text("utf-8"))
    data = {str(key).replace("True", "on"): value for key, value in yaml.safe_load(text).items()}  # YAML 1.1's `on`
    errors = validators.validator_for(schema)(schema).iter_errors(data)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_hooks_exist() -> None:
    """The hooks that pre-commit is told to run are those that the repository has."""
    (text,) = [text for text in DOCUMENTS if name(text) == "# .pre-commit-config.yaml"]
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    named = [hook["id"] for repository in yaml.safe_load(text)["repos"] for hook in repository["hooks"]]
    assert sorted(named) == sorted(hook["id"] for hook in hooks)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each call of smsgwd in a script or pipeline."""
    flat = re.sub(r"\{\{.*?\}\}", "VALUE", text.replace("\\\n", ""))
    flat = re.sub(r'"?\$\(', "VALUE\n", flat)  # what a command takes from another one is a call of its own
    for call in re.findall(r"(?<![\w/:-])smsgwd (\w[^\n|`;)>]*)", flat):
        words = shlex.split(call, comments=True)
        if words[0] in VERBS:
            yield words


CALLS = [words for kind, text in BLOCKS if kind in {"sh", "yaml"} for words in commands(text)]


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_every_command_exists(words: list[str]) -> None:
    """Verbs and options are those of the command."""
    try:
        args = build((words[0],)).parse_args(words)
    except (SystemExit, ArgumentTypeError):
        pytest.fail(f"smsgwd does not understand: {shlex.join(words)}")
    assert args.verb == words[0]


def test_all_commands_were_found() -> None:
    """The verbs of a pipeline are among those that were tried."""
    assert {words[0] for words in CALLS} >= {"check", "fmt", "test", "diff", "compile", "reload"}


def arguments_of_containers(data: Any) -> Iterator[list[str]]:
    """The arguments of each container that runs smsgwd, and of its probes."""
    if isinstance(data, dict):
        if data.get("name") == "smsgwd" and "args" in data:
            yield data["args"]
        if isinstance(data.get("command"), list) and data["command"][0] == "smsgwd":
            yield data["command"][1:]
    for part in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from arguments_of_containers(part)


def test_containers_run_commands_that_exist() -> None:
    """So are the arguments in the manifests."""
    found = [words for text in DOCUMENTS for words in arguments_of_containers(yaml.safe_load(text))]
    assert sorted(words[0] for words in found) == ["serve", "serve", "status"]
    for words in found:
        assert build((words[0],)).parse_args(words).verb == words[0]


# --- the scripts, run against a daemon ---


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=20).stdout


def commit(origin: Path, text: str) -> None:
    """Merge this as the only gateway."""
    (origin / "gateways.d").mkdir(exist_ok=True)
    (origin / "gateways.d" / "a.yaml").write_text(text)
    git(origin, "add", "--all")
    git(origin, "commit", "--message", "a change")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with one gateway."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init")
    commit(folder, "provider: console\nsender: ONE\n")
    return folder


def play(script: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the page, with the command of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", SCRIPTS[script]],
        env={"PATH": path, "HOME": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_git_pull(tmp_path: Path, origin: Path) -> None:
    """After a merge the script returns when the daemon serves it; after a bad one it fails, and the daemon goes on."""
    config = tmp_path / "config"
    git(tmp_path, "clone", "--quiet", str(origin), str(config))
    with daemon(config) as running:
        running.ready()
        given = {"SMSGWD_CONFIG": str(config), "SMSGWD_SOCKET": str(running.path)}
        commit(origin, "provider: console\nsender: TWO\n")
        done = play("smsgwd-pull", tmp_path, **given)
        assert done.returncode == 0, done.stderr
        commit(origin, "provider: consol\n")
        done = play("smsgwd-pull", tmp_path, **given)
        assert done.returncode == 1
        assert "error[unknown-provider]" in done.stdout
        assert running.stop() == 0


def test_a_folder_for_each_revision(tmp_path: Path, origin: Path) -> None:
    """The link is swapped to what has passed, and only to that; the daemon serves it when the script returns."""
    home = tmp_path / "home"
    home.mkdir()
    git(tmp_path, "clone", "--quiet", str(origin), str(home / "repository"))
    (home / "live").symlink_to("repository")
    with daemon(home / "live") as running:
        running.ready()
        given = {"SMSGWD_HOME": str(home), "SMSGWD_SOCKET": str(running.path)}
        commit(origin, "provider: console\nsender: TWO\n")
        done = play("smsgwd-deploy", tmp_path, **given)
        assert done.returncode == 0, done.stderr
        served = (home / "live").readlink()
        assert str(served) == git(origin, "rev-parse", "HEAD").strip()
        commit(origin, "provider: consol\n")
        assert play("smsgwd-deploy", tmp_path, **given).returncode == 1
        assert (home / "live").readlink() == served
        assert running.stop() == 0
