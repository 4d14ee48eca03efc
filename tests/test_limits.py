"""Limits: what leaves, when, where to, and what callers get to know of it."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import virtual_time
from hypothesis import given
from hypothesis import strategies as st
from limited import (
    LOST,
    OTHER,
    REFUSED,
    Busy,
    House,
    Times,
    check_window,
    failover,
    kinds,
    limited,
    registry,
    sent_in_a_row,
    served,
    submitted,
)
from scripted import ACCEPTED, BUSY, NUMBER, Scripted

from smsgwd import msisdn, schema
from smsgwd.allowance import UNLIMITED, Choice, Limits
from smsgwd.caller import Caller
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import MessageError
from smsgwd.limits import SITE, Limiter
from smsgwd.limits import window as module
from smsgwd.limits.window import Recipients, Window
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Site
from smsgwd.registry import Retry
from smsgwd.sender import render, send
from smsgwd.units import Pace, parse_pace

# --- how paces are written


@pytest.mark.parametrize(
    ("text", "count", "window_s"),
    [
        ("30/s", 30, 1),
        ("600/m", 600, 60),
        ("5/10m", 5, 600),
        ("100/h", 100, 3600),
        ("2000/d", 2000, 86400),
        ("1/2s", 1, 2),
    ],
)
def test_a_pace_is_read(text: str, count: int, window_s: float) -> None:
    """A number, a slash, and a time of seconds, minutes, hours or days."""
    pace = parse_pace(text)
    assert (pace.count, pace.window_s, str(pace)) == (count, window_s, text)


NO_PACE = [
    "",
    "30",
    "0/s",
    "000/m",
    "5/0m",
    "/s",
    "5/",
    "1.5/s",
    "-1/s",
    "5 / s",
    "5/w",
    "5/10ms",
    "٣/s",
    "5/s\n",
    "1111111111/s",
    "1/99999s",
]


@pytest.mark.parametrize("text", NO_PACE)
def test_what_is_no_pace_is_refused_in_code_and_schema(text: str) -> None:
    """Zero and nonsense are an error with the mend; the schema says the same."""
    with pytest.raises(ValueError, match="a pace"):
        parse_pace(text)
    data, problems = schema.check_gateway(
        load(json.dumps({"provider": "console", "limits": {"rate": text}}).encode(), "x")
    )
    assert data == {"provider": "console", "limits": {}}
    assert [problem.code for problem in problems] == ["bad-value"]


ALL = """\
provider: console
limits:
  rate: 30/s
  in_flight: 100
  per_recipient: 5/10m
  budget: 2000/d
  countries: {allow: [DE, AT, CH]}
  number_types: {deny: [premium_rate, shared_cost]}
