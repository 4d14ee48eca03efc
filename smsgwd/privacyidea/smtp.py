"""The SMTP class, its older token configuration, and the central SMTP servers."""

import re
from collections.abc import Mapping
from email.utils import getaddresses, parseaddr
from string import Formatter
from typing import Any

from smsgwd.privacyidea import tags
from smsgwd.privacyidea.definition import NoCounterpartError, ServerRef, SmtpServer
from smsgwd.privacyidea.sheet import Sheet, duration, present, seconds
from smsgwd.providers.smtp.mail import read_address

NOWHERE = "mail.invalid"  # RFC 2606: a host that is never there
_TIMEOUT_S = 10.0
_PORT = 25
_SERVER = re.compile(r"(?:(smtps?)://)?(\[[0-9A-Fa-f:.]+\]|[^:/\s@?#\[\]]+)(?::([0-9]{1,5}))?/?")
_TAGS = {"phone": tags.PHONE, "otp": tags.MESSAGE}


def settings(sheet: Sheet, options: Mapping[str, str], server: str | dict[str, Any], sender: str) -> dict[str, Any]:
    """`settings` of the gateway file, from options with marks. Raises NoCounterpartError."""
    mail = {key: sheet.text(key.upper(), options[key.upper()]) for key in ("subject", "body") if key.upper() in options}
    return {
        "server": server,
        "mail_to": _mail_to(sheet, options.get("MAILTO", "")),
        **mail,
        **({"headers": {"Reply-To": tags.template(sender)}} if sender else {}),
    }


def marked(sheet: Sheet, options: Mapping[str, str]) -> dict[str, str]:
    """The texts of a mail, in `str.format` notation, with marks for their tags."""
    return {key: _formatted(sheet, key, options[key]) for key in ("MAILTO", "SUBJECT", "BODY") if key in options}


def _formatted(sheet: Sheet, key: str, text: str) -> str:
    try:
        fields = list(Formatter().parse(text))
    except ValueError:
        sheet.remark(f"{key} has a single brace, so privacyIDEA fails: its tags are replaced, the rest stays")
        return tags.mark(text)
    return "".join(literal + _field(sheet, key, *field) for literal, *field in fields)


def _field(sheet: Sheet, key: str, name: str | None, spec: str | None, conversion: str | None) -> str:
    if name is None:
        return ""
    if name not in _TAGS:
        sheet.remark(f"{key} has a tag that is neither {{phone}} nor {{otp}}, so privacyIDEA fails: it stays as text")
        return f"{{{name}}}"
    if spec or conversion not in {None, "s"}:
        sheet.remark(f"{key}: {{{name}}} is sent as it is, without its conversion or format")
    return _TAGS[name]


def _mail_to(sheet: Sheet, text: str) -> str | list[str]:
    """One address, or all of several: privacyIDEA hands the text to smtplib as it stands."""
    if not text:
        raise NoCounterpartError("MAILTO is missing")
    if read_address(text) or (tags.is_marked(text) and not re.search(r"[,<\s]", text)):
        return sheet.text("MAILTO", text)
    addresses = [address for _, address in getaddresses([text]) if "@" in address]
    if not addresses or not all(tags.is_marked(address) or read_address(address) for address in addresses):
        raise NoCounterpartError("MAILTO is no mail address")
    sheet.remark("MAILTO is more than one plain address: the mail goes to each address in it")
    found = [sheet.text("MAILTO", address) for address in addresses]
    return found[0] if len(found) == 1 else found


# --- servers


def server(sheet: Sheet, given: SmtpServer) -> dict[str, Any]:
    """An entry of `smtp_servers`."""
    what = f"SMTP server {given.identifier}" if given.identifier else "MAILSERVER"
    found = _SERVER.fullmatch(given.server.strip())
    if found is None:
        sheet.remark(f"{what}: its host is none, {NOWHERE} stands in its place")
    scheme, host, port = found.groups() if found else ("", NOWHERE, None)
    sender = _sender(sheet, what, given.sender)
    username = given.username
    return present(
        {
            "host": host.strip("[]"),
            "port": _port(sheet, what, port or given.port, 465 if scheme == "smtps" else _PORT),
            "tls": "tls" if scheme == "smtps" else "starttls" if given.tls else "none",
            "username": sheet.text("username", username) if username else None,
            "password": _password(sheet, given) if username else None,
            "from": sender,
            "timeout": duration(seconds(sheet, f"{what}: timeout", given.timeout, _TIMEOUT_S)),
        }
    )


def missing(sheet: Sheet, identifier: str, name: str) -> dict[str, Any]:
    """The entry in the place of a server that the source does not carry: it never sends."""
    sheet.remark(f"the source does not carry the SMTP server {identifier}: fill in smtp_servers, {name}")
    return {"host": NOWHERE, "from": f"sms@{NOWHERE}"}


def ref(name: str, entry: Mapping[str, Any]) -> ServerRef:
    """How gateways refer to an entry of `smtp_servers`."""
    return ServerRef(name, "" if entry["from"].endswith(f"@{NOWHERE}") else entry["from"])


def _password(sheet: Sheet, given: SmtpServer) -> str:
    key = f"{given.identifier}_password" if given.identifier else "MAILPASSWORD"
    return sheet.secret(key, given.password) if given.password else ""


def _port(sheet: Sheet, what: str, text: str, default: int) -> int:
    if not text:
        return default
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    sheet.remark(f"{what}: its port is none, {default} is used")
    return default


def _sender(sheet: Sheet, what: str, text: str) -> str:
    address = parseaddr(text)[1]
    if not read_address(address) or not re.fullmatch(r"[^\s@]+@[^\s@]+", address):
        sheet.remark(f"{what}: its sender is no mail address, write one to `from`")
        return f"sms@{NOWHERE}"
    if address != text:
        sheet.remark(f"{what}: of its sender only the address is used")
    return address
