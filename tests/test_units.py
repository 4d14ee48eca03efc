"""Durations and deadlines."""

import pytest

from smsgwd.units import Deadline, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1ms", 0.001), ("3s", 3.0), ("2m", 120.0), ("1h", 3600.0), ("007s", 7.0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A whole number and a unit is a span in seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


def test_the_longest_duration_is_a_year() -> None:
    """Whatever is written, the clocks of the system can hold it."""
    assert parse_duration("999999999h") == parse_duration("8784h") == 366 * 86_400


@pytest.mark.parametrize(
    "text", ["", "3", "3 s", "1.5s", "-1s", "+1s", "0s", "0ms", "3S", "1d", "s", "3s\n", "٣s", "1" * 10 + "s"]
)
def test_what_is_no_duration_is_told_with_the_mend(text: str) -> None:
    """Anything else, zero included, is a ValueError that says how a duration is written."""
    with pytest.raises(ValueError, match=r"500ms|1ms"):
        parse_duration(text)


def test_a_deadline_is_a_point_in_time() -> None:
    """What remains shrinks to zero, and the earlier of two wins."""
    past, ahead = Deadline(0.0), Deadline.after(100)
    assert past.passed
    assert past.remaining() == 0.0
    assert 99 < ahead.remaining() <= 100
    assert ahead.earlier(1).remaining() <= 1
    assert ahead.earlier(1000) == ahead


def test_a_deadline_can_be_shared_among_ways() -> None:
    """Each way has its part of the time to leave, a part of a part too; the deadline stays; the last has all of it."""
    whole = Deadline.after(100)
    half = whole.share(2)
    assert half.at == whole.at
    assert 49 < half.to_leave.remaining() <= 50
    assert 24 < half.share(2).to_leave.remaining() <= 25
    assert half.earlier(70).to_leave.remaining() <= 50
    assert half.earlier(10).to_leave.remaining() <= 10
    assert whole.share(1).to_leave.remaining() > 99
    assert whole.to_leave == whole
