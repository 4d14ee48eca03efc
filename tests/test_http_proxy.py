"""The provider http through a real forward proxy with authentication, for http and for https."""

import asyncio
import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import proxy
import pytest
import trustme
from fake_http import ENGINES, OK, RawServer, answers
from http_gateway import Http, compiled
from secret_file import write_secret

from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Site

SECRETS = {"user": {"file": "user"}, "password": {"file": "password"}, "whole": {"file": "whole"}}
PASSWORD = "p@ss:w/ö"
CREDENTIALS = f"me:{PASSWORD}"


@pytest.fixture(scope="module")
def forward() -> Iterator[int]:
    """The port of a forward proxy that wants a password."""
    few = ["--num-workers", "1", "--num-acceptors", "1", "--threadless"]
    options = ["--hostname", "127.0.0.1", "--port", "0", "--log-level", "c", *few]
    with proxy.Proxy([*options, "--basic-auth", CREDENTIALS]) as running:
        yield running.flags.port


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration directory with the proxy's password."""
    write_secret(tmp_path / "user", "me")
    write_secret(tmp_path / "password", PASSWORD)
    return tmp_path


def send(server: RawServer, site: Path, engine: str, proxy_url: str, **rules: Any) -> Outcome:
    """What becomes of a message through the proxy."""
    rules["proxy"] = {"http": proxy_url, "https": proxy_url}
    return asyncio.run(Http(server, site, engine).send({"query": {"to": "{{ phone }}"}, **rules}, secrets=SECRETS))


@pytest.fixture(autouse=True)
def whole(site: Path, forward: int) -> None:
    """The proxy's URL as one secret."""
    write_secret(site / "whole", f"http://me:p%40ss%3Aw%2F%C3%B6@127.0.0.1:{forward}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "url", ["http://{{ secrets.user }}:{{ secrets.password }}@127.0.0.1:PORT", "{{ secrets.whole }}"]
)
def test_http_goes_through_the_proxy(site: Path, forward: int, engine: str, url: str) -> None:
    """A proxy with a password carries http; the password does not reach the server."""
    with RawServer(answers(OK)) as server:
        outcome = send(server, site, engine, url.replace("PORT", str(forward)))
        assert outcome.kind is Kind.ACCEPTED, outcome.detail
        (got,) = server.requests
    assert got.startswith(b"GET /send?to=%2B491701234567 HTTP/1.1\r\n")
    assert b"via:" in got.lower()
    assert b"proxy-authorization" not in got.lower()


@pytest.mark.parametrize("engine", ENGINES)
def test_https_goes_through_a_tunnel(site: Path, forward: int, engine: str) -> None:
    """A proxy with a password carries https as it is: it sees neither headers nor text."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(site / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with RawServer(answers(OK), tls=context) as server:
        url = f"http://{{{{ secrets.user }}}}:{{{{ secrets.password }}}}@127.0.0.1:{forward}"
        outcome = send(server, site, engine, url, tls={"ca_file": "ca.pem"})
        assert outcome.kind is Kind.ACCEPTED, outcome.detail
        assert b"via" not in server.requests[0].lower()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_password_is_unsent(site: Path, forward: int, engine: str, scheme: str) -> None:
    """Without its password the proxy takes nothing, and the same gateway is not tried again by itself."""
    with RawServer(answers(OK)) as server:
        url = f"{scheme}://127.0.0.1:{server.port}/"
        outcome = send(server, site, engine, f"http://127.0.0.1:{forward}", url=url)
        assert server.requests == []
    assert (outcome.kind, outcome.reason, outcome.retryable) == (Kind.UNSENT, Reason.AUTH, False)
    assert "407" in outcome.detail


def test_the_password_is_hidden(site: Path) -> None:
    """What goes to the proxy as credentials is among what no log may show, as it stands on the wire."""
    data = {
        "provider": "http",
        "settings": {"url": "http://x/", "proxy": {"http": "{{ secrets.whole }}"}},
        "secrets": SECRETS,
    }
    hidden = {secret.reveal() for secret in compiled(data, Site(site)).secrets}
    assert base64.b64encode(CREDENTIALS.encode()).decode() in hidden
