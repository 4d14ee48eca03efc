"""sipgate: its XML-RPC interface (SAMURAI 1.10) and its REST API v2, both over HTTP with basic authentication."""

import json
import xmlrpc.client  # it writes requests; of answers it gets what our parser lets through
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat  # a DOCTYPE is refused, and with it every entity

from smsgwd.errors import MessageError, Severity
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Bench
from smsgwd.providers._http import xml
from smsgwd.providers._http.answer import Answer, Rule
from smsgwd.providers._http.judge import HttpReply, Judge, accepted
from smsgwd.providers._http.parts import (
    Body,
    Names,
    Part,
    read_authorization,
    read_headers,
    read_leaf,
    read_parameters,
    read_target,
)
from smsgwd.providers._http.provider import Form, HttpProvider, check_engine
from smsgwd.providers._http.settings import read_endpoint, read_url
from smsgwd.providers._http.verdict import by_status

_DONE = 200  # SAMURAI 1.10, appendix A: "Method success"
_MAX_CODE = 100_000  # a longer one is no code, and might be a number that the answer echoes
_SEPARATORS = str.maketrans("", "", " -./()")  # what may part the digits of a number that is taken verbatim

_Meaning = tuple[Kind, Reason, bool, str]  # the bool: whether the same gateway may take it when tried again

_REFUSED: _Meaning = (Kind.REJECTED, Reason.PROVIDER, True, "sipgate refused the message")
_WRONG_SERVICE: _Meaning = (Kind.UNSENT, Reason.CONFIG, False, "the account cannot send text messages")
_NOT_PAID: _Meaning = (Kind.UNSENT, Reason.PROVIDER, False, "the account has to be paid for")
_NO_NUMBER: _Meaning = (Kind.REJECTED, Reason.INVALID_DESTINATION, True, "sipgate does not know such a number")
_BY_CODE: Mapping[int | None, _Meaning] = {  # SAMURAI 1.10, appendix A; a fault has the codes of a StatusCode
    400: (Kind.UNSENT, Reason.CONFIG, False, "no such method: wrong URL"),
    401: (Kind.UNSENT, Reason.AUTH, False, "the request was denied"),
    402: (Kind.UNKNOWN, Reason.PROVIDER, True, "an internal error: sipgate may have taken it"),
    404: (Kind.UNSENT, Reason.THROTTLED, True, "resources are exceeded"),
    410: (Kind.REJECTED, Reason.CONTENT, True, "the text is too long"),
    412: (Kind.UNSENT, Reason.THROTTLED, True, "too many requests"),
    502: _WRONG_SERVICE,
    503: _NOT_PAID,
    505: _NOT_PAID,
    506: _NO_NUMBER,
    508: _NO_NUMBER,
    520: (Kind.REJECTED, Reason.CONTENT, True, "the text holds a character that sipgate does not take"),
    525: _WRONG_SERVICE,
}


# --- XML-RPC


def _read_call(_bench: Bench, _settings: Mapping[str, Any]) -> Body:
    return Body(Part(_call, _message), b"text/xml", bytes.decode)


def _message(names: Names) -> list[str]:
    return [names["message"]]


def _call(names: Names) -> bytes:
    """The call of one message (SAMURAI 1.10, SessionInitiate). Raises MessageError."""
    xml.check_characters(names["message"])
    session = {"RemoteUri": _sip_uri(names["phone"]), "TOS": "text", "Content": names["message"]}
    document = xmlrpc.client.dumps((session,), "samurai.SessionInitiate")
    # parsers turn a bare carriage return into a line feed (XML 1.0, 2.11)
    document = document.replace("\r", "&#13;")
    # references instead of UTF-8: text/xml without a charset may be read as US-ASCII (RFC 3023, 3.1)
    return document.encode("ascii", "xmlcharrefreplace")


def _sip_uri(phone: str) -> str:
    digits = phone.strip().removeprefix("+").translate(_SEPARATORS)
    if not (digits.isascii() and digits.isdigit()):
        raise MessageError(Reason.INVALID_DESTINATION, "sipgate takes numbers alone")
    return f"sip:{digits}@sipgate.de"


