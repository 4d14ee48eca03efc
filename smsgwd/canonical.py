"""A whole configuration as one JSON document: the same files make the same octets, on any machine.

    {"smsgwd": 1, "digest": ..., "gateways": {NAME: {"digest": ..., ...}}, "site": {...}, "tokens": {...}}

A gateway is what its file says, without comments and tests and without defaults filled in; secrets are the references
that stand there. `site` is smsgwd.yaml. `tokens`, where there are some, are what their files say, with digests in the
place of numbers and of the hashes of PINs.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from smsgwd import schema
from smsgwd.access_token import hash_of
from smsgwd.compile import digest_of_file, digest_of_token, sealed
from smsgwd.dump import dump
from smsgwd.errors import Problem, Severity
from smsgwd.load import Source, load
from smsgwd.registry import Registry, digest_of, pairs

VERSION = 1

_Checker = Callable[[Source], tuple[dict[str, Any] | None, tuple[Problem, ...]]]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say. `broken` are gateways whose file does not compile, with the first reason; tokens alike.

    The data of tokens is that of their files where there are files, and sealed where it was read from a document.
    """

    digest: str
    gateways: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    site: Mapping[str, Any] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    broken_tokens: Mapping[str, str] = field(default_factory=dict)

    def as_text(self) -> str:
        """The document. It ends in a line break."""
        gateways = {name: {**data, "digest": digest_of_file(data)} for name, data in self.gateways.items()}
        document = {"smsgwd": VERSION, "digest": self.digest, "gateways": gateways, "site": self.site}
        if self.tokens:
            document["tokens"] = {
                name: {**sealed(data), "digest": digest_of_token(data)} for name, data in self.tokens.items()
            }
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def configuration(
    registry: Registry,
    sources: Mapping[str, Source],
    site: Source | None,
    token_sources: Mapping[str, Source],
    problems: Iterable[Problem],
) -> Configuration:
    """What was compiled. `sources` are the files of the gateways by their names, `site` is smsgwd.yaml.

    `problems` are all that was found, ordered: of a token the registry does not know why it is broken.
    """
    gateways, broken = {}, {}
    for name, entry in registry.entries.items():
        if entry.gateway is not None:
            gateways[name] = {key: value for key, value in _typed(sources[name]).items() if key != "tests"}
        else:
            errors = (problem for problem in entry.problems if problem.severity is Severity.ERROR)
            broken[name] = next(map(told, errors), "it does not compile")
    data = None if site is None else schema.check_site(site)[0]
    tokens, broken_tokens = _tokens(registry, token_sources, problems)
    return Configuration(registry.digest, gateways, _without_hashes(data or {}), broken, tokens, broken_tokens)


def _tokens(
    registry: Registry, sources: Mapping[str, Source], problems: Iterable[Problem]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """The data of the tokens that serve, and why the others do not."""
    reasons: dict[str, str] = {}
    for problem in problems:
        if problem.severity is Severity.ERROR:
            reasons.setdefault(problem.file, told(problem))
    tokens: dict[str, Mapping[str, Any]] = {}
    broken = {}
    for name, entry in registry.tokens.items():
        if entry.token is not None:
            tokens[name] = schema.check_token(sources[name])[0] or {}
        else:
            broken[name] = reasons.get(sources[name].file, "it does not compile")
    return tokens, broken


def _without_hashes(site: Mapping[str, Any]) -> Mapping[str, Any]:
    """smsgwd.yaml with a digest in the place of each hash: another token shows, and nothing that a token fits."""
    if "tokens" not in site:
        return site
    return {**site, "tokens": {name: {"hash": hash_of(one["hash"])} for name, one in site["tokens"].items()}}


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
    gateways = {name: _checked(f"the gateway {name!r}", data, _GATEWAY) for name, data in document["gateways"].items()}
    tokens = document.get("tokens", {})
    if not isinstance(tokens, dict):
        raise ValueError("`tokens` is not a mapping")  # noqa: TRY004 - a fault of the file
    tokens = {name: _checked(f"the token {name!r}", data, _TOKEN) for name, data in tokens.items()}
    digests = {name: digest_of_file(data) for name, data in gateways.items()}
    if document.get("digest") != digest_of(
        pairs(digests, {name: digest_of_token(data) for name, data in tokens.items()})
    ):
        raise ValueError("its digest is not that of its content")
    site = document.get("site", {})
    _check(site, schema.check_site, "smsgwd.yaml")
    return Configuration(document["digest"], gateways, site, tokens=tokens)


class _Kind(NamedTuple):
    """What a part of a document is: how its digest is made, and which schema it has to fit."""

    digest_of: Callable[[Mapping[str, Any]], str]
    check: _Checker


_GATEWAY = _Kind(digest_of_file, schema.check_gateway)
_TOKEN = _Kind(digest_of_token, schema.check_token)


def _checked(what: str, data: Any, kind: _Kind) -> dict[str, Any]:
    """A gateway or token of the document, without its digest. Raises ValueError."""
    digest = data.pop("digest", None) if isinstance(data, dict) else None
    try:
        same = digest == kind.digest_of(data)
    except (AttributeError, KeyError, TypeError):  # what is no token has no digest
        same = False
    if not same:
        raise ValueError(f"the digest of {what} is not that of its content")
    _check(data, kind.check, what)
    return dict(data)


def _check(data: Any, by_schema: _Checker, what: str) -> None:
    """Raise ValueError where the schemas of this version would have refused the file."""
    if not isinstance(data, dict):
        raise ValueError(f"{what} is not a mapping")  # noqa: TRY004 - a fault of the file
    if data and by_schema(load(dump(data).encode(), what)) != (data, ()):
        raise ValueError(f"{what} does not fit the schemas of this version of smsgwd")
