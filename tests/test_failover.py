"""A choice among gateways: which one a number takes, when the next is tried, and what callers get to know."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import ACCEPTED, BUSY, NUMBER, Scripted, gateway

from smsgwd.compile import compile_gateway
from smsgwd.errors import MessageError, Problem, Severity
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers._base import Site
from smsgwd.registry import (
    FAULTS_TO_REST,
    REST_S,
    Breaker,
    Entry,
    Failover,
    Gateway,
    Reference,
    Registry,
    Retry,
    Route,
    Served,
    SiteConfig,
)
from smsgwd.sender import render, send

ONCE = Retry(attempts=1)
DEAD = Outcome(Kind.UNSENT, Reason.UNREACHABLE, attempts=1)
REFUSED = Outcome(Kind.REJECTED, Reason.PROVIDER)
LOST = Outcome(Kind.UNKNOWN, Reason.TIMEOUT)


def failover(*gateways: str, name: str = "f", **members: Any) -> Failover:
    """A failover among these gateways, which reads German numbers."""
    named = {*gateways, *(one for route in members.get("routes", ()) for one in route.gateways)}
    references = tuple(Reference(one, Problem(f"{name}.yaml", 4, 20, "", "")) for one in sorted(named))
    defaults = {"phone": PhoneRules(region="DE"), "references": references}
    return Failover(name=name, provider_name="failover", gateways=gateways, **{**defaults, **members})


def member(name: str, *script: Outcome | Exception | None, **members: Any) -> Gateway:
    """A gateway that tries once, with German numbers."""
    return gateway(*script, name=name, retry=ONCE, **{"phone": PhoneRules(region="DE"), **members})


def registry(*served: Served) -> Registry:
    """A snapshot of these."""
    return Registry.of([Entry.of(one.name, one) for one in served], SiteConfig())


def sent(*served: Served, to: str = NUMBER, name: str = "f", **members: Any) -> Outcome:
    """What becomes of one message through `f`."""
    return asyncio.run(send(registry(*served), SendRequest(name, to, text="hi", **members)))


def tried(outcome: Outcome) -> list[tuple[str, Kind]]:
    """The earlier attempts."""
    return [(one.gateway, one.kind) for one in outcome.tried]


@pytest.mark.parametrize(
    ("first", "on", "taken_by"),
    [
        (ACCEPTED, None, "a"),
        (DEAD, None, "b"),
        (BUSY, None, "b"),
        (Outcome(Kind.UNSENT, Reason.AUTH, retryable=False), None, "b"),
        (Outcome(Kind.UNSENT, Reason.CONFIG, retryable=False), None, "b"),
        (REFUSED, None, None),
        (LOST, None, None),
        (ValueError("a surprise"), None, None),
        (REFUSED, {Kind.UNSENT, Kind.REJECTED}, "b"),
        (LOST, {Kind.UNSENT, Kind.UNKNOWN}, "b"),
        (DEAD, {Kind.REJECTED}, None),
    ],
)
def test_the_next_is_tried_only_after_an_outcome_of_on(
    first: Outcome | Exception, on: set[Kind] | None, taken_by: str | None
) -> None:
    """By default after `unsent` alone, refused credentials and wrong URLs included; never after `unknown` unasked."""
    chosen = failover("a", "b") if on is None else failover("a", "b", on=frozenset(on))
    outcome = sent(chosen, member("a", first), member("b", ACCEPTED))
    assert outcome.via == "f"
    assert outcome.gateway == (taken_by or "a")
    assert (outcome.kind is Kind.ACCEPTED) == (taken_by is not None)
    assert outcome.attempts == (2 if taken_by == "b" else 1)
    assert [name for name, _ in tried(outcome)] == (["a"] if taken_by == "b" else [])


def test_each_attempt_is_listed() -> None:
    """`tried` has the members' own retries and the members, in order; the last outcome is the answer."""
    a = member("a", BUSY, DEAD)
    a = replace(a, retry=Retry(attempts=2, wait_s=0.001))
    outcome = sent(failover("a", "b", "c"), a, member("b", DEAD), member("c", BUSY))
    assert tried(outcome) == [("a", Kind.UNSENT), ("a", Kind.UNSENT), ("b", Kind.UNSENT)]
    assert (outcome.gateway, outcome.kind, outcome.reason) == ("c", Kind.UNSENT, Reason.THROTTLED)
    assert outcome.attempts == 4


