import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S

PAGE = CHECKOUT / "docs" / "providers.md"
PROVIDERS = sorted(
    path.name.removesuffix(".schema.json")
    for path in (CHECKOUT / "schemas").glob("*.schema.json")
    if path.name.split(".")[0] not in {"gateway", "smsgwd", "token"}
)


def described(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the tool says in that checkout."""
    command = [sys.executable, "tools/describe_providers.py", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def test_the_pages_are_fresh() -> None:
    """docs/providers.md and docs/configuration.md are what the schemas and the examples say."""
    done = described(CHECKOUT, "--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_key_has_its_row(name: str) -> None:
    """Every key of a provider's settings, and a whole example, stand in its section."""
    section = PAGE.read_text("utf-8").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    schema = json.loads((CHECKOUT / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    assert [key for key in schema["properties"] if f"\n| `{key}` | " not in section] == []
    assert f"\nprovider: {name}\n" in section


@pytest.mark.parametrize("name", ["gateway", "smsgwd"])
def test_each_key_of_a_file_has_its_row(name: str) -> None:
    """Every key of gateway files and of smsgwd.yaml stands in docs/configuration.md."""
    page = (CHECKOUT / "docs" / "configuration.md").read_text("utf-8")
    schema = json.loads((CHECKOUT / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    assert [key for key in schema["properties"] if f"\n| `{key}` | " not in page] == []


def test_a_stale_page_is_told_and_mended(tmp_path: Path) -> None:
    """When a schema changes `--check` fails and writes nothing; without it the page is written."""
    for folder in ("docs", "gateways.d", "schemas", "tools"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    file = tmp_path / "schemas" / "console.schema.json"
    schema = json.loads(file.read_text("utf-8"))
    schema["properties"]["color"] = {
        "title": "Color",
        "description": "Red | <green>.",
        "type": "string",
        "default": "red",
    }
    file.write_text(json.dumps(schema), "utf-8")
    page = tmp_path / "docs" / "providers.md"
    before = page.read_text("utf-8")
    checked = described(tmp_path, "--check")
    assert (checked.returncode, page.read_text("utf-8")) == (1, before)
    assert checked.stdout == "providers.md is stale: run tools/describe_providers.py\n"
    assert described(tmp_path).returncode == 0
    assert "\n| `color` | text | `red` | Red \\| &lt;green>. |\n" in page.read_text("utf-8")
    assert described(tmp_path, "--check").returncode == 0


def test_links_lead_to_files() -> None:
    """Each example that the page links to is there."""
    targets = [part.partition(")")[0] for part in PAGE.read_text("utf-8").split("](../")[1:]]
    assert targets
    assert [target for target in targets if not (CHECKOUT / target).is_file()] == []
