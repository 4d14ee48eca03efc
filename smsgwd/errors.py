"""Faults: findings of the configuration, refusals of a request, failures of a submission.

Before serving, faults are values (`Problem`, all of them, not the first); after it, outcomes are.
An exception carries either across one border at most.
"""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from smsgwd.outcome import Reason


class Severity(StrEnum):
    """How bad a finding is: an error keeps a gateway from being compiled, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding at one place of one file. Lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    pointer: str = ""  # JSON pointer (RFC 6901) of what is meant
    severity: Severity = Severity.ERROR

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Orders findings by place, then code."""
        return (self.file, self.line, self.column, self.code, self.message)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}[{self.code}]: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """The finding as `smsgwd check --format json` and the API show it."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "severity": str(self.severity),
            "message": self.message,
            "hint": self.hint,
            "pointer": self.pointer,
        }


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether one of the findings is an error."""
    return any(problem.severity is Severity.ERROR for problem in problems)


def findings_document(problems: Sequence[Problem], files: int) -> dict[str, Any]:
    """The findings as `smsgwd check --format json` and the API tell them; `files` is how many were looked at."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    return {
        "findings": [problem.as_dict() for problem in problems],
        "files": files,
        "errors": errors,
        "warnings": len(problems) - errors,
    }


def unforeseen_text(error: BaseException, where: str) -> str:
    """What the log may say of an exception that nobody foresaw: its text may quote a secret, type and places do not.

    For code that commands run, too: the daemon's own log leaves the text out of every exception.
    """
    return f"unforeseen {type(error).__name__} {where}\n{''.join(traceback.format_tb(error.__traceback__))}"


def unforeseen_problem(file: str, error: BaseException) -> Problem:
    """The finding at a file on which smsgwd itself failed."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = f"unforeseen {type(error).__name__}{place} while this file was compiled"
    return Problem(file, 1, 1, "internal", message, "this is a fault of smsgwd: please report it")


class SmsgwdError(Exception):
    """The root of all that smsgwd raises on purpose."""


class ConfigError(SmsgwdError):
    """A configuration that cannot be used; `problems` says why, all of it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RequestError(SmsgwdError):
    """A request to the daemon that is refused before it becomes a message.

    `code` is one of the problem codes of the API (`unknown-gateway`, `malformed-request`, ...);
    `members` are further members of the problem document; `gateway` and `action` are for the log: a gateway that there
    is, and what a caller was not allowed to do.
    """

    def __init__(self, code: str, detail: str, members: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.detail = detail
        self.members = dict(members or {})
        self.gateway = ""
        self.action = ""
        super().__init__(detail)


class MessageError(SmsgwdError):
    """A message that cannot be sent as it is: nothing has left, the same again will not help (`rejected`).

    `detail` is in our own words and holds neither the text nor the number.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class SubmitError(SmsgwdError):
    """A submission without an answer.

    `handed_over` False: nobody took the message (`unsent`); True: someone may have it (`unknown`).
    `retryable` False: trying the same gateway again by itself is no use (a wrong URL, refused credentials).
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        handed_over: bool,
        retryable: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.handed_over = handed_over
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        super().__init__(detail)
