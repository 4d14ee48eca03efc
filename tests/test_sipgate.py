"""The provider sipgate: what arrives is what was written, and no failure looks like success."""

import asyncio
import json
import logging
import ssl
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, dumps, loads

import pytest
import trustme
from fake_http import ENGINES, Line, RawServer, Script, answers, free_port, http, once
from fake_sipgate import AUTHORIZATION, DONE, PASSWORD, USER, rest_server, xmlrpc_server
from http_gateway import compiled
from hypothesis import given
from hypothesis import strategies as st
from secret_file import write_secret

from smsgwd.compile import compile_gateway
from smsgwd.errors import MessageError, Problem
from smsgwd.load import load
from smsgwd.message import Message, Recipient, SendRequest
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Site
from smsgwd.providers._http.judge import HttpReply
from smsgwd.providers._http.wire import WireResponse
from smsgwd.registry import Entry, Gateway, Registry, SiteConfig, State
from smsgwd.sender import send

ACCEPTED, REJECTED, UNSENT, UNKNOWN = Kind.ACCEPTED, Kind.REJECTED, Kind.UNSENT, Kind.UNKNOWN
PHONE = "+491701234567"
TEXTS = [
    "Your code is 123456",
    "123456",
    "<b>a & b</b> &amp; &#38; \"quoted\" 'quoted'",
    "]]> <![CDATA[ ]]&gt;",
    "one\ntwo\n",
    "one\r\ntwo\rthree",
    "\ttab and  two blanks ",
    "Grüße, 5 € – 你好",
    "😀 👩‍👩‍👧",
    "\x85\u2028\ufeff",
    "{{ phone }} %s \\n ${x}",
]
APIS = ("xmlrpc", "rest")


def gateway(directory: Path, api: str, url: str | None = None, engine: str = "auto", **more: Any) -> Gateway:
    """A gateway to sipgate, its credentials in files."""
    write_secret(directory / "user", USER)
    write_secret(directory / "password", PASSWORD)
    settings = {"api": api, "username": "{{ secrets.user }}", "password": "{{ secrets.password }}"} | more
    file = {
        "provider": "sipgate",
        "secrets": {"user": {"file": "user"}, "password": {"file": "password"}},
        "retry": {"attempts": 1},
        "settings": settings | ({"url": url} if url else {}),
    }
    return compiled(file, Site(directory, http_engine=engine))


def sent(to: Gateway, text: str = "hi") -> Outcome:
    """What becomes of a message, all the way."""

    async def go() -> Outcome:
        try:
            registry = Registry.of([Entry("test", State.OK, to)], SiteConfig())
            return await send(registry, SendRequest("test", PHONE, text=text))
        finally:
            await to.provider.close()

    return asyncio.run(go())


def rendered(to: Gateway, text: str = "hi", phone: str = PHONE) -> dict[str, Any]:
    """The request of `smsgwd render`."""
    return to.provider.describe(to.provider.render(Message(Recipient(phone), text)))


def judged(directory: Path, api: str, status: int, body: bytes = b"", *headers: tuple[str, str]) -> Outcome:
    """What an answer means, without a server."""
    return gateway(directory, api).provider.interpret(HttpReply(WireResponse(status, headers, body), 0.0))


def answer(value: Any) -> bytes:
    """An XML-RPC answer, or a fault."""
    return dumps(value if isinstance(value, Fault) else (value,), methodresponse=True).encode()


# --- what arrives


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_written_over_xmlrpc(text: str, engine: str, tmp_path: Path) -> None:
    """The standard library's XML-RPC server reads exactly the text, and its session is the message's id."""
    with xmlrpc_server() as fake:
        outcome = sent(gateway(tmp_path, "xmlrpc", fake.url, engine), text)
    assert fake.sessions == [{"RemoteUri": "sip:491701234567@sipgate.de", "TOS": "text", "Content": text}]
    assert (outcome.kind, outcome.reason, outcome.message_ids) == (ACCEPTED, None, ("A1-b2",)), outcome.detail


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_written_over_rest(text: str, engine: str, tmp_path: Path) -> None:
    """A server that holds the REST contract takes exactly the text, for the number with its plus."""
    with rest_server() as fake:
        outcome = sent(gateway(tmp_path, "rest", fake.url, engine), text)
    assert fake.sessions == [{"smsId": "s0", "recipient": PHONE, "message": text}]
    assert (outcome.kind, outcome.reason, outcome.message_ids) == (ACCEPTED, None, ()), outcome.detail


