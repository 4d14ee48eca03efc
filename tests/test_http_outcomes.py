"""Which answer becomes which outcome: the table of the provider http, on both engines, against a real server."""

import asyncio
import gzip
import zlib
from email.utils import formatdate
from typing import Any

import pytest
from fake_http import ENGINES, Line, RawServer, Script, answers, free_port, http, once
from http_gateway import Http

from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._http.judge import HttpReply, read_judge
from smsgwd.providers._http.wire import WireResponse

ACCEPTED, REJECTED, UNSENT, UNKNOWN = Kind.ACCEPTED, Kind.REJECTED, Kind.UNSENT, Kind.UNKNOWN
AUTH, CONFIG, PROVIDER, THROTTLED, TIMEOUT = (
    Reason.AUTH,
    Reason.CONFIG,
    Reason.PROVIDER,
    Reason.THROTTLED,
    Reason.TIMEOUT,
)
Rules = dict[str, Any]


def hangs_up(line: Line) -> None:
    line.read()
    line.reset()


def silent(line: Line) -> None:
    line.read()
    line.silence()


def floods(line: Line) -> None:
    line.read()
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        line.send(b"ok queued\n" * 10_000)


# What the server does, the rules of the gateway file, the outcome, and why it is that one.
TABLE: dict[str, tuple[Script, Rules, Kind, Reason | None]] = {
    # its answer is a plain success
    "200": (answers(http(200, b"ID: 7")), {}, ACCEPTED, None),
    "201": (answers(http(201)), {}, ACCEPTED, None),
    "202": (answers(http(202)), {}, ACCEPTED, None),
    # a status that nobody has called a success: it may have been taken
    "204": (answers(http(204)), {}, UNKNOWN, PROVIDER),
    "204 called a success": (answers(http(204)), {"success": {"status": [204]}}, ACCEPTED, None),
    "206": (answers(http(206)), {}, UNKNOWN, PROVIDER),
    "200, but only 201 is a success": (answers(http(200)), {"success": {"status": [201]}}, UNKNOWN, PROVIDER),
    # success text
    "success text": (answers(http(200, b"ID: 7")), {"success": {"contains": "ID"}}, ACCEPTED, None),
    "no success text": (answers(http(200, b"ERR 7")), {"success": {"contains": "ID"}}, REJECTED, PROVIDER),
    "success text with a 500": (answers(http(500, b"ID: 7")), {"success": {"contains": "ID"}}, UNKNOWN, PROVIDER),
    "success pattern": (answers(http(200, b"ID: 7")), {"success": {"matches": "^ID: "}}, ACCEPTED, None),
    "no success pattern": (answers(http(200, b"x ID: 7")), {"success": {"matches": "^ID: "}}, REJECTED, PROVIDER),
    # failure is looked at before success
    "failure text": (answers(http(200, b"REJECTED")), {"failure": {"contains": "REJECTED"}}, REJECTED, PROVIDER),
    "failure before success": (
        answers(http(200, b"queued REJECTED")),
        {"failure": {"contains": "REJECTED"}, "success": {"contains": "queued"}},
        REJECTED,
        PROVIDER,
    ),
    "failure status": (answers(http(500)), {"failure": {"status": [500]}}, REJECTED, PROVIDER),
    "both keys must hold": (
        answers(http(200, b"no")),
        {"failure": {"status": [400], "contains": "no"}},
        ACCEPTED,
        None,
    ),
    # not_sent is looked at before both
    "not_sent": (
        answers(http(200, b"queue full")),
        {"not_sent": {"contains": "full"}, "failure": {"contains": "full"}, "success": {"contains": "full"}},
        UNSENT,
        THROTTLED,
    ),
    "not_sent status": (answers(http(500)), {"not_sent": {"status": [500]}}, UNSENT, THROTTLED),
    "not_sent 503": (answers(http(503)), {"not_sent": {"status": [503]}}, UNSENT, THROTTLED),
    # the gateway's fault: nobody took it
    "401": (answers(http(401)), {}, UNSENT, AUTH),
    "402": (answers(http(402)), {}, UNSENT, PROVIDER),
    "403": (answers(http(403)), {}, UNSENT, AUTH),
    "404": (answers(http(404)), {}, UNSENT, CONFIG),
    "405": (answers(http(405)), {}, UNSENT, CONFIG),
    "301": (answers(http(301, b"", b"Location: /elsewhere")), {}, UNSENT, CONFIG),
    "302": (answers(http(302, b"", b"Location: /elsewhere")), {}, UNSENT, CONFIG),
    "304": (answers(http(304)), {}, UNSENT, CONFIG),
    # busy: nobody took it
    "408": (answers(http(408)), {}, UNSENT, TIMEOUT),
    "429": (answers(http(429)), {}, UNSENT, THROTTLED),
    "503 that asks to come back": (answers(http(503, b"", b"Retry-After: 1")), {}, UNSENT, THROTTLED),
    # the message's fault
    "400": (answers(http(400)), {}, REJECTED, PROVIDER),
    "407 without a proxy": (answers(http(407)), {}, REJECTED, PROVIDER),
    "413": (answers(http(413)), {}, REJECTED, PROVIDER),
    "422": (answers(http(422)), {}, REJECTED, PROVIDER),
    # anything may have happened
    "500": (answers(http(500)), {}, UNKNOWN, PROVIDER),
    "502": (answers(http(502)), {}, UNKNOWN, PROVIDER),
    "503": (answers(http(503)), {}, UNKNOWN, PROVIDER),
    "504": (answers(http(504)), {}, UNKNOWN, PROVIDER),
    "a status of no class": (answers(http(999)), {}, UNKNOWN, PROVIDER),
    "an upgrade": (once(b"HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n"), {}, UNKNOWN, PROVIDER),
    "garbage": (once(b"\xff\x00garbage\r\n\r\n"), {}, UNKNOWN, PROVIDER),
    "closed after the request": (once(), {}, UNKNOWN, PROVIDER),
    "reset after the request": (hangs_up, {}, UNKNOWN, PROVIDER),
    "silence": (silent, {"timeout": {"total": "300ms"}}, UNKNOWN, TIMEOUT),
    # a body beyond 64 KiB is cut: what had to be beyond the cut is unknown
    "10 GB, status alone": (floods, {}, ACCEPTED, None),
    "10 GB, the text comes early": (floods, {"success": {"contains": "queued"}}, ACCEPTED, None),
    "10 GB, the text does not come": (floods, {"success": {"contains": "ID:"}}, UNKNOWN, PROVIDER),
    "10 GB, no failure so far": (floods, {"failure": {"contains": "REJECTED"}}, UNKNOWN, PROVIDER),
    "10 GB, no pattern so far": (floods, {"success": {"matches": "ID: [0-9]"}}, UNKNOWN, PROVIDER),
    "10 GB of no JSON": (floods, {"success": {"json": {"pointer": "/ok", "in": ["1"]}}}, UNKNOWN, PROVIDER),
    "10 GB, another status": (floods, {"failure": {"status": [400], "contains": "REJECTED"}}, ACCEPTED, None),
    # bodies as servers write them
    "Latin-1": (
        answers(http(200, "überstellt".encode("latin-1"))),
        {"success": {"contains": "überstellt"}},
        ACCEPTED,
        None,
    ),
    "declared UTF-16": (
        answers(http(200, "ü ok".encode("utf-16"), b"Content-Type: text/plain; charset=UTF-16")),
        {"success": {"contains": "ü ok"}},
        ACCEPTED,
        None,
    ),
    "a byte order mark": (answers(http(200, b"\xef\xbb\xbfID: 1")), {"success": {"matches": "^ID: "}}, ACCEPTED, None),
    "gzip that nobody asked for": (
        answers(http(200, gzip.compress(b"ID: 1"), b"Content-Encoding: gzip")),
        {"success": {"contains": "ID: 1"}},
        ACCEPTED,
        None,
    ),
    "deflate that nobody asked for": (
        answers(http(200, zlib.compress(b"ID: 1"), b"Content-Encoding: deflate")),
        {"success": {"contains": "ID: 1"}},
        ACCEPTED,
        None,
    ),
    "a gzip bomb": (
        answers(http(200, gzip.compress(bytes(10_000_000)), b"Content-Encoding: gzip")),
        {"success": {"contains": "ID: 1"}},
        UNKNOWN,
        PROVIDER,
    ),
    "broken gzip": (
        answers(http(200, b"no gzip", b"Content-Encoding: gzip")),
        {"success": {"contains": "ID: 1"}},
        UNKNOWN,
        PROVIDER,
    ),
    "a compression that we do not know": (
        answers(http(200, b"...", b"Content-Encoding: br")),
        {"success": {"contains": "ID: 1"}},
        UNKNOWN,
        PROVIDER,
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", TABLE)
def test_the_table_of_outcomes(engine: str, case: str) -> None:
    """Each answer gives the outcome of the table, and the request is sent once."""
    script, rules, kind, reason = TABLE[case]
    with RawServer(script) as server:
        outcome = asyncio.run(Http(server, engine=engine).send({"query": {"to": "{{ phone }}"}, **rules}))
        assert (outcome.kind, outcome.reason) == (kind, reason), outcome.detail
        assert (len(server.requests), server.connections) == (1, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_connection_is_unsent(engine: str) -> None:
    """Where nobody listens nobody took it, and trying again is sensible."""
    with RawServer(once()) as server:
        url = f"http://127.0.0.1:{free_port()}/"
        outcome = asyncio.run(Http(server, engine=engine).send({"url": url}))
    assert (outcome.kind, outcome.reason, outcome.retryable) == (UNSENT, Reason.UNREACHABLE, True)


def judged(response: WireResponse, rules: Rules | None = None, *, proxied: bool = False, at: float = 0.0) -> Outcome:
    """The outcome of an answer, without a server."""
    reply = HttpReply(response, at)
    if proxied:
        return read_judge(NO_BENCH, rules or {}, proxied=True).outcome(reply)
    with RawServer(once()) as server:
        return Http(server).gateway({**(rules or {})}).provider.interpret(reply)


NO_BENCH: Any = None  # rules without a fault never ask it


@pytest.mark.parametrize(
    ("status", "again"),
    [(401, False), (402, False), (403, False), (404, False), (405, False), (302, False), (408, True), (429, True)],
)
def test_what_is_the_gateways_fault_is_not_tried_again(status: int, again: bool) -> None:
    """Refused credentials and wrong URLs are not tried again by themselves, a busy provider is."""
    assert judged(WireResponse(status)).retryable is again


def test_not_sent_may_be_tried_again() -> None:
    """What the file calls not sent may be tried again, whatever the status usually means."""
    outcome = judged(WireResponse(403), {"not_sent": {"status": [403]}})
    assert (outcome.kind, outcome.reason, outcome.retryable) == (UNSENT, THROTTLED, True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (formatdate(1_000_090, usegmt=True), 90.0),
        (formatdate(999_000, usegmt=True), 0.0),
        ("Thu, 99 Foo 1970", None),
        ("soon", None),
        ("", None),
        ("-3", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Retry-After is read as seconds or as a date; what is neither is no time."""
    outcome = judged(WireResponse(429, (("Retry-After", value),)), at=1_000_000.0)
    assert (outcome.kind, outcome.retry_after_s) == (UNSENT, seconds)


def test_retry_after_counts_for_unsent_alone() -> None:
    """A 500 with Retry-After stays unknown and asks for nothing."""
    outcome = judged(WireResponse(500, (("Retry-After", "7"),)))
    assert (outcome.kind, outcome.retry_after_s) == (UNKNOWN, None)


def test_a_proxy_that_wants_other_credentials() -> None:
    """With a proxy in the way a 407 is the proxy's word: nobody took it."""
    outcome = judged(WireResponse(407), proxied=True)
    assert (outcome.kind, outcome.reason, outcome.retryable) == (UNSENT, AUTH, False)


JSON = (
    b'{"status": 0, "ok": true, "f": 1.50, "n": null, "big": 12345678901234567890, "a/b": {"~": ["x", "y"]}, "": "e"}'
)


@pytest.mark.parametrize(
    ("pointer", "wanted", "holds"),
    [
        ("/status", ["0"], True),
        ("/status", ["1", "2"], False),
        ("/ok", ["true"], True),
        ("/ok", ["1", "True"], False),
        ("/f", ["1.50"], True),
        ("/n", ["null"], True),
        ("/big", ["12345678901234567890"], True),
        ("/a~1b/~0/1", ["y"], True),
        ("/a~1b/~0/2", ["y"], False),
        ("/a~1b/~0/01", ["y"], False),
        ("/a~1b/~0/-", ["y"], False),
        ("/a~1b", ["y"], False),
        ("/", ["e"], True),
        ("/none", ["null", ""], False),
        ("/status/deeper", ["0"], False),
    ],
)
def test_json_rules(pointer: str, wanted: list[str], holds: bool) -> None:
    """A JSON pointer (RFC 6901) finds its value, which is compared as the text that JSON writes."""
    outcome = judged(WireResponse(200, body=JSON), {"success": {"json": {"pointer": pointer, "in": wanted}}})
    assert outcome.kind is (ACCEPTED if holds else REJECTED)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[" * 60_000, b"\xff\xfe", b"ok"])
def test_what_is_no_json_holds_no_rule(body: bytes) -> None:
    """A body that is not JSON does not match, whatever it is."""
    outcome = judged(WireResponse(200, body=body), {"success": {"json": {"pointer": "", "in": ["ok"]}}})
    assert outcome.kind is REJECTED


@pytest.mark.parametrize(
    ("rule", "body", "ids"),
    [
        ({"json": "/sid"}, b'{"sid": "SM1"}', ("SM1",)),
        ({"json": "/sid"}, b'{"sid": 42}', ("42",)),
        ({"json": "/sid"}, b'{"sid": null}', ()),
        ({"json": "/sid"}, b'{"sid": ["a"]}', ()),
        ({"json": "/sid"}, b"no json", ()),
        ({"json": "/m/0/id"}, b'{"m": [{"id": "x"}]}', ("x",)),
        ({"regex": r"ID: (\S+)"}, b"ID: abc to", ("abc",)),
        ({"regex": "[0-9]+"}, b"id 42", ("42",)),
        ({"regex": "ID: (x)?"}, b"ID: ", ()),
        ({"regex": r"ID: (\S+)"}, b"ERR", ()),
        ({"regex": "(?s)(.*)"}, b"a\r\nb\x1b[0m" + b"c" * 300, ("ab[0m" + "c" * 195,)),
    ],
)
def test_message_ids(rule: Rules, body: bytes, ids: tuple[str, ...]) -> None:
    """The provider's id is text without control characters, and absent when it is not there."""
    assert judged(WireResponse(200, body=body), {"message_id": rule}).message_ids == ids


@pytest.mark.parametrize(
    ("rule", "body", "quote"),
    [
        ({"json": "/message"}, b'{"message": "bad number"}', "bad number"),
        ({"regex": "ERR: (.*)"}, b"ERR: no credit", "no credit"),
        ({"json": "/message"}, b"bad gateway", ""),
    ],
)
def test_error_is_quoted(rule: Rules, body: bytes, quote: str) -> None:
    """What `error` finds in a refusal is handed to the sender as a quote, never put into our own words."""
    outcome = judged(WireResponse(400, body=body), {"error": rule})
    assert (outcome.quote, outcome.detail) == (quote, "HTTP 400 Bad Request: the provider refused the message")


def test_without_error_nothing_of_a_body_is_told() -> None:
    """No word of a body reaches the outcome unless the file asks for it."""
    outcome = judged(WireResponse(500, body=b"canary"))
    assert "canary" not in repr(outcome)


@pytest.mark.parametrize("key", ["not_sent", "failure", "success"])
def test_a_pattern_that_takes_too_long_is_unknown(key: str) -> None:
    """A pattern that would run for hours is stopped after 50 ms, and nothing is concluded from it."""
    outcome = judged(WireResponse(200, body=b"a" * 60_000 + b"!"), {key: {"matches": "^(a|aa)+$"}})
    assert (outcome.kind, outcome.reason) == (UNKNOWN, PROVIDER)


@pytest.mark.parametrize("key", ["message_id", "error"])
def test_an_extract_that_takes_too_long_finds_nothing(key: str) -> None:
    """The same pattern as message_id or error gives nothing, and does not change the outcome."""
    outcome = judged(WireResponse(200, body=b"a" * 60_000 + b"!"), {key: {"regex": "^(a|aa)+$"}})
    assert (outcome.kind, outcome.message_ids, outcome.quote) == (ACCEPTED, (), "")


@pytest.mark.parametrize("charset", ["zlib_codec", "punycode", "rot13", "nonsense", "utf-7", "unicode_escape"])
def test_a_charset_that_is_none_is_passed_over(charset: str) -> None:
    """A charset that does not turn octets into text in linear time is ignored."""
    response = WireResponse(200, (("Content-Type", f"text/plain; charset={charset}"),), b"ID: \xc3\xbc")
    assert judged(response, {"success": {"contains": "ID: ü"}}).kind is ACCEPTED


def test_a_cut_inside_a_character() -> None:
    """A body cut inside a UTF-8 character is still read as UTF-8."""
    response = WireResponse(200, body="ID: ü".encode()[:-1], truncated=True)
    assert judged(response, {"success": {"contains": "ID: "}}).kind is ACCEPTED
