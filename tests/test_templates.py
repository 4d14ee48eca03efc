import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.secret import Secret
from smsgwd.templates import Expression, Fault, Scope, Template, TemplateError, compile_template

SCOPE = Scope(
    names=frozenset({"phone", "message", "otp", "sender", "reference", "vars.code", "vars.name", "vars.empty"}),
    secrets={"token": Secret("s3cr3t"), "user": Secret("alice")},
    region="DE",
)
NAMES = {
    "phone": "+491701234567",
    "message": "Grüße & <Küsse>, 'Bob'",
    "otp": "123456",
    "sender": "ACME",
    "reference": "order 42/7",
    "vars.code": "987654",
    "vars.name": "Ann  Lee ",
    "vars.empty": "",
}


def template(text: str, scope: Scope = SCOPE) -> Template:
    compiled, warnings = compile_template(text, scope)
    assert warnings == []
    return compiled


def rendered(text: str) -> str:
    return template(text).render(NAMES)


def faults(text: str, scope: Scope = SCOPE) -> list[Fault]:
    with pytest.raises(TemplateError) as caught:
        compile_template(text, scope)
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{ phone }}", "+491701234567"),
        ("Your code is {{ vars.code }}.", "Your code is 987654."),
        ("{{phone}}/{{ otp }}", "+491701234567/123456"),
        ("user={{ secrets.user }}&token={{ secrets.token }}", "user=alice&token=s3cr3t"),
        ("{% if vars.empty %}a{% elif sender == 'ACME' %}b{% else %}c{% endif %}", "b"),
        ("{% if vars.empty %}a{% endif %}", ""),
        ("{% if vars.code and not vars.empty %}yes{% endif %}", "yes"),
        ("{% if 'CME' in sender %}in{% endif %}{% if 'x' not in sender %}out{% endif %}", "inout"),
        ("{% if sender in ['ACME', otp] %}listed{% endif %}", "listed"),
        ("{% if sender not in ('A', 'B') %}unlisted{% endif %}", "unlisted"),
        ("{% if phone %}{% if otp %}{{ secrets.user }}{% endif %}{% endif %}", "alice"),
        ("{{ vars.empty or sender }}", "ACME"),
        ("{{ sender and vars.empty }}", ""),
        ("{{ 'a' if vars.empty else 'b' }}", "b"),
        ("{{ 'a' if vars.empty }}", ""),
        ("{{ sender ~ '-' ~ otp ~ 7 }}", "ACME-1234567"),
        ("{{ 5 }}{{ 'x' 'y' }}", "5xy"),
        ("{{ (phone) }}", "+491701234567"),
        ("{# a comment #}x{# {{ unknown }} #}", "x"),
        ("{% raw %}{{ phone }}{% endraw %}", "{{ phone }}"),
        ("a {{- otp -}} b", "a123456b"),
        ("a  {%- if otp %}  b  {%- endif -%}  c", "a  bc"),
        ("{{ vars.name | trim | upper }}", "ANN  LEE"),
        ("{{ 'a\\u00e4\\n\\'\\\\' }}", "aä\n'\\"),
        ('{"a": 1, "b": {"c": "{{ otp }}"}}', '{"a": 1, "b": {"c": "123456"}}'),
        ("100 % {sure} }} %} #}", "100 % {sure} }} %} #}"),
    ],
)
def test_renders(text: str, expected: str) -> None:
    """Names, conditions, joins, comments, raw blocks and whitespace control mean what they mean in Jinja."""
    assert rendered(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n", "a"),
        ("a\n\n", "a\n"),
        ("\n", ""),
        ("{{ otp }}\n", "123456"),
        ("{{ otp }}\n\n", "123456\n"),
        ("a\r\nb\rc\n\rd", "a\r\nb\rc\n\rd"),
        ("a\r\n{{ otp }}\r\n", "a\r\n123456"),
        ("a\r\n{{ '\r\n' }}\rb", "a\r\n\r\n\rb"),
        ("a \r\n {{- otp -}} \r\n b", "a123456b"),
        ("\x1c\r{{ otp }}\u2028", "\x1c\r123456\u2028"),
    ],
)
def test_line_breaks(text: str, expected: str) -> None:
    """One line break at the end is no part of a text; all others stay, CR and CRLF as they are."""
    assert rendered(text) == expected


