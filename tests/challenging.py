"""A daemon that sends challenges through an HTTP provider, and ways to try them."""

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api_document import validator
from daemon_process import Running, configuration, daemon
from fake_http import Line, RawServer
from socket_client import JSON, Response, call, connected, read_response, request

TO = "+491701112233"
CHALLENGE: dict[str, Any] = {"gateway": "web", "to": TO}
GATEWAY = """
provider: http
retry: {{attempts: 1}}
templates:
  login: {{text: "canaryword {{{{ otp }}}} for {{{{ service }}}}", vars: {{service: {{max_length: 9}}}}}}
  hello: {{text: "Hello"}}
settings:
  url: http://127.0.0.1:{port}/{path}
  method: POST
  json: {{to: "{{{{ phone }}}}", text: "{{{{ message }}}}"}}
  message_id: {{json: /id}}
  error: {{regex: '(?s)(.*)'}}
"""


@dataclass
class Provider:
    """An HTTP provider that keeps what it was told, and answers with all of it."""

    texts: list[str] = field(default_factory=list)

    def answer(self, line: Line) -> None:
        """Accepts, but what comes to /refuse."""
        while asked := line.read():
            body = json.loads(asked.partition(b"\r\n\r\n")[2])
            self.texts.append(body["text"])
            status = 400 if asked.startswith(b"POST /refuse ") else 200
            said = json.dumps({"id": f"m-{body['text']}", "echo": body}).encode()
            line.send(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%s" % (status, len(said), said))

    @property
    def code(self) -> str:
        """The code in the last message, as a person reads it."""
        return self.codes[-1]

    @property
    def codes(self) -> list[str]:
        """The codes in all messages."""
        found = [re.search(r"\b\d{4,10}\b", text) for text in self.texts]
        return [one[0] for one in found if one is not None]


@contextmanager
def serving(folder: Path, site: str = "{}") -> Iterator[tuple[Running, Provider]]:
    """A daemon with the gateways `web` and `refusing`."""
    provider = Provider()
    with RawServer(provider.answer) as server:
        files = {
            "gateways.d/web.yaml": GATEWAY.format(port=server.port, path="send"),
            "gateways.d/refusing.yaml": GATEWAY.format(port=server.port, path="refuse"),
            "gateways.d/off.yaml": "provider: console\nenabled: false\n",
            "smsgwd.yaml": site,
        }
        with daemon(configuration(folder, files)) as running:
            yield running.ready(), provider


def post(running: Running, target: str, body: Any, headers: dict[str, str] | None = None) -> Response:
    """One call."""
    return asyncio.run(call(running.path, "POST", target, body, headers))


def verify(running: Running, transaction_id: str, otp: str, **members: str) -> Any:
    """The answer to a try."""
    body = {"transaction_id": transaction_id, "otp": otp, **members}
    answer = post(running, "/v1/challenges/verify", body)
    assert answer.status == 200
    validator({"$ref": "#/components/schemas/Verdict"}).validate(answer.json())
    return answer.json()


async def guessed(running: Running, transaction_id: str, guesses: Iterator[str], connections: int = 50) -> Counter[str]:
    """The reasons of the answers to all guesses; each of `connections` takes the next one."""
    counts = Counter[str]()

    async def guess() -> None:
        async with connected(running.path) as (reader, writer):
            for burst in iter(lambda: list(itertools.islice(guesses, 20)), []):
                for otp in burst:
                    body = json.dumps({"transaction_id": transaction_id, "otp": otp}).encode()
                    writer.write(request("POST", "/v1/challenges/verify", body, JSON))
                for _ in burst:
                    counts[(await read_response(reader)).json()["reason"]] += 1

    await asyncio.gather(*(guess() for _ in range(connections)))
    return counts
