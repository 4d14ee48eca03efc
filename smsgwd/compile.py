"""From a loaded file to a gateway that can send, or to all that is wrong with it."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smsgwd import advice, credentials, msisdn, providers, schema
from smsgwd.errors import MessageError, Problem, Severity, has_errors
from smsgwd.ignores import ignores, silence
from smsgwd.load import Mapping as MappingNode
from smsgwd.load import Source
from smsgwd.message import sender_fault
from smsgwd.outcome import Kind
from smsgwd.providers._base import KeyPath, Provider, Site
from smsgwd.registry import (
    UNLIMITED,
    AccessRule,
    Choice,
    Failover,
    Gateway,
    Limits,
    LogSettings,
    OtpSettings,
    Reference,
    Retry,
    Route,
    Served,
    SiteConfig,
    SocketSettings,
    TextTemplate,
    Variable,
    digest_of,
)
from smsgwd.secret import MASKED, SHORT_SECRET, Secret, SecretRef, SecretUnavailableError, key_of
from smsgwd.templates import Scope, Template, TemplateError, compile_template
from smsgwd.units import Pace, parse_duration, parse_pace

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_MESSAGE_NAMES = frozenset({"phone", "message", "otp", "sender", "reference"})
_NOT_IN_DIGEST = ("description", "tests")  # what changes nothing for a message
FAILOVER = "failover"  # no provider of its own, but a choice among gateways
_OF_MEMBERS = frozenset({"max_segments", "retry", "secrets", "sender"})
_REGION_HINT = "a two-letter country code in capitals: DE, AT, CH"


@dataclass(slots=True)
class Draft:
    """A file on its way to being compiled: collects its problems, compiles its templates. Implements `Bench`."""

    name: str
    source: Source
    site: Site
    resolved: bool
    sender: str = ""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    region: str | None = None
    names: frozenset[str] = _MESSAGE_NAMES
    used: set[str] = field(default_factory=set)  # names that templates read
    problems: list[Problem] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    hidden: list[Secret] = field(default_factory=list)

    def problem(
        self,
        at: KeyPath,
        code: str,
        message: str,
        hint: str = "",
        *,
        offset: int | None = None,
        on_key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Report a fault at a value (`offset` characters into its text), or at its key."""
        found = self.source.problem(at, code, message, hint, offset=offset, on_key=on_key, severity=severity)
        self.problems.append(found)

    def template(self, text: str, at: KeyPath, *, escape: Callable[[str], str] | None = None) -> Template:
        """The compiled template of `settings`; an empty one where it has faults."""
        return self.compiled(text, at, Scope(self.names, self.secrets, self.region), escape)

    def compiled(self, text: str, at: KeyPath, scope: Scope, escape: Callable[[str], str] | None = None) -> Template:
        """The compiled template of any part of the file."""
        try:
            template, faults = compile_template(text, scope, escape)
        except TemplateError as error:
            template, faults = compile_template("", scope)[0], list(error.faults)
        for fault in faults:
            severity = Severity.WARNING if fault.warning else Severity.ERROR
            self.problem(at, fault.code, fault.message, fault.hint, offset=fault.offset, severity=severity)
        self.used |= template.uses
        return self._possible(template, at)

    def _possible(self, template: Template, at: KeyPath) -> Template:
        """The template, or an empty one in the place of one that is the same for each message and always fails."""
        try:
            if template.constant:
                template.render({})
        except MessageError as error:
            self.problem(at, "bad-value", error.detail)
            return compile_template("", Scope(frozenset(), {}))[0]
        return template

    def path(self, text: str) -> Path:
        """A file that the settings name."""
        path = self.site.directory / text
        self.files.add(path)
        return path

    def hide(self, value: str) -> None:
        """Take a text among what no log, error or answer shows."""
        self.hidden.append(Secret(value))


