import asyncio
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from api_document import API, check_answer, validator
from openapi_spec_validator import validate
from served import serving
from socket_client import Response, call

from smsgwd.access_token import digest_of, new_token
from smsgwd.errors import RequestError
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import SiteConfig
from smsgwd.server.api import ROUTES
from smsgwd.server.calls.state import DOCUMENT
from smsgwd.server.messages import KEYS, read_message

MESSAGE = {"gateway": "gated", "to": "+491701234567", "text": "hi"}
TOKEN = new_token()
BODIES = {
    "/auth": {"username": "portal", "password": TOKEN},
    "/v1/messages": MESSAGE,
    "/v1/render": MESSAGE,
    "/v1/challenges": {**MESSAGE, "text": "{{ otp }}"},
    "/v1/challenges/verify": {"transaction_id": "x", "otp": "123456"},
    "/validate/check": {"user": "alice", "pass": "1234"},
    "/validate/triggerchallenge": {"user": "alice"},
}


def test_the_document_is_openapi() -> None:
    """OpenAPI 3.1, valid by itself."""
    assert API["openapi"].startswith("3.1.")
    validate(API)


def test_the_document_has_the_routes_that_there_are() -> None:
    """What is described answers, and what answers is described."""
    described = {(method.upper(), path) for path, methods in API["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_the_document_is_what_is_served(tmp_path: Path) -> None:
    """/openapi.json is the file, as JSON."""
    response = answered(tmp_path, "GET", "/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.body == DOCUMENT.read_bytes()


def test_every_schema_is_used_and_described() -> None:
    """No schema without a reader, no property without a type or a word."""
    text = json.dumps(API)
    for name, schema in API["components"]["schemas"].items():
        assert f'"#/components/schemas/{name}"' in text, name
        assert schema["description"], name


def test_the_words_of_the_document_are_those_of_the_code() -> None:
    """Outcomes, reasons, keys of a message and of an outcome are the same in both."""
    schemas = API["components"]["schemas"]
    outcome = schemas["Outcome"]["properties"]
    assert outcome["outcome"]["enum"] == [str(kind) for kind in Kind]
    assert outcome["reason"]["enum"] == [*map(str, Reason), None]
    assert list(outcome) == list(Outcome(Kind.ACCEPTED).as_dict())
    assert set(schemas["Message"]["properties"]) == KEYS


def answered(
    folder: Path, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to one request."""

    async def scenario() -> Response:
        config = SiteConfig(tokens={"portal": digest_of(TOKEN)})
        async with serving(folder, config=config) as served:
            return await call(served.path, method, target, body, headers)

    return asyncio.run(scenario())


OF_A_REAL_DAEMON = {  # test_gateway_calls.py, test_smsgateway.py
    *("PUT /v1/gateways/{name}", "DELETE /v1/gateways/{name}", "POST /v1/check"),
    *("GET /smsgateway", "POST /smsgateway", "POST /smsgateway/", "GET /smsgateway/{gateway}"),
    *("DELETE /smsgateway/{gateway}", "DELETE /smsgateway/option/{id}/{key}"),
}


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if f"{route.method} {route.path}" not in OF_A_REAL_DAEMON],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_every_call_answers_as_described(tmp_path: Path, route: Any) -> None:
    """Real answers to a good request fit their schemas."""
    body = BODIES.get(route.path)
    assert (body is not None) is ("requestBody" in API["paths"][route.path][route.method.lower()])
    response = answered(tmp_path, route.method, route.path.replace("{name}", "gated"), body)
    assert response.status == 200
    check_answer(route.method, route.path, response)


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"text": "rejected"}, 422),
        ({"text": "unsent"}, 503),
        ({"text": "limit"}, 429),
        ({"text": "unknown"}, 504),
        ({"gateway": "off"}, 503),
        ({"gateway": "broken"}, 503),
        ({"gateway": "nobody"}, 404),
        ({"more": 1}, 400),
        ({"text": "x" * 70_000}, 413),
    ],
)
def test_every_problem_answers_as_described(tmp_path: Path, members: dict[str, Any], status: int) -> None:
    """Real answers to what goes wrong fit their schemas, with a status that is in the document."""
    response = answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, **members})
    assert response.status == status
    assert str(status) in API["paths"]["/v1/messages"]["post"]["responses"]
    check_answer("POST", "/v1/messages", response)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_who_is_nobody_is_answered_as_described(tmp_path: Path, route: Any) -> None:
    """A token that is not known ends in 401, before the body is looked at, but for the calls that are open to all."""
    stranger = {"Authorization": f"Bearer {new_token()}"}
    response = answered(tmp_path, route.method, route.path.replace("{name}", "gated"), b"no JSON", stranger)
    described = API["paths"][route.path][route.method.lower()]
    assert (described.get("security") == []) is route.open
    assert (response.status == 401) is not route.open
    check_answer(route.method, route.path, response)


@pytest.mark.parametrize(("body", "status"), [({"username": "portal"}, 400), ({"username": "p", "password": "x"}, 401)])
def test_a_login_that_fails_is_answered_as_described(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    """The envelope of a refusal fits its schema."""
    response = answered(tmp_path, "POST", "/auth", body)
    assert response.status == status
    check_answer("POST", "/auth", response)


def test_an_unknown_gateway_answers_as_described(tmp_path: Path) -> None:
    """The answer for a gateway that is not there fits its schema."""
    check_answer("GET", "/v1/gateways/{name}", answered(tmp_path, "GET", "/v1/gateways/nobody"))


VALUES: dict[str, list[Any]] = {
    "gateway": ["g", 1],
    "to": ["+49", None],
    "text": ["", "hi", []],
    "template": ["t", False],
    "vars": [{}, {"code": "1"}, {"code": 1}, [], "x"],
    "sender": ["ACME", {}],
    "reference": ["r", 2],
    "deadline": ["1s", "500ms", "0s", "1", "", "1000000000000s", "1d", 5],
    "more": ["x"],
}


def bodies() -> list[dict[str, Any]]:
    """Messages with each key missing, right and wrong, and each pair of keys so."""
    whole: list[dict[str, Any]] = [
        {"gateway": "g", "to": "1", "text": "hi"},
        {"gateway": "g", "to": "1", "template": "t", "vars": {"code": "1"}},
    ]
    found = list(whole)
    for base, (first, second) in itertools.product(whole, itertools.combinations(VALUES, 2)):
        for one, other in itertools.product(VALUES[first], VALUES[second]):
            found.append({**base, first: one, second: other})
        left = {key: value for key, value in base.items() if key not in (first, second)}
        found += [left, *({**left, first: one} for one in VALUES[first])]
    return found


def test_the_code_takes_what_the_schema_takes() -> None:
    """The hand-written check and the schema of a message agree on every body of a thousand."""
    schema = validator(API["components"]["schemas"]["Message"])
    wrong = []
    for body in bodies():
        try:
            read_message(body)
            taken = True
        except RequestError:
            taken = False
        if taken is not schema.is_valid(body):
            wrong.append(body)
    assert wrong == []
