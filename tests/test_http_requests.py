"""What the provider http puts on the wire: each key of its settings, read back by parsers that are not ours."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from fake_http import ENGINES, OK, RawServer, answers
from http_gateway import PHONE, TEXT, Http, compiled, findings, message
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_file import write_secret

from smsgwd import __version__
from smsgwd.errors import MessageError
from smsgwd.message import Message
from smsgwd.outcome import Kind, Reason
from smsgwd.providers._base import Site
from smsgwd.providers._http.provider import HttpPrepared

VARS = {"login": {"text": "{{ code }}", "vars": {"code": {}}}}
SECRETS = {"user": {"file": "user"}, "password": {"file": "password"}, "token": {"file": "token"}}


@dataclass(frozen=True)
class Arrived:
    """A request as a server reads it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def read(cls, octets: bytes) -> "Arrived":
        """The request of these octets."""
        head, _, body = octets.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        names = [line.partition(": ")[0].lower() for line in lines]
        assert len(set(names)) == len(names)
        return cls(method, target, dict(zip(names, [line.partition(": ")[2] for line in lines], strict=True)), body)

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=True)


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A server that takes everything."""
    with RawServer(answers(OK)) as running:
        yield running


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A configuration directory with secrets that no encoding leaves alone."""
    for name, value in {"user": "jürgen", "password": "p:ä ss&%", "token": "to/ken=+"}.items():
        write_secret(tmp_path / name, value)
    return tmp_path


def arrives(server: RawServer, rules: Mapping[str, Any], *messages: Message, **file: Any) -> Arrived:
    """What the server gets of the last message."""
    directory = file.pop("directory", Path())
    outcome = asyncio.run(Http(server, directory).send(rules, *messages, **file))
    assert outcome.kind is Kind.ACCEPTED, outcome.detail
    return Arrived.read(server.requests[-1])


def refusal(rules: Mapping[str, Any], sent: Message, **file: Any) -> MessageError:
    """Why a message is not carried."""
    data = {"provider": "http", "settings": {"url": "http://127.0.0.1/", **rules}, **file}
    with pytest.raises(MessageError) as caught:
        compiled(data, Site()).provider.render(sent)
    return caught.value


# --- one key after the other


def test_a_get_with_a_query(server: RawServer) -> None:
    """`query` goes behind the path; values arrive as they are, and the standard header fields are there, once."""
    got = arrives(server, {"method": "GET", "query": {"to": "{{ phone }}", "text": "OTP: {{ otp }}"}})
    assert (got.method, urlsplit(got.target).path, got.body) == ("GET", "/send", b"")
    assert got.query == [("to", PHONE), ("text", "OTP: " + TEXT)]
    assert got.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"smsgwd/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


def test_values_may_be_lists(server: RawServer) -> None:
    """A list in `query` or `form` repeats its key, in order."""
    got = arrives(server, {"query": {"a": ["1", "{{ phone }}"]}, "form": {"b": ["{{ sender }}", "", "x"]}})
    assert got.query == [("a", "1"), ("a", PHONE)]
    assert parse_qsl(got.body.decode(), keep_blank_values=True) == [("b", ""), ("b", ""), ("b", "x")]


