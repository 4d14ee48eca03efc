"""What editors make of the schemas: the YAML language server completes, explains and underlines."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path

import pytest
from command import CHECKOUT, run
from language_server import LanguageServer, language_server
from token_files import configured, token

from smsgwd import schema

CASES = CHECKOUT / "tests" / "cases" / "bad"
MODELINE = "# yaml-language-server: $schema=../schemas/gateway.schema.json\n"
# What a schema can say; templates, secrets and regular expressions are beyond it.
OF_SCHEMAS = {"bad-value", "conflicting-keys", "missing-key", "unknown-key", "unknown-provider", "wrong-type"}
OF_SCHEMAS |= {"duplicate-key"}
# Cases in which the server underlines another line, or nothing.
OTHERWISE = {
    "json-number": "a number that is too large for any reader is one for a schema",
    "no-blank-credential-in-braces": "`key:value` in braces, without a blank, is no key for the server",
    "numbers-as-words": "1e2 is a number for a schema; we want a whole one written as such",
    "provider-missing": "the first key is underlined, not the beginning of the file",
    "two-bodies": "`settings` is underlined, not the second body",
}


@pytest.fixture
def folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    """A configuration as `smsgwd init` begins one, with all that is shipped beside it."""
    assert run(capsys, "init", str(tmp_path)).code == 0
    for path in (CHECKOUT / "gateways.d").glob("*.yaml"):
        (tmp_path / "gateways.d" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def with_server(
    test: Callable[[Path, LanguageServer], Awaitable[None]],
) -> Callable[[Path], None]:
    """Run a test with a server for its folder."""

    @wraps(test)
    def wrapped(folder: Path) -> None:
        async def play() -> None:
            async with language_server(folder) as server:
                await test(folder, server)

        asyncio.run(play())

    del wrapped.__wrapped__  # pytest would take its arguments for fixtures
    return wrapped


def written(folder: Path, name: str, text: str) -> Path:
    """A gateway file with the line at its top that names the schema."""
    path = folder / "gateways.d" / f"{name}.yaml"
    path.write_text(MODELINE + text, "utf-8")
    return path


@with_server
async def test_nothing_is_underlined_in_good_files(folder: Path, server: LanguageServer) -> None:
    """The shipped examples, the smsgwd.yaml of `init` and a token file are fine for editors, too."""
    configured(folder, {"alice": MODELINE.replace("gateway", "token") + token()})
    files = [*sorted((folder / "gateways.d").iterdir()), folder / "tokens.d" / "alice.yaml", folder / "smsgwd.yaml"]
    assert {path.name: found for path in files if (found := await server.open(path))} == {}


@with_server
async def test_keys_are_completed(folder: Path, server: LanguageServer) -> None:
    """At the top those of every gateway, below `settings` those of the provider, and the choices of a value."""
    text = "provider: http\n\nsettings:\n  url: https://example.com/\n  \n"
    path = written(folder, "typing", text)
    await server.open(path)
    assert {"enabled", "sender", "retry", "templates"} <= set(await server.complete(path, 2, 0))
    inside = set(await server.complete(path, 5, 2))
    assert {"query", "form", "json", "headers", "auth", "success", "message_id"} <= inside
    assert not inside & {"system_id", "mail_to", "enabled"}
    assert set(await server.complete(path, 1, 10)) == set(schema.provider_names())


@with_server
async def test_keys_are_explained(folder: Path, server: LanguageServer) -> None:
    """Hovering over a key shows its title, its description and an example."""
    path = written(folder, "hovering", "provider: http\nmax_segments: 3\nsettings:\n  url: https://example.com/\n")
    await server.open(path)
    top, inside = await server.hover(path, 2, 3), await server.hover(path, 4, 3)
    assert "Most segments" in top
    assert "refused before anything is sent" in top
    assert "URL" in inside
    assert "Templates may stand in its path and query" in inside


def of_schemas(name: str) -> set[int]:
    """The lines of a case on which we find what a schema can say."""
    words = (CASES / f"{name}.txt").read_text("utf-8")
    found = re.findall(r"^\S+?:(\d+):\d+: error\[([a-z0-9-]+)\]", words, re.MULTILINE)
    return {int(line) for line, code in found if code in OF_SCHEMAS}


@with_server
async def test_the_same_mistakes_are_underlined(folder: Path, server: LanguageServer) -> None:
    """Every line of the bad files with a mistake that a schema can tell is underlined, but for a few, listed ones."""
    names = [path.stem for path in sorted(CASES.glob("*.yaml")) if not path.stem.startswith(("site-", "token-"))]
    missed = set()
    for name in (name for name in names if of_schemas(name)):
        path = written(folder, name, (CASES / f"{name}.yaml").read_bytes().decode("utf-8-sig"))
        lines = {found["range"]["start"]["line"] for found in await server.open(path)}  # from 0; ours are one lower
        if of_schemas(name) - lines:
            missed.add(name)
    assert missed == set(OTHERWISE), "a case that editors see otherwise is listed, with the reason"
