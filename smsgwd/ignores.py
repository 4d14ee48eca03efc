"""Comments that silence a warning: `# smsgwd: ignore CODE reason` on its line.

Of a value of several lines the comment stands on the line where it begins. Errors cannot be silenced. A comment without
a reason, or for a code that does not exist, silences nothing and is a warning itself; so is one that has nothing to
silence.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import NamedTuple

from smsgwd.errors import Problem, Severity, has_errors
from smsgwd.load import Node, Scalar, Source, walk

_MARK = "smsgwd:"
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#+[ \t]*smsgwd:[ \t]*ignore\b", re.MULTILINE)
_MAX = 1000  # comments of one file that are looked at: nobody writes more, and a hostile file must not keep us busy
_LINE_BREAK = re.compile(r"[\r\n]")
_HOW = "write: # smsgwd: ignore CODE reason"
# Warnings that are not always looked for: of secrets, which a check does not read, and of other files.
_NOT_ALWAYS_FOUND = frozenset({"short-secret", "unavailable-gateway"})


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment: the code, why, the offset of the comment, and the lines that it is for (from 1, both included)."""

    code: str
    reason: str
    start: int
    first: int
    last: int

    def silences(self, problem: Problem) -> bool:
        """Whether it is for this finding, and says why."""
        return bool(self.reason) and self.is_for(problem) and problem.severity is Severity.WARNING

    def is_for(self, problem: Problem) -> bool:
        """Whether it stands on the line of the finding and names its code."""
        return self.code == problem.code and self.first <= problem.line <= self.last


def ignores(source: Source) -> tuple[Ignore, ...]:
    """The comments of a file that could be read, in order."""
    if _MARK not in source.text or source.data is None:
        return ()
    texts = list(_texts(source.text, source.data))
    found = list(islice(_comments(source, texts), _MAX))
    last_lines = {source.place(text.begin)[0]: source.place(text.end - 1)[0] for text in texts}
    return tuple(_ignore(source, start, words, last_lines) for start, words in found)


def silence(source: Source, problems: Iterable[Problem]) -> list[Problem]:
    """The findings of a file without those that its comments silence, but with what is wrong with the comments."""
    comments, problems = ignores(source), list(problems)
    if not comments:
        return problems
    faults = [fault for comment in comments for fault in _faults(source, comment, problems)]
    return [problem for problem in problems if not any(one.silences(problem) for one in comments)] + faults


class _Text(NamedTuple):
    """A scalar: where it begins, where its content does (of a block scalar after the line of its sign), and its end."""

    begin: int
    start: int
    end: int


def _texts(text: str, root: Node) -> Iterator[_Text]:
    for _, node in walk(root):
        if isinstance(node, Scalar):
            yield _Text(node.start, _content(text, node), node.end)


def _content(text: str, node: Scalar) -> int:
    if node.style not in {"|", ">"}:
        return node.start
    header = _LINE_BREAK.search(text, node.start, node.end)
    return header.end() if header else node.end


def _comments(source: Source, texts: list[_Text]) -> Iterator[tuple[int, str]]:
    """The offset of each comment and the words after `ignore`; a second one on a line ends the first."""
    starts = [one.start for one in texts]
    for found in _COMMENT.finditer(source.text):
        before = bisect_right(starts, found.start()) - 1
        if before < 0 or found.start() >= texts[before].end:
            line, _ = source.place(found.start())
            end = source.line_starts[line] if line < len(source.line_starts) else len(source.text)
            following = _COMMENT.search(source.text, found.end(), end)
            yield found.start(), source.text[found.end() : following.start() if following else end]


def _ignore(source: Source, start: int, words: str, last_lines: Mapping[int, int]) -> Ignore:
    code, *reason = words.split(maxsplit=1) or [""]
    line, _ = source.place(start)
    return Ignore(code, "".join(reason).strip(), start, line, max(line, last_lines.get(line, line)))


def _faults(source: Source, comment: Ignore, problems: Iterable[Problem]) -> Iterator[Problem]:
    meant = [problem for problem in problems if comment.is_for(problem)]
    if not comment.code:
        yield _warning(source, comment, "bad-ignore", "a code and a reason are missing", _HOW)
    elif any(problem.severity is Severity.ERROR for problem in meant):
        yield _warning(source, comment, "bad-ignore", "an error cannot be silenced", "mend it")
    elif not meant and (hint := _not_a_code(comment.code)):
        yield _warning(source, comment, "bad-ignore", f"there is no code `{comment.code[:40]}`", hint)
    elif not comment.reason:
        yield _warning(source, comment, "bad-ignore", "a reason is missing", _HOW)
    elif not meant and comment.code not in _NOT_ALWAYS_FOUND and not has_errors(problems):
        message = f"there is no `{comment.code}` on this line to be silenced"
        yield _warning(source, comment, "unused-ignore", message, "delete the comment")


def _not_a_code(code: str) -> str:
    """The hint for what is no code; empty for what is one."""
    from smsgwd.explanations import explanations  # noqa: PLC0415 - 10 ms that a file without such a fault does not pay

    if code in explanations():
        return ""
    near = get_close_matches(code, explanations(), 1)
    return f"did you mean `{near[0]}`?" if near else "`smsgwd explain` lists them all"


def _warning(source: Source, comment: Ignore, code: str, message: str, hint: str) -> Problem:
    line, column = source.place(comment.start)
    return Problem(source.file, line, column, code, message, hint, severity=Severity.WARNING)
