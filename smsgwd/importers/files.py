"""Writes the files of an import, each atomically, secrets for nobody else's eyes."""

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_GATEWAYS = PurePosixPath("gateways.d")


@dataclass(frozen=True, slots=True)
class File:
    """A file to write, below the configuration directory."""

    path: PurePosixPath
    text: str
    secret: bool = False


class FileError(Exception):
    """A file that cannot be written; the text says which and why."""


def existing(directory: Path, files: Iterable[File]) -> list[Path]:
    """Those that are there already."""
    return [path for file in files if os.path.lexists(path := directory / file.path)]


def twins(directory: Path, files: Iterable[File]) -> list[Path]:
    """Gateway files that are there, of a name that differs from a new one's by case or suffix alone.

    No directory can have both, and neither replaces the other.
    """
    new = {file.path.stem.lower(): file.path for file in files if file.path.parent == _GATEWAYS}
    try:
        there = sorted((directory / _GATEWAYS).iterdir())
    except OSError:
        return []
    found = [path for path in there if path.suffix in {".yaml", ".yml"} and path.stem.lower() in new]
    return [path for path in found if path.name != new[path.stem.lower()].name]


def write(directory: Path, files: Sequence[File]) -> None:
    """Write them, secrets first: whoever watches the directory sees no gateway before what it needs.

    Every file is written aside before the first one is put in its place. Raises FileError.
    """
    ordered = sorted(files, key=lambda file: (not file.secret, file.path.parent == _GATEWAYS))
    written: list[tuple[Path, Path]] = []
    path = directory
    try:
        for file in ordered:
            path = directory / file.path
            written.append((_written_aside(directory, file), path))
        for aside, path in written:
            aside.replace(path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from None
    finally:
        for aside, _ in written:
            with suppress(OSError):
                aside.unlink()


def _written_aside(directory: Path, file: File) -> Path:
    path = directory / file.path
    _make_folder(directory, path.parent, secret=file.secret)
    # a name that begins with a dot is none of a gateway file
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if file.secret else 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(file.text)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        aside.unlink()
        raise
    return aside


def _make_folder(directory: Path, folder: Path, *, secret: bool) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    inside = folder.relative_to(directory)
    for part in (*reversed(inside.parents), inside):
        if part != Path():
            (directory / part).mkdir(0o700 if secret else 0o777, exist_ok=True)
