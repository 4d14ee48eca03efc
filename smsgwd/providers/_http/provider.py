"""What every provider over HTTP does with its request: fill it in, show it, exchange it for an answer."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from smsgwd.errors import MessageError
from smsgwd.message import Message
from smsgwd.outcome import Outcome, Reason
from smsgwd.providers import _http
from smsgwd.providers._base import Bench, Prepared, Provider
from smsgwd.providers._http.judge import HttpReply
from smsgwd.providers._http.parts import Body, Headers, Names, Part, as_object
from smsgwd.providers._http.wire import Endpoint, Engine, WireRequest, WireResponse
from smsgwd.units import Deadline


@dataclass(frozen=True, slots=True)
class HttpPrepared(Prepared):
    """A request with its blanks filled in."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Form:
    """A request with its blanks still to be filled in."""

    method: str
    target: Part[str]
    query: Part[str]
    headers: Part[Headers]
    body: Body | None

    def fill(self, names: Names) -> WireRequest:
        """The request for one message. Raises MessageError."""
        body = self.body.part.fill(names) if self.body else b""
        headers = self.headers.fill(names)
        if self.body or self.method != "GET":
            headers = (*headers, ("Content-Length", b"%d" % len(body)))
        return WireRequest(self.method, self._target(names), headers, body)

    def _target(self, names: Names) -> str:
        path, query = self.target.fill(names), self.query.fill(names)
        return path + ("&" if "?" in path else "?") + query if query else path

    def text(self, names: Names, message: str) -> str:
        """What the recipient reads: the leaf that holds the message when there is just one, else the message."""
        parts: list[Part[Any]] = [self.target, self.query, self.headers]
        parts += [self.body.part] if self.body else []
        leaves = [leaf for part in parts for leaf in part.read(names)]
        return leaves[0] if len(leaves) == 1 else message


class HttpProvider(Provider[HttpPrepared, HttpReply]):
    """A gateway to one HTTP API. `judge` says what an answer means; `engine` is what `_http.make_engine` takes."""

    depends: ClassVar[tuple[str, ...]] = ("http_engine",)

    def __init__(self, form: Form, endpoint: Endpoint, judge: Callable[[HttpReply], Outcome], engine: str) -> None:
        self._form, self._endpoint, self._judge = form, endpoint, judge
        self._choice = engine
        self._engine: Engine | None = None

    def render(self, message: Message) -> HttpPrepared:
        """Fill in the blanks. Raises MessageError for what cannot be carried."""
        names = message.names()
        _check_unicode(names.values())
        return HttpPrepared(self._form.text(names, message.text), self._form.fill(names))

    def describe(self, prepared: HttpPrepared) -> dict[str, Any]:
        """The request, read back from what goes over the wire."""
        request, body = prepared.request, self._form.body
        path, _, query = request.target.partition("?")
        return {
            "method": request.method,
            "url": self._endpoint.origin + path,
            "query": as_object(query),
            "headers": {name: value.decode() for name, value in request.headers},
            "body": body.show(request.body) if body else None,
        }

    async def start(self) -> None:
        """Load the engine's library, so that the first message need not wait for it."""
        self._open()

    async def submit(self, prepared: HttpPrepared, deadline: Deadline) -> HttpReply:
        """Send it, once. Raises SubmitError when there is no answer."""
        response = await self._open().exchange(prepared.request, deadline)
        return HttpReply(response, time.time())

    def interpret(self, reply: HttpReply) -> Outcome:
        """What the answer means."""
        return self._judge(reply)

    def reply_of(self, prepared: HttpPrepared, told: Mapping[str, Any]) -> HttpReply:  # noqa: ARG002 - answers all alike
        """An answer of that status with these header fields and this body; what is no text is JSON."""
        body = told.get("body", "")
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        headers = tuple(told.get("headers", {}).items())
        return HttpReply(WireResponse(told["status"], headers, text.encode()), time.time())

    async def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            await self._engine.close()

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = _http.make_engine(self._endpoint, self._choice)
        return self._engine


def _check_unicode(texts: Iterable[str]) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise MessageError(Reason.CONTENT, "the text holds half of a surrogate pair, which is no character") from None


def check_engine(bench: Bench) -> None:
    """Report an engine that smsgwd.yaml asks for and that is not installed."""
    if not _http.available(bench.site.http_engine):
        words = "smsgwd.yaml asks for the engine httptools, which is not installed"
        bench.problem(("provider",), "missing-package", words, "pip install 'smsgwd[fast]'")
