import json
import os
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command import CHECKOUT, TIMEOUT_S, Done, environment, python, run

from smsgwd import schema
from smsgwd.compile import compile_gateway
from smsgwd.load import load
from smsgwd.providers._base import Site

HEAD = """\
provider: http
phone: {region: DE}
secrets: {token: {env: SMSGWD_TEST_NOWHERE}}
templates:
  login: {text: "Code {{ code }}", vars: {code: {charset: digits}}}
settings:
  url: "https://sms.example.com/send"
  json: {to: ["{{ phone }}"], text: "{{ message }}", n: 1, flag: true}
  headers: {X-Token: "{{ secrets.token }}"}
  failure: {contains: REJECTED}
  message_id: {json: /id}
  error: {json: /why}
"""
SMPP = """\
provider: smpp
secrets: {pw: {env: SMSGWD_TEST_NOWHERE}}
settings: {host: smsc.example.com, system_id: me, password: "{{ secrets.pw }}"}
"""
SMTP = """\
provider: smtp
settings: {server: {host: mail.example.com, from: sms@example.com}, mail_to: "{{ phone }}@example.com"}
"""
SCRIPT = "provider: script\nsettings: {command: [send]}\n"
CONSOLE = "provider: console\n"
LONG = "0123456789" * 17
TO = 'send: {to: "+491701234567", text: hi}'


def gateway(folder: Path, tests: str, head: str = HEAD, name: str = "x") -> Path:
    """A gateway file with these tests."""
    path = folder / f"{name}.yaml"
    path.write_text(head + "tests:\n" + tests, "utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> Done:
    """What `smsgwd test` says of a file."""
    return run(capsys, "test", str(path), "--config", str(path.parent), *options)


def last_line(done: Done) -> str:
    """The summary."""
    return done.err.splitlines()[-1]


ANSWER = TO + ", reply: "
TWO_PARTS = f'send: {{to: "+491701234567", text: "{LONG}"}}, reply: '
PASSING = [
    (HEAD, f'{TO}, expect: {{request: {{body: {{to: ["+491701234567"], n: 1, flag: true}}}}}}'),
    (HEAD, f'{TO}, expect: {{request: {{headers: {{X-Token: "***"}}}}, to: "+491701234567"}}'),
    (HEAD, 'send: {to: "0170 1234567", template: login, vars: {code: "1"}}, expect: {text: Code 1, gateway: x}'),
    (
        HEAD,
        'send: {to: "0170 1234567", template: login, vars: {code: x}}, expect: {outcome: rejected, reason: content}',
    ),
    (HEAD, 'send: {to: "1", text: hi}, expect: {outcome: rejected, reason: invalid_destination}'),
    (HEAD, ANSWER + '{status: 200, body: {id: 7}}, expect: {outcome: accepted, reason: null, message_ids: ["7"]}'),
    (HEAD, ANSWER + '{status: 200, body: "REJECTED"}, expect: {outcome: rejected, segments: 1}'),
    (HEAD, ANSWER + "{status: 400, body: {why: no such number +491701234567}}, expect: {detail: no such number}"),
    (HEAD, ANSWER + '{status: 503, headers: {Retry-After: "9"}}, expect: {outcome: unsent, reason: throttled}'),
    (SMPP, ANSWER + "{message_id: a}, expect: {message_ids: [a]}"),
    (SMPP, TWO_PARTS + "{message_id: a}, expect: {message_ids: [a, a]}"),
    (SMPP, TWO_PARTS + "[{message_id: a}, {command_status: 88}], expect: {outcome: unknown, message_ids: [a]}"),
    (SMPP, ANSWER + "{command_status: 88}, expect: {reason: throttled}"),
    (SMTP, ANSWER + "{code: 451}, expect: {outcome: unsent}"),
    (SMTP, ANSWER + '{code: 250, text: "queued as A1"}, expect: {message_ids: [A1]}'),
    (SMTP, ANSWER + "{code: 250}, expect: {outcome: accepted, message_ids: []}"),
    (SCRIPT, ANSWER + "{exit: 75}, expect: {outcome: unsent}"),
    (SCRIPT, ANSWER + "{exit: -9}, expect: {outcome: unknown}"),
    (CONSOLE, 'send: {to: "+491701234567", text: "✓", sender: ACME, reference: r}, expect: {encoding: ucs2}'),
    (CONSOLE + "enabled: false\n", f"{TO}, expect: {{segments: 1}}"),
]


@pytest.mark.parametrize(("head", "test"), PASSING, ids=[test for _, test in PASSING])
def test_what_came_is_what_was_expected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, head: str, test: str
) -> None:
    """A test whose expectation is part of the rendering and the outcome passes: nothing is told but the count."""
    done = said(capsys, gateway(tmp_path, f"  - {{{test}}}\n", head))
    assert (done.code, done.out, done.err) == (0, "", "1 test in 1 file, 0 failed\n")


