"""privacyIDEA's gateway API: what a gateway file is shown as, and what becomes of it when a client writes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smsgwd.compile import compile_gateway, digest_of_file
from smsgwd.errors import RequestError, Severity
from smsgwd.files import NAME, NAME_RULE, ConfigFile, look
from smsgwd.load import load
from smsgwd.privacyidea import ServerRef, own, remembered, smtp
from smsgwd.privacyidea.asked import OURS, Asked
from smsgwd.privacyidea.classes import descriptors
from smsgwd.privacyidea.dotted import descriptor
from smsgwd.privacyidea.replacing import Replaced, Stored, check_class, refused, replaced, staying, without
from smsgwd.privacyidea.standing import stand_ins, standing, unmade
from smsgwd.providers._base import Site
from smsgwd.registry import gateway_id
from smsgwd.schema import check_gateway, provider_names
from smsgwd.writing import Current, Wanted
from smsgwd.writing.model import Make

_TOLD = 5  # findings in one message
_AUTHORITY = re.compile(r"[^/?#]*//[^/?#]*")


# --- reading


@dataclass(frozen=True, slots=True)
class Shown:
    """A gateway as clients see it; `digest` is empty for a file that does not compile."""

    name: str
    digest: str
    entry: dict[str, Any]


def shown(site: Site, names: frozenset[str]) -> list[Shown]:
    """Those gateways of the configuration directory, by name."""
    files = sorted(look(site.directory).gateways, key=lambda file: file.name)
    return [_shown(file, site) for file in files if file.name in names]


def _shown(file: ConfigFile, site: Site) -> Shown:
    source = load(file.data, file.file)
    served, problems = compile_gateway(file.name, source, site, resolve=False)
    data = check_gateway(source)[0]
    if served is None or data is None:
        why = next((str(problem) for problem in problems if problem.severity is Severity.ERROR), "")
        return Shown(file.name, "", _entry(file.name, "", f"its file does not compile: {why}"))
    entry = said(file.name, data, source.text)
    return Shown(file.name, digest_of_file(data), entry)


def said(name: str, data: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The entry of a gateway file of that data and text."""
    found = standing(name, data, text, stand_ins(data.get("secrets", {}), text))
    if found is None:
        description = data.get("description") or (None if remembered.read(text).no_description else "")
        return _entry(name, f"{OURS}{data['provider']}", description, own.shown(data))
    return _entry(
        name,
        found.definition.module,
        found.description,
        found.options,
        found.headers,
        found.hidden_options,
        found.hidden_headers,
    )


