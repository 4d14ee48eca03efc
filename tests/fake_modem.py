"""A GSM modem on a pseudo-terminal: answers AT commands (3GPP TS 27.005 and 27.007) as a test tells it to."""

import fcntl
import os
import pty
import re
import select
import termios
import threading
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

SILENCE = b""
END_OF_PDU = b"\x1a"

_ANSWERS = {
    "AT+CPIN?": b"+CPIN: READY",
    "AT+CSCA?": b'+CSCA: "+491710760000",145',
    "AT+CGMI": b"FAKE",
    "AT+CGMM": b"FAKE 1",
    "AT+CGMR": b"1.0",
    "AT+CREG?": b'+CREG: 2,1,"0001","0002"',
    "AT+CGREG?": b'+CGREG: 2,1,"0001","0002"',
    "AT+CGATT?": b"+CGATT: 1",
    "AT+COPS?": b'+COPS: 0,0,"Fake"',
    "AT+CSCS?": b'+CSCS: "GSM"',
    "AT+CSCS=?": b'+CSCS: ("GSM","UCS2")',
}
_KNOWN = re.compile(r"(AT(E1|\+(CMEE|CMGF|CSCS|CREG|CGREG|CFUN|CSCA|CPIN|COPS)=.*)?)?")


@dataclass
class FakeModem:
    """`answers` are by the beginning of a command, `PDU` is what follows a segment; a list goes one after the other."""

    answers: Mapping[str, bytes | list[bytes]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    pdus: list[bytes] = field(default_factory=list)
    device: str = ""

    @contextmanager
    def plugged_in(self) -> Iterator["FakeModem"]:
        """Serve until the end of the block."""
        self._near, far = pty.openpty()
        tty.setraw(self._near)
        tty.setraw(far)
        self._far = far
        self.device = os.ttyname(far)
        wake, stop = os.pipe()
        thread = threading.Thread(target=self._serve, args=(wake,))
        thread.start()
        try:
            yield self
        finally:
            os.close(stop)
            thread.join()
            for descriptor in (self._near, far, wake):
                os.close(descriptor)

    def _serve(self, wake: int) -> None:
        buffer, in_pdu = b"", False
        while wake not in (ready := select.select([self._near, wake], [], [])[0]):
            assert ready
            buffer = (buffer + os.read(self._near, 4096)).replace(b"\x1b", b"")
            while (end := END_OF_PDU if in_pdu else b"\r") in buffer:
                said, _, buffer = buffer.partition(end)
                in_pdu = self._take_pdu(said) if in_pdu else self._take_command(said.decode().strip())

    def _take_pdu(self, said: bytes) -> bool:
        self.pdus.append(bytes.fromhex(said.decode()))
        self._say(self._next("PDU", b"+CMGS: %d" % (41 + len(self.pdus))))
        return False

    def _take_command(self, command: str) -> bool:
        self.commands.append(command)
        fcntl.ioctl(
            self._far, termios.TIOCNXCL
        )  # gammu wants the line alone; a real line forgets that when it is closed
        self._say_raw(command.encode() + b"\r")  # the echo
        if command.startswith("AT+CMGS="):
            answer = self._next("AT+CMGS=", b"> ")
            if answer == b"> ":
                self._say_raw(b"\r\n> ")
                return True
            self._say(answer)
            return False
        known = b"OK" if _KNOWN.fullmatch(command) else b"ERROR"
        self._say(self._next(command, _ANSWERS.get(command, known)))
        return False

    def _next(self, command: str, usual: bytes) -> bytes:
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                if isinstance(answer, list):
                    return answer.pop(0) if answer else usual
                return answer
        return usual

    def _say(self, answer: bytes) -> None:
        final = answer in {b"OK", b"ERROR"} or b" ERROR: " in answer
        if answer != SILENCE:
            self._say_raw(b"\r\n" + answer + (b"\r\n" if final else b"\r\n\r\nOK\r\n"))

    def _say_raw(self, octets: bytes) -> None:
        os.write(self._near, octets)
