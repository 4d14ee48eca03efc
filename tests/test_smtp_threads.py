"""The threads of the provider `smtp`: each send ends in time, exactly, and holds up nobody but its own gateway."""

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from drafting import message
from fake_smtp import SILENCE, Scripted
from patience import until
from test_smtp import at, made, run, send

from smsgwd.errors import SubmitError
from smsgwd.outcome import Kind, Reason
from smsgwd.providers import smtp
from smsgwd.providers.smtp import SmtpProvider
from smsgwd.providers.smtp.handover import Handover
from smsgwd.providers.smtp.pool import Pool
from smsgwd.providers.smtp.server import Server
from smsgwd.units import Deadline


def sends(provider: SmtpProvider, count: int, deadline_s: float = 20.0) -> "list[asyncio.Task[Any]]":
    return [asyncio.create_task(send(provider, f"mail {number}.", deadline_s)) for number in range(count)]


def threads() -> int:
    return sum(thread.name.startswith("smtp") for thread in threading.enumerate())


def lines(server: Scripted, verb: str) -> int:
    return sum(line.startswith(verb) for said in server.commands for line in said)


def test_many_mails_share_the_sessions() -> None:
    """Of 64 mails at once each is sent, and once, over eight sessions."""

    async def main() -> None:
        server = Scripted({})
        async with server.serve():
            provider = made(at(server.port))
            outcomes = await asyncio.gather(*sends(provider, 64))
            await provider.close()
        assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
        texts = sorted(content.split(b"\r\n")[-3] for content in server.contents)
        assert texts == sorted(b"mail %d." % number for number in range(64))
        assert len(server.commands) == smtp.MAX_SESSIONS

    run(main)


def test_a_hanging_server_holds_up_its_own_gateway_alone() -> None:
    """While each thread of one gateway waits for a silent server another sends, and afterwards the first does, too."""

    async def main() -> None:
        silent, other = Scripted({"RCPT": SILENCE}), Scripted({})
        async with silent.serve(), other.serve():
            stuck, free = made(at(silent.port)), made(at(other.port))
            waiting = sends(stuck, smtp.MAX_SESSIONS)
            await until(lambda: lines(silent, "RCPT") == smtp.MAX_SESSIONS)
            outcomes = await asyncio.gather(*sends(free, 20))
            assert not any(task.done() for task in waiting)
            assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
            silent.answers.clear()
            for writer in silent.writers:
                writer.transport.abort()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert {getattr(result, "reason", None) for result in results} == {Reason.UNREACHABLE}
            assert (await send(stuck)).kind is Kind.ACCEPTED
            await stuck.close()
            await free.close()

    run(main)


@pytest.mark.parametrize(("step", "handed_over"), [("greeting", False), ("RCPT", False), ("content", True)])
def test_close_cuts_off_what_is_under_way(step: str, *, handed_over: bool) -> None:
    """Closing ends each send at once, as unknown where the content left; those that waited are unsent; threads end."""

    async def main() -> None:
        server = Scripted({step: SILENCE})
        async with server.serve():
            provider = made(at(server.port))
            tasks = sends(provider, smtp.MAX_SESSIONS + 4)
            await until(lambda: len(server.contents if handed_over else server.commands) == smtp.MAX_SESSIONS)
            began = time.monotonic()
            await provider.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert time.monotonic() - began < 5
            faults = [result for result in results if isinstance(result, SubmitError)]
            assert len(faults) == len(tasks)
            assert {fault.reason for fault in faults} == {Reason.UNREACHABLE}
            assert sum(fault.handed_over for fault in faults) == smtp.MAX_SESSIONS * handed_over
            await until(lambda: threads() == 0)

    run(main)


PLAIN = (b"220 fake\r\n", b"250-fake\r\n250 STARTTLS\r\n", b"220 go\r\n")


@pytest.mark.parametrize(("tls", "said_before"), [("tls", ()), ("starttls", PLAIN)])
def test_a_handshake_that_hangs(tls: str, said_before: tuple[bytes, ...]) -> None:
    """A server that is silent when TLS should begin is unsent/timeout at the time limit, and closing waits for none."""
    hellos: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, words in enumerate(said_before):
            assert number == 0 or await reader.readline()
            writer.write(words)
        hellos.append(await reader.read(1))
        await reader.read()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            provider = made(at(port, tls=tls, timeout="300ms"))
            with pytest.raises(SubmitError) as caught:
                await send(provider)
            assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
            await provider.close()
            provider = made(at(port, tls=tls))
            (task,) = sends(provider, 1)
            await until(lambda: len(hellos) == 2)
            await provider.close()
            with pytest.raises(SubmitError) as caught:
                await task
            assert (caught.value.reason, caught.value.handed_over) == (Reason.UNREACHABLE, False)
            await until(lambda: threads() == 0)

    run(main)


