"""Where TCP clients may come in, and how they say who they are: `listen` and `tokens` of smsgwd.yaml."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smsgwd.access_token import parse_hash
from smsgwd.certificates import Certificate, CertificateError
from smsgwd.compile.draft import Draft
from smsgwd.compile.secrets import tell_exposed
from smsgwd.providers._base import KeyPath
from smsgwd.registry import ListenSettings
from smsgwd.secret import read_by_others

_LAST_PORT = 65_535


def listeners_of(draft: Draft, listed: Sequence[Mapping[str, Any]]) -> tuple[ListenSettings, ...]:
    """The TCP listeners. One whose certificate cannot be used has none: that is told, and spoils nothing else."""
    found: list[ListenSettings] = []
    for index, entry in enumerate(listed):
        at = ("listen", index)
        address = _address(draft, (*at, "tcp"), entry["tcp"])
        if address is None:
            continue
        host, port = address
        certificate = _certificate(draft, (*at, "tls"), entry["tls"]) if "tls" in entry else None
        listener = ListenSettings(host, port, "tls" in entry, certificate, frozenset(entry.get("allow", ())))
        if listener.address in {one.address for one in found}:
            draft.problem((*at, "tcp"), "bad-value", f"{listener.address} is named twice", "keep one of them")
        found.append(listener)
    return tuple(found)


def _address(draft: Draft, at: KeyPath, written: str) -> tuple[str, int] | None:
    """Host and port, an IP address in its usual form; None for what cannot be one, which is told."""
    host, _, port = written.rpartition(":")
    if int(port) > _LAST_PORT:
        draft.problem(at, "bad-value", f"{port} is no port: the last one is {_LAST_PORT}")
        return None
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare)), int(port)
    except ValueError:
        if bare == host and not host.replace(".", "").isdigit():
            return host.lower(), int(port)  # a name: it is looked up when the daemon starts
    draft.problem(at, "bad-value", f"{host} is no IP address")
    return None


def _certificate(draft: Draft, at: KeyPath, tls: Mapping[str, str]) -> Certificate | None:
    if not draft.resolved:
        return None
    chain, key = draft.path(tls["cert_file"]), draft.path(tls["key_file"])
    try:
        certificate = Certificate.load(chain, key)
    except CertificateError as error:
        draft.problem((*at, error.key), "bad-certificate", str(error))
        return None
    return certificate if _is_private(draft, (*at, "key_file"), key) else None


def _is_private(draft: Draft, at: KeyPath, key: Path) -> bool:
    """Whether the key may be used; one that others can read is told."""
    try:
        by_others, for_good = read_by_others(key)
    except OSError:  # it has gone since it was read: the next look tells
        return True
    if not by_others:
        return True
    tell_exposed(draft, at, "the private key", key, for_good=for_good)
    return for_good


def tokens_of(draft: Draft, tokens: Mapping[str, Mapping[str, str]]) -> dict[str, bytes]:
    """The digests of the tokens, by their names. One token of two names is told: nobody could say who calls."""
    names: dict[bytes, str] = {}
    for name, token in tokens.items():
        first = names.setdefault(parse_hash(token["hash"]), name)
        if first != name:
            message = f"this is the token of `{first}` already: who calls would be either"
            draft.problem(("tokens", name, "hash"), "bad-value", message, f"make another: smsgwd token new {name}")
    return {name: digest for digest, name in names.items()}
