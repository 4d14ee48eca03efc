"""Limits between callers: who waits goes in an order that is fair, and nobody waits in a circle."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise, repeat
from typing import Any

import pytest
import virtual_time
from hypothesis import given, settings
from hypothesis import strategies as st
from limited import House, Times, check_window, failover, kinds, limited, registry, served
from scripted import ACCEPTED, BUSY, Answer, Scripted

from smsgwd.allowance import UNLIMITED
from smsgwd.caller import Caller
from smsgwd.limits import SITE
from smsgwd.limits.line import Line, Place, Row
from smsgwd.limits.window import Window
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Prepared
from smsgwd.registry import Gateway, Route
from smsgwd.units import Deadline, Pace, parse_pace

ALICE, BOB, CAROL = Caller(1001), Caller(1002), Caller(1003)
LAST, NEXT = Row(None), Row("next")


def slow(one: Gateway, seconds: float, outcome: Outcome = ACCEPTED) -> Gateway:
    """The gateway, with a provider that takes its time."""

    class Slow(Scripted):
        async def submit(self, prepared: Prepared, deadline: Deadline) -> Answer:
            await asyncio.sleep(seconds)
            return await super().submit(prepared, deadline)

    return replace(one, provider=Slow(iter(repeat(outcome))))


# --- the order


class Queue:
    """A line whose first one is served, again and again."""

    def __init__(self) -> None:
        self.line = Line[str]()

    def join(self, who: str, caller: str, segments: int = 1, row: Row = LAST) -> Place[str]:
        """Stand in it."""
        return self.line.join(who, caller, segments, row)

    def served(self, count: int = 1_000) -> list[str]:
        """Who is served, one after the other."""
        found = list[str]()
        while len(found) < count and (place := self.line.first()) is not None:
            self.line.step_out(place)
            self.line.serve(place)
            found.append(place.who)
        return found


def test_who_asks_for_little_comes_soon() -> None:
    """One message among another caller's hundred is the second; each caller's own order stays."""
    queue = Queue()
    for index in range(100):
        queue.join(f"a{index}", "a")
    assert queue.served(10) == [f"a{index}" for index in range(10)]
    queue.join("b0", "b")
    queue.join("b1", "b")
    assert queue.served(5) == ["b0", "a10", "b1", "a11", "a12"]


def test_segments_count_not_messages() -> None:
    """Who sends long messages sends fewer of them."""
    queue = Queue()
    for index in range(6):
        queue.join(f"long{index}", "a", 3)
    for index in range(12):
        queue.join(f"short{index}", "b", 1)
    order = queue.served(12)
    assert order == [
        *("long0", "short0", "short1", "short2", "long1", "short3", "short4", "short5"),
        *("long2", "short6", "short7", "short8"),
    ]


def test_silence_is_no_merit() -> None:
    """Who comes late gets an equal part from then on, and not what the others have had before."""
    queue = Queue()
    for index in range(200):
        queue.join(f"a{index}", "a")
    queue.served(100)
    for index in range(50):
        queue.join(f"b{index}", "b")
    assert Counter(who[0] for who in queue.served(40)) == {"a": 20, "b": 20}


Joining = tuple[str, int, int]  # caller, segments, how many are served before the next one comes
MESSAGES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 8), st.integers(0, 3)), min_size=1, max_size=60)


@given(MESSAGES)
def test_two_who_want_more_get_as_much(messages: list[Joining]) -> None:
    """While two callers wait, what they got differs by no more than a message of each (the bound of the algorithm)."""
    queue, segments, got, waiting = Queue(), dict[str, int](), Counter[str](), Counter[str]()
    since: dict[tuple[str, str], int] = {}
    for number, (caller, size, count) in enumerate(messages):
        who = f"{caller}{number}"
        segments[who] = size
        waiting[caller] += 1
        queue.join(who, caller, size)
        for gone in queue.served(count):
            got[gone[0]] += segments[gone]
            waiting[gone[0]] -= 1
        for one in "abcd":
            for other in "abcd":
                if one >= other or not (waiting[one] and waiting[other]):
                    since.pop((one, other), None)
                    continue
                base = since.setdefault((one, other), got[one] - got[other])
                assert abs(got[one] - got[other] - base) <= 2 * 8


@given(MESSAGES, st.sets(st.integers(0, 59)))
def test_who_goes_leaves_no_trace(messages: list[Joining], leaving: set[int]) -> None:
    """Those who give up change nothing of the order of the others, nor of what callers get afterwards."""

    def order(*, without: bool) -> list[str]:
        queue, gone = Queue(), list[str]()
        for index, (caller, size, count) in enumerate(messages):
            if index not in leaving:
                queue.join(str(index), caller, size)
            elif not without:
                queue.line.leave(queue.join(str(index), caller, size))
            gone += queue.served(count)
        gone += queue.served()
        assert (queue.line.waiting, queue.line._rows, queue.line._finished) == (0, {}, {})
        return gone

    assert order(without=False) == order(without=True)


@given(MESSAGES, st.sets(st.integers(0, 59)))
def test_who_gives_up_later_leaves_no_trace(messages: list[Joining], leaving: set[int]) -> None:
    """Also when others came in between: the rest is served as if those who gave up had never come."""

    def order(*, without: bool) -> list[str]:
        queue, places = Queue(), list[Place[str]]()
        for index, (caller, size, _) in enumerate(messages):
            if index not in leaving or not without:
                place = queue.join(str(index), caller, size)
                places += [place] if index in leaving else []
        for place in places:
            queue.line.leave(place)
        return queue.served()

    assert order(without=False) == order(without=True)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 40), st.sampled_from("abcd"))
def test_what_is_ahead_is_counted(callers: list[str], gone: int, comes: str) -> None:
    """Of messages of one segment it is exact: so many are served before the one that comes."""
    queue = Queue()
    for index, caller in enumerate(callers):
        queue.join(f"{caller}{index}", caller)
    queue.served(min(gone, max(0, len(callers) - 1)))
    ahead = queue.line.ahead(comes, LAST)
    queue.join("it", comes)
    assert queue.served().index("it") == ahead


def test_those_who_go_elsewhere_pass() -> None:
    """Who has stepped out holds up its caller's next ones for the same line, and nobody else."""
    queue = Queue()
    waits = queue.join("a0", "a", row=NEXT)
    queue.join("a1", "a", row=NEXT)
    queue.line.step_out(waits)
    for who, row in (("a2", LAST), ("b0", NEXT), ("b1", LAST)):
        queue.join(who, who[0], row=row)
    assert queue.served() == ["a2", "b0", "b1"]
    queue.line.step_back(waits)
    queue.join("b2", "b")
    queue.line.step_out(waits)
    assert queue.line.first() is None  # it was passed once, and is not again
    queue.join("bound", "b", row=Row(None, bound=True))
    assert queue.served() == ["bound"]
    queue.line.serve(waits)
    assert queue.served() == ["a1", "b2"]


