"""The house keeps its order: imports go down, and each provider has all its rooms."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsgwd import providers

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "smsgwd"

FLOORS = (
    {
        "access_token",
        "allowance",
        "caller",
        "errors",
        "explanations",
        "message",
        "outcome",
        "pin",
        "privacy",
        "secret",
        "segments",
        "socket_path",
        "units",
    },
    {
        "certificates",
        "credentials",
        "dump",
        "edit",
        "files",
        "ignores",
        "layout",
        "load",
        "msisdn",
        "notes",
        "schema",
        "templates",
    },
    {"providers"},
    {"advice", "canonical", "compile", "privacyidea", "registry"},
    {
        "audit",
        "cases",
        "difference",
        "expectations",
        "idempotency",
        "kept",
        "limits",
        "otp",
        "reload",
        "sender",
        "sightings",
        "versions",
        "watch",
        "writing",
    },
    {"daemon", "logs", "metrics", "server", "systemd"},
    {"__main__", "cli", "client", "importers"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The first part of the module's name below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of smsgwd that a module imports, with their dotted names below the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "smsgwd":
            yield from (alias.name for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smsgwd."):
            assert node.module is not None
            inside = node.module.removeprefix("smsgwd.")
            yield from ([f"providers.{alias.name}" for alias in node.names] if inside == "providers" else [inside])
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("smsgwd.") for a in node.names if a.name.startswith("smsgwd."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """A module imports from its own floor or from below, and no provider imports another."""
    own = room(path)
    assert own in FLOOR_OF, f"give {own} a floor in this test and in docs/architecture.md"
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        assert FLOOR_OF[parts[0]] <= FLOOR_OF[own], f"{own} reaches up to {name}"
        if own == "providers" and parts[0] == "providers" and len(parts) > 1 and parts[1] in providers.NAMES:
            assert parts[1] == path.relative_to(PACKAGE).parts[1].removesuffix(".py"), f"{path.name} imports {name}"


def test_each_provider_has_all_its_rooms() -> None:
    """A provider is one module, one schema, one example, one test: the four sets are the same."""
    names = set(providers.NAMES)
    not_providers = {"gateway", "smsgwd", "token", "failover"}
    schemas = {path.name.removesuffix(".schema.json") for path in (ROOT / "schemas").glob("*.schema.json")}
    inside = {path.name.removesuffix(".py") for path in (PACKAGE / "providers").iterdir()}
    modules = {name for name in inside if not name.startswith("_")}
    examples = {
        line.split()[1]
        for path in (ROOT / "gateways.d").glob("*.yaml")
        for line in path.read_text().splitlines()
        if line.startswith("provider: ")
    }
    tests = {name for name in names if list((ROOT / "tests").glob(f"test_{name}*.py"))}
    assert schemas - not_providers == names
    assert modules == names
    assert examples - not_providers == names
    assert tests == names


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_promises_something(path: Path) -> None:
    """Each test's docstring says what it promises."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tests = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, functions) and n.name.startswith("test_")
    ]
    silent = [test.name for test in tests if not ast.get_docstring(test)]
    assert not silent


def test_architecture_page_names_every_room() -> None:
    """docs/architecture.md has a place for every room of the house."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert not [name for name in FLOOR_OF if f"`{name}`" not in page and not name.startswith("__")]


def test_security_page_names_tests_that_there_are() -> None:
    """Each attack that docs/security.md tells of is tried by the tests that it names."""
    page = (ROOT / "docs" / "security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named
    assert not [name for name in sorted(named) if not (ROOT / "tests" / f"{name}.py").exists()]
