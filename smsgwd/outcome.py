"""What became of a message: one of four kinds, with a reason."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The four ends of a send."""

    ACCEPTED = "accepted"  # the provider took it; nobody says that it was delivered
    REJECTED = "rejected"  # refused, by us or by the provider; the same again will not help
    UNSENT = "unsent"  # nobody took it; trying again is safe
    UNKNOWN = "unknown"  # someone may have it; again may duplicate


class Reason(StrEnum):
    """Why a message was not accepted."""

    AUTH = "auth"
    THROTTLED = "throttled"
    LIMIT = "limit"
    INVALID_DESTINATION = "invalid_destination"
    INVALID_SENDER = "invalid_sender"
    CONTENT = "content"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    PROVIDER = "provider"
    CONFIG = "config"
    INTERNAL = "internal"


EXIT_CODES = {Kind.ACCEPTED: 0, Kind.REJECTED: 1, Kind.UNSENT: 75, Kind.UNKNOWN: 76}
_HTTP_STATUS = {Kind.ACCEPTED: 200, Kind.REJECTED: 422, Kind.UNSENT: 503, Kind.UNKNOWN: 504}


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier try, kept in `Outcome.tried`. `elapsed_s` is in seconds."""

    gateway: str
    kind: Kind
    reason: Reason | None
    elapsed_s: float

    def as_dict(self) -> dict[str, Any]:
        """The attempt as the API shows it."""
        return {
            "gateway": self.gateway,
            "outcome": str(self.kind),
            "reason": None if self.reason is None else str(self.reason),
            "elapsed": round(self.elapsed_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message.

    A provider fills `kind`, `reason`, `message_ids`, `detail`, `quote`, `retry_after_s` and `retryable`; the sender the
    rest.
    """

    kind: Kind
    reason: Reason | None = None
    message_ids: tuple[str, ...] = ()
    detail: str = ""  # our own words and the provider's code; the sender adds the scrubbed quote; never a body
    quote: str = field(
        default="", repr=False
    )  # the provider's raw words: never shown, the sender scrubs them into `detail`
    retry_after_s: float | None = None  # seconds, as the provider asked
    retryable: bool = field(
        default=True, repr=False
    )  # of `unsent`: False where the same gateway would say the same again
    gateway: str = ""
    provider: str = ""
    segments: int = 0
    encoding: str = ""
    reference: str | None = None
    via: str | None = None  # the failover that chose the gateway
    attempts: int = 0
    tried: tuple[Attempt, ...] = ()
    elapsed_s: float = 0.0
    digest: str = ""

    @property
    def tries(self) -> tuple[Attempt, ...]:
        """Each gateway that was tried, each time, this end included."""
        return (*self.tried, Attempt(self.gateway, self.kind, self.reason, self.elapsed_s))

    @property
    def retry_safe(self) -> bool:
        """Whether sending the same again cannot duplicate it."""
        return self.kind is Kind.UNSENT

    @property
    def http_status(self) -> int:
        """The status of the answer that carries this outcome."""
        if self.kind is Kind.UNSENT and self.reason is Reason.LIMIT:
            return 429
        return _HTTP_STATUS[self.kind]

    @property
    def exit_code(self) -> int:
        """The exit code of `smsgwd send` (75 is EX_TEMPFAIL of sysexits.h)."""
        return EXIT_CODES[self.kind]

    def as_dict(self) -> dict[str, Any]:
        """The outcome as the API shows it."""
        return {
            "outcome": str(self.kind),
            "reason": None if self.reason is None else str(self.reason),
            "retry_safe": self.retry_safe,
            "gateway": self.gateway,
            "provider": self.provider,
            "message_ids": list(self.message_ids),
            "segments": self.segments,
            "encoding": self.encoding,
            "reference": self.reference,
            "via": self.via,
            "attempts": self.attempts,
            "tried": [attempt.as_dict() for attempt in self.tried],
            "elapsed": round(self.elapsed_s, 3),
            "detail": self.detail,
            "digest": self.digest,
        }
