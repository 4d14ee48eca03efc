import json
from typing import Any

import pytest
from aiohttp import web

from smsgwd import __version__
from smsgwd.errors import RequestError
from smsgwd.server.envelope import envelope, refuse
from smsgwd.server.problems import PROBLEM, PROBLEMS, MissingTokenError


def content(response: web.Response) -> dict[str, Any]:
    """The JSON object of an answer, without what changes from one to the next."""
    assert isinstance(response.body, bytes)
    found: dict[str, Any] = json.loads(response.body)
    assert found.pop("time") > 1_700_000_000
    return found


AROUND = {"id": 1, "jsonrpc": "2.0", "version": f"smsgwd {__version__}"}


def test_a_value_is_where_clients_of_privacyidea_read_it() -> None:
    """A value stands in result.value, beside what it is about; further members stand in detail."""
    assert content(envelope([1])) == {**AROUND, "result": {"status": True, "value": [1]}}
    answer = envelope(True, authentication="CHALLENGE", transaction_id="x")
    assert (answer.status, answer.content_type) == (200, "application/json")
    result = {"status": True, "value": True, "authentication": "CHALLENGE"}
    assert content(answer) == {**AROUND, "result": result, "detail": {"transaction_id": "x"}}


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_refusal_is_an_envelope_and_a_problem_document(code: str) -> None:
    """Whoever knows either finds what he looks for, with the same status as everywhere and privacyIDEA's code."""
    status, title = PROBLEMS[code]
    answer = refuse(RequestError(code, "why", {"more": 1}), {"Allow": "GET"})
    found = content(answer)
    error = {"code": {400: 905, 401: 4031, 403: 303, 404: 601}.get(status, 10), "message": "why"}
    assert found.pop("result") == {"status": False, "error": error}
    assert found == {
        **AROUND,
        "type": f"urn:smsgwd:problem:{code}",
        "title": title,
        "status": status,
        "more": 1,
    }
    assert (answer.status, answer.content_type, answer.headers["Allow"]) == (status, PROBLEM, "GET")
    assert ("Retry-After" in answer.headers) is (code in {"overloaded", "storage-unavailable"})
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


def test_a_missing_token_is_told_from_a_wrong_one() -> None:
    """A request without the header has a code of its own in privacyIDEA."""
    answer = refuse(MissingTokenError())
    assert (answer.status, content(answer)["result"]["error"]["code"]) == (401, 4033)
