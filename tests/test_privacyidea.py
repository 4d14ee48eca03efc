"""Each sentence about privacyIDEA's definitions, as the gateway file that comes of it."""

import json
import time
import warnings
from pathlib import Path
from typing import Any

import ancestor
import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from imported import URL, Taken, http, other, prepared, taken

from smsgwd import msisdn, privacyidea
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.privacyidea import CENSORED, number, tags, values
from smsgwd.privacyidea.sheet import Sheet
from smsgwd.providers._http.judge import HttpReply
from smsgwd.providers._http.wire import WireResponse
from smsgwd.templates import Scope, compile_template

POST = {"HTTP_METHOD": "POST"}
JSON = {**POST, "SEND_DATA_AS_JSON": "yes"}


def settings(found: Taken) -> dict[str, Any]:
    """`settings` of the gateway `x`."""
    made: dict[str, Any] = found.data("x")["settings"]
    return made


# --- tags and values

TEXTS = st.lists(
    st.text(st.sampled_from("{}%#-\n\r 'araw()endphonmsgt.secrets"), max_size=8)
    | st.sampled_from(
        [tags.PHONE, tags.MESSAGE, "{phone}", "{{", "{% raw %}", "{% endraw %}", "{secrets.a}", "{ otp }"]
    )
).map("".join)


@given(TEXTS)
def test_templates_say_the_same(text: str) -> None:
    """Whatever braces a text has, its template renders to it, tags filled in, without a warning; and reads back."""
    scope = Scope(frozenset({"phone", "message", "otp", "sender", "reference"}), {})
    template, warnings = compile_template(tags.template(text), scope)
    assert warnings == []
    rendered = template.render({"phone": "+49", "message": "{{ x }}"})
    assert rendered == text.replace(tags.PHONE, "+49").replace(tags.MESSAGE, "{{ x }}")
    assert tags.marked(template.source, {}) == text


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("{phone}", tags.PHONE),
        ('"{otp}"', tags.MESSAGE),
        ('["{phone}", 1.50, null]', [tags.PHONE, 1.5, None]),
        ('{"to": "{phone}"}', {"to": tags.PHONE}),
        ("+49", "+49"),
        ("0171", "0171"),
        ("“x”", "“x”"),
        ("'x'", "'x'"),
        ('"x" y', '"x" y'),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_json_where_they_can_be(value: str, read: object) -> None:
    """A value is read as JSON before the tags are put in; what is none is text."""
    assert values.read(value) == (read, False)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("[{phone}]", ["+491"]),
        ('{"to": [{phone}], "text": "{otp}", "{x": {otp}}', {"to": ["+491"], "text": "5", "{x": "5"}),
    ],
)
def test_a_tag_outside_of_quotes_is_text(tmp_path: Path, value: str, sent: object) -> None:
    """Where the tag stands for a whole JSON value that value is a text: the type comes from the configuration."""
    found = http(tmp_path, **JSON, v=value)
    assert json.loads(prepared(found.gateways["x"], "+491", "5").request.body) == {"v": sent}
    assert found.remarks("x") == ["v: number and message are sent as text, also where they look like a number"]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("true", "True"),
        ("1.50", "1.5"),
        ("null", None),
        ("[]", None),
        ('["a", "b"]', ["a", "b"]),
        ('["a"]', "a"),
        ('"x"', "x"),
        ('[1, null, [true, "y"]]', ["1", "True", "y"]),
        ('[[["{phone}"]]]', "['{{ phone }}']"),
    ],
)
@pytest.mark.parametrize("kind", ["query", "form"])
def test_constants_in_a_query_or_form(tmp_path: Path, kind: str, value: str, texts: object) -> None:
    """Constants go out as requests writes them: words of Python, numbers without zeros, nothing for null."""
    found = http(tmp_path, **(POST if kind == "form" else {}), k="x", v=value)
    assert settings(found)[kind] == ({"k": "x"} if texts is None else {"k": "x", "v": texts})
    assert found.remarks("x") == []


@pytest.mark.parametrize(
    ("value", "sent", "remark"),
    [
        ("true", True, None),
        ("1.50", 1.5, None),
        ("null", None, None),
        ('"x"', "x", None),
        ("NaN", "nan", "v is a number, and is sent as text"),
        ("1" * 120, "1" * 120, "v is a number, and is sent as text"),
        (
            '{"{phone}": "{phone}"}',
            {"{phone}": "{{ phone }}"},
            "v: a tag in a key of a JSON object is sent as it stands",
        ),
        ("“{otp}”", "“{{ message }}”", "v has typographic quotes, which are no JSON: it is sent as it stands, as text"),
        (
            "[“{phone}”]",
            "[“{{ phone }}”]",
            "v has typographic quotes, which are no JSON: it is sent as it stands, as text",
        ),
    ],
)
def test_values_of_a_json_body(tmp_path: Path, value: str, sent: object, remark: str | None) -> None:
    """In a JSON body they keep their types; what no file can hold, and what only looks like JSON, is a remark."""
    found = http(tmp_path, **JSON, v=value)
    assert settings(found)["json"] == {"v": sent}
    assert found.remarks("x") == ([] if remark is None else [remark])


