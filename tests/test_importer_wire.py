"""Imported gateways put on the wire what privacyIDEA puts there, where it is right (tests/ancestor.py is its model)."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ancestor
import pytest
import requests
from ancestor import Wire
from fake_http import ENGINES, OK, RawServer, answers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from imported import CASES, Taken, export, prepared, taken

from smsgwd.outcome import Reason
from smsgwd.units import Deadline

HTTP_EXPORT = export(CASES / "http.yaml")["smsgateway"]
NAMES = sorted(HTTP_EXPORT)
SEPARATORS = " -/.()"
NUMBERS = st.one_of(
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    st.from_regex(r"0[0-9]{3,5}[-/ .()]{1,2}[0-9]{3,9}", fullmatch=True),
    st.from_regex(r"[0-9]{3,15}", fullmatch=True),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.text(st.sampled_from('{}%#"\\[]:,&=<>?+ \n\r\t0123456789truefalsnä€'), max_size=20),
    st.sampled_from(
        ["123456", "1.50", "true", "null", '"', "\\", "{otp}", "{{ phone }}", "[1]", '{"a": 1}', "", "1e5"]
    ),
)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """The export of HTTP gateways, taken over from its text."""
    return taken((CASES / "http.yaml").read_text("utf-8"), tmp_path_factory.mktemp("http"))


def test_every_definition_becomes_a_gateway(http: Taken) -> None:
    """None is lost, and with the secrets that were written each file compiles."""
    assert sorted(http.gateways) == NAMES
    assert [problem for problem in http.problems if "error[" in problem] == []
    assert len(NAMES) >= 45


def ours(found: Taken, name: str, phone: str, text: str) -> Wire:
    """What the imported gateway puts on the wire."""
    gateway = found.gateways[name]
    request = prepared(gateway, phone, text).request
    headers = {key.lower(): value for key, value in request.headers}
    return Wire(request.method, gateway.provider._endpoint.origin + request.target, headers, request.body)  # type: ignore[attr-defined]  # the HTTP provider's own


def check_equal(mine: Wire, theirs: Wire) -> None:
    """Method, URL and body octet by octet, and every header that the definition or its body asks for."""
    assert (mine.method, _comparable(mine.url), mine.body) == (theirs.method, _comparable(theirs.url), theirs.body)
    for name, value in theirs.headers.items():
        assert mine.headers[name] == value, name
    assert ("authorization" in mine.headers) == ("authorization" in theirs.headers)


def _comparable(url: str) -> tuple[str, ...]:
    return tuple(urlsplit(url))


@given(st.sampled_from(NAMES), NUMBERS, TEXTS)
@example("smseagle", "+491701234567", "123456")
@example("constant-true-json", "491701234567", "true")
@settings(max_examples=1500, deadline=None)
def test_requests_are_the_same(http: Taken, name: str, phone: str, text: str) -> None:
    """Where the ancestor is right its request is ours, octet by octet; where it is not, ours is the one it meant."""
    options, headers = HTTP_EXPORT[name]["options"], HTTP_EXPORT[name]["headers"]
    is_right = ancestor.is_right(options, headers, phone, text)
    fill = ancestor.filled if is_right else ancestor.meant
    check_equal(ours(http, name, phone, text), ancestor.request(options, headers, phone, text, fill))


@pytest.mark.parametrize("name", NAMES)
def test_each_definition_sends_the_same(http: Taken, name: str) -> None:
    """For an ordinary number and text the ancestor is right with every definition, and the request is the same."""
    options, headers = HTTP_EXPORT[name]["options"], HTTP_EXPORT[name]["headers"]
    for phone, text in (("+49 170/123-45 67", "Ihr Code: A1B2 € 😀"), ("01701234567x"[:-1], "Code 5, & = ? # % + ä")):
        if ancestor.is_right(options, headers, phone, text):
            check_equal(ours(http, name, phone, text), ancestor.request(options, headers, phone, text, ancestor.filled))
    assert ancestor.is_right(options, headers, "+49 170/123-45 67", "Ihr Code: A1B2 € 😀")


@pytest.mark.parametrize(
    ("phone", "text", "wrong"),
    [
        ("+491", "123456", {"to": ["+491"], "text": "Your code: 123456", "n": 123456}),
        ("+491", "1.50", {"to": ["+491"], "text": "Your code: 1.50", "n": 1.5}),
        ("+491", "true", {"to": ["+491"], "text": "Your code: true", "n": True}),
        ("+491", 'say "hi"', {"to": ["+491"], "text": '"Your code: say "hi""', "n": 'say "hi"'}),
        ("+491", "call {phone}", {"to": ["+491"], "text": "Your code: call +491", "n": "call +491"}),
    ],
)
def test_what_the_ancestor_gets_wrong(tmp_path: Path, phone: str, text: str, wrong: dict[str, Any]) -> None:
    """A message that looks like JSON, or like a tag, changes the ancestor's request; here it stays a message."""
    options = {
        "URL": "https://gateway.test/send",
        "HTTP_METHOD": "POST",
        "SEND_DATA_AS_JSON": "yes",
        "to": '["{phone}"]',
        "text": '"Your code: {otp}"',
        "n": "{otp}",
    }
    module = HTTP_EXPORT["gtx"]["providermodule"]
    found = taken({"smsgateway": {"x": {"providermodule": module, "options": options}}}, tmp_path)
    theirs = ancestor.request(options, {}, phone, text, ancestor.filled)
    assert json.loads(theirs.body) == wrong
    assert not ancestor.is_right(options, {}, phone, text)
    assert json.loads(ours(found, "x", phone, text).body) == {"to": [phone], "text": f"Your code: {text}", "n": text}


