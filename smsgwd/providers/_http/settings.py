"""The settings that every provider over HTTP has: URL, proxy, tls, timeout, basic authentication."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.providers._base import Bench, KeyPath
from smsgwd.providers._http.target import Url, UrlError, percent_encode, split_url
from smsgwd.providers._http.wire import Endpoint, ProxySettings
from smsgwd.providers._net.tls import Tls, TlsFileError
from smsgwd.secret import MASK
from smsgwd.units import parse_duration

CONNECT_TIMEOUT = "3s"
TOTAL_TIMEOUT = "10s"
_SETTINGS: KeyPath = ("settings",)


def read_url(bench: Bench, text: str, at: KeyPath) -> Url:
    """The literal head of a URL; a stand-in where it has a fault."""
    try:
        url = split_url(text.removesuffix("\n"))  # a template, too, drops the line break of a block scalar
    except UrlError as error:
        _report(bench, error, at)
        return Url("http", "invalid", 80)
    if url.userinfo and ":" not in url.userinfo:  # with a password it is a finding of its own: literal-secret
        bench.problem(at, "credentials-in-url", "a user in the URL is not sent", "use auth")
    return url


def read_endpoint(bench: Bench, url: Url, settings: Mapping[str, Any]) -> Endpoint:
    """Where the requests go, from `proxy`, `tls` and `timeout` of the settings."""
    timeout = settings.get("timeout", {})
    return Endpoint(
        url.scheme,
        url.host,
        url.port,
        tls=read_tls(bench, settings.get("tls", {}), (*_SETTINGS, "tls")),
        proxy=_proxies(bench, settings.get("proxy", {})).get(url.scheme),
        connect_timeout_s=_seconds(bench, timeout, "connect", CONNECT_TIMEOUT),
        total_timeout_s=_seconds(bench, timeout, "total", TOTAL_TIMEOUT),
    )


def read_tls(bench: Bench, settings: Mapping[str, Any], at: KeyPath) -> Tls:
    """TLS settings; their files are looked at when the secrets are, too."""
    files = {key: bench.path(settings[key]) for key in ("ca_file", "client_cert", "client_key") if key in settings}
    tls = Tls(verify=settings.get("verify", True), **files)
    if bench.resolved and tls.needs_files:
        try:
            _ = tls.context
        except TlsFileError as error:
            bench.problem((*at, error.key), "bad-tls-file", f"cannot be used: {error}")
    return tls


def basic(username: str, password: str) -> bytes:
    """The value of an Authorization header (RFC 7617, UTF-8). Raises MessageError for a colon in the username."""
    if ":" in username:
        raise MessageError(Reason.CONFIG, "a username of basic authentication cannot hold a colon (RFC 7617)")
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


def _seconds(bench: Bench, timeout: Mapping[str, str], key: str, default: str) -> float:
    try:
        return parse_duration(timeout.get(key, default))
    except ValueError as error:
        bench.problem((*_SETTINGS, "timeout", key), "bad-duration", str(error))
        return parse_duration(default)


def _proxies(bench: Bench, settings: Mapping[str, str]) -> dict[str, ProxySettings | None]:
    return {scheme: _proxy(bench, text, (*_SETTINGS, "proxy", scheme)) for scheme, text in settings.items()}


def _proxy(bench: Bench, text: str, at: KeyPath) -> ProxySettings | None:
    """The proxy of a URL: literal, with secrets as its user and password, or a secret as a whole."""
    template = bench.template(text, at, escape=percent_encode if "://" in text else None)
    if not template.constant:
        bench.problem(at, "bad-proxy", "a proxy does not depend on the message", "only secrets may stand here")
        return None
    try:
        url = template.render({})
        # an empty one is a fault that is told already, `***` a secret that is not read
        return None if url in ("", MASK) else _proxy_settings(bench, split_url(url))
    except UrlError as error:
        error.offset = 0
        _report(bench, error, at)
    except MessageError as error:
        bench.problem(at, "bad-proxy", error.detail)
    return None


def _proxy_settings(bench: Bench, url: Url) -> ProxySettings:
    if url.scheme != "http":
        raise UrlError(
            "bad-proxy", "a proxy is spoken to in plain HTTP", "http://proxy:3128; https goes through a tunnel"
        )
    if not url.userinfo:
        return ProxySettings(url.host, url.port)
    username, _, password = url.userinfo.partition(":")
    authorization = basic(unquote(username), unquote(password))
    if bench.resolved:
        bench.hide(authorization.decode().removeprefix("Basic "))
    return ProxySettings(url.host, url.port, authorization)


def _report(bench: Bench, error: UrlError, at: KeyPath) -> None:
    bench.problem(at, error.code, str(error), error.hint, offset=error.offset)
