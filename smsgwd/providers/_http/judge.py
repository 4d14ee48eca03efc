"""From an answer to an outcome: the rules of the gateway file in their order, then the status."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Bench
from smsgwd.providers._http.answer import (
    MAX_ID,
    NEVER,
    Answer,
    Extract,
    Rule,
    extract_nothing,
    read_extract,
    read_rule,
)
from smsgwd.providers._http.verdict import SUCCESS, by_status, status_line
from smsgwd.providers._http.wire import WireResponse


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer, and when it came (seconds since the epoch)."""

    response: WireResponse
    received_at: float

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log."""
        headers = dict(self.response.headers)
        return {"status": self.response.status, "headers": headers, "body": Answer(self.response).text}


@dataclass(frozen=True, slots=True)
class Judge:
    """How the answers of one gateway are judged. `proxied`: a proxy reads the requests, and may answer them itself."""

    success: Rule
    not_sent: Rule = NEVER
    failure: Rule = NEVER
    message_id: Extract = extract_nothing
    error: Extract = extract_nothing
    proxied: bool = False

    def outcome(self, reply: HttpReply) -> Outcome:
        """What the answer means: `not_sent`, `failure` and `success` are looked at in this order, then the status."""
        answer = Answer(reply.response)
        outcome = self._by_rules(answer, reply.received_at)
        return outcome if outcome.kind is Kind.ACCEPTED else replace(outcome, quote=self.error(answer))

    def _by_rules(self, answer: Answer, received_at: float) -> Outcome:
        for rule in (self.not_sent, self.failure, self.success):
            holds = rule.holds(answer)
            if holds is None:
                return _said(answer, Kind.UNKNOWN, "the answer could not be read far enough to judge it")
            if holds and rule is self.not_sent:
                return _not_taken(answer, received_at)
            if holds and rule is self.failure:
                return _said(answer, Kind.REJECTED, "the answer is one of `failure`")
            if holds:
                return accepted(self.message_id(answer))
        if answer.status in self.success.statuses:
            return _said(answer, Kind.REJECTED, "the answer is not one of `success`")
        return by_status(answer, received_at=received_at, proxied=self.proxied)


def _not_taken(answer: Answer, received_at: float) -> Outcome:
    # The author says that trying again is safe: `throttled` is the reason after which the sender does.
    return Outcome(
        Kind.UNSENT,
        Reason.THROTTLED,
        detail=f"{status_line(answer.status)}: the answer is one of `not_sent`",
        retry_after_s=answer.retry_after_s(received_at),
    )


def accepted(message_id: str) -> Outcome:
    """The provider took it; its id of the message, without what cannot be printed."""
    message_id = "".join(filter(str.isprintable, message_id))[:MAX_ID]
    return Outcome(Kind.ACCEPTED, message_ids=(message_id,) if message_id else ())


def _said(answer: Answer, kind: Kind, words: str) -> Outcome:
    return Outcome(kind, Reason.PROVIDER, detail=f"{status_line(answer.status)}: {words}")


def read_judge(bench: Bench, settings: Mapping[str, Any], *, proxied: bool) -> Judge:
    """The judge that the settings describe."""
    return Judge(
        success=read_rule(bench, settings.get("success", {}), ("settings", "success"), SUCCESS),
        not_sent=_optional(bench, settings, "not_sent"),
        failure=_optional(bench, settings, "failure"),
        message_id=read_extract(bench, settings.get("message_id"), ("settings", "message_id")),
        error=read_extract(bench, settings.get("error"), ("settings", "error")),
        proxied=proxied,
    )


def _optional(bench: Bench, settings: Mapping[str, Any], key: str) -> Rule:
    return read_rule(bench, settings[key], ("settings", key)) if key in settings else NEVER