ON_LOOPBACK = (
    *("braces", "braces-json", "constant-float-query", "constant-list-form", "deep", "header-content-type", "headers"),
    *("line-breaks", "names", "nothing-posted", "password-empty", "regexp-national", "secrets", "url-dots"),
    *("url-fragment", "url-percent", "url-query", "url-signs", "userinfo", "username-with-colon", "xml"),
)
_OF_THE_LIBRARY = {b"user-agent", b"accept", b"accept-encoding", b"connection"}  # they differ by who sends


@pytest.mark.parametrize("engine", ENGINES)
def test_what_arrives_is_the_same(tmp_path: Path, engine: str) -> None:
    """On a server, the octets that an imported gateway sends are those that requests sends for the ancestor."""
    phone, text = "0170 1234567", "Code: 4711 € {} & 50 %"
    with RawServer(answers(OK)) as server:
        cases = {name: _moved(HTTP_EXPORT[name], server) for name in ON_LOOPBACK}
        found = taken({"smsgateway": cases}, tmp_path, engine=engine)
        for name, case in cases.items():
            asyncio.run(_submitted(found, name, phone, text))
            _send(ancestor.request(case["options"], case["headers"], phone, text, ancestor.filled))
            mine, theirs = map(_read, server.requests[-2:])
            assert mine == theirs, name


def _moved(definition: dict[str, Any], server: RawServer) -> dict[str, Any]:
    """The definition with its URL on the server."""
    at = re.compile(r"https://(\S*@)?gateway\.test(?::443)?", re.IGNORECASE)
    url = at.sub(rf"http://\g<1>{server.host}:{server.port}", definition["options"]["URL"])
    return {**definition, "options": {**definition["options"], "URL": url}}


async def _submitted(found: Taken, name: str, phone: str, text: str) -> None:
    provider = found.gateways[name].provider
    try:
        reply = await provider.submit(prepared(found.gateways[name], phone, text), Deadline.after(5))
        assert provider.interpret(reply).reason in {None, Reason.PROVIDER}
    finally:
        await provider.close()


def _send(wire: Wire) -> None:
    with requests.Session() as session:
        session.trust_env = False
        headers = {name: value.decode("latin-1") for name, value in wire.headers.items()}
        sent = requests.Request(wire.method, wire.url, data=wire.body or None, headers=headers).prepare()
        session.send(sent, timeout=5)


def _read(octets: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Request line, headers, body."""
    head, _, body = octets.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
    return line, {name: value for name, value in headers.items() if name not in _OF_THE_LIBRARY}, body
