"""Limits inside access rules: each caller by itself, over all gateways that the rule covers."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import virtual_time
from daemon_process import Running, configuration, daemon
from limited import House, failover, kinds, limited, served, submitted
from other_user import IS_ROOT, Call, become, called
from scripted import ACCEPTED, BUSY, NUMBER
from socket_client import call

from smsgwd.allowance import UNLIMITED, Choice, Limits
from smsgwd.caller import Caller
from smsgwd.compile import compile_site
from smsgwd.errors import MessageError, RequestError
from smsgwd.limits.bounds import caller_name
from smsgwd.limits.limiter import MOST_CALLERS
from smsgwd.limits.scope import Load
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import AccessRule, Entry, ListenSettings, Registry, Served, SiteConfig
from smsgwd.sender import render
from smsgwd.server.access import look_up

ALICE, BOB = Caller(60_001, frozenset({60_001})), Caller(60_002, frozenset({60_002}))
BOTH = (60_001, 60_002)
WHOSE = "of the caller (`access` of smsgwd.yaml)"


def rule(limits: Limits = UNLIMITED, users: tuple[int, ...] = BOTH, **members: Any) -> AccessRule:
    """A rule that lets them send."""
    return AccessRule(users=users, allow=frozenset({"send"}), limits=limits, **members)


class Ruled(House):
    """Gateways, and rules for those who send."""

    def __init__(self, *all_served: Served, rules: tuple[AccessRule, ...], site: Limits = UNLIMITED) -> None:
        super().__init__(*all_served, site=site)
        self.all_served = all_served
        self.site = site
        self.reload(rules)

    def reload(self, rules: tuple[AccessRule, ...]) -> None:
        """Other rules."""
        config = SiteConfig(limits=self.site, access=rules)
        entries = [Entry.of(one.name, one) for one in self.all_served]
        self.registry = Registry.of(entries, config, (), self.registry.generation + 1)
        self.access = look_up(rules)

    async def by(self, caller: Caller, to: str = NUMBER, text: str = "hi", name: str = "g", **members: Any) -> Outcome:
        """One message, allowed as the server allows it."""
        self.access.require(caller, "send", name)
        allowance = self.access.allowance(caller, "send", name)
        return await self.send(to, text, name, caller=caller, allowance=allowance, **members)


async def in_turn(house: Ruled, count: int, caller: Caller = ALICE, **members: Any) -> str:
    """So many messages, one after the other."""
    return kinds([await house.by(caller, **members) for _ in range(count)])


# --- as a file says it

FILE = """\
access:
- users: [alertmanager]
  allow: [send]
  limits:
    rate: 30/s
    countries: {allow: [DE, XX]}
- users: [1001]
  allow: [send]
  limits: {ratee: 3/s, budget: 0/d}
"""


def test_what_is_wrong_in_a_rule_is_found_where_it_stands() -> None:
    """A country that is none, a pace of zero and an unknown key: file, line and column, as in `limits` elsewhere."""
    _, problems = compile_site(load(FILE.encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert [(one.line, one.column, one.code, one.pointer) for one in problems] == [
        (9, 12, "unknown-key", "/access/1/limits/ratee"),
        (9, 32, "bad-value", "/access/1/limits/budget"),
    ]
    sound = FILE.replace("ratee", "rate").replace("0/d", "9/d")
    _, problems = compile_site(load(sound.encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert [(one.line, one.column, one.code, one.pointer) for one in problems] == [
        (6, 29, "unknown-region", "/access/0/limits/countries/allow/1")
    ]
    config, problems = compile_site(load(sound.replace("XX", "AT").encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert problems == ()
    assert config is not None
    assert [one.limits.rate and str(one.limits.rate) for one in config.access] == ["30/s", "3/s"]
    assert config.access[0].limits.countries == Choice(frozenset({"DE", "AT"}))


@pytest.mark.parametrize(
    ("allow", "codes"), [("status, reload", ["unused-limits"]), ("send", []), ("otp_challenge", []), ("otp_verify", [])]
)
def test_limits_on_nothing_are_told(allow: str, codes: list[str]) -> None:
    """A rule that lets nobody send has nothing to be limited."""
    text = f"access:\n- {{users: [a], allow: [{allow}], limits: {{rate: 5/s}}}}\n"
    config, problems = compile_site(load(text.encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert config is not None
    assert [(one.code, str(one.severity)) for one in problems] == [(code, "warning") for code in codes]


def test_a_rule_is_known_by_whom_it_is_for() -> None:
    """Numbers, actions and the order of names may change; users, groups and gateways make it another rule."""
    text = """\
