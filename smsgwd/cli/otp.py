"""`smsgwd otp`: send a one-time password, and verify the one that comes back."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import Any

from smsgwd.cli import options, terminal
from smsgwd.cli.send import accepted_words, failed_words, tell_refusal
from smsgwd.client import Challenge, Client, NoAnswerError, RequestRefused, Verification
from smsgwd.outcome import EXIT_CODES, Kind

_PATIENCE_S = 65.0  # as for a send

_DESCRIPTION = """\
Send a one-time password by SMS, and verify the one that comes back.

`challenge` prints the id of the transaction; `verify` takes it back, with the code.
"""
_EPILOG = """\
example:
  $ id=$(smsgwd otp challenge --gateway console --to +491701234567)
  $ smsgwd otp verify "$id" 493817
  verified

See `smsgwd otp challenge --help` and `smsgwd otp verify --help`.
"""
_CHALLENGE_EPILOG = """\
examples:
  smsgwd otp challenge --gateway console --to +491701234567
  smsgwd otp challenge --gateway clickatell --to 01701234567 --text "{{ otp }} is your code" --context alice@vpn

exit codes: 0 accepted; 1, 2, 75 and 76 as those of `smsgwd send`: then there is no transaction.
"""
_VERIFY_EPILOG = """\
examples:
  smsgwd otp verify "$id" 493817
  smsgwd otp verify "$id" - --context alice@vpn       the code comes on standard input

exit codes: 0 verified, 1 not verified or refused, 2 wrong usage, 75 nobody can say at this moment (there is no daemon,
it does not answer or is overloaded, the storage of one-time passwords is lost). Each try counts.
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `otp`: two verbs of its own."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    steps = parser.add_subparsers(metavar="STEP", dest="step", required=True, help="challenge or verify")
    _add_challenge(_step(steps, "challenge", "send a one-time password", _CHALLENGE_EPILOG))
    _add_verify(_step(steps, "verify", "verify the one that came back", _VERIFY_EPILOG))


def _step(steps: Any, name: str, summary: str, epilog: str) -> ArgumentParser:
    step: ArgumentParser = steps.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    step.set_defaults(parser=step)
    return step


def _add_challenge(parser: ArgumentParser) -> None:
    options.add_content(parser, required=False)
    parser.add_argument("--digits", metavar="N", type=int, help="how long the code is, 4 to 10 (default: 6)")
    parser.add_argument("--ttl", metavar="DURATION", type=options.duration, help="how long it is good (default: 5m)")
    _add_shared(parser)


def _add_verify(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=options.utf8, help="the id of the transaction")
    parser.add_argument("otp", metavar="CODE", type=options.utf8, help="the code; `-` reads it from standard input")
    _add_shared(parser)


def _add_shared(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--context",
        metavar="TEXT",
        type=options.utf8,
        help="what the code is for, such as user and service; has to be the same in both steps",
    )
    parser.add_argument("--json", action="store_true", help="print the answer, or the refusal, as a JSON document")
    options.add_socket(parser)


def run(args: Namespace) -> int:
    """The step; returns the exit code."""
    client = Client(options.socket_of(args), _PATIENCE_S)
    try:
        return {"challenge": _challenge, "verify": _verify}[args.step](args, client)
    except RequestRefused as refusal:
        return tell_refusal(refusal, as_json=args.json)


def _challenge(args: Namespace, client: Client) -> int:
    variables = options.variables_of(args)
    challenge = client.challenge(
        gateway=args.gateway,
        to=args.to,
        text=None if args.text is None else options.text_of(args.text),
        template=args.template,
        vars=variables or None,
        digits=args.digits,
        ttl_s=_whole_seconds(args),
        context=args.context,
    )
    _tell_challenge(challenge, as_json=args.json)
    return challenge.outcome.exit_code


def _whole_seconds(args: Namespace) -> int | None:
    if args.ttl is None:
        return None
    if args.ttl % 1:
        options.usage_error(args, "argument --ttl: give whole seconds")
    return int(args.ttl)


def _tell_challenge(challenge: Challenge, *, as_json: bool) -> None:
    outcome = challenge.outcome
    if as_json and challenge.transaction_id is None:
        terminal.say_what_was_done(terminal.as_json(outcome.as_dict(), indent=None))
    elif as_json:
        document = {"transaction_id": challenge.transaction_id, "expires_in": challenge.expires_in_s}
        terminal.say_what_was_done(terminal.as_json({**document, "outcome": outcome.as_dict()}, indent=None))
    elif challenge.transaction_id is None:
        terminal.complain(failed_words(outcome))
    else:
        terminal.complain(f"{accepted_words(outcome)}; good for {challenge.expires_in_s} s")
        terminal.say_what_was_done(terminal.printable(challenge.transaction_id))


def _verify(args: Namespace, client: Client) -> int:
    otp = options.text_of(args.otp)
    try:
        verification = client.verify(args.id, otp, args.context)
    except NoAnswerError as error:
        raise terminal.Failure(error.detail, EXIT_CODES[Kind.UNSENT]) from None
    if args.json:
        terminal.say_what_was_done(terminal.as_json(_document(verification), indent=None))
    elif verification.verified:
        terminal.say_what_was_done("verified")
    else:
        terminal.complain(_failed(verification))
    return 0 if verification.verified else 1


def _document(verification: Verification) -> dict[str, Any]:
    members = {"reason": verification.reason, "attempts_left": verification.attempts_left}
    return {"verified": verification.verified, **{key: value for key, value in members.items() if value is not None}}


def _failed(verification: Verification) -> str:
    left = "" if verification.attempts_left is None else f"; attempts left: {verification.attempts_left}"
    return f"not verified: {verification.reason}{left}"
