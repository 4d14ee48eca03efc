"""From Jinja's syntax tree to closures: the tree is walked once against the list of what is allowed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeGuard, cast

from jinja2 import nodes

from smsgwd import msisdn
from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.templates.filters import FILTERS, NAMES, NUMBER_FILTERS, Parameter
from smsgwd.templates.model import MAX_RENDERED, MAX_VALUE, Expression, Fault, Render, Scope, too_long
from smsgwd.templates.syntax import NOT_ALLOWED, nearest

_REFUSED = {
    nodes.Call: "there are no calls in a template",
    nodes.Getattr: "only `vars.` and `secrets.` have names behind a dot",
    nodes.Getitem: "there are no brackets behind a name: write `vars.NAME`",
    nodes.Test: "there are no tests: every name is defined, and `{% if NAME %}` asks whether it is empty",
    nodes.Tuple: "a list stands behind `in` and nowhere else",
    nodes.List: "a list stands behind `in` and nowhere else",
    nodes.Dict: "there are no dictionaries in a template",
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos),
        "there is no arithmetic in a template: `~` joins texts",
    ),
}
_FAILURE_OF = {"phone": Reason.INVALID_DESTINATION, "sender": Reason.INVALID_SENDER}
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Value:
    """A compiled expression. `kind` is str, bool, int, float or NoneType; None where a fault has been found."""

    kind: type | None
    call: Callable[[Mapping[str, str]], Any]
    uses: frozenset[str] = _NOTHING
    literal: Any = ...


def _constant(value: Any) -> Callable[[Mapping[str, str]], Any]:
    return lambda _names: value


_BROKEN = _Value(None, _constant(""))


def join(pieces: Sequence[str | Expression]) -> Render:
    """One closure of texts and expressions; it stops as soon as the text is too long."""
    calls = [_constant(piece) if isinstance(piece, str) else piece.render for piece in pieces]
    if not calls:
        return _constant("")

    def render(names: Mapping[str, str]) -> str:
        texts = []
        room = MAX_RENDERED
        for call in calls:
            text = call(names)
            room -= len(text)
            if room < 0:
                raise too_long()
            texts.append(text)
        return "".join(texts)

    return render


@dataclass(slots=True)
class Compiler:
    """Compiles the body of one template and collects its faults."""

    scope: Scope
    escape: Callable[[str], str] | None
    faults: list[Fault] = field(default_factory=list)

    def body(self, tree: Iterable[nodes.Node]) -> tuple[str | Expression, ...]:
        """The texts and expressions of a body, adjacent texts joined."""
        pieces: list[str | Expression] = []
        for node in tree:
            for piece in self._pieces(node):
                if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
        return tuple(pieces)

    def _pieces(self, node: nodes.Node) -> Iterator[str | Expression]:
        if isinstance(node, nodes.If):
            yield self._block(node)
        elif isinstance(node, nodes.Output):
            for part in node.nodes:
                yield part.data if isinstance(part, nodes.TemplateData) else self._output(part)

    # Statements and output

    def _block(self, node: nodes.If) -> Expression:
        branches = [(branch, self._condition(cast("nodes.Expr", branch.test))) for branch in (node, *node.elif_)]
        compiled = [(test, self.body(branch.body)) for branch, test in branches]
        compiled.append((_Value(bool, _constant(value=True)), self.body(node.else_)))
        uses = [test.uses for test, _ in compiled]
        uses += [piece.uses for _, body in compiled for piece in body if isinstance(piece, Expression)]
        choices = [(test.call, join(body)) for test, body in compiled]

        def render(names: Mapping[str, str]) -> str:
            return next(body(names) for test, body in choices if test(names))

        return Expression(_NOTHING.union(*uses), render, render, block=True)

    def _output(self, node: nodes.Expr) -> Expression:
        value = self._secret(node) if _is_secret(node) else self._text(node, numbers=True)
        escape, call = self.escape, value.call
        render = call if escape is None else lambda names: escape(call(names))
        return Expression(value.uses, render, call)

    def _secret(self, node: nodes.Getattr) -> _Value:
        name = f"secrets.{node.attr}"
        secret = self.scope.secrets.get(node.attr)
        if secret is not None:
            return _Value(str, _constant(secret.reveal()), frozenset({name}))
        if self.scope.secrets:
            hint = nearest(name, (f"secrets.{known}" for known in self.scope.secrets))
        else:
            hint = "declare it under `secrets`; a text of `templates` sees none of them"
        return self._fault(node.node.lineno, "unknown-name", f"unknown name `{name}`", hint)

    # Expressions

    def _expression(self, node: nodes.Expr) -> _Value:
        rule = _RULES.get(type(node))
        if rule is not None:
            return rule(self, node)
        if isinstance(node, nodes.BinExpr | nodes.UnaryExpr):
            for child in node.iter_child_nodes():
                if isinstance(child, nodes.Expr):
                    self._expression(child)
        return self._refuse(node, _REFUSED.get(type(node), "this is not allowed in a template"))

    def _text(self, node: nodes.Expr, *, numbers: bool = False) -> _Value:
        """An expression that has to be text; `numbers` lets a written number stand for its text."""
        value = self._expression(node)
        if value.kind in (str, None):
            return value
        if value.kind in (int, float):
            if numbers:
                return _Value(str, _constant(str(value.literal)))
            return self._refuse(node, f"a number where text is wanted: write `'{value.literal}'`")
        return self._refuse(node, "yes or no where text is wanted: conditions belong into `if`")

    def _condition(self, node: nodes.Expr) -> _Value:
        value = self._expression(node)
        if value.kind in (str, bool, None):
            return value
        return self._refuse(node, "this is always the same: a condition asks for a name")

    def name(self, node: nodes.Name) -> _Value:
        """A name of the scope."""
        if node.name in self.scope.names:
            return _Value(str, itemgetter(node.name), frozenset({node.name}))
        if node.name in ("vars", "secrets"):
            return self._fault(
                node.lineno, "unknown-name", f"`{node.name}` alone is no text", f"write `{node.name}.NAME`"
            )
        return self._unknown(node, node.name)

    def dotted(self, node: nodes.Getattr) -> _Value:
        """`vars.NAME`; a secret gets here only where it may not stand."""
        if _is_secret(node):
            self._secret(node)
            message = "a secret stands bare: no filter, condition or comparison"
            hint = f"write `{{{{ secrets.{node.attr} }}}}` with text around it"
            return self._fault(node.node.lineno, "secret-in-expression", message, hint)
        if not (isinstance(node.node, nodes.Name) and node.node.name == "vars"):
            hint = f"a filter is written `| {node.attr}`" if node.attr in NAMES else ""
            return self._refuse(node, _REFUSED[nodes.Getattr], hint)
        name = f"vars.{node.attr}"
        if name in self.scope.names:
            return _Value(str, itemgetter(name), frozenset({name}))
        return self._unknown(node.node, name)

    def _unknown(self, node: nodes.Node, name: str) -> _Value:
        known = self.scope.names | {f"secrets.{secret}" for secret in self.scope.secrets}
        other_places = (f"vars.{name}", f"secrets.{name}", name.removeprefix("vars."))
        near = next((place for place in other_places if place in known), None)
        hint = nearest(name, known) if near is None else f"did you mean `{near}`?"
        return self._fault(node.lineno, "unknown-name", f"unknown name `{name}`", hint)

    def literal(self, node: nodes.Const) -> _Value:
        """A text, a number, true, false or none."""
        return _Value(type(node.value), _constant(node.value), literal=node.value)

    def concat(self, node: nodes.Concat) -> _Value:
        """`a ~ b`: texts joined; a written number is its text."""
        values = [self._text(part, numbers=True) for part in node.nodes]
        calls = [value.call for value in values]
        return _Value(str, lambda names: _bounded("".join([call(names) for call in calls])), _uses(values))

    def choice(self, node: nodes.CondExpr) -> _Value:
        """`a if b else c`; without `else`, no text."""
        test = self._condition(node.test)
        chosen = self._text(node.expr1)
        other = _Value(str, _constant("")) if node.expr2 is None else self._text(node.expr2)
        ask, yes, no = test.call, chosen.call, other.call
        return _Value(str, lambda names: yes(names) if ask(names) else no(names), _uses((test, chosen, other)))

    def both(self, node: nodes.And) -> _Value:
        """`a and b`."""
        left, right = self._condition(node.left), self._condition(node.right)
        one, two = left.call, right.call
        return _Value(_common(left, right), lambda names: one(names) and two(names), _uses((left, right)))

    def either(self, node: nodes.Or) -> _Value:
        """`a or b`, which is how an empty name gets a stand-in."""
        left, right = self._condition(node.left), self._condition(node.right)
        one, two = left.call, right.call
        return _Value(_common(left, right), lambda names: one(names) or two(names), _uses((left, right)))

    def negation(self, node: nodes.Not) -> _Value:
        """`not a`."""
        value = self._condition(node.node)
        call = value.call
        return _Value(bool, lambda names: not call(names), value.uses)

    def comparison(self, node: nodes.Compare) -> _Value:
        """`a == b`, `a != b`, `a in b`, `a not in b`."""
        operand = node.ops[0]
        left = self._text(node.expr)
        right = self._container(operand.expr) if operand.op in ("in", "notin") else self._text(operand.expr)
        if len(node.ops) > 1 or operand.op not in _COMPARISONS:
            return self._refuse(node, "texts are compared by `==`, `!=`, `in` or `not in`, two at a time")
        one, two, compare = left.call, right.call, _COMPARISONS[operand.op]
        return _Value(bool, lambda names: compare(one(names), two(names)), _uses((left, right)))

    def _container(self, node: nodes.Expr) -> _Value:
        if not isinstance(node, nodes.List | nodes.Tuple):
            return self._text(node)
        items = [self._text(item) for item in node.items]
        calls = [item.call for item in items]
        return _Value(list, lambda names: [call(names) for call in calls], _uses(items))

    # Filters

    def filtered(self, node: nodes.Filter) -> _Value:
        """`a | filter(arguments)`."""
        assert node.node is not None  # noqa: S101 - None is of {% filter %} alone, which is refused
        operand = self._text(node.node)
        if node.name in NUMBER_FILTERS:
            self._arguments(node, ())
            return _Value(str, self._number(node.name, node.node, operand), operand.uses)
        if node.name not in FILTERS:
            for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
                self._expression(argument)
            return self._fault(
                node.lineno, "unknown-filter", f"unknown filter `{node.name}`", nearest(node.name, NAMES)
            )
        chosen = FILTERS[node.name]
        arguments = self._arguments(node, chosen.parameters)
        if arguments is None:
            return _BROKEN
        complaint = chosen.check(*(argument.literal for argument in arguments))
        if complaint is not None:
            return self._refuse(node, complaint)
        return _Value(str, _applied(chosen.apply, operand.call, arguments), _uses((operand, *arguments)))

    def _arguments(self, node: nodes.Filter, parameters: tuple[Parameter, ...]) -> list[_Value] | None:
        """A value for each parameter, as Python would bind them; None and a fault where they do not fit."""
        before = len(self.faults)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            self._refuse(node, "arguments are written one by one, without `*`")
        given = dict(zip((parameter.name for parameter in parameters), node.args, strict=False))
        if len(node.args) > len(parameters):
            self._refuse(node, f"`{node.name}` takes {_at_most(len(parameters))}")
        for keyword in cast("list[nodes.Keyword]", node.kwargs):
            if keyword.key in given or keyword.key not in {parameter.name for parameter in parameters}:
                self._refuse(node, f"`{node.name}` has no `{keyword.key}` to be given here")
            given[keyword.key] = keyword.value
        values = [self._argument(node, parameter, given.get(parameter.name)) for parameter in parameters]
        return values if len(self.faults) == before and None not in [value.kind for value in values] else None

    def _argument(self, node: nodes.Filter, parameter: Parameter, given: nodes.Expr | None) -> _Value:
        if given is None:
            if parameter.default is ...:
                return self._refuse(node, f"`{node.name}` lacks its `{parameter.name}`")
            return _Value(parameter.kind, _constant(parameter.default), literal=parameter.default)
        value = self._text(given) if parameter.kind is str else self._expression(given)
        if value.kind is None or (value.kind is parameter.kind and not (parameter.literal and value.literal is ...)):
            return value
        return self._refuse(given, f"`{parameter.name}` of `{node.name}` is {_WRITTEN[parameter.kind]}")

    def _number(self, style: str, node: nodes.Expr, operand: _Value) -> Render:
        call = operand.call
        if isinstance(node, nodes.Name) and node.name == "phone":
            call = _as_dialled
        reason = next((reason for name, reason in _FAILURE_OF.items() if name in operand.uses), Reason.CONTENT)
        region = self.scope.region

        def render(names: Mapping[str, str]) -> str:
            try:
                return msisdn.reformat(call(names), style, region)
            except MessageError as error:
                raise MessageError(reason, f"the filter `{style}`: {error.detail}") from None

        return render

    # Faults

    def _refuse(self, node: nodes.Node, message: str, hint: str = "") -> _Value:
        return self._fault(_start(node), NOT_ALLOWED, message, hint)

    def _fault(self, offset: int, code: str, message: str, hint: str = "") -> _Value:
        self.faults.append(Fault(offset, code, message, hint))
        return _BROKEN


_RULES: dict[type[nodes.Expr], Callable[[Compiler, Any], _Value]] = {
    nodes.Name: Compiler.name,
    nodes.Getattr: Compiler.dotted,
    nodes.Const: Compiler.literal,
    nodes.Concat: Compiler.concat,
    nodes.CondExpr: Compiler.choice,
    nodes.And: Compiler.both,
    nodes.Or: Compiler.either,
    nodes.Not: Compiler.negation,
    nodes.Compare: Compiler.comparison,
    nodes.Filter: Compiler.filtered,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda one, two: one == two,
    "ne": lambda one, two: one != two,
    "in": lambda one, two: one in two,
    "notin": lambda one, two: one not in two,
}
_WRITTEN = {int: "a whole number", bool: "`true` or `false`", str: "a text in quotes"}


def _is_secret(node: nodes.Node) -> TypeGuard[nodes.Getattr]:
    return isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "secrets"


def _start(node: nodes.Node) -> int:
    """Where a reader sees the node begin; a filter has its own name. Jinja places a call at its bracket, say."""
    if isinstance(node, nodes.Filter):
        return node.lineno
    return min([node.lineno, *(inside.lineno for inside in node.find_all(nodes.Expr))])


def _uses(values: Iterable[_Value]) -> frozenset[str]:
    return _NOTHING.union(*(value.uses for value in values))


def _common(left: _Value, right: _Value) -> type | None:
    """`and` and `or` give one of their sides: text if both are, else something that only a condition can use."""
    if None in (left.kind, right.kind):
        return None
    return str if left.kind is right.kind is str else bool


def _at_most(count: int) -> str:
    return {0: "no argument", 1: "at most 1 argument"}.get(count, f"at most {count} arguments")


def _bounded(text: str) -> str:
    if len(text) > MAX_VALUE:
        raise too_long(MAX_VALUE)
    return text


def _applied(apply: Callable[..., str], operand: Render, arguments: list[_Value]) -> Render:
    calls = [argument.call for argument in arguments]
    if not calls:
        return lambda names: _bounded(apply(operand(names)))
    return lambda names: _bounded(apply(operand(names), *[call(names) for call in calls]))


def _as_dialled(names: Mapping[str, str]) -> str:
    """The recipient for a number filter: of `49170…` nobody could say whether it is written nationally."""
    return names.get("phone.e164") or names["phone"]
