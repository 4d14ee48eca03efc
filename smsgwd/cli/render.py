"""`smsgwd render`: exactly what would be sent, without sending it, without a daemon, without secrets."""

import json
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
  smsgwd render --gateway console --to +491701234567 --template login --var code=123456
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
        text = findings.as_text(
            reading.found, reading.sources, color=terminal.has_color(sys.stderr), columns=terminal.columns(sys.stderr)
        )
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
    words = {
        "gateway": f"{rendered['gateway']} ({rendered['provider']})",
        **{key: rendered[key] for key in ("via", "to", "text") if key in rendered},
        "segments": f"{rendered['segments']} ({rendered['encoding']})",
    }
    lines = [line for key, word in words.items() for line in _text(key, word, "")]
    return terminal.printable("\n".join([*lines, *_entry("request", rendered["request"], "")]))


def _entry(key: str, value: Any, indent: str) -> list[str]:
    """A member as people read it, nothing left out; a body that is JSON as JSON."""
    further = indent + "  "
    if key == "body" and isinstance(value, Mapping | list):
        return [f"{indent}body:", *(further + line for line in terminal.as_json(value).split("\n"))]
    if isinstance(value, Mapping) and value:
        return [f"{indent}{key}:", *(line for name, item in value.items() for line in _entry(name, item, further))]
    if isinstance(value, list) and value:
        return [f"{indent}{key}:", *(f"{further}- {_scalar(item)}" for item in value)]
    if isinstance(value, str) and "\n" in value:
        return _text(key, value, indent)
    return [f"{indent}{key}: {_scalar(value)}"]


def _text(key: str, text: str, indent: str) -> list[str]:
    if "\n" not in text:
        return [f"{indent}{key}: {text}"]
    return [f"{indent}{key}:", *(f"{indent}  {line}" for line in text.split("\n"))]


def _scalar(value: Any) -> str:
    """A text as it is; in quotes where it could be taken for something else, such as the number that it is not."""
    if isinstance(value, str) and "\n" not in value and value == value.strip() and not _is_json(value):
        return value
    return terminal.as_json(value, indent=None)


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "null")
    except ValueError:
        return text.startswith("- ")
    return True


def _as_curl(rendered: Mapping[str, Any]) -> str:
    from smsgwd.cli.curl import command_line  # noqa: PLC0415 - for this format alone

    if "url" not in rendered["request"]:
        raise terminal.Failure(f"a gateway of the provider {rendered['provider']} speaks no HTTP: try --format text")
    return command_line(rendered["request"])


_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"text": _as_text, "curl": _as_curl, "json": terminal.as_json}
