"""Hashes of PINs: scrypt (RFC 7914), written in the modular crypt format that passlib and others use.

    $scrypt$ln=15,r=8,p=1$SALT$HASH      SALT and HASH in base64 without padding

`ln` is the logarithm of N: a run takes 128 * r * N octets (32 MiB for these), and some 0.1 s.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field

MOST_OCTETS = 1024  # of a PIN
_FORM = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_LN, _R, _P = 15, 8, 1
_SALT_OCTETS, _HASH_OCTETS = 16, 32
_LEAST_LN, _MOST_MEMORY = 12, 256 << 20  # octets that one run may take


@dataclass(frozen=True, slots=True)
class PinHash:
    """What is kept of a PIN. It shows neither salt nor hash."""

    ln: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    value: bytes = field(repr=False)

    @classmethod
    def of(cls, pin: str) -> "PinHash":
        """The hash of a new PIN. Raises ValueError for one that is empty or longer than `MOST_OCTETS`."""
        octets = _octets(pin)
        if not octets:
            raise ValueError("the PIN is empty")
        if len(octets) > MOST_OCTETS:
            raise ValueError(f"the PIN is longer than {MOST_OCTETS} octets")
        salt = os.urandom(_SALT_OCTETS)
        return cls(_LN, _R, _P, salt, _scrypt(octets, salt, _LN, _R, _P, _HASH_OCTETS))

    @classmethod
    def parse(cls, text: str) -> "PinHash":
        """The hash that is written so. Raises ValueError, which says what is wrong and not what was written."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("not a hash of the form $scrypt$ln=15,r=8,p=1$SALT$HASH")
        ln, r, p = (int(found[group]) for group in (1, 2, 3))
        if ln < _LEAST_LN or not r or not p:
            raise ValueError(f"a scrypt of so little cost is guessed too fast: ln has to be {_LEAST_LN} at least")
        if (128 * r * p) << ln > _MOST_MEMORY:
            raise ValueError("a scrypt of this cost takes too much memory: ln=15,r=8,p=1 is usual")
        salt, value = _unwritten(found[4]), _unwritten(found[5])
        if len(salt) < 8 or len(value) < 16:
            raise ValueError("salt or hash are too short: 16 and 32 octets are usual")
        return cls(ln, r, p, salt, value)

    @classmethod
    def of_nobody(cls, like: "PinHash | None" = None) -> "PinHash":
        """The hash of no PIN that anybody knows, to be compared at the cost of another one, or at the usual cost."""
        if like is None:
            return cls(_LN, _R, _P, os.urandom(_SALT_OCTETS), os.urandom(_HASH_OCTETS))
        return cls(like.ln, like.r, like.p, os.urandom(len(like.salt)), os.urandom(len(like.value)))

    def __str__(self) -> str:
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${_written(self.salt)}${_written(self.value)}"

    def fits(self, pin: str) -> bool:
        """Whether it is the hash of this PIN; takes as long for each. Blocks for its time, without Python's lock."""
        octets = _octets(pin)[: MOST_OCTETS + 1]
        found = _scrypt(octets, self.salt, self.ln, self.r, self.p, len(self.value))
        return hmac.compare_digest(found, self.value)


def _octets(pin: str) -> bytes:
    return pin.encode("utf-8", "surrogatepass")


def _scrypt(octets: bytes, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(octets, salt=salt, n=1 << ln, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=length)


def _written(octets: bytes) -> str:
    return base64.b64encode(octets).rstrip(b"=").decode()


def _unwritten(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("salt or hash are not base64") from None
