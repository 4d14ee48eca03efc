"""Warnings: each is given where it is earned, and not where it is not."""

import pytest
from compiled import problems, site_problems, told
from hypothesis import given
from hypothesis import strategies as st

from smsgwd import segments
from smsgwd.advice.yaml11 import _other


def codes(text: str) -> list[str]:
    """The codes of what is told about a gateway file."""
    return [problem.code for problem in problems(text)]


def http(settings: str) -> str:
    """A gateway of these settings, beside a URL and a rule for answers that earn nothing."""
    kept = {"url": 'url: "https://192.0.2.1/send"', "success": "success: {contains: OK}"}
    lines = [line for key, line in kept.items() if f"{key}:" not in settings]
    return "provider: http\nsecrets: {key: {env: KEY}}\nsettings:\n" + "".join(
        f"  {line}\n" for line in [*lines, 'headers: {x-key: "{{ secrets.key }}"}', *settings.split("\n")]
    )


# --- the network ---

CLEAR = [
    ("http://192.0.2.1/", True),
    ("HTTP://sms.example.com:8080/x", True),
    ("http://[2001:db8::1]/", True),
    ("http://127.0.0.1.example.com/", True),
    ("http://localhost.example.com/", True),
    ("https://sms.example.com/", False),
    ("http://127.0.0.1:8080/", False),
    ("http://127.9.9.9/", False),
    ("http://[::1]:80/", False),
    ("http://localhost/", False),
    ("http://sms.localhost./", False),
]


@pytest.mark.parametrize(("url", "clear"), CLEAR)
def test_plain_http(url: str, clear: bool) -> None:
    """It is told of every host but this machine."""
    assert codes(http(f'url: "{url}"')) == (["plain-http"] if clear else [])


def test_plain_http_of_sipgate() -> None:
    """Every provider over HTTP is looked at."""
    credentials = 'username: "{{ secrets.a }}", password: "{{ secrets.a }}"'
    text = f'provider: sipgate\nsecrets: {{a: {{env: A}}}}\nsettings: {{{credentials}, url: "http://192.0.2.1/"}}\n'
    assert codes(text) == ["plain-http"]


def test_unverified_tls() -> None:
    """`verify: false` is told where it stands, of an API, a mail server and a server of smsgwd.yaml."""
    assert codes(http("tls: {verify: false}")) == ["unverified-tls"]
    assert codes(http("tls: {verify: true}")) == []
    server = "{host: mail.example.com, tls: starttls, verify: false, from: a@example.com}"
    assert codes(f'provider: smtp\nsettings: {{mail_to: "a@example.com", server: {server}}}\n') == ["unverified-tls"]
    (problem,) = site_problems(f"smtp_servers: {{corp: {server}}}\n")
    assert (problem.code, problem.pointer) == ("unverified-tls", "/smtp_servers/corp/verify")


QUERIES = [
    ('query: {k: "{{ secrets.key }}", to: "{{ phone }}"}', "secrets: `k`"),
    ('method: POST\nquery: {k: "{{ secrets.key }}"}\nform: {to: "{{ phone }}"}', "secrets: `k`"),
    ('query: {a: ["x", "{{ secrets.key }}"], b: "{{ secrets.key }}"}', "secrets: `a`, `b`"),
    ('url: "https://192.0.2.1/?k={{ secrets.key }}"', "a secret"),
    ('url: "https://192.0.2.1/{{ secrets.key }}/?k=v"', None),
    ('query: {to: "{{ phone }}", about: "secrets.key"}', None),
    ('form: {k: "{{ secrets.key }}"}', None),
]


@pytest.mark.parametrize(("settings", "words"), QUERIES)
def test_a_secret_in_the_query(settings: str, words: str | None) -> None:
    """It is told once for the query, with the names of the parameters; a path or a body is no query."""
    found = problems(http(settings))
    assert [problem.code for problem in found] == (["secret-in-query"] if words else [])
    assert all(problem.message.endswith(words or "") for problem in found)


ANSWERS = [
    ('query: {to: "{{ phone }}"}', True),
    ('method: GET\nquery: {to: "{{ phone }}"}', True),
    ('form: {to: "{{ phone }}"}', False),
    ('method: POST\nquery: {to: "{{ phone }}"}', False),
    ('url: "https://rest.nexmo.com/sms/json"\nform: {to: "{{ phone }}"}', True),
    ('query: {to: "{{ phone }}"}\nfailure: {contains: ERR}', False),
    ('query: {to: "{{ phone }}"}\nsuccess: {status: [200]}', False),
]


