"""A daemon with tokens, over an HTTP provider whose messages a test can read as their recipients do."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from challenging import Provider
from daemon_process import Running, configuration, daemon
from fake_http import RawServer
from socket_client import Response, call

from smsgwd.pin import PinHash

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GATEWAY = """
provider: http
retry: {{attempts: 1}}
templates: {{login: {{text: "canaryword {{{{ otp }}}} is your code"}}}}
settings:
  url: http://127.0.0.1:{port}/{path}
  method: POST
  json: {{to: "{{{{ phone }}}}", text: "{{{{ message }}}}"}}
  error: {{regex: '(?s)(.*)'}}
"""


def hashed(pin: str, ln: int = 12) -> str:
    """The hash of a PIN as a token's file has it, of less cost than usual."""
    salt = b"salt of the test"
    value = hashlib.scrypt(pin.encode(), salt=salt, n=1 << ln, r=8, p=1, dklen=32, maxmem=1 << 28)
    return str(PinHash(ln, 8, 1, salt, value))


def token(user: str, pin: str, phone: str = "+491701234567", gateway: str = "web", more: str = "") -> str:
    """A file of tokens.d."""
    return f'user: "{user}"\nphone: "{phone}"\ngateway: {gateway}\npin: {{hash: "{hashed(pin)}"}}\n{more}'


TOKENS = {
    "tokens.d/alice.yaml": token("alice", "pincanary1", more="template: login\n"),
    "tokens.d/bob.yaml": token("bob@example", "pincanary2", "+491707654321", more="digits: 8\nttl: 60s\n"),
    "tokens.d/off.yaml": token("off", "pincanary3", more="enabled: false\n"),
    "tokens.d/refused.yaml": token("refused", "pincanary4", gateway="refusing"),
}


@contextmanager
def providing(
    folder: Path, site: str = "{}", files: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, Provider]]:
    """A configuration directory with the gateways `web` and `refusing` and some tokens, and their provider."""
    provider = Provider()
    with RawServer(provider.answer) as server:
        gateways = {
            "gateways.d/web.yaml": GATEWAY.format(port=server.port, path="send"),
            "gateways.d/refusing.yaml": GATEWAY.format(port=server.port, path="refuse"),
        }
        yield configuration(folder, {**gateways, **TOKENS, "smsgwd.yaml": site, **(files or {})}), provider


@contextmanager
def serving(
    folder: Path, site: str = "{}", files: Mapping[str, str] | None = None
) -> Iterator[tuple[Running, Provider]]:
    """A daemon that serves them."""
    with providing(folder, site, files) as (config, provider), daemon(config) as running:
        yield running.ready(), provider


def post(running: Running, target: str, form: Mapping[str, str]) -> Response:
    """A form."""
    return asyncio.run(call(running.path, "POST", target, urlencode(form).encode(), FORM))


def check(running: Running, user: str, password: str, transaction_id: str = "") -> Any:
    """One step of a login; what it came to."""
    more = {"transaction_id": transaction_id} if transaction_id else {}
    answer = post(running, "/validate/check", {"user": user, "pass": password, **more})
    assert answer.status == 200, answer
    return answer.json()


def result(running: Running, user: str, password: str, transaction_id: str = "") -> str:
    """The same in one word."""
    return str(check(running, user, password, transaction_id)["result"]["authentication"])