def compile_gateway(
    name: str, source: Source, site: Site, *, resolve: bool, files: set[Path] | None = None
) -> tuple[Served | None, tuple[Problem, ...]]:
    """The gateway or failover and its warnings, or None and all that is wrong.

    `resolve` reads the secrets; without it each is `***` (`check`, `render`). A disabled gateway's are never read.
    `files` takes every file that was looked for beside this one, also when nothing compiles because one is missing.
    """
    data, problems = schema.check_gateway(source)
    if data is None:
        return None, _ordered([*source.problems, *problems])
    enabled = data.get("enabled", True)
    draft = Draft(name, source, site, resolved=resolve and enabled, problems=[*source.problems, *problems])
    draft.files = draft.files if files is None else files
    draft.problems += credentials.literal_secrets(source, data)
    gateway = _assemble(draft, data)
    if gateway is not None:
        sound = not has_errors(draft.problems)
        draft.problems += advice.of_gateway(source, data, gateway, draft.used, sound=sound)
    if has_errors(draft.problems):
        gateway = None
    return gateway, _ordered(silence(source, draft.problems))


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.sort_key))


def _assemble(draft: Draft, data: Mapping[str, Any]) -> Served | None:
    draft.secrets = _secrets(draft, data.get("secrets", {}))
    draft.sender = _sender(draft, data.get("sender", ""))
    draft.region = _region(draft, data)
    common = _common(draft, data)
    if data.get("provider") == FAILOVER:
        return _failover(draft, data, common) if _sound(draft.problems, data) else None
    draft.names |= {f"vars.{name}" for name in common["variables"]}
    provider = _provider(draft, data)
    if provider is None:
        return None
    common["phone"] = _phone(draft, data, provider.default_phone_format)
    return Gateway(
        **common,
        provider=provider,
        retry=_retry(draft, data.get("retry", {})),
        max_segments=data.get("max_segments"),
        secrets=(*draft.secrets.values(), *draft.hidden),
        fingerprint=_fingerprint(draft, data, provider.depends, provider.shaped_by()),
        files=frozenset(draft.files),
        masked=_twin(draft) if draft.resolved else None,
    )


def _common(draft: Draft, data: Mapping[str, Any]) -> dict[str, Any]:
    """The members that gateways and failovers share."""
    templates = _templates(draft, data.get("templates", {}))
    return {
        "name": draft.name,
        "provider_name": data.get("provider", ""),
        "sender": draft.sender,
        "enabled": data.get("enabled", True),
        "disabled_at": _disabled_at(draft, data),
        "description": data.get("description", ""),
        "deadline_s": _seconds(draft, data, "deadline", 30.0),
        "templates": MappingProxyType(templates),
        "variables": frozenset(name for template in templates.values() for name in template.variables),
        "limits": _limits(draft, data.get("limits", {})),
        "digest": digest_of_file(data),
    }


def digest_of_file(data: Mapping[str, Any]) -> str:
    """The digest of what a gateway file says, less what changes nothing for a message."""
    return digest_of({key: value for key, value in data.items() if key not in _NOT_IN_DIGEST})


def _disabled_at(draft: Draft, data: Mapping[str, Any]) -> str:
    if data.get("enabled", True):
        return ""
    line, column = draft.source.position(("enabled",), key=True)
    return f"{draft.source.file}:{line}:{column}"


def _phone(draft: Draft, data: Mapping[str, Any], default_format: str) -> msisdn.PhoneRules:
    phone = data.get("phone", {})
    return msisdn.PhoneRules(
        region=draft.region,
        format=phone.get("format", default_format),
        short_codes=phone.get("short_codes", False),
        rewrite=_rewrites(draft, data),
    )


def _failover(draft: Draft, data: Mapping[str, Any], common: dict[str, Any]) -> Failover:
    """A failover of sound settings."""
    for key in sorted(_OF_MEMBERS & data.keys()):
        message = f"`{key}` has no effect on a failover: each member has its own"
        draft.problem((key,), "no-effect", message, on_key=True, severity=Severity.WARNING)
    settings = data["settings"]
    return Failover(
        **common,
        phone=_phone(draft, data, msisdn.E164),
        routes=tuple(_route(draft, index, route) for index, route in enumerate(settings.get("routes", []))),
        gateways=tuple(settings.get("gateways", [])),
        on=frozenset(Kind(kind) for kind in settings.get("on", [Kind.UNSENT])),
        references=tuple(_references(draft, settings)),
        fingerprint=_fingerprint(draft, data, ()),
    )


def _route(draft: Draft, index: int, route: Mapping[str, Any]) -> Route:
    countries = route.get("country", [])
    for place, country in enumerate(countries):
        if not msisdn.known_region(country):
            at = ("settings", "routes", index, "country", place)
            draft.problem(at, "unknown-region", f"{country!r} is no region", _REGION_HINT)
    return Route(tuple(route["gateways"]), route.get("prefix", ""), frozenset(countries))


