"""Gateway files as definitions of privacyIDEA: there and back again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import CASES, CLASSES, HTTP, URL, export

from smsgwd.load import load
from smsgwd.privacyidea import (
    CENSORED,
    Definition,
    Mapped,
    ServerRef,
    Shown,
    to_definition,
    to_gateway,
)
from smsgwd.schema import check_gateway

EXAMPLES = Path(__file__).parent.parent / "gateways.d"
SERVERS = {name: ServerRef(name, "sms@example.com") for name in ("corp", "plain")}
ENTRIES = export(CASES / "http.yaml")["smsgateway"] | export(CASES / "others.yaml")["smsgateway"]


def definition(name: str, entry: Mapping[str, Any]) -> Definition:
    """An entry of an export."""
    return Definition(name, entry["providermodule"], entry["description"], entry["options"], entry["headers"])


def revealed(mapped: Mapped) -> dict[str, str]:
    """The values of its secrets."""
    return {name: value.reveal() for name, value in mapped.secrets.items() if value is not None}


def there_and_back(one: Definition) -> tuple[Mapped, Definition, Mapped]:
    """The file of a definition, the definition of that file, and its file."""
    mapped = to_gateway(one, one.name, SERVERS)
    assert mapped.data is not None
    shown = to_definition(one.name, mapped.data, revealed(mapped))
    assert shown.definition is not None, shown.remarks
    assert shown.remarks == ()
    # a structured option with a secret inside is one as a whole; here it is told by its keys, as in the source
    back = replace(shown.definition, secret_options=one.secret_options, secret_headers=one.secret_headers)
    return mapped, back, to_gateway(back, one.name, SERVERS)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_the_file_is_the_same_again(name: str) -> None:
    """What a file is shown as makes the same file again, secrets included."""
    mapped, _, again = there_and_back(definition(name, ENTRIES[name]))
    assert again.data == mapped.data
    assert revealed(again) == revealed(mapped)


@given(
    st.sampled_from(["GET", "POST", "JSON"]),
    st.dictionaries(
        st.text(st.sampled_from("abc[]password"), min_size=1, max_size=9),
        st.lists(
            st.sampled_from(
                ["{phone}", "{otp}", "{", "}", '"', "[", "]", ",", ":", "1", ".5", "true", "null", " ", "\\", "ä"]
            ),
            max_size=6,
        ).map("".join),
        max_size=4,
    ),
)
@settings(max_examples=500, deadline=None)
def test_every_value_comes_back(kind: str, options: dict[str, str]) -> None:
    """Whatever stands in the options of the HTTP class, what the file is shown as sends the same."""
    method = {"HTTP_METHOD": "GET" if kind == "GET" else "POST", "SEND_DATA_AS_JSON": "yes" if kind == "JSON" else "no"}
    one = Definition("x", HTTP, options={"URL": URL, **options, **method})
    mapped, _, again = there_and_back(one)
    assert mapped.data is not None
    if mapped.data["settings"].get("form") == {}:  # of which only the Content-Type is left
        del mapped.data["settings"]["form"]
    assert again.data == mapped.data
    assert revealed(again) == revealed(mapped)


HTTP_OPTIONS = {
    "URL": "https://gateway.test/x?user=me",
    "HTTP_METHOD": "POST",
    "SEND_DATA_AS_JSON": "yes",
    "CHECK_SSL": "no",
    "USERNAME": "u",
    "PASSWORD": "geheim",
    "TIMEOUT": "2.5",
    "HTTP_PROXY": "http://u:p%40ss@p:1",
    "RETURN_SUCCESS": "queued",
    "RETURN_FAIL": "REJECTED",
    "REGEXP": "/^0/0049/",
    "to": '["{phone}"]',
    "text": "Code {otp}",
    "quoted": '"7"',
    "n": "1.5",
    "deep": '{"a": [true, null, "{otp}"]}',
    "no-tag": r'"\u007bphone}"',
    "braces": "{{ x }}",
}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Http", HTTP_OPTIONS),
        ("Smtp", {"SMTPIDENTIFIER": "corp", "MAILTO": "{phone}@x.example", "SUBJECT": "", "BODY": "{{x}} {otp}\n"}),
        ("Sipgate", {"USERNAME": "u", "PASSWORD": "geheim"}),
        ("Script", {"script": "send{.sh", "background": "wait", "REGEXP": "/ //"}),
        (
            "Smpp",
            {
                "SMSC_HOST": "smsc.example",
                "SMSC_PORT": "2775",
                "SYSTEM_ID": "me",
                "PASSWORD": "geheim",
                "S_ADDR": "ACME",
                "S_ADDR_TON": "5",
                "S_ADDR_NPI": "0",
                "D_ADDR_TON": "1",
                "D_ADDR_NPI": "1",
            },
        ),
    ],
)
def test_definitions_come_back(kind: str, options: dict[str, str]) -> None:
    """A definition that is written as to_definition writes comes back as it was."""
    one = Definition("x", f"{CLASSES}{kind}SMSProvider.{kind}SMSProvider", "words", options)
    _, back, _ = there_and_back(one)
    assert (back.name, back.module, back.description, back.options) == ("x", one.module, "words", options)


def test_secrets_are_censored() -> None:
    """Without their values, each option and header that holds a secret reads __CENSORED__, and is named a secret."""
    options = {"URL": URL, "USERNAME": "u", "PASSWORD": "geheim", "token": "a{otp}b", "to": "{phone}"}
    mapped = to_gateway(Definition("x", HTTP, options=options, headers={"X-Api-Key": "geheim", "X": "y"}), "x", {})
    assert mapped.data is not None
    back = to_definition("x", mapped.data).definition
    assert back is not None
    assert [key for key, value in back.options.items() if value == CENSORED] == ["PASSWORD", "token"]
    assert back.secret_options == {"PASSWORD", "token"}
    assert back.headers == {"X-Api-Key": CENSORED, "X": "y"}
    assert back.secret_headers == {"X-Api-Key"}


def shown(file: str) -> Shown:
    """What a gateway file is shown as."""
    data, problems = check_gateway(load(file.encode(), "x.yaml"))
    assert data is not None
    assert problems == ()
    return to_definition("x", data)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("provider: console", "no class of privacyIDEA does what the provider console does"),
        ("provider: http\nsettings: {url: 'https://x', text: a}", "privacyIDEA sends a query with GET"),
        ("provider: http\nsettings: {url: 'https://x', json: [a]}", "privacyIDEA sends a query with GET"),
        ("provider: http\nsettings: {url: 'https://x', method: PUT}", "privacyIDEA sends a query with GET"),
        ("provider: http\nsettings: {url: 'https://x/{{ phone }}'}", "URL has a tag, where none is replaced"),
        (
            "provider: http\nsettings: {url: 'https://x', query: {a: '{{ sender }}'}}",
            "a is a template that no tags can say",
        ),
        ("provider: http\nsettings: {url: 'https://x', query: {URL: a}}", "URL is a parameter of the class"),
        ("provider: http\nsettings: {url: 'https://x', headers: {a: '{{ otp }}'}}", "the header a has a tag"),
        ("provider: smtp\nsettings: {server: {host: x, from: a@b}, mail_to: a@b}", "the SMTP server is not one of"),
        ("provider: script\nsettings: {command: [a, b]}", "privacyIDEA gives a script the number as its only argument"),
        (
            "provider: sipgate\nsettings: {username: u, password: '{{ secrets.p }}', api: rest}",
            "privacyIDEA knows sipgate's",
        ),
    ],
)
def test_what_no_class_can_do(file: str, why: str) -> None:
    """A gateway that no definition can say is none, with the reason."""
    found = shown(file)
    assert found.definition is None
    assert found.remarks[0].startswith(why)


def test_what_a_definition_has_no_place_for() -> None:
    """What gets lost is told, key by key."""
    found = shown(
        "provider: http\nenabled: false\nmax_segments: 2\nphone: {rewrite: [{match: a, replace: b/c}]}\n"
        "settings: {url: 'https://x', query: {to: '{{phone}}'}, error: {json: /m}, tls: {ca_file: x},\n"
        "  success: {matches: x}}"
    )
    assert found.definition is not None
    assert found.definition.options["to"] == "{phone}"
    assert found.remarks == (
        "settings.tls.ca_file has no counterpart in privacyIDEA",
        "numbers are parsed here, and not in privacyIDEA",
        "phone.rewrite is more than one REGEXP can say",
        "enabled has no counterpart in privacyIDEA",
        "max_segments has no counterpart in privacyIDEA",
        "settings.error has no counterpart in privacyIDEA",
        "settings.success has no counterpart in privacyIDEA",
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_shown_or_not(path: Path) -> None:
    """The shipped examples have a definition, or a reason why there is none; never a secret's name, never a fault."""
    found = to_definition(path.stem, yaml.safe_load(path.read_text()))
    assert found.definition is not None or found.remarks
    if found.definition is not None:
        assert "secrets." not in str(found.definition.options)
