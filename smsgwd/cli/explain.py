"""`smsgwd explain`: what a finding of `check` means, why it is one, and what mends it."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from difflib import get_close_matches
from shutil import get_terminal_size
from textwrap import fill, indent

from smsgwd.cli import options, terminal
from smsgwd.explanations import Explanation, explanations

_WIDEST = 100  # columns; longer lines are hard to read
_AS_SHOWN = re.compile(r"(?:error|warning)\[(.*)\]")

_DESCRIPTION = """\
Explain the code of a finding: what is wrong, why that matters, and what mends it, with an example. Without a code, list
them all.
"""
_EPILOG = """\
examples:
  smsgwd explain single-brace
  smsgwd explain | grep -i secret
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `explain`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("code", metavar="CODE", nargs="?", help="a code, such as unknown-key in error[unknown-key]")


def run(args: Namespace) -> int:
    """Print it; a code that does not exist is wrong usage."""
    known = explanations()
    if args.code is None:
        width = max(map(len, known))
        terminal.say("\n".join(f"{code:{width}}  {one.severity:7}  {one.title}" for code, one in known.items()))
        return 0
    shown = _AS_SHOWN.fullmatch(args.code)
    code = shown[1] if shown else args.code
    if code not in known:
        near = get_close_matches(code, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`smsgwd explain` lists them all"
        options.usage_error(args, f"there is no code {code!r}; {hint}")
    terminal.say("\n\n".join(_paragraphs(known[code])))
    return 0


def _paragraphs(explanation: Explanation) -> Iterator[str]:
    kind = f"{explanation.severity}[{explanation.code}]"
    yield _filled(f"{kind}: {explanation.title}").replace(kind, terminal.paint(kind, _COLORS[explanation.severity]))
    yield _filled(explanation.cause)
    yield _filled(f"To mend it: {explanation.mend}")
    if explanation.example:
        yield "Example:\n\n" + indent(explanation.example, "    ")
    else:
        yield "With this finding:\n\n" + _file(explanation.bad)
        yield "Without it:\n\n" + _file(explanation.good)


_COLORS = {"error": "red", "warning": "yellow"}


def _filled(text: str) -> str:
    return fill(text, min(get_terminal_size().columns, _WIDEST), break_long_words=False, break_on_hyphens=False)


def _file(text: str) -> str:
    return terminal.printable(indent(text.removesuffix("\n"), "    "))
