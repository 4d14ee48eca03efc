"""What is allowed and will be regretted: the warnings about a gateway file or smsgwd.yaml that is right as it stands.

A warning has to earn its keep: it names what will happen and what mends it, and `# smsgwd: ignore CODE reason` silences
it where its author knows better.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from smsgwd.advice import access, network, numbers, texts, yaml11
from smsgwd.errors import Problem, Severity
from smsgwd.load import Source
from smsgwd.registry import Gateway, Served

Data = Mapping[str, Any]
_SENDING = frozenset({"send", "otp_challenge", "otp_verify"})  # of what access rules allow


def of_gateway(source: Source, data: Data, served: Served, used: Collection[str], *, sound: bool) -> Iterator[Problem]:
    """The warnings about a gateway or failover. `used` are the names that its templates read.

    `data` is what `schema` made of the file, its settings sound; `sound` says whether the rest is, too. What is said
    of templates and rules as a whole is not looked at else.
    """
    yield from yaml11.surprises(source, data)
    yield from network.risks(source, data)
    yield from texts.costly(source, data)
    if sound:
        yield from texts.refused(source, data, served)
    if sound and isinstance(served, Gateway):
        yield from unused_secrets(source, data, used)
        yield from numbers.broken(source, served.phone)
        yield from numbers.refused(source, served)


def of_site(source: Source, data: Data, used: Collection[str]) -> Iterator[Problem]:
    """The warnings about smsgwd.yaml."""
    yield from yaml11.surprises(source, data)
    yield from network.risks_of_site(source, data)
    yield from access.unknown_tokens(source, data)
    yield from unused_secrets(source, data, used)
    yield from unused_limits(source, data)


def unused_limits(source: Source, data: Data) -> Iterator[Problem]:
    """Limits in access rules that let nobody send."""
    for index, rule in enumerate(data.get("access", [])):
        if rule.get("limits") and _SENDING.isdisjoint(rule["allow"]):
            message = "the rule lets nobody send, so its limits are on nothing"
            hint = "write them into the rule that allows `send`, `otp_challenge` or `otp_verify`"
            yield source.problem(
                ("access", index, "limits"), "unused-limits", message, hint, on_key=True, severity=Severity.WARNING
            )


def unused_secrets(source: Source, data: Data, used: Collection[str]) -> Iterator[Problem]:
    """Secrets that are declared and that nothing reads."""
    for name in data.get("secrets", {}):
        if f"secrets.{name}" not in used:
            message = f"nothing uses the secret `{name}`"
            hint = f'write "{{{{ secrets.{name} }}}}" where it belongs, or delete it'
            yield source.problem(
                ("secrets", name), "unused-secret", message, hint, on_key=True, severity=Severity.WARNING
            )
