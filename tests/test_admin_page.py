"""docs/admin.md: its commands work as they are typed."""

import json
import re
import subprocess
from pathlib import Path

from command import CHECKOUT
from daemon_process import configuration, daemon

from smsgwd.compile import compile_site
from smsgwd.load import load

PAGE = (CHECKOUT / "docs" / "admin.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SOCKET = "/run/smsgwd/smsgwd.sock"


def blocks(kind: str) -> list[str]:
    """The blocks of one language."""
    return [text for found, text in BLOCKS if found == kind]


def test_commands_work(tmp_path: Path) -> None:
    """Typed one after the other, each is answered, and the file is created, changed and deleted."""
    config = configuration(tmp_path / "config", {"smsgwd.yaml": "writable: true\naudit: {file: audit.jsonl}\n"})
    (tmp_path / "ops.yaml").write_text("# ours\nprovider: console\n")
    with daemon(config) as running:
        running.ready()
        script = "set -eu\n" + "".join(blocks("sh")).replace(SOCKET, str(running.path))
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (config / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("create", "done"),
        ("change", "done"),
        ("delete", "done"),
    ]
    (shown,) = map(json.loads, blocks("json"))
    assert list(shown) == list(lines[0])


def test_settings_are_sound() -> None:
    """The settings that the page shows are what smsgwd.yaml takes."""
    for text in blocks("yaml"):
        config, problems = compile_site(load(text.encode(), "smsgwd.yaml"), Path("/etc/smsgwd"), resolve=False)
        assert problems == ()
        assert config is not None
        assert config.writable
