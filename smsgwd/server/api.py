"""Answers requests: finds the call, and makes of whatever goes wrong a problem document."""

import logging

from aiohttp import hdrs, web

from smsgwd.errors import RequestError
from smsgwd.otp import Challenges
from smsgwd.otp.users import Users
from smsgwd.server.calls.auth import Auth
from smsgwd.server.calls.challenges import ChallengeCalls
from smsgwd.server.calls.gateways import Gateways
from smsgwd.server.calls.messages import Messages
from smsgwd.server.calls.smsgateway import SmsGateway
from smsgwd.server.calls.state import State
from smsgwd.server.calls.validate import Validate
from smsgwd.server.connection import Connection
from smsgwd.server.problems import problem
from smsgwd.server.routing import Call, Family, MethodNotAllowedError, Refuse, Route, Router
from smsgwd.server.services import Services

log = logging.getLogger("smsgwd.server")

FAMILIES: tuple[type[Family], ...] = (Messages, ChallengeCalls, Validate, Gateways, SmsGateway, State, Auth)
ROUTES: tuple[Route, ...] = tuple(route for family in FAMILIES for route in family.ROUTES)


class Api:
    """Answers requests from what is served. `draining` makes each answer the last of its connection."""

    def __init__(self, services: Services) -> None:
        self.draining = False
        self._services = services
        self._messages = Messages(services)
        self._challenges = Challenges(lambda: services.registry.config.otp, observe=services.metrics.verification)
        services.metrics.show_storage(lambda: self._challenges.storage.up)
        self._users = Users(lambda: services.registry, self._challenges, services.sends.send)
        otp = (ChallengeCalls(services, self._challenges), Validate(services, self._users))
        admin = (Gateways(services), SmsGateway(services), State(services), Auth(services))
        self._router = Router((self._messages, *otp, *admin))

    def end_streams(self) -> None:
        """Read no further lines of the streams that run."""
        self._messages.end_streams()

    def follow(self) -> None:
        """Take over the storage of a new configuration."""
        self._challenges.storage.follow()

    async def close(self) -> None:
        """No call comes any more: let go of the storage and of the threads that look at PINs."""
        self._users.close()
        await self._challenges.storage.close()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request: never an exception, never a traceback."""
        connection = request.protocol
        if not isinstance(connection, Connection) or connection.caller is None:
            raise ConnectionResetError("a connection without a caller")
        connection.request_begins(request.content)
        response = await self._respond(Call(request, connection, self._services.who(request, connection.caller)))
        if self.draining or connection.crowded:
            response.force_close()
        return response

    async def _respond(self, call: Call) -> web.StreamResponse:
        refuse: Refuse = problem
        try:
            call.connection.refuse_crowd()
            found = self._router.find(call.request.method, call.request.rel_url.raw_path)
            refuse = found.refuse
            if not found.open:
                self._services.access.admit(call.caller)
            return await found.respond(Call(call.request, call.connection, call.caller, found.names))
        except RequestError as error:
            self._services.refusals.note(error, call.caller)
            return refuse(
                error, {hdrs.ALLOW: ", ".join(error.allowed)} if isinstance(error, MethodNotAllowedError) else {}
            )
        except ConnectionError:
            raise
        except Exception:
            log.exception("unforeseen failure of a request")
            self._services.metrics.refused("internal")
            return refuse(RequestError("internal", "something unforeseen went wrong; the log has it"))
