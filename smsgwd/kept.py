"""The last version of each file that compiled, kept in the state directory for a restart over a broken file.

One file, written beside and renamed over, with the hash of its content in its first line: it is there wholly or not at
all, also after a full disk. It holds the files as they are, so references to secrets and never their values; of tokens
the numbers and the hashes of PINs, so nobody else may read it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FILE = "kept.json"
_TITLE = b"smsgwd kept 1 sha256:"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept: smsgwd.yaml (None: there was none), and gateway and token files by name."""

    site: bytes | None = None
    gateways: Mapping[str, bytes] = field(default_factory=dict)
    tokens: Mapping[str, bytes] = field(default_factory=dict)


class DamagedError(Exception):
    """What was kept is not what was written."""


def read(state: Path) -> Kept:
    """What is kept there; nothing, where nothing was. Raises OSError, and DamagedError."""
    try:
        title, _, body = (state / _FILE).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return Kept()
    if title != _TITLE + _hash(body):
        raise DamagedError(f"{state / _FILE} is damaged")
    found = json.loads(body)
    site = found["site"]
    gateways, tokens = found["gateways"], found.get("tokens", {})  # versions before tokens kept none
    return Kept(None if site is None else site.encode(), _encoded(gateways), _encoded(tokens))


def write(state: Path, kept: Kept) -> None:
    """Replace what is kept. After an OSError what was kept before still is."""
    site = None if kept.site is None else kept.site.decode()
    document = {"site": site, "gateways": _decoded(kept.gateways), "tokens": _decoded(kept.tokens)}
    body = json.dumps(document, ensure_ascii=False).encode()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = state / f".{_FILE}.new"
    try:
        _write_durably(temporary, _TITLE + _hash(body) + b"\n" + body)
        temporary.replace(state / _FILE)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync(state)


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


def _decoded(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: data.decode() for name, data in sorted(files.items())}


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
