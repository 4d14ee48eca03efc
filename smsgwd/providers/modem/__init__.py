"""`modem`: an attached GSM modem, driven by gammu (extra `modem`) in one child process per device."""

import asyncio
import logging
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from weakref import WeakValueDictionary

from smsgwd import segments
from smsgwd.errors import MessageError, SubmitError
from smsgwd.message import Message
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Bench, Prepared, Provider
from smsgwd.providers.modem.faults import Fault, opening_fault, sending_fault
from smsgwd.providers.modem.process import Child, NoAnswerError
from smsgwd.secret import Secret
from smsgwd.units import Deadline, parse_duration

log = logging.getLogger("smsgwd.modem")

OPEN_S = 60.0  # gammu takes four seconds for a modem that answers at once
LOOK_S = 10.0  # for the question whether there is a network
_NUMBER = re.compile(r"\+?[0-9]{1,20}")  # 3GPP TS 23.040, 9.1.2.5: ten octets of two digits
_PIN = re.compile(r"[0-9]{4,8}")  # 3GPP TS 31.102
_WITHOUT_NETWORK = {"NoNetwork", "RegistrationDenied", "RequestingNetwork"}
_IN_NETWORK = {"HomeNetwork", "RoamingNetwork"}
_MODELS = {"none": "dummy"}  # gammu's driver for tests; all others speak AT commands


