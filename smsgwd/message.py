"""What a caller asked for, and the message that a provider gets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from smsgwd import segments
from smsgwd.allowance import Allowance
from smsgwd.caller import Caller


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A send as the caller asked for it: nothing parsed yet, `text` or `template` given, not both."""

    gateway: str
    to: str
    text: str | None = None
    template: str | None = None
    vars: Mapping[str, str] = field(default_factory=dict)
    sender: str | None = None
    reference: str | None = None
    deadline_s: float | None = None  # seconds; the shorter of it and the gateway's wins
    caller: Caller | None = None  # whoever asked
    allowance: Allowance | None = None  # the limits of the access rule that allows it, if it has some
    otp: str | None = field(default=None, repr=False)  # of a challenge: the code that a text or template is made with


@dataclass(frozen=True, slots=True)
class Recipient:
    """A destination, read and formatted by a gateway's `phone` rules.

    `phone` is what goes on the wire; `e164` is None for a short code and for a number taken verbatim;
    `written` is what the caller wrote, kept only to be hidden from a provider's words.
    """

    phone: str
    e164: str | None = None
    written: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a provider can render: number formatted, text rendered, variables checked."""

    to: Recipient
    text: str
    sender: str = ""
    reference: str = ""
    vars: Mapping[str, str] = field(default_factory=dict)  # every variable that the file declares; empty if not given

    @property
    def phone(self) -> str:
        """The number as it goes on the wire."""
        return self.to.phone

    def names(self) -> dict[str, str]:
        """What the templates of `settings` see, by the names that they are compiled for."""
        names = {
            "phone": self.to.phone,
            "phone.e164": self.to.e164 or "",  # no template can name it: what the number filters read `phone` from
            "message": self.text,
            "otp": self.text,
            "sender": self.sender,
            "reference": self.reference,
        }
        for name, value in self.vars.items():
            names["vars." + name] = value
        return names


MAX_TEXT = 10_000  # characters
# C0 and DEL, but what breaks lines and pages: no phone shows them
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")


def text_fault(text: str) -> str | None:
    """Why this cannot be the text of a message, or None."""
    if not text:
        return "is empty"
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT:,} characters"
    return control_fault(text)


def control_fault(text: str) -> str | None:
    """Why a part of a text cannot stand in a message, or None."""
    return "holds a control character other than a tab, line or page break" if _CONTROL.search(text) else None


def sender_fault(sender: str) -> str | None:
    """Why this is no source address, or None: an MSISDN, a short code, or up to 11 GSM characters (3GPP TS 23.040)."""
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return None if len(digits) <= 15 else "a number has 15 digits at most"
    compact = "".join(sender.split())
    if compact != sender and compact.removeprefix("+").isdecimal():
        return "it looks like a number that is written with blanks: leave them out"
    if not segments.is_gsm7(sender) or any(character < " " for character in sender):
        return "a name may hold characters of the GSM alphabet only"
    if segments.count(sender).units > 11:
        return "a name has 11 GSM characters at most"
    return None
