"""The contract of the HTTP engines: both run through the same table, against servers scripted octet by octet."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from fake_http import (
    ENGINES,
    OK,
    Line,
    RawServer,
    Script,
    answers,
    engine,
    exchange,
    free_port,
    http,
    once,
    request,
)

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers import _http
from smsgwd.providers._http.engine_llhttp import CONNECTIONS
from smsgwd.providers._http.engine_requests import WORKERS
from smsgwd.providers._http.wire import (
    MAX_BODY_OCTETS,
    Endpoint,
    ProxySettings,
    WireResponse,
    idle_limit,
    not_connected,
)
from smsgwd.providers._net.tls import Tls

pytestmark = pytest.mark.parametrize("choice", ENGINES)


def fault(result: WireResponse | SubmitError) -> tuple[bool, Reason]:
    """Whether someone may have it, and the reason."""
    assert isinstance(result, SubmitError), result
    return result.handed_over, result.reason


def body(result: WireResponse | SubmitError) -> bytes:
    """The body of an answer."""
    assert isinstance(result, WireResponse), result
    return result.body


# --- what comes back


def interim(line: Line) -> None:
    line.read()
    line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)


def in_pieces(line: Line) -> None:
    line.read()
    line.drip(OK, 0.001)


ANSWERED: dict[str, tuple[Script, bytes]] = {
    "a length": (answers(OK), b"ok"),
    "chunks": (
        answers(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: 1\r\n\r\n"
        ),
        b"ok",
    ),
    "until the server closes": (once(b"HTTP/1.0 200 OK\r\n\r\nok"), b"ok"),
    "no body": (answers(b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
    "interim answers first": (interim, b"ok"),
    "in many pieces": (in_pieces, b"ok"),
    "bare line feeds": (once(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), b"ok"),
    "no reason phrase": (once(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"), b"ok"),
    "octets that are no UTF-8": (once(http(200, b"\xe4\xf6", b"X-Name: \xfc")), b"\xe4\xf6"),
    "an answer before the body was read": (once(http(413, b"no")), b"no"),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_each_way_to_frame_an_answer_is_read(choice: str, case: str) -> None:
    """An answer is read to its end however the server marks it."""
    script, expected = ANSWERED[case]
    with RawServer(script) as server:
        (result,) = exchange(choice, server.endpoint())
        assert body(result) == expected
        assert len(server.requests) == 1


def test_status_and_headers_are_kept(choice: str) -> None:
    """Status and header fields reach the caller; fields are found whatever their case."""
    with RawServer(answers(http(429, b"", b"Retry-After: 7"))) as server:
        (result,) = exchange(choice, server.endpoint())
    assert isinstance(result, WireResponse)
    assert (result.status, result.header("retry-after"), result.header("X-None")) == (429, "7", None)


@pytest.mark.parametrize("length", [b"Content-Length: 10000000000", b"X: no length"])
def test_an_endless_body_is_cut(choice: str, length: bytes) -> None:
    """Of a body of 10 GB, or without an end, 64 KiB are read and the connection is dropped."""

    def flood(line: Line) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        while True:
            line.send(b"x" * 65536)

    with RawServer(flood) as server:
        first, second = exchange(choice, server.endpoint(), request(), request())
        assert (len(body(first)), len(body(second))) == (MAX_BODY_OCTETS, MAX_BODY_OCTETS)
        assert isinstance(first, WireResponse)
        assert first.truncated
        assert server.connections == 2


def test_a_body_of_just_the_limit_is_whole(choice: str) -> None:
    """64 KiB exactly are not called cut."""
    with RawServer(answers(http(200, b"x" * MAX_BODY_OCTETS))) as server:
        (result,) = exchange(choice, server.endpoint())
    assert isinstance(result, WireResponse)
    assert (len(result.body), result.truncated) == (MAX_BODY_OCTETS, False)


def test_a_redirect_is_an_answer(choice: str) -> None:
    """A redirect is handed on and nobody goes where it points."""
    with RawServer(answers(OK)) as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/".encode()
        with RawServer(answers(http(302, b"", location))) as server:
            (result,) = exchange(choice, server.endpoint())
        assert isinstance(result, WireResponse)
        assert (result.status, elsewhere.connections) == (302, 0)


# --- what goes out


def test_both_engines_write_the_same_octets(choice: str) -> None:
    """Method, target, header block and body are on the wire as the provider made them, octet for octet."""
    sent = request("text=ü€😀".encode())
    with RawServer(answers(OK)) as server:
        exchange(choice, server.endpoint(), sent)
        expected = (
            b"POST /send?to=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: smsgwd/test\r\nAccept-Encoding: identity\r\n"
            b"Content-Length: 14\r\n\r\ntext=\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"
        )
        assert server.requests == [expected]


def test_a_request_without_body_gets_no_length(choice: str) -> None:
    """A GET goes out as it was made: no engine adds a field."""
    sent = request(b"", method="GET")
    sent = type(sent)("GET", "/a%20b?x=%2B&y=a+b", (("Host", b"x"), ("User-Agent", b"u"), ("Accept-Encoding", b"z")))
    with RawServer(answers(OK)) as server:
        exchange(choice, server.endpoint(), sent)
        assert server.requests == [
            b"GET /a%20b?x=%2B&y=a+b HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\nAccept-Encoding: z\r\n\r\n"
        ]


def test_ipv6_is_spoken(choice: str) -> None:
    """A literal IPv6 address is connected to."""
    with RawServer(answers(OK), host="::1") as server:
        assert body(exchange(choice, server.endpoint())[0]) == b"ok"


def test_a_name_is_resolved(choice: str) -> None:
    """A host name is looked up, and an address that refuses does not hide the next one."""
    with RawServer(answers(OK)) as server:  # localhost is ::1, too, in most systems
        assert body(exchange(choice, server.endpoint(host="localhost"))[0]) == b"ok"


# --- when nothing comes back


def read_then(act: Script) -> Script:
    """A script that reads the request before it does something else."""

    def script(line: Line) -> None:
        line.read()
        act(line)

    return script


HEAD = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500 + b"\r\nContent-Length: 500\r\n\r\n"


def drips_its_body(line: Line) -> None:
    line.send(HEAD)
    line.drip(b"z" * 500)


UNKNOWN: dict[str, tuple[Script, Reason]] = {
    "reset after the request": (read_then(Line.reset), Reason.PROVIDER),
    "closed after the request": (read_then(Line.close), Reason.PROVIDER),
    "silence": (read_then(Line.silence), Reason.TIMEOUT),
    "accepted and silent": (Line.silence, Reason.TIMEOUT),
    "a head that drips": (read_then(lambda line: line.drip(HEAD)), Reason.TIMEOUT),
    "a body that drips": (read_then(drips_its_body), Reason.TIMEOUT),
    "chunks that drip": (
        read_then(
            lambda line: line.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 99)
        ),
        Reason.TIMEOUT,
    ),
    "interim answers without end": (
        read_then(lambda line: line.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.002)),
        Reason.TIMEOUT,
    ),
    "half a head": (once(b"HTTP/1.1 200 OK\r\nContent-"), Reason.PROVIDER),
    "a head that is none": (once(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\nok"), Reason.PROVIDER),
    "half a body": (once(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"), Reason.PROVIDER),
    "half a chunk": (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"), Reason.PROVIDER),
    "garbage": (once(b"\x00\x01\x02 hello\r\n\r\n"), Reason.PROVIDER),
    "another protocol": (once(b"220 mail.example.com ESMTP\r\n"), Reason.PROVIDER),
    "a bad chunk size": (
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n0\r\n\r\n"),
        Reason.PROVIDER,
    ),
    "a head of 200 kB": (once(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n"), Reason.PROVIDER),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_without_a_whole_answer_it_is_unknown(choice: str, case: str) -> None:
    """Once the request was written, whatever goes wrong is unknown, in time, and the request is never written again."""
    script, reason = UNKNOWN[case]
    with RawServer(script) as server:
        started = time.monotonic()
        (result,) = exchange(choice, server.endpoint(), seconds=0.6 if reason is Reason.TIMEOUT else 5)
        assert time.monotonic() - started < 4
        assert fault(result) == (True, reason)
        assert server.connections == 1


def test_the_total_timeout_of_the_gateway_holds(choice: str) -> None:
    """The gateway's own limit ends an exchange when the deadline is further away."""
    with RawServer(read_then(Line.silence)) as server:
        (result,) = exchange(choice, server.endpoint(total_timeout_s=0.3), seconds=30)
        assert fault(result) == (True, Reason.TIMEOUT)
        assert server.hung_up.wait(5)


