"""`smsgwd token new`: an access token, by which a caller over TCP, or behind a proxy on the socket, says who it is."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from smsgwd.access_token import OF_TOKENS, hash_of, new_token
from smsgwd.cli import terminal

SUMMARY = "make an access token for a caller over TCP"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)  # as the schema of smsgwd.yaml has it
_EPILOG = """\
example:
  smsgwd token new portal        prints the token for the caller, and its hash for smsgwd.yaml

The caller sends it with each request, as `Authorization: Bearer TOKEN`. The token itself is kept nowhere: a lost one is
replaced by a new one, and one that others have seen ends when its hash is taken out of smsgwd.yaml.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `token new`."""
    parser.description, parser.epilog = f"{SUMMARY[0].upper()}{SUMMARY[1:]}.", _EPILOG
    parser.add_argument("name", metavar="NAME", nargs="?", type=_name, help="what it will be called in smsgwd.yaml")
    parser.add_argument("--json", action="store_true", help="print name, token and hash as a JSON document")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ArgumentTypeError("a name has letters, digits, `_`, `-` and `.`, 63 at most; the first is no sign")
    return text


def run(args: Namespace) -> int:
    """Print a token and its hash; returns the exit code."""
    token = new_token()
    if args.json:
        terminal.say(terminal.as_json({"name": args.name, "token": token, "hash": hash_of(token)}, indent=None))
    else:
        terminal.say(f"token: {token}\nhash: {hash_of(token)}")
    terminal.note(_how_to_enter(args.name or "NAME", hash_of(token)))
    return 0


def _how_to_enter(name: str, hashed: str) -> str:
    return f"""\
The token is not shown again: give it to the caller now. smsgwd.yaml has its hash, and a rule says what it may do:

tokens:
  {name}: {{hash: "{hashed}"}}
access:
  - {{users: ["{OF_TOKENS}{name}"], allow: [send]}}"""