@pytest.mark.parametrize(
    ("text", "uses", "constant"),
    [
        ("", set(), True),
        ("text", set(), True),
        ("{{ 'text' }}", set(), True),
        ("{{ secrets.token }}", {"secrets.token"}, True),
        ("{{ otp }}", {"otp"}, False),
        ("{{ message }} {{ secrets.user }}", {"message", "secrets.user"}, False),
        ("{{ vars.code | default(sender) }}", {"vars.code", "sender"}, False),
        (
            "{% if vars.empty %}{{ otp }}{% elif sender in [phone] %}{% endif %}",
            {"vars.empty", "otp", "sender", "phone"},
            False,
        ),
        ("{{ reference if vars.name else vars.code }}", {"reference", "vars.name", "vars.code"}, False),
        ("{# {{ otp }} #}{% raw %}{{ phone }}{% endraw %}", set(), True),
    ],
)
def test_tells_what_it_uses(text: str, uses: set[str], constant: bool) -> None:
    """`uses` are the names that are read, as they are written; `constant` is what reads no name but secrets."""
    compiled = template(text)
    assert (set(compiled.uses), compiled.constant, compiled.source) == (uses, constant, text)


def test_pieces() -> None:
    """The pieces are texts and expressions in order; an expression knows its names, its value and its escaped form."""
    compiled, _ = compile_template(
        "<a>{{ otp }}{# #}</a> {% if phone %}<b>{{ message }}</b>{% endif %}", SCOPE, str.upper
    )
    texts = [piece if isinstance(piece, str) else None for piece in compiled.pieces]
    assert texts == ["<a>", None, "</a> ", None]
    expressions = [piece for piece in compiled.pieces if isinstance(piece, Expression)]
    names = {"otp": "a", "phone": "b", "message": "c"}
    assert [(set(e.uses), e.block, e.value(names), e.render(names)) for e in expressions] == [
        ({"otp"}, False, "a", "A"),
        ({"phone", "message"}, True, "<b>C</b>", "<b>C</b>"),
    ]


def test_escape_is_for_values_alone() -> None:
    """`escape` meets each value once, never the text around it; filters come first."""
    compiled, _ = compile_template(
        "<{{ otp }}|{{ secrets.user }}|{{ '<' | upper }}>", SCOPE, lambda value: f"[{value}]"
    )
    assert compiled.render(NAMES) == "<[123456]|[alice]|[<]>"


# Faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ phnoe }}", [(3, "unknown-name", "did you mean `phone`?")]),
        (
            "{{ phnoe }} {{ phnoe }} {{ otp | upper | uper }}",
            [
                (3, "unknown-name", "did you mean `phone`?"),
                (15, "unknown-name", "did you mean `phone`?"),
                (41, "unknown-filter", "did you mean `upper`?"),
            ],
        ),
        ("ä\r\n{{ x | y(z) }}", [(6, "unknown-name", None), (10, "unknown-filter", None), (12, "unknown-name", None)]),
        ("{{ code }}", [(3, "unknown-name", "did you mean `vars.code`?")]),
        ("{{ token }}", [(3, "unknown-name", "did you mean `secrets.token`?")]),
        ("{{ vars.phone }}", [(3, "unknown-name", "did you mean `phone`?")]),
        ("{{ vars.coed }}", [(3, "unknown-name", "did you mean `vars.code`?")]),
        ("{{ secrets.tokn }}", [(3, "unknown-name", "did you mean `secrets.token`?")]),
        ("{{ vars }}", [(3, "unknown-name", "write `vars.NAME`")]),
        (
            "{% if a %}{{ b }}{% elif c %}{% else %}{{ d }}{% endif %}",
            [(at, "unknown-name", None) for at in (6, 13, 25, 42)],
        ),
        ("{{ a if b else c ~ d }}", [(at, "unknown-name", None) for at in (3, 8, 15, 19)]),
        ("{{ phone | replace(a, b) }}", [(19, "unknown-name", None), (22, "unknown-name", None)]),
        ("{% for x in otp %}{% endfor %}{{ b }}", [(3, "template-not-allowed", ""), (33, "unknown-name", None)]),
        ("{{ a + b }}", [(3, "unknown-name", None), (3, "template-not-allowed", ""), (7, "unknown-name", None)]),
        ("{{ a or otp }}", [(3, "unknown-name", None)]),
        ("{{ otp == a }}", [(3, "template-not-allowed", ""), (10, "unknown-name", None)]),
        (
            "{% if a < b %}{% endif %}",
            [(6, "unknown-name", None), (6, "template-not-allowed", ""), (10, "unknown-name", None)],
        ),
        ("{phone} {{ a }}", [(0, "single-brace", "did you mean `{{ phone }}`?"), (11, "unknown-name", None)]),
    ],
)
def test_every_fault_has_its_own_place(text: str, expected: list[tuple[int, str, str | None]]) -> None:
    """All faults are told, in order, each at its own name, equal names apart, with the mend."""
    found = faults(text)
    assert [(fault.offset, fault.code) for fault in found] == [(offset, code) for offset, code, _ in expected]
    assert [fault.hint for fault, (_, _, hint) in zip(found, expected, strict=True) if hint is not None] == [
        hint for _, _, hint in expected if hint is not None
    ]


