"""Imported gateways of the classes for mail, SMPP, scripts and sipgate send what privacyIDEA's send."""

import re
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ancestor
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import CASES, Taken, compiled, export, prepared, taken

from smsgwd import segments
from smsgwd.errors import MessageError

EXPORT = export(CASES / "others.yaml")["smsgateway"]
NUMBERS = st.from_regex(r"(\+|00)?[1-9][0-9]{6,14}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.text(
    st.sampled_from('{}%<>&"a {phone}{otp}'), min_size=1, max_size=20
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """The export of the other classes, taken over from its text."""
    return taken((CASES / "others.yaml").read_text("utf-8"), tmp_path_factory.mktemp("others"))


def test_every_definition_becomes_a_gateway(found: Taken) -> None:
    """Each compiles with the secrets that were written; of the scripts only the files are missing."""
    missing = {"script", "script-background"}
    assert set(found.gateways) == EXPORT.keys() - missing
    errors = [problem for problem in found.problems if "error[" in problem]
    assert all("script" in problem or "/etc/privacyidea" in problem for problem in errors)


Sent = Any  # what goes out, in a form that both sides can be brought into


def _mail(options: dict[str, str], phone: str, text: str) -> Sent:
    return tuple(
        options.get(key, default).format(phone=phone, otp=text)
        for key, default in (("MAILTO", ""), ("SUBJECT", "{phone}"), ("BODY", "{otp}"))
    )


def _smpp(options: dict[str, str], phone: str, _: str) -> Sent:
    kinds = [int(options.get(key, "0"), 0) for key in ("S_ADDR_TON", "S_ADDR_NPI", "D_ADDR_TON", "D_ADDR_NPI")]
    return (options.get("S_ADDR", ""), *kinds[:2]), (phone, *kinds[2:])


def _sipgate(_: dict[str, str], phone: str, text: str) -> Sent:
    uri = f"sip:{phone.removeprefix('+')}@sipgate.de"
    return "samurai.SessionInitiate", {"RemoteUri": uri, "TOS": "text", "Content": text}


THEIRS: dict[str, Callable[[dict[str, str], str, str], Sent]] = {
    "SmtpSMSProvider": _mail,
    "SmppSMSProvider": _smpp,
    "SipgateSMSProvider": _sipgate,
}


def _ours(sent: Any) -> Sent:
    if hasattr(sent, "subject"):
        (to,) = sent.to
        return to, sent.subject, sent.body
    if hasattr(sent, "source"):
        return tuple((each.text, each.ton, each.npi) for each in (sent.source, sent.destination))
    (call,), method = xmlrpc.client.loads(sent.request.body)
    return method, call


@given(st.sampled_from(sorted(name for name in EXPORT if not name.startswith("script"))), NUMBERS, TEXTS)
@settings(max_examples=600, deadline=None)
def test_the_same_is_sent(found: Taken, name: str, phone: str, text: str) -> None:
    """The mail, the addresses of the submit_sm and the XML-RPC call are those of the ancestor's own rules."""
    kind, options = EXPORT[name]["providermodule"].rpartition(".")[2], EXPORT[name]["options"]
    number = ancestor.number(options.get("REGEXP", ""), phone)
    try:
        mine = prepared(found.gateways[name], phone, text)
    except MessageError:
        # what XML or a text of SMS cannot carry at all: the ancestor sends it broken
        assert kind == "SipgateSMSProvider"
        assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)
        return
    assert _ours(mine) == THEIRS[kind](options, number, text)


def test_long_texts_go_over_smpp_in_parts(found: Taken) -> None:
    """A long text is split with a header for its parts, unpacked, as smpplib does it for the ancestor."""
    sent = prepared(found.gateways["smpp"], "+491701234567", "x" * 200)
    assert (sent.data_coding, len(sent.parts)) == (0, 2)
    assert sent.count() == segments.count("x" * 200)


SETTINGS = {
    "mail": {"server": "corp", "mail_to": "{{ phone }}@sms.example.com", "headers": {"Reply-To": "sms@example.com"}},
    "mail-texts": {
        "server": "corp",
        "mail_to": "sms@example.com",
        "subject": "to={{ phone }}",
        "body": "{user} {{ message }}\n{{ '{' }}% raw %} {{ '{' }}{ {{ phone }} }}\n\n",
        "headers": {"Reply-To": "sms@example.com"},
    },
    "mail-empty-subject": {
        "server": "plain",
        "mail_to": "sms@example.com",
        "subject": "",
        "body": "{{ secrets.body }}{{ message }}{{ secrets.body_2 }}",
        "headers": {"Reply-To": "sms@example.com"},
    },
    "smpp": {
        "host": "smsc.example.com",
        "port": 2775,
        "system_id": "me",
        "password": "{{ secrets.password }}",
        "bind": "transmitter",
        "source": {"ton": 5, "npi": 0},
        "destination": {"ton": 1, "npi": 1},
    },
    "smpp-bare": {
        "host": "smsc.example.com",
        "port": 2775,
        "bind": "transmitter",
        "source": {"ton": 0, "npi": 0},
        "destination": {"ton": 0, "npi": 0},
    },
    "script": {"command": ["send{{ '{' }}{.sh"], "mode": "wait"},
    "script-background": {"command": ["send.sh"], "mode": "background"},
    "sipgate": {
        "username": "me@example.com",
        "password": "{{ secrets.password }}",
        "api": "xmlrpc",
        "timeout": {"total": "60s"},
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(found: Taken, name: str) -> None:
    """What the file says."""
    assert found.data(name)["settings"] == SETTINGS[name]


def test_site(found: Taken) -> None:
    """The SMTP servers that are used, and only those, and the folder of the scripts."""
    assert yaml.safe_load((found.directory / "smsgwd.yaml").read_text()) == {
        "secrets": {"corp_password": {"file": "secrets.d/smtp.servers/corp_password"}},
        "smtp_servers": {
            "corp": {
                "host": "mail.example.com",
                "port": 2525,
                "tls": "starttls",
                "username": "sms",
                "password": "{{ secrets.corp_password }}",
                "from": "sms@example.com",
                "timeout": "10s",
            },
            "plain": {"host": "127.0.0.1", "port": 1025, "tls": "none", "from": "sms@example.com", "timeout": "5s"},
        },
        "scripts": {"directory": "/etc/privacyidea/scripts"},
    }
    assert found.secret("smtp.servers/corp_password") == "secret3\n"


def test_a_script_gets_what_it_gets_there(tmp_path: Path) -> None:
    """The script is called with the number as its only argument and the message on standard input."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    program = folder / "send.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    made = taken({"smsgateway": {"script": EXPORT["script-background"]}}, tmp_path)
    site = tmp_path / "smsgwd.yaml"
    site.write_text(site.read_text().replace("/etc/privacyidea/scripts", str(folder)))
    again = compiled(made.directory, made.done)
    call = prepared(again.gateways["script"], "+49 170 1234567", "Hello")
    assert (call.argv, call.text) == (("send.sh", "+491701234567"), "Hello")
