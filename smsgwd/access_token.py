"""Access tokens: how a caller that is no user of this machine says who it is.

The caller has the token; smsgwd.yaml has its hash. A token is 256 bits of chance, so a plain SHA-256 is enough: there
is nothing to guess, and a slow hash would only slow down each call.
"""

import hashlib
import re
import secrets

_PREFIX = "smsgwd_"  # so that whoever finds one in a file or a log knows what it is
_OCTETS = 32
_HASH = "sha256:"
OF_TOKENS = "token:"  # before the name of a token among the users of a rule
TOKEN = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}(?![A-Za-z0-9_-])")  # base64url of 32 octets


def new_token() -> str:
    """A token that nobody had before."""
    return _PREFIX + secrets.token_urlsafe(_OCTETS)


def digest_of(token: str) -> bytes:
    """What of a token is compared. Any text has one."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def hash_of(token: str) -> str:
    """What smsgwd.yaml has of a token."""
    return _HASH + digest_of(token).hex()


def parse_hash(text: str) -> bytes:
    """The digest in a hash as smsgwd.yaml has it. Raises ValueError for anything else."""
    digest = bytes.fromhex(text.removeprefix(_HASH))
    if not text.startswith(_HASH) or len(digest) != hashlib.sha256().digest_size:
        raise ValueError("not the hash of a token")
    return digest
