"""What may be shown of numbers, texts and secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgwd.privacy import hide_secrets, mask_number, scrub
from smsgwd.secret import Secret


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+4917012345667", "+4917*****67"),
        ("01701234567", "01701*****67"),
        ("80808", "*****08"),
        ("110", "*****"),
        ("", "*****"),
        ("+49 170 1234567", "+49 1*****67"),
    ],
)
def test_numbers_are_masked(number: str, shown: str) -> None:
    """The first five characters, five stars, the last two; of a short number less."""
    assert mask_number(number) == shown


@given(st.text("0123456789+ ", max_size=30))
def test_a_mask_never_shows_most_of_a_number(number: str) -> None:
    """At most seven characters are shown, and never all."""
    shown = mask_number(number).replace("*****", "")
    assert len(shown) <= 7
    assert not number or len(shown) < len(number) or "*" in mask_number(number)


def test_secrets_are_hidden_longest_first() -> None:
    """A secret that holds another is hidden whole; very short ones cannot be looked for."""
    secrets = [Secret("pass"), Secret("password"), Secret("abc")]
    assert hide_secrets("password=password pass abc", secrets) == "***=*** *** abc"


@pytest.mark.parametrize(
    ("quote", "shown"),
    [
        ("invalid number +49 170 1234567", "invalid number ***"),
        ("Your code is 482913 was refused", "*** was refused"),
        ("bad code 4829", "bad code 4829"),
        ("key s3cr3t is wrong", "key *** is wrong"),
        ("line\r\nbreak\x1b[31m", "line break [31m"),
        ("a" * 300, "a" * 199 + "…"),
        ("error 21211", "error 21211"),
        ("host 10.0.0.17 says 491701234567", "host *** says ***"),
    ],
)
def test_a_quote_is_scrubbed(quote: str, shown: str) -> None:
    """A provider's words lose numbers, texts, secrets, control characters and what is over 200 characters."""
    hidden = ["Your code is 482913", "+491701234567"]
    assert scrub(quote, hidden=hidden, secrets=[Secret("s3cr3t")]) == shown


@pytest.mark.parametrize(
    "echo",
    [
        "s3/c&r+t ä",
        "s3%2Fc%26r%2Bt%20%C3%A4",
        "s3/c%26r%2bt%20%c3%a4",
        "s3%2Fc%26r%2Bt+%C3%A4",
        "s3/c&amp;r+t ä",
        "s3/c&r+t \\u00e4",
        "s3\\/c&r+t \\u00e4",
        "s3\\\\/c&r+t ä",
    ],
)
def test_a_value_is_hidden_in_every_form(echo: str) -> None:
    """A URL, JSON, markup, or JSON in JSON writes a value in its own way: it is hidden all the same."""
    value = "s3/c&r+t ä"
    assert hide_secrets(f"key={echo}!", [Secret(value)]) == "key=***!"
    assert scrub(f"key={echo}!", hidden=[value], secrets=[]) == "key=***!"


@pytest.mark.parametrize(
    ("quote", "shown"),
    [
        ("refused: Dear Mrs Smith, your appoin...", "refused: ***..."),
        ("refused: ...your appointment is on Monday", "refused: ...***"),
        ("refused: %20Mrs%20Smith%2C%20your%20app", "refused: ***"),
        ("key sk-live-abcdefgh... is wrong", "key ***... is wrong"),
        ("your text is too long, Dear customer", "your text is too long, Dear customer"),
    ],
)
def test_pieces_of_a_text_are_hidden(quote: str, shown: str) -> None:
    """A provider that cuts the text or the key that it repeats gives neither away; short common words stay."""
    text = "Dear Mrs Smith, your appointment is on Monday"
    assert scrub(quote, hidden=[text], secrets=[Secret("sk-live-abcdefghijkl")]) == shown
