"""The values of the provider `smpp`: octets, addresses, statuses, receipts, the window. Nothing here does I/O."""

import asyncio
import itertools
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smpplib import consts, smpp

from smsgwd.outcome import Kind, Reason
from smsgwd.providers.smpp import address, pdu, status
from smsgwd.providers.smpp.address import Address
from smsgwd.providers.smpp.parts import Style, submission
from smsgwd.providers.smpp.provider import SmppReply
from smsgwd.providers.smpp.receipts import OTHER, receipt
from smsgwd.providers.smpp.window import FIRST_PAUSE_S, LONGEST_PAUSE_S, Answer, Backoff, Item, Pace, Queue
from smsgwd.segments import udh
from smsgwd.units import Deadline

ACME = Address("ACME", 5, 0)
PHONE = Address("491701234567", 1, 1)


# Octets


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(1, 50), max_size=30))
def test_frames_survive_any_cutting(bodies: list[bytes], cuts: list[int]) -> None:
    """However a stream is cut into reads, the same PDUs come out."""
    stream = b"".join(pdu.frame(4, number, body) for number, body in enumerate(bodies))
    framer, got, at = pdu.Framer(), [], 0
    for cut in [*cuts, len(stream)]:
        got += list(framer.feed(stream[at : at + cut]))
        at += cut
    assert [(frame.sequence, frame.octets[16:]) for frame in got] == list(enumerate(bodies))


def test_what_comes_before_an_impossible_length_counts() -> None:
    """The PDUs before an impossible length are given out first: their answers were real."""
    frames = pdu.Framer().feed(pdu.frame(4, 1, b"ok") + struct.pack(">LLLL", 3, 0, 0, 0))
    assert next(frames).sequence == 1
    with pytest.raises(pdu.FrameError, match="3 octets"):
        next(frames)


@given(st.sampled_from([4 | pdu.RESPONSE, 5, 0x103, 9 | pdu.RESPONSE, 0x80000000, 0x77]), st.binary(max_size=120))
@example(5, b"\0" * 16 + b"\x01x\x04\x20\x00\x01")
def test_any_octets_can_be_read(command: int, body: bytes) -> None:
    """Whatever an SMSC puts into a body, reading it raises nothing, and what it yields is fit to be logged."""
    frame = pdu.Frame(command, 0, 1, pdu.frame(command, 1, body))
    assert pdu.message_id(frame).isprintable()
    found = receipt(pdu.delivery(frame))
    if found is not None:
        assert (found.message_id + found.error).isprintable()


def test_smpplib_agrees_on_what_we_send() -> None:
    """A submit_sm body is read back by smpplib field by field."""
    style = Style(fields={"service_type": "CMT", "registered_delivery": 1, "validity_period": "000000010000000R"})
    (body,) = submission("hi", ACME, PHONE, style).bodies(itertools.repeat(0))
    read = smpp.parse_pdu(pdu.frame(pdu.Command.SUBMIT_SM, 7, body), sequence=0)
    assert (read.sequence, read.service_type, read.source_addr, read.destination_addr) == (
        7,
        b"CMT",
        b"ACME",
        b"491701234567",
    )
    assert (read.source_addr_ton, read.source_addr_npi, read.dest_addr_ton, read.dest_addr_npi) == (5, 0, 1, 1)
    assert (read.short_message, read.data_coding, read.registered_delivery) == (b"hi", 0, 1)
    assert read.validity_period == b"000000010000000R"


@pytest.mark.parametrize("long_messages", ["udh", "sar", "payload"])
@pytest.mark.parametrize("encoding", ["gsm7", "ucs2", "latin1"])
@pytest.mark.parametrize("bits", [8, 16])
@given(text=st.text("abc {}\n@£", max_size=500), reference=st.integers(0, 255))
def test_parts_hold_the_whole_text(long_messages: str, encoding: str, bits: int, text: str, reference: int) -> None:
    """Joined, the parts are the text; no part is longer than 140 octets on the air; each is numbered."""
    style = Style(encoding=encoding, long_messages=long_messages, reference_bits=bits)
    message = submission(text, ACME, PHONE, style)
    parts = list(message.contents(reference))
    assert len(parts) == len(message.parts)
    octets = b""
    for number, part in enumerate(parts, start=1):
        content: bytes = part["short_message"] if "short_message" in part else part["message_payload"]
        if message.esm_class:
            header = udh(reference, len(parts), number, bits)
            assert content.startswith(header)
            content = content[len(header) :]
        octets += content
        if long_messages == "sar" and len(parts) > 1:
            tlvs = part["sar_msg_ref_num"], part["sar_total_segments"], part["sar_segment_seqnum"]
            assert tlvs == (reference, len(parts), number)
    codecs = {"ucs2": "utf-16-be", "latin1": "latin-1"}
    if encoding in codecs:
        assert octets.decode(codecs[encoding]) == text
    assert (message.esm_class == 0x40) == (long_messages == "udh" and message.count().segments > 1)


