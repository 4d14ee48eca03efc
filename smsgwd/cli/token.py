"""`smsgwd token`: tokens and what their files need, one module for each step."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from smsgwd.cli import token_new, token_pin

_STEPS = {"new": token_new, "hash-pin": token_pin}

_DESCRIPTION = "Make access tokens, and what the files of users' tokens need."
_EPILOG = """\
examples:
  smsgwd token new portal        prints a token for a caller, and its hash for smsgwd.yaml
  smsgwd token hash-pin          asks for a PIN and prints its hash, for a file of tokens.d

See `smsgwd token new --help` and `smsgwd token hash-pin --help`.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `token`: a verb of its own for each step."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    steps = parser.add_subparsers(metavar="STEP", dest="step", required=True, help=" or ".join(_STEPS))
    for name, module in _STEPS.items():
        step = steps.add_parser(
            name, help=module.SUMMARY, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
        )
        step.set_defaults(parser=step)
        module.add(step)


def run(args: Namespace) -> int:
    """The step; returns the exit code."""
    code: int = _STEPS[args.step].run(args)
    return code
