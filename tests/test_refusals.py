"""Refused requests leave a trace, however many there are."""

import logging

import pytest
from served import Configuration

from smsgwd.caller import Caller
from smsgwd.errors import RequestError
from smsgwd.limits import Limiter
from smsgwd.metrics import Metrics
from smsgwd.registry import Registry
from smsgwd.server.refusals import QUIET_S, Refusals


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def refusal(code: str, gateway: str = "", action: str = "") -> RequestError:
    """A refused request."""
    error = RequestError(code, "a detail with +491701234567")
    error.gateway, error.action = gateway, action
    return error


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What a line says."""
    return {
        key: value for key, value in vars(record).items() if key in {"code", "uid", "gateway", "action", "not_logged"}
    }


def test_a_second_has_one_line_for_each_caller_and_code(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted; the next line says how many were not logged; the detail never is."""
    clock, metrics = Clock(), Metrics(Configuration(Registry()), Limiter())
    refusals = Refusals(metrics, clock)
    for _ in range(3):
        refusals.note(refusal("forbidden", "ops", "send"), Caller(1001))
    refusals.note(refusal("forbidden"), Caller(0))
    refusals.note(refusal("too-large"), Caller(1001))
    clock.now += QUIET_S
    for _ in range(2):
        refusals.note(refusal("forbidden"), Caller(1001))
    assert [fields(record) for record in caplog.records] == [
        {"code": "forbidden", "uid": 1001, "gateway": "ops", "action": "send"},
        {"code": "forbidden", "uid": 0},
        {"code": "too-large", "uid": 1001},
        {"code": "forbidden", "uid": 1001, "not_logged": 2},
    ]
    assert "+491701234567" not in caplog.text
    text = metrics.exposition().decode()
    assert 'smsgwd_requests_refused_total{code="forbidden"} 6.0' in text
    assert 'smsgwd_requests_refused_total{code="too-large"} 1.0' in text


def test_addresses_without_end_fill_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Each caller of a botnet has its line, and what is remembered of them stays small."""
    clock = Clock()
    refusals = Refusals(Metrics(Configuration(Registry()), Limiter()), clock)
    caplog.set_level(logging.ERROR)
    for number in range(25_000):
        clock.now += 0.0001
        refusals.note(refusal("unauthorized"), Caller(address=f"2001:db8::{number:x}"))
        assert len(refusals._told) <= 10_000
    clock.now += QUIET_S
    refusals.note(refusal("unauthorized"), Caller(0))
    assert len(refusals._untold) == 0
