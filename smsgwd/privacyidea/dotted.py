"""The settings of a gateway as options: each value under the dotted path that leads to it.

    {"query": {"to": "{{ phone }}"}, "mail_to": ["a@b"]}    query.to: {{ phone }}, mail_to.0: a@b

A dot or a backslash inside of a key has a backslash before it, and so has a key of digits alone, for a bare number
is a place in a list. Where the schema wants a text a value is that text. Elsewhere it is JSON, if it can be read as
something that the schema takes, and else a text; a text that would be taken for JSON stands in quotes, as JSON has it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from smsgwd import schema

Path = tuple[str | int, ...]

_ESCAPED = re.compile(r"[.\\]")
_PART = re.compile(r"((?:\\.|[^.\\])*)(\.|\Z)", re.DOTALL)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_KINDS: Mapping[type, set[str]] = {
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
    str: {"string"},
    list: {"array"},
    dict: {"object"},
    type(None): {"null"},
}
_MAX_DEPTH = 40  # a gateway file may be 50 deep


class PathError(Exception):
    """Options that are no settings; the text says why, without a value."""


# --- settings as options


def spread(provider: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Each value of the settings by its dotted path."""
    return {written(path): _text(value, schema.setting_at(provider, path)) for path, value in leaves(settings)}


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each scalar and empty collection below a value, with its path."""
    if value and isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, (*path, key))
    elif path:
        yield path, value


def written(path: Path) -> str:
    """The dotted path."""
    return ".".join(_key(part) for part in path)


def _key(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return ("\\" if _DIGITS.fullmatch(part) else "") + _ESCAPED.sub(r"\\\g<0>", part)


def _text(value: Any, wanted: schema.Schema) -> str:
    if isinstance(value, str) and _value(value, wanted) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _value(text: str, wanted: schema.Schema) -> Any:
    """What a text means where this is wanted."""
    types = schema.types_of(wanted)
    if types == {"string"}:
        return text
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return found if not types or types & _KINDS[type(found)] else text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity, which are no JSON


# --- options as settings


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a path as it was written. `bare`: digits without a backslash."""

    text: str
    bare: bool


_Tree = dict[_Part, Any]  # of trees and texts


def gather(provider: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The settings that these options are. Raises PathError for paths that contradict each other."""
    tree: _Tree = {}
    for key, text in options.items():
        _put(tree, key, _parts(key), text)
    settings = {part.text: _grown(provider, (part.text,), branch) for part, branch in tree.items()}
    if len(settings) < len(tree):
        raise PathError("two options are the same setting, written in two ways")
    return settings


def _put(tree: _Tree, key: str, parts: list[_Part], text: str) -> None:
    *parents, last = parts
    inside: Any = tree
    for part in parents:
        inside = inside.setdefault(part, {}) if isinstance(inside, dict) else None
    if not isinstance(inside, dict) or last in inside:
        raise PathError(f"the option {key!r} is inside of another one, or is there twice")
    inside[last] = text


def _parts(key: str) -> list[_Part]:
    parts: list[_Part] = []
    position, ended = 0, False
    while not ended:
        found = _PART.match(key, position)
        if found is None or len(parts) == _MAX_DEPTH:
            raise PathError(f"the option {key!r} is no path: a backslash stands before a dot, a backslash or digits")
        parts.append(_Part(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), bool(_DIGITS.fullmatch(found[1]))))
        position, ended = found.end(), not found[2]
    return parts


def _grown(provider: str, path: Path, branch: Any) -> Any:
    wanted = schema.setting_at(provider, path)
    if isinstance(branch, str):
        return _value(branch, wanted)
    types = schema.types_of(wanted)
    if all(part.bare for part in branch) and (not types or "array" in types):
        return _list(provider, path, {part.text: item for part, item in branch.items()})
    grown = {part.text: _grown(provider, (*path, part.text), item) for part, item in branch.items()}
    if len(grown) < len(branch):
        raise PathError("two options are the same setting, written in two ways")
    return grown


def _list(provider: str, path: Path, items: Mapping[str, Any]) -> list[Any]:
    places = [str(place) for place in range(len(items))]
    if items.keys() != set(places):
        raise PathError(f"the places of the list {written(path)!r} have to be counted from 0, without a gap")
    return [_grown(provider, (*path, place), items[text]) for place, text in enumerate(places)]


def path_in(settings: Mapping[str, Any], key: str) -> Path | None:
    """The path that a dotted one means in these settings; None when there is no such value."""
    try:
        parts = _parts(key)
    except PathError:
        return None
    value: Any = settings
    path: Path = ()
    for part in parts:
        place: str | int = int(part.text) if isinstance(value, list) and part.bare else part.text
        if isinstance(place, int):
            if place >= len(value) or str(place) != part.text:
                return None
        elif not isinstance(value, dict) or place not in value:
            return None
        path, value = (*path, place), value[place]
    return None if value and isinstance(value, dict | list) else path


# --- what a provider takes


def descriptor(provider: str) -> dict[str, Any]:
    """What this provider takes, as privacyIDEA describes the parameters of a class."""
    whole = schema.setting_at(provider, ())
    parameters = dict(_described(whole, (), needed=True))
    return {"options_allowed": _is_open(whole), "headers_allowed": False, "parameters": parameters}


def _described(wanted: schema.Schema, path: Path, *, needed: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, inner in wanted.get("properties", {}).items():
        required = needed and key in wanted.get("required", ())
        if inner.get("properties"):
            yield from _described(inner, (*path, key), needed=required and schema.types_of(inner) == {"object"})
        if not inner.get("properties") or schema.types_of(inner) - {"object"}:
            yield written((*path, key)), _parameter(inner, required=required)


def _parameter(wanted: schema.Schema, *, required: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"description": wanted.get("description", wanted.get("title", ""))}
    if required:
        told["required"] = True
    if "enum" in wanted:
        told["values"] = [value if isinstance(value, str) else json.dumps(value) for value in wanted["enum"]]
    elif schema.types_of(wanted) == {"boolean"}:
        told["values"] = ["true", "false"]
    if wanted.get("x-secret"):
        told["secret"] = True
    return told


def _is_open(wanted: schema.Schema) -> bool:
    """Whether keys may come that the schema does not name, here or deeper in."""
    free = wanted.get("x-json") or isinstance(wanted.get("additionalProperties"), dict)
    return bool(free) or any(map(_is_open, wanted.get("properties", {}).values()))