access:
- {users: [a, 7], groups: [x, y], gateways: [p, q], allow: [send], limits: {budget: 1/d}}
- {users: ["7", a], groups: [y, x], gateways: [q, p], allow: [otp_challenge]}
- {users: [a], groups: [x, y], gateways: [p, q], allow: [send]}
- {users: [a, 7], groups: [x], gateways: [p, q], allow: [send]}
- {users: [a, 7], groups: [x, y], gateways: [p], allow: [send]}
"""
    config, _ = compile_site(load(text.encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert config is not None
    keys = [one.key for one in config.access]
    assert len(set(keys)) == 5
    assert [one.partition(".")[2] for one in keys] == ["0", "1", "0", "0", "0"]
    assert keys[0].partition(".")[0] == keys[1].partition(".")[0]
    lines = text.replace("1/d", "2/d").splitlines()
    config, _ = compile_site(load("\n".join([lines[0], *lines[:0:-1]]).encode(), "smsgwd.yaml"), Path(), resolve=True)
    assert config is not None
    assert {one.key for one in config.access} == set(keys)


def test_the_first_rule_that_allows_a_call_counts() -> None:
    """By caller, action and gateway; root and the daemon's own user have no limits, nor has whoever needs no rule."""
    special, general = limited(budget="1/d"), limited(budget="9/d")
    rules = (
        rule(special, users=(60_001,), gateways=("ops-*",)),
        rule(general),
        AccessRule(users=(60_001,), allow=frozenset({"otp_challenge"})),
        AccessRule(users=(60_001,), allow=frozenset({"otp_challenge"}), limits=special, number=1),
    )
    access = look_up(rules)

    def found(caller: Caller, action: str, gateway: str) -> Limits | None:
        allowance = access.allowance(caller, action, gateway)
        assert allowance is None or allowance.caller == caller.name
        return None if allowance is None else allowance.limits

    assert found(ALICE, "send", "ops-one") is special
    assert found(ALICE, "send", "other") is general
    assert found(BOB, "send", "ops-one") is general
    assert found(ALICE, "otp_challenge", "ops-one") is None  # the first that allows it has no limits
    assert found(Caller(0, frozenset()), "send", "ops-one") is None
    assert found(Caller(access.own_uid, frozenset()), "send", "ops-one") is None
    assert look_up(()).allowance(ALICE, "send", "g") is None


def test_the_first_rule_is_the_first_that_allows_this_call() -> None:
    """With `text: false` a rule is passed over by a text; a token is a caller as others are, wherever it comes from."""
    strict, wide = limited(budget="1/d"), limited(budget="9/d")
    rules = (
        AccessRule(users=(60_001,), allow=frozenset({"send"}), text=False, limits=wide),
        AccessRule(users=(60_001, "token:portal"), allow=frozenset({"send"}), limits=strict),
    )
    tcp = ListenSettings("127.0.0.1", 1, allow=frozenset({"send"}))
    access = look_up(rules, {"portal": b""}, [tcp])
    portal = Caller(uid=access.own_uid, token="portal", listener=tcp.address)
    for caller, message, limits in (
        (ALICE, SendRequest("g", NUMBER, template="t"), wide),
        (ALICE, SendRequest("g", NUMBER, text="hi"), strict),
        (portal, SendRequest("g", NUMBER, template="t"), strict),
    ):
        permitted = access.permitted(caller, "send", message)
        assert permitted.caller is caller
        assert permitted.allowance is not None
        assert (permitted.allowance.caller, permitted.allowance.limits) == (caller.name, limits)
    nobody = Caller(address="127.0.0.1", listener=tcp.address)
    assert access.permitted(nobody, "send", SendRequest("g", NUMBER, text="hi")).allowance is None
    with pytest.raises(RequestError):
        access.permitted(BOB, "send", SendRequest("g", NUMBER, text="hi"))


