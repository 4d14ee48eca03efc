"""Messages: sent one by one or as a stream, or only shown."""

from typing import Any, ClassVar

from aiohttp import web

from smsgwd import sender
from smsgwd.caller import Caller
from smsgwd.errors import MessageError, RequestError
from smsgwd.idempotency import check_key
from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Outcome
from smsgwd.registry import digest_of
from smsgwd.server.access import SEND
from smsgwd.server.body import check_kind, read_json
from smsgwd.server.messages import read_message
from smsgwd.server.problems import answer, outcome_answer, outcome_document
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services
from smsgwd.server.stream import NDJSON, Stream


class Messages:
    """Sends messages."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._streams: set[Stream] = set()

    def end_streams(self) -> None:
        """Read no further lines of the streams that run."""
        for stream in self._streams:
            stream.stop()

    async def post_message(self, call: Call) -> web.StreamResponse:
        """Send one message, or a stream of them; the answer carries its outcome."""
        if call.request.content_type == NDJSON:
            return await self._stream(call)
        key = idempotency_key(call.request)
        outcome, replayed = await self._once(call.caller, await read_json(call.request), key)
        return outcome_answer(outcome, replayed=replayed)

    async def _once(self, caller: Caller, body: dict[str, Any], key: str | None) -> tuple[Outcome, bool]:
        """The outcome of the message in a body; True where it was sent before, under the same key."""
        with self._services.telling(caller, SEND, body.get("gateway")):
            message = self._permitted(caller, body)
            digest = "" if key is None else digest_of(body)
            return await self._services.sends.once(message, caller.name, key, digest)

    async def _stream(self, call: Call) -> web.StreamResponse:
        check_kind(call.request, NDJSON)
        if "Idempotency-Key" in call.request.headers:
            detail = "an Idempotency-Key is for one message: in a stream give each line its own 'idempotency_key'"
            raise RequestError("malformed-request", detail)

        async def send(body: dict[str, Any]) -> dict[str, Any]:
            key = _line_key(body)
            outcome, _ = await self._once(self._who(call), body, key)
            return outcome_document(outcome)

        def refused(error: RequestError) -> None:
            self._services.refusals.note(error, self._who(call))

        stream = Stream(call.request, call.connection, send, refused)
        self._streams.add(stream)
        try:
            return await stream.run()
        finally:
            self._streams.discard(stream)

    def _who(self, call: Call) -> Caller:
        """Who calls, asked for each line anew: a token that is taken away ends what a stream may do."""
        return self._services.who(call.request, call.connection.caller or call.caller)

    async def post_render(self, call: Call) -> web.Response:
        """What would be sent, without sending."""
        body = await read_json(call.request)
        with self._services.telling(call.caller, SEND, body.get("gateway")):
            message = self._permitted(call.caller, body)
            try:
                return answer(sender.render(self._services.registry, message))
            except MessageError as error:
                return outcome_answer(self._refused(message, error))

    def _permitted(self, caller: Caller, body: dict[str, Any]) -> SendRequest:
        """The message, when the caller may use its gateway; asked before it is said whether there is such a gateway."""
        message = read_message(body)
        return self._services.access.permitted(caller, SEND, message)

    def _refused(self, message: SendRequest, error: MessageError) -> Outcome:
        gateway = self._services.registry.renderable(message.gateway)
        return Outcome(
            Kind.REJECTED,
            error.reason,
            detail=error.detail,
            gateway=gateway.name,
            provider=gateway.provider_name,
            reference=message.reference,
            digest=self._services.registry.digest,
        )

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/messages", post_message),
        Route("POST", "/v1/render", post_render),
    )


def idempotency_key(request: web.BaseRequest) -> str | None:
    """The key in the header. Raises RequestError malformed-request."""
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
