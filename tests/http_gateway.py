"""Gateways of the provider http for tests, compiled from their YAML as the daemon does it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_http import ENGINES, RawServer

from smsgwd.compile import compile_gateway
from smsgwd.errors import Problem, SubmitError
from smsgwd.load import load
from smsgwd.message import Message, Recipient
from smsgwd.outcome import Kind, Outcome
from smsgwd.providers._base import Site
from smsgwd.registry import Gateway
from smsgwd.units import Deadline

PHONE = "+491701234567"
TEXT = "Grüße, 100 % & mehr"
__all__ = ["ENGINES", "PHONE", "TEXT", "Http", "compiled", "findings", "message"]


def compiled(file: str | Mapping[str, Any], site: Site, *, resolve: bool = True) -> Gateway:
    """The gateway of a file (its text, or its data), which has to be without an error."""
    gateway, problems = compile_gateway("test", load(_octets(file), "test.yaml"), site, resolve=resolve)
    assert isinstance(gateway, Gateway), "\n".join(map(str, problems))
    return gateway


_ADVICE = {"no-success-rule", "plain-http", "secret-in-query", "unused-secret"}


def findings(settings: Mapping[str, Any], site: Site | None = None, **file: Any) -> list[Problem]:
    """What is wrong with these settings; what is allowed and advised against is of test_advice."""
    data = {"provider": "http", "settings": settings, **file}
    _, problems = compile_gateway("test", load(_octets(data), "test.yaml"), site or Site(), resolve=False)
    return [problem for problem in problems if problem.code not in _ADVICE]


def _octets(file: str | Mapping[str, Any]) -> bytes:
    # JSON is YAML, with each text in quotes
    return (file if isinstance(file, str) else json.dumps(file, ensure_ascii=False)).encode()


def message(text: str = TEXT, phone: str = PHONE, sender: str = "", reference: str = "", **variables: str) -> Message:
    """A message that a provider can render."""
    return Message(Recipient(phone), text, sender, reference, variables)


@dataclass
class Http:
    """One gateway to one server."""

    server: RawServer
    directory: Path = Path()
    engine: str = "auto"

    def gateway(self, settings: Mapping[str, Any], *, resolve: bool = True, **file: Any) -> Gateway:
        """The gateway; `url` may begin with a path on the server."""
        url = settings.get("url", "/send")
        if url.startswith("/"):
            url = self.server.endpoint().origin + url
        data = {"provider": "http", "settings": {**settings, "url": url}, **file}
        return compiled(data, Site(self.directory, http_engine=self.engine), resolve=resolve)

    async def send(self, settings: Mapping[str, Any], *messages: Message, seconds: float = 5, **file: Any) -> Outcome:
        """What becomes of the messages; the last one's outcome."""
        provider = self.gateway(settings, **file).provider
        outcome = Outcome(Kind.ACCEPTED)
        try:
            for each in messages or (message(),):
                reply = await provider.submit(provider.render(each), Deadline.after(seconds))
                outcome = provider.interpret(reply)
        except SubmitError as error:
            kind = Kind.UNKNOWN if error.handed_over else Kind.UNSENT
            return Outcome(kind, error.reason, detail=error.detail, retryable=error.retryable)
        finally:
            await provider.close()
        return outcome
