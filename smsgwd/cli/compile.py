"""`smsgwd compile`: the whole configuration as one canonical JSON document."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:  # what compiles files takes 0.3 s to import: not for --help
    from smsgwd.canonical import Configuration

_DESCRIPTION = """\
Write the whole configuration as one JSON document: every gateway and smsgwd.yaml, without comments and tests, the keys
in order, with a digest of each gateway and of the whole. The same files make the same octets on any machine. Secrets
stay references. The digest is the one that the daemon serves: `smsgwd reload --wait --expect DIGEST` waits for it.
"""
_EPILOG = """\
examples:
  smsgwd compile --config . -o compiled.json
  smsgwd compile --config . | jq -r .digest

exit codes: 0 written; 1 a file has errors, then nothing is written; 2 wrong usage.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `compile`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=options.folder, help="the file to write (default: standard output)"
    )
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Write the document; exit code 1 when something is wrong with the configuration."""
    from smsgwd.cli.rewriting import write  # noqa: PLC0415 - for this verb alone

    directory = options.config_of(args)
    configuration, sound = _read(directory)
    if not sound:
        raise terminal.Failure(f"{directory}: the configuration has errors")
    text = configuration.as_text()
    if args.output is None:
        terminal.say(text.removesuffix("\n"))
    else:
        write(args.output, text.encode())
    return 0


def _read(directory: Path) -> "tuple[Configuration, bool]":
    """The configuration, and whether it has no error; the findings are told."""
    from smsgwd.cli import findings  # noqa: PLC0415 - what compiles files takes 0.3 s to import: not for --help
    from smsgwd.cli.sides import directory_side  # noqa: PLC0415 - as above
    from smsgwd.errors import has_errors  # noqa: PLC0415 - as above

    reading, configuration = directory_side(directory)
    text = findings.as_text(
        reading.found, reading.sources, color=terminal.has_color(sys.stderr), columns=terminal.columns(sys.stderr)
    )
    if text:
        terminal.note(text.removesuffix("\n"))
    return configuration, not has_errors(reading.found)