def test_an_object_outside_of_json(tmp_path: Path) -> None:
    """Of a JSON object in a query the ancestor sends the keys; so does the import, and remarks on it."""
    found = http(tmp_path, v='{"a": 1}')
    assert settings(found)["query"] == {"v": "a"}
    assert found.remarks("x") == ["v is a JSON object, of which only the keys are sent outside of a JSON body"]


# --- the request


@pytest.mark.parametrize(
    ("method", "sent", "remarked"),
    [("POST", "POST", False), ("GET", "GET", False), ("", "GET", False), ("post", "GET", True), ("PUT", "GET", True)],
)
def test_method(tmp_path: Path, method: str, sent: str, remarked: bool) -> None:
    """POST is POST; all else is GET."""
    found = http(tmp_path, HTTP_METHOD=method, v="x")
    assert settings(found)["method"] == sent
    assert bool(found.remarks("x")) == remarked


def test_json_is_ignored_for_get(tmp_path: Path) -> None:
    """SEND_DATA_AS_JSON says nothing without POST."""
    assert settings(http(tmp_path, SEND_DATA_AS_JSON="yes", v='["a"]'))["query"] == {"v": "a"}


def test_headers_stand_as_they_are(tmp_path: Path) -> None:
    """Headers have no tags; those that only differ by case are one, and those that smsgwd writes are left out."""
    found = http(
        tmp_path, {"X-A": "{phone}", "x-a": "{otp}", "Host": "h", "Bad Name": "x", "B": "a\nb", "Ü": "x", "C": "ü"}
    )
    assert settings(found)["headers"] == {"x-a": "{{ '{' }}otp}", "C": "ü"}
    assert found.remarks("x") == [
        "the header 'Host' is left out: smsgwd writes it itself",
        "the header 'Bad Name' is left out: no request can carry it",
        "the header 'B' is left out: no request can carry it",
        "the header 'Ü' is left out: no request can carry it",
        "the header C is sent in UTF-8, by privacyIDEA in Latin-1",
    ]


AUTH_CASES: list[tuple[dict[str, str], str, tuple[str, str] | None]] = [
    ({"USERNAME": "u", "PASSWORD": "word"}, "", ("u", "word")),
    ({"USERNAME": "u", "PASSWORD": ""}, "", ("u", "")),
    ({"USERNAME": "u"}, "", None),
    ({"USERNAME": "", "PASSWORD": "word"}, "", None),
    ({"USERNAME": "", "PASSWORD": "word"}, "a%41:b%42", ("a%41", "b%42")),
    ({}, "user:pass@word", ("user", "pass@word")),
    ({}, "user", None),
    ({"USERNAME": "u", "PASSWORD": "word"}, "user:pass", ("u", "word")),
    ({"USERNAME": "a:b", "PASSWORD": "c:d"}, "", ("a", "b:c:d")),
]


@pytest.mark.parametrize(("options", "userinfo", "sent"), AUTH_CASES)
def test_basic_authentication(
    tmp_path: Path, options: dict[str, str], userinfo: str, sent: tuple[str, str] | None
) -> None:
    """It needs a name and a password that is there; else what the URL holds counts, as it is written."""
    url = URL.replace("://", f"://{userinfo}@") if userinfo else URL
    found = http(tmp_path, {"Authorization": "Bearer abcd"}, **{"URL": url, **options})
    made = settings(found)
    assert made["url"] == URL
    if sent is None:
        assert "auth" not in made
        assert made["headers"] == {"Authorization": "{{ secrets.authorization }}"}
        assert found.secret("x/authorization") == "Bearer abcd\n"
    else:
        assert made["auth"] == {"username": sent[0], "password": "{{ secrets.password }}" if sent[1] else ""}
        assert "headers" not in made
        assert not sent[1] or found.secret("x/password") == f"{sent[1]}\n"


