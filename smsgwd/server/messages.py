"""From a request's body to a `SendRequest`: what `Message` of openapi.json says, by hand because it is the hot path."""

import difflib
from collections.abc import Mapping
from typing import Any

from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.server.body import shown
from smsgwd.units import parse_duration

REQUIRED = ("gateway", "to")
OPTIONAL = ("text", "template", "sender", "reference", "deadline")
_TEXTS = (*REQUIRED, *OPTIONAL)
KEYS = frozenset({*_TEXTS, "vars"})


def read_message(body: Mapping[str, Any]) -> SendRequest:
    """The send that is asked for. Raises RequestError malformed-request; its detail names keys, never values."""
    _check_keys(body)
    for key in _TEXTS:
        if key in body:
            _check_text(key, body[key])
    for key in REQUIRED:
        if key not in body:
            raise _malformed(f"the key {key!r} is missing")
    _check_content(body)
    return SendRequest(
        gateway=body["gateway"],
        to=body["to"],
        text=body.get("text"),
        template=body.get("template"),
        vars=_vars(body.get("vars", {})),
        sender=body.get("sender"),
        reference=body.get("reference"),
        deadline_s=_seconds(body),
    )


def _malformed(detail: str) -> RequestError:
    return RequestError("malformed-request", detail)


def _check_keys(body: Mapping[str, Any]) -> None:
    for key in body:
        if key not in KEYS:
            near = difflib.get_close_matches(key[:64], KEYS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(sorted(KEYS))})"
            raise _malformed(f"unknown key {shown(key)}{hint}")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _malformed(f"{name!r} has to be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _malformed(f"{name!r} holds half of a character (a lone surrogate)") from None


def _check_content(body: Mapping[str, Any]) -> None:
    if ("text" in body) == ("template" in body):
        raise _malformed("exactly one of 'text' and 'template' is needed")
    if "vars" in body and "template" not in body:
        raise _malformed("'vars' goes with 'template'")


def _vars(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _malformed("'vars' has to be an object")
    for name, content in value.items():
        _check_text("a name in vars", name)
        _check_text(f"vars.{name}"[:64], content)
    return value


def _seconds(body: Mapping[str, Any]) -> float | None:
    if "deadline" not in body:
        return None
    try:
        return parse_duration(body["deadline"])
    except ValueError as error:
        raise _malformed(f"'deadline': {error}") from None
