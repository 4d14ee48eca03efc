"""What a changed token does, in words: who is let in, and how. Neither number nor PIN hash is told."""

from collections.abc import Iterator, Mapping
from typing import Any

from smsgwd import schema
from smsgwd.canonical import Configuration
from smsgwd.compile import is_sealed, sealed
from smsgwd.difference.change import ABSENT, Change, code, instead
from smsgwd.files import TOKENS
from smsgwd.units import parse_duration

_Data = Mapping[str, Any]
_IN_WORDS = {
    "user": "is for the user {}",
    "gateway": "one-time passwords go through the gateway {}",
    "template": "the template is {}",
    "digits": "a one-time password has this many digits: {}",
}


def changes(old: Configuration, new: Configuration) -> Iterator[Change]:
    """The changes of all tokens, file by file."""
    names = {*old.tokens, *old.broken_tokens, *new.tokens, *new.broken_tokens}
    for name in sorted(names):
        for kind, effect, pointer in _of_token(name, old, new):
            yield Change(f"{TOKENS}/{name}", kind, effect, pointer)


def _of_token(name: str, old: Configuration, new: Configuration) -> Iterator[tuple[str, str, str]]:
    before, after = old.tokens.get(name), new.tokens.get(name)
    was_broken, is_broken = old.broken_tokens.get(name), new.broken_tokens.get(name)
    if before is None and was_broken is None:
        yield "added", _new(after, is_broken), ""
    elif after is None and is_broken is None:
        user = "its user" if before is None else f"the user {code(before['user'])}"
        yield "removed", f"is gone: {user} is not let in", ""
    elif is_broken is not None:
        if was_broken is None:
            yield "changed", f"does not compile: a running daemon stays with what it has ({code(is_broken)})", ""
    elif before is None:
        yield "changed", f"compiles now: {_summary(after or {})}", ""
    else:
        yield from ((f"{kind}", effect, f"/{key}") for key, kind, effect in _of_both(before, after or {}))


def _new(data: _Data | None, reason: str | None) -> str:
    if data is None:
        return f"is new, and does not compile: its user is not let in ({code(reason)})"
    return f"is new: {_summary(data)}"


def _summary(data: _Data) -> str:
    disabled = "" if data.get("enabled", True) else ", but disabled"
    return f"the user {code(data['user'])}, by the gateway {code(data['gateway'])}{disabled}"


def _of_both(old: _Data, new: _Data) -> Iterator[tuple[str, str, str]]:
    if old.get("enabled", True) != new.get("enabled", True):
        words = "lets its user in now" if new.get("enabled", True) else "no longer lets its user in (disabled)"
        yield "enabled", "changed", words
    for key, words in _IN_WORDS.items():
        default = schema.token_default_of((key,))
        one, other = (data.get(key, ABSENT if default is None else default) for data in (old, new))
        if one != other:
            kind = "added" if one is ABSENT else "removed" if other is ABSENT else "changed"
            yield key, kind, words.format(instead(other, one))
    if _ttl_s(old) != _ttl_s(new):
        written = [data.get("ttl", schema.token_default_of(("ttl",))) for data in (new, old)]
        yield "ttl", "changed", f"a one-time password is good for {instead(*written)}"
    yield from _of_number_and_pin(old, new)


def _ttl_s(data: _Data) -> float:
    return parse_duration(data.get("ttl", schema.token_default_of(("ttl",))))


def _of_number_and_pin(old: _Data, new: _Data) -> Iterator[tuple[str, str, str]]:
    """The digest of a number is another with each PIN: a document does not tell whether the number is the same."""
    hidden = is_sealed(old) or is_sealed(new)
    if hidden:
        old, new = sealed(old), sealed(new)
    other_pin = old["pin"] != new["pin"]
    if other_pin:
        yield "pin", "changed", "the PIN is another"
    if hidden and other_pin:
        yield "phone", "changed", "the number may be another: beside another PIN a compiled file does not tell"
    elif old["phone"] != new["phone"]:
        yield "phone", "changed", "one-time passwords go to another number"
