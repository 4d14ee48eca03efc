"""`smsgwd import`: takes over the configuration of another system."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:
    from smsgwd.importers.source import Found

_DESCRIPTION = """\
Take over the SMS gateways of privacyIDEA. FILE is an export (YAML or JSON), what GET /smsgateway/ answers, or an old
token configuration; `-` reads standard input. URL is that of a privacyIDEA server, asked with a token of an
administrator who has the right smsgateway_read.

Writes gateways.d/NAME.yaml, secrets.d/NAME/KEY and, where it is needed, smsgwd.yaml below DIR, and prints their names.
What has no exact counterpart is a remark, on standard error and as a comment in the file. Secret files belong to who
runs this, and only that user can read them: give them to the daemon's user (chown -R smsgwd: DIR/secrets.d).
"""
_EPILOG = """\
examples:
  smsgwd import privacyidea export.yaml -o /etc/smsgwd
  smsgwd import privacyidea https://pi.example.com --token-file token -o /etc/smsgwd
  smsgwd check --config /etc/smsgwd --secrets

exit codes: 0 imported; 1 the source or DIR cannot be used, or with --strict there are remarks; 2 wrong usage.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `import`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("system", choices=("privacyidea",), help="the system that the source comes from")
    parser.add_argument("source", metavar="FILE|URL", type=options.not_empty, help="a file, or a server's URL")
    parser.add_argument("-o", "--output", metavar="DIR", type=options.folder, required=True, help="where to write")
    parser.add_argument("--token-file", metavar="PATH", type=options.folder, help="a file with the token, for a URL")
    parser.add_argument("--ca-file", metavar="PATH", type=options.folder, help="certificates (PEM) to trust, for a URL")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument("--strict", action="store_true", help="remarks fail, too")


def run(args: Namespace) -> int:
    """Import; exit code 1 when that is not possible, and with --strict when there are remarks."""
    from smsgwd.importers.files import FileError, existing, twins, write  # noqa: PLC0415 - beside the rest
    from smsgwd.importers.privacyidea import convert  # noqa: PLC0415 - what compiles files takes 0.3 s to import

    done = convert(_found(args), args.output)
    for remark in done.remarks:
        terminal.note(terminal.printable(" ".join(f"{remark.about}: {remark.text}".split())))
    if found := twins(args.output, done.files):
        raise terminal.Failure(f"there are other files of these gateways, nothing was written:{_listed(found)}")
    if (found := existing(args.output, done.files)) and not args.force:
        raise terminal.Failure(f"these are there already, nothing was written (--force overwrites):{_listed(found)}")
    try:
        write(args.output, done.files)
    except FileError as error:
        raise terminal.Failure(str(error)) from None
    if done.files:
        terminal.say_what_was_done("\n".join(str(args.output / file.path) for file in done.files))
    return 1 if args.strict and done.remarks else 0


def _listed(paths: Iterable[Path]) -> str:
    return "".join(f"\n  {path}" for path in paths)


def _found(args: Namespace) -> "Found":
    """What the source holds. Raises Failure where it cannot be read, or holds no gateway."""
    from smsgwd.importers.source import SourceError, read  # noqa: PLC0415 - as in `run`

    is_url = "://" in args.source
    if is_url != (args.token_file is not None):
        options.usage_error(args, "argument --token-file: goes with a URL, and a URL needs it")
    if args.ca_file is not None and not is_url:
        options.usage_error(args, "argument --ca-file: goes with a URL only")
    try:
        found = _fetched(args) if is_url else read(_octets(args.source), args.source, _stem(args.source))
    except SourceError as error:
        raise terminal.Failure(str(error)) from None
    if not found.definitions and not found.old:
        raise terminal.Failure(f"{args.source}: holds no SMS gateway")
    return found


def _fetched(args: Namespace) -> "Found":
    from smsgwd.importers.live import fetch  # noqa: PLC0415 - requests only for a server
    from smsgwd.importers.source import found_in  # noqa: PLC0415 - as in `run`
    from smsgwd.providers._net.tls import Tls  # noqa: PLC0415 - as in `run`

    return found_in(fetch(args.source, _token(args.token_file), Tls(ca_file=args.ca_file)), args.source)


def _token(path: Path) -> str:
    token = _octets(str(path)).decode("ascii", "replace").strip()
    if not token or not token.isprintable() or not token.isascii():
        raise terminal.Failure(f"{path}: holds no token")
    return token


def _stem(source: str) -> str:
    return "gateway" if source == "-" else Path(source).stem


def _octets(source: str) -> bytes:
    from smsgwd.importers.source import MAX_OCTETS  # noqa: PLC0415 - as in `run`

    if source == "-" and sys.stdin is None:
        raise terminal.Failure("standard input is closed")
    try:
        if source == "-":
            return sys.stdin.buffer.read(MAX_OCTETS + 1)
        with Path(source).open("rb") as file:
            return file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise terminal.Failure(f"{source}: {error.strerror}") from None
