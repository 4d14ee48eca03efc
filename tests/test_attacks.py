"""What an attacker on the same machine would try first. docs/security.md tells what became of it."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Running, configuration, daemon
from nobody import open_folder
from other_user import IS_ROOT, become, called
from secret_file import write_secret
from socket_client import JSON, Response, call, raw, request

NAMES = [
    "../x",
    "..",
    ".",
    "..%2fx",
    "%2e%2e%2fx",
    "a/../../x",
    "/etc/passwd",
    "x\x00y",
    "x" * 200,
    "сonsole",  # the first letter is Cyrillic
    "console\u200b",
    "console\n",
    "CONSOLE",
    "con",
    "",
    "{{ secrets.a }}",
]
"""Names that are none, or look like another one."""

SECRET = "kanari-of-attacks"
ECHO = """
provider: console
secrets: {a: {file: secret}}
templates: {t: {text: "{{ v }}", vars: {v: {}}}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon with the gateway `console`, and one with a secret."""
    folder = tmp_path_factory.mktemp("attacks")
    secret = folder / "secret"
    secret.touch(0o600)
    write_secret(secret, SECRET + "\n")
    with daemon(configuration(folder, {"gateways.d/echo.yaml": ECHO})) as found:
        yield found.ready()


def answered(running: Running, method: str, target: str, body: Any = None, **headers: str) -> Response:
    """The answer to one request."""
    return asyncio.run(call(running.path, method, target, body, headers))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_a_path(running: Running, name: str) -> None:
    """Names that lead elsewhere, look like another or are none are unknown, in a body as in a path."""
    response = answered(running, "POST", "/v1/messages", {"gateway": name, "to": "+491701234567", "text": "x"})
    assert (response.status, response.type) == (404, "unknown-gateway")
    if name.isascii() and name.isprintable() and "/" not in name and "{" not in name and name:
        assert answered(running, "GET", f"/v1/gateways/{name}").status == 404


@pytest.mark.parametrize(
    "text", ["{{ secrets.a }}", "{{ vars.v }}", "{% raw %}", "{{ 7 * 7 }}", "{phone}", "{{ otp }}"]
)
def test_a_callers_text_is_no_template(running: Running, text: str) -> None:
    """What a caller writes is text, also where it looks like a template, in a text and in a variable."""
    for content in ({"text": text}, {"template": "t", "vars": {"v": text}}):
        shown = answered(running, "POST", "/v1/render", {"gateway": "echo", "to": "+491701234567", **content})
        assert shown.json()["text"] == text
        assert SECRET not in shown.body.decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"gateway": "console", "to": "+491701234567", "text": "a", "text": "b"}',
        b'{"gateway": "console", "vars": {"a": "1", "a": "2"}}',
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"gateway": NaN}',
        b'{"gateway": ' + b"9" * 5_000 + b"}",
        b'{"gateway": "console", "to": "\\ud800", "text": "x"}',
        b"\xff\xfe{}",
    ],
    ids=["twice", "twice inside", "lists", "objects", "NaN", "digits", "half", "octets"],
)
def test_what_is_odd_in_json_is_refused(running: Running, body: bytes) -> None:
    """Duplicate keys, ten thousand levels, numbers without end: 400, nothing was sent, and it still serves."""
    response = answered(running, "POST", "/v1/messages", body)
    assert (response.status, response.type) == (400, "malformed-request")
    assert answered(running, "GET", "/healthz").status == 200


@pytest.mark.parametrize("key", ["reference", "sender"])
def test_line_breaks_do_not_reach_a_header(running: Running, key: str) -> None:
    """A line break in what the answer or a request repeats begins no header."""
    body = {"gateway": "console", "to": "+491701234567", "text": "x", key: "a\r\nX-Evil: 1"}
    response = answered(running, "POST", "/v1/messages", body)
    assert "x-evil" not in response.headers


def test_a_request_has_one_length(running: Running) -> None:
    """Two lengths, or a length beside chunks, are no request: nothing is smuggled behind it."""
    message = json.dumps({"gateway": "console", "to": "+491701234567", "text": "x"}).encode()
    smuggled = request("POST", "/v1/reload")
    for fields in ("Content-Length: 0\r\nContent-Length: 75", "Content-Length: 4\r\nTransfer-Encoding: chunked"):
        octets = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON['Content-Type']}\r\n{fields}\r\n\r\n"
        response = asyncio.run(raw(running.path, octets.encode() + message + smuggled))
        assert response.status == 400


def test_two_thousand_idle_connections_of_one_user_stop_nobody_else() -> None:
    """They are cut at the bound for one user, and another user sends meanwhile; afterwards the first one, too."""
    calls = [("POST", "/v1/messages", ["console"])]
    with open_folder() as folder:
        path = folder / "smsgwd.sock"
        config = configuration(folder / "config", {"smsgwd.yaml": f"socket: {{path: {path}, mode: '0666'}}\n"})
        with daemon(config, socket_path=path) as running, ExitStack() as open_ones:
            running.ready()
            for _ in range(2_000):
                idle = open_ones.enter_context(socket.socket(socket.AF_UNIX))
                idle.connect(str(path))
            if IS_ROOT:
                ((status, outcome),) = called(become(60_001), path, calls)
                assert (status, outcome["outcome"]) == (200, "accepted")
            open_ones.close()
            assert asyncio.run(until_sent(path)) == 200


async def until_sent(path: Path) -> int:
    """The status of a message, sent again for as long as the connections of before are not all counted out."""
    body = {"gateway": "console", "to": "+491701234567", "text": "x"}
    for _ in range(100):
        response = await call(path, "POST", "/v1/messages", body)
        if response.status != 503:
            break
        await asyncio.sleep(0.05)
    return response.status