@pytest.mark.parametrize(
    ("options", "proxy"),
    [
        ({"HTTP_PROXY": "http://p:1"}, {"http": "http://p:1"}),
        (
            {"HTTP_PROXY": "p:1", "HTTPS_PROXY": "http://q:2", "PROXY": "http://r:3"},
            {"http": "http://p:1", "https": "http://q:2"},
        ),
        ({"PROXY": "http://p:1"}, {"http": "http://p:1"}),
        ({"PROXY": "https://p:1"}, {"https": "http://p:1"}),
        ({"PROXY": "http://p"}, {"http": "http://p:80"}),
        ({"PROXY": "http://[::1]:3128/"}, {"http": "http://[::1]:3128"}),
        ({"HTTP_PROXY": "", "PROXY": "http://p:1"}, {"http": "http://p:1"}),
        ({"PROXY": "p:1"}, None),
        ({"HTTP_PROXY": "socks5://p:1"}, None),
        ({"HTTP_PROXY": "http://u%40:s%3A%2F@p:1"}, {"http": "http://u%40:{{ secrets.proxy_password }}@p:1"}),
        ({"HTTP_PROXY": "http://u@p:1"}, {"http": "http://p:1"}),
        ({"HTTP_PROXY": CENSORED}, {"http": "{{ secrets.proxy }}"}),
    ],
)
def test_proxies(tmp_path: Path, options: dict[str, str], proxy: dict[str, str] | None) -> None:
    """HTTP_PROXY and HTTPS_PROXY by scheme; PROXY, by its own scheme, only when neither is there."""
    found = http(tmp_path, **options)
    assert settings(found).get("proxy") == proxy
    if "%3A" in str(options):
        assert found.secret("x/proxy_password") == "s:/\n"


@pytest.mark.parametrize(
    ("text", "timeout", "deadline"),
    [
        (None, {"connect": "3s", "total": "6s"}, None),
        ("", {"connect": "3s", "total": "6s"}, None),
        ("2.5", {"connect": "2500ms", "total": "5s"}, None),
        ("15", {"connect": "15s", "total": "30s"}, None),
        ("60", {"connect": "60s", "total": "120s"}, "120s"),
        ("soon", {"connect": "3s", "total": "6s"}, None),
        ("0", {"connect": "3s", "total": "6s"}, None),
        ("nan", {"connect": "3s", "total": "6s"}, None),
    ],
)
def test_timeout(tmp_path: Path, text: str | None, timeout: dict[str, str], deadline: str | None) -> None:
    """Seconds, 3 by default, for connecting and for the answer; what takes longer than the deadline moves it."""
    found = http(tmp_path, **({} if text is None else {"TIMEOUT": text}))
    assert settings(found)["timeout"] == timeout
    assert found.data("x").get("deadline") == deadline
    assert bool(found.remarks("x")) == (text in {"soon", "0", "nan"})


@pytest.mark.parametrize(
    ("options", "verified", "remarked"),
    [
        ({}, True, False),
        ({"CHECK_SSL": "yes"}, True, False),
        ({"CHECK_SSL": "no"}, False, False),
        ({"CHECK_SSL": "Yes"}, False, True),
        ({"CHECK_SSL": ""}, False, True),
    ],
)
def test_tls(tmp_path: Path, options: dict[str, str], verified: bool, remarked: bool) -> None:
    """Certificates are verified unless CHECK_SSL is something other than `yes`."""
    found = http(tmp_path, **options)
    assert settings(found).get("tls") == (None if verified else {"verify": False})
    assert bool(found.remarks("x")) == remarked


@pytest.mark.parametrize(
    ("options", "status", "body", "taken_it"),
    [
        ({}, 200, b"", True),
        ({}, 201, b"", True),
        ({}, 202, b"", True),
        ({}, 204, b"", False),
        ({}, 400, b"", False),
        ({"RETURN_SUCCESS": "queued"}, 200, b"is queued", True),
        ({"RETURN_SUCCESS": "queued"}, 200, b"no", False),
        ({"RETURN_SUCCESS": "queued"}, 400, b"queued", False),
        ({"RETURN_SUCCESS": "", "RETURN_FAIL": ""}, 200, b"x", True),
        ({"RETURN_FAIL": "REJECTED"}, 200, b"ok", True),
        ({"RETURN_FAIL": "REJECTED"}, 202, b"REJECTED", False),
        ({"RETURN_SUCCESS": "queued", "RETURN_FAIL": "REJECTED"}, 200, b"queued, REJECTED", False),
        ({"RETURN_SUCCESS": "queued", "RETURN_FAIL": "REJECTED"}, 200, b"queued", True),
    ],
)
def test_success(tmp_path: Path, options: dict[str, str], status: int, body: bytes, taken_it: bool) -> None:
    """A status of 200, 201 or 202, RETURN_SUCCESS in the body and RETURN_FAIL not: both are looked at."""
    assert (outcome(http(tmp_path, **options), status, body).kind is Kind.ACCEPTED) == taken_it


def outcome(found: Taken, status: int, body: bytes) -> Outcome:
    """What the gateway makes of an answer."""
    made: Outcome = found.gateways["x"].provider.interpret(HttpReply(WireResponse(status, (), body), time.time()))
    return made