"""
WHOLE = Limits(
    Pace(30, 1, "30/s"),
    100,
    Pace(5, 600, "5/10m"),
    Pace(2000, 86400, "2000/d"),
    Choice(frozenset({"DE", "AT", "CH"})),
    Choice(frozenset({"premium_rate", "shared_cost"}), denied=True),
)


def test_both_files_have_all_limits() -> None:
    """A gateway file and smsgwd.yaml say the same in the same words; without limits there are none."""
    one, problems = compile_gateway("g", load(ALL.encode(), "g.yaml"), Site(), resolve=True)
    assert problems == ()
    assert one is not None
    assert one.limits == WHOLE
    site, _ = compile_site(load(ALL.partition("\n")[2].encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert site is not None
    assert site.limits == WHOLE
    bare, _ = compile_gateway("g", load(b"provider: console\nlimits: {}", "g.yaml"), Site(), resolve=True)
    assert bare is not None
    assert bare.limits is UNLIMITED


def test_the_number_types_are_those_of_the_library() -> None:
    """What the schema lets be written is what phonenumbers tells apart."""
    from phonenumbers import PhoneNumberType  # noqa: PLC0415 - as where it is used

    known = {PhoneNumberType.to_string(one).lower() for one in PhoneNumberType.values()}
    part = schema.read("gateway")["$defs"]["limits"]["properties"]["number_types"]["properties"]["deny"]
    assert set(part["items"]["enum"]) == known


# --- windows


def left(window: Window, pace: Pace, counts: Iterable[int], at: float) -> list[float]:
    """When messages of so many segments leave that all come at once and wait."""
    times = []
    for count in counts:
        at = max(at, window.fits_at(at, pace, count))
        window.take(at, pace, count)
        times.append(at)
    return times


@pytest.mark.parametrize(
    ("text", "counts", "times"),
    [
        ("2/s", [1, 1, 1, 1, 1], [0, 0, 1, 1, 2]),
        ("3/10s", [2, 2, 1], [0, 10, 10]),
        ("2/s", [5, 1, 1], [0, 2, 3]),  # it borrows the second and half of the third
        ("2/s", [1, 4, 1], [0, 1, 3]),  # what is larger than the rate waits for an empty window
        ("1/m", [3, 1], [0, 180]),
    ],
)
def test_no_window_sees_more(text: str, counts: list[int], times: list[float]) -> None:
    """Messages leave as early as the window lets them; one that is larger than it borrows from the next."""
    assert left(Window(), parse_pace(text), counts, 100.0) == [100.0 + one for one in times]


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 48), st.booleans()), min_size=1, max_size=40),
)
def test_a_window_is_exact(size: int, messages: list[tuple[int, int, bool]]) -> None:
    """Whatever comes and is given back: no second holds more than fits, and nothing waits without need."""
    window, pace = Window(), Pace(size, 1.0, "")
    now, gone = 0.0, list[tuple[float, int]]()
    for count, pause, back in messages:
        now += pause / 16
        fits_at = window.fits_at(now, pace, count)
        counted = sum(one for at, one in gone if at + 1.0 > now)
        assert (fits_at <= now) == (counted + min(count, size) <= size)
        now = max(now, fits_at)
        taken = window.take(now, pace, count)
        if back:
            for one in taken:
                window.give_back(one)
        else:
            gone += [(now + part, min(size, count - part * size)) for part in range(-(-count // size))]
    for at, _ in gone:
        assert sum(one for other, one in gone if at - 1.0 < other <= at) <= size


def test_the_estimate_counts_those_who_wait() -> None:
    """Who comes behind others is told when it would be its turn."""
    window, pace = Window(), parse_pace("2/s")
    window.take(10.0, pace, 1)
    window.take(10.5, pace, 1)
    assert [window.fits_at(10.6, pace, 1, ahead) for ahead in range(5)] == [11.0, 11.5, 12.0, 12.5, 13.0]


def test_a_window_takes_bounded_memory() -> None:
    """However many messages a window counts, it keeps some two thousand marks, and still never counts too few."""
    window, pace = Window(), parse_pace("1000000/d")
    for second in range(20_000):
        window.take(second, pace, 1)
    assert len(window._marks) <= 2 * module.MANY
    assert window.used(20_000, pace) == 20_000
    assert window.used(86_400 + 9_999, pace) >= 10_000
    assert window.used(2 * 86_400, pace) == 0


def test_numbers_are_forgotten_when_nothing_of_them_counts() -> None:
    """A number that was not written to for a window takes no memory; a flood of numbers takes a bounded amount."""
    recipients, pace = Recipients(), parse_pace("5/10m")
    for index in range(1000):
        recipients.kept(index, pace, index.to_bytes(16)).take(index, pace, 1)
    assert recipients.used(1000, pace) == 599  # those of the last ten minutes
    assert recipients.used(2000, pace) == 0


def test_a_flood_of_numbers_takes_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the most that are kept the oldest number is forgotten, and the log says so once."""
    recipients, pace = Recipients(), parse_pace("5/d")
    for index in range(module.MOST_NUMBERS + 3):
        recipients.kept(1.0, pace, index.to_bytes(4)).take(1.0, pace, 1)
    assert recipients.used(1.0, pace) == module.MOST_NUMBERS
    assert len(caplog.records) == 1


# --- where to


