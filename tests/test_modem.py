"""The provider `modem`: gammu against modems on pseudo-terminals, and its own dummy driver."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from drafting import built, message
from fake_modem import SILENCE, FakeModem

from smsgwd import segments
from smsgwd.errors import MessageError, SubmitError
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers import modem
from smsgwd.providers.modem import ModemProvider, ModemReply
from smsgwd.providers.modem.faults import sending_fault
from smsgwd.units import Deadline

PHONE = "+491701234567"
LONG = "Grüße 😀 " * 20  # 180 code units: three segments
PIN = {"pin": "{{ secrets.pin }}"}


def made(device: str, secret: str = "4711", **settings: Any) -> ModemProvider:
    provider, problems = built(modem.build, {"device": device, **settings}, secrets={"pin": secret})
    assert not problems
    return provider


async def send(provider: ModemProvider, text: str = "Your code is 4711", deadline_s: float = 50.0) -> Outcome:
    return provider.interpret(await provider.submit(provider.render(message(text)), Deadline.after(deadline_s)))


async def outcome_of(provider: ModemProvider, text: str, deadline_s: float = 50.0) -> Outcome:
    """As the sender makes it of a SubmitError."""
    try:
        return await send(provider, text, deadline_s)
    except SubmitError as error:
        kind = Kind.UNKNOWN if error.handed_over else Kind.UNSENT
        return Outcome(kind, error.reason, detail=error.detail, retryable=error.retryable)


# Each case is one modem. They run at the same time, because gammu takes four seconds to open one.


@dataclass
class Case:
    """What a modem answers, and the outcomes of the texts that are sent through it one after the other."""

    expected: list[tuple[Kind, Reason | None]]
    answers: Mapping[str, bytes | list[bytes]] = field(default_factory=dict)
    texts: tuple[str, ...] = ("Your code is 4711",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ("4711",)  # each makes another version of the gateway, that sends all texts
    deadline_s: float = 50.0
    device: str | None = None  # None: the fake modem's


ACCEPTED = (Kind.ACCEPTED, None)
UNREACHABLE = (Kind.UNSENT, Reason.UNREACHABLE)
AUTH = (Kind.UNSENT, Reason.AUTH)


def refused(code: int, kind: Kind, reason: Reason) -> Case:
    return Case([(kind, reason)], {"PDU": b"+CMS ERROR: %d" % code})


CASES = {
    "all well": Case([ACCEPTED] * 2, texts=("hi", "[€]")),
    "long, GSM alphabet": Case([ACCEPTED], texts=("{ä€} " * 60,)),
    "long, Unicode": Case([ACCEPTED], texts=(LONG,)),
    "number unassigned": refused(1, Kind.REJECTED, Reason.INVALID_DESTINATION),
    "refused by the network": refused(21, Kind.REJECTED, Reason.PROVIDER),
    "refused, code unknown": refused(77, Kind.REJECTED, Reason.PROVIDER),
    "network out of order": refused(38, Kind.UNSENT, Reason.UNREACHABLE),
    "congestion": refused(42, Kind.UNSENT, Reason.THROTTLED),
    "network timeout": refused(332, Kind.UNKNOWN, Reason.TIMEOUT),
    "modem failure": refused(500, Kind.UNKNOWN, Reason.PROVIDER),
    "refused before the segment": Case([(Kind.UNSENT, Reason.CONFIG)], {"AT+CMGS=": b"+CMS ERROR: 302"}),
    "only emergency calls": Case([UNREACHABLE], {"PDU": b"+CME ERROR: 32"}),
    "an error without a code": Case([(Kind.UNKNOWN, Reason.PROVIDER)], {"PDU": b"ERROR"}),
    "well after a refusal": Case(
        [(Kind.REJECTED, Reason.INVALID_DESTINATION), ACCEPTED], {"PDU": [b"+CMS ERROR: 28"]}, ("hi", "hi")
    ),
    "second part refused": Case(
        [(Kind.UNKNOWN, Reason.UNREACHABLE)], {"PDU": [b"+CMGS: 7", b"+CMS ERROR: 38"]}, (LONG,)
    ),
    "silence in mid-message": Case(
        [(Kind.UNKNOWN, Reason.TIMEOUT), ACCEPTED],
        {"PDU": [b"+CMGS: 7", SILENCE]},
        (LONG, "hi"),
        {"timeout": "2s"},
    ),
    "silence up to the deadline": Case([(Kind.UNKNOWN, Reason.TIMEOUT)], {"PDU": SILENCE}, deadline_s=8.0),
    "no network": Case(
        [UNREACHABLE], {"AT+CREG?": b"+CREG: 2,0", "AT+CGREG?": b"+CGREG: 2,0"}, settings={"timeout": "20s"}
    ),
    "registration denied": Case([UNREACHABLE], {"AT+CREG?": b"+CREG: 2,3", "AT+CGREG?": b"+CGREG: 2,3"}),
    "data network only": Case([ACCEPTED], {"AT+CREG?": b"+CREG: 2,0"}),
    "does not tell its network": Case([ACCEPTED], {"AT+CREG": b"ERROR", "AT+CGREG": b"ERROR"}),
    "SIM without PIN": Case([ACCEPTED], settings=PIN),
    "SIM with PIN": Case([ACCEPTED], {"AT+CPIN?": [b"+CPIN: SIM PIN"] * 2}, settings=PIN),
    "PIN asked, none there": Case([AUTH], {"AT+CPIN?": b"+CPIN: SIM PIN"}),
    "PIN refused": Case(
        [AUTH] * 3,
        {"AT+CPIN?": b"+CPIN: SIM PIN", "AT+CPIN=": b"+CME ERROR: 16"},
        settings=PIN,
        secrets=("4711", "4711", "4712"),
    ),
    "PUK asked": Case([AUTH], {"AT+CPIN?": b"+CPIN: SIM PUK"}, settings=PIN),
    "no service centre": Case([(Kind.UNSENT, Reason.CONFIG)], {"AT+CSCA?": b'+CSCA: "",129'}),
    "service centre of the settings": Case([ACCEPTED], {"AT+CSCA?": b"ERROR"}, settings={"smsc": "+491722270333"}),
    "no device": Case([UNREACHABLE], device="/dev/smsgwd-has-no-such-device"),
    "not opened in time": Case([(Kind.UNSENT, Reason.TIMEOUT)], {"AT": SILENCE}, deadline_s=1.5),
}


@dataclass
class Ran:
    """A case that ran."""

    outcomes: list[Outcome]
    modem: FakeModem
    elapsed_s: list[float]


async def run_case(case: Case, fake: FakeModem) -> Ran:
    ran = Ran([], fake, [])
    for secret in case.secrets:
        provider = made(case.device or fake.device, secret, **case.settings)
        for text in case.texts:
            began = time.monotonic()
            ran.outcomes.append(await outcome_of(provider, text, case.deadline_s))
            ran.elapsed_s.append(time.monotonic() - began)
        await provider.close()
    return ran


@pytest.fixture(scope="module")
def ran() -> Iterator[dict[str, Ran]]:
    async def main(fakes: list[FakeModem]) -> list[Ran]:
        return await asyncio.gather(*(run_case(case, fake) for case, fake in zip(CASES.values(), fakes, strict=True)))

    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeModem(dict(case.answers)).plugged_in()) for case in CASES.values()]
        yield dict(zip(CASES, asyncio.run(main(fakes)), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_outcomes(ran: dict[str, Ran], name: str) -> None:
    """What a modem answers ends in the outcome of the table."""
    outcomes = ran[name].outcomes
    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == CASES[name].expected
    for outcome in outcomes:
        assert outcome.retryable is (outcome.reason not in {Reason.AUTH, Reason.CONFIG})


@dataclass
class Submit:
    """An SMS-SUBMIT as the modem got it (3GPP TS 23.040, 9.2.2.2)."""

    smsc: str
    number: str
    udh: bytes
    encoding: str
    data: bytes  # without its header; unpacked for the GSM alphabet


def read(pdu: bytes) -> Submit:
    smsc, rest = pdu[1 : 1 + pdu[0]], pdu[1 + pdu[0] :]
    digits, rest = rest[2], rest[3:]
    number, rest = rest[: 1 + (digits + 1) // 2], rest[1 + (digits + 1) // 2 :]
    encoding = {0x00: "gsm7", 0x08: "ucs2"}[rest[1]]
    validity = {0: 0, 2: 1}[(pdu[1 + pdu[0]] >> 3) & 3]  # none, or relative: one octet
    length, data = rest[2 + validity], rest[3 + validity :]
    udh = data[: 1 + data[0]] if pdu[1 + pdu[0]] & 0x40 else b""
    if encoding == "ucs2":
        return Submit(address(smsc), address(number), udh, encoding, data[len(udh) : length])
    skipped = (len(udh) * 8 + 6) // 7
    return Submit(address(smsc), address(number), udh, encoding, unpacked(data, length)[skipped:])


def address(octets: bytes) -> str:
    """A number of semi-octets, with its type (9.1.2.5)."""
    digits = "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in octets[1:]).rstrip("f")
    return ("+" if octets[:1] == b"\x91" else "") + digits


def unpacked(data: bytes, septets: int) -> bytes:
    bits = int.from_bytes(data, "little")
    return bytes((bits >> (7 * index)) & 0x7F for index in range(septets))


@pytest.mark.parametrize("name", ["all well", "long, GSM alphabet", "long, Unicode"])
def test_segments_on_the_air(ran: dict[str, Ran], name: str) -> None:
    """A modem gets exactly the segments that we count: encoding, headers and characters."""
    pdus = [read(pdu) for pdu in ran[name].modem.pdus]
    expected = [segments.split(text) for text in CASES[name].texts]
    assert [pdu.data for pdu in pdus] == [part for split in expected for part in split.parts]
    assert [pdu.encoding for pdu in pdus] == [split.encoding for split in expected for _ in split.parts]
    assert {(pdu.smsc, pdu.number) for pdu in pdus} == {("+491710760000", PHONE)}
    if len(expected) == 1:
        (reference,) = {pdu.udh[3] for pdu in pdus}
        total = len(pdus)
        assert [pdu.udh for pdu in pdus] == [segments.udh(reference, total, n) for n in range(1, total + 1)]
    else:
        assert {pdu.udh for pdu in pdus} == {b""}


def test_references_are_message_ids(ran: dict[str, Ran]) -> None:
    """The network's reference of each segment is a message id."""
    assert ran["all well"].outcomes[1].message_ids == ("43",)
    assert ran["long, Unicode"].outcomes[0].message_ids == ("42", "43", "44")


