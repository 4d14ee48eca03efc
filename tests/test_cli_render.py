import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from command import TIMEOUT_S, run

FORM = """\
provider: http
phone: {{region: DE}}
secrets: {{token: {{env: SMSGWD_TEST_TOKEN}}}}
templates:
  login: {{text: "Your code is {{{{ code }}}}.", vars: {{code: {{max_length: 8, charset: digits}}}}}}
settings:
  url: {url}/send
  method: POST
  query: {{to: "{{{{ phone }}}}", tag: [a, b]}}
  form: {{text: "{{{{ message }}}}"}}
  headers: {{X-Token: "{{{{ secrets.token }}}}"}}
"""
TYPED = """\
provider: http
settings:
  url: https://sms.example.com/
  method: POST
  query: {to: "{{ phone }}", tag: [a, b], five: "5", nothing: "null", empty: ""}
  json: {to: ["{{ phone }}"], n: 5, s: "5", x: null, e: []}
"""
TO = ("--gateway", "x", "--to", "0170 1234567")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a good HTTP gateway, a disabled console and a broken file."""
    folder = tmp_path / "gateways.d"
    folder.mkdir()
    (folder / "x.yaml").write_text(FORM.format(url="https://sms.example.com"))
    (folder / "off.yaml").write_text("provider: console\nenabled: false\n")
    (folder / "bad.yaml").write_text("provider: console\nretry: {atempts: 3}\n")
    (folder / "bad name.yaml").write_text("provider: console\n")
    monkeypatch.setenv("SMSGWD_CONFIG", str(tmp_path))
    monkeypatch.setenv("SMSGWD_TEST_TOKEN", "canary-4711")
    return tmp_path


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--format json says what would be sent, the secret as stars though it is there."""
    done = run(capsys, "render", *TO, "--template", "login", "--var", "code=123456", "--format", "json")
    assert (done.code, done.err) == (0, "")
    rendered = json.loads(done.out)
    request = rendered.pop("request")
    assert rendered == {
        "gateway": "x",
        "provider": "http",
        "to": "+491701234567",
        "text": "Your code is 123456.",
        "segments": 1,
        "encoding": "gsm7",
    }
    assert request["url"] == "https://sms.example.com/send"
    assert request["query"] == {"to": "+491701234567", "tag": ["a", "b"]}
    assert request["body"] == {"text": "Your code is 123456."}
    assert request["headers"]["X-Token"] == "***"


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """For people: a line for each part, a text of several lines below its name; nothing steers the terminal."""
    done = run(capsys, "render", *TO, "--text", "first\nsecond \x9b2J")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:6] == [
        "gateway: x (http)",
        "to: +491701234567",
        "text:",
        "  first",
        "  second \\x9b2J",
        "segments: 1 (ucs2)",
    ]
    assert {"  method: POST", "    X-Token: ***"} <= set(lines)


