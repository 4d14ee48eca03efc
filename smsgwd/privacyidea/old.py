"""Older token configurations: one dictionary, from before privacyIDEA had gateway definitions."""

from collections.abc import Mapping
from typing import Any

from smsgwd.privacyidea import http, smtp, tags
from smsgwd.privacyidea.definition import ServerRef, SmtpServer
from smsgwd.privacyidea.http import Request
from smsgwd.privacyidea.sheet import Sheet

_HTTP_KEYS = {"URL", "SMS_TEXT_KEY", "SMS_PHONENUMBER_KEY", "PARAMETER", "HTTP_Method"}
_SMTP_KEYS = {"MAILSERVER", "MAILTO", "IDENTIFIER"}
_SAME_NAMES = ("URL", "USERNAME", "PASSWORD", "RETURN_SUCCESS", "RETURN_FAIL", "PROXY", "TIMEOUT")


def is_old(data: Mapping[str, Any]) -> bool:
    """Whether this is such a dictionary."""
    return bool((_HTTP_KEYS | _SMTP_KEYS) & data.keys()) or {"USERNAME", "PASSWORD"} <= data.keys()


def provider(data: Mapping[str, Any]) -> str:
    """What sends it: http, smtp, or sipgate, which has nothing but an account."""
    if _SMTP_KEYS & data.keys():
        return "smtp"
    return "http" if _HTTP_KEYS & data.keys() else "sipgate"


def text(value: Any) -> str:
    """A value as text; a truth value as the class's `yes` and `no`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def request(data: Mapping[str, Any]) -> Request:
    """The request of the HTTP class. Fixed parameters are sent as they stand: no tags, no JSON inside."""
    options = {key: text(data[key]) for key in _SAME_NAMES if data.get(key) is not None}
    options["HTTP_METHOD"] = text(data.get("HTTP_Method"))
    if "CHECK_SSL" in data:
        # in a YAML file it may be a word
        checks = text(data["CHECK_SSL"]).lower() not in {"no", "false", "0", ""}
        options["CHECK_SSL"] = "yes" if checks else "no"
    fixed = data.get("PARAMETER")
    fields = {
        text(data.get("SMS_PHONENUMBER_KEY")) or "phone": tags.PHONE,
        text(data.get("SMS_TEXT_KEY")) or "sms": tags.MESSAGE,
        **(fixed if isinstance(fixed, Mapping) else {}),
    }
    return Request(options, fields, {})


def http_parts(sheet: Sheet, data: Mapping[str, Any]) -> dict[str, Any]:
    """`deadline` and `settings` of the gateway file. Raises NoCounterpartError."""
    return http.file_parts(sheet, request(data))


def smtp_settings(sheet: Sheet, data: Mapping[str, Any], server: ServerRef | None) -> dict[str, Any]:
    """`settings` of the gateway file; `server` is the central one that IDENTIFIER names. Raises NoCounterpartError."""
    texts = {
        key: tags.mark(text(data[key]), "<phone>", "<otp>") for key in ("MAILTO", "SUBJECT", "BODY") if key in data
    }
    if server is not None:
        return smtp.settings(sheet, texts, server.name, server.sender)
    given = SmtpServer(
        "",
        text(data.get("MAILSERVER")),
        username=text(data.get("MAILUSER")),
        password=text(data.get("MAILPASSWORD")),
        sender=text(data.get("MAILSENDER")),
    )
    entry = smtp.server(sheet, given)
    return smtp.settings(sheet, texts, entry, smtp.ref("", entry).sender)
