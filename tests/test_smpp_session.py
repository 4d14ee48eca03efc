"""The SMPP session on loopback: binds, window, answers, faults. Each SMSC here does what the test's script says."""

import asyncio
import logging
import ssl
import struct
from collections.abc import Awaitable, Callable

import fake_smsc
import pytest
import trustme
from fake_smsc import DELIVER, ENQUIRE, NACK, RESPONSE, SUBMIT, UNBIND, Peer, take_all
from smpp_gateway import NUMBER, PASSWORD, gateway, run, send, states, until

from smsgwd.errors import SubmitError
from smsgwd.message import Message, Recipient
from smsgwd.outcome import Kind, Reason
from smsgwd.providers._net.tls import Tls
from smsgwd.providers.smpp.bind import Timing
from smsgwd.units import Deadline


def test_the_answer_makes_it_accepted() -> None:
    """A message is accepted with the SMSC's message_id, over a bind that carries our credentials."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake, gateway(fake.port) as provider:
            outcome = await send(provider)
            assert (outcome.kind, outcome.message_ids) == (Kind.ACCEPTED, ("all-1",))
            bind = fake.peers[0].bind
            assert bind is not None
            assert bind.body == b"smsgwd\0hunter2x\0\0\x34\0\0\0"
            assert fake_smsc.BINDS[bind.command] == "transceiver"

    run(test())


def test_the_bind_is_kept() -> None:
    """Many messages use one connection."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake, gateway(fake.port) as provider:
            for _ in range(5):
                assert (await send(provider)).kind is Kind.ACCEPTED
            assert len(fake.peers) == 1
            assert provider.status()["binds"][0]["error"] is None

    run(test())


def test_answers_find_their_request() -> None:
    """Answers that come in another order are matched by sequence number, not by place."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        for submit in reversed(await peer.submits(3)):
            peer.accept(submit, submit.text.decode())
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcomes = await asyncio.gather(*(send(provider, text) for text in "abc"))
            assert [outcome.message_ids for outcome in outcomes] == [("a",), ("b",), ("c",)]

    run(test())


def test_the_window_holds_back() -> None:
    """No more PDUs than `window` are on their way on one bind; the next leaves when an answer comes, in order."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        waiting = await peer.submits(2)
        assert not peer.reader._buffer  # type: ignore[attr-defined]  # nothing beyond the window was written
        for text in "cdef":
            first = waiting.pop(0)
            peer.accept(first, first.text.decode())
            waiting += await peer.submits(1)
            assert waiting[-1].text == text.encode()
        for submit in waiting:
            peer.accept(submit, submit.text.decode())
        await peer.take_all()

    async def test() -> None:
        timing = Timing(window=2, timeout_s=5)
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, timing) as provider:
            outcomes = await asyncio.gather(*(send(provider, text) for text in "abcdef"))
            assert [outcome.message_ids[0] for outcome in outcomes] == list("abcdef")

    run(test())


