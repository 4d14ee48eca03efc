"""The parts of a request that a message fills in: URL, query, headers, body.

Templates stand at the leaves, and each part is serialised after they are filled: no character of a message can change
the structure of a request.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote_plus

from smsgwd import __version__
from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.providers._base import Bench, KeyPath
from smsgwd.providers._http import target, xml
from smsgwd.providers._http.settings import basic
from smsgwd.providers._http.target import Url, percent_encode
from smsgwd.providers._http.wire import Endpoint
from smsgwd.secret import MASK
from smsgwd.templates import Template

Names = Mapping[str, str]
Headers = tuple[tuple[str, bytes], ...]
T = TypeVar("T")

_MESSAGE_NAMES = frozenset({"message", "otp"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a field value may hold a tab, no other (RFC 9110, 5.5)
# Fields that the engines answer for: they say how the request is framed, and where it goes.
_OURS = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"),
        *("expect", "accept-encoding", "proxy-authorization", "proxy-connection"),
    }
)
_SAMPLES = ("+491701234567", "+436641234567", "")  # for any name: some filters want a number


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A part of a request: `fill` makes it, `read` gives those of its leaves that hold the message."""

    fill: Callable[[Names], T]
    read: Callable[[Names], list[str]]
    fixed: bool = False  # it is the same for each message


@dataclass(frozen=True, slots=True)
class Body:
    """A body, the content type that goes with it, and how `smsgwd render` shows its octets."""

    part: Part[bytes]
    content_type: bytes
    show: Callable[[bytes], Any]


def _nothing(_: Names) -> list[str]:
    return []


def _fixed(value: T) -> Part[T]:
    return Part(lambda _: value, _nothing, fixed=True)


def read_leaf(bench: Bench, text: str, at: KeyPath) -> Part[str]:
    """A text of the request, from one template."""
    template = bench.template(text, at)
    if template.constant:
        return _fixed(_constant(bench, template, at))
    if template.uses & _MESSAGE_NAMES:
        return Part(template.render, lambda names: [template.render(names)])
    return Part(template.render, _nothing)


def _constant(bench: Bench, template: Template, at: KeyPath) -> str:
    try:
        return template.render({})
    except MessageError as error:
        bench.problem(at, "bad-value", error.detail)
        return ""


def _changing(template: Template, names: Names, leaves: Callable[[str], list[str]]) -> list[str]:
    """The leaves of a rendered document that would be others if the message were."""
    other = {name: _another(value) if name in _MESSAGE_NAMES else value for name, value in names.items()}
    try:
        pairs = zip(leaves(template.render(names)), leaves(template.render(other)), strict=True)
        return [leaf for leaf, changed in pairs if leaf != changed]
    except (MessageError, ValueError):  # the message decides how many leaves there are
        return []


def _another(text: str) -> str:
    return "".join("2" if character == "1" else "1" for character in text)


def _made(bench: Bench, at: KeyPath, code: str, make: Callable[..., bytes], *parts: Part[str]) -> Part[bytes]:
    """What `make` makes of those parts: once and for all where they are fixed, and then its refusal is a finding."""

    def fill(names: Names) -> bytes:
        return make(*[part.fill(names) for part in parts])

    if not all(part.fixed for part in parts):
        return Part(fill, lambda names: [text for part in parts for text in part.read(names)])
    try:
        return _fixed(fill({}))
    except MessageError as error:
        bench.problem(at, code, error.detail)
        return _fixed(b"")


# --- URL and query


def read_target(bench: Bench, text: str, url: Url, at: KeyPath) -> Part[str]:
    """Path and query of the URL."""
    template = bench.template(text, at, escape=percent_encode if bench.resolved else _percent_encode_shown)
    if url.end:  # a URL whose head has a fault is not looked at further
        _check_target(bench, template, url, at)

    def rest(rendered: str) -> str:
        return rendered[url.end :]

    if template.constant:
        return _fixed(_safe_target(rest(_constant(bench, template, at))))
    reads = template.uses & _MESSAGE_NAMES
    return Part(
        lambda names: target.target(rest(template.render(names))),
        (lambda names: _changing(template, names, lambda url: target.leaves(rest(url)))) if reads else _nothing,
    )


