"""What `compile` and `diff` read: a configuration directory, a compiled file, or a revision in Git."""

import tempfile
from dataclasses import replace
from pathlib import Path

from smsgwd import canonical
from smsgwd.canonical import Configuration
from smsgwd.cli import git
from smsgwd.cli.reading import Reading, compiled
from smsgwd.cli.terminal import Failure
from smsgwd.errors import Problem, has_errors
from smsgwd.files import GATEWAYS, TOKENS, shown

_GIT = "git:"
_MAX_OCTETS = 1 << 28  # of a compiled file: 10,000 gateways have a tenth of it


def directory_side(directory: Path) -> tuple[Reading, Configuration]:
    """A configuration directory and what was found in it. Raises Failure for a folder that is none."""
    reading, seen, registry = compiled([], directory, tokens=True)
    if seen.present and not seen.gateways_present and not has_errors(reading.found):
        raise Failure(f"{directory} has no folder {GATEWAYS}")
    sources = {file.name: reading.sources[file.file] for file in seen.gateways}
    token_sources = {file.name: reading.sources[file.file] for file in seen.tokens}
    site = None if seen.site is None else reading.sources[seen.site.file]
    configuration = canonical.configuration(registry, sources, site, token_sources, reading.found)
    broken, broken_tokens = (
        {fault.name: canonical.told(fault.problem) for fault in faults if fault.name}
        for faults in (seen.faults, seen.token_faults)
    )
    return reading, replace(
        configuration,
        broken={**configuration.broken, **broken},
        broken_tokens={**configuration.broken_tokens, **broken_tokens},
    )


def _beneath(directory: Path, problem: Problem) -> Problem:
    """The same finding, its file named as seen from the configuration directory."""
    return replace(problem, file=problem.file.removeprefix(f"{shown(directory)}/"))


def side(written: str) -> Configuration:
    """One side of a comparison, as it is written on the command line. Raises Failure with exit code 2."""
    try:
        if written.startswith(_GIT):
            return _revision(written)
        path = Path(written)
        return _served(path, str(path)) if path.is_dir() else _compiled_file(path)
    except Failure as failure:
        raise Failure(str(failure), 2) from None


def _served(directory: Path, written: str) -> Configuration:
    """What a daemon would serve. Files of gateways and tokens may have errors, which are compared; no other may."""
    reading, configuration = directory_side(directory)
    for problem in reading.found:
        if has_errors([problem]) and Path(problem.file).parent.name not in {GATEWAYS, TOKENS}:
            raise Failure(f"{written} cannot be read: {_beneath(directory, problem)}")
    return configuration


def _revision(written: str) -> Configuration:
    with tempfile.TemporaryDirectory(prefix="smsgwd-") as folder:
        git.extract(written.removeprefix(_GIT), Path(folder))
        return _served(Path(folder), written)


def _compiled_file(path: Path) -> Configuration:
    try:
        if path.exists() and not path.is_file():
            raise Failure(f"{path} is neither a folder nor a file")
        with path.open("rb") as file:
            data = file.read(_MAX_OCTETS + 1)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_OCTETS:
        raise Failure(f"{path} is too large for a compiled configuration")
    try:
        return canonical.parse(data)
    except ValueError as error:
        raise Failure(f"{path} is no compiled configuration: {error}") from None
