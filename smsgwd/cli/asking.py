"""Questions to the daemon whose answer is data."""

from collections.abc import Callable
from typing import Any, TypeVar

from smsgwd.cli.terminal import Failure
from smsgwd.client import NoAnswerError, RequestRefused

Answer = TypeVar("Answer")


def asked(question: Callable[[], Answer]) -> Answer:
    """The daemon's answer. Raises Failure when there is none, or a refusal."""
    try:
        return question()
    except NoAnswerError as error:
        raise Failure(error.detail) from None
    except RequestRefused as refusal:
        raise Failure(f"refused ({refusal.code}): {refusal.detail}") from None


def asked_for(question: Callable[[], dict[str, Any]], *members: str) -> dict[str, Any]:
    """As `asked`, for a document that has to have these members."""
    document = asked(question)
    if not all(member in document for member in members):
        raise Failure("what answers on this socket is not smsgwd")
    return document


def place_and_words(problem: dict[str, object]) -> str:
    """A finding as the daemon tells it, in one line: `FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE`."""
    place = ":".join(str(problem.get(key, "?")) for key in ("file", "line", "column"))
    return f"{place}: {problem.get('severity', 'error')}[{problem.get('code', '?')}]: {problem.get('message', '')}"