def test_several_binds_share_the_load() -> None:
    """With `binds: 2` two sessions stand, and what one window does not hold goes over the other."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        submit = (await peer.submits(1))[0]
        await both.wait()  # neither answers before both have something
        peer.accept(submit, "x")
        await peer.take_all()

    both = asyncio.Barrier(2)

    async def test() -> None:
        timing = Timing(window=1, binds=2, timeout_s=5)
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, timing) as provider:
            outcomes = await asyncio.gather(send(provider), send(provider))
            assert [outcome.kind for outcome in outcomes] == [Kind.ACCEPTED, Kind.ACCEPTED]
            assert states(provider) == ["bound", "bound"]

    run(test())


def test_pdus_in_pieces() -> None:
    """A PDU that comes in pieces, and many in one piece, are read right."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        first, second, third = await peer.submits(3)
        answer = struct.pack(">LLLL", 19, SUBMIT | RESPONSE, 0, first.sequence) + b"p1\0"
        for octet in answer:
            peer.raw(bytes([octet]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        together = [
            struct.pack(">LLLL", 19, SUBMIT | RESPONSE, 0, submit.sequence) + body
            for submit, body in ((second, b"p2\0"), (third, b"p3\0"))
        ]
        peer.raw(b"".join(together))
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcomes = await asyncio.gather(*(send(provider, text) for text in "abc"))
            assert [outcome.message_ids for outcome in outcomes] == [("p1",), ("p2",), ("p3",)]

    run(test())


@pytest.mark.parametrize("length", [0, 15, 64 * 1024 + 1, 0x48545450], ids=str)
def test_an_impossible_length_ends_the_session(length: int) -> None:
    """A PDU with an impossible length ends the connection; what was on its way is unknown, and a new bind is made."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        await peer.submits(1)
        peer.raw(struct.pack(">LLLL", length, SUBMIT | RESPONSE, 0, 1))
        await peer.reader.read()

    async def test() -> None:
        async with fake_smsc.smsc(script, take_all) as fake, gateway(fake.port) as provider:
            outcome = await send(provider)
            assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.UNREACHABLE)
            assert str(length) in outcome.detail
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_a_lost_connection_is_unknown_for_what_was_on_its_way() -> None:
    """When the connection is lost, what was sent without an answer is unknown; what was queued takes the next bind."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        first, *_ = await peer.submits(3)
        peer.accept(first, "taken")
        await peer.writer.drain()
        await peer.submits(1)  # the window moved on: the first answer was read
        peer.drop()

    async def test() -> None:
        timing = Timing(window=3, timeout_s=5, reconnect_s=(0.01, 0.05))
        async with fake_smsc.smsc(script, take_all) as fake, gateway(fake.port, timing) as provider:
            outcomes = await asyncio.gather(*(send(provider, text) for text in "abcdef"))
            kinds = [outcome.kind for outcome in outcomes]
            assert kinds == [Kind.ACCEPTED, *[Kind.UNKNOWN] * 3, *[Kind.ACCEPTED] * 2]
            assert {outcome.reason for outcome in outcomes[1:4]} == {Reason.UNREACHABLE}
            assert not any(outcome.retry_safe for outcome in outcomes)
            assert len(fake.peers) == 2

    run(test())


def test_the_smscs_unbind_is_answered() -> None:
    """An unbind of the SMSC gets its unbind_resp; what was on its way is unknown; a new bind is made."""
    answered: list[fake_smsc.Pdu] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        await peer.submits(1)
        peer.write(UNBIND, 77)
        answered.append(await peer.read())

    async def test() -> None:
        async with fake_smsc.smsc(script, take_all) as fake, gateway(fake.port) as provider:
            outcome = await send(provider)
            assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.UNREACHABLE)
            assert "unbind" in outcome.detail
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert [(pdu.command, pdu.sequence) for pdu in answered] == [(UNBIND | RESPONSE, 77)]

    run(test())


@pytest.mark.parametrize(("status", "kind"), [(0x03, Kind.UNSENT), (0, Kind.REJECTED), (0x45, Kind.REJECTED)])
def test_generic_nack_answers_a_submit(status: int, kind: Kind) -> None:
    """A generic_nack with the number of a submit_sm is its answer, never a success."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        submit = (await peer.submits(1))[0]
        peer.write(NACK, submit.sequence, status=status)
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            assert (await send(provider)).kind is kind
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_a_strange_request_gets_a_generic_nack() -> None:
    """A request that an ESME does not know is answered by generic_nack, ESME_RINVCMDID; stray answers are ignored."""
    answers: list[fake_smsc.Pdu] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.write(SUBMIT | RESPONSE, 4711, b"stray\0")
        peer.write(NACK, 0, status=2)
        peer.write(0x102, 8, b"\0\0\0\0\0\0")  # alert_notification: has no answer
        peer.write(0x99, 9, b"what?")
        answers.append(await peer.read())
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            await until(lambda: bool(answers))
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert [(pdu.command, pdu.status, pdu.sequence) for pdu in answers] == [(NACK, 3, 9)]

    run(test())


def test_silence_is_unknown() -> None:
    """A submit_sm without an answer within `timeout` is unknown, its place in the window is free again."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        await peer.submits(1)
        await peer.take_all()

    async def test() -> None:
        timing = Timing(window=1, timeout_s=0.1)
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, timing) as provider:
            first, second = await asyncio.gather(send(provider), send(provider))
            assert (first.kind, first.reason) == (Kind.UNKNOWN, Reason.TIMEOUT)
            assert second.kind is Kind.ACCEPTED
            assert len(fake.peers) == 1

    run(test())


