"""The id of a transaction: all that a challenge has to remember, sealed so that only a holder of the key reads it.

    version (1) | key (8) | expiry (8) | nonce (12) | code (10) and tag (16), AES-256-GCM

AES-GCM is that of NIST SP 800-38D, with a random nonce of 96 bits for each id: one key is good for 2^32 of them. The
purpose, what stands before the ciphertext and the caller's context are its associated data: nobody can change the
expiry or take an id to another context. The code is padded, so all ids are of one length. In base64url (RFC 4648,
section 5) without padding that makes 74 characters.
"""

import base64
import binascii
import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PURPOSE = b"smsgwd challenge\0"
_VERSION = 1
_HEAD = struct.Struct(">B8sQ12s")  # version, key, expiry in milliseconds since the epoch, nonce
_CODE_OCTETS = 10
_TAG_OCTETS = 16
_OCTETS = _HEAD.size + _CODE_OCTETS + _TAG_OCTETS
LENGTH = -(-_OCTETS * 4 // 3)  # characters of an id


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was in an id. `nonce` is the challenge's own name; `expires_at` is in seconds since the epoch."""

    nonce: bytes
    expires_at: float
    code: str = field(repr=False)


class KeyRing:
    """Keys of 32 octets: the first one seals, each opens what it has sealed."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_name_of(key): AESGCM(key) for key in keys}
        self._first = _name_of(keys[0])

    def seal(self, code: str, expires_at: float, context: str) -> str:
        """The id of a new transaction."""
        nonce = os.urandom(12)
        head = _HEAD.pack(_VERSION, self._first, int(expires_at * 1000), nonce)
        padded = code.encode().ljust(_CODE_OCTETS, b"\0")
        return _written(head + self._ciphers[self._first].encrypt(nonce, padded, _bound(head, context)))

    def open(self, transaction_id: str, context: str) -> Sealed | None:
        """What is in an id; None for one that none of the keys has sealed for this context."""
        octets = _read(transaction_id)
        if octets is None:
            return None
        head, ciphertext = octets[: _HEAD.size], octets[_HEAD.size :]
        version, name, expires_ms, nonce = _HEAD.unpack(head)
        cipher = self._ciphers.get(name)
        if version != _VERSION or cipher is None:
            return None
        try:
            padded = cipher.decrypt(nonce, ciphertext, _bound(head, context))
        except InvalidTag:
            return None
        return Sealed(nonce, expires_ms / 1000, padded.rstrip(b"\0").decode())


def _name_of(key: bytes) -> bytes:
    """What an id calls a key: it tells nothing of it, and stays when the key gets another place in the file."""
    return hashlib.blake2b(b"smsgwd key name", key=key, digest_size=8).digest()


def _bound(head: bytes, context: str) -> bytes:
    return _PURPOSE + head + context.encode("utf-8", "surrogatepass")


def _written(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _read(transaction_id: str) -> bytes | None:
    """The octets of an id that is written as we write it: one challenge has one id."""
    if len(transaction_id) != LENGTH or not transaction_id.isascii():
        return None
    try:
        octets = base64.b64decode(transaction_id + "=" * (-LENGTH % 4), b"-_", validate=True)
    except binascii.Error:
        return None
    return octets if _written(octets) == transaction_id else None
