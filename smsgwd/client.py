"""A small synchronous client of the daemon, on the standard library alone.

    from smsgwd.client import Client

    outcome = Client().send(gateway="console", to="+491701234567", text="Hello")
    if outcome.retry_safe:
        ...  # nobody took it: put it back into your queue

A send ends in exactly one `Outcome`, also when there is no daemon: `unsent` as long as the request was not written
completely, `unknown` when the connection broke or nothing came after that. What the daemon refuses to take as a request
raises `RequestRefused`. Each call makes a connection of its own: a `Client` may be shared by threads.
"""

import errno
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from smsgwd.errors import SmsgwdError
from smsgwd.outcome import Attempt, Kind, Outcome, Reason
from smsgwd.socket_path import socket_path

_PROBLEM = "urn:smsgwd:problem:"
_MAX_ANSWER_OCTETS = 64 << 20  # far above what thousands of gateways need; a bound, so that nothing fills the memory
_CONNECT_S = 5.0  # a daemon whose queue of connections is full that long takes nothing
_QUEUE_FULL_S = 0.02  # between two looks at a full queue


class NoAnswerError(SmsgwdError):
    """The daemon did not answer.

    `handed_over` False: it cannot have acted on the request (no socket, a broken connection while writing);
    True: the request was written completely, what became of it is not known.
    """

    def __init__(self, reason: Reason, detail: str, *, handed_over: bool) -> None:
        self.reason = reason
        self.detail = detail
        self.handed_over = handed_over
        super().__init__(detail)


