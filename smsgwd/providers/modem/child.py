"""The child process of the provider `modem`: one modem, driven by gammu.

One request per line on standard input, one answer per line on standard output, both JSON. A process of its own, because
libgammu cannot be interrupted: a call that hangs keeps the device, and only the end of the process gives it back.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

import gammu

_MODEM_ERROR = re.compile(rb"^(CMS|CME) Error (\d+)[:,]", re.MULTILINE)  # as gammu's log tells what the modem answered


class Modem:
    """A modem on a device."""

    def __init__(self) -> None:
        self._machine = gammu.StateMachine()
        self._log = os.memfd_create("gammu")  # it holds number, text and PIN: it never leaves this process

    def open(self, device: str, connection: str, model: str) -> dict[str, Any]:
        """Open the device; `asks` is the code that the SIM wants, or None."""
        self._machine.SetConfig(
            0,
            {
                "Device": device,
                "Connection": connection,
                "Model": model,
                "DebugLevel": "errors",
                "DebugFile": f"/proc/self/fd/{self._log}",
                "UseGlobalDebugFile": 0,
                "SyncTime": 0,
                "LockDevice": 0,
                "StartInfo": 0,
            },
        )
        self._machine.Init()
        return {"asks": self._machine.GetSecurityStatus()}

    def enter_pin(self, pin: str) -> dict[str, Any]:
        """Give the SIM its PIN."""
        self._machine.EnterSecurityCode("PIN", pin)
        return {}

    def network(self) -> dict[str, Any]:
        """Where the modem is registered, in gammu's words: for calls, and for data."""
        info = self._machine.GetNetworkInfo()
        return {"states": [info.get("State"), info.get("PacketState")]}

    def send(self, number: str, text: str, encoding: str, udh: str, smsc: str | None) -> dict[str, Any]:
        """Send one segment; `reference` is the network's."""
        segment: dict[str, Any] = {
            "Number": number,
            "Text": text,
            "Coding": {"gsm7": "Default_No_Compression", "ucs2": "Unicode_No_Compression"}[encoding],
            "SMSC": {"Number": smsc} if smsc else {"Location": 1},
            "Class": -1,
        }
        if udh:
            segment["UDH"] = {"Type": "UserUDH", "Text": bytes.fromhex(udh)}
        return {"reference": self._machine.SendSMS(segment)}

    def told(self) -> list[Any]:
        """The last error that the modem itself answered since this was asked last: `["CMS", 38]`, or an empty list."""
        try:
            start = os.lseek(self._log, 0, os.SEEK_DATA)
        except OSError:  # nothing was written since
            return []
        log = os.pread(self._log, os.fstat(self._log).st_size - start, start)
        os.ftruncate(self._log, 0)  # gammu writes on at its own place; what lies before takes no memory any more
        found = _MODEM_ERROR.findall(log)
        return [found[-1][0].decode(), int(found[-1][1])] if found else []


def answer(modem: Modem, request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked. Should a call hang beyond all limits, the alarm ends the process without anybody's help."""
    operations: dict[str, Callable[..., dict[str, Any]]] = {
        "open": modem.open,
        "enter_pin": modem.enter_pin,
        "network": modem.network,
        "send": modem.send,
    }
    signal.alarm(request["alarm_s"])
    try:
        return operations[request["operation"]](**request["arguments"])
    except gammu.GSMError as error:
        return {"error": gammu.ErrorNumbers.get(error.args[0]["Code"], "ERR_UNKNOWN"), "told": modem.told()}
    except Exception as error:  # noqa: BLE001 - python-gammu objects to an argument; its words may quote the message
        return {"error": type(error).__name__, "told": []}
    finally:
        modem.told()
        signal.alarm(0)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libgammu prints is no answer
    modem = Modem()
    for line in sys.stdin:
        answers.write(json.dumps(answer(modem, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
