"""Settings of the provider `smpp`: what is built of them, and what is found wrong."""

from pathlib import Path
from typing import Any

import pytest
from drafting import built, message

from smsgwd.compile import Draft
from smsgwd.errors import MessageError
from smsgwd.load import load
from smsgwd.outcome import Reason
from smsgwd.providers import smpp
from smsgwd.providers._base import Site
from smsgwd.providers.smpp.build import relative_time
from smsgwd.providers.smpp.provider import SmppProvider

PASSWORD = "{{ secrets.password }}"
MINIMAL = {"host": "smsc.example.com", "system_id": "acme", "password": PASSWORD}


def build(password: str = "hunter2x", **settings: Any) -> tuple[SmppProvider, list[str]]:
    """The provider, and its findings as code and place."""
    provider, problems = built(smpp.build, {**MINIMAL, **settings}, secrets={"password": password})
    return provider, [f"{problem.code} {problem.pointer}" for problem in problems]


def test_the_defaults() -> None:
    """Host, system_id and password are enough; the rest is as docs/providers.md says."""
    provider, problems = build()
    assert problems == []
    account, timing = provider._account, provider._timing
    assert (account.host, account.port, account.system_id) == ("smsc.example.com", 2775, "acme")
    assert (account.mode, account.tls, account.system_type) == ("transceiver", None, "")
    assert account.password.reveal() == "hunter2x"
    assert (timing.timeout_s, timing.enquire_link_s, timing.window, timing.binds) == (10, 30, 50, 1)
    assert SmppProvider.default_phone_format == "digits"


def test_every_setting_arrives() -> None:
    """Each key of the schema has its effect."""
    provider, problems = build(
        host="[::1]",
        port=3000,
        system_type="SMPP",
        bind="transmitter",
        source={"ton": 5, "npi": 0},
        destination={"ton": 2, "npi": 8},
        data_coding="ucs2",
        long_messages="sar",
        reference_bits=16,
        registered_delivery=True,
        service_type="CMT",
        validity_period="90m",
        window=7,
        binds=3,
        enquire_link="1m",
        timeout="2s",
        tls=True,
    )
    assert problems == []
    account, timing, style = provider._account, provider._timing, provider._style
    assert (account.host, account.port, account.system_type, account.mode) == ("::1", 3000, "SMPP", "transmitter")
    assert account.tls is not None
    assert account.tls.verify
    assert (timing.timeout_s, timing.enquire_link_s, timing.window, timing.binds) == (2, 60, 7, 3)
    assert (style.encoding, style.long_messages, style.reference_bits) == ("ucs2", "sar", 16)
    assert style.fields == {
        "service_type": "CMT",
        "registered_delivery": 1,
        "validity_period": "000000013000000R",
    }
    prepared = provider.render(message("hi", phone="0049170", sender="123"))
    assert provider.describe(prepared)["destination"] == {"address": "0049170", "ton": 2, "npi": 8}
    assert provider.describe(prepared)["source"] == {"address": "123", "ton": 5, "npi": 0}


def test_tls_has_its_own_port() -> None:
    """Over TLS the port is 3550 unless it is given."""
    assert build(tls=True)[0]._account.port == 3550
    assert build(tls={"verify": False})[0]._account.port == 3550
    assert build(tls=False)[0]._account.port == 2775


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"system_id": "x" * 16}, "too-long /settings/system_id"),
        ({"system_type": "x" * 13}, "too-long /settings/system_type"),
        ({"service_type": "x" * 6}, "too-long /settings/service_type"),
        ({"system_id": "bjørn"}, "bad-value /settings/system_id"),
        ({"system_type": "a\nb"}, "bad-value /settings/system_type"),
        ({"system_id": "{{ phone }}"}, "not-constant /settings/system_id"),
        ({"validity_period": "745h"}, "bad-duration /settings/validity_period"),
        ({"validity_period": "500ms"}, "bad-duration /settings/validity_period"),
        ({"timeout": "0s"}, "bad-duration /settings/timeout"),
        ({"enquire_link": "soon"}, "bad-duration /settings/enquire_link"),
        ({"tls": {"ca_file": "none.pem"}}, "bad-tls-file /settings/tls/ca_file"),
    ],
    ids=str,
)
def test_findings(settings: dict[str, Any], finding: str) -> None:
    """What SMPP cannot carry, or what makes no sense, is found when the gateway is built, at its place."""
    assert build(**settings)[1] == [finding]


@pytest.mark.parametrize(("limit", "key"), [(8, "password"), (15, "system_id")])
def test_limits_hold_for_the_values_of_secrets(limit: int, key: str) -> None:
    """A secret that SMPP would cut short is a finding once it is read, without its value; one that fits is none."""
    settings = {**MINIMAL, key: "{{ secrets.it }}"}
    secrets = {"password": "hunter2x", "it": "q" * (limit + 1)}
    _, problems = built(smpp.build, settings, secrets=secrets)
    assert [problem.code for problem in problems] == ["too-long"]
    assert f"{limit} octets" in problems[0].message
    assert "qqq" not in str(problems[0].as_dict())
    assert built(smpp.build, settings, secrets={**secrets, "it": "q" * limit})[1] == []