def test_a_cancelled_send_frees_its_thread() -> None:
    """A send that nobody waits for any more ends, and its session is not used again."""

    async def main() -> None:
        server = Scripted({"RCPT": [SILENCE] * smtp.MAX_SESSIONS})
        async with server.serve():
            provider = made(at(server.port))
            tasks = sends(provider, smtp.MAX_SESSIONS)
            await until(lambda: lines(server, "RCPT") == smtp.MAX_SESSIONS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (await send(provider, deadline_s=5.0)).kind is Kind.ACCEPTED
            await provider.close()
        assert len(server.commands) == smtp.MAX_SESSIONS + 1
        assert len(server.contents) == 1

    run(main)


@pytest.mark.parametrize(("step", "handed_over"), [("RCPT", False), ("content", True)])
def test_the_time_to_leave(step: str, *, handed_over: bool) -> None:
    """A mail is given up when its time to leave is over, as there is another way; one that left has all the time."""

    async def main() -> None:
        server = Scripted({step: SILENCE})
        async with server.serve():
            provider = made(at(server.port))
            began = time.monotonic()
            with pytest.raises(SubmitError) as caught:
                await provider.submit(provider.render(message()), Deadline(began + 1.5, leave_at=began + 0.5))
            assert (time.monotonic() - began >= 1.5) is handed_over
            assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, handed_over)
            await provider.close()

    run(main)


def test_a_session_rests_for_its_time() -> None:
    """A session that no mail came for says goodbye; the next mail gets a new one."""

    async def main() -> None:
        server = Scripted({})
        async with server.serve():
            pool = Pool(Server("127.0.0.1", server.port, "none", "sms@example.com"), 2, idle_s=0.1)
            mail = made(at(server.port)).render(message())
            await pool.send(mail, Deadline.after(20))
            await until(lambda: server.commands[0][-1] == "QUIT")
            await pool.send(mail, Deadline.after(20))
            await pool.close()
        assert [said[-1] for said in server.commands] == ["QUIT", "QUIT"]

    run(main)


def test_a_closed_gateway_sends_nothing() -> None:
    """A send that comes after the end is unsent, not a fault of the program."""

    async def main() -> None:
        provider = made(at(25))
        await provider.close()
        with pytest.raises(SubmitError) as caught:
            await send(provider)
        assert (caught.value.reason, caught.value.handed_over) == (Reason.UNREACHABLE, False)

    run(main)


def test_giving_up_too_late_hurts_no_other_mail() -> None:
    """Once a mail has ended its session may serve another one: giving it up then leaves the socket alone."""
    ours, peer = socket.socketpair()
    with ours, peer:
        first, second = Handover(Deadline.after(20)), Handover(Deadline.after(20))
        first.use(ours)
        assert first.finish()
        second.use(ours)
        assert first.give_up()
        ours.sendall(b"on")
        assert peer.recv(2) == b"on"
        assert second.give_up()
        assert not second.finish()
        assert peer.recv(2) == b""


def test_a_mail_is_given_up_or_leaves() -> None:
    """Of giving up and leaving the first one holds: nothing leaves after it, nothing is called unsent that left."""
    left, given_up = Handover(Deadline.after(20)), Handover(Deadline.after(20))
    left.begin("DATA", 10.0)
    left.leave()
    assert not left.give_up(unless_left=True)
    assert left.too_late().handed_over
    assert left.lost().handed_over
    assert given_up.give_up(unless_left=True)
    ours, peer = socket.socketpair()
    with ours, peer:
        for refused in (given_up.leave, lambda: given_up.use(ours)):
            with pytest.raises(SubmitError) as caught:
                refused()
            assert not caught.value.handed_over


def test_nothing_leaves_after_its_time() -> None:
    """A mail whose time to leave is over does not leave, even if nobody has given it up yet."""
    late = Handover(Deadline(time.monotonic() + 20, leave_at=time.monotonic()))
    late.begin("DATA", 10.0)
    with pytest.raises(SubmitError) as caught:
        late.leave()
    assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
