"""From a template's source to Jinja's syntax tree, with an exact place for every node and for every fault.

Jinja counts lines only. Its lexer yields each token as it stands in the source, though, so the offset of each is known;
the tokens go to Jinja's parser with the offset in the place of the line number, and so each node carries its own.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser

from smsgwd.templates.model import Fault, TemplateError

SYNTAX = "template-syntax"
NOT_ALLOWED = "template-not-allowed"

MAX_TOKENS = 200  # of one tag; with MAX_DEPTH it keeps parser and closures far from Python's recursion limit
MAX_DEPTH = 20  # of brackets in a tag, and of {% if %} in each other
_MAX_DIGITS = 9
_USUAL = 200  # characters of a source: longer ones are not worth keeping

# Only its lexer and parser are used, nothing is ever run by it: a trailing line break is ours to drop, once.
_ENVIRONMENT = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - an SMS is no HTML
_BEGINS = {"variable_begin": "}}", "block_begin": "%}"}
_ENDS = ("variable_end", "block_end")
_OPENING = {"(": ")", "[": "]", "{": "}"}
_CLOSING = set(_OPENING.values())
# Of Python's escapes those that stand for a character: others mean nothing, or half of a surrogate pair.
_ESCAPES = re.compile(
    r"\\(?:[\\'\"nrt]|x(?i:[0-9a-f]{2})"
    r"|u(?i:(?!d[89a-f])[0-9a-f]{4})|U(?i:(?!0000d[89a-f])(?:000[0-9a-f]|0010)[0-9a-f]{4}))"
)
_MENDS = {
    "=": "compare with `==`",
    "&": "write `and`",
    "|": "a filter's name follows `|`; for `||` write `or`",
    "!": "write `not`, or `!=`",
    "}": "`{{` ends with `}}`, `{%` with `%}`",
    "?": "write `a if b else c`",
}
_STATEMENTS = ("if", "elif", "else", "endif", "raw", "endraw")
_REFUSED_STATEMENTS = {
    *("for", "set", "include", "import", "from", "extends", "block", "macro", "call", "filter", "with", "autoescape"),
    *("print", "do", "break", "continue", "trans", "debug"),
}
# Blanks to Jinja and to Python, but no line breaks to Jinja: one of them carries a CR, which its lexer would rewrite.
_STAND_INS = "\x1c\x1d\x1e\x1f\x0b\x0c\x85\u2028\u2029\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"


class Lexeme(NamedTuple):
    """A token as it stands in the source."""

    offset: int
    kind: str  # Jinja's name of the token type
    text: str


@dataclass(frozen=True, slots=True)
class Syntax:
    """A template that could be read: `lineno` of each node is its offset; `faults` are of tags that were left out."""

    body: list[nodes.Node]
    lexemes: list[Lexeme]
    faults: list[Fault]

    def plain(self) -> Iterator[Lexeme]:
        """The text outside of all tags; what stands between `{% raw %}` and `{% endraw %}` is meant as it is."""
        before = ""
        for lexeme in self.lexemes:
            if lexeme.kind == "data" and before != "raw_begin":
                yield lexeme
            before = lexeme.kind


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is not known: the nearest one, or all of them."""
    words = sorted(known)
    close = get_close_matches(word, words, 1)
    if close:
        return f"did you mean `{close[0]}`?"
    return "known: " + ", ".join(words) if words else ""


def parse(source: str) -> Syntax:
    """The syntax tree. Raises TemplateError for what is no template."""
    return _parse_once(source) if len(source) <= _USUAL else _parse(source)


@lru_cache(maxsize=2048)
def _parse_once(source: str) -> Syntax:
    """What most files have in common (`{{ phone }}`, `{{ message }}`) is read once; nobody changes a tree."""
    return _parse(source)


def _parse(source: str) -> Syntax:
    carriage_return = _stand_in(source)
    lexemes = _lex(source.replace("\r", carriage_return))
    tags = list(_tags(lexemes))
    _check_sizes(tags)
    faults, left_out = _check_statements(tags)
    kept = [lexeme for lexeme in lexemes if lexeme.offset not in left_out]
    return Syntax(_tree(kept, carriage_return), lexemes, faults)


def _stand_in(source: str) -> str:
    if "\r" not in source:
        return "\r"
    for blank in _STAND_INS:
        if blank not in source:
            return blank
    raise _fail(source.index("\r"), "a template with so many control characters cannot be read")


def _fail(offset: int, message: str, hint: str = "") -> TemplateError:
    return TemplateError([Fault(offset, SYNTAX, message, hint)])


def _lex(source: str) -> list[Lexeme]:
    lexemes: list[Lexeme] = []
    end = 0
    try:
        for _, kind, text in _ENVIRONMENT.lexer.tokeniter(source, None):
            offset = source.index(text, end)  # blanks that `-` strips are part of no token
            end = offset + len(text)
            lexemes.append(Lexeme(offset, kind, text))
    except TemplateSyntaxError:
        raise _not_read(source, lexemes, end) from None
    for lexeme in lexemes:
        _check_literal(lexeme)
    return lexemes


def _not_read(source: str, lexemes: list[Lexeme], end: int) -> TemplateError:
    """What Jinja's lexer stumbled over: a comment or raw block without an end, or the character at `end`."""
    last = lexemes[-1]
    if last.kind == "comment_begin":
        return _fail(last.offset, "the comment is never closed: `#}` is missing")
    if last.kind == "raw_begin":
        return _fail(last.offset, "`{% raw %}` is never closed: `{% endraw %}` is missing")
    found = source[end]
    if found in "'\"":
        return _fail(end, f"the text in quotes is never closed: the second {found} is missing")
    opened = _open_brackets(lexemes)
    if found in _CLOSING and opened:
        return _fail(
            opened[-1].offset, f"`{opened[-1].text}` is never closed: `{_OPENING[opened[-1].text]}` is missing"
        )
    return _fail(end, f"`{found}` is not expected here", _MENDS.get(found, ""))