@pytest.mark.parametrize(("settings", "unjudged"), ANSWERS)
def test_no_success_rule(settings: str, unjudged: bool) -> None:
    """It is told of APIs that are known to answer 200 to failures, and of those that send by GET."""
    text = http(settings) if "success" in settings else http(settings).replace("  success: {contains: OK}\n", "")
    assert codes(text) == (["no-success-rule"] if unjudged else [])


# --- secrets ---


def test_unused_secrets() -> None:
    """A secret that no setting reads is told at its name; one in any setting, in text around it too, is used."""
    text = http('form: {to: "{{ phone }}"}')
    assert codes(text) == []
    unused = text.replace("secrets: {key: {env: KEY}}", "secrets:\n  key: {env: KEY}\n  old: {env: OLD}")
    assert told(unused) == ["4:3 unused-secret"]
    proxied = unused.replace("  headers:", '  proxy: {https: "http://u:{{ secrets.old }}@192.0.2.9:3128"}\n  headers:')
    assert codes(proxied) == []


def test_unused_secrets_of_smsgwd_yaml() -> None:
    """A secret of smsgwd.yaml is used by its own servers."""
    server = '{host: m.example.com, tls: tls, from: a@example.com, username: u, password: "{{ secrets.a }}"}'
    assert site_problems(f"secrets: {{a: {{env: A}}}}\nsmtp_servers: {{c: {server}}}\n") == ()
    assert [one.pointer for one in site_problems("secrets: {a: {env: A}}\n")] == ["/secrets/a"]


# --- numbers ---

REWRITES = [
    ("format: international, rewrite: [{match: '^0', replace: '+49'}]", True),
    ("format: international, rewrite: [{match: '^0', replace: '49'}]", True),
    ("rewrite: [{match: '[0-9]$', replace: ''}]", True),
    ("rewrite: [{match: '.*', replace: ''}]", True),
    ("rewrite: [{match: '$', replace: '0'}]", True),
    ("rewrite: [{match: '^', replace: '+49'}]", True),
    ("format: digits, rewrite: [{match: '^49', replace: '49049'}]", True),
    ("rewrite: [{match: '^0', replace: '0049'}]", False),
    ("rewrite: [{match: '^\\+', replace: '00'}]", False),
    ("rewrite: [{match: '^\\+', replace: ''}]", False),
    ("rewrite: [{match: '^\\+49', replace: '0'}]", False),
    ("rewrite: [{match: '^\\+(.*)$', replace: 'sip:\\1@example.com'}]", False),
    ("format: digits, rewrite: [{match: '^', replace: '+'}]", False),
    ("region: DE, format: national, rewrite: [{match: '^0', replace: '0049'}]", False),
    ("region: DE, format: national, rewrite: [{match: '^01', replace: '00491'}, {match: '^00', replace: '+'}]", False),
    ("format: verbatim, rewrite: [{match: '[^0-9+]', replace: ''}, {match: '^0', replace: '+49'}]", False),
    ("format: verbatim, rewrite: [{match: '^\\+?', replace: '+49'}]", True),
]


@pytest.mark.parametrize(("phone", "broken"), REWRITES)
def test_a_rewrite_that_destroys_numbers(phone: str, broken: bool) -> None:
    """Rules that lose or double a part of a number are told; those that only write it in another way are not."""
    assert codes(f"provider: console\nphone: {{{phone}}}\n") == (["rewrite-breaks-number"] if broken else [])


def test_a_rewrite_shows_what_it_does() -> None:
    """The message has a number before and after."""
    (problem,) = problems("provider: console\nphone: {rewrite: [{match: '^', replace: '+49'}]}\n")
    assert problem.message == "these rules destroy numbers: `+491701234567` would go out as `+49+491701234567`"


# --- texts ---


def template(text: str, variables: str = "{}", more: str = "") -> str:
    """A gateway with one template."""
    return f"provider: console\n{more}templates:\n  a:\n    vars: {variables}\n    text: {text}\n"


REPLACED = [
    ("Don\u2019t", "U+2019 (right single quotation mark)", "write '"),
    ("\u201ehier\u201c", "U+201E (double low-9 quotation mark)", 'write "'),
    ("now \u2013 later", "U+2013 (en dash)", "write -"),
    ("wait\u2026", "U+2026 (horizontal ellipsis)", "write ..."),
    ("5\u00a0kg", "U+00A0 (no-break space)", "write a plain space"),
    ("a`b", "U+0060 (grave accent)", "write '"),
    ("caf\u00ea", "U+00EA (latin small letter e with circumflex)", "write e"),
    ("cafe\u0301", "U+0301 (combining acute accent)", "write \u00e9 as one character"),
    ("zero\u200bwidth", "U+200B (zero width space)", "delete it: it cannot be seen"),
    ('"a\\tb"', "U+0009 (a control character)", "write a space"),
]


