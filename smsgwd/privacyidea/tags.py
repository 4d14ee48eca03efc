"""Texts with privacyIDEA's tags, and the templates that say the same.

Between reading and writing, a tag stands in a text as one character of its own, a mark, so that what surrounds it can
be read (as JSON, say) without the tag being taken for anything else.
"""

import re
from collections.abc import Iterator, Mapping

PHONE, MESSAGE = "\ufdd0", "\ufdd1"  # noncharacters (Unicode, 23.7): no text that is sent holds them
_NAMES = {PHONE: "phone", MESSAGE: "message"}
_MARK = re.compile(f"([{PHONE}{MESSAGE}])")

# A brace that Jinja, or the warning for single braces, would take for more than a brace. The last one of a text may
# come to stand before a tag.
_BRACE = re.compile(r"\{(?=[{%#]|\Z| ?(?:message|otp|phone|reference|sender|secrets\.\w+) ?\})")
_ESCAPED = "{{ '{' }}"
_EXPRESSION = re.compile(r"""\{\{\s*(?:'\{'|"\{"|(phone|message|otp)|secrets\.(\w+))\s*\}\}""")
_SECRET = re.compile(r"\{\{[^}]*\bsecrets\.")


def mark(text: str, phone: str = "{phone}", otp: str = "{otp}") -> str:
    """The text with marks for its tags, replaced in the order of privacyIDEA: the message first."""
    return text.replace(otp, MESSAGE).replace(phone, PHONE)


def unmark(text: str) -> str:
    """The text with the tags as privacyIDEA writes them."""
    return text.replace(MESSAGE, "{otp}").replace(PHONE, "{phone}")


def is_marked(text: str) -> bool:
    """Whether the text has a tag."""
    return _MARK.search(text) is not None


def pieces(text: str) -> Iterator[str]:
    """The marks, and what stands between them, in order; nothing empty."""
    return filter(None, _MARK.split(text))


def literal(text: str) -> str:
    """A template, or a part of one, that renders to just this text."""
    return _BRACE.sub(lambda _: _ESCAPED, text)


def tag(piece: str) -> str:
    """The template of a mark, or of a text without one."""
    return f"{{{{ {_NAMES[piece]} }}}}" if piece in _NAMES else literal(piece)


def ended(template: str) -> str:
    """The template, whole: of one line break at its end a template makes nothing, so it takes two to say one."""
    return template + "\n" if template.endswith("\n") else template


def template(text: str) -> str:
    """The template of a marked text."""
    return ended("".join(map(tag, pieces(text))))


def has_secret(template: str) -> bool:
    """Whether a secret stands in the template."""
    return _SECRET.search(template) is not None


def marked(template: str, secrets: Mapping[str, str]) -> str | None:
    """The marked text of a template, its secrets filled in; None for one that says more than privacyIDEA's tags can.

    Raises KeyError for a secret that is not among them.
    """
    text = template.removesuffix("\r\n" if template.endswith("\r\n") else "\n")
    rest = _EXPRESSION.sub("", text)
    if re.search(r"\{[{%#]", rest):
        return None
    return _EXPRESSION.sub(lambda found: _meant(found, secrets), text)


def _meant(found: re.Match[str], secrets: Mapping[str, str]) -> str:
    if found[1]:
        return PHONE if found[1] == "phone" else MESSAGE
    return secrets[found[2]] if found[2] else "{"