P: dict[str, Any] = {"secrets": {"p": {"env": "HOME"}}}
UNSENDABLE = {chr(code) for code in range(32)} - set("\t\n\r") | {"\ufffe", "\uffff"}  # XML 1.0, 2.2


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=UNSENDABLE), min_size=1, max_size=40))
def test_any_text_that_xml_can_hold_arrives_as_written(text: str) -> None:
    """Over XML-RPC a text is read back as it was, whatever its characters."""
    settings = {"username": "me", "password": "{{ secrets.p }}"}
    provider = compiled({"provider": "sipgate", "settings": settings, **P}, Site()).provider
    prepared = provider.render(Message(Recipient(PHONE), text))
    ((session,), method) = loads(prepared.request.body)
    assert isinstance(session, dict)
    assert (session["Content"], method) == (text, "samurai.SessionInitiate")


@pytest.mark.parametrize("text", ["a\x00b", "\x0b", "\x1b[2J", "\ufffe", "\uffff"])
def test_what_xml_cannot_hold_is_refused(text: str, tmp_path: Path) -> None:
    """A character that XML 1.0 has no room for is `rejected/content`, and nothing is sent."""
    with xmlrpc_server() as fake:
        outcome = sent(gateway(tmp_path, "xmlrpc", fake.url), text)
    assert (outcome.kind, outcome.reason, fake.sessions) == (REJECTED, Reason.CONTENT, [])


@pytest.mark.parametrize("text", ["a\ufffeb", "\uffff"])
def test_json_holds_what_xml_cannot(text: str, tmp_path: Path) -> None:
    """Over REST such a character arrives."""
    with rest_server() as fake:
        assert sent(gateway(tmp_path, "rest", fake.url), text).kind is ACCEPTED
    assert fake.sessions[0]["message"] == text


@pytest.mark.parametrize("api", APIS)
def test_half_a_surrogate_pair_is_refused(api: str, tmp_path: Path) -> None:
    """What is no character is `content`, on both ways."""
    with pytest.raises(MessageError, match="surrogate"):
        rendered(gateway(tmp_path, api), "\ud83d")


@pytest.mark.parametrize(
    ("phone", "digits"),
    [
        ("+491701234567", "491701234567"),
        ("491701234567", "491701234567"),
        (" +49 (170) 123-45.67/8 ", "4917012345678"),
        ("0049170123456", "0049170123456"),
        ("22033", "22033"),
    ],
)
def test_a_sip_address_has_the_digits_of_the_number(phone: str, digits: str, tmp_path: Path) -> None:
    """Plus and separators stay out of RemoteUri, whatever the gateway's `phone` rules leave of them."""
    body = rendered(gateway(tmp_path, "xmlrpc"), phone=phone)["body"]
    ((session,), _) = loads(body)
    assert isinstance(session, dict)
    assert session["RemoteUri"] == f"sip:{digits}@sipgate.de"


@pytest.mark.parametrize("phone", ["", "+", "alice", "49170;x=1", "4917@evil", "+49+170", "٤٩١٧٠", "４９１７０", "4<9"])
def test_what_is_no_number_is_no_sip_address(phone: str, tmp_path: Path) -> None:
    """A number that was taken verbatim cannot name another host or add parameters."""
    with pytest.raises(MessageError) as caught:
        rendered(gateway(tmp_path, "xmlrpc"), phone=phone)
    assert caught.value.reason is Reason.INVALID_DESTINATION
    assert not phone or phone not in caught.value.detail


