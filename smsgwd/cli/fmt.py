"""`smsgwd fmt`: puts the keys of files into their usual order."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:  # what reads files takes a while to import: not for --help
    from smsgwd.errors import Problem
    from smsgwd.files import ConfigFile
    from smsgwd.load import Source

_DESCRIPTION = """\
Put the keys of gateway files, token files and smsgwd.yaml into the order of the documentation, and remove blanks at the
ends of lines. Comments stay with their keys, quotes and brackets as they are. Nothing that a file says is changed, and
so its digest is not; parameters and headers of requests keep the order in which they are written.

PATH is a file, a folder of gateway files or a whole configuration directory; without one --config is formatted. The
names of the files that were changed go to standard output.
"""
_EPILOG = """\
examples:
  smsgwd fmt gateways.d/twilio.yaml
  smsgwd fmt --config . --check                as a hook or in CI

exit codes: 0 all files are in order now; 1 some are not (--check), or cannot be; 2 wrong usage.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `fmt`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("paths", metavar="PATH", nargs="*", type=options.folder, help="files and folders to format")
    parser.add_argument("--check", action="store_true", help="change nothing, name the files that are not in order")
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Format; exit code 1 when a file is not in order, or cannot be read."""
    from smsgwd.errors import has_errors  # noqa: PLC0415 - what reads files takes a while to import: not for --help
    from smsgwd.files import look, read_paths  # noqa: PLC0415 - as above

    seen = read_paths(args.paths) if args.paths else look(options.config_of(args))
    _tell(seen.problems, {})
    changed, sound = 0, not has_errors(seen.problems)
    kinds = {"smsgwd": seen.sites, "gateway": seen.gateways, "token": seen.tokens}
    for kind, file in ((kind, file) for kind, files in kinds.items() for file in files):
        outcome = _format(file, kind, check=args.check)
        sound = sound and outcome is not None
        changed += bool(outcome)
    terminal.note(_summary(sum(map(len, kinds.values())), changed, check=args.check))
    return 1 if not sound or (args.check and changed) else 0


def _format(file: "ConfigFile", kind: str, *, check: bool) -> bool | None:
    """Whether the file was, or with `check` has to be, changed; None when it cannot be formatted, which is told."""
    from smsgwd.cli.rewriting import encoded, rewrite  # noqa: PLC0415 - as above
    from smsgwd.layout import LayoutError, arranged  # noqa: PLC0415 - as above
    from smsgwd.load import load  # noqa: PLC0415 - as above

    source = load(file.data, file.file, private=kind == "token")
    if source.problems:
        _tell(_discreetly(source.problems) if source.private else source.problems, {file.file: source})
        return None
    try:
        text = arranged(source, kind)
    except LayoutError as error:
        terminal.complain(f"{file.file}: {error}")
        return None
    if text == source.text:
        return False
    if not check:
        rewrite(Path(file.file), encoded(text, file.data), file.data)
    terminal.say_what_was_done(terminal.printable(file.file))
    return True


def _discreetly(problems: "tuple[Problem, ...]") -> "tuple[Problem, ...]":
    """What is wrong with a token file, without what nobody is to see of it."""
    from smsgwd.compile import discreet  # noqa: PLC0415 - what compiles files takes 0.3 s to import: for these alone

    return tuple(map(discreet, problems))


def _tell(problems: "tuple[Problem, ...]", sources: "dict[str, Source]") -> None:
    from smsgwd.cli import findings  # noqa: PLC0415 - as above

    text = findings.as_text(
        problems, sources, color=terminal.has_color(sys.stderr), columns=terminal.columns(sys.stderr)
    )
    if text:
        terminal.note(text.removesuffix("\n"))


def _summary(files: int, changed: int, *, check: bool) -> str:
    """The last line: `14 files, 1 changed`."""
    words = "not in order" if check else "changed"
    return f"{files} file{'' if files == 1 else 's'}, {changed} {words}"
