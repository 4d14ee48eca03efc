"""A gateway file of provider `smpp`, from its text to an SMSC that we did not write."""

import json
from pathlib import Path
from typing import Any

import foreign_smsc
import pytest
from secret_file import write_secret
from smpp_gateway import run

from smsgwd import schema
from smsgwd.compile import compile_gateway
from smsgwd.errors import Problem
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Reason
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Gateway, Registry, State
from smsgwd.sender import render, send

FILE = """
provider: smpp
sender: "+4915112345678"
phone: {region: DE}
secrets:
  password: {file: password}
settings:
  host: 127.0.0.1
  port: 2775
  system_id: acme
  password: "{{ secrets.password }}"
  validity_period: 1h
  registered_delivery: true
"""


def compiled(tmp_path: Path, text: str = FILE, password: str = "hunter2x") -> tuple[Gateway | None, list[Problem]]:
    """The gateway, and the findings."""
    write_secret(tmp_path / "password", password + "\n")
    source = load(text.encode(), "gateways.d/it.yaml")
    gateway, problems = compile_gateway("it", source, Site(tmp_path), resolve=True)
    assert gateway is None or isinstance(gateway, Gateway)
    return gateway, list(problems)


def registry(gateway: Gateway | None) -> Registry:
    """A registry of that one gateway."""
    assert gateway is not None
    return Registry.of([Entry("it", State.OK, gateway)], Registry().config)


def test_render_shows_the_parts(tmp_path: Path) -> None:
    """`smsgwd render` shows each PDU; numbers go out as digits, and the password shows nowhere."""
    shown = render(registry(compiled(tmp_path)[0]), SendRequest("it", "0170 1234567", text="§ {"))
    assert (shown["to"], shown["segments"], shown["encoding"]) == ("491701234567", 1, "gsm7")
    assert shown["request"] == {
        "source": {"address": "4915112345678", "ton": 1, "npi": 1},
        "destination": {"address": "491701234567", "ton": 1, "npi": 1},
        "data_coding": 0,
        "esm_class": 0,
        "parts": ["5f201b28"],
    }
    assert "hunter2x" not in json.dumps(shown)


def test_a_file_becomes_an_sms(tmp_path: Path) -> None:
    """A message for a gateway file arrives at the SMSC as the file says; its outcome has the SMSC's message_id."""

    async def test() -> None:
        async with foreign_smsc.node(password="hunter2x") as smsc:
            gateway, problems = compiled(tmp_path, FILE.replace("2775", str(smsc.port)))
            assert problems == []
            outcome = await send(registry(gateway), SendRequest("it", "0170 1234567", text="hello"))
            assert (outcome.kind, outcome.message_ids, outcome.attempts) == (Kind.ACCEPTED, ("n1",), 1)
            assert gateway is not None
            assert [bind["state"] for bind in gateway.provider.status()["binds"]] == ["bound"]
            taken = (await smsc.do("report"))["taken"][0]
            assert (taken["text"], taken["destination"]) == ("hello", [1, 1, "491701234567"])
            await gateway.provider.close()

    run(test())


def test_a_refused_bind_is_not_tried_again_by_the_sender(tmp_path: Path) -> None:
    """unsent/auth comes at once, after one attempt: the same gateway would only say the same again."""

    async def test() -> None:
        async with foreign_smsc.node(password="another") as smsc:
            gateway, _ = compiled(tmp_path, FILE.replace("2775", str(smsc.port)))
            outcome = await send(registry(gateway), SendRequest("it", "0170 1234567", text="hello"))
            assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.UNSENT, Reason.AUTH, 1)
            assert "ESME_RINVPASWD" in outcome.detail
            assert gateway is not None
            await gateway.provider.close()

    run(test())


def test_a_password_that_smpp_would_cut_short(tmp_path: Path) -> None:
    """A secret of nine octets is an error when it is read, at the place of its use, and does not show."""
    gateway, problems = compiled(tmp_path, password="ninechars")
    assert gateway is None
    assert [(problem.code, problem.pointer) for problem in problems] == [("too-long", "/settings/password")]
    assert "ninechars" not in str(problems[0].as_dict())


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("  windw: 5", "unknown-key /settings/windw"),
        ("  window: 0", "bad-value /settings/window"),
        ("  tls: yes", "wrong-type /settings/tls"),
        ("  tls: {verfy: true}", "unknown-key /settings/tls/verfy"),
        ("  reference_bits: 9", "bad-value /settings/reference_bits"),
        ("  source: {ton: x}", "wrong-type /settings/source/ton"),
        ("  validity_period: 800h", "bad-duration /settings/validity_period"),
        ("  service_type: '{{ secrets.passwrd }}'", "unknown-name /settings/service_type"),
    ],
)
def test_findings(tmp_path: Path, line: str, finding: str) -> None:
    """A wrong setting is found at its place."""
    text = FILE.replace("  validity_period: 1h\n", "") if "validity" in line else FILE
    _, problems = compiled(tmp_path, text + line + "\n")
    assert [f"{problem.code} {problem.pointer}" for problem in problems] == [finding]


def test_a_literal_password_is_found(tmp_path: Path) -> None:
    """A password in the file itself is error[literal-secret]."""
    _, problems = compiled(tmp_path, FILE.replace('"{{ secrets.password }}"', "hunter2x"))
    assert "literal-secret" in {problem.code for problem in problems}


def test_tls_is_as_http_has_it() -> None:
    """`tls` takes what the shared definition has, or true."""
    shared: dict[str, Any] = schema.read("gateway")["$defs"]["tls"]
    ours: dict[str, Any] = schema.read("smpp")["properties"]["tls"]
    assert {key: ours[key] for key in ("properties", "additionalProperties", "dependentRequired")} == {
        key: shared[key] for key in ("properties", "additionalProperties", "dependentRequired")
    }


def test_the_shipped_example_compiles() -> None:
    """The example of the repository has no finding."""
    path = Path(__file__).parent.parent / "gateways.d" / "smpp.yaml"
    gateway, problems = compile_gateway(
        "smpp", load(path.read_bytes(), "gateways.d/smpp.yaml"), Site(path.parent.parent), resolve=False
    )
    assert problems == ()
    assert gateway is not None
    assert not gateway.enabled