# --- what is counted


def test_each_caller_has_its_own() -> None:
    """What one has used is nothing to the other; it is one count over all gateways of the rule."""

    async def main() -> None:
        house = Ruled(served(), served(name="h"), rules=(rule(limited(budget="3/d", per_recipient="2/d")),))
        assert await in_turn(house, 3) == "aaL"
        assert await in_turn(house, 2, name="h") == "LL"
        assert await in_turn(house, 2, name="h", to="+491701234568") == "aL"
        assert await in_turn(house, 2, caller=BOB, name="h") == "aa"
        refused = await house.by(ALICE, to="+491701234568", name="h")
        assert (refused.kind, refused.reason, refused.http_status) == (Kind.UNSENT, Reason.LIMIT, 429)
        assert refused.detail == f"over `budget: 3/d` {WHOSE}"
        assert refused.retry_after_s == pytest.approx(86_400, abs=1)
        assert house.limiter.refused == {("g", "per_recipient"): 1, ("h", "per_recipient"): 2, ("h", "budget"): 2}
        assert house.usage("g") == house.usage("h") == {}

    virtual_time.run(main())


def test_a_caller_waits_in_its_own_line() -> None:
    """What a caller's own rate holds back is in nobody's way, and no more of its sends run than may."""

    async def main() -> None:
        house = Ruled(
            served(limits=limited(rate="10/s")),
            rules=(rule(limited(rate="1/s", in_flight=1)),),
            site=limited(rate="9/s"),
        )
        began, left = asyncio.get_running_loop().time(), dict[int, float]()

        async def send(caller: Caller, number: int) -> Outcome:
            outcome = await house.by(caller, to=f"+49170{number:07}")
            left[number] = asyncio.get_running_loop().time() - began
            return outcome

        waiting = [asyncio.create_task(send(ALICE, index)) for index in range(10)]
        await asyncio.sleep(0)
        assert (await send(BOB, 100)).kind is Kind.ACCEPTED
        assert left[100] < 0.1
        assert kinds(await asyncio.gather(*waiting)) == "a" * 10
        assert [round(left[index]) for index in range(10)] == list(range(10))

    virtual_time.run(main())


def test_countries_and_types_are_the_callers() -> None:
    """A number that this caller may not write to is rejected, and `render` says the same; another caller may."""

    async def main() -> None:
        only = Limits(countries=Choice(frozenset({"AT"})), number_types=Choice(frozenset({"mobile"})))
        house = Ruled(served(), rules=(rule(only, users=(60_001,)), rule()))
        outcome = await house.by(ALICE)
        assert (outcome.kind, outcome.reason) == (Kind.REJECTED, Reason.INVALID_DESTINATION)
        assert outcome.detail == f"`countries` {WHOSE} does not allow this number"
        assert (await house.by(ALICE, to="+43512123456")).reason is Reason.INVALID_DESTINATION
        assert await in_turn(house, 1, to="+436641234567") == "a"
        assert await in_turn(house, 1, caller=BOB) == "a"
        assert house.limiter.refused == {("g", "countries"): 1, ("g", "number_types"): 1}
        allowance = house.access.allowance(ALICE, "send", "g")
        with pytest.raises(MessageError):
            render(house.registry, SendRequest("g", NUMBER, text="hi", allowance=allowance))
        assert render(house.registry, SendRequest("g", "+436641234567", text="hi", allowance=allowance))

    virtual_time.run(main())


@pytest.mark.parametrize("limits", [limited(per_recipient="1/d"), Limits(countries=Choice(frozenset({"AT"})))])
def test_a_failover_is_no_way_around(limits: Limits) -> None:
    """What the caller's limits refuse no other member may send, whatever the failover goes on after; it counts once."""

    async def main() -> None:
        a, b = served(BUSY, ACCEPTED, name="a"), served(name="b")
        on = frozenset({Kind.UNSENT, Kind.REJECTED})
        house = Ruled(failover("a", "b", on=on), a, b, rules=(rule(limits),))
        outcomes = [await house.by(ALICE, name="f") for _ in range(2)]
        if limits.countries is None:
            assert [one.gateway for one in outcomes] == ["b", "a"]
            assert outcomes[0].kind is Kind.ACCEPTED
        assert outcomes[1].tried == ()
        assert (outcomes[1].via, submitted(a), submitted(b)) == ("f", *((1, 1) if limits.countries is None else (0, 0)))

    virtual_time.run(main())


