"""What may leave, and where to, as a file says it; and what the access rule that allows a call lets its caller do."""

from dataclasses import dataclass

from smsgwd.units import Pace


@dataclass(frozen=True, slots=True)
class Choice:
    """These names alone or, `denied`, all but these."""

    names: frozenset[str]
    denied: bool = False

    def admits(self, found: frozenset[str]) -> bool:
        """Whether something may pass that is one of `found`, nobody knows which."""
        return not found & self.names if self.denied else found <= self.names


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may leave, and where to. What is None is not limited."""

    rate: Pace | None = None  # segments; what is more waits
    in_flight: int | None = None  # sends at once
    per_recipient: Pace | None = None  # messages to one number
    budget: Pace | None = None  # segments
    countries: Choice | None = None  # two capital letters each (ISO 3166-1)
    number_types: Choice | None = None  # as phonenumbers tells them apart: `mobile`, ...

    @property
    def counts(self) -> bool:
        """Whether something is counted, beside the destination."""
        return any((self.rate, self.in_flight, self.per_recipient, self.budget))


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one caller may do by one access rule. `rule` is the key of the rule: who it is for."""

    rule: str
    caller: str  # `Caller.name`
    limits: Limits
