"""No secret comes out: canaries in every field that carries one, and everything that daemon and commands print."""

import base64
import itertools
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import command
import pytest
from daemon_process import configuration, daemon
from fake_http import Line, RawServer
from secret_file import write_secret

SCHEMAS = command.CHECKOUT / "schemas"
TO, TEXT = "+491701112233", "hello"

# One canary for each field that carries a credential, by provider and path; what stands in `settings` refers to it.
FIELDS = {
    ("http", "auth/password"): "kanari-http-password",
    ("http", "auth/bearer"): "kanari-http-bearer",
    ("sipgate", "password"): "kanari-sipgate",
    ("smpp", "password"): "kAnArI-8",
    ("modem", "pin"): "71829364",
    ("smtp", "server/password"): "kanari-smtp-inline",
    ("smsgwd", "smtp_servers/corp/password"): "kanari-smtp-central",
}
ELSEWHERE = {  # where a template may put a secret, too
    "url": "kanari-in-url",
    "query": "kanari-in-query",
    "header": "kanari-in-header",
    "json": "kanari-in-json",
    "xml": "kanari-in-xml",
    "proxy": "kanari-in-proxy",
    "env": "kanari-in-env",
    "redis": "kanari-of-redis",
    "otp-key": base64.b64encode(b"kanari-of-a-key-of-32-octets-...").decode(),
}
CANARIES = (*FIELDS.values(), *ELSEWHERE.values())

HTTP = "provider: http\nretry: {attempts: 1}\n"
GATEWAYS = {
    "basic": HTTP
    + "secrets: {a: {file: s/http-password}, u: {file: s/url}, q: {file: s/query}, h: {file: s/header}}\n"
    + "settings:\n  url: 'http://127.0.0.1:PORT/{{ secrets.u }}'\n  query: {to: '{{ phone }}', k: '{{ secrets.q }}'}\n"
    + "  headers: {X-Key: '{{ secrets.h }}'}\n  auth: {username: me, password: '{{ secrets.a }}'}\n"
    + "  error: {regex: '(?s)(.*)'}\n  message_id: {regex: '(?s)(.*)'}\n",
    "bearer": HTTP
    + "secrets: {b: {file: s/http-bearer}, j: {file: s/json}}\n"
    + "settings:\n  url: http://127.0.0.1:PORT/x\n  json: {to: '{{ phone }}', k: ['{{ secrets.j }}']}\n"
    + "  auth: {bearer: '{{ secrets.b }}'}\n  failure: {contains: a}\n  error: {regex: '(?s)(.*)'}\n",
    "xml": HTTP
    + "secrets: {x: {file: s/xml}, p: {file: s/proxy}}\n"
    + "settings:\n  url: http://127.0.0.1:PORT/x\n  xml: '<a><to>{{ phone }}</to><k>{{ secrets.x }}</k></a>'\n"
    + "  proxy: {http: 'http://me:{{ secrets.p }}@127.0.0.1:PORT'}\n  failure: {contains: a}\n"
    + "  error: {regex: '(?s)(.*)'}\n",
    "sipgate": "provider: sipgate\nretry: {attempts: 1}\nsecrets: {a: {file: s/sipgate}}\n"
    "settings: {username: me, password: '{{ secrets.a }}', url: 'http://127.0.0.1:PORT/rpc'}\n",
    "smpp": "provider: smpp\nretry: {attempts: 1}\ndeadline: 1s\nsecrets: {a: {file: s/smpp}}\n"
    "settings: {host: 127.0.0.1, port: PORT, system_id: me, password: '{{ secrets.a }}', timeout: 500ms}\n",
    "modem": "provider: modem\nretry: {attempts: 1}\nsecrets: {a: {file: s/modem}}\n"
    "settings: {device: /dev/nothing, pin: '{{ secrets.a }}', timeout: 2s}\n",
    "smtp": "provider: smtp\nretry: {attempts: 1}\nsecrets: {a: {file: s/smtp-inline}}\n"
    "settings: {server: {host: 127.0.0.1, port: PORT, tls: none, username: me, password: '{{ secrets.a }}',"
    " from: a@example.com, timeout: 1s}, mail_to: b@example.com}\n",
    "central": "provider: smtp\nretry: {attempts: 1}\nsettings: {server: corp, mail_to: b@example.com}\n",
    "script": "provider: script\nretry: {attempts: 1}\nsecrets: {a: {file: s/env}}\n"
    "settings: {command: [tell], env: {KEY: '{{ secrets.a }}'}}\n",
}
SITE = (
    "log: {level: debug, privacy: false}\nsecrets: {mail: {file: s/smtp-central}, redis: {file: s/redis}}\n"
    "otp: {keys: {k1: {file: s/otp-key}}, storage: 'redis://me:{{ secrets.redis }}@127.0.0.1:PORT/0', fail: open}\n"
    "scripts: {directory: scripts}\n"
    "smtp_servers:\n  corp: {host: 127.0.0.1, port: PORT, tls: none, username: me, password: '{{ secrets.mail }}',"
    " from: a@example.com, timeout: 1s}\n"
)
FILES = {
    "http-password": FIELDS["http", "auth/password"],
    "http-bearer": FIELDS["http", "auth/bearer"],
    "sipgate": FIELDS["sipgate", "password"],
    "smpp": FIELDS["smpp", "password"],
    "modem": FIELDS["modem", "pin"],
    "smtp-inline": FIELDS["smtp", "server/password"],
    "smtp-central": FIELDS["smsgwd", "smtp_servers/corp/password"],
    **ELSEWHERE,
}