def test_render_shows_the_call(tmp_path: Path) -> None:
    """`smsgwd render` shows the document as a text, at sipgate's own address, in ASCII, without the credentials."""
    request = rendered(gateway(tmp_path, "xmlrpc").as_shown(), "Grüße")
    assert (request["method"], request["url"], request["query"]) == ("POST", "https://samurai.sipgate.net/RPC2", {})
    assert request["headers"]["Content-Type"] == "text/xml"
    assert request["headers"]["Authorization"] == "Basic ***"
    assert request["body"].isascii()
    assert request["headers"]["Content-Length"] == str(len(request["body"]))


def test_render_shows_the_post(tmp_path: Path) -> None:
    """`smsgwd render` shows the JSON as an object, at sipgate's own address, without the credentials."""
    request = rendered(gateway(tmp_path, "rest", sms_id="s7").as_shown(), "Grüße")
    assert (request["method"], request["url"]) == ("POST", "https://api.sipgate.com/v2/sessions/sms")
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["Authorization"] == "Basic ***"
    assert request["body"] == {"smsId": "s7", "recipient": PHONE, "message": "Grüße"}


@pytest.mark.parametrize("api", APIS)
def test_the_text_is_what_is_counted(api: str, tmp_path: Path) -> None:
    """The recipient reads the message, so its segments are counted."""
    provider = gateway(tmp_path, api).provider
    prepared = provider.render(Message(Recipient(PHONE), "ä" * 161))
    assert (prepared.text, prepared.count().segments) == ("ä" * 161, 2)


def test_both_engines_send_the_same_octets(tmp_path: Path) -> None:
    """Method, target, headers and body are the same, and the credentials are those of the file."""
    for api in APIS:
        with RawServer(answers(http(200))) as server:
            for engine in ENGINES:
                sent(gateway(tmp_path, api, server.endpoint().origin + "/RPC2?x=1", engine), "Grüße & <b>")
            first, second = server.requests
        assert first == second
        assert first.startswith(b"POST /RPC2?x=1 HTTP/1.1\r\n")
        assert f"\r\nAuthorization: {AUTHORIZATION}\r\n".encode() in first


@pytest.mark.parametrize("engine", ENGINES)
def test_tls_settings_hold(engine: str, tmp_path: Path) -> None:
    """`tls` is what secures the way: with the CA of the file the message is taken, without it nothing leaves."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with RawServer(answers(http(200, answer(DONE))), tls=context) as server:
        url = server.endpoint().origin + "/RPC2"
        with_ca = sent(gateway(tmp_path, "xmlrpc", url, engine, tls={"ca_file": "ca.pem"}))
        without = sent(gateway(tmp_path, "xmlrpc", url, engine))
        assert len(server.requests) == 1
    assert with_ca.kind is ACCEPTED
    assert (without.kind, without.reason) == (UNSENT, Reason.CONFIG)


# --- what answers mean

CODES = [
    (400, UNSENT, Reason.CONFIG),
    (401, UNSENT, Reason.AUTH),
    (402, UNKNOWN, Reason.PROVIDER),
    (403, REJECTED, Reason.PROVIDER),
    (404, UNSENT, Reason.THROTTLED),
    (407, REJECTED, Reason.PROVIDER),
    (410, REJECTED, Reason.CONTENT),
    (412, UNSENT, Reason.THROTTLED),
    (502, UNSENT, Reason.CONFIG),
    (503, UNSENT, Reason.PROVIDER),
    (505, UNSENT, Reason.PROVIDER),
    (506, REJECTED, Reason.INVALID_DESTINATION),
    (508, REJECTED, Reason.INVALID_DESTINATION),
    (520, REJECTED, Reason.CONTENT),
    (525, UNSENT, Reason.CONFIG),
    (999, REJECTED, Reason.PROVIDER),
    (1, REJECTED, Reason.PROVIDER),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("code", [401, 407])
@pytest.mark.parametrize("fault", [True, False])
def test_a_failure_inside_of_200_is_a_failure(engine: str, code: int, fault: bool, tmp_path: Path) -> None:
    """A fault, or a StatusCode other than 200, is told with its code and sipgate's words, though HTTP says 200."""

    def refuse() -> dict[str, Any]:
        if fault:
            raise Fault(code, "Not today")
        return {"StatusCode": code, "StatusString": "Not today", "SessionID": "A1"}

    with xmlrpc_server(refuse) as fake:
        outcome = sent(gateway(tmp_path, "xmlrpc", fake.url, engine))
    assert (outcome.kind, outcome.reason) == next((k, r) for c, k, r in CODES if c == code)
    assert outcome.detail.startswith(f"{'fault' if fault else 'StatusCode'} {code}: ")
    assert outcome.detail.endswith(": Not today")
    assert outcome.message_ids == ()