def test_after_a_timeout_the_connection_is_cut(choice: str) -> None:
    """A silent server sees the client hang up when its time is over, and no thread waits on."""
    with RawServer(read_then(Line.silence)) as server:
        exchange(choice, server.endpoint(), seconds=0.2)
        assert server.hung_up.wait(5)
    for thread in threading.enumerate():
        if thread.name.startswith("http"):
            thread.join(5)
            assert not thread.is_alive()


# --- when nothing left


def test_a_refused_connection_is_unsent(choice: str) -> None:
    """Where nobody listens nobody took it; the words say where."""
    port = free_port()
    (result,) = exchange(choice, Endpoint("http", "127.0.0.1", port))
    assert fault(result) == (False, Reason.UNREACHABLE)
    assert str(result) == f"cannot connect to 127.0.0.1:{port}: connection refused"


def test_an_unknown_name_is_unsent(choice: str) -> None:
    """A host that has no address took nothing."""
    (result,) = exchange(choice, Endpoint("http", "sms.invalid", 80))
    assert fault(result) == (False, Reason.UNREACHABLE)


def test_a_deadline_that_has_passed_is_unsent(choice: str) -> None:
    """Without time left nothing is written."""
    with RawServer(answers(OK)) as server:
        (result,) = exchange(choice, server.endpoint(), seconds=0)
        assert fault(result) == (False, Reason.TIMEOUT)
    assert server.requests == []