@pytest.mark.parametrize(
    ("to", "limits", "allowed"),
    [
        (NUMBER, Limits(countries=Choice(frozenset({"DE"}))), True),
        ("+436641234567", Limits(countries=Choice(frozenset({"DE"}))), False),
        ("+436641234567", Limits(countries=Choice(frozenset({"AT"}), denied=True)), False),
        (NUMBER, Limits(countries=Choice(frozenset({"AT"}), denied=True)), True),
        ("+12125550123", Limits(countries=Choice(frozenset({"US"}))), True),
        ("+14165550123", Limits(countries=Choice(frozenset({"US"}))), False),
        ("+12005550123", Limits(countries=Choice(frozenset({"US"}))), False),  # nobody knows whose it is: perhaps CA
        ("+12005550123", Limits(countries=Choice(frozenset({"CA"}), denied=True)), False),
        ("+12005550123", Limits(countries=Choice(frozenset({"DE"}), denied=True)), True),
        ("+88213300001", Limits(countries=Choice(frozenset({"DE"}))), False),  # of no country
        ("+499001234567", Limits(number_types=Choice(frozenset({"premium_rate"}), denied=True)), False),
        (NUMBER, Limits(number_types=Choice(frozenset({"premium_rate"}), denied=True)), True),
        (NUMBER, Limits(number_types=Choice(frozenset({"mobile"}))), True),
        ("+4930901820", Limits(number_types=Choice(frozenset({"mobile"}))), False),
        ("+12125550123", Limits(number_types=Choice(frozenset({"mobile"}))), False),
        ("+12125550123", Limits(number_types=Choice(frozenset({"mobile", "fixed_line_or_mobile"}))), True),
        ("12345", Limits(countries=Choice(frozenset({"AT"}), denied=True)), False),  # a short code
        ("12345", Limits(number_types=Choice(frozenset({"mobile"}), denied=True)), False),
        ("12345", Limits(per_recipient=parse_pace("5/10m")), True),
    ],
)
def test_destinations(to: str, limits: Limits, allowed: bool) -> None:
    """Countries and types are those of the numbering plans; in doubt a number is refused."""
    one = served(limits=limits, phone=PhoneRules(short_codes=True))
    house = House(one)
    outcome = asyncio.run(house.send(to))
    assert (outcome.kind is Kind.ACCEPTED) == allowed
    assert submitted(one) == allowed
    if not allowed:
        assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.REJECTED, Reason.INVALID_DESTINATION, 0)
        limit = "countries" if limits.countries else "number_types"
        assert limit in outcome.detail
        assert house.limiter.refused == {("g", limit): 1}
        assert to[1:] not in outcome.detail


def test_a_verbatim_number_is_refused_where_the_country_matters() -> None:
    """What goes out as the caller wrote it is not read, so nobody knows whose number it is."""
    one = served(limits=Limits(countries=Choice(frozenset({"DE"}))), phone=PhoneRules(format=msisdn.VERBATIM))
    assert asyncio.run(House(one).send(NUMBER)).reason is Reason.INVALID_DESTINATION


@pytest.mark.parametrize(("to", "allowed"), [(NUMBER, False), ("+436641234567", True), ("+41791234567", False)])
def test_the_countries_of_both_files_intersect(to: str, allowed: bool) -> None:
    """A country has to be in both; `render` refuses what `send` refuses."""
    one = served(limits=Limits(countries=Choice(frozenset({"AT", "CH"}))))
    house = House(one, site=Limits(countries=Choice(frozenset({"DE", "AT"}))))
    assert (asyncio.run(house.send(to)).kind is Kind.ACCEPTED) == allowed
    try:
        shown = bool(render(house.registry, SendRequest("g", to, text="hi")))
    except MessageError:
        shown = False
    assert shown == allowed


def test_the_countries_of_a_failover_hold_for_its_members() -> None:
    """Of all failovers on the way; `render` follows them as `send` does."""
    inner = failover("a", name="inner", limits=Limits(countries=Choice(frozenset({"DE"}))))
    house = House(failover("inner"), inner, served(name="a"))
    assert asyncio.run(house.send("+436641234567", name="f")).reason is Reason.INVALID_DESTINATION
    assert asyncio.run(house.send(name="f")).kind is Kind.ACCEPTED
    with pytest.raises(MessageError):
        render(house.registry, SendRequest("f", "+436641234567", text="hi"))
    assert house.limiter.refused == {("inner", "countries"): 1}


# --- how much


