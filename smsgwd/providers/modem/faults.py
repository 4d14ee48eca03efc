"""What gammu and the modem say when something fails, and what it means for a message.

Sources: 3GPP TS 27.005, 3.2.5 (+CMS ERROR), 3GPP TS 24.011, E-2 (its codes up to 127: the network refused),
3GPP TS 23.040, 9.2.3.22 (128 to 255: the service centre refused), 3GPP TS 27.007, 9.2 (+CME ERROR).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smsgwd.errors import SubmitError
from smsgwd.outcome import Kind, Reason

_Meaning = tuple[Kind, Reason, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a segment was not taken, or may have been."""

    kind: Kind
    reason: Reason
    detail: str

    @property
    def retryable(self) -> bool:
        """Whether the same modem may take it when asked again."""
        return self.reason not in {Reason.AUTH, Reason.CONFIG}


_REJECTED, _UNSENT, _UNKNOWN = Kind.REJECTED, Kind.UNSENT, Kind.UNKNOWN
_CMS: dict[int, _Meaning] = {
    1: (_REJECTED, Reason.INVALID_DESTINATION, "unassigned number"),
    8: (_REJECTED, Reason.PROVIDER, "barred by the operator"),
    10: (_REJECTED, Reason.PROVIDER, "call barred"),
    21: (_REJECTED, Reason.PROVIDER, "short message transfer rejected"),
    27: (_UNSENT, Reason.UNREACHABLE, "destination out of service"),
    28: (_REJECTED, Reason.INVALID_DESTINATION, "unidentified subscriber"),
    30: (_REJECTED, Reason.INVALID_DESTINATION, "unknown subscriber"),
    38: (_UNSENT, Reason.UNREACHABLE, "network out of order"),
    41: (_UNSENT, Reason.UNREACHABLE, "temporary failure"),
    42: (_UNSENT, Reason.THROTTLED, "congestion"),
    47: (_UNSENT, Reason.THROTTLED, "resources unavailable"),
    50: (_UNSENT, Reason.CONFIG, "the SIM may not send short messages"),
    69: (_UNSENT, Reason.CONFIG, "the network does not offer short messages"),
    144: (_REJECTED, Reason.CONTENT, "encoding not supported"),
    159: (_REJECTED, Reason.CONTENT, "encoding not supported"),
    192: (_UNSENT, Reason.THROTTLED, "service centre busy"),
    193: (_UNSENT, Reason.CONFIG, "no subscription at the service centre"),
    194: (_UNSENT, Reason.UNREACHABLE, "service centre out of order"),
    195: (_REJECTED, Reason.INVALID_DESTINATION, "invalid destination"),
    196: (_REJECTED, Reason.INVALID_DESTINATION, "destination barred"),
    301: (_UNSENT, Reason.UNREACHABLE, "the modem's message service is reserved"),
    302: (_UNSENT, Reason.CONFIG, "operation not allowed"),
    303: (_UNSENT, Reason.CONFIG, "operation not supported"),
    304: (_REJECTED, Reason.PROVIDER, "invalid segment"),
    310: (_UNSENT, Reason.UNREACHABLE, "no SIM"),
    311: (_UNSENT, Reason.AUTH, "the SIM asks for its PIN"),
    312: (_UNSENT, Reason.AUTH, "the SIM asks for the PIN of the device"),
    313: (_UNSENT, Reason.UNREACHABLE, "SIM failure"),
    314: (_UNSENT, Reason.THROTTLED, "SIM busy"),
    315: (_UNSENT, Reason.CONFIG, "wrong SIM"),
    316: (_UNSENT, Reason.AUTH, "the SIM asks for its PUK"),
    317: (_UNSENT, Reason.AUTH, "the SIM asks for its PIN2"),
    318: (_UNSENT, Reason.AUTH, "the SIM asks for its PUK2"),
    330: (_UNSENT, Reason.CONFIG, "service centre unknown"),
    331: (_UNSENT, Reason.UNREACHABLE, "no network"),
    332: (_UNKNOWN, Reason.TIMEOUT, "the network did not answer"),
}
_CME: dict[int, _Meaning] = {
    3: (_UNSENT, Reason.CONFIG, "operation not allowed"),
    4: (_UNSENT, Reason.CONFIG, "operation not supported"),
    10: (_UNSENT, Reason.UNREACHABLE, "no SIM"),
    11: (_UNSENT, Reason.AUTH, "the SIM asks for its PIN"),
    12: (_UNSENT, Reason.AUTH, "the SIM asks for its PUK"),
    13: (_UNSENT, Reason.UNREACHABLE, "SIM failure"),
    14: (_UNSENT, Reason.THROTTLED, "SIM busy"),
    15: (_UNSENT, Reason.CONFIG, "wrong SIM"),
    30: (_UNSENT, Reason.UNREACHABLE, "no network"),
    31: (_UNKNOWN, Reason.TIMEOUT, "the network did not answer"),
    32: (_UNSENT, Reason.UNREACHABLE, "emergency calls only"),
}
_GAMMU: dict[str, _Meaning] = {
    "ERR_EMPTYSMSC": (_UNSENT, Reason.CONFIG, "neither SIM nor settings name a service centre (smsc)"),
    "ERR_GETTING_SMSC": (_UNSENT, Reason.CONFIG, "the SIM does not tell its service centre (smsc)"),
    "ERR_SECURITYERROR": (_UNSENT, Reason.AUTH, "the SIM asks for a code"),
    "ERR_NOSIM": (_UNSENT, Reason.UNREACHABLE, "no SIM"),
    "ERR_TIMEOUT": (_UNKNOWN, Reason.TIMEOUT, "the modem was silent"),
}
_OPENING: dict[str, tuple[Reason, str]] = {
    "ERR_DEVICENOPERMISSION": (Reason.CONFIG, "the daemon may not open the device"),
    "ERR_DEVICENODRIVER": (Reason.CONFIG, "no driver for the device"),
    "ERR_UNKNOWNCONNECTIONTYPESTRING": (Reason.CONFIG, "gammu does not know this connection"),
    "ERR_SOURCENOTAVAILABLE": (Reason.CONFIG, "gammu was built without this connection"),
    "ERR_UNKNOWNMODELSTRING": (Reason.CONFIG, "gammu does not know this sort of modem"),
    "ERR_DEVICENOTEXIST": (Reason.UNREACHABLE, "the device does not exist"),
    "ERR_DEVICEBUSY": (Reason.UNREACHABLE, "the device is used by another program"),
    "ERR_DEVICELOCKED": (Reason.UNREACHABLE, "the device is used by another program"),
    "ERR_DEVICEOPENERROR": (Reason.UNREACHABLE, "the device cannot be opened"),
    "ERR_NOSIM": (Reason.UNREACHABLE, "no SIM"),
    "ERR_TIMEOUT": (Reason.UNREACHABLE, "no modem answers on the device"),
}
_FIRST_OF_MODEM = 300  # smaller ones come from the network: it has answered, and taken nothing