def test_an_unknown_is_not_hidden_by_a_later_unsent() -> None:
    """Where someone may have the message, the caller is not told that again is safe."""
    outcome = sent(failover("a", "b", on=frozenset({Kind.UNKNOWN})), member("a", LOST), member("b", DEAD))
    assert (outcome.gateway, outcome.kind) == ("a", Kind.UNKNOWN)
    assert not outcome.retry_safe
    assert tried(outcome) == [("b", Kind.UNSENT)]


ROUTES = (
    Route(("de",), prefix="+49"),
    Route(("dach",), countries=frozenset({"AT", "CH"})),
    Route(("ca",), prefix="+1", countries=frozenset({"CA"})),
)


@pytest.mark.parametrize(
    ("to", "taken_by"),
    [
        ("+491701234567", "de"),
        ("0170 1234567", "de"),
        ("+436641234567", "dach"),
        ("+41791234567", "dach"),
        ("+14165550123", "ca"),
        ("+12125550123", "rest"),
        ("+33612345678", "rest"),
    ],
)
def test_the_first_route_that_takes_the_number_is_used(to: str, taken_by: str) -> None:
    """Routes compare the number internationally, however it was written; what none takes goes to `gateways`."""
    members = [member(name, ACCEPTED) for name in ("de", "dach", "ca", "rest")]
    assert sent(failover("rest", routes=ROUTES), *members, to=to).gateway == taken_by


def test_a_number_without_a_route_is_rejected() -> None:
    """Without `gateways` a number that no route takes has no way out."""
    outcome = sent(failover(routes=ROUTES), member("de"), to="+33612345678")
    assert (outcome.kind, outcome.reason, outcome.gateway) == (Kind.REJECTED, Reason.INVALID_DESTINATION, "f")


def test_members_keep_their_own_rules() -> None:
    """Number format, sender and max_segments are the member's; text, deadline and `via` the failover's."""
    a = member("a", ACCEPTED, ACCEPTED, phone=PhoneRules(region="DE", format="international"), sender="MEMBER")
    shown = render(registry(failover("a", sender="FALL"), a), SendRequest("f", "0170 1234567", text="hi"))
    assert (shown["gateway"], shown["via"], shown["to"]) == ("a", "f", "00491701234567")
    short = member("a", max_segments=1)
    request = SendRequest("f", NUMBER, text="x" * 200)
    assert asyncio.run(send(registry(failover("a"), short), request)).reason is Reason.CONTENT
    provider = a.provider
    assert isinstance(provider, Scripted)
    sent(failover("a", sender="FALL", deadline_s=2.0), a)
    assert provider.submitted[0].remaining() <= 2.0
    sent(failover("a"), a, sender="CALLER")
    assert [one.sender for one in provider.rendered] == ["MEMBER", "MEMBER", "CALLER"]


def test_each_member_has_its_share_of_the_time_to_leave() -> None:
    """A member neither waits nor tries again until nothing is left for the next; what has left may take all of it."""
    a, b = member("a", *[DEAD] * 9), member("b", ACCEPTED)
    a = replace(a, retry=Retry(attempts=9, wait_s=0.2))
    outcome = sent(failover("a", "b", deadline_s=1.0), a, b)
    assert (outcome.kind, outcome.gateway) == (Kind.ACCEPTED, "b")
    for provider, share_s in ((a.provider, 0.5), (b.provider, 1.0)):
        assert isinstance(provider, Scripted)
        begun = provider.submitted[0]
        assert begun.to_leave.at == pytest.approx(provider.submitted[0].at - 1.0 + share_s, abs=0.1)
    assert outcome.elapsed_s < 0.9