def test_a_number_gets_no_more_than_its_share() -> None:
    """The sixth message to a number is refused, however the number is written; other numbers are not."""

    async def main() -> None:
        house = House(served(limits=limited(per_recipient="5/10m"), phone=PhoneRules(region="DE")))
        spellings = [NUMBER, "0170 1234567", "00491701234567", "(0170) 123-4567", "+49 170 1234567", "0170/1234567"]
        outcomes = [await house.send(to) for to in spellings]
        assert kinds(outcomes) == "aaaaaL"
        last = outcomes[-1]
        assert (last.kind, last.http_status, last.exit_code, last.retry_safe) == (Kind.UNSENT, 429, 75, True)
        assert last.retry_after_s == pytest.approx(600, abs=0.001)
        assert "5/10m" in last.detail
        assert (await house.send(OTHER)).kind is Kind.ACCEPTED
        assert house.usage() == {"per_recipient": {"limit": "5/10m", "numbers": 2}}
        await asyncio.sleep(600)
        assert (await house.send()).kind is Kind.ACCEPTED
        assert house.limiter.refused == {("g", "per_recipient"): 1}

    virtual_time.run(main())


def test_a_number_that_goes_out_verbatim_is_counted_as_one() -> None:
    """Writing a number in another way is no way around the limit, and one that cannot be read counts as written."""

    async def main() -> None:
        phone = PhoneRules(region="DE", format=msisdn.VERBATIM)
        house = House(served(limits=limited(per_recipient="1/h"), phone=phone))
        outcomes = [await house.send(to) for to in (NUMBER, "0170 1234567", "sip:a b", "SIP:ab", "12345", "12345")]
        assert kinds(outcomes) == "aLaLaL"

    virtual_time.run(main())


def test_only_a_hash_of_a_number_is_kept() -> None:
    """Nothing that is counted holds a number."""
    house = House(served(limits=limited(per_recipient="5/10m")))
    virtual_time.run(house.send())
    kept = [key for scope in house.limiter._scopes.values() for key in scope._recipients._windows]
    assert [len(key) for key in kept] == [16]
    assert NUMBER[1:].encode() not in b"".join(kept)
    assert Limiter().hashed(NUMBER) != Limiter().hashed(NUMBER)


def test_a_budget_counts_segments() -> None:
    """What does not fit any more is refused, also where something smaller would; it comes back a day later."""

    async def main() -> None:
        house = House(served(limits=limited(budget="4/d")))
        long = "x" * 300  # two segments
        outcomes = [await house.send(text=text) for text in ("hi", long, long, "hi", "hi")]
        assert kinds(outcomes) == "aaLaL"
        assert house.usage() == {"budget": {"limit": "4/d", "used": 4}}
        await asyncio.sleep(86_400)
        assert (await house.send(text=long)).kind is Kind.ACCEPTED

    virtual_time.run(main())


def test_what_is_larger_than_the_budget_is_rejected() -> None:
    """A message that would not fit tomorrow either is not asked to come again."""
    outcome = virtual_time.run(House(served(limits=limited(budget="2/d"))).send(text="x" * 400))
    assert (outcome.kind, outcome.reason, outcome.retry_safe) == (Kind.REJECTED, Reason.LIMIT, False)
    assert outcome.segments == 3


@pytest.mark.parametrize(("answer", "used"), [(ACCEPTED, 1), (REFUSED, 1), (LOST, 1), (BUSY, 0)])
def test_what_ended_unsent_is_given_back(answer: Outcome, used: int) -> None:
    """What nobody took counts for nothing; what someone may have, or has refused, counts."""

    async def main() -> None:
        limits = limited(budget="9/d", rate="9/m", per_recipient="9/d", in_flight=9)
        house = House(served(answer, limits=limits), site=limited(budget="9/d"))
        await house.send()
        assert house.usage() == {
            "rate": {"limit": "9/m", "used": used, "waiting": 0},
            "in_flight": {"limit": 9, "used": 0},
            "per_recipient": {"limit": "9/d", "numbers": used},
            "budget": {"limit": "9/d", "used": used},
        }
        assert house.usage(SITE) == {"budget": {"limit": "9/d", "used": used}}

    virtual_time.run(main())


