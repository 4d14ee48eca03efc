"""privacyIDEA's gateway definitions and what they are here, both ways; no file and no network is touched.

classes     its classes, and what their parameters are called
definition  what privacyIDEA stores
tags        its single-brace tags, and templates
values      what its HTTP class reads in an option
sheet       a gateway file on its way: secrets, remarks
http, smtp, others, number    what each class means, and REGEXP
back        a gateway file as a definition
old         the dictionaries from before there were definitions

What privacyIDEA sends for its definitions was seen by running it (state of August 2026).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from smsgwd.privacyidea import http, number, old, others, smtp, values
from smsgwd.privacyidea.back import Shown, to_definition
from smsgwd.privacyidea.classes import FIREBASE, HTTP, MAY_HIDE, PARAMETERS, SCRIPT, SIPGATE, SMPP, SMTP
from smsgwd.privacyidea.definition import (
    CENSORED,
    Definition,
    Mapped,
    NoCounterpartError,
    ServerRef,
    SmtpServer,
)
from smsgwd.privacyidea.sheet import Sheet, holds_credential, present

__all__ = [
    "CENSORED",
    "FIREBASE",
    "HTTP",
    "PARAMETERS",
    "SCRIPT",
    "SIPGATE",
    "SMPP",
    "SMTP",
    "Definition",
    "Mapped",
    "ServerRef",
    "Shown",
    "SmtpServer",
    "secrets_folder",
    "to_definition",
    "to_gateway",
    "to_gateway_from_old",
]

_MAY_BE_SECRET = MAY_HIDE | {"MAILUSER", "MAILPASSWORD"}  # these two are of older token configurations

Servers = Mapping[str, ServerRef]  # the central SMTP servers by their identifiers


def secrets_folder(name: str) -> str:
    """Where the secrets of a gateway are, counted from the configuration directory."""
    return f"secrets.d/{name}"


def to_gateway(definition: Definition, name: str, servers: Servers) -> Mapped:
    """The gateway file of that name which does what the definition says.

    For every number and text that privacyIDEA sends correctly it puts the same request on the wire.
    """
    sheet = Sheet(secrets_folder(name), definition.secret_options, definition.secret_headers)
    read = _CLASSES.get(definition.module)
    if read is None:
        push = definition.module == FIREBASE
        sheet.remark("not imported: it pushes to an app and sends no SMS" if push else _unknown(definition.module))
        return sheet.mapped(None)
    provider, parts_of = read
    _tell_unused(sheet, definition)
    definition = _without_hidden(sheet, definition)
    regexp = definition.options.get("REGEXP", "")
    return _file(sheet, provider, definition.description, regexp, lambda: parts_of(sheet, definition, servers))


def to_gateway_from_old(data: Mapping[str, Any], name: str, servers: Servers) -> Mapped:
    """As `to_gateway`, from an older token configuration (`old.is_old`)."""
    sheet = Sheet(secrets_folder(name))
    data = _without_censored(sheet, data, data.keys() - _MAY_BE_SECRET)
    options = {key: old.text(value) for key, value in data.items()}
    readers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "http": lambda: old.http_parts(sheet, data),
        "smtp": lambda: {"settings": old.smtp_settings(sheet, data, servers.get(options.get("IDENTIFIER", "")))},
        "sipgate": lambda: others.sipgate(sheet, {**options, "REGEXP": ""}),
    }
    provider = old.provider(data)
    return _file(sheet, provider, "", options.get("REGEXP", ""), readers[provider])


def _file(sheet: Sheet, provider: str, description: str, regexp: str, parts_of: Callable[[], dict[str, Any]]) -> Mapped:
    try:
        parts = parts_of()
    except NoCounterpartError as error:
        sheet.remark(f"not imported: {error}")
        return sheet.mapped(None)
    if holds_credential(description):
        sheet.remark("the description is left out: it holds a credential")
        description = ""
    data = {
        "provider": provider,
        "description": description or None,
        "sender": parts.get("sender"),
        "deadline": parts.get("deadline"),
        "phone": number.phone(sheet, regexp),
        "secrets": sheet.references() or None,
        "settings": parts["settings"],
    }
    return sheet.mapped(present(data))


def _without_hidden(sheet: Sheet, definition: Definition) -> Definition:
    """The definition without what is censored, and a word on what the source hides and a file cannot."""
    in_the_file = set(PARAMETERS[definition.module]) - _MAY_BE_SECRET
    options = _without_censored(sheet, definition.options, in_the_file)
    for key in sorted(definition.secret_options & (in_the_file | {"URL"}) & options.keys()):
        sheet.remark(f"{key} is a secret in privacyIDEA, and stands in the file itself")
    return replace(definition, options=options)


def _without_censored(sheet: Sheet, options: Mapping[str, Any], in_the_file: Collection[str]) -> Mapping[str, Any]:
    """The options without those whose value is hidden, but would have to stand in the file."""
    hidden = {key for key, value in options.items() if key in in_the_file and value == CENSORED}
    for key in sorted(hidden):
        sheet.remark(f"{key} is censored in the source, and is left out")
    return {key: value for key, value in options.items() if key not in hidden}


def _unknown(module: str) -> str:
    return f"not imported: there is no counterpart of the class {module!r}" if module else "not imported: no class"


def _tell_unused(sheet: Sheet, definition: Definition) -> None:
    """What a definition holds that its class does not use."""
    if definition.module == HTTP:
        return
    for option in sorted(definition.options.keys() - set(PARAMETERS[definition.module])):
        sheet.remark(f"the option {option!r} is left out: its class does not know it")
    if definition.headers:
        sheet.remark("the headers are left out: its class sends none")


# --- one reader for each class


def _http(sheet: Sheet, definition: Definition, _: Servers) -> dict[str, Any]:
    parameters = set(PARAMETERS[HTTP])
    fields = {key: _read(sheet, key, value) for key, value in definition.options.items() if key not in parameters}
    return http.file_parts(sheet, http.Request(definition.options, fields, definition.headers))


def _read(sheet: Sheet, key: str, value: str) -> Any:
    read, bare = values.read(value)
    if bare:
        sheet.remark(f"{key}: number and message are sent as text, also where they look like a number")
    elif values.is_nearly_json(value):
        sheet.remark(f"{key} has typographic quotes, which are no JSON: it is sent as it stands, as text")
    return read


def _smtp(sheet: Sheet, definition: Definition, servers: Servers) -> dict[str, Any]:
    identifier = definition.options.get("SMTPIDENTIFIER", "")
    if identifier not in servers:
        raise NoCounterpartError("SMTPIDENTIFIER is missing")
    server = servers[identifier]
    if not server.sender:
        sheet.remark(f"the SMTP server {server.name} has still to be filled in, in smsgwd.yaml")
    return {"settings": smtp.settings(sheet, smtp.marked(sheet, definition.options), server.name, server.sender)}


def _others(read: Callable[[Sheet, Mapping[str, str]], dict[str, Any]]) -> "_Reader":
    return lambda sheet, definition, _: read(sheet, definition.options)


_Reader = Callable[[Sheet, Definition, Servers], dict[str, Any]]
_CLASSES: Mapping[str, tuple[str, _Reader]] = {
    HTTP: ("http", _http),
    SIPGATE: ("sipgate", _others(others.sipgate)),
    SMTP: ("smtp", _smtp),
    SMPP: ("smpp", _others(others.smpp)),
    SCRIPT: ("script", _others(others.script)),
}