def secret_fields(name: str) -> Iterator[str]:
    """Where the schema of a provider, or of smsgwd.yaml, says that a credential stands."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())

    def walk(part: Any, path: tuple[str, ...]) -> Iterator[str]:
        if isinstance(part, dict):
            if part.get("x-secret"):
                yield "/".join(path)
            for key, value in part.items():
                yield from walk(value, (*path, key) if key not in {"properties", "$defs"} else path)

    yield from walk(schema, ())


def forms(canary: str) -> set[str]:
    """A canary as it may come out: in the clear, percent-encoded, in Basic authentication, as octets in hex."""
    basic = {base64.b64encode(f"{user}:{canary}".encode()).decode() for user in ("me", "")}
    return {canary, quote(canary, safe=""), base64.b64encode(canary.encode()).decode(), canary.encode().hex()} | basic


def given_away(text: str) -> list[str]:
    """The lines in which a canary sings."""
    words = list(itertools.chain.from_iterable(map(forms, CANARIES)))
    return [f"{word}: {line[:300]}" for line in text.splitlines() for word in words if word in line]


def echo(line: Line) -> None:
    """Answers with all that it was told, whatever protocol that was."""
    while asked := line.read():
        body = asked + b" a"
        line.send(b"HTTP/1.1 422 Said\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def written(folder: Path, port: int) -> Path:
    """The configuration, its secrets for nobody else's eyes."""
    files = {f"gateways.d/{name}.yaml": text.replace("PORT", str(port)) for name, text in GATEWAYS.items()}
    config = configuration(folder, {**files, "smsgwd.yaml": SITE.replace("PORT", str(port))})
    for name, value in FILES.items():
        path = config / "s" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_secret(path, value + "\n")
    script = config / "scripts" / "tell"
    script.parent.mkdir(mode=0o755)
    script.write_text('#!/bin/sh\necho "$KEY"; echo "$KEY" >&2; exit 1\n')
    script.chmod(0o755)
    return config