def test_what_ended_unsent_is_given_back() -> None:
    """What nobody took counts for nothing; a place is free again."""

    async def main() -> None:
        one = served(BUSY, BUSY, ACCEPTED, ACCEPTED)
        house = Ruled(one, rules=(rule(limited(budget="1/d", in_flight=1, per_recipient="1/d", rate="1/d")),))
        assert await in_turn(house, 4) == "uuaL"

    virtual_time.run(main())


def test_two_rules_of_one_caller_are_two_counts() -> None:
    """One for some gateways, another for the rest."""

    async def main() -> None:
        rules = (rule(limited(budget="1/d"), gateways=("g",)), rule(limited(budget="2/d")))
        house = Ruled(served(), served(name="h"), rules=rules)
        assert await in_turn(house, 2) == "aL"
        assert await in_turn(house, 3, name="h") == "aaL"

    virtual_time.run(main())


# --- reloads, and what is kept


def test_counts_survive_a_reload() -> None:
    """A changed number goes on with what was counted, in another place of the file too; other users start anew."""

    async def main() -> None:
        other = rule(users=(60_009,))
        house = Ruled(served(), rules=(rule(limited(budget="2/d")),))
        assert await in_turn(house, 3) == "aaL"
        steps = (
            ((rule(limited(budget="3/d")),), "aL"),
            ((other, rule(limited(budget="5/d"), users=BOTH[::-1])), "aaL"),
            ((rule(limited(budget="4/d")), other), "L"),
            ((rule(limited(budget="9/d"), users=(60_001,)),), "a" * 9 + "L"),
            ((rule(),), "aaa"),
            ((rule(limited(budget="4/d")),), "aaaaL"),  # one that was taken away is forgotten
        )
        for rules, answers in steps:
            house.reload(rules)
            house.limiter.follow(house.registry)
            assert await in_turn(house, len(answers)) == answers

    virtual_time.run(main())


def test_a_call_that_was_allowed_before_a_reload_has_its_limits() -> None:
    """Names are looked up after the reload: until then the old rules allow calls, with the numbers of the new ones."""

    async def main() -> None:
        house = Ruled(served(), rules=(rule(limited(budget="1/d")),))
        before = house.access
        house.reload((rule(limited(budget="2/d")),))
        house.access = before
        assert await in_turn(house, 3) == "aaL"
        house.reload(())
        house.access = before
        house.limiter.follow(house.registry)
        assert await in_turn(house, 2) == "LL"

    virtual_time.run(main())


def test_who_waits_goes_by_the_new_limit() -> None:
    """A rate that was raised lets a caller's messages go at once."""

    async def main() -> None:
        house = Ruled(served(), rules=(rule(limited(rate="1/10s")),))
        sends = [asyncio.create_task(house.by(ALICE, to=f"+49170123456{index}")) for index in range(3)]
        await asyncio.sleep(1)
        house.reload((rule(limited(rate="100/s")),))
        house.limiter.follow(house.registry)
        async with asyncio.timeout(0.1):
            assert kinds(await asyncio.gather(*sends)) == "aaa"

    virtual_time.run(main())


def test_idle_callers_are_forgotten() -> None:
    """A caller of whom nothing counts any more takes no memory: as others come, and at a reload."""

    async def main() -> None:
        house = Ruled(served(), rules=(rule(limited(budget="5/m", per_recipient="9/m"), users=tuple(range(7000))),))
        for uid in range(500, 1500):
            assert kinds([await house.by(Caller(uid))]) == "a"
            await asyncio.sleep(1)
        (callers,) = house.limiter._callers.values()
        assert 59 <= len(callers.scopes) <= 61
        assert len(callers._recipients._windows) <= 61
        await asyncio.sleep(60)
        house.limiter.follow(house.registry)
        assert house.limiter._callers == {}

    virtual_time.run(main())


