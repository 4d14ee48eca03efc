"""One connection to a mail server (RFC 5321), used for one mail after another. smtplib speaks, and blocks.

Only its single steps are used. `sendmail` would go on without refused recipients, `login` would try a wrong password
once for each mechanism and knows ASCII alone, `connect` would give the first address all the time, and `starttls` would
overlook what was said before the encryption.
"""

import base64
import hmac
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._net import addresses
from smsgwd.providers.smtp.handover import Handover
from smsgwd.providers.smtp.mail import Mail
from smsgwd.providers.smtp.server import Server
from smsgwd.units import Deadline

MAX_REPLY = 1 << 16  # octets
RESET_S = 1.0  # a session that takes longer to end the last transaction is not worth waiting for
GOODBYE_S = 1.0  # nor for a goodbye
_PIECE = 4096


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


class _EndlessError(Exception):
    """An answer that goes on and on. No OSError: smtplib would make one of its own of it."""


class _Answers:
    """What the server says. smtplib reads from it instead of a file, for which each octet would start the time anew."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._until = Deadline(0)
        self._room = 0
        self._buffer = bytearray()

    def expect(self, until: Deadline) -> None:
        """One answer has to be here by then, and what is written before it has to be gone."""
        self._until, self._room = until, MAX_REPLY
        self._socket.settimeout(max(until.remaining(), 0.001))

    def readline(self, _size: int) -> bytes:
        """A line; nothing at the end, before which half a line is none. Raises OSError and _EndlessError."""
        while not (end := self._buffer.find(b"\n") + 1):
            if not self._receive():
                return b""
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def unasked(self) -> bytes | None:
        """What was said without being asked: None when all is quiet, and nothing where the server hung up."""
        if not self._buffer:
            try:
                self._socket.settimeout(0)
                self._buffer += self._socket.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            except OSError:
                return b""
        return bytes(self._buffer)

    def close(self) -> None:
        """Nothing to do; smtplib calls it before it closes the socket."""

    def _receive(self) -> bool:
        if self._room <= 0:
            raise _EndlessError
        self._socket.settimeout(self._until.remaining())  # at zero it takes what is here, and waits for nothing
        octets = self._socket.recv(_PIECE)
        self._buffer += octets
        self._room -= len(octets)
        return bool(octets)


class Session:
    """The dialogue, by one thread at a time. Every step ends by the server's own time limit and by the handover's."""

    def __init__(self, server: Server, connected: socket.socket, handover: Handover) -> None:
        self.rests_since = 0.0  # on the monotonic clock; the pool's
        self._server = server
        self._handover = handover
        self._smtp = smtplib.SMTP(local_hostname="")  # unless it is given it asks the DNS
        self._smtp.command_encoding = "utf-8"  # an address outside ASCII goes only where SMTPUTF8 is offered
        self._in_transaction = False
        self._speak_over(connected)

    @property
    def ready(self) -> bool:
        """Whether another mail may be sent: nobody hung up, nothing was said unasked (a farewell)."""
        return self._answers.unasked() is None

    def begin(self) -> None:
        """From the greeting to the login. Raises RefusedError and SubmitError."""
        if self._server.tls == "tls":
            self._encrypt()
        self._expect("greeting", self._smtp.getreply)
        self._hello()
        if self._server.tls == "starttls":
            self._start_tls()
            self._hello()
        if self._server.username:
            self._log_in()

    def send(self, mail: Mail, handover: Handover) -> SmtpReply:
        """Send one mail to all its recipients, or to none. Raises SubmitError."""
        self._handover = handover
        handover.use(self._socket)
        eight_bit = self._smtp.has_extn("8bitmime")
        try:
            self._reset()
            self._envelope(mail, eight_bit=eight_bit)
        except RefusedError as refused:
            return refused.reply
        content = mail.octets(eight_bit=eight_bit).replace(b"\r\n.", b"\r\n..")  # RFC 5321, 4.5.2; none begins so
        handover.leave()
        reply = self._ask("content", self._hand_over, content + b".\r\n")
        self._in_transaction = False
        return SmtpReply(reply.code, reply.text, reply.step, mail.message_id)

    def leave(self) -> None:
        """Say goodbye, and wait a second at most for the answer."""
        with suppress(OSError, _EndlessError):
            self._answers.expect(Deadline.after(GOODBYE_S))
            self._smtp.docmd("QUIT")
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._smtp.close()

    # The steps.

    def _hello(self) -> None:
        name = _own_name(self._socket)
        try:
            self._expect("EHLO", self._smtp.ehlo, name)
        except RefusedError as refused:
            if refused.reply.code // 100 != 5:
                raise
            self._expect("EHLO", self._smtp.helo, name)  # a server from before 1995

    def _start_tls(self) -> None:
        if not self._smtp.has_extn("starttls"):
            raise _not_as_configured("the mail server does not offer STARTTLS")
        self._expect("STARTTLS", self._smtp.docmd, "STARTTLS")
        if self._answers.unasked():  # someone on the way would pass it off as a part of what is encrypted
            raise _not_as_configured("the mail server spoke on before the encryption began")
        self._encrypt()

    def _encrypt(self) -> None:
        until = self._handover.begin("TLS", self._server.timeout_s)
        try:
            context, name = self._server.tls_context, self._server.host
            wrapped = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
            self._speak_over(wrapped)
            self._handover.use(wrapped)
            wrapped.settimeout(max(until.remaining(), 0.001))
            wrapped.do_handshake()
        except OSError as error:
            raise self._tls_fault(error) from error

    def _log_in(self) -> None:
        offered = self._smtp.esmtp_features.get("auth", "").upper().split()
        mechanism = next((name for name in _preferred(self._server.tls) if name in offered), None)
        if mechanism is None:
            detail = f"the mail server offers no login of {', '.join(_MECHANISMS)}"
            raise SubmitError(Reason.AUTH, detail, handed_over=False, retryable=False)
        reply = self._expect("AUTH", self._smtp.docmd, "AUTH", mechanism, wanted=(2, 3))
        for response in _MECHANISMS[mechanism]:
            answer = response(self._server.username, self._server.password.reveal(), _challenge(reply))
            reply = self._expect("AUTH", self._smtp.docmd, base64.b64encode(answer.encode()).decode(), wanted=(2, 3))
        if reply.code == _CONTINUE:
            raise RefusedError(reply)

    def _envelope(self, mail: Mail, *, eight_bit: bool) -> None:
        parameters = " BODY=8BITMIME" if eight_bit and mail.needs_8bit else ""
        if mail.needs_smtputf8:
            if not self._smtp.has_extn("smtputf8"):
                raise _not_as_configured("the mail server takes no addresses outside ASCII (SMTPUTF8)")
            parameters += " SMTPUTF8"
        self._expect("MAIL", self._smtp.docmd, "MAIL", f"FROM:<{mail.sender}>{parameters}")
        self._in_transaction = True
        for address in mail.to:
            self._expect("RCPT", self._smtp.docmd, "RCPT", f"TO:<{address}>")
        self._expect("DATA", self._smtp.docmd, "DATA", wanted=(3,))

    def _hand_over(self, content: bytes) -> tuple[int, bytes]:
        self._smtp.send(content)
        return self._smtp.getreply()

    def _reset(self) -> None:
        """End the last transaction if a refusal left it open: what was refused for one recipient goes to none."""
        if not self._in_transaction:
            return
        try:
            self._expect("RSET", self._smtp.docmd, "RSET", limit_s=RESET_S)
        except (RefusedError, SubmitError) as error:
            detail = "the mail server did not end the transaction before"
            raise SubmitError(Reason.UNREACHABLE, detail, handed_over=False) from error
        self._in_transaction = False

    # Words and answers.

    def _expect(
        self, step: str, command: "_Command", *words: str, wanted: Container[int] = (2,), limit_s: float = inf
    ) -> SmtpReply:
        """An answer of a wanted hundred. Raises RefusedError for any other, SubmitError for none."""
        reply = self._ask(step, command, *words, limit_s=limit_s)
        if reply.code // 100 not in wanted:
            raise RefusedError(reply)
        return reply

    def _ask(self, step: str, command: "_Command", *words: Any, limit_s: float = inf) -> SmtpReply:
        self._answers.expect(self._handover.begin(step, min(limit_s, self._server.timeout_s)))
        try:
            code, text = command(*words)
        except (_EndlessError, smtplib.SMTPResponseException) as error:  # smtplib's own limit for a line
            raise self._handover.lost("the mail server's answer has no end") from error
        except OSError as error:
            raise self._handover.lost() from error
        if not 200 <= code < 600:
            raise self._handover.lost("the other side does not speak SMTP")
        return SmtpReply(code, text.decode(errors="replace"), step)

    def _speak_over(self, connected: socket.socket) -> None:
        self._socket = connected
        self._answers = _Answers(connected)
        self._smtp.sock, self._smtp.file = connected, self._answers

    def _tls_fault(self, error: OSError) -> SubmitError:
        if not isinstance(error, ssl.SSLError) or isinstance(error, _HUNG_UP):
            return self._handover.lost()
        why = getattr(error, "verify_message", "") or str(error.reason or "no TLS").lower().replace("_", " ")
        return _not_as_configured(f"TLS with the mail server failed: {why}")


_Command = Callable[..., tuple[int, bytes]]
_HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
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


def _own_name(connected: socket.socket) -> str:
    """The name for EHLO: the machine's if it has a domain, else its address (RFC 5321, 4.1.4). Nothing is looked up."""
    name = socket.gethostname()
    if _HOST_NAME.fullmatch(name):
        return name
    address = connected.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


def _not_as_configured(detail: str) -> SubmitError:
    return SubmitError(Reason.CONFIG, detail, handed_over=False, retryable=False)


def connect(server: Server, handover: Handover) -> Session:
    """A session that is ready for a mail. Raises RefusedError and SubmitError."""
    try:
        connected = _connected(server, handover)
    except UnicodeError as error:
        raise _not_as_configured("the host of the mail server is no name") from error
    except TimeoutError as error:
        raise handover.too_late() from error
    except OSError as error:
        raise handover.lost(f"the mail server cannot be reached: {error.strerror or type(error).__name__}") from error
    session = Session(server, connected, handover)
    try:
        session.begin()
    except BaseException:
        session.abort()
        raise
    return session


def _connected(server: Server, handover: Handover) -> socket.socket:
    """A connected socket, each address with its share of the time. Raises OSError and SubmitError."""
    until = handover.begin("", server.timeout_s)
    found = addresses.resolve(server.host, server.port)  # raises UnicodeError for `a..b`
    return addresses.connect(found, until, handover.use)