def _judge_call(proxied: bool) -> Callable[[HttpReply], Outcome]:
    def judge(reply: HttpReply) -> Outcome:
        answer = Answer(reply.response)
        if answer.status != 200:  # every answer of the method itself comes with 200, faults too
            return by_status(answer, received_at=reply.received_at, proxied=proxied)
        try:
            value = _returned(answer.text)
        except xmlrpc.client.Fault as fault:
            return _failed("fault", _code(fault.faultCode), fault.faultString)
        except Exception:  # noqa: BLE001 - on nonsense the standard library raises whatever comes of it
            return _unknown("the answer cannot be read")
        return _said(value)

    return judge


def _returned(document: str) -> Any:
    """The value that the method returned. Raises Fault, and much else for what is no answer."""
    unmarshaller = xmlrpc.client.Unmarshaller()
    unmarshaller.xml(None, None)  # type: ignore[arg-type]  # None: texts come decoded, as from its own parser
    parser = expat.ParserCreate()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.Parse(document, True)
    (value,) = unmarshaller.close()
    if unmarshaller.getmethodname() is not None:
        raise ValueError("a call, not an answer")
    return value


def _no_doctype(*_: Any) -> None:
    raise ValueError("a DOCTYPE in an answer")


def _said(value: Any) -> Outcome:
    if not isinstance(value, dict) or "StatusCode" not in value:
        return _unknown("the answer has no StatusCode")
    code = _code(value["StatusCode"])
    if code != _DONE:
        return _failed("StatusCode", code, value.get("StatusString"))
    session_id = value.get("SessionID")
    return accepted(str(session_id) if isinstance(session_id, str | int) else "")


def _failed(what: str, code: int | None, words: Any) -> Outcome:
    kind, reason, retryable, meaning = _BY_CODE.get(code, _REFUSED)
    detail = f"{what}: {meaning}" if code is None else f"{what} {code}: {meaning}"
    return Outcome(kind, reason, detail=detail, quote=words if isinstance(words, str) else "", retryable=retryable)


def _unknown(words: str) -> Outcome:
    return Outcome(Kind.UNKNOWN, Reason.PROVIDER, detail=words)


def _code(value: Any) -> int | None:
    """A code, also one that is written as a text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_CODE else None


# --- REST


def _read_post(bench: Bench, settings: Mapping[str, Any]) -> Body:
    sms_id = read_leaf(bench, settings.get("sms_id", "s0"), ("settings", "sms_id"))

    def fill(names: Names) -> bytes:
        post = {"smsId": sms_id.fill(names), "recipient": names["phone"], "message": names["message"]}
        return json.dumps(post).encode()

    return Body(Part(fill, _message), b"application/json", json.loads)


def _judge_post(proxied: bool) -> Callable[[HttpReply], Outcome]:
    success = Rule((lambda answer: answer.status == 204,))
    return Judge(success, error=_error_of, proxied=proxied).outcome


def _error_of(answer: Answer) -> str:
    found = (answer.value((key,)) for key in ("message", "error_description", "error") if answer.has_json)
    return next(filter(None, found), "")


# --- both


@dataclass(frozen=True, slots=True)
class _Api:
    """One of sipgate's two ways in."""

    url: str
    read_body: Callable[[Bench, Mapping[str, Any]], Body]
    judge: Callable[[bool], Callable[[HttpReply], Outcome]]  # made for requests that a proxy reads, or none does


_APIS = {
    "xmlrpc": _Api("https://samurai.sipgate.net/RPC2", _read_call, _judge_call),
    "rest": _Api("https://api.sipgate.com/v2/sessions/sms", _read_post, _judge_post),
}


def build(settings: Mapping[str, Any], bench: Bench) -> HttpProvider:
    """The provider of these settings; every fault goes to the bench."""
    api = _APIS[settings.get("api", "xmlrpc")]
    text, at = settings.get("url", api.url), ("settings", "url")
    url = read_url(bench, text, at)
    endpoint = read_endpoint(bench, url, settings)
    body = api.read_body(bench, settings)
    form = Form(
        "POST",
        read_target(bench, text, url, at),
        read_parameters(bench, {}, at),
        read_headers(bench, {}, endpoint, body, read_authorization(bench, settings, ("settings",))),
        body,
    )
    check_engine(bench)
    _check_sms_id(bench, settings)
    return HttpProvider(form, endpoint, api.judge(endpoint.forwarded), bench.site.http_engine)


def _check_sms_id(bench: Bench, settings: Mapping[str, Any]) -> None:
    if "sms_id" in settings and settings.get("api") != "rest":
        words = "sms_id goes out with `api: rest` alone"
        bench.problem(("settings", "sms_id"), "not-used", words, on_key=True, severity=Severity.WARNING)
