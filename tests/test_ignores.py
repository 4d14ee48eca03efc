"""Comments that silence warnings."""

import pytest
from compiled import problems, site_problems, told

from smsgwd.compile import compile_gateway
from smsgwd.errors import Severity
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import Entry, Registry, SiteConfig

PLAIN_HTTP = 'provider: http\nsettings:\n  form: {{to: "{{{{ phone }}}}"}}\n  url: "http://192.0.2.1/"{comment}\n'


def with_comment(comment: str) -> list[str]:
    """What is told about a file whose fourth line earns plain-http and ends in this."""
    return told(PLAIN_HTTP.format(comment=comment))


def test_a_comment_silences_the_warnings_of_its_line() -> None:
    """Code and reason are all it takes."""
    assert with_comment("") == ["4:8 plain-http"]
    assert with_comment(" # smsgwd: ignore plain-http an appliance in the rack") == []


WAYS = [
    " #smsgwd:ignore plain-http spaces do not matter",
    "\t## smsgwd: ignore plain-http behind a tab",
    " # the appliance # smsgwd: ignore plain-http after other words",
    " # smsgwd: ignore plain-http see issue #12",
    " # smsgwd: ignore plain-http bösartig? 漢字 😀",
]


@pytest.mark.parametrize("comment", WAYS)
def test_ways_to_write_it(comment: str) -> None:
    """Blanks, other words before it and signs inside of the reason do no harm."""
    assert with_comment(comment) == []


BAD = [
    (" # smsgwd: ignore", "bad-ignore", "a code and a reason are missing"),
    (" # smsgwd: ignore plain-http", "bad-ignore", "a reason is missing"),
    (" # smsgwd: ignore plain-htp because", "bad-ignore", "there is no code `plain-htp`"),
    (" # smsgwd: ignore verify because", "bad-ignore", "there is no code `verify`"),
    (" # smsgwd: ignore single-brace because", "unused-ignore", "there is no `single-brace` on this line"),
]


@pytest.mark.parametrize(("comment", "code", "message"), BAD)
def test_a_comment_that_silences_nothing_is_a_warning(comment: str, code: str, message: str) -> None:
    """Without a reason, with a code that does not exist or that is not there: the warning stays, and one more comes."""
    found = {problem.code: problem for problem in problems(PLAIN_HTTP.format(comment=comment))}
    assert found.keys() == {"plain-http", code}
    assert found[code].message.startswith(message)
    assert (found[code].line, found[code].severity) == (4, Severity.WARNING)


def test_an_error_cannot_be_silenced() -> None:
    """The error stays, and the comment is told to be of no use."""
    assert told("provider: console\nsendr: a # smsgwd: ignore unknown-key later\n") == [
        "2:1 unknown-key",
        "2:10 bad-ignore",
    ]


def test_beside_an_error_an_unused_comment_is_not_judged() -> None:
    """What a comment silences may be found only when the file is right again."""
    assert told("provider: console\nsendr: a\nsender: a # smsgwd: ignore single-brace why\n") == ["2:1 unknown-key"]


def test_two_codes_on_a_line() -> None:
    """Each has a comment of its own."""
    line = "  a: {text: '{code} \u2019', vars: {code: {}}}"
    head = "provider: console\ntemplates:\n"
    assert told(head + line) == ["3:14 single-brace", "3:21 ucs2-character"]
    both = line + " # smsgwd: ignore single-brace a sign # smsgwd: ignore ucs2-character a name\n"
    assert told(head + both) == []
    assert told(head + line + " # smsgwd: ignore single-brace a sign\n") == ["3:21 ucs2-character"]


def test_a_comment_is_for_one_line_only() -> None:
    """The line below is not silenced."""
    text = "provider: console\n# smsgwd: ignore yaml-surprise why\ndescription: yes\n"
    assert told(text) == ["2:1 unused-ignore", "3:14 yaml-surprise"]


