"""Gateways: shown, changed, deleted, and files that may become some, checked."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import hdrs, web

from smsgwd import audit, credentials, schema
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import Problem, RequestError, findings_document
from smsgwd.files import GATEWAYS, MAX_OCTETS, NAME, NAME_RULE, SECRETS, SITE
from smsgwd.load import Source, load
from smsgwd.registry import Entry, Failover, Registry, reference_problems
from smsgwd.server.access import SMSGATEWAY_READ, SMSGATEWAY_WRITE, STATUS
from smsgwd.server.body import read_octets
from smsgwd.server.problems import answer, plain
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services
from smsgwd.writing import ANY, Changed, Current, Match, Wanted

YAML = "application/yaml"  # RFC 9512
_SITE_FILE = f"{SITE}.yaml"
_CHECKS_AT_ONCE = 2
_CHECK_S = 10.0  # a check that takes longer is not waited for


class Gateways:
    """The gateway files, over the socket."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._checks = 0

    async def get_gateways(self, call: Call) -> web.Response:
        """All gateways that the caller may see."""
        self._services.access.require(call.caller, STATUS)
        return answer([self._shown(entry) for entry in self._services.visible(call.caller)])

    async def get_gateway(self, call: Call) -> web.Response:
        """One gateway, or its file."""
        name = call.names["name"]
        if _wants_yaml(call.request):
            return await self._file(call, name)
        with self._services.telling(call.caller, STATUS, name):
            self._services.access.require(call.caller, STATUS, name)
            entry = self._services.registry.entry(name)
        return answer(self._shown(entry), headers=etag(_digest(entry)))

    async def _file(self, call: Call, name: str) -> web.Response:
        with self._services.telling(call.caller, SMSGATEWAY_READ, name):
            self._services.access.require(call.caller, SMSGATEWAY_READ, name)
            current = await self._services.writer.current(name) if NAME.fullmatch(name) else None
            if current is None:
                raise RequestError("unknown-gateway", "there is no gateway of this name")
            await asyncio.to_thread(_check_tells_no_secret, current)
        return plain(current.text.encode("utf-8", "surrogateescape"), YAML, etag(current.digest))

    @asynccontextmanager
    async def _permitted(self, call: Call, action: str) -> AsyncIterator[audit.Entry]:
        """Audit what the block does to the gateway of the path, for who may write it. Raises RequestError."""
        name = call.names["name"]
        async with self._services.audit.action(action, call.caller, gateway=name) as entry:
            with self._services.telling(call.caller, SMSGATEWAY_WRITE, name):
                self._services.access.require(call.caller, SMSGATEWAY_WRITE, name)
                yield entry

    async def put_gateway(self, call: Call) -> web.Response:
        """Make this the gateway's file; answers when it serves."""
        name = call.names["name"]
        async with self._permitted(call, "change") as entry:
            match = match_of(call.request)
            octets = await _yaml(call)
            wanted = Wanted(text=octets.decode("utf-8", "surrogateescape"))
            directory = self._services.registry.config.site.directory
            everywhere = self._services.access.allows_everywhere(call.caller, SMSGATEWAY_WRITE)

            def make(current: Current | None) -> Wanted:
                if not everywhere:
                    _check_secrets_are_own(name, load(octets, ""), current, directory)
                entry.action = "create" if current is None else "change"
                entry.before = None if current is None else current.digest
                return wanted

            changed = await self._services.writer.change(name, make, match=match)
            entry.after = changed.after
        return self._after(name, changed)

    def _after(self, name: str, changed: Changed) -> web.Response:
        shown = self._shown(self._services.registry.entry(name))
        return answer(shown, status=201 if changed.before is None else 200, headers=etag(changed.after or ""))

    async def delete_gateway(self, call: Call) -> web.Response:
        """Delete the gateway's file and its own secrets; answers when nothing serves under its name."""
        name = call.names["name"]
        async with self._permitted(call, "delete") as entry:
            match = match_of(call.request)

            def make(current: Current | None) -> None:
                if current is None:
                    raise RequestError("unknown-gateway", "there is no gateway of this name")
                entry.before = current.digest

            await self._services.writer.change(name, make, match=match)
        return answer({"name": name, "digest": self._services.registry.digest})

    async def post_check(self, call: Call) -> web.Response:
        """What would be found in a file; nothing is changed, and no secret is read."""
        if not self._services.access.allows(call.caller, SMSGATEWAY_WRITE):
            self._services.access.require(call.caller, SMSGATEWAY_READ)
        name = call.request.query.get("name", "gateway")
        if name != _SITE_FILE and not NAME.fullmatch(name):
            raise RequestError("malformed-request", f"'name' has to be a gateway's, or {_SITE_FILE}: {NAME_RULE}")
        return answer(findings_document(await self._checked(name, await _yaml(call)), 1))

    async def _checked(self, name: str, octets: bytes) -> tuple[Problem, ...]:
        """The findings. A check that takes too long goes on in its thread, and keeps its place until it ends."""
        if self._checks >= _CHECKS_AT_ONCE:
            raise RequestError("overloaded", "two files are being checked already")
        self._checks += 1
        checking = asyncio.ensure_future(asyncio.to_thread(_findings, name, octets, self._services.registry))
        checking.add_done_callback(self._check_ended)
        try:
            async with asyncio.timeout(_CHECK_S):
                return await asyncio.shield(checking)
        except TimeoutError:
            raise RequestError("overloaded", "to check this file takes too long") from None

    def _check_ended(self, checking: "asyncio.Future[Any]") -> None:
        self._checks -= 1
        if not checking.cancelled():
            checking.exception()  # whoever waits for it has it; nobody may wait any more

    def _shown(self, entry: Entry) -> dict[str, Any]:
        gateway = entry.gateway
        return {
            "name": entry.name,
            "provider": None if gateway is None else gateway.provider_name,
            "state": str(entry.state),
            "problems": _as_dicts(entry.problems),
            "digest": None if gateway is None else gateway.digest,
            "last": self._services.sends.last(entry.name),
            **self._services.sends.usage(entry.name),
            **({} if gateway is None else gateway.status()),
        }

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("GET", "/v1/gateways", get_gateways),
        Route("GET", "/v1/gateways/{name}", get_gateway),
        Route("PUT", "/v1/gateways/{name}", put_gateway),
        Route("DELETE", "/v1/gateways/{name}", delete_gateway),
        Route("POST", "/v1/check", post_check),
    )


