"""`smsgwd schema`: the JSON schemas of the configuration."""

from argparse import ArgumentParser, Namespace

from smsgwd.cli import options, terminal

_DESCRIPTION = """\
Print a JSON schema (draft 2020-12): of a whole gateway file when nothing is named, of a provider's `settings`
(console, http, ...), of smsgwd.yaml (smsgwd), or of a token file (token). Editors complete and check YAML files with
it.
"""
_EPILOG = """\
examples:
  smsgwd schema > gateway.schema.json    # then, as the first line of a gateway file:
                                         # yaml-language-server: $schema=../gateway.schema.json
  smsgwd schema http
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `schema`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "name", metavar="PROVIDER", nargs="?", default="gateway", help="a provider, gateway, smsgwd or token"
    )


def run(args: Namespace) -> int:
    """Print it; a name that there is no schema of is wrong usage."""
    from smsgwd import schema  # noqa: PLC0415 - jsonschema takes a while to import: not for `schema --help`

    names = sorted(schema.names())
    if args.name not in names:
        options.usage_error(args, f"there is no schema {args.name!r}; choose from {', '.join(names)}")
    terminal.say(terminal.as_json(schema.read(args.name)))
    return 0
