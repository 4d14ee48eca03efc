"""From a request of `/validate/...` to whom it means: parameters as privacyIDEA's clients send them.

Parameters that are not named here are left aside, and one that is null is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smsgwd.otp.users import Named
from smsgwd.secret import Secret
from smsgwd.server.messages import malformed


@dataclass(frozen=True, slots=True)
class Asked:
    """One step of a login. `transaction_id` None: the PIN is in `password`."""

    named: Named
    password: Secret
    transaction_id: str | None


def read_login(parameters: Mapping[str, Any]) -> Asked:
    """One step of a login. Raises RequestError malformed-request; its detail names parameters, never values."""
    password = _text(parameters, "pass")
    if password is None:
        raise malformed("the parameter 'pass' is missing")
    transaction_id = _text(parameters, "transaction_id") or _text(parameters, "state")
    return Asked(read_named(parameters), Secret(password), transaction_id or None)


def read_named(parameters: Mapping[str, Any]) -> Named:
    """Whom it is about. Raises RequestError, as above."""
    user, realm, serial = (_text(parameters, name) or "" for name in ("user", "realm", "serial"))
    if not user and not serial:
        raise malformed("one of the parameters 'user' and 'serial' is needed")
    return Named(user, realm, serial)


def _text(parameters: Mapping[str, Any], name: str) -> str | None:
    value = parameters.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise malformed(f"the parameter {name!r} has to be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise malformed(f"the parameter {name!r} holds half of a character (a lone surrogate)") from None
    return value