def test_failure_counts_with_success_codes_alone(tmp_path: Path) -> None:
    """The words of RETURN_FAIL in an answer 401 do not hide that the account is refused."""
    assert outcome(http(tmp_path, RETURN_FAIL="error"), 401, b"error").reason is Reason.AUTH


def test_names_of_parameters_can_be_sent(tmp_path: Path) -> None:
    """What is an option of the class is none of the request, and a fixed parameter of old may have such a name."""
    found = taken({"URL": URL, "PARAMETER": {"TIMEOUT": "x", "URL": "y"}}, tmp_path)
    assert found.data("old")["settings"]["query"] == {
        "phone": "{{ phone }}",
        "sms": "{{ message }}",
        "TIMEOUT": "x",
        "URL": "y",
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "not imported: URL is missing"),
        ("ftp://x/", "not imported: URL: a URL begins with http:// or https://"),
        ("gateway.test/x", "not imported: URL does not begin with http:// or https://"),
        ("https://ho st/", "not imported: URL: not the name of a host"),
        ("https://x:99999/", "not imported: URL: a port is a number from 1 to 65535"),
        (CENSORED, "not imported: URL is censored in the source"),
    ],
)
def test_a_url_that_is_none(tmp_path: Path, url: str, reason: str) -> None:
    """A definition that the ancestor cannot send with is a remark, and no file."""
    found = http(tmp_path, URL=url)
    assert found.remarks("x") == [reason]
    assert found.gateways == {}


# --- REGEXP


@pytest.mark.parametrize(
    ("regexp", "phone", "sent"),
    [
        ("/[+-/. ]//", "+49 123/456-78", "4912345678"),
        ("/^0/0049/", "0170", "0049170"),
        (r"/^([0-9]+).*/\1/", "0170x5", "0170"),
        (r"/(?P<n>7)/<\g<n>>/", "0170", "01<7>0"),
        ("//-/", "12", "-1-2-"),
        ("/[[:digit:]]/x/", "1d]", "1x"),
        ("/[^[:a]]/x/", "1]", "x"),
        ("/1{e<=1}/x/", "21{e<=1}", "2x"),
        (r"/\N{DIGIT ONE}{2}\{/x/", "11{", "x"),
        ("/^0/00/49/", "01", "01"),
        ("/^0/00/49/", "0/001", "491"),
    ],
)
def test_numbers_are_rewritten(tmp_path: Path, regexp: str, phone: str, sent: str) -> None:
    """REGEXP is applied to the number as the caller wrote it, before anything else."""
    found = http(tmp_path, REGEXP=regexp, to="{phone}")
    assert found.remarks("x") == []
    assert found.gateways["x"].provider.describe(prepared(found.gateways["x"], phone, "x"))["query"] == {"to": sent}


ATOMS = (
    *"0149+-/. ()[]{}|^$*?ABx:",
    *(
        r"\d",
        r"\+",
        r"\[",
        r"\{",
        r"\1",
        r"\N{DIGIT ONE}",
        "[0-9]",
        "[^0-9]",
        "[+-/. ]",
        "[[:alpha:]]",
        "[a[",
        "[^]",
        "[:",
    ),
    *(
        "(?:",
        "(?P<a>",
        "(?=",
        "(?!",
        "(?<=",
        "(?>",
        "(?i:",
        "{2}",
        "{1,}",
        "{,2}",
        "{,}",
        "{}",
        "{e<=1}",
        "{d",
        "+?",
        "*+",
    ),
    *("&&", "--", "||", "~~"),
)


@given(
    st.lists(st.sampled_from(ATOMS), max_size=6).map("".join),
    st.sampled_from(["", "00", r"\1", r"\g<0>x", "$1"]),
    st.sampled_from(["+49 123/456-78", "0170", "x1{e<=1}[:a]"]),
)
@hypothesis.settings(max_examples=500, deadline=None)
def test_expressions_mean_what_they_mean_to_python(pattern: str, replace: str, phone: str) -> None:
    """Whatever expression Python's `re` takes, the rule that comes of it rewrites a number in the same way."""
    regexp = f"/{pattern}/{replace}/"
    sheet = Sheet("")
    rules = [msisdn.compile_rewrite(**rule) for rule in number.phone(sheet, regexp).get("rewrite", [])]
    if not sheet.remarks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = ancestor.number(regexp, phone)
        assert [rule.pattern.sub(rule.replacement, phone) for rule in rules] == [expected]