def test_templates_in_the_url(server: RawServer) -> None:
    """In path and query of the URL values are percent-encoded; an existing query is kept and `query` appended."""
    url = "/v1/{{ phone }}/send%2F1?text=Hi%20{{ message }}&x"
    got = arrives(server, {"url": url, "query": {"a b&": "c"}})
    path = urlsplit(got.target).path.split("/")
    assert [unquote(segment) for segment in path] == ["", "v1", PHONE, "send/1"]
    assert parse_qsl(urlsplit(got.target).query, keep_blank_values=True) == [
        ("text", "Hi " + TEXT),
        ("x", ""),
        ("a b&", "c"),
    ]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("", "/"),
        ("?", "/"),
        ("?a=b", "/?a=b"),
        ("/straße", "/stra%C3%9Fe"),
        ("/100%", "/100%25"),
        ("/%c3%bc", "/%C3%BC"),
        ("/a[1]?b[]=c|d", "/a%5B1%5D?b%5B%5D=c%7Cd"),
        ("/a;b=c,d:@!$'()*+", "/a;b=c,d:@!$'()*+"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_literal_parts_of_the_url(server: RawServer, engine: str, url: str, target: str) -> None:
    """What is written stays, but for characters that may not stand in a URL: they are encoded, the same by both."""
    outcome = asyncio.run(Http(server, engine=engine).send({"url": server.endpoint().origin + url}))
    assert outcome.kind is Kind.ACCEPTED
    assert Arrived.read(server.requests[-1]).target == target


def test_a_form(server: RawServer) -> None:
    """`form` is a POST of application/x-www-form-urlencoded."""
    got = arrives(server, {"form": {"To": "{{ phone }}", "Body": "{{ message }}", "empty": ""}})
    assert (got.method, got.headers["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    assert parse_qsl(got.body.decode(), keep_blank_values=True) == [("To", PHONE), ("Body", TEXT), ("empty", "")]
    assert got.headers["content-length"] == str(len(got.body))


def test_json_keeps_its_types(server: RawServer) -> None:
    """`json` is any JSON: texts are templates and stay texts whatever the message is, the rest keeps its type."""
    body = {
        "to": ["{{ phone }}"],
        "n": 1,
        "f": 1.5,
        "t": True,
        "z": None,
        "{{ phone }}": {"deep": ["{{ message }}", {}, []]},
        "s": "1",
    }
    got = arrives(server, {"json": body}, message("true"))
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.body) == {**body, "to": [PHONE], "{{ phone }}": {"deep": ["true", {}, []]}}


@pytest.mark.parametrize("text", ["123456", "1.50", "null", "[]", '"', '","x":"', "{phone}", "\\u0000"])
def test_a_message_is_never_json(server: RawServer, text: str) -> None:
    """A message that looks like JSON arrives as the text that it is."""
    got = arrives(server, {"json": "{{ message }}"}, message(text))
    assert json.loads(got.body) == text


def test_xml(server: RawServer) -> None:
    """`xml` is escaped in texts and attributes; tabs and line breaks arrive, too."""
    text = "a < b & \"c\" 'd' ]]> \t\n\r\n<!-- ü😀"
    document = '<?xml version="1.0" encoding="UTF-8"?>\n<s><to n="{{ message }}"/><t>Hi {{ message }}!</t></s>\n'
    got = arrives(server, {"xml": document}, message(text))
    root = ET.fromstring(got.body)
    assert got.headers["content-type"] == "application/xml; charset=utf-8"
    assert (root.find("to").get("n"), root.findtext("t")) == (text, f"Hi {text}!")  # type: ignore[union-attr]  # it is


def test_text(server: RawServer) -> None:
    """`text` is the body itself."""
    got = arrives(server, {"text": "{{ phone }}\n{{ message }}"})
    assert (got.body.decode(), got.headers["content-type"]) == (f"{PHONE}\n{TEXT}", "text/plain; charset=utf-8")


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("POST", "0"), ("PUT", "0")], ids=["get", "post", "put"])
def test_methods_without_a_body(server: RawServer, method: str, length: str | None) -> None:
    """Each method goes out as named; a POST without a body says so."""
    got = arrives(server, {"method": method})
    assert (got.method, got.headers.get("content-length")) == (method, length)


def test_headers(server: RawServer, secrets: Path) -> None:
    """`headers` are added, in UTF-8, and replace our own of the same name whatever its case."""
    rules = {
        "form": {"a": "b"},
        "headers": {
            "access-token": "{{ secrets.token }}",
            "X-To": "{{ phone }} ü ",
            "content-type": "application/x",
            "USER-AGENT": "me",
        },
    }
    got = arrives(server, rules, secrets=SECRETS, directory=secrets)
    assert got.headers["access-token"] == "to/ken=+"
    assert got.headers["x-to"] == f"{PHONE} ü"
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("application/x", "me")


