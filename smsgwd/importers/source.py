"""Reads what privacyIDEA exports, lists or stored once: YAML or JSON, from a file or a server."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smsgwd.load import Mapping as MappingNode
from smsgwd.load import Node, Scalar, Sequence, load
from smsgwd.privacyidea import Definition, SmtpServer, old

MAX_OCTETS = 64 << 20
_KINDS = ("smsgateway", "smtpserver")
_KEY = re.compile(r"""["']?(\w+)["']?[ \t]*:(?:\s|$)""")
_LIST = re.compile(r"(?:---[ \t]*\n)?(?:[ \t]*(?:#.*)?\n)*- ")
_TRUE = {"true", "yes", "on", "1"}
_NO_VALUE = {"", "~", "null"}


class SourceError(Exception):
    """A source that cannot be read; the text says where and why, one fault per line."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a source holds. `old` are token configurations by the name of their file."""

    definitions: tuple[Definition, ...] = ()
    servers: Mapping[str, SmtpServer] = field(default_factory=dict)
    old: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read(octets: bytes, file: str, stem: str) -> Found:
    """What a file holds; `stem` is the name of a gateway that has none. Raises SourceError."""
    if len(octets) > MAX_OCTETS:
        raise SourceError(f"{file}: larger than {MAX_OCTETS >> 20} MiB")
    return found_in(_parsed(octets, file), file, stem)


def found_in(data: Any, file: str, stem: str = "") -> Found:
    """What parsed data holds: an export, a list (bare or in its envelope), or an old dictionary. Raises SourceError."""
    _check_text(data, file)
    if isinstance(data, Mapping) and "result" in data:
        data = _unwrapped(data["result"], file)
    if isinstance(data, list):
        return Found(_definitions(_listed(data, file), file))
    if isinstance(data, Mapping) and any(kind in data for kind in _KINDS):
        gateways, servers = (_section(data, kind, file) for kind in _KINDS)
        return Found(_definitions(gateways, file), {name: _server(name, given) for name, given in servers})
    if isinstance(data, Mapping) and stem and old.is_old(data):
        return Found(old={stem: data})
    raise SourceError(
        f"{file}: neither an export of privacyIDEA (with `smsgateway`), nor the list of GET /smsgateway/, nor a token "
        "configuration (with `URL` or `MAILSERVER`)"
    )


# --- YAML and JSON


def _parsed(octets: bytes, file: str) -> Any:
    """The data. Raises SourceError."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: not UTF-8 (octet {error.start + 1})") from None
    start = text.lstrip()[:1]
    return _json(text, file) if start and start in "{[" else _yaml(text, file)


def _json(text: str, file: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        try:
            return _yaml(text, file)  # {a: b} is YAML, too
        except SourceError:
            raise SourceError(f"{file}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise SourceError(f"{file}: nested too deeply") from None
    except ValueError as error:
        raise SourceError(f"{file}: {error}") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return data


def _yaml(text: str, file: str) -> Any:
    """The data of a YAML file: every scalar is the text that was written, so `no` stays a word and 0171 a number."""
    is_list = _LIST.match(text) is not None
    if is_list:  # which `load` takes below a key alone
        text = "smsgateway:\n" + re.sub(r"\A---", "#--", text)
    source = load(_only(text).encode(), file)
    problems = [replace(problem, line=problem.line - is_list) for problem in source.problems]
    if source.data is None or problems:
        raise SourceError("\n".join(map(str, problems)))
    return _plain(source.data)


def _only(text: str) -> str:
    """The text with what belongs to other kinds of configuration blanked out; lines stay where they are.

    An export carries all of privacyIDEA, and what is ignored may be large, or YAML that is refused elsewhere.
    """
    lines = text.split("\n")
    heads = [_head(line) for line in lines]
    if not set(_KINDS) & set(heads):
        return text
    kept, inside = [], False
    for line, head in zip(lines, heads, strict=True):
        inside = inside if head is None else head in _KINDS
        kept.append(line if inside else "")
    return "\n".join(kept)


def _head(line: str) -> str | None:
    """The key that begins at the start of a line; None for a line that belongs to what is above it."""
    if line[:1] in {"", " ", "\t", "\r", "#", "-"}:
        return None
    found = _KEY.match(line)
    return found[1] if found else ""


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return None if node.plain and node.text in _NO_VALUE else node.text
    if isinstance(node, MappingNode):
        return {key: _plain(entry.value) for key, entry in node.entries.items()}
    return [_plain(item) for item in node.items] if isinstance(node, Sequence) else None


def _check_text(data: Any, file: str) -> None:
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and not _is_unicode(value):
            raise SourceError(f"{file}: a text holds half of a surrogate pair, which is no character")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- what the data means

_Named = list[tuple[str, Mapping[str, Any]]]


def _unwrapped(result: Any, file: str) -> Any:
    """The value inside of privacyIDEA's envelope."""
    if not isinstance(result, Mapping) or result.get("status") in {False, "false"}:
        error = result.get("error") if isinstance(result, Mapping) else None
        words = error.get("message") if isinstance(error, Mapping) else ""
        raise SourceError(f"{file}: an error of privacyIDEA{': ' if words else ''}{str(words or '')[:200]}")
    return result.get("value")


def _section(data: Mapping[str, Any], kind: str, file: str) -> _Named:
    section = data.get(kind) or {}
    if isinstance(section, list):
        return _listed(section, file, kind)
    if not isinstance(section, Mapping):
        raise SourceError(f"{file}: /{kind}: not a mapping of names")
    for name, entry in section.items():
        _check_mapping(entry, file, f"/{kind}/{name}")
    return list(section.items())


def _listed(entries: Iterable[Any], file: str, kind: str = "") -> _Named:
    found: _Named = []
    for number, entry in enumerate(entries):
        _check_mapping(entry, file, f"{'/' if kind else ''}{kind}/{number}")
        name = entry.get("name") or entry.get("identifier")
        if not isinstance(name, str):
            raise SourceError(f"{file}: {'/' if kind else ''}{kind}/{number}: has no name")
        found.append((name, entry))
    return found


def _check_mapping(value: Any, file: str, pointer: str) -> None:
    if not isinstance(value, Mapping):
        raise SourceError(f"{file}: {pointer}: not a mapping")


def _definitions(entries: _Named, file: str) -> tuple[Definition, ...]:
    ((name, number),) = Counter(name for name, _ in entries).most_common(1) or [("", 0)]
    if number > 1:
        raise SourceError(f"{file}: there are two gateways {name!r}")
    return tuple(_definition(name, entry, file) for name, entry in entries)


def _definition(name: str, entry: Mapping[str, Any], file: str) -> Definition:
    return Definition(
        name,
        old.text(entry.get("providermodule")),
        old.text(entry.get("description")),
        _texts(entry, "options", name, file),
        _texts(entry, "headers", name, file),
        frozenset(map(str, entry.get("secret_options") or ())),
        frozenset(map(str, entry.get("secret_headers") or ())),
    )


def _texts(entry: Mapping[str, Any], key: str, name: str, file: str) -> dict[str, str]:
    values = entry.get(key) or {}
    _check_mapping(values, file, f"{key} of {name!r}")
    return {str(option): _text(value) for option, value in values.items() if value is not None}


def _text(value: Any) -> str:
    """As privacyIDEA's database has it: text. What is structured can only have been JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else old.text(value)


def _server(name: str, entry: Mapping[str, Any]) -> SmtpServer:
    given = {key: old.text(entry.get(key)) for key in ("server", "port", "username", "password", "sender", "timeout")}
    return SmtpServer(name, tls=old.text(entry.get("tls")).lower() in _TRUE, **given)
