"""What is there, what it is to become, and what was done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsgwd.errors import Problem
from smsgwd.load import Source
from smsgwd.secret import Secret


@dataclass(frozen=True, slots=True)
class Current:
    """A gateway file as it is on disk."""

    name: str
    file: str  # as findings call it
    text: str
    source: Source
    data: Mapping[str, Any] | None  # typed by the schema; None: it does not compile
    secrets: Mapping[str, Secret]  # the values of its secrets, those that can be had
    digest: str  # of what it says; empty when `data` is None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a gateway file is to become: `data`, for which the present text is edited, or `text` as it stands.

    `secrets` are values by the names that they have in `data["secrets"]`. The writer chooses their files: what stands
    there for them is replaced. Without a value a reference stays as it is.
    """

    data: Mapping[str, Any] | None = None
    text: str | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    comments: Sequence[str] = ()  # for the top of a new file
    notes: Mapping[str, str | None] = field(default_factory=dict)  # lines of the top by how they begin; None: no such

    def __post_init__(self) -> None:
        if (self.data is None) == (self.text is None) or (self.secrets and self.data is None):
            raise ValueError("either data, with the values of its secrets, or a text")


Make = Callable[[Current | None], Wanted | None]


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done: the digests of before and after (None: there was or is no file), and warnings of what is new."""

    before: str | None
    after: str | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """What has to be there for a change to be made (If-Match and If-None-Match of RFC 9110).

    `exists`: whether there has to be a file, or must be none; `digests`: one of these it has to say.
    """

    exists: bool | None = None
    digests: frozenset[str] = frozenset()

    @classmethod
    def of(cls, digest: str) -> "Match":
        """The file as it was when this was its digest."""
        return cls(digests=frozenset({digest}))

    def admits(self, current: Current | None) -> bool:
        """Whether a change may be made to this."""
        if self.digests:
            return current is not None and current.digest in self.digests
        return self.exists is None or self.exists == (current is not None)


ANY = Match()