def commands(config: Path, other: Path, socket: Path) -> Iterator[list[str]]:
    """Every command that reads this configuration, or talks to its daemon."""
    at, to = ["--config", str(config)], ["--socket", str(socket)]
    for kind in ("text", "json", "github", "sarif"):
        yield ["check", "--format", kind, "--secrets", *at]
        yield ["check", "--format", kind, "--strict", str(config)]
    yield from (["test", *at], ["compile", *at], ["fmt", "--check", str(config)], ["graph", *at])
    yield from (["graph", "--format", "dot", *at], ["diff", str(other), str(config)])
    yield ["diff", "--format", "json", str(config), str(other)]
    for name, kind in itertools.product(GATEWAYS, ("text", "curl", "json")):
        yield ["render", "--gateway", name, "--to", TO, "--text", TEXT, "--format", kind, *at]
    yield from (["status", *to], ["status", "--json", *to], ["reload", *to])
    yield ["otp", "verify", "A" * 74, "123456", *to]
    yield ["otp", "challenge", "--gateway", "console", "--to", TO, *to]
    for name in GATEWAYS:
        yield ["send", "--gateway", name, "--to", TO, "--text", TEXT, "--json", *to]


def printed(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Both outputs of a command."""
    done = command.run(capsys, *arguments)
    assert done.code in {0, 1, 75, 76}, (arguments, done)
    return done.out + done.err


def test_each_field_that_carries_a_secret_has_its_canary() -> None:
    """A new field that carries a credential has to have a canary here."""
    inline = {"smtpServer/password": {"smtp": "server/password", "smsgwd": "smtp_servers/corp/password"}}
    found = {
        (name, inline.get(path, {}).get(name, path))
        for name in ("console", "http", "sipgate", "smtp", "smpp", "script", "modem", "failover", "smsgwd")
        for path in secret_fields(name)
    }
    assert found == set(FIELDS)


def test_no_secret_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the daemon, at debug level against peers that repeat everything, nor any command prints a canary."""
    with RawServer(echo) as server:
        config = written(tmp_path / "config", server.port)
        other = written(tmp_path / "other", server.port)
        (other / "gateways.d" / "basic.yaml").write_text(GATEWAYS["bearer"].replace("PORT", "1"))
        with daemon(config) as running:
            running.ready()
            told = [printed(capsys, arguments) for arguments in commands(config, other, running.path)]
            told += [asked(running.path, target) for target in ("/v1/gateways", "/v1/status", "/metrics")]
            (config / "gateways.d" / "xml.yaml").write_text("provider: http\nsecrets: {x: {file: s/xml}}\n  :")
            told.append(asked(running.path, "/v1/reload", "-X", "POST"))
            assert running.stop(signal.SIGTERM) == 0
            told.append(running.printed())
    assert '"message": "answer"' in told[-1]
    assert "***" in told[-1]
    assert given_away("\n".join(told)) == []


def asked(path: Path, target: str, *options: str) -> str:
    """What curl prints of an answer, headers included."""
    done = subprocess.run(
        ["curl", "-sS", "-i", *options, "--unix-socket", str(path), f"http://smsgwd{target}"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return done.stdout.decode()


@pytest.mark.parametrize("kind", ["text", "json", "github", "sarif"])
def test_a_secret_in_its_field_is_told_without_its_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Written where a reference belongs, each is a finding, and no format repeats it: not in a message, no excerpt."""
    config = written(tmp_path, 9)
    shutil.rmtree(config / "s")
    for name, text in GATEWAYS.items():
        (config / "gateways.d" / f"{name}.yaml").write_text(_literal(text))
    site = (config / "smsgwd.yaml").read_text()
    (config / "smsgwd.yaml").write_text(site.replace("{{ secrets.mail }}", FILES["smtp-central"]))
    done = command.run(capsys, "check", "--format", kind, "--config", str(config))
    assert done.code == 1
    assert done.out.count("literal-secret") >= len(FIELDS)
    assert given_away(done.out + done.err) == []


def _literal(text: str) -> str:
    """A gateway file with the secrets of fields that carry one in the place of the templates that mean them."""
    for name, file in re.findall(r"(\w+): \{file: s/([\w-]+)\}", text):
        if file not in ELSEWHERE:
            text = text.replace(f"{{{{ secrets.{name} }}}}", FILES[file])
    return text
