"""What /openapi.json says, for the tests that compare answers with it."""

import json
from typing import Any

from jsonschema import Draft202012Validator
from socket_client import Response

from smsgwd.outcome import Kind
from smsgwd.server.calls.state import DOCUMENT
from smsgwd.server.problems import PROBLEMS

API: dict[str, Any] = json.loads(DOCUMENT.read_bytes())


def validator(schema: Any) -> Draft202012Validator:
    """The validator of a schema inside the document."""
    return Draft202012Validator({**schema, "components": API["components"]})


def check_answer(method: str, path: str, response: Response) -> None:
    """The answer is one of those described for this call: status, content type, body and headers."""
    responses = API["paths"][path][method.lower()]["responses"]
    described = responses.get(str(response.status), responses["default"])
    kind = response.headers["content-type"].partition(";")[0]
    content: Any = response.json() if kind.endswith("json") else response.body.decode()
    validator(described["content"][kind]["schema"]).validate(content)
    for name in response.headers.keys() & {"retry-after", "www-authenticate"}:
        assert name in {header.lower() for header in described.get("headers", {})} or "default" in responses
        assert name != "retry-after" or int(response.headers[name]) >= 1
    if kind == "application/problem+json":
        assert content["status"] == response.status
        code = content["type"].removeprefix("urn:smsgwd:problem:")
        assert code in [str(kind) for kind in Kind] or PROBLEMS[code] == (response.status, content["title"])