@pytest.mark.parametrize(
    ("regexp", "remark"),
    [
        ("^0", "REGEXP is not of the form /pattern/replacement/: it is left out, as privacyIDEA ignores it"),
        ("/^0/", "REGEXP is not of the form /pattern/replacement/: it is left out, as privacyIDEA ignores it"),
        ("/(/x/", "REGEXP is left out, as privacyIDEA does not apply it: it is no regular expression (error)"),
        (r"/x/\9/", "REGEXP is left out, as privacyIDEA does not apply it: it is no regular expression (error)"),
        (
            r"/x/\g<n>/",
            "REGEXP is left out, as privacyIDEA does not apply it: it is no regular expression (IndexError)",
        ),
        (r"/\p{L}/x/", "REGEXP is left out, as privacyIDEA does not apply it: it is no regular expression (error)"),
    ],
)
def test_a_regexp_that_is_not_applied(tmp_path: Path, regexp: str, remark: str) -> None:
    """What the ancestor silently ignores is left out, with a remark."""
    found = http(tmp_path, REGEXP=regexp)
    assert found.remarks("x") == [remark]
    assert found.data("x")["phone"] == {"format": "verbatim"}


# --- mail

CORP = {"corp": {"server": "mail.example.com", "sender": "sms@example.com"}}
HERE = {"MAILTO": "sms@example.com", "SMTPIDENTIFIER": "corp"}


@pytest.mark.parametrize(
    ("body", "text", "remarked"),
    [
        ("{otp} {{otp}}", "{{ message }} {{ '{' }}otp}", False),
        ("{otp!s}", "{{ message }}", False),
        ("{otp:>9}", "{{ message }}", True),
        ("{otp!r}", "{{ message }}", True),
        ("{user} {otp}", "{user} {{ message }}", True),
        ("{} {otp}", "{} {{ message }}", True),
        ("{otp.x}", "{otp.x}", True),
        ("{ {otp}", "{ {{ message }}", True),
        ("", "", False),
    ],
)
def test_texts_of_mails(tmp_path: Path, body: str, text: str, remarked: bool) -> None:
    """They are in `str.format` notation; what makes the ancestor fail is a remark."""
    found = other(tmp_path, "Smtp", CORP, **HERE, BODY=body)
    assert settings(found)["body"] == text
    assert bool(found.remarks("x")) == remarked


def test_defaults_of_mails(tmp_path: Path) -> None:
    """Without SUBJECT and BODY they are the number and the message; an empty SUBJECT stays empty."""
    sent = prepared(other(tmp_path, "Smtp", CORP, **HERE).gateways["x"], "+491701234567", "hi")
    assert (sent.subject, sent.body) == ("+491701234567", "hi")
    empty = other(tmp_path / "empty", "Smtp", CORP, **HERE, SUBJECT="")
    assert prepared(empty.gateways["x"], "+491701234567", "hi").subject == ""


@pytest.mark.parametrize(
    ("mail_to", "made", "remarked"),
    [
        ("{phone}@a.example", "{{ phone }}@a.example", False),
        ("a@a.example, {phone}@b.example", ["a@a.example", "{{ phone }}@b.example"], True),
        ("SMS <a@a.example>", "a@a.example", True),
        ("{phone}", "{{ phone }}", False),
    ],
)
def test_recipients(tmp_path: Path, mail_to: str, made: object, remarked: bool) -> None:
    """One address stays as it is; of several, or of one with a name, the addresses are taken."""
    found = other(tmp_path, "Smtp", CORP, **{**HERE, "MAILTO": mail_to})
    assert settings(found)["mail_to"] == made
    assert bool(found.remarks("x")) == remarked


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        ({"server": "m.example:26", "port": 25}, {"host": "m.example", "port": 26, "tls": "none"}),
        ({"server": "m.example", "port": "587", "tls": True}, {"host": "m.example", "port": 587, "tls": "starttls"}),
        ({"server": "m.example", "tls": "1"}, {"host": "m.example", "port": 25, "tls": "starttls"}),
        ({"server": "[::1]:26"}, {"host": "::1", "port": 26, "tls": "none"}),
        ({"server": "smtps://m.example"}, {"host": "m.example", "port": 465, "tls": "tls"}),
        ({"server": "m.example", "timeout": 3}, {"host": "m.example", "port": 25, "tls": "none", "timeout": "3s"}),
        (
            {"server": "m.example", "username": "u", "password": ""},
            {"host": "m.example", "port": 25, "tls": "none", "username": "u", "password": ""},
        ),
    ],
)
def test_smtp_servers(tmp_path: Path, given: dict[str, Any], entry: dict[str, Any]) -> None:
    """Host and port, of which that in `server` wins; `tls` is STARTTLS; 10 s unless it says otherwise."""
    found = other(tmp_path, "Smtp", {"corp": {"sender": "a@b.example", **given}}, **HERE)
    made = dict(site(found)["smtp_servers"]["corp"])
    assert made == {"from": "a@b.example", "timeout": "10s", **entry}


def site(found: Taken) -> dict[str, Any]:
    """smsgwd.yaml, read by a reader that is not ours."""
    made: dict[str, Any] = yaml.safe_load((found.directory / "smsgwd.yaml").read_text())
    return made


