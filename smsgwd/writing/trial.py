"""Compiles what is wanted among the gateways of today: what would be wrong is told before anything is written."""

from collections import Counter
from collections.abc import Iterable, Mapping

from smsgwd import schema
from smsgwd.compile import compile_gateway, digest_of_file, gateway_problems
from smsgwd.errors import Problem, RequestError, Severity, has_errors
from smsgwd.load import Source
from smsgwd.registry import Entry, Failover, Registry, reference_problems
from smsgwd.secret import Secret


def tried(
    name: str, source: Source, values: Mapping[str, Secret], registry: Registry
) -> tuple[str, tuple[Problem, ...]]:
    """The digest of what the file says, and its warnings. Raises RequestError invalid-config with all findings.

    `values` are those of its secrets that are yet to be written.
    """
    served, own = compile_gateway(name, source, registry.config.site, resolve=True, values=values)
    after = {**registry.entries, name: Entry.of(name, served, own)}
    problems = [*own, *(reference_problems(served, after) if isinstance(served, Failover) else ())]
    broken = _broken_elsewhere(name, registry, after)
    data = schema.check_gateway(source)[0]
    if has_errors((*problems, *broken)) or data is None:
        raise refused([*problems, *broken])
    return digest_of_file(data), tuple(problems)


def without(name: str, registry: Registry) -> None:
    """Raises RequestError invalid-config when the others are not sound any more without this gateway."""
    after = {other: entry for other, entry in registry.entries.items() if other != name}
    broken = _broken_elsewhere(name, registry, after)
    if broken:
        raise refused(broken)


def _broken_elsewhere(name: str, registry: Registry, after: Mapping[str, Entry]) -> list[Problem]:
    """The errors that other gateways, and tokens, come to have."""
    failovers = [
        entry.gateway for entry in after.values() if entry.name != name and isinstance(entry.gateway, Failover)
    ]
    tokens = [entry.token for entry in registry.tokens.values() if entry.token is not None]

    def errors(entries: Mapping[str, Entry]) -> list[Problem]:
        found = [problem for failover in failovers for problem in reference_problems(failover, entries)]
        found += [problem for token in tokens for problem in gateway_problems(token, entries)]
        return _errors(found)

    known = set(errors(registry.entries))
    return [problem for problem in errors(after) if problem not in known]


def refused(problems: Iterable[Problem]) -> RequestError:
    """What refuses a change that these findings speak against."""
    problems = sorted(set(problems), key=lambda problem: problem.sort_key)
    files = Counter(problem.file for problem in _errors(problems))
    told = ", ".join(f"{count} in {file}" for file, count in files.items())
    detail = f"nothing was changed: there would be errors ({told})"
    return RequestError("invalid-config", detail, {"problems": [problem.as_dict() for problem in problems]})


def _errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.ERROR]
