"""`smsgwd token hash-pin`: what a token's file keeps of a PIN."""

import getpass
import sys
from argparse import ArgumentParser, Namespace

from smsgwd.cli import terminal
from smsgwd.cli.options import text_of
from smsgwd.pin import PinHash
from smsgwd.secret import Secret

SUMMARY = "print the hash of a PIN, for a file of tokens.d"

_DESCRIPTION = """\
Print the hash of a PIN (scrypt), for `pin: {hash: ...}` in a file of tokens.d.

The PIN is read from standard input, without the line break at its end; on a terminal it is asked for twice and not
shown. It is never an argument: other users of the machine could see it. Two hashes of one PIN differ.
"""
_EPILOG = """\
examples:
  smsgwd token hash-pin
  smsgwd token hash-pin < pin.txt
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `hash-pin`: none."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG


def run(args: Namespace) -> int:  # noqa: ARG001 - as all verbs
    """Print the hash."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    pin = _asked() if on_terminal else Secret(text_of("-"))
    try:
        hashed = PinHash.of(pin.reveal())
    except ValueError as error:
        raise terminal.Failure(str(error)) from None
    terminal.say(str(hashed))
    return 0


def _asked() -> Secret:
    """Typed twice on the terminal."""
    try:
        first, second = getpass.getpass("PIN: "), getpass.getpass("PIN again: ")
    except EOFError:
        raise terminal.Failure("no PIN was given") from None
    if first != second:
        raise terminal.Failure("the two PINs are not the same")
    return Secret(first)
