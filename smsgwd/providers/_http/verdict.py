"""What an HTTP status means for a message when no rule of the gateway file has said it."""

from http import HTTPStatus

from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._http.answer import Answer

SUCCESS = (200, 201, 202)

_Meaning = tuple[Kind, Reason, bool, str]  # the bool: whether the same gateway may take it when tried again

_UNKNOWN: _Meaning = (Kind.UNKNOWN, Reason.PROVIDER, True, "the provider may have taken it")
_BY_STATUS: dict[int, _Meaning] = {
    401: (Kind.UNSENT, Reason.AUTH, False, "the credentials were refused"),
    402: (Kind.UNSENT, Reason.PROVIDER, False, "the account has to be paid for"),
    403: (Kind.UNSENT, Reason.AUTH, False, "the account may not do this"),
    404: (Kind.UNSENT, Reason.CONFIG, False, "wrong URL"),
    405: (Kind.UNSENT, Reason.CONFIG, False, "wrong method"),
    408: (Kind.UNSENT, Reason.TIMEOUT, True, "the provider did not get the whole request"),
    429: (Kind.UNSENT, Reason.THROTTLED, True, "too many requests"),
}
_BY_CLASS: dict[int, _Meaning] = {
    3: (Kind.UNSENT, Reason.CONFIG, False, "redirects are never followed"),
    4: (Kind.REJECTED, Reason.PROVIDER, True, "the provider refused the message"),
}
_BUSY: _Meaning = (Kind.UNSENT, Reason.THROTTLED, True, "the provider asks to come back later")
_PROXY_AUTH: _Meaning = (Kind.UNSENT, Reason.AUTH, False, "the proxy refused our credentials")


def by_status(answer: Answer, *, received_at: float, proxied: bool = False) -> Outcome:
    """The outcome of an answer that matched no rule. `received_at` is in seconds since the epoch.

    `proxied`: a proxy reads the request itself, so a 407 is the proxy's word and no provider's.
    """
    kind, reason, retryable, words = _meaning(answer, proxied=proxied)
    return Outcome(
        kind,
        reason,
        detail=f"{status_line(answer.status)}: {words}",
        retry_after_s=answer.retry_after_s(received_at) if kind is Kind.UNSENT else None,
        retryable=retryable,
    )


def _meaning(answer: Answer, *, proxied: bool) -> _Meaning:
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.asks_to_wait:
        return _BUSY
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and proxied:
        return _PROXY_AUTH
    return _BY_STATUS.get(answer.status) or _BY_CLASS.get(answer.status // 100, _UNKNOWN)


def status_line(status: int) -> str:
    """The code with its name in RFC 9110; never the server's own words."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
