"""The providers, by name. One module, one schema, one example, one test file each; a test holds that."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from smsgwd.providers._base import Bench, Provider

NAMES = ("console", "http", "modem", "script", "sipgate", "smpp", "smtp")

Build = Callable[[Mapping[str, Any], Bench], Provider[Any, Any]]


def load(name: str) -> Build:
    """The `build` function of one provider, imported when it is first asked for."""
    return cast("Build", import_module(f"smsgwd.providers.{name}").build)