def test_text_leaves_nothing_out(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Lists are lists, a JSON body is JSON, and a text is not taken for the number or nothing that it looks like."""
    (config / "gateways.d" / "y.yaml").write_text(TYPED)
    done = run(capsys, "render", "--gateway", "y", "--to", "+491701234567", "--text", "hi")
    lines = done.out.splitlines()
    query = lines.index("  query:")
    assert lines[query : query + 8] == [
        "  query:",
        "    to: +491701234567",
        "    tag:",
        "      - a",
        "      - b",
        '    five: "5"',
        '    nothing: "null"',
        '    empty: ""',
    ]
    body = lines.index("  body:")
    assert json.loads("\n".join(lines[body + 1 :])) == {"to": ["+491701234567"], "n": 5, "s": "5", "x": None, "e": []}
    done = run(capsys, "render", *TO, "--text", "hi", "--format", "text")
    assert "    tag:\n      - a\n      - b\n" in done.out


def test_failover(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Of a failover the request of the member that would be tried first is shown, and both names."""
    (config / "gateways.d" / "both.yaml").write_text(
        "provider: failover\nphone: {region: DE}\nsettings: {gateways: [off, x]}\n"
    )
    done = run(capsys, "render", "--gateway", "both", "--to", "0170 1234567", "--text", "hi")
    assert done.code == 0
    assert done.out.startswith("gateway: x (http)\nvia: both\nto: +491701234567\n")
    assert "the gateway `off` is disabled: it is skipped" in done.err


def test_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    """A disabled gateway can be rendered."""
    done = run(capsys, "render", "--gateway", "off", "--to", "+491701234567", "--text", "hi")
    assert done.code == 0
    assert "gateway: off (console)" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*TO, "--text", ""), "rejected (content): the text is empty"),
        (("--gateway", "x", "--to", "nobody", "--text", "hi"), "rejected (invalid_destination): "),
        (
            (*TO, "--template", "login", "--var", "code=12x"),
            "rejected (content): the variable 'code' may hold digits only",
        ),
        ((*TO, "--template", "login"), "rejected (content): the template's variable 'code' is missing"),
        (
            (*TO, "--template", "logn"),
            "refused (malformed-request): the gateway `x` has no template `logn` (known: login)",
        ),
        (("--gateway", "y", "--to", "1", "--text", "hi"), "there is no gateway 'y' in "),
        (("--gateway", "of", "--to", "1", "--text", "hi"), "; did you mean off?"),
        ((*TO, "--text", "hi", "--config", "/nonexistent/config"), "/nonexistent/config: it does not exist"),
        ((*TO, "--text", "hi", "--config", "/dev"), "/dev has no folder gateways.d"),
        (("--gateway", "", "--to", "1", "--text", "hi"), "there is no gateway '' in "),
        (("--gateway", "off", "--to", "+491701234567", "--text", "hi", "--format", "curl"), "speaks no HTTP"),
    ],
)
def test_nothing_to_render(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    """What cannot be sent is told in the outcome's words, on standard error; exit code 1."""
    done = run(capsys, "render", *arguments)
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert "Traceback" not in done.err


def test_broken_file(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The findings of a gateway's file are told when it is rendered; those of others are not."""
    done = run(capsys, "render", "--gateway", "bad", "--to", "1", "--text", "hi")
    assert (done.code, done.out) == (1, "")
    assert f"{config}/gateways.d/bad.yaml:2:9: error[unknown-key]" in done.err
    assert done.err.endswith("smsgwd: the gateway 'bad' does not compile\n")
    assert run(capsys, "render", *TO, "--text", "hi").err == ""


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A variable without a template is wrong usage."""
    done = run(capsys, "render", *TO, "--text", "hi", "--var", "a=1")
    assert done.code == 2
    assert "usage: smsgwd render" in done.err


class Recorder(BaseHTTPRequestHandler):
    """Keeps the requests that it gets."""

    def do_POST(self) -> None:
        """Keep it and say that all is well."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]  # of this test
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def recorder() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """An HTTP server and what it was asked."""
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        seen: list[tuple[str, dict[str, str], bytes]] = []
        server.seen = seen  # type: ignore[attr-defined]  # of this test
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


TEXTS = ["Hello & 'good' \"bye\" $HOME `id` !x", "@file", "two\nlines\ttab", "back\\slash\r\n", "Grüße 😀"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    "text", ["Hello & 'good' \"bye\" $HOME `id` !x", "@file", "two\nlines\ttab", "back\\slash\r\n", "Grüße 😀"]
)
def test_curl(capsys: pytest.CaptureFixture[str], config: Path, shell: str, text: str) -> None:
    """The curl command line, pasted into a shell, sends the very same request, whatever the text holds."""
    with recorder() as (url, seen):
        (config / "gateways.d" / "x.yaml").write_text(FORM.format(url=url))
        line = run(capsys, "render", *TO, "--text", text, "--format", "curl").out
        command = [shutil.which(shell) or shell, "-c", line + "\n"]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S, env={"PATH": "/usr/bin:/bin"})
    ((target, headers, body),) = seen
    assert parse_qs(urlsplit(target).query) == {"to": ["+491701234567"], "tag": ["a", "b"]}
    assert parse_qs(body.decode(), keep_blank_values=True) == {"text": [text]}
    assert headers["X-Token"] == "***"


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"json": {"a": ["{{ message }}", 1, True]}}, b'{"a": ["it\'s", 1, true]}'),
        ({"xml": "<a>{{ message }}</a>"}, None),
        ({"text": "{{ message }}"}, b"it's"),
    ],
)
def test_curl_bodies(
    capsys: pytest.CaptureFixture[str], config: Path, settings: dict[str, Any], sent: bytes | None
) -> None:
    """Bodies of every kind arrive as they would from the gateway."""
    with recorder() as (url, seen):
        gateway = {
            "provider": "http",
            "phone": {"region": "DE"},
            "settings": {"url": f"{url}/", "method": "POST", **settings},
        }
        (config / "gateways.d" / "x.yaml").write_text(json.dumps(gateway))
        line = run(capsys, "render", *TO, "--text", "it's", "--format", "curl").out
        subprocess.run(["/bin/bash", "-c", line], check=True, capture_output=True, timeout=TIMEOUT_S)
        rendered = json.loads(run(capsys, "render", *TO, "--text", "it's", "--format", "json").out)["request"]
    body = seen[0][2]
    assert body == sent if sent else body.decode() == rendered["body"]
