"""What others on the way can see or change, and answers that nobody looks at."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from smsgwd.credentials import expressions, names_read
from smsgwd.errors import Problem, Severity
from smsgwd.load import Path, Source, shorten

_URL = re.compile(r"(https?)://(?:[^/?#]*@)?(\[[^\]]*\]|[^/?#:]*)", re.IGNORECASE)
_MOST_NAMED = 5  # of what is listed in a message
# APIs that answer 200 whatever happened, and say in the body what did.
_SAYS_IN_THE_BODY = frozenset(
    {
        "api.clickatell.com",
        "api.smsapi.com",
        "api.smsapi.pl",
        "gateway.seven.io",
        "http.gtx-messaging.net",
        "rest.nexmo.com",
    }
)
_Settings = Mapping[str, Any]


def risks(source: Source, data: Mapping[str, Any]) -> Iterator[Problem]:
    """The warnings about the settings of a gateway."""
    settings = data.get("settings", {})
    yield from _in_the_clear(source, settings)
    yield from _unverified(source, settings.get("tls"), ("settings", "tls"))
    yield from _unverified(source, settings.get("server"), ("settings", "server"))
    if data.get("provider") == "http":
        yield from _in_the_query(source, settings)
        yield from _unjudged(source, settings)


def risks_of_site(source: Source, data: Mapping[str, Any]) -> Iterator[Problem]:
    """The warnings about the servers of smsgwd.yaml."""
    for name, server in data.get("smtp_servers", {}).items():
        yield from _unverified(source, server, ("smtp_servers", name))
    for index, listener in enumerate(data.get("listen", [])):
        host = listener["tcp"].rpartition(":")[0].strip("[]")
        if "tls" not in listener and not _is_loopback(host):
            message = "tokens, codes and texts cross the network in the clear"
            hint = "add tls: {cert_file: ..., key_file: ...}, or listen on 127.0.0.1 alone"
            yield _warning(source, ("listen", index, "tcp"), "plain-listener", message, hint)


def _warning(source: Source, at: Path, code: str, message: str, hint: str, **place: Any) -> Problem:
    return source.problem(at, code, message, hint, severity=Severity.WARNING, **place)


def _in_the_clear(source: Source, settings: _Settings) -> Iterator[Problem]:
    url = _URL.match(settings.get("url", ""))
    if url and url[1].lower() == "http" and not _is_loopback(url[2].strip("[]")):
        message = "number, text and credentials cross the network in the clear"
        yield _warning(source, ("settings", "url"), "plain-http", message, "write https://")


def _is_loopback(host: str) -> bool:
    name = host.lower().removesuffix(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761, 6.3


def _unverified(source: Source, settings: Any, at: Path) -> Iterator[Problem]:
    if isinstance(settings, Mapping) and settings.get("verify") is False:
        message = "anybody on the way can pose as the server"
        hint = "name the authority of its certificate: ca_file: ca.pem"
        yield _warning(source, (*at, "verify"), "unverified-tls", message, hint)


def _in_the_query(source: Source, settings: _Settings) -> Iterator[Problem]:
    """Secrets in a URL, which servers and proxies write into their logs."""
    hint = "POST it, or put it into a header, if the API lets you"
    query = settings.get("query", {})
    names = [f"`{shorten(key)}`" for key, value in query.items() if _reads_secret(value)]
    if names:
        listed = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        message = f"servers and proxies log URLs, and this query holds secrets: {listed}"
        yield _warning(source, ("settings", "query"), "secret-in-query", message, hint, on_key=True)
    url = settings.get("url", "")
    mark = url.find("?")
    found = (start for start, end in expressions(url) if 0 <= mark < start and _reads_secret(url[start:end]))
    for offset in islice(found, 1):
        message = "servers and proxies log URLs, and this query holds a secret"
        yield _warning(source, ("settings", "url"), "secret-in-query", message, hint, offset=offset)


def _reads_secret(value: str | list[str]) -> bool:
    texts = [value] if isinstance(value, str) else value
    return any("secrets" in names_read(text) for text in texts)


def _unjudged(source: Source, settings: _Settings) -> Iterator[Problem]:
    """No rule about answers, on an API that answers 200 to failures, or is of the sort that does."""
    if settings.keys() & {"success", "failure"}:
        return
    url = _URL.match(settings.get("url", ""))
    known = url is not None and url[2].lower() in _SAYS_IN_THE_BODY
    gets = settings.get("method", "GET") == "GET" and not settings.keys() & {"form", "json", "xml", "text"}
    if known or gets:
        why = "this API answers 200 to failures, too" if known else "APIs that send by GET often answer 200 to failures"
        message = f"any answer 200 counts as accepted: {why}"
        hint = "say what a good answer holds: success: {contains: ...}"
        yield _warning(source, ("settings",), "no-success-rule", message, hint, on_key=True)
