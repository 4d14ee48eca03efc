"""Addresses of SMPP: digits or a name, with type of number and numbering plan (SMPP v3.4, 5.2.5 and 5.2.6)."""

import re
from dataclasses import dataclass
from typing import Any

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason

LONGEST_ADDRESS = 20  # octets; SMPP 4.4.1: 21 with the NUL that ends it


@dataclass(frozen=True, slots=True)
class Kind:
    """TON and NPI; None: as the sender's form says."""

    ton: int | None = None
    npi: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """One address as it stands in a submit_sm."""

    text: str
    ton: int
    npi: int

    def as_dict(self) -> dict[str, Any]:
        """As `smsgwd render` shows it."""
        return {"address": self.text, "ton": self.ton, "npi": self.npi}


# What a sender looks like, and its TON and NPI by SMPP 5.2.5: 1 international, 2 national, 3 network specific,
# 5 alphanumeric; 5.2.6: 1 E.164, 0 unknown. The group is what goes on the wire: international numbers have no prefix.
_FORMS = (
    (re.compile(r"()"), 0, 0),  # no sender: the SMSC uses the account's own
    (re.compile(r"(?:\+|00)([0-9]+)"), 1, 1),
    (re.compile(r"([0-9]{3,8})"), 3, 0),  # a short code means something in this network alone
    (re.compile(r"(0[0-9]+)"), 2, 1),
    (re.compile(r"([0-9]+)"), 1, 1),
    (re.compile(r"(.*)", re.DOTALL), 5, 0),
)


def source(sender: str, given: Kind) -> Address:
    """The source address. A TON that is given leaves the sender as it is written. Raises MessageError."""
    if fault := address_fault(sender):
        raise MessageError(Reason.INVALID_SENDER, f"the sender {fault}")
    match, ton, npi = next((found, ton, npi) for form, ton, npi in _FORMS if (found := form.fullmatch(sender)))
    return Address(
        text=match[1] if given.ton is None else sender,
        ton=ton if given.ton is None else given.ton,
        npi=npi if given.npi is None else given.npi,
    )


def destination(phone: str, given: Kind) -> Address:
    """The destination address, just as the gateway's `phone` rules wrote it. Raises MessageError."""
    if fault := address_fault(phone):
        raise MessageError(Reason.INVALID_DESTINATION, f"the number {fault}")
    return Address(phone, 1 if given.ton is None else given.ton, 1 if given.npi is None else given.npi)


def address_fault(text: str) -> str | None:
    """Why a text is no address, or None. SMPP 3.1: C-octet strings are ASCII."""
    if not (text.isascii() and (text.isprintable() or not text)):
        return "may hold printable ASCII characters only: SMPP carries no others in an address"
    if len(text) > LONGEST_ADDRESS:
        return f"is longer than {LONGEST_ADDRESS} octets, the limit of SMPP"
    return None