BLOCK = """\
provider: console
templates:
  a:
    vars: {{code: {{}}}}
    text: {style}{comment}
      One
      {{code}}
"""


@pytest.mark.parametrize("style", ["|", ">-", "|2-"])
def test_a_text_of_several_lines(style: str) -> None:
    """Its comment stands where it begins, after the sign of the block."""
    bare = told(BLOCK.format(style=style, comment=""))
    assert [one.split()[1] for one in bare] == ["single-brace"]
    assert told(BLOCK.format(style=style, comment=" # smsgwd: ignore single-brace meant so")) == []


HOSTILE = [
    "# smsgwd: ignore" + " " * 400_000 + "x",
    "# smsgwd: ignore plain-htp x\n" * 20_000,
    "# smsgwd: ignore plain-htp x " * 20_000,
    "#" * 400_000 + " smsgwd: ignore",
    "# " * 200_000 + "smsgwd:",
    "\n".join(f"# smsgwd: ignore c{number} x" for number in range(20_000)),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_a_hostile_file_takes_no_long_time(text: str) -> None:
    """However many comments and blanks there are, the answer comes, and has a bounded number of findings."""
    lines = "".join(f"a{number}: b\n" for number in range(20_000))
    assert len(told(f"provider: console\ndescription: |\n  x\n{text}\n")) <= 1000
    assert len(told(f"provider: console\n{lines}{text}\n")) <= 2000


def test_a_block_without_a_line() -> None:
    """A sign at the very end of the file, with nothing below it, hides no comment."""
    text = "provider: console\nsender: 0170 # smsgwd: ignore yaml-surprise a number\ndescription: |"
    assert told(text) == []
    assert told(text.replace("\n", "\r")) == []


NO_COMMENTS = [
    "description: 'x # smsgwd: ignore plain-http no'",
    "description: |\n  x # smsgwd: ignore plain-http no",
    "description: >-\n  x\n  # smsgwd: ignore plain-http no",
    'description: "x # smsgwd: ignore"',
]


@pytest.mark.parametrize("line", NO_COMMENTS)
def test_text_is_no_comment(line: str) -> None:
    """What looks like a comment inside of a text silences nothing, and is no fault."""
    assert told(f"provider: console\n{line}\n") == []


def test_smsgwd_yaml() -> None:
    """Comments work there, too."""
    text = "secrets: {a: {env: A}}"
    assert [problem.code for problem in site_problems(text)] == ["unused-secret"]
    assert site_problems(text + " # smsgwd: ignore unused-secret of the next release\n") == ()


def test_a_member_that_is_disabled_for_a_reason() -> None:
    """What only the other files tell can be silenced, and is never told to be unused."""
    line = "provider: failover\nsettings: {gateways: [console, resting]}"
    comment = " # smsgwd: ignore unavailable-gateway until the contract is signed\n"
    for resting in ("enabled: false\n", ""):
        for end, expected in (("\n", {"unavailable-gateway"} if resting else set()), (comment, set())):
            files = {"console": "provider: console\n", "resting": f"provider: console\n{resting}", "f": line + end}
            entries = [
                Entry.of(name, *compile_gateway(name, load(text.encode(), name), Site(), resolve=False))
                for name, text in files.items()
            ]
            assert {problem.code for problem in Registry.of(entries, SiteConfig()).problems} == expected


def test_a_warning_that_only_secrets_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment for a short secret is not told to be unused where secrets are not read."""
    monkeypatch.setenv("SHORT", "abc")
    text = (
        "provider: http\nsecrets:\n  a: {env: SHORT} # smsgwd: ignore short-secret the operator gives no longer ones\n"
        'settings: {url: "https://192.0.2.1/", form: {to: "{{ phone }}"}, auth: {bearer: "{{ secrets.a }}"}}\n'
    )
    assert problems(text) == problems(text, secrets=True) == ()
    assert [one.code for one in problems(text.replace("ignore", "not"), secrets=True)] == ["short-secret"]
