"""What holds for every provider alike, seen in what `smsgwd render` shows of its request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smsgwd.compile import compile_gateway
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Registry, SiteConfig
from smsgwd.sender import render

PASSWORD = "secrets: {password: {env: PASSWORD}}\n"
GATEWAYS = {  # settings, and where number and text stand in the request
    "http": (
        "settings: {url: 'https://127.0.0.1/', form: {to: '{{ phone }}', text: '{{ message }}'}}",
        ("body", "to"),
        ("body", "text"),
    ),
    "sipgate": (
        PASSWORD + "settings: {username: u, password: '{{ secrets.password }}', api: rest}",
        ("body", "recipient"),
        ("body", "message"),
    ),
    "smtp": (
        "settings: {server: {host: 127.0.0.1, from: a@example.com}, mail_to: b@example.com, subject: '{{ phone }}'}",
        ("subject",),
        ("body",),
    ),
    "smpp": (
        "settings: {host: 127.0.0.1, system_id: me, data_coding: latin1}",
        ("destination", "address"),
        ("parts", 0),
    ),
    "script": ("settings: {command: [send]}", ("argv", 1), ("stdin",)),
    "modem": ("settings: {device: /dev/ttyUSB0}", ("number",), ("parts", 0)),
}


def requested(name: str, phone: str, to: str, text: str) -> tuple[str, str]:
    """Number and text as they stand in the request of a gateway with these `phone` rules."""
    settings, number_at, text_at = GATEWAYS[name]
    file = f"provider: {name}\nphone: {phone}\n{settings}\n"
    gateway, problems = compile_gateway("g", load(file.encode(), "g.yaml"), Site(Path("/nowhere")), resolve=False)
    assert gateway is not None, problems
    shown = render(Registry.of([Entry.of("g", gateway)], SiteConfig()), SendRequest("g", to, text=text))
    assert shown["text"] == text
    number, sent = (_at(shown["request"], place) for place in (number_at, text_at))
    return number, bytes.fromhex(sent).decode("latin-1") if name == "smpp" else sent


def _at(request: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
    found: Any = request
    for step in place:
        found = found[step]
    return str(found)


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize(
    ("rewrite", "to", "number"),
    [
        ("[{match: '[+-/. ]', replace: ''}]", "+49 123/456-78", "4912345678"),
        ("[{match: '^0', replace: '+49'}]", "01701234567", "+491701234567"),
        ("[{match: '^([0-9]+).*', replace: '\\1'}]", "491701234567 (mobile)", "491701234567"),
    ],
)
def test_rewriting_holds_for_every_provider(name: str, rewrite: str, to: str, number: str) -> None:
    """A number taken verbatim goes out as `rewrite` left it, its plus too: privacyIDEA forgets that for sipgate."""
    assert requested(name, f"{{format: verbatim, rewrite: {rewrite}}}", to, "hi")[0] == number


TEXTS = ("{phone} {otp} %s", "{{ phone }} {% if x %}", "<b>&amp;</b> \"quoted\" \\ 'x'", "123456", "true", "a\nb.\n.")


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_never_read_as_anything_else(name: str, text: str) -> None:
    """What looks like a tag, a template, markup, a number or a word of JSON goes out as it was written."""
    assert requested(name, "{format: e164}", "+491701234567", text) == ("+491701234567", text)