def test_members_that_cannot_send_are_passed_over_and_told() -> None:
    """A member that is gone, disabled or rejected is skipped, and stands in the failover's problems."""
    chosen = failover("gone", "off", "broken", "ok")
    off, ok = member("off", enabled=False), member("ok", ACCEPTED)
    entries = [*(Entry.of(one.name, one) for one in (chosen, off, ok)), Entry.of("broken", None)]
    snapshot = Registry.of(entries, SiteConfig())
    outcome = asyncio.run(send(snapshot, SendRequest("f", NUMBER, text="hi")))
    assert (outcome.gateway, outcome.kind) == ("ok", Kind.ACCEPTED)
    found = snapshot.entries["f"].problems
    assert [(one.code, str(one.severity), one.line) for one in found] == [
        ("unavailable-gateway", "warning", 4),
        ("unknown-gateway", "error", 4),
        ("unavailable-gateway", "warning", 4),
    ]


def test_nobody_left_is_unsent() -> None:
    """Where no member can send, nothing has left."""
    outcome = sent(failover("off"), member("off", enabled=False))
    assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.UNSENT, Reason.CONFIG, 0)


def test_failovers_may_name_failovers_but_not_themselves() -> None:
    """A chain works; a cycle is a finding, and a send does not run in it."""
    chain: list[Served] = [
        failover("g", name="f"),
        failover("a", "b", name="g"),
        member("a", DEAD),
        member("b", ACCEPTED),
    ]
    assert sent(*chain).gateway == "b"
    cycle = registry(failover("g", name="f"), failover("f", "a", name="g"), member("a", ACCEPTED))
    assert {one.code for one in cycle.problems} == {"failover-cycle"}
    assert asyncio.run(send(cycle, SendRequest("f", NUMBER, text="hi"))).gateway == "a"