# Addresses


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("", ("", 0, 0)),
        ("+491701234567", ("491701234567", 1, 1)),
        ("00491701234567", ("491701234567", 1, 1)),
        ("491701234567", ("491701234567", 1, 1)),
        ("01701234567", ("01701234567", 2, 1)),
        ("80808", ("80808", 3, 0)),
        ("123", ("123", 3, 0)),
        ("12345678", ("12345678", 3, 0)),
        ("ACME", ("ACME", 5, 0)),
        ("ACME 24", ("ACME 24", 5, 0)),
        ("12", ("12", 1, 1)),
        ("+", ("+", 5, 0)),
    ],
)
def test_ton_and_npi_follow_from_the_sender(sender: str, expected: tuple[str, int, int]) -> None:
    """TON and NPI of the source are what its form says (SMPP 5.2.5 and 5.2.6)."""
    found = address.source(sender, address.Kind())
    assert (found.text, found.ton, found.npi) == expected


def test_given_ton_and_npi_count() -> None:
    """What the settings say goes before what the sender looks like, and leaves the sender as it is written."""
    assert address.source("+49170", address.Kind(0, 0)) == Address("+49170", 0, 0)
    assert address.source("+49170", address.Kind(npi=8)) == Address("49170", 1, 8)
    assert address.destination("+49170", address.Kind()) == Address("+49170", 1, 1)
    assert address.destination("49170", address.Kind(0, 0)) == Address("49170", 0, 0)


# Statuses


def test_every_status_of_smpp_has_a_verdict() -> None:
    """The table is complete for SMPP v3.4, 5.1.3, and no error is an acceptance or `unknown`."""
    defined = {value for name, value in vars(consts).items() if name.startswith("SMPP_ESME_R")}
    assert set(status.VERDICTS) == defined - {consts.SMPP_ESME_ROK}
    assert {verdict.kind for verdict in status.VERDICTS.values()} == {Kind.REJECTED, Kind.UNSENT}


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (0x01, Kind.REJECTED, Reason.CONTENT),
        (0x08, Kind.UNSENT, Reason.PROVIDER),
        (0x0A, Kind.REJECTED, Reason.INVALID_SENDER),
        (0x0B, Kind.REJECTED, Reason.INVALID_DESTINATION),
        (0x0E, Kind.UNSENT, Reason.AUTH),
        (0x14, Kind.UNSENT, Reason.THROTTLED),
        (0x15, Kind.UNSENT, Reason.CONFIG),
        (0x45, Kind.REJECTED, Reason.PROVIDER),
        (0x58, Kind.UNSENT, Reason.THROTTLED),
        (0x64, Kind.UNSENT, Reason.PROVIDER),
        (0x66, Kind.REJECTED, Reason.PROVIDER),
        (0xC3, Kind.UNSENT, Reason.CONFIG),
        (0xFF, Kind.REJECTED, Reason.PROVIDER),
        (0x401, Kind.REJECTED, Reason.PROVIDER),
        (0x100, Kind.REJECTED, Reason.PROVIDER),
    ],
)
def test_verdicts(code: int, kind: Kind, reason: Reason) -> None:
    """What a command_status means, for those that matter most and for those that vendors make up."""
    verdict = status.verdict(code)
    assert (verdict.kind, verdict.reason) == (kind, reason)
    assert verdict.retryable == (reason not in {Reason.AUTH, Reason.CONFIG})


def test_statuses_have_names() -> None:
    """A detail names the status as SMPP does, one of a vendor by its number."""
    assert status.name(0x58) == "ESME_RTHROTTLED (0x58)"
    assert status.name(0x401) == "command_status 0x401"


def test_the_reply_shows_in_a_debug_log() -> None:
    """The answers, as the debug log shows them."""
    reply = SmppReply((Answer(0, "a"), Answer(0x0B)), 3)
    assert reply.as_dict() == {
        "parts": 3,
        "answers": [
            {"command_status": "ESME_ROK (0x0)", "message_id": "a"},
            {"command_status": "ESME_RINVDSTADR (0xb)", "message_id": ""},
        ],
    }