def test_a_server_that_the_source_lacks(tmp_path: Path) -> None:
    """The gateway compiles, to a server that is never there, and both files say what is to be done."""
    found = other(tmp_path, "Smtp", None, **HERE)
    assert site(found)["smtp_servers"] == {"corp": {"host": "mail.invalid", "from": "sms@mail.invalid"}}
    assert found.remarks("x") == ["the SMTP server corp has still to be filled in, in smsgwd.yaml"]
    assert found.remarks("smsgwd.yaml") == [
        "the source does not carry the SMTP server corp: fill in smtp_servers, corp"
    ]
    assert "headers" not in settings(found)


def test_a_censored_password_of_a_server(tmp_path: Path) -> None:
    """It is still to be given, and smsgwd.yaml says where."""
    found = other(tmp_path, "Smtp", {"corp": {**CORP["corp"], "username": "u", "password": CENSORED}}, **HERE)
    assert found.remarks("smsgwd.yaml") == [
        "corp_password is censored in the source: write it to secrets.d/smtp.servers/corp_password"
    ]
    assert site(found)["smtp_servers"]["corp"]["password"] == "{{ secrets.corp_password }}"


def test_a_name_of_a_server_that_is_none_here(tmp_path: Path) -> None:
    """Identifiers outside of the pattern are mapped, and the gateway names what they became."""
    servers = {"Köln: Büro": CORP["corp"]}
    found = other(tmp_path, "Smtp", servers, MAILTO="a@b.example", SMTPIDENTIFIER="Köln: Büro")
    assert settings(found)["server"] == "Koln-Buro"
    assert list(site(found)["smtp_servers"]) == ["Koln-Buro"]
    assert found.remarks("smsgwd.yaml") == ["the SMTP server 'Köln: Büro' is called Koln-Buro here"]


@pytest.mark.parametrize(
    ("server", "remark"),
    [
        (
            {"server": "a b", "sender": "a@b.example"},
            "SMTP server corp: its host is none, mail.invalid stands in its place",
        ),
        ({"server": "a", "port": "x", "sender": "a@b.example"}, "SMTP server corp: its port is none, 25 is used"),
        ({"server": "a"}, "SMTP server corp: its sender is no mail address, write one to `from`"),
        ({"server": "a", "sender": "SMS <a@b.example>"}, "SMTP server corp: of its sender only the address is used"),
        (
            {"server": "a", "sender": "a@b.example", "timeout": "x"},
            "SMTP server corp: timeout is no number of seconds above zero: 10 are used",
        ),
    ],
)
def test_a_server_that_is_not_sound(tmp_path: Path, server: dict[str, Any], remark: str) -> None:
    """What cannot be used has a stand-in and a remark; the result compiles."""
    found = other(tmp_path, "Smtp", {"corp": server}, **HERE)
    assert remark in found.remarks("smsgwd.yaml")
    assert list(found.gateways) == ["x"]


# --- SMPP, sipgate, scripts, others


@pytest.mark.parametrize(
    ("options", "kinds", "sender", "remarks"),
    [
        ({}, (0, 0, 0, 0), None, []),
        ({"S_ADDR_TON": "0x5", "S_ADDR_NPI": "0X1", "D_ADDR_TON": "2", "D_ADDR_NPI": "01"}, (5, 1, 2, 1), None, []),
        ({"S_ADDR": "ACME"}, (0, 0, 0, 0), "ACME", []),
        ({"S_ADDR_TON": "five"}, (0, 0, 0, 0), None, ["S_ADDR_TON is no number from 0 to 255: it is left out"]),
        (
            {"S_ADDR": "A name that is too long"},
            (0, 0, 0, 0),
            None,
            ["S_ADDR is left out, it is no source address: a name has 11 GSM characters at most"],
        ),
        (
            {"PASSWORD": "123456789"},
            (0, 0, 0, 0),
            None,
            ["PASSWORD is longer than the 8 octets that SMPP carries: privacyIDEA sends the first 8, so do we"],
        ),
        ({"FOO": "1"}, (0, 0, 0, 0), None, ["the option 'FOO' is left out: its class does not know it"]),
    ],
)
def test_smpp(
    tmp_path: Path, options: dict[str, str], kinds: tuple[int, ...], sender: str | None, remarks: list[str]
) -> None:
    """TON and NPI are decimal or as 0x5, and 0 when absent; an absent S_ADDR is empty; it binds as transmitter."""
    found = other(tmp_path, "Smpp", None, SMSC_HOST="smsc.example", SMSC_PORT="2776", **options)
    made = settings(found)
    assert (made["host"], made["port"], made["bind"]) == ("smsc.example", 2776, "transmitter")
    assert (*made["source"].values(), *made["destination"].values()) == kinds
    assert found.data("x").get("sender") == sender
    assert found.remarks("x") == remarks