def test_the_deadline_ends_the_wait_for_an_answer() -> None:
    """At the deadline what was sent is unknown, what waits for the window is unsent; both on time."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        await peer.submits(1)
        await peer.reader.read()

    async def test() -> None:
        timing = Timing(window=1, timeout_s=5)
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, timing) as provider:
            async with asyncio.timeout(2):
                sent, queued = await asyncio.gather(send(provider, deadline_s=0.2), send(provider, deadline_s=0.2))
            assert (sent.kind, sent.reason) == (Kind.UNKNOWN, Reason.TIMEOUT)
            assert (queued.kind, queued.reason) == (Kind.UNSENT, Reason.TIMEOUT)
            fake.peers[0].drop()

    run(test())


def test_after_the_deadline_nothing_is_sent() -> None:
    """A message whose deadline is over is unsent, although the window has room."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake, gateway(fake.port) as provider:
            await send(provider)
            outcome = await send(provider, deadline_s=0)
            assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.TIMEOUT)
            assert (await send(provider)).message_ids == ("all-2",)

    run(test())


def test_a_dead_link_is_found_by_enquire_link() -> None:
    """Two enquire_links without an answer end the session, and a new bind is made."""

    async def silent(peer: Peer) -> None:
        await peer.bound()
        await peer.reader.read()

    async def test() -> None:
        timing = Timing(timeout_s=0.1, enquire_link_s=0.05, reconnect_s=(0.01, 0.05))
        async with fake_smsc.smsc(silent, take_all) as fake, gateway(fake.port, timing) as provider:
            await until(lambda: len(fake.peers) == 2 and states(provider) == ["bound"])
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_enquire_link_goes_out_on_a_busy_link_too() -> None:
    """The link is checked on its own timer, however busy it is."""
    enquired: list[fake_smsc.Pdu] = []

    async def busy(peer: Peer) -> None:
        await peer.bound()
        while not enquired:
            pdu = await peer.read()
            if pdu.command == SUBMIT:
                peer.accept(pdu, "x")
            else:
                enquired.append(pdu)
                peer.write(ENQUIRE | RESPONSE, pdu.sequence)
        await peer.take_all()

    async def test() -> None:
        timing = Timing(timeout_s=5, enquire_link_s=0.05)
        async with fake_smsc.smsc(busy) as fake, gateway(fake.port, timing) as provider:
            while not enquired:
                assert (await send(provider)).kind is Kind.ACCEPTED
            assert enquired[0].command == ENQUIRE

    run(test())


def test_the_smscs_enquire_link_is_answered() -> None:
    """An enquire_link of the SMSC gets its answer."""
    answers: list[fake_smsc.Pdu] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.write(ENQUIRE, 5)
        answers.append(await peer.read())

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port):
            await until(lambda: bool(answers))
            assert (answers[0].command, answers[0].sequence) == (ENQUIRE | RESPONSE, 5)

    run(test())


