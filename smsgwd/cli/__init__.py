"""The command `smsgwd`: one module for each verb, imported when that verb is used.

A verb's module has two functions: `add(parser)` describes its arguments, `run(args)` does the work and returns the exit
code. `Failure` ends a verb early. Exit codes: 0 fine, 1 findings or failure, 2 usage; `send` and `serve` have more.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Collection, Sequence
from importlib import import_module
from types import ModuleType

from smsgwd import __version__
from smsgwd.cli import terminal

VERBS = {
    "serve": "run the daemon",
    "send": "send one message through the daemon",
    "otp": "send a one-time password, and verify the one that comes back",
    "token": "make access tokens, and hashes of PINs",
    "check": "find what is wrong with a configuration",
    "explain": "say what a finding means and what mends it",
    "test": "run the tests inside gateway files",
    "compile": "write the whole configuration as one JSON document",
    "diff": "tell what changes for users between two configurations",
    "fmt": "put the keys of gateway files into their usual order",
    "render": "show exactly what would be sent",
    "graph": "draw which message can leave through which gateway",
    "count": "count the segments of a text",
    "status": "show how the daemon and its gateways stand",
    "reload": "make the daemon read its configuration again",
    "schema": "print the JSON schema of a file",
    "init": "write a configuration to begin with",
    "import": "take over the configuration of another system",
    "demo": "show the whole path of a message, without an account",
}
_MODULES = {"import": "import_"}  # `import` is a word of Python's own
_INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended: 128 + SIGINT
_PIPE_CLOSED = 141  # and of one whose reader went away: 128 + SIGPIPE

_EPILOG = """\
examples:
  smsgwd demo                                  see it work
  smsgwd check gateways.d/clickatell.yaml      look at a file before it is deployed
  smsgwd send --gateway console --to +491701234567 --text "Hello"

exit codes: 0 fine, 1 findings or failure, 2 wrong usage; for send and serve see their --help.
The configuration is in --config DIR, else in $SMSGWD_CONFIG, else in /etc/smsgwd.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (those of the process by default); returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    terminal.prepare()
    return terminal.finish(_guarded(arguments))


def _guarded(arguments: Sequence[str]) -> int:
    try:
        return _run(arguments)
    except SystemExit as end:  # how argparse ends: 0 after --help and --version, 2 for wrong usage
        return end.code if isinstance(end.code, int) else 2
    except terminal.Failure as failure:
        terminal.complain(str(failure))
        return failure.code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _PIPE_CLOSED


def _run(arguments: Sequence[str]) -> int:
    # The program itself takes no option with a value, so the first word that is none is the verb.
    verb = next((word for word in arguments if not word.startswith("-")), "")
    parser = build(() if verb not in VERBS else (verb,))
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    args, unknown = parser.parse_known_args(arguments)
    if unknown:  # said by the verb's own parser, which shows the usage that is meant
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = _module(args.verb).run(args)
    return code


def _module(verb: str) -> ModuleType:
    return import_module(f"smsgwd.cli.{_MODULES.get(verb, verb)}")


def build(described: Collection[str] = tuple(VERBS)) -> ArgumentParser:
    """The parser. It knows every verb by name, and the arguments of those in `described`, whose modules it imports."""
    parser = ArgumentParser(
        prog="smsgwd",
        description="SMS gateways as code: a file for each gateway, one daemon, one Unix socket.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a flag added later must not change what a script means
    )
    parser.add_argument("--version", action="version", version=f"smsgwd {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
        if name in described:
            verb.set_defaults(parser=verb)
            _module(name).add(verb)
    return parser