def _references(draft: Draft, settings: Mapping[str, Any]) -> Iterator[Reference]:
    """Every gateway that the settings name, with its place."""
    lists: list[tuple[KeyPath, Sequence[str]]] = [(("settings", "gateways"), settings.get("gateways", []))]
    for index, route in enumerate(settings.get("routes", [])):
        lists.append((("settings", "routes", index, "gateways"), route["gateways"]))
    comments = ignores(draft.source)
    for path, names in lists:
        for index, name in enumerate(names):
            place = draft.source.problem((*path, index), "unavailable-gateway", "", severity=Severity.WARNING)
            yield Reference(name, place, quiet=any(comment.silences(place) for comment in comments))


def _twin(draft: Draft) -> Callable[[], Gateway]:
    """Compiles the same file without its secrets, when first asked for."""

    @cache
    def compile_without_secrets() -> Gateway:
        gateway, _ = compile_gateway(draft.name, draft.source, draft.site, resolve=False)
        if not isinstance(gateway, Gateway):
            raise TypeError(f"{draft.name} compiles with its secrets, but not without them")
        return gateway

    return compile_without_secrets


def _secrets(draft: Draft, references: Mapping[str, Mapping[str, str]]) -> dict[str, Secret]:
    """The secrets by name; one whose reference is wrong is told already, and is no unknown name as well."""
    declared = draft.source.node(("secrets",))
    names = declared.entries if isinstance(declared, MappingNode) else {}
    return {
        name: _secret(draft, ("secrets", name), references[name]) if name in references else MASKED for name in names
    }


_WHERE_SECRETS_COME_FROM = {
    "env": "set it in the environment of the daemon; with systemd by Environment=, or better as a credential",
    "credential": "with systemd by LoadCredential= or SetCredentialEncrypted= of the service",
}


def _secret(draft: Draft, at: KeyPath, reference: Mapping[str, str]) -> Secret:
    if not draft.resolved:
        return MASKED
    ((kind, name),) = reference.items()
    wanted = SecretRef(kind, name)
    try:
        path = wanted.path(draft.site.directory)
        if path is not None:
            draft.files.add(path)
        secret = wanted.resolve(draft.site.directory)
    except SecretUnavailableError as error:
        message = f"the secret {at[-1]!r} cannot be had: {error}"
        draft.problem((*at, kind), "missing-secret", message, _WHERE_SECRETS_COME_FROM.get(kind, ""))
        return MASKED
    if len(secret.reveal()) < SHORT_SECRET:
        draft.problem(
            (*at, kind),
            "short-secret",
            f"the secret {at[-1]!r} has fewer than {SHORT_SECRET} characters: too short to be hidden in an answer",
            severity=Severity.WARNING,
        )
    return secret


def _sender(draft: Draft, sender: str) -> str:
    fault = sender_fault(sender)
    if fault is not None:
        draft.problem(
            ("sender",),
            "bad-sender",
            f"not a source address: {fault}",
            "an MSISDN, a short code or up to 11 GSM characters",
        )
    return sender


def _region(draft: Draft, data: Mapping[str, Any]) -> str | None:
    region: str | None = data.get("phone", {}).get("region")
    if region is not None and not msisdn.known_region(region):
        draft.problem(
            ("phone", "region"),
            "unknown-region",
            f"{region!r} is no region",
            "a two-letter country code in capitals: DE, AT, CH",
        )
        return None
    return region


def _rewrites(draft: Draft, data: Mapping[str, Any]) -> tuple[msisdn.Rewrite, ...]:
    rewrites = []
    for index, rule in enumerate(data.get("phone", {}).get("rewrite", [])):
        try:
            rewrites.append(msisdn.compile_rewrite(rule["match"], rule["replace"]))
        except ValueError as error:
            draft.problem(("phone", "rewrite", index, "match"), "bad-regex", str(error))
    return tuple(rewrites)


def _templates(draft: Draft, declared: Mapping[str, Mapping[str, Any]]) -> dict[str, TextTemplate]:
    return {name: _text_template(draft, ("templates", name), template) for name, template in declared.items()}


