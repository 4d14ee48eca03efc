"""The server on a socket of its own, over a provider whose answers a test decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gated_provider
from aiohttp import web

from smsgwd.idempotency import Idempotency
from smsgwd.limits import Limiter
from smsgwd.metrics import Metrics
from smsgwd.registry import Registry, SiteConfig, SocketSettings
from smsgwd.server.access import look_up
from smsgwd.server.api import Api
from smsgwd.server.connection import Doors, Limits
from smsgwd.server.listen import open_listener
from smsgwd.server.sends import Sends
from smsgwd.server.services import Services
from smsgwd.server.tcp import open_tcp


@dataclass
class Configuration:
    """A configuration that does not change."""

    registry: Registry
    healthy: bool = False
    last_success_at: float = 1_700_000_000.0


@dataclass(frozen=True)
class Reloaded:
    """A reload that found nothing new."""

    digest: str

    def as_dict(self) -> dict[str, Any]:
        """As the contract wants it."""
        changed: dict[str, Any] = {"added": [], "changed": [], "removed": []}
        return {"digest": self.digest, "generation": 1, **changed, "tokens": changed, "problems": []}


@dataclass
class Served:
    """What serves, for a test to look at."""

    path: Path
    api: Api
    sends: Sends
    doors: Doors
    configuration: Configuration
    provider: gated_provider.Gated
    services: Services


@asynccontextmanager
async def serving(
    folder: Path, limits: Limits | None = None, config: SiteConfig | None = None
) -> AsyncIterator[Served]:
    """Serve at `folder`/smsgwd.sock while the block runs."""
    limits = limits or Limits()
    provider = gated_provider.Gated()
    configuration = Configuration(gated_provider.registry(provider, config))
    limiter = Limiter()
    metrics = Metrics(configuration, limiter)
    sends = Sends(configuration, metrics, Idempotency(), limiter, limits.in_flight)

    async def reload() -> Reloaded:
        return Reloaded(configuration.registry.digest)

    services = Services(configuration, sends, metrics, reload)
    settings = configuration.registry.config
    services.access = look_up(settings.access, settings.tokens, settings.listen)
    api = Api(services)
    doors = Doors(api.serve, limits)
    runner = web.ServerRunner(doors, shutdown_timeout=0.1)
    await runner.setup()
    listener = open_listener(folder / "smsgwd.sock", SocketSettings(mode=0o666))
    await web.SockSite(runner, listener.socket).start()
    doors.certificates = {one.address: one.certificate for one in settings.listen if one.certificate}
    servers = []
    for one in (one for wanted in settings.listen for one in open_tcp(wanted)):
        entrance = doors.entrance(one.name, tls=one.tls)
        servers.append(await asyncio.get_running_loop().create_server(entrance, sock=one.socket))
    try:
        yield Served(folder / "smsgwd.sock", api, sends, doors, configuration, provider, services)
    finally:
        for server in servers:
            server.close()
        provider.gate.set()
        async with asyncio.timeout(10):
            await sends.drain()
            await runner.cleanup()
            await api.close()
