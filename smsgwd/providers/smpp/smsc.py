"""All binds to one SMSC, and the queue of what waits for them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.privacy import mask_number
from smsgwd.providers.smpp import pdu, status
from smsgwd.providers.smpp.bind import Account, Bind, State, Timing, within
from smsgwd.providers.smpp.pdu import Frame
from smsgwd.providers.smpp.receipts import receipt
from smsgwd.providers.smpp.window import Answer, Item, Queue
from smsgwd.units import Deadline

log = logging.getLogger("smsgwd.smpp")


class Smsc:
    """All binds of one gateway. Made inside the event loop that it runs in; it begins to bind at once."""

    def __init__(self, name: str, account: Account, timing: Timing) -> None:
        self.name = name
        self.account = account
        self.timing = timing
        self.queue = Queue()
        self.receipts: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._closed = False
        self._binds = [Bind(self, number) for number in range(1, timing.binds + 1)]

    async def send(self, make: Callable[[], bytes], turn: int, deadline: Deadline) -> Answer:
        """Send one submit_sm, which is made when it leaves, and wait for its answer; throttling is waited out.

        `turn` is from `queue.turn`, the same for all parts of a message. Raises SubmitError when it cannot leave in
        time, or has no answer before the deadline.
        """
        if deadline.passed:
            raise SubmitError(Reason.TIMEOUT, "the deadline came before it could be sent", handed_over=False)
        loop = asyncio.get_running_loop()
        item = Item(make, turn, loop.create_future(), deadline.to_leave)
        giving_up = loop.call_later(item.to_leave.remaining(), self.give_up, item)
        self.queue.put(item)
        if self._turned_away:
            self.turn_away()
        self.pump()
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await item.answer
        except TimeoutError:
            if item.answer.done() and not item.answer.cancelled():
                return item.answer.result()  # it came in the same moment
            raise self._too_late(item) from None
        finally:
            giving_up.cancel()
            self.queue.discard(item)

    def pump(self) -> None:
        """Let leave what may leave, by the bind that has the most room."""
        while self.queue:
            bind = max(self._binds, key=lambda bind: bind.room)
            item = self.queue.take() if bind.room > 0 else None
            if item is None:
                break
            bind.submit(item)
        if not self.queue and not any(bind.on_their_way for bind in self._binds):
            self._idle.set()

    def settle(self, item: Item, result: Answer | SubmitError) -> None:
        """Tell whoever waits for it. An answer that comes after the deadline is only logged."""
        if isinstance(result, Answer) and item.answer.done():
            self._log("late answer", status=status.name(result.status), message_id=result.message_id)
        elif isinstance(result, Answer):
            item.answer.set_result(result)
        elif not item.answer.done():
            item.answer.set_exception(result)

    def give_up(self, item: Item) -> None:
        """It should have left by now; unless it has, whoever waits for it hears why not."""
        if not item.on_its_way:
            self.settle(item, self._too_late(item))

    @property
    def _turned_away(self) -> bool:
        return self._closed or all(bind.standing.state is State.REFUSED for bind in self._binds)

    def turn_away(self) -> None:
        """Nothing that waits can leave soon, if every bind is refused: say so now, not at the deadline."""
        while self._turned_away and (item := self.queue.take()) is not None:
            self.settle(item, self._no_bind())

    def _no_bind(self) -> SubmitError:
        if self._closed:
            return SubmitError(Reason.UNREACHABLE, "the gateway is being closed", handed_over=False)
        standing = next((bind.standing for bind in self._binds if bind.standing.error), self._binds[0].standing)
        retryable = standing.reason is Reason.UNREACHABLE
        detail = standing.error or "not bound yet"
        return SubmitError(standing.reason, f"no bind: {detail}", handed_over=False, retryable=retryable)

    def _too_late(self, item: Item) -> SubmitError:
        if item.on_its_way:
            return SubmitError(Reason.TIMEOUT, "submit_sm was sent, no answer before the deadline", handed_over=True)
        bound = [bind for bind in self._binds if bind.standing.state is State.BOUND]
        if item.was_throttled or any(bind.pace.slowed for bind in bound):
            return SubmitError(Reason.THROTTLED, "the SMSC throttled until the deadline", handed_over=False)
        if bound:
            return SubmitError(Reason.TIMEOUT, "the window was full until the deadline", handed_over=False)
        return self._no_bind()

    def delivered(self, frame: Frame) -> None:
        """A deliver_sm came: count and log a receipt, log a phone's message without its text; log a stray answer."""
        if frame.is_response:
            self._log("late answer", status=status.name(frame.status), message_id=pdu.message_id(frame))
            return
        delivery = pdu.delivery(frame)
        number = mask_number(delivery.source)  # SMPP Appendix B: a receipt comes from whom the message went to
        found = receipt(delivery)
        if found is None:
            self._log("message from a phone, not kept", sender=number)
            return
        self.receipts[found.state] += 1
        self._log("receipt", message_id=found.message_id, to=number, state=found.state, error=found.error)

    def _log(self, event: str, **members: str) -> None:
        log.info(event, extra={"gateway": self.name, **members})

    def status(self) -> dict[str, Any]:
        """The binds as they stand, and what receipts said so far."""
        return {"binds": [bind.standing.as_dict() for bind in self._binds], "receipts": dict(self.receipts)}

    async def close(self) -> None:
        """Wait for what is on its way, as long as an answer may take; then unbind and end."""
        self._closed = True
        self.turn_away()
        self._idle.clear()
        self.pump()
        await within(self.timing.timeout_s, self._idle)
        await asyncio.gather(*(bind.unbind() for bind in self._binds))
        self.turn_away()
