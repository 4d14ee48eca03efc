"""`smsgwd check`: all that is wrong with a configuration, in one run, without a daemon and without a network."""

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:
    from smsgwd.cli.reading import Reading

_DESCRIPTION = """\
Find what is wrong with gateway files and smsgwd.yaml, all of it in one run, as the daemon would when it reads them.

PATH is a file, a folder of gateway files or a whole configuration directory; without one --config is checked. What a
file refers to, such as SMTP servers, is looked up in --config (of one whole configuration directory: in itself, unless
--config says otherwise). Findings go to standard output, the count to standard error.
"""
_EPILOG = """\
examples:
  smsgwd check gateways.d/clickatell.yaml
  smsgwd check --config . --strict             as a hook or in CI
  smsgwd check --secrets                       on the machine that has them
  smsgwd check --config . --format github      in a pull request

`smsgwd explain CODE` says what a finding means; `# smsgwd: ignore CODE reason` on its line silences a warning.

exit codes: 0 fine; 1 errors (with --strict also warnings); 2 wrong usage.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("paths", metavar="PATH", nargs="*", type=options.folder, help="files and folders to check")
    parser.add_argument(
        "--format",
        choices=("text", "json", "github", "sarif"),
        default="text",
        help="text with excerpts, one JSON document, commands for GitHub Actions, or SARIF 2.1.0 (default: text)",
    )
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument("--secrets", action="store_true", help="read the secrets as well: is each there, and usable?")
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Check; exit code 1 when something is wrong."""
    from smsgwd.cli import findings  # noqa: PLC0415 - what compiles files takes 0.3 s to import: not for --help
    from smsgwd.cli.reading import check  # noqa: PLC0415 - as above

    reading, files = check(args.paths, options.config_for_paths(args), resolve=args.secrets)
    counts = Counter(str(problem.severity) for problem in reading.found)
    if args.format == "json":
        _say(findings.as_json(reading.found, files))
    elif args.format == "sarif":
        from smsgwd.cli.sarif import as_sarif  # noqa: PLC0415 - for this format alone

        _say(as_sarif(reading.found))
    else:
        _tell(reading, args.format)
        terminal.note(_summary(files, counts["error"], counts["warning"]))
    _tell_of_more(reading)
    return 1 if counts["error"] or (args.strict and counts["warning"]) else 0


def _say(document: str) -> None:
    terminal.say(document.removesuffix("\n"))


def _tell(reading: "Reading", kind: str) -> None:
    """The findings, line by line; each is printable already, but for our own colours."""
    from smsgwd.cli import findings, github  # noqa: PLC0415 - as above

    if kind == "github":
        text = github.as_github(reading.found)
    else:
        text = findings.as_text(
            reading.found, reading.sources, color=terminal.has_color(sys.stdout), columns=terminal.columns(sys.stdout)
        )
    print(text, end="")


def _tell_of_more(reading: "Reading") -> None:
    """Name the files of which not every finding was told: one that is broken that much is not searched to its end."""
    from smsgwd.load import MAX_PROBLEMS  # noqa: PLC0415 - as above

    for file, count in Counter(problem.file for problem in reading.found).items():
        if count >= MAX_PROBLEMS:
            terminal.complain(f"{file}: there may be more than these {count} findings")


def _summary(files: int, errors: int, warnings: int) -> str:
    """The last line: `3 files, 1 error, 0 warnings`."""
    counted = ((files, "file"), (errors, "error"), (warnings, "warning"))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counted)