def test_a_full_backlog_is_unsent(choice: str) -> None:
    """A host that does not answer the first packet is given up after the connect timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        endpoint = Endpoint("http", "127.0.0.1", port, connect_timeout_s=0.2)
        (result,) = exchange(choice, endpoint)
        for filler in fillers:
            filler.close()
    assert fault(result) == (False, Reason.UNREACHABLE)
    assert "no connection within 0.2 s" in str(result)


# --- kept connections


def test_connections_are_kept(choice: str) -> None:
    """Requests one after the other use one connection."""
    with RawServer(answers(OK)) as server:
        results = exchange(choice, server.endpoint(), *[request()] * 5)
        assert [body(result) for result in results] == [b"ok"] * 5
        assert server.connections == 1


@pytest.mark.parametrize("last", [b"Connection: close", b"Keep-Alive: timeout=1"])
def test_a_connection_that_the_server_ends_is_not_kept(choice: str, last: bytes) -> None:
    """A server that says it closes, or waits for a second at most, gets a new connection."""
    with RawServer(answers(http(200, b"ok", last))) as server:
        exchange(choice, server.endpoint(), request(), request())
        assert server.connections == 2


def one_then_closes(line: Line) -> None:
    line.read()
    line.send(OK)
    line.close()


def test_a_kept_connection_found_closed_is_replaced(choice: str) -> None:
    """A connection that the server closed while it rested is looked at, and the request goes out on a new one, once."""

    async def go(server: RawServer) -> list[WireResponse | SubmitError]:
        async with engine(choice, server.endpoint()) as sends:
            results = []
            for _ in range(3):
                server.hung_up.clear()
                results.append(await sends.one())
                # no event loop turns while the server hangs up: only a look at the socket can tell
                assert server.hung_up.wait(5)
            return results

    with RawServer(one_then_closes) as server:
        results = asyncio.run(go(server))
        assert [body(result) for result in results] == [b"ok"] * 3
        assert (len(server.requests), server.connections) == (3, 3)


def test_a_kept_connection_that_dies_after_the_write_is_unknown(choice: str) -> None:
    """A server that reads the second request and closes may have taken it: it is reported, never sent again."""

    def script(line: Line) -> None:
        line.read()
        line.send(OK)
        line.read()

    with RawServer(script) as server:
        first, second = exchange(choice, server.endpoint(), request(), request())
        assert body(first) == b"ok"
        assert fault(second) == (True, Reason.PROVIDER)
        assert (len(server.requests), server.connections) == (2, 1)


def test_what_comes_after_an_answer_is_never_the_next_one(choice: str) -> None:
    """Octets that a server sends unasked do not answer the next request."""

    def script(line: Line) -> None:
        while line.read():
            line.send(http(200, b"mine") + http(200, b"stray"))

    with RawServer(script) as server:
        results = exchange(choice, server.endpoint(), request(), request(), request())
        assert {body(result) for result in results} == {b"mine"}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 4.0), ("timeout=5", 4.0), ("timeout=15, max=100", 14.0), ("timeout=1", 0.0), ("timeout=900", 30.0)],
)
def test_how_long_a_connection_may_rest(choice: str, header: str | None, seconds: float) -> None:
    """It rests for less than the server waits, 4 s when it does not say, 30 s at most."""
    assert idle_limit(header) == seconds


# --- many at once


def test_64_sends_at_once(choice: str) -> None:
    """64 sends at once all get their own answer."""

    def echo(line: Line) -> None:
        while octets := line.read():
            line.send(http(200, octets.rpartition(b"\r\n\r\n")[2]))

    async def go(server: RawServer) -> list[WireResponse | SubmitError]:
        async with engine(choice, server.endpoint()) as sends:
            return await asyncio.gather(*[sends.one(request(b"%d" % number)) for number in range(64)])

    with RawServer(echo) as server:
        results = asyncio.run(go(server))
        assert [body(result) for result in results] == [b"%d" % number for number in range(64)]
        assert len(server.requests) == 64
        assert server.connections <= {"requests": WORKERS, "httptools": CONNECTIONS}[choice]


def test_more_than_the_connections_wait_inside_their_deadline(choice: str) -> None:
    """When all connections are busy the next send waits, and ends unsent at its deadline."""
    most = {"requests": WORKERS, "httptools": CONNECTIONS}[choice]

    async def go(server: RawServer) -> tuple[WireResponse | SubmitError, float]:
        async with engine(choice, server.endpoint()) as sends:
            busy = [asyncio.create_task(sends.one(seconds=20)) for _ in range(most)]
            await asyncio.sleep(0)  # each of them takes its place before the next send asks
            started = time.monotonic()
            late = await sends.one(seconds=0.2)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
            return late, time.monotonic() - started

    with RawServer(read_then(Line.silence)) as server:
        late, took_s = asyncio.run(go(server))
    assert fault(late) == (False, Reason.TIMEOUT)
    assert f"all {most} connections were busy" in str(late)
    assert took_s < 5


def test_a_place_is_free_again_after_each_end(choice: str) -> None:
    """Answers, timeouts and refusals give their place back: more sends than places come through."""
    with RawServer(read_then(Line.reset)) as server:
        results = exchange(choice, server.endpoint(), *[request()] * (WORKERS + 8))
        assert {fault(result) for result in results} == {(True, Reason.PROVIDER)}
        assert len(server.requests) == WORKERS + 8


def test_cut_bodies_use_up_no_connection(choice: str) -> None:
    """More cut answers than connections, one after the other: none waits for a connection that was never read out."""
    with RawServer(answers(http(200, b"x" * (MAX_BODY_OCTETS + 1)))) as server:
        results = exchange(choice, server.endpoint(), *[request()] * (WORKERS + 8))
        assert {len(body(result)) for result in results} == {MAX_BODY_OCTETS}


def test_close_cuts_what_is_under_way(choice: str) -> None:
    """Closing an engine ends its exchanges as unknown and leaves no connection open."""

    async def go(server: RawServer) -> WireResponse | SubmitError:
        async with engine(choice, server.endpoint()) as sends:
            task = asyncio.create_task(sends.one(seconds=30))
            await asyncio.to_thread(server.asked.wait, 5)
        result: WireResponse | SubmitError = await task
        return result

    with RawServer(read_then(Line.silence)) as server:
        assert fault(asyncio.run(go(server)))[0]
        assert server.hung_up.wait(5)


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context for 127.0.0.1 and localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def tls_server(server_tls: ssl.SSLContext) -> Iterator[RawServer]:
    """A server behind TLS."""
    with RawServer(answers(OK), tls=server_tls) as server:
        yield server


def test_tls_with_our_own_authority(choice: str, tls_server: RawServer, ca_file: Path) -> None:
    """A certificate of the authority in ca_file is taken, and the connection kept."""
    results = exchange(choice, tls_server.endpoint(tls=Tls(ca_file=ca_file)), request(), request())
    assert [body(result) for result in results] == [b"ok", b"ok"]
    assert tls_server.connections == 1


def refused_handshake(choice: str, server: RawServer, tls: Tls, why: str) -> None:
    """Nothing was sent, the configuration is at fault, and the words say how."""
    (result,) = exchange(choice, server.endpoint(tls=tls))
    assert fault(result) == (False, Reason.CONFIG)
    assert isinstance(result, SubmitError)
    assert not result.retryable
    assert why in str(result)
    assert server.requests == []


def test_an_unknown_authority_is_unsent(choice: str, tls_server: RawServer) -> None:
    """A certificate that the system does not trust ends before a request."""
    refused_handshake(choice, tls_server, Tls(), "unable to get local issuer certificate")


def test_the_certificate_of_another_host_is_unsent(choice: str, authority: trustme.CA, ca_file: Path) -> None:
    """A certificate for another name ends before a request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("sms.example.com").configure_cert(context)
    with RawServer(answers(OK), tls=context) as server:
        refused_handshake(choice, server, Tls(ca_file=ca_file), "certificate is not valid for '127.0.0.1'")