@pytest.mark.parametrize(("text", "name", "hint"), REPLACED)
def test_a_character_that_makes_a_text_ucs2(text: str, name: str, hint: str) -> None:
    """It is named, at its place, with what the GSM alphabet has for it."""
    problem = problems(template(text if text.startswith('"') else f"'{text}'"))[0]
    assert problem.code == "ucs2-character"
    assert problem.message.startswith(name)
    assert problem.hint == hint
    assert problem.line == 5


NOT_REPLACED = [
    "Gr\u00fc\u00dfe f\u00fcr 5 \u20ac",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u2013 \u043a\u043e\u0434",
    "Tw\u00f3j kod \u017c\u0142",
    "OK \U0001f600 \u2013",
    "{{ '\u2026' }}",
    "",
]


@pytest.mark.parametrize("text", NOT_REPLACED)
def test_a_text_that_is_meant_so(text: str) -> None:
    """Texts of the GSM alphabet, of other languages and with emoji earn nothing; nor does what a tag holds."""
    assert "ucs2-character" not in codes(template(f'"{text}"'))


def test_each_character_once() -> None:
    """Of several such characters each is told once, in order."""
    found = problems(template("'\u2019a\u2019 \u2013 b\u2019'"))
    assert [(problem.code, problem.column) for problem in found] == [("ucs2-character", 12), ("ucs2-character", 16)]


def test_texts_around_a_message() -> None:
    """Settings that put something around the message are looked at, others are not."""
    assert codes(http('form: {text: "{{ message }} \u2013 ACME", note: "a \u2013 b"}')) == ["ucs2-character"]
    smpp = 'provider: smpp\nsecrets: {p: {env: P}}\nsettings: {host: h, system_id: i, password: "{{ secrets.p }}"'
    words = "\ntemplates: {a: {text: \u2019}}\n"
    assert codes(f"{smpp}}}{words}") == ["ucs2-character"]
    assert codes(f"{smpp}, data_coding: ucs2}}{words}") == []


@given(st.text(max_size=40))
def test_the_replacements_mend(text: str) -> None:
    """Whatever the text: when replacements are told, following them all leaves nothing to tell."""
    quoted = "".join(f"\\U{ord(one):08x}" for one in text if not 0xD800 <= ord(one) < 0xE000)
    for problem in problems(template(f'"{quoted}"')):
        if problem.code == "ucs2-character" and problem.hint.startswith("write "):
            written = {"a plain space": " ", "a space": " ", "a line break": "\n"}
            plain = problem.hint.removeprefix("write ").removesuffix(" as one character")
            assert segments.is_gsm7(written.get(plain, plain))


LENGTHS = [
    (
        "{v: {max_length: 150, charset: gsm7}}",
        "'{{ v }}'",
        1,
        ["may-exceed-segments"],
    ),  # extension characters count twice
    ("{v: {max_length: 80, charset: gsm7}}", "'{{ v }}'", 1, []),
    ("{v: {max_length: 160, charset: digits}}", "'{{ v }}'", 1, []),
    ("{v: {max_length: 160, charset: digits}}", "'{{ v }}!'", 1, ["may-exceed-segments"]),
    ("{v: {max_length: 35}}", "'{{ v }}'", 1, []),
    ("{v: {max_length: 36}}", "'{{ v }}'", 1, ["may-exceed-segments"]),
    ("{v: {max_length: 36}}", "'{{ v }}'", 2, []),
    ("{v: {}}", "'{{ v }}'", 3, ["may-exceed-segments"]),
    ("{v: {charset: digits}}", "'{{ v | truncate(40) }}'", 1, []),
    ("{v: {}}", "'{{ v }}'", None, []),
]


@pytest.mark.parametrize(("variables", "text", "most", "expected"), LENGTHS)
def test_variables_that_can_be_too_long(variables: str, text: str, most: int | None, expected: list[str]) -> None:
    """The longest values are counted in the alphabet that they may force; without max_segments nothing is too long."""
    assert codes(template(text, variables, f"max_segments: {most}\n" if most else "")) == expected


def test_what_a_setting_adds_is_counted() -> None:
    """The text that recipients read is counted, not the template alone."""
    head = http('form: {text: "' + "x" * 100 + '{{ message }}"}')
    body = "max_segments: 1\ntemplates: {a: {text: '{{ v }}', vars: {v: {charset: digits, max_length: 61}}}}\n"
    assert codes(head + body) == ["may-exceed-segments"]
    assert codes(head + body.replace("61", "60")) == []


