"""From a request's body to a `SendRequest`: what `Message` of openapi.json says, by hand because it is the hot path."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from smsgwd.errors import RequestError
from smsgwd.message import SendRequest
from smsgwd.server.body import shown
from smsgwd.units import parse_duration

REQUIRED = ("gateway", "to")
OPTIONAL = ("text", "template", "sender", "reference", "deadline")
_TEXTS = (*REQUIRED, *OPTIONAL)
_ONE_CONTENT = "exactly one of 'text' and 'template' is needed"
KEYS = frozenset({*_TEXTS, "vars"})


def read_message(body: Mapping[str, Any]) -> SendRequest:
    """The send that is asked for. Raises RequestError malformed-request; its detail names keys, never values."""
    check_members(body, KEYS, _TEXTS, REQUIRED)
    if "text" not in body and "template" not in body:
        raise malformed(_ONE_CONTENT)
    check_content(body)
    return SendRequest(
        gateway=body["gateway"],
        to=body["to"],
        text=body.get("text"),
        template=body.get("template"),
        vars=read_vars(body),
        sender=body.get("sender"),
        reference=body.get("reference"),
        deadline_s=_seconds(body),
    )


def malformed(detail: str) -> RequestError:
    """What refuses a body."""
    return RequestError("malformed-request", detail)


def check_members(
    body: Mapping[str, Any], known: Collection[str], texts: Iterable[str], required: Iterable[str]
) -> None:
    """Raises RequestError for a key that is not known, a text that is none, a key that is missing."""
    _check_keys(body, known)
    for key in texts:
        if key in body:
            _check_text(key, body[key])
    for key in required:
        if key not in body:
            raise malformed(f"the key {key!r} is missing")


def _check_keys(body: Mapping[str, Any], known: Collection[str]) -> None:
    for key in body:
        if key not in known:
            near = difflib.get_close_matches(key[:64], known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(sorted(known))})"
            raise malformed(f"unknown key {shown(key)}{hint}")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise malformed(f"{name!r} has to be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise malformed(f"{name!r} holds half of a character (a lone surrogate)") from None


def check_content(body: Mapping[str, Any]) -> None:
    """Raises RequestError for a text beside a template, and for variables without one."""
    if "text" in body and "template" in body:
        raise malformed(_ONE_CONTENT)
    if "vars" in body and "template" not in body:
        raise malformed("'vars' goes with 'template'")


def read_vars(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The template's variables. Raises RequestError."""
    value = body.get("vars", {})
    if not isinstance(value, dict):
        raise malformed("'vars' has to be an object")
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
        raise malformed(f"'deadline': {error}") from None
