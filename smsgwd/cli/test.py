"""`smsgwd test`: runs the tests inside gateway files, without a daemon, a network or secrets."""

import json
import logging
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsgwd.cli import options, terminal

if TYPE_CHECKING:  # what compiles files takes 0.3 s to import: not for --help
    from smsgwd.cases import Difference, Result
    from smsgwd.cli.reading import Reading
    from smsgwd.errors import Problem
    from smsgwd.files import ConfigFile
    from smsgwd.load import Source
    from smsgwd.registry import Entry, Registry

_DESCRIPTION = """\
Run the `tests` of gateway files: each sends a message through the gateway as the daemon would, but for the sending. A
test may say what the provider answers (`reply`), and expects parts of the rendering and of the outcome (`expect`).

PATH is a file, a folder of gateway files or a whole configuration directory; without one --config is tested. What a
file refers to, such as the members of a failover, is looked up in --config (of one whole configuration directory: in
itself, unless --config says otherwise). Failures go to standard output, the count to standard error.
"""
_EPILOG = """\
examples:
  smsgwd test gateways.d/clickatell.yaml
  smsgwd test --config . --junit report.xml    in CI
  smsgwd test --update gateways.d/new.yaml     write what came into the file: `expect: {}` is filled in

exit codes: 0 all tests passed; 1 some failed, or a file has errors; 2 wrong usage.
"""
_WIDTH = 100  # in characters; a longer value is cut around the first difference, on a small terminal further
_BESIDE = len("    expected …")


def add(parser: ArgumentParser) -> None:
    """The arguments of `test`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("paths", metavar="PATH", nargs="*", type=options.folder, help="files and folders to test")
    parser.add_argument("--update", action="store_true", help="write what came into the files as what is expected")
    parser.add_argument("--junit", metavar="PATH", type=options.folder, help="also write a report in JUnit's XML")
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Run the tests; exit code 1 when one failed."""
    from smsgwd.cli.reading import compiled  # noqa: PLC0415 - what compiles files takes 0.3 s to import: not for --help

    logging.getLogger("smsgwd").addHandler(logging.NullHandler())  # what a send logs is not for this screen
    reading, seen, registry = compiled(args.paths, options.config_for_paths(args))
    tested = [_tested(registry, reading, file) for file in seen.gateways]
    if args.update:
        tested = [one if one.registry is None else _updated(one.registry, one) for one in tested]
    others = _errors(reading, {one.file for one in tested})
    _tell(reading, tested, others)
    if args.junit:
        _write_report(args.junit, tested, others)
    return 1 if others or not all(one.passed for one in tested) else 0


@dataclass(frozen=True, slots=True)
class _Tested:
    """A gateway file whose tests were run. `errors` keep it from being compiled: then there are no results."""

    config_file: "ConfigFile"
    source: "Source"
    results: "Sequence[Result]" = ()
    errors: "Sequence[Problem]" = ()
    elapsed_s: float = 0.0
    registry: "Registry | None" = None
    updated: int = 0
    count: int = field(default=0)

    @property
    def file(self) -> str:
        return self.config_file.file

    @property
    def failed(self) -> int:
        return self.count if self.errors else sum(not result.passed for result in self.results)

    @property
    def passed(self) -> bool:
        return not self.errors and not self.failed


def _tested(registry: "Registry", reading: "Reading", file: "ConfigFile") -> _Tested:
    from smsgwd import cases  # noqa: PLC0415 - as above

    source = reading.sources[file.file]
    errors = _errors(reading, None, file.file)
    if errors:
        return _Tested(file, source, errors=errors, count=_count(source))
    started = time.monotonic()
    registry = _with(registry, reading.entries[file.file])
    results = cases.run(registry, file.name, source)
    return _Tested(file, source, results, elapsed_s=time.monotonic() - started, count=len(results), registry=registry)


def _with(registry: "Registry", entry: "Entry") -> "Registry":
    """The registry with the gateway of this file: a file in another folder may have its name, too."""
    if registry.entries[entry.name].gateway is entry.gateway:
        return registry
    return replace(registry, entries={**registry.entries, entry.name: entry})


def _count(source: "Source") -> int:
    from smsgwd.load import Sequence as SequenceNode  # noqa: PLC0415 - as above

    tests = source.node(("tests",))
    return len(tests.items) if isinstance(tests, SequenceNode) else 0


def _errors(reading: "Reading", but: "set[str] | None", file: str = "") -> "list[Problem]":
    """The errors of one file, or of all but these."""
    from smsgwd.errors import Severity  # noqa: PLC0415 - as above

    errors = [problem for problem in reading.found if problem.severity is Severity.ERROR]
    return [one for one in errors if (one.file == file if but is None else one.file not in but)]


# --- --update -------------------------------------------------------------------------------------------------------


def _updated(registry: "Registry", tested: _Tested) -> _Tested:
    """The same after its file was written, if there is something to write. Raises Failure."""
    from smsgwd import cases, expectations  # noqa: PLC0415 - as above
    from smsgwd.cli.rewriting import encoded, rewrite  # noqa: PLC0415 - for this option alone
    from smsgwd.load import load  # noqa: PLC0415 - as above

    text = expectations.updated(tested.source, tested.results)
    if text == tested.source.text:
        return tested
    before = tested.config_file.data
    data = encoded(text, before)
    source = load(data, tested.file)
    if not expectations.same_but_expectations(tested.source, source):
        raise terminal.Failure(f"{tested.file}: cannot be updated: a fault of smsgwd, please report it")
    results = cases.run(registry, tested.config_file.name, source)
    rewrite(Path(tested.file), data, before)
    changed = sum(not was.passed and now.passed for was, now in zip(tested.results, results, strict=True))
    return _Tested(tested.config_file, source, results, updated=changed, count=len(results))


