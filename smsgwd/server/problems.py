"""Answers: JSON where all is well, a problem document (RFC 9457) for all else."""

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from smsgwd.errors import RequestError
from smsgwd.outcome import Kind, Outcome

JSON = "application/json"
PROBLEM = "application/problem+json"
_URN = "urn:smsgwd:problem:"

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed-request": (400, "The request is malformed"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "The caller may not do this"),
    "unknown-gateway": (404, "There is no such gateway"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This method is not for this path"),
    "read-only": (409, "The configuration is read-only"),
    "lossy-overwrite": (409, "This would lose what the file says"),
    "ambiguous-id": (409, "More than one gateway has this id"),
    "conflict": (412, "It has changed meanwhile"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body is of a kind that is not understood"),
    "invalid-config": (422, "The configuration is not valid"),
    "idempotency-mismatch": (422, "The Idempotency-Key was used with another body"),
    "audit-unavailable": (503, "It cannot be written down who did it"),
    "not-written": (503, "The configuration could not be written"),
    "gateway-unavailable": (503, "The gateway cannot send"),
    "storage-unavailable": (503, "The storage of one-time passwords cannot be asked"),
    "overloaded": (503, "Too much is going on"),
    "internal": (500, "Something unforeseen went wrong"),
}
_OUTCOMES: Mapping[Kind, str] = {
    Kind.REJECTED: "The message was refused",
    Kind.UNSENT: "Nobody took the message",
    Kind.UNKNOWN: "Someone may have taken the message",
}
_HEADERS: Mapping[str, Mapping[str, str]] = {
    "overloaded": {"Retry-After": "1"},
    "storage-unavailable": {"Retry-After": "1"},
    "unauthorized": {"WWW-Authenticate": "Bearer"},  # RFC 9110, 15.5.2: a 401 says what would be taken
}


class MissingTokenError(RequestError):
    """A call that needs a token came without one: `unauthorized`, as with a wrong one, but told apart by its detail."""

    def __init__(self) -> None:
        super().__init__("unauthorized", "this needs a token: send it as `Authorization: Bearer TOKEN`")


def answer(
    value: Any, *, status: int = 200, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer with this JSON value."""
    return web.Response(body=as_octets(value), status=status, content_type=content_type, headers=_own(headers))


def as_octets(value: Any) -> bytes:
    """The value as one line of JSON. A lone surrogate cannot be UTF-8: it is escaped, as JSON can."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def begun_answer(content_type: str) -> web.StreamResponse:
    """An answer whose body is written bit by bit."""
    return web.StreamResponse(headers=_own({"Content-Type": content_type}))


def plain(body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is no JSON; `content_type` with its parameters."""
    return web.Response(body=body, headers=_own({"Content-Type": content_type, **(headers or {})}))


def _own(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {"Server": "smsgwd", **(headers or {})}  # without it the library tells its version and Python's


def document(code: str, detail: str, members: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The problem document of one of the codes of the API."""
    status, title = PROBLEMS[code]
    return {"type": _URN + code, "title": title, "status": status, "detail": detail, **(members or {})}


def problem(error: RequestError, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that refuses a request."""
    content = document(error.code, error.detail, error.members)
    return answer(content, status=content["status"], content_type=PROBLEM, headers=headers_of(error, headers))


def headers_of(error: RequestError, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of an answer that refuses, and these."""
    return {**_HEADERS.get(error.code, {}), **(headers or {})}


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the API answers it: alone when accepted, else as a problem document."""
    if outcome.kind is Kind.ACCEPTED:
        return outcome.as_dict()
    head = {"type": _URN + str(outcome.kind), "title": _OUTCOMES[outcome.kind], "status": outcome.http_status}
    return {**head, **outcome.as_dict()}


def outcome_answer(outcome: Outcome, *, replayed: bool = False) -> web.Response:
    """The answer that carries an outcome; `unsent` says when to come again, a repeated one that it is."""
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    if outcome.kind is Kind.ACCEPTED:
        return answer(outcome_document(outcome), headers=headers)
    if outcome.kind is Kind.UNSENT:
        headers["Retry-After"] = str(max(1, math.ceil(outcome.retry_after_s or 0)))
    return answer(outcome_document(outcome), status=outcome.http_status, content_type=PROBLEM, headers=headers)
