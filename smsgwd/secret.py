"""Secrets: where they come from, and a wrapper that cannot be printed."""

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

MASK = "***"
MAX_SECRET_OCTETS = 64 * 1024
SHORT_SECRET = 4  # a shorter one cannot be scrubbed from an answer without mangling it


class Secret:
    """A credential. It shows as `***` wherever it is printed; only `reveal()` gives the value.

    It is no `str`: an f-string would print a subclass of `str`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def as_file(self) -> str:
        """The text of a file from which this secret is read.

        That is the value and the line break that reading drops, with a carriage return if one stands before it.
        """
        return self._value + ("\r\n" if self._value.endswith("\r") else "\n")

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied out of its process")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


MASKED = Secret(MASK)
KEY_OCTETS = 32


def key_of(secret: Secret) -> bytes:
    """The key of 32 octets that a secret holds in base64. Raises ValueError where it does not."""
    try:
        key = base64.b64decode(secret.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if len(key) != KEY_OCTETS:
        raise ValueError(f"{len(key)} octets, not {KEY_OCTETS}")
    return key


class SecretUnavailableError(Exception):
    """A secret that cannot be had; the text says which and why, never its value."""


class SecretExposedError(SecretUnavailableError):
    """A secret that everybody on this machine could read; `path` is its file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: others may read it")
        self.path = path


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret comes from: `kind` is `file`, `env` or `credential`, `name` what it is called there."""

    kind: str
    name: str

    def path(self, directory: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
        """The file that holds the secret; None for one of the environment.

        Relative files count from the configuration directory. Raises SecretUnavailableError outside of systemd.
        """
        if self.kind == "file":
            return directory / self.name
        if self.kind == "credential":
            credentials = environ.get("CREDENTIALS_DIRECTORY")
            if not credentials:
                raise SecretUnavailableError(
                    f"credential {self.name!r}: $CREDENTIALS_DIRECTORY is not set (LoadCredential= of systemd sets it)"
                )
            return Path(credentials) / self.name
        return None

    def resolve(self, directory: Path, environ: Mapping[str, str] = os.environ) -> Secret:
        """The secret.

        Raises SecretUnavailableError when it is missing, empty, too large or not text, SecretExposedError when others
        may read its file.
        """
        return self.resolve_and_look(directory, environ)[0]

    def resolve_and_look(self, directory: Path, environ: Mapping[str, str] = os.environ) -> tuple[Secret, bool]:
        """The secret, and whether others may read its file where that is not to be changed: on a read-only mount."""
        path = self.path(directory, environ)
        if path is not None:
            return _read(path)
        value = environ.get(self.name)
        if not value:
            raise SecretUnavailableError(f"the environment variable {self.name} is not set or empty")
        return Secret(value), False


def _read(path: Path) -> tuple[Secret, bool]:
    try:
        # O_NONBLOCK: a FIFO in the place of the file must not stop a reload
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            exposed = _is_exposed(descriptor, path)
            data = file.read(MAX_SECRET_OCTETS + 1)
    except OSError as error:
        raise SecretUnavailableError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_SECRET_OCTETS:
        raise SecretUnavailableError(f"{path}: larger than 64 KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretUnavailableError(f"{path}: not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")  # editors and `echo` end a file with one line break
    if not text:
        raise SecretUnavailableError(f"{path}: empty")
    return Secret(text), exposed


def read_by_others(file: Path | int) -> tuple[bool, bool]:
    """Whether everybody on this machine may read a file, and whether nobody can change that (a read-only mount).

    The file by its path, or opened. Raises OSError.
    """
    by_others = bool(os.stat(file).st_mode & stat.S_IROTH)  # noqa: PTH116 - also of an opened file
    return by_others, bool(os.statvfs(file).f_flag & os.ST_RDONLY)


def _is_exposed(descriptor: int, path: Path) -> bool:
    """Whether others may read an opened file on a read-only mount. Raises SecretExposedError on any other."""
    by_others, for_good = read_by_others(descriptor)
    if not by_others or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return False
    if not for_good:  # volumes of Kubernetes have 0644, and nobody in the container can change that
        raise SecretExposedError(path)
    return True