def test_a_line_takes_bounded_memory() -> None:
    """Whatever number of callers come and go, the tags of those who count no more are forgotten."""
    queue = Queue()
    for index in range(5_000):
        queue.join("busy", "busy", 2)
        queue.join(str(index), str(index))
        queue.served(2)
        queue.join("busy", "busy", 2)
        assert len(queue.line._finished) < 200
    queue.served(10_000)
    assert (queue.line._rows, queue.line._finished, queue.line.waiting) == ({}, {}, 0)


# --- as callers meet it


def test_one_message_does_not_wait_behind_two_hundred() -> None:
    """With ten a second and another caller's two hundred waiting, it leaves among the next ones; theirs keep order."""

    async def main() -> None:
        times = Times(House(served(limits=limited(rate="10/s"))))
        flood = [asyncio.create_task(times.send(index, caller=ALICE)) for index in range(200)]
        await asyncio.sleep(5.05)
        assert (await times.send(1000, caller=BOB)).kind is Kind.ACCEPTED
        at = dict(times.left)[1000]
        assert at < 6.2
        assert kinds(await asyncio.gather(*flood)) == "a" * 200
        assert [index for index, _ in times.left if index < 200] == list(range(200))
        left_at = [at for _, at in times.left]
        assert all(later - at >= 1.0 for at, later in zip(left_at, left_at[10:], strict=False))

    virtual_time.run(main())