def test_plain_http_where_tls_is_wanted_is_unsent(choice: str, ca_file: Path) -> None:
    """A server that does not speak TLS takes nothing."""
    with RawServer(lambda line: line.send(http(400))) as server:
        (result,) = exchange(choice, server.endpoint(scheme="https", tls=Tls(ca_file=ca_file)))
    assert fault(result) == (False, Reason.CONFIG)


def test_a_reset_in_the_handshake_is_unsent(choice: str, ca_file: Path) -> None:
    """A connection that is reset before the request left is unsent, and may be tried again."""
    with RawServer(Line.reset) as server:
        (result,) = exchange(choice, server.endpoint(scheme="https", tls=Tls(ca_file=ca_file)))
    assert fault(result) == (False, Reason.UNREACHABLE)


def test_what_else_went_on_is_no_cause(choice: str) -> None:
    """A reset while TLS waited for more is a reset, and no fault of the TLS configuration."""
    error = ConnectionResetError(104, "Connection reset by peer")
    error.__context__ = ssl.SSLWantReadError(2, "The operation did not complete (read)")  # as asyncio raises it
    assert fault(not_connected(error, Endpoint("https", "x", 443))) == (False, Reason.UNREACHABLE)


def test_a_silent_handshake_is_unsent(choice: str, ca_file: Path) -> None:
    """A server that accepts and says nothing to the handshake took nothing; the connect timeout holds."""
    with RawServer(Line.silence) as server:
        started = time.monotonic()
        endpoint = server.endpoint(scheme="https", tls=Tls(ca_file=ca_file), connect_timeout_s=0.3)
        (result,) = exchange(choice, endpoint)
        assert time.monotonic() - started < 4
    assert not fault(result)[0]


