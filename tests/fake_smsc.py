"""An SMSC on loopback that does, connection by connection, what a test says. Its octets are written by hand."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

HEADER = struct.Struct(">LLLL")
NACK, SUBMIT, DELIVER, UNBIND, ENQUIRE, DATA = 0x80000000, 0x04, 0x05, 0x06, 0x15, 0x103
BINDS = {0x02: "transmitter", 0x09: "transceiver"}
RESPONSE = 0x80000000
THROTTLED, QUEUE_FULL, SYSTEM_ERROR, INVALID_PASSWORD = 0x58, 0x14, 0x08, 0x0E


@dataclass(frozen=True, slots=True)
class Pdu:
    """What the ESME sent."""

    command: int
    status: int
    sequence: int
    body: bytes

    @property
    def text(self) -> bytes:
        """The short_message of a submit_sm: what follows sm_length."""
        at = 0
        for part in ("service_type", 2, "source", 2, "destination", 3, "schedule", "validity", 4):
            at = at + part if isinstance(part, int) else self.body.index(b"\0", at) + 1
        return self.body[at + 1 : at + 1 + self.body[at]]


class Peer:
    """One connection of an ESME."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.bind: Pdu | None = None

    async def read(self) -> Pdu:
        """The next PDU. Raises IncompleteReadError when the ESME has gone."""
        head = await self.reader.readexactly(16)
        length, command, status, sequence = HEADER.unpack(head)
        return Pdu(command, status, sequence, await self.reader.readexactly(length - 16))

    async def submits(self, number: int) -> list[Pdu]:
        """The next submit_sm PDUs; an enquire_link between them is answered, an unbind ends the script."""
        found: list[Pdu] = []
        while len(found) < number:
            pdu = await self.read()
            if pdu.command == SUBMIT:
                found.append(pdu)
            else:
                self.write(pdu.command | RESPONSE, pdu.sequence)
            if pdu.command == UNBIND:
                raise ConnectionAbortedError("the ESME has left")
        return found

    def write(self, command: int, sequence: int, body: bytes = b"", status: int = 0) -> None:
        """Send a PDU."""
        self.raw(HEADER.pack(16 + len(body), command, status, sequence) + body)

    def raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.writer.write(octets)

    def accept(self, submit: Pdu, message_id: str) -> None:
        """Answer a submit_sm with success."""
        self.write(SUBMIT | RESPONSE, submit.sequence, message_id.encode() + b"\0")

    def refuse(self, pdu: Pdu, status: int) -> None:
        """Answer with an error, which has no body (SMPP 4.4.2)."""
        self.write(pdu.command | RESPONSE, pdu.sequence, b"", status)

    async def bound(self, status: int = 0) -> Pdu:
        """Read the bind and answer it."""
        self.bind = await self.read()
        body = b"" if status else b"FAKE\0"
        self.write(self.bind.command | RESPONSE, self.bind.sequence, body, status)
        return self.bind

    async def take_all(self) -> None:
        """Take whatever comes until the ESME has gone."""
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                pdu = await self.read()
                number += 1
                if pdu.command == SUBMIT:
                    self.accept(pdu, f"all-{number}")
                elif not pdu.command & RESPONSE:
                    self.write(pdu.command | RESPONSE, pdu.sequence)

    def drop(self) -> None:
        """Reset the connection."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


async def take_all(peer: Peer) -> None:
    """The script of an SMSC that takes everything."""
    await peer.bound()
    await peer.take_all()


@dataclass(slots=True)
class Fake:
    """The SMSC as the test sees it: where it is, and who came."""

    host: str
    port: int
    peers: list[Peer] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    scripts: "set[asyncio.Task[None]]" = field(default_factory=set)  # that still run


@contextlib.asynccontextmanager
async def smsc(*scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Fake]:
    """An SMSC whose first connection runs the first script, and so on; those after the last run the last again."""
    fake = Fake(host, 0)
    server = await asyncio.start_server(_accepting(fake, scripts), host, 0, ssl=tls)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for running in fake.scripts:
            running.cancel()
        if fake.scripts:
            await asyncio.wait(fake.scripts)
    if fake.faults:
        raise fake.faults[0]


def _accepting(
    fake: Fake, scripts: Sequence[Script]
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        script = scripts[min(len(fake.peers), len(scripts) - 1)]
        fake.peers.append(peer)
        running = cast("asyncio.Task[None]", asyncio.current_task())
        fake.scripts.add(running)
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the ESME left first, or the test is over
        except Exception as fault:  # noqa: BLE001 - an assertion of a script is told to the test
            fake.faults.append(fault)
        finally:
            fake.scripts.discard(running)
            writer.close()

    return accept