def test_unread_secrets_are_not_judged() -> None:
    """In a plain check the `***` in the place of a secret is never judged."""
    settings = {"host": "h", "service_type": "{{ secrets.a }}{{ secrets.a }}{{ secrets.a }}", "password": PASSWORD}
    _, problems = built(smpp.build, settings, secrets={"a": "x", "password": "y" * 99}, resolved=False)
    assert problems == []


def test_tls_files_are_not_looked_at_in_a_plain_check(tmp_path: Path) -> None:
    """A file that the settings name may be missing where only the gateway file is checked."""
    settings = {**MINIMAL, "tls": {"ca_file": "missing.pem"}}
    secrets = {"password": "hunter2x"}
    assert built(smpp.build, settings, site=Site(tmp_path), secrets=secrets, resolved=False)[1] == []


def test_a_sender_that_smpp_cannot_carry() -> None:
    """A default sender beyond ASCII is a finding when the gateway is built: SMPP 3.1 has no other letters there."""
    source = load(b"provider: smpp", "gateways.d/it.yaml")
    draft = Draft("it", source, Site(), resolved=True, sender="K\u00e4se")
    smpp.build({"host": "h"}, draft)
    assert [(problem.code, problem.pointer) for problem in draft.problems] == [("bad-sender", "/sender")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "000000000001000R"),
        (3600, "000000010000000R"),
        (86399, "000000235959000R"),
        (7 * 86400, "000007000000000R"),
        (31 * 86400, "000031000000000R"),
    ],
)
def test_relative_time(seconds: int, text: str) -> None:
    """A validity period is written as SMPP 7.1.1.2 wants it, sixteen characters."""
    assert relative_time(seconds) == text
    assert len(text) == 16


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phone": "4" * 21}, Reason.INVALID_DESTINATION),
        ({"phone": "+49170ä"}, Reason.INVALID_DESTINATION),
        ({"sender": "Käse"}, Reason.INVALID_SENDER),
        ({"sender": "x" * 21}, Reason.INVALID_SENDER),
        ({"text": "x" * 40_000}, Reason.CONTENT),
        ({"text": "half a pair: \ud83d"}, Reason.CONTENT),
    ],
    ids=str,
)
def test_messages_that_cannot_be_carried(changes: dict[str, str], reason: Reason) -> None:
    """What SMPP has no room for is rejected when it is rendered; the words hold neither number nor text."""
    provider, _ = build()
    with pytest.raises(MessageError) as caught:
        provider.render(message(**changes))
    assert caught.value.reason is reason
    assert not any(value in caught.value.detail for value in changes.values())


@pytest.mark.parametrize(("coding", "text"), [("gsm7", "Жук"), ("latin1", "5 €")])
def test_a_text_that_the_data_coding_cannot_hold(coding: str, text: str) -> None:
    """With a fixed data_coding a text beyond it is rejected/content, not sent in another."""
    provider, _ = build(data_coding=coding)
    with pytest.raises(MessageError) as caught:
        provider.render(message(text))
    assert caught.value.reason is Reason.CONTENT


def test_describe_shows_exactly_what_is_sent() -> None:
    """`render` shows addresses with TON and NPI, data_coding, esm_class and the parts in hex, reference 0."""
    provider, _ = build()
    shown = provider.describe(provider.render(message("§ {", phone="491701234567", sender="+4915112345678")))
    assert shown == {
        "source": {"address": "4915112345678", "ton": 1, "npi": 1},
        "destination": {"address": "491701234567", "ton": 1, "npi": 1},
        "data_coding": 0,
        "esm_class": 0,
        "parts": ["5f201b28"],
    }
    long = provider.describe(provider.render(message("Ж" * 71, phone="491701234567")))
    assert (long["data_coding"], long["esm_class"]) == (8, 0x40)
    assert [part[:12] for part in long["parts"]] == ["050003000201", "050003000202"]
    assert [len(part) // 2 for part in long["parts"]] == [6 + 134, 6 + 8]


@pytest.mark.parametrize(
    ("settings", "encoding", "number"),
    [
        ({}, "gsm7", 1),
        ({"data_coding": "ucs2"}, "ucs2", 3),
        ({"data_coding": "latin1"}, "latin1", 2),
        ({"long_messages": "payload", "reference_bits": 16}, "gsm7", 1),
        ({"long_messages": "payload", "data_coding": "ucs2"}, "ucs2", 3),
    ],
)
def test_segments_are_those_on_the_air(settings: dict[str, Any], encoding: str, number: int) -> None:
    """Encoding and number of segments follow data_coding and reference_bits, for `payload` too."""
    count = build(**settings)[0].render(message("x" * 150)).count()
    assert (count.encoding, count.segments) == (encoding, number)