def _text_template(draft: Draft, at: KeyPath, declared: Mapping[str, Any]) -> TextTemplate:
    variables = {name: Variable(**rules) for name, rules in declared.get("vars", {}).items()}
    if "otp" in variables:
        draft.problem(
            (*at, "vars", "otp"), "reserved-name", "`otp` is the one-time password itself: not declared", on_key=True
        )
    scope = Scope(frozenset({*variables, "otp"}), {}, draft.region)
    return TextTemplate(draft.compiled(declared["text"], (*at, "text"), scope), MappingProxyType(variables))


def _provider(draft: Draft, data: Mapping[str, Any]) -> Provider[Any, Any] | None:
    """The provider of sound settings; of others only the templates are looked at, so that their faults are told too."""
    settings = data.get("settings", {})
    if _sound(draft.problems, data):
        return providers.load(data["provider"])(settings, draft)
    for path, text in schema.template_leaves(data.get("provider", ""), settings):
        draft.template(text, ("settings", *path))
    return None


def _sound(problems: Iterable[Problem], data: Mapping[str, Any]) -> bool:
    """Whether provider and settings are what their schema wants (literal secrets spoil nothing).

    A key of the file that nobody knows may be one of them that is misspelt.
    """
    looked_at = ("/settings", "/provider") if {"provider", "settings"} <= data.keys() else ("/",)
    return not any(
        problem.severity is Severity.ERROR
        and problem.code != "literal-secret"
        and (not problem.pointer or problem.pointer.startswith(looked_at))
        for problem in problems
    )


def _seconds(draft: Draft, data: Mapping[str, Any], key: str, default: float, *inside: str) -> float:
    if key not in data:
        return default
    try:
        return parse_duration(data[key])
    except ValueError as error:
        draft.problem((*inside, key), "bad-duration", f"not a duration: {error}")
        return default


def _retry(draft: Draft, retry: Mapping[str, Any]) -> Retry:
    return Retry(
        attempts=retry.get("attempts", 3),
        wait_s=_seconds(draft, retry, "wait", 0.2, "retry"),
        on_unknown=retry.get("on_unknown", False),
    )


def _limits(draft: Draft, limits: Mapping[str, Any]) -> Limits:
    """The limits of either file."""
    if not limits:
        return UNLIMITED
    return Limits(
        rate=_pace(draft, limits, "rate"),
        in_flight=limits.get("in_flight"),
        per_recipient=_pace(draft, limits, "per_recipient"),
        budget=_pace(draft, limits, "budget"),
        countries=_countries(draft, limits),
        number_types=_choice(limits.get("number_types")),
    )


def _pace(draft: Draft, limits: Mapping[str, Any], key: str, within: str = "limits") -> Pace | None:
    try:
        return parse_pace(limits[key]) if key in limits else None
    except ValueError as error:
        draft.problem((within, key), "bad-value", str(error))
        return None


def _countries(draft: Draft, limits: Mapping[str, Any]) -> Choice | None:
    for kind, names in limits.get("countries", {}).items():
        for index, name in enumerate(names):
            if not msisdn.known_region(name):
                at = ("limits", "countries", kind, index)
                draft.problem(at, "unknown-region", f"{name!r} is no region", msisdn.nearest_regions(name))
    return _choice(limits.get("countries"))


def _choice(names: Mapping[str, Sequence[str]] | None) -> Choice | None:
    if names is None:
        return None
    return Choice(frozenset(names.get("allow", names.get("deny", ()))), denied="deny" in names)


def _fingerprint(
    draft: Draft, data: Mapping[str, Any], depends: Iterable[str], shaped_by: Mapping[str, Any] = _NOTHING
) -> str:
    """Of all that shaped the gateway, secrets and files included: keyed for this process, it tells nothing."""
    keyed = hashlib.blake2b(key=_PROCESS_KEY)
    keyed.update(digest_of({key: value for key, value in data.items() if key != "tests"}).encode())
    keyed.update(_disabled_at(draft, data).encode("utf-8", "surrogatepass"))  # it is told to whoever wants to send
    for name, secret in sorted(draft.secrets.items()):
        keyed.update(f"\0{name}\0{secret.reveal()}".encode("utf-8", "surrogatepass"))
    for path in sorted(draft.files):
        keyed.update(f"\0{path}\0".encode("utf-8", "surrogatepass") + _content(path))
    for part in depends:
        keyed.update(f"\0{part}\0{_spelled(getattr(draft.site, part))}".encode("utf-8", "surrogatepass"))
    keyed.update(f"\0{_spelled(shaped_by)}".encode("utf-8", "surrogatepass"))
    return keyed.hexdigest()


