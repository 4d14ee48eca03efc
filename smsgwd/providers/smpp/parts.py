"""A message as SMPP carries it: one submit_sm, or several (SMPP v3.4, 4.4.1; 3GPP TS 23.040, 9.2.3.24)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smsgwd import segments
from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.providers._base import Prepared
from smsgwd.providers.smpp import pdu
from smsgwd.providers.smpp.address import Address

DATA_CODINGS = {segments.GSM7: 0, segments.LATIN1: 3, segments.UCS2: 8}  # SMPP 5.2.19
_UDHI = 0x40  # SMPP 5.2.12: short_message begins with a user data header


@dataclass(frozen=True, slots=True)
class Style:
    """What the settings say about each message."""

    encoding: str = segments.AUTO
    long_messages: str = "udh"  # or sar, payload
    reference_bits: int = 8
    fields: Mapping[str, Any] = field(default_factory=dict)  # of submit_sm, the same for all messages


@dataclass(frozen=True, slots=True)
class Submission(Prepared):
    """A message with its parts, each without its header: the reference is chosen when it is sent."""

    source: Address
    destination: Address
    style: Style
    encoding: str
    parts: tuple[bytes, ...]  # one alone for `payload`, whatever its length
    is_long: bool  # more than one segment on the air

    @property
    def data_coding(self) -> int:
        """The alphabet of the parts."""
        return DATA_CODINGS[self.encoding]

    @property
    def esm_class(self) -> int:
        """Whether the parts begin with a user data header."""
        return _UDHI if self.is_long and self.style.long_messages == "udh" else 0

    def count(self) -> segments.Count:
        """How long the text is on the air, in the alphabet that it is sent in."""
        return segments.count(self.text, encoding=self.encoding, reference_bits=self.style.reference_bits)

    def contents(self, reference: int) -> Iterator[dict[str, Any]]:
        """The fields that carry each part."""
        carry = CARRIERS[self.style.long_messages] if self.is_long else _alone
        for number, part in enumerate(self.parts, start=1):
            yield carry(part, _Place(reference, len(self.parts), number, self.style.reference_bits))

    def bodies(self, references: Iterator[int]) -> Iterator[bytes]:
        """The body of each submit_sm. A reference is taken, if one is needed, when the first part is asked for."""
        reference = next(references) % (1 << self.style.reference_bits) if len(self.parts) > 1 else 0
        for content in self.contents(reference):
            yield pdu.submit_body(
                source_addr_ton=self.source.ton,
                source_addr_npi=self.source.npi,
                source_addr=self.source.text,
                dest_addr_ton=self.destination.ton,
                dest_addr_npi=self.destination.npi,
                destination_addr=self.destination.text,
                esm_class=self.esm_class,
                data_coding=self.data_coding,
                **self.style.fields,
                **content,
            )


@dataclass(frozen=True, slots=True)
class _Place:
    reference: int
    total: int
    number: int
    bits: int


def _alone(part: bytes, place: _Place) -> dict[str, Any]:  # noqa: ARG001 - as the others
    return {"short_message": part}


def _udh(part: bytes, place: _Place) -> dict[str, Any]:
    return {"short_message": segments.udh(place.reference, place.total, place.number, place.bits) + part}


def _sar(part: bytes, place: _Place) -> dict[str, Any]:
    # SMPP 5.3.2.22 to 5.3.2.24: the SMSC makes the header, with as many bits as it sees fit
    return {
        "short_message": part,
        "sar_msg_ref_num": place.reference,
        "sar_total_segments": place.total,
        "sar_segment_seqnum": place.number,
    }


def _payload(part: bytes, place: _Place) -> dict[str, Any]:  # noqa: ARG001 - as the others
    return {"message_payload": part}  # SMPP 5.3.2.32: the SMSC cuts it


CARRIERS: Mapping[str, Callable[[bytes, _Place], dict[str, Any]]] = {"udh": _udh, "sar": _sar, "payload": _payload}


def submission(text: str, source: Address, destination: Address, style: Style) -> Submission:
    """The message in its parts. Raises MessageError for a text that the data_coding cannot hold."""
    try:
        split = segments.split(text, encoding=style.encoding, reference_bits=style.reference_bits)
    except segments.EncodingError as error:
        raise MessageError(Reason.CONTENT, str(error)) from None
    parts = (b"".join(split.parts),) if style.long_messages == "payload" else split.parts
    return Submission(text, source, destination, style, split.encoding, parts, is_long=len(split.parts) > 1)
