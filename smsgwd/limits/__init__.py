"""Limits: how much may leave, and where to.

`rate` and `in_flight` make a message wait inside its deadline, in an order that is fair between callers; it is told at
once when that will not be long enough. Some of the time is left for the sending: a message that leaves with the last
moment of its deadline ends `unknown`. `per_recipient` and `budget` refuse at once. Where several limits hold, a message
leaves when it fits into all of them at one moment, and is counted in all of them then.

Counts belong to names, not to versions: of gateways, of failovers, of smsgwd.yaml, whose limits are on all gateways
together, and of each caller under the access rule that allows its calls. They survive a reload. A limit that was
changed goes on with what was counted; one that was taken away is forgotten once nobody waits for it. They are lost with
the process.

    bounds        whose limits a message meets, and where they let it go to
    window        what left in the last so many seconds
    line          who waits, in an order that is fair between callers
    scope         what is counted under one name
    passage       how those who wait come through the lines, one after the other
    limiter       all names
    claim         what one send takes
"""

from smsgwd.limits.bounds import CHALLENGES, SITE, BarredError, Bounds, bounds_of, check_destination
from smsgwd.limits.claim import Claim
from smsgwd.limits.limiter import Limiter

__all__ = [
    "CHALLENGES",
    "SITE",
    "BarredError",
    "Bounds",
    "Claim",
    "Limiter",
    "bounds_of",
    "check_destination",
]
