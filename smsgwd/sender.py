"""From a request to exactly one outcome: prepare, try, try again where that is safe."""

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from smsgwd import msisdn, segments
from smsgwd.errors import MessageError, RequestError, SubmitError, unforeseen_text
from smsgwd.limits import BarredError, Bounds, Claim, Limiter, bounds_of, check_destination
from smsgwd.message import Message, SendRequest, control_fault, sender_fault, text_fault
from smsgwd.outcome import Attempt, Kind, Outcome, Reason
from smsgwd.privacy import codes_in, hide_secrets, mask_number, quotable, repeats, scrub
from smsgwd.providers._base import Prepared
from smsgwd.registry import Failover, Gateway, Registry, Served, TextTemplate, Variable
from smsgwd.secret import MASK, Secret
from smsgwd.units import Deadline

log = logging.getLogger("smsgwd.send")

SAMPLE_CODE = "123456"  # of a one-time password, where a message is shown and not sent
_CODE_MARK = "{{ otp }}"
_BACKSTOP_S = 1.0  # a provider keeps the deadline itself; this long after it, it is cut off
_RETRIED = {Reason.UNREACHABLE, Reason.THROTTLED, Reason.TIMEOUT}
_LOGGED = ("gateway", "via", "outcome", "reason", "segments", "attempts", "elapsed", "detail")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MOST_NAMED = 10  # templates
_MOST_LOGGED = 100  # characters of a word that is not ours
_LOGGED_OF_TRIED = ("gateway", "outcome", "reason")


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that could leave now."""

    gateway: Gateway
    message: Message
    prepared: Prepared
    count: segments.Count
    hidden: tuple[Secret, ...] = ()  # a one-time password: as little to be seen as a secret


def _fit(gateway: Gateway, request: SendRequest, bounds: Bounds = ()) -> Ready:
    """A request whose text is rendered, as this gateway sends it inside of these bounds. Raises MessageError."""
    recipient = msisdn.read(request.to, gateway.phone)
    check_destination(recipient, bounds)
    message = Message(
        to=recipient,
        text=request.text or "",
        sender=_sender(request.sender or gateway.sender),
        reference=request.reference or "",
        vars={name: request.vars.get(name, "") for name in gateway.variables},
    )
    prepared = gateway.provider.render(message)
    return Ready(gateway, message, prepared, _count(gateway, prepared), _hidden(request))


def _hidden(request: SendRequest) -> tuple[Secret, ...]:
    return () if request.otp is None else (Secret(request.otp),)


def _with_text(served: Served, request: SendRequest) -> SendRequest:
    """The request with its template rendered, and its code in its place. Raises MessageError, RequestError."""
    if request.template is not None:
        text = _render_template(_template(served, request.template), request)
    else:
        text = (request.text or "") if request.otp is None else _with_code(request.text, request.otp)
    fault = text_fault(text)
    if fault is not None:
        raise MessageError(Reason.CONTENT, f"the text {fault}")
    return replace(request, text=text, template=None)


def _template(served: Served, name: str) -> TextTemplate:
    template = served.templates.get(name)
    if template is None:
        raise _no_template(served, name)
    return template


def _with_code(text: str | None, code: str) -> str:
    """The text with the code where `{{ otp }}` stands, and nothing else filled in; without a text the code alone."""
    if text is None:
        return code
    if _CODE_MARK not in text:
        raise MessageError(Reason.CONTENT, f"the text has no {_CODE_MARK}: nobody would learn the code")
    return text.replace(_CODE_MARK, code)


def sampled(registry: Registry, request: SendRequest) -> SendRequest:
    """The request, to be shown: the template of a challenge gets a code that is none. Raises RequestError."""
    if request.template is None or request.otp is not None:
        return request
    template = registry.renderable(request.gateway).templates.get(request.template)
    return replace(request, otp=SAMPLE_CODE) if template is not None and template.one_time else request


def _no_template(served: Served, name: str) -> RequestError:
    known = ", ".join(list(served.templates)[:_MOST_NAMED])
    hint = f"known: {known}" if known else "it has none"
    return RequestError(
        "malformed-request", f"the gateway `{served.name}` has no template{quotable(name) or ' of this name'} ({hint})"
    )


def _render_template(template: TextTemplate, request: SendRequest) -> str:
    if template.one_time and request.otp is None:
        raise MessageError(Reason.CONTENT, "this template is for one-time passwords: ask for a challenge")
    if request.otp is not None and not template.one_time:
        raise MessageError(Reason.CONTENT, f"the template has no {_CODE_MARK}: nobody would learn the code")
    for name in request.vars:
        if name not in template.variables:
            declared = ", ".join(map(repr, template.variables)) or "none"  # the name given may be the code itself
            raise MessageError(Reason.CONTENT, f"a variable is given that is not the template's; it has {declared}")
    for name, variable in template.variables.items():
        if name not in request.vars:
            raise MessageError(Reason.CONTENT, f"the template's variable {name!r} is missing")
        _check_variable(name, variable, request.vars[name])
    return template.template.render({**request.vars, "otp": request.otp or ""})


def _check_variable(name: str, variable: Variable, value: str) -> None:
    fault = control_fault(value)
    if fault is not None:
        raise MessageError(Reason.CONTENT, f"the variable {name!r} {fault}")
    if variable.max_length is not None and len(value) > variable.max_length:
        raise MessageError(Reason.CONTENT, f"the variable {name!r} is longer than {variable.max_length} characters")
    if variable.charset == "digits" and not (value.isascii() and value.isdigit()):
        raise MessageError(Reason.CONTENT, f"the variable {name!r} may hold digits only")
    if variable.charset == "gsm7" and not segments.is_gsm7(value):
        raise MessageError(Reason.CONTENT, f"the variable {name!r} may hold characters of the GSM alphabet only")


def _sender(sender: str) -> str:
    fault = sender_fault(sender)
    if fault is not None:
        raise MessageError(Reason.INVALID_SENDER, f"the sender is not possible: {fault}")
    return sender


def _count(gateway: Gateway, prepared: Prepared) -> segments.Count:
    try:
        count = prepared.count()
    except segments.EncodingError as error:
        raise MessageError(Reason.CONTENT, str(error)) from None
    if gateway.max_segments is not None and count.segments > gateway.max_segments:
        raise MessageError(
            Reason.CONTENT,
            f"the text needs {count.segments} segments ({count.encoding}), the gateway allows {gateway.max_segments}",
        )
    return count


def render(registry: Registry, request: SendRequest) -> dict[str, Any]:
    """What would be sent, as `smsgwd render --format json` shows it: a send without the submit, secrets as `***`.

    Of a failover, what its first member would send. Raises MessageError, RequestError.
    """
    served = registry.renderable(request.gateway)
    request = _with_text(served, sampled(registry, request))
    gateway, path = _first(registry, served, request.to)
    bounds = bounds_of(registry, gateway, path, allowance=request.allowance)
    gateway = gateway.as_shown()
    ready = _fit(gateway, request, bounds)
    return {
        "gateway": gateway.name,
        "provider": gateway.provider_name,
        **({} if gateway.name == served.name else {"via": served.name}),
        "to": ready.message.phone,
        "text": ready.prepared.text,
        "segments": ready.count.segments,
        "encoding": ready.count.encoding,
        "request": gateway.provider.describe(ready.prepared),
    }


def _first(registry: Registry, served: Served, to: str, path: tuple[str, ...] = ()) -> tuple[Gateway, tuple[str, ...]]:
    """The gateway that is tried first, and the failovers that lead to it."""
    if isinstance(served, Gateway):
        return served, path
    path = (*path, served.name)
    for member in _members(registry, served, to, path):
        return _first(registry, member, to, path)
    raise MessageError(Reason.INVALID_DESTINATION, "no gateway of this failover takes this number")


@dataclass(frozen=True, slots=True)
class _Run:
    """A send on its way, whatever gateways it comes to. The text of its request is rendered."""

    registry: Registry
    request: SendRequest
    claim: Claim


_CUT_SHORT = Outcome(Kind.UNKNOWN, Reason.INTERNAL, attempts=1)  # of a send that was cancelled


async def send(registry: Registry, request: SendRequest, limiter: Limiter | None = None) -> Outcome:
    """Send one message and say what became of it. Without `limiter` there is nothing that it is counted with.

    Raises RequestError only (no such gateway, not available, no such template); all else is an outcome.
    """
    served = registry.sendable(request.gateway)
    started = time.monotonic()
    with ExitStack() as versions:
        for one in registry.reach(served):
            versions.enter_context(one.usage.held())
        deadline = Deadline(started + _deadline_s(served, request))
        worded = _worded(served, request)
        if isinstance(worded, SendRequest):
            request = worded
            caller = "" if request.caller is None else request.caller.name
            claim = Claim(limiter or Limiter(), registry.generation, caller)
            outcome = await _reach(_Run(registry, request, claim), served, deadline, ())
        else:
            outcome = worded
    outcome = replace(
        outcome,
        gateway=outcome.gateway or served.name,
        provider=outcome.provider or served.provider_name,
        via=served.name if isinstance(served, Failover) else None,
        reference=request.reference,
        elapsed_s=time.monotonic() - started,
        digest=registry.digest,
    )
    _log(outcome, request, served)
    return outcome


def _deadline_s(served: Served, request: SendRequest) -> float:
    return served.deadline_s if request.deadline_s is None else min(request.deadline_s, served.deadline_s)


def _worded(served: Served, request: SendRequest) -> SendRequest | Outcome:
    """The request with its text, or why there is none. Raises RequestError."""
    try:
        return _with_text(served, request)
    except MessageError as error:
        return Outcome(Kind.REJECTED, error.reason, detail=error.detail)


async def _reach(run: _Run, served: Served, deadline: Deadline, path: tuple[str, ...]) -> Outcome:
    """Send it by this way; `path` are the failovers that led here."""
    outcome = _CUT_SHORT
    try:
        with served.usage:
            way = (
                _over(run, served, deadline, path) if isinstance(served, Failover) else _by(run, served, deadline, path)
            )
            outcome = await way
    finally:
        run.claim.settle(served.name, outcome)
        if not path:
            run.claim.settle_all(outcome)
    return outcome


async def _by(run: _Run, gateway: Gateway, deadline: Deadline, path: tuple[str, ...]) -> Outcome:
    """Send it by this gateway."""
    started = time.monotonic()
    outcome = _CUT_SHORT
    try:
        outcome = await _through(run, gateway, deadline, path)
    finally:
        _note(gateway, outcome, asked=bool(path))
    elapsed_s = time.monotonic() - started
    return replace(outcome, gateway=gateway.name, provider=gateway.provider_name, elapsed_s=elapsed_s)


def _note(gateway: Gateway, outcome: Outcome, *, asked: bool) -> None:
    """Tell the breaker, and tell whoever reads the log when it opens and closes."""
    was_closed = gateway.breaker.closed
    gateway.breaker.note(outcome, time.monotonic(), asked=asked)
    if gateway.breaker.closed and not was_closed:
        log.info("breaker closed: the gateway works again", extra={"gateway": gateway.name})
    elif was_closed and not gateway.breaker.closed:
        words = f"breaker open: {gateway.breaker.faults} faults in a row; failovers pass the gateway over for a while"
        log.warning(words, extra={"gateway": gateway.name, "outcome": str(outcome.kind), "reason": str(outcome.reason)})


async def _through(run: _Run, gateway: Gateway, deadline: Deadline, path: tuple[str, ...]) -> Outcome:
    show = run.registry.config.log.shows_messages
    request = run.request
    bounds = bounds_of(run.registry, gateway, path, allowance=request.allowance, challenge=request.otp is not None)
    try:
        ready = _fit(gateway, request, bounds)
    except MessageError as error:
        if isinstance(error, BarredError):
            run.claim.refused(gateway, error.name, error.limit)
        return Outcome(Kind.REJECTED, error.reason, detail=error.detail)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw: nothing has left, so it is unsent
        return _internal(Kind.UNSENT, error)
    outcome = await run.claim.take(bounds, ready.message, gateway, ready.count.segments, deadline)
    if outcome is None:
        if show:
            _show_message(gateway, request)
        if deadline.to_leave.passed:  # it has waited for a place among all members: now that it has one, it goes
            deadline = Deadline(deadline.at)
        outcome = await _attempts(ready, deadline, show=show)
    return replace(outcome, segments=ready.count.segments, encoding=ready.count.encoding)


# --- failover -------------------------------------------------------------------------------------------------------


async def _over(run: _Run, failover: Failover, deadline: Deadline, path: tuple[str, ...]) -> Outcome:
    """One member after the other, for as long as the outcome is one after which the next may be tried.

    Each has its share of the time to hand the message over, so that one that cannot be reached leaves some to the next.
    What the limits of the failover itself have refused no other member may send, nor what those of the caller have, or
    of smsgwd.yaml.
    """
    path = (*path, failover.name)
    outcomes: list[Outcome] = []
    resting: list[Gateway] = []
    members = list(_members(run.registry, failover, run.request.to, path))
    for ways, member in zip(range(len(members), 0, -1), members, strict=True):
        if isinstance(member, Gateway) and not member.breaker.admits(time.monotonic()):
            resting.append(member)
            continue
        outcomes.append(await _reach(run, member, deadline.share(ways), path))
        over = deadline.to_leave.passed or run.claim.refused_for_all(path)
        if over or outcomes[-1].kind not in failover.on:
            break
    if not outcomes and resting:  # all have failed often: better one more try than none
        outcomes.append(await _reach(run, resting[0], deadline, path))
    return _combined(outcomes) if outcomes else _nowhere(failover, run.request.to)


def _members(registry: Registry, failover: Failover, to: str, path: tuple[str, ...]) -> Iterator[Served]:
    """The members for this number that can send, in order; those that are not here or led here are passed over."""
    for name in failover.choices(_e164(failover, to)):
        entry = registry.entries.get(name)
        if entry is not None and entry.gateway is not None and entry.gateway.enabled and name not in path:
            yield entry.gateway


def _e164(failover: Failover, to: str) -> str | None:
    """The number as routes compare it; None for what this failover cannot read, though a member may."""
    try:
        return msisdn.read(to, failover.phone).e164
    except MessageError:
        return None


def _nowhere(failover: Failover, to: str) -> Outcome:
    if failover.choices(_e164(failover, to)):
        outcome = Outcome(Kind.UNSENT, Reason.CONFIG, detail="no gateway of this failover can send: see its problems")
    else:
        outcome = Outcome(Kind.REJECTED, Reason.INVALID_DESTINATION, detail="the failover has no route for this number")
    return replace(outcome, gateway=failover.name)


def _combined(outcomes: list[Outcome]) -> Outcome:
    """The last outcome; but that someone may have the message by an earlier one is not hidden by `unsent`."""
    final = outcomes[-1]
    if final.kind is not Kind.ACCEPTED:
        final = next((one for one in outcomes if one.kind is Kind.UNKNOWN), final)
    tried: list[Attempt] = []
    for one in outcomes:
        tried += one.tried
        if one is not final:
            tried.append(Attempt(one.gateway, one.kind, one.reason, one.elapsed_s))
    return replace(final, tried=tuple(tried), attempts=sum(one.attempts for one in outcomes))


# --- one gateway ----------------------------------------------------------------------------------------------------


async def _attempts(ready: Ready, deadline: Deadline, *, show: bool) -> Outcome:
    retry, name = ready.gateway.retry, ready.gateway.name
    tried: list[Attempt] = []
    while True:
        started = time.monotonic()
        outcome = await _attempt(ready, deadline, show=show)
        number = len(tried) + 1
        wait_s = _wait_s(outcome, retry.wait_s, number)
        again = _may_repeat(outcome, on_unknown=retry.on_unknown) and number < retry.attempts
        if not again or wait_s >= deadline.to_leave.remaining():
            return replace(_scrubbed(outcome, ready), attempts=number, tried=tuple(tried))
        tried.append(Attempt(name, outcome.kind, outcome.reason, time.monotonic() - started))
        await asyncio.sleep(wait_s)


def _may_repeat(outcome: Outcome, *, on_unknown: bool) -> bool:
    if outcome.kind is Kind.UNKNOWN:
        return on_unknown
    return outcome.kind is Kind.UNSENT and outcome.retryable and outcome.reason in _RETRIED


def _wait_s(outcome: Outcome, first_s: float, number: int) -> float:
    """Twice as long each time, up to a quarter longer so that many do not come back at once; longer if asked to."""
    grown: float = first_s * 2 ** (number - 1) * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
    return max(grown, outcome.retry_after_s or 0.0)


async def _attempt(ready: Ready, deadline: Deadline, *, show: bool) -> Outcome:
    provider = ready.gateway.provider
    try:
        async with asyncio.timeout(deadline.remaining() + _BACKSTOP_S):
            reply = await provider.submit(ready.prepared, deadline)
        if show:
            _show_answer(ready, reply.as_dict())
        return provider.interpret(reply)
    except SubmitError as error:
        return _without_answer(error)
    except TimeoutError:
        return Outcome(Kind.UNKNOWN, Reason.TIMEOUT, detail="no answer before the deadline")
    except Exception as error:  # noqa: BLE001 - what nobody foresaw: it may have left
        return _internal(Kind.UNKNOWN, error)


def _without_answer(error: SubmitError) -> Outcome:
    kind = Kind.UNKNOWN if error.handed_over else Kind.UNSENT
    return Outcome(
        kind, error.reason, detail=error.detail, retry_after_s=error.retry_after_s, retryable=error.retryable
    )


def _internal(kind: Kind, error: Exception) -> Outcome:
    log.error("%s", unforeseen_text(error, "in a send"))
    return Outcome(kind, Reason.INTERNAL, detail=f"internal error ({type(error).__name__})", retryable=False)


def _scrubbed(outcome: Outcome, ready: Ready) -> Outcome:
    """The outcome, with whatever a provider echoed of the message or the secrets taken out."""
    message, secrets = ready.message, (*ready.gateway.secrets, *ready.hidden)
    hidden = [message.text, ready.prepared.text, message.phone, message.to.written, message.to.e164 or ""]
    hidden += message.vars.values()
    hidden += codes_in(message.text)
    quote = scrub(outcome.quote, hidden=hidden, secrets=secrets)
    return replace(
        outcome,
        detail=": ".join(filter(None, (outcome.detail, quote))),
        quote="",
        message_ids=tuple(hide_secrets(one, secrets) for one in outcome.message_ids),
    )


def _show_message(gateway: Gateway, request: SendRequest) -> None:
    """The debug switch: what is submitted, from the twin of the gateway that knows no secret, and without a code."""
    shown = gateway.as_shown()
    request = replace(request, text=hide_secrets(request.text or "", _hidden(request)))
    submitted = shown.provider.describe(_fit(shown, request).prepared)
    log.debug("message", extra={"gateway": gateway.name, "to": request.to, "request": submitted})


def _show_answer(ready: Ready, answer: dict[str, Any]) -> None:
    if ready.hidden:  # a provider may echo a code in a form that nobody finds: in hex, with blanks in between
        answer = {key: value if isinstance(value, int) else MASK for key, value in answer.items()}
    text = json.dumps(answer, ensure_ascii=False, default=str)
    log.debug("answer", extra={"gateway": ready.gateway.name, "answer": hide_secrets(text, ready.gateway.secrets)})


def _log(outcome: Outcome, request: SendRequest, served: Served) -> None:
    level = logging.INFO if outcome.kind is Kind.ACCEPTED else logging.WARNING
    if log.isEnabledFor(level):
        fields = {"to": mask_number(_international(request.to, served)), **_logged(outcome), **_words(outcome, request)}
        log.log(level, "send", extra={key: value for key, value in fields.items() if value != []})


def _international(to: str, served: Served) -> str:
    """The number as it is masked: E.164 where it can be read, so that the mask shows the country."""
    if _E164.fullmatch(to):
        return to
    try:
        return msisdn.read(to, served.phone).e164 or to
    except MessageError:
        return to


def _logged(outcome: Outcome) -> dict[str, Any]:
    members = outcome.as_dict()
    tried = [{key: one[key] for key in _LOGGED_OF_TRIED} for one in members["tried"]]
    return {**{key: members[key] for key in _LOGGED}, "tried": tried}


def _words(outcome: Outcome, request: SendRequest) -> dict[str, Any]:
    """What finds a message again: the provider's ids and the caller's reference, unless they repeat the message."""
    text = request.text or ""
    texts = [text, *request.vars.values(), *codes_in(text), request.otp or ""]

    def shown(word: str) -> str:
        return MASK if repeats(word, texts=texts, number=request.to) else word[:_MOST_LOGGED]

    found: dict[str, Any] = {"message_ids": [shown(one) for one in outcome.message_ids]}
    if outcome.reference:
        found["reference"] = shown(outcome.reference)
    return found if request.caller is None else {**found, **request.caller.as_log()}
