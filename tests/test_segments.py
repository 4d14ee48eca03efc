import re

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.segments import (
    Count,
    EncodingError,
    Split,
    count,
    encode_gsm7,
    encode_latin1,
    encode_ucs2,
    encoding_of,
    is_gsm7,
    split,
    udh,
)

# The tables of 3GPP TS 23.038 written another way than in the code: by row and column of the printed page.
BASIC_ROWS: list[list[str | None]] = [
    ["@", "Δ", " ", "0", "¡", "P", "¿", "p"],
    ["£", "_", "!", "1", "A", "Q", "a", "q"],
    ["$", "Φ", '"', "2", "B", "R", "b", "r"],
    ["¥", "Γ", "#", "3", "C", "S", "c", "s"],
    ["è", "Λ", "¤", "4", "D", "T", "d", "t"],
    ["é", "Ω", "%", "5", "E", "U", "e", "u"],
    ["ù", "Π", "&", "6", "F", "V", "f", "v"],
    ["ì", "Ψ", "'", "7", "G", "W", "g", "w"],
    ["ò", "Σ", "(", "8", "H", "X", "h", "x"],
    ["Ç", "Θ", ")", "9", "I", "Y", "i", "y"],
    ["\n", "Ξ", "*", ":", "J", "Z", "j", "z"],
    ["Ø", None, "+", ";", "K", "Ä", "k", "ä"],
    ["ø", "Æ", ",", "<", "L", "Ö", "l", "ö"],
    ["\r", "æ", "-", "=", "M", "Ñ", "m", "ñ"],
    ["Å", "ß", ".", ">", "N", "Ü", "n", "ü"],
    ["å", "É", "/", "?", "O", "§", "o", "à"],
]
BASIC = {
    character: column * 16 + row
    for row, cells in enumerate(BASIC_ROWS)
    for column, character in enumerate(cells)
    if character is not None
}
EXTENSION = {
    "\f": "1b0a",
    "^": "1b14",
    "{": "1b28",
    "}": "1b29",
    "\\": "1b2f",
    "[": "1b3c",
    "~": "1b3d",
    "]": "1b3e",
    "|": "1b40",
    "€": "1b65",
}
GSM_CHARACTERS = "".join(BASIC) + "".join(EXTENSION)
GSM_TEXTS = st.text(alphabet=GSM_CHARACTERS, max_size=700)
LONG_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def test_basic_alphabet_is_that_of_the_standard() -> None:
    """Each of the 127 characters of the default alphabet becomes the septet of its row and column."""
    assert {character: encode_gsm7(character)[0] for character in BASIC} == BASIC
    assert len(BASIC) == 127


@pytest.mark.parametrize(("character", "pair"), EXTENSION.items())
def test_extension_characters_take_two_septets(character: str, pair: str) -> None:
    """A character of the extension table is an escape and a septet, and counts as two."""
    assert encode_gsm7(character).hex() == pair
    assert count(character).units == 2


@pytest.mark.parametrize("character", ["`", "\x1b", "\t", "ç", "á", "\u00b4", "“", "😀", "\u00a0", "\x00"])
def test_what_the_alphabet_lacks_is_ucs2(character: str) -> None:
    """One character outside of the alphabet makes the whole text UCS-2, the escape itself among them."""
    assert not is_gsm7("abc" + character)
    assert encoding_of("abc" + character) == "ucs2"
    assert split("abc" + character) == Split("ucs2", (("abc" + character).encode("utf-16-be"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Count("gsm7", 1, 0, 160)),
        ("§", Count("gsm7", 1, 1, 160)),
        ("`", Count("ucs2", 1, 1, 70)),
        ("a" * 160, Count("gsm7", 1, 160, 160)),
        ("a" * 161, Count("gsm7", 2, 161, 153)),
        ("a" * 306, Count("gsm7", 2, 306, 153)),
        ("a" * 307, Count("gsm7", 3, 307, 153)),
        ("€" * 80, Count("gsm7", 1, 160, 160)),
        ("€" * 81, Count("gsm7", 2, 162, 153)),
        ("€" * 152, Count("gsm7", 2, 304, 153)),  # 76 pairs in each part: the 153rd septet stays empty
        ("€" * 153, Count("gsm7", 3, 306, 153)),  # by division it would be 2
        ("a" * 152 + "€" + "a" * 152, Count("gsm7", 3, 306, 153)),
        ("ж" * 70, Count("ucs2", 1, 70, 70)),
        ("ж" * 71, Count("ucs2", 2, 71, 67)),
        ("ж" * 134, Count("ucs2", 2, 134, 67)),
        ("ж" * 135, Count("ucs2", 3, 135, 67)),
        ("😀" * 35, Count("ucs2", 1, 70, 70)),
        ("😀" * 36, Count("ucs2", 2, 72, 67)),
        ("😀" * 67, Count("ucs2", 3, 134, 67)),  # 33 pairs in each part
        ("ж" * 66 + "😀" + "ж" * 66, Count("ucs2", 3, 134, 67)),
    ],
)
def test_counts_at_the_borders(text: str, expected: Count) -> None:
    """Segments are counted by really splitting: a pair that does not fit moves whole to the next part."""
    assert count(text) == expected


@pytest.mark.parametrize(
    ("encoding", "bits", "alone", "joined"),
    [
        ("gsm7", 8, 160, 153),
        ("gsm7", 16, 160, 152),
        ("ucs2", 8, 70, 67),
        ("ucs2", 16, 70, 66),
        ("latin1", 8, 140, 134),
        ("latin1", 16, 140, 133),
    ],
)
def test_sizes_of_each_encoding(encoding: str, bits: int, alone: int, joined: int) -> None:
    """A header with a 16-bit reference costs one unit more than one with 8 bits."""
    assert count("a" * alone, encoding=encoding, reference_bits=bits) == Count(encoding, 1, alone, alone)
    assert count("a" * (alone + 1), encoding=encoding, reference_bits=bits).per_segment == joined
    assert count("a" * 2 * joined, encoding=encoding, reference_bits=bits).segments == 2
    assert count("a" * (2 * joined + 1), encoding=encoding, reference_bits=bits).segments == 3