REFUSED = [
    ("'{{ v }}'", "{v: {}}", "", False),
    ("'{% if v == \"never\" %}x{% endif %}'", "{v: {}}", "", True),
    ("'{{ v | e164 }}'", "{v: {charset: digits}}", "", False),
    ("'{{ v | e164 }}'", "{v: {charset: digits, max_length: 3}}", "", True),
    ("'{{ otp }}'", "{}", "", False),
    ("'" + "x" * 161 + "'", "{}", "max_segments: 1\n", True),
    ("'" + "x" * 160 + "'", "{}", "max_segments: 1\n", False),
]


@pytest.mark.parametrize(("text", "variables", "more", "refused"), REFUSED)
def test_a_template_that_nobody_can_render(text: str, variables: str, more: str, refused: bool) -> None:
    """It is told where every value that a caller may give is refused, and only there."""
    assert ("unrenderable-template" in codes(template(text, variables, more))) is refused


def test_templates_of_a_failover() -> None:
    """Its templates are looked at, too; how long a message may be is for its members to say."""
    head = "provider: failover\nsettings: {gateways: [a]}\ntemplates:\n"
    assert codes(head + "  a: {text: '{% if v == \"never\" %}x{% endif %}', vars: {v: {}}}\n") == [
        "unrenderable-template"
    ]
    assert codes(head + "  a: {text: 'It\u2019s {{ v }}', vars: {v: {}}}\n") == ["ucs2-character"]
    assert codes(head + "  a: {text: '{{ v }}', vars: {v: {}}}\n") == []


HOSTILE = ["{{" * 100_000, "{% raw %}" + "{{" * 40_000 + "{% endraw %}", "{{ secrets." * 30_000, "\u2019" * 100_000]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_a_hostile_file_takes_no_long_time(text: str) -> None:
    """However often a tag begins, each character is looked at a few times at most."""
    found = problems(http(f'url: "https://192.0.2.1/?{text}"\nform: {{text: "\u2019{text}{{{{ message }}}}"}}'))
    assert len(found) < 1000
    assert len(problems(template(f'"\u2019{text}"'))) < 1000


# --- YAML 1.1 ---

SURPRISES = [
    ("sender: 0170", "0170", "120"),
    ("sender: +491701234567", "+491701234567", "491701234567"),
    ("sender: NO", "NO", "false"),
    ("sender: On", "On", "true"),
    ("description: 12:30", "12:30", "750"),
    ("description: 1_000", "1_000", "1000"),
    ("description: 0x1F", "0x1F", "31"),
    ("description: 1.10", "1.10", "1.1"),
    ("description: 12345678901234567890", "12345678901234567890", "1.234568e+19"),
]


@pytest.mark.parametrize(("line", "text", "other"), SURPRISES)
def test_a_text_that_others_read_otherwise(line: str, text: str, other: str) -> None:
    """It is told with what they make of it; in quotes it is not."""
    (problem,) = problems(f"provider: console\n{line}\n")
    assert problem.code == "yaml-surprise"
    assert problem.message == f"`{text}` is text here, but to many other readers of YAML it is {other}"
    key, _, value = line.partition(": ")
    assert codes(f'provider: console\n{key}: "{value}"\n') == []


NO_SURPRISE = ["sender: 12345", "description: 1.0", "description: 2026-01-01", "description: 1e3", "deadline: 30s"]


@pytest.mark.parametrize("line", NO_SURPRISE)
def test_a_text_that_all_write_again_alike(line: str) -> None:
    """A number that comes back as it was is no surprise."""
    assert codes(f"provider: console\n{line}\n") == []


def test_surprises_in_lists_keys_and_json() -> None:
    """Norway in a list, a key of the author's own, a text inside of JSON; `on` of a failover is a key of ours."""
    assert told(
        "provider: failover\nsettings: {gateways: [a], on: [unsent], routes: [{country: [NO], gateways: [b]}]}\n"
    ) == ["2:61 yaml-surprise"]
    assert codes(http('form: {on: "{{ phone }}"}')) == ["yaml-surprise"]
    assert codes(http("form: {'on': \"{{ phone }}\"}")) == []
    assert codes(http("json: {a: 0170, b: 5, c: true}")) == ["yaml-surprise"]


@given(
    st.from_regex(r"[-+]?[0-9][0-9_.:xXeE]{0,30}", fullmatch=True) | st.sampled_from(["", "-", "+", ".", "1" * 5000])
)
def test_every_number_gets_an_answer(text: str) -> None:
    """Whatever looks like a number: an answer that is another text, or none."""
    assert _other(text) != text
