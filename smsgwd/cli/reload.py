"""`smsgwd reload`: make the daemon read its configuration again, and wait for a deployment to have arrived."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from smsgwd.cli import options, terminal
from smsgwd.cli.asking import asked_for, place_and_words
from smsgwd.client import Client
from smsgwd.units import Deadline

_MEMBERS = ("digest", "generation", "problems")
_EVERY_S = 0.25  # between two looks of --wait

_DESCRIPTION = """\
Make the daemon read its configuration again, now. It follows changes by itself, too: this tells when it has, and what
came of it. What changed goes to standard output, what is wrong to standard error.

With --wait it goes on asking until all is well (and, with --expect, until that configuration is served), or --timeout
is over.
"""
_EPILOG = """\
examples:
  smsgwd reload
  smsgwd reload --wait --expect "$DIGEST"    in a deployment: until this configuration serves

exit codes: 0 all well; 1 something is stale or rejected, smsgwd.yaml is bad, the digest is another, no daemon.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `reload`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--wait", action="store_true", help="ask again until all is well, or the timeout is over")
    parser.add_argument("--expect", metavar="DIGEST", help="the digest of the configuration that has to be served")
    parser.add_argument(
        "--timeout", metavar="DURATION", type=options.duration, default="30s", help="the longest to wait (default: 30s)"
    )
    options.add_socket(parser)


def run(args: Namespace) -> int:
    """Reload; exit code 1 when the configuration that is served then is not whole, or another one."""
    deadline = Deadline.after(args.timeout)
    client = Client(options.socket_of(args), args.timeout)
    result = asked_for(client.reload, *_MEMBERS)
    terminal.say(terminal.printable(_changes(result)))
    while args.wait and not _well(result, args.expect) and deadline.remaining() > _EVERY_S:
        time.sleep(_EVERY_S)
        client.timeout_s = deadline.remaining()
        result = asked_for(client.status, *_MEMBERS)
    terminal.say(terminal.printable(f"digest {result['digest']}, generation {result['generation']}"))
    return _verdict(result, args.expect)


def _changes(result: Mapping[str, Any]) -> str:
    """What changed; of tokens only how many, for there may be thousands."""
    kinds = ("added", "changed", "removed")
    parts = [f"{kind}: {', '.join(result[kind])}" for kind in kinds if result.get(kind)]
    tokens = result.get("tokens", {})
    counts = [f"{len(tokens[kind])} {kind}" for kind in kinds if tokens.get(kind)]
    parts += [f"tokens: {', '.join(counts)}"] if counts else []
    return "; ".join(parts) or "nothing changed"


def _well(result: Mapping[str, Any], expected: str | None) -> bool:
    return not _errors(result) and expected in (None, result["digest"])


def _errors(result: Mapping[str, Any]) -> bool:
    return any(problem.get("severity") != "warning" for problem in result["problems"])


def _verdict(result: Mapping[str, Any], expected: str | None) -> int:
    for problem in result["problems"]:
        terminal.note(terminal.printable(place_and_words(problem)))
    if expected not in (None, result["digest"]):
        terminal.complain(f"expected the digest {expected}, but {result['digest']} is served")
    return 0 if _well(result, expected) else 1
