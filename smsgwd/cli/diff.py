"""`smsgwd diff`: what changes for users between two configurations."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from smsgwd.cli import options, terminal

if TYPE_CHECKING:  # what compiles files takes 0.3 s to import: not for --help
    from smsgwd.canonical import Configuration
    from smsgwd.difference import Change

_DESCRIPTION = """\
Tell what changes for users between two configurations: what is sent otherwise, and where, who may send, what is made of
an answer, whom a token lets in. Comments, key order, descriptions and tests change nothing. Numbers and hashes of PINs
are not told, only that they are others.

OLD and NEW are configuration directories, files that `smsgwd compile` wrote, or git:REV[:PATH]: the folder PATH of a
revision of the repository around the current folder, read without a checkout. PATH counts from the top of the
repository, or with ./ from the current folder; without it the current folder is meant.
"""
_EPILOG = """\
examples:
  smsgwd diff git:origin/main .                    before a merge
  smsgwd diff git:HEAD~1:sms git:HEAD:sms --format markdown    as a comment on a pull request
  smsgwd diff deployed.json /etc/smsgwd

exit codes: 0 nothing changes; 1 something does; 2 one side cannot be read, or wrong usage.
"""
_SITE = "smsgwd.yaml"


def add(parser: ArgumentParser) -> None:
    """The arguments of `diff`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("old", metavar="OLD", type=options.not_empty, help="the configuration before")
    parser.add_argument("new", metavar="NEW", type=options.not_empty, help="the configuration after")
    parser.add_argument(
        "--format",
        choices=("text", "json", "markdown"),
        default="text",
        help="text, one JSON document, or Markdown for a comment (default: text)",
    )


def run(args: Namespace) -> int:
    """Tell the changes; exit code 1 when there are some."""
    from smsgwd.cli.sides import side  # noqa: PLC0415 - what compiles files takes 0.3 s to import: not for --help
    from smsgwd.difference import changes  # noqa: PLC0415 - as above

    old, new = side(args.old), side(args.new)
    found = changes(old, new)
    _FORMATS[args.format](old, new, found)
    return 1 if found else 0


def _text(old: "Configuration", new: "Configuration", found: "Sequence[Change]") -> None:
    for subject, effects in _by_subject(found):
        terminal.say("\n".join([terminal.paint(subject, "bold"), *(f"  {terminal.printable(one)}" for one in effects)]))
    terminal.note(_summary(old, new, found))


def _markdown(old: "Configuration", new: "Configuration", found: "Sequence[Change]") -> None:
    lines = [f"### {_summary(old, new, found)}"]
    for subject, effects in _by_subject(found):
        lines += ["", f"**{subject}**", "", *(f"- {terminal.printable(one)}" for one in effects)]
    terminal.say("\n".join(lines))


def _json(old: "Configuration", new: "Configuration", found: "Sequence[Change]") -> None:
    document: dict[str, Any] = {
        "changed": bool(found),
        "old": old.digest,
        "new": new.digest,
        "changes": [change.as_dict() for change in found],
    }
    terminal.say(terminal.as_json(document))


def _by_subject(found: "Sequence[Change]") -> list[tuple[str, list[str]]]:
    groups = groupby(found, key=lambda change: change.subject)
    return [(subject or _SITE, [change.effect for change in changes]) for subject, changes in groups]


def _summary(old: "Configuration", new: "Configuration", found: "Sequence[Change]") -> str:
    if found:
        gateways = _counted(len({change.gateway for change in found} - {""}), "gateway")
        tokens = _counted(len({change.token for change in found} - {""}), "token")
        where = " and ".join(part for part in (gateways, tokens) if part)
        return f"smsgwd: {_counted(len(found), 'change')} for users{f' in {where}' if where else ''}"
    return f"smsgwd: nothing changes for users{'' if old.digest == new.digest else '; the digest does'}"


def _counted(number: int, word: str) -> str:
    """`2 gateways`; nothing of none."""
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""


_FORMATS: dict[str, Callable[..., None]] = {"text": _text, "json": _json, "markdown": _markdown}
