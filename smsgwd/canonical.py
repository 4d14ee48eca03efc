"""A whole configuration as one JSON document: the same files make the same octets, on any machine.

    {"smsgwd": 1, "digest": ..., "gateways": {NAME: {"digest": ..., ...}}, "site": {...}}

A gateway is what its file says, without comments and tests and without defaults filled in; secrets are the references
that stand there. `site` is smsgwd.yaml.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smsgwd import schema
from smsgwd.compile import digest_of_file
from smsgwd.errors import Problem
from smsgwd.load import Source
from smsgwd.registry import Registry, digest_of

VERSION = 1


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
            broken[name] = next((told(problem) for problem in entry.problems), "it does not compile")
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
    gateways: dict[str, dict[str, Any]] = {}
    for name, data in document["gateways"].items():
        if not isinstance(data, dict) or data.pop("digest", None) != digest_of_file(data):
            raise ValueError(f"the digest of the gateway {name!r} is not that of its content")
        gateways[name] = data
    if document.get("digest") != digest_of({name: digest_of_file(data) for name, data in gateways.items()}):
        raise ValueError("its digest is not that of its content")
    site = document.get("site")
    return Configuration(document["digest"], gateways, site if isinstance(site, dict) else {})