def test_a_part_that_was_taken_is_told(ran: dict[str, Ran]) -> None:
    """When a later segment fails the outcome says how many were taken, and nothing is sent again."""
    for name in ("second part refused", "silence in mid-message"):
        outcome = ran[name].outcomes[0]
        assert outcome.detail.startswith("1 of 3 parts were taken, then: ")
        assert outcome.message_ids == ("7",)
    assert len(ran["second part refused"].modem.pdus) == 2
    assert len(ran["silence in mid-message"].modem.pdus) == 3


def test_the_modem_is_quoted_by_its_code(ran: dict[str, Ran]) -> None:
    """The number of a +CMS ERROR stands in the detail."""
    assert ran["network out of order"].outcomes[0].detail == "network out of order (+CMS ERROR 38)"


def test_time_limits_hold(ran: dict[str, Ran]) -> None:
    """A modem that hangs holds a message no longer than the time limit for a segment, and the deadline."""
    assert ran["silence up to the deadline"].elapsed_s[0] < 9.5
    assert ran["not opened in time"].elapsed_s[0] < 3.0


def test_nothing_leaves_without_a_network(ran: dict[str, Ran]) -> None:
    """Without a network, or a SIM that is open, no segment is given to the modem."""
    for name in ("no network", "registration denied", "PIN asked, none there", "PIN refused", "PUK asked"):
        assert not ran[name].modem.pdus
    assert ran["no network"].outcomes[0].detail == "the modem is in no network (NoNetwork)"


