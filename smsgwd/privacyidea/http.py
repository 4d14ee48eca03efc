"""The HTTP class, and what its older token configuration has in common with it."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from smsgwd.credentials import is_credential
from smsgwd.privacyidea import tags, values
from smsgwd.privacyidea.definition import CENSORED, NoCounterpartError
from smsgwd.privacyidea.sheet import Sheet, deadline, duration, present, seconds
from smsgwd.providers._http.target import UrlError, split_url

TIMEOUT_S = 3.0  # of connecting, and of each wait for the answer
SUCCESS = (200, 201, 202)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;]*)=([^&;]+)")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TRIPLET = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")  # RFC 3986, 2.3
_PROXY = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:([^/@]*)@)?([^/?#@]+)")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FORBIDDEN_IN_FIELD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Fields that smsgwd writes itself: how the request is framed, and where it goes.
_FRAMING = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"),
    *("expect", "accept-encoding", "proxy-authorization", "proxy-connection"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be: the class's own parameters, and what is sent. Texts inside `fields` have marks for tags."""

    options: Mapping[str, str]
    fields: Mapping[str, Any]
    headers: Mapping[str, str]


def file_parts(sheet: Sheet, request: Request) -> dict[str, Any]:
    """`deadline` and `settings` of the gateway file. Raises NoCounterpartError."""
    options = request.options
    url, userinfo = _url(sheet, options.get("URL", ""))
    method = _method(sheet, options.get("HTTP_METHOD", ""))
    timeout_s = seconds(sheet, "TIMEOUT", options.get("TIMEOUT", ""), TIMEOUT_S)
    auth = _auth(sheet, options, userinfo)
    settings = {
        "url": url,
        "method": method,
        **_carried(sheet, method, request),
        "headers": _headers(sheet, request.headers, replaced=auth is not None) or None,
        "auth": auth,
        "proxy": proxies(sheet, options) or None,
        "tls": _tls(sheet, options),
        "timeout": timeout(timeout_s),
        "failure": {"contains": options["RETURN_FAIL"], "status": [*SUCCESS]} if options.get("RETURN_FAIL") else None,
        "success": {"contains": options["RETURN_SUCCESS"]} if options.get("RETURN_SUCCESS") else None,
    }
    return {"deadline": deadline(2 * timeout_s), "settings": present(settings)}


def timeout(span_s: float) -> dict[str, str]:
    """What requests' single timeout comes to: it holds for connecting, and once more for the answer."""
    return {"connect": duration(span_s), "total": duration(2 * span_s)}


# --- URL


def _url(sheet: Sheet, url: str) -> tuple[str, str]:
    """The template of the URL, sent as it stands without its tags replaced, and the `user:pass` that it held."""
    if url == CENSORED:
        raise NoCounterpartError("URL is censored in the source")
    found = _URL.match(url.lstrip())
    if found is None:
        raise NoCounterpartError("URL does not begin with http:// or https://" if url else "URL is missing")
    scheme, place, target = found.groups()
    userinfo, _, host = place.rpartition("@")
    head = f"{scheme}://{host}"
    try:
        split_url(head)
    except UrlError as error:
        raise NoCounterpartError(f"URL: {error}") from None
    return tags.ended(head + _target(sheet, target)), userinfo


def _target(sheet: Sheet, target: str) -> str:
    path, mark, query = re.sub(r"\s", lambda found: quote(found[0]), target).partition("?")
    target = _without_dots(_normal(path)) + mark + _normal(query)
    parts, position = [], 0
    for found in _PARAMETER.finditer(target):
        name, value = (_decoded(target, found, group) for group in (1, 2))
        if is_credential(name):
            parts += [tags.literal(target[position : found.start(2)]), sheet.secret(name, value)]
            position = found.end(2)
    return "".join([*parts, tags.literal(target[position:])])


