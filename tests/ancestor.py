"""What privacyIDEA puts on the wire for its definitions, as seen by running it (state of August 2026).

A model for tests, with the libraries that privacyIDEA uses itself (requests, `re`, `str.format`); it knows nothing of
smsgwd. It does what the ancestor does, the wrong things too: `is_right` says for which messages it is right, and
`meant` what would be right for all.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

PARAMETERS = {
    *("URL", "HTTP_METHOD", "CHECK_SSL", "SEND_DATA_AS_JSON", "RETURN_SUCCESS", "RETURN_FAIL", "USERNAME"),
    *("PASSWORD", "REGEXP", "PROXY", "HTTP_PROXY", "HTTPS_PROXY", "TIMEOUT"),
}
_PROBE_PHONE, _PROBE_MESSAGE = "qphoneq", "qmessageq"  # in no definition, and no JSON

Fill = Callable[[str, str, str], Any]


@dataclass(frozen=True)
class Wire:
    """A request as far as the definition decides it; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, bytes]
    body: bytes


def number(regexp: str, phone: str) -> str:
    """The number after REGEXP."""
    found = re.match("^/(.*)/(.*)/$", regexp)
    try:
        return re.sub(found[1], found[2], phone) if found else phone
    except re.error:
        return phone


def filled(value: str, phone: str, message: str) -> Any:
    """An option's value: the message put in, then the number, then read as JSON if it can be."""
    text = value.replace("{otp}", message).replace("{phone}", phone)
    try:
        return json.loads(text)
    except ValueError:
        return text


def meant(value: str, phone: str, message: str) -> Any:
    """What is right: the type is that of the definition, number and message are put in as they are."""
    return _put_in(filled(value, _PROBE_PHONE, _PROBE_MESSAGE), phone, message)


def _put_in(value: Any, phone: str, message: str) -> Any:
    if isinstance(value, dict):
        return {_put_in(key, phone, message): _put_in(item, phone, message) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_in(item, phone, message) for item in value]
    if not isinstance(value, str):
        return value
    parts = re.split(f"({_PROBE_PHONE}|{_PROBE_MESSAGE})", value)
    return "".join({_PROBE_PHONE: phone, _PROBE_MESSAGE: message}.get(part, part) for part in parts)


def is_right(options: Mapping[str, str], headers: Mapping[str, str], phone: str, message: str) -> bool:
    """Whether the ancestor sends this number and message as they were meant."""
    try:
        sent = request(options, headers, phone, message, filled)
    except requests.exceptions.InvalidJSONError:  # a message such as `Infinity`: it sends nothing
        return False
    return sent == request(options, headers, phone, message, meant)


def request(options: Mapping[str, str], headers: Mapping[str, str], phone: str, message: str, fill: Fill) -> Wire:
    """The request of the HTTP class, prepared by requests."""
    phone = number(options.get("REGEXP", ""), phone)
    fields = {key: fill(value, phone, message) for key, value in options.items() if key not in PARAMETERS}
    if options.get("HTTP_METHOD") != "POST":
        asked = requests.Request("GET", options["URL"], params=fields)
    elif options.get("SEND_DATA_AS_JSON") == "yes":
        asked = requests.Request("POST", options["URL"], json=fields)
    else:
        asked = requests.Request("POST", options["URL"], data=fields)
    return wire(asked, headers, auth(options))


def auth(options: Mapping[str, str]) -> tuple[str, str] | None:
    """Basic authentication."""
    if options.get("USERNAME") and options.get("PASSWORD") is not None:
        return options["USERNAME"], options["PASSWORD"]
    user, at, _ = urlsplit(options["URL"]).netloc.rpartition("@")
    name, _, password = user.partition(":")
    return (name, password) if at else None


def wire(asked: requests.Request, headers: Mapping[str, str], credentials: tuple[str, str] | None) -> Wire:
    """What requests makes of it."""
    asked.headers, asked.auth = dict(headers), credentials
    prepared = asked.prepare()
    body: Any = prepared.body or b""
    sent = {name.lower(): value.encode("latin-1") for name, value in prepared.headers.items()}
    sent.pop("content-length", None)
    parts = urlsplit(str(prepared.url))
    host = parts.netloc.rpartition("@")[2].removesuffix(":443" if parts.scheme == "https" else ":80")
    url = f"{parts.scheme}://{host}{prepared.path_url}"
    return Wire(prepared.method or "", str(url), sent, body if isinstance(body, bytes) else body.encode())


def old_request(config: Mapping[str, Any], phone: str, message: str) -> Wire:
    """The request of an older token configuration."""
    phone = number(config.get("REGEXP", ""), phone)
    fields = {config.get("SMS_PHONENUMBER_KEY", "phone"): phone, config.get("SMS_TEXT_KEY", "sms"): message}
    fields |= config.get("PARAMETER", {})
    if config.get("HTTP_Method") == "POST":
        asked = requests.Request("POST", config["URL"], data=fields)
    else:
        asked = requests.Request("GET", config["URL"], params=fields)
    return wire(asked, {}, auth(config))
