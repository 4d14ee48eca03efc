"""Carries a planned change out: its secrets and its gateway file, all or nothing."""

import errno
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from smsgwd.errors import RequestError
from smsgwd.writing import files, journal
from smsgwd.writing.area import Area
from smsgwd.writing.leavings import remove_unused

log = logging.getLogger("smsgwd.writing")


@dataclass(frozen=True, slots=True)
class Found:
    """What is there under a name: the file's name, its octets (None: there is no file), and what is said of it."""

    entry: str
    octets: bytes | None = None
    status: os.stat_result | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written: the gateway file (None: it goes), new secret files, and those that may go afterwards."""

    name: str
    found: Found
    octets: bytes | None
    new: Mapping[str, bytes] = field(repr=False)
    former: Collection[str]


def carry_out(area: Area, plan: Plan) -> None:
    """Write it, all or nothing. Raises OSError, and RequestError conflict; then nothing was changed."""
    touched = {*plan.new, *(one for one in plan.former if journal.SECRET_FILE.fullmatch(one))}
    if touched:
        area.secrets(plan.name)  # where that is a link it is said before anything is written
    notes = area.secrets(make=True) if plan.new else area.secrets() if touched else None
    if notes is not None:
        journal.write(plan.name, touched, notes)
    try:
        _write_secrets(area, plan)
        _swap(area.gateways, plan)
    except BaseException:
        if notes is not None:
            _settle(area, plan.name, touched, notes)
        raise
    if notes is not None:
        _settle(area, plan.name, touched, notes)


def _write_secrets(area: Area, plan: Plan) -> None:
    if not plan.new:
        return
    folder = area.secrets(plan.name, make=True)
    if folder is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for name, octets in plan.new.items():
        files.create(name, folder, octets)
    os.fsync(folder)


def _swap(folder: int, plan: Plan) -> None:
    """The one step at which everything changes, for whoever reads."""
    entry = plan.found.entry
    if plan.octets is None:
        _check_untouched(folder, plan)
        os.unlink(entry, dir_fd=folder)
    else:
        aside = files.beside(entry)
        files.create(aside, folder, plan.octets, like=plan.found.status, mode=0o644)
        try:
            _check_untouched(folder, plan)
            os.rename(aside, entry, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            files.remove(aside, folder)
            raise
    _sync(folder)


def _check_untouched(folder: int, plan: Plan) -> None:
    if not files.same(files.status(plan.found.entry, folder), plan.found.status):
        raise RequestError("conflict", "somebody changed the file at the same moment; nothing was changed here")


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:  # it is done, and everybody sees it: to say that it is not would be a lie
        log.warning("a change may not survive a power failure: %s", error.strerror)


def _settle(area: Area, name: str, touched: Collection[str], notes: int) -> None:
    """Remove the secret files that nobody refers to now: the former ones or, when nothing was changed, the new ones."""
    try:
        remove_unused(area, name, touched)
        journal.remove(name, notes)
    except (OSError, files.ElsewhereError) as error:  # the journal stays: the next write, or start, sees to it
        log.warning("secret files that are not used are left: %s", type(error).__name__, extra={"gateway": name})
