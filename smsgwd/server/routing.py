"""Which call a request is: paths as openapi.json has them, and what answers there."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote

from aiohttp import web

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.server.connection import Connection
from smsgwd.server.problems import problem


@dataclass(frozen=True, slots=True)
class Call:
    """One request, on its way. `names` is what stands in the path's `{name}`s."""

    request: web.BaseRequest
    connection: Connection
    caller: Caller
    names: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[Call], Awaitable[web.StreamResponse]]
Refuse = Callable[..., web.Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of openapi.json, and what answers there: a method of a `Family`.

    `refuse` makes the answer that refuses a request, of the error and of headers. `open` is for everybody: nobody asks
    who calls.
    """

    method: str
    path: str
    respond: Callable[[Any, Call], Awaitable[web.StreamResponse]]
    refuse: Refuse = problem
    open: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The path, taken apart."""
        return tuple(self.path.split("/"))


class Family(Protocol):
    """Calls that belong together, and what they need."""

    ROUTES: ClassVar[tuple[Route, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """What answers a request."""

    respond: Respond
    refuse: Refuse
    open: bool
    names: Mapping[str, str]


class MethodNotAllowedError(RequestError):
    """The path is known, the method is not for it; `allowed` are those that are."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("method-not-allowed", f"this path takes {', '.join(allowed)}")
        self.allowed = allowed


class Router:
    """Finds what answers. A path without `{name}`s goes before one that has some."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._plain: dict[str, dict[str, Found]] = {}
        self._named: dict[tuple[str, ...], dict[str, Found]] = {}
        for family in families:
            for route in family.ROUTES:
                found = Found(route.respond.__get__(family), route.refuse, route.open, {})
                if "{" in route.path:
                    self._named.setdefault(route.parts, {})[route.method] = found
                else:
                    self._plain.setdefault(route.path, {})[route.method] = found
        self._plain = {path: self._named_at(path) | methods for path, methods in self._plain.items()}

    def find(self, method: str, path: str) -> Found:
        """What answers there; the path as it came, percent-encoded. Raises RequestError not-found, method-not-allowed.

        It is parted before it is decoded: a slash inside of a name is a part of that.
        """
        methods = self._at(path)
        found = methods.get("GET" if method == "HEAD" else method)  # aiohttp leaves the body of an answer to HEAD out
        if found is None:
            raise MethodNotAllowedError(tuple(methods) + (("HEAD",) if "GET" in methods else ()))
        return found

    def _at(self, path: str) -> dict[str, Found]:
        """What answers at a path, by method."""
        there = self._plain.get(path) or self._named_at(path)
        if not there:
            raise RequestError("not-found", "there is nothing at this path; /openapi.json describes what there is")
        return there

    def _named_at(self, path: str) -> dict[str, Found]:
        """What answers at a path of names, by method; of several that fit the first."""
        parts, there = tuple(map(unquote, path.split("/"))), dict[str, Found]()
        for pattern, methods in self._named.items():
            names = _names(pattern, parts)
            if names is not None:
                there = {method: replace(found, names=names) for method, found in methods.items()} | there
        return there


def _names(pattern: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str] | None:
    """What stands in the places of the names, none of them empty; None for a path that does not fit."""
    if len(pattern) != len(parts):
        return None
    names = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{") and part:
            names[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return names
