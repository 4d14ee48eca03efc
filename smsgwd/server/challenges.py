"""From a request's body to a challenge, or to a try at one: what `Challenge` and `Verification` of openapi.json say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smsgwd.message import SendRequest
from smsgwd.otp import DEFAULT_DIGITS, DEFAULT_TTL_S, DIGITS, TTL_S, Wanted
from smsgwd.server.messages import check_content, check_members, malformed, read_vars

_MESSAGE_TEXTS = ("gateway", "to", "text", "template")
CHALLENGE_KEYS = frozenset({*_MESSAGE_TEXTS, "vars", "digits", "ttl", "context"})
VERIFICATION_KEYS = frozenset({"transaction_id", "otp", "context"})


@dataclass(frozen=True, slots=True)
class Try:
    """A code that somebody brings back."""

    transaction_id: str
    otp: str
    context: str


def read_challenge(body: Mapping[str, Any]) -> Wanted:
    """The challenge that is asked for. Raises RequestError malformed-request; its detail names keys, never values."""
    check_members(body, CHALLENGE_KEYS, (*_MESSAGE_TEXTS, "context"), ("gateway", "to"))
    check_content(body)
    message = SendRequest(
        gateway=body["gateway"],
        to=body["to"],
        text=body.get("text"),
        template=body.get("template"),
        vars=read_vars(body),
    )
    return Wanted(
        message=message,
        digits=_whole(body, "digits", DIGITS, DEFAULT_DIGITS),
        ttl_s=_whole(body, "ttl", TTL_S, DEFAULT_TTL_S),
        context=body.get("context", ""),
    )


def read_try(body: Mapping[str, Any]) -> Try:
    """The try. Raises RequestError malformed-request, as above."""
    check_members(body, VERIFICATION_KEYS, VERIFICATION_KEYS, ("transaction_id", "otp"))
    return Try(body["transaction_id"], body["otp"], body.get("context", ""))


def _whole(body: Mapping[str, Any], key: str, allowed: range, default: int) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise malformed(f"{key!r} has to be a whole number from {allowed[0]} to {allowed[-1]}")
    return value