@pytest.mark.parametrize("limits", [{"rate": "10/s"}, {"in_flight": 1}, {"rate": "20/s", "in_flight": 1}])
@pytest.mark.parametrize("where", ["gateway", "site", "both", "failover"])
def test_two_who_flood_get_half_each(limits: dict[str, Any], where: str) -> None:
    """Also one who came first, and with what limit and whose it is."""

    async def main() -> None:
        mine = limited(**limits)
        one = slow(served(limits=mine if where in {"gateway", "both"} else UNLIMITED), 0.1)
        through = failover("g", limits=mine if where == "failover" else UNLIMITED)
        times = Times(House(one, through, site=mine if where in {"site", "both"} else UNLIMITED))
        name = "f" if where == "failover" else "g"
        sends = [asyncio.create_task(times.send(index, caller=ALICE, name=name)) for index in range(150)]
        await asyncio.sleep(0.05)
        sends += [asyncio.create_task(times.send(index, caller=BOB, name=name)) for index in range(150, 300)]
        await asyncio.sleep(12)
        halves = Counter(index < 150 for index, at in times.left if at > 1.5)
        assert sum(halves.values()) >= 90
        assert abs(halves[True] - halves[False]) <= 2
        for task in sends:
            task.cancel()
        await asyncio.gather(*sends, return_exceptions=True)
        await asyncio.sleep(2)
        for of in ("g", "f", SITE):
            assert {use.get("waiting", 0) for use in times.house.usage(of).values()} <= {0}
            assert {use["used"] for use in times.house.usage(of).values()} <= {0}

    virtual_time.run(main())


def test_a_caller_of_two_gateways_gets_no_more_of_what_they_share() -> None:
    """What smsgwd.yaml lets pass is parted between callers, not between gateways."""

    async def main() -> None:
        own = limited(rate="100/s")
        times = Times(House(*(served(name=name, limits=own) for name in "abc"), site=limited(rate="10/s")))
        sends = [
            asyncio.create_task(times.send(100 * number + index, caller=caller, name=name, deadline_s=25.0))
            for number, (caller, name) in enumerate([(ALICE, "a"), (ALICE, "b"), (BOB, "b")])
            for index in range(100)
        ]
        await asyncio.sleep(12)
        halves = Counter(index < 200 for index, at in times.left if at > 1.5)
        assert abs(halves[True] - halves[False]) <= 10
        await asyncio.gather(*sends)

    virtual_time.run(main())


def test_it_is_told_at_once_what_cannot_leave_in_its_turn() -> None:
    """What counts is who goes before it: behind its own caller's it is refused, behind another's it leaves."""

    async def main() -> None:
        times = Times(House(served(limits=limited(rate="10/s"))))
        flood = [asyncio.create_task(times.send(index, caller=ALICE)) for index in range(100)]
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        refused = await times.send(200, caller=ALICE, deadline_s=3.0)
        assert (refused.reason, refused.http_status) == (Reason.LIMIT, 429)
        assert refused.retry_after_s == pytest.approx(10, abs=0.01)
        assert asyncio.get_running_loop().time() - began < 0.01
        assert (await times.send(201, caller=BOB, deadline_s=3.0)).kind is Kind.ACCEPTED
        assert kinds(await asyncio.gather(*flood)) == "a" * 100

    virtual_time.run(main())


@pytest.mark.parametrize("own", [{"budget": "900/d"}, {"rate": "30/s"}, {"rate": "12/s", "in_flight": 90}])
def test_it_is_told_at_once_whatever_line_it_is_that_is_long(own: dict[str, Any]) -> None:
    """Also where what is long is the line of smsgwd.yaml, and one waits for it in the line of a gateway."""

    async def main() -> None:
        times = Times(House(served(limits=limited(**own)), site=limited(rate="10/s")))
        began = asyncio.get_running_loop().time()
        sends = [asyncio.create_task(times.send(index, caller=ALICE)) for index in range(400)]
        await asyncio.sleep(0.5)
        assert [task.done() for task in sends] == [True] * 10 + [False] * 270 + [True] * 120
        assert asyncio.get_running_loop().time() - began < 1
        outcomes = await asyncio.gather(*sends)
        assert kinds(outcomes) == "a" * 280 + "L" * 120
        assert "smsgwd.yaml" in outcomes[-1].detail

    virtual_time.run(main())


