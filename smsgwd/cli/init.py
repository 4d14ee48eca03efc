"""`smsgwd init`: a configuration to begin with, from the examples that smsgwd ships."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from smsgwd.cli import options, terminal

if TYPE_CHECKING:
    from smsgwd.importers.files import File

_DESCRIPTION = """\
Write a configuration to begin with into DIR: a commented gateway file with tests, smsgwd.yaml, schemas for editors, and
a .gitignore that keeps secrets out of Git. It passes `check` and `test` as it is; a gateway that needs an account is
disabled until you give it one. Files that are there already stay as they are.
"""
_EPILOG = """\
examples:
  smsgwd init sms                            the gateway `console`, which sends nothing
  smsgwd init /etc/smsgwd --provider smpp
  smsgwd init . --provider twilio

exit codes: 0 written; 1 the gateway file is there already, or DIR cannot be written; 2 wrong usage.
"""
_DEFAULT = "console"
_FOR_PROVIDER = {"http": "smseagle"}  # the example of a provider that has none of its name
_SITE = """\
# yaml-language-server: $schema=schemas/smsgwd.schema.json
# What is not about one gateway. Every key may be left out.
log: {format: json, level: info} # json | text; debug | info | warning | error

# Where the daemon listens, and who may open the socket.
# socket: {path: /run/smsgwd/smsgwd.sock, mode: "0660", group: smsgwd}

# Who may do what, by user and group of the caller. Without rules whoever can open the socket may send.
# access:
#   - {users: [alertmanager], allow: [send], gateways: ["ops-*"]}
#   - {groups: [sms-admins], allow: [send, status, reload]}

# Mail servers, which gateways of the provider smtp name.
# smtp_servers:
#   corp: {host: mail.example.com, port: 587, tls: starttls, from: sms@example.com}

# Where gateways of the provider script find their programs.
# scripts: {directory: scripts}
"""
_IGNORED = "# Secrets come from elsewhere, never from Git.\n/secrets.d/\n"


def add(parser: ArgumentParser) -> None:
    """The arguments of `init`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("directory", metavar="DIR", type=options.folder, help="where to write")
    parser.add_argument(
        "--provider",
        metavar="P",
        help="a provider, or the name of a shipped example (default: console; asked for on a terminal)",
    )


def run(args: Namespace) -> int:
    """Write it; the names of the files go to standard output."""
    from smsgwd.importers import files  # noqa: PLC0415 - not for `init --help`

    known = known_examples()
    provider = args.provider or _asked(known)
    if provider not in known:
        options.usage_error(args, f"there is no provider {provider!r}; choose from {', '.join(known)}")
    gateways = list(_gateways(known[provider]))
    first = gateways[:1]
    if found := [*files.existing(args.directory, first), *files.twins(args.directory, first)]:
        raise terminal.Failure(f"{found[0]} is there already, nothing was written")
    wanted = [*gateways, *_others(provider)]
    there = set(files.existing(args.directory, wanted))
    new = [file for file in wanted if args.directory / file.path not in there]
    _write(args.directory, new)
    terminal.say_what_was_done("\n".join(str(args.directory / file.path) for file in new))
    terminal.note(_next(args.directory, gateways[0].path.stem))
    return 0


def _next(directory: Path, name: str) -> str:
    message = f'--gateway {name} --to +491701234567 --text "Hello"'
    return f"next: smsgwd check --config {directory}; smsgwd render --config {directory} {message}"


def _examples() -> Path:
    """Where they are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parent


def known_examples() -> dict[str, str]:
    """Providers and names of examples; to each the example."""
    from smsgwd import schema  # noqa: PLC0415 - jsonschema takes a while to import: not for `init --help`

    names = sorted(path.stem for path in (_examples() / "gateways.d").glob("*.yaml"))
    own = {name: _FOR_PROVIDER.get(name, name) for name in schema.provider_names()}
    return {name: example for name, example in (own | {name: name for name in names}).items() if example in names}


def _asked(known: dict[str, str]) -> str:
    """The provider, asked for where somebody is there to answer."""
    if sys.stdin is None or not sys.stdin.isatty():
        return _DEFAULT
    terminal.note(f"providers and examples: {', '.join(known)}")
    print("provider [console]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or _DEFAULT


def _gateways(name: str) -> Iterator["File"]:
    """The example, and those that it refers to."""
    from smsgwd import schema  # noqa: PLC0415 - as in known_examples
    from smsgwd.importers.files import File  # noqa: PLC0415 - not for `init --help`
    from smsgwd.load import load  # noqa: PLC0415 - as above

    path = PurePosixPath("gateways.d") / f"{name}.yaml"
    text = (_examples() / path).read_text("utf-8")
    yield File(path, text)
    data, _ = schema.check_gateway(load(text.encode(), str(path)))
    if data is not None and data["provider"] == "failover":
        settings = data["settings"]
        lists = [settings.get("gateways", []), *(route["gateways"] for route in settings.get("routes", []))]
        for member in dict.fromkeys(member for names in lists for member in names):
            yield from _gateways(member)


def _others(provider: str) -> Iterator["File"]:
    from smsgwd import schema  # noqa: PLC0415 - as in known_examples
    from smsgwd.importers.files import File  # noqa: PLC0415 - not for `init --help`

    yield File(PurePosixPath("smsgwd.yaml"), _SITE)
    yield File(PurePosixPath(".gitignore"), _IGNORED)
    for name in ("gateway", "smsgwd", "token"):
        yield File(PurePosixPath("schemas") / f"{name}.schema.json", terminal.as_json(schema.read(name)) + "\n")
    if provider == "script":
        for path in sorted(one for one in (_examples() / "scripts").iterdir() if one.is_file()):
            yield File(PurePosixPath("scripts") / path.name, path.read_text("utf-8"))


def _write(directory: Path, new: list["File"]) -> None:
    from smsgwd.importers.files import FileError, write  # noqa: PLC0415 - not for `init --help`

    try:
        write(directory, new)
        for file in new:
            if file.path.parent.name == "scripts":
                (directory / file.path).chmod(0o755)
    except (FileError, OSError) as error:
        raise terminal.Failure(str(error)) from None
