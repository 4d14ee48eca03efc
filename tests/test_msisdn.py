import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.errors import MessageError
from smsgwd.message import Recipient
from smsgwd.msisdn import FORMATS, PhoneRules, compile_rewrite, known_region, read, reformat
from smsgwd.outcome import Reason

GERMANY = PhoneRules(region="DE")
ANYWHERE = PhoneRules()
LONG = "+49170" + " " * 45


def refusal(written: str, rules: PhoneRules) -> str:
    with pytest.raises(MessageError) as caught:
        read(written, rules)
    assert caught.value.reason is Reason.INVALID_DESTINATION
    digits = re.sub(r"\D", "", written)
    assert len(digits) < 4 or digits not in caught.value.detail, "a refusal repeats the number"
    return caught.value.detail


@pytest.mark.parametrize(
    "written",
    [
        "+491701234567",
        "00491701234567",
        "01701234567",
        "0170 1234567",
        "0170/123 45-67",
        "(0170) 123.45.67",
        "+49 (0)170 1234567",
        "0049 (0) 170 1234567",
        "00 49 170 1234567",
        "  +49 170 1234567  ",
        "+49\u00a0170\u20111234567",
        "０１７０１２３４５６７",
        "＋４９１７０１２３４５６７",
        "٠١٧٠١٢٣٤٥٦٧",
        "1701234567",
    ],
)
def test_reads_what_people_write(written: str) -> None:
    """Blanks, brackets, slashes, dots, dashes, a (0), other digits: each is the same number."""
    assert read(written, GERMANY) == Recipient("+491701234567", "+491701234567", written)


@pytest.mark.parametrize("written", ["+43 664 1234567", "0043 664 1234567", "+43(0)664/1234567"])
def test_an_international_number_needs_no_region(written: str) -> None:
    """With + or 00 a number is the same whatever the region says, and also without one."""
    for rules in (ANYWHERE, GERMANY, PhoneRules(region="US"), PhoneRules(region="SG")):
        assert read(written, rules).phone == "+436641234567"


@pytest.mark.parametrize(
    ("region", "written", "e164"),
    [
        ("AT", "0664 1234567", "+436641234567"),
        ("US", "(212) 555-0100", "+12125550100"),
        ("GB", "07700 900123", "+447700900123"),
        ("IT", "06 12345678", "+390612345678"),
        ("DK", "20123456", "+4520123456"),
        ("NO", "22 12 34 56", "+4722123456"),
        ("SG", "81234567", "+6581234567"),
        ("MN", "88112233", "+97688112233"),
    ],
)
def test_reads_national_numbers_by_region(region: str, written: str, e164: str) -> None:
    """A number without + or 00 belongs to the region, also where whole numbers have eight digits."""
    assert read(written, PhoneRules(region=region)).phone == e164


@pytest.mark.parametrize(
    ("style", "phone"),
    [
        ("e164", "+491701234567"),
        ("digits", "491701234567"),
        ("international", "00491701234567"),
        ("national", "01701234567"),
        ("verbatim", "0170 1234567"),
    ],
)
def test_formats(style: str, phone: str) -> None:
    """Each format of `phone.format` is what its example says; verbatim alone has no E.164 form beside it."""
    recipient = read("0170 1234567", PhoneRules(region="DE", format=style))
    assert recipient == Recipient(phone, None if style == "verbatim" else "+491701234567", "0170 1234567")
    assert style in FORMATS


@pytest.mark.parametrize(
    ("written", "phone"),
    [("+12125550100", "2125550100"), ("+33612345678", "0612345678"), ("+36201234567", "06201234567")],
)
def test_national_is_as_dialled_there(written: str, phone: str) -> None:
    """Without a region the national format is that of the number's own country: digits only, its trunk prefix."""
    assert read(written, PhoneRules(format="national")).phone == phone


