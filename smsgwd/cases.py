"""Runs the `tests` of a gateway file: each is a send whose provider answers what the test says.

Nothing leaves: the message goes the way of every other, through `sender`, up to a provider that renders and interprets
as the real one, but whose `submit` returns the reply of the test. The gateways have to be compiled without secrets.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from smsgwd import schema, sender
from smsgwd.errors import MessageError, Problem, RequestError, SubmitError
from smsgwd.load import Path, Source
from smsgwd.message import Message, SendRequest
from smsgwd.outcome import Outcome, Reason
from smsgwd.providers._base import Prepared, Provider, Reply
from smsgwd.registry import Breaker, Entry, Failover, Gateway, LogSettings, Registry, Retry, Served, Usage
from smsgwd.units import Deadline

_OF_OUTCOME = ("outcome", "reason", "message_ids", "detail", "gateway", "provider", "via")


class _Absent:
    """In the place of a value that is not there."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Any = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an expectation is not met. `path` leads from the root of the file to the expected value."""

    path: Path
    expected: Any
    actual: Any = ABSENT
    hint: str = ""

    @property
    def place(self) -> str:
        """The path below `expect`, for people: `request.query.to[0]`."""
        parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path[3:]]
        return "".join(parts).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test. It passed when there is no difference and no problem."""

    index: int  # in `tests`, from 0
    name: str
    line: int  # where it begins
    actual: Mapping[str, Any] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()  # why it could not be run

    @property
    def passed(self) -> bool:
        """Whether all that was expected came."""
        return not self.differences and not self.problems


def run(registry: Registry, name: str, source: Source) -> tuple[Result, ...]:
    """The results of all tests of one gateway's file, in their order. The gateway has to be in the registry."""
    data, _ = schema.check_gateway(source)
    tests = (data or {}).get("tests", [])
    with asyncio.Runner() as runner:
        return tuple(_Run(registry, name, source, runner, index, test).result() for index, test in enumerate(tests))


