"""The configuration directory, opened for one write: by descriptors, so that no swapped link leads elsewhere."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from smsgwd.files import GATEWAYS, SECRETS
from smsgwd.writing import files

_DATA = "..data"  # the link of a Kubernetes volume
_PATIENCE_S = 10.0  # for another process that writes here
_PAUSE_S = 0.02
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class BusyError(Exception):
    """Another process has been writing here for too long."""


class Area:
    """The opened folders. `root` may be reached through a link, for that is what the command line named."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = os.open(directory, _FOLDER)
        self._opened = [self.root]
        try:
            self.gateways = self._keep(files.open_folder(GATEWAYS, self.root, make_mode=0o755))
            _check_volume(self.gateways)
            _lock(self.gateways)
        except BaseException:
            self.close()
            raise

    @classmethod
    @contextmanager
    def opened(cls, directory: Path) -> Iterator[Self]:
        """The folders, for nobody else that writes by this module. Raises ElsewhereError, BusyError, OSError."""
        area = cls(directory)
        try:
            yield area
        finally:
            area.close()

    def secrets(self, name: str | None = None, *, make: bool = False) -> int | None:
        """secrets.d, or the folder of a gateway in it; None when there is none. Raises ElsewhereError, OSError."""
        mode = 0o700 if make else None
        folder = self.root
        try:
            for part in (SECRETS, name):
                if part is not None:
                    folder = self._keep(files.open_folder(part, folder, make_mode=mode))
        except FileNotFoundError:
            return None
        return folder

    def close(self) -> None:
        """Closes the folders, and with them lets others write."""
        for descriptor in self._opened:
            with suppress(OSError):
                os.close(descriptor)

    def _keep(self, descriptor: int) -> int:
        self._opened.append(descriptor)
        return descriptor


def _check_volume(folder: int) -> None:
    if files.status(_DATA, folder) is not None:
        raise files.ElsewhereError(f"{GATEWAYS} is a volume of Kubernetes")


def _lock(folder: int) -> None:
    """Keep out other processes, as long as the folder is open."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise BusyError from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF}:
                raise
            return  # a file system without locks: then one process at a time is up to whoever runs them
        else:
            return
