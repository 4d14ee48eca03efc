"""The daemon over TCP: real processes, real TLS, and clients that behave badly."""

import asyncio
import json
import os
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from daemon_process import Running, activated, configuration, daemon
from fake_http import OK, Line, RawServer, free_port
from other_user import IS_ROOT
from patience import until, wait_until
from served import serving
from socket_client import Response, Tcp, call, connected, raw, read_response, request, send

from smsgwd.access_token import hash_of, new_token
from smsgwd.certificates import Certificate
from smsgwd.registry import ListenSettings, SiteConfig
from smsgwd.server.connection import Limits

SEND = {"gateway": "console", "to": "+491701234567", "text": "hi"}
TOKEN, OTHER = new_token(), new_token()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


class Site:
    """A configuration directory with one TLS listener."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.folder = configuration(folder)
        self.authority = authority
        self.port = free_port()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.show_certificate()
        self.configure()

    @property
    def tcp(self) -> Tcp:
        """Where clients come in."""
        return Tcp(self.port, self.ca)

    def show_certificate(self, authority: trustme.CA | None = None) -> None:
        """A certificate of this authority in the place of the one that is there, file by file."""
        issued = (authority or self.authority).issue_cert("127.0.0.1", "127.0.0.2")
        folder = self.folder / "tls"
        folder.mkdir(exist_ok=True)
        for name, content in (
            ("cert.pem", b"".join(blob.bytes() for blob in issued.cert_chain_pems)),
            ("key.pem", issued.private_key_pem.bytes()),
        ):
            new = folder / f"{name}.new"
            new.touch(mode=0o600)
            new.write_bytes(content)
            new.rename(folder / name)

    def configure(self, allow: str = "[]", tokens: dict[str, str] | None = None, more: str = "") -> None:
        """Writes smsgwd.yaml: `portal` may send and see the state."""
        named = "\n".join(
            f"  {name}: {{hash: '{hash_of(one)}'}}" for name, one in (tokens or {"portal": TOKEN}).items()
        )
        text = f"""\
listen:
  - tcp: 127.0.0.1:{self.port}
    tls: {{cert_file: tls/cert.pem, key_file: tls/key.pem}}
    allow: {allow}
tokens:
{named}
access:
  - {{users: ["token:portal"], allow: [send, status]}}
{more}
"""
        new = self.folder / ".new"
        new.write_text(text)
        new.rename(self.folder / "smsgwd.yaml")


@pytest.fixture
def site(tmp_path: Path, authority: trustme.CA) -> Site:
    return Site(tmp_path, authority)


def answer(where: Path | Tcp, method: str, target: str, body: Any = None, **headers: str) -> Response:
    """One request to the daemon; an underscore in the name of a header stands for a dash."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(call(where, method, target, body, fields))


def logged(running: Running) -> list[dict[str, Any]]:
    """What the daemon has logged so far."""
    return [json.loads(line) for line in running.printed().splitlines()]


