"""What an HTTP answer says: its text, its JSON, and the rules of a gateway file that judge it."""

import codecs
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import regex

from smsgwd.providers._base import Bench, KeyPath
from smsgwd.providers._http.wire import MAX_BODY_OCTETS, WireResponse

REGEX_LIMIT_S = 0.05  # of one search; a pattern that needs longer has no result
MAX_ID = 200  # characters of a message id
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
# Codecs of Python that turn octets into text in linear time; it has others under the same roof (punycode, zip, rot13).
_TEXT_CODEC = re.compile(
    r"utf-(8|16|32)(-[bl]e|-sig)?|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|gb\w+|big5\w*|euc_\w+|shift_jis\w*"
)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_NOTHING = object()

Verdict = bool | None  # None: it cannot be known, because the body was cut or a pattern ran out of time


class Answer:
    """A response, decoded when first asked for."""

    def __init__(self, response: WireResponse) -> None:
        self.status = response.status
        self._response = response
        self._body, self.truncated = _plain(response)

    @cached_property
    def text(self) -> str:
        """The body, by the charset of Content-Type, else as UTF-8, else as Latin-1 (which reads anything)."""
        declared = _CHARSET.search(self._response.header("Content-Type") or "")
        for name in (declared[1] if declared else "utf-8", "utf-8"):
            decoded = self._decoded(name)
            if decoded is not None:
                return decoded
        return self._body.decode("latin-1")

    def _decoded(self, name: str) -> str | None:
        try:
            codec = codecs.lookup(name)
            if not _TEXT_CODEC.fullmatch(codec.name):
                return None
            # a cut may fall inside a character
            text = codecs.getincrementaldecoder(codec.name)().decode(self._body, final=not self.truncated)
        except (LookupError, UnicodeError):
            return None
        return text.removeprefix("\ufeff")

    @cached_property
    def _json(self) -> Any:
        try:
            # numbers stay as they are written: 1.50 is compared and quoted as 1.50
            return json.loads(self.text, parse_int=str, parse_float=str, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _NOTHING

    @property
    def has_json(self) -> bool:
        """Whether the body is JSON."""
        return self._json is not _NOTHING

    def value(self, pointer: tuple[str, ...]) -> str | None:
        """The value at a JSON pointer as text; None where there is none, or no single one."""
        return _as_text(_at(self._json, pointer))

    @property
    def asks_to_wait(self) -> bool:
        """Whether there is a Retry-After header."""
        return self._response.header("Retry-After") is not None

    def retry_after_s(self, received_at: float) -> float | None:
        """Seconds to wait, from a number or a date (RFC 9110, 10.2.3); `received_at` is in seconds since the epoch."""
        value = (self._response.header("Retry-After") or "").strip()
        if _SECONDS.fullmatch(value):
            return float(value)
        try:
            date = parsedate_to_datetime(value)
            aware = date if date.tzinfo else date.replace(tzinfo=UTC)
            return max(0.0, aware.timestamp() - received_at)
        except (ValueError, OverflowError):
            return None


def _plain(response: WireResponse) -> tuple[bytes, bool]:
    """The body without the compression that a server applied though we ask for none, and whether it is cut."""
    encoding = (response.header("Content-Encoding") or "identity").strip().lower()
    if encoding in ("", "identity"):
        return response.body, response.truncated
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return b"", True
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as the data says
    try:
        body = unpack.decompress(response.body, MAX_BODY_OCTETS)
    except zlib.error:
        return b"", True
    return body, not unpack.eof


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _at(value: Any, pointer: tuple[str, ...]) -> Any:
    for step in pointer:
        if isinstance(value, dict):
            value = value.get(step, _NOTHING)
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return _NOTHING
    return value


def _is_index(step: str) -> bool:
    return step == "0" or (step.isascii() and step.isdigit() and step[0] != "0" and len(step) < 10)


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return None


def parse_pointer(text: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901). Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError("a JSON pointer begins with /")
    if re.search(r"~(?![01])", text):
        raise ValueError("in a JSON pointer ~ is written ~0, and / inside a key ~1")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


Check = Callable[[Answer], Verdict]


@dataclass(frozen=True, slots=True)
class Rule:
    """`not_sent`, `failure` or `success`: holds when all its checks do."""

    checks: tuple[Check, ...]
    statuses: frozenset[int] = field(default=frozenset())  # that its `status` names

    def holds(self, answer: Answer) -> Verdict:
        """Whether it holds; None when that cannot be known."""
        verdicts = [check(answer) for check in self.checks]
        if False in verdicts:
            return False
        return None if None in verdicts else True


NEVER = Rule((lambda _: False,))


def read_rule(bench: Bench, settings: Mapping[str, Any], at: KeyPath, statuses: Iterable[int] = ()) -> Rule:
    """The rule that the settings say; `statuses` where they give none."""
    allowed = frozenset(settings.get("status", statuses))
    checks: list[Check] = [lambda answer: answer.status in allowed] if allowed else []
    if "contains" in settings:
        checks.append(_contains(settings["contains"]))
    if "matches" in settings:
        checks.append(_matches(read_regex(bench, settings["matches"], (*at, "matches"))))
    if "json" in settings:
        checks.append(_in_json(bench, settings["json"], (*at, "json")))
    return Rule(tuple(checks), allowed)


def _contains(wanted: str) -> Check:
    return lambda answer: wanted in answer.text or _absent(answer)


def _matches(pattern: "regex.Pattern[str]") -> Check:
    def check(answer: Answer) -> Verdict:
        try:
            return pattern.search(answer.text, timeout=REGEX_LIMIT_S) is not None or _absent(answer)
        except TimeoutError:
            return None

    return check


def _in_json(bench: Bench, settings: Mapping[str, Any], at: KeyPath) -> Check:
    pointer = _pointer(bench, settings["pointer"], (*at, "pointer"))
    wanted = frozenset(settings["in"])

    def check(answer: Answer) -> Verdict:
        if not answer.has_json:
            return _absent(answer)
        return answer.value(pointer) in wanted

    return check


def _absent(answer: Answer) -> Verdict:
    """What is not in the body is not there, unless it could stand beyond the cut."""
    return None if answer.truncated else False


def _pointer(bench: Bench, text: str, at: KeyPath) -> tuple[str, ...]:
    try:
        return parse_pointer(text)
    except ValueError as error:
        bench.problem(at, "bad-pointer", str(error), "such as /status or /messages/0/id")
        return ()


def read_regex(bench: Bench, text: str, at: KeyPath) -> "regex.Pattern[str]":
    """The compiled pattern; one that matches nothing where it has a fault."""
    try:
        return regex.compile(text)
    except regex.error as error:
        found: Any = error  # the stubs do not know its members
        bench.problem(at, "bad-regex", f"not a regular expression: {found.msg}", offset=found.pos)
    except (OverflowError, RecursionError):
        bench.problem(at, "bad-regex", "the regular expression is too large")
    return regex.compile("(?!)")


Extract = Callable[[Answer], str]


def extract_nothing(_: Answer) -> str:
    """What a gateway without that setting takes from an answer."""
    return ""


def read_extract(bench: Bench, settings: Mapping[str, Any] | None, at: KeyPath) -> Extract:
    """What `message_id` or `error` takes from an answer; an empty text where it finds nothing."""
    if not settings:
        return extract_nothing
    if "json" in settings:
        pointer = _pointer(bench, settings["json"], (*at, "json"))
        return lambda answer: _word(answer.value(pointer)) if answer.has_json else ""
    return _group(read_regex(bench, settings["regex"], (*at, "regex")))


def _word(value: str | None) -> str:
    return "" if value is None or value == "null" else value


def _group(pattern: "regex.Pattern[str]") -> Extract:
    def extract(answer: Answer) -> str:
        try:
            match = pattern.search(answer.text, timeout=REGEX_LIMIT_S)
        except TimeoutError:
            return ""
        return (match[1 if pattern.groups else 0] or "") if match else ""

    return extract