def test_basic_authentication(server: RawServer, secrets: Path) -> None:
    """`auth` with a username is Basic in UTF-8 (RFC 7617); a password may hold a colon."""
    rules = {"auth": {"username": "{{ secrets.user }}", "password": "{{ secrets.password }}"}}
    got = arrives(server, rules, secrets=SECRETS, directory=secrets)
    assert got.headers["authorization"] == "Basic asO8cmdlbjpwOsOkIHNzJiU="  # base64 of jürgen:p:ä ss&%


def test_a_bearer_token(server: RawServer, secrets: Path) -> None:
    """`auth` with a bearer is RFC 6750."""
    got = arrives(server, {"auth": {"bearer": "{{ secrets.token }}"}}, secrets=SECRETS, directory=secrets)
    assert got.headers["authorization"] == "Bearer to/ken=+"


def test_each_name_of_a_message(server: RawServer) -> None:
    """phone, message, otp, sender, reference and vars are there; a variable that was not sent is empty."""
    rules = {"query": {name: f"{{{{ {name} }}}}" for name in ("phone", "message", "otp", "sender", "reference")}}
    rules["query"]["code"] = "[{{ vars.code }}]"
    got = arrives(server, rules, message("m", sender="ACME", reference="r1", code=""), templates=VARS)
    assert got.query == [
        ("phone", PHONE),
        ("message", "m"),
        ("otp", "m"),
        ("sender", "ACME"),
        ("reference", "r1"),
        ("code", "[]"),
    ]


def test_conditions(server: RawServer) -> None:
    """A condition decides about a part of the URL or of the XML."""
    rules = {
        "url": "/s{% if sender %}?from={{ sender }}{% endif %}",
        "xml": "<s>{% if sender %}<from>{{ sender }}</from>{% endif %}{{ message }}</s>",
    }
    first = arrives(server, rules, message("m", sender="A&B"))
    second = arrives(server, rules, message("m"))
    assert (first.target, first.body) == ("/s?from=A%26B", b"<s><from>A&amp;B</from>m</s>")
    assert (second.target, second.body) == ("/s", b"<s>m</s>")


# --- no message changes the structure


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60) | st.sampled_from(
    ['"}', "a&to=1", "</t>", "]]>", "%00", "+ %2B", "{{ phone }}", "{phone}", "?#", "\\", "a/../b", "\u2028"]
)
STRUCTURE = {
    "url": "http://127.0.0.1/a/x{{ message }}/b?m={{ message }}&n=1",
    "query": {"q": "{{ message }}", "r": ["{{ vars.code }}", "z"]},
}


@given(text=texts, code=texts)
@settings(deadline=None)
def test_no_text_changes_url_query_or_form(text: str, code: str) -> None:
    """Whatever the texts hold, a server reads the same segments and parameters with just these texts in them."""
    provider = compiled(
        {"provider": "http", "settings": {**STRUCTURE, "form": {"f": "{{ message }}", "g": "1"}}, "templates": VARS},
        Site(),
    ).provider
    request = provider.render(message(text, code=code)).request
    split = urlsplit(request.target)
    assert [unquote(part) for part in split.path.split("/")] == ["", "a", "x" + text, "b"]
    expected = [("m", text), ("n", "1"), ("q", text), ("r", code), ("r", "z")]
    assert parse_qsl(split.query, strict_parsing=True) == expected
    assert parse_qsl(request.body.decode(), strict_parsing=True) == [("f", text), ("g", "1")]
    assert not split.fragment
    assert request.target.isascii()


@given(text=texts)
@settings(deadline=None)
def test_no_text_changes_json(text: str) -> None:
    """Whatever a text holds, the JSON has the same keys and types."""
    body = {"a": ["x{{ message }}", 1], "b": {"c": "{{ message }}"}}
    provider = compiled({"provider": "http", "settings": {"url": "http://x/", "json": body}}, Site()).provider
    request = provider.render(message(text)).request
    assert json.loads(request.body) == {"a": ["x" + text, 1], "b": {"c": text}}


