"""The provider `smtp` against Postfix: the whole system where we are root, and its test server smtp-sink."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postfix
import pytest
import trustme
from drafting import message
from patience import wait_until
from postfix import Postfix, listens
from test_smtp import at, body_of, made, subject_of

from smsgwd.errors import SubmitError
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers.smtp import SmtpProvider
from smsgwd.units import Deadline

SINK = "/usr/sbin/smtp-sink"
TEXT = "Ihr Code für  Köln: 4711 €\n.\nFrom here\n"


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """A server's certificate with its key, and the file of its authority."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes(), str(path)


async def send(provider: SmtpProvider, text: str, phone: str = "+491701234567") -> Outcome:
    return provider.interpret(await provider.submit(provider.render(message(text, phone)), Deadline.after(20)))


def postfixes(certificate: bytes) -> Iterator[Postfix]:
    """One Postfix, or none: only root can start it."""
    if os.geteuid() == 0:
        with postfix.running(certificate) as server:
            yield server


def test_postfix_delivers_what_was_written(trusted: tuple[bytes, str]) -> None:
    """Mails reach a mailbox behind a real Postfix, over STARTTLS and one session, each exactly as written."""
    certificate, ca_file = trusted

    async def main(server: Postfix) -> None:
        provider = made(at(server.port, tls="starttls", ca_file=ca_file), subject="{{ message | replace('\n', ' ') }}")
        accepted = [await send(provider, f"{number} {TEXT}") for number in range(3)]
        refused = await send(provider, TEXT, "+4930123456")
        last = await send(provider, f"3 {TEXT}")
        await provider.close()
        assert {outcome.kind for outcome in (*accepted, last)} == {Kind.ACCEPTED}
        assert (refused.kind, refused.reason) == (Kind.REJECTED, Reason.INVALID_DESTINATION)
        delivered = _delivered(server, 4)
        assert sorted(map(text_of, delivered)) == [f"{number} {TEXT}\n" for number in range(4)]
        assert {subject_of(content)[1:] for content in delivered} == {" " + TEXT.replace("\n", " ")}
        wait_until(lambda: "mail=5 rcpt=4/5 data=4 rset=1 quit=1" in server.log())  # one session
        assert all(outcome.message_ids[0] in server.log() for outcome in (*accepted, last))

    for server in postfixes(certificate):
        asyncio.run(main(server))


def test_postfix_without_tls_gets_nothing(trusted: tuple[bytes, str]) -> None:
    """A Postfix that insists on TLS refuses a plain dialogue: unsent/auth, as it says 530."""
    certificate, _ = trusted

    async def main(server: Postfix) -> None:
        provider = made(at(server.port))
        outcome = await send(provider, TEXT)
        await provider.close()
        assert (outcome.kind, outcome.reason, outcome.retryable) == (Kind.UNSENT, Reason.AUTH, False)
        assert not server.inbox()

    for server in postfixes(certificate):
        asyncio.run(main(server))


def text_of(content: bytes) -> str:
    return body_of(content).replace("\r\n", "\n")


def _delivered(server: Postfix, count: int) -> list[bytes]:
    wait_until(lambda: len(server.inbox()) == count)
    return [content.replace(b"\n", b"\r\n") for content in server.inbox()]


@contextmanager
def sink(folder: Path, *options: str) -> Iterator[int]:
    """smtp-sink on a free port; it writes each mail into the folder."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    user = ["-u", "root"] if os.geteuid() == 0 else []  # root has to say whom it wants to be
    command = [SINK, *user, *options, "-d", str(folder / "mail."), f"127.0.0.1:{port}", "64"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(port))
            yield port
        finally:
            process.kill()


FAULTS: dict[str, tuple[tuple[str, ...], Kind, Reason | None]] = {
    "all well": ((), Kind.ACCEPTED, None),
    "without 8BITMIME": (("-8",), Kind.ACCEPTED, None),
    "without ESMTP": (("-e",), Kind.ACCEPTED, None),
    "connection refused": (("-f", "CONNECT"), Kind.UNSENT, Reason.CONFIG),
    "sender refused": (("-f", "MAIL"), Kind.REJECTED, Reason.INVALID_SENDER),
    "recipient refused": (("-f", "RCPT"), Kind.REJECTED, Reason.PROVIDER),
    "recipient later": (("-r", "RCPT"), Kind.UNSENT, Reason.THROTTLED),
    "content refused": (("-f", "."), Kind.REJECTED, Reason.PROVIDER),
    "content later": (("-r", "."), Kind.UNSENT, Reason.THROTTLED),
    "closing at RCPT": (("-Q", "RCPT"), Kind.UNSENT, Reason.UNREACHABLE),
    "lost at MAIL": (("-q", "MAIL"), Kind.UNSENT, Reason.UNREACHABLE),
    "lost at DATA": (("-q", "DATA"), Kind.UNSENT, Reason.UNREACHABLE),
    "lost after the content": (("-q", "."), Kind.UNKNOWN, Reason.UNREACHABLE),
}


@pytest.mark.parametrize("name", FAULTS)
def test_smtp_sink(tmp_path: Path, name: str) -> None:
    """What Postfix's own test server can do wrong ends in the outcome of the table."""
    options, kind, reason = FAULTS[name]

    async def main(port: int) -> None:
        provider = made(at(port))
        try:
            outcome = await send(provider, TEXT)
            got = (outcome.kind, outcome.reason)
        except SubmitError as error:
            got = (Kind.UNKNOWN if error.handed_over else Kind.UNSENT, error.reason)
        await provider.close()
        assert got == (kind, reason)

    with sink(tmp_path, *options) as port:
        asyncio.run(main(port))
    if kind is Kind.ACCEPTED:
        (file,) = tmp_path.glob("mail.*")
        content = file.read_bytes().partition(b"Date:")[2].replace(b"\n", b"\r\n")
        assert text_of(b"Date:" + content).rstrip("\n") == TEXT.rstrip("\n")  # it adds an empty line of its own