def test_smpp_accounts_are_cut_as_smpplib_cuts_them(tmp_path: Path) -> None:
    """What is too long for SMPP has only ever been sent in part; the file has that part, and compiles."""
    account = {"SYSTEM_ID": "a-system-id-too-long", "PASSWORD": "password-too-long"}
    found = other(tmp_path, "Smpp", None, SMSC_HOST="smsc.example", SMSC_PORT="2776", **account)
    assert settings(found)["system_id"] == "a-system-id-too"
    assert found.secret("x/password") == "password\n"
    assert list(found.gateways) == ["x"]


def test_smpp_numbers_keep_their_plus(tmp_path: Path) -> None:
    """The number goes out as REGEXP left it, `+` included."""
    found = other(tmp_path, "Smpp", None, SMSC_HOST="smsc.example", SMSC_PORT="2776", REGEXP="/ //")
    assert prepared(found.gateways["x"], "+49 170 1", "x").destination.text == "+491701"


def test_sipgate(tmp_path: Path) -> None:
    """The older interface, 60 s, and REGEXP, which the ancestor forgets for stored definitions."""
    found = other(tmp_path, "Sipgate", None, USERNAME="u", PASSWORD="word", PROXY="https://p:1", REGEXP="/^0/+49/")
    assert settings(found) == {
        "username": "u",
        "password": "{{ secrets.password }}",
        "api": "xmlrpc",
        "proxy": {"https": "http://p:1"},
        "timeout": {"total": "60s"},
    }
    assert found.data("x")["deadline"] == "60s"
    assert "REGEXP rewrites the number now: privacyIDEA ignores it for sipgate" in found.remarks("x")
    assert b"sip:491701@sipgate.de" in prepared(found.gateways["x"], "01701", "x").request.body


@pytest.mark.parametrize(
    ("background", "mode"), [("wait", "wait"), ("background", "background"), ("", "background"), ("Wait", "background")]
)
def test_scripts(tmp_path: Path, background: str, mode: str) -> None:
    """Exit codes count only with `wait`; that there was no time limit, and where the script is, are remarks."""
    found = other(tmp_path, "Script", None, script="send.sh", background=background)
    assert settings(found) == {"command": ["send.sh"], "mode": mode}
    assert len(found.remarks("x")) == 2
    assert site(found) == {"scripts": {"directory": "/etc/privacyidea/scripts"}}


@pytest.mark.parametrize(
    ("module", "remark"),
    [
        (privacyidea.FIREBASE, "not imported: it pushes to an app and sends no SMS"),
        ("mycorp.Sms", "not imported: there is no counterpart of the class 'mycorp.Sms'"),
        ("", "not imported: no class"),
    ],
)
def test_classes_without_a_counterpart(tmp_path: Path, module: str, remark: str) -> None:
    """Push messages and foreign classes are remarks, and nothing is written."""
    found = taken({"smsgateway": {"x": {"providermodule": module, "options": {"PASSWORD": "word"}}}}, tmp_path)
    assert found.remarks("x") == [remark]
    assert found.done.files == []


@pytest.mark.parametrize(
    ("kind", "remark"),
    [
        ("Smpp", "not imported: SMSC_HOST is missing"),
        ("Smtp", "not imported: SMTPIDENTIFIER is missing"),
        ("Sipgate", "not imported: USERNAME or PASSWORD is missing"),
        ("Script", "not imported: script is missing"),
    ],
)
def test_what_is_required(tmp_path: Path, kind: str, remark: str) -> None:
    """A definition without what its class needs is a remark, and no file."""
    found = other(tmp_path, kind)
    assert remark in found.remarks("x")
    assert found.gateways == {}


# --- secrets


def test_what_the_source_calls_secret_is_one(tmp_path: Path) -> None:
    """Values that privacyIDEA marks as secret, or that are named like one, go into files, in any kind of request."""
    entry = {
        "providermodule": privacyidea.HTTP,
        "options": {"URL": URL, "user": "me-too", "token": '["t-one", "t-two"]', "n": "1", **JSON},
        "headers": {"X-Account": "hidden", "X-Other": "shown"},
        "secret_options": ["user"],
        "secret_headers": ["X-Account"],
    }
    found = taken({"smsgateway": {"x": entry}}, tmp_path)
    assert settings(found)["json"] == {
        "user": "{{ secrets.user }}",
        "token": ["{{ secrets.token }}", "{{ secrets.token_2 }}"],
        "n": 1,
    }
    assert settings(found)["headers"] == {"X-Account": "{{ secrets.x_account }}", "X-Other": "shown"}
    assert [found.secret(f"x/{name}") for name in ("user", "token", "token_2", "x_account")] == [
        *("me-too\n", "t-one\n", "t-two\n", "hidden\n")
    ]


