"""Findings that only a daemon has: it looks while others write, and goes on with what it had."""

import logging
from pathlib import Path

from smsgwd.errors import Problem, Severity, unforeseen_problem, unforeseen_text
from smsgwd.files import shown

log = logging.getLogger("smsgwd.reload")


def being_written(file: str, severity: Severity) -> Problem:
    """A file that somebody has open for writing."""
    message = "this file is still being written: it is read when whoever has it open closes it"
    return Problem(file, 1, 1, "being-written", message, severity=severity)


def gone(folder: Path, what: str, hint: str = "") -> Problem:
    """A folder that was there."""
    message = f"it is gone: {what} that were in it go on until it returns"
    return Problem(shown(folder), 1, 1, "no-such-folder", message, hint)


def unforeseen(file: str, error: Exception) -> Problem:
    """A fault of our own, while a file was compiled; the log has where."""
    log_unforeseen(f"while compiling {file}", error)
    return unforeseen_problem(file, error)


def log_unforeseen(where: str, error: Exception) -> None:
    """Tell the log of a fault of our own."""
    log.error("%s", unforeseen_text(error, where))
