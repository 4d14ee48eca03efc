import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from served import serving
from socket_client import JSON, Response, call, connected, raw, read_response, request

from smsgwd.errors import RequestError
from smsgwd.server.body import parse_object
from smsgwd.server.messages import read_message

MESSAGE = {"gateway": "gated", "to": "+491701234567", "text": "hi"}
GOOD = json.dumps(MESSAGE).encode()
CHUNKED = (
    b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def posted(folder: Path, body: Any, headers: dict[str, str] | None = None) -> Response:
    """The answer to this body at /v1/messages."""

    async def scenario() -> Response:
        async with serving(folder) as served:
            return await call(served.path, "POST", "/v1/messages", body, headers)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON: Expecting value (line 1, column 1)"),
        (b"{", "the body is not JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
        (b"{} {}", "the body is not JSON: Extra data (line 1, column 4)"),
        (b"[]", "the body is not a JSON object"),
        (b'"text"', "the body is not a JSON object"),
        (b"null", "the body is not a JSON object"),
        (b'{"a":1,"a":2}', "the key 'a' is there twice"),
        (b'{"vars":{"a":"1","a":"1"}}', "the key 'a' is there twice"),
        (b'{"text":NaN}', "NaN is not JSON"),
        (b'{"text":-Infinity}', "-Infinity is not JSON"),
        (b"\xff\xfe{\x00}\x00", "the body is not UTF-8 (octet 1)"),
        (b'{"text":"\xe4"}', "the body is not UTF-8 (octet 10)"),
        (b"[" * 10_000 + b"]" * 10_000, "the body is not JSON that anybody needs: nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "the body is not JSON that anybody needs: nested too deeply"),
        (b'{"text":' + b"9" * 5000 + b"}", "the body holds a number that is too long"),
        (b'{"text":"a\nb"}', "the body is not JSON: Invalid control character at (line 1, column 11)"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_no_json_object_is_malformed(body: bytes, detail: str) -> None:
    """JSON is read as RFC 8259 has it; the answer says where it went wrong."""
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert (caught.value.code, caught.value.detail) == ("malformed-request", detail)


def test_a_byte_order_mark_is_allowed() -> None:
    """Editors of Windows write one, RFC 8259 lets a reader ignore it."""
    assert parse_object(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"gateway": None}, "'gateway' has to be a string"),
        ({"to": 491701234567}, "'to' has to be a string"),
        ({"text": ["hi"]}, "'text' has to be a string"),
        ({"text": None}, "'text' has to be a string"),
        ({"sender": 1.5}, "'sender' has to be a string"),
        ({"reference": True}, "'reference' has to be a string"),
        ({"deadline": 30}, "'deadline' has to be a string"),
        ({"deadline": "30"}, "'deadline': a duration is a whole number and a unit: 500ms, 3s, 2m or 1h"),
        ({"deadline": "0s"}, "'deadline': a duration of zero is not possible: give at least 1ms"),
        ({"deadline": "-1s"}, "'deadline': a duration is a whole number and a unit: 500ms, 3s, 2m or 1h"),
        ({"gatewy": "x"}, "unknown key 'gatewy' (did you mean 'gateway'?)"),
        (
            {"x\x1b[31m": "x"},
            "unknown key 'x\\x1b[31m' (known: deadline, gateway, reference, sender, template, text, to, vars)",
        ),
        ({"template": "login"}, "exactly one of 'text' and 'template' is needed"),
        ({"vars": {}}, "'vars' goes with 'template'"),
        ({"text": "half \ud83d"}, "'text' holds half of a character (a lone surrogate)"),
        ({"gateway": "\udc00"}, "'gateway' holds half of a character (a lone surrogate)"),
    ],
)
def test_what_is_no_message_is_malformed(members: dict[str, Any], detail: str) -> None:
    """Wrong types, unknown keys and wrong combinations are told by key, with the nearest name, and never by value."""
    with pytest.raises(RequestError) as caught:
        read_message({**MESSAGE, **members})
    assert (caught.value.code, caught.value.detail) == ("malformed-request", detail)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "the key 'gateway' is missing"),
        ({"gateway": "g", "text": "hi"}, "the key 'to' is missing"),
        ({"gateway": "g", "to": "1"}, "exactly one of 'text' and 'template' is needed"),
        ({"gateway": "g", "to": "1", "template": "t", "vars": []}, "'vars' has to be an object"),
        ({"gateway": "g", "to": "1", "template": "t", "vars": {"code": 123456}}, "'vars.code' has to be a string"),
        (
            {"gateway": "g", "to": "1", "template": "t", "vars": {"code": "\ud83d"}},
            "'vars.code' holds half of a character (a lone surrogate)",
        ),
    ],
)
def test_a_message_that_lacks_something_is_malformed(body: dict[str, Any], detail: str) -> None:
    """Missing keys and variables that are no strings are told by name."""
    with pytest.raises(RequestError) as caught:
        read_message(body)
    assert caught.value.detail == detail