def _open_brackets(lexemes: list[Lexeme]) -> list[Lexeme]:
    """The brackets that are open at the end of the last tag."""
    opened: list[Lexeme] = []
    for lexeme in lexemes:
        if lexeme.kind in _BEGINS:
            opened.clear()
        elif lexeme.text in _OPENING and lexeme.kind == "operator":
            opened.append(lexeme)
        elif lexeme.text in _CLOSING and lexeme.kind == "operator":
            opened.pop()
    return opened


def _check_literal(lexeme: Lexeme) -> None:
    if lexeme.kind == "string":
        rest = _ESCAPES.sub(lambda match: " " * len(match[0]), lexeme.text)
        if "\\" in rest:
            place = lexeme.offset + rest.index("\\")
            raise _fail(
                place, "no such escape in a text", r"known: \\ \' \" \n \r \t \xhh \uhhhh; a backslash itself is \\"
            )
    elif lexeme.kind in ("integer", "float") and len(lexeme.text) > _MAX_DIGITS:
        raise _fail(lexeme.offset, "the number is too long", "put a text in quotes")


def _tags(lexemes: list[Lexeme]) -> Iterator[list[Lexeme]]:
    """The tokens of each `{{ }}` and `{% %}`, blanks left out."""
    tag: list[Lexeme] = []
    for lexeme in lexemes:
        if lexeme.kind in _BEGINS:
            tag = [lexeme]
        elif tag and lexeme.kind != "whitespace":
            tag.append(lexeme)
        if tag and lexeme.kind in _ENDS:
            yield tag
            tag = []
    if tag:
        raise _fail(tag[0].offset, f"`{tag[0].text}` is never closed: `{_BEGINS[tag[0].kind]}` is missing")


def _check_sizes(tags: list[list[Lexeme]]) -> None:
    for tag in tags:
        depth = 0
        for lexeme in tag:
            depth += (lexeme.text in _OPENING) - (lexeme.text in _CLOSING) if lexeme.kind == "operator" else 0
            if depth > MAX_DEPTH:
                raise _fail(lexeme.offset, f"brackets are nested deeper than {MAX_DEPTH}")
        if len(tag) > MAX_TOKENS:
            raise _fail(tag[0].offset, f"the expression has more than {MAX_TOKENS} words and signs")


def _check_statements(tags: list[list[Lexeme]]) -> tuple[list[Fault], set[int]]:
    """The faults of statements, and the offsets of the tokens to leave out, so that the rest is still looked at."""
    faults: list[Fault] = []
    left_out: set[int] = set()
    opened: list[Lexeme] = []
    for tag in tags:
        begin, word = tag[0], tag[1]
        if begin.kind != "block_begin" or word.kind != "name":
            continue
        if word.text == "if":
            opened.append(begin)
            if len(opened) > MAX_DEPTH:
                raise _fail(begin.offset, f"`{{% if %}}` is nested deeper than {MAX_DEPTH}")
        elif word.text in ("elif", "else", "endif") and opened:
            if word.text == "endif":
                opened.pop()
        else:
            faults += _refused_statement(word)
            left_out.update(lexeme.offset for lexeme in tag)
    if opened:
        faults.append(Fault(opened[-1].offset, SYNTAX, "`{% if %}` is never closed: `{% endif %}` is missing"))
        raise TemplateError(faults)
    return faults, left_out


def _refused_statement(word: Lexeme) -> list[Fault]:
    if word.text in _REFUSED_STATEMENTS:
        message = f"`{{% {word.text} %}}` is not allowed: templates know `{{% if %}}` and nothing else"
        return [Fault(word.offset, NOT_ALLOWED, message)]
    if word.text.removeprefix("end") in _REFUSED_STATEMENTS:
        return []  # its beginning is a fault already
    if word.text in _STATEMENTS:
        return [Fault(word.offset, SYNTAX, f"`{{% {word.text} %}}` without its beginning")]
    return [Fault(word.offset, SYNTAX, f"unknown tag `{word.text}`", nearest(word.text, _STATEMENTS))]


def _tree(lexemes: list[Lexeme], carriage_return: str) -> list[nodes.Node]:
    parser = Parser(_ENVIRONMENT, "")
    parser.stream = TokenStream(_tokens(lexemes, carriage_return), None, None)
    try:
        return parser.parse().body
    except TemplateSyntaxError as error:
        raise _not_parsed(lexemes, error.lineno) from None


def _tokens(lexemes: list[Lexeme], carriage_return: str) -> Iterator[Token]:
    for token in _ENVIRONMENT.lexer.wrap(lexemes):
        if token.type in ("data", "string") and carriage_return in token.value:
            yield Token(token.lineno, token.type, token.value.replace(carriage_return, "\r"))
        else:
            yield token


def _not_parsed(lexemes: list[Lexeme], offset: int) -> TemplateError:
    """What Jinja's parser stumbled over, in our words."""
    found = next((lexeme for lexeme in lexemes if lexeme.offset == offset), None)
    if found is None:
        return _fail(offset, "the template cannot be read here")
    if found.kind in _ENDS:
        return _fail(offset, f"something is missing before `{found.text.strip()}`")
    return _fail(offset, f"`{found.text}` is not expected here", _MENDS.get(found.text, ""))