@dataclass(frozen=True, slots=True)
class _Run:
    """One test being run."""

    registry: Registry
    gateway: str
    source: Source
    runner: asyncio.Runner
    index: int
    test: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return ("tests", self.index)

    def result(self) -> Result:
        line, _ = self.source.position(self.path)
        result = Result(self.index, self.test.get("name", f"test {self.index + 1}"), line)
        replies, problems = self._replies()
        if problems:
            return replace(result, problems=problems)
        try:
            actual = self._actual(replies)
        except RequestError as error:
            refused = self.source.problem((*self.path, "send", "template"), error.code, error.detail)
            return replace(result, problems=(refused,))
        return replace(result, actual=actual, differences=tuple(self._differences(actual)))

    def _replies(self) -> tuple[Mapping[str, Any] | None, tuple[Problem, ...]]:
        """The answer of each gateway that has one, by its name; None where the test has no `reply`."""
        if "reply" not in self.test:
            return None, ()
        served, path = self.registry.renderable(self.gateway), (*self.path, "reply")
        if isinstance(served, Gateway):
            told, problems = schema.check_reply(self.source, served.provider_name, path)
            return {self.gateway: told}, problems
        return self._replies_of_members(served, path)

    def _replies_of_members(self, failover: Failover, path: Path) -> tuple[Mapping[str, Any], tuple[Problem, ...]]:
        members = {one.name: one.provider_name for one in self.registry.reach(failover) if isinstance(one, Gateway)}
        replies, found = {}, list[Problem]()
        for name in self.test["reply"]:
            if name in members:
                replies[name], problems = schema.check_reply(self.source, members[name], (*path, name))
                found += problems
            else:
                message = f"`{name}` is no member of this failover"
                found.append(self.source.problem((*path, name), "unknown-gateway", message, on_key=True))
        return replies, tuple(found)

    def _actual(self, replies: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is rendered and, where there is a reply or the message is refused, the outcome. Raises RequestError."""
        registry = _answering(self.registry, self.gateway, replies or {})
        request = sender.sampled(registry, SendRequest(gateway=self.gateway, **self.test["send"]))
        try:
            shown = sender.render(registry, request)
        except MessageError as error:
            if replies is None:
                return {"outcome": "rejected", "reason": str(error.reason), "detail": error.detail}
            shown = {}
        if replies is None:
            return shown
        outcome = self.runner.run(sender.send(registry, request))
        if shown.get("gateway") != outcome.gateway:
            shown = _shown_by(registry, request, outcome.gateway)
        told = outcome.as_dict()
        return {**shown, **{key: told[key] for key in _OF_OUTCOME if told[key] is not None or key == "reason"}}

    def _differences(self, actual: Mapping[str, Any]) -> Iterator[Difference]:
        path, expected = (*self.path, "expect"), self.test["expect"]
        if not expected:
            yield Difference(path, {}, actual, "nothing is expected: `--update` fills it in")
        for found in _compared(path, expected, actual):
            yield replace(found, hint=_hint(found, actual))


def _compared(path: Path, expected: Any, actual: Any) -> Iterator[Difference]:
    """Mappings are compared key by key of the expected one, lists item by item if they are as long."""
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from _compared((*path, key), value, actual.get(key, ABSENT))
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, value in enumerate(expected):
            yield from _compared((*path, index), value, actual[index])
    elif path[2:] == ("expect", "detail") and isinstance(actual, str):
        if expected not in actual:
            yield Difference(path, expected, actual)
    elif expected != actual or isinstance(expected, bool) != isinstance(actual, bool):
        yield Difference(path, expected, actual)


def _hint(found: Difference, actual: Mapping[str, Any]) -> str:
    """What helps to understand a difference."""
    if found.hint:
        return found.hint
    top = found.path[3]
    if actual.get("outcome") == "rejected" and top not in _OF_OUTCOME:
        return f"the message is rejected ({actual['reason']}): {actual['detail']}"
    if found.actual is ABSENT and top in {"outcome", "reason", "message_ids", "detail"}:
        return "the message can be sent; what becomes of it takes a `reply`"
    if top in {"outcome", "reason"} and actual.get("detail"):
        return f"detail: {actual['detail']}"
    if found.actual is ABSENT:
        beside = _at(actual, found.path[3:-1])
        return f"there are {', '.join(beside)}" if isinstance(beside, Mapping) and beside else ""
    if isinstance(found.actual, str) and isinstance(found.expected, int | float):
        return f"it is a text: quote it ({json.dumps(found.actual, ensure_ascii=False)})"
    return ""


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


# --- gateways that answer by themselves -----------------------------------------------------------------------------


class _Answering(Provider[Prepared, Reply]):
    """A provider as it is, but for what leaves the house: that is answered here."""

    def __init__(self, provider: Provider[Any, Any], told: Any) -> None:
        self._provider = provider
        self._told = told

    def render(self, message: Message) -> Prepared:
        prepared: Prepared = self._provider.render(message)
        return prepared

    def describe(self, prepared: Prepared) -> dict[str, Any]:
        return self._provider.describe(prepared)

    async def submit(self, prepared: Prepared, deadline: Deadline) -> Reply:  # noqa: ARG002 - nothing is waited for
        if self._told is ABSENT:
            raise SubmitError(Reason.INTERNAL, "it is asked, and the test has no reply of it", handed_over=True)
        reply: Reply = self._provider.reply_of(prepared, self._told)
        return reply

    def interpret(self, reply: Reply) -> Outcome:
        return self._provider.interpret(reply)


def _answering(registry: Registry, name: str, replies: Mapping[str, Any]) -> Registry:
    """The gateway and all that it leads to, with these answers.

    It can send even when it is disabled. The members of a failover can as far as they are enabled, unless the failover
    is disabled itself: then it is tested as it will be.
    """
    root = registry.renderable(name)
    entries = {
        one.name: Entry.of(one.name, _made_to_answer(one, replies, enabled=one is root or not root.enabled))
        for one in registry.reach(root)
    }
    return Registry(MappingProxyType(entries), replace(registry.config, log=LogSettings()))  # and no debug switch


def _made_to_answer(served: Served, replies: Mapping[str, Any], *, enabled: bool) -> Served:
    enabled = enabled or served.enabled
    if isinstance(served, Failover):
        return replace(served, enabled=enabled, usage=Usage())
    provider = _Answering(served.provider, replies.get(served.name, ABSENT))
    return replace(
        served, enabled=enabled, provider=provider, retry=Retry(attempts=1), usage=Usage(), breaker=Breaker()
    )


def _shown_by(registry: Registry, request: SendRequest, member: str) -> dict[str, Any]:
    """What that member of a failover would send of it; nothing where it would refuse."""
    failover = registry.renderable(request.gateway)
    if not isinstance(failover, Failover) or member not in registry.entries:
        return {}
    only = Entry.of(failover.name, replace(failover, routes=(), gateways=(member,)))
    try:
        return sender.render(replace(registry, entries={**registry.entries, failover.name: only}), request)
    except MessageError:
        return {}
