"""`smsgwd render`: exactly what would be sent, without sending it, without a daemon, without secrets."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from smsgwd.cli import options, terminal
from smsgwd.message import SendRequest

_DESCRIPTION = """\
Show exactly what would be sent, from the configuration alone: no daemon, no network. Secrets show as ***.
"""
_EPILOG = """\
examples:
  smsgwd render --gateway clickatell --to "0170 1234567" --template login --var code=123456
  smsgwd render --gateway twilio --to +491701234567 --text "Hello" --format curl

exit codes: 0 rendered; 1 the message would be rejected, or the gateway's file has errors; 2 wrong usage.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `render`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    options.add_message(parser)
    parser.add_argument(
        "--format",
        choices=("text", "curl", "json"),
        default="text",
        help="text for people, a curl command line (of gateways that speak HTTP), or JSON (default: text)",
    )
    options.add_config(parser)


def run(args: Namespace) -> int:
    """Print it; exit code 1 when there is nothing that could be sent."""
    request = SendRequest(
        gateway=args.gateway,
        to=args.to,
        text=None if args.text is None else options.text_of(args.text),
        template=args.template,
        vars=options.variables_of(args),
        sender=args.sender,
        reference=args.reference,
    )
    rendered = _rendered(args, request)
    terminal.say(_FORMATS[args.format](rendered))
    return 0


def _rendered(args: Namespace, request: SendRequest) -> dict[str, Any]:
    """The rendering. Raises Failure, after telling on standard error what is wrong with the file or the message."""
    from smsgwd import sender  # noqa: PLC0415 - what compiles files takes 0.3 s to import: not for --help
    from smsgwd.cli import findings  # noqa: PLC0415 - as above
    from smsgwd.cli.reading import registry_of  # noqa: PLC0415 - as above
    from smsgwd.errors import MessageError, RequestError  # noqa: PLC0415 - beside those that raise them

    registry, reading = registry_of(options.config_of(args), args.gateway)
    if reading.problems:
        text = findings.as_text(reading.found, reading.sources, color=terminal.has_color(sys.stderr))
        terminal.note(text.removesuffix("\n"))
    entry = registry.entries.get(args.gateway)
    if entry is None or entry.gateway is None:
        raise terminal.Failure(f"the gateway {args.gateway!r} does not compile")
    try:
        return sender.render(registry, request)
    except MessageError as error:
        raise terminal.Failure(f"rejected ({error.reason}): {error.detail}") from None
    except RequestError as error:
        raise terminal.Failure(f"refused ({error.code}): {error.detail}") from None


def _as_text(rendered: Mapping[str, Any]) -> str:
    count = f"{rendered['segments']} ({rendered['encoding']})"
    gateway = f"{rendered['gateway']} ({rendered['provider']})"
    members = {**rendered, "gateway": gateway, "segments": count}
    shown = {key: members.get(key) for key in ("gateway", "via", "to", "text", "segments", "request")}
    return terminal.printable("\n".join(_lines(shown, 0)))


def _lines(value: Mapping[str, Any], depth: int) -> list[str]:
    return [line for key, item in value.items() for line in _entry(key, item, depth)]


def _entry(key: str, value: Any, depth: int) -> list[str]:
    """A member as people read it: short ones on one line, the parts of others below, further in."""
    indent = "  " * depth
    if value is None or value == {}:
        return []
    if isinstance(value, Mapping):
        return [f"{indent}{key}:", *_lines(value, depth + 1)]
    if isinstance(value, list) and value:
        return [line for item in value for line in _entry(key, item, depth)]  # a key that repeats
    if isinstance(value, str) and "\n" in value:
        return [f"{indent}{key}:", *(f"{indent}  {line}" for line in value.split("\n"))]
    shown = value if isinstance(value, str) else terminal.as_json(value, indent=None)
    return [f"{indent}{key}: {shown}"]


def _as_curl(rendered: Mapping[str, Any]) -> str:
    from smsgwd.cli.curl import command_line  # noqa: PLC0415 - for this format alone

    if "url" not in rendered["request"]:
        raise terminal.Failure(f"a gateway of the provider {rendered['provider']} speaks no HTTP: try --format text")
    return command_line(rendered["request"])


_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"text": _as_text, "curl": _as_curl, "json": terminal.as_json}
