"""Tokens among other files: the gateways that they name, and each other."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches

from smsgwd import msisdn
from smsgwd.errors import MessageError, Problem, Severity
from smsgwd.registry import Entry, OtpToken, Served


def gateway_problems(token: OtpToken, entries: Mapping[str, Entry]) -> Iterator[Problem]:
    """What is wrong with a token among these gateways. With an error it could never send."""
    entry = entries.get(token.gateway)
    if entry is None:
        near = get_close_matches(token.gateway, entries, 1)
        hint = f"did you mean `{near[0]}`?" if near else "gateways.d has no file of this name"
        yield _wrong(token, "gateway", "unknown-gateway", f"there is no gateway `{token.gateway}`", hint)
        return
    gateway = entry.gateway
    if token.enabled and not token.quiet and (gateway is None or not gateway.enabled):
        state = "has errors" if gateway is None else "is disabled"
        message = f"the gateway `{token.gateway}` {state}: no one-time password can be sent"
        place = _wrong(token, "gateway", "unavailable-gateway", message)
        yield replace(place, severity=Severity.WARNING)
    if gateway is not None:
        yield from _template_problems(token, gateway)
        yield from _phone_problems(token, gateway)


def _template_problems(token: OtpToken, gateway: Served) -> Iterator[Problem]:
    if token.template is None:
        return
    template = gateway.templates.get(token.template)
    if template is None:
        message = f"the gateway `{token.gateway}` has no template `{token.template}`"
        near = get_close_matches(token.template, gateway.templates, 1)
        hint = f"did you mean `{near[0]}`?" if near else "without `template` the message is the code alone"
        yield _wrong(token, "template", "unknown-template", message, hint)
    elif not template.one_time:
        message = f"the template `{token.template}` of `{token.gateway}` does not use {{{{ otp }}}}"
        hint = 'write "{{ otp }}" where the code belongs'
        yield _wrong(token, "template", "unusable-template", message, hint)
    elif template.variables:
        names = ", ".join(f"`{name}`" for name in sorted(template.variables))
        message = f"the template `{token.template}` of `{token.gateway}` needs {names}, which no token has"
        hint = "a template for tokens uses {{ otp }} alone"
        yield _wrong(token, "template", "unusable-template", message, hint)


def _phone_problems(token: OtpToken, gateway: Served) -> Iterator[Problem]:
    try:
        msisdn.read(token.phone, gateway.phone)
    except MessageError as error:
        message = f"the gateway `{token.gateway}` cannot read this number: {error.detail}"
        yield _wrong(token, "phone", "bad-number", message, "write it internationally: +...")


def user_problems(tokens: Iterable[OtpToken]) -> Iterator[tuple[OtpToken, Problem]]:
    """The tokens of which another one is for the same user, each with what is wrong.

    Users that only differ in capitals, or in how a letter is encoded, are the same: people take them for one.
    """
    by_user: defaultdict[str, list[OtpToken]] = defaultdict(list)
    for token in tokens:
        by_user[_as_people_read(token.user)].append(token)
    for same in by_user.values():
        if len(same) > 1:
            yield from ((token, _shared(token, same)) for token in same)


def _as_people_read(user: str) -> str:
    return user if user.isascii() and user.islower() else unicodedata.normalize("NFKC", user).casefold()


def _shared(token: OtpToken, same: list[OtpToken]) -> Problem:
    other = next(one for one in sorted(same, key=lambda one: one.name) if one is not token)
    alike = "" if other.user == token.user else ", but for capitals or the form of a letter"
    message = f"the token file `{other.name}` is for the same user{alike}"
    return _wrong(token, "user", "duplicate-user", message, "keep one of them")


def _wrong(token: OtpToken, key: str, code: str, message: str, hint: str = "") -> Problem:
    place = token.places.get(key) or Problem(token.name, 1, 1, "", "")
    return replace(place, code=code, message=message, hint=hint)