def test_who_is_nobody_needs_a_token(site: Site) -> None:
    """Over TLS a token counts in each of its three places; none is 401, a good one without the right is 403.

    What was refused is counted and logged, by name or by address, and no token is printed anywhere.
    """
    with daemon(site.folder) as running:
        running.ready()
        for header in (
            {"Authorization": f"Bearer {TOKEN}"},
            {"Authorization": TOKEN},
            {"PI_Authorization": TOKEN},
        ):
            assert answer(site.tcp, "POST", "/v1/messages", SEND, **header).json()["outcome"] == "accepted"
        refused = [
            answer(site.tcp, "POST", "/v1/messages", SEND, **header) for header in ({}, {"Authorization": OTHER})
        ]
        refused.append(answer(site.tcp, "GET", "/v1/status", Authorization="Basic cm9vdDp4"))
        assert [(one.status, one.type) for one in refused] == [(401, "unauthorized")] * 3
        assert {one.headers["www-authenticate"] for one in refused} == {"Bearer"}
        assert answer(site.tcp, "POST", "/v1/reload", Authorization=TOKEN).status == 403
        assert [answer(site.tcp, "GET", path).status for path in ("/healthz", "/readyz", "/openapi.json")] == [200] * 3
        body = {"username": "portal", "password": TOKEN}
        assert answer(site.tcp, "POST", "/auth", body).json()["result"]["value"]["token"] == TOKEN
        metrics = answer(site.tcp, "GET", "/metrics", Authorization=TOKEN).body.decode()
        assert 'smsgwd_requests_refused_total{code="unauthorized"} 3.0' in metrics
        assert 'smsgwd_requests_refused_total{code="forbidden"} 1.0' in metrics
        assert running.stop() == 0
        told = [one for one in logged(running) if one["message"] == "refused"]
        assert {(one["code"], one.get("from"), one.get("token")) for one in told} == {
            ("unauthorized", "127.0.0.1", None),
            ("forbidden", "127.0.0.1", "portal"),
        }
        assert not [token for token in (TOKEN, OTHER) if token[7:] in running.printed()]


def test_curl_is_a_client(site: Site) -> None:
    """A command line as people write it, with the authority's certificate."""
    with daemon(site.folder) as running:
        running.ready()
        command = ["curl", "--silent", "--show-error", "--max-time", "10", "--cacert", str(site.ca)]
        command += ["-H", f"Authorization: Bearer {TOKEN}", f"https://127.0.0.1:{site.port}/v1/status"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["gateways"]["ok"] == 1


def test_allow_is_for_whoever_comes(site: Site) -> None:
    """Without a token the listener's `allow` holds, for all gateways, and beside what a token may; it changes live."""
    site.configure(allow="[send]")
    with daemon(site.folder) as running:
        running.ready()
        assert answer(site.tcp, "POST", "/v1/messages", SEND).status == 200
        assert answer(site.tcp, "GET", "/v1/status").status == 401
        assert answer(site.tcp, "POST", "/v1/messages", SEND, Authorization=OTHER).status == 401
        site.configure(allow="[reload]")
        running.reload()
        assert answer(site.tcp, "POST", "/v1/messages", SEND).status == 401
        assert answer(site.tcp, "POST", "/v1/reload", Authorization=TOKEN).status == 200


def test_a_token_that_is_taken_away_ends_at_once(site: Site) -> None:
    """After the reload the old token is nobody's, on connections that stand as well; the new one of that name works."""

    async def on_one_connection(running: Running) -> list[int]:
        statuses = []
        async with connected(site.tcp) as (reader, writer):
            for _ in range(2):
                writer.write(request("GET", "/v1/status", headers={"Authorization": TOKEN}))
                statuses.append((await read_response(reader)).status)
                site.configure(tokens={"portal": OTHER})
                await asyncio.to_thread(running.reload)
        return statuses

    with daemon(site.folder) as running:
        running.ready()
        assert asyncio.run(on_one_connection(running)) == [200, 401]
        assert answer(site.tcp, "GET", "/v1/status", Authorization=OTHER).status == 200


def certificate_shown(port: int) -> bytes:
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10).encode()


