"""When what was seen may be taken as it is. Time is an argument."""

from collections.abc import Hashable

import pytest

from smsgwd.errors import Problem
from smsgwd.files import ConfigFile, Stamp
from smsgwd.sightings import AT_REST_S, Sight, Sightings, at_rest

QUIET_S = 0.2
CLOCK_S = 1_000_000.0
FRESH = int((CLOCK_S - 0.1) * 1e9)
OLD = int((CLOCK_S - 60) * 1e9)
PROBLEM = Problem("x.yaml", 1, 1, "dangling-link", "this link leads nowhere")


def file(data: bytes = b"a", *, ctime_ns: int = FRESH, writing: bool | None = False, inode: int = 7) -> ConfigFile:
    return ConfigFile("x.yaml", "x", data, Stamp(1, inode, len(data), 0, ctime_ns, writing))


def seen(*looks: tuple[float, Sight], unclosed: frozenset[tuple[int, int]] = frozenset()) -> Sightings:
    """After looks at these times that saw this at the place `x`."""
    sightings = Sightings(QUIET_S)
    for now, sight in looks:
        sights: dict[Hashable, Sight] = {} if sight is None else {"x": sight}
        sightings.see(sights, now, CLOCK_S, unclosed)
    return sightings


@pytest.mark.parametrize(
    ("looks", "settled"),
    [
        ([(0.0, file(ctime_ns=OLD))], True),
        ([(0.0, file())], False),
        ([(0.0, file()), (0.1, file())], False),
        ([(0.0, file()), (0.2, file())], True),
        ([(0.0, file()), (0.2, file(b"ab"))], False),
        ([(0.0, file()), (0.2, file(inode=8))], False),
        ([(0.0, file()), (0.2, file(b"ab")), (0.4, file(b"ab"))], True),
        ([(0.0, file(ctime_ns=OLD)), (0.2, None)], False),
        ([(0.0, file(ctime_ns=OLD)), (0.2, None), (0.3, None)], False),
        ([(0.0, file(ctime_ns=OLD)), (0.2, None), (0.4, None)], True),
        ([(0.0, file(ctime_ns=OLD)), (0.2, None), (0.3, file(ctime_ns=OLD))], True),
        ([(0.0, (PROBLEM,))], False),
        ([(0.0, (PROBLEM,)), (0.2, (PROBLEM,))], True),
        ([(0.0, True)], True),
        ([(0.0, True), (1.0, False)], False),
        ([(0.0, file(writing=True, ctime_ns=OLD))], False),
        ([(0.0, file(writing=True)), (3600.0, file(writing=True))], False),
        ([(0.0, file(writing=True)), (3600.0, file()), (3600.1, file())], False),
        ([(0.0, file(writing=True)), (3600.0, file()), (3600.25, file())], True),
        ([(0.0, file(ctime_ns=int((CLOCK_S + 500) * 1e9)))], False),
    ],
)
def test_settles(looks: list[tuple[float, Sight]], *, settled: bool) -> None:
    """A place is settled when it was seen the same way twice, apart, or is old; never while it is being written."""
    assert seen(*looks).settled("x") is settled


@pytest.mark.parametrize(("writing", "settled"), [(None, False), (False, True)])
def test_believes_the_kernel_before_an_event(*, writing: bool | None, settled: bool) -> None:
    """A write event without a close holds a file back, unless the kernel says that nobody has it open."""
    sightings = seen((0.0, file(writing=writing)), (1.0, file(writing=writing)), unclosed=frozenset({(1, 7)}))
    assert sightings.settled("x") is settled


def test_does_not_wait_for_a_file_that_is_kept_open() -> None:
    """A file that someone keeps open is looked at twice, and then no more: the others must not wait for it."""
    assert seen((0.0, file(writing=True))).restless()
    waiting = seen((0.0, file(writing=True)), (0.2, file(b"ab", writing=True)))
    assert not waiting.restless()
    assert waiting.unsettled()
    assert waiting.written("x")


def test_forgets_what_is_gone() -> None:
    """A place that was empty in two looks takes no memory; one that is still looked for stays settled as empty."""
    assert "x" not in seen((0.0, file()), (0.2, None), (0.4, None), (0.6, None))
    sightings = Sightings(QUIET_S)
    for now in (0.0, 0.2, 0.4, 0.6):
        sightings.see({"x": None}, now, CLOCK_S)
    assert sightings.settled("x")
    assert "x" in sightings


def test_what_was_never_seen_is_settled_as_nothing() -> None:
    """Of a place without a sight there is nothing to wait for."""
    sightings = Sightings(QUIET_S)
    assert (sightings.settled("x"), sightings.sight("x"), sightings.restless()) == (True, None, False)


def test_at_rest_needs_more_than_clocks_are_apart() -> None:
    """What changed long ago by the file's clock is at rest; a time in the future proves nothing."""
    assert at_rest(Stamp(ctime_ns=int((CLOCK_S - AT_REST_S) * 1e9)), CLOCK_S)
    assert not at_rest(Stamp(ctime_ns=int((CLOCK_S - AT_REST_S + 0.1) * 1e9)), CLOCK_S)
    assert not at_rest(Stamp(ctime_ns=int((CLOCK_S + 60) * 1e9)), CLOCK_S)
