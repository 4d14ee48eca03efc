"""A token file, compiled. It holds a number and the hash of a PIN: no finding repeats either of them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from smsgwd import schema
from smsgwd.compile.draft import Draft, ordered, seconds
from smsgwd.errors import Problem, has_errors
from smsgwd.ignores import ignores, silence
from smsgwd.load import Scalar, Source, pointer
from smsgwd.pin import PinHash
from smsgwd.providers._base import KeyPath, Site
from smsgwd.registry import OtpToken, digest_of

_HASH_PIN = "make its hash with: smsgwd token hash-pin"
_CUT = re.compile(r"\$scrypt\$ln=[0-9]+")
_TTL_S = range(1, 3601)
_USUAL_DIGITS, _USUAL_TTL_S = 6, 300
_KEYS = frozenset({"user", "phone", "gateway", "template", "pin", "hash", "enabled", "digits", "ttl"})
_TYPING_ERROR = re.compile("[A-Za-z_]{1,16}")  # a key that can be shown: it is no number and no hash
_REFERENCES = ("user", "phone", "gateway", "template")


def compile_token(name: str, source: Source) -> tuple[OtpToken | None, tuple[Problem, ...]]:
    """The token and its warnings, or None and all that is wrong with the file by itself.

    What is wrong with it among other files is told by `smsgwd.compile.token_set`.
    """
    data, problems = schema.check_token(source)
    draft = Draft(name, source, Site(), resolved=False, problems=[*source.problems, *problems])
    token = None if data is None else _token(draft, data)
    found = map(discreet, draft.problems)
    return token, ordered(silence(source, found))


def _token(draft: Draft, data: Mapping[str, Any]) -> OtpToken | None:
    pin, ttl_s = _pin(draft, data), _ttl_s(draft, data)
    if pin is None or has_errors(draft.problems):
        return None
    places = {key: draft.source.problem((key,), "", "") for key in _REFERENCES if key in data}
    quiet = replace(places["gateway"], code="unavailable-gateway")
    return OtpToken(
        name=draft.name,
        user=data["user"],
        phone=data["phone"],
        gateway=data["gateway"],
        template=data.get("template"),
        pin=pin,
        enabled=data.get("enabled", True),
        digits=data.get("digits", _USUAL_DIGITS),
        ttl_s=ttl_s,
        digest=digest_of_token(data),
        places=places,
        quiet=any(comment.is_for(quiet) and comment.reason for comment in ignores(draft.source)),
    )


def _pin(draft: Draft, data: Mapping[str, Any]) -> PinHash | None:
    for path in (("pin",), ("pin", "hash")):
        if _is_clear(draft, path):
            _instead(draft, path, "clear-pin", "a PIN stands here itself: anyone who reads the file has it", _HASH_PIN)
            return None
    written = data.get("pin", {}).get("hash")
    if written is None:
        return None
    if _CUT.fullmatch(written):
        message = "the hash ends at its first comma: in braces a comma ends a text without quotes"
        _instead(draft, ("pin", "hash"), "bad-pin-hash", message, 'put quotes around it: {hash: "$scrypt$..."}')
        return None
    try:
        return PinHash.parse(written)
    except ValueError as error:
        draft.problem(("pin", "hash"), "bad-pin-hash", f"no hash of a PIN: {error}", _HASH_PIN)
        return None


def _instead(draft: Draft, path: KeyPath, code: str, message: str, hint: str) -> None:
    """A finding in the place of all that the schema says of `pin`: they follow from it."""
    draft.problems = [problem for problem in draft.problems if not problem.pointer.startswith("/pin")]
    draft.problem(path, code, message, hint)


def _is_clear(draft: Draft, path: KeyPath) -> bool:
    """Whether there is a text that is not even meant as a hash."""
    node = draft.source.node(path)
    return isinstance(node, Scalar) and not node.text.startswith("$") and not (node.plain and node.text in {"", "~"})


def _ttl_s(draft: Draft, data: Mapping[str, Any]) -> int:
    ttl_s = seconds(draft, data, "ttl", _USUAL_TTL_S)
    if ttl_s not in _TTL_S:  # a range holds whole numbers alone
        draft.problem(("ttl",), "bad-value", "`ttl` has to be 1s to 1h, in whole seconds", "5m is usual")
        return _USUAL_TTL_S
    return int(ttl_s)


def discreet(problem: Problem) -> Problem:
    """A finding that does not repeat a key that may be a number, a PIN or a hash in the wrong place."""
    parts = problem.pointer.split("/")[1:]
    known = list(takewhile(lambda part: part in _KEYS, parts))
    if len(known) == len(parts):
        return problem
    shown = _TYPING_ERROR.fullmatch(parts[len(known)]) and "pin" not in known
    if shown and len(parts) == len(known) + 1:
        return problem
    message = "unknown key" if problem.code == "unknown-key" else problem.message
    message = "this key stands here a second time" if problem.code == "duplicate-key" else message
    return replace(problem, message=message, pointer=pointer(tuple(known)))


# --- what a token looks like to others ----------------------------------------------------------------------------


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a token file with digests in the place of number and PIN hash. Of sealed data the same again.

    All numbers can be tried in minutes, so the number is hashed together with the PIN hash, whose salt nobody can
    guess: so with a new PIN the digest of the number is another, too.
    """
    if is_sealed(data):
        return dict(data)
    hashed = data["pin"]["hash"]
    phone = digest_of({"phone": data["phone"], "pin": hashed})
    return {**data, "phone": phone, "pin": {"hash": digest_of({"pin": hashed})}}


def is_sealed(data: Mapping[str, Any]) -> bool:
    """Whether digests stand in the place of number and PIN hash."""
    hashed: str = data["pin"]["hash"]
    return hashed.startswith("sha256:")


def digest_of_token(data: Mapping[str, Any]) -> str:
    """The digest of what a token file says, sealed or not."""
    return digest_of(sealed(data))
