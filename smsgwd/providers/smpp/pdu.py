"""SMPP v3.4 PDUs: cut out of a stream of octets by us, their bodies written and read by smpplib."""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from smpplib import smpp
from smpplib.command import SubmitSM
from smpplib.exceptions import UnknownCommandError

# smpplib warns of every TLV that it does not know; SMSCs add their own to each receipt.
logging.getLogger("smpplib").setLevel(logging.ERROR)

RESPONSE = 0x80000000  # SMPP 5.1.2.1: set in the command_id of every answer
LAST_SEQUENCE = 0x7FFFFFFF  # SMPP 5.1.4: from 1 to here, then from 1 again
LARGEST_PDU = 64 * 1024  # octets; SMPP sets no limit, but no PDU that an ESME gets is near this one
_LONGEST_ID = 254  # octets; SMPP allows 64, SMSCs take more
_HEADER = struct.Struct(">LLLL")  # SMPP 3.2: command_length, command_id, command_status, sequence_number


class Command(IntEnum):
    """The command_ids that a sending ESME meets (SMPP 5.1.2.1)."""

    GENERIC_NACK = 0x80000000
    BIND_TRANSMITTER = 0x00000002
    SUBMIT_SM = 0x00000004
    DELIVER_SM = 0x00000005
    UNBIND = 0x00000006
    BIND_TRANSCEIVER = 0x00000009
    ENQUIRE_LINK = 0x00000015
    ALERT_NOTIFICATION = 0x00000102
    DATA_SM = 0x00000103


class FrameError(Exception):
    """A stream that is not SMPP, or that we lost our place in."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One PDU as it came, its header read."""

    command: int
    status: int
    sequence: int
    octets: bytes

    @property
    def is_response(self) -> bool:
        """Whether it answers something."""
        return bool(self.command & RESPONSE)


class Framer:
    """Cuts a stream into PDUs. What is incomplete is kept until the rest has come."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> Iterator[Frame]:
        """The PDUs that are complete now. Raises FrameError at an impossible length, after those before it."""
        self._buffer += octets
        start = 0
        try:
            while (frame := self._frame(start)) is not None:
                start += len(frame.octets)
                yield frame
        finally:
            del self._buffer[:start]

    def _frame(self, start: int) -> Frame | None:
        if len(self._buffer) - start < _HEADER.size:
            return None
        length, command, status, sequence = _HEADER.unpack_from(self._buffer, start)
        if not _HEADER.size <= length <= LARGEST_PDU:
            raise FrameError(f"a PDU of {length} octets: this is not SMPP")
        end = start + length
        return None if end > len(self._buffer) else Frame(command, status, sequence, bytes(self._buffer[start:end]))


def frame(command: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    """The octets of a PDU."""
    return _HEADER.pack(_HEADER.size + len(body), command, status, sequence) + body


class _Submission(SubmitSM):  # type: ignore[misc]  # smpplib has no types
    """A submit_sm with the fields that we send: smpplib asks itself for each of its 26 TLVs whether it is there."""

    params_order = (
        *SubmitSM.params_order[: SubmitSM.params_order.index("short_message") + 1],
        "sar_msg_ref_num",
        "sar_total_segments",
        "sar_segment_seqnum",
        "message_payload",
    )
    params: ClassVar[dict[str, Any]] = {name: SubmitSM.params[name] for name in params_order}


# Fields that are not given are empty or 0. Texts have to fit the limits of SMPP 4.1 and 4.4: smpplib cuts what does
# not, without a word. It wants a sequence number and then ignores it: the header is written by `frame`.


def bind_body(mode: str, **fields: str) -> bytes:
    """The body of a bind_transceiver or bind_transmitter (SMPP 4.1)."""
    octets: bytes = smpp.make_pdu(f"bind_{mode}", sequence=0, **fields).generate_params()
    return octets


def submit_body(**fields: Any) -> bytes:
    """The body of a submit_sm (SMPP 4.4.1)."""
    octets: bytes = _Submission("submit_sm", sequence=0, **fields).generate_params()
    return octets


EMPTY_MESSAGE_ID = b"\0"  # SMPP 4.6.2: the body of a deliver_sm_resp, an unused message_id


def message_id(answer: Frame) -> str:
    """The message_id of a submit_sm_resp, which is all of its body (SMPP 4.4.2); empty when there is none."""
    return _text(answer.octets[_HEADER.size : _HEADER.size + _LONGEST_ID].partition(b"\0")[0])


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a deliver_sm or data_sm brings: a receipt, or a message of a phone."""

    source: str
    esm_class: int
    data_coding: int
    text: bytes
    receipted_message_id: str
    message_state: int | None


def delivery(request: Frame) -> Delivery:
    """A deliver_sm or data_sm, as far as it can be read."""
    fields = _fields(request)
    return Delivery(
        source=_text(fields.get("source_addr")),
        esm_class=fields.get("esm_class") or 0,
        data_coding=fields.get("data_coding") or 0,
        text=fields.get("short_message") or fields.get("message_payload") or b"",
        receipted_message_id=_text(fields.get("receipted_message_id")),
        message_state=fields.get("message_state"),
    )


def _fields(received: Frame) -> dict[str, Any]:
    try:
        parsed = smpp.parse_pdu(received.octets, sequence=received.sequence, allow_unknown_opt_params=True)
    except (struct.error, KeyError, TypeError, UnknownCommandError):  # what smpplib raises for a body cut short or odd
        return {}
    fields: dict[str, Any] = vars(parsed)
    return fields


def _text(octets: bytes | None) -> str:
    """A C-octet string, which is ASCII by SMPP 3.1."""
    return printable((octets or b"").decode("ascii", "replace"))


def printable(text: str) -> str:
    """A text of the SMSC's, fit to be shown: no control character passes."""
    return "".join(character if character.isprintable() else "?" for character in text)