def test_unknown_names_without_a_near_one_list_the_known() -> None:
    """Where nothing is near, the hint lists what there is."""
    assert faults("{{ zzz }}", Scope(frozenset({"otp", "code"}), {}))[0].hint == "known: code, otp"


@pytest.mark.parametrize("text", ["{{ secrets.token }}", "{{ secrets.token | upper }}"])
def test_templates_without_secrets_say_so(text: str) -> None:
    """Where there are no secrets, as in `templates`, the fault says that these never see one."""
    found = faults(text, Scope(frozenset({"code"}), {}))[0]
    assert (found.offset, found.code) == (3, "unknown-name")
    assert "`templates` sees none" in found.hint


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("{{ secrets.token | upper }}", 3),
        ("{% if secrets.token %}{% endif %}", 6),
        ("{{ 'x' ~ secrets.token }}", 9),
        ("{{ secrets.token == otp }}", 3),
        ("{{ otp | default(secrets.token) }}", 17),
        ("{{ otp if otp else secrets.token }}", 19),
        ("{{ secrets.token or otp }}", 3),
        ("{% if otp in [secrets.token] %}{% endif %}", 14),
        ("{{ not secrets.token }}", 7),
        ("{{ secrets.token | e164 }}", 3),
    ],
)
def test_a_secret_stands_bare(text: str, offset: int) -> None:
    """A secret in a filter, condition, comparison, join or argument is a fault at the secret."""
    found = [fault for fault in faults(text) if fault.code == "secret-in-expression"]
    assert [fault.offset for fault in found] == [offset]
    assert found[0].hint == "write `{{ secrets.token }}` with text around it"


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("a{{ otp", 1, "`{{` is never closed"),
        ("{{ otp }", 7, "`}` is not expected"),
        ("{{ otp } and more", 7, "`}` is not expected"),
        ("{{ otp }}{{", 9, "`{{` is never closed"),
        ("x {%", 2, "`{%` is never closed"),
        ("x {% if otp", 2, "`{%` is never closed"),
        ("{{ }}", 3, "something is missing before `}}`"),
        ("{% %}", 3, "something is missing before `%}`"),
        ("{{ otp | }}", 9, "something is missing before `}}`"),
        ("{% if %}{% endif %}", 6, "something is missing before `%}`"),
        ("a {% if otp %}b", 2, "`{% if %}` is never closed"),
        ("{% if otp %}{% if phone %}{% endif %}", 0, "`{% if %}` is never closed"),
        ("b{% endif %}", 4, "`{% endif %}` without its beginning"),
        ("{% else %}", 3, "`{% else %}` without its beginning"),
        ("{% if otp %}{% else %}{% else %}{% endif %}", 25, "`else` is not expected"),
        ("{% iff otp %}", 3, "unknown tag `iff`"),
        ("a {# b", 2, "comment is never closed"),
        ("a {% raw %} b", 2, "`{% raw %}` is never closed"),
        ("{{ (otp }}", 3, "`(` is never closed"),
        ("{{ (otp) ] }}", 9, "`]` is not expected"),
        ("{{ otp) }}", 6, "`)` is not expected"),
        ("{{ 'otp }}", 3, "quotes is never closed"),
        ('{{ "otp }}', 3, "quotes is never closed"),
        ("{{ otp phone }}", 7, "`phone` is not expected"),
        ("{{ otp & phone }}", 7, "`&` is not expected"),
        ("{{ otp || phone }}", 8, "`|` is not expected"),
        ("{% if otp = 'x' %}{% endif %}", 10, "`=` is not expected"),
        ("{{ otp | replace('\\d', '') }}", 18, "no such escape"),
        ("{{ '\\ud83d\\ude00' }}", 4, "no such escape"),
        ("{{ '\\N{BULLET}' }}", 4, "no such escape"),
        ("{{ 12345678901 }}", 3, "number is too long"),
        ("{{ otp | truncate(" + "9" * 5000 + ") }}", 18, "number is too long"),
        ("{{ otp | replace('a' 'b' }}", 16, "`(` is never closed"),
        ("{{ otp² }}", 3, "is not expected"),
        ("a\ud800 {{ otp }}", 1, "half of a surrogate pair"),
        ("x" * 100_001, 100_000, "longer than 100,000"),
        ("{{ otp }}" * 20_000, 100_000, "longer than 100,000"),
        (
            "\r{{ otp }}\x1c\x1d\x1e\x1f\x0b\x0c\x85\u2028\u2029\u1680" + "".join(map(chr, range(0x2000, 0x2007))),
            0,
            "control",
        ),
        ("{{ " + "(" * 5000 + "otp" + ")" * 5000 + " }}", 23, "nested deeper"),
        ("{{ " + "[" * 5000 + "]" * 5000 + " }}", 23, "nested deeper"),
        ("{{ " + "(" * 5000, 0, "`{{` is never closed"),
        ("{% if otp %}" * 4000 + "{% endif %}" * 4000, 240, "nested deeper"),
        ("{{ " + "not " * 5000 + "otp }}", 0, "more than 200"),
        ("{{ " + "-" * 5000 + "otp }}", 0, "more than 200"),
        ("{{ otp" + " | trim" * 5000 + " }}", 0, "more than 200"),
        ("{{ otp" + " ~ otp" * 5000 + " }}", 0, "more than 200"),
    ],
)
def test_what_cannot_be_read(text: str, offset: int, words: str) -> None:
    """A syntax fault is in our words and at the place to mend; no depth of nesting is more than a fault."""
    [found] = faults(text)
    assert (found.offset, found.code) == (offset, "template-syntax")
    assert words in found.message


