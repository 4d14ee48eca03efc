"""Secret files as they have to be: for their owner alone."""

import os
from pathlib import Path


def write_secret(path: Path, content: str | bytes) -> Path:
    """Write a secret that only its owner may read, from its first moment."""
    octets = content.encode() if isinstance(content, str) else content
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(octets)
    return path