# --- telling --------------------------------------------------------------------------------------------------------


def _tell(reading: "Reading", tested: "Sequence[_Tested]", others: "Sequence[Problem]") -> None:
    from smsgwd.cli import findings  # noqa: PLC0415 - as above

    color, columns = terminal.has_color(sys.stdout), terminal.columns(sys.stdout)
    errors = [*others, *(problem for one in tested for problem in one.errors)]
    # printable already, but for its own colours
    print(findings.as_text(errors, reading.sources, color=color, columns=columns), end="")
    for one in tested:
        for result in one.results:
            sources = {one.file: one.source}
            print(findings.as_text(result.problems, sources, color=color, columns=columns), end="")
            for line in _failure(one, result, terminal.paint("failed", "red")):
                print(line)
    terminal.note(_summary(tested))


def _failure(tested: _Tested, result: "Result", word: str = "failed") -> Iterator[str]:
    """The lines about a test that failed; `word` says so."""
    for found in result.differences:
        place = f"{tested.file}:{':'.join(map(str, _position(tested.source, found)))}"
        what = f": {found.place}" if found.place else ""
        yield f"{terminal.printable(place)}: {word}: {_one_line(result.name)}{_one_line(what)}"
        yield from _shown(found, _width())


def _width() -> int:
    if not sys.stdout.isatty():
        return _WIDTH
    return min(_WIDTH, max(20, shutil.get_terminal_size().columns - _BESIDE - 1))


def _shown(found: "Difference", width: int) -> Iterator[str]:
    from smsgwd.cases import ABSENT  # noqa: PLC0415 - as above

    if found.place:
        expected = _one_line(_json(found.expected))
        actual = _one_line("nothing" if found.actual is ABSENT else _json(found.actual))
        expected, actual, column = _window(expected, actual, width)
        yield f"    expected {expected}"
        yield f"    but came {actual}"
        if isinstance(found.expected, str) and isinstance(found.actual, str):
            yield " " * (column + len("    expected ")) + "^"
    if found.hint:
        yield f"  hint: {_one_line(found.hint)}"


def _window(expected: str, actual: str, width: int) -> tuple[str, str, int]:
    """Both texts, cut alike around the first difference, and its place in them."""
    pairs = enumerate(zip(expected, actual, strict=False))
    column = next((index for index, (one, other) in pairs if one != other), min(len(expected), len(actual)))
    begin = max(0, column - width // 2) if max(len(expected), len(actual)) > width else 0
    cut = [("…" if begin else "") + text[begin : begin + width] for text in (expected, actual)]
    cut = [text + "…" * (len(whole) > begin + width) for text, whole in zip(cut, (expected, actual), strict=True)]
    return cut[0], cut[1], column - begin + bool(begin)


def _position(source: "Source", found: "Difference") -> tuple[int, int]:
    from smsgwd.cases import ABSENT  # noqa: PLC0415 - as above

    return source.position(found.path, key=found.actual is ABSENT)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)


def _one_line(text: str) -> str:
    return terminal.printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _summary(tested: "Sequence[_Tested]") -> str:
    """The last line: `12 tests in 4 files, 1 failed`."""
    count, files = sum(one.count for one in tested), len(tested)
    parts = [f"{count} test{'' if count == 1 else 's'} in {files} file{'' if files == 1 else 's'}"]
    updated, failed = sum(one.updated for one in tested), sum(one.failed for one in tested)
    broken = sum(bool(one.errors) for one in tested)
    parts += [f"{updated} updated"] if updated else []
    parts += [f"{failed} failed"]
    parts += [f"{broken} file{'' if broken == 1 else 's'} with errors"] if broken else []
    return ", ".join(parts)


# --- --junit --------------------------------------------------------------------------------------------------------


def _write_report(path: Path, tested: "Iterable[_Tested]", others: "Sequence[Problem]") -> None:
    from smsgwd.cli import junit  # noqa: PLC0415 - for this option alone
    from smsgwd.cli.rewriting import write  # noqa: PLC0415 - as above

    suites = [junit.Suite(one.file, one.config_file.name, list(_cases(one)), one.elapsed_s) for one in tested]
    for file in sorted({problem.file for problem in others}):
        told = "\n".join(str(problem) for problem in others if problem.file == file)
        suites.append(junit.Suite(file, Path(file).stem, [junit.Case("the file", 1, told, broken=True)]))
    try:
        write(path, junit.document(suites))
    except terminal.Failure as failure:
        raise terminal.Failure(str(failure), 2) from None


def _cases(tested: _Tested) -> "Iterator[Any]":
    from smsgwd.cli.junit import Case  # noqa: PLC0415 - as above

    if tested.errors:
        yield Case("the file", 1, "\n".join(map(str, tested.errors)), broken=True)
    for result in tested.results:
        told = [str(problem) for problem in result.problems]
        told += _failure(tested, result)
        yield Case(result.name, result.line, "\n".join(told), broken=bool(result.problems))