@given(text=texts)
@settings(deadline=None)
def test_no_text_changes_xml(text: str) -> None:
    """Whatever a text holds, the XML has the same elements; what XML cannot hold is rejected."""
    data = {"url": "http://x/", "xml": "<s><t a='{{ message }}'>{{ message }}</t><u/></s>"}
    provider = compiled({"provider": "http", "settings": data}, Site()).provider
    if any((ord(one) < 32 and one not in "\t\n\r") or one in "\ufffe\uffff" for one in text):
        assert refusal(data, message(text)).reason is Reason.CONTENT
        return
    root = ET.fromstring(provider.render(message(text)).request.body)
    assert [element.tag for element in root.iter()] == ["s", "t", "u"]
    assert (root[0].text, root[0].get("a")) == (text, text)


@given(text=texts)
@settings(deadline=None)
def test_no_text_changes_the_header_block(text: str) -> None:
    """Whatever a text holds, the block has the same fields; control characters are rejected."""
    data = {"url": "http://x/", "headers": {"X-Text": "<{{ message }}>"}}
    provider = compiled({"provider": "http", "settings": data}, Site()).provider
    if any((ord(one) < 32 and one != "\t") or ord(one) == 127 for one in text):
        assert refusal(data, message(text)).reason is Reason.CONTENT
        return
    headers = provider.render(message(text)).request.headers
    assert headers[-1] == ("X-Text", f"<{text}>".encode())
    assert len(headers) == 5


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"headers": {"X": "{{ message }}"}}, "a\r\nX-Evil: 1"),
        ({"headers": {"X": "{{ message }}"}}, "a\x00"),
        ({"headers": {"Authorization": "Bearer {{ message }}"}}, "a\nb"),
        ({"xml": "<a>{{ message }}</a>"}, "a\x00b"),
        ({"xml": "<a>{{ message }}</a>"}, "\ufffe"),
        ({"url": "http://x/{{ message }}/send"}, ".."),
        ({"url": "http://x/{{ message }}"}, "."),
        ({"query": {"a": "{{ message }}"}}, "\ud800"),
        ({"json": {"a": "{{ message }}"}}, "a\udfff"),
    ],
)
def test_what_cannot_be_carried_is_rejected(rules: dict[str, Any], text: str) -> None:
    """A line break in a header, a NUL in XML, a dot segment, half a surrogate pair: rejected, and not quoted."""
    error = refusal(rules, message(text))
    assert error.reason is Reason.CONTENT
    assert "Evil" not in error.detail


# --- what the recipient reads


@pytest.mark.parametrize(
    ("rules", "read"),
    [
        ({"query": {"text": "Your code: {{ otp }}"}}, "Your code: 1 & 2"),
        ({"form": {"text": ["x", "{{ message | upper }}!"]}}, "1 & 2!"),
        ({"json": {"a": [{"b": "<{{ message }}>"}]}}, "<1 & 2>"),
        ({"text": "{{ message }}\n-- \nACME"}, "1 & 2\n-- \nACME"),
        ({"headers": {"X": "h {{ message }}"}}, "h 1 & 2"),
        ({"xml": "<s><to>{{ phone }}</to><t>a&amp;b {{ message }}</t></s>"}, "a&b 1 & 2"),
        ({"xml": "<s><t text='Hi {{ message }}'/></s>"}, "Hi 1 & 2"),
        ({"xml": "<s>{% if sender %}<f/>{% endif %}<t>{{ message }}!</t></s>"}, "1 & 2!"),
        ({"url": "http://x/send/{{ phone }}/c%3A%20{{ message }}"}, "c: 1 & 2"),
        ({"url": "http://x/send?to={{ phone }}&text=Your+code+{{ otp }}"}, "Your code 1 & 2"),
        ({"query": {"a": "a{{ message }}", "b": "b{{ otp }}"}}, "1 & 2"),
        ({"url": "http://x/{{ message }}", "form": {"b": "b{{ otp }}"}}, "1 & 2"),
        ({"xml": "<s><a>a{{ message }}</a><b>b{{ message }}</b></s>"}, "1 & 2"),
        ({"query": {"a": "fixed"}}, "1 & 2"),
    ],
)
def test_what_the_recipient_reads(rules: dict[str, Any], read: str) -> None:
    """It is the leaf that holds the message when there is just one, decoded; else the message."""
    data = {"provider": "http", "settings": {"url": "http://x/", **rules}}
    assert compiled(data, Site()).provider.render(message("1 & 2")).text == read