def test_pairs_stay_whole_at_a_border() -> None:
    """Neither an escape nor a high surrogate ends a part while its second half begins the next."""
    euro = split("a" * 152 + "€" + "b" * 20).parts
    assert [part[-1:] for part in euro] == [b"a", b"b"]
    assert euro[1].startswith(b"\x1b\x65")
    emoji = split("ж" * 66 + "😀" + "ж" * 20).parts
    assert [len(part) for part in emoji] == [132, 44]
    assert emoji[1].decode("utf-16-be").startswith("😀")


@given(GSM_TEXTS | LONG_TEXTS)
def test_parts_hold_the_text_and_fit(text: str) -> None:
    """The parts joined are the encoded text, each is within 140 octets on the air, none but the last is wasteful."""
    for bits in (8, 16):
        message = split(text, reference_bits=bits)
        encoded = encode_gsm7(text) if message.encoding == "gsm7" else text.encode("utf-16-be")
        assert b"".join(message.parts) == encoded
        header = 0 if len(message.parts) == 1 else len(udh(0, len(message.parts), 1, bits))
        units = 1 if message.encoding == "gsm7" else 2
        room = (140 - header) * 8 // 7 if message.encoding == "gsm7" else (140 - header) // 2 * 2
        assert all(len(part) <= room for part in message.parts)
        assert all(len(part) >= room - units for part in message.parts[:-1])


def as_smsutil_splits(text: str) -> list[str]:
    return [part.content for part in smsutil.split(text).parts]


@given(GSM_TEXTS | LONG_TEXTS)
def test_agrees_with_an_independent_splitter(text: str) -> None:
    """An independent splitter, smsutil, cuts the same text at the same places.

    Left out: an escape character, which smsutil takes for one of the alphabet (23.038 has no such character), and the
    empty text, which it calls UTF-16.
    """
    text = text.replace("\x1b", "") or "x"
    message = split(text)
    expected = as_smsutil_splits(text)
    codec = "gsm0338" if message.encoding == "gsm7" else "utf-16-be"
    assert list(message.parts) == [part.encode(codec) for part in expected]
    assert smsutil.split(text).encoding == {"gsm7": "gsm0338", "ucs2": "utf_16_be"}[message.encoding]


@given(st.text(max_size=200))
def test_any_text_is_split_or_refused(text: str) -> None:
    """Lone surrogates, as JSON can carry them, are refused by an EncodingError and never crash."""
    if re.search("[\ud800-\udfff]", text):
        with pytest.raises(EncodingError, match=r"U\+D[8-F]"):
            split(text)
    else:
        assert count(text).segments == len(split(text).parts)


@pytest.mark.parametrize(
    ("text", "encoding", "index", "words"),
    [
        ("abc`", "gsm7", 3, "the GSM 7-bit alphabet has no U+0060 (character 4 of the text)"),
        ("`", "gsm7", 0, "the GSM 7-bit alphabet has no U+0060 (character 1 of the text)"),
        ("a€", "latin1", 1, "Latin-1 has no U+20AC (character 2 of the text)"),
        ("x\ud800", "ucs2", 1, "Unicode text has no U+D800 (character 2 of the text)"),
        ("x\ud800", "auto", 1, "Unicode text has no U+D800 (character 2 of the text)"),
    ],
)
def test_names_the_character_that_does_not_fit(text: str, encoding: str, index: int, words: str) -> None:
    """The error says which character it was, by code point and place, and does not repeat the text."""
    with pytest.raises(EncodingError) as caught:
        split(text, encoding=encoding)
    assert (caught.value.index, str(caught.value)) == (index, words)


def test_refuses_more_than_255_parts() -> None:
    """255 parts are the most that the header can count; the 256th is an error, for `count` too."""
    assert count("a" * 153 * 255).segments == 255
    with pytest.raises(EncodingError, match="needs 256 parts"):
        split("a" * (153 * 255 + 1))
    with pytest.raises(EncodingError, match="255 at most"):
        count("a" * (153 * 255 + 1))


def test_latin1_and_ucs2_octets() -> None:
    """Latin-1 is one octet per character; UCS-2 is big-endian without a byte order mark."""
    assert encode_latin1("é§ü") == bytes.fromhex("e9a7fc")
    assert encode_ucs2("é😀") == bytes.fromhex("00e9d83dde00")
    assert split("naïve", encoding="latin1") == Split("latin1", (b"na\xefve",))


@pytest.mark.parametrize(
    ("arguments", "header"),
    [((0xAB, 3, 1), "050003ab0301"), ((0xAB, 255, 255, 8), "050003abffff"), ((0x12AB, 3, 2, 16), "06080412ab0302")],
)
def test_user_data_header(arguments: tuple[int, ...], header: str) -> None:
    """The header is length, element, its length, reference, total and number of the part (23.040)."""
    assert udh(*arguments).hex() == header


@pytest.mark.parametrize("arguments", [(256, 2, 1), (-1, 2, 1), (0, 2, 0), (0, 2, 3), (0, 256, 1), (65536, 2, 1, 16)])
def test_user_data_header_refuses_what_does_not_fit(arguments: tuple[int, ...]) -> None:
    """A reference, total or number outside of its octets is a ValueError."""
    with pytest.raises(ValueError, match="no such part"):
        udh(*arguments)