def pins(fake: FakeModem) -> list[str]:
    return [command for command in fake.commands if command.startswith("AT+CPIN=")]


def test_a_pin_is_given_when_it_is_asked_for(ran: dict[str, Ran]) -> None:
    """A PIN goes to a SIM that asks for it, once, and to no other."""
    assert pins(ran["SIM with PIN"].modem) == ['AT+CPIN="4711"']
    for name in ("SIM without PIN", "PUK asked", "PIN asked, none there"):
        assert not pins(ran[name].modem)


def test_a_refused_pin_is_not_tried_again(ran: dict[str, Ran]) -> None:
    """A refused PIN is tried once, by all versions of a gateway together, until it is another: three lock the SIM."""
    refused, again, another = ran["PIN refused"].outcomes
    assert pins(ran["PIN refused"].modem) == ['AT+CPIN="4711"', 'AT+CPIN="4712"']
    assert "not tried again" in again.detail
    assert refused.detail == another.detail == "the SIM did not accept the PIN"


def test_the_service_centre_of_the_settings(ran: dict[str, Ran]) -> None:
    """`smsc` goes out with each segment, instead of the SIM's."""
    assert read(ran["service centre of the settings"].modem.pdus[0]).smsc == "+491722270333"


def test_one_message_at_a_time() -> None:
    """Messages wait for each other inside their deadline, and for the modem to be opened."""

    async def main(fake: FakeModem) -> None:
        provider = made(fake.device)
        await provider.start()
        assert provider.status()["modem"]["state"] == "opening"
        sends = [asyncio.create_task(send(provider, text)) for text in ("first", "second")]
        await asyncio.sleep(0)  # both stand in the queue
        with pytest.raises(SubmitError) as caught:
            await send(provider, deadline_s=0.2)
        assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
        assert {outcome.kind for outcome in await asyncio.gather(*sends)} == {Kind.ACCEPTED}
        assert provider.status() == {"modem": {"state": "ready", "error": ""}}
        await provider.close()

    with FakeModem().plugged_in() as fake:
        asyncio.run(main(fake))
    assert [read(pdu).data for pdu in fake.pdus] == [b"first", b"second"]


