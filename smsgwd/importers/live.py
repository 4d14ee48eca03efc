"""Asks a privacyIDEA server for its gateway definitions: one request, and nothing else."""

import json
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from smsgwd.importers.source import MAX_OCTETS, SourceError
from smsgwd.providers._http.target import UrlError, split_url
from smsgwd.providers._net.tls import Tls, TlsFileError

WAIT_S = 10.0  # for a connection, and for each piece of the answer
TOTAL_TIMEOUT_S = 60.0
_CHUNK = 1 << 16
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class _Adapter(HTTPAdapter):
    """TLS with the authorities of the system, or with those of one file alone."""

    def __init__(self, tls: Tls) -> None:
        self._context = tls.context
        super().__init__()

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings, ssl_context=self._context)

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing to add: the context knows whom to trust."""


def fetch(url: str, token: str, tls: Tls, total_timeout_s: float = TOTAL_TIMEOUT_S) -> Any:
    """The document that `GET /smsgateway/` answers. Certificates are verified. Raises SourceError."""
    address = f"{url.rstrip('/')}/smsgateway/"
    try:
        place = split_url(address)
    except UrlError as error:
        raise SourceError(f"not the URL of a server: {error}") from None
    if place.userinfo:
        raise SourceError("the URL holds credentials: the token file is enough")
    if place.scheme != "https" and place.host not in _THIS_MACHINE:
        raise SourceError("the token would cross the network in the clear: use https://")
    return _parsed(_within(total_timeout_s, lambda: _asked(address, token, tls), address), address)


def _within(timeout_s: float, ask: Callable[[], bytes], address: str) -> bytes:
    """The answer, or SourceError when the time for all of it is over: requests limits each wait alone.

    A thread that still waits then is left behind; the command ends without it.
    """
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(ask())
        except Exception as error:  # noqa: BLE001 - raised again, in the thread that asked
            answers.put(error)

    Thread(target=answer, daemon=True).start()
    try:
        found = answers.get(timeout=timeout_s)
    except Empty:
        raise _no_answer(address) from None
    if isinstance(found, Exception):
        raise found
    return found


def _no_answer(address: str) -> SourceError:
    return SourceError(f"{address}: no answer in time")


def _asked(address: str, token: str, tls: Tls) -> bytes:
    try:
        with requests.Session() as session:
            session.trust_env = False  # a .netrc would replace the token
            session.mount("https://", _Adapter(tls))
            return _body(session, address, token)
    except TlsFileError as error:
        raise SourceError(str(error)) from None
    except requests.exceptions.SSLError:
        raise SourceError(f"{address}: TLS failed: the certificate is not trusted, or not of this host") from None
    except requests.exceptions.Timeout:
        raise _no_answer(address) from None
    except requests.exceptions.RequestException as error:
        raise SourceError(f"{address}: no connection, or no HTTP ({type(error).__name__})") from None


def _body(session: requests.Session, address: str, token: str) -> bytes:
    """The body of a good answer. The token goes to this address alone: redirects are not followed."""
    headers = {"Authorization": token, "Accept": "application/json"}
    with session.get(address, headers=headers, timeout=WAIT_S, allow_redirects=False, stream=True) as response:
        _check_status(response.status_code, address)
        body = bytearray()
        for piece in response.iter_content(_CHUNK):
            body += piece
            if len(body) > MAX_OCTETS:
                raise SourceError(f"{address}: the answer is larger than {MAX_OCTETS >> 20} MiB")
        return bytes(body)


_MEANINGS = {
    401: "the token is refused",
    403: "the token lacks the right smsgateway_read",
    404: "there is no privacyIDEA",
}


def _check_status(status: int, address: str) -> None:
    if status != 200:
        meaning = _MEANINGS.get(status, "a redirect: give the URL it leads to" if 300 <= status < 400 else "an error")
        raise SourceError(f"{address}: HTTP status {status}: {meaning}")


def _parsed(body: bytes, address: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SourceError(f"{address}: the answer is not JSON") from None
