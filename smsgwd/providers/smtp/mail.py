"""A mail and its octets (RFC 5322, 2045, 2047): what was written arrives, character by character.

The standard library's EmailMessage is not used: it loses spaces when it folds long subjects outside ASCII, and takes a
text that looks like an encoded word for one.
"""

import base64
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.providers._base import Prepared

MAX_LINE = 998  # RFC 5322, 2.1.1: octets of a line, without its end
MAX_ENCODED_LINE = 76  # RFC 2047, 2: characters of a header line that holds an encoded word
_WORD = "=?utf-8?b?{}?="
_PRINTABLE = re.compile(r"[ -~]*")
_LINE_BREAK = re.compile(r"\r\n|\n")
_UNFIT_FOR_A_LINE = re.compile(r"[\x00\r]")  # of a body that is sent as it is (RFC 2045, 2.8)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL = rf'{_ATOM}(?:\.{_ATOM})*|"(?:[ !#-\[\]-~]|\\[ -~])*"'
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff-]*[A-Za-z0-9\u0080-\U0010ffff])?"
_ADDRESS = re.compile(rf"({_LOCAL})@({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Za-z:.]+\])")


@dataclass(frozen=True, slots=True)
class Mail(Prepared):
    """One mail. Its identity is given once: tried again, it is the same mail."""

    sender: str
    to: tuple[str, ...]
    subject: str
    body: str
    headers: tuple[tuple[str, str], ...]
    message_id: str  # without its angle brackets
    date: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address holds characters outside ASCII (RFC 6531)."""
        return not all(address.isascii() for address in (self.sender, *self.to))

    @property
    def needs_8bit(self) -> bool:
        """Whether the body can be sent as it is where, and only where, the server takes octets above 127."""
        return not self.body.isascii() and _fits_lines(self.body)

    def octets(self, *, eight_bit: bool) -> bytes:
        """The mail with CRLF at the end of each line. `eight_bit`: the server takes octets above 127 (RFC 6152)."""
        as_it_is = _fits_lines(self.body) and (eight_bit or self.body.isascii())
        text = _LINE_BREAK.sub("\r\n", self.body) + "\r\n"
        body = text.encode() if as_it_is else base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
        encoding = ("7bit" if self.body.isascii() else "8bit") if as_it_is else "base64"
        return "\r\n".join(self._head(encoding)).encode() + b"\r\n\r\n" + body

    def _head(self, encoding: str) -> Iterator[str]:
        yield f"Date: {self.date}"
        yield f"From: {self.sender}"
        yield "To: " + ",\r\n ".join(self.to)
        yield header("Subject", self.subject)
        yield f"Message-ID: <{self.message_id}>"
        yield "MIME-Version: 1.0"
        yield "Content-Type: text/plain; charset=utf-8"
        yield f"Content-Transfer-Encoding: {encoding}"
        if not any(name.lower() == "auto-submitted" for name, _ in self.headers):
            yield "Auto-Submitted: auto-generated"  # RFC 3834: no vacation note answers it
        for name, value in self.headers:
            yield header(name, value)


def identity(sender: str) -> tuple[str, str]:
    """A new Message-ID, in the domain of the sender's address, and the date. They tell nothing of the message."""
    return f"{uuid.uuid4().hex}@{sender.rpartition('@')[2]}", format_datetime(datetime.now(UTC))


def _fits_lines(body: str) -> bool:
    if _UNFIT_FOR_A_LINE.search(_LINE_BREAK.sub("", body)):
        return False
    return all(len(line.encode()) <= MAX_LINE for line in _LINE_BREAK.split(body))


def header(name: str, text: str) -> str:
    """One header field, whose text decodes to exactly what was given (RFC 2047).

    Printable ASCII stands as it is, unless it looks like an encoded word, has a blank at an end or is too long.
    """
    plain = _PRINTABLE.fullmatch(text) and "=?" not in text and text == text.strip(" ")
    if plain and len(name) + 2 + len(text) <= MAX_LINE:
        return f"{name}: {text}"
    return f"{name}: " + "\r\n ".join(_encoded_words(text, MAX_ENCODED_LINE - len(name) - 2))


def _encoded_words(text: str, room: int) -> Iterator[str]:
    """Encoded words, the first of at most `room` characters; no character is split, blanks between them are nothing."""
    octets = b""
    for character in text:
        piece = character.encode()
        if len(octets) + len(piece) > _capacity(room):
            yield _WORD.format(base64.b64encode(octets).decode())
            octets, room = b"", MAX_ENCODED_LINE - 1
        octets += piece
    yield _WORD.format(base64.b64encode(octets).decode())


def _capacity(room: int) -> int:
    return (room - len(_WORD.format(""))) // 4 * 3


def check_header_text(what: str, text: str) -> None:
    """Raises MessageError (content) for what no header can carry."""
    if "\n" in text or "\r" in text:
        raise MessageError(Reason.CONTENT, f"a line break cannot stand in {what}")
    check_text(text)


def check_text(text: str) -> None:
    """Raises MessageError (content) for half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MessageError(Reason.CONTENT, "the text holds half a character (a lone surrogate)") from None


def read_address(text: str) -> str | None:
    """One mail address as it goes on the wire, its domain in ASCII; None for what is none (RFC 5321, 4.1.2, 4.5.3)."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not text.isprintable():
        return None
    local, domain = match.groups()
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode()
        too_long = len(local.encode()) > 64 or len(f"{local}@{domain}".encode()) > 254
    except UnicodeError:
        return None
    return None if too_long else f"{local}@{domain}"