@pytest.mark.parametrize(
    ("status", "name"),
    [(0x0E, "ESME_RINVPASWD"), (0x0F, "ESME_RINVSYSID"), (0x0D, "ESME_RBINDFAIL"), (0x05, "ESME_RALYBND")],
)
def test_a_refused_bind_is_unsent_auth_at_once(status: int, name: str) -> None:
    """A refused bind is told apart from a network fault: state `refused`, outcome unsent/auth without waiting."""

    async def refuse(peer: Peer) -> None:
        await peer.bound(status)

    async def test() -> None:
        timing = Timing(timeout_s=5, refused_s=(60, 60), handover_s=0)
        async with fake_smsc.smsc(refuse) as fake, gateway(fake.port, timing) as provider:
            for _ in range(2):
                async with asyncio.timeout(5):
                    outcome = await send(provider, deadline_s=30)
                assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.AUTH)
                assert name in outcome.detail
                assert not outcome.retryable
            bind = provider.status()["binds"][0]
            assert bind["state"] == "refused"
            assert name in bind["error"]
            assert len(fake.peers) == 1

    run(test())


def test_a_refused_bind_is_tried_again() -> None:
    """After a refusal the bind is tried again later; when it is let in, messages go out."""

    async def refuse(peer: Peer) -> None:
        await peer.bound(fake_smsc.INVALID_PASSWORD)

    async def test() -> None:
        async with fake_smsc.smsc(refuse, take_all) as fake, gateway(fake.port) as provider:
            assert (await send(provider)).reason is Reason.AUTH
            await until(lambda: states(provider) == ["bound"])
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_a_bind_that_is_still_ours_is_waited_out() -> None:
    """ESME_RALYBND right after a start or a drop may be our own last session: the bind is soon retried."""

    async def still_bound(peer: Peer) -> None:
        await peer.bound(0x05)

    async def main() -> None:
        timing = Timing(timeout_s=5, refused_s=(60, 60))
        async with fake_smsc.smsc(still_bound, still_bound, take_all) as fake, gateway(fake.port, timing) as provider:
            outcome = await send(provider)
            assert outcome.kind is Kind.ACCEPTED

    run(main())


def test_an_smsc_in_trouble_is_no_refusal() -> None:
    """ESME_RSYSERR at the bind says nothing of the account: the send waits for the next try."""

    async def trouble(peer: Peer) -> None:
        await peer.bound(fake_smsc.SYSTEM_ERROR)

    async def test() -> None:
        async with fake_smsc.smsc(trouble, take_all) as fake, gateway(fake.port) as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