# --- render


def test_describe_is_what_is_sent(server: RawServer, secrets: Path) -> None:
    """`render` shows method, URL without query, query, headers and body as objects, and every secret as `***`."""
    rules = {
        "url": "/v1/{{ secrets.user }}/send?token={{ secrets.token }}",
        "query": {"to": ["{{ phone }}", "x"]},
        "form": {"text": "{{ message }}", "pw": "{{ secrets.password }}"},
        "headers": {"access-token": "{{ secrets.token }}"},
        "auth": {"username": "{{ secrets.user }}", "password": "{{ secrets.password }}"},
    }
    gateway = Http(server, secrets).gateway(rules, resolve=False, secrets=SECRETS)
    shown = gateway.provider.describe(gateway.provider.render(message()))
    assert shown == {
        "method": "POST",
        "url": server.endpoint().origin + "/v1/***/send",
        "query": {"token": "***", "to": [PHONE, "x"]},
        "headers": {
            "Host": f"127.0.0.1:{server.port}",
            "User-Agent": f"smsgwd/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "Basic ***",
            "access-token": "***",
            "Content-Length": shown["headers"]["Content-Length"],
        },
        "body": {"text": TEXT, "pw": "***"},
    }


@pytest.mark.parametrize(
    ("rules", "body"),
    [
        ({"json": {"a": ["{{ message }}", None]}}, {"a": ["m", None]}),
        ({"xml": "<a>{{ message }}</a>"}, "<a>m</a>"),
        ({"text": "{{ message }}"}, "m"),
        ({}, None),
        ({"auth": {"bearer": "{{ secrets.token }}"}, "json": "x"}, "x"),
    ],
)
def test_describe_shows_each_body(rules: dict[str, Any], body: object) -> None:
    """A body is an object for form and JSON, a text for XML and text, and null where there is none."""
    data = {"provider": "http", "settings": {"url": "http://x/", **rules}, "secrets": SECRETS}
    provider = compiled(data, Site(), resolve=False).provider
    shown = provider.describe(provider.render(message("m")))
    assert shown["body"] == body
    if "auth" in rules:
        assert shown["headers"]["Authorization"] == "Bearer ***"


def test_nothing_is_shown_by_accident() -> None:
    """The representation of a prepared request holds no target, header or body."""
    data = {"url": "http://x/{{ message }}", "headers": {"X": "{{ message }}"}, "text": "{{ message }}"}
    prepared = compiled({"provider": "http", "settings": data}, Site()).provider.render(message("canary"))
    assert isinstance(prepared, HttpPrepared)
    assert "canary" not in repr(prepared.request)


# --- findings


