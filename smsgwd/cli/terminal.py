"""What the command says and how: data on standard output, talk on standard error, colour only for people."""

import json
import os
import re
import sys
from typing import Any, TextIO

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_COLORS = {"red": 31, "green": 32, "yellow": 33, "bold": 1}


class Failure(Exception):  # noqa: N818 - it ends a verb, as SystemExit ends a program
    """Ends a verb: the text goes to standard error, `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        self.code = code
        super().__init__(message)


def prepare() -> None:
    """Make the standard streams take every character: what their encoding lacks is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Flush standard output; returns the exit code. A reader that went away is no fault; a full disk is."""
    try:
        if sys.stdout is not None:  # None: it was closed before we began
            sys.stdout.flush()
    except BrokenPipeError:
        _discard()
    except OSError as error:
        _discard()
        complain(f"standard output: {error.strerror}")
        return code or 1
    return code


def _discard() -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """Data on standard output, one line or several. Raises Failure when the disk behind it is full."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard()
        raise Failure(f"standard output: {error.strerror}") from None


def say_what_was_done(text: str) -> None:
    """As `say`, for what is done already: it stands, and so does the exit code, whatever becomes of the words."""
    try:
        say(text)
    except BrokenPipeError:
        _discard()
    except Failure as failure:
        complain(str(failure))


def as_json(value: Any, indent: int | None = 2) -> str:
    """A JSON document, for programs."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def complain(text: str) -> None:
    """One line of talk, on standard error, after the program's name."""
    note(f"{paint('smsgwd:', 'bold', sys.stderr)} {printable(text)}")


def note(text: str) -> None:
    """Talk on standard error, as it is. Silent where nobody listens."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return


def printable(text: str) -> str:
    """The text without what would steer a terminal: control characters stand as escapes, line breaks and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def has_color(stream: TextIO | None) -> bool:
    """Whether to use colour there: a terminal, and nobody who said no (https://no-color.org)."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def columns(stream: TextIO | None) -> int | None:
    """How wide the terminal there is; None where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream is not None else None
    except (OSError, ValueError):  # a pipe, a file, or what a test put there
        return None


def paint(text: str, color: str, stream: TextIO | None = None) -> str:
    """The text in a colour (red, green, yellow, bold), where the stream (standard output by default) shows colour."""
    if not has_color(sys.stdout if stream is None else stream):
        return text
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"