@dataclass(frozen=True, slots=True)
class Segments(Prepared):
    """A message in its segments."""

    number: str
    encoding: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModemReply:
    """How far a message came: the network's references of the parts that it took, and why it took no more."""

    total: int
    references: tuple[int, ...]
    fault: Fault | None = None

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log."""
        fault = self.fault.detail if self.fault else None
        return {"parts": self.total, "references": list(self.references), "fault": fault}


@dataclass(frozen=True, slots=True)
class Modem:
    """How a modem is reached. `timeout_s` is in seconds, for one segment."""

    device: str
    connection: str = "at115200"
    pin: Secret | None = None
    smsc: str | None = None
    timeout_s: float = 30.0


class Device:
    """A serial line. One gateway has it at a time, and gives it back when another has a message to send."""

    def __init__(self) -> None:
        self.holder: ModemProvider | None = None
        self._wanting: set[ModemProvider] = set()
        self._lock = asyncio.Lock()

    async def take(self, holder: "ModemProvider") -> None:
        """Wait for it."""
        await self._lock.acquire()
        self.holder = holder
        self.ask()

    @contextmanager
    def wanted(self, wanting: "ModemProvider") -> Iterator[None]:
        """A message of this gateway waits for the device."""
        self._wanting.add(wanting)
        self.ask()
        try:
            yield
        finally:
            self._wanting.discard(wanting)

    def ask(self) -> None:
        """Have the gateway that has it give it back, if another wants it."""
        if self.holder is not None and self._wanting - {self.holder}:
            self.holder.give_back()

    def release(self) -> None:
        """The next one may have it."""
        self.holder = None
        self._lock.release()


# What has to outlive a reload: who has a device, and which PINs were not accepted. Those are not tried again, because
# the third time locks the SIM.
_devices: WeakValueDictionary[str, Device] = WeakValueDictionary()
_tried_pins: set[tuple[str, Secret]] = set()


class ModemProvider(Provider[Segments, ModemReply]):
    """Sends one message after the other."""

    def __init__(self, name: str, modem: Modem) -> None:
        self._name = name
        self._modem = modem
        self._turn = asyncio.Lock()
        self._device = _devices.setdefault(modem.device, Device())
        self._child: Child | None = None
        self._opening: asyncio.Task[None] | None = None
        self._giving_back: asyncio.Task[None] | None = None
        self._reference = random.randrange(256)  # noqa: S311 - tells messages apart, guards nothing
        self._error = ""

    def render(self, message: Message) -> Segments:
        """The message in segments. Raises MessageError for a number that no modem dials and a text that is too long."""
        if not _NUMBER.fullmatch(message.phone):
            raise MessageError(Reason.INVALID_DESTINATION, "a modem takes numbers of up to 20 digits")
        try:
            split = segments.split(message.text)
        except segments.EncodingError as error:
            raise MessageError(Reason.CONTENT, str(error)) from None
        return Segments(message.text, message.phone, split.encoding, tuple(_texts(message.text, split)))

    def describe(self, prepared: Segments) -> dict[str, Any]:
        """`{number, smsc, encoding, parts}`; `smsc` is null where the SIM's own is used."""
        return {
            "number": prepared.number,
            "smsc": self._modem.smsc,
            "encoding": prepared.encoding,
            "parts": list(prepared.parts),
        }

    async def start(self) -> None:
        """Open the modem, so that the first message need not wait for it."""
        self._begin_opening()

    async def submit(self, prepared: Segments, deadline: Deadline) -> ModemReply:
        """Send all segments of the message, when it is its turn."""
        try:
            async with asyncio.timeout(deadline.to_leave.remaining()):
                await self._turn.acquire()
        except TimeoutError:
            raise SubmitError(Reason.TIMEOUT, "the modem was busy until the deadline", handed_over=False) from None
        try:
            child = await self._ready(deadline.to_leave)
            await self._look_for_network(child, deadline)
            return await self._send(child, prepared, deadline)
        finally:
            self._turn.release()

    def interpret(self, reply: ModemReply) -> Outcome:
        """Accepted when every segment was; when some were, unknown: the recipient may see a part."""
        if reply.fault is None:
            return Outcome(Kind.ACCEPTED, message_ids=tuple(map(str, reply.references)))
        fault = reply.fault
        if not reply.references:
            return Outcome(fault.kind, fault.reason, detail=fault.detail, retryable=fault.retryable)
        detail = f"{len(reply.references)} of {reply.total} parts were taken, then: {fault.detail}"
        return Outcome(Kind.UNKNOWN, fault.reason, detail=detail, message_ids=tuple(map(str, reply.references)))

    def status(self) -> dict[str, Any]:
        """Whether the modem is ready, and why not."""
        if self._child is not None and self._child.alive:
            return {"modem": {"state": "ready", "error": ""}}
        opening = self._opening is not None and not self._opening.done()
        return {"modem": {"state": "opening" if opening else "closed", "error": self._error}}

    async def close(self) -> None:
        """Give the device back."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._giving_back is not None:
            await self._giving_back
        await self._drop()

    def give_back(self) -> None:
        """Another gateway wants the device: it gets it after the messages that wait here already."""
        if self._giving_back is None or self._giving_back.done():
            self._giving_back = asyncio.create_task(self._give_back())

    async def _give_back(self) -> None:
        if self._opening is not None:
            await asyncio.wait({self._opening})
        async with self._turn:
            await self._drop()

    # Opening. While there is a child, the device is ours.

    async def _ready(self, deadline: Deadline) -> Child:
        """The child with an open modem. A message that stops waiting for it does not stop the opening."""
        if self._child is not None and not self._child.alive:
            await self._drop(_ENDED)
        if self._child is None and (self._opening is None or self._opening.done()):
            self._begin_opening()
        if self._opening is not None:
            with self._device.wanted(self):
                await asyncio.wait({self._opening}, timeout=deadline.remaining())
        if self._opening is not None and self._opening.done():
            self._opening.result()
        if self._child is None or deadline.remaining() < _LEAST_S:
            detail = f"the modem was not ready before the deadline{f' ({self._error})' if self._error else ''}"
            raise SubmitError(Reason.TIMEOUT, detail, handed_over=False)
        return self._child

    def _begin_opening(self) -> None:
        self._opening = asyncio.create_task(self._open())
        self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, if nobody waits

    async def _open(self) -> None:
        self._error = "another gateway uses the device" if self._device.holder else ""
        await self._device.take(self)
        try:
            self._child = await self._opened()
            self._error = ""
        except SubmitError as error:
            self._error = error.detail
            log.warning("modem: %s", error.detail, extra={"gateway": self._name})
            raise
        finally:
            if self._child is None:
                self._device.release()

    async def _opened(self) -> Child:
        if find_spec("gammu") is None:
            raise SubmitError(Reason.CONFIG, _MISSING, handed_over=False, retryable=False)
        child = await Child.start()
        try:
            await self._begin(child)
        except NoAnswerError as error:
            raise SubmitError(Reason.UNREACHABLE, _words(error), handed_over=False) from None
        except BaseException:
            await child.kill()
            raise
        return child

    async def _begin(self, child: Child) -> None:
        modem = self._modem
        model = _MODELS.get(modem.connection, "at")
        answer = await child.ask("open", OPEN_S, device=modem.device, connection=modem.connection, model=model)
        if "error" in answer:
            raise opening_fault(answer["error"])
        if answer["asks"]:
            await self._unlock(child, answer["asks"])

    async def _unlock(self, child: Child, asks: str) -> None:
        pin = self._modem.pin
        if asks != "PIN":
            raise _locked(f"the SIM asks for its {asks}")
        if pin is None:
            raise _locked("the SIM asks for its PIN, and the settings have none")
        key = (self._modem.device, pin)
        if key in _tried_pins:
            raise _locked("the SIM did not accept the PIN: it is not tried again before it is changed")
        _tried_pins.add(key)
        answer = await child.ask("enter_pin", OPEN_S, pin=pin.reveal())
        if "error" in answer:
            raise _locked("the SIM did not accept the PIN")
        _tried_pins.discard(key)

    async def _drop(self, why: str = "") -> None:
        child, self._child = self._child, None
        if child is not None:
            self._error = why
            await child.end()
            self._device.release()

    # Sending

    async def _look_for_network(self, child: Child, deadline: Deadline) -> None:
        try:
            answer = await child.ask("network", min(LOOK_S, deadline.remaining()))
        except NoAnswerError as error:
            await self._drop(_words(error))
            raise SubmitError(Reason.UNREACHABLE, _words(error), handed_over=False) from None
        calls, data = answer.get("states", (None, None))  # not every modem tells
        if calls in _WITHOUT_NETWORK and data not in _IN_NETWORK:
            raise SubmitError(Reason.UNREACHABLE, f"the modem is in no network ({calls})", handed_over=False)

    async def _send(self, child: Child, message: Segments, deadline: Deadline) -> ModemReply:
        total, taken = len(message.parts), list[int]()
        self._reference = (self._reference + 1) % 256
        for number, text in enumerate(message.parts, 1):
            udh = segments.udh(self._reference, total, number).hex() if total > 1 else ""
            result = await self._send_part(child, message, text, udh, deadline)
            if isinstance(result, Fault):
                return ModemReply(total, tuple(taken), result)
            taken.append(result)
        return ModemReply(total, tuple(taken))

    async def _send_part(self, child: Child, message: Segments, text: str, udh: str, deadline: Deadline) -> int | Fault:
        limit_s = min(self._modem.timeout_s, deadline.remaining())
        segment = {"number": message.number, "text": text, "encoding": message.encoding, "udh": udh}
        try:
            answer = await child.ask("send", limit_s, smsc=self._modem.smsc, **segment)
        except NoAnswerError as error:
            await self._drop(_words(error))
            return Fault(Kind.UNKNOWN, Reason.TIMEOUT if error.silent else Reason.PROVIDER, _words(error))
        if "error" not in answer:
            reference: int = answer["reference"]
            return reference
        fault = sending_fault(answer["error"], answer["told"])
        if fault.kind is Kind.UNKNOWN:  # so the connection is in doubt, too
            await self._drop(fault.detail)
        return fault


_LEAST_S = 1.0  # a segment takes most of it: with less left none is begun
_ENDED = "the process that drives the modem ended"
_MISSING = "the package python-gammu is not installed: install smsgwd[modem]"


def _words(error: NoAnswerError) -> str:
    return "the modem was silent" if error.silent else _ENDED


def _locked(detail: str) -> SubmitError:
    return SubmitError(Reason.AUTH, detail, handed_over=False, retryable=False)


def _texts(text: str, split: segments.Split) -> Iterator[str]:
    """The characters of each part."""
    encode = segments.encode_gsm7 if split.encoding == segments.GSM7 else segments.encode_ucs2
    start = 0
    for part in split.parts:
        end, size = start, 0
        while size < len(part):
            size += len(encode(text[end]))
            end += 1
        yield text[start:end]
        start = end


def build(settings: Mapping[str, Any], bench: Bench) -> ModemProvider:
    """The provider of a gateway file's settings."""
    if bench.resolved and find_spec("gammu") is None:
        bench.problem(("provider",), "missing-extra", _MISSING, "pip install 'smsgwd[modem]'")
    modem = Modem(
        device=settings["device"],
        connection=settings.get("connection", "at115200"),
        pin=_pin(settings, bench),
        smsc=settings.get("smsc"),
        timeout_s=_seconds(settings.get("timeout", "30s"), bench),
    )
    return ModemProvider(bench.name, modem)


def _pin(settings: Mapping[str, Any], bench: Bench) -> Secret | None:
    if "pin" not in settings:
        return None
    template = bench.template(settings["pin"], ("settings", "pin"))
    if not template.constant:
        bench.problem(("settings", "pin"), "not-constant", "`pin` cannot depend on the message", "use a secret alone")
        return None
    pin = template.render({})
    if bench.resolved and not _PIN.fullmatch(pin):
        bench.problem(("settings", "pin"), "bad-pin", "a PIN has four to eight digits")
    return Secret(pin)


def _seconds(text: str, bench: Bench) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        bench.problem(("settings", "timeout"), "bad-duration", f"not a duration: {error}")
        return 30.0