def opening_fault(error: str) -> SubmitError:
    """Why there is no modem: nothing has left. `error` is gammu's name for it."""
    reason, words = _OPENING.get(error, (Reason.UNREACHABLE, "the modem cannot be used"))
    return SubmitError(
        reason, f"{words} ({error})", handed_over=False, retryable=reason not in {Reason.AUTH, Reason.CONFIG}
    )


def sending_fault(error: str, told: Sequence[Any]) -> Fault:
    """Why a segment failed. `told` is what the modem itself answered: `["CMS", 38]`, or nothing."""
    if not told:
        kind, reason, words = _GAMMU.get(error, (Kind.UNKNOWN, Reason.PROVIDER, "the modem failed"))
        return Fault(kind, reason, f"{words} ({error})")
    sort, code = told
    kind, reason, words = _meaning(_CMS if sort == "CMS" else _CME, sort, code)
    return Fault(kind, reason, f"{words} (+{sort} ERROR {code})")


def _meaning(table: Mapping[int, _Meaning], sort: str, code: int) -> _Meaning:
    if code in table:
        return table[code]
    if sort == "CMS" and code < _FIRST_OF_MODEM:
        return Kind.REJECTED, Reason.PROVIDER, "the network refused the message"
    return Kind.UNKNOWN, Reason.PROVIDER, "the modem failed"
