"""`smsgwd send`: one message through the daemon, and what became of it."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from smsgwd.cli import options, terminal
from smsgwd.client import Client, RequestRefused
from smsgwd.outcome import EXIT_CODES, Kind, Outcome

_PATIENCE_S = 65.0  # longer than the longest usual deadline of a gateway
_SLACK_S = 5.0  # between a deadline and the daemon's word about it
_TRY_AGAIN = {"gateway-unavailable", "overloaded", "storage-unavailable"}  # refusals that another time may not meet
_KEY = re.compile("[!-~]{1,255}")
_ADVICE = {
    Kind.UNSENT: "nobody took it: trying again is safe",
    Kind.UNKNOWN: "someone may have it: sending it again may duplicate it",
}

_DESCRIPTION = """\
Send one message through the daemon and say what became of it.

An accepted message is told on standard output, everything else on standard error.
Other users of this machine can read a command's arguments: give a text that is not for them with `--text -`. A text
that may begin with a dash is given as --text="$TEXT".
"""
_EPILOG = """\
examples:
  smsgwd send --gateway console --to +491701234567 --text "Hello"
  smsgwd send --gateway console --to 01701234567 --template login --var code=123456
  echo "Disk full on $HOSTNAME" | smsgwd send --gateway console --to +491701234567 --text -

exit codes:
   0  accepted: the provider took it
   1  rejected, or refused by the daemon: the same again will not help
   2  wrong usage
  75  unsent: nobody took it, trying again is safe (also: no daemon, gateway not available)
  76  unknown: someone may have it, sending it again may duplicate it
"""


def add(parser: ArgumentParser) -> None:
    """The arguments of `send`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    options.add_message(parser)
    parser.add_argument(
        "--deadline",
        metavar="DURATION",
        type=_deadline,
        help="the longest the send may take, such as 10s; the shorter of it and the gateway's counts "
        "(for a gateway that takes longer than a minute give it, so that the command waits as long)",
    )
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        type=_key,
        help="the same key and message again, by the same user within 10 minutes, gets the first one's outcome, not a "
        "second SMS; unsent messages are not remembered, and a restart of the daemon forgets all",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome, or the refusal, as a JSON document")
    options.add_socket(parser)


def _deadline(text: str) -> str:
    options.duration(text)
    return text


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ArgumentTypeError("a key is 1 to 255 visible ASCII characters, without blanks")
    return text


def run(args: Namespace) -> int:
    """Send it; the exit code is the outcome's."""
    variables = options.variables_of(args)
    text = None if args.text is None else options.text_of(args.text)
    client = Client(options.socket_of(args), _patience_s(args.deadline))
    try:
        outcome = client.send(
            gateway=args.gateway,
            to=args.to,
            text=text,
            template=args.template,
            vars=variables or None,
            sender=args.sender,
            reference=args.reference,
            deadline=args.deadline,
            idempotency_key=args.idempotency_key,
        )
    except KeyboardInterrupt:
        terminal.complain("interrupted: the daemon goes on with the send, if it has it")
        raise
    except RequestRefused as refusal:
        return tell_refusal(refusal, as_json=args.json)
    return _tell(outcome, as_json=args.json)


def _patience_s(deadline: str | None) -> float:
    return max(_PATIENCE_S, options.duration(deadline) + _SLACK_S) if deadline else _PATIENCE_S


def _tell(outcome: Outcome, *, as_json: bool) -> int:
    if as_json:
        terminal.say_what_was_done(terminal.as_json(outcome.as_dict(), indent=None))
    elif outcome.kind is Kind.ACCEPTED:
        terminal.say_what_was_done(terminal.printable(accepted_words(outcome)))
    else:
        terminal.complain(failed_words(outcome))
    return outcome.exit_code


def accepted_words(outcome: Outcome) -> str:
    """An accepted outcome in one line: `accepted by twilio: SM1 (1 segment, gsm7)`."""
    ids = ", ".join(outcome.message_ids)
    count = "1 segment" if outcome.segments == 1 else f"{outcome.segments} segments"
    return f"accepted by {_by(outcome)}{': ' if ids else ''}{ids} ({count}, {outcome.encoding})"


def _by(outcome: Outcome) -> str:
    return f"{outcome.gateway} via {outcome.via}" if outcome.via else outcome.gateway


def failed_words(outcome: Outcome) -> str:
    """Any other outcome in one line, with what it means for sending again."""
    words = f"{outcome.kind} ({outcome.reason})"
    if outcome.provider:  # else nobody but the client speaks
        words = f"{outcome.kind} by {_by(outcome)} ({outcome.reason})"
    parts = [outcome.detail, _ADVICE.get(outcome.kind, "")]
    return ": ".join([words, "; ".join(part for part in parts if part)])


def tell_refusal(refusal: RequestRefused, *, as_json: bool) -> int:
    """Tell what the daemon refused to take; returns the exit code."""
    if as_json:
        terminal.say_what_was_done(terminal.as_json(refusal.problem, indent=None))
    else:
        terminal.complain(f"refused ({refusal.code}): {refusal.detail}")
    return EXIT_CODES[Kind.UNSENT if refusal.code in _TRY_AGAIN else Kind.REJECTED]
