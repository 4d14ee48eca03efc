"""`POST /auth` in privacyIDEA's dialect: an admin client logs in with the name of a token and the token itself.

It gets back what it sends from then on in its header. Nothing is remembered: the token is the same as before.
"""

import hmac
from typing import Any, ClassVar

from aiohttp import hdrs, web

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.server.body import read_parameters
from smsgwd.server.envelope import envelope, refuse
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services

_ROLE = "admin"  # what privacyIDEA's clients look for, before they look at the rights


class Auth:
    """Lets the owners of tokens log in."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def post_auth(self, call: Call) -> web.Response:
        """Whether the token is the one of that name, and what it may do."""
        async with self._services.audit.action("login", call.caller) as entry:
            answer, entry.by = await self._logged_in(call)
        return answer

    async def _logged_in(self, call: Call) -> tuple[web.Response, Caller]:
        parameters = await read_parameters(call.request)
        username, token = _text(parameters, "username"), _text(parameters, "password")
        name = self._services.access.token_of(token)
        # compared although it is known to be wrong: whether a name exists is not to be told by the time it takes
        fits = hmac.compare_digest(_octets(name or ""), _octets(username))
        if name is None or not fits:
            raise RequestError("unauthorized", "wrong username or password")
        caller = Caller(token=name, address=call.caller.address, listener=call.caller.listener)
        rights = self._services.access.actions_of(caller)
        answer = envelope({"token": token, "username": name, "realm": "", "role": _ROLE, "rights": rights})
        answer.headers[hdrs.CACHE_CONTROL] = "no-store"
        return answer, caller

    ROUTES: ClassVar[tuple[Route, ...]] = (Route("POST", "/auth", post_auth, refuse, open=True),)


def _text(parameters: dict[str, Any], key: str) -> str:
    value = parameters.get(key)
    if not isinstance(value, str) or not value:
        raise RequestError("malformed-request", f"Missing parameter: {key!r}")
    return value


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
