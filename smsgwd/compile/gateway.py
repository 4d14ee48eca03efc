"""A gateway file, compiled."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smsgwd import advice, credentials, msisdn, providers, schema
from smsgwd.compile.draft import Draft, ordered, seconds
from smsgwd.compile.limits import limits_of
from smsgwd.compile.secrets import secrets_of
from smsgwd.errors import Problem, Severity, has_errors
from smsgwd.ignores import ignores, silence
from smsgwd.load import Source
from smsgwd.message import sender_fault
from smsgwd.outcome import Kind
from smsgwd.providers._base import KeyPath, Provider, Site
from smsgwd.registry import (
    Failover,
    Gateway,
    Reference,
    Retry,
    Route,
    Served,
    TextTemplate,
    Variable,
    digest_of,
)
from smsgwd.secret import Secret
from smsgwd.templates import Scope

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOT_IN_DIGEST = ("description", "tests")  # what changes nothing for a message
FAILOVER = "failover"  # no provider of its own, but a choice among gateways
_OF_MEMBERS = frozenset({"max_segments", "retry", "secrets", "sender"})
_REGION_HINT = "a two-letter country code in capitals: DE, AT, CH"


def compile_gateway(
    name: str,
    source: Source,
    site: Site,
    *,
    resolve: bool,
    files: set[Path] | None = None,
    values: Mapping[str, Secret] = _NOTHING,
) -> tuple[Served | None, tuple[Problem, ...]]:
    """The gateway or failover and its warnings, or None and all that is wrong.

    `resolve` reads the secrets; without it each is `***` (`check`, `render`). A disabled gateway's are never read.
    `files` takes every file that was looked for beside this one, also when nothing compiles because one is missing.
    `values` are those of secrets that are not to be read, by their names: what they will be when they are written.
    """
    data, problems = schema.check_gateway(source)
    if data is None:
        return None, ordered([*source.problems, *problems])
    enabled = data.get("enabled", True)
    draft = Draft(name, source, site, resolved=resolve and enabled, problems=[*source.problems, *problems])
    draft.files = draft.files if files is None else files
    draft.values = values
    draft.problems += credentials.literal_secrets(source, data)
    gateway = _assemble(draft, data)
    if gateway is not None:
        sound = not has_errors(draft.problems)
        draft.problems += advice.of_gateway(source, data, gateway, draft.used, sound=sound)
    if has_errors(draft.problems):
        gateway = None
    return gateway, ordered(silence(source, draft.problems))


def _assemble(draft: Draft, data: Mapping[str, Any]) -> Served | None:
    draft.secrets = secrets_of(draft, data.get("secrets", {}))
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
        "file": draft.source.file,
        "sender": draft.sender,
        "enabled": data.get("enabled", True),
        "disabled_at": _disabled_at(draft, data),
        "description": data.get("description", ""),
        "deadline_s": seconds(draft, data, "deadline", 30.0),
        "templates": MappingProxyType(templates),
        "variables": frozenset(name for template in templates.values() for name in template.variables),
        "limits": limits_of(draft, data.get("limits", {})),
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


def _retry(draft: Draft, retry: Mapping[str, Any]) -> Retry:
    return Retry(
        attempts=retry.get("attempts", 3),
        wait_s=seconds(draft, retry, "wait", 0.2, "retry"),
        on_unknown=retry.get("on_unknown", False),
    )


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
        # O_NONBLOCK: a FIFO in the place of the file must not stop a reload
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_MAX_FILE_OCTETS) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""