def test_verification_is_each_gateways_own(choice: str, tls_server: RawServer) -> None:
    """A gateway that does not verify leaves nothing behind for one that does."""
    assert body(exchange(choice, tls_server.endpoint(tls=Tls(verify=False)))[0]) == b"ok"
    assert fault(exchange(choice, tls_server.endpoint())[0]) == (False, Reason.CONFIG)


def test_a_name_with_a_final_dot(choice: str, tls_server: RawServer, ca_file: Path) -> None:
    """The dot of a full name is for the look-up, and no part of the name in a certificate."""
    (result,) = exchange(choice, tls_server.endpoint(host="localhost.", tls=Tls(ca_file=ca_file)))
    assert isinstance(result, WireResponse) or result.reason is Reason.UNREACHABLE  # not every resolver knows it


def test_verification_can_be_switched_off(choice: str, tls_server: RawServer) -> None:
    """With verify: false any certificate is taken, without a warning."""
    assert body(exchange(choice, tls_server.endpoint(tls=Tls(verify=False)))[0]) == b"ok"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [True, False])
def test_a_client_certificate(
    choice: str, authority: trustme.CA, ca_file: Path, tmp_path: Path, version: ssl.TLSVersion, shown: bool
) -> None:
    """A server that wants a client certificate gets ours; without one nothing is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    client = authority.issue_cert("client.example.com")
    client.cert_chain_pems[0].write_to_path(str(cert))
    client.private_key_pem.write_to_path(str(key))
    tls = Tls(ca_file=ca_file, client_cert=cert, client_key=key) if shown else Tls(ca_file=ca_file)
    with RawServer(answers(OK), tls=context) as server:
        (result,) = exchange(choice, server.endpoint(tls=tls))
    if shown:
        assert body(result) == b"ok"
    elif version is ssl.TLSVersion.TLSv1_2:
        assert fault(result) == (False, Reason.CONFIG)
    else:  # 1.3 refuses it after our first octets; where a reset overtakes the alert, it stays unknown
        assert fault(result) in ((False, Reason.CONFIG), (True, Reason.PROVIDER))
    assert len(server.requests) == int(shown)


def test_a_connection_that_rests_behind_tls_is_looked_at(
    choice: str, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A TLS connection closed while it rested is replaced, too."""

    async def go(server: RawServer) -> list[WireResponse | SubmitError]:
        async with engine(choice, server.endpoint(tls=Tls(ca_file=ca_file))) as sends:
            first = await sends.one()
            assert server.hung_up.wait(5)
            return [first, await sends.one()]

    with RawServer(one_then_closes, tls=server_tls) as server:
        assert [body(result) for result in asyncio.run(go(server))] == [b"ok", b"ok"]
        assert len(server.requests) == 2