@pytest.mark.parametrize(
    "expression",
    ["not " * 190 + "otp", "otp" + " | trim" * 95, "otp" + " or otp" * 95, "(" * 20 + "otp" + ")" * 20],
)
def test_the_deepest_that_is_allowed(expression: str) -> None:
    """What is within the limits compiles and renders, also for a caller that stands deep itself."""
    text = "{% if otp %}" * 19 + f"{{% if {expression} %}}{{{{ otp }}}}{{% endif %}}" + "{% endif %}" * 19

    def deep(levels: int) -> str:
        return deep(levels - 1) if levels else rendered(text)

    assert deep(100) == "123456"


def test_a_caller_that_stands_too_deep() -> None:
    """Where Python's stack is all but used up, the template has a fault; nothing crashes."""

    def deep(levels: int) -> list[Fault]:
        return deep(levels - 1) if levels else faults("{% if " + "not " * 190 + "otp %}{% endif %}")

    assert "nested too deeply" in deep(550)[0].message


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("{% for x in otp %}{% endfor %}", 3),
        ("{% set x = 'y' %}", 3),
        ("{% include 'x' %}", 3),
        ("{% import 'x' as y %}", 3),
        ("{% extends 'x' %}", 3),
        ("{% macro x() %}{% endmacro %}", 3),
        ("{% filter upper %}{% endfilter %}", 3),
        ("{% block x %}{% endblock %}", 3),
        ("{% with %}{% endwith %}", 3),
        ("{% autoescape true %}{% endautoescape %}", 3),
        ("{{ message.upper() }}", 3),
        ("{{ message.upper }}", 3),
        ("{{ vars.code.upper }}", 3),
        ("{{ otp.__class__ }}", 3),
        ("{{ ''.__class__ }}", 3),
        ("{{ range(3) }}", 3),
        ("{{ otp[0] }}", 3),
        ("{{ vars['code'] }}", 3),
        ("{{ otp[1:] }}", 3),
        ("{{ otp + phone }}", 3),
        ("{{ otp * 3 }}", 3),
        ("{{ otp % 3 }}", 3),
        ("{{ -otp }}", 3),
        ("{{ otp is defined }}", 3),
        ("{% if otp is not none %}{% endif %}", 6),
        ("{{ ['a'] }}", 3),
        ("{{ 'a', 'b' }}", 3),
        ("{{ {'a': 'b'} }}", 3),
        ("{{ otp == '1' }}", 3),
        ("{{ true }}", 3),
        ("{{ none }}", 3),
        ("{{ not otp }}", 3),
        ("{% if otp == 5 %}{% endif %}", 13),
        ("{% if otp < '5' %}{% endif %}", 6),
        ("{% if '1' == otp == '2' %}{% endif %}", 6),
        ("{% if 5 %}{% endif %}", 6),
        ("{{ 5 | upper }}", 3),
        ("{{ (otp == '1') | upper }}", 4),
        ("{{ otp | upper('x') }}", 9),
        ("{{ otp | replace('x') }}", 9),
        ("{{ otp | replace('x', 'y', 'z') }}", 27),
        ("{{ otp | replace('x', 5) }}", 22),
        ("{{ otp | replace('x', 'y', true) }}", 27),
        ("{{ otp | replace('x', old='y') }}", 9),
        ("{{ otp | truncate('5') }}", 18),
        ("{{ otp | truncate(2) }}", 9),
        ("{{ otp | truncate(5, true, '123456') }}", 9),
        ("{{ otp | truncate(9, true, sender) }}", 27),
        ("{{ otp | default('x', 'y') }}", 22),
        ("{{ otp | default(value='x') }}", 9),
        ("{{ otp | default(*phone) }}", 9),
        ("{{ otp | default(**phone) }}", 9),
        ("{{ otp | trim(none) }}", 14),
        ("{{ phone | e164('DE') }}", 11),
        ("{{ otp | tojson(2) }}", 9),
    ],
)
def test_what_is_not_allowed(text: str, offset: int) -> None:
    """No loop, call, arithmetic, attribute, test, ill-typed argument: each is a fault when compiled, not at a send."""
    found = [fault for fault in faults(text) if fault.code == "template-not-allowed"]
    assert offset in [fault.offset for fault in found]
    assert all(fault.message for fault in found)


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("{phone}", [0]),
        ("Dear {vars.name}, your code is {otp}.", [5, 31]),
        ("{ phone }", [0]),
        ('{"to": "{phone}", "x": {otp}}', [8, 23]),
        ("{{ phone }} {phone}", [12]),
        ("pass={secrets.token}", [5]),
        ("{% if otp %} {otp}{% endif %}", [13]),
        ("a  {%- if otp %}{otp}{% endif %}", [16]),
        ("{}", []),
        ("{name}", []),
        ("{ phone: 1}", []),
        ('{"a": 1}', []),
        ("{phone", []),
        ("{{phone}}", []),
        ("{% raw %}{phone}{% endraw %}", []),
        ("{# {phone} #}", []),
        ("{{ '{phone}' }}", []),
    ],
)
def test_single_braces_are_a_warning(text: str, offsets: list[int]) -> None:
    """A name of the scope in single braces is a warning with the mend; JSON, raw blocks and other words are none."""
    compiled, warnings = compile_template(text, SCOPE)
    assert [(fault.offset, fault.code, fault.warning) for fault in warnings] == [
        (offset, "single-brace", True) for offset in offsets
    ]
    assert isinstance(compiled.render(NAMES), str)