EXPECT = "\n    expect: "
CARET = '    but came "hi"\n               ^\n'
FAILING = [
    (
        HEAD,
        TO + EXPECT + '{request: {body: {text: "ho"}}}',
        ':16:37: failed: t: request.body.text\n    expected "ho"\n' + CARET,
    ),
    (
        HEAD,
        TO + EXPECT + "{request: {body: {txt: hi}}}",
        ':16:31: failed: t: request.body.txt\n    expected "hi"\n    but came nothing\n  hint: there are to, text, n,',
    ),
    (HEAD, TO + EXPECT + "{request: {body: {to: 1}}}", 'expected 1\n    but came ["+491701234567"]\n'),
    (HEAD, TO + EXPECT + "{request: {body: {flag: 1}}}", "but came true"),
    (HEAD, TO + EXPECT + "{request: {body: {text: 1}}}", 'quote it ("hi")'),
    (HEAD, TO + EXPECT + "{outcome: accepted}", "what becomes of it takes a `reply`"),
    (HEAD, TO + EXPECT + "{}", ":16:13: failed: t\n  hint: nothing is expected"),
    (HEAD, 'send: {to: "nobody", text: hi}' + EXPECT + "{segments: 1}", "is rejected (invalid_destination): "),
    (HEAD, 'send: {to: "0170 1234567", template: x}' + EXPECT + "{segments: 1}", ":15:42: error[malformed-request]"),
    (HEAD, TO + "\n    reply: {status: 400}" + EXPECT + "{outcome: accepted}", "hint: detail: "),
    (SMPP, TO + "\n    reply: {message_id: a}" + EXPECT + "{message_ids: [b]}", ": message_ids[0]\n"),
    (
        CONSOLE,
        'send: {to: "+491701234567", text: "a\\nb"}' + EXPECT + '{text: "a\\n\\e[2Jb"}',
        'expected "a\\n\\u001b[2Jb"',
    ),
]


@pytest.mark.parametrize(("head", "test", "words"), FAILING)
def test_what_differs_is_shown_at_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, head: str, test: str, words: str
) -> None:
    """A difference is told with file, line and column of the expectation, both values, and what helps."""
    done = said(capsys, gateway(tmp_path, f"  - name: t\n    {test}\n", head))
    assert done.code == 1
    assert words in done.out
    assert last_line(done) == "1 test in 1 file, 1 failed"
    assert done.out.startswith(f"{tmp_path}/x.yaml:")