@pytest.mark.parametrize(
    ("rules", "code", "pointer"),
    [
        ({"url": "http://{{ phone }}.example.com/"}, "template-in-host", "/settings/url"),
        ({"url": "http://x:{{ phone }}/"}, "template-in-host", "/settings/url"),
        ({"url": "http://{{ secrets.user }}:{{ secrets.user }}@example.com/"}, "credentials-in-url", "/settings/url"),
        ({"url": "http://me@example.com/"}, "credentials-in-url", "/settings/url"),
        ({"url": "http://exa mple.com/"}, "bad-url", "/settings/url"),
        ({"url": "http:///x"}, "bad-url", "/settings/url"),
        ({"url": "http://x:0/"}, "bad-url", "/settings/url"),
        ({"url": "http://x:70000/"}, "bad-url", "/settings/url"),
        ({"url": "http://::1/"}, "bad-url", "/settings/url"),
        ({"url": "http://x/a b"}, "bad-url", "/settings/url"),
        ({"url": "http://x/a#b"}, "bad-url", "/settings/url"),
        ({"url": "http://x/../b"}, "bad-url", "/settings/url"),
        ({"url": "http://x/%2E./{{ phone }}"}, "bad-url", "/settings/url"),
        ({"url": "http://x/{{ phon }}"}, "unknown-name", "/settings/url"),
        ({"query": {"a": "{{ phon }}"}}, "unknown-name", "/settings/query/a"),
        ({"form": {"a": ["x", "{{ phon }}"]}}, "unknown-name", "/settings/form/a/1"),
        ({"json": {"a": [{"b/c": "{{ phon }}"}]}}, "unknown-name", "/settings/json/a/0/b~1c"),
        ({"xml": "<a>{{ phon }}</a>"}, "unknown-name", "/settings/xml"),
        ({"text": "{{ phon }}"}, "unknown-name", "/settings/text"),
        ({"headers": {"X": "{{ phon }}"}}, "unknown-name", "/settings/headers/X"),
        ({"xml": "<a>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a b={{ phone }}/>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<{{ phone }}/>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a x{{ phone }}='1'/>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a><!-- {{ phone }} --></a>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a><![CDATA[{{ phone }}]]></a>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a><?p {{ phone }}?></a>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<!DOCTYPE a><a>{{ phone }}</a>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<?xml version='1.0' encoding='latin1'?><a/>"}, "bad-xml", "/settings/xml"),
        ({"xml": "<a>{% if sender %}<b>{% endif %}</a>"}, "bad-xml", "/settings/xml"),
        ({"headers": {"Content-Length": "1"}}, "bad-header", "/settings/headers/Content-Length"),
        ({"headers": {"host": "x"}}, "bad-header", "/settings/headers/host"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "bad-header", "/settings/headers/x-a"),
        ({"headers": {"X-A": "a\nb"}}, "bad-header", "/settings/headers/X-A"),
        (
            {"headers": {"authorization": "{{ secrets.user }}"}, "auth": {"bearer": "{{ secrets.user }}"}},
            "bad-header",
            "/settings/headers/authorization",
        ),
        (
            {"auth": {"username": "a:b", "password": "{{ secrets.user }}"}},
            "bad-auth",
            "/settings/auth/username",
        ),
        ({"proxy": {"http": "https://proxy:3128"}}, "bad-proxy", "/settings/proxy/http"),
        ({"proxy": {"https": "http://{{ phone }}:3128"}}, "bad-proxy", "/settings/proxy/https"),
        ({"proxy": {"http": "http://proxy:99999"}}, "bad-url", "/settings/proxy/http"),
        ({"success": {"matches": "a("}}, "bad-regex", "/settings/success/matches"),
        ({"failure": {"json": {"pointer": "/~2", "in": ["1"]}}}, "bad-pointer", "/settings/failure/json/pointer"),
        ({"message_id": {"regex": "*"}}, "bad-regex", "/settings/message_id/regex"),
        ({"error": {"json": "/a~"}}, "bad-pointer", "/settings/error/json"),
        ({"method": "GET", "form": {"a": "b"}}, "body-with-get", "/settings/method"),
    ],
)
def test_findings(rules: dict[str, Any], code: str, pointer: str) -> None:
    """Each fault of the settings is one finding at its place."""
    found = findings({"url": "http://x/", **rules}, secrets={"user": {"file": "user"}})
    assert [(problem.code, problem.pointer) for problem in found] == [(code, pointer)], found


