"""What a changed key of a file does, in words: what leaves, for whom, and what is made of the answer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smsgwd import schema
from smsgwd.difference.change import ABSENT, Change, Leaf, code, instead, leaves, listed
from smsgwd.load import Path

_TOLD_ELSEWHERE = {"provider", "enabled", "description", "tests", "digest"}
# Said as a whole: their parts mean nothing alone.
_WHOLE: frozenset[Path] = frozenset(
    {
        ("settings", "success"),
        ("settings", "failure"),
        ("settings", "not_sent"),
        ("settings", "message_id"),
        ("settings", "error"),
        ("settings", "routes"),
        ("retry",),
    }
)
_AS_A_WHOLE: dict[Path, str] = {
    ("settings", "success"): "what counts as accepted",
    ("settings", "failure"): "what counts as rejected",
    ("settings", "not_sent"): "what counts as not sent, and is safe to send again",
    ("settings", "message_id"): "where the message id is read",
    ("settings", "error"): "what is quoted from a refusal",
    ("settings", "url"): "where requests go",
    ("settings", "method"): "the method of requests",
    ("settings", "on"): "the outcomes after which the next member is tried",
    ("sender",): "the source address, unless a caller gives one",
    ("deadline",): "how long a send may take",
    ("max_segments",): "the segments above which a message is refused",
    ("retry",): "how an unsent message is tried again",
}
_ON_THE_WIRE = {"query": "{} query", "form": "{} body", "json": "{} body", "headers": "{} header"}


def of_gateway(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of a gateway file, key by key, of the same provider before and after."""
    for leaf in _changed(old, new):
        if leaf.path[0] not in _TOLD_ELSEWHERE:
            yield leaf.change(name, _effect(leaf, old, new))


def of_site(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of smsgwd.yaml."""
    for leaf in leaves((), old, new):
        default = schema.site_default_of(leaf.path)
        if leaf.path == ("access",):
            yield from _access(leaf)
        elif not _is_default(leaf, default):
            yield leaf.change("", _set(code(_dotted(leaf.path)), leaf))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Leaf]:
    for leaf in leaves((), _with_method(old), _with_method(new), _is_whole):
        if not _is_default(leaf, schema.default_of(new["provider"], leaf.path)):
            yield leaf


def _with_method(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file with the method written out that `http` takes by itself."""
    settings = data.get("settings", {})
    if data["provider"] != "http":
        return data
    return {**data, "settings": {"method": _method(settings), **settings}}


def _method(settings: Mapping[str, Any]) -> str:
    has_body = settings.keys() & {"form", "json", "xml", "text"}
    method: str = settings.get("method", "POST" if has_body else "GET")
    return method


def _is_whole(path: Path, lacking: bool) -> bool:
    if path[:1] == ("templates",):
        return lacking and len(path) in {2, 4}  # a template, a variable
    return path in _WHOLE or (path[:1] == ("secrets",) and len(path) == 2)


def _is_default(leaf: Leaf, default: Any) -> bool:
    """Whether only the default was written out, or left out."""
    return default is not None and {repr(leaf.old), repr(leaf.new)} == {repr(ABSENT), repr(default)}


def _effect(leaf: Leaf, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if leaf.path in _AS_A_WHOLE:
        return _set(_AS_A_WHOLE[leaf.path], leaf)
    told = _BY_SECTION.get(leaf.path[:1]) or _BY_SECTION.get(leaf.path[:2])
    return told(leaf, old, new) if told else _set(code(_dotted(leaf.path)), leaf)


def _set(what: str, leaf: Leaf) -> str:
    if leaf.new is ABSENT:
        return f"{what}: no longer said (before: {code(leaf.old)})"
    return f"{what}: {instead(leaf.new, leaf.old)}"


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _part(where: str, key: str, leaf: Leaf) -> str:
    if leaf.old is ABSENT:
        return f"{where} gains {code(key)}: {code(leaf.new)}"
    if leaf.new is ABSENT:
        return f"{where} loses {code(key)} (before: {code(leaf.old)})"
    return f"{where}: {code(key)} becomes {instead(leaf.new, leaf.old)}"


def _wire(leaf: Leaf, _old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A part of a request."""
    where = _ON_THE_WIRE[str(leaf.path[1])].format(_method(new.get("settings", {})))
    return _part(where, _dotted(leaf.path[2:]), leaf) if leaf.path[2:] else _set(where, leaf)


def _body(leaf: Leaf, _old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    return _set(f"{_method(new.get('settings', {}))} body ({leaf.path[1]})", leaf)


def _verify(leaf: Leaf) -> str:
    if leaf.new is False:
        return "certificates are no longer verified: anyone on the way can read the credentials"
    return "certificates are verified"


def _tls(leaf: Leaf, _old: Mapping[str, Any], _new: Mapping[str, Any]) -> str:
    return _verify(leaf) if leaf.path[2:] == ("verify",) else _set(code(_dotted(leaf.path)), leaf)


def _secret(leaf: Leaf, _old: Mapping[str, Any], _new: Mapping[str, Any]) -> str:
    name, old, new = code(leaf.path[1]), _source(leaf.old), _source(leaf.new)
    if not new:
        return f"the secret {name} is no longer read (before: {old})"
    return f"the secret {name} comes from {new}{f' (before: {old})' if old else ''}"


def _source(reference: Any) -> str:
    """Where a secret comes from, in words."""
    return "" if reference is ABSENT else listed([f"{kind} {code(name)}" for kind, name in reference.items()])


def _template(leaf: Leaf, _old: Mapping[str, Any], _new: Mapping[str, Any]) -> str:
    name, what = code(leaf.path[1]), leaf.path[2:]
    if not what:
        gone = f"the template {name} is gone: sends that name it are refused"
        return gone if leaf.new is ABSENT else f"the template {name} is new: {code(leaf.new['text'])}"
    if what == ("text",):
        return f"the template {name} reads {instead(leaf.new, leaf.old)}"
    if what[:1] == ("vars",) and len(what) == 2:
        words = "needs" if leaf.old is ABSENT else "no longer takes"
        return f"the template {name} {words} the variable {code(what[1])}"
    return _set(f"the template {name}, {code(_dotted(what))}", leaf)


def _access(leaf: Leaf) -> Iterator[Change]:
    """Rule by rule: which one stands first makes no difference."""
    old, new = ([] if rules is ABSENT else rules for rules in (leaf.old, leaf.new))
    if bool(old) != bool(new):
        words = "only callers that a rule names are let in" if new else "everyone who can open the socket may send"
        yield leaf.change("", f"{code('access')}: {words}")
    for rule in new:
        if rule not in old:
            yield Change("", "added", f"{code('access')} gains the rule {code(rule)}", "/access")
    for rule in old:
        if rule not in new:
            yield Change("", "removed", f"{code('access')} loses the rule {code(rule)}", "/access")


_Told = Callable[[Leaf, Mapping[str, Any], Mapping[str, Any]], str]
_BY_SECTION: dict[Path, _Told] = {
    ("secrets",): _secret,
    ("templates",): _template,
    ("settings", "query"): _wire,
    ("settings", "form"): _wire,
    ("settings", "json"): _wire,
    ("settings", "headers"): _wire,
    ("settings", "xml"): _body,
    ("settings", "text"): _body,
    ("settings", "tls"): _tls,
}
