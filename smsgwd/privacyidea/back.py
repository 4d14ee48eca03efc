"""A gateway file as a definition of privacyIDEA: what its clients are shown, and what they may send again."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from smsgwd import msisdn
from smsgwd.privacyidea import tags, values
from smsgwd.privacyidea.classes import HTTP, PARAMETERS, SCRIPT, SIPGATE, SMPP, SMTP
from smsgwd.privacyidea.definition import CENSORED, Definition, NoCounterpartError
from smsgwd.units import parse_duration

_REGEXP = re.compile("/(.*)/(.*)/")
_SHOWN = {"provider", "description", "phone", "secrets", "settings", "tests"}
_SHOWN_BY = {"smpp": {"sender"}, "http": {"deadline"}, "sipgate": {"deadline"}}  # a deadline follows from the timeout


@dataclass(frozen=True, slots=True)
class Shown:
    """A gateway in privacyIDEA's terms (None: no class can do what it does), and what they cannot say."""

    definition: Definition | None
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Page:
    """A definition on its way. `secrets` are values by name; None: each value that holds one is censored."""

    secrets: Mapping[str, str] | None
    options: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    secret_options: set[str] = field(default_factory=set)
    secret_headers: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def marked(self, what: str, template: str) -> str:
        """The marked text of a template. Raises NoCounterpartError for one that says more than two tags can."""
        text = tags.marked(template, {} if self.secrets is None else self.secrets)
        if text is None:
            raise NoCounterpartError(f"{what} is a template that no tags can say")
        return text

    def fixed(self, what: str, template: str) -> str:
        """The text of a template without tags."""
        text = self.marked(what, template)
        if tags.is_marked(text):
            raise NoCounterpartError(f"{what} has a tag, where none is replaced")
        return text

    def is_censored(self, value: Any) -> bool:
        """Whether a value, or something inside of it, is not to be shown."""
        return self.secrets is None and holds_secret(value)

    def option(self, key: str, value: Any, write: "_Write" = fixed) -> None:
        """Take an option: a template without tags, or what `write` makes of it."""
        if holds_secret(value):
            self.secret_options.add(key)
        self.options[key] = CENSORED if self.is_censored(value) else write(self, key, value)

    def header(self, name: str, template: str) -> None:
        """Take a header."""
        if holds_secret(template):
            self.secret_headers.add(name)
        self.headers[name] = CENSORED if self.is_censored(template) else self.fixed(f"the header {name}", template)

    def unsaid(self, where: str, keys: set[str]) -> None:
        """Say what a definition has no place for."""
        self.remarks += [f"{where}{key} has no counterpart in privacyIDEA" for key in sorted(keys)]


def holds_secret(value: Any) -> bool:
    """Whether a secret stands in some text inside of a value."""
    if isinstance(value, str):
        return tags.has_secret(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(holds_secret, items))


