"""Settings of a gateway file made into a provider; every fault is told with its place."""

from collections.abc import Mapping
from typing import Any

from smsgwd import segments
from smsgwd.providers._base import Bench, KeyPath
from smsgwd.providers._http.settings import read_tls
from smsgwd.providers._net.tls import Tls
from smsgwd.providers.smpp import address
from smsgwd.providers.smpp.bind import Account, Timing
from smsgwd.providers.smpp.parts import Style
from smsgwd.providers.smpp.provider import SmppProvider
from smsgwd.secret import Secret
from smsgwd.units import parse_duration

_PORT, _TLS_PORT = 2775, 3550  # registered as smpp and ssmpp
_LONGEST = {"system_id": 15, "password": 8, "system_type": 12, "service_type": 5}  # octets, SMPP 4.1.1 and 4.4.1
_LONGEST_VALIDITY_S = 31 * 86400  # a month has no fixed length: relative times are given in days and less


def build(settings: Mapping[str, Any], bench: Bench) -> SmppProvider:
    """The provider of these settings. Opens no connection."""
    _judge_sender(bench)
    return SmppProvider(
        name=bench.name,
        account=_account(settings, bench),
        timing=_timing(settings, bench),
        style=_style(settings, bench),
        source=address.Kind(**settings.get("source", {})),
        destination=address.Kind(**settings.get("destination", {})),
    )


def _account(settings: Mapping[str, Any], bench: Bench) -> Account:
    tls = _tls(settings.get("tls", False), bench)
    return Account(
        host=settings["host"].removeprefix("[").removesuffix("]"),  # an IPv6 address may be written as in a URL
        port=settings.get("port", _PORT if tls is None else _TLS_PORT),
        system_id=_fixed("system_id", settings, bench),
        password=Secret(_fixed("password", settings, bench)),
        system_type=_fixed("system_type", settings, bench),
        mode=settings.get("bind", "transceiver"),
        tls=tls,
    )


def _fixed(key: str, settings: Mapping[str, Any], bench: Bench) -> str:
    """A text that is the same for every message; it may name secrets."""
    at = ("settings", key)
    template = bench.template(settings.get(key, ""), at)
    if not template.constant:
        bench.problem(at, "not-constant", f"`{key}` is the same for every message: it may use nothing but secrets")
        return ""
    text = template.render({})
    if bench.resolved or not template.uses:  # else it is `***`
        _judge(key, text, at, bench)
    return text


def _judge(key: str, text: str, at: KeyPath, bench: Bench) -> None:
    """SMPP 3.1 and 4.1.1: texts are ASCII, and of limited length. The value is not repeated: it may be a secret."""
    if not text.isascii() or not (text.isprintable() or not text):
        bench.problem(
            at, "bad-value", f"`{key}` may hold printable ASCII characters only", "SMPP carries no others here"
        )
    limit = _LONGEST.get(key)
    if limit is not None and len(text) > limit:
        hint = "the SMSC's operator gives one that fits; a longer one cannot be sent, and is never cut short silently"
        bench.problem(at, "too-long", f"`{key}` is longer than {limit} octets, the limit of SMPP", hint)


def _judge_sender(bench: Bench) -> None:
    if fault := address.address_fault(bench.sender):
        bench.problem(("sender",), "bad-sender", f"the sender {fault}")


def _timing(settings: Mapping[str, Any], bench: Bench) -> Timing:
    return Timing(
        timeout_s=_seconds("timeout", "10s", settings, bench),
        enquire_link_s=_seconds("enquire_link", "30s", settings, bench),
        window=settings.get("window", 50),
        binds=settings.get("binds", 1),
    )


def _seconds(key: str, default: str, settings: Mapping[str, Any], bench: Bench) -> float:
    try:
        return parse_duration(settings.get(key, default))
    except ValueError as error:
        bench.problem(("settings", key), "bad-duration", f"not a duration: {error}")
        return parse_duration(default)


def _style(settings: Mapping[str, Any], bench: Bench) -> Style:
    return Style(
        encoding=settings.get("data_coding", segments.AUTO),
        long_messages=settings.get("long_messages", "udh"),
        reference_bits=settings.get("reference_bits", 8),
        fields={
            "service_type": _fixed("service_type", settings, bench),
            "registered_delivery": int(
                settings.get("registered_delivery", False)
            ),  # SMPP 5.2.17: 1, of success and failure
            "validity_period": _validity_period(settings, bench),
        },
    )


def _validity_period(settings: Mapping[str, Any], bench: Bench) -> str:
    if "validity_period" not in settings:
        return ""  # SMPP 5.3.2.25: the SMSC's own
    seconds = int(_seconds("validity_period", "1h", settings, bench))
    if not 0 < seconds <= _LONGEST_VALIDITY_S:
        bench.problem(
            ("settings", "validity_period"), "bad-duration", "a validity period lasts from 1s to 744h (31 days)"
        )
    return relative_time(seconds)


def relative_time(seconds: int) -> str:
    """A span of up to 31 days as `YYMMDDhhmmsstnnR` (SMPP 7.1.1.2)."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02}{hour:02}{minute:02}{second:02}000R"


def _tls(settings: Mapping[str, Any] | bool, bench: Bench) -> Tls | None:
    if settings is False:
        return None
    return read_tls(bench, {} if settings is True else settings, ("settings", "tls"))
