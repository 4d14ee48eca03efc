"""One connection to a mail server (RFC 5321), used for one mail after another.

It knows when the content of a mail may have left: from then on a lost connection is `unknown`, before it `unsent`.
"""

import asyncio
import base64
import hmac
import re
import select
import socket
import ssl
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._http import addresses
from smsgwd.providers.smtp.mail import Mail
from smsgwd.providers.smtp.server import Server
from smsgwd.units import Deadline

MAX_REPLY = 1 << 16  # octets
RESET_S = 1.0  # the refusal is known: nobody waits longer for the end of the transaction
_LINE = re.compile(rb"[2-5][0-9]{2}(?:[ -].*)?", re.DOTALL)
_NOTHING_SAID = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLRDHUP


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """A server's answer; `step` is what was answered: a command, the `greeting` or the `content` of a mail."""

    code: int
    text: str
    step: str = "content"
    message_id: str = ""  # ours, of the mail that was sent

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log."""
        return {"code": self.code, "text": self.text, "step": self.step}


class RefusedError(Exception):
    """An answer that ends the dialogue."""

    def __init__(self, reply: SmtpReply) -> None:
        self.reply = reply
        super().__init__(reply.code)


class Session(asyncio.Protocol):
    """The dialogue. Every step ends by the server's own time limit and by `limit`, whichever comes first."""

    def __init__(self, server: Server, limit: Deadline) -> None:
        self.limit = limit
        self.mails = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server = server
        self._transport: asyncio.Transport
        self._extensions: dict[str, str] = {}
        self._content_left = False
        self._waiting: asyncio.Future[SmtpReply] | None = None
        self._step = ""
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._octets = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio calls it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker: a stream transport it is
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio calls it."""
        self._buffer += data
        self._octets += len(data)
        if self._octets > MAX_REPLY:
            self._fail("the mail server's answer has no end")
        else:
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Asyncio calls it."""
        self._fail(_CLOSED)
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def ready(self) -> bool:
        """Whether another mail may be sent: not closed, not hung up, nothing said unasked (a farewell)."""
        if self._transport.is_closing() or self._buffer or self._lines:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), _NOTHING_SAID)
        return not poll.poll(0)

    async def begin(self) -> None:
        """From the greeting to the login. Raises RefusedError and SubmitError."""
        await self._expect("greeting", b"")
        await self._hello()
        if self._server.tls == "starttls":
            await self._start_tls()
            await self._hello()
        if self._server.username:
            await self._log_in()

    async def send(self, mail: Mail) -> SmtpReply:
        """Send one mail to all its recipients, or to none. Raises SubmitError."""
        eight_bit = "8BITMIME" in self._extensions
        self._content_left = False
        self.mails += 1
        try:
            await self._envelope(mail, eight_bit=eight_bit)
        except RefusedError as refused:
            await self._reset()
            return refused.reply
        self._content_left = True
        content = mail.octets(eight_bit=eight_bit).replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2; none begins so
        reply = await self._ask("content", content + b".")
        return SmtpReply(reply.code, reply.text, reply.step, mail.message_id)

    def leave(self) -> None:
        """Say goodbye without waiting for an answer."""
        if not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # The steps.

    async def _hello(self) -> None:
        name = _own_name(self._transport)
        try:
            reply = await self._expect("EHLO", b"EHLO " + name)
        except RefusedError as refused:
            if refused.reply.code // 100 != 5:
                raise
            reply = await self._expect("EHLO", b"HELO " + name)  # a server from before 1995
        lines = (line.replace("=", " ", 1).partition(" ") for line in reply.text.split("\n")[1:])
        self._extensions = {keyword.upper(): parameters.upper() for keyword, _, parameters in lines}

    async def _start_tls(self) -> None:
        if "STARTTLS" not in self._extensions:
            raise _not_as_configured("the mail server does not offer STARTTLS")
        await self._expect("STARTTLS", b"STARTTLS")
        if self._buffer or self._lines:  # someone on the way would pass it off as a part of what is encrypted
            raise _not_as_configured("the mail server spoke on before the encryption began")
        loop, server = asyncio.get_running_loop(), self._server
        with network_faults():
            async with asyncio.timeout(self._step_limit().remaining()):
                upgraded = await loop.start_tls(self._transport, self, server.tls_context, server_hostname=server.host)
        if upgraded is None:
            raise self._lost(_CLOSED)
        self._transport = upgraded

    async def _log_in(self) -> None:
        offered = self._extensions.get("AUTH", "").split()
        mechanism = next((name for name in _preferred(self._server.tls) if name in offered), None)
        if mechanism is None:
            detail = f"the mail server offers no login of {', '.join(_MECHANISMS)}"
            raise SubmitError(Reason.AUTH, detail, handed_over=False, retryable=False)
        reply = await self._expect("AUTH", b"AUTH " + mechanism.encode(), wanted=(2, 3))
        for response in _MECHANISMS[mechanism]:
            answer = response(self._server.username, self._server.password.reveal(), _challenge(reply))
            reply = await self._expect("AUTH", base64.b64encode(answer.encode()), wanted=(2, 3))
        if reply.code == _CONTINUE:
            raise RefusedError(reply)

    async def _envelope(self, mail: Mail, *, eight_bit: bool) -> None:
        parameters = b" BODY=8BITMIME" if eight_bit and mail.needs_8bit else b""
        if mail.needs_smtputf8:
            if "SMTPUTF8" not in self._extensions:
                raise _not_as_configured("the mail server takes no addresses outside ASCII (SMTPUTF8)")
            parameters += b" SMTPUTF8"
        await self._expect("MAIL", b"MAIL FROM:<" + mail.sender.encode() + b">" + parameters)
        for address in mail.to:
            await self._expect("RCPT", b"RCPT TO:<" + address.encode() + b">")
        await self._expect("DATA", b"DATA", wanted=(3,))

    async def _reset(self) -> None:
        """End the transaction: what was refused for one recipient goes to none."""
        self.limit = self.limit.earlier(RESET_S)
        try:
            await self._expect("RSET", b"RSET")
        except (RefusedError, SubmitError):
            self.abort()

    # Words and answers.

    async def _expect(self, step: str, line: bytes, wanted: Container[int] = (2,)) -> SmtpReply:
        """An answer of a wanted hundred. Raises RefusedError for any other, SubmitError for none."""
        reply = await self._ask(step, line)
        if reply.code // 100 not in wanted:
            raise RefusedError(reply)
        return reply

    async def _ask(self, step: str, line: bytes) -> SmtpReply:
        self._step = step
        self._waiting = asyncio.get_running_loop().create_future()
        if line:
            self._transport.write(line + b"\r\n")
        self._read()
        try:
            async with asyncio.timeout(self._step_limit().remaining()):
                return await self._waiting
        except TimeoutError:
            detail = f"the mail server did not answer in time ({step})"
            raise SubmitError(Reason.TIMEOUT, detail, handed_over=self._content_left) from None
        finally:
            self._waiting = None

    def _step_limit(self) -> Deadline:
        return self.limit.earlier(self._server.timeout_s)

    def _read(self) -> None:
        """Take lines from what came, until the answer that is waited for is whole."""
        while self._waiting is not None and not self._waiting.done() and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if not _LINE.fullmatch(line):
                self._fail("the other side does not speak SMTP")
                return
            self._lines.append(line[4:].decode(errors="replace"))
            if line[3:4] != b"-":
                self._waiting.set_result(SmtpReply(int(line[:3]), "\n".join(self._lines), self._step))
                self._lines, self._octets = [], len(self._buffer)

    def _fail(self, detail: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._lost(detail))
        self._transport.abort()

    def _lost(self, detail: str) -> SubmitError:
        return SubmitError(Reason.UNREACHABLE, f"{detail} ({self._step})", handed_over=self._content_left)