def _spelled(value: Any) -> str:
    """A part of the site as text, secrets revealed: for a keyed hash alone."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return repr({key: _spelled(item) for key, item in sorted(value.items())})
    return repr(value)


_PROCESS_KEY = os.urandom(32)
_MAX_FILE_OCTETS = 1 << 20


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_OCTETS)
    except OSError:
        return b""


def compile_site(
    source: Source, directory: Path, *, resolve: bool, files: set[Path] | None = None
) -> tuple[SiteConfig | None, tuple[Problem, ...]]:
    """smsgwd.yaml, compiled, and its findings; None where it is not sound.

    A secret that is missing is a finding, but does not make the file unsound: only what needs it suffers. A key of
    `otp` does: without it nobody could tell a forged id from one that another instance has sealed.
    `files` takes every file that was looked for beside this one.
    """
    data, problems = schema.check_site(source)
    draft = Draft("smsgwd", source, Site(directory), resolved=resolve, problems=[*source.problems, *problems])
    draft.files = draft.files if files is None else files
    draft.problems += credentials.literal_secrets(source, data or {})
    if data is None or has_errors(draft.problems):
        return None, _ordered(draft.problems)
    draft.secrets = _secrets(draft, data.get("secrets", {}))
    draft.names = frozenset()
    site = _site(draft, data)
    limits = _limits(draft, data.get("limits", {}))
    otp = _otp(draft, data.get("otp", {}))
    if otp is None or has_errors(problem for problem in draft.problems if problem.code != "missing-secret"):
        return None, _ordered(draft.problems)
    config = SiteConfig(
        site=site,
        socket=_socket(data.get("socket", {})),
        access=tuple(_access_rule(rule) for rule in data.get("access", [])),
        limits=limits,
        otp=otp,
        log=LogSettings(**data.get("log", {})),
    )
    draft.problems += advice.of_site(source, data, draft.used)
    return config, _ordered(silence(source, draft.problems))


def _site(draft: Draft, data: Mapping[str, Any]) -> Site:
    """What gateways use of smsgwd.yaml; the templates of mail servers are compiled to find what is wrong with them."""
    servers = data.get("smtp_servers", {})
    for name, server in servers.items():
        for key in {"username", "password"} & server.keys():
            draft.template(server[key], ("smtp_servers", name, key))
    directory = draft.site.directory
    return Site(
        directory=directory,
        http_engine=data.get("http", {}).get("engine", "auto"),
        smtp_servers=servers,
        scripts_directory=directory / data.get("scripts", {}).get("directory", "scripts"),
        secrets=draft.secrets,
    )


def _otp(draft: Draft, data: Mapping[str, Any]) -> OtpSettings | None:
    """`otp`; None where a key is missing: what another instance has sealed with it would look forged."""
    before = len(draft.problems)
    keys = tuple(_sealing_key(draft, name, reference) for name, reference in data.get("keys", {}).items())
    pace = _pace(draft, data, "per_recipient", "otp") or OtpSettings().limits.per_recipient
    if has_errors(draft.problems[before:]):
        return None
    keys = keys if draft.resolved else ()
    return OtpSettings(keys, data.get("attempts", OtpSettings().attempts), Limits(per_recipient=pace))


def _sealing_key(draft: Draft, name: str, reference: Mapping[str, str]) -> Secret:
    at = ("otp", "keys", name)
    before = len(draft.problems)
    key = _secret(draft, at, reference)
    if not draft.resolved or has_errors(draft.problems[before:]):
        return key
    try:
        key_of(key)
    except ValueError as error:
        message = f"the key {name!r} is not base64 of 32 octets: {error}"
        draft.problem((*at, *reference), "bad-value", message, "make one with: head -c 32 /dev/urandom | base64")
    return key


def _socket(data: Mapping[str, Any]) -> SocketSettings:
    return SocketSettings(path=data.get("path"), mode=int(data.get("mode", "0660"), 8), group=data.get("group"))


def _access_rule(rule: Mapping[str, Any]) -> AccessRule:
    return AccessRule(
        users=tuple(rule.get("users", ())),
        groups=tuple(rule.get("groups", ())),
        allow=frozenset(rule["allow"]),
        gateways=tuple(rule.get("gateways", ("*",))),
    )