@pytest.fixture
def dummy(tmp_path: Path) -> Mapping[str, str]:
    """Settings of gammu's dummy driver."""
    for number in range(1, 6):
        (tmp_path / f"sms/{number}").mkdir(parents=True)
    return {"device": str(tmp_path), "connection": "none"}


def test_gammus_dummy_driver(dummy: Mapping[str, str]) -> None:
    """Gammu's own dummy takes short and long messages."""

    async def main() -> None:
        provider = made(**dummy)
        assert (await send(provider)).message_ids == ("255",)
        assert (await send(provider, LONG)).message_ids == ("255", "255", "255")
        await provider.close()

    asyncio.run(main())


def test_versions_follow_each_other(dummy: Mapping[str, str]) -> None:
    """A new version of a gateway waits, inside its messages' deadlines, until the old one has given the device back."""

    async def main() -> None:
        old, new = made(**dummy), made(**dummy)
        assert (await send(old)).kind is Kind.ACCEPTED
        await new.start()
        with pytest.raises(SubmitError) as caught:
            await send(new, deadline_s=0.001)
        assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
        assert "another gateway uses the device" in caught.value.detail
        waiting = asyncio.create_task(send(new))
        await old.close()
        assert (await waiting).kind is Kind.ACCEPTED
        await new.close()

    asyncio.run(main())


def test_gateways_share_a_device(dummy: Mapping[str, str]) -> None:
    """Of several gateways with one device each sends, whoever had it before: who has it gives it up."""

    async def main() -> None:
        gateways = [made(**dummy) for _ in range(3)]
        for gateway in gateways:
            await gateway.start()
        for _ in range(2):
            outcomes = await asyncio.gather(*(send(gateway) for gateway in gateways for _ in range(2)))
            assert [outcome.kind for outcome in outcomes] == [Kind.ACCEPTED] * 6
        for gateway in gateways:
            assert (await send(gateway)).kind is Kind.ACCEPTED
        for gateway in gateways:
            await gateway.close()
        assert gateways[0]._device.holder is None

    asyncio.run(main())


def test_a_device_whose_process_died_is_given_back(dummy: Mapping[str, str]) -> None:
    """A gateway whose process ended while it had nothing to do does not keep the device from others."""

    async def main() -> None:
        first, second = made(**dummy), made(**dummy)
        assert (await send(first)).kind is Kind.ACCEPTED
        assert first._child is not None
        await first._child.kill()
        assert (await send(second)).kind is Kind.ACCEPTED
        await first.close()
        await second.close()

    asyncio.run(main())


