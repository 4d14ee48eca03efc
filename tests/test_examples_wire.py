"""The examples of gateways.d, sent to a server on loopback: what arrives is what the services' manuals say."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fake_http import RawServer, answers, http
from http_gateway import PHONE, compiled, message
from secret_file import write_secret

from smsgwd.compile import compile_gateway
from smsgwd.load import load
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Site
from smsgwd.units import Deadline

EXAMPLES = Path(__file__).parent.parent / "gateways.d"
TEXT = 'Grüße: 50 % "Rabatt" & mehr €'
SECRETS = {
    "CLICKATELL_USER": "cu&1",
    "CLICKATELL_PASSWORD": "c+pw",
    "CLICKATELL_API_ID": "42ab",
    "TWILIO_ACCOUNT_SID": "AC0001",
    "TWILIO_AUTH_TOKEN": "twtoken",
    "SMSEAGLE_TOKEN": "eagle-token",
    "VONAGE_API_KEY": "vkey",
    "VONAGE_API_SECRET": "vsecret",
    "MESSAGEBIRD_ACCESS_KEY": "mbkey",
}


@dataclass(frozen=True)
class Manual:
    """What a manual says: the request, and what answers mean."""

    method: str
    url: str
    query: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    answers: tuple[tuple[bytes, Kind, Reason | None, tuple[str, ...]], ...] = ()


def basic(user: str, password: str) -> str:
    """A header for basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ACCEPTED, REJECTED, UNSENT, UNKNOWN = Kind.ACCEPTED, Kind.REJECTED, Kind.UNSENT, Kind.UNKNOWN
