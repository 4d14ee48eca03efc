"""What is counted, by name."""

import hashlib
import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from smsgwd.allowance import Limits
from smsgwd.limits.bounds import limits_of, rule_of
from smsgwd.limits.passage import Usher
from smsgwd.limits.scope import Scope, now_s
from smsgwd.limits.window import MANY_OF_A_CALLER, Recipients
from smsgwd.registry import Registry

log = logging.getLogger("smsgwd.limits")

MOST_CALLERS = 5_000  # that are counted at once under one access rule; each takes some 40 KiB at most


class Callers:
    """The callers under one access rule; the one that called last is the last. Their numbers are counted together."""

    def __init__(self) -> None:
        self.scopes: OrderedDict[str, Scope] = OrderedDict()
        self._recipients = Recipients()
        self._complained = False

    def scope(self, name: str, changed: Callable[[Scope], None]) -> Scope:
        """What is counted of a caller."""
        scope = self.scopes.get(name)
        if scope is None:
            self._make_room()
            apart = hashlib.blake2b(name.encode(), digest_size=8).digest()
            scope = self.scopes[name] = Scope(name, changed, MANY_OF_A_CALLER, self._recipients, apart)
        self.scopes.move_to_end(name)
        return scope

    def _make_room(self) -> None:
        self.forget_idle()
        if len(self.scopes) < MOST_CALLERS:
            return
        oldest = next((name for name, scope in self.scopes.items() if not scope.busy), None)
        if oldest is not None:
            del self.scopes[oldest]
        if not self._complained:
            self._complained = True
            log.warning(
                "access: more than %d callers of one rule at once; the oldest are forgotten early", MOST_CALLERS
            )

    def forget_idle(self) -> None:
        """Of those who have not called for longest."""
        now = now_s()
        while self.scopes and (first := next(iter(self.scopes.values()))).idle(now):
            del self.scopes[first.name]

    def follow(self, limits: Limits, generation: int) -> None:
        """Take over the limits of a new configuration."""
        for scope in self.scopes.values():
            scope.follow(limits, generation)


class Limiter:
    """What is counted, by name; for one event loop. Nothing here keeps a number, only a keyed hash of it."""

    def __init__(self) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()  # by gateway and limit
        self.usher = Usher()
        self._scopes: dict[str, Scope] = {}
        self._callers: dict[str, Callers] = {}  # by the key of their access rule
        self._key = os.urandom(32)

    def scope(self, name: str, limits: Limits, generation: int) -> Scope:
        """What is counted under a name, with these limits or later ones."""
        rule = rule_of(name)
        if rule is not None:
            scope = self._callers.setdefault(rule, Callers()).scope(name, self.usher.look)
        else:
            scope = self._scopes.get(name) or self._scopes.setdefault(name, Scope(name, self.usher.look))
        scope.follow(limits, generation)
        return scope

    def follow(self, registry: Registry) -> None:
        """Take over the limits of a new configuration; forget names that are gone and under which nothing counts."""
        now = now_s()
        for name, scope in list(self._scopes.items()):
            limits = limits_of(registry, name)
            if limits is not None:
                scope.follow(limits, registry.generation)
            if (limits is None or not limits.counts) and scope.idle(now):
                del self._scopes[name]
        for rule, callers in list(self._callers.items()):
            limits = registry.config.limits_of_rule(rule)
            if limits is not None:
                callers.follow(limits, registry.generation)
            callers.forget_idle()
            if not callers.scopes:
                del self._callers[rule]

    def usage(self, registry: Registry, name: str) -> dict[str, dict[str, Any]]:
        """How much of each limit is used under a name, `SITE` included; empty where nothing is counted."""
        limits = limits_of(registry, name)
        if limits is None or not limits.counts:
            return {}
        return self.scope(name, limits, registry.generation).usage(now_s())

    def hashed(self, number: str) -> bytes:
        """What is kept of a number."""
        return hashlib.blake2b(number.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()