def test_certificates_are_renewed_while_it_serves(site: Site) -> None:
    """A new certificate is shown by itself, and connections that stand go on; a bad one leaves the former in place.

    That is told as a finding, and so is its mend.
    """

    async def scenario(running: Running) -> None:
        async with connected(site.tcp) as (reader, writer):
            before = await asyncio.to_thread(certificate_shown, site.port)
            site.show_certificate()
            await asyncio.to_thread(wait_until, lambda: certificate_shown(site.port) != before)
            now = await asyncio.to_thread(certificate_shown, site.port)

            (site.folder / "tls/cert.pem").write_text("none")
            await asyncio.to_thread(running.reload)
            assert await asyncio.to_thread(certificate_shown, site.port) == now
            site.configure(tokens={"portal": OTHER})  # what else is in the file takes effect all the same
            await asyncio.to_thread(running.reload)
            writer.write(request("GET", "/v1/status", headers={"Authorization": OTHER}))
            (found,) = (await read_response(reader)).json()["problems"]
            assert (found["code"], found["pointer"]) == ("bad-certificate", "/listen/0/tls/cert_file")

            site.show_certificate()
            await asyncio.to_thread(running.reload)
            assert await asyncio.to_thread(certificate_shown, site.port) != now
            writer.write(request("GET", "/v1/status", headers={"Authorization": OTHER}))
            assert (await read_response(reader)).json()["problems"] == []

    with daemon(site.folder) as running:
        running.ready()
        asyncio.run(scenario(running))


def test_without_a_certificate_it_serves_all_else(site: Site) -> None:
    """A listener whose certificate is not there yet closes each connection until it is; the socket serves meanwhile."""
    (site.folder / "tls/key.pem").rename(site.folder / "key.pem")
    with daemon(site.folder) as running:
        running.ready()
        assert "error[bad-certificate]" in running.printed()
        assert answer(running.path, "POST", "/v1/messages", SEND).status == 200
        with pytest.raises((ConnectionError, ssl.SSLError)):
            certificate_shown(site.port)
        (site.folder / "key.pem").rename(site.folder / "tls/key.pem")
        running.reload()
        assert answer(site.tcp, "GET", "/v1/status", Authorization=TOKEN).status == 200


