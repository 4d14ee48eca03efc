"""privacyIDEA's gateway API: six calls, so that its clients work."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from aiohttp import hdrs, web

from smsgwd.audit import Entry
from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.privacyidea import asked
from smsgwd.registry import gateway_id
from smsgwd.server import smsgateway
from smsgwd.server.access import SMSGATEWAY_READ, SMSGATEWAY_WRITE
from smsgwd.server.body import read_parameters
from smsgwd.server.calls.gateways import etag, match_of
from smsgwd.server.envelope import envelope, refuse
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services
from smsgwd.writing import Changed, Current, Wanted

log = logging.getLogger("smsgwd.server")

_LIST = "/smsgateway/"
_MOST_DIGITS = 20  # of a number that may be an id: Python takes long over numbers of thousands


class SmsGateway:
    """Shows gateways as privacyIDEA does, and writes them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reading = asyncio.Lock()  # files are read and compiled for one caller at a time

    async def get_moved(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """Where the list is."""
        answer = envelope(None)
        answer.set_status(308)
        answer.headers[hdrs.LOCATION] = _LIST
        return answer

    async def get_gateways(self, call: Call) -> web.Response:
        """All gateways that the caller may see."""
        return envelope([one.entry for one in await self._shown(call.caller)])

    async def get_gateway(self, call: Call) -> web.Response:
        """A list with the gateway of that id; with one alone its digest is the ETag."""
        number = _number(call.names["gateway"])
        found = await self._shown(call.caller, number)
        answer = envelope([one.entry for one in found])
        answer.headers.update(etag(found[0].digest) if len(found) == 1 else {})
        return answer

    async def get_providers(self, call: Call) -> web.Response:
        """The modules that a gateway can have."""
        self._services.access.require(call.caller, SMSGATEWAY_READ)
        return envelope(await asyncio.to_thread(smsgateway.providers, self._services.registry.config.site))

    async def post_gateway(self, call: Call) -> web.Response:
        """Create or replace a gateway; answers its id."""
        async with self._audited(call, "change") as entry:
            wanted = asked.read(await read_parameters(call.request))
            entry.gateway = wanted.name
            smsgateway.check_name(wanted.name)
            smsgateway.check_module(wanted.module)
            change = smsgateway.writing(wanted, self._services.registry.config.site)
            changed = await self._made(call, entry, change)
        return _changed(gateway_id(wanted.name), changed)

    async def delete_gateway(self, call: Call) -> web.Response:
        """Delete a gateway; answers how many there were."""
        async with self._audited(call, "delete") as entry:
            entry.gateway = call.names["gateway"]
            smsgateway.check_name(entry.gateway)
            changed = await self._made(call, entry, smsgateway.Change(lambda _: None))
        return envelope(0 if changed.before is None else 1)

    async def delete_option(self, call: Call) -> web.Response:
        """Take an option or a header away from a gateway."""
        async with self._audited(call, "delete-option") as entry:
            entry.gateway = self._named(call.caller, _number(call.names["id"]))
            kind, key = smsgateway.kind_and_key(call.names["key"])
            change = smsgateway.deleting(entry.gateway, kind, key, self._services.registry.config.site)
            changed = await self._made(call, entry, change)
        return _changed(1, changed)

    async def _shown(self, caller: Caller, number: int | None = None) -> list[smsgateway.Shown]:
        """The gateways that the caller may see; of that id, if one is given."""
        access, registry = self._services.access, self._services.registry
        access.require(caller, SMSGATEWAY_READ)
        names = (name for name in registry.entries if number is None or gateway_id(name) == number)
        visible = frozenset(name for name in names if access.allows(caller, SMSGATEWAY_READ, name))
        async with self._reading:
            return await asyncio.to_thread(smsgateway.shown, registry.config.site, visible)

    def _named(self, caller: Caller, number: int) -> str:
        """The gateway of that id. Raises RequestError where there is none, or more than one."""
        found = [name for name in self._services.registry.entries if gateway_id(name) == number]
        found = [name for name in found if self._services.access.allows(caller, SMSGATEWAY_WRITE, name)]
        if not found:
            raise RequestError("not-found", f"there is no gateway with the id {number} that the caller may change")
        if len(found) > 1:
            raise RequestError("ambiguous-id", f"the gateways {' and '.join(found)} have the same id {number}")
        return found[0]

    @asynccontextmanager
    async def _audited(self, call: Call, action: str) -> AsyncIterator[Entry]:
        """Write down what the block does. Raises RequestError for callers that may change nothing."""
        entry: Entry | None = None  # it stays so where nothing can be written down
        try:
            async with self._services.audit.action(action, call.caller) as entry:
                self._services.access.require(call.caller, SMSGATEWAY_WRITE)
                yield entry
        except RequestError as error:
            error.gateway = entry.gateway if entry and entry.gateway in self._services.registry.entries else ""
            if error.code == "invalid-config":
                raise smsgateway.as_bad_request(error) from None
            raise

    async def _made(self, call: Call, entry: Entry, change: smsgateway.Change) -> Changed:
        """Have it made. Raises RequestError."""
        match = match_of(call.request)
        self._services.access.require(call.caller, SMSGATEWAY_WRITE, entry.gateway)

        def make(current: Current | None) -> Wanted | None:
            entry.before = None if current is None else current.digest
            if current is None and entry.action == "change":
                entry.action = "create"
            return change.make(current)

        changed = await self._services.writer.change(entry.gateway, make, match=match)
        entry.after = changed.after
        told = {"gateway": entry.gateway, **call.caller.as_log()}
        if change.elsewhere:
            log.warning("a gateway sends to another place now, with secrets that were kept", extra=told)
        if change.remarks:
            extra = {**told, "remarks": list(change.remarks)}
            log.info("a definition has no exact counterpart", extra=extra)
        return changed

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/smsgateway", get_moved, refuse),
        Route("GET", _LIST, get_gateways, refuse),
        Route("GET", "/smsgateway/providers", get_providers, refuse),
        Route("GET", "/smsgateway/{gateway}", get_gateway, refuse),
        Route("POST", "/smsgateway", post_gateway, refuse),
        Route("POST", _LIST, post_gateway, refuse),
        Route("DELETE", "/smsgateway/{gateway}", delete_gateway, refuse),
        Route("DELETE", "/smsgateway/option/{id}/{key}", delete_option, refuse),
    )


def _changed(value: int, changed: Changed) -> web.Response:
    """The answer to a change, with the digest of what is there now as its ETag."""
    answer = envelope(value)
    answer.headers.update(etag(changed.after or ""))
    return answer


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS):
        raise RequestError("malformed-request", "an id is a number")
    return int(text)