# --- proxies


def refusing(status: int) -> Script:
    """A proxy that answers all with a status."""
    return answers(http(status, b"no"))


@pytest.mark.parametrize(
    ("status", "reason"),
    [(407, Reason.AUTH), (403, Reason.CONFIG), (502, Reason.UNREACHABLE), (503, Reason.UNREACHABLE)],
)
def test_a_refused_tunnel_is_unsent(choice: str, status: int, reason: Reason, ca_file: Path) -> None:
    """What a proxy says to CONNECT is about the way, and nobody took the message."""
    with RawServer(refusing(status)) as proxy:
        way = ProxySettings(proxy.host, proxy.port)
        (result,) = exchange(choice, Endpoint("https", "sms.invalid", 443, tls=Tls(ca_file=ca_file), proxy=way))
        assert fault(result) == (False, reason)
        assert proxy.requests[0].startswith(b"CONNECT sms.invalid:443 HTTP/1.")


@pytest.mark.parametrize("script", [Line.silence, Line.close, once(b"what?\r\n\r\n")])
def test_a_proxy_that_gives_no_tunnel_is_unsent(choice: str, script: Script, ca_file: Path) -> None:
    """A proxy that is silent, hangs up or talks nonsense took nothing."""
    with RawServer(script) as proxy:
        way = ProxySettings(proxy.host, proxy.port)
        endpoint = Endpoint("https", "sms.invalid", 443, tls=Tls(ca_file=ca_file), proxy=way, connect_timeout_s=0.3)
        assert not fault(exchange(choice, endpoint)[0])[0]


