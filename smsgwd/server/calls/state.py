"""How the daemon stands."""

import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from aiohttp import web

from smsgwd import __version__
from smsgwd.caller import Caller
from smsgwd.limits import SITE
from smsgwd.metrics import CONTENT_TYPE
from smsgwd.registry import Registry
from smsgwd.server.access import RELOAD, STATUS
from smsgwd.server.problems import JSON, answer, plain
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services

DOCUMENT = Path(__file__).parent.with_name("openapi.json")


class State:
    """Tells what is served, and has it looked at again."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._document = DOCUMENT.read_bytes()
        self._started = time.monotonic()

    async def get_status(self, call: Call) -> web.Response:
        """How the daemon stands: counts and problems of the gateways and tokens that the caller may see."""
        self._services.access.require(call.caller, STATUS)
        registry, shown = self._services.registry, self._visible_part(call.caller)
        return answer(
            {
                "digest": registry.digest,
                "generation": registry.generation,
                "version": __version__,
                "uptime": round(time.monotonic() - self._started, 3),
                "gateways": shown.counts(),
                "tokens": shown.token_counts(),
                "problems": [problem.as_dict() for problem in shown.problems],
                **self._services.sends.usage(SITE),
            }
        )

    async def post_reload(self, call: Call) -> web.Response:
        """Look at the configuration now; answers when the result serves."""
        async with self._services.audit.action("reload", call.caller) as entry:
            self._services.access.require(call.caller, RELOAD)
            entry.before = self._services.registry.digest
            result = await self._services.reload()
            entry.after = self._services.registry.digest
        return answer(result.as_dict())

    async def get_metrics(self, call: Call) -> web.Response:
        """Prometheus' text format, with the gateways that the caller may see."""
        self._services.access.require(call.caller, STATUS)
        visible, entries = self._services.visible(call.caller), self._services.registry.entries
        names = None if len(visible) == len(entries) else frozenset(entry.name for entry in visible)
        return plain(self._services.metrics.exposition(names), CONTENT_TYPE)

    async def get_health(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """Whether the event loop turns."""
        return answer({"status": "ok"})

    async def get_document(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """The description of this API."""
        return plain(self._document, JSON)

    def _visible_part(self, caller: Caller) -> Registry:
        """What the caller may see of all that is served; of tokens those that its gateways send for."""
        registry, visible = self._services.registry, self._services.visible(caller)
        if len(visible) == len(registry.entries):
            return registry
        entries = {entry.name: entry for entry in visible}
        tokens = {
            name: entry
            for name, entry in registry.tokens.items()
            if entry.token is not None and entry.token.gateway in entries
        }
        problems = [*(one.problems for one in visible), *(one.problems for one in tokens.values())]
        return replace(
            registry, entries=entries, tokens=tokens, problems=tuple(problem for some in problems for problem in some)
        )

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/v1/status", get_status),
        Route("POST", "/v1/reload", post_reload),
        Route("GET", "/healthz", get_health, open=True),
        Route("GET", "/readyz", get_health, open=True),
        Route("GET", "/metrics", get_metrics),
        Route("GET", "/openapi.json", get_document, open=True),
    )
