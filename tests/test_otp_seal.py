import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.otp.seal import LENGTH, KeyRing

KEY, OTHER_KEY = os.urandom(32), os.urandom(32)
RING = KeyRing([KEY])
CODE, EXPIRES_AT = "0493817", 1_800_000_000.125
CONTEXTS = st.text(max_size=40)


@given(st.text("0123456789", min_size=4, max_size=10), st.integers(0, 1 << 50), CONTEXTS)
def test_what_is_sealed_is_opened(code: str, expires_ms: int, context: str) -> None:
    """An id gives back code and expiry, by the same key and for the same context, and all ids are of one length."""
    transaction_id = RING.seal(code, expires_ms / 1000, context)
    sealed = RING.open(transaction_id, context)
    assert sealed is not None
    assert (sealed.code, sealed.expires_at) == (code, int(expires_ms / 1000 * 1000) / 1000)
    assert len(transaction_id) == LENGTH == 74
    assert transaction_id.replace("-", "").replace("_", "").isalnum()


@given(st.integers(0, LENGTH * 8 - 1))
def test_any_flipped_bit_of_the_text_is_invalid(bit: int) -> None:
    """An id of which one bit is another, also one that decodes to the same octets, is none."""
    text = bytearray(RING.seal(CODE, EXPIRES_AT, "vpn").encode())
    text[bit // 8] ^= 1 << bit % 8
    assert RING.open(text.decode("latin-1"), "vpn") is None


@given(st.integers(0, 55 * 8 - 1))
def test_any_flipped_bit_of_the_octets_is_invalid(bit: int) -> None:
    """Version, key, expiry, nonce, code and tag: none of them can be changed."""
    octets = bytearray(base64.urlsafe_b64decode(RING.seal(CODE, EXPIRES_AT, "vpn") + "=="))
    octets[bit // 8] ^= 1 << bit % 8
    assert RING.open(base64.urlsafe_b64encode(octets).decode().rstrip("="), "vpn") is None


@given(st.integers(0, LENGTH - 1), st.text(max_size=3))
def test_a_cut_id_is_invalid(length: int, more: str) -> None:
    """An id that is cut anywhere, also with something else in the place of the rest, is none."""
    transaction_id = RING.seal(CODE, EXPIRES_AT, "")
    assert RING.open(transaction_id[:length] + more, "") is None or transaction_id == transaction_id[:length] + more


@given(st.text(max_size=100))
def test_any_text_is_no_id(text: str) -> None:
    """Whatever is given as an id, there is no exception."""
    assert RING.open(text, "") is None


@pytest.mark.parametrize("ending", ["=", "==", "\n", " ", "\0", "A"])
def test_one_challenge_has_one_id(ending: str) -> None:
    """Padding, blanks and line ends are not overlooked."""
    assert RING.open(RING.seal(CODE, EXPIRES_AT, "") + ending, "") is None


@given(CONTEXTS, CONTEXTS)
def test_another_context_is_invalid(context: str, other: str) -> None:
    """An id is for the context that it was sealed for."""
    sealed = RING.open(RING.seal(CODE, EXPIRES_AT, context), other)
    assert (sealed is not None) is (context == other)


def test_a_foreign_key_is_invalid() -> None:
    """What another key has sealed is not opened, also not when it is said to be of ours."""
    foreign = base64.urlsafe_b64decode(KeyRing([OTHER_KEY]).seal(CODE, EXPIRES_AT, "") + "==")
    ours = base64.urlsafe_b64decode(RING.seal(CODE, EXPIRES_AT, "") + "==")
    disguised = foreign[:1] + ours[1:9] + foreign[9:]
    for octets in (foreign, disguised):
        assert RING.open(base64.urlsafe_b64encode(octets).decode().rstrip("="), "") is None


def test_the_first_key_seals_and_all_open() -> None:
    """While keys are rotated, ids of the old one are opened; when it is gone, they are not."""
    old = KeyRing([KEY]).seal(CODE, EXPIRES_AT, "")
    both = KeyRing([OTHER_KEY, KEY])
    new = both.seal(CODE, EXPIRES_AT, "")
    assert both.open(old, "") is not None
    assert both.open(new, "") is not None
    assert KeyRing([OTHER_KEY]).open(new, "") is not None
    assert KeyRing([OTHER_KEY]).open(old, "") is None
    assert KeyRing([KEY]).open(new, "") is None


def test_an_id_tells_nothing_of_its_code() -> None:
    """Two ids of one code differ in all that is random, and what was opened does not print it."""
    first, second = RING.seal(CODE, EXPIRES_AT, ""), RING.seal(CODE, EXPIRES_AT, "")
    ciphertexts = {base64.urlsafe_b64decode(one + "==")[29:] for one in (first, second)}
    assert len(ciphertexts) == 2
    assert not any(CODE.encode() in one for one in ciphertexts)
    assert CODE not in repr(RING.open(first, ""))
