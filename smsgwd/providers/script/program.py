"""Which files may run: those of the script folder that nobody but root and the daemon's user could have changed."""

import os
import stat
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Program:
    """A file of the script folder; both paths are absolute."""

    folder: Path
    path: Path

    @classmethod
    def named(cls, text: str, folder: Path) -> "Program | None":
        """The file of that name, relative to the folder or absolute inside; None for a name that leads out of it."""
        folder = folder.absolute()
        path = folder / text
        if ".." in path.parts or path == folder or not path.is_relative_to(folder):
            return None
        return cls(folder, path)

    def fault(self, owners: Container[int] | None = None) -> str | None:
        """Why it is not run, or None: it leads out of the folder, is no program, or others could have changed it.

        `owners` are the users who may own it; by default root and the daemon's.
        """
        owners = {0, os.geteuid()} if owners is None else owners
        try:
            folder, path = (Path(os.path.realpath(each, strict=True)) for each in (self.folder, self.path))
            if not path.is_relative_to(folder):
                return "it is a link out of the script folder"
            way = (path, *(parent for parent in path.parents if parent.is_relative_to(folder)))
            faults = [_file_fault(path), *(_owner_fault(each, owners) for each in way)]
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        return next(filter(None, faults), None)


def _file_fault(path: Path) -> str | None:
    if not stat.S_ISREG(path.stat().st_mode):
        return "it is no regular file"
    return None if os.access(path, os.X_OK) else "it is not executable (chmod +x)"


def _owner_fault(path: Path, owners: Container[int]) -> str | None:
    found = path.stat()
    if found.st_mode & _WRITABLE_BY_OTHERS:
        return f"{path} is writable by group or others (chmod go-w)"
    if found.st_uid not in owners:
        return f"{path} belongs neither to root nor to the daemon's user"
    return None