def test_the_mend_of_single_braces() -> None:
    """The hint shows what was probably meant."""
    _, [warning] = compile_template("{otp}", SCOPE)
    assert warning.hint == "did you mean `{{ otp }}`?"


# Filters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ phone | e164 }}", "+491701234567"),
        ("{{ phone | digits }}", "491701234567"),
        ("{{ phone | international }}", "00491701234567"),
        ("{{ phone | national }}", "01701234567"),
        ("{{ '0170 1234567' | e164 }}", "+491701234567"),
        ("{{ '80808' | digits }}", "80808"),
        ("{{ phone | replace(' ', '') | digits | truncate(5, true, '') | trim('4') }}", "9170"),
    ],
)
def test_number_filters(text: str, expected: str) -> None:
    """A number is read with the scope's region and written in the format that the filter names."""
    assert rendered(text) == expected


def test_number_filters_know_the_recipient() -> None:
    """Of `phone` the E.164 form is used where it is given: 43664… alone would be read as a German number."""
    names = NAMES | {"phone": "436641234567", "phone.e164": "+436641234567"}
    assert template("{{ phone | e164 }}").render(names) == "+436641234567"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ phone | e164 }}", Reason.INVALID_DESTINATION),
        ("{{ sender | digits }}", Reason.INVALID_SENDER),
        ("{{ vars.name | national }}", Reason.CONTENT),
    ],
)
def test_number_filters_refuse_what_is_no_number(text: str, reason: Reason) -> None:
    """What is no number is refused, with the reason of the name that it came from, and not repeated."""
    with pytest.raises(MessageError) as caught:
        template(text).render(dict.fromkeys(NAMES, "nobody"))
    assert caught.value.reason is reason
    assert "nobody" not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("{{ message }}", 10_000),
        ("{{ message }}{{ message }}", 5_000),
        ("{% if message %}{{ message }}{% endif %}x", 9_999),
        ("{{ message | truncate(100) }}", 60_000),
    ],
)
def test_rendered_text_has_a_limit(text: str, length: int) -> None:
    """10,000 characters pass, one more is refused as content; a longer value may be cut on the way."""
    compiled = template(text)
    assert len(compiled.render(NAMES | {"message": "x" * length})) <= 10_000
    if "truncate" not in text:
        with pytest.raises(MessageError, match="10,000") as caught:
            compiled.render(NAMES | {"message": "x" * (length + 1)})
        assert caught.value.reason is Reason.CONTENT


