"""URLs: their literal head (scheme, host, port) and the target of a request, which templates may fill."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_plus

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason

_HEAD = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
_TAG = re.compile(r"\{[{%#]")
_PORTS = {"http": 80, "https": 443}
_SAFE_IN_PATH = "%/:@!$&'()*+,;="  # RFC 3986, 3.3
_SAFE_IN_QUERY = _SAFE_IN_PATH + "?"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TRIPLET = re.compile(r"%[0-9A-Fa-f]{2}")
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


class UrlError(ValueError):
    """A URL that cannot be used: `code` of the finding, `offset` in characters, and a hint."""

    def __init__(self, code: str, message: str, hint: str = "", offset: int = 0) -> None:
        self.code, self.hint, self.offset = code, hint, offset
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Url:
    """The literal head of a URL. `host` is in ASCII, an IPv6 address without brackets; the target begins at `end`."""

    scheme: str
    host: str
    port: int
    userinfo: str = ""
    end: int = 0


def split_url(text: str) -> Url:
    """Scheme, host and port of a URL or of a template of one, where they have to be literal. Raises UrlError."""
    head = _HEAD.match(text)
    if head is None:
        raise UrlError("bad-url", "a URL begins with http:// or https://")
    tag = _TAG.search(text)
    if tag is not None and tag.start() < head.end():
        raise _template_in_head(text, tag.start())
    userinfo, at, place = head[2].rpartition("@")
    offset = head.start(2) + len(userinfo) + len(at)
    host, port = _split_place(place, offset)
    scheme = head[1].lower()
    return Url(scheme, host, _PORTS[scheme] if port is None else port, userinfo, head.end())


def _template_in_head(text: str, offset: int) -> UrlError:
    if "@" in re.split("[/?#]", text[offset:], maxsplit=1)[0]:
        return UrlError(
            "credentials-in-url",
            "credentials do not go into the URL",
            'use auth: {username: "{{ secrets.user }}", password: "{{ secrets.password }}"}',
            offset,
        )
    return UrlError(
        "template-in-host", "scheme, host and port are literal", "templates stand in the path or the query", offset
    )


def _split_place(place: str, offset: int) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d*))?", place)
    if match is None:
        raise UrlError("bad-url", "not a host, or a host and a port", "an IPv6 address stands in brackets", offset)
    port = int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        raise UrlError("bad-url", "a port is a number from 1 to 65535", offset=offset + len(match[1]) + 1)
    return _ascii_host(match[1].strip("[]"), offset), port


def _ascii_host(host: str, offset: int) -> str:
    if host.isascii():
        encoded = host.lower()
    else:
        import idna  # noqa: PLC0415 - few hosts need it; it comes with requests

        try:
            encoded = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            encoded = ""
    if not re.fullmatch(r"[0-9a-f:.]*:[0-9a-f:.]*|(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", encoded):
        raise UrlError("bad-url", "not the name of a host", offset=offset)
    return encoded


def percent_encode(value: str) -> str:
    """A value inside a URL: only what RFC 3986 calls unreserved stays, so it cannot end its segment or parameter."""
    return quote(value, safe="")


def target(text: str) -> str:
    """The origin form of what follows the host: literal characters that may not stand in a URL are percent-encoded.

    Raises MessageError for a value that would be a dot segment: servers and proxies resolve those, so it would call
    another resource.
    """
    path, mark, query = text.partition("?")
    if _DOT_SEGMENT.search(path):
        raise MessageError(Reason.CONTENT, "a value in the path of the URL is . or ..")
    path, query = _normal(path or "/", _SAFE_IN_PATH), _normal(query, _SAFE_IN_QUERY)
    return f"{path}?{query}" if mark and query else path


def _normal(text: str, safe: str) -> str:
    text = _STRAY_PERCENT.sub("%25", text)
    return _TRIPLET.sub(lambda match: match[0].upper(), quote(text, safe=safe))


def leaves(text: str) -> list[str]:
    """The decoded segments of a target's path and values of its query."""
    path, _, query = text.partition("?")
    values = [parameter.partition("=")[2] or parameter for parameter in query.split("&")]
    return [unquote(segment) for segment in path.split("/")] + [unquote_plus(value) for value in values]