def test_closed_while_it_opens() -> None:
    """A modem that is just being opened is given back, too."""

    async def main(fake: FakeModem) -> None:
        provider = made(fake.device)
        await provider.start()
        while not fake.commands:  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.01)
        await provider.close()
        assert provider.status()["modem"]["state"] == "closed"
        assert provider._device.holder is None

    with FakeModem().plugged_in() as fake:
        asyncio.run(main(fake))


def test_a_child_that_dies_is_replaced(dummy: Mapping[str, str]) -> None:
    """When the process that drives the modem ends, the next message gets a new one."""

    async def main() -> None:
        provider = made(**dummy)
        assert (await send(provider)).kind is Kind.ACCEPTED
        assert provider._child is not None
        await provider._child.kill()
        assert provider.status()["modem"]["state"] == "closed"
        assert (await send(provider)).kind is Kind.ACCEPTED
        await provider.close()

    asyncio.run(main())


@pytest.mark.parametrize("phone", ["", "+", "0170/123", "*100#", "1" * 21, "+49 170", "１２３"])
def test_numbers_that_no_modem_dials(phone: str) -> None:
    """What is no number is rejected before the modem sees it."""
    with pytest.raises(MessageError) as caught:
        made("/dev/x").render(message(phone=phone))
    assert caught.value.reason is Reason.INVALID_DESTINATION


def test_what_render_shows() -> None:
    """Render shows number, service centre, encoding and the text of each part."""
    provider = made("/dev/x", smsc="+491722270333")
    assert provider.describe(provider.render(message("a" * 160 + "€"))) == {
        "number": PHONE,
        "smsc": "+491722270333",
        "encoding": "gsm7",
        "parts": ["a" * 153, "a" * 7 + "€"],
    }
    with pytest.raises(MessageError) as caught:
        provider.render(message("€" * 10_000 + "ü" * 10_000 + "😀"))
    assert caught.value.reason is Reason.CONTENT


@pytest.mark.parametrize(
    ("error", "told", "kind", "reason"),
    [
        ("ERR_UNKNOWN", ["CMS", 144], Kind.REJECTED, Reason.CONTENT),
        ("ERR_UNKNOWN", ["CMS", 192], Kind.UNSENT, Reason.THROTTLED),
        ("ERR_UNKNOWN", ["CMS", 255], Kind.REJECTED, Reason.PROVIDER),
        ("ERR_UNKNOWN", ["CMS", 310], Kind.UNSENT, Reason.UNREACHABLE),
        ("ERR_UNKNOWN", ["CMS", 513], Kind.UNKNOWN, Reason.PROVIDER),
        ("ERR_UNKNOWN", ["CME", 14], Kind.UNSENT, Reason.THROTTLED),
        ("ERR_UNKNOWN", ["CME", 100], Kind.UNKNOWN, Reason.PROVIDER),
        ("ERR_SECURITYERROR", [], Kind.UNSENT, Reason.AUTH),
        ("ERR_TIMEOUT", [], Kind.UNKNOWN, Reason.TIMEOUT),
        ("ERR_DEVICEWRITEERROR", [], Kind.UNKNOWN, Reason.PROVIDER),
    ],
)
def test_faults(error: str, told: list[Any], kind: Kind, reason: Reason) -> None:
    """What network and service centre refuse was not taken; what the modem cannot explain is unknown."""
    fault = sending_fault(error, told)
    outcome = made("/dev/x").interpret(ModemReply(1, (), fault))
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PIN that is none, one that depends on the message, and a missing package are findings."""

    def codes(pin: str, secret: str = "4711") -> list[tuple[str, str]]:
        _, problems = built(modem.build, {"device": "/dev/x", "pin": pin}, secrets={"pin": secret})
        return [(problem.code, problem.pointer) for problem in problems]

    assert codes("{{ secrets.pin }}") == []
    assert codes("{{ secrets.pin }}", "123") == [("bad-pin", "/settings/pin")]
    assert codes("{{ message }}") == [("not-constant", "/settings/pin")]
    monkeypatch.setitem(sys.modules, "gammu", None)
    _, problems = built(modem.build, {"device": "/dev/x"})
    assert [(problem.code, problem.pointer) for problem in problems] == [("missing-extra", "/provider")]
    with pytest.raises(SubmitError) as caught:
        asyncio.run(send(ModemProvider("it", modem.Modem("/dev/x"))))
    assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)