class RequestRefused(SmsgwdError):  # noqa: N818 - what happened, not a defect of the caller or of us
    """The daemon refused the request itself; no message was made of it.

    `code` is the problem code of the API (`unknown-gateway`, `forbidden`, ...), `status` the HTTP status, `detail` what
    people should read, `problem` the whole problem document; `retry_after_s` is when the daemon asks to come again.
    """

    def __init__(
        self, code: str, status: int, detail: str, problem: Mapping[str, Any], retry_after_s: float | None = None
    ) -> None:
        self.code = code
        self.status = status
        self.detail = detail
        self.problem = dict(problem)
        self.retry_after_s = retry_after_s
        super().__init__(f"{code}: {detail}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A one-time password that was sent, or not: `transaction_id` is None unless the outcome is accepted.

    `expires_in_s` is for how long it can be verified, in seconds.
    """

    transaction_id: str | None
    expires_in_s: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a code: `reason` is `wrong`, `expired`, `used`, `too_many` or `invalid` where it is not the one.

    `attempts_left` is how many more codes the challenge takes; None where that is not told.
    """

    verified: bool
    reason: str | None = None
    attempts_left: int | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What a step of a login came to: `accepted`, or a code was sent, when there is a `transaction_id`.

    `message` is for the person. With neither the login has failed.
    """

    accepted: bool
    transaction_id: str | None
    message: str


class _Socket(socket.socket):
    """A Unix socket whose reads and writes all together end at one point in time.

    The timeout of a plain socket is per call: a peer that drips octets would never run into it.
    """

    ends_at = 0.0  # on the monotonic clock, in seconds

    def _limit(self) -> None:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit()
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._limit()
        super().sendall(*args, **kwargs)


class _Connection(HTTPConnection):
    """HTTP over a Unix stream socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("smsgwd")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect. Raises OSError, TimeoutError among others when the daemon's queue of connections stays full."""
        self.sock = connection = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.ends_at = time.monotonic() + self._timeout_s
        connection.settimeout(self._timeout_s)
        wait_s = min(_CONNECT_S, self._timeout_s)
        until = time.monotonic() + wait_s
        while True:
            try:
                return connection.connect(self._path)
            except BlockingIOError:  # unix(7): of a socket with a timeout connect does not wait for a full queue
                if time.monotonic() >= until:
                    raise TimeoutError(errno.EAGAIN, f"its queue of connections is full for {wait_s:g} s") from None
                time.sleep(_QUEUE_FULL_S)


class Client:
    """Talks to the daemon at `path` (by default `$SMSGWD_SOCKET`, else the socket of this user or of the system).

    `timeout_s` is for a whole call, in seconds. Give more than the longest deadline among your gateways: a send that
    is given up waiting for counts as `unknown`.
    """

    def __init__(self, path: str | None = None, timeout_s: float = 65.0) -> None:
        self.path = socket_path(path)
        self.timeout_s = timeout_s

    def send(  # noqa: PLR0913 - the members of a request, all by name
        self,
        *,
        gateway: str,
        to: str,
        text: str | None = None,
        template: str | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 - the name it has in the API
        sender: str | None = None,
        reference: str | None = None,
        deadline: str | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Send one message and say what became of it.

        `text`, or `template` with `vars`; `deadline` is a duration such as `10s`; `idempotency_key` is visible ASCII.
        Of the outcome `retry_safe` and `retryable` say the same. Raises RequestRefused.
        """
        request = _members(
            gateway=gateway,
            to=to,
            text=text,
            template=template,
            vars=vars,
            sender=sender,
            reference=reference,
            deadline=deadline,
        )
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        try:
            return _outcome(self._call("POST", "/v1/messages", request, headers))
        except (NoAnswerError, RequestRefused) as error:
            return _outcome_of(error, gateway, reference)

    def challenge(  # noqa: PLR0913 - as send
        self,
        *,
        gateway: str,
        to: str,
        text: str | None = None,
        template: str | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 - as send
        digits: int | None = None,
        ttl_s: int | None = None,
        context: str | None = None,
    ) -> Challenge:
        """Send a new one-time password of so many digits, good for `ttl_s` seconds.

        It stands for `{{ otp }}` in the `text` or in the gateway's `template`; without either it is the whole text.
        `context` is bound to it: whoever verifies it has to give the same. Raises RequestRefused.
        """
        request = _members(
            gateway=gateway, to=to, text=text, template=template, vars=vars, digits=digits, ttl=ttl_s, context=context
        )
        try:
            return _challenge(self._document("POST", "/v1/challenges", request))
        except (NoAnswerError, RequestRefused) as error:
            return Challenge(None, 0, _outcome_of(error, gateway))

    def verify(self, transaction_id: str, otp: str, context: str | None = None) -> Verification:
        """Whether a code is the one that was sent; each try counts. Raises RequestRefused, NoAnswerError."""
        request = _members(transaction_id=transaction_id, otp=otp, context=context)
        document = self._document("POST", "/v1/challenges/verify", request)
        if not isinstance(document.get("verified"), bool):
            raise _not_ours()
        return Verification(document["verified"], document.get("reason"), document.get("attempts_left"))

    def validate(self, user: str, password: str, transaction_id: str | None = None) -> Login:
        """One step of a login by a token of tokens.d.

        `password` is the PIN, PIN and code, or with a `transaction_id` the code. Raises RequestRefused, NoAnswerError.
        """
        request = _members(user=user, transaction_id=transaction_id) | {"pass": password}
        return _login(self._document("POST", "/validate/check", request))

    def render(
        self,
        *,
        gateway: str,
        to: str,
        text: str | None = None,
        template: str | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 - as send
        sender: str | None = None,
        reference: str | None = None,
    ) -> dict[str, Any]:
        """What would be sent, as `smsgwd render --format json` shows it.

        Raises NoAnswerError, and RequestRefused also for a message that cannot be sent (code `rejected`).
        """
        request = _members(
            gateway=gateway, to=to, text=text, template=template, vars=vars, sender=sender, reference=reference
        )
        return self._document("POST", "/v1/render", request)

    def gateways(self) -> list[dict[str, Any]]:
        """Every gateway with its state. Raises RequestRefused, NoAnswerError."""
        document = self._call("GET", "/v1/gateways")
        if not isinstance(document, list):
            raise _not_ours()
        return document

    def gateway(self, name: str) -> dict[str, Any]:
        """One gateway with its state. Raises RequestRefused, NoAnswerError."""
        return self._document("GET", "/v1/gateways/" + quote(name, safe=""))

    def status(self) -> dict[str, Any]:
        """How the daemon stands. Raises RequestRefused, NoAnswerError."""
        return self._document("GET", "/v1/status")

    def reload(self) -> dict[str, Any]:
        """Make the daemon read its configuration now; what changed. Raises RequestRefused, NoAnswerError."""
        return self._document("POST", "/v1/reload")

    def _document(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        document = self._call(method, target, body)
        if not isinstance(document, dict):
            raise _not_ours()
        return document

    def _call(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer. Raises RequestRefused, NoAnswerError."""
        connection = _Connection(self.path, self.timeout_s)
        try:
            _write(connection, method, target, body, headers or {})
            answer, octets = _read(connection, self.timeout_s)
        finally:
            connection.close()
        return _understood(answer, octets)


def _members(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _write(
    connection: _Connection, method: str, target: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
) -> None:
    """Connect and write the request. Whatever breaks here, the daemon cannot have read all of it."""
    data = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, target, data, {"Connection": "close", **kind, **headers})
    except TimeoutError as error:
        detail = f"the daemon takes no request: {error.strerror or error}"
        raise NoAnswerError(Reason.TIMEOUT, detail, handed_over=False) from error
    except OSError as error:
        raise NoAnswerError(Reason.UNREACHABLE, _unreachable(connection, error), handed_over=False) from error


def _unreachable(connection: _Connection, error: OSError) -> str:
    mend = {
        errno.ENOENT: "is the daemon running?",
        errno.ECONNREFUSED: "nobody listens there: is the daemon running?",
        errno.EACCES: "you may not open it: are you in the socket's group?",
    }.get(error.errno or 0, "")
    words = f"{connection._path}: {error.strerror or error}"  # noqa: SLF001 - of this module
    return f"{words} ({mend})" if mend else words


def _read(connection: _Connection, timeout_s: float) -> tuple[HTTPResponse, bytes]:
    """The answer. Whatever breaks here, the daemon may have acted on the request."""
    try:
        answer = connection.getresponse()
        octets = answer.read(_MAX_ANSWER_OCTETS)
        if answer.length or not octets:  # http.client raises IncompleteRead for read() alone, not for read(n)
            raise ConnectionResetError("the answer is not complete")
    except TimeoutError as error:
        raise NoAnswerError(Reason.TIMEOUT, f"no answer within {timeout_s:g} s", handed_over=True) from error
    except (OSError, HTTPException) as error:
        detail = "the connection to the daemon broke before its answer was complete"
        raise NoAnswerError(Reason.UNREACHABLE, detail, handed_over=True) from error
    return answer, octets


def _understood(answer: HTTPResponse, octets: bytes) -> Any:
    """The JSON of an answer. Raises RequestRefused for a problem document."""
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        raise _not_ours() from None
    if answer.status == 200:
        return document
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or not kind.startswith(_PROBLEM):
        raise _not_ours()
    detail = str(document.get("detail") or _in_envelope(document) or document.get("title", ""))
    retry_after_s = _seconds(answer.getheader("Retry-After"))
    raise RequestRefused(kind.removeprefix(_PROBLEM), answer.status, detail, document, retry_after_s)


def _in_envelope(document: Mapping[str, Any]) -> Any:
    """The words of a refusal in privacyIDEA's dialect."""
    found: Any = document
    for key in ("result", "error", "message"):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _not_ours() -> NoAnswerError:
    return NoAnswerError(Reason.INTERNAL, "what answers on this socket is not smsgwd", handed_over=True)


def _outcome(document: Any) -> Outcome:
    """The outcome of its JSON; members that this version does not know are left aside."""
    try:
        return Outcome(
            kind=Kind(document["outcome"]),
            reason=_reason(document["reason"]),
            message_ids=tuple(document["message_ids"]),
            detail=document["detail"],
            retryable=document["outcome"] == Kind.UNSENT,
            gateway=document["gateway"],
            provider=document["provider"],
            segments=document["segments"],
            encoding=document["encoding"],
            reference=document["reference"],
            via=document["via"],
            attempts=document["attempts"],
            tried=tuple(map(_attempt, document["tried"])),
            elapsed_s=document["elapsed"],
            digest=document["digest"],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _not_ours() from None


def _attempt(document: Mapping[str, Any]) -> Attempt:
    return Attempt(document["gateway"], Kind(document["outcome"]), _reason(document["reason"]), document["elapsed"])


def _challenge(document: Mapping[str, Any]) -> Challenge:
    try:
        return Challenge(document["transaction_id"], document["expires_in"], _outcome(document["outcome"]))
    except KeyError:
        raise _not_ours() from None


def _login(document: Mapping[str, Any]) -> Login:
    try:
        result, detail = document["result"], document["detail"]
        return Login(result["authentication"] == "ACCEPT", detail.get("transaction_id"), detail["message"])
    except (KeyError, TypeError, AttributeError):
        raise _not_ours() from None


def _outcome_of(error: NoAnswerError | RequestRefused, gateway: str, reference: str | None = None) -> Outcome:
    """The outcome of a send that was not accepted, or not answered. Raises RequestRefused where nothing was sent."""
    if isinstance(error, NoAnswerError):
        kind = Kind.UNKNOWN if error.handed_over else Kind.UNSENT
        again = not error.handed_over
        return Outcome(kind, error.reason, detail=error.detail, retryable=again, gateway=gateway, reference=reference)
    if error.code in set(Kind):
        return replace(_outcome(error.problem), retry_after_s=error.retry_after_s)
    if error.code != "internal":
        raise error
    # A fault inside the daemon: nobody can say how far the message came.
    return Outcome(
        Kind.UNKNOWN, Reason.INTERNAL, detail=error.detail, retryable=False, gateway=gateway, reference=reference
    )


def _reason(word: str | None) -> Reason | None:
    return None if word is None else Reason(word)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; the daemon never gives a date."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