def test_two_thousand_of_many_callers_are_exact() -> None:
    """No second sees more than the rate, nobody's order changes, all get as much, and nothing is left behind."""

    async def main() -> None:
        house = House(served(limits=limited(rate="30/s", in_flight=40)), site=limited(rate="250/10s"))
        times = Times(house)
        sends = (times.send(index, caller=Caller(2000 + index % 20)) for index in range(2000))
        outcomes = await asyncio.gather(*sends)
        assert Counter(kinds(outcomes)) == {"a": 740, "L": 1260}  # from 0, 10 and 20 on; 28 seconds long
        left_at = [at for _, at in times.left]
        for count, window_s in ((30, 1.0), (250, 10.0)):
            assert all(later - at >= window_s for at, later in zip(left_at, left_at[count:], strict=False))
        assert set(Counter(index % 20 for index, _ in times.left).values()) == {37}
        for caller in range(20):
            mine = [index for index, _ in times.left if index % 20 == caller]
            assert mine == sorted(mine)
        await asyncio.sleep(30)
        for name in ("g", SITE):
            assert house.usage(name)["rate"] | {"limit": ""} == {"limit": "", "used": 0, "waiting": 0}
            scope = house.limiter._scopes[name]
            assert (scope.line._rows, scope.line._finished, scope.busy) == ({}, {}, False)
        assert house.limiter.usher._timers == {}

    virtual_time.run(main())


