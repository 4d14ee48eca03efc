"""A whole configuration as one JSON document: the same files make the same octets, on any machine.

    {"smsgwd": 1, "digest": ..., "gateways": {NAME: {"digest": ..., ...}}, "site": {...}}

A gateway is what its file says, without comments and tests and without defaults filled in; secrets are the references
that stand there. `site` is smsgwd.yaml.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smsgwd import schema
from smsgwd.compile import digest_of_file
from smsgwd.dump import dump
from smsgwd.errors import Problem, Severity
from smsgwd.load import Source, load
from smsgwd.registry import Registry, digest_of

VERSION = 1

_Checker = Callable[[Source], tuple[dict[str, Any] | None, tuple[Problem, ...]]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say. `broken` are gateways whose file does not compile, with the first reason."""

    digest: str
    gateways: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    site: Mapping[str, Any] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def as_text(self) -> str:
        """The document. It ends in a line break."""
        gateways = {name: {**data, "digest": digest_of_file(data)} for name, data in self.gateways.items()}
        document = {"smsgwd": VERSION, "digest": self.digest, "gateways": gateways, "site": self.site}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def configuration(registry: Registry, sources: Mapping[str, Source], site: Source | None) -> Configuration:
    """What was compiled. `sources` are the files of the gateways by their names, `site` is smsgwd.yaml."""
    gateways, broken = {}, {}
    for name, entry in registry.entries.items():
        if entry.gateway is not None:
            gateways[name] = {key: value for key, value in _typed(sources[name]).items() if key != "tests"}
        else:
            errors = (problem for problem in entry.problems if problem.severity is Severity.ERROR)
            broken[name] = next(map(told, errors), "it does not compile")
    data = None if site is None else schema.check_site(site)[0]
    return Configuration(registry.digest, gateways, data or {}, broken)


def told(problem: Problem) -> str:
    """A finding with its place inside of the configuration directory: where that is, is no part of a configuration."""
    return str(replace(problem, file=problem.file.rpartition("/")[2]))


def _typed(source: Source) -> dict[str, Any]:
    return schema.check_gateway(source)[0] or {}


def parse(text: str | bytes) -> Configuration:
    """A document that was written before. Raises ValueError for what is none, or was changed since."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(document, dict) or not isinstance(document.get("gateways"), dict):
        raise ValueError("it is JSON, but not written by `smsgwd compile`")  # noqa: TRY004 - a fault of the file
    if document.get("smsgwd") != VERSION:
        raise ValueError("it was written by another version of smsgwd")
    gateways = {name: _checked(name, data) for name, data in document["gateways"].items()}
    if document.get("digest") != digest_of({name: digest_of_file(data) for name, data in gateways.items()}):
        raise ValueError("its digest is not that of its content")
    site = document.get("site", {})
    _check(site, schema.check_site, "smsgwd.yaml")
    return Configuration(document["digest"], gateways, site)


def _checked(name: str, data: Any) -> dict[str, Any]:
    """A gateway of the document, without its digest. Raises ValueError."""
    if not isinstance(data, dict) or data.pop("digest", None) != digest_of_file(data):
        raise ValueError(f"the digest of the gateway {name!r} is not that of its content")
    _check(data, schema.check_gateway, f"the gateway {name!r}")
    return data


def _check(data: Any, by_schema: _Checker, what: str) -> None:
    """Raise ValueError where the schemas of this version would have refused the file."""
    if not isinstance(data, dict):
        raise ValueError(f"{what} is not a mapping")  # noqa: TRY004 - a fault of the file
    if data and by_schema(load(dump(data).encode(), what)) != (data, ()):
        raise ValueError(f"{what} does not fit the schemas of this version of smsgwd")