def test_a_member_is_not_closed_before_its_turn() -> None:
    """A send keeps the versions that it began with, also those of members that it has not come to yet."""

    async def main() -> None:
        a, b = member("a", BUSY), member("b", ACCEPTED)
        a = replace(a, retry=Retry(attempts=2, wait_s=0.05))
        task = asyncio.create_task(send(registry(failover("a", "b"), a, b), SendRequest("f", NUMBER, text="hi")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(b.usage.idle())
        await asyncio.sleep(0)
        assert (b.usage.in_flight, closing.done()) == (0, False)
        await task
        await closing

    asyncio.run(main())


def test_a_gateway_that_fails_often_rests() -> None:
    """After five faults in a row it is passed over, then probed by one; success closes it again."""
    breaker = Breaker()
    for _ in range(FAULTS_TO_REST):
        assert breaker.admits(0.0)
        breaker.note(DEAD, now=0.0)
    assert breaker.state == "open"
    assert not breaker.admits(REST_S - 1)
    assert breaker.admits(REST_S)
    assert (breaker.state, breaker.admits(REST_S)) == ("half-open", False)
    breaker.note(BUSY, now=REST_S, asked=False)  # a send that named the gateway itself is not the probe
    assert not breaker.admits(REST_S)
    breaker.note(DEAD, now=REST_S)
    assert not breaker.admits(2 * REST_S - 1)
    assert breaker.admits(2 * REST_S)
    breaker.note(replace(ACCEPTED, attempts=1), now=2 * REST_S)
    assert (breaker.state, breaker.admits(2 * REST_S), breaker.admits(2 * REST_S)) == ("closed", True, True)


@pytest.mark.parametrize(
    "outcome",
    [
        replace(REFUSED, attempts=1),
        replace(BUSY, attempts=1),
        Outcome(Kind.UNSENT, Reason.LIMIT, attempts=1),
        Outcome(Kind.REJECTED, Reason.CONTENT),  # by us: nothing was tried
    ],
)
def test_what_is_no_fault_of_the_gateway_is_not_counted(outcome: Outcome) -> None:
    """A refused message, throttling and our own limits do not make a gateway rest."""
    breaker = Breaker()
    for _ in range(2 * FAULTS_TO_REST):
        breaker.note(outcome, now=0.0)
    assert breaker.state == "closed"


def test_a_resting_member_is_passed_over_and_shown() -> None:
    """The failover goes straight to the next; the gateway's status says `open`; where all rest, one is tried."""
    a, b = member("a", *[DEAD] * FAULTS_TO_REST, ACCEPTED), member("b", *[ACCEPTED] * 6)
    outcomes = [sent(failover("a", "b"), a, b) for _ in range(FAULTS_TO_REST + 1)]
    assert [len(one.tried) for one in outcomes] == [1] * FAULTS_TO_REST + [0]
    assert a.status() == {"breaker": "open"}
    assert sent(failover("a"), a).kind is Kind.ACCEPTED
    assert a.status() == {}


def test_the_log_names_the_members_that_were_tried(caplog: pytest.LogCaptureFixture) -> None:
    """The line of a send says which gateways came before the one that took it, and with what end; only then."""
    caplog.set_level(logging.INFO, "smsgwd.send")
    for script in ([DEAD], [ACCEPTED]):
        sent(failover("a", "b"), member("a", *script), member("b", ACCEPTED))
    first, second = (vars(record) for record in caplog.records)
    assert first["tried"] == [{"gateway": "a", "outcome": "unsent", "reason": "unreachable"}]
    assert "tried" not in second


def test_the_log_says_when_a_breaker_opens_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    """One warning when a gateway has failed too often, one line when it works again, nothing for the faults between."""
    caplog.set_level(logging.INFO, "smsgwd.send")
    a = member("a", *[DEAD] * (FAULTS_TO_REST + 2), ACCEPTED)
    for _ in range(FAULTS_TO_REST + 3):
        sent(a, name="a")
    told = [record for record in caplog.records if record.message.startswith("breaker")]
    assert [(record.levelname, record.message.partition(":")[0]) for record in told] == [
        ("WARNING", "breaker open"),
        ("INFO", "breaker closed"),
    ]
    assert {vars(record)["gateway"] for record in told} == {"a"}


def test_a_failover_without_a_way_is_named_where_another_tried_it() -> None:
    """`tried` names each gateway, also a failover that had nobody to ask."""
    outcome = sent(failover("g", "b", name="f"), failover("off", name="g"), member("b", ACCEPTED))
    assert tried(outcome) == [("g", Kind.UNSENT)]


FILE = """\
provider: failover
description: both
deadline: 5s
phone: {region: DE}
settings:
  routes:
    - {prefix: "+49", gateways: [a]}
    - {country: [AT], gateways: [b, a]}
  gateways: [b]
  on: [unsent, unknown]
templates:
  login: {text: "{{ code }}", vars: {code: {}}}
"""


def test_a_file_becomes_a_failover(tmp_path: Path) -> None:
    """Everything that the file says is taken, and every name has its place."""
    made, problems = compile_gateway("f", load(FILE.encode(), "f.yaml"), Site(tmp_path), resolve=True)
    assert problems == ()
    assert isinstance(made, Failover)
    assert made.routes == (Route(("a",), "+49"), Route(("b", "a"), "", frozenset({"AT"})))
    assert (made.gateways, made.deadline_s) == (("b",), 5.0)
    assert made.on == {Kind.UNSENT, Kind.UNKNOWN}
    places = [(one.name, one.place.line, one.place.column) for one in made.references]
    assert places == [("b", 9, 14), ("a", 7, 34), ("b", 8, 34), ("a", 8, 37)]
    text = render(registry(made, member("a")), SendRequest("f", NUMBER, template="login", vars={"code": "1"}))["text"]
    assert text == "1"


def test_a_rendered_number_without_a_way_is_told(tmp_path: Path) -> None:
    """`render` of a number that no member takes says so."""
    with pytest.raises(MessageError, match="no gateway"):
        render(registry(failover(routes=ROUTES)), SendRequest("f", "+33612345678", text="hi"))


def test_a_disabled_failover_does_not_mind_disabled_members() -> None:
    """The shipped example, off like its members, is without a finding; an unknown member is one all the same."""
    found = registry(failover("a", "x", enabled=False), member("a", enabled=False)).problems
    assert [(one.code, one.severity) for one in found] == [("unknown-gateway", Severity.ERROR)]
