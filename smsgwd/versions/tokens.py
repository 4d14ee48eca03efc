"""Tokens among other files: one that cannot send, or is one of two for a user, never replaces the one that served."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from smsgwd.compile import gateway_problems, user_problems
from smsgwd.errors import Problem, has_errors
from smsgwd.registry import Entry, OtpToken, Served
from smsgwd.versions.folder import Folder, Known, on_earlier


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found wrong with a token, and against which version of its gateway; or without it, among which names."""

    token: OtpToken
    against: Served | frozenset[str] | None
    problems: tuple[Problem, ...]


class Tokens:
    """Knows which tokens serve, and says which would after the next look."""

    def __init__(self, files: Folder[OtpToken]) -> None:
        self._files = files
        self._judged: dict[str, _Judged] = {}  # looking at ten thousand numbers again takes a second
        self._names: frozenset[str] = frozenset()
        self.serving: Mapping[str, Known[OtpToken]] = {}

    def following(
        self, files: Mapping[str, Known[OtpToken]], gateways: Mapping[str, Known[Served]]
    ) -> dict[str, Known[OtpToken]]:
        """What would serve, from what each file says by itself and these gateways."""
        found = self._problems(files, gateways)
        return {name: self._next(known, tuple(found.get(name, ()))) for name, known in files.items()}

    def _next(self, known: Known[OtpToken], problems: tuple[Problem, ...]) -> Known[OtpToken]:
        if not problems:
            return known
        known = replace(known, problems=(*known.problems, *problems))
        if not has_errors(problems):
            return known
        return on_earlier(
            known, self.serving.get(known.name) or self._files.from_kept(known.name, known.site, problems)
        )

    def _problems(
        self, files: Mapping[str, Known[OtpToken]], gateways: Mapping[str, Known[Served]]
    ) -> dict[str, list[Problem]]:
        """What is wrong with tokens among other files, by their names."""
        found: defaultdict[str, list[Problem]] = defaultdict(list)
        tokens = [known.version for known in files.values() if known.version is not None]
        for token, problems in self._with_gateways(tokens, gateways):
            found[token.name] += problems
        for token, problem in user_problems(tokens):
            found[token.name].append(problem)
        return found

    def _with_gateways(
        self, tokens: list[OtpToken], gateways: Mapping[str, Known[Served]]
    ) -> list[tuple[OtpToken, tuple[Problem, ...]]]:
        entries = {name: Entry(name, one.state, one.version) for name, one in gateways.items()}
        if entries.keys() != self._names:
            self._names = frozenset(entries)
        self._judged = {token.name: self._judge(token, entries) for token in tokens}
        return [(judged.token, judged.problems) for judged in self._judged.values() if judged.problems]

    def _judge(self, token: OtpToken, entries: Mapping[str, Entry]) -> _Judged:
        entry, before = entries.get(token.gateway), self._judged.get(token.name)
        against = self._names if entry is None else entry.gateway
        if before is not None and before.token is token and before.against is against:
            return before
        return _Judged(token, against, tuple(gateway_problems(token, entries)))