def test_a_whole_message_is_read() -> None:
    """Every key arrives; the deadline in seconds."""
    body = {
        "gateway": "g",
        "to": "1",
        "template": "t",
        "vars": {"code": "😀"},
        "sender": "ACME",
        "reference": "r",
        "deadline": "500ms",
    }
    read = read_message(body)
    assert (read.gateway, read.to, read.text, read.template) == ("g", "1", None, "t")
    assert (read.vars, read.sender, read.reference, read.deadline_s) == ({"code": "😀"}, "ACME", "r", 0.5)


def test_a_depth_bomb_is_answered(tmp_path: Path) -> None:
    """10,000 levels are 400, over the socket as well."""
    response = posted(tmp_path, b'{"vars":' * 10_000)
    assert (response.status, response.type) == (413 if len(b'{"vars":' * 10_000) > 65_536 else 400, "too-large")
    assert posted(tmp_path, b"[" * 10_000).type == "malformed-request"


def test_a_key_with_half_a_character_is_answered(tmp_path: Path) -> None:
    """What cannot be written as UTF-8 is escaped in the answer."""
    response = posted(tmp_path, b'{"\\ud800":1}')
    assert (response.status, response.type) == (400, "malformed-request")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_other_content_types_are_unsupported(tmp_path: Path, headers: dict[str, str]) -> None:
    """415 says which type to send; a compressed body is not unpacked."""
    response = posted(tmp_path, GOOD, headers)
    assert (response.status, response.type) == (415, "unsupported-media-type")


def test_a_missing_content_type_is_unsupported(tmp_path: Path) -> None:
    """The content type is never guessed."""

    async def scenario() -> Response:
        async with serving(tmp_path) as served:
            return await raw(served.path, request("POST", "/v1/messages", GOOD))

    assert asyncio.run(scenario()).status == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])
def test_json_in_utf_8_is_taken(tmp_path: Path, kind: str) -> None:
    """A charset of UTF-8 may be said, and case does not matter."""
    assert posted(tmp_path, GOOD, {"Content-Type": kind}).status == 200


def test_a_packed_body_is_never_unpacked(tmp_path: Path) -> None:
    """A small body that unpacks to 64 MiB is refused before that."""
    packed = gzip.compress(b" " * (64 << 20))
    assert len(packed) < 65_536 * 2
    assert posted(tmp_path, packed[:60_000], {"Content-Encoding": "gzip"}).status == 415


@pytest.mark.parametrize(("octets", "status"), [(65_536, 200), (65_537, 413)])
def test_a_body_has_64_kib_at_most(tmp_path: Path, octets: int, status: int) -> None:
    """The limit is exact; blanks in the JSON count."""
    assert posted(tmp_path, GOOD + b" " * (octets - len(GOOD))).status == status


@pytest.mark.parametrize(("octets", "status"), [(65_536, 200), (65_537, 413), (10_000_000, 413)])
def test_a_body_without_length_has_64_kib_at_most(tmp_path: Path, octets: int, status: int) -> None:
    """Chunks are counted, and what comes beyond is not read for long."""

    async def scenario() -> Response:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            writer.write(CHUNKED)
            body = GOOD + b" " * (octets - len(GOOD))
            for start in range(0, octets, 10_000):
                chunk = body[start : start + 10_000]
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            writer.write(b"0\r\n\r\n")
            return await read_response(reader)

    assert asyncio.run(scenario()).status == status


def test_a_client_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    """Expect: 100-continue, as curl sends it, is answered at once; for a body that is too large the answer is 413."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            head = request("POST", "/v1/messages", GOOD, {**JSON, "Expect": "100-continue"}).removesuffix(GOOD)
            writer.write(head)
            async with asyncio.timeout(5):
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(GOOD)
            assert (await read_response(reader)).status == 200
        async with serving(tmp_path) as served:
            too_much = {**JSON, "Expect": "100-continue", "Content-Length": "70000"}
            assert (await raw(served.path, request("POST", "/v1/messages", b"", too_much))).status == 413

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        CHUNKED + b"xyz\r\n",
    ],
    ids=["tls", "words", "short", "no colon", "field", "target", "fields", "length", "lengths", "smuggle", "chunk"],
)
def test_what_is_no_http_is_answered_quietly(tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A problem document, a closed connection, and no word in the log, which anybody could fill."""

    async def scenario() -> Response:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            writer.write(octets)
            response = await read_response(reader)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            return response

    response = asyncio.run(scenario())
    assert (response.status, response.type) == (400, "malformed-request")
    assert response.headers["content-type"] == "application/problem+json"
    assert caplog.records == []
