"""What the calls of the API share: what is served, who may do what, and where refusals are told."""

import difflib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from smsgwd.audit import Audit
from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.metrics import Configuration, Metrics
from smsgwd.privacy import quotable
from smsgwd.registry import Entry, Registry
from smsgwd.server.access import STATUS, Access
from smsgwd.server.refusals import Refusals
from smsgwd.server.sends import Sends
from smsgwd.writing import Writer


class Reloaded(Protocol):
    """What a reload says of itself."""

    def as_dict(self) -> dict[str, Any]:
        """The answer of `POST /v1/reload`."""


def _nobody_else() -> Access:
    return Access(rules=(), own_uid=os.geteuid())


@dataclass
class Services:
    """For every call. `access` is replaced when a reload has looked its names up; until then there is nobody else."""

    configuration: Configuration
    sends: Sends
    metrics: Metrics
    reload: Callable[[], Awaitable[Reloaded]]
    access: Access = field(default_factory=_nobody_else)
    refusals: Refusals = field(init=False)
    writer: Writer = field(init=False)
    audit: Audit = field(init=False)

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.metrics)
        self.writer = Writer(lambda: self.registry, self.reload)
        self.audit = Audit(lambda: self.registry.config.audit_file)

    @property
    def registry(self) -> Registry:
        """What is served at this moment."""
        return self.configuration.registry

    def who(self, request: web.BaseRequest, peer: Caller) -> Caller:
        """Who calls, by what is known at this moment: the owner of the token in the request, else who connected."""
        return self.access.who(peer, request.headers)

    def visible(self, caller: Caller) -> list[Entry]:
        """The gateways that the caller may see."""
        return [one for one in self.registry.entries.values() if self.access.allows(caller, STATUS, one.name)]

    @contextmanager
    def telling(self, caller: Caller, action: str, gateway: Any) -> Iterator[None]:
        """A refusal tells which gateway it was about: one that there is the log, another one the caller."""
        entries = self.registry.entries
        try:
            yield
        except RequestError as error:
            if isinstance(gateway, str) and gateway in entries:
                error.gateway = gateway
            elif error.code == "unknown-gateway":
                allowed = [name for name in entries if self.access.allows(caller, action, name)]
                raise unknown_gateway(str(gateway), allowed) from None
            raise


def unknown_gateway(gateway: str, allowed: Iterable[str]) -> RequestError:
    """There is no such gateway; the caller may get to know those that are `allowed`."""
    near = difflib.get_close_matches(gateway[:64], allowed, n=1)
    hint = f": did you mean `{near[0]}`?" if near else ""
    return RequestError("unknown-gateway", f"there is no gateway{quotable(gateway) or ' of this name'}{hint}")
