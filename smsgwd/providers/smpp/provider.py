"""The provider `smpp`: a message rendered into submit_sm PDUs, sent over kept binds, its answers interpreted."""

import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from smsgwd.errors import SubmitError
from smsgwd.message import Message
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Provider
from smsgwd.providers.smpp import address, status
from smsgwd.providers.smpp.bind import Account, Timing
from smsgwd.providers.smpp.parts import Style, Submission, submission
from smsgwd.providers.smpp.smsc import Smsc
from smsgwd.providers.smpp.window import Answer
from smsgwd.units import Deadline


@dataclass(frozen=True, slots=True)
class SmppReply:
    """The SMSC's answers to the parts that were sent: of all, or up to the first that was refused."""

    answers: tuple[Answer, ...]
    parts: int

    def as_dict(self) -> dict[str, Any]:
        """The answers, for the debug log."""
        answers = [{"command_status": status.name(one.status), "message_id": one.message_id} for one in self.answers]
        return {"parts": self.parts, "answers": answers}


class SmppProvider(Provider[Submission, SmppReply]):
    """One account at one SMSC."""

    default_phone_format: ClassVar[str] = (
        "digits"  # SMPP 4.4.1: a TON of 1 says "international", a `+` would say it again
    )

    def __init__(
        self,
        name: str,
        account: Account,
        timing: Timing,
        style: Style,
        source: address.Kind,
        destination: address.Kind,
    ) -> None:
        self._name = name
        self._account = account
        self._timing = timing
        self._style = style
        self._source = source
        self._destination = destination
        self._smsc: Smsc | None = None
        # One sequence for all destinations, taken from when a message begins to leave: what is on its way together has
        # different ones. It begins anywhere, so that parts of before a restart do not meet those of after it.
        self._references = itertools.count(secrets.randbelow(1 << 16))

    def render(self, message: Message) -> Submission:
        """Cut the text into parts, find TON and NPI. Raises MessageError."""
        return submission(
            message.text,
            address.source(message.sender, self._source),
            address.destination(message.phone, self._destination),
            self._style,
        )

    def describe(self, prepared: Submission) -> dict[str, Any]:
        """Source, destination, data_coding, esm_class, and the parts in hex; the reference is 0 until it is sent."""
        return {
            "source": prepared.source.as_dict(),
            "destination": prepared.destination.as_dict(),
            "data_coding": prepared.data_coding,
            "esm_class": prepared.esm_class,
            "parts": [(part.get("short_message") or part["message_payload"]).hex() for part in prepared.contents(0)],
        }

    async def start(self) -> None:
        """Begin to bind."""
        self._started()

    def _started(self) -> Smsc:
        if self._smsc is None:
            self._smsc = Smsc(self._name, self._account, self._timing)
        return self._smsc

    async def submit(self, prepared: Submission, deadline: Deadline) -> SmppReply:
        """Send the parts, each after the SMSC took the one before it: what follows a refused part stays here.

        Raises SubmitError when a part has no answer by the deadline.
        """
        smsc = self._started()
        answers: list[Answer] = []
        turn = smsc.queue.turn()
        bodies = prepared.bodies(self._references)
        for _ in prepared.parts:
            try:
                answer = await smsc.send(bodies.__next__, turn, deadline)
            except SubmitError as error:
                raise _in_mid_message(error, len(answers), len(prepared.parts)) from None
            deadline = Deadline(deadline.at)  # it has begun to leave: for the rest there is no other way
            answers.append(answer)
            if answer.status:
                break
        return SmppReply(tuple(answers), len(prepared.parts))

    def reply_of(self, prepared: Submission, told: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> SmppReply:
        """The SMSC's answers part by part, up to the first that refuses; the last one answers all further parts."""
        told = [told] if isinstance(told, Mapping) else told
        answers: list[Answer] = []
        for index in range(len(prepared.parts)):
            one = told[min(index, len(told) - 1)]
            answers.append(Answer(one.get("command_status", 0), one.get("message_id", "")))
            if answers[-1].status:
                break
        return SmppReply(tuple(answers), len(prepared.parts))

    def interpret(self, reply: SmppReply) -> Outcome:
        """Accepted when the SMSC took every part."""
        ids = tuple(answer.message_id for answer in reply.answers if not answer.status and answer.message_id)
        refused = next((answer.status for answer in reply.answers if answer.status), None)
        if refused is None:
            return Outcome(Kind.ACCEPTED, message_ids=ids)
        detail = f"the SMSC refused it: {status.name(refused)}"
        taken = len(reply.answers) - 1
        if taken:
            # The recipient may be shown what there is. To send it all again would show that twice.
            return Outcome(Kind.UNKNOWN, Reason.PROVIDER, ids, _after_some(taken, reply.parts, detail), retryable=False)
        verdict = status.verdict(refused)
        return Outcome(verdict.kind, verdict.reason, detail=detail, retryable=verdict.retryable)

    def status(self) -> dict[str, Any]:
        """The binds, and the receipts that came, counted by state."""
        return {"binds": [], "receipts": {}} if self._smsc is None else self._smsc.status()

    async def close(self) -> None:
        """Wait for the answers that are still to come, unbind, disconnect."""
        if self._smsc is not None:
            await self._smsc.close()


def _in_mid_message(error: SubmitError, taken: int, parts: int) -> SubmitError:
    if not taken:
        return error
    return SubmitError(error.reason, _after_some(taken, parts, error.detail), handed_over=True, retryable=False)


def _after_some(taken: int, parts: int, detail: str) -> str:
    return f"{taken} of {parts} parts were taken, then: {detail}"
