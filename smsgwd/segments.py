"""Segments: what a text becomes on the air, by 3GPP TS 23.038 (alphabets) and 23.040 (concatenation).

A part holds 140 octets of user data. The GSM 7-bit default alphabet packs 160 septets into them, UCS-2 70 code units;
a message of several parts spends 6 or 7 octets of each on a user data header (23.040, 9.2.3.24.1 and 9.2.3.24.8).
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass

GSM7 = "gsm7"
UCS2 = "ucs2"
LATIN1 = "latin1"  # SMPP data_coding 3; not an alphabet of 23.038, and not one that `auto` chooses
AUTO = "auto"  # GSM 7-bit where it can hold the text, else UCS-2
MAX_PARTS = 255  # the header counts parts in one octet

_ESCAPE = "\x1b"  # 23.038, 6.2.1: announces a character of the extension table; no character itself
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)  # 23.038, 6.2.1: the position of a character is its septet
_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}  # 23.038, 6.2.1.1: an escape and the septet
_SEPTETS = str.maketrans(
    {character: chr(septet) for septet, character in enumerate(_BASIC) if character != _ESCAPE}
    | {character: _ESCAPE + chr(septet) for character, septet in _EXTENSION.items()}
)
_GSM7_RUN = re.compile("[" + re.escape("".join(map(chr, _SEPTETS))) + "]*")


class EncodingError(ValueError):
    """A text that an encoding cannot hold (`index` is the character's), or that needs more than 255 parts."""

    def __init__(self, message: str, index: int | None = None) -> None:
        self.index = index
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Split:
    """A text in its parts, each without its user data header. GSM 7-bit is unpacked: one septet per octet."""

    encoding: str
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How long a text is. `units` are septets (gsm7), UTF-16 code units (ucs2) or octets (latin1)."""

    encoding: str
    segments: int
    units: int
    per_segment: int  # units that one segment of this message holds


def is_gsm7(text: str) -> bool:
    """Whether the GSM 7-bit default alphabet and its extension table hold the text (3GPP TS 23.038, 6.2.1)."""
    return _GSM7_RUN.fullmatch(text) is not None


def encoding_of(text: str) -> str:
    """`gsm7` where it holds the text, else `ucs2`."""
    return GSM7 if is_gsm7(text) else UCS2


def encode_gsm7(text: str) -> bytes:
    """One septet per octet, as SMPP carries it; an extension character is two. Raises EncodingError."""
    run = _GSM7_RUN.match(text)
    end = 0 if run is None else run.end()
    if end < len(text):
        raise _cannot_hold("the GSM 7-bit alphabet", text, end)
    return text.translate(_SEPTETS).encode("ascii")


def encode_ucs2(text: str) -> bytes:
    """UTF-16, big-endian: what telephones read as UCS-2. Raises EncodingError for half of a surrogate pair."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise _cannot_hold("Unicode text", text, error.start) from None


def encode_latin1(text: str) -> bytes:
    """ISO 8859-1. Raises EncodingError."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise _cannot_hold("Latin-1", text, error.start) from None


def _cannot_hold(alphabet: str, text: str, index: int) -> EncodingError:
    return EncodingError(f"{alphabet} has no U+{ord(text[index]):04X} (character {index + 1} of the text)", index)


@dataclass(frozen=True, slots=True)
class _Alphabet:
    encode: Callable[[str], bytes]
    unit: int  # octets of the encoded text that make one unit
    alone: int  # units of a message that is one segment
    joined: Mapping[int, int]  # bits of the reference number -> units of one segment among several
    opens_pair: Container[int]  # first octets of units that must not be parted from the next


_ALPHABETS = {
    GSM7: _Alphabet(encode_gsm7, 1, 160, {8: 153, 16: 152}, {ord(_ESCAPE)}),
    UCS2: _Alphabet(encode_ucs2, 2, 70, {8: 67, 16: 66}, range(0xD8, 0xDC)),
    LATIN1: _Alphabet(encode_latin1, 1, 140, {8: 134, 16: 133}, ()),
}


def split(text: str, *, encoding: str = AUTO, reference_bits: int = 8) -> Split:
    """The text in parts. An escape pair and a surrogate pair stay whole, which can leave a part one unit short.

    `encoding` is auto, gsm7, ucs2 or latin1; `reference_bits` 8 or 16. Raises EncodingError.
    """
    chosen = encoding_of(text) if encoding == AUTO else encoding
    alphabet = _ALPHABETS[chosen]
    octets = alphabet.encode(text)
    if len(octets) <= alphabet.alone * alphabet.unit:
        return Split(chosen, (octets,))
    parts = tuple(_cut(octets, alphabet, alphabet.joined[reference_bits] * alphabet.unit))
    if len(parts) > MAX_PARTS:
        raise EncodingError(f"the text needs {len(parts)} parts; a message has {MAX_PARTS} at most")
    return Split(chosen, parts)


def _cut(octets: bytes, alphabet: _Alphabet, size: int) -> Iterator[bytes]:
    start = 0
    while start < len(octets):
        end = start + size
        if end < len(octets) and octets[end - alphabet.unit] in alphabet.opens_pair:
            end -= alphabet.unit
        yield octets[start:end]
        start = end


def count(text: str, *, encoding: str = AUTO, reference_bits: int = 8) -> Count:
    """How many segments the text takes; an empty one is still a message. Arguments and errors as `split`."""
    message = split(text, encoding=encoding, reference_bits=reference_bits)
    alphabet = _ALPHABETS[message.encoding]
    segments = len(message.parts)
    units = sum(map(len, message.parts)) // alphabet.unit
    return Count(
        message.encoding, segments, units, alphabet.alone if segments == 1 else alphabet.joined[reference_bits]
    )


def udh(reference: int, total: int, number: int, bits: int = 8) -> bytes:
    """The user data header of part `number` (from 1) of `total`: element 0x00 (8-bit reference) or 0x08 (16-bit).

    3GPP TS 23.040, 9.2.3.24.1 and 9.2.3.24.8. Raises ValueError for what does not fit.
    """
    if not (1 <= number <= total <= MAX_PARTS and 0 <= reference < 1 << bits):
        raise ValueError(f"no such part: {number} of {total}, reference {reference} in {bits} bits")
    head = {8: b"\x05\x00\x03", 16: b"\x06\x08\x04"}[bits]
    return head + reference.to_bytes(bits // 8, "big") + bytes((total, number))
