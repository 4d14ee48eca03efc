"""Arguments that several verbs share, and how they are read."""

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import NoReturn

from smsgwd.cli.terminal import Failure
from smsgwd.socket_path import socket_path
from smsgwd.units import parse_duration

DEFAULT_CONFIG = "/etc/smsgwd"
_LAST_LINE_BREAK = re.compile(r"\r?\n\Z")
_MAX_SITE_OCTETS = 1 << 20  # of smsgwd.yaml, as everywhere
_MAX_INPUT_OCTETS = 1 << 16  # of a text on standard input: more than any request may hold


def add_config(parser: ArgumentParser) -> None:
    """`--config DIR`."""
    parser.add_argument(
        "--config",
        metavar="DIR",
        type=folder,
        help=f"the configuration directory (default: $SMSGWD_CONFIG, else {DEFAULT_CONFIG})",
    )


def config_of(args: Namespace) -> Path:
    """The configuration directory, for a verb with `add_config`."""
    return args.config or Path(os.environ.get("SMSGWD_CONFIG") or DEFAULT_CONFIG)


def config_for_paths(args: Namespace) -> Path:
    """The configuration directory, for a verb with `add_config` and `paths`: of one whole configuration itself.

    Raises Failure for a --config that is no folder.
    """
    paths: list[Path] = args.paths
    if paths and args.config is not None and not args.config.is_dir():
        raise Failure(f"--config {args.config}: there is no such folder")
    if args.config is None and len(paths) == 1 and (paths[0] / "gateways.d").is_dir():
        return paths[0]
    return config_of(args)


def add_socket(parser: ArgumentParser) -> None:
    """`--socket PATH`, and `--config`, because smsgwd.yaml may say where the socket is."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=not_empty,
        help="the daemon's socket (default: $SMSGWD_SOCKET, else what smsgwd.yaml says, else "
        "/run/smsgwd/smsgwd.sock for root and $XDG_RUNTIME_DIR/smsgwd.sock for others)",
    )
    add_config(parser)


def add_message(parser: ArgumentParser) -> None:
    """What to send: `--gateway`, `--to`, `--text` or `--template` with `--var`, `--sender`, `--reference`."""
    add_content(parser, required=True)
    parser.add_argument("--sender", metavar="ADDRESS", type=utf8, help="the source address, instead of the gateway's")
    parser.add_argument("--reference", metavar="ID", type=utf8, help="your own id for the message; the outcome has it")


def add_content(parser: ArgumentParser, *, required: bool) -> None:
    """`--gateway`, `--to`, and `--text` or `--template` with `--var`; `required`: there has to be one of these."""
    parser.add_argument("--gateway", metavar="NAME", required=True, type=utf8, help="the gateway to send through")
    parser.add_argument("--to", metavar="NUMBER", required=True, type=utf8, help="the recipient's number")
    what = parser.add_mutually_exclusive_group(required=required)
    what.add_argument("--text", type=utf8, help="the text; `-` reads standard input, less one line break at its end")
    what.add_argument("--template", metavar="NAME", type=utf8, help="a template of the gateway, instead of a text")
    parser.add_argument(
        "--var",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=variable,
        dest="variables",
        help="a variable of the template; may be given again for further ones",
    )


def usage_error(args: Namespace, message: str) -> NoReturn:
    """End the command as argparse does for wrong arguments: the usage, the message, exit code 2."""
    parser: ArgumentParser = args.parser
    parser.error(message)


def variables_of(args: Namespace) -> dict[str, str]:
    """The template's variables. One that is given twice, or without a template, is wrong usage."""
    if args.variables and args.template is None:
        usage_error(args, "argument --var: goes with --template only")
    variables = dict(args.variables)
    if len(variables) < len(args.variables):
        usage_error(args, "argument --var: a variable is given twice")
    return variables


def text_of(written: str) -> str:
    """The text of a message: what was written, or standard input for `-`, less one line break at its end.

    Raises Failure when standard input is not UTF-8, longer than 64 KiB or cannot be read.
    """
    if written != "-":
        return written
    if sys.stdin is None:
        raise Failure("standard input is closed: nothing to read the text from")
    try:
        data = sys.stdin.buffer.read(_MAX_INPUT_OCTETS + 1)
    except OSError as error:
        raise Failure(f"standard input: {error.strerror}") from None
    if len(data) > _MAX_INPUT_OCTETS:
        raise Failure("the text on standard input is longer than 64 KiB")
    try:
        return _LAST_LINE_BREAK.sub("", data.decode())
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8 (octet {error.start + 1})") from None


def socket_of(args: Namespace) -> str:
    """Where the daemon's socket is, for a verb with `add_socket`."""
    told = args.socket or os.environ.get("SMSGWD_SOCKET")
    return socket_path(args.socket, None if told else _configured_socket(config_of(args)))


def _configured_socket(directory: Path) -> str | None:
    """`socket: {path: ...}` of smsgwd.yaml. A file that cannot be read says nothing here: `check` tells its faults."""
    try:
        # O_NONBLOCK: a FIFO of that name must not stop the command
        descriptor = os.open(directory / "smsgwd.yaml", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_MAX_SITE_OCTETS)
    except OSError:
        return None
    return _socket_in(data, directory) if b"socket" in data else None


def _socket_in(data: bytes, directory: Path) -> str | None:
    from smsgwd.load import Scalar, load  # noqa: PLC0415 - PyYAML only where smsgwd.yaml speaks of a socket

    node = load(data, "smsgwd.yaml").node(("socket", "path"))
    return str(directory / node.text) if isinstance(node, Scalar) and node.text else None


def utf8(text: str) -> str:
    """An argument as text. Raises ArgumentTypeError where its octets were not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError("not UTF-8") from None
    return text


def not_empty(text: str) -> str:
    """An argument that may not be empty."""
    if not text:
        raise ArgumentTypeError("may not be empty")
    return text


def folder(text: str) -> Path:
    """An argument that names a folder."""
    return Path(not_empty(text))


def duration(text: str) -> float:
    """A span in seconds, written as `500ms`, `3s`, `2m` or `1h`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def variable(text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`; the value may be empty and may hold further equals signs."""
    name, equals, value = utf8(text).partition("=")
    if not name or not equals:
        raise ArgumentTypeError("write NAME=VALUE, such as code=123456")
    return name, value