def test_retries_of_one_send_count_once() -> None:
    """Three attempts are one message."""

    async def main() -> None:
        one = replace(served(BUSY, BUSY, ACCEPTED, limits=limited(budget="9/d")), retry=Retry(attempts=3, wait_s=0.001))
        house = House(one)
        outcome = await house.send()
        assert (outcome.kind, outcome.attempts) == (Kind.ACCEPTED, 3)
        assert house.usage()["budget"]["used"] == 1

    virtual_time.run(main())


def test_a_refusal_counts_for_nothing() -> None:
    """What one limit refuses takes nothing of the others, and is told once."""

    async def main() -> None:
        house = House(
            served(limits=limited(per_recipient="1/d", budget="5/d")), site=limited(per_recipient="1/d", budget="9/d")
        )
        assert kinds(await sent_in_a_row(house, 4)) == "aLLL"
        assert house.usage()["budget"]["used"] == 1
        assert house.usage(SITE)["budget"]["used"] == 1
        assert sum(house.limiter.refused.values()) == 3

    virtual_time.run(main())


def test_the_limits_of_smsgwd_yaml_are_on_all_gateways_together() -> None:
    """A number gets its share whatever gateway is used; the refusal stands beside the gateway that it was for."""

    async def main() -> None:
        house = House(served(name="a"), served(name="b"), site=limited(per_recipient="2/d"))
        outcomes = [await house.send(name=name) for name in ("a", "b", "a", "b")]
        assert kinds(outcomes) == "aaLL"
        assert "smsgwd.yaml" in outcomes[2].detail
        assert house.limiter.refused == {("a", "per_recipient"): 1, ("b", "per_recipient"): 1}
        assert house.usage("a") == {}

    virtual_time.run(main())


# --- waiting