Sending = tuple[float, int, str, int, float]  # at, caller, gateway, segments, deadline
SENDINGS = st.lists(
    st.tuples(
        st.integers(0, 60).map(lambda one: one / 8),
        st.integers(1, 3),
        st.sampled_from("abfh"),
        st.integers(1, 3),
        st.sampled_from([0.5, 3.0, 20.0]),
    ),
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(
    SENDINGS,
    st.sampled_from(["2/s", "5/s", "7/2s"]),
    st.sampled_from(["3/s", "9/2s"]),
    st.sampled_from(["1/s", "4/s"]),
    st.sampled_from([None, 1, 3]),
    st.sets(st.integers(0, 49), max_size=5),
)
def test_whatever_comes(
    sendings: list[Sending], own: str, site: str, through: str, in_flight: int | None, hung_up: set[int]
) -> None:
    """No window sees more than its rate, no more run than may, who fits is not refused, and all counts return to zero.

    By two gateways, and by two failovers that have the one or both of them as members; some sends are cut short.
    """
    taken = dict[str, list[tuple[float, int]]]({"a": [], "b": []})
    running, most = Counter[str](), Counter[str]()

    class Noting(Scripted):
        def __init__(self, name: str) -> None:
            super().__init__(iter(()))
            self.name = name

        async def submit(self, prepared: Prepared, deadline: Deadline) -> Answer:
            taken[self.name].append((asyncio.get_running_loop().time(), prepared.count().segments))
            running.update([self.name, SITE])
            most.update({one: running[one] - most[one] for one in running if running[one] > most[one]})
            try:
                await asyncio.sleep(0.3)
            finally:
                running.subtract([self.name, SITE])
            return Answer(ACCEPTED)

    async def main() -> None:
        limits = limited(rate=own, in_flight=in_flight)
        gateways = [replace(served(name=name, limits=limits), provider=Noting(name)) for name in "ab"]
        failovers = [failover(*"ab", name="f", limits=limited(rate=through)), failover("b", name="h", limits=limits)]
        house = House(*gateways, *failovers, site=limited(rate=site, in_flight=in_flight))

        async def one(sending: Sending) -> Outcome:
            at, caller, name, segments, deadline_s = sending
            await asyncio.sleep(at)
            text = "x" * (100 + 153 * (segments - 1))
            return await house.send(text=text, name=name, caller=Caller(caller), deadline_s=deadline_s)

        sends = [asyncio.create_task(one(sending)) for sending in sendings]
        for index in hung_up & set(range(len(sends))):
            asyncio.get_running_loop().call_later(sendings[index][0] + 0.7, sends[index].cancel)
        await asyncio.wait(sends or [asyncio.create_task(asyncio.sleep(0))])
        outcomes = [None if task.cancelled() else task.result() for task in sends]
        assert {one and (one.kind, one.reason) for one in outcomes} <= {
            None,
            (Kind.ACCEPTED, None),
            (Kind.UNSENT, Reason.LIMIT),
        }
        for name in "ab":
            check_window(taken[name], parse_pace(own), 3)
        check_window(taken["a"] + taken["b"], parse_pace(site), 3)
        assert in_flight is None or max(most.values(), default=0) <= in_flight
        total = sum(one[3] for one in sendings)
        longest = sum(pace.window_s * (total / pace.count + 1) for pace in map(parse_pace, (own, site, through)))
        for sending, outcome in zip(sendings, outcomes, strict=True):
            if longest + 0.3 * len(sendings) < sending[4] / 2 * 0.9:  # all of them, one after the other
                assert outcome is None or outcome.kind is Kind.ACCEPTED
        await asyncio.sleep(10)
        for scope in house.limiter._scopes.values():
            assert (scope.idle(asyncio.get_running_loop().time()), scope.line.waiting) == (True, 0)
            assert (scope.line._rows, scope.line._finished, scope.line._firm) == ({}, {}, set())
        assert house.limiter.usher._timers == {}

    virtual_time.run(main())


# --- nobody is in somebody's way


def test_a_failover_that_waits_is_not_in_the_way_of_its_member() -> None:
    """Who names the gateway itself does not wait behind those who wait for the failover's limit."""

    async def main() -> None:
        one = served(name="a", limits=limited(rate="5/s"))
        times = Times(House(failover("a", limits=limited(rate="1/10s")), one))
        waiting = [asyncio.create_task(times.send(index, name="f", caller=ALICE)) for index in range(3)]
        await asyncio.sleep(0)
        directly = [times.send(index, name="a", caller=caller) for index, caller in ((10, BOB), (11, ALICE))]
        assert kinds(await asyncio.gather(*directly)) == "aa"
        assert [index for index, at in times.left if at < 1] == [0, 10, 11]
        assert kinds(await asyncio.gather(*waiting)) == "aaa"
        assert [round(at) for index, at in times.left if index < 10] == [0, 10, 20]

    virtual_time.run(main())


def test_nobody_is_passed_for_ever() -> None:
    """A failover's message that finds its member full when it is its turn is the next one there."""

    async def main() -> None:
        routes = (Route(("c",), prefix="+49171"),)
        through = failover("a", limits=limited(rate="1/10s"), routes=routes)
        times = Times(House(through, served(name="a", limits=limited(rate="1/s")), served(name="c")))
        flood = [asyncio.create_task(times.send(100 + index, name="a", caller=BOB)) for index in range(20)]
        await asyncio.sleep(0.5)
        assert (await times.house.send("+491711234567", name="f", caller=ALICE)).gateway == "c"
        waiting = asyncio.create_task(times.send(1, name="f", caller=ALICE))
        assert kinds(await asyncio.gather(waiting, *flood)) == "a" * 21
        assert round(dict(times.left)[1], 3) == 11  # at 10.5 the failover lets it pass, and the member is full

    virtual_time.run(main())


@pytest.mark.parametrize("where", ["site", "failover"])
def test_nobody_waits_in_a_circle(where: str) -> None:
    """A send that has a place and goes on to the next member passes those who wait for such a place before it."""

    async def main() -> None:
        one_at_once = limited(in_flight=1)
        a, b = slow(served(name="a"), 1.0, BUSY), served(name="b", limits=limited(in_flight=5, rate="9/s"))
        routes = (Route(("b",), prefix="+49171"),)
        through = failover("a", "b", limits=one_at_once if where == "failover" else UNLIMITED, routes=routes)
        house = House(through, a, b, site=one_at_once if where == "site" else UNLIMITED)
        began = asyncio.get_running_loop().time()
        sends = [asyncio.create_task(house.send(name="f", caller=ALICE))]
        await asyncio.sleep(0.5)
        sends += [asyncio.create_task(house.send("+491711234567", name="f", caller=BOB)) for _ in range(3)]
        outcomes = await asyncio.gather(*sends)
        assert kinds(outcomes) == "aaaa"
        assert [one.gateway for one in outcomes] == ["b"] * 4
        assert asyncio.get_running_loop().time() - began < 1.1

    virtual_time.run(main())


def test_who_is_told_is_whose_limit_it_was() -> None:
    """A failover goes on to the next member where its own line was too long, whatever else was full for a moment."""

    async def main() -> None:
        a = slow(served(name="a", limits=limited(in_flight=1)), 100.0)
        house = House(failover("a", "b"), a, served(name="b"), site=limited(rate="2/20s", in_flight=50))
        stuck = asyncio.create_task(house.send(name="a", deadline_s=60.0))
        await asyncio.sleep(0)
        outcome = await house.send(name="f", deadline_s=10.0)
        assert (outcome.gateway, kinds([outcome])) == ("b", "a")
        assert [(one.gateway, one.reason) for one in outcome.tried] == [("a", Reason.LIMIT)]
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)

    virtual_time.run(main())