PROVIDER = Reason.PROVIDER
DIGITS = PHONE.removeprefix("+")
MANUALS = {
    "clickatell": Manual(
        "GET",
        "https://api.clickatell.com/http/sendmsg",
        query={"user": "cu&1", "password": "c+pw", "api_id": "42ab", "to": PHONE, "text": TEXT},
        answers=(
            (http(200, b"ID: a1b2"), ACCEPTED, None, ("a1b2",)),
            (http(200, b"ERR: 105, Invalid Destination Address"), REJECTED, PROVIDER, ()),
        ),
    ),
    "gtx": Manual(
        "GET",
        "https://http.gtx-messaging.net/smsc.php",
        query={"user": "gtxu", "pass": "gtxp", "to": PHONE, "text": TEXT},
        answers=(
            (http(200, b"200 OK"), ACCEPTED, None, ()),
            (http(200, b"400 BAD REQUEST"), REJECTED, PROVIDER, ()),
        ),
    ),
    "twilio": Manual(
        "POST",
        "https://api.twilio.com/2010-04-01/Accounts/AC0001/Messages.json",
        form={"From": "+15005550006", "To": PHONE, "Body": TEXT},
        headers={"authorization": basic("AC0001", "twtoken")},
        answers=(
            (http(201, b'{"sid": "SM1", "status": "queued"}'), ACCEPTED, None, ("SM1",)),
            (http(400, b'{"code": 21211, "message": "Invalid number"}'), REJECTED, PROVIDER, ()),
            (http(429, b'{"code": 20429}'), UNSENT, Reason.THROTTLED, ()),
            (http(401, b'{"code": 20003}'), UNSENT, Reason.AUTH, ()),
        ),
    ),
    "smseagle": Manual(
        "POST",
        "https://smseagle.example.com/api/v2/messages/sms",
        json={"to": [PHONE], "text": TEXT},
        headers={"access-token": "eagle-token", "content-type": "application/json"},
        answers=(
            (http(200, b'[{"status": "queued", "id": "7"}]'), ACCEPTED, None, ("7",)),
            (http(200, b'[{"status": "REJECTED queued"}]'), REJECTED, PROVIDER, ()),
            (http(200, b'[{"status": "error"}]'), REJECTED, PROVIDER, ()),
        ),
    ),
    "vonage": Manual(
        "POST",
        "https://rest.nexmo.com/sms/json",
        form={"from": "ACME", "to": DIGITS, "text": TEXT},
        headers={"authorization": basic("vkey", "vsecret")},
        answers=(
            (http(200, b'{"messages": [{"status": "0", "message-id": "0C1"}]}'), ACCEPTED, None, ("0C1",)),
            (http(200, b'{"messages": [{"status": "1", "error-text": "Throttled"}]}'), UNSENT, Reason.THROTTLED, ()),
            (http(200, b'{"messages": [{"status": "3", "error-text": "Invalid to"}]}'), REJECTED, PROVIDER, ()),
        ),
    ),
    "messagebird": Manual(
        "POST",
        "https://rest.messagebird.com/messages",
        json={"originator": "ACME", "recipients": [DIGITS], "body": TEXT, "datacoding": "auto"},
        headers={"authorization": "AccessKey mbkey"},
        answers=(
            (
                http(201, b'{"id": "e8077d803532c0b5937c639b60216938"}'),
                *(ACCEPTED, None),
                ("e8077d803532c0b5937c639b60216938",),
            ),
            (
                http(422, b'{"errors": [{"code": 9, "description": "no (correct) recipients found"}]}'),
                REJECTED,
                PROVIDER,
                (),
            ),
        ),
    ),
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Where the examples find their secrets."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    write_secret(tmp_path / "gtx-user", "gtxu\n")
    write_secret(tmp_path / "gtx-password", "gtxp\n")
    return Site(tmp_path)


def enabled(name: str, server: RawServer, directory: Path) -> str:
    """The example, pointed at the server and switched on."""
    url = urlsplit(MANUALS[name].url)
    source = (EXAMPLES / f"{name}.yaml").read_text()
    origin = f"{url.scheme}://{url.netloc}/"
    assert origin in source
    source = source.replace(origin, server.endpoint().origin + "/", 1).replace("/run/secrets/", f"{directory}/")
    return source.replace("enabled: false", "enabled: true")


def sent(name: str, server: RawServer, site: Site) -> Outcome:
    """What becomes of a message through the example."""

    async def go() -> Outcome:
        gateway = compiled(enabled(name, server, site.directory), site)
        number = {"digits": DIGITS}.get(gateway.phone.format, PHONE)
        provider = gateway.provider
        reply = await provider.submit(provider.render(message(TEXT, number, sender=gateway.sender)), Deadline.after(5))
        await provider.close()
        return provider.interpret(reply)

    return asyncio.run(go())


@pytest.mark.parametrize("name", MANUALS)
def test_the_request_is_what_the_manual_says(name: str, site: Site) -> None:
    """Method, URL, parameters, body and credentials arrive as the service's manual asks for them."""
    manual = MANUALS[name]
    with RawServer(answers(manual.answers[0][0])) as server:
        sent(name, server, site)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
    assert (method, urlsplit(target).path) == (manual.method, urlsplit(manual.url).path)
    assert dict(parse_qsl(urlsplit(target).query)) == manual.query
    assert manual.headers.items() <= headers.items()
    if manual.form is not None:
        assert dict(parse_qsl(body.decode())) == manual.form
    elif manual.json is not None:
        assert json.loads(body) == manual.json
    else:
        assert body == b""


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, manual in MANUALS.items() for answer in manual.answers]
)
def test_answers_mean_what_the_manual_says(
    name: str, answer: tuple[bytes, Kind, Reason | None, tuple[str, ...]], site: Site
) -> None:
    """Each answer that the manual names becomes its outcome."""
    octets, kind, reason, ids = answer
    with RawServer(answers(octets)) as server:
        outcome = sent(name, server, site)
    assert (outcome.kind, outcome.reason, outcome.message_ids) == (kind, reason, ids)


def test_each_http_example_is_tested() -> None:
    """No example of the provider http is without its manual here."""
    shipped = {path.stem for path in EXAMPLES.glob("*.yaml") if "provider: http" in path.read_text()}
    assert shipped == set(MANUALS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_valid_and_off(path: Path) -> None:
    """Each example compiles without a finding and names its schema; all but the console are off."""
    source = path.read_text()
    assert source.startswith("# yaml-language-server: $schema=../schemas/gateway.schema.json\n")
    gateway, problems = compile_gateway(
        path.stem, load(source.encode(), path.name), Site(EXAMPLES.parent), resolve=False
    )
    assert gateway is not None
    assert not problems
    assert gateway.enabled is (path.stem == "console")
