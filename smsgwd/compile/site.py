"""smsgwd.yaml, compiled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smsgwd import advice, credentials, schema
from smsgwd.allowance import Limits
from smsgwd.compile.draft import Draft, ordered
from smsgwd.compile.limits import limits_of, pace_of
from smsgwd.compile.listen import listeners_of, tokens_of
from smsgwd.compile.secrets import secret_of, secrets_of
from smsgwd.compile.storage import storage_of
from smsgwd.errors import Problem, has_errors
from smsgwd.ignores import silence
from smsgwd.load import Source
from smsgwd.providers._base import Site
from smsgwd.registry import (
    AccessRule,
    LogSettings,
    OtpSettings,
    SiteConfig,
    SocketSettings,
)
from smsgwd.secret import Secret, key_of

# What spoils only what needs it: a secret or a certificate that cannot be had.
_SPOILS_LITTLE = frozenset({"missing-secret", "exposed-secret", "secret-link", "bad-certificate"})


def compile_site(
    source: Source, directory: Path, *, resolve: bool, files: set[Path] | None = None
) -> tuple[SiteConfig | None, tuple[Problem, ...]]:
    """smsgwd.yaml, compiled, and its findings; None where it is not sound.

    A secret or a certificate that cannot be used is a finding, but does not make the file unsound: only what needs it
    suffers. A key of `otp` does: without it nobody could tell a forged id from one that another instance has sealed.
    `files` takes every file that was looked for beside this one.
    """
    data, problems = schema.check_site(source)
    draft = Draft("smsgwd", source, Site(directory), resolved=resolve, problems=[*source.problems, *problems])
    draft.files = draft.files if files is None else files
    draft.problems += credentials.literal_secrets(source, data or {})
    if data is None or has_errors(draft.problems):
        return None, ordered(draft.problems)
    draft.secrets = secrets_of(draft, data.get("secrets", {}))
    draft.names = frozenset()
    site = _site(draft, data)
    tokens = tokens_of(draft, data.get("tokens", {}))
    listen = listeners_of(draft, data.get("listen", []))
    access = _access(draft, data.get("access", []))
    limits = limits_of(draft, data.get("limits", {}))
    otp = _otp(draft, data.get("otp", {}))
    if otp is None or has_errors(problem for problem in draft.problems if problem.code not in _SPOILS_LITTLE):
        return None, ordered(draft.problems)
    config = SiteConfig(
        site=site,
        socket=_socket(data.get("socket", {})),
        listen=listen,
        access=access,
        tokens=MappingProxyType(tokens),
        limits=limits,
        otp=otp,
        log=LogSettings(**data.get("log", {})),
        writable=data.get("writable", False),
        audit_file=directory / data["audit"]["file"] if "file" in data.get("audit", {}) else None,
    )
    draft.problems += advice.of_site(source, data, draft.used)
    return config, ordered(silence(source, draft.problems))


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
    """`otp`; None where a secret is missing.

    What another instance has sealed with a missing key would look forged, and without the password of the storage
    nobody could verify anything.
    """
    before = len(draft.problems)
    keys = tuple(_sealing_key(draft, name, reference) for name, reference in data.get("keys", {}).items())
    pace = pace_of(draft, data, "per_recipient", ("otp",)) or OtpSettings().limits.per_recipient
    storage = storage_of(draft, data)
    if has_errors(draft.problems[before:]):
        return None
    return OtpSettings(
        keys=keys if draft.resolved else (),
        attempts=data.get("attempts", OtpSettings().attempts),
        limits=Limits(per_recipient=pace),
        storage=storage,
        fail_open=data.get("fail") == "open",
    )


def _sealing_key(draft: Draft, name: str, reference: Mapping[str, str]) -> Secret:
    at = ("otp", "keys", name)
    before = len(draft.problems)
    key = secret_of(draft, at, reference)
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


def _access(draft: Draft, rules: Sequence[Mapping[str, Any]]) -> tuple[AccessRule, ...]:
    """`access`; rules that are for the same are told apart by their order."""
    found, numbers = list[AccessRule](), Counter[tuple[tuple[str, ...], ...]]()
    for index, data in enumerate(rules):
        rule = _access_rule(draft, data, index)
        found.append(replace(rule, number=numbers[rule.is_for]))
        numbers[rule.is_for] += 1
    return tuple(found)


def _access_rule(draft: Draft, rule: Mapping[str, Any], index: int) -> AccessRule:
    return AccessRule(
        users=tuple(rule.get("users", ())),
        groups=tuple(rule.get("groups", ())),
        allow=frozenset(rule["allow"]),
        gateways=tuple(rule.get("gateways", ("*",))),
        text=rule.get("text", True),
        limits=limits_of(draft, rule.get("limits", {}), ("access", index, "limits")),
    )
