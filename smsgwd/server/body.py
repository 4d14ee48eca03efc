"""Reading a body: bounded, and JSON as RFC 8259 has it, without the liberties that Python's reader takes."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from smsgwd.errors import RequestError
from smsgwd.server.connection import Connection
from smsgwd.server.problems import JSON

MAX_BODY = 64 * 1024  # octets
UNFRAMED = (HttpProcessingError, RequestPayloadError)  # how aiohttp tells a body with broken chunks
FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000  # of a form
MAX_SHOWN_KEY = 64  # characters of a key that an answer repeats


class TooLargeError(RequestError):
    """More octets than are taken."""

    def __init__(self, most: int = MAX_BODY) -> None:
        super().__init__("too-large", f"a body has at most {most} octets")


async def read_body(request: web.BaseRequest, content_type: str) -> bytes:
    """The whole body, of that content type.

    Raises RequestError unsupported-media-type, too-large, malformed-request.
    """
    check_kind(request, content_type)
    return await read_octets(request)


async def read_octets(request: web.BaseRequest, most: int = MAX_BODY) -> bytes:
    """The whole body, of whatever type. Raises RequestError unsupported-media-type, too-large, malformed-request."""
    check_encoding(request)
    if (request.content_length or 0) > most:
        raise TooLargeError(most)
    await invite(request)
    body = bytearray()
    try:
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > most:
                raise TooLargeError(most)
    except UNFRAMED:
        raise _malformed("the body's framing is broken") from None
    if isinstance(request.protocol, Connection):
        request.protocol.request_is_read()
    return bytes(body)


async def read_json(request: web.BaseRequest) -> dict[str, Any]:
    """The JSON object in the body. Raises RequestError, as `read_body` and `parse_object`."""
    return parse_object(await read_body(request, JSON))


async def read_parameters(request: web.BaseRequest) -> dict[str, Any]:
    """The members of a form or of a JSON object, as privacyIDEA's clients send them. Raises RequestError, as above."""
    if request.content_type.lower() == FORM:
        return parse_form(await read_body(request, FORM))
    if request.content_type.lower() == JSON:
        return await read_json(request)
    raise RequestError("unsupported-media-type", f"send the body as {FORM} or {JSON}")


def parse_form(data: bytes) -> dict[str, str]:
    """The fields of a form in UTF-8. Raises RequestError malformed-request; never repeats what is in it."""
    try:
        fields = parse_qsl(data.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeDecodeError:
        raise _malformed("the form is not UTF-8") from None
    except ValueError:
        raise _malformed(f"the form has more than {_MOST_FIELDS} fields") from None
    if len(dict(fields)) < len(fields):
        raise _malformed("a field of the form is there twice")
    return dict(fields)


def check_kind(request: web.BaseRequest, content_type: str) -> None:
    """Raises RequestError unsupported-media-type for a body of another type, charset or encoding."""
    given, charset = request.content_type.lower(), (request.charset or "utf-8").lower()
    if hdrs.CONTENT_TYPE not in request.headers or given != content_type or charset not in ("utf-8", "utf8"):
        raise RequestError("unsupported-media-type", f"send the body as UTF-8 with Content-Type: {content_type}")
    check_encoding(request)


def check_encoding(request: web.BaseRequest) -> None:
    """Raises RequestError unsupported-media-type for a body that is compressed."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise RequestError("unsupported-media-type", "send the body without Content-Encoding")


async def invite(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110, 10.1.1: Expect: 100-continue)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer itself has left


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in these octets (UTF-8, a byte order mark is allowed).

    Raises RequestError malformed-request for anything else, also for duplicate keys, NaN, lone surrogates and a depth
    bomb; never repeats what is in it but the names of keys.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _malformed(f"the body is not UTF-8 (octet {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise _malformed("the body is not JSON that anybody needs: nested too deeply") from None
    except ValueError:  # an integer of thousands of digits
        raise _malformed("the body holds a number that is too long") from None
    if not isinstance(value, dict):
        raise _malformed("the body is not a JSON object")
    return value


def _malformed(detail: str) -> RequestError:
    return RequestError("malformed-request", detail)


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _malformed(f"the key {shown(key)} is there twice")
        members[key] = value
    return members


def _constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def shown(key: str) -> str:
    """A caller's key as an answer may repeat it: short, and without control characters."""
    return ascii(key if len(key) <= MAX_SHOWN_KEY else key[: MAX_SHOWN_KEY - 1] + "…")
