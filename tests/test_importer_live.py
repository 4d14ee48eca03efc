"""`smsgwd import privacyidea URL`: one request to a server, and what its answers come to."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from command import Done, run
from fake_http import Line, RawServer, answers, free_port, http
from imported import HTTP, URL

from smsgwd.importers.live import fetch
from smsgwd.importers.source import SourceError
from smsgwd.providers._net.tls import Tls

TOKEN = "eyJ0eXAiOiJKV1Qi.c4n4ry"
LISTED = {"id": 1, "name": "x", "providermodule": HTTP, "options": {"URL": URL, "PASSWORD": "__CENSORED__"}}
ANSWER = json.dumps({"id": 1, "jsonrpc": "2.0", "result": {"status": True, "value": [LISTED]}}).encode()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that this machine does not know."""
    return trustme.CA()


def tls_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """What a server of that name shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file with a token."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def imported(capsys: pytest.CaptureFixture[str], url: str, token: Path, *more: str) -> Done:
    """The command against that server; the token is on neither of its streams."""
    out = str(token.parent / "out")
    done = run(capsys, "import", "privacyidea", url, "--token-file", str(token), "-o", out, *more)
    assert TOKEN not in done.out + done.err
    return done


@pytest.mark.parametrize("path", ["", "/", "/pi", "/pi/"])
def test_one_request(capsys: pytest.CaptureFixture[str], token: Path, path: str) -> None:
    """The list is asked for once, with the token, below the URL's path; nothing else is fetched."""
    with RawServer(answers(http(200, ANSWER))) as server:
        done = imported(capsys, f"http://127.0.0.1:{server.port}{path}", token)
    assert done.code == 0
    (request,) = server.requests
    assert request.startswith(f"GET {path.rstrip('/')}/smsgateway/ HTTP/1.1\r\n".encode())
    assert f"\r\nAuthorization: {TOKEN}\r\n".encode() in request
    assert done.out == f"{token.parent}/out/gateways.d/x.yaml\n"


def test_the_environment_is_not_asked(
    capsys: pytest.CaptureFixture[str], token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .netrc does not replace the token, and a proxy of the environment never sees it."""
    (token.parent / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("HOME", str(token.parent))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with RawServer(answers(http(200, ANSWER))) as server:
        assert imported(capsys, f"http://127.0.0.1:{server.port}", token).code == 0
    assert TOKEN.encode() in server.requests[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(401, b"{}"), "HTTP status 401: the token is refused"),
        (http(403, b"{}"), "HTTP status 403: the token lacks the right smsgateway_read"),
        (http(404, b"{}"), "HTTP status 404: there is no privacyIDEA"),
        (http(302, b"", b"Location: http://127.0.0.1:1/"), "HTTP status 302: a redirect: give the URL it leads to"),
        (http(500, b"{}"), "HTTP status 500: an error"),
        (http(200, b"<html>"), "the answer is not JSON"),
        (http(200, b"[" * 100_000), "the answer is not JSON"),
        (http(200, b'["\\ud800"]'), "a text holds half of a surrogate pair, which is no character"),
        (http(200, b'"x"'), "neither an export of privacyIDEA"),
        (http(200, b"[]"), "holds no SMS gateway"),
        (
            http(200, b'{"result": {"status": false, "error": {"message": "no right"}}}'),
            "an error of privacyIDEA: no right",
        ),
        (b"SSH-2.0-x\r\n\r\n", "no connection, or no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", "no connection, or no HTTP"),
    ],
)
def test_answers_that_are_no_list(capsys: pytest.CaptureFixture[str], token: Path, answer: bytes, words: str) -> None:
    """What is no list is told in clear words; a redirect is not followed."""

    def script(line: Line) -> None:
        line.read()
        line.send(answer)

    with RawServer(script) as server:
        done = imported(capsys, f"http://127.0.0.1:{server.port}", token)
    assert (done.code, done.out, len(server.requests)) == (1, "", 1)
    assert words in done.err
    assert not (token.parent / "out").exists()


def test_certificates_are_verified(capsys: pytest.CaptureFixture[str], token: Path, authority: trustme.CA) -> None:
    """The token goes to a server with a trusted certificate of its own name only; --ca-file says whom to trust."""
    ca_file = token.parent / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with RawServer(answers(http(200, ANSWER)), tls=tls_of(authority, "127.0.0.1")) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert "TLS failed" in imported(capsys, url, token).err
        assert server.requests == []
        assert imported(capsys, url, token, "--ca-file", str(ca_file)).code == 0
    with RawServer(answers(http(200, ANSWER)), tls=tls_of(authority, "other.example")) as server:
        other = imported(capsys, f"https://127.0.0.1:{server.port}", token, "--ca-file", str(ca_file), "--force")
        assert "TLS failed" in other.err
        assert server.requests == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://pi.example.com", "the token would cross the network in the clear: use https://"),
        ("https://u:p@127.0.0.1", "the URL holds credentials: the token file is enough"),
        ("ftp://127.0.0.1", "not the URL of a server: a URL begins with http:// or https://"),
        ("https://[::1", "not the URL of a server"),
        ("https://127.0.0.1:99999", "not the URL of a server"),
    ],
)
def test_urls_that_are_not_asked(capsys: pytest.CaptureFixture[str], token: Path, url: str, words: str) -> None:
    """No token goes where it could be read on the way."""
    done = imported(capsys, url, token)
    assert (done.code, done.out) == (1, "")
    assert words in done.err


def test_nobody_listens(capsys: pytest.CaptureFixture[str], token: Path) -> None:
    """A server that is not there is no traceback."""
    done = imported(capsys, f"http://127.0.0.1:{free_port()}", token)
    assert (done.code, done.out) == (1, "")
    assert "no connection" in done.err


@pytest.mark.parametrize("content", ["", "\n", "a\nb", "ü", "a\x00b"])
def test_a_token_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    """The token file holds one line of printable ASCII, which is what a header can carry."""
    path = tmp_path / "token"
    path.write_text(content)
    done = imported(capsys, "https://127.0.0.1:1", path)
    assert (done.code, done.err) == (1, f"smsgwd: {path}: holds no token\n")


def test_a_token_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is told by name."""
    done = imported(capsys, "https://127.0.0.1:1", tmp_path / "none")
    assert done.err == f"smsgwd: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000,
    ],
)
def test_an_answer_that_drips(answer: bytes) -> None:
    """An answer that comes an octet at a time is given up when the time for all of it is over."""

    def script(line: Line) -> None:
        line.read()
        line.drip(answer, every_s=0.005)

    with RawServer(script) as server, pytest.raises(SourceError, match="no answer in time"):
        fetch(f"http://127.0.0.1:{server.port}", TOKEN, Tls(), total_timeout_s=0.2)


def test_an_answer_without_end() -> None:
    """An answer larger than any list is not read to its end."""

    def script(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.stopped.is_set():
            line.send(b" " * (1 << 20))

    with RawServer(script) as server, pytest.raises(SourceError, match="larger than 64 MiB"):
        fetch(f"http://127.0.0.1:{server.port}", TOKEN, Tls())
