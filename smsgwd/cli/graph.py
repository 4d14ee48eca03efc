"""`smsgwd graph`: which message can leave through which gateway, as a drawing."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:  # what compiles files takes 0.3 s to import: not for --help
    from smsgwd.cli.drawing import Drawing, Look
    from smsgwd.cli.reading import Reading
    from smsgwd.load import Source
    from smsgwd.registry import AccessRule, Entry, Failover, Registry, Route

_DESCRIPTION = """\
Draw who may send through which gateway, what a failover chooses for which numbers and in which order, and where each
gateway leads. What is disabled is dashed, what has errors dotted. Countries and types of numbers that `limits` of a
gateway allows or denies stand in its box.
"""
_EPILOG = """\
examples:
  smsgwd graph --config .                                  text that GitHub and GitLab draw inside of ```mermaid
  smsgwd graph --config . --format dot | dot -Tsvg > sms.svg

exit codes: 0 drawn, also where files have errors; 1 there is no configuration; 2 wrong usage.
"""
_SENDING = {"send", "otp_challenge"}
_HOST = re.compile(r"[a-zA-Z]+://(?:[^/?#@]*@)?([^/?#]+)")


def add(parser: ArgumentParser) -> None:
    """The arguments of `graph`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--format", choices=("mermaid", "dot"), default="mermaid", help="(default: mermaid)")
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Draw; exit code 1 when there is nothing to be drawn."""
    from smsgwd.cli.drawing import FORMATS  # noqa: PLC0415 - not for `graph --help`
    from smsgwd.cli.reading import compiled  # noqa: PLC0415 - what compiles files takes 0.3 s to import
    from smsgwd.errors import has_errors  # noqa: PLC0415 - beside those that need it

    directory = options.config_of(args)
    reading, seen, registry = compiled([], directory)
    if not seen.gateways_present:
        reasons = "; ".join(f"{problem.file}: {problem.message}" for problem in seen.problems)
        raise terminal.Failure(reasons or f"{directory} has no folder gateways.d")
    if has_errors(reading.found):
        terminal.complain("there are errors: see smsgwd check")
    terminal.say(FORMATS[args.format](_drawing(reading, registry)).removesuffix("\n"))
    return 0


def _drawing(reading: "Reading", registry: "Registry") -> "Drawing":
    from smsgwd.cli.drawing import Drawing, Look  # noqa: PLC0415 - not for `graph --help`
    from smsgwd.registry import Failover  # noqa: PLC0415 - as above

    drawing = Drawing()
    sources = {source.file.rpartition("/")[2].rpartition(".")[0]: source for source in reading.sources.values()}
    if not reading.unsound:  # else nobody can say who may do what
        _draw_callers(drawing, registry)
    for name, entry in registry.entries.items():
        drawing.box(name, _look(entry), name, *_words(entry, sources[name]))
    for name, entry in registry.entries.items():
        if isinstance(entry.gateway, Failover):
            for member, label in _choices(entry.gateway):
                if member not in drawing.boxes:
                    drawing.box(member, Look.BROKEN, member, "does not exist")
                drawing.arrow(name, member, label)
    return drawing


def _draw_callers(drawing: "Drawing", registry: "Registry") -> None:
    from smsgwd.cli.drawing import Look  # noqa: PLC0415 - not for `graph --help`

    if not registry.config.access:
        drawing.box("/everyone", Look.CALLER, "everyone who can", "open the socket")
        for name in registry.entries:
            drawing.arrow("/everyone", name)
    for number, rule in enumerate(registry.config.access):
        if rule.allow & _SENDING:
            caller = f"/rule {number}"  # no gateway is called so
            drawing.box(caller, Look.CALLER, *_callers(rule))
            for name in registry.entries:
                if any(fnmatchcase(name, pattern) for pattern in rule.gateways):
                    drawing.arrow(caller, name, _what(rule.allow, text=rule.text))
    for listener in registry.config.listen:
        if listener.allow & _SENDING:
            caller = f"/listen {listener.address}"
            drawing.box(caller, Look.CALLER, "whoever comes to", listener.address)
            for name in registry.entries:
                drawing.arrow(caller, name, _what(listener.allow, text=True))


def _what(allow: Collection[str], *, text: bool) -> str:
    """What may be sent, where that is not everything."""
    words = [] if "send" in allow else ["challenges"]
    return " ".join([*words, *([] if text else ["by template"])])


def _callers(rule: "AccessRule") -> Iterator[str]:
    for word, names in (("user", rule.users), ("group", rule.groups)):
        if names:
            yield f"{word}{'s' if len(names) > 1 else ''} {', '.join(map(str, names))}"


def _look(entry: "Entry") -> "Look":
    from smsgwd.cli.drawing import Look  # noqa: PLC0415 - not for `graph --help`
    from smsgwd.registry import Failover  # noqa: PLC0415 - as above

    if entry.gateway is None:
        return Look.BROKEN
    if not entry.gateway.enabled:
        return Look.DISABLED
    return Look.CHOICE if isinstance(entry.gateway, Failover) else Look.GATEWAY


def _words(entry: "Entry", source: "Source") -> Iterator[str]:
    """The lines below the name of a gateway."""
    if entry.gateway is None:
        yield "has errors"
        return
    place = _place(source)
    yield f"{entry.gateway.provider_name}: {place}" if place else entry.gateway.provider_name
    for choice in (entry.gateway.limits.countries, entry.gateway.limits.number_types):
        if choice is not None:
            yield f"{'not' if choice.denied else 'only'} {', '.join(sorted(choice.names))}"
    if not entry.gateway.enabled:
        yield "disabled"


def _place(source: "Source") -> str:
    """Where a gateway leads: a host, a device, a program."""
    from smsgwd.load import Scalar  # noqa: PLC0415 - not for `graph --help`

    for path in (("url",), ("host",), ("server",), ("server", "host"), ("device",), ("command", 0)):
        node = source.node(("settings", *path))
        if isinstance(node, Scalar):
            host = _HOST.match(node.text)
            return host[1] if host else node.text
    return ""


def _choices(failover: "Failover") -> Iterator[tuple[str, str]]:
    """Each member with what it is chosen for, and its place in the order."""
    lists = [(_condition(route), route.gateways) for route in failover.routes]
    for words, gateways in [*lists, ("else: " if lists else "", failover.gateways)]:
        for number, name in enumerate(gateways, 1):
            yield name, f"{words}{number}"


def _condition(route: "Route") -> str:
    return " ".join(filter(None, (route.prefix, ", ".join(sorted(route.countries))))) + ": "
