"""What a command_status of SMPP means for a message (SMPP v3.4, 5.1.3)."""

from dataclasses import dataclass

from smpplib import consts

from smsgwd.outcome import Kind, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error makes of a message."""

    kind: Kind
    reason: Reason

    @property
    def retryable(self) -> bool:
        """Whether the same gateway may say something else the next time."""
        return self.reason not in {Reason.AUTH, Reason.CONFIG}


# An answered error means that the SMSC did not take the message (SMPP 4.4.2: no message_id goes with it), so it is
# never `unknown`. What the message is guilty of is rejected; what the SMSC, the account or the settings are guilty of
# is unsent: another gateway may take it.
_BUSY = Verdict(Kind.UNSENT, Reason.THROTTLED)
_TROUBLE = Verdict(Kind.UNSENT, Reason.PROVIDER)
_ACCOUNT = Verdict(Kind.UNSENT, Reason.AUTH)
_SETTINGS = Verdict(Kind.UNSENT, Reason.CONFIG)
_DESTINATION = Verdict(Kind.REJECTED, Reason.INVALID_DESTINATION)
_SOURCE = Verdict(Kind.REJECTED, Reason.INVALID_SENDER)
_CONTENT = Verdict(Kind.REJECTED, Reason.CONTENT)
_REFUSED = Verdict(Kind.REJECTED, Reason.PROVIDER)

VERDICTS = {
    consts.SMPP_ESME_RINVMSGLEN: _CONTENT,
    consts.SMPP_ESME_RINVCMDLEN: _SETTINGS,  # a PDU that this SMSC cannot read: another version
    consts.SMPP_ESME_RINVCMDID: _SETTINGS,
    consts.SMPP_ESME_RINVBNDSTS: _SETTINGS,  # this account may receive only
    consts.SMPP_ESME_RALYBND: _ACCOUNT,
    consts.SMPP_ESME_RINVPRTFLG: _SETTINGS,
    consts.SMPP_ESME_RINVREGDLVFLG: _SETTINGS,
    consts.SMPP_ESME_RSYSERR: _TROUBLE,
    consts.SMPP_ESME_RINVSRCADR: _SOURCE,
    consts.SMPP_ESME_RINVDSTADR: _DESTINATION,
    consts.SMPP_ESME_RINVMSGID: _REFUSED,
    consts.SMPP_ESME_RBINDFAIL: _ACCOUNT,
    consts.SMPP_ESME_RINVPASWD: _ACCOUNT,
    consts.SMPP_ESME_RINVSYSID: _ACCOUNT,
    consts.SMPP_ESME_RCANCELFAIL: _REFUSED,
    consts.SMPP_ESME_RREPLACEFAIL: _REFUSED,
    consts.SMPP_ESME_RMSGQFUL: _BUSY,
    consts.SMPP_ESME_RINVSERTYP: _SETTINGS,
    consts.SMPP_ESME_RINVNUMDESTS: _REFUSED,
    consts.SMPP_ESME_RINVDLNAME: _REFUSED,
    consts.SMPP_ESME_RINVDESTFLAG: _REFUSED,
    consts.SMPP_ESME_RINVSUBREP: _SETTINGS,
    consts.SMPP_ESME_RINVESMCLASS: _SETTINGS,  # an SMSC without UDH: long_messages
    consts.SMPP_ESME_RCNTSUBDL: _REFUSED,
    consts.SMPP_ESME_RSUBMITFAIL: _REFUSED,  # the general refusal: nothing says that it passes
    consts.SMPP_ESME_RINVSRCTON: _SOURCE,  # follows from the sender
    consts.SMPP_ESME_RINVSRCNPI: _SOURCE,
    consts.SMPP_ESME_RINVDSTTON: _SETTINGS,  # comes from the settings alone
    consts.SMPP_ESME_RINVDSTNPI: _SETTINGS,
    consts.SMPP_ESME_RINVSYSTYP: _SETTINGS,
    consts.SMPP_ESME_RINVREPFLAG: _SETTINGS,
    consts.SMPP_ESME_RINVNUMMSGS: _REFUSED,
    consts.SMPP_ESME_RTHROTTLED: _BUSY,
    consts.SMPP_ESME_RINVSCHED: _SETTINGS,
    consts.SMPP_ESME_RINVEXPIRY: _SETTINGS,
    consts.SMPP_ESME_RINVDFTMSGID: _REFUSED,
    consts.SMPP_ESME_RX_T_APPN: _TROUBLE,
    consts.SMPP_ESME_RX_P_APPN: _REFUSED,
    consts.SMPP_ESME_RX_R_APPN: _REFUSED,
    consts.SMPP_ESME_RQUERYFAIL: _REFUSED,
    consts.SMPP_ESME_RINVOPTPARSTREAM: _SETTINGS,  # an SMSC without these TLVs: long_messages
    consts.SMPP_ESME_ROPTPARNOTALLWD: _SETTINGS,
    consts.SMPP_ESME_RINVPARLEN: _SETTINGS,
    consts.SMPP_ESME_RMISSINGOPTPARAM: _SETTINGS,
    consts.SMPP_ESME_RINVOPTPARAMVAL: _SETTINGS,
    consts.SMPP_ESME_RDELIVERYFAILURE: _REFUSED,
    consts.SMPP_ESME_RUNKNOWNERR: _REFUSED,
}
UNNAMED = consts.SMPP_ESME_RUNKNOWNERR  # what a generic_nack without a status says
THROTTLING = frozenset(status for status, verdict in VERDICTS.items() if verdict is _BUSY)
# An SMSC that is in trouble refuses binds, too: that says nothing of the account.
PASSING = THROTTLING | {consts.SMPP_ESME_RSYSERR}
ALREADY_BOUND = consts.SMPP_ESME_RALYBND

_NAMES = {value: name.removeprefix("SMPP_") for name, value in vars(consts).items() if name.startswith("SMPP_ESME_")}


def verdict(status: int) -> Verdict:
    """What an error makes of a message. Codes that SMPP does not define (vendors use 0x400 to 0x4FF) are refusals."""
    return VERDICTS.get(status, _REFUSED)


def name(status: int) -> str:
    """The name of a command_status with its number: `ESME_RTHROTTLED (0x58)`."""
    return f"{_NAMES[status]} (0x{status:x})" if status in _NAMES else f"command_status 0x{status:x}"