def test_nobody_there_is_unsent_unreachable() -> None:
    """Without an SMSC a send waits for a bind until its deadline and is unsent/unreachable; the state is `down`."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake:
            gone = fake_smsc.Fake(fake.host, fake.port)
        async with gateway(gone.port) as provider:
            outcome = await send(provider, deadline_s=0.1)
            assert (outcome.kind, outcome.reason, outcome.retryable) == (Kind.UNSENT, Reason.UNREACHABLE, True)
            assert "refused" in outcome.detail.lower()
            assert states(provider) == ["down"]

    run(test())


def test_a_bind_is_down_since_it_failed_first(caplog: pytest.LogCaptureFixture) -> None:
    """Vain tries to connect change neither state nor `since`, and the log tells the fault once; a close tells none."""
    caplog.set_level(logging.INFO, "smsgwd.smpp")

    async def test() -> None:
        tries = 0

        async def silent(peer: Peer) -> None:
            nonlocal tries
            tries += 1
            await peer.reader.read()

        timing = Timing(timeout_s=0.1, reconnect_s=(0.01, 0.01))
        async with fake_smsc.smsc(silent) as fake, gateway(fake.port, timing) as provider:
            await until(lambda: states(provider) == ["down"])
            first = provider.status()["binds"]
            while tries < 12:  # longer than a second, in which `since` is told
                assert provider.status()["binds"] == first
                await asyncio.sleep(0.01)

    run(test())
    assert [record.getMessage() for record in caplog.records] == ["bind"]


def test_a_send_waits_for_the_bind() -> None:
    """A message that comes before the bind stands waits for it inside its deadline."""

    async def late(peer: Peer) -> None:
        bind = await peer.read()
        await sent.wait()
        peer.write(bind.command | RESPONSE, bind.sequence, b"FAKE\0")
        await peer.take_all()

    sent = asyncio.Event()

    async def test() -> None:
        async with fake_smsc.smsc(late) as fake, gateway(fake.port) as provider:
            sending = asyncio.create_task(send(provider))
            await asyncio.sleep(0)
            assert states(provider) == ["connecting"]
            sent.set()
            assert (await sending).kind is Kind.ACCEPTED

    run(test())


def test_connecting_is_bound_by_time() -> None:
    """An SMSC that takes the connection and never answers the bind is given up after `timeout`, and tried again."""

    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async def test() -> None:
        timing = Timing(timeout_s=0.1, reconnect_s=(0.01, 0.05))
        async with fake_smsc.smsc(silent, take_all) as fake, gateway(fake.port, timing) as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert len(fake.peers) == 2

    run(test())


@pytest.mark.parametrize("status", [fake_smsc.THROTTLED, fake_smsc.QUEUE_FULL])
def test_throttling_pauses_the_bind_and_keeps_order(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """What the SMSC throttles is sent again, in its old order and before what came later; the log says it once."""
    seen: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        for submit in await peer.submits(4):
            peer.refuse(submit, status)
        for number in range(8):
            submit = (await peer.submits(1))[0]
            seen.append(submit.text.decode())
            peer.accept(submit, f"id-{number}")
        await peer.take_all()

    async def test() -> None:
        timing = Timing(window=4, timeout_s=5)
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, timing) as provider:
            outcomes = await asyncio.gather(*(send(provider, text) for text in "abcdefgh"))
            assert [outcome.kind for outcome in outcomes] == [Kind.ACCEPTED] * 8
            assert seen == list("abcdefgh")

    run(test())
    assert caplog.messages == ["throttled"]


def test_throttled_until_the_deadline_is_unsent() -> None:
    """An SMSC that throttles until the deadline makes unsent/throttled, of what only waited in the pauses too."""
    throttled = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bound()
        while True:
            peer.refuse((await peer.submits(1))[0], fake_smsc.THROTTLED)
            throttled.set()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcomes = [asyncio.create_task(send(provider, deadline_s=2.0))]
            await throttled.wait()
            outcomes += [asyncio.create_task(send(provider, deadline_s=0.4 * number)) for number in range(1, 5)]
            for outcome in await asyncio.gather(*outcomes):
                assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.THROTTLED)

    run(test())


def test_what_is_throttled_past_its_time_to_leave_is_unsent() -> None:
    """Where there is another way, a message that comes back throttled when its time to leave is over takes that."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        (first,) = await peer.submits(1)
        await asyncio.sleep(0.3)
        peer.refuse(first, fake_smsc.THROTTLED)
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            prepared = provider.render(Message(Recipient(NUMBER), "hello", "ACME"))
            await until(lambda: states(provider) == ["bound"])
            with pytest.raises(SubmitError) as error:
                await provider.submit(prepared, Deadline.after(20).share(100))
            assert (error.value.reason, error.value.handed_over) == (Reason.THROTTLED, False)

    run(test())


