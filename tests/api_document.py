"""What /openapi.json says, for the tests that compare answers with it."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from smsgwd.server.calls.state import DOCUMENT

API: dict[str, Any] = json.loads(DOCUMENT.read_bytes())


def validator(schema: Any) -> Draft202012Validator:
    """The validator of a schema inside the document."""
    return Draft202012Validator({**schema, "components": API["components"]})