def _normal(part: str) -> str:
    """Percent-encoding as requests has it: one stray percent sign, and all are taken for themselves."""
    if _STRAY_PERCENT.search(part):
        return _TRIPLET.sub(lambda found: found[0].upper(), part).replace("%", "%25")
    return _TRIPLET.sub(lambda found: plain if (plain := chr(int(found[1], 16))) in _UNRESERVED else found[0], part)


def _decoded(target: str, found: re.Match[str], group: int) -> str:
    """A part of the target as text; in the query a plus is a blank."""
    in_query = "?" in target[: found.start(group)]
    return unquote_plus(found[group]) if in_query else unquote(found[group])


def _without_dots(path: str) -> str:
    """The path with its dot segments resolved (RFC 3986, 5.2.4), as requests sends it."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == ".." and len(kept) > 1:
            kept.pop()
        elif segment not in {".", ".."}:
            kept.append(segment)
    return "/".join([*kept, ""] if segments[-1] in {".", ".."} else kept)


# --- what is sent


def _method(sheet: Sheet, method: str) -> str:
    if method not in {"", "GET", "POST"}:
        sheet.remark("HTTP_METHOD is neither GET nor POST: GET is used, as privacyIDEA does")
    return "POST" if method == "POST" else "GET"


def _carried(sheet: Sheet, method: str, request: Request) -> dict[str, Any]:
    """`query`, `form` or `json`."""
    if method == "POST" and request.options.get("SEND_DATA_AS_JSON") == "yes":
        return {"json": {key: _json(sheet, key, value, secret=False) for key, value in request.fields.items()}}
    sent = present({key: _parameter(sheet, key, value) for key, value in request.fields.items()})
    if method == "GET":
        return {"query": sent} if sent else {}
    return {"form": sent} if request.fields else {}  # a form that comes to nothing is one by its Content-Type


def _parameter(sheet: Sheet, key: str, value: Any) -> str | list[str] | None:
    texts = [sheet.text(key, text) for text in values.parameters(value)]
    if isinstance(value, dict):
        sheet.remark(f"{key} is a JSON object, of which only the keys are sent outside of a JSON body")
    return None if not texts else texts[0] if len(texts) == 1 else texts


def _json(sheet: Sheet, key: str, value: Any, *, secret: bool) -> Any:
    """A value of the body; `secret`: it is inside of one that is a credential."""
    secret = secret or sheet.is_secret(key)
    if isinstance(value, dict):
        if any(map(tags.is_marked, value)):
            sheet.remark(f"{key}: a tag in a key of a JSON object is sent as it stands")
        return {tags.unmark(name): _json(sheet, tags.unmark(name), each, secret=secret) for name, each in value.items()}
    if isinstance(value, list):
        return [_json(sheet, key, item, secret=secret) for item in value]
    if isinstance(value, str):
        return sheet.text(key, value, secret=secret)
    if value is None or isinstance(value, bool):
        return value
    return _json_number(sheet, key, value, secret=secret)


def _json_number(sheet: Sheet, key: str, value: float, *, secret: bool) -> Any:
    """A number; as text where it is a credential, which no file holds, or larger than a file holds."""
    if values.is_carried(value) and not secret:
        return value
    sheet.remark(f"{key} is a number, and is sent as text")
    return sheet.text(key, str(value), secret=secret)


def _headers(sheet: Sheet, headers: Mapping[str, str], *, replaced: bool) -> dict[str, str]:
    """The headers, sent as they stand, without tags. Of those that differ by case alone the last counts."""
    kept = {name.lower(): (name, value) for name, value in headers.items()}
    if replaced and "authorization" in kept:
        del kept["authorization"]
        sheet.remark("the header Authorization is left out: basic authentication replaces it")
    return {name: _field(sheet, name, value) for name, value in kept.values() if _is_sent(sheet, name, value)}


def _is_sent(sheet: Sheet, name: str, value: str) -> bool:
    fault = header_fault(name, value)
    if fault is not None:
        sheet.remark(f"the header {name!r} is left out: {fault}")
    return fault is None


def header_fault(name: str, value: str) -> str | None:
    """Why this header cannot be sent, or None."""
    if name.lower() in _FRAMING:
        return "smsgwd writes it itself"
    if not _FIELD_NAME.fullmatch(name) or _FORBIDDEN_IN_FIELD.search(value):
        return "no request can carry it"
    return None


def _field(sheet: Sheet, name: str, value: str) -> str:
    if not value.isascii():
        sheet.remark(f"the header {name} is sent in UTF-8, by privacyIDEA in Latin-1")
    return sheet.header(name, value)


# --- authentication, proxy, TLS


def _auth(sheet: Sheet, options: Mapping[str, str], userinfo: str) -> dict[str, str] | None:
    """Basic authentication: USERNAME and PASSWORD, else what the URL held, without percent-decoding."""
    username, password = options.get("USERNAME", ""), options.get("PASSWORD")
    if not username or password is None:
        if username or password:
            sheet.remark("USERNAME or PASSWORD is missing: without both there is no basic authentication")
        if ":" not in userinfo:
            return None
        username, _, password = userinfo.partition(":")
    if ":" in username:  # RFC 7617 knows no such name: on the wire the password begins at the first colon
        username, _, rest = username.partition(":")
        password = f"{rest}:{password}"
    if not (username + password).isascii():
        sheet.remark("USERNAME and PASSWORD are sent in UTF-8 (RFC 7617), by privacyIDEA in Latin-1")
    return {
        "username": sheet.text("USERNAME", username) if username else "",
        "password": sheet.secret("PASSWORD", password) if password else "",
    }


def proxies(sheet: Sheet, options: Mapping[str, str]) -> dict[str, str]:
    """`proxy`: HTTP_PROXY and HTTPS_PROXY; PROXY, for URLs of its own scheme, only when neither is there."""
    given = {scheme: options.get(f"{scheme.upper()}_PROXY", "") for scheme in ("http", "https")}
    if not any(given.values()) and (proxy := options.get("PROXY", "")):
        scheme = proxy.partition(":")[0].lower()
        if scheme not in given:
            sheet.remark("PROXY is left out: it says no scheme, http or https, so privacyIDEA never uses it")
        else:
            given[scheme] = proxy
    found = {scheme: _proxy(sheet, text) for scheme, text in given.items() if text}
    return {scheme: proxy for scheme, proxy in found.items() if proxy}


def _proxy(sheet: Sheet, text: str) -> str | None:
    if text == CENSORED:
        return sheet.secret("proxy", text)
    found = _PROXY.match(text)
    scheme = (found[1] or "http").lower() if found else ""
    try:
        place = split_url(f"{scheme}://{found[3] if found else ''}")
    except UrlError:
        sheet.remark("a proxy is left out: its URL is none that smsgwd can use (http://host:port)")
        return None
    if scheme == "https":
        sheet.remark("a proxy is spoken to in plain HTTP, not over TLS as its https:// says")
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"http://{_proxy_user(sheet, found[2] if found else None)}{host}:{place.port}"


def _proxy_user(sheet: Sheet, userinfo: str | None) -> str:
    username, colon, password = (userinfo or "").partition(":")
    if not colon:
        return ""
    secret = sheet.secret("proxy_password", unquote(password)) if password else ""
    return f"{quote(unquote(username), safe='')}:{secret}@"


def _tls(sheet: Sheet, options: Mapping[str, str]) -> dict[str, bool] | None:
    """Certificates are verified unless CHECK_SSL is there and something other than `yes`."""
    check = options.get("CHECK_SSL", "yes")
    if check not in {"yes", "no"}:
        sheet.remark("CHECK_SSL is neither yes nor no: certificates are not verified, as privacyIDEA does")
    return None if check == "yes" else {"verify": False}