def test_any_number_of_callers_takes_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the most that are kept who called longest ago is forgotten, but nobody whose sends run; told once."""

    async def main() -> None:
        users = tuple(range(1, MOST_CALLERS + 50))
        house = Ruled(served(*[ACCEPTED] * 2, None), rules=(rule(limited(budget="5/d"), users=users),))
        for uid in (2, 3):
            await house.by(Caller(uid))
        running = asyncio.create_task(house.by(Caller(1), deadline_s=20.0))
        await asyncio.sleep(0)
        (callers,) = house.limiter._callers.values()
        callers.scopes.move_to_end(next(name for name in callers.scopes if name.endswith("uid:1")), last=False)
        for uid in users[3:]:
            allowance = house.access.allowance(Caller(uid), "send", "g")
            assert allowance is not None
            name = caller_name(allowance)
            load = Load(name, 1, b"")
            scope = house.limiter.scope(name, allowance.limits, 9)
            scope.leave(scope.enter(load, scope.admit(load))[:0])
        assert len(callers.scopes) == MOST_CALLERS
        oldest = [name.rpartition(":")[2] for name, _ in zip(callers.scopes, range(3), strict=False)]
        assert oldest == ["1", "51", "52"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(main())
    assert [one.getMessage() for one in caplog.records if "callers" in one.getMessage()] == [
        f"access: more than {MOST_CALLERS} callers of one rule at once; the oldest are forgotten early"
    ]


# --- the daemon

SITE = """\
access:
- {users: [60001], gateways: [slow], allow: [send], limits: {rate: 1/s}}
- users: [60001, 60002]
  allow: [send, otp_challenge]
  limits: {budget: BUDGET, countries: {allow: [DE]}}
"""
SEND: Call = ("POST", "/v1/messages", ["console"])
STREAM: Call = ("POST", "/v1/messages", ["console"] * 4)
CHALLENGE: Call = ("POST", "/v1/challenges", ["console"])
BODY = {"gateway": "console", "to": NUMBER, "text": "hi"}


def by(uid: int, running: Running, *calls: Call) -> list[tuple[int, Any]]:
    """What a process of this user is answered; without root it is our own user, who has no limits."""
    return called(become(uid) if IS_ROOT else [], running.path, calls)


def outcomes_of(answer: tuple[int, Any]) -> list[str]:
    """What became of the lines of a stream, in a fixed order."""
    return sorted(json.loads(line)["outcome"] for line in answer[1].splitlines())


def test_real_callers_meet_their_limits(tmp_path: Path) -> None:
    """Messages, lines of a stream and challenges of one user count together; a number may change at a reload."""
    config = configuration(tmp_path, {"smsgwd.yaml": SITE.replace("BUDGET", "5/d")})
    over = 429 if IS_ROOT else 200
    with daemon(config) as running:
        running.ready()
        running.path.parent.chmod(0o711)
        running.path.chmod(0o666)
        assert [status for status, _ in by(60_001, running, SEND, CHALLENGE)] == [200, 200]
        (stream,) = by(60_001, running, STREAM)
        assert outcomes_of(stream) == ["accepted"] * 3 + ["unsent" if IS_ROOT else "accepted"]
        ((status, problem),) = by(60_001, running, SEND)
        assert (status, problem["detail"]) == (over, f"over `budget: 5/d` {WHOSE}" if IS_ROOT else "")
        assert [status for status, _ in by(60_001, running, CHALLENGE)] == [over]
        assert [status for status, _ in by(60_002, running, SEND, SEND)] == [200, 200]
        configuration(config, {"smsgwd.yaml": SITE.replace("BUDGET", "6/d")})
        running.reload()
        assert [status for status, _ in by(60_001, running, SEND, SEND)] == [200, over]
        metrics = asyncio.run(call(running.path, "GET", "/metrics")).body.decode()
        assert ('smsgwd_limited_total{gateway="console",limit="budget"} 4.0' in metrics) == IS_ROOT
        ours = [asyncio.run(call(running.path, "POST", "/v1/messages", BODY)).status for _ in range(3)]
        assert ours == [200] * 3
