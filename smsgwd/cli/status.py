"""`smsgwd status`: how the daemon and its gateways stand."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from smsgwd.cli import options, terminal
from smsgwd.cli.asking import asked, asked_for, place_and_words
from smsgwd.client import Client

_TIMEOUT_S = 10.0
_DETAILS = 10  # of one sort that are shown: the console keeps a thousand messages
_IN_TABLE = {"name", "provider", "state", "problems", "digest", "last"}
_EVERY_S = 2.0  # between two looks of --watch
_HOME_AND_CLEAR = "\x1b[H\x1b[2J"
_COLORS = {"ok": "green", "stale": "yellow", "rejected": "red"}

_DESCRIPTION = """\
Show how the daemon and its gateways stand: ok, stale (its file does not compile now, the last version that did goes on
sending), rejected (its file does not compile, sends are refused) or disabled.
"""
_EPILOG = """\
examples:
  smsgwd status
  smsgwd status --json | jq -r .digest
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `status`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--json", action="store_true", help="print what GET /v1/status answers; with --watch one a line"
    )
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=options.duration,
        default=_TIMEOUT_S,
        help=f"how long to wait for an answer (default: {_TIMEOUT_S:g}s)",
    )
    parser.add_argument("--watch", action="store_true", help=f"show it again every {_EVERY_S:g} s, until Ctrl-C")
    options.add_socket(parser)


def run(args: Namespace) -> int:
    """Print the status; exit code 1 when the daemon does not give it."""
    client = Client(options.socket_of(args), args.timeout)
    if not args.watch:
        terminal.say(_shown(client, as_json=args.json, indent=2))
        return 0
    while True:
        _redraw(_shown(client, as_json=args.json))
        time.sleep(_EVERY_S)


def _redraw(text: str) -> None:
    clear = _HOME_AND_CLEAR if sys.stdout.isatty() else ""
    terminal.say(clear + text)


def _shown(client: Client, *, as_json: bool, indent: int | None = None) -> str:
    status = asked_for(client.status, "digest", "generation", "version", "uptime", "gateways", "problems")
    if as_json:
        return terminal.as_json(status, indent)
    return "\n".join(_lines(status, asked(client.gateways))).rstrip("\n")


def _lines(status: Mapping[str, Any], gateways: Sequence[Mapping[str, Any]]) -> list[str]:
    tokens = _counts(status.get("tokens", {}))
    return [
        f"smsgwd {status['version']}, up {_span(status['uptime'])}, generation {status['generation']}",
        f"digest {status['digest']}",
        f"gateways: {_counts(status['gateways']) or 'none'}",
        *([f"tokens: {tokens}"] if tokens else []),
        *_table(gateways),
        *(line for gateway in gateways for line in _details(gateway)),
        *_site_limits(status.get("limits", {})),
        *(terminal.printable(place_and_words(problem)) for problem in status["problems"]),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _site_limits(limits: Mapping[str, Any]) -> list[str]:
    return ["all gateways together:", *_detail("limits", limits), ""] if limits else []


def _table(gateways: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(one["name"], one["provider"] or "-", one["state"], _last(one["last"])) for one in gateways]
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
    return ["", *(_row(row, widths) for row in rows), ""] if rows else []


def _details(gateway: Mapping[str, Any]) -> list[str]:
    """What only some gateways have: binds of SMPP, limits, the last messages of the console, a breaker that is open."""
    if gateway["state"] == "disabled":  # nothing runs there: that a modem is closed is no news
        return []
    lines = [line for key, value in gateway.items() if key not in _IN_TABLE for line in _detail(key, value)]
    return [f"{gateway['name']}:", *map(terminal.printable, lines), ""] if lines else []


def _detail(key: str, value: Any) -> list[str]:
    if key == "limits" and isinstance(value, Mapping):
        return [f"  limit {name}: {_words(usage)}" for name, usage in value.items()]
    if not value:
        return []
    if not isinstance(value, list):
        return [f"  {key}: {_words(value)}"]
    head = f"  {key}:" if len(value) <= _DETAILS else f"  {key}: {len(value)}, of which the last {_DETAILS}:"
    return [head, *(f"    {_words(item)}" for item in value[-_DETAILS:])]


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{key} {member}" for key, member in value.items() if member not in (None, ""))


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
    cells[2] = terminal.paint(cells[2], _COLORS.get(row[2], "bold"))
    return ("  " + "  ".join(cells)).rstrip()


def _last(last: Mapping[str, Any] | None) -> str:
    if not last:
        return ""
    reason = f" ({last['reason']})" if last.get("reason") else ""
    return f"last: {last['outcome']}{reason} {last.get('at', '')}"


def _span(seconds: float) -> str:
    """A span as people say it: the two largest units."""
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts, left = [], int(seconds)
    for size, unit in units:
        count, left = divmod(left, size)
        parts.append(f"{count} {unit}" if count else "")
    return " ".join([part for part in parts if part][:2]) or "0 s"
