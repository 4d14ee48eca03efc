"""PINs are kept as scrypt hashes, in a form that other programs read."""

import pytest

from smsgwd.pin import MOST_OCTETS, PinHash

# scrypt(password="pleaseletmein", salt="SodiumChloride", N=16384, r=8, p=1), RFC 7914, section 12
RFC = (
    "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
    "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"
)


def test_the_vector_of_the_rfc() -> None:
    """A hash that RFC 7914 gives is that of its password, and of no other."""
    assert PinHash.parse(RFC).fits("pleaseletmein")
    assert not PinHash.parse(RFC).fits("pleaseletmeim")


def test_a_new_hash_is_read_again() -> None:
    """What `of` writes `parse` reads; two hashes of one PIN differ; nothing of it is shown by repr."""
    first, second = PinHash.of("1234ä"), PinHash.of("1234ä")
    assert PinHash.parse(str(first)) == first != second
    assert first.fits("1234ä")
    assert not first.fits("1234")
    assert repr(first) == "PinHash(ln=15, r=8, p=1)"


@pytest.mark.parametrize("pin", ["", "9" * (MOST_OCTETS + 1)])
def test_a_pin_has_a_length(pin: str) -> None:
    """No PIN is empty, and none so long that nobody typed it."""
    with pytest.raises(ValueError, match="the PIN is"):
        PinHash.of(pin)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a hash"),
        ("1234", "not a hash"),
        ("$scrypt$ln=15,r=8,p=1$abc$", "not a hash"),
        (RFC + "\n", "not a hash"),
        (RFC.replace("ln=14", "ln=4"), "guessed too fast"),
        (RFC.replace("p=1", "p=0"), "guessed too fast"),
        (RFC.replace("ln=14", "ln=30"), "too much memory"),
        (RFC.replace("ln=14,r=8", "ln=15,r=99"), "too much memory"),
        (RFC.replace("U29kaXVtQ2hsb3JpZGU", "U29k"), "too short"),
        (RFC.replace("U29kaXVtQ2hsb3JpZGU", "U29kaXVtQ"), "not base64"),
    ],
)
def test_a_wrong_hash_is_told_without_being_repeated(text: str, words: str) -> None:
    """Cost, form and length are looked at before a run of scrypt could take long."""
    with pytest.raises(ValueError, match=words) as raised:
        PinHash.parse(text)
    assert "U29k" not in str(raised.value)