def test_a_template_fault_has_its_column() -> None:
    """A fault inside the URL points at the name, not at the value."""
    (problem,) = findings({"url": "http://example.com/{{ phon }}"})
    line = '{"provider": "http", "settings": {"url": "http://example.com/{{ phon }}"}}'
    assert line[problem.column - 1 :].startswith("phon }}")


def test_all_faults_are_told_at_once() -> None:
    """One run tells every fault of the settings."""
    found = findings(
        {
            "url": "http://x/{{ a }}",
            "query": {"q": "{{ b }}"},
            "form": {"f": "{{ c }}"},
            "headers": {"Host": "x"},
            "success": {"matches": "("},
        }
    )
    codes = sorted(problem.code for problem in found)
    assert codes == ["bad-header", "bad-regex", "unknown-name", "unknown-name", "unknown-name"]


@pytest.mark.parametrize("key", ["ca_file", "client_cert", "client_key"])
def test_tls_files_are_looked_at_with_the_secrets(tmp_path: Path, key: str) -> None:
    """A file that is missing or no PEM is a finding where secrets are resolved, and none in a plain check."""
    (tmp_path / "bad.pem").write_text("no certificate")
    tls = {"client_cert": "bad.pem"} if key == "client_key" else {}
    settings = {"url": "https://x/", "tls": {**tls, key: "missing.pem"}}
    assert findings(settings, Site(tmp_path)) == []
    for name in ("missing.pem", "bad.pem"):
        data = {"provider": "http", "settings": {**settings, "tls": {**tls, key: name}}}
        with pytest.raises(AssertionError, match="bad-tls-file"):
            compiled(data, Site(tmp_path))


@pytest.mark.parametrize(("user", "code"), [("a:b", "bad-proxy"), ("x" * 20_000, "bad-value")])
def test_a_secret_that_no_proxy_can_take_is_a_finding(tmp_path: Path, user: str, code: str) -> None:
    """A colon in the user of a proxy, or a secret that is far too long: told at the proxy, when the secret is read."""
    write_secret(tmp_path / "user", user)
    proxy = {"http": "http://{{ secrets.user }}:x@127.0.0.1:3128"}
    data = {"provider": "http", "secrets": {"user": {"file": "user"}}, "settings": {"url": "http://x/", "proxy": proxy}}
    with pytest.raises(AssertionError, match=rf"error\[{code}\]"):
        compiled(data, Site(tmp_path))


@pytest.mark.parametrize(
    "file",
    [
        "provider: smpp\nsettings: {host: h, port: 1, system_id: u, password: '{{ secrets.long }}'}\n",
        "provider: smtp\nsettings: {server: {host: h, from: a@b.de}, mail_to: a@b.de, body: '{{ secrets.long }}'}\n",
        "provider: console\ntemplates: {a: {text: '" + "x" * 20_000 + "'}}\n",
    ],
)
def test_a_template_that_is_always_too_long_is_a_finding(tmp_path: Path, file: str) -> None:
    """With every provider, when the file is compiled, and not as a surprise."""
    write_secret(tmp_path / "long", "x" * 20_000)
    with pytest.raises(AssertionError, match=r"error\[bad-value\]: a template of the gateway renders to more than"):
        compiled(f"secrets: {{long: {{file: long}}}}\n{file}", Site(tmp_path))


def test_hosts(server: RawServer) -> None:
    """Hosts are names in any script, in any case, with or without a port, and IPv6 addresses in brackets."""
    for url, host in {
        "HTTP://Example.COM:8080/": "example.com:8080",
        "https://bücher.example/": "xn--bcher-kva.example",
        "http://[::1]:81/": "[::1]:81",
        "https://example.com:443/": "example.com",
        "http://sms_gw/": "sms_gw",
        "http://block.example\n": "block.example",
    }.items():
        provider = compiled({"provider": "http", "settings": {"url": url}}, Site()).provider
        assert provider.render(message()).request.headers[0] == ("Host", host.encode())
