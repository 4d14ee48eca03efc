"""Mail servers on loopback: aiosmtpd for what works, and one that answers what a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CLOSE = "close"  # instead of an answer: the connection ends
SILENCE = "silence"  # no answer at all
CUT = "cut"  # half a line, then the connection ends
DRIP = "drip"  # an answer that begins, and goes on for ever, line by line
TRICKLE = "trickle"  # the same, octet by octet: no line ever ends

_ENDLESS = {DRIP: b"250-x\r\n", TRICKLE: b"2"}
_HALF_A_LINE = b"250 2.0.0 Ok: que"

POSITIVE = {
    "greeting": "220 fake ready",
    "EHLO": "250-fake\r\n250-8BITMIME\r\n250 HELP",
    "DATA": "354 go on",
    "content": "250 2.0.0 Ok: queued as 4XyZ12",
    "QUIT": "221 bye",
}


@dataclass
class Mailbox:
    """An aiosmtpd handler that keeps what came, with the connection that it came on."""

    envelopes: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # address -> answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Aiosmtpd calls it for each recipient."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Aiosmtpd calls it for each mail."""
        self.envelopes.append(envelope)
        self.sessions.append(session)
        return "250 2.0.0 Ok: queued as 4XyZ12"

    @property
    def contents(self) -> list[bytes]:
        """What stood between DATA and the dot."""
        return [bytes(envelope.original_content or b"") for envelope in self.envelopes]


def password_is_secret(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    """The account is `sms`, its password `s3cret ü`."""
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"sms", "s3cret ü".encode())
    return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mail_server(
    mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[int]:
    """Serve with aiosmtpd; `tls` is TLS from the first octet. Gives the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, **{"hostname": "fake", "enable_SMTPUTF8": True, **options}), host, 0, ssl=tls
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@dataclass
class Scripted:
    """A mail server that answers by steps: `answers` says what, a list one after the other; else all is well."""

    answers: dict[str, str | list[str]]
    commands: list[list[str]] = field(default_factory=list)  # of each connection
    contents: list[bytes] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    port: int = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Scripted"]:
        """Serve on loopback."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            for writer in self.writers:
                writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        said: list[str] = []
        self.commands.append(said)
        with suppress(ConnectionError):
            answer = await self._answer("greeting", writer)
            while answer not in {CLOSE, CUT} and (line := await reader.readline()):
                said.append(line.decode().rstrip("\r\n"))
                verb = line.decode().split()[0].upper()
                answer = await self._answer(verb, writer)
                if verb == "DATA" and answer.startswith("354"):
                    self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
                    answer = await self._answer("content", writer)
        writer.transport.abort()

    async def _answer(self, step: str, writer: asyncio.StreamWriter) -> str:
        answer = self.answers.get(step, [])
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else POSITIVE.get(step, "250 2.1.0 fine")
        while answer in _ENDLESS:
            writer.write(_ENDLESS[answer])
            await writer.drain()
            await asyncio.sleep(0.02)
        if answer not in {CLOSE, SILENCE}:
            writer.write(_HALF_A_LINE if answer == CUT else answer.encode() + b"\r\n")
        return answer
