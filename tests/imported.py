"""Definitions of privacyIDEA taken over as the command does it, and the gateways that come of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from smsgwd import msisdn
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.files import look
from smsgwd.importers.files import write
from smsgwd.importers.privacyidea import Imported, convert
from smsgwd.importers.source import read
from smsgwd.load import load
from smsgwd.message import Message
from smsgwd.providers._base import Site
from smsgwd.registry import Gateway

CASES = Path(__file__).parent / "cases" / "privacyidea"
CLASSES = "privacyidea.lib.smsprovider."
HTTP = CLASSES + "HttpSMSProvider.HttpSMSProvider"
URL = "https://gateway.test/send"


def export(path: Path) -> dict[str, Any]:
    """An export, read by a reader that is not ours."""
    data: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return data


@dataclass(frozen=True, repr=False)
class Taken:
    """A directory that was imported, and the gateways in it, compiled with their secrets."""

    directory: Path
    done: Imported
    gateways: Mapping[str, Gateway]
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<{len(self.gateways)} gateways>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same for hypothesis, which otherwise prints each field of a dataclass."""
        printer.text(repr(self))

    def remarks(self, about: str) -> list[str]:
        """The remarks on one definition."""
        return [remark.text for remark in self.done.remarks if remark.about == about]

    def data(self, name: str) -> dict[str, Any]:
        """A gateway file, read by a reader that is not ours."""
        found: dict[str, Any] = yaml.safe_load((self.directory / "gateways.d" / f"{name}.yaml").read_text("utf-8"))
        return found

    def secret(self, path: str) -> str:
        """A secret file."""
        return (self.directory / "secrets.d" / path).read_bytes().decode()


def taken(source: Any, directory: Path, stem: str = "old", engine: str = "auto") -> Taken:
    """What `smsgwd import privacyidea` makes of an export (its data or its text)."""
    text = source if isinstance(source, str) else json.dumps(source)
    done = convert(read(text.encode(), "export", stem), directory)
    write(directory, done.files)
    return compiled(directory, done, engine)


def compiled(directory: Path, done: Imported, engine: str = "auto") -> Taken:
    """The gateways of a directory, their secrets read."""
    seen = look(directory)
    site, problems = Site(directory, http_engine=engine), list(seen.problems)
    for file in seen.sites:
        config, found = compile_site(load(file.data, file.file), directory, resolve=True)
        assert config is not None
        site = config.site
        problems += found
    gateways = {}
    for file in seen.gateways:
        gateway, found = compile_gateway(file.name, load(file.data, file.file), site, resolve=True)
        problems += found
        if isinstance(gateway, Gateway):
            gateways[file.name] = gateway
    return Taken(directory, done, gateways, tuple(map(str, problems)))


def http(directory: Path, headers: Mapping[str, str] | None = None, /, **options: str) -> Taken:
    """One definition of the HTTP class, called `x`."""
    entry = {"providermodule": HTTP, "options": {"URL": URL, **options}, "headers": dict(headers or {})}
    return taken({"smsgateway": {"x": entry}}, directory)


def other(directory: Path, kind: str, servers: Mapping[str, Any] | None = None, /, **options: str) -> Taken:
    """One definition of another class, called `x`: `Smpp`, `Smtp`, `Sipgate`, `Script`."""
    entry = {"providermodule": f"{CLASSES}{kind}SMSProvider.{kind}SMSProvider", "options": options}
    return taken({"smsgateway": {"x": entry}, "smtpserver": servers or {}}, directory)


def prepared(gateway: Gateway, phone: str, text: str) -> Any:
    """What the gateway would send, the number read by its own rules."""
    return gateway.provider.render(Message(msisdn.read(phone, gateway.phone), text, gateway.sender))
