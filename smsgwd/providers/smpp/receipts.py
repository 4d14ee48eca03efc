"""Delivery receipts: what a deliver_sm says of an earlier message (SMPP v3.4, 5.2.12 and Appendix B)."""

import re
from dataclasses import dataclass

from smpplib import consts

from smsgwd.providers.smpp.pdu import Delivery, printable

_MESSAGE_TYPE = 0x3C  # SMPP 5.2.12: bits 5 to 2 of esm_class
_RECEIPT_TYPES = {0x04, 0x20}  # an SMSC's receipt, an intermediate notification
_UCS2 = 8
# Appendix B; "Text:" and what follows it is the message itself, which is not ours to read
_FIELD = re.compile(r"\b(id|stat|err):(\S+)", re.IGNORECASE)
_TEXT = re.compile(r"\btext:", re.IGNORECASE)

# SMPP 5.2.28 and Appendix B: message_state and its word in a receipt
_STATES = {
    consts.SMPP_MESSAGE_STATE_ENROUTE: "ENROUTE",
    consts.SMPP_MESSAGE_STATE_DELIVERED: "DELIVRD",
    consts.SMPP_MESSAGE_STATE_EXPIRED: "EXPIRED",
    consts.SMPP_MESSAGE_STATE_DELETED: "DELETED",
    consts.SMPP_MESSAGE_STATE_UNDELIVERABLE: "UNDELIV",
    consts.SMPP_MESSAGE_STATE_ACCEPTED: "ACCEPTD",
    consts.SMPP_MESSAGE_STATE_UNKNOWN: "UNKNOWN",
    consts.SMPP_MESSAGE_STATE_REJECTED: "REJECTD",
}
OTHER = "OTHER"  # a word that SMPP does not know; a metric cannot have a label for each that an SMSC makes up


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one segment, in the SMSC's words."""

    message_id: str
    state: str
    error: str


def receipt(delivery: Delivery) -> Receipt | None:
    """The receipt; None for a message that a phone sent. The TLVs of SMPP 3.4 count before the text of Appendix B."""
    if delivery.esm_class & _MESSAGE_TYPE not in _RECEIPT_TYPES and not delivery.receipted_message_id:
        return None
    fields = _fields(delivery)
    word = _STATES.get(delivery.message_state or 0, fields.get("stat", "").upper())
    return Receipt(
        message_id=delivery.receipted_message_id or fields.get("id", ""),
        state=word if word in _STATES.values() else OTHER,
        error=fields.get("err", ""),
    )


def _fields(delivery: Delivery) -> dict[str, str]:
    text = delivery.text.decode("utf-16-be" if delivery.data_coding == _UCS2 else "latin-1", "replace")
    return {key.lower(): printable(value[:65]) for key, value in _FIELD.findall(_TEXT.split(text, maxsplit=1)[0])}
