"""The calls of the API: who may, what is asked, what is answered."""

import difflib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from aiohttp import hdrs, web

from smsgwd import __version__, sender
from smsgwd.errors import MessageError, RequestError
from smsgwd.idempotency import check_key
from smsgwd.limits import SITE
from smsgwd.message import SendRequest
from smsgwd.metrics import CONTENT_TYPE, Configuration, Metrics
from smsgwd.otp import Challenges
from smsgwd.outcome import Kind, Outcome
from smsgwd.privacy import quotable
from smsgwd.registry import Entry, digest_of
from smsgwd.server.access import OTP_CHALLENGE, OTP_VERIFY, RELOAD, SEND, STATUS, Access, Peer
from smsgwd.server.body import check_kind, parse_object, read_body
from smsgwd.server.challenges import read_challenge, read_try
from smsgwd.server.connection import Connection
from smsgwd.server.messages import read_message
from smsgwd.server.problems import JSON, answer, outcome_answer, outcome_document, plain, problem
from smsgwd.server.refusals import Refusals
from smsgwd.server.sends import Sends
from smsgwd.server.stream import NDJSON, Stream

log = logging.getLogger("smsgwd.server")

DOCUMENT = Path(__file__).with_name("openapi.json")


class Reloaded(Protocol):
    """What a reload says of itself."""

    def as_dict(self) -> dict[str, Any]:
        """The answer of `POST /v1/reload`."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, on its way. `name` is what stands in the path's `{name}`."""

    request: web.BaseRequest
    connection: Connection
    peer: Peer
    name: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of openapi.json, and what answers there."""

    method: str
    path: str
    respond: Callable[["Api", Call], Awaitable[web.StreamResponse]]


class Api:
    """Answers requests from what is served.

    `access` is replaced when a reload has looked its names up; `draining` makes each answer the last of its connection.
    """

    def __init__(
        self,
        configuration: Configuration,
        sends: Sends,
        metrics: Metrics,
        reload: Callable[[], Awaitable[Reloaded]],
    ) -> None:
        self.access = Access(rules=(), own_uid=os.geteuid())  # nobody else, until the rules are looked up
        self.draining = False
        self._streams: set[Stream] = set()
        self._configuration = configuration
        self._sends = sends
        self._metrics = metrics
        self._refusals = Refusals(metrics)
        self._reload = reload
        self._challenges = Challenges(lambda: configuration.registry.config.otp)
        self._document = DOCUMENT.read_bytes()
        self._started = time.monotonic()

    def end_streams(self) -> None:
        """Read no further lines of the streams that run."""
        for stream in self._streams:
            stream.stop()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request: never an exception, never a traceback."""
        connection = request.protocol
        if not isinstance(connection, Connection) or connection.peer is None:
            raise ConnectionResetError("a connection without a caller")
        connection.request_begins(request.content)
        response = await self._respond(Call(request, connection, connection.peer))
        if self.draining or connection.crowded:
            response.force_close()
        return response

    async def _respond(self, call: Call) -> web.StreamResponse:
        request = call.request
        try:
            respond, name = (Api.refuse_crowd, "") if call.connection.crowded else find(request.method, request.path)
            return await respond(self, replace(call, name=name))
        except RequestError as error:
            self._refusals.note(error, call.peer.uid)
            return problem(
                error, {hdrs.ALLOW: ", ".join(error.allowed)} if isinstance(error, MethodNotAllowedError) else {}
            )
        except ConnectionError:
            raise
        except Exception:
            log.exception("unforeseen failure of a request")
            self._metrics.refused("internal")
            return problem(RequestError("internal", "something unforeseen went wrong; the log has it"))

    async def refuse_crowd(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """The answer on a connection that is one too many."""
        raise RequestError("overloaded", "too many connections of this user")

    async def post_message(self, call: Call) -> web.StreamResponse:
        """Send one message, or a stream of them; the answer carries its outcome."""
        if call.request.content_type == NDJSON:
            return await self._stream(call)
        key = _idempotency_key(call.request)
        outcome, replayed = await self._once(call.peer, await self._json(call.request), key)
        return outcome_answer(outcome, replayed=replayed)

    async def _once(self, peer: Peer, body: dict[str, Any], key: str | None) -> tuple[Outcome, bool]:
        """The outcome of the message in a body; True where it was sent before, under the same key."""
        with self._telling(peer, SEND, body.get("gateway")):
            message = self._permitted(peer, body)
            digest = "" if key is None else digest_of(body)
            return await self._sends.once(message, peer.uid, key, digest)

    async def _stream(self, call: Call) -> web.StreamResponse:
        check_kind(call.request, NDJSON)
        if "Idempotency-Key" in call.request.headers:
            detail = "an Idempotency-Key is for one message: in a stream give each line its own 'idempotency_key'"
            raise RequestError("malformed-request", detail)

        async def send(body: dict[str, Any]) -> dict[str, Any]:
            key = _line_key(body)
            outcome, _ = await self._once(call.peer, body, key)
            return outcome_document(outcome)

        def refused(error: RequestError) -> None:
            self._refusals.note(error, call.peer.uid)

        stream = Stream(call.request, call.connection, send, refused)
        self._streams.add(stream)
        try:
            return await stream.run()
        finally:
            self._streams.discard(stream)

    async def post_render(self, call: Call) -> web.Response:
        """What would be sent, without sending."""
        body = await self._json(call.request)
        with self._telling(call.peer, SEND, body.get("gateway")):
            message = self._permitted(call.peer, body)
            try:
                return answer(sender.render(self._configuration.registry, message))
            except MessageError as error:
                return outcome_answer(self._refused(message, error))

    async def post_challenge(self, call: Call) -> web.Response:
        """Send a one-time password; the answer names the transaction that it is for."""
        if _idempotency_key(call.request) is not None:
            raise RequestError("malformed-request", "an Idempotency-Key is for messages: each challenge is a new one")
        body = await self._json(call.request)
        with self._telling(call.peer, OTP_CHALLENGE, body.get("gateway")):
            wanted = read_challenge(body)
            self.access.require(call.peer, OTP_CHALLENGE, wanted.message.gateway)
            wanted = replace(wanted, message=replace(wanted.message, caller=call.peer.uid))
            transaction_id, outcome = await self._challenges.issue(wanted, self._sends.send)
        if transaction_id is None:
            return outcome_answer(outcome)
        return answer(
            {"transaction_id": transaction_id, "expires_in": wanted.ttl_s, "outcome": outcome_document(outcome)}
        )

    async def post_verification(self, call: Call) -> web.Response:
        """Whether a one-time password is the one that was sent."""
        self.access.require(call.peer, OTP_VERIFY)
        tried = read_try(await self._json(call.request))
        verdict = self._challenges.verify(tried.transaction_id, tried.otp, tried.context)
        log.info("verification", extra={**verdict.as_dict(), "uid": call.peer.uid})
        return answer(verdict.as_dict())

    async def get_gateways(self, call: Call) -> web.Response:
        """All gateways that the caller may see."""
        self.access.require(call.peer, STATUS)
        return answer([self._shown(entry) for entry in self._visible(call.peer)])

    async def get_gateway(self, call: Call) -> web.Response:
        """One gateway."""
        with self._telling(call.peer, STATUS, call.name):
            self.access.require(call.peer, STATUS, call.name)
            return answer(self._shown(self._configuration.registry.entry(call.name)))

    async def get_status(self, call: Call) -> web.Response:
        """How the daemon stands: counts and problems of the gateways that the caller may see."""
        self.access.require(call.peer, STATUS)
        registry, visible = self._configuration.registry, self._visible(call.peer)
        shown = registry
        if len(visible) < len(registry.entries):
            problems = tuple(problem for entry in visible for problem in entry.problems)
            shown = replace(registry, entries={entry.name: entry for entry in visible}, problems=problems)
        return answer(
            {
                "digest": registry.digest,
                "generation": registry.generation,
                "version": __version__,
                "uptime": round(time.monotonic() - self._started, 3),
                "gateways": shown.counts(),
                "problems": [problem.as_dict() for problem in shown.problems],
                **self._sends.usage(SITE),
            }
        )

    async def post_reload(self, call: Call) -> web.Response:
        """Look at the configuration now; answers when the result serves."""
        self.access.require(call.peer, RELOAD)
        return answer((await self._reload()).as_dict())

    async def get_metrics(self, call: Call) -> web.Response:
        """Prometheus' text format."""
        self.access.require(call.peer, STATUS)
        return plain(self._metrics.exposition(), CONTENT_TYPE)

    async def get_health(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """Whether the event loop turns."""
        return answer({"status": "ok"})

    async def get_document(self, call: Call) -> web.Response:  # noqa: ARG002 - as all others
        """The description of this API."""
        return plain(self._document, JSON)

    async def _json(self, request: web.BaseRequest) -> dict[str, Any]:
        return parse_object(await read_body(request, JSON))

    def _permitted(self, peer: Peer, body: dict[str, Any]) -> SendRequest:
        """The message, when the caller may use its gateway; asked before it is said whether there is such a gateway."""
        message = read_message(body)
        self.access.require(peer, SEND, message.gateway)
        return replace(message, caller=peer.uid)

    @contextmanager
    def _telling(self, peer: Peer, action: str, gateway: Any) -> Iterator[None]:
        """A refusal tells which gateway it was about: one that there is the log, another one the caller."""
        entries = self._configuration.registry.entries
        try:
            yield
        except RequestError as error:
            if isinstance(gateway, str) and gateway in entries:
                error.gateway = gateway
            elif error.code == "unknown-gateway":
                allowed = [name for name in entries if self.access.allows(peer, action, name)]
                raise _unknown(str(gateway), allowed) from None
            raise

    def _refused(self, message: SendRequest, error: MessageError) -> Outcome:
        gateway = self._configuration.registry.renderable(message.gateway)
        return Outcome(
            Kind.REJECTED,
            error.reason,
            detail=error.detail,
            gateway=gateway.name,
            provider=gateway.provider_name,
            reference=message.reference,
            digest=self._configuration.registry.digest,
        )

    def _visible(self, peer: Peer) -> list[Entry]:
        entries = self._configuration.registry.entries.values()
        return [entry for entry in entries if self.access.allows(peer, STATUS, entry.name)]

    def _shown(self, entry: Entry) -> dict[str, Any]:
        gateway = entry.gateway
        return {
            "name": entry.name,
            "provider": None if gateway is None else gateway.provider_name,
            "state": str(entry.state),
            "problems": [problem.as_dict() for problem in entry.problems],
            "digest": None if gateway is None else gateway.digest,
            "last": self._sends.last(entry.name),
            **self._sends.usage(entry.name),
            **({} if gateway is None else gateway.status()),
        }


ROUTES = (
    Route("POST", "/v1/messages", Api.post_message),
    Route("POST", "/v1/render", Api.post_render),
    Route("POST", "/v1/challenges", Api.post_challenge),
    Route("POST", "/v1/challenges/verify", Api.post_verification),
    Route("GET", "/v1/gateways", Api.get_gateways),
    Route("GET", "/v1/gateways/{name}", Api.get_gateway),
    Route("GET", "/v1/status", Api.get_status),
    Route("POST", "/v1/reload", Api.post_reload),
    Route("GET", "/healthz", Api.get_health),
    Route("GET", "/readyz", Api.get_health),
    Route("GET", "/metrics", Api.get_metrics),
    Route("GET", "/openapi.json", Api.get_document),
)
_BY_PATH: dict[str, dict[str, Route]] = {}
for _route in ROUTES:
    _BY_PATH.setdefault(_route.path, {})[_route.method] = _route


class MethodNotAllowedError(RequestError):
    """The path is known, the method is not for it; `allowed` are those that are."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("method-not-allowed", f"this path takes {', '.join(allowed)}")
        self.allowed = allowed


def find(method: str, path: str) -> tuple[Callable[[Api, Call], Awaitable[web.StreamResponse]], str]:
    """What answers there, and the path's `{name}`. Raises RequestError not-found or method-not-allowed."""
    methods, name = _BY_PATH.get(path), ""
    if methods is None:
        parent, _, name = path.rpartition("/")
        methods = _BY_PATH.get(parent + "/{name}") if name else None
    if methods is None:
        raise RequestError("not-found", "there is nothing at this path; /openapi.json describes what there is")
    route = methods.get("GET" if method == "HEAD" else method)  # aiohttp leaves the body of an answer to HEAD out
    if route is None:
        raise MethodNotAllowedError(tuple(methods) + (("HEAD",) if "GET" in methods else ()))
    return route.respond, name


def _unknown(gateway: str, allowed: Iterable[str]) -> RequestError:
    """There is no such gateway; the caller may get to know those that are `allowed`."""
    near = difflib.get_close_matches(gateway[:64], allowed, n=1)
    hint = f": did you mean `{near[0]}`?" if near else ""
    return RequestError("unknown-gateway", f"there is no gateway{quotable(gateway) or ' of this name'}{hint}")


def _idempotency_key(request: web.BaseRequest) -> str | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if len(keys) > 1:
        raise RequestError("malformed-request", "there is more than one Idempotency-Key")
    return check_key(keys[0]) if keys else None


def _line_key(line: dict[str, Any]) -> str | None:
    """The key in a line of a stream, taken out of it."""
    if "idempotency_key" not in line:
        return None
    key = line.pop("idempotency_key")
    if not isinstance(key, str):
        raise RequestError("malformed-request", "'idempotency_key' has to be a string")
    return check_key(key)
