"""Older token configurations, taken over from their dictionaries."""

from pathlib import Path
from typing import Any

import ancestor
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import URL, Taken, http, prepared, taken

FIXED = {
    "from": "0170",
    "n": 5,
    "f": 1.5,
    "t": True,
    "no": None,
    "list": ["a", 1],
    "tag": "{otp} {{ phone }}",
    "j": '"x"',
}
HTTP_CONFIGS: list[dict[str, Any]] = [
    {"URL": URL},
    {"URL": URL, "HTTP_Method": "POST", "PARAMETER": FIXED},
    {"URL": URL, "HTTP_Method": "GET", "PARAMETER": FIXED, "SMS_PHONENUMBER_KEY": "to", "SMS_TEXT_KEY": "text"},
    {"URL": "http://user:pa:ss@gateway.test/x?a=b", "HTTP_Method": "POST", "REGEXP": r"/^\+//"},
    {"URL": URL, "USERNAME": "u", "PASSWORD": "geheim", "PARAMETER": {"account": "clickatell", "password": "pa&ss"}},
    {"URL": URL, "PARAMETER": {"{phone}": "{phone}", "sms2": "{# #}"}, "CHECK_SSL": False},
]
NUMBERS = st.from_regex(r"\+?[0-9][0-9 /-]{3,14}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["123456", "true", "{phone}", '"x"']
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Taken]:
    """Each configuration, in a directory of its own."""
    return [taken(config, tmp_path_factory.mktemp("old")) for config in HTTP_CONFIGS]


@given(st.integers(0, len(HTTP_CONFIGS) - 1), NUMBERS, TEXTS)
@settings(max_examples=400, deadline=None)
def test_requests_are_the_same(found: list[Taken], index: int, phone: str, text: str) -> None:
    """Number and text are sent under their keys, fixed parameters as they stand, as requests writes them."""
    gateway = found[index].gateways["old"]
    theirs = ancestor.old_request(HTTP_CONFIGS[index], phone, text)
    mine = prepared(gateway, phone, text).request
    headers = {key.lower(): value for key, value in mine.headers}
    origin = gateway.provider._endpoint.origin  # type: ignore[attr-defined]  # the HTTP provider's own
    assert (mine.method, origin + mine.target, mine.body) == (theirs.method, theirs.url, theirs.body)
    assert headers.get("authorization") == theirs.headers.get("authorization")
    assert headers.get("content-type") == theirs.headers.get("content-type")


@pytest.mark.parametrize(
    ("check", "verified"), [(True, True), (False, False), ("true", True), ("False", False), (None, False)]
)
def test_check_ssl_is_a_boolean(tmp_path: Path, check: object, verified: bool) -> None:
    """CHECK_SSL of old was true or false; absent it is true."""
    assert http(tmp_path / "new").data("x")["settings"].get("tls") is None
    data = taken({"URL": URL, "CHECK_SSL": check}, tmp_path / "old").data("old")
    assert ("tls" not in data["settings"]) == verified


def test_rules_and_times(tmp_path: Path) -> None:
    """Rules of success, proxy and timeout have the names that they still have."""
    config = {"URL": URL, "RETURN_SUCCESS": "ok", "RETURN_FAIL": "ERR", "PROXY": "http://p:1", "TIMEOUT": 5}
    made = taken(config, tmp_path).data("old")["settings"]
    assert (made["success"], made["failure"]) == ({"contains": "ok"}, {"contains": "ERR", "status": [200, 201, 202]})
    assert (made["proxy"], made["timeout"]) == ({"http": "http://p:1"}, {"connect": "5s", "total": "10s"})


MAIL = {
    "MAILSERVER": "mail.example.com:2525",
    "MAILTO": "<phone>@sms.example.com",
    "MAILSENDER": "sms@example.com",
    "MAILUSER": "user",
    "MAILPASSWORD": "geheim",
}


@pytest.mark.parametrize(
    ("texts", "subject", "body"),
    [
        ({}, "+491", "hi {otp}"),
        ({"SUBJECT": "to <phone>", "BODY": "<otp> {phone} {{x}}\n"}, "to +491", "hi {otp} {phone} {{x}}\n"),
        ({"SUBJECT": ""}, "", "hi {otp}"),
    ],
)
def test_mail(tmp_path: Path, texts: dict[str, str], subject: str, body: str) -> None:
    """Tags are <phone> and <otp>; number and message without SUBJECT and BODY."""
    sent = prepared(taken({**MAIL, **texts}, tmp_path).gateways["old"], "+491", "hi {otp}")
    assert (sent.to, sent.subject, sent.body) == (("+491@sms.example.com",), subject, body)


def test_its_mail_server(tmp_path: Path) -> None:
    """The server stands in the gateway file itself, in the clear as it was, its password in a file."""
    found = taken(MAIL, tmp_path)
    assert found.data("old")["settings"]["server"] == {
        "host": "mail.example.com",
        "port": 2525,
        "tls": "none",
        "username": "user",
        "password": "{{ secrets.mailpassword }}",
        "from": "sms@example.com",
        "timeout": "10s",
    }
    assert found.secret("old/mailpassword") == "geheim\n"
    assert found.remarks("old") == []
    assert not (tmp_path / "smsgwd.yaml").exists()


def test_a_central_mail_server(tmp_path: Path) -> None:
    """IDENTIFIER names a central server, which such a dictionary does not carry."""
    found = taken({"MAILTO": "sms@example.com", "IDENTIFIER": "corp"}, tmp_path)
    assert found.data("old")["settings"]["server"] == "corp"
    site = yaml.safe_load((tmp_path / "smsgwd.yaml").read_text())
    assert site["smtp_servers"] == {"corp": {"host": "mail.invalid", "from": "sms@mail.invalid"}}


def test_sipgate(tmp_path: Path) -> None:
    """An account and nothing else is sipgate's; there REGEXP was applied."""
    found = taken({"USERNAME": "u", "PASSWORD": "geheim", "REGEXP": "/^0/49/"}, tmp_path)
    assert found.data("old")["provider"] == "sipgate"
    assert found.remarks("old") == []
    assert b"sip:49170@sipgate.de" in prepared(found.gateways["old"], "0170", "x").request.body


def test_a_censored_password(tmp_path: Path) -> None:
    """A censored value is one here, too."""
    found = taken({"URL": URL, "USERNAME": "u", "PASSWORD": "__CENSORED__"}, tmp_path)
    assert found.remarks("old") == ["PASSWORD is censored in the source: write it to secrets.d/old/password"]
