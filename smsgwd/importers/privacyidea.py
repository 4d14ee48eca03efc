"""From privacyIDEA's definitions to the files of a configuration directory."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from smsgwd.compile import compile_gateway, compile_site
from smsgwd.dump import dump
from smsgwd.errors import Problem, Severity
from smsgwd.files import NAME
from smsgwd.importers.files import File
from smsgwd.importers.source import Found
from smsgwd.load import load
from smsgwd.privacyidea import (
    SCRIPT,
    Mapped,
    ServerRef,
    SmtpServer,
    secrets_folder,
    smtp,
    to_gateway,
    to_gateway_from_old,
)
from smsgwd.privacyidea.sheet import Sheet
from smsgwd.providers._base import Site
from smsgwd.secret import Secret

SITE_FILE = "smsgwd.yaml"
# privacyIDEA's own default, PI_SCRIPT_SMSPROVIDER_DIRECTORY; no export holds it
SCRIPTS_DIRECTORY = "/etc/privacyidea/scripts"
_SERVER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", re.ASCII)
_SERVER_SECRETS = secrets_folder("smtp.servers")  # with a dot: no gateway is called so
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Remark:
    """What has no exact counterpart. `about` is a gateway as privacyIDEA calls it, or a file."""

    about: str
    text: str


@dataclass(slots=True)
class Imported:
    """The files to write, and what there is to say about them."""

    files: list[File] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def convert(found: Found, directory: Path) -> Imported:
    """The configuration that does what the definitions say; every file of it compiles."""
    servers = _servers(found)
    names = mapped_names([*(one.name for one in found.definitions), *found.old], NAME)
    mapped = [(one.name, to_gateway(one, names[one.name], servers.refs)) for one in found.definitions]
    mapped += [(name, to_gateway_from_old(old, names[name], servers.refs)) for name, old in found.old.items()]
    done = Imported()
    site = _write_site(done, servers, scripts=any(one.module == SCRIPT for one in found.definitions), within=directory)
    modules = {one.name: one.module.rpartition(".")[2] for one in found.definitions}
    for name, result in mapped:
        _write_gateway(done, _Gateway(name, names[name], modules.get(name, "a token configuration"), result), site)
    return done


def mapped_names(names: Sequence[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """A name that fits the pattern for each; those that fit keep theirs. No two are alike but for their case."""
    kept: dict[str, str] = {}
    for name in filter(pattern.fullmatch, names):
        kept.setdefault(name.lower(), name)
    taken = set(kept)
    mapped: dict[str, str] = {}
    for name in names:
        if name not in mapped:
            fits = kept.get(name.lower()) == name
            mapped[name] = name if fits else next(each for each in _candidates(name) if each.lower() not in taken)
            taken.add(mapped[name].lower())
    return mapped


def _candidates(name: str) -> Iterator[str]:
    """What a name may become: letters, digits and hyphens, numbered from the second on."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_")[:_LONGEST_NAME].rstrip("-_") or "gateway"
    yield base
    for number in count(2):
        yield f"{base[: _LONGEST_NAME - len(str(number)) - 1]}-{number}"


# --- SMTP servers and smsgwd.yaml


@dataclass(frozen=True, slots=True)
class _Servers:
    refs: Mapping[str, ServerRef]
    entries: Mapping[str, Mapping[str, Any]]
    sheet: Sheet


def _servers(found: Found) -> _Servers:
    """The central servers that some gateway names; others serve other purposes of privacyIDEA."""
    options = [*(one.options.get("SMTPIDENTIFIER") for one in found.definitions)]
    options += [str(old["IDENTIFIER"]) for old in found.old.values() if old.get("IDENTIFIER")]
    names = mapped_names([name for name in options if name], _SERVER_NAME)
    sheet = Sheet(_SERVER_SECRETS)
    entries = {name: _server(sheet, found.servers.get(given), given, name) for given, name in names.items()}
    refs = {given: smtp.ref(name, entries[name]) for given, name in names.items()}
    return _Servers(refs, entries, sheet)


def _server(sheet: Sheet, server: SmtpServer | None, identifier: str, name: str) -> dict[str, Any]:
    if identifier != name:
        sheet.remark(f"the SMTP server {identifier!r} is called {name} here")
    return smtp.missing(sheet, identifier, name) if server is None else smtp.server(sheet, server)


def _write_site(done: Imported, servers: _Servers, *, scripts: bool, within: Path) -> Site:
    sheet = servers.sheet
    if scripts:
        sheet.remark(
            f"the folder of the scripts is not part of the source: {SCRIPTS_DIRECTORY} is privacyIDEA's default"
        )
    data = {
        "secrets": sheet.references(),
        "smtp_servers": dict(servers.entries),
        "scripts": {"directory": SCRIPTS_DIRECTORY} if scripts else {},
    }
    data = {key: value for key, value in data.items() if value}
    if not data:
        return Site(within)
    text = dump(data, ["Imported from privacyIDEA.", *map(_as_comment, sheet.remarks)])
    done.remarks += [Remark(SITE_FILE, remark) for remark in sheet.remarks]
    done.files.append(File(PurePosixPath(SITE_FILE), text))
    done.files += _secret_files(_SERVER_SECRETS, sheet.secrets)
    config, problems = compile_site(load(text.encode(), SITE_FILE), within, resolve=False)
    done.remarks += [Remark(SITE_FILE, problem.message) for problem in _errors(problems)]
    return config.site if config else Site(within)


# --- gateways


@dataclass(frozen=True, slots=True)
class _Gateway:
    given: str  # its name in privacyIDEA
    name: str
    kind: str
    mapped: Mapped


def _write_gateway(done: Imported, gateway: _Gateway, site: Site) -> None:
    remarks = list(gateway.mapped.remarks)
    if gateway.mapped.data is not None and gateway.name != gateway.given:
        remarks.insert(0, f"it is called {gateway.name} here")
    data = gateway.mapped.data
    faults = [] if data is None else _faults(gateway.name, data, site)
    remarks += faults
    done.remarks += [Remark(gateway.given, remark) for remark in remarks]
    if data is None or faults:
        return
    origin = f"Imported from privacyIDEA: {gateway.given!r} ({gateway.kind})."
    text = dump(data, [origin, *map(_as_comment, remarks)])
    done.files.append(File(PurePosixPath(f"gateways.d/{gateway.name}.yaml"), text))
    done.files += _secret_files(secrets_folder(gateway.name), gateway.mapped.secrets)


def _faults(name: str, data: Mapping[str, Any], site: Site) -> list[str]:
    """The errors that `smsgwd check` would find: with one the file could not send, so it is not written.

    Warnings are not told here: they are as good or bad in privacyIDEA, and `check` tells them.
    """
    _, problems = compile_gateway(name, load(dump(data).encode(), f"{name}.yaml"), site, resolve=False)
    return [f"not imported: {problem.pointer}: {problem.message}" for problem in _errors(problems)]


def _errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def _as_comment(remark: str) -> str:
    return f"Remark: {remark}"


def _secret_files(folder: str, values: Mapping[str, Secret | None]) -> Iterator[File]:
    for name, value in values.items():
        if value is not None:
            yield File(PurePosixPath(folder) / name, value.as_file(), secret=True)
