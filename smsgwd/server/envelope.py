"""privacyIDEA's envelope: what its clients read around each answer.

    {"id": 1, "jsonrpc": "2.0", "result": {"status": true, "value": ...}, "time": ..., "version": ...}

A refusal is its envelope and our problem document at once, but for `detail`: clients of either read what they know.
"""

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from smsgwd import __version__
from smsgwd.errors import RequestError
from smsgwd.server.problems import PROBLEM, MissingTokenError, answer, document, headers_of

_NO_TOKEN = 4033  # privacyIDEA's ERROR.AUTHENTICATE_AUTH_HEADER
_CODES: Mapping[int, int] = {  # our status, and the code that privacyIDEA has for it
    400: 905,  # ERROR.PARAMETER
    401: 4031,  # ERROR.AUTHENTICATE_WRONG_CREDENTIALS
    403: 303,  # ERROR.POLICY
    404: 601,  # ERROR.RESOURCE_NOT_FOUND
}
_ANY_OTHER = 10  # the code of its PrivacyIDEAError itself


def envelope(value: Any, *, authentication: str | None = None, **detail: Any) -> web.Response:
    """The answer that carries a value.

    `authentication` is ACCEPT, CHALLENGE or REJECT, where it is about that; `detail` are the members beside the result.
    """
    result = {"status": True, "value": value}
    if authentication is not None:
        result["authentication"] = authentication
    return answer({**_around(result), **({"detail": detail} if detail else {})})


def refuse(error: RequestError, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that refuses a request."""
    problem = document(error.code, error.detail, error.members)
    del problem["detail"]  # privacyIDEA's PAM looks into an object of that name before it looks at the result
    result = {"status": False, "error": {"code": _code(error, problem["status"]), "message": error.detail}}
    content = {**_around(result), **problem}
    return answer(content, status=problem["status"], content_type=PROBLEM, headers=headers_of(error, headers))


def _code(error: RequestError, status: int) -> int:
    return _NO_TOKEN if isinstance(error, MissingTokenError) else _CODES.get(status, _ANY_OTHER)


def _around(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": 1, "jsonrpc": "2.0", "result": result, "time": time.time(), "version": f"smsgwd {__version__}"}