def _percent_encode_shown(value: str) -> str:
    return value if value == MASK else percent_encode(value)


def _check_target(bench: Bench, template: Template, url: Url, at: KeyPath) -> None:
    rendered = _sample(template, _SAMPLES[0])
    if rendered is None:
        return
    if "#" in rendered:
        bench.problem(at, "bad-url", "what follows a # is never sent", "a # inside a value is written %23")
    if re.search(r"\s", rendered[url.end :]):
        bench.problem(at, "bad-url", "a URL holds no white space", "a space is written %20")
    try:
        target.target(rendered[url.end :])
    except MessageError:
        bench.problem(at, "bad-url", "a segment of the path is . or ..: servers and proxies resolve those")


def _safe_target(text: str) -> str:
    try:
        return target.target(text)
    except MessageError:  # a finding already
        return "/"


def _sample(template: Template, value: str) -> str | None:
    """The template with that value for each name; None where a filter refuses it."""
    try:
        return template.render(dict.fromkeys(template.uses, value))
    except MessageError:
        return None


def read_parameters(bench: Bench, settings: Mapping[str, Any], at: KeyPath) -> Part[str]:
    """`query` or `form`, as application/x-www-form-urlencoded."""
    pairs = [
        (quote_plus(key) + "=", read_leaf(bench, text, path))
        for key, value in settings.items()
        for text, path in _each(value, (*at, key))
    ]
    return Part(
        lambda names: "&".join([key + quote_plus(leaf.fill(names)) for key, leaf in pairs]),
        lambda names: [text for _, leaf in pairs for text in leaf.read(names)],
    )


def _each(value: str | list[str], at: KeyPath) -> list[tuple[str, KeyPath]]:
    return [(value, at)] if isinstance(value, str) else [(item, (*at, index)) for index, item in enumerate(value)]


def as_object(encoded: str) -> dict[str, Any]:
    """Parameters as an object: a text where a key stands once, a list where it repeats."""
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    return {key: value if len(value) > 1 else value[0] for key, value in values.items()}


# --- headers


def read_headers(
    bench: Bench,
    settings: Mapping[str, str],
    endpoint: Endpoint,
    body: Body | None,
    authorization: Part[bytes] | None = None,
) -> Part[Headers]:
    """The header block but for Content-Length; `settings` are the further fields that the file names."""
    fields = {name.lower(): (name, _fixed(value)) for name, value in _our_headers(endpoint, body)}
    if authorization:
        fields["authorization"] = ("Authorization", authorization)
    taken = {"authorization"} & fields.keys()
    for name, text in settings.items():
        at: KeyPath = ("settings", "headers", name)
        _check_name(bench, name, at, taken)
        taken.add(name.lower())
        fields[name.lower()] = (name, _made(bench, at, "bad-header", _field_value, read_leaf(bench, text, at)))
    return _block(tuple(fields.values()))


def _block(fields: tuple[tuple[str, Part[bytes]], ...]) -> Part[Headers]:
    def fill(names: Names) -> Headers:
        return tuple([(name, part.fill(names)) for name, part in fields])

    if all(part.fixed for _, part in fields):
        return _fixed(fill({}))
    return Part(fill, lambda names: [text for _, part in fields for text in part.read(names)])


def _our_headers(endpoint: Endpoint, body: Body | None) -> Headers:
    block = (
        ("Host", endpoint.authority.encode()),
        ("User-Agent", f"smsgwd/{__version__}".encode()),
        ("Accept", b"*/*"),
        ("Accept-Encoding", b"identity"),
    )
    return (*block, ("Content-Type", body.content_type)) if body else block


def _check_name(bench: Bench, name: str, at: KeyPath, taken: set[str]) -> None:
    if name.lower() in _OURS:
        bench.problem(at, "bad-header", f"{name} is set by smsgwd itself", "leave it out", on_key=True)
    if name.lower() in taken:
        bench.problem(at, "bad-header", f"{name} is there already", "upper and lower case are the same", on_key=True)


def _field_value(text: str) -> bytes:
    if _CONTROL.search(text):
        raise MessageError(Reason.CONTENT, "a header cannot carry a line break or another control character")
    return text.strip(" \t").encode()


