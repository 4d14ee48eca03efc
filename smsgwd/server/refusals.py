"""Requests that were refused: who only looks at the daemon has to learn of them, too."""

import logging
import math
import time
from collections.abc import Callable

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.metrics import Metrics

log = logging.getLogger("smsgwd.server")

QUIET_S = 1.0  # between two lines about one caller and code: nobody can fill the log
_MOST_TOLD = 10_000  # callers and codes that are remembered: addresses are for the taking


class Refusals:
    """Counts each and logs them, at most one in `QUIET_S` seconds by code and caller. `clock` gives seconds."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], int] = {}

    def note(self, error: RequestError, caller: Caller) -> None:
        """One request of this caller was refused. Its detail is not logged: it may repeat what the caller wrote."""
        self._metrics.refused(error.code)
        which, now = (error.code, caller.name), self._clock()
        if now < self._told.get(which, -math.inf) + QUIET_S:
            self._untold[which] = self._untold.get(which, 0) + 1
            return
        self._forget(now)
        self._told[which] = now
        fields = {
            "code": error.code,
            "gateway": error.gateway,
            "action": error.action,
            "not_logged": self._untold.pop(which, 0),
        }
        told = {key: value for key, value in fields.items() if value}
        log.warning("refused", extra={**told, **caller.as_log()})

    def _forget(self, now: float) -> None:
        """Keep what is remembered small: what is past its second counts no more, unless there is something to tell."""
        if len(self._told) < _MOST_TOLD:
            return
        self._told = {which: at for which, at in self._told.items() if now < at + QUIET_S}
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._untold = {which: number for which, number in self._untold.items() if which in self._told}
