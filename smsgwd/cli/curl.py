"""A rendered HTTP request as a curl command line that can be pasted into a shell."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

_CURLS_OWN = {"host", "content-length"}  # it knows them better, above all after a secret was filled in
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def command_line(request: Mapping[str, Any]) -> str:
    """The command: one option on each line. Secrets stand as `***`, to be replaced by whoever runs it."""
    lines = [
        f"curl --request {shell_word(request['method'])} {shell_word(_url(request))}",
        *(
            f"--header {shell_word(f'{name}: {value}')}"
            for name, value in _headers(request)
            if name.lower() not in _CURLS_OWN
        ),
        *_body(request),
    ]
    return " \\\n  ".join(lines)


def _url(request: Mapping[str, Any]) -> str:
    url: str = request["url"]
    query = _encoded(request.get("query") or {})
    return f"{url}?{query}" if query else url


def _encoded(pairs: Mapping[str, Any]) -> str:
    """As a query or a form; the stars of a secret stay readable."""
    return urlencode(pairs, doseq=True, safe="*")


def _headers(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in (request.get("headers") or {}).items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one


def _body(request: Mapping[str, Any]) -> Iterator[str]:
    body = request.get("body")
    if body is None:
        return
    if not isinstance(body, str):
        body = _encoded(body) if _is_form(request) else json.dumps(body, ensure_ascii=False)
    yield f"--data-raw {shell_word(body)}"  # raw: a text that begins with @ is no file name


def _is_form(request: Mapping[str, Any]) -> bool:
    return any(
        name.lower() == "content-type" and value.startswith("application/x-www-form-urlencoded")
        for name, value in _headers(request)
    )


def shell_word(text: str) -> str:
    """One word for bash and zsh. Control characters stand as escapes: printed raw they could steer the terminal."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(_escape, escaped) + "'"


def _escape(found: re.Match[str]) -> str:
    octets = found[0].encode()
    return "".join(f"\\{octet:03o}" for octet in octets)