def test_old_versions_of_tls_are_refused(site: Site) -> None:
    """TLS 1.2 at least; what speaks no TLS at all is closed, without a word in the log."""
    with daemon(site.folder) as running:
        running.ready()
        context = ssl.create_default_context(cafile=site.ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", site.port), 10) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
        with socket.create_connection(("127.0.0.1", site.port), 10) as plain:
            plain.sendall(request("GET", "/healthz"))
            assert not read_to_end(plain).startswith(b"HTTP")
        context = ssl.create_default_context(cafile=site.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(("127.0.0.1", site.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.version() == "TLSv1.2"
        assert [line for line in running.printed().splitlines() if '"serving"' not in line] == []


def read_to_end(client: socket.socket) -> bytes:
    """What comes until the connection is closed, or broken off."""
    found = b""
    try:
        while data := client.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def test_a_port_that_is_taken_exits_1(site: Site) -> None:
    """Whoever listens there goes on, and the socket of ours is not left behind."""
    with socket.create_server(("127.0.0.1", site.port)), daemon(site.folder) as running:
        assert running.process.wait(20) == 1
        assert f"smsgwd: 127.0.0.1:{site.port} is in use: something listens there already" in running.printed()
        assert not running.path.exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_exits_1(tmp_path: Path, host: str) -> None:
    """The error names it."""
    with daemon(configuration(tmp_path, {"smsgwd.yaml": f"listen: [{{tcp: '{host}:8443'}}]\n"})) as running:
        assert running.process.wait(20) == 1
        assert f"smsgwd: {host}:8443: " in running.printed()


def test_a_name_and_ipv6_are_addresses(tmp_path: Path) -> None:
    """A name listens on each of its addresses that this machine has, an IPv6 address stands in brackets."""
    port, six = free_port(), free_port()
    text = f"listen: [{{tcp: 'localhost:{port}', allow: [status]}}, {{tcp: '[::1]:{six}', allow: [status]}}]\n"
    with daemon(configuration(tmp_path, {"smsgwd.yaml": text})) as running:
        running.ready()
        assert answer(Tcp(port), "GET", "/v1/status").status == 200
        assert answer(Tcp(six, host="::1"), "GET", "/v1/status").status == 200
        assert answer(Tcp(six, host="::1"), "POST", "/v1/reload").status == 401
        assert {one["from"] for one in logged(running) if one["message"] == "refused"} == {"::1"}


def test_another_address_takes_a_restart(site: Site) -> None:
    """That is a warning; until then the listener of before goes on, for tokens alone, with its certificate."""
    site.configure(allow="[send]")
    with daemon(site.folder) as running:
        running.ready()
        before = site.tcp
        site.port = free_port()
        site.configure(allow="[send]")
        running.reload()
        assert "`listen` of smsgwd.yaml has changed: that takes a restart" in running.printed()
        assert answer(before, "POST", "/v1/messages", SEND).status == 401
        assert answer(before, "POST", "/v1/messages", SEND, Authorization=TOKEN).status == 200


def test_inherited_tcp_sockets(site: Site) -> None:
    """One that `listen` names has its TLS and its `allow`; another takes tokens alone, without TLS, and is warned of.

    What was not given is opened: the Unix socket here.
    """
    site.configure(allow="[send]")
    nameless, ours = free_port(), site.folder / "ours.sock"
    given = [f"127.0.0.1:{nameless}", f"127.0.0.1:{site.port}"]
    with activated(site.folder, given, "--socket", str(ours)) as running:
        wait_until(lambda: "Listening on" in running.printed())
        assert answer(Tcp(nameless), "POST", "/v1/messages", SEND, Authorization=TOKEN).status == 200
        assert answer(Tcp(nameless), "POST", "/v1/messages", SEND).status == 401
        assert answer(site.tcp, "POST", "/v1/messages", SEND).status == 200
        assert answer(ours, "GET", "/v1/status").status == 200
        assert f"does not name the inherited socket 127.0.0.1 port {nameless}" in running.printed()
        assert running.stop() == 0
        assert not ours.exists()


def test_beside_an_inherited_unix_socket_listeners_are_opened(site: Site) -> None:
    """The units that are shipped give the Unix socket alone: `listen` holds all the same."""
    path = site.folder / "given.sock"
    with activated(site.folder, [path]) as running:
        wait_until(path.is_socket)
        assert answer(path, "GET", "/healthz").status == 200
        assert answer(site.tcp, "GET", "/v1/status", Authorization=TOKEN).status == 200
        assert running.stop() == 0


def test_a_stop_finishes_what_runs_over_tls(site: Site) -> None:
    """A send that runs is answered, a handshake that has only begun is not waited for."""
    gate = threading.Event()

    def script(line: Line) -> None:
        while line.read():
            gate.wait(15)
            line.send(OK)

    with RawServer(script) as provider:
        settings = f"settings: {{url: 'http://127.0.0.1:{provider.port}/', form: {{t: '{{{{ message }}}}'}}}}"
        configuration(site.folder, {"gateways.d/gated.yaml": f"provider: http\n{settings}\n"})
        with daemon(site.folder) as running, ExitStack() as stack:
            running.ready()
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 10))
            answers: list[Response] = []

            def ask() -> None:
                answers.append(asyncio.run(send(site.tcp, "hi", {"Authorization": TOKEN})))

            client = threading.Thread(target=ask)
            client.start()
            assert provider.asked.wait(10)
            running.process.send_signal(15)
            wait_until(lambda: not running.path.exists())
            with pytest.raises(ConnectionError):
                refused_until(site.port)
            gate.set()
            client.join(10)
            assert running.process.wait(10) == 0
            assert (answers[0].status, answers[0].headers["connection"]) == (200, "close")


def refused_until(port: int) -> None:
    """Connects until nobody listens any more."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        socket.create_connection(("127.0.0.1", port), 10).close()
        time.sleep(0.01)


@contextmanager
def many_open_files() -> Iterator[None]:
    """As many open files as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_are_counted_by_address(site: Site) -> None:
    """Of 1,100 connections from one address that begin no TLS, 1,088 stand; from another one there is room at once."""
    with daemon(site.folder) as running, many_open_files(), ExitStack() as stack:
        running.ready()
        address = ("127.0.0.1", site.port)
        clients = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(1100)]
        wait_until(lambda: sum(map(is_closed, clients)) == 12)
        assert answer(Tcp(site.port, site.ca, source="127.0.0.2"), "GET", "/healthz").status == 200
        assert answer(running.path, "GET", "/healthz").status == 200
        for client in clients:
            client.close()
        wait_until(lambda: serves(site.tcp))


def is_closed(client: socket.socket) -> bool:
    """Whether the other side has closed it."""
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def serves(where: Tcp) -> bool:
    """Whether a request is answered there."""
    try:
        return answer(where, "GET", "/healthz").status == 200
    except (OSError, asyncio.IncompleteReadError):
        return False


# --- on the server itself, in less time ----------------------------------------------------------------------------


HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed, or broken off."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""


@pytest.fixture
def certificate(site: Site) -> Certificate:
    return Certificate.load(site.folder / "tls/cert.pem", site.folder / "tls/key.pem")


def tls_config(site: Site, certificate: Certificate) -> SiteConfig:
    """One TLS listener where whoever comes may send."""
    return SiteConfig(listen=(ListenSettings("127.0.0.1", site.port, True, certificate, frozenset({"send"})),))


@pytest.mark.parametrize("octets", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_a_handshake_that_is_not_finished_is_dropped(site: Site, certificate: Certificate, octets: bytes) -> None:
    """Whoever does not finish it in time is gone, wherever it stopped, and counts no more; others are served."""

    async def scenario() -> None:
        limits = Limits(request_s=0.3, connections_per_caller=1, spare_connections=0)
        async with (
            serving(site.folder, limits, tls_config(site, certificate)),
            connected(Tcp(site.port)) as (reader, writer),
        ):
            writer.write(octets)
            assert await reader.read() == b""
            assert (await call(site.tcp, "GET", "/healthz")).status == 200

    asyncio.run(scenario())


def test_a_request_over_tls_has_its_time(site: Site, certificate: Certificate) -> None:
    """After the handshake all holds that holds for the Unix socket: an unfinished request is dropped."""

    async def scenario() -> None:
        async with (
            serving(site.folder, Limits(request_s=0.3), tls_config(site, certificate)),
            connected(site.tcp) as (reader, writer),
        ):
            writer.write(HEAD + b"{")
            assert await ended(reader) == b""

    asyncio.run(scenario())


def test_one_too_many_hears_so_over_tls(site: Site, certificate: Certificate) -> None:
    """The spare connections are answered `overloaded`, further ones are closed before any handshake."""

    async def scenario() -> None:
        limits = Limits(connections_per_caller=1, spare_connections=1)
        async with serving(site.folder, limits, tls_config(site, certificate)), connected(site.tcp) as first:
            first[1].write(request("GET", "/healthz"))
            assert (await read_response(first[0])).status == 200
            async with connected(site.tcp) as second:
                async with connected(Tcp(site.port)) as third:
                    assert await ended(third[0]) == b""
                second[1].write(request("GET", "/healthz"))
                assert (await read_response(second[0])).type == "overloaded"

    asyncio.run(scenario())


def test_all_addresses_together_are_bounded(tmp_path: Path) -> None:
    """However many addresses there are, the Unix socket takes connections; when one leaves there is room again."""
    port = free_port()
    config = SiteConfig(listen=(ListenSettings("127.0.0.1", port),))

    async def scenario() -> None:
        async with serving(tmp_path, Limits(connections_over_tcp=1), config) as served:
            async with connected(Tcp(port)) as first:
                first[1].write(request("GET", "/healthz"))
                assert (await read_response(first[0])).status == 200
                async with connected(Tcp(port, source="127.0.0.2")) as second:
                    assert await ended(second[0]) == b""
                assert (await call(served.path, "GET", "/healthz")).status == 200
            await until(lambda: served.doors.connections == [])
            assert (await call(Tcp(port, source="127.0.0.2"), "GET", "/healthz")).status == 200

    asyncio.run(scenario())


def test_a_request_right_behind_the_handshake_is_answered(site: Site, certificate: Certificate) -> None:
    """What comes in one segment with the end of the handshake is not lost; nor is a client that then says no more."""

    async def scenario() -> list[int]:
        async with serving(site.folder, config=tls_config(site, certificate)):
            return await asyncio.gather(*(asyncio.to_thread(at_once, site) for _ in range(20)))

    assert asyncio.run(scenario()) == [200] * 20


def at_once(site: Site) -> int:
    """The status of a request that leaves in one write with the last octets of the handshake."""
    context = ssl.create_default_context(cafile=site.ca)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", site.port), 10) as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
        tls.write(request("GET", "/healthz"))
        client.sendall(outgoing.read())
        found = b""
        while b"\r\n" not in found:
            try:
                found += tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(client.recv(65536))
        return int(found.split()[1])


def test_a_client_that_vanishes_in_its_handshake_leaves_nothing(
    site: Site, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Hang-ups and resets at any moment are counted off, without a word in the log."""

    async def scenario() -> None:
        limits = Limits(connections_per_caller=5, spare_connections=0)
        async with serving(site.folder, limits, tls_config(site, certificate)):
            for octets in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"):
                for reset in (False, True):
                    async with connected(Tcp(site.port)) as (_, writer):
                        writer.write(octets)
                        if reset:
                            option = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                            writer.get_extra_info("socket").setsockopt(*option)
            for _ in range(3):
                async with connected(site.tcp) as (_, writer):
                    writer.write(b"GET /heal")
            assert (await call(site.tcp, "GET", "/healthz")).status == 200

    asyncio.run(scenario())
    assert caplog.records == []


def test_an_address_has_idempotency_keys_of_its_own(tmp_path: Path) -> None:
    """Who gives no token is known by its address: another address has keys of its own."""
    port = free_port()
    config = SiteConfig(listen=(ListenSettings("127.0.0.1", port, allow=frozenset({"send"})),))

    async def scenario() -> list[str | None]:
        async with serving(tmp_path, config=config):
            answers = [
                await send(Tcp(port, source=source), "hi", {"Idempotency-Key": "k"})
                for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2")
            ]
            return [one.headers.get("idempotency-replayed") for one in answers]

    assert asyncio.run(scenario()) == [None, "true", None]


def test_a_body_that_is_not_wanted_is_not_read(tmp_path: Path) -> None:
    """Who may do nothing is told so before a body is asked for."""
    port = free_port()
    config = SiteConfig(listen=(ListenSettings("127.0.0.1", port),))

    async def scenario() -> Response:
        async with serving(tmp_path, config=config):
            head = (
                b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"
            )
            return await raw(Tcp(port), head)

    refused = asyncio.run(scenario())
    assert (refused.status, refused.type) == (401, "unauthorized")


def other_users_request(port: int) -> int:
    """The status of a request of a process of another user, where we are root."""
    become = ["setpriv", "--reuid=60001", "--regid=60001", "--clear-groups"] if IS_ROOT else []
    command = [*become, "curl", "--silent", "--output", os.devnull, "--write-out", "%{http_code}", "--max-time", "10"]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}/v1/status"], capture_output=True, check=True, timeout=30)
    return int(done.stdout)


def test_over_tcp_nobody_is_root(tmp_path: Path) -> None:
    """The kernel says of a TCP client -1: neither root nor the daemon's own user is known there, nor anybody else."""
    port = free_port()
    with daemon(configuration(tmp_path, {"smsgwd.yaml": f"listen: [{{tcp: '127.0.0.1:{port}'}}]\n"})) as running:
        running.ready()
        assert answer(Tcp(port), "GET", "/v1/status").status == 401
        assert other_users_request(port) == 401
