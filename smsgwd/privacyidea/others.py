"""The classes for SMPP, sipgate and scripts."""

from collections.abc import Mapping
from typing import Any

from smsgwd.message import sender_fault
from smsgwd.privacyidea.definition import CENSORED, NoCounterpartError
from smsgwd.privacyidea.http import proxies
from smsgwd.privacyidea.sheet import Sheet, deadline, duration, present

_SIPGATE_TIMEOUT_S = 60.0
_LONGEST = {"SYSTEM_ID": 15, "PASSWORD": 8}  # octets, SMPP 4.1.1


def smpp(sheet: Sheet, options: Mapping[str, str]) -> dict[str, Any]:
    """`sender` and `settings` of the gateway file. Raises NoCounterpartError."""
    if not options.get("SMSC_HOST"):
        raise NoCounterpartError("SMSC_HOST is missing")
    system_id, password = (_cut(sheet, options, key, most) for key, most in _LONGEST.items())
    settings = {
        "host": options["SMSC_HOST"],
        "port": _number(sheet, options, "SMSC_PORT", 1, 65535),
        "system_id": sheet.text("SYSTEM_ID", system_id) if system_id else None,
        "password": sheet.secret("PASSWORD", password) if password else None,
        "bind": "transmitter",
        "source": _kind(sheet, options, "S_ADDR"),
        "destination": _kind(sheet, options, "D_ADDR"),
    }
    return {"sender": _source(sheet, options.get("S_ADDR", "")), "settings": present(settings)}


def _cut(sheet: Sheet, options: Mapping[str, str], key: str, most: int) -> str:
    """As much as SMPP carries: smpplib cuts the rest off silently, and so the SMSC has never seen it."""
    text = options.get(key, "")
    if text == CENSORED or len(text) <= most:
        return text
    sheet.remark(
        f"{key} is longer than the {most} octets that SMPP carries: privacyIDEA sends the first {most}, so do we"
    )
    return text[:most]


def _kind(sheet: Sheet, options: Mapping[str, str], which: str) -> dict[str, int]:
    """TON and NPI. They are always given: what is not there is 0, not what the form of an address suggests."""
    return {
        "ton": _number(sheet, options, f"{which}_TON", 0, 255) or 0,
        "npi": _number(sheet, options, f"{which}_NPI", 0, 255) or 0,
    }


def _number(sheet: Sheet, options: Mapping[str, str], key: str, least: int, most: int) -> int | None:
    """An integer, decimal or as `0x5`."""
    text = options.get(key, "").strip().lower()
    if not text:
        return None
    try:
        number = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        number = -1
    if not least <= number <= most:
        sheet.remark(f"{key} is no number from {least} to {most}: it is left out")
        return None
    return number


def _source(sheet: Sheet, address: str) -> str | None:
    if not address:
        return None
    if fault := sender_fault(address):
        sheet.remark(f"S_ADDR is left out, it is no source address: {fault}")
        return None
    return address


def sipgate(sheet: Sheet, options: Mapping[str, str]) -> dict[str, Any]:
    """`deadline` and `settings` of the gateway file. Raises NoCounterpartError."""
    username, password = options.get("USERNAME"), options.get("PASSWORD")
    if not username or not password:
        raise NoCounterpartError("USERNAME or PASSWORD is missing")
    if options.get("REGEXP"):
        sheet.remark("REGEXP rewrites the number now: privacyIDEA ignores it for sipgate")
    settings = {
        "username": sheet.text("USERNAME", username),
        "password": sheet.secret("PASSWORD", password),
        "api": "xmlrpc",
        "proxy": proxies(sheet, {"PROXY": options.get("PROXY", "")}) or None,
        "timeout": {"total": duration(_SIPGATE_TIMEOUT_S)},
    }
    return {"deadline": deadline(_SIPGATE_TIMEOUT_S), "settings": present(settings)}


def script(sheet: Sheet, options: Mapping[str, str]) -> dict[str, Any]:
    """`settings` of the gateway file. Raises NoCounterpartError."""
    if not options.get("script"):
        raise NoCounterpartError("script is missing")
    sheet.remark("the script itself is not part of the source: put it into the script folder of smsgwd.yaml")
    sheet.remark("privacyIDEA gives a script all the time it takes; here it has 30s, or what `timeout` says")
    mode = "wait" if options.get("background") == "wait" else "background"  # only `wait` makes exit codes count
    return {"settings": {"command": [sheet.text("script", options["script"])], "mode": mode}}