def test_a_message_that_has_begun_to_leave_may_take_all_the_time() -> None:
    """When the first part was taken there is no other way: the rest waits out the throttling until the deadline."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.accept((await peer.submits(1))[0], "1")
        over = asyncio.get_running_loop().time() + 0.4
        while asyncio.get_running_loop().time() < over:
            peer.refuse((await peer.submits(1))[0], fake_smsc.THROTTLED)
        peer.accept((await peer.submits(1))[0], "2")

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            prepared = provider.render(Message(Recipient(NUMBER), "x" * 200, "ACME"))
            await until(lambda: states(provider) == ["bound"])
            outcome = provider.interpret(await provider.submit(prepared, Deadline.after(20).share(100)))
            assert (outcome.kind, outcome.message_ids) == (Kind.ACCEPTED, ("1", "2"))

    run(test())


@pytest.mark.parametrize(
    ("refused", "kind", "reason", "ids"),
    [
        (1, Kind.REJECTED, Reason.INVALID_DESTINATION, ()),
        (2, Kind.UNKNOWN, Reason.PROVIDER, ("part-1",)),
        (3, Kind.UNKNOWN, Reason.PROVIDER, ("part-1", "part-2")),
    ],
)
def test_a_part_refused_in_mid_message(refused: int, kind: Kind, reason: Reason, ids: tuple[str, ...]) -> None:
    """The parts after a refused one are not sent; the outcome says how many were taken."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        for number in range(1, refused):
            peer.accept((await peer.submits(1))[0], f"part-{number}")
        peer.refuse((await peer.submits(1))[0], 0x0B)
        assert (await peer.submits(1))[0].text == b"next"
        peer.drop()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcome = await send(provider, "x" * 400)
            assert (outcome.kind, outcome.reason, outcome.message_ids) == (kind, reason, ids)
            if refused > 1:
                assert f"{refused - 1} of 3 parts were taken" in outcome.detail
            await send(provider, "next", deadline_s=1)

    run(test())


def test_a_part_without_an_answer_in_mid_message() -> None:
    """A connection lost after the first part is unknown and says how many parts were taken."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.accept((await peer.submits(1))[0], "part-1")
        await peer.submits(1)
        peer.drop()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcome = await send(provider, "x" * 400)
            assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.UNREACHABLE)
            assert "1 of 3 parts were taken" in outcome.detail

    run(test())


def test_parts_throttled_in_mid_message_are_not_retry_safe() -> None:
    """When the deadline comes after the first part was taken, the outcome is unknown, although the rest never left."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.accept((await peer.submits(1))[0], "part-1")
        while True:
            peer.refuse((await peer.submits(1))[0], fake_smsc.THROTTLED)

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            outcome = await send(provider, "x" * 400, deadline_s=0.3)
            assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.THROTTLED)

    run(test())


def deliver_sm(esm_class: int, text: bytes, tlvs: bytes = b"", source: bytes = NUMBER.encode()) -> bytes:
    """The body of a deliver_sm."""
    addresses = b"\0\x01\x01" + source + b"\0\x05\0ACME\0"
    return addresses + bytes([esm_class, 0, 0]) + b"\0\0\0\0\0\0" + bytes([len(text)]) + text + tlvs


def assert_nothing_shows(caplog: pytest.LogCaptureFixture, *canaries: str) -> None:
    """No log record holds one of them, in its words or in its members, in clear or in hex."""
    logged = "\n".join(str(vars(record)) for record in caplog.records).lower()
    for canary in canaries:
        assert canary.lower() not in logged
        assert canary.encode().hex() not in logged


