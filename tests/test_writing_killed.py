"""A write that is killed between any two steps: no gateway file without its secrets, and no secrets without it."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import command
import killed_writer
import pytest
from test_writing import tree

from smsgwd.compile import compile_gateway
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import Gateway
from smsgwd.reload import Reloader
from smsgwd.writing import Wanted, Writer, clear_up

MOST_STEPS = 200


class Killer:
    """The process that has a write begun, and killed."""

    def __init__(self) -> None:
        script = command.python(str(Path(killed_writer.__file__)))
        self._process = subprocess.Popen(
            script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=command.environment({})
        )

    def killed(self, config: Path, change: str, step: int) -> bool:
        """Whether the change was cut off before that step; False when it came to its end."""
        print(
            json.dumps({"config": str(config), "change": change, "step": step}),
            file=_open(self._process.stdin),
            flush=True,
        )
        said = _open(self._process.stdout).readline().strip()
        assert said in {"killed", "done"}, said
        return said == "killed"

    def close(self) -> None:
        """No more."""
        _open(self._process.stdin).close()
        self._process.wait(10)
        _open(self._process.stdout).close()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """One process for all steps: what it imports takes longer than any of them."""
    process = Killer()
    yield process
    process.close()


def prepared(root: Path, killer: Killer, change: str) -> Path:
    """A configuration in which the change can be made."""
    (root / "gateways.d").mkdir(parents=True)
    (root / "smsgwd.yaml").write_text("writable: true\n")
    (root / "gateways.d" / "other.yaml").write_text("provider: console\n")
    if change != "create":
        assert not killer.killed(root, "create", MOST_STEPS)
    return root


def state_of(root: Path) -> tuple[str, str]:
    """What a reader would serve of `web`: its sender and its password; empty when there is no file.

    Fails when the file is not whole, or a secret that it names is not there.
    """
    path = root / "gateways.d" / "web.yaml"
    if not path.exists():
        return "", ""
    source = load(path.read_bytes(), "web.yaml")
    gateway, problems = compile_gateway("web", source, Site(root), resolve=True)
    assert isinstance(gateway, Gateway), problems
    password = next(secret.reveal() for secret in gateway.secrets if secret.reveal() in {"first", "second"})
    return gateway.sender, password


STATES = {
    "create": {("", ""), ("create", "first")},
    "update": {("create", "first"), ("update", "second")},
    "delete": {("create", "first"), ("", "")},
}
FILES = {  # by the password that serves: how many secret files there are when all is cleared up
    "": 0,
    "first": 2,
    "second": 2,
}


@pytest.mark.parametrize("change", ["create", "update", "delete"])
def test_killed_at_every_step(change: str, tmp_path: Path, killer: Killer) -> None:
    """After each step the old version or the new one is there in whole, and the next start leaves nothing behind."""
    before = prepared(tmp_path / "before", killer, change)
    seen = set()
    for step in range(1, MOST_STEPS):
        root = tmp_path / str(step)
        shutil.copytree(before, root)
        killed = killer.killed(root, change, step)
        state = state_of(root)
        seen.add(state)
        clear_up(root)
        assert state_of(root) == state
        secrets = [path for path in tree(root) if path.startswith("secrets.d/")]
        assert len(secrets) == FILES[state[1]], (step, secrets)
        assert not [path for path in tree(root) if "/." in path]
        assert (root / "secrets.d" / "web").exists() == bool(secrets)
        if not killed:
            break
    assert not killed
    assert step > 10
    assert seen == STATES[change]


def test_next_write_clears_up_too(tmp_path: Path, killer: Killer) -> None:
    """Without a restart the next change, of whatever gateway, ends what was cut off."""
    root = prepared(tmp_path / "here", killer, "create")
    steps = iter(range(1, MOST_STEPS))
    while not list(root.glob("secrets.d/web/*")):
        assert killer.killed(root, "create", next(steps))

    async def change_other() -> None:
        reloader = Reloader(root, quiet_s=0.02)
        await reloader.load()
        writer = Writer(lambda: reloader.registry, reloader.reload)
        await writer.change("other", lambda _: Wanted(text="provider: console\nsender: NEW\n"))

    asyncio.run(change_other())
    assert tree(root).keys() == {"gateways.d/other.yaml", "smsgwd.yaml"}
    assert not list((root / "secrets.d").iterdir())


def test_secret_that_came_into_use_meanwhile_stays(tmp_path: Path, killer: Killer) -> None:
    """Somebody finishes by hand what was cut off: the secret files that are used now are not cleared away."""
    root = prepared(tmp_path / "here", killer, "create")
    steps = iter(range(1, MOST_STEPS))
    while len(list(root.glob("secrets.d/web/*"))) < 2:
        assert killer.killed(root, "create", next(steps))
    (root / "gateways.d" / "mine.yaml").write_text("provider: http\nsecrets: {a: {file: ./secrets.d/web/password}}\n")
    clear_up(root)
    assert [path for path in tree(root) if path.startswith("secrets.d/")] == ["secrets.d/web/password"]
