"""Logins by PIN and one-time password, in privacyIDEA's dialect."""

import logging
import threading
from typing import Any, ClassVar

from aiohttp import web

from smsgwd.allowance import Allowance
from smsgwd.caller import Caller
from smsgwd.otp.users import Allow, Login, May, Result, Users, serial_of
from smsgwd.registry import OtpToken
from smsgwd.server.access import OTP_CHALLENGE, OTP_VERIFY
from smsgwd.server.body import read_parameters
from smsgwd.server.envelope import envelope, refuse
from smsgwd.server.logins import read_login, read_named
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services

log = logging.getLogger("smsgwd.server")

_TYPE = "sms"
_MODE = "interactive"  # privacyIDEA's word for a code that a person types


class Validate:
    """Lets users in, or sends them a code first."""

    def __init__(self, services: Services, users: Users) -> None:
        self._services = services
        self._users = users

    async def post_check(self, call: Call) -> web.Response:
        """One step of a login."""
        self._services.access.require(call.caller, OTP_VERIFY)
        asked = read_login(await read_parameters(call.request))
        may, allow = self._may(call.caller, OTP_VERIFY), self._allow(call.caller, OTP_VERIFY)
        login = await self._users.check(asked.named, asked.password, asked.transaction_id, call.caller, may, allow)
        _tell("login", login, call.caller)
        return envelope(login.result is Result.ACCEPT, authentication=str(login.result), **_detail(login))

    async def post_trigger(self, call: Call) -> web.Response:
        """Send a code to a user of whom no PIN is asked."""
        self._services.access.require(call.caller, OTP_CHALLENGE)
        named = read_named(await read_parameters(call.request))
        may, allow = self._may(call.caller, OTP_CHALLENGE), self._allow(call.caller, OTP_CHALLENGE)
        login = await self._users.trigger(named, call.caller, may, allow)
        _tell("challenge", login, call.caller)
        sent = int(login.result is Result.CHALLENGE)
        return envelope(sent, authentication=str(login.result), **_detail(login))

    def _may(self, caller: Caller, action: str) -> May:
        """A token is for those who may take this action on its gateway."""

        def may(token: OtpToken) -> bool:
            return self._services.access.allows(caller, action, token.gateway)

        return may

    def _allow(self, caller: Caller, action: str) -> Allow:
        """A code is sent within the limits of the rule that lets the caller take this action."""

        def allow(token: OtpToken) -> Allowance | None:
            return self._services.access.allowance(caller, action, token.gateway)

        return allow

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/validate/check", post_check, refuse),
        Route("POST", "/validate/triggerchallenge", post_trigger, refuse),
    )


def _tell(what: str, login: Login, caller: Caller) -> None:
    """One line for each login. Names are personal, and a PIN may be typed where a name belongs: a serial has neither.

    A name that nobody has is not told at all.
    """
    found = {"serial": login.token and serial_of(login.token.user), "reason": login.why and str(login.why)}
    told = {key: value for key, value in found.items() if value}
    log.info(what, extra={"result": str(login.result), **told, **caller.as_log()})


def _detail(login: Login) -> dict[str, Any]:
    if login.token is None or login.result is Result.REJECT:
        return {"message": login.message}
    serial = serial_of(login.token.user)
    if login.result is Result.ACCEPT:
        return {"message": login.message, "serial": serial, "type": _TYPE, "otplen": login.token.digits}
    return {
        **_challenge(login, serial),
        "messages": [login.message],
        "transaction_ids": [login.transaction_id],
        "multi_challenge": [{"attributes": None, "image": "", **_challenge(login, serial)}],
        "threadid": threading.get_native_id(),
    }


def _challenge(login: Login, serial: str) -> dict[str, Any]:
    return {
        "message": login.message,
        "transaction_id": login.transaction_id,
        "serial": serial,
        "type": _TYPE,
        "client_mode": _MODE,
    }
