"""Templates of gateway files: Jinja's syntax, a fixed list of what is allowed, compiled to closures.

    template, warnings = compile_template("Your code is {{ vars.code }}.", scope)
    template.render({"vars.code": "123456"})

Jinja reads the source and that is all it does: its syntax tree is walked once (`compiler`), and what rendering runs is
ours. Equality with Jinja's own rendering is a property test.
"""

import re
from collections.abc import Callable, Iterable

from smsgwd.templates import compiler
from smsgwd.templates.model import (
    MAX_RENDERED,
    Expression,
    Fault,
    Render,
    Scope,
    Template,
    TemplateError,
)
from smsgwd.templates.syntax import SYNTAX, parse

__all__ = [
    "MAX_RENDERED",
    "Expression",
    "Fault",
    "Render",
    "Scope",
    "Template",
    "TemplateError",
    "compile_template",
]

MAX_SOURCE = 100_000  # characters: ten times of what a template may render to, comments and conditions included
_TAG = re.compile(r"\{[{%#]")
_SINGLE_BRACES = re.compile(r"\{ ?([A-Za-z_][A-Za-z0-9_.]*) ?\}")


def compile_template(
    text: str, scope: Scope, escape: Callable[[str], str] | None = None
) -> tuple[Template, list[Fault]]:
    """The template and its warnings. `escape` is applied to what each expression yields, not to the text around it.

    One line break at the end of the text (of a YAML block scalar) is no part of it.
    Raises TemplateError with all faults, errors and warnings.
    """
    source = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    _check_source(source)
    if _TAG.search(source) is None:  # most texts of a gateway file are plain ones
        return _template(text, (source,) if source else ()), _lone_names([(0, source)], scope)
    try:
        return _compiled(text, source, scope, escape)
    except RecursionError:  # the limits of `syntax` are far from it, unless the caller stands very deep
        raise TemplateError([Fault(0, SYNTAX, "the template is nested too deeply")]) from None


def _compiled(
    text: str, source: str, scope: Scope, escape: Callable[[str], str] | None
) -> tuple[Template, list[Fault]]:
    syntax = parse(source)
    body = compiler.Compiler(scope, escape)
    pieces = body.body(syntax.body)
    warnings = _lone_names([(lexeme.offset, lexeme.text) for lexeme in syntax.plain()], scope)
    if syntax.faults or body.faults:
        raise TemplateError([*syntax.faults, *body.faults, *warnings])
    return _template(text, pieces), warnings


def _template(text: str, pieces: tuple[str | Expression, ...]) -> Template:
    uses = frozenset().union(*(piece.uses for piece in pieces if isinstance(piece, Expression)))
    constant = all(name.startswith("secrets.") for name in uses)
    return Template(text, uses, constant, pieces, compiler.join(pieces))


def _check_source(source: str) -> None:
    if len(source) > MAX_SOURCE:
        raise TemplateError([Fault(MAX_SOURCE, SYNTAX, f"a template is longer than {MAX_SOURCE:,} characters")])
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise TemplateError([Fault(error.start, SYNTAX, "half of a surrogate pair is no character")]) from None


def _lone_names(texts: Iterable[tuple[int, str]], scope: Scope) -> list[Fault]:
    """A warning for each name of the scope that stands in single braces."""
    known = scope.names | {f"secrets.{name}" for name in scope.secrets}
    return [
        Fault(
            offset + match.start(),
            "single-brace",
            f"`{match[0]}` is sent as it stands: a name has two braces",
            f"did you mean `{{{{ {match[1]} }}}}`?",
            warning=True,
        )
        for offset, text in texts
        for match in _SINGLE_BRACES.finditer(text)
        if match[1] in known
    ]
