"""The provider `smpp` against SMSCs that we did not write: npm's `smpp` and Debian's libnet-smpp-perl."""

import asyncio
from collections import Counter
from typing import Any

import foreign_smsc
import pytest
from smpp_gateway import NUMBER, gateway, run, send, states, until

from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers.smpp.bind import Timing
from smsgwd.providers.smpp.parts import Style

STEADY = Timing(timeout_s=10)


def test_node_takes_what_we_send() -> None:
    """The SMSC of npm reads addresses, alphabet and fields as they were meant."""

    async def test() -> None:
        style = Style(
            fields={"service_type": "CMT", "registered_delivery": 1, "validity_period": "000001020304000R"},
        )
        async with foreign_smsc.node(password="hunter2x") as smsc, gateway(smsc.port, STEADY, style) as provider:
            outcome = await send(provider, "Grüße für 5 €", sender="+4915112345678")
            assert (outcome.kind, outcome.message_ids) == (Kind.ACCEPTED, ("n1",))
            taken = (await smsc.do("report"))["taken"][0]
            assert taken["text"] == "Grüße für 5 €"
            assert taken["source"] == [1, 1, "4915112345678"]
            assert taken["destination"] == [1, 1, NUMBER]
            assert (taken["data_coding"], taken["esm_class"]) == (0, 0)
            assert (taken["service_type"], taken["registered_delivery"]) == ("CMT", 1)
            assert taken["validity_period"] is not None

    run(test())


@pytest.mark.parametrize("long_messages", ["udh", "sar", "payload"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("text", "data_coding"), [("[§`]äöü€" * 60, 8), ("{§}äöü€ " * 60, 0)])
def test_node_puts_long_messages_together(long_messages: str, bits: int, text: str, data_coding: int) -> None:
    """A long text arrives whole, in GSM 7-bit and UCS-2, by user data header, by SAR fields and as message_payload."""

    async def test() -> None:
        style = Style(long_messages=long_messages, reference_bits=bits)
        async with foreign_smsc.node() as smsc, gateway(smsc.port, STEADY, style) as provider:
            outcome = await send(provider, text)
            assert outcome.kind is Kind.ACCEPTED
            taken = (await smsc.do("report"))["taken"]
            assert len(outcome.message_ids) == len(taken)
            assert {one["data_coding"] for one in taken} == {data_coding}
            assert {one["esm_class"] for one in taken} == {0x40 if long_messages == "udh" else 0}
            if long_messages == "payload":
                assert [one["payload"] for one in taken] == [text]
                return
            assert "".join(one["text"] for one in taken) == text
            if long_messages == "sar":
                references = {one["sar"][0] for one in taken}
                assert [one["sar"][1:] for one in taken] == [[len(taken), n] for n in range(1, len(taken) + 1)]
            else:
                headers = [bytes(one["udh"][0]["data"]) for one in taken]
                references = {header[2:-2] for header in headers}
                assert [header[-2:] for header in headers] == [bytes([len(taken), n]) for n in range(1, len(taken) + 1)]
                assert {header[:2] for header in headers} == {b"\x00\x03" if bits == 8 else b"\x08\x04"}
            assert len(references) == 1

    run(test())


def test_node_ends_the_bind() -> None:
    """After npm's SMSC has sent unbind, and got its answer, the next message goes over a new bind."""

    async def test() -> None:
        async with foreign_smsc.node() as smsc, gateway(smsc.port) as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED
            await smsc.do("unbind")
            assert (await send(provider)).kind in {Kind.ACCEPTED, Kind.UNKNOWN}
            await until(lambda: states(provider) == ["bound"])
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert len((await smsc.do("report"))["sessions"]) >= 2

    run(test())


def test_node_refuses_the_password_then_lets_us_in() -> None:
    """A wrong password at npm's SMSC is `refused` and unsent/auth; when the account is opened, the gateway binds."""

    async def test() -> None:
        async with foreign_smsc.node() as smsc:
            await smsc.do("refuse", status=0x0E)
            async with gateway(smsc.port) as provider:
                outcome = await send(provider)
                assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.AUTH)
                assert states(provider) == ["refused"]
                await smsc.do("refuse", status=0)
                await until(lambda: states(provider) == ["bound"])
                assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_node_sends_a_receipt() -> None:
    """A receipt of npm's SMSC is counted, and the SMSC gets its answer."""

    async def test() -> None:
        async with foreign_smsc.node() as smsc, gateway(smsc.port) as provider:
            await send(provider)
            await smsc.do("receipt", id="n1", state="UNDELIV")
            await until(lambda: provider.status()["receipts"] == {"UNDELIV": 1})
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert (await smsc.do("report"))["receiptsAnswered"] == 1

    run(test())


def test_node_sees_a_polite_end() -> None:
    """A closed gateway unbinds from npm's SMSC."""

    async def test() -> None:
        async with foreign_smsc.node() as smsc:
            async with gateway(smsc.port) as provider:
                await send(provider)
            assert (await smsc.do("report"))["unbound"] == 1

    run(test())