def test_a_censored_value_is_still_to_be_given(tmp_path: Path) -> None:
    """What reads __CENSORED__ becomes a reference to a secret without a file, and a remark that says where it goes."""
    found = http(tmp_path, {"X-Key": CENSORED}, USERNAME="u", PASSWORD=CENSORED, note=CENSORED)
    assert settings(found)["auth"]["password"] == "{{ secrets.password }}"
    assert settings(found)["query"] == {"note": "{{ secrets.note }}"}
    assert found.remarks("x") == [
        f"{key} is censored in the source: write it to secrets.d/x/{name}"
        for key, name in (("PASSWORD", "password"), ("note", "note"), ("X-Key", "x_key"))
    ]
    assert not (tmp_path / "secrets.d").exists()


def test_a_censored_value_that_no_secret_can_stand_for(tmp_path: Path) -> None:
    """A rule of success that is hidden would refuse every answer: what has to stand in the file is left out."""
    found = http(tmp_path, RETURN_SUCCESS=CENSORED, CHECK_SSL=CENSORED, PROXY=CENSORED, v="x")
    assert settings(found).keys() == {"url", "method", "query", "timeout"}
    assert found.remarks("x") == [
        f"{key} is censored in the source, and is left out" for key in ("CHECK_SSL", "PROXY", "RETURN_SUCCESS")
    ]
    extra = http(tmp_path / "extra", MAILTO=CENSORED)
    assert settings(extra)["query"] == {"MAILTO": "{{ secrets.mailto }}"}
    hidden = other(tmp_path / "smpp", "Smpp", None, SMSC_HOST=CENSORED, SMSC_PORT="2775")
    assert hidden.remarks("x")[-1] == "not imported: SMSC_HOST is missing"


def test_a_secret_that_stands_in_the_file(tmp_path: Path) -> None:
    """A URL has to be there: that privacyIDEA hides it is a remark."""
    entry = {"providermodule": privacyidea.HTTP, "options": {"URL": URL}, "secret_options": ["URL", "PASSWORD"]}
    found = taken({"smsgateway": {"x": entry}}, tmp_path)
    assert found.remarks("x") == ["URL is a secret in privacyIDEA, and stands in the file itself"]


@pytest.mark.parametrize("value", ["word\n", "word\r", "word\r\n", "wo\nrd", "  word ", "ümlaut€", "{{ x }}"])
def test_secrets_are_read_back_as_they_were(tmp_path: Path, value: str) -> None:
    """A secret file holds what reading makes the value of again, whatever ends it."""
    found = http(tmp_path, **POST, token=value)
    sent = prepared(found.gateways["x"], "+491", "x")
    assert found.gateways["x"].provider.describe(sent)["body"] == {"token": value}


def test_names_of_secrets(tmp_path: Path) -> None:
    """They are what a file and a template can be called, each its own, whatever the options are called."""
    options = {"Über-Token": "geheim1", "token!": "geheim2", "TOKEN": "geheim3", "2-password": "geheim4"}
    found = http(tmp_path, **options, **{f"{'long' * 70}_token": "geheim5", "密token": "geheim6"})
    assert list(found.data("x")["secrets"]) == ["ber_token", "token", "token_2", "_2_password", "long" * 15, "token_3"]
    assert len(found.gateways) == 1


def test_a_number_that_is_a_credential(tmp_path: Path) -> None:
    """No file holds a credential, so a number that is one becomes text from a secret, with a remark."""
    found = http(tmp_path, **JSON, auth='{"token": 4711, "on": true, "pin": {"password": [null, 5]}}')
    assert settings(found)["json"] == {
        "auth": {
            "token": "{{ secrets.token }}",
            "on": True,
            "pin": {"password": [None, "{{ secrets.password }}"]},
        }
    }
    assert found.remarks("x") == ["token is a number, and is sent as text", "password is a number, and is sent as text"]


def test_a_description_with_a_credential(tmp_path: Path) -> None:
    """A description that holds a credential is left out."""
    entry = {"providermodule": privacyidea.HTTP, "options": {"URL": URL}, "description": "https://u:geheim@x.example"}
    found = taken({"smsgateway": {"x": entry}}, tmp_path)
    assert "description" not in found.data("x")
    assert found.remarks("x") == ["the description is left out: it holds a credential"]


def test_the_page_names_every_parameter() -> None:
    """docs/privacyidea.md says of each parameter of each class what becomes of it."""
    page = (Path(__file__).parent.parent / "docs" / "privacyidea.md").read_text("utf-8")
    named = {name for names in privacyidea.PARAMETERS.values() for name in names}
    assert [name for name in sorted(named) if f"`{name}`" not in page] == []
