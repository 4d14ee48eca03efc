"""`smsgwd count`: how many segments a text takes, and why."""

import unicodedata
from argparse import ArgumentParser, Namespace
from typing import Any

from smsgwd import segments
from smsgwd.cli import terminal
from smsgwd.cli.options import text_of, utf8
from smsgwd.message import text_fault

_SHOWN = 10  # foreign characters; a text in Greek small letters has a hundred
_UNITS = {segments.GSM7: "septets", segments.UCS2: "UTF-16 units"}

_DESCRIPTION = """\
Count the segments that a text takes on the air.

A text of the GSM 7-bit alphabet has 160 septets in one segment and 153 in each of several (^ { } \\ [ ~ ] | and the
euro sign take two). One character outside of it makes the whole text UCS-2: 70, or 67 in each of several. These
characters are named.
"""
_EPILOG = """\
example:
  $ smsgwd count "Your code is 123456."
  1 segment, gsm7, 20 of 160 septets
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `count`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "text", metavar="TEXT", type=utf8, help="the text; `-` reads standard input, less one line break at its end"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def run(args: Namespace) -> int:
    """Print the count; exit code 1 when the text cannot be a message at all."""
    text = text_of(args.text)
    try:
        count = segments.count(text)
    except segments.EncodingError as error:
        raise terminal.Failure(str(error)) from None
    if args.json:
        terminal.say(terminal.as_json(_document(text, count)))
    else:
        terminal.say(terminal.printable("\n".join([_sentence(count), *_reasons(text)])))
    fault = text_fault(text)
    if fault is not None:
        terminal.complain(f"it would be rejected: the text {fault}")
    return 0


def _document(text: str, count: segments.Count) -> dict[str, Any]:
    return {
        "segments": count.segments,
        "encoding": count.encoding,
        "units": count.units,
        "per_segment": count.per_segment,
        "characters": len(text),
        "not_gsm7": [{"character": one, "code_point": _code_point(one), "name": _name(one)} for one in _foreign(text)],
    }


def _sentence(count: segments.Count) -> str:
    words = "1 segment" if count.segments == 1 else f"{count.segments} segments"
    return f"{words}, {count.encoding}, {count.units} of {count.segments * count.per_segment} {_UNITS[count.encoding]}"


def _reasons(text: str) -> list[str]:
    foreign = _foreign(text)
    lines = [f"not in the GSM alphabet: {one} {_code_point(one)} {_name(one)}" for one in foreign[:_SHOWN]]
    if len(foreign) > _SHOWN:
        lines.append(f"and {len(foreign) - _SHOWN} further characters")
    return lines


def _foreign(text: str) -> list[str]:
    """The characters that make the text UCS-2, each once, in the order of the text."""
    return [character for character in dict.fromkeys(text) if not segments.is_gsm7(character)]


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _name(character: str) -> str:
    return unicodedata.name(character, "(no name)")