def test_two_thousand_at_once_leave_at_their_rate() -> None:
    """In order, at the rate and not slower; who could not leave before its deadline is told at once when it could."""

    async def main() -> None:
        house = House(served(limits=limited(rate="30/s")))
        times = Times(house)
        outcomes = await times.all(2000)
        assert Counter(kinds(outcomes)) == {"a": 840, "L": 1160}  # of thirty seconds two are left for sending
        assert [index for index, _ in times.left] == list(range(840))
        assert all(int(at + 1e-6) == index // 30 for index, at in times.left)
        for index, (_, at) in enumerate(times.left[30:]):
            assert at - times.left[index][1] >= 1.0  # no second sees more than thirty
        refused = outcomes[840:]
        assert {one.elapsed_s < 20 for one in refused} == {True}
        assert {round(one.retry_after_s or 0) for one in refused} == {28}
        assert house.limiter.refused == {("g", "rate"): 1160}

    virtual_time.run(main())


def test_nobody_waits_beyond_the_deadline() -> None:
    """The caller's own deadline counts; a refusal comes at once, and later calls do not find their place taken."""

    async def main() -> None:
        times = Times(House(served(limits=limited(rate="2/10s"))))
        outcomes = await asyncio.gather(
            *(times.send(index) for index in range(4)),
            times.send(4, deadline_s=5.0),
            times.send(5, deadline_s=25.0),
        )
        assert kinds(outcomes) == "aaaaLa"
        assert [(index, round(at)) for index, at in times.left] == [(0, 0), (1, 0), (2, 10), (3, 10), (5, 20)]
        assert round(outcomes[4].retry_after_s or 0) == 20

    virtual_time.run(main())


def test_a_long_message_borrows() -> None:
    """A message of more segments than the rate leaves when nothing else counts, and those after it pay for it."""

    async def main() -> None:
        times = Times(House(served(limits=limited(rate="2/s"))))
        outcomes = await asyncio.gather(times.send(0), times.send(1, text="x" * 700), times.send(2))
        assert kinds(outcomes) == "aaa"
        assert outcomes[1].segments == 5
        assert [(index, round(at)) for index, at in times.left] == [(0, 0), (1, 1), (2, 3)]

    virtual_time.run(main())


def test_what_is_given_back_lets_the_next_go_on() -> None:
    """While a provider refuses, those who wait come up as fast as it does so."""

    async def main() -> None:
        one = served(*[BUSY] * 5, *[ACCEPTED] * 5, limits=limited(rate="1/10s"))
        times = Times(House(one))
        outcomes = await asyncio.gather(*(times.send(index) for index in range(3)))
        assert kinds(outcomes) == "uuu"
        assert asyncio.get_running_loop().time() - times.started < 1

    virtual_time.run(main())


def test_no_more_run_at_once_than_may() -> None:
    """Further sends wait for a place, in order; where none gets free before the deadline they are refused."""

    async def main() -> None:
        one = served(limits=limited(in_flight=2))
        house, gate, running, most = House(one), asyncio.Event(), 0, 0

        class Slow(Scripted):
            async def submit(self, *arguments: Any) -> Any:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await gate.wait()
                await asyncio.sleep(1)
                running -= 1
                return await super().submit(*arguments)

        house.registry = registry(replace(one, provider=Slow(iter(repeat(ACCEPTED)))))
        times = Times(house)
        sends = [asyncio.create_task(times.send(index)) for index in range(10)]
        await asyncio.sleep(1)
        impatient = await times.send(10, deadline_s=2.0)
        assert (impatient.reason, impatient.http_status) == (Reason.LIMIT, 429)
        assert "`in_flight: 2` of `g`" in impatient.detail
        assert house.usage() == {"in_flight": {"limit": 2, "used": 2}}
        gate.set()
        assert kinds(await asyncio.gather(*sends)) == "a" * 10
        assert [index for index, _ in times.left] == list(range(10))
        assert most == 2
        assert house.usage() == {"in_flight": {"limit": 2, "used": 0}}
        assert house.limiter.refused == {("g", "in_flight"): 1}

    virtual_time.run(main())


def test_who_waits_for_one_gateway_is_in_nobody_elses_way() -> None:
    """A slow gateway does not hold up what smsgwd.yaml lets pass to another."""

    async def main() -> None:
        slow, fast = served(name="slow", limits=limited(rate="1/10s")), served(name="fast")
        times = Times(House(slow, fast, site=limited(rate="2/s")))
        waiting = [asyncio.create_task(times.send(index, name="slow")) for index in range(3)]
        await asyncio.sleep(0)
        assert kinds(await asyncio.gather(*(times.send(index, name="fast") for index in range(10, 14)))) == "aaaa"
        assert [index for index, at in times.left if at < 3] == [0, 10, 11, 12, 13]
        assert kinds(await asyncio.gather(*waiting)) == "aaa"

    virtual_time.run(main())


def test_all_limits_hold_at_the_moment_when_a_message_leaves() -> None:
    """With several limits together, of both files, no window of any of them sees too much."""

    async def main() -> None:
        limits = limited(rate="5/s", per_recipient="1/3s", budget="60/30s")
        times = Times(House(served(limits=limits), site=limited(rate="40/10s")))
        await times.all(300)
        left_at = [at for _, at in times.left]
        assert len(left_at) >= 60
        for count, window_s in ((5, 1.0), (60, 30.0), (40, 10.0)):
            assert all(later - at >= window_s for at, later in zip(left_at, left_at[count:], strict=False))

    virtual_time.run(main())


def test_a_message_that_waits_is_counted_already() -> None:
    """Ten at once to one number are five messages, also when they wait for something else first."""

    async def main() -> None:
        house = House(served(limits=limited(rate="1/s", per_recipient="5/s")))
        outcomes = await asyncio.gather(*(house.send() for _ in range(10)))
        assert kinds(outcomes) == "aaaaaLLLLL"

    virtual_time.run(main())


def test_a_send_that_is_cancelled_takes_no_place() -> None:
    """Who goes while waiting leaves no trace; who goes when the message may have left stays counted."""

    async def main() -> None:
        house = House(served(ACCEPTED, None, ACCEPTED, limits=limited(rate="1/10s", budget="9/d", in_flight=1)))
        await house.send()
        waiting = asyncio.create_task(house.send())
        await asyncio.sleep(1)
        assert house.usage()["rate"]["waiting"] == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (house.usage()["budget"]["used"], house.usage()["rate"]["waiting"]) == (1, 0)
        silent = asyncio.create_task(house.send())
        await asyncio.sleep(15)
        silent.cancel()
        await asyncio.gather(silent, return_exceptions=True)
        assert (house.usage()["budget"]["used"], house.usage()["in_flight"]["used"]) == (2, 0)

    virtual_time.run(main())


@pytest.mark.parametrize("names", ["ab", "abf"])
@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_keeps_all_limits(names: str, seed: int) -> None:
    """Messages of all lengths, deadlines and callers, by a failover and without, refused, given back: limits are exact.

    But that smsgwd.yaml and a failover count a message when it leaves for the first member, not again for the next.
    """

    async def main() -> None:
        chance, loop = random.Random(seed), asyncio.get_running_loop()
        own, site = limited(rate="5/s", in_flight=4, budget="150/20s"), limited(rate="40/5s", in_flight=7)
        providers = {name: Busy(seed) for name in "ab"}
        members = [replace(served(name=name, limits=own), provider=one) for name, one in providers.items()]
        house = House(failover("a", "b", limits=limited(rate="30/5s")), *members, site=site)

        async def one() -> Outcome:
            await asyncio.sleep(chance.uniform(0, 30))
            text = "x" * chance.choice([5, 5, 5, 300, 1200])
            caller = Caller(chance.choice([1, 1, 1, 2, 3]))
            deadline_s = chance.choice([1.0, 5.0, 30.0])
            return await house.send(text=text, name=chance.choice(names), deadline_s=deadline_s, caller=caller)

        outcomes = await asyncio.gather(*(one() for _ in range(400)))
        assert {one.kind for one in outcomes} == {Kind.ACCEPTED, Kind.UNSENT, Kind.UNKNOWN}
        assert loop.time() < 1000 + 30 + 30 + 31
        for provider in providers.values():
            assert provider.most <= 4
            check_window(provider.taken, parse_pace("5/s"), 8)
            check_window(provider.taken, parse_pace("150/20s"), 0)
        if "f" not in names:
            check_window(providers["a"].taken + providers["b"].taken, parse_pace("40/5s"), 0)
        for name in (*names, SITE):
            usage = house.usage(name)
            assert (usage.get("in_flight", {}).get("used", 0), usage["rate"]["waiting"]) == (0, 0)
        await asyncio.sleep(30)
        assert {house.usage(name)["rate"]["used"] for name in (*names, SITE)} == {0}

    virtual_time.run(main())


def test_real_time_passes_as_made_time_does() -> None:
    """Against the real clock: thirty at twenty a second take one second, and no more."""

    async def main() -> None:
        one, loop = served(limits=limited(rate="20/s")), asyncio.get_running_loop()
        left_at: list[float] = []

        class Noting(Scripted):
            async def submit(self, *arguments: Any) -> Any:
                left_at.append(loop.time() - started)
                return await super().submit(*arguments)

        house = House(replace(one, provider=Noting(iter(repeat(ACCEPTED)))))
        started = loop.time()
        assert kinds(await asyncio.gather(*(house.send() for _ in range(30)))) == "a" * 30
        assert left_at[19] < 0.9
        assert all(later - at >= 1.0 for at, later in zip(left_at, left_at[20:], strict=False))
        assert left_at[-1] < 1.9

    asyncio.run(main())


# --- failovers


def test_a_member_that_is_over_its_limit_is_passed_over() -> None:
    """The failover goes on to the next member at once."""

    async def main() -> None:
        house = House(
            failover("a", "b"),
            served(name="a", limits=limited(budget="1/d")),
            served(name="b", limits=limited(rate="9/s")),
        )
        outcomes = await sent_in_a_row(house, 3, name="f")
        assert [one.gateway for one in outcomes] == ["a", "b", "b"]
        assert [(one.gateway, one.reason) for one in outcomes[1].tried] == [("a", Reason.LIMIT)]

    virtual_time.run(main())


def test_the_limits_of_a_failover_are_not_gone_around() -> None:
    """What its own limits refuse is refused, whatever members there are, and counted once."""

    async def main() -> None:
        a, b = served(name="a"), served(name="b")
        house = House(failover("a", "b", limits=limited(per_recipient="1/d")), a, b)
        outcomes = await sent_in_a_row(house, 2, name="f")
        assert kinds(outcomes) == "aL"
        assert (outcomes[1].via, outcomes[1].tried) == ("f", ())
        assert (submitted(a), submitted(b)) == (1, 0)
        assert house.limiter.refused == {("f", "per_recipient"): 1}

    virtual_time.run(main())


def test_a_message_counts_once_for_its_failover() -> None:
    """However many members it comes to; a member that did not take it gets its own share back."""

    async def main() -> None:
        limits = limited(budget="9/d", in_flight=1)
        a, b = served(BUSY, name="a", limits=limits), served(name="b", limits=limits)
        house = House(failover("a", "b", limits=limits), a, b, site=limits)
        assert (await house.send(name="f")).gateway == "b"
        used = {name: house.usage(name)["budget"]["used"] for name in ("f", "a", "b", SITE)}
        assert used == {"f": 1, "a": 0, "b": 1, SITE: 1}
        assert {house.usage(name)["in_flight"]["used"] for name in used} == {0}

    virtual_time.run(main())


def test_a_failover_waits_for_its_own_rate_as_long_as_the_message_may() -> None:
    """The share of the time that a member has does not cut the wait for the failover's own limit short."""

    async def main() -> None:
        a, b = served(name="a"), served(name="b")
        times = Times(House(failover("a", "b", limits=limited(rate="1/20s")), a, b))
        outcomes = await times.all(2, name="f")
        assert [(one.kind, one.gateway) for one in outcomes] == [(Kind.ACCEPTED, "a")] * 2
        assert [round(at) for _, at in times.left] == [0, 20]

    virtual_time.run(main())


# --- reloads


def test_counts_survive_a_reload() -> None:
    """A new version of a gateway goes on with what was counted, also under a changed limit."""

    async def main() -> None:
        house = House(served(limits=limited(budget="3/d")))
        assert kinds(await sent_in_a_row(house, 4)) == "aaaL"
        for generation, (budget, answers) in enumerate([("4/d", "aL"), ("2/d", "L"), ("6/d", "aaL")], 2):
            house.registry = registry(served(limits=limited(budget=budget)), generation=generation)
            house.limiter.follow(house.registry)
            assert kinds(await sent_in_a_row(house, len(answers))) == answers

    virtual_time.run(main())


def test_who_waits_goes_by_the_new_limit() -> None:
    """A rate that was raised, or taken away, lets those who wait go at once."""

    async def main() -> None:
        for after in (limited(rate="100/s"), UNLIMITED):
            house = House(served(limits=limited(rate="1/10s")))
            times = Times(house)
            waiting = [asyncio.create_task(times.send(index)) for index in range(3)]
            await asyncio.sleep(1)
            house.registry = registry(served(limits=after), generation=2)
            house.limiter.follow(house.registry)
            assert kinds(await asyncio.gather(*waiting)) == "aaa"
            assert [round(at) for _, at in times.left] == [0, 1, 1]

    virtual_time.run(main())


def test_a_send_on_an_older_version_does_not_bring_its_limit_back() -> None:
    """The limits of the latest configuration hold for all."""

    async def main() -> None:
        house = House(served(limits=limited(budget="1/d")))
        old = house.registry
        house.registry = registry(served(limits=limited(budget="9/d")), generation=2)
        await house.send()
        request = SendRequest("g", NUMBER, text="hi")
        assert kinds([await send(old, request, house.limiter), await house.send()]) == "aa"

    virtual_time.run(main())


def test_a_gateway_that_is_gone_is_forgotten_when_nothing_counts() -> None:
    """Taking a file away and bringing it back does not reset its budget; later its name takes no memory."""

    async def main() -> None:
        one = served(limits=limited(budget="1/d"))
        house = House(one)
        await house.send()
        for count, pause, answers in ((2, 0, "L"), (4, 86_400, "")):
            house.limiter.follow(registry(generation=count))
            await asyncio.sleep(pause)
            house.registry = registry(*([one] if answers else []), generation=count + 1)
            house.limiter.follow(house.registry)
            assert kinds([await house.send() for _ in answers]) == answers
        assert house.limiter._scopes == {}

    virtual_time.run(main())


def test_without_limits_nothing_is_counted() -> None:
    """A gateway without limits costs no memory and no time here."""

    async def main() -> None:
        house = House(served())
        assert kinds(await sent_in_a_row(house, 3)) == "aaa"
        assert house.limiter._scopes == {}
        assert house.usage() == {}

    virtual_time.run(main())
