"""`smsgwd serve`: the daemon."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from smsgwd.cli import options

_DESCRIPTION = """\
Run the daemon: read the configuration, serve it on a Unix socket, follow its changes.

A file that does not compile never stops the others. SIGHUP reads the configuration again at once, SIGTERM lets the
sends that run come to their end. Under systemd it takes the sockets that it is given (LISTEN_FDS) and tells how it is
(NOTIFY_SOCKET).
"""
_EPILOG = """\
example:
  smsgwd serve --config . --socket /tmp/smsgwd.sock

exit codes:
   0  ended by SIGTERM or SIGINT
   1  cannot serve: the socket is taken, or cannot be made
   2  wrong usage
  78  smsgwd.yaml is bad at the start, and no kept version of it serves
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `serve`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=options.folder,
        default=_state_directory(),
        help="where the last version of each file that compiled is kept, for a restart over a broken one "
        "(default: $STATE_DIRECTORY, else nowhere)",
    )
    options.add_socket(parser)


def _state_directory() -> Path | None:
    first = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd.exec(5): several are joined by colons
    return Path(first) if first else None


def run(args: Namespace) -> int:
    """Serve until a signal ends it."""
    from smsgwd import daemon  # noqa: PLC0415 - aiohttp takes 0.3 s to import: not for `serve --help`

    return daemon.run(options.config_of(args), state=args.state, socket=args.socket)