def _entry(
    name: str,
    module: str,
    description: str | None,
    options: Mapping[str, str] = {},
    headers: Mapping[str, str] = {},
    secret_options: frozenset[str] = frozenset(),
    secret_headers: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    return {
        "id": gateway_id(name),
        "name": name,
        "providermodule": module,
        "description": description,
        "options": dict(options),
        "headers": dict(headers),
        "secret_options": sorted(secret_options),
        "secret_headers": sorted(secret_headers),
    }


def providers(site: Site) -> dict[str, Any]:
    """The modules that there are, and the parameters of each."""
    ours = {f"{OURS}{name}": descriptor(name) for name in provider_names()}
    return {**descriptors(tuple(sorted(site.smtp_servers))), **ours}


# --- what is asked


def check_name(name: str) -> None:
    """Raises RequestError for what cannot be the name of a gateway."""
    if not NAME.fullmatch(name):
        raise refused(f"this cannot be the name of a gateway: {NAME_RULE}")


def kind_and_key(key: str) -> tuple[str, str]:
    """A dot parts the kind from the key; what has none is an option."""
    kind, dot, rest = key.partition(".")
    return (kind, rest) if dot else ("option", key)


def check_module(module: str) -> None:
    """Raises RequestError for a module that there is not."""
    if module.startswith(OURS):
        own.check_module(module)
    else:
        check_class(module)


# --- writing


@dataclass(slots=True)
class Change:
    """A change to be made by the writer, and what there is to tell of it afterwards."""

    make: Make
    elsewhere: bool = field(default=False)  # secrets are kept, and go to another place now
    remarks: tuple[str, ...] = field(default=())  # what has no exact counterpart; they hold no value


def writing(asked: Asked, site: Site) -> Change:
    """The change that replaces a gateway by what was asked for."""
    change = Change(lambda current: _written(change, current, _replaced(asked, current, site)))
    return change


def deleting(name: str, kind: str, key: str, site: Site) -> Change:
    """The change that takes an option or header away."""

    def make(current: Current | None) -> Wanted:
        if current is None or current.data is None:
            raise RequestError("not-found", "there is no such gateway, or its file does not compile")
        stored = _stored(current, current.data)
        if stored.standing is None:
            new = own.without(name, current.data, kind, key)
            return _written(change, current, replace(new, remembered=remembered.read(current.text)))
        return _written(change, current, replaced(without(stored.standing, kind, key), stored, _servers(site)))

    change = Change(make)
    return change


def _replaced(asked: Asked, current: Current | None, site: Site) -> Replaced:
    if current is None:
        return own.replaced(asked, {}) if asked.module.startswith(OURS) else replaced(asked, None, _servers(site))
    if current.data is None:
        raise _lossy(["all of its file, which does not compile"])
    stored = _stored(current, current.data)
    if asked.module == f"{OURS}{current.data['provider']}":
        return _remembering(own.replaced(asked, current.data), current)
    if stored.standing is None:
        raise _lossy(unmade(asked.name, current.data, stored.words))
    if asked.module.startswith(OURS):
        return own.replaced(asked, staying(current.data))
    return replaced(asked, stored, _servers(site))


def _remembering(new: Replaced, current: Current) -> Replaced:
    """The same with what the file remembers: what a client wrote once can be shown again, where it still fits."""
    memory = remembered.read(current.text)
    return replace(new, remembered=replace(memory, no_description=new.remembered.no_description))


def _stored(current: Current, data: Mapping[str, Any]) -> Stored:
    words = stand_ins(data.get("secrets", {}), current.text)
    return Stored(data, words, current.secrets, standing(current.name, data, current.text, words))


def _servers(site: Site) -> dict[str, ServerRef]:
    return {name: smtp.ref(name, entry) for name, entry in site.smtp_servers.items()}


def _lossy(lost: list[str]) -> RequestError:
    told = ", ".join(lost[:10]) + (", ..." if lost[10:] else "")
    return RequestError("lossy-overwrite", f"nothing was changed: this would lose what the file says: {told}")


def _written(change: Change, current: Current | None, new: Replaced) -> Wanted:
    before = {} if current is None or current.data is None else current.data
    kept = new.data.get("secrets", {}).keys() - new.secrets.keys()
    change.elsewhere = bool(before and kept) and _places(before) != _places(new.data)
    change.remarks = new.remarks
    data = before if new.data == before else new.data  # so that not even the order of its keys changes
    same = current is not None and remembered.read(current.text) == new.remembered
    note = new.remembered.line()
    notes = {} if same and note is not None else {remembered.BEGINNING: note}
    return Wanted(data=data, secrets=new.secrets, notes=notes)


def _places(data: Mapping[str, Any]) -> list[Any]:
    """Where a gateway sends what it is given."""
    settings = data.get("settings", {})
    url = _AUTHORITY.match(str(settings.get("url", "")))
    keys = ("host", "server", "mail_to", "command", "proxy")
    return [data["provider"], url and url[0].lower(), *(settings.get(key) for key in keys)]


def as_bad_request(error: RequestError) -> RequestError:
    """A result that does not compile, as privacyIDEA's clients are told of it: its findings in the message."""
    problems = [one for one in error.members.get("problems", []) if one["severity"] == Severity.ERROR]
    told = [f"{one['file']}:{one['line']}: {one['message']}" for one in problems[:_TOLD]]
    return RequestError("malformed-request", "; ".join([error.detail, *told]), error.members)