def test_national_refuses_another_country() -> None:
    """Written nationally, an Austrian number would reach a stranger in Germany."""
    assert "another country" in refusal("+436641234567", PhoneRules(region="DE", format="national"))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (LONG, "longer than 50"),
        ("0170 1234567", "phone.region"),
        ("80808", "phone.region"),
        ("+49 170 CALLME", "nothing else"),
        ("+1-800-FLOWERS", "nothing else"),
        ("+49 170 1234567 ext. 5", "nothing else"),
        ("+491701234567;ext=5", "nothing else"),
        ("+491701234567,5", "nothing else"),
        ("tel:+491701234567", "nothing else"),
        ("+49+1701234567", "nothing else"),
        ("++491701234567", "nothing else"),
        ("+49170\n1234567", "nothing else"),
        ("+49170\x001234567", "nothing else"),
        ("+49170\ud8001234567", "nothing else"),
        ("*31#+491701234567", "nothing else"),
        ("+", "nothing else"),
        ("+()", "not a telephone number"),
        ("00", "not a telephone number"),
        ("+999123456789", "not a telephone number"),
        ("+49", "not a telephone number"),
        ("+4917", "not a possible"),
        ("+491701234567890123", "not a"),
        ("+1 555 0100", "not a possible"),
    ],
)
def test_refuses_what_is_no_number(written: str, words: str) -> None:
    """Each refusal is invalid_destination, says why, and does not repeat the number."""
    assert words in refusal(written, ANYWHERE)


def test_possible_is_enough() -> None:
    """A number of a range that the library does not know yet passes: only its length is judged."""
    assert read("+882 99 1234567", ANYWHERE).phone == "+882991234567"


@pytest.mark.parametrize("written", ["110", "112", "80808", "808 08", "30123", "22333", "1234567"])
def test_a_short_code_never_becomes_a_number(written: str) -> None:
    """Without `short_codes` a few bare digits are refused and not completed to +49 80808."""
    assert refusal(written, GERMANY)


@pytest.mark.parametrize("region", ["AT", "CH", "US", "GB", "FR", "IT", "ES"])
def test_short_codes_elsewhere(region: str) -> None:
    """In none of these countries five bare digits are taken for a subscriber."""
    for written in ("12345", "30123", "66777", "72404", "80888", "98765"):
        assert refusal(written, PhoneRules(region=region))


@pytest.mark.parametrize("written", ["110", "80808", "12345678"])
def test_short_codes_pass_where_allowed(written: str) -> None:
    """With `short_codes` three to eight bare digits pass as they are, in every format, and have no E.164 form."""
    for style in FORMATS:
        rules = PhoneRules(region="DE", format=style, short_codes=True)
        assert read(written, rules) == Recipient(written, None, written)


@pytest.mark.parametrize("written", ["12", "+80808", "80a08"])
def test_short_codes_are_bare_digits(written: str) -> None:
    """Two digits, a plus or a letter make no short code."""
    assert refusal(written, PhoneRules(short_codes=True))


def test_short_codes_do_not_hide_numbers() -> None:
    """With `short_codes` a longer number is still read."""
    assert read("0170 1234567", PhoneRules(region="DE", short_codes=True)).phone == "+491701234567"


@pytest.mark.parametrize("written", ["anything", " 0170 x", "+++", "sip:alice@example.com"])
def test_verbatim_takes_what_is_written(written: str) -> None:
    """Verbatim is not parsed: letters, blanks and all pass as they are."""
    assert read(written, PhoneRules(format="verbatim")) == Recipient(written, None, written)


@pytest.mark.parametrize("written", ["", "  ", "\n", LONG, "0170\r\nX-Evil: 1", "0170\x7f", "\u2028", "0170\ud800"])
def test_verbatim_still_refuses(written: str) -> None:
    """Verbatim takes nothing that is empty, over-long or holds a control character."""
    assert refusal(written, PhoneRules(format="verbatim"))


@pytest.mark.parametrize(
    ("style", "written", "rules", "phone"),
    [
        ("e164", "0170 1234567", [(r"^\+", "00")], "00491701234567"),
        ("verbatim", "0170 1234567", [("^0", "0049"), (" ", "")], "00491701234567"),
        ("verbatim", "0170 1234567", [(r"^0(\d+) (\d+)", r"\2-\1")], "1234567-170"),
        ("digits", "0170 1234567", [(r"^(?P<country>49)", r"+\g<country>")], "+491701234567"),
        ("e164", "0170 1234567", [("^0", "X")], "+491701234567"),
        ("e164", "0170 1234567", [("$", "@sms.example.com")], "+491701234567@sms.example.com"),
    ],
)
def test_rewrites(style: str, written: str, rules: list[tuple[str, str]], phone: str) -> None:
    """Rules apply in order to the formatted number, for verbatim to what was written; the E.164 form stays."""
    compiled = tuple(compile_rewrite(match, replace) for match, replace in rules)
    recipient = read(written, PhoneRules(region="DE", format=style, rewrite=compiled))
    assert recipient.phone == phone
    assert recipient.e164 == (None if style == "verbatim" else "+491701234567")


