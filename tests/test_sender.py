"""From a request to one outcome: what is refused, what is tried again, what callers get to know."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scripted import ACCEPTED, BUSY, NUMBER, Scripted, gateway

from smsgwd.caller import Caller
from smsgwd.errors import MessageError, RequestError, SubmitError
from smsgwd.message import SendRequest
from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import Entry, Gateway, Registry, Retry, SiteConfig, State, TextTemplate, Variable
from smsgwd.secret import Secret
from smsgwd.sender import render, send
from smsgwd.templates import Scope, compile_template


def registry(*gateways: Gateway) -> Registry:
    """A snapshot of these gateways."""
    return Registry.of([Entry(one.name, State.OK, one) for one in gateways], SiteConfig())


def sent(one: Gateway, text: str | None = "hi", **members: Any) -> Outcome:
    """What becomes of one message."""
    request = SendRequest("g", **{"to": NUMBER, "text": text, **members})
    return asyncio.run(send(registry(one), request))


def template(text: str, **variables: Variable) -> TextTemplate:
    """A named template."""
    return TextTemplate(compile_template(text, Scope(frozenset({*variables, "otp"}), {}))[0], variables)


def test_an_outcome_carries_what_the_caller_needs() -> None:
    """Gateway, provider, ids, segments, encoding, reference, attempts and digest are filled in."""
    one = gateway(ACCEPTED)
    outcome = sent(one, "ü" * 200, reference="order-42").as_dict()
    assert outcome.pop("elapsed") >= 0
    assert outcome == {
        "outcome": "accepted", "reason": None, "retry_safe": False, "gateway": "g", "provider": "scripted",
        "message_ids": ["1"], "segments": 2, "encoding": "gsm7", "reference": "order-42", "via": None,
        "attempts": 1, "tried": [], "detail": "", "digest": registry(one).digest,
    }  # fmt: skip


VARIABLES = {"code": Variable(max_length=6, charset="digits"), "name": Variable(charset="gsm7")}
LOGIN = {"login": template("{{ code }} for {{ name }}", **VARIABLES), "otp": template("code {{ otp }}")}


@pytest.mark.parametrize(
    ("request_members", "reason"),
    [
        ({"text": ""}, Reason.CONTENT),
        ({"text": "x" * 10_001}, Reason.CONTENT),
        ({"text": "x" * 307}, Reason.CONTENT),  # over max_segments
        ({"text": "\ud800"}, Reason.CONTENT),
        ({"to": "12"}, Reason.INVALID_DESTINATION),
        ({"to": ""}, Reason.INVALID_DESTINATION),
        ({"to": "0170 1234567"}, Reason.INVALID_DESTINATION),  # no region
        ({"sender": "a name that is far too long"}, Reason.INVALID_SENDER),
        ({"sender": "名前"}, Reason.INVALID_SENDER),
        ({"sender": "1" * 16}, Reason.INVALID_SENDER),
        ({"sender": "+49170 12"}, Reason.INVALID_SENDER),
        ({"text": None, "template": "login", "vars": {"code": "123456"}}, Reason.CONTENT),
        ({"text": None, "template": "login", "vars": {"code": "1234567", "name": "a"}}, Reason.CONTENT),
        ({"text": None, "template": "login", "vars": {"code": "12345x", "name": "a"}}, Reason.CONTENT),
        ({"text": None, "template": "login", "vars": {"code": "١٢٣", "name": "a"}}, Reason.CONTENT),
        ({"text": None, "template": "login", "vars": {"code": "1", "name": "名"}}, Reason.CONTENT),
        ({"text": None, "template": "login", "vars": {"code": "1", "name": "a", "x": "b"}}, Reason.CONTENT),
        ({"text": None, "template": "otp"}, Reason.CONTENT),
    ],
)
def test_what_cannot_be_sent_is_rejected_before_anything_leaves(
    request_members: dict[str, Any], reason: Reason
) -> None:
    """A bad number, text, sender or variable is an outcome with its reason; the provider is not asked."""
    one = gateway(templates=LOGIN, max_segments=2, variables=frozenset(VARIABLES))
    outcome = sent(one, **request_members)
    assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.REJECTED, reason, 0)
    assert outcome.detail
    assert outcome.http_status == 422
    assert outcome.exit_code == 1


def test_a_template_is_rendered_with_its_variables() -> None:
    """A named template sees what the caller gives, and nothing else."""
    one = gateway(templates=LOGIN, variables=frozenset(VARIABLES))
    request = SendRequest("g", NUMBER, template="login", vars={"code": "123456", "name": "Zoé"})
    shown = render(registry(one), request)
    assert shown["text"] == "123456 for Zoé"
    assert (shown["segments"], shown["encoding"], shown["to"]) == (1, "gsm7", NUMBER)


def test_the_name_of_a_variable_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """A caller that swaps name and value finds its code in no log; it is told the names that there are."""
    caplog.set_level(logging.DEBUG)
    one = gateway(templates=LOGIN, variables=frozenset(VARIABLES))
    outcome = sent(one, text=None, template="login", vars={"code": "123456", "name": "Zoé", "987654": "x"})
    assert (outcome.kind, outcome.reason) == (Kind.REJECTED, Reason.CONTENT)
    assert "'code', 'name'" in outcome.detail
    assert "987654" not in f"{outcome} {[vars(record) for record in caplog.records]}"


@pytest.mark.parametrize(
    ("first", "tries"),
    [
        (BUSY, 2),
        (Outcome(Kind.UNSENT, Reason.UNREACHABLE), 2),
        (Outcome(Kind.UNSENT, Reason.TIMEOUT), 2),
        (SubmitError(Reason.UNREACHABLE, "refused", handed_over=False), 2),
        (SubmitError(Reason.UNREACHABLE, "refused", handed_over=False, retryable=False), 1),
        (Outcome(Kind.UNSENT, Reason.AUTH), 1),
        (Outcome(Kind.UNSENT, Reason.CONFIG, retryable=False), 1),
        (Outcome(Kind.UNSENT, Reason.LIMIT), 1),
        (Outcome(Kind.REJECTED, Reason.PROVIDER), 1),
        (Outcome(Kind.UNKNOWN, Reason.PROVIDER), 1),
        (SubmitError(Reason.TIMEOUT, "silence", handed_over=True), 1),
        (KeyError("a surprise"), 1),
    ],
)
def test_only_what_nobody_took_is_tried_again(first: Outcome | Exception, tries: int) -> None:
    """Unreachable, throttled and timed-out before leaving are repeated; never an unknown, never a refusal."""
    outcome = sent(gateway(first, ACCEPTED, retry=Retry(wait_s=0.001)))
    assert outcome.attempts == tries
    assert (outcome.kind is Kind.ACCEPTED) == (tries == 2)
    assert len(outcome.tried) == tries - 1


def test_unknown_is_repeated_only_where_the_gateway_says_so() -> None:
    """`on_unknown: true` is the author's word that a duplicate is better than a loss."""
    silent = SubmitError(Reason.TIMEOUT, "silence", handed_over=True)
    outcome = sent(gateway(silent, ACCEPTED, retry=Retry(wait_s=0.001, on_unknown=True)))
    assert outcome.kind is Kind.ACCEPTED
    assert [(one.kind, one.reason) for one in outcome.tried] == [(Kind.UNKNOWN, Reason.TIMEOUT)]