RECEIPT = (
    b"id:42-a sub:001 dlvrd:001 submit date:2611220900 done date:2611220901 stat:DELIVRD err:000 text:Your code is 4711"
)


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (deliver_sm(4, RECEIPT), "DELIVRD", "42-a 000"),
        (
            deliver_sm(4, b"", b"\x00\x1e\x00\x05tlv1\0\x04\x27\x00\x01\x05"),
            "UNDELIV",
            "tlv1 ",
        ),
        (deliver_sm(4, b"stat:WHATEVER"), "OTHER", " "),
        (
            deliver_sm(0, b"", b"\x14\x03\x00\x01\x07\x00\x1e\x00\x05tlv1\0\x04\x27\x00\x01\x02"),
            "DELIVRD",
            "tlv1 ",
        ),
    ],
)
def test_receipts_are_answered_counted_and_logged(
    body: bytes, state: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery receipt is answered, counted by its state and logged with message_id and masked number, no text."""
    answers: list[fake_smsc.Pdu] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.write(DELIVER, 31, body)
        answers.append(await peer.read())
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            await until(lambda: bool(answers))
            assert provider.status()["receipts"] == {state: 1}

    with caplog.at_level(logging.DEBUG):
        run(test())
    assert [(pdu.command, pdu.sequence, pdu.body) for pdu in answers] == [(DELIVER | RESPONSE, 31, b"\0")]
    (logged,) = [vars(record) for record in caplog.records if record.message == "receipt"]
    assert f"{logged['message_id']} {logged['error']}" == words
    assert (logged["gateway"], logged["to"], logged["state"]) == ("gate", "49170*****67", state)
    assert_nothing_shows(caplog, "4711", NUMBER)


@pytest.mark.parametrize(
    "body", [deliver_sm(0, b"secret words"), b"", b"\xff" * 40, deliver_sm(0, b"x", b"\x04\x20\0\x01")]
)
def test_other_deliveries_are_answered_without_their_text(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A phone's message, and a deliver_sm that cannot be read, are answered and logged without text or number."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        peer.write(DELIVER, 31, body)
        assert (await peer.read()).status == 0
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED
            assert provider.status()["receipts"] == {}

    with caplog.at_level(logging.DEBUG):
        run(test())
    assert "message from a phone, not kept" in caplog.messages
    assert_nothing_shows(caplog, "secret", NUMBER)


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither password nor text nor full number reaches the log, whatever its level, in clear or in hex."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake, gateway(fake.port) as provider:
            await send(provider, "canary 815")

    with caplog.at_level(logging.DEBUG):
        run(test())
    assert_nothing_shows(caplog, PASSWORD, "canary 815", NUMBER)


def test_close_waits_for_what_is_on_its_way_and_unbinds() -> None:
    """Closing waits for outstanding answers, then unbinds politely."""
    last: list[fake_smsc.Pdu] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        submit = (await peer.submits(1))[0]
        closing.set()
        await asyncio.sleep(0.05)  # the close begins while the answer is outstanding
        peer.accept(submit, "late")
        last.append(await peer.read())
        peer.write(UNBIND | RESPONSE, last[0].sequence)

    closing = asyncio.Event()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake:
            async with gateway(fake.port) as provider:
                sending = asyncio.create_task(send(provider))
                await closing.wait()
            assert (await sending).message_ids == ("late",)
            assert [pdu.command for pdu in last] == [UNBIND]

    run(test())


def test_close_is_bound_by_time() -> None:
    """An SMSC that answers nothing does not hold up the close for longer than `timeout` and two seconds."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        await peer.reader.read()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, asyncio.timeout(5):
            async with gateway(fake.port, Timing(timeout_s=0.2)) as provider:
                await until(lambda: states(provider) == ["bound"])
                sending = asyncio.create_task(send(provider))
                await asyncio.sleep(0)
            assert (await sending).kind is Kind.UNKNOWN

    run(test())


def test_a_closed_gateway_sends_nothing() -> None:
    """What still waits when the gateway is closed is unsent."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake:
            async with gateway(fake.port) as provider:
                await send(provider)
            assert (await send(provider)).kind is Kind.UNSENT

    run(test())


def test_an_abandoned_send_leaves_nothing_behind() -> None:
    """A cancelled send that never left is not sent later."""
    texts: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.bound()
        first = (await peer.submits(1))[0]
        cancelled.set()
        await asyncio.sleep(0)
        peer.accept(first, "first")
        texts.extend([first.text, (await peer.submits(1))[0].text])
        peer.drop()

    cancelled = asyncio.Event()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, Timing(window=1, timeout_s=5)) as provider:
            first, second = (asyncio.create_task(send(provider, text)) for text in ("first", "second"))
            await asyncio.sleep(0)
            second.cancel()
            await cancelled.wait()
            await first
            await send(provider, "third", deadline_s=1)
            assert texts == [b"first", b"third"]

    run(test())


def test_a_host_of_several_addresses() -> None:
    """Where one address of a host does not answer, the next one is tried."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all) as fake, gateway(fake.port, host="localhost") as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


@pytest.mark.parametrize(("host", "reason"), [("a..b", Reason.CONFIG), ("smsc.invalid", Reason.UNREACHABLE)])
def test_a_host_that_cannot_be_looked_up(host: str, reason: Reason) -> None:
    """A host that is no name, or that nobody knows, is unsent; the bind goes on trying."""

    async def test() -> None:
        async with gateway(2775, host=host) as provider:
            outcome = await send(provider, deadline_s=1)
            assert (outcome.kind, outcome.reason) == (Kind.UNSENT, reason)

    run(test())


def test_an_answer_of_another_kind_is_none() -> None:
    """A success that answers another sort of request is not taken for ours: silence stays unknown."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        submit = (await peer.submits(1))[0]
        peer.write(ENQUIRE | RESPONSE, submit.sequence)
        await peer.take_all()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port, Timing(timeout_s=0.1)) as provider:
            assert (await send(provider)).kind is Kind.UNKNOWN

    run(test())


def test_an_answer_after_the_deadline_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the SMSC says of a message that nobody waits for any more stands in the log, with its message_id."""

    async def script(peer: Peer) -> None:
        await peer.bound()
        submit = (await peer.submits(1))[0]
        await over.wait()
        peer.accept(submit, "late-1")
        await peer.take_all()

    over = asyncio.Event()

    async def test() -> None:
        async with fake_smsc.smsc(script) as fake, gateway(fake.port) as provider:
            assert (await send(provider, deadline_s=0.1)).kind is Kind.UNKNOWN
            over.set()
            assert (await send(provider)).kind is Kind.ACCEPTED

    with caplog.at_level(logging.INFO):
        run(test())
    (logged,) = [vars(record) for record in caplog.records if record.message == "late answer"]
    assert (logged["gateway"], logged["status"], logged["message_id"]) == ("gate", "ESME_ROK (0x0)", "late-1")


def test_ipv6() -> None:
    """An IPv6 address works as host."""

    async def test() -> None:
        async with fake_smsc.smsc(take_all, host="::1") as fake, gateway(fake.port, host="::1") as provider:
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of the tests."""
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """TLS settings that trust the authority."""
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return Tls(ca_file=file)


def test_tls(authority: trustme.CA, trusting: Tls) -> None:
    """Over TLS the server's certificate is verified for the host; a right one works."""

    async def test() -> None:
        tls = server_tls(authority, "127.0.0.1")
        async with (
            fake_smsc.smsc(take_all, tls=tls) as fake,
            gateway(fake.port, tls=trusting) as provider,
        ):
            assert (await send(provider)).kind is Kind.ACCEPTED

    run(test())


@pytest.mark.parametrize("fault", ["wrong name", "unknown authority", "no TLS"])
def test_tls_faults_are_unsent_config(authority: trustme.CA, trusting: Tls, fault: str) -> None:
    """A certificate of another name or an unknown authority, or none at all: unsent/config, and no password leaves."""

    async def silent(peer: Peer) -> None:
        assert PASSWORD.encode() not in await peer.reader.read()

    async def plain(peer: Peer) -> None:
        peer.raw(b"this is not TLS at all, not in the least")
        await silent(peer)

    async def test() -> None:
        name = "smsc.invalid" if fault == "wrong name" else "127.0.0.1"
        tls = None if fault == "no TLS" else server_tls(authority, name)
        trusted = Tls() if fault == "unknown authority" else trusting
        script: Callable[[Peer], Awaitable[None]] = plain if fault == "no TLS" else silent
        async with fake_smsc.smsc(script, tls=tls) as fake, gateway(fake.port, tls=trusted) as provider:
            outcome = await send(provider, deadline_s=0.3)
            assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.CONFIG)
            assert "TLS" in outcome.detail

    run(test())