@pytest.mark.parametrize(("code", "kind", "reason"), CODES)
def test_each_code_has_its_meaning(code: int, kind: Kind, reason: Reason, tmp_path: Path) -> None:
    """A code says the same as fault and as StatusCode, as a number and as a text."""
    for written in (code, str(code)):
        for value in (Fault(written, "x"), {"StatusCode": written}):  # type: ignore[arg-type]  # some servers send texts
            outcome = judged(tmp_path, "xmlrpc", 200, answer(value))
            assert (outcome.kind, outcome.reason) == (kind, reason), value


@pytest.mark.parametrize("code", [400, 401, 502, 503, 505, 525])
def test_what_is_the_accounts_fault_is_not_tried_again(code: int, tmp_path: Path) -> None:
    """Refused credentials, or an account that cannot send, will not do better by themselves."""
    assert judged(tmp_path, "xmlrpc", 200, answer({"StatusCode": code})).retryable is False


@pytest.mark.parametrize("status", [201, 202, 204, 302, 400, 401, 402, 403, 404, 405, 408, 418, 429, 500, 502, 503])
def test_other_statuses_mean_what_they_mean_for_http(status: int, tmp_path: Path) -> None:
    """An HTTP status that is not the API's own success has the outcome that it has for the provider http."""
    plain = compiled({"provider": "http", "settings": {"url": "http://x/", "success": {"status": [299]}}}, Site())
    expected = plain.provider.interpret(HttpReply(WireResponse(status), 0.0))
    for api in APIS:
        if (api, status) != ("rest", 204):
            outcome = judged(tmp_path, api, status, answer(DONE))
            assert (outcome.kind, outcome.reason, outcome.retryable) == (
                *(expected.kind, expected.reason),
                expected.retryable,
            )


@pytest.mark.parametrize("api", APIS)
def test_retry_after_is_passed_on(api: str, tmp_path: Path) -> None:
    """A server that asks to come back later is throttling, and says when."""
    for status in (429, 503):
        outcome = judged(tmp_path, api, status, b"", ("Retry-After", "7"))
        assert (outcome.kind, outcome.reason, outcome.retry_after_s) == (UNSENT, Reason.THROTTLED, 7.0)


@pytest.mark.parametrize("api", APIS)
def test_a_proxy_that_wants_a_password_is_no_provider(api: str, tmp_path: Path) -> None:
    """407 of a proxy that reads the request is `unsent/auth`."""
    with RawServer(answers(http(407))) as server:
        proxy = {"http": server.endpoint().origin}
        outcome = sent(gateway(tmp_path, api, "http://sipgate.invalid/RPC2", proxy=proxy))
    assert (outcome.kind, outcome.reason) == (UNSENT, Reason.AUTH)