def test_attempts_end() -> None:
    """After the configured number of attempts the last outcome stands."""
    outcome = sent(gateway(BUSY, BUSY, BUSY, ACCEPTED, retry=Retry(attempts=3, wait_s=0.001)))
    assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.UNSENT, Reason.THROTTLED, 3)


@pytest.mark.parametrize("deadline_s", [0.2, None])
def test_a_wait_beyond_the_deadline_is_not_begun(deadline_s: float | None) -> None:
    """Where the next try would come too late, the caller is told at once, with the time that the provider asked for."""
    one = gateway(replace(BUSY, retry_after_s=60), deadline_s=30 if deadline_s else 0.2)
    outcome = sent(one, deadline_s=deadline_s)
    assert (outcome.kind, outcome.attempts, outcome.retry_after_s) == (Kind.UNSENT, 1, 60)
    assert outcome.elapsed_s < 0.15


def test_the_shorter_deadline_wins() -> None:
    """A caller can ask for less time than the gateway allows, never for more."""
    for own, asked, expected in ((30.0, 5.0, 5.0), (5.0, 30.0, 5.0), (5.0, None, 5.0)):
        one = gateway(ACCEPTED, deadline_s=own)
        sent(one, deadline_s=asked)
        provider = one.provider
        assert isinstance(provider, Scripted)
        assert provider.submitted[0].remaining() == pytest.approx(expected, abs=0.5)