def to_definition(name: str, data: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> Shown:
    """The definition which `to_gateway` makes this file of.

    `secrets` are the values of the file's secrets; without them each option that holds one reads `__CENSORED__`.
    """
    page = _Page(secrets)
    provider = data["provider"]
    if provider not in _WRITERS:
        return Shown(None, (f"no class of privacyIDEA does what the provider {provider} does",))
    module, write = _WRITERS[provider]
    settings = dict(data["settings"])
    try:
        write(page, settings, data)
    except NoCounterpartError as error:
        return Shown(None, (str(error),))
    _number(page, data.get("phone", {}))
    page.unsaid("", data.keys() - _SHOWN - _SHOWN_BY.get(provider, set()))
    page.unsaid("settings.", set(settings))
    definition = Definition(
        name,
        module,
        data.get("description", ""),
        page.options,
        page.headers,
        frozenset(page.secret_options),
        frozenset(page.secret_headers),
    )
    return Shown(definition, tuple(page.remarks))


def _number(page: _Page, phone: Mapping[str, Any]) -> None:
    """REGEXP, for a number that is taken as it is written and rewritten once."""
    rules = phone.get("rewrite", [])
    if phone.get("format") != msisdn.VERBATIM:
        page.remarks.append("numbers are parsed here, and not in privacyIDEA")
    if not rules:
        return
    written = f"/{rules[0]['match']}/{rules[0]['replace']}/"
    found = _REGEXP.fullmatch(written)
    if len(rules) > 1 or not found or found.groups() != (rules[0]["match"], rules[0]["replace"]):
        page.remarks.append("phone.rewrite is more than one REGEXP can say")
    else:
        page.options["REGEXP"] = written


_Write = Callable[[_Page, str, Any], str]


# --- the HTTP class. Each writer takes out of `settings` what it has said.


def _http(page: _Page, settings: dict[str, Any], _: Mapping[str, Any]) -> None:
    kind = next((kind for kind in ("form", "json", "xml", "text") if kind in settings), "")
    method = settings.pop("method", "POST" if kind else "GET")
    sent = settings.pop(kind, None) if kind else settings.pop("query", {})
    if kind in {"xml", "text"} or method == "PUT" or (kind and method == "GET") or not isinstance(sent, dict):
        raise NoCounterpartError("privacyIDEA sends a query with GET, a form or a JSON object with POST")
    page.option("URL", settings.pop("url"), _in_url)
    page.options |= {"HTTP_METHOD": method, "SEND_DATA_AS_JSON": "yes" if kind == "json" else "no"}
    _connection(page, settings)
    _rules(page, settings)
    for key, value in sent.items():
        if key in PARAMETERS[HTTP]:
            raise NoCounterpartError(f"{key} is a parameter of the class, and cannot be sent")
        page.option(key, value, _json if kind == "json" else _parameter)
    for name, template in settings.pop("headers", {}).items():
        page.header(name, template)


def _connection(page: _Page, settings: dict[str, Any]) -> None:
    auth = settings.pop("auth", {})
    if auth.get("username") == "":
        raise NoCounterpartError("basic authentication needs a username")
    for key in ("username", "password"):
        if key in auth:
            page.option(key.upper(), auth[key])
    if "bearer" in auth:
        page.header("Authorization", f"Bearer {auth['bearer']}")
    tls = settings.pop("tls", {})
    page.options["CHECK_SSL"] = "no" if tls.get("verify") is False else "yes"
    page.unsaid("settings.tls.", tls.keys() - {"verify"})
    for scheme, proxy in settings.pop("proxy", {}).items():
        page.option(f"{scheme.upper()}_PROXY", proxy, _in_url)
    timeout = settings.pop("timeout", {})
    if "connect" in timeout:
        page.options["TIMEOUT"] = f"{parse_duration(timeout['connect']):g}"


def _in_url(page: _Page, key: str, template: str) -> str:
    """A URL, in which secrets stand percent-encoded, unless one is all of it."""
    secrets = page.secrets or {}
    encoded = {name: quote(value, safe="") for name, value in secrets.items()} if "://" in template else secrets
    return _Page(encoded).fixed(key, template)


def _rules(page: _Page, settings: dict[str, Any]) -> None:
    for key, option in (("success", "RETURN_SUCCESS"), ("failure", "RETURN_FAIL")):
        rule = settings.get(key, {})
        if "contains" in rule and not rule.keys() & {"matches", "json"}:
            page.options[option] = settings.pop(key)["contains"]


def _parameter(page: _Page, key: str, value: str | list[str]) -> str:
    return _as_option(_marked(page, key, value), values.parameters)


def _json(page: _Page, key: str, value: Any) -> str:
    return _as_option(_marked(page, key, value), lambda read: read)


def _marked(page: _Page, key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _marked(page, key, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_marked(page, key, item) for item in value]
    return page.marked(key, value) if isinstance(value, str) else value


def _as_option(value: Any, sent: Callable[[Any], Any]) -> str:
    """The value as an option: text as it is, unless the class would read anything else in it; else as JSON."""
    if isinstance(value, str) and tags.mark(tags.unmark(value)) == value:
        read, bare = values.read(tags.unmark(value))
        if not bare and sent(read) == sent(value):
            return tags.unmark(value)
    written = json.dumps(value, ensure_ascii=False)
    for tag in ("phone", "otp"):  # a text that only looks like a tag
        written = written.replace(f"{{{tag}}}", rf"\u007b{tag}}}")
    return tags.unmark(written)


# --- the other classes


def _smtp(page: _Page, settings: dict[str, Any], _: Mapping[str, Any]) -> None:
    server, mail_to = settings.pop("server"), settings.pop("mail_to")
    if not isinstance(server, str):
        raise NoCounterpartError("the SMTP server is not one of smtp_servers")
    page.options["SMTPIDENTIFIER"] = server
    to = mail_to if isinstance(mail_to, str) else ", ".join(mail_to)
    for key, template in (
        ("MAILTO", to),
        ("SUBJECT", settings.pop("subject", None)),
        ("BODY", settings.pop("body", None)),
    ):
        if template is not None:
            page.option(key, template, _formatted)
    headers = settings.pop("headers", {})
    page.unsaid("settings.headers.", headers.keys() - {"Reply-To"})  # the class writes that one itself


def _formatted(page: _Page, key: str, template: str) -> str:
    """In `str.format` notation."""
    return tags.unmark(page.marked(key, template).replace("{", "{{").replace("}", "}}"))


def _smpp(page: _Page, settings: dict[str, Any], data: Mapping[str, Any]) -> None:
    page.options["SMSC_HOST"] = settings.pop("host")
    page.options["SMSC_PORT"] = str(settings.pop("port", 2775))
    for key in ("system_id", "password"):
        if settings.get(key):
            page.option(key.upper(), settings.pop(key))
    if "sender" in data:
        page.options["S_ADDR"] = data["sender"]
    for key, option in (("source", "S_ADDR"), ("destination", "D_ADDR")):
        kind = settings.pop(key, {})
        if kind.keys() != {"ton", "npi"}:
            page.remarks.append(f"settings.{key}: TON and NPI that are not given are 0 in privacyIDEA")
        page.options |= {f"{option}_{part.upper()}": str(number) for part, number in kind.items()}
    if settings.get("bind") == "transmitter":
        del settings["bind"]


def _sipgate(page: _Page, settings: dict[str, Any], _: Mapping[str, Any]) -> None:
    if settings.pop("api", "xmlrpc") != "xmlrpc":
        raise NoCounterpartError("privacyIDEA knows sipgate's XML-RPC interface alone")
    for key in ("username", "password"):
        page.option(key.upper(), settings.pop(key))
    proxy = settings.pop("proxy", {})
    if "https" in proxy:
        page.option("PROXY", proxy["https"].replace("http://", "https://", 1), _in_url)
    settings.pop("timeout", None)


def _script(page: _Page, settings: dict[str, Any], _: Mapping[str, Any]) -> None:
    command = settings.pop("command")
    if len(command) > 1:
        raise NoCounterpartError("privacyIDEA gives a script the number as its only argument")
    page.option("script", command[0])
    page.options["background"] = settings.pop("mode", "wait")


_Writer = Callable[[_Page, dict[str, Any], Mapping[str, Any]], None]
_WRITERS: Mapping[str, tuple[str, _Writer]] = {
    "http": (HTTP, _http),
    "sipgate": (SIPGATE, _sipgate),
    "smtp": (SMTP, _smtp),
    "smpp": (SMPP, _smpp),
    "script": (SCRIPT, _script),
}