def test_rest_takes_204_alone_for_success(tmp_path: Path) -> None:
    """200 with a body is not what the API promises: someone may have it, nobody knows."""
    assert judged(tmp_path, "rest", 204).kind is ACCEPTED
    outcome = judged(tmp_path, "rest", 200, b'{"message": "taken"}')
    assert (outcome.kind, outcome.reason) == (UNKNOWN, Reason.PROVIDER)


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "200">]><methodResponse><params><param><value><struct><member>
<name>StatusCode</name><value><int>&a;</int></value></member></struct></value></param></params></methodResponse>"""
HALF = answer(DONE)[:-10]
UNREADABLE = {
    "nothing": b"",
    "a page": b"<html><body>Welcome</body></html>",
    "no XML": b"OK 200",
    "a half": HALF,
    "octets": bytes(range(256)),
    "an entity": LAUGHS,
    "a foreign DTD": b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><m/>',
    "a call": dumps((DONE,), "x").encode(),
    "two values": dumps(({"StatusCode": 200}, {"StatusCode": 200}), "x")
    .replace("methodCall", "methodResponse")
    .encode(),
    "no value": b"<methodResponse><params></params></methodResponse>",
    "a text": answer("200"),
    "a number": answer(200),
    "a list": answer([DONE]),
    "no code": answer({"SessionID": "A1"}),
    "an empty struct": answer({}),
    "no integer": answer(DONE).replace(b"<int>200</int>", b"<int>zwei</int>"),
    "a huge integer": answer(DONE).replace(b"<int>200</int>", b"<int>" + b"9" * 5000 + b"</int>"),
    "no type": answer(DONE).replace(b"<int>200</int>", b"<long-word>200</long-word>"),
    "a crooked fault": b"<methodResponse><fault><value><int>4</int></value></fault></methodResponse>",
    "a deep one": b"<methodResponse>" + b"<params>" * 6000,
    "a list as a name": answer(DONE).replace(b"<name>StatusCode</name>", b"<array><data></data></array>"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_unknown(name: str, tmp_path: Path) -> None:
    """A 200 that is no answer of the method is `unknown`: someone may have the message."""
    outcome = judged(tmp_path, "xmlrpc", 200, UNREADABLE[name])
    assert (outcome.kind, outcome.reason) == (UNKNOWN, Reason.PROVIDER)


@pytest.mark.parametrize("code", [True, 200.5, "ok", "", [200], 0, 1701234567, "1701234567"])
def test_any_other_status_code_is_a_failure(code: Any, tmp_path: Path) -> None:
    """A StatusCode that is not 200 is a failure, also one that is no code; a number that it echoes is not repeated."""
    for value in ({"StatusCode": code}, Fault(code, "x")):
        outcome = judged(tmp_path, "xmlrpc", 200, answer(value))
        assert (outcome.kind, outcome.reason) == (REJECTED, Reason.PROVIDER)
        assert "1701234567" not in outcome.detail


@given(st.data())
def test_no_answer_is_a_traceback(data: st.DataObject) -> None:
    """Whatever is cut out of an answer or put into it, there is an outcome, and success needs a 200."""
    settings = {"username": "me", "password": "{{ secrets.p }}"}
    provider = compiled({"provider": "sipgate", "settings": settings, **P}, Site()).provider
    whole = data.draw(st.sampled_from([answer(DONE), answer(Fault(407, "x")), LAUGHS]))
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    pieces = [b"<fault>", b"<value>", b"</value>", b"<member>", b"<nil/>", b"<base64>", b"<array>", b"&x;", b"\x80"]
    body = whole[:begin] + data.draw(st.sampled_from(pieces) | st.binary(max_size=9)) + whole[end:]
    outcome = provider.interpret(HttpReply(WireResponse(200, (), body), 0.0))
    assert outcome.kind is not ACCEPTED or b"200" in body


def test_an_answer_in_another_encoding_is_read(tmp_path: Path) -> None:
    """Latin-1, declared or not, is no reason to lose an outcome."""
    value = {"StatusCode": 407, "StatusString": "Ungültig"}
    words = dumps((value,), methodresponse=True).removeprefix("<?xml version='1.0'?>")
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?>' + words
    for body, headers in (
        (declared.encode("latin-1"), ()),
        (words.encode("latin-1"), (("Content-Type", "text/xml; charset=iso-8859-1"),)),
        (b"\xef\xbb\xbf" + words.encode(), ()),
    ):
        outcome = judged(tmp_path, "xmlrpc", 200, body, *headers)
        assert (outcome.kind, outcome.quote) == (REJECTED, "Ungültig")


def test_a_message_id_is_printable_and_bounded(tmp_path: Path) -> None:
    """What sipgate calls the session is shown without line breaks, and not at any length; another type is none."""
    (one,) = judged(tmp_path, "xmlrpc", 200, answer(DONE | {"SessionID": "A\n1" + "x" * 500})).message_ids
    assert one.startswith("A1xx")
    assert len(one) == 200
    assert judged(tmp_path, "xmlrpc", 200, answer(DONE | {"SessionID": 4711})).message_ids == ("4711",)
    assert judged(tmp_path, "xmlrpc", 200, answer(DONE | {"SessionID": [1]})).message_ids == ()
    assert judged(tmp_path, "xmlrpc", 200, answer({"StatusCode": 200})) == Outcome(ACCEPTED)


def silent_after_a_request(line: Line) -> None:
    """A script that takes a request and says nothing."""
    line.read()
    line.silence()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("api", APIS)
def test_silence_and_loss_are_unknown(engine: str, api: str, tmp_path: Path) -> None:
    """After the request left, a lost connection or no answer in time is `unknown`; before, `unsent`."""
    with RawServer(once()) as server:
        lost = sent(gateway(tmp_path, api, server.endpoint().origin, engine))
    with RawServer(silent_after_a_request) as server:
        silent = sent(gateway(tmp_path, api, server.endpoint().origin, engine, timeout={"total": "300ms"}))
    nobody = sent(gateway(tmp_path, api, f"http://127.0.0.1:{free_port()}/", engine))
    assert (lost.kind, lost.reason) == (UNKNOWN, Reason.PROVIDER)
    assert (silent.kind, silent.reason) == (UNKNOWN, Reason.TIMEOUT)
    assert (nobody.kind, nobody.reason) == (UNSENT, Reason.UNREACHABLE)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_endless_answer_is_cut(engine: str, tmp_path: Path) -> None:
    """Of an answer without end 64 KiB are read, and what it means is not known."""

    def endless(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n" + answer(DONE)[:-20])
        while True:  # until the client hangs up
            line.send(b" " * 65536)

    with RawServer(endless) as server:
        outcome = sent(gateway(tmp_path, "xmlrpc", server.endpoint().origin, engine))
    assert (outcome.kind, outcome.reason) == (UNKNOWN, Reason.PROVIDER)


# --- what is told


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        ({"message": "Invalid recipient"}, "Invalid recipient"),
        ({"error": "bad", "error_description": "expired"}, "expired"),
        ({"error": "bad fields"}, "bad fields"),
        ({"error": {"code": 4}}, ""),
        (["x"], ""),
    ],
)
def test_the_words_of_a_refusal_are_quoted(body: Any, quoted: str, tmp_path: Path) -> None:
    """Of a JSON answer its message is quoted; of any other nothing."""
    assert judged(tmp_path, "rest", 400, json.dumps(body).encode()).quote == quoted
    assert judged(tmp_path, "rest", 400, b"<p>no</p>").quote == ""


def test_rest_refusals_are_told(tmp_path: Path) -> None:
    """An extension that the account does not have is `unsent/auth`, in sipgate's words."""
    with rest_server() as fake:
        outcome = sent(gateway(tmp_path, "rest", fake.url, sms_id="s9"))
    assert (outcome.kind, outcome.reason) == (UNSENT, Reason.AUTH)
    assert outcome.detail.endswith("no such extension s9")


