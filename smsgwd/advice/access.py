"""Rules about who may do what that say something else than they seem to."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from smsgwd.access_token import OF_TOKENS
from smsgwd.errors import Problem, Severity
from smsgwd.load import Source, shorten


def unknown_tokens(source: Source, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Tokens that a rule names and `tokens` does not have."""
    known = data.get("tokens", {})
    for index, rule in enumerate(data.get("access", [])):
        for place, user in enumerate(rule.get("users", [])):
            name = user.removeprefix(OF_TOKENS) if isinstance(user, str) and user.startswith(OF_TOKENS) else None
            if name is None or name in known:
                continue
            near = get_close_matches(name[:64], known, n=1)
            hint = f"did you mean `{OF_TOKENS}{near[0]}`?" if near else "make one with: smsgwd token new NAME"
            message = f"there is no token `{shorten(name)}`: the rule lets in nobody by it"
            at = ("access", index, "users", place)
            yield source.problem(at, "unknown-token", message, hint, severity=Severity.WARNING)