_CLOSED = "the mail server closed the connection"
_CONTINUE = 334  # RFC 4954, 4


def _cram_md5(username: str, password: str, challenge: bytes) -> str:
    return f"{username} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}"


_Response = Callable[[str, str, bytes], str]
_MECHANISMS: dict[str, tuple[_Response, ...]] = {
    "PLAIN": (lambda username, password, _: f"\0{username}\0{password}",),  # RFC 4616
    "LOGIN": (lambda username, _, __: username, lambda _, password, __: password),
    "CRAM-MD5": (_cram_md5,),  # RFC 2195
}


def _preferred(tls: str) -> list[str]:
    """In the clear the one that hides the password comes first."""
    return sorted(_MECHANISMS) if tls == "none" else list(_MECHANISMS)


def _challenge(reply: SmtpReply) -> bytes:
    """What the server asks. Raises RefusedError when it asks nothing, or nothing that can be read."""
    try:
        if reply.code == _CONTINUE:
            return base64.b64decode(reply.text)
    except ValueError:
        pass
    raise RefusedError(reply)


def _own_name(transport: asyncio.Transport) -> bytes:
    """The name for EHLO: the machine's if it has a domain, else its address (RFC 5321, 4.1.4). Nothing is looked up."""
    name = socket.gethostname()
    if _HOST_NAME.fullmatch(name):
        return name.encode()
    address = transport.get_extra_info("sockname")[0].partition("%")[0]
    return f"[IPv6:{address}]".encode() if ":" in address else f"[{address}]".encode()


_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


def _not_as_configured(detail: str) -> SubmitError:
    return SubmitError(Reason.CONFIG, detail, handed_over=False, retryable=False)


@contextmanager
def network_faults() -> Iterator[None]:
    """Turns what goes wrong while a connection is made into SubmitError: nothing has left."""
    try:
        yield
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or str(error.reason or "no TLS").lower().replace("_", " ")
        raise _not_as_configured(f"TLS with the mail server failed: {why}") from error
    except TimeoutError as error:
        detail = "the mail server could not be reached in time"
        raise SubmitError(Reason.UNREACHABLE, detail, handed_over=False) from error
    except OSError as error:
        detail = f"the mail server cannot be reached: {error.strerror or type(error).__name__}"
        raise SubmitError(Reason.UNREACHABLE, detail, handed_over=False) from error


async def connect(server: Server, limit: Deadline, threads: Executor) -> Session:
    """A session that is ready for a mail; `threads` look the name up. Raises RefusedError and SubmitError."""
    until = limit.earlier(server.timeout_s)
    loop = asyncio.get_running_loop()
    tls = server.tls == "tls"
    with network_faults():
        async with asyncio.timeout(until.remaining()):
            connected = await loop.run_in_executor(threads, _connected, server, until)
            _, session = await loop.create_connection(
                lambda: Session(server, limit),
                sock=connected,
                ssl=server.tls_context if tls else None,
                server_hostname=server.host if tls else None,
            )
    try:
        await session.begin()
    except BaseException:
        session.abort()
        raise
    return session


def _connected(server: Server, until: Deadline) -> socket.socket:
    """A connected socket, each address with its share of the time. Blocks. Raises OSError."""
    found = addresses.resolve(server.host, server.port)
    for left, address in zip(range(len(found), 0, -1), found, strict=True):
        fresh = address.open()
        try:
            fresh.settimeout(addresses.share(until.remaining(), left))
            fresh.connect(address.sockaddr)
            if until.passed:  # nobody waits for it any more
                raise TimeoutError
            fresh.setblocking(False)
        except OSError:
            fresh.close()
            if left == 1:
                raise
        else:
            return fresh
    raise OSError("no address")
