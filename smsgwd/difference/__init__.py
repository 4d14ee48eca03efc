"""What changes for users between two configurations: effects, not lines.

change    one change, and how values are shown
settings  what a changed key does
samples   what sample messages come to
routing   the ways through a failover
tokens    who is let in, and how
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smsgwd.canonical import Configuration
from smsgwd.compile import FAILOVER, compile_gateway, compile_site
from smsgwd.difference import routing, samples, settings, tokens
from smsgwd.difference.change import Change, code
from smsgwd.dump import dump
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import Failover, Gateway, Served

__all__ = ["Change", "changes"]


@dataclass(slots=True)
class _Side:
    """One configuration, its gateways compiled when they are asked for."""

    configuration: Configuration
    _site: Site | None = None
    _compiled: dict[str, Served | None] = field(default_factory=dict)

    def names(self) -> set[str]:
        """The gateways that have a file, sound or not."""
        return {*self.configuration.gateways, *self.configuration.broken}

    def served(self, name: str) -> Served | None:
        """The gateway; None when there is none, or it does not compile."""
        if name not in self._compiled:
            self._compiled[name] = self._compile(name) if name in self.configuration.gateways else None
        return self._compiled[name]

    def _compile(self, name: str) -> Served | None:
        source = load(dump(self.configuration.gateways[name]).encode(), name)
        return compile_gateway(name, source, self.site, resolve=False)[0]

    @property
    def site(self) -> Site:
        """What gateways use of smsgwd.yaml."""
        if self._site is None:
            data = self.configuration.site
            config = compile_site(load(dump(data).encode(), "smsgwd"), Path(), resolve=False)[0] if data else None
            self._site = config.site if config else Site()
        return self._site


def changes(old: Configuration, new: Configuration) -> list[Change]:
    """All changes: of smsgwd.yaml, of gateways, of tokens, file by file. Empty when users see no difference."""
    before, after = _Side(old), _Side(new)
    found = list(settings.of_site(old.site, new.site))
    for name in sorted(before.names() | after.names()):
        found += _of_gateway(name, before, after)
    found += tokens.changes(old, new)
    return found


def _of_gateway(name: str, before: _Side, after: _Side) -> Iterator[Change]:
    if name not in before.names():
        yield Change(name, "added", _new(name, after))
    elif name not in after.names():
        yield Change(name, "removed", "is gone: sends to it are refused")
    elif name in after.configuration.broken:
        if name not in before.configuration.broken:
            problem = code(after.configuration.broken[name])
            yield Change(name, "changed", f"does not compile: a running daemon stays with what it has ({problem})")
    elif name in before.configuration.broken:
        yield Change(name, "changed", f"compiles now: {_summary(name, after)}")
    else:
        yield from _of_both(name, before, after)


def _new(name: str, side: _Side) -> str:
    if name in side.configuration.broken:
        return f"is new, and does not compile: sends to it are refused ({code(side.configuration.broken[name])})"
    return f"is new: {_summary(name, side)}"


def _summary(name: str, side: _Side) -> str:
    data = side.configuration.gateways[name]
    url = data.get("settings", {}).get("url")
    disabled = "" if data.get("enabled", True) else ", but disabled"
    return f"provider {code(data['provider'])}{f' at {code(url)}' if url else ''}{disabled}"


def _of_both(name: str, before: _Side, after: _Side) -> Iterator[Change]:
    old, new = before.configuration.gateways[name], after.configuration.gateways[name]
    if old.get("enabled", True) != new.get("enabled", True):
        words = "sends now" if new.get("enabled", True) else "no longer sends: sends to it are refused (disabled)"
        yield Change(name, "changed", words, "/enabled")
    if old != new:
        if old["provider"] != new["provider"]:
            effect = f"goes through provider {code(new['provider'])} (before: {code(old['provider'])})"
            yield Change(name, "changed", effect, "/provider")
            old = {**old, "settings": new.get("settings", {})}
        yield from _of_files(name, old, new)
    elif new["provider"] != FAILOVER:
        return
    served = before.served(name), after.served(name)
    if served[0] is not None and served[1] is not None:
        yield from _of_messages(served[0], served[1], before, after, same=old == new)


def _of_files(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    told = settings.of_gateway(name, old, new)
    routes = ("/settings/gateways", "/settings/routes")
    failover = new["provider"] == FAILOVER
    yield from (change for change in told if not (failover and change.pointer.startswith(routes)))


def _of_messages(old: Served, new: Served, before: _Side, after: _Side, *, same: bool) -> Iterator[Change]:
    """What becomes of messages; of a failover also when only its members changed."""
    if not same:
        yield from samples.of_numbers(old, new)
        yield from samples.of_templates(old, new)
    if not same and isinstance(old, Gateway) and isinstance(new, Gateway):
        yield from samples.of_texts(old, new)
    if isinstance(old, Failover) and isinstance(new, Failover):
        yield from routing.changes(old, new, before.served, after.served)