def test_a_provider_that_forgets_the_deadline_is_cut_off() -> None:
    """A submit that never returns ends as unknown/timeout a second after the deadline."""
    outcome = sent(gateway(None, deadline_s=0.05))
    assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.TIMEOUT)
    assert outcome.elapsed_s < 5


@pytest.mark.parametrize(
    ("one", "text", "kind"),
    [(gateway(), "crash", Kind.UNSENT), (gateway(ValueError("crash +491701234567")), "hi", Kind.UNKNOWN)],
)
def test_a_surprise_is_an_outcome_and_its_traceback_tells_nothing(
    one: Gateway, text: str, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is `internal`, unsent before it left, unknown after; the log has the place, no message."""
    outcome = sent(one, text)
    assert (outcome.kind, outcome.reason) == (kind, Reason.INTERNAL)
    assert "Error" in caplog.text
    assert "scripted.py" in caplog.text
    assert "+491701234567" not in caplog.text


def test_what_a_provider_echoes_is_scrubbed() -> None:
    """A provider's words reach the caller without the text, the number and the secrets."""
    quote = "Refused: 'my code is 4711' to 491701234567 with token s3cr3t (4711), error 21211"
    outcome = sent(
        gateway(Outcome(Kind.REJECTED, Reason.PROVIDER, detail="status 400", quote=quote), secrets=(Secret("s3cr3t"),)),
        "my code is 4711",
    )
    assert outcome.detail == "status 400: Refused: '***' to *** with token *** (***), error 21211"


@pytest.mark.parametrize(("debug", "expected"), [(False, False), (True, True)])
def test_only_the_debug_switch_shows_a_message(debug: bool, expected: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Without it no log record holds text or number; with it both and the answer, but no secret."""
    caplog.set_level(logging.DEBUG)
    one = gateway(ACCEPTED, secrets=(Secret("s3cr3t"),))
    snapshot = registry(one)
    log = replace(snapshot.config.log, privacy=not debug, level="debug")
    snapshot = replace(snapshot, config=replace(snapshot.config, log=log))
    asyncio.run(send(snapshot, SendRequest("g", NUMBER, "my code is 471199")))
    everything = " ".join(str(record.__dict__) for record in caplog.records)
    assert ("471199" in everything) is expected
    assert (NUMBER in everything) is expected
    assert ("took it, ***" in everything) is expected
    assert "s3cr3t" not in everything
    assert "+4917*****67" in everything


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (None, "unknown-gateway"),
        (Entry("g", State.REJECTED), "gateway-unavailable"),
        (Entry("g", State.DISABLED, gateway(enabled=False)), "gateway-unavailable"),
    ],
)
def test_a_gateway_that_cannot_send_is_told(entry: Entry | None, code: str) -> None:
    """An unknown, rejected or disabled gateway refuses the request instead of making an outcome of it."""
    snapshot = Registry.of([entry] if entry else [], SiteConfig())
    with pytest.raises(RequestError) as refused:
        asyncio.run(send(snapshot, SendRequest("g", NUMBER, "hi")))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("templates", "name", "detail"),
    [
        (LOGIN, "logon", "the gateway `g` has no template `logon` (known: login, otp)"),
        (LOGIN, "482913", "the gateway `g` has no template of this name (known: login, otp)"),
        ({}, "logon", "the gateway `g` has no template `logon` (it has none)"),
    ],
)
def test_an_unknown_template_is_a_malformed_request(templates: dict[str, TextTemplate], name: str, detail: str) -> None:
    """A template that the gateway does not have is the caller's mistake: those that there are are named."""
    with pytest.raises(RequestError) as refused:
        sent(gateway(templates=templates), None, template=name)
    assert (refused.value.code, refused.value.detail) == ("malformed-request", detail)


@pytest.mark.parametrize("control", ["\x00", "\x08", "\x0b", "\x1b", "\x7f"])
def test_control_characters_are_refused_at_the_door(control: str) -> None:
    """No provider gets what no phone shows; tabs, line and page breaks pass; variables are held to the same."""
    one = gateway(ACCEPTED, ACCEPTED, templates=LOGIN, variables=frozenset(VARIABLES))
    for outcome in (
        sent(one, f"a{control}b"),
        sent(one, None, template="login", vars={"code": "1", "name": f"a{control}"}),
    ):
        assert (outcome.kind, outcome.reason, outcome.attempts) == (Kind.REJECTED, Reason.CONTENT, 0)
        assert "control character" in outcome.detail
    assert sent(one, "a\tb\r\nc\fd").kind is Kind.ACCEPTED


def logged(caplog: pytest.LogCaptureFixture, outcome: Outcome, **members: Any) -> dict[str, Any]:
    """The line of a send, as its members."""
    caplog.set_level(logging.INFO, "smsgwd.send")
    sent(gateway(outcome, phone=PhoneRules(region="DE")), **members)
    return vars(caplog.records[-1])


def test_the_log_finds_a_message_again(caplog: pytest.LogCaptureFixture) -> None:
    """Ids of the provider, the caller's reference and who called stand in the line of a send."""
    accepted = replace(ACCEPTED, message_ids=("SM1", "20241122104711"))
    line = logged(caplog, accepted, text="hi", reference="order-42", caller=Caller(1001))
    assert (line["message_ids"], line["reference"], line["uid"]) == (["SM1", "20241122104711"], "order-42", 1001)
    line = logged(caplog, Outcome(Kind.REJECTED, Reason.PROVIDER), text="hi")
    assert not {"message_ids", "reference", "uid", "tried"} & line.keys()


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("a message", "***"),
        ("482913", "***"),
        ("otp-482913", "***"),
        ("message for you", "***"),
        ("0170 1234567", "***"),
        ("sms-491701234567", "***"),
        ("order\n42", "order\n42"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_word_that_repeats_the_message_is_not_logged(word: str, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reference and ids are hidden where they hold the number, a code, the text or a longer piece of it."""
    accepted = replace(ACCEPTED, message_ids=(word,))
    text = "a message" if word == "a message" else "a message for you: 482913"
    line = logged(caplog, accepted, to="0170 1234567", text=text, reference=word)
    assert (line["message_ids"], line["reference"]) == ([shown], shown)


@pytest.mark.parametrize(
    ("to", "shown"), [("0170 1234567", "+4917*****67"), ("+49 170-1234567", "+4917*****67"), ("12", "*****")]
)
def test_a_number_is_masked_by_its_international_form(to: str, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """However it was written, where it can be read."""
    assert logged(caplog, ACCEPTED, to=to)["to"] == shown


def test_a_disabled_gateway_renders() -> None:
    """`enabled: false` is renderable and never sends; a rendered message that cannot be sent is told."""
    snapshot = registry(gateway(enabled=False))
    assert render(snapshot, SendRequest("g", NUMBER, "hi"))["request"] == {"text": "hi"}
    with pytest.raises(MessageError):
        render(snapshot, SendRequest("g", "12", "hi"))


def test_a_version_is_idle_after_its_last_send() -> None:
    """Closing an old version waits for the sends that run on it."""

    async def scenario(wait: Callable[[float], Any] = asyncio.sleep) -> list[str]:
        one, order = gateway(ACCEPTED), list[str]()

        async def slow() -> None:
            with one.usage, one.usage:
                await wait(0.01)
                order.append("sent")

        task = asyncio.create_task(slow())
        await wait(0)
        await one.usage.idle()
        order.append("idle")
        await task
        await one.usage.idle()
        return order

    assert asyncio.run(scenario()) == ["sent", "idle"]