def _findings(name: str, octets: bytes, registry: Registry) -> tuple[Problem, ...]:
    """What `smsgwd check` would find in a file of this name, beside the others that serve."""
    site = registry.config.site
    if name == _SITE_FILE:
        return compile_site(load(octets, _SITE_FILE), site.directory, resolve=False)[1]
    served, problems = compile_gateway(name, load(octets, f"{GATEWAYS}/{name}.yaml"), site, resolve=False)
    if isinstance(served, Failover):
        entries = {**registry.entries, name: Entry.of(name, served, problems)}
        problems = (*problems, *reference_problems(served, entries))
    return tuple(sorted(set(problems), key=lambda problem: problem.sort_key))


def _check_secrets_are_own(name: str, source: Source, current: Current | None, directory: Path) -> None:
    """Raises RequestError forbidden for a secret that is neither in the gateway's own folder nor in its file already.

    Who may write some gateways alone could otherwise have those of the others sent to wherever they like.
    """
    data = schema.check_gateway(source)[0] or {}
    known = [] if current is None or current.data is None else list(current.data.get("secrets", {}).values())
    own = Path(os.path.normpath(directory / SECRETS / name))
    for secret, reference in data.get("secrets", {}).items():
        path = Path(os.path.normpath(directory / reference.get("file", "")))
        if reference not in known and path.parent != own:
            detail = (
                f"the secret {secret!r} is not the gateway's own ({SECRETS}/{name}/): that takes the right to write all"
            )
            error = RequestError("forbidden", detail)
            error.action = SMSGATEWAY_WRITE
            raise error


def _check_tells_no_secret(current: Current) -> None:
    """Raises RequestError invalid-config for a file with a literal secret, and for one of which nobody can tell."""
    data, _ = schema.check_gateway(current.source)
    if data is None:
        detail = "the file cannot be understood, so nobody can tell whether a secret stands in it: it is not shown"
        raise RequestError("invalid-config", detail, {"problems": _as_dicts(current.source.problems)})
    literal = credentials.literal_secrets(current.source, data)
    if literal:
        detail = "a secret stands in the file itself: it is not shown"
        raise RequestError("invalid-config", detail, {"problems": _as_dicts(literal)})


def _as_dicts(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [problem.as_dict() for problem in problems]


async def _yaml(call: Call) -> bytes:
    """The file in the body. `curl --data-binary` sends the content type of a form, so any will do but that of parts."""
    if call.request.content_type.startswith("multipart/"):
        detail = f"send the file itself, with Content-Type: {YAML} (curl --data-binary @FILE)"
        raise RequestError("unsupported-media-type", detail)
    return await read_octets(call.request, MAX_OCTETS)


def _wants_yaml(request: web.BaseRequest) -> bool:
    accepted = (part.partition(";")[0].strip().lower() for part in request.headers.get(hdrs.ACCEPT, "").split(","))
    return YAML in accepted


def _digest(entry: Entry) -> str:
    return "" if entry.gateway is None else entry.gateway.digest


def etag(digest: str) -> Mapping[str, str]:
    """The header that tells a digest."""
    return {hdrs.ETAG: f'"{digest}"'} if digest else {}


def match_of(request: web.BaseRequest) -> Match:
    """What If-Match and If-None-Match ask for. Raises RequestError malformed-request."""
    wanted, unwanted = request.headers.get(hdrs.IF_MATCH), request.headers.get(hdrs.IF_NONE_MATCH)
    if unwanted is not None:
        if unwanted.strip() != "*" or wanted is not None:
            raise RequestError(
                "malformed-request", "If-None-Match is taken alone, and as `*`: there must be no such file"
            )
        return Match(exists=False)
    if wanted is None:
        return ANY
    if wanted.strip() == "*":
        return Match(exists=True)
    digests = frozenset(one.strip().strip('"') for one in wanted.split(","))
    if "" in digests:
        raise RequestError("malformed-request", "If-Match has to be the digest of a gateway, or `*`")
    return Match(digests=digests)