# --- reloads


def test_a_limit_that_was_lowered_holds_for_those_who_wait() -> None:
    """A smaller budget, share of a number or number of places is kept by what waits already, in its order."""

    async def main() -> None:
        one = slow(served(limits=limited(rate="10/s", budget="100/d", in_flight=10)), 0.5)
        times = Times(House(one))
        sends = [asyncio.create_task(times.send(index)) for index in range(50)]
        await asyncio.sleep(1.55)
        lower = replace(one, limits=limited(rate="10/s", budget="30/d", in_flight=2, per_recipient="1/d"))
        times.house.registry = registry(lower, generation=2)
        times.house.limiter.follow(times.house.registry)
        running = list[int]()
        for _ in range(60):
            await asyncio.sleep(0.1)
            running.append(times.house.usage()["in_flight"]["used"])
        assert max(running[6:]) <= 2
        outcomes = await asyncio.gather(*sends)
        assert kinds(outcomes) == "a" * 30 + "L" * 20
        assert "`budget: 30/d` of `g`" in outcomes[-1].detail
        assert times.house.usage()["budget"] == {"limit": "30/d", "used": 30}
        assert times.house.usage()["in_flight"]["used"] == 0

    virtual_time.run(main())


def test_a_limit_that_is_new_holds_for_those_who_wait() -> None:
    """Also one of smsgwd.yaml, where only something else was limited before."""

    async def main() -> None:
        one = served(limits=limited(rate="10/s"))
        times = Times(House(one, site=limited(budget="900/d")))
        sends = [asyncio.create_task(times.send(index)) for index in range(30)]
        await asyncio.sleep(0.5)
        times.house.registry = registry(one, site=limited(budget="900/d", rate="1/s"), generation=2)
        times.house.limiter.follow(times.house.registry)
        assert kinds(await asyncio.gather(*sends)) == "a" * 30
        later = [at for _, at in times.left if at > 0.5]
        assert len(later) == 20
        assert all(two - one >= 1.0 for one, two in pairwise(later))

    virtual_time.run(main())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=40))
def test_a_changed_rate_counts_what_was_borrowed(steps: list[tuple[int, int, int]]) -> None:
    """However a rate is raised and lowered while long messages borrow: at no time does more fit than what is left."""
    window, gone, now = Window(), list[tuple[float, int]](), 0.0
    for pause, count, size in steps:
        now, pace = now + pause / 16, Pace(size, 1.0, "")
        counted = sum(part for at, part in gone if at + 1.0 > now)
        if window.fits_at(now, pace, count) <= now:
            assert counted + min(count, size) <= size
            window.take(now, pace, count)
            gone += [(now + part, min(size, count - part * size)) for part in range(-(-count // size))]
        assert window.used(now, pace) == sum(part for at, part in gone if at + 1.0 > now)
