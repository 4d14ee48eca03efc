"""Numbers: how people write them, how a provider wants them (phonenumbers; E.164)."""

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsgwd.errors import MessageError
from smsgwd.message import Recipient
from smsgwd.outcome import Reason

if TYPE_CHECKING:
    import phonenumbers
    import regex

MAX_WRITTEN = 50  # characters of a number as a caller writes it
MAX_REWRITTEN = 255  # characters of what rewriting may make of it: a SIP address, say
REWRITE_TIMEOUT_S = 0.05  # of one rule on one number

E164, DIGITS, INTERNATIONAL, NATIONAL, VERBATIM = "e164", "digits", "international", "national", "verbatim"
FORMATS = (E164, DIGITS, INTERNATIONAL, NATIONAL, VERBATIM)

_MISTAKEN_REGIONS = {"UK": "GB", "EL": "GR", "EN": "GB"}  # what people write for it

_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_LONGEST_SHORT_CODE = 8
_WRITTEN_NUMBER = re.compile(r"\+?[\d\s()./\-\u2010-\u2015\u2212]+")  # digits, blanks, brackets, dots, slashes, dashes
_UNCARRIED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
)  # control characters, halves of surrogate pairs
_NOT_DIGITS = re.compile("[^0-9]")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A regular expression and what stands in its place."""

    pattern: "regex.Pattern[str]"
    replacement: str

    def apply(self, phone: str) -> str:
        """The number rewritten. Raises MessageError when it takes too long or leaves nothing that can be sent."""
        try:
            phone = self.pattern.sub(self.replacement, phone, timeout=REWRITE_TIMEOUT_S)
        except TimeoutError:
            raise _refusal("a rewrite rule of the gateway took too long on this number") from None
        if not phone or len(phone) > MAX_REWRITTEN or _UNCARRIED.search(phone):
            raise _refusal("the rewrite rules of the gateway leave no number that can be sent")
        return phone


@dataclass(frozen=True, slots=True)
class PhoneRules:
    """How a gateway reads and writes numbers (the `phone` of its file)."""

    region: str | None = None  # two capital letters; how to read a number written nationally
    format: str = E164
    short_codes: bool = False  # whether 3 to 8 bare digits pass as they are
    rewrite: tuple[Rewrite, ...] = ()


def compile_rewrite(match: str, replace: str) -> Rewrite:
    r"""A rule of `rewrite`: every match is replaced; `\1` and `\g<name>` stand for groups.

    Raises ValueError, in words for the author of the file.
    """
    import regex  # noqa: PLC0415 - 20 ms that a configuration without `rewrite` does not pay

    try:
        pattern = regex.compile(match)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    names = {number: name for name, number in pattern.groupindex.items()}
    groups = (f"(?P<{names[number]}>)" if number in names else "()" for number in range(1, pattern.groups + 1))
    try:
        # a replacement is only read where something matches: let it match, with the same groups
        regex.compile("".join(groups)).sub(replace, "")
    except (regex.error, IndexError) as error:
        raise ValueError(f"the replacement does not fit its pattern: {error}") from error
    return Rewrite(pattern, replace)


def known_region(code: str) -> bool:
    """Whether it is a region that numbers can be read for, such as `DE`: two capital letters (ISO 3166-1)."""
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    return code in phonenumbers.SUPPORTED_REGIONS


def region_of(e164: str) -> str | None:
    """The country of a number, as two capital letters (ISO 3166-1); None where several share its calling code."""
    regions = regions_of(e164)
    return next(iter(regions)) if len(regions) == 1 else None


def regions_of(e164: str) -> frozenset[str]:
    """The country of a number; of a range that the library does not know yet, all that share its calling code."""
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    number = phonenumbers.parse(e164, None)
    region = phonenumbers.region_code_for_number(number)
    return frozenset([region] if region else phonenumbers.region_codes_for_country_code(number.country_code or 0))


def type_of(e164: str) -> str:
    """What sort of number it is by the numbering plans: `mobile`, `premium_rate`, ... or `unknown`."""
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    kind = phonenumbers.number_type(phonenumbers.parse(e164, None))
    name: str = phonenumbers.PhoneNumberType.to_string(kind)
    return name.lower()


def nearest_regions(code: str) -> str:
    """What may have been meant by a code that is no region, in words for the author of a file."""
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    if code in _MISTAKEN_REGIONS:
        return f"did you mean `{_MISTAKEN_REGIONS[code]}`?"
    near = sorted(region for region in phonenumbers.SUPPORTED_REGIONS if region[0] == code[:1])
    return f"those with {code[0]}: {', '.join(near)}" if near else "two capital letters: DE, AT, CH"


def read(written: str, rules: PhoneRules) -> Recipient:
    """The recipient. Raises MessageError (invalid_destination), in words that do not repeat the number."""
    _check_length(written)
    if rules.format == VERBATIM:
        recipient = Recipient(_verbatim(written), None, written)
    elif rules.short_codes and _SHORT_CODE.fullmatch(written):
        recipient = Recipient(written, None, written)
    else:
        number = parse(written, rules.region)
        recipient = Recipient(_formatted(number, rules.format, rules.region), _formatted(number, E164), written)
    phone = recipient.phone
    for rule in rules.rewrite:
        phone = rule.apply(phone)
    return Recipient(phone, recipient.e164, written)


def reformat(written: str, style: str, region: str | None) -> str:
    """A number in another format, for the filters of templates; a short code stays as it is. Raises MessageError."""
    _check_length(written)
    try:
        return _formatted(parse(written, region), style, region)
    except MessageError:
        if _SHORT_CODE.fullmatch(written):
            return written
        raise


def parse(written: str, region: str | None) -> "phonenumbers.PhoneNumber":
    """The number that was written: `+…`, `00…` (read as `+`), or nationally when there is a region.

    Only its length is judged against the numbering plan: new ranges are in use before the library knows them.
    Raises MessageError.
    """
    import phonenumbers  # noqa: PLC0415 - 30 ms that `smsgwd check` mostly does not pay

    plain = _plain(written)
    international = plain.startswith("+")
    if not international and region is None:
        raise _refusal("the number is written nationally and the gateway has no `phone.region`: write +…")
    try:
        number = phonenumbers.parse(plain, None if international else region)
    except phonenumbers.NumberParseException:
        raise _refusal("not a telephone number") from None
    # is_possible_number would let pass what can only be dialled inside a town
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise _refusal("not a possible telephone number: too short, too long, or without its area code")
    if not international and len(_NOT_DIGITS.sub("", plain)) <= _LONGEST_SHORT_CODE:
        _check_no_short_code(number, plain)
    return number


def _check_length(written: str) -> None:
    if not written.strip():
        raise _refusal("the number is empty")
    if len(written) > MAX_WRITTEN:
        raise _refusal(f"the number is longer than {MAX_WRITTEN} characters")


def _verbatim(written: str) -> str:
    if _UNCARRIED.search(written):
        raise _refusal("the number holds a control character")
    return written


def _plain(written: str) -> str:
    """The number with ASCII digits, and `+` for a leading `00`; punctuation is left to the library."""
    written = unicodedata.normalize("NFKC", written.strip())  # full-width digits and plus
    if _WRITTEN_NUMBER.fullmatch(written) is None or _UNCARRIED.search(written):
        raise _refusal(
            "a number has digits, blanks, brackets, dots, slashes and dashes; `+` at its start; nothing else"
        )
    plain = "".join(str(unicodedata.decimal(character, character)) for character in written)
    digits = _NOT_DIGITS.sub("", plain)
    if digits.startswith("00") and not plain.startswith("+"):
        return "+" + digits[2:]
    return plain


def _check_no_short_code(number: "phonenumbers.PhoneNumber", plain: str) -> None:
    """Refuse a few digits that are no whole number.

    `80808` is "possible" in Germany, as +49 80808, which is nobody's. So few digits are a number where the plan knows
    them as one, and they are dialled like this: with the trunk prefix, where there is one, or a mobile number without.
    """
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    region = phonenumbers.region_code_for_number(number)
    prefix = None if region is None else phonenumbers.ndd_prefix_for_region(region, True)
    dialled = not prefix or _NOT_DIGITS.sub("", plain).startswith(prefix)
    mobile = phonenumbers.number_type(number) in {
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    }
    if not phonenumbers.is_valid_number(number) or not (dialled or mobile):
        raise _refusal("a short code, or not a whole number (`phone.short_codes: true` lets short codes pass)")


def _formatted(number: "phonenumbers.PhoneNumber", style: str, region: str | None = None) -> str:
    import phonenumbers  # noqa: PLC0415 - as in `parse`

    if style == NATIONAL:
        if region is not None and number.country_code != phonenumbers.country_code_for_region(region):
            raise _refusal("a number of another country cannot be written nationally")
        national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        return _NOT_DIGITS.sub("", national)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return {E164: "+", DIGITS: "", INTERNATIONAL: "00"}[style] + e164[1:]


def _refusal(detail: str) -> MessageError:
    return MessageError(Reason.INVALID_DESTINATION, detail)