@pytest.mark.parametrize(
    "text",
    [
        "{{ message | replace('x', '" + "y" * 50_000 + "') }}",
        "{{ message" + " | replace('x', 'xxxxxxxx')" * 20 + " }}",
        "{{ message" + " | replace('', message)" * 20 + " | truncate(5) }}",
        "{{ (message" + " ~ message" * 90 + ") | truncate(5) }}",
        "{{ message" + " | tojson" * 60 + " }}",
        "{{ message" + " | urlencode" * 60 + " }}",
        "{{ message }}" * 5_000,
    ],
)
def test_nothing_grows_without_bounds(text: str) -> None:
    """A template that multiplies its text is refused within a moment, whatever is cut off at the end."""
    compiled = template(text)
    before = time.monotonic()
    with pytest.raises(MessageError):
        compiled.render(NAMES | {"message": 'x%"' * 3_000})
    assert time.monotonic() - before < 1


def test_half_a_character_is_content() -> None:
    """A lone surrogate, which JSON can carry, has no percent-encoding: refused, not a crash."""
    with pytest.raises(MessageError) as caught:
        template("{{ message | urlencode }}").render(NAMES | {"message": "\ud800"})
    assert caught.value.reason is Reason.CONTENT


# Equality with Jinja

JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
TEXT_FILTERS = [
    "upper",
    "lower",
    "trim",
    "trim('a ')",
    "trim(chars=sender)",
    "default('none')",
    "default('none', true)",
    "default(otp, boolean=true)",
    "replace('a', 'bb')",
    "replace('a', '', 1)",
    "replace('', sender)",
    "replace(old=otp, new='-', count=2)",
    "truncate(8)",
    "truncate(6, true)",
    "truncate(5, false, '')",
    "truncate(5, leeway=0, end='…')",
    "truncate",
    "urlencode",
]
SIGNS = [("{{ ", " }}"), ("{{- ", " }}"), ("{{ ", " -}}"), ("{{-", "-}}"), ("{{", "}}")]
TAGS = [("{% ", " %}"), ("{%- ", " %}"), ("{% ", " -%}"), ("{%-", "-%}"), ("{%+ ", " %}"), ("{%", "+%}")]
DATA = st.text(alphabet="ab \n\t.{}%#\"'<ü😀\u2028", max_size=12).filter(
    lambda text: not any(sign in text + "%" for sign in ("{{", "{%", "{#", "#}", "}}", "%}")) and text[-1:] != "{"
)
VALUES = st.text(alphabet="aAbß ä\n😀<>&'\"%/\\", max_size=20)


