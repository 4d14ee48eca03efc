"""Any HTTP API: one request per message, made from templates at the leaves of the settings."""

from collections.abc import Mapping
from typing import Any

from smsgwd.errors import Severity
from smsgwd.providers._base import Bench
from smsgwd.providers._http.judge import read_judge
from smsgwd.providers._http.parts import (
    Body,
    read_authorization,
    read_body,
    read_headers,
    read_parameters,
    read_target,
)
from smsgwd.providers._http.provider import Form, HttpProvider, check_engine
from smsgwd.providers._http.settings import read_endpoint, read_url


def build(settings: Mapping[str, Any], bench: Bench) -> HttpProvider:
    """The provider of these settings; every fault goes to the bench."""
    at = ("settings", "url")
    url = read_url(bench, settings["url"], at)
    endpoint = read_endpoint(bench, url, settings)
    body = read_body(bench, settings)
    method = settings.get("method", "POST" if body else "GET")
    authorization = read_authorization(bench, settings["auth"], ("settings", "auth")) if "auth" in settings else None
    form = Form(
        method,
        read_target(bench, settings["url"], url, at),
        read_parameters(bench, settings.get("query", {}), ("settings", "query")),
        read_headers(bench, settings.get("headers", {}), endpoint, body, authorization),
        body,
    )
    _check_method(bench, method, body)
    check_engine(bench)
    judge = read_judge(bench, settings, proxied=endpoint.forwarded)
    return HttpProvider(form, endpoint, judge.outcome, bench.site.http_engine)


def _check_method(bench: Bench, method: str, body: Body | None) -> None:
    if method == "GET" and body:
        words = "the body of a GET request is ignored by most servers"
        bench.problem(("settings", "method"), "body-with-get", words, "write POST", severity=Severity.WARNING)