TEXT = "Canary text 987654"
LEAKS = ("Canary", "987654", "1701234567", PASSWORD, AUTHORIZATION.removeprefix("Basic "))


def echoes(api: str) -> Script:
    """A script that refuses, and repeats all it got."""

    def script(line: Line) -> None:
        while octets := line.read():
            words = octets.decode()
            if api == "rest":
                line.send(http(400, json.dumps({"message": words}).encode()))
            else:
                line.send(http(200, answer(Fault(407, words))))

    return script


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("api", APIS)
def test_nothing_that_was_sent_comes_out(
    engine: str, api: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the outcome nor any log line repeats text, number or credentials that sipgate echoes."""
    caplog.set_level(logging.DEBUG)
    with RawServer(echoes(api)) as server:
        outcome = sent(gateway(tmp_path, api, server.endpoint().origin, engine), TEXT)
        assert all(leak.encode() in server.requests[0] for leak in ("Canary", "1701234567", LEAKS[-1]))
    assert (outcome.kind, outcome.reason) == (REJECTED, Reason.PROVIDER)
    shown = json.dumps(outcome.as_dict(), ensure_ascii=False) + caplog.text
    assert [leak for leak in LEAKS if leak in shown] == []


# --- the gateway file


def findings(settings: dict[str, Any]) -> list[Problem]:
    """What is wrong with these settings."""
    data = {"provider": "sipgate", "secrets": {"p": {"env": "P"}}, "settings": settings}
    return list(compile_gateway("test", load(json.dumps(data).encode(), "test.yaml"), Site(), resolve=False)[1])


SOUND = {"username": "me", "password": "{{ secrets.p }}"}


@pytest.mark.parametrize(
    ("settings", "code", "pointer"),
    [
        ({"username": "me"}, "missing-key", "/settings"),
        ({"password": "{{ secrets.p }}"}, "missing-key", "/settings"),
        (SOUND | {"password": "hunter22"}, "literal-secret", "/settings/password"),
        (SOUND | {"password": "{{ secrets.q }}"}, "unknown-name", "/settings/password"),
        (SOUND | {"username": "a:b"}, "bad-auth", "/settings/username"),
        (SOUND | {"api": "soap"}, "bad-value", "/settings/api"),
        (SOUND | {"sms_id": "s1"}, "not-used", "/settings/sms_id"),
        (SOUND | {"api": "rest", "sms_id": "{{ sms }}"}, "unknown-name", "/settings/sms_id"),
        (SOUND | {"url": "ftp://x"}, "bad-value", "/settings/url"),
        (SOUND | {"url": "https://me@x/"}, "credentials-in-url", "/settings/url"),
        (SOUND | {"timeout": {"total": "3"}}, "bad-value", "/settings/timeout/total"),
        (SOUND | {"smsid": "s1"}, "unknown-key", "/settings/smsid"),
    ],
)
def test_faults_of_the_file_are_found(settings: dict[str, Any], code: str, pointer: str) -> None:
    """Each fault is found where it stands."""
    assert [(problem.code, problem.pointer) for problem in findings(settings)] == [(code, pointer)]


def test_a_sound_file_has_no_finding() -> None:
    """The smallest file that works is without a finding, on both ways."""
    assert findings(SOUND) == []
    assert findings(SOUND | {"api": "rest", "sms_id": "s1"}) == []


EXAMPLES = Path(__file__).parent.parent / "gateways.d"


@pytest.mark.parametrize("name", ["sipgate", "sipgate-rest"])
def test_the_examples_say_what_the_manual_says(name: str) -> None:
    """Each example compiles, sends nothing as it is, and renders to sipgate's own address."""
    file = (EXAMPLES / f"{name}.yaml").read_text()
    example = compiled(file, Site(EXAMPLES.parent))
    assert example.enabled is False
    request = rendered(example, "hi")
    if name == "sipgate":
        ((session,), method) = loads(request["body"])
        assert (request["url"], method) == ("https://samurai.sipgate.net/RPC2", "samurai.SessionInitiate")
        assert session == {"RemoteUri": "sip:491701234567@sipgate.de", "TOS": "text", "Content": "hi"}
    else:
        assert request["url"] == "https://api.sipgate.com/v2/sessions/sms"
        assert request["body"] == {"smsId": "s0", "recipient": PHONE, "message": "hi"}