# Receipts


def delivery(
    text: bytes = b"", *, esm_class: int = 4, coding: int = 0, tlv: str = "", state: int | None = None
) -> pdu.Delivery:
    """A deliver_sm that was read."""
    return pdu.Delivery("491701234567", esm_class, coding, text, tlv, state)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (delivery(b"id:7 sub:001 stat:EXPIRED err:02a Text:id:9 stat:DELIVRD"), ("7", "EXPIRED", "02a")),
        (delivery(b"ID:7 STAT:delivrd ERR:0"), ("7", "DELIVRD", "0")),
        (delivery("id:7 stat:REJECTD".encode("utf-16-be"), coding=8), ("7", "REJECTD", "")),
        (delivery(b"id:7 stat:DELIVRD", tlv="t", state=5), ("t", "UNDELIV", "")),
        (delivery(esm_class=0, tlv="t", state=2), ("t", "DELIVRD", "")),
        (delivery(esm_class=0x24 & 0x3C, state=1), ("", OTHER, "")),
        (delivery(esm_class=0x20, state=1), ("", "ENROUTE", "")),
        (delivery(b"\x1b]0;id:7\x07"), ("7?", OTHER, "")),
    ],
)
def test_receipts(given_: pdu.Delivery, expected: tuple[str, str, str]) -> None:
    """A receipt is read from TLVs and text (SMPP 5.3.2.12, 5.3.2.35, Appendix B), never from the message it quotes."""
    found = receipt(given_)
    if given_.esm_class == 0x24:
        assert found is None
        return
    assert found is not None
    assert (found.message_id, found.state, found.error) == expected


@pytest.mark.parametrize("esm_class", [0, 0x40, 0x08, 0x10])
def test_what_is_no_receipt(esm_class: int) -> None:
    """A phone's message, or its user's acknowledgement, is no receipt, whatever it says."""
    assert receipt(delivery(b"id:7 stat:DELIVRD", esm_class=esm_class)) is None


# The window


def test_pace_halves_and_grows() -> None:
    """Throttling halves the window down to one; each full window accepted lets it grow, up to the configured one."""
    pace = Pace(40)
    limits = []
    for _ in range(7):
        pace.throttled()
        pace.resumed()
        limits.append(pace.limit)
    assert limits == [20, 10, 5, 2, 1, 1, 1]
    for _ in range(2_000):
        pace.accepted()
    assert pace.limit == 40


def test_pauses_grow_and_shrink() -> None:
    """Pauses double while the SMSC goes on throttling, are never too long, and become short again as it accepts."""
    pace = Pace(2)
    pauses = [pace.throttled() for _ in range(12)]
    assert FIRST_PAUSE_S <= pauses[0] <= 1.5 * FIRST_PAUSE_S
    assert LONGEST_PAUSE_S <= pauses[-1] <= 1.5 * LONGEST_PAUSE_S
    assert pace.paused
    pace.resumed()
    for _ in range(100):
        pace.accepted()
    assert pace.throttled() <= 1.5 * FIRST_PAUSE_S


def test_backoff_grows_to_its_longest_wait() -> None:
    """Waits double up to the longest, jittered upwards, and begin anew after a success."""
    backoff = Backoff(1.0, 5.0)
    for expected in (1, 2, 4, 5, 5):
        assert expected <= backoff.next_s() <= 1.5 * expected
    backoff.reset()
    assert backoff.next_s() <= 1.5


def test_the_queue_keeps_order() -> None:
    """What is put back, and later parts, come at their message's turn; what nobody waits for does not come at all."""
    loop = asyncio.new_event_loop()
    try:
        queue = Queue()
        items = [Item(bytes, queue.turn(), loop.create_future(), Deadline.after(60)) for _ in range(8)]
        for item in items:
            queue.put(item)
        sent = [queue.take() for _ in range(4)]
        assert sent == items[:4]
        for index in (2, 0, 3, 1):
            queue.put(items[index])
        items[1].answer.cancel()
        queue.discard(items[5])
        assert queue
        second_part = Item(bytes, 1, loop.create_future(), Deadline.after(60))
        queue.put(second_part)
        left = [queue.take() for _ in range(7)]
        assert left == [items[0], second_part, items[2], items[3], items[4], items[6], items[7]]
        assert queue.take() is None
        assert not queue
    finally:
        loop.close()
