"""Asks a privacyIDEA server for its gateway definitions: one request, and nothing else."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from smsgwd.importers.source import MAX_OCTETS, SourceError
from smsgwd.providers._http.tls import Tls, TlsFileError

CONNECT_TIMEOUT_S = 10.0
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
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise SourceError("the URL holds credentials: the token file is enough")
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise SourceError("the token would cross the network in the clear: use https://")
    with requests.Session() as session:
        session.trust_env = False  # a .netrc would replace the token
        try:
            session.mount("https://", _Adapter(tls))
        except TlsFileError as error:
            raise SourceError(str(error)) from None
        return _parsed(_body(session, address, token, time.monotonic() + total_timeout_s), address)


def _body(session: requests.Session, address: str, token: str, end: float) -> bytes:
    """The body of a good answer. The token goes to this address alone: redirects are not followed."""
    headers = {"Authorization": token, "Accept": "application/json"}
    timeout = (CONNECT_TIMEOUT_S, CONNECT_TIMEOUT_S)
    try:
        with session.get(address, headers=headers, timeout=timeout, allow_redirects=False, stream=True) as response:
            _check_status(response.status_code, address)
            body = b""
            for piece in response.iter_content(_CHUNK):
                body += piece
                if len(body) > MAX_OCTETS or time.monotonic() > end:
                    raise SourceError(f"{address}: the answer is too large, or comes too slowly")
            return body
    except requests.exceptions.SSLError:
        raise SourceError(f"{address}: TLS failed: the certificate is not trusted, or not of this host") from None
    except requests.exceptions.Timeout:
        raise SourceError(f"{address}: no answer in time") from None
    except requests.exceptions.RequestException as error:
        raise SourceError(f"{address}: no connection, or no HTTP ({type(error).__name__})") from None


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