def read_authorization(bench: Bench, auth: Mapping[str, str], at: KeyPath) -> Part[bytes]:
    """Basic (RFC 7617) or Bearer (RFC 6750). What is made of secrets is hidden like them; of `***` it is `***`."""
    if "bearer" in auth:
        token = read_leaf(bench, auth["bearer"], (*at, "bearer"))
        return _made(bench, (*at, "bearer"), "bad-auth", lambda token: _field_value("Bearer " + token), token)
    username = read_leaf(bench, auth["username"], (*at, "username"))
    password = read_leaf(bench, auth["password"], (*at, "password"))
    value = _made(bench, (*at, "username"), "bad-auth", basic, username, password)
    if not bench.resolved:
        return _fixed(b"Basic " + MASK.encode())
    if value.fixed:
        bench.hide(value.fill({}).decode().removeprefix("Basic "))
    return value


# --- bodies


def read_body(bench: Bench, settings: Mapping[str, Any]) -> Body | None:
    """The body that the settings describe; None where they describe none."""
    for kind, read in _BODIES.items():
        if kind in settings:
            return read(bench, settings[kind], ("settings", kind))
    return None


def _form(bench: Bench, settings: Mapping[str, Any], at: KeyPath) -> Body:
    part = _encoded(read_parameters(bench, settings, at), str.encode)
    return Body(part, b"application/x-www-form-urlencoded", lambda octets: as_object(octets.decode()))


def _json(bench: Bench, settings: Any, at: KeyPath) -> Body:
    # escapes instead of UTF-8 outside of ASCII: no server can mistake the charset
    part = _encoded(_json_part(bench, settings, at), lambda value: json.dumps(value).encode())
    return Body(part, b"application/json", json.loads)


def _json_part(bench: Bench, value: Any, at: KeyPath) -> Part[Any]:
    if isinstance(value, str):
        return read_leaf(bench, value, at)
    if not isinstance(value, dict | list):
        return _fixed(value)
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    keys = [key for key, _ in items]
    parts = [_json_part(bench, item, (*at, key)) for key, item in items]

    def fill(names: Names) -> Any:
        values = [part.fill(names) for part in parts]
        return dict(zip(keys, values, strict=True)) if isinstance(value, dict) else values

    return Part(fill, lambda names: [text for part in parts for text in part.read(names)])


def _text(bench: Bench, settings: str, at: KeyPath) -> Body:
    return Body(_encoded(read_leaf(bench, settings, at), str.encode), b"text/plain; charset=utf-8", bytes.decode)


def _xml(bench: Bench, settings: str, at: KeyPath) -> Body:
    template = bench.template(settings, at, escape=xml.escape)
    reads = template.uses & _MESSAGE_NAMES
    _check_xml(bench, template, at)
    part = Part(
        lambda names: _well_formed(template.render(names)).encode(),
        (lambda names: _changing(template, names, lambda text: xml.parse(text).leaves)) if reads else _nothing,
    )
    return Body(part, b"application/xml; charset=utf-8", bytes.decode)


def _check_xml(bench: Bench, template: Template, at: KeyPath) -> None:
    """Well-formed with and without values; and values change texts and attributes alone."""
    rendered = [_sample(template, value) for value in _SAMPLES]
    if not template.source:  # it had a fault, that is told already
        return
    try:
        filled, other, _ = [xml.parse(text) if text is not None else None for text in rendered]
    except xml.XmlError as error:
        bench.problem(at, "bad-xml", str(error))
        return
    if filled and other and filled.skeleton != other.skeleton:
        hint = "not in names, comments, CDATA or processing instructions"
        bench.problem(at, "bad-xml", "templates stand in texts and in the values of attributes", hint)


def _well_formed(document: str) -> str:
    try:
        xml.parse(document)
    except xml.XmlError as error:
        raise MessageError(Reason.CONFIG, f"the XML of the gateway: {error}") from None
    return document


def _encoded(part: Part[T], encode: Callable[[T], bytes]) -> Part[bytes]:
    return Part(lambda names: encode(part.fill(names)), part.read)


_BODIES: Mapping[str, Callable[[Bench, Any, KeyPath], Body]] = {
    "form": _form,
    "json": _json,
    "xml": _xml,
    "text": _text,
}
