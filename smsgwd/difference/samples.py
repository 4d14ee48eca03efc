"""What sample messages come to before and after: numbers as they go out, and segments."""

from collections.abc import Iterator

from smsgwd import msisdn, segments
from smsgwd.difference.change import Change, code
from smsgwd.errors import MessageError
from smsgwd.load import pointer
from smsgwd.message import Message, Recipient
from smsgwd.registry import Gateway, Served, TextTemplate, Variable

_NUMBERS = ("+491701234567", "0049 170 1234567", "0170 1234567", "12345")
_LONG = 160  # characters of the GSM alphabet that fit into one segment (3GPP TS 23.038)
_USUAL_LENGTH = 10  # of a variable that may have any


def of_numbers(old: Served, new: Served) -> Iterator[Change]:
    """What becomes of numbers as callers write them."""
    for number in _NUMBERS:
        before, after = _sent(number, old.phone), _sent(number, new.phone)
        if before == after:
            continue
        words = f"goes out as {code(after)}" if after else "is refused"
        was = code(before) if before else "refused"
        yield Change(new.name, "changed", f"the number {code(number)} {words} (before: {was})", "/phone")


def _sent(number: str, rules: msisdn.PhoneRules) -> str:
    try:
        return msisdn.read(number, rules).phone
    except MessageError:
        return ""


def of_templates(old: Served, new: Served) -> Iterator[Change]:
    """Templates whose longest text takes another number of segments."""
    for name in sorted(old.templates.keys() & new.templates.keys()):
        before, after = _longest(old.templates[name]), _longest(new.templates[name])
        effect = _segments(before, after)
        if effect:
            words = f"the template {code(name)}: {effect}"
            yield Change(new.name, "changed", words, pointer(("templates", name, "text")))


def _longest(template: TextTemplate) -> str:
    return template.template.render(
        {name: _filling(rules) for name, rules in template.variables.items()} | {"otp": "0" * 6}
    )


def _filling(rules: Variable) -> str:
    return ("0" if rules.charset == "digits" else "x") * (rules.max_length or _USUAL_LENGTH)


def of_texts(old: Gateway, new: Gateway) -> Iterator[Change]:
    """A text of a caller that just fills a segment: what the settings put around it counts, too."""
    effect = _segments(_read(old), _read(new))
    if effect:
        yield Change(new.name, "changed", f"a text of {_LONG} characters: {effect}", "/settings")


def _read(gateway: Gateway) -> str:
    """What the recipient reads; empty where the sample cannot be sent."""
    message = Message(Recipient("+491701234567", "+491701234567"), "x" * _LONG, gateway.sender)
    message = Message(message.to, message.text, message.sender, vars=dict.fromkeys(gateway.variables, ""))
    try:
        text: str = gateway.provider.render(message).text
    except MessageError:
        return ""
    return text


def _segments(before: str, after: str) -> str:
    """`1 -> 2 segments because of U+2019`; empty when the number is the same."""
    try:
        counts = segments.count(before), segments.count(after)
    except segments.EncodingError:
        return ""
    if not before or not after or counts[0].segments == counts[1].segments:
        return ""
    odd = [character for character in after if not segments.is_gsm7(character) and character not in before]
    because = f" because of U+{ord(odd[0]):04X} {code(odd[0])}" if odd and counts[1].encoding == "ucs2" else ""
    return f"{counts[0].segments} -> {counts[1].segments} segments{because}"