@pytest.mark.parametrize("replace", ["", "\\n", "x" * 300])
def test_a_rewrite_must_leave_a_number(replace: str) -> None:
    """A rule that leaves nothing, a line break or an endless text is a refusal, not a request."""
    rules = PhoneRules(format="verbatim", rewrite=(compile_rewrite(r"\d+", replace),))
    assert "rewrite" in refusal("01701234567", rules)


def test_a_rewrite_has_a_time_limit() -> None:
    """A pattern that would run for hours ends in a refusal within a moment."""
    rule = compile_rewrite(r"((a)|(a))+$(?<=x)", "")
    before = time.monotonic()
    assert "too long" in refusal("a" * 49, PhoneRules(format="verbatim", rewrite=(rule,)))
    assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    ("match", "replace", "words"),
    [
        ("(", "x", "not a regular expression: missing )"),
        ("[", "x", "not a regular expression"),
        ("(" * 5000 + ")" * 5000, "x", "not a regular expression"),
        ("(?<=a", "x", "not a regular expression"),
        ("^0", r"\1", "the replacement does not fit"),
        ("^(0)", r"\2", "the replacement does not fit"),
        ("^0", r"\g<country>", "the replacement does not fit"),
        ("^(?P<zero>0)", r"\g<zero", "the replacement does not fit"),
        ("^0", "\\", "the replacement does not fit"),
        ("^0", r"\q", "the replacement does not fit"),
    ],
)
def test_bad_rules_are_found_when_compiled(match: str, replace: str, words: str) -> None:
    """A bad pattern, and a replacement that names a group which is not there, are errors before anything is sent."""
    with pytest.raises(ValueError, match=re.escape(words)):
        compile_rewrite(match, replace)


@pytest.mark.parametrize(
    ("code", "known"), [("DE", True), ("AT", True), ("UK", False), ("de", False), ("001", False), ("", False)]
)
def test_known_regions(code: str, known: bool) -> None:
    """Regions are the two capital letters of ISO 3166-1, as far as numbers are known for them."""
    assert known_region(code) is known


@pytest.mark.parametrize(
    ("written", "style", "region", "phone"),
    [
        ("0170 1234567", "e164", "DE", "+491701234567"),
        ("+491701234567", "digits", None, "491701234567"),
        ("+491701234567", "international", None, "00491701234567"),
        ("+491701234567", "national", "DE", "01701234567"),
        ("80808", "e164", "DE", "80808"),
        ("80808", "digits", None, "80808"),
        ("20123456", "e164", "DK", "+4520123456"),
    ],
)
def test_reformat(written: str, style: str, region: str | None, phone: str) -> None:
    """The filters of templates format a number; a short code, which has no other form, stays."""
    assert reformat(written, style, region) == phone


@pytest.mark.parametrize("written", ["ACME", "", "0170 1234567", "x" * 60])
def test_reformat_refuses_the_rest(written: str) -> None:
    """What is no number is a MessageError, as everywhere."""
    with pytest.raises(MessageError):
        reformat(written, "e164", None)


@given(st.text(max_size=60) | st.text(alphabet="+0123456789 -/.()٣４", max_size=60))
def test_any_text_is_read_or_refused(written: str) -> None:
    """Whatever is written, there is a number in E.164 or a refusal, never a crash; reading it again changes nothing."""
    for rules in (ANYWHERE, GERMANY, PhoneRules(region="US", short_codes=True)):
        try:
            recipient = read(written, rules)
        except MessageError:
            continue
        assert re.fullmatch(r"\+[1-9][0-9]{2,16}|[0-9]{3,8}", recipient.phone)
        assert read(recipient.phone, rules).phone == recipient.phone