def expressions() -> st.SearchStrategy[str]:
    leaf = st.sampled_from(
        ["phone", "message", "otp", "sender", "vars.code", "'a b'", '"ä"', "''", "'it\\'s'", "'\\u20ac\\n'", "'a' 'b'"]
    )

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("{} | {}".format, inner.map("({})".format), st.sampled_from(TEXT_FILTERS)),
            st.builds("({}) ~ ({})".format, inner, inner),
            st.builds("({}) if {} else ({})".format, inner, conditions(inner), inner),
            st.builds("({}) or ({})".format, inner, inner),
            st.builds("({}) and ({})".format, inner, inner),
        )

    return st.recursive(leaf, deeper, max_leaves=6)


def conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    comparison = st.builds(
        "({}) {} ({})".format, inner, st.sampled_from(["==", "!=", "in", "not in"]), inner
    ) | st.builds("({}) {} [{}, {}]".format, inner, st.sampled_from(["in", "not in"]), inner, inner)
    both = inner.map("({})".format) | comparison | st.just("true")
    joined = st.builds("({} {} {})".format, both, st.sampled_from(["and", "or", "and not"]), both)
    return both | both.map("not ({})".format) | joined


def sources() -> st.SearchStrategy[str]:
    output = st.builds(
        lambda sign, inner: f"{sign[0]}{inner}{sign[1]}", st.sampled_from(SIGNS), expressions() | st.just("7")
    )
    comment = st.sampled_from(
        ["{# x #}", "{#- x -#}", "{#--#}", "{% raw %} {{ {% {# {% endraw %}", "{%- raw -%} a {%- endraw -%}"]
    )
    flat = st.lists(DATA | output | comment, max_size=4).map("".join)

    def block(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        tag = st.sampled_from(TAGS)
        condition = conditions(expressions())
        return st.builds(
            lambda a, b, c, d, one, two, x, y, z: (
                f"{a[0]}if {one}{a[1]}{x}{b[0]}elif {two}{b[1]}{y}{c[0]}else{c[1]}{z}{d[0]}endif{d[1]}"
            ),
            *(tag, tag, tag, tag, condition, condition, inner, inner, inner),
        )

    return st.lists(flat | block(flat | block(flat)), max_size=3).map("".join)


def for_jinja(names: Mapping[str, str]) -> dict[str, object]:
    return {
        "vars": {name.removeprefix("vars."): value for name, value in names.items() if name.startswith("vars.")},
        **{name: value for name, value in names.items() if "." not in name},
    }


@settings(max_examples=300, deadline=None)
@given(sources(), st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_renders_as_jinja_does(source: str, names: dict[str, str]) -> None:
    """For all that is allowed, our closures give what Jinja's own sandbox gives, whitespace control included."""
    ours, _ = compile_template(source + "\n", SCOPE)
    assert ours.render(names) == JINJA.from_string(source).render(for_jinja(names))


@given(VALUES | st.text(st.characters(exclude_categories=["Cs"])))
def test_tojson_as_jinja_does(text: str) -> None:
    """`tojson` alone equals Jinja's, and reads back as the text.

    Apart from the others because Jinja marks its result as HTML, which `~` and `truncate` after it then escape.
    """
    ours = template("{{ message | tojson }}").render({"message": text})
    assert ours == JINJA.from_string("{{ message | tojson }}").render(message=text)
    assert json.loads(ours) == text


@settings(deadline=None)
@given(st.text(alphabet="{}%#-+|()[]'\"\\ \r\nifelsendravtophn.,~=!<0123456789", max_size=60) | st.text(max_size=40))
def test_any_source_compiles_or_has_faults(source: str) -> None:
    """Whatever is written, there is a template or there are faults at places that exist; nothing else is raised."""
    try:
        compiled, found = compile_template(source, SCOPE)
    except TemplateError as error:
        found = list(error.faults)
        assert found
    else:
        assert isinstance(compiled.render(NAMES), str)
    assert all(0 <= fault.offset <= len(source) for fault in found)


def test_many_templates_compile_in_no_time() -> None:
    """A thousand templates take well under a second, a plain text next to nothing."""
    before = time.process_time()
    for number in range(1000):
        compile_template(f"Your code {number} is {{{{ otp }}}}.", SCOPE)
    assert time.process_time() - before < 1