MESSAGES = 10_000
DROPS = 20
WINDOW = 50


def test_ten_thousand_messages_through_throttling_and_drops() -> None:
    """Through throttling, delays and twenty drops each outcome is what the SMSC recorded; nothing is sent twice."""

    async def test() -> None:
        timing = Timing(window=WINDOW, timeout_s=10, reconnect_s=(0.02, 0.1))
        async with (
            foreign_smsc.node(throttle_every=50, drop_every=MESSAGES // DROPS, delay_ms=10) as smsc,
            gateway(smsc.port, timing) as provider,
        ):
            sends = (send(provider, f"message {number}", deadline_s=55) for number in range(MESSAGES))
            outcomes = await asyncio.gather(*sends)
            agrees(outcomes, await smsc.do("report"))

    run(test())


def agrees(outcomes: list[Outcome], report: dict[str, Any]) -> None:
    """Compare what we say with what the SMSC recorded, message by message."""
    taken = {entry["text"]: entry for entry in report["taken"]}
    assert len(taken) == len(report["taken"]), "nothing was taken twice"
    for number, outcome in enumerate(outcomes):
        entry = taken.get(f"message {number}")
        if outcome.kind is Kind.ACCEPTED:
            assert entry is not None, "an accepted message is there"
            assert outcome.message_ids == (entry["id"],)
        else:
            assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.UNREACHABLE)
            # On its way at a drop: never read by the SMSC, or among the last that it read from that session.
            assert entry is None or entry["place"] > report["sessions"][entry["session"]] - 2 * WINDOW
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds[Kind.UNKNOWN] <= report["drops"] * WINDOW
    assert report["drops"] >= DROPS - 1
    assert report["throttled"] >= MESSAGES // 50 - WINDOW


def test_parts_never_mix() -> None:
    """Of many long messages to one phone each is put together right, although 8-bit references come round again."""

    async def test() -> None:
        timing = Timing(window=40, binds=2, timeout_s=10)
        texts = [f"{number:04} " * 40 for number in range(600)]
        async with (
            foreign_smsc.node(throttle_every=40, delay_ms=5) as smsc,
            gateway(smsc.port, timing) as provider,
        ):
            outcomes = await asyncio.gather(*(send(provider, text, deadline_s=50) for text in texts))
            assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
            assert sorted(put_together((await smsc.do("report"))["taken"])) == texts

    run(test())


def put_together(taken: list[dict[str, Any]]) -> list[str]:
    """What a phone shows: parts collected by reference, shown when all are there."""
    begun: dict[int, dict[int, str]] = {}
    shown = []
    for entry in taken:
        _, _, reference, total, number = entry["udh"][0]["data"]
        parts = begun.setdefault(reference, {})
        parts[number] = entry["text"]
        if len(parts) == total:
            shown.append("".join(parts[number] for number in sorted(parts)))
            del begun[reference]
    assert not begun
    return shown


def test_perl_takes_what_we_send() -> None:
    """Net::SMPP's SMSC reads GSM 7-bit, UCS-2 and long messages as they were meant, and refuses by number."""

    async def test() -> None:
        async with foreign_smsc.perl() as smsc, gateway(smsc.port, STEADY, password="secret") as provider:
            assert (await send(provider, "§ {x}")).kind is Kind.ACCEPTED
            seen = await smsc.read()
            assert seen["octets"] == b"\x5f \x1b\x28x\x1b\x29".hex()
            assert (seen["source_addr"], seen["source_addr_ton"]) == ("ACME", 5)
            assert (seen["destination_addr"], seen["data_coding"], seen["esm_class"]) == (NUMBER, 0, 0)
            assert (await send(provider, "Жук 🙂")).kind is Kind.ACCEPTED
            seen = await smsc.read()
            assert (bytes.fromhex(seen["octets"]).decode("utf-16-be"), seen["data_coding"]) == ("Жук 🙂", 8)
            assert len((await send(provider, "x" * 200)).message_ids) == 2
            parts = [bytes.fromhex((await smsc.read())["octets"]) for _ in range(2)]
            assert [(part[:3], part[4:6], len(part)) for part in parts] == [
                (b"\x05\x00\x03", b"\x02\x01", 159),
                (b"\x05\x00\x03", b"\x02\x02", 53),
            ]
            outcome = await send(provider, to="49170999")
            assert (outcome.kind, outcome.reason) == (Kind.REJECTED, Reason.INVALID_DESTINATION)

    run(test())


def test_perl_refuses_a_wrong_password() -> None:
    """Net::SMPP's refusal of the bind is read as one."""

    async def test() -> None:
        async with foreign_smsc.perl() as smsc, gateway(smsc.port, STEADY, password="guess") as provider:
            assert (await send(provider)).reason is Reason.AUTH

    run(test())
