"""Whose limits a message meets, and where they let it go to."""

from collections.abc import Iterable, Sequence

from smsgwd import msisdn
from smsgwd.allowance import UNLIMITED, Allowance, Limits
from smsgwd.errors import MessageError
from smsgwd.message import Recipient
from smsgwd.outcome import Reason
from smsgwd.registry import Gateway, Registry

# In the place of a gateway's name; none of them has such a one.
SITE = ""  # smsgwd.yaml
CHALLENGES = ".otp"  # its `otp`
_CALLER = "@"  # a caller under an access rule: `@RULE@CALLER`

RATE, IN_FLIGHT, PER_RECIPIENT, BUDGET = "rate", "in_flight", "per_recipient", "budget"
COUNTRIES, NUMBER_TYPES = "countries", "number_types"

# Whose limits, by name: the caller's first, so that what they hold back is in nobody's way, then the gateway's own.
Bounds = Sequence[tuple[str, Limits]]


def bounds_of(
    registry: Registry,
    gateway: Gateway,
    path: Iterable[str] = (),
    *,
    allowance: Allowance | None = None,
    challenge: bool = False,
) -> Bounds:
    """Whose limits a message meets that comes to a gateway by these failovers, also as the code of a challenge."""
    names = sorted(name for name in path if name in registry.entries)  # one order for all, whatever leads to what
    served = [registry.entries[name].gateway for name in names]
    met = [] if allowance is None else [(caller_name(allowance), _allowed(registry, allowance))]
    met += [(gateway.name, gateway.limits), *((one.name, one.limits) for one in served if one is not None)]
    met.append((SITE, registry.config.limits))
    if challenge:
        met.append((CHALLENGES, registry.config.otp.limits))
    return [(name, limits) for name, limits in met if limits is not UNLIMITED]


def _allowed(registry: Registry, allowance: Allowance) -> Limits:
    """As the rule says it now. It may be gone: the call was allowed just before a reload."""
    limits = registry.config.limits_of_rule(allowance.rule)
    return allowance.limits if limits is None else limits


def caller_name(allowance: Allowance) -> str:
    """The name that a caller is counted under."""
    return f"{_CALLER}{allowance.rule}{_CALLER}{allowance.caller}"


def rule_of(name: str) -> str | None:
    """The key of the access rule, of a name that a caller is counted under; None of any other."""
    return name.split(_CALLER, 2)[1] if name.startswith(_CALLER) else None


def is_gateway(name: str) -> bool:
    """Whether it is the name of a gateway or failover."""
    return name not in {SITE, CHALLENGES} and rule_of(name) is None


def whose(name: str) -> str:
    """Whose limits they are, in words."""
    if is_gateway(name):
        return f"`{name}`"
    return {SITE: "smsgwd.yaml", CHALLENGES: "`otp` of smsgwd.yaml"}.get(name, "the caller (`access` of smsgwd.yaml)")


def limits_of(registry: Registry, name: str) -> Limits | None:
    """What holds under a name; None for one that there is no more."""
    if name == SITE:
        return registry.config.limits
    if name == CHALLENGES:
        return registry.config.otp.limits
    rule = rule_of(name)
    if rule is not None:
        return registry.config.limits_of_rule(rule)
    entry = registry.entries.get(name)
    return None if entry is None or entry.gateway is None else entry.gateway.limits


class BarredError(MessageError):
    """A number that `limit` of `name` keeps from being written to."""

    def __init__(self, name: str, limit: str, detail: str) -> None:
        self.name = name
        self.limit = limit
        super().__init__(Reason.INVALID_DESTINATION, detail)


def check_destination(recipient: Recipient, bounds: Bounds) -> None:
    """Raises BarredError for a number of a country or type that is not wanted, or of which that is not known."""
    for name, limits in bounds:
        for limit, choice, found in (
            (COUNTRIES, limits.countries, msisdn.regions_of),
            (NUMBER_TYPES, limits.number_types, lambda e164: frozenset([msisdn.type_of(e164)])),
        ):
            if choice is None:
                continue
            if recipient.e164 is None:
                raise BarredError(
                    name, limit, f"the number is not read as one, and `{limit}` of {whose(name)} asks for that"
                )
            if not choice.admits(found(recipient.e164)):
                raise BarredError(name, limit, f"`{limit}` of {whose(name)} does not allow this number")