def test_long_values_are_cut_around_the_difference(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of values that fill several lines of a terminal the part that differs is shown, the caret below it."""
    text = "a" * 300
    tests = f'  - send: {{to: "+491701234567", text: "{text}x{text}"}}\n    expect: {{text: "{text}y{text}"}}\n'
    lines = said(capsys, gateway(tmp_path, tests, CONSOLE)).out.splitlines()
    column = lines[3].index("^")
    assert (lines[1][column], lines[2][column]) == ("y", "x")
    assert max(map(len, lines[1:])) < 120


def test_a_small_terminal(tmp_path: Path) -> None:
    """On 40 columns each line about a value fits, the caret still below the difference."""
    tests = f'  - send: {{to: "+491701234567", text: "{"a" * 90}"}}\n    expect: {{text: "{"a" * 60}b"}}\n'
    path = gateway(tmp_path, tests, CONSOLE)
    ours, theirs = os.openpty()
    command = python("-m", "smsgwd", "test", str(path), "--config", str(tmp_path))
    env = environment({"NO_COLOR": "1", "COLUMNS": "40"})
    subprocess.run(command, stdout=theirs, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False, env=env)
    os.close(theirs)
    with os.fdopen(ours, "rb") as screen:
        lines = screen.read1(10_000).decode().splitlines()
    assert max(map(len, lines[1:])) <= 40
    column = lines[3].index("^")
    assert (lines[1][column], lines[2][column]) == ("b", "a")


BAD = [
    ("  - {send: {to: a}, expect: {}}", "error[missing-key]: `text` or `template` is missing in `send`"),
    ("  - {send: {to: a, text: b, txt: c}, expect: {}}", "error[unknown-key]"),
    ("  - {send: {to: a, text: b}, expect: {segment: 1}}", "did you mean `segments`?"),
    ("  - {send: {to: a, text: b}, reply: {stauts: 1}, expect: {}}", "did you mean `status`?"),
    ("  - {send: {to: a, text: b}, reply: {status: 99}, expect: {}}", "`status` has to be 200 at least"),
    ("  - {send: {to: a, text: b}, reply: OK, expect: {}}", "`reply` has to be a mapping, not text"),
    ("  - {send: {to: a, text: b}}", "`expect` is missing"),
    ("  - {send: [", "error[yaml-syntax]"),
    ("  x: y", "`tests` has to be a list"),
]


@pytest.mark.parametrize(("tests", "words"), BAD)
def test_findings_fail_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, tests: str, words: str) -> None:
    """A file with errors fails, all its tests with it; the findings are told as by `check`."""
    done = said(capsys, gateway(tmp_path, tests))
    assert done.code == 1
    assert words in done.out
    assert last_line(done).endswith("1 file with errors")


def test_a_provider_that_nothing_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A `reply` for the console is an error: nobody answers there."""
    tests = '  - {send: {to: "+491701234567", text: hi}, reply: {status: 200}, expect: {segments: 1}}\n'
    done = said(capsys, gateway(tmp_path, tests, CONSOLE))
    assert "error[unknown-key]: nothing answers a gateway of the provider console" in done.out


# --- failover

FAILOVER = "provider: failover\nsettings: {gateways: [a, b], routes: [{prefix: '+43', gateways: [b]}]}\n"


@pytest.fixture
def members(tmp_path: Path) -> Path:
    """A configuration with two members."""
    folder = tmp_path / "gateways.d"
    folder.mkdir()
    (folder / "a.yaml").write_text(HEAD)
    (folder / "b.yaml").write_text(SMPP)
    return tmp_path


MEMBERS = ANSWER + "{a: {status: 429}, b: {message_id: z}}, "
OVER = [
    (f"{TO}, expect: {{gateway: a, via: f}}", ""),
    ('send: {to: "+436641234567", text: hi}, expect: {gateway: b, provider: smpp}', ""),
    (MEMBERS + "expect: {outcome: accepted, gateway: b, message_ids: [z], request: {parts: ['6869']}}", ""),
    (ANSWER + "{a: {status: 200}}, expect: {outcome: accepted, gateway: a}", ""),
    (ANSWER + "{a: {status: 429}}, expect: {outcome: accepted, gateway: b}", "the test has no reply of it"),
    (ANSWER + "{c: {status: 200}}, expect: {outcome: accepted}", "`c` is no member of this failover"),
    (ANSWER + "{a: {stats: 200}}, expect: {outcome: accepted}", "did you mean `status`?"),
]


@pytest.mark.parametrize(("test", "words"), OVER)
def test_a_failover_is_sent_through(capsys: pytest.CaptureFixture[str], members: Path, test: str, words: str) -> None:
    """A message goes from member to member as the replies say, each read by its own provider."""
    path = gateway(members / "gateways.d", f"  - {{{test}}}\n", FAILOVER, "f")
    done = run(capsys, "test", str(path), "--config", str(members))
    assert (done.code, words in done.out) == (1 if words else 0, True)


def test_disabled_members(capsys: pytest.CaptureFixture[str], members: Path) -> None:
    """A disabled member is passed over, as when it serves, unless the failover is disabled itself."""
    (members / "gateways.d" / "a.yaml").write_text(HEAD + "enabled: false\n")
    path = gateway(members / "gateways.d", f"  - {{{TO}, expect: {{gateway: b}}}}\n", FAILOVER, "f")
    assert run(capsys, "test", str(path), "--config", str(members)).code == 0
    gateway(members / "gateways.d", f"  - {{{TO}, expect: {{gateway: a}}}}\n", FAILOVER + "enabled: false\n", "f")
    assert run(capsys, "test", str(path), "--config", str(members)).code == 0


def test_limits(capsys: pytest.CaptureFixture[str], members: Path) -> None:
    """Where a message may go is asked of all limits; what is counted begins anew with each test."""
    (members / "smsgwd.yaml").write_text("limits: {countries: {allow: [DE]}}\n")
    limits = "limits: {rate: 1/d, per_recipient: 1/d, budget: 1/d}\n"
    barred = '  - {send: {to: "+436641234567", text: hi}, expect: {outcome: rejected, reason: invalid_destination}}\n'
    taken = f"  - {{{ANSWER}{{status: 200}}, expect: {{outcome: accepted}}}}\n"
    gateway(members / "gateways.d", taken * 3 + barred, HEAD + limits, "a")
    done = run(capsys, "test", str(members))
    assert (done.code, done.out, last_line(done)) == (0, "", "4 tests in 2 files, 0 failed")


# --- folders


def test_all_files_of_all_paths(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All tests of all files run, whatever some come to."""
    good = '  - {send: {to: "+491701234567", text: hi}, expect: {segments: 1}}\n'
    gateway(tmp_path, good * 2, CONSOLE, "a")
    gateway(tmp_path, "  - {}\n", CONSOLE, "b")
    gateway(tmp_path, good.replace("1}}", "2}}"), CONSOLE, "c")
    (tmp_path / "d.yaml").write_text(CONSOLE)
    (tmp_path / "e.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "f.yaml").symlink_to("nowhere")
    done = said(capsys, tmp_path)
    assert done.code == 1
    assert last_line(done) == "4 tests in 5 files, 2 failed, 2 files with errors"
    assert [code in done.out for code in ("not-utf8", "dangling-link", "missing-key")] == [True] * 3


def test_files_of_one_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of two files of one name in two folders each is tested as what it is itself."""
    for name, head in (("one", CONSOLE), ("two", HEAD)):
        (tmp_path / name).mkdir()
        provider = head.split()[1]
        gateway(tmp_path / name, f"  - {{{TO}, expect: {{provider: {provider}}}}}\n", head)
    folders = [str(tmp_path / name) for name in ("one", "two")]
    done = run(capsys, "test", *folders, "--config", str(tmp_path))
    assert (done.code, done.out, last_line(done)) == (0, "", "2 tests in 2 files, 0 failed")


def test_nothing_to_test(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An empty folder has no tests, which is no failure; a folder that does not exist is one."""
    done = said(capsys, tmp_path)
    assert (done.code, done.out, done.err) == (0, "", "0 tests in 0 files, 0 failed\n")
    done = run(capsys, "test", str(tmp_path / "no"))
    assert done.code == 1
    assert "error[no-such-folder]" in done.out or "error[no-such-file]" in done.out


def test_the_log_is_silent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What a send would log does not show, nor does a number or text."""
    tests = '  - {send: {to: "+491701234567", text: canary}, reply: {status: 400}, expect: {outcome: rejected}}\n'
    assert said(capsys, gateway(tmp_path, tests)).err == "1 test in 1 file, 0 failed\n"


# --- --update

REQUEST = "expect:\n      request: # a\n        text: {} # b\n      segments: 1"
LIST = "expect:\n      request: {}\n      segments: 1"
NEW = """\
expect:
      segments: 1
      encoding: gsm7
      request: {to: "+491701234567", text: hi} # new"""
UPDATED = [
    ("expect: {segments: 2, encoding: ucs2} # why", "expect: {segments: 1, encoding: gsm7} # why"),
    ('expect: {request: {text: "ho"}}', 'expect: {request: {text: "hi"}}'),
    ("expect: {request: {text: 'it''s'}}", "expect: {request: {text: 'hi'}}"),
    ("expect:\n      text: |\n        ho\n\n      segments: 1", 'expect:\n      text: "hi"\n\n      segments: 1'),
    (REQUEST.format("ho"), REQUEST.format("hi")),
    (LIST.format("[\n        1 ]"), LIST.format('{to: "+491701234567", text: "hi"}')),
    ("expect: {} # new", NEW),
]


@pytest.mark.parametrize(("before", "after"), UPDATED)
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_update(capsys: pytest.CaptureFixture[str], tmp_path: Path, before: str, after: str, line_break: str) -> None:
    """--update writes what came in the place of what was expected, and not one octet else."""
    test = '# one\n  - name: t   # two\n    send: {to:   "+491701234567", text: hi}\n    {}\n\n  # three\n'
    path = gateway(tmp_path, "", CONSOLE)
    head = "\ufeff" + CONSOLE + "tests:\n" + test
    path.write_bytes(head.replace("    {}\n", f"    {before}\n").replace("\n", line_break).encode())
    path.chmod(0o640)
    done = said(capsys, path, "--update")
    assert (done.code, done.out, last_line(done)) == (0, "", "1 test in 1 file, 1 updated, 0 failed")
    wanted = head.replace("    {}\n", f"    {after}\n").replace("\n", line_break)
    assert path.read_bytes().decode() == wanted
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["x.yaml"]


def test_update_in_braces(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An empty expectation inside braces is filled in inside them; after a reply with the outcome."""
    tests = '  - {send: {to: "0170 1234567", text: hi}, reply: {status: 200, body: {id: 1}}, expect: {}}\n'
    path = gateway(tmp_path, tests)
    assert said(capsys, path, "--update").code == 0
    assert path.read_text().endswith('expect: {outcome: "accepted", message_ids: ["1"]}}\n')
    assert said(capsys, path).code == 0


def test_update_cannot_do_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An expected key that is not there is left for people; what can be written is, and the rest still fails."""
    path = gateway(
        tmp_path, '  - {send: {to: "+491701234567", text: hi}, expect: {request: {txt: a}, segments: 3}}\n', CONSOLE
    )
    done = said(capsys, path, "--update")
    assert (done.code, "request.txt" in done.out) == (1, True)
    assert path.read_text().endswith("expect: {request: {txt: a}, segments: 1}}\n")


def test_update_leaves_what_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file whose tests pass is not written; a link stays a link."""
    real = gateway(tmp_path, '  - {send: {to: "+491701234567", text: hi}, expect: {segments: 1}}\n', CONSOLE, "real")
    before = real.stat()
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "x.yaml").symlink_to(real)
    assert said(capsys, folder, "--update").code == 0
    assert real.stat() == before
    real.write_text(real.read_text().replace("segments: 1", "segments: 2"))
    assert said(capsys, folder, "--update").code == 0
    assert (folder / "x.yaml").is_symlink()
    assert "segments: 1" in real.read_text()


# --- --junit


def test_junit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The report is XML whatever names and texts hold, and counts what passed, failed and could not be run."""
    name = "a \\x1b\\0 <&\\\"' \\uFFFE name"
    good = f'  - {{name: "{name}", send: {{to: "+491701234567", text: hi}}, expect: {{segments: 1}}}}\n'
    gateway(tmp_path, good + good.replace("segments: 1", 'text: "\\x02]]>"'), CONSOLE, "a")
    gateway(tmp_path, "  - {}\n", CONSOLE, "b")
    (tmp_path / "c.yaml").symlink_to("nowhere")
    report = tmp_path / "report.xml"
    assert said(capsys, tmp_path, "--junit", str(report)).code == 1
    root = ET.fromstring(report.read_bytes())
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "2")
    cases = root.findall("testsuite/testcase")
    assert [case.get("classname") for case in cases] == ["a", "a", "b", "c"]
    assert [len(case) for case in cases] == [0, 1, 1, 1]
    assert cases[0].get("name") == "a \\x1b\\x00 <&\"' \\ufffe name"
    failure = cases[1].find("failure")
    assert failure is not None
    assert "u0002]]>" in (failure.text or "")
    assert (cases[1].get("file"), cases[1].get("line")) == (f"{tmp_path}/a.yaml", "4")


def test_junit_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A report that cannot be written is exit code 2: the tests themselves may be fine."""
    done = said(capsys, tmp_path, "--junit", "/nonexistent/report.xml")
    assert done.code == 2
    assert "/nonexistent/report.xml: it cannot be written: No such file or directory" in done.err


# --- what is shipped

EXAMPLES = sorted((CHECKOUT / "gateways.d").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_tests(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    """Every shipped example carries three tests at least, each with a name, and they pass."""
    data, _ = schema.check_gateway(load(path.read_bytes(), path.name))
    tests = (data or {}).get("tests", [])
    assert len(tests) >= 3
    assert all(test.get("name") for test in tests)
    done = run(capsys, "test", str(path), "--config", str(CHECKOUT))
    assert (done.code, done.out) == (0, "")


def test_the_example_of_the_schema(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The schema's own example of tests is one that can be run."""
    tests = schema.read("gateway")["properties"]["tests"]["examples"][0]
    path = tmp_path / "x.yaml"
    path.write_text(HEAD.replace("Code {{ code }}", "Your code is {{ code }}.") + f"tests: {json.dumps(tests)}\n")
    assert said(capsys, path).code == 0


def test_tests_change_nothing_for_a_message() -> None:
    """A gateway whose tests were changed need not be built anew: its sessions stay."""
    text = CONSOLE + 'tests: [{send: {to: "1", text: hi}, expect: {segments: 1}}]\n'
    fingerprints = set()
    for one in (CONSOLE, text, text.replace("hi", "ho")):
        served, _ = compile_gateway("x", load(one.encode(), "x.yaml"), Site(), resolve=False)
        assert served is not None
        fingerprints.add(served.fingerprint)
    assert len(fingerprints) == 1
