"""Challenges: a one-time password is sent, and verified when it comes back."""

import logging
from dataclasses import replace
from typing import ClassVar

from aiohttp import web

from smsgwd.errors import RequestError
from smsgwd.otp import Challenges
from smsgwd.server.access import OTP_CHALLENGE, OTP_VERIFY
from smsgwd.server.body import read_json
from smsgwd.server.calls.messages import idempotency_key
from smsgwd.server.challenges import read_challenge, read_try
from smsgwd.server.problems import answer, outcome_answer, outcome_document
from smsgwd.server.routing import Call, Route
from smsgwd.server.services import Services

log = logging.getLogger("smsgwd.server")


class ChallengeCalls:
    """Issues challenges, and verifies them."""

    def __init__(self, services: Services, challenges: Challenges) -> None:
        self._services = services
        self._challenges = challenges

    async def post_challenge(self, call: Call) -> web.Response:
        """Send a one-time password; the answer names the transaction that it is for."""
        if idempotency_key(call.request) is not None:
            raise RequestError("malformed-request", "an Idempotency-Key is for messages: each challenge is a new one")
        body = await read_json(call.request)
        with self._services.telling(call.caller, OTP_CHALLENGE, body.get("gateway")):
            wanted = read_challenge(body)
            message = self._services.access.permitted(call.caller, OTP_CHALLENGE, wanted.message)
            wanted = replace(wanted, message=message)
            transaction_id, outcome = await self._challenges.issue(wanted, self._services.sends.send)
        if transaction_id is None:
            return outcome_answer(outcome)
        return answer(
            {"transaction_id": transaction_id, "expires_in": wanted.ttl_s, "outcome": outcome_document(outcome)}
        )

    async def post_verification(self, call: Call) -> web.Response:
        """Whether a one-time password is the one that was sent."""
        self._services.access.require(call.caller, OTP_VERIFY)
        tried = read_try(await read_json(call.request))
        verdict = await self._challenges.verify(tried.transaction_id, tried.otp, tried.context)
        log.info("verification", extra={**verdict.as_dict(), **call.caller.as_log()})
        return answer(verdict.as_dict())

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/v1/challenges", post_challenge),
        Route("POST", "/v1/challenges/verify", post_verification),
    )