def test_a_proxy_reads_http_in_absolute_form(choice: str) -> None:
    """For http the proxy gets the whole URL, our header block, and its own credentials after it."""
    with RawServer(answers(OK)) as proxy:
        way = ProxySettings(proxy.host, proxy.port, b"Basic dTpw")
        exchange(choice, Endpoint("http", "sms.invalid", 8080, proxy=way), request(host="sms.invalid:8080"))
        expected = (
            b"POST http://sms.invalid:8080/send?to=1 HTTP/1.1\r\nHost: sms.invalid:8080\r\nUser-Agent: smsgwd/test\r\n"
            b"Accept-Encoding: identity\r\nContent-Length: 7\r\nProxy-Authorization: Basic dTpw\r\n\r\ntext=hi"
        )
        assert proxy.requests == [expected]


def test_a_tunnel_carries_tls_to_the_host(choice: str, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    """Through CONNECT the host's certificate is checked, the proxy gets the credentials and the host does not."""

    def tunnel(line: Line) -> None:
        head = line.read()
        host, _, port = head.split()[1].decode().rpartition(":")
        line.send(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        line.tunnel(host, int(port))

    with RawServer(answers(OK), tls=server_tls) as server, RawServer(tunnel) as proxy:
        way = ProxySettings(proxy.host, proxy.port, b"Basic dTpw")
        endpoint = server.endpoint(tls=Tls(ca_file=ca_file), proxy=way)
        assert [body(result) for result in exchange(choice, endpoint, request(), request())] == [b"ok", b"ok"]
        assert b"Proxy-Authorization: Basic dTpw\r\n" in proxy.requests[0]
        assert [b"Proxy" in octets for octets in server.requests] == [False, False]
        assert proxy.connections == 1


# --- the environment


@pytest.fixture
def misleading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that would lead other clients astray."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    netrc = tmp_path / "netrc"
    netrc.write_text("default login wrong password wrong\n")
    netrc.chmod(0o600)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSLKEYLOGFILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("misleading")
def test_the_environment_is_ignored(choice: str, tls_server: RawServer, ca_file: Path, tmp_path: Path) -> None:
    """Proxies, netrc, CA bundles and a key log of the environment change nothing."""
    with RawServer(answers(OK)) as server:
        assert body(exchange(choice, server.endpoint())[0]) == b"ok"
        assert b"Authorization" not in server.requests[0]
    assert body(exchange(choice, tls_server.endpoint(tls=Tls(ca_file=ca_file)))[0]) == b"ok"
    assert not (tmp_path / "SSLKEYLOGFILE").exists()


def test_the_environment_adds_no_authority(
    choice: str, tls_server: RawServer, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority that only the environment names is not trusted."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(ca_file))
    assert fault(exchange(choice, tls_server.endpoint())[0]) == (False, Reason.CONFIG)


def test_the_engine_that_was_asked_for(choice: str) -> None:
    """Each engine can be had by its name; auto takes httptools where it is installed."""
    endpoint = Endpoint("http", "127.0.0.1", 80)
    names = {"requests": "RequestsEngine", "httptools": "LlhttpEngine", "auto": "LlhttpEngine"}
    assert [type(_http.make_engine(endpoint, name)).__name__ for name in (choice, "auto")] == [
        names[choice],
        names["auto"],
    ]


def test_no_log_line_holds_a_url(choice: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not even at debug level does a library log what is sent."""
    caplog.set_level("DEBUG")
    with RawServer(once(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n")) as server:
        exchange(choice, server.endpoint(), request(b"canary-body"))
    assert "to=1" not in caplog.text
    assert "canary" not in caplog.text
