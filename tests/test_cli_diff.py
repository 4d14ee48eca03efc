import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, Done, run
from hypothesis import given, settings
from hypothesis import strategies as st
from nobody import as_nobody, open_folder

from smsgwd import canonical
from smsgwd.cli.sides import side
from smsgwd.difference import changes
from smsgwd.difference.change import code

HTTP = """\
provider: http
secrets: {token: {env: TOKEN}}
phone: {region: DE}
templates: {login: {text: "Your code is {{ code }}.", vars: {code: {max_length: 6, charset: digits}}}}
settings:
  url: https://sms.example.com/
  form: {to: "{{ phone }}", text: "{{ message }}"}
  headers: {X-Token: "{{ secrets.token }}"}
  success: {status: [201]}
"""
SITE = """\
log: {level: info}
access: [{users: [ops], allow: [send]}]
smtp_servers: {corp: {host: a.example, from: a@b.example}}
"""
FAILOVER = """\
provider: failover
settings: {routes: [{country: [AT], gateways: [a]}, {prefix: '+4915', gateways: [b]}], gateways: [a, b]}
"""


def written(directory: Path, files: dict[str, str]) -> Path:
    """A configuration with these gateways; `smsgwd` is smsgwd.yaml."""
    (directory / "gateways.d").mkdir(parents=True)
    for name, text in files.items():
        path = directory / "smsgwd.yaml" if name == "smsgwd" else directory / "gateways.d" / f"{name}.yaml"
        path.write_text(text, "utf-8")
    return directory


def compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: dict[str, str], new: dict[str, str], *options: str
) -> Done:
    """What `smsgwd diff` says of two configurations."""
    sides = written(tmp_path / "old", old), written(tmp_path / "new", new)
    return run(capsys, "diff", *map(str, sides), *options)


LONGER = f"Your code’s one of {'x' * 50} {{{{ code }}}}, and keep it"
EFFECTS = [
    ('text: "{{ message }}"}', 'text: "{{ message }}", cb: "https://x/"}', ["POST body gains `cb`: `https://x/`"]),
    ('to: "{{ phone }}", ', "", ["POST body loses `to` (before: `{{ phone }}`)"]),
    ('"{{ message }}"', '"A: {{ message }}"', [
        "POST body: `text` becomes `A: {{ message }}` (before: `{{ message }}`)",
        "a text of 160 characters: 1 -> 2 segments",
    ]),
    ("  form:", "  query: {a: b}\n  form:", ["POST query gains `a`: `b`"]),
    ("  form:", "  method: POST\n  form:", []),
    ("  form:", "  method: PUT\n  form:", ["the method of requests: `PUT` (before: `POST`)"]),
    ("X-Token: ", "X-Key: ", [
        "POST header gains `X-Key`: `{{ secrets.token }}`",
        "POST header loses `X-Token` (before: `{{ secrets.token }}`)",
    ]),
    ("sms.example.com", "b.example", ["where requests go: `https://b.example/` (before: `https://sms.example.com/`)"]),
    ("[201]", "[200]", ['what counts as accepted: `{"status": [200]}` (before: `{"status": [201]}`)']),
    ("  success", "  tls: {verify: false}\n  success", [
        "certificates are no longer verified: anyone on the way can read the credentials",
    ]),
    ("  success", "  tls: {verify: true}\n  success", []),
    ("  success", "  timeout: {total: 10s}\n  success", []),
    ("  success", "  timeout: {total: 20s}\n  success", ["`settings.timeout.total`: `20s` (before: nothing)"]),
    ("{env: TOKEN}", "{file: token}", ["the secret `token` comes from file `token` (before: env `TOKEN`)"]),
    ("region: DE", "region: DE, format: digits", [
        "`phone.format`: `digits` (before: nothing)",
        "the number `+491701234567` goes out as `491701234567` (before: `+491701234567`)",
        "the number `0049 170 1234567` goes out as `491701234567` (before: `+491701234567`)",
        "the number `0170 1234567` goes out as `491701234567` (before: `+491701234567`)",
    ]),
    ("phone: {region: DE}\n", "", [
        "`phone.region`: no longer said (before: `DE`)",
        "the number `0170 1234567` is refused (before: `+491701234567`)",
    ]),
    ("region: DE", "region: DE, short_codes: true", [
        "`phone.short_codes`: `true` (before: nothing)",
        "the number `12345` goes out as `12345` (before: refused)",
    ]),
    ("Your code is {{ code }}.", LONGER, [
        "the template `login` reads `" + LONGER[:79] + "…` (before: `Your code is {{ code }}.`)",
        "the template `login`: 1 -> 2 segments because of U+2019 `’`",
    ]),
    ("max_length: 6", "max_length: 200", [
        "the template `login`, `vars.code.max_length`: `200` (before: `6`)",
        "the template `login`: 1 -> 2 segments",
    ]),
    ("digits}", "digits}, x: {}", ["the template `login` needs the variable `x`"]),
    ("templates: {", "templates: {other: {text: hi}, ", ["the template `other` is new: `hi`"]),
    ("login:", "logon:", [
        "the template `login` is gone: sends that name it are refused",
        "the template `logon` is new: `Your code is {{ code }}.`",
    ]),
    ("provider: http", "provider: http\nenabled: false", ["no longer sends: sends to it are refused (disabled)"]),
    ("provider: http", "provider: http\nenabled: true", []),
    ("provider: http", "provider: http\nsender: ACME\nmax_segments: 2\ndeadline: 9s\nretry: {attempts: 1}", [
        "how long a send may take: `9s` (before: nothing)",
        "the segments above which a message is refused: `2` (before: nothing)",
        'how an unsent message is tried again: `{"attempts": 1}` (before: nothing)',
        "the source address, unless a caller gives one: `ACME` (before: nothing)",
    ]),
    ("provider: http", "# why\ndescription: x\nprovider: http\ntests: [{send: {to: a, text: b}, expect: {}}]", []),
]  # fmt: skip  # a row is a change


@pytest.mark.parametrize(("before", "after", "effects"), EFFECTS, ids=[after for _, after, _ in EFFECTS])
def test_effects(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, before: str, after: str, effects: list[str]
) -> None:
    """A changed key is told as what it does to messages and their senders; what does nothing is not told."""
    assert before in HTTP
    done = compared(capsys, tmp_path, {"x": HTTP}, {"x": HTTP.replace(before, after)}, "--format", "json")
    document = json.loads(done.out)
    told = [change["effect"] for change in document["changes"]]
    assert sorted(told) == sorted(effects)
    assert (done.code, document["changed"]) == (int(bool(effects)), bool(effects))


def test_long_values_that_differ_late(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of values that are too long to be shown the part is shown that differs, beginning and end where it is there."""
    old, new = ({"x": HTTP.replace("Your code is", "y" * 200 + word)} for word in ("to", "tu"))
    told = compared(capsys, tmp_path, old, new).out
    was, now = (f"`…{'y' * 39}{word} {{{{ code }}}}.`" for word in ("to", "tu"))
    assert f"  the template `login` reads {now} (before: {was})\n" in told


GATEWAYS = [
    ({}, {"x": HTTP}, "is new: provider `http` at `https://sms.example.com/`"),
    ({}, {"x": "provider: console\nenabled: false\n"}, "is new: provider `console`, but disabled"),
    ({"x": HTTP}, {}, "is gone: sends to it are refused"),
    ({"x": HTTP}, {"x": "provider: console\n"}, "goes through provider `console` (before: `http`)"),
    (
        {"x": HTTP},
        {"x": "provider: consle\n"},
        "does not compile: a running daemon stays with what it has (`` x.yaml:1:11: error[unknown-provider]: there is ",
    ),
    ({"x": "provider: consle\n"}, {"x": "provider: console\n"}, "compiles now: provider `console`"),
    ({}, {"x": "a: [\n"}, "is new, and does not compile: sends to it are refused (`x.yaml:"),
]


@pytest.mark.parametrize(("old", "new", "effect"), GATEWAYS)
def test_gateways(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: dict[str, str], new: dict[str, str], effect: str
) -> None:
    """Gateways that come, go, break or change their provider are told."""
    done = compared(capsys, tmp_path, old, new)
    assert done.code == 1
    assert done.out.splitlines()[0] == "x"
    assert f"  {effect}" in done.out


def test_a_broken_file_that_stays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is broken before and after is no change."""
    done = compared(capsys, tmp_path, {"x": "a: ["}, {"x": "b: ["})
    assert (done.code, done.out, done.err) == (0, "", "smsgwd: nothing changes for users\n")


ROUTES = [
    ("country: [AT]", "country: [AT, CH]", ["sends to CH now go through `a` (before: `a` else `b`)"]),
    ("gateways: [a]}", "gateways: [b]}", ["sends to AT now go through `b` (before: `a`)"]),
    ("gateways: [a, b]}", "gateways: [b]}", [
        "sends to all numbers that no route names now go through `b` (before: `a` else `b`)",
    ]),
    ("+4915", "+4916", [
        "sends to `+4915` now go through `a` else `b` (before: `b`)",
        "sends to `+4916` now go through `b` (before: `a` else `b`)",
    ]),
    ("gateways: [a, b]}", "gateways: [a, b], on: [unsent, unknown]}", [
        'the outcomes after which the next member is tried: `["unsent", "unknown"]` (before: nothing)',
    ]),
    ("gateways: [a, b]}", "gateways: [a, b], on: [unsent]}", []),
]  # fmt: skip  # a row is a change


@pytest.mark.parametrize(("before", "after", "effects"), ROUTES)
def test_routes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, before: str, after: str, effects: list[str]
) -> None:
    """A failover's settings are told as the ways that messages take now."""
    members = {"a": "provider: console\n", "b": "provider: console\n"}
    new = {**members, "f": FAILOVER.replace(before, after)}
    done = compared(capsys, tmp_path, {**members, "f": FAILOVER}, new, "--format", "json")
    assert [change["effect"] for change in json.loads(done.out)["changes"]] == effects


def test_routes_without_a_member(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A member that is switched off changes the ways of a failover whose own file is as it was."""
    old = {"a": "provider: console\n", "b": "provider: console\n", "f": FAILOVER}
    done = compared(capsys, tmp_path, old, {**old, "a": "provider: console\nenabled: false\n"})
    assert done.out.splitlines() == [
        "a",
        "  no longer sends: sends to it are refused (disabled)",
        "f",
        "  sends to AT now reach no gateway (before: `a`)",
        "  sends to all numbers that no route names now go through `b` (before: `a` else `b`)",
    ]


SITES = [
    ("level: info", "level: debug", ["`log.level`: `debug` (before: `info`)"]),
    ("log: {level: info}", "log: {}", []),
    ("users: [ops]", "users: [dev]", [
        '`access` gains the rule `{"users": ["dev"], "allow": ["send"]}`',
        '`access` loses the rule `{"users": ["ops"], "allow": ["send"]}`',
    ]),
    ("[{users: [ops], allow: [send]}]", "[]", [
        "`access`: everyone who can open the socket may send",
        '`access` loses the rule `{"users": ["ops"], "allow": ["send"]}`',
    ]),
    ("a.example,", "b.example,", ["`smtp_servers.corp.host`: `b.example` (before: `a.example`)"]),
]  # fmt: skip  # a row is a change


@pytest.mark.parametrize(("before", "after", "effects"), SITES)
def test_site(capsys: pytest.CaptureFixture[str], tmp_path: Path, before: str, after: str, effects: list[str]) -> None:
    """What smsgwd.yaml changes is told under its name."""
    done = compared(capsys, tmp_path, {"smsgwd": SITE}, {"smsgwd": SITE.replace(before, after)})
    assert done.out.splitlines() == ([] if not effects else ["smsgwd.yaml", *(f"  {one}" for one in effects)])


def test_markdown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """For a pull request: headings, lists, and values that cannot leave their code spans."""
    new = HTTP.replace("https://sms.example.com/", "https://sms.example.com/`x`@all<b>")
    done = compared(capsys, tmp_path, {"x": HTTP}, {"x": new}, "--format", "markdown")
    assert done.out == (
        "### smsgwd: 1 change for users in 1 gateway\n\n**x**\n\n"
        "- where requests go: ``https://sms.example.com/`x`@all<b>`` (before: `https://sms.example.com/`)\n"
    )
    done = run(capsys, "diff", str(tmp_path / "old"), str(tmp_path / "old"), "--format", "markdown")
    assert (done.code, done.out) == (0, "### smsgwd: nothing changes for users\n")


@given(st.text() | st.dictionaries(st.text(), st.text()) | st.integers())
@settings(deadline=None)
def test_values_stay_in_their_code_spans(value: object) -> None:
    """Whatever a value holds, its code span is one line, printable, not too long, and ends where it ends."""
    span = code(value)
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert span.isprintable()
    assert len(span) < 300
    assert span.endswith(fence)
    inside = span.removeprefix(fence).removesuffix(fence)
    assert fence not in inside.replace(fence + "`", "")


def test_nothing_but_the_digest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A default that is written out changes the digest, and nothing for users: both are told."""
    done = compared(capsys, tmp_path, {"x": HTTP}, {"x": HTTP + "enabled: true\n"})
    assert (done.code, done.out, done.err) == (0, "", "smsgwd: nothing changes for users; the digest does\n")


def test_every_example_is_the_same_after_compiling(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A compiled file and its directory are no different, nor do the shipped examples break on the way."""
    target = tmp_path / "compiled.json"
    assert run(capsys, "compile", "--config", str(CHECKOUT), "-o", str(target)).code == 0
    assert run(capsys, "diff", str(CHECKOUT), str(target)).code == 0
    assert run(capsys, "diff", str(written(tmp_path / "none", {})), str(target)).out.count(" is new: ") == len(
        list((CHECKOUT / "gateways.d").glob("*.yaml"))
    )


# --- Git


def git(folder: Path, *arguments: str) -> None:
    """Run git there, as nobody in particular."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, env=env, check=True, capture_output=True, timeout=TIMEOUT_S)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a configuration at its top and another one below `sms`; the work tree is ahead of it."""
    top = tmp_path / "repository"
    written(top, {"x": HTTP, "smsgwd": SITE})
    written(top / "sms", {"y": "provider: console\n"})
    git(top, "init", "--quiet")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "one")
    (top / "gateways.d" / "x.yaml").write_text(HTTP.replace("[201]", "[202]"))
    monkeypatch.chdir(top)
    return top


@pytest.mark.parametrize(
    ("folder", "old", "new", "code"),
    [
        (".", "git:HEAD", ".", 1),
        (".", "git:main", "git:HEAD", 0),
        (".", "git:HEAD:sms", "sms", 0),
        ("sms", "git:HEAD", ".", 0),
        ("sms", "git:HEAD:./", "git:HEAD:sms/", 0),
        ("sms", "git:HEAD:", "git:HEAD:..", 0),
        ("sms", "git:HEAD:../sms", ".", 0),
        ("sms", "git:HEAD:", "git:HEAD", 1),
    ],
)
def test_revisions(
    capsys: pytest.CaptureFixture[str],
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    old: str,
    new: str,
    code: int,
) -> None:
    """A revision is read where PATH says, from the top or from the current folder, and nothing is checked out."""
    monkeypatch.chdir(repository / folder)
    done = run(capsys, "diff", old, new)
    assert done.code == code, done.err
    assert "[202]" in (repository / "gateways.d" / "x.yaml").read_text()


@pytest.mark.parametrize(
    ("written_as", "words"),
    [
        ("git:nope", "git:nope: this repository has no such revision"),
        ("git:--help", "git:--help: this repository has no such revision"),
        ("git:", "a revision has to follow"),
        ("git:HEAD:nope", "there is no folder nope in this revision"),
        ("git:HEAD:smsgwd.yaml", "there is no folder smsgwd.yaml in this revision"),
        ("git:HEAD:gateways.d", "there is no folder gateways.d/gateways.d in this revision"),
        ("git:HEAD:../..", "is no folder of this repository"),
        ("git:HEAD:/etc", "is no folder of this repository"),
        ("git:HEAD:a\nb", "is no folder of this repository"),
    ],
)
def test_no_such_revision(capsys: pytest.CaptureFixture[str], repository: Path, written_as: str, words: str) -> None:
    """What the repository does not have is told in one line, exit code 2."""
    done = run(capsys, "diff", written_as, ".")
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_links_stay_inside_the_revision(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    """A link to a file of the revision is followed; one that leads out of it reads nothing of this machine."""
    canary = repository.parent / "canary.yaml"
    canary.write_text("provider: canary-4711\n")
    folder = repository / "gateways.d"
    (folder / "in.yaml").symlink_to("../sms/gateways.d/y.yaml")
    (folder / "out.yaml").symlink_to(canary)
    (folder / "up.yaml").symlink_to("../../canary.yaml")
    (folder / "none.yaml").symlink_to("nowhere")
    (folder / "ring.yaml").symlink_to("ring.yaml")
    (folder / "big.yaml").write_bytes(b"#" * (1 << 20) + b"\nprovider: console\n")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "a\nb.yaml").write_text("provider: console\n")
    (folder / ".hidden.yaml").write_text("provider: console\n")
    (folder / "sub.yaml").mkdir()
    (folder / "sub.yaml" / "z.yaml").write_text("provider: console\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "two")
    configuration = side("git:HEAD")
    assert set(configuration.gateways) == {"x", "in"}
    told = {name: words.split("error[")[1].split("]")[0] for name, words in configuration.broken.items()}
    assert told == {
        "out": "dangling-link",
        "up": "dangling-link",
        "none": "dangling-link",
        "ring": "dangling-link",
        "big": "too-large",
        "binary": "not-utf8",
    }
    assert "canary" not in str(configuration)


def test_a_linked_folder(repository: Path) -> None:
    """gateways.d may be a link to another folder of the revision."""
    other = repository / "other"
    other.mkdir()
    (other / "gateways.d").symlink_to("../sms/gateways.d")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "two")
    assert set(side("git:HEAD:other").gateways) == {"y"}


def test_without_a_repository(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a repository, or without git, the reason is told."""
    monkeypatch.chdir(written(tmp_path / "plain", {}))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    done = run(capsys, "diff", "git:HEAD", ".")
    assert (done.code, "not a git repository" in done.err) == (2, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(capsys, "diff", "git:HEAD", ".")
    assert (done.code, done.err) == (2, "smsgwd: git cannot be run: No such file or directory\n")


# --- what cannot be read


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("missing", "cannot be read: No such file or directory"),
        ("fifo", "is neither a folder nor a file"),
        ("binary", "is no compiled configuration"),
        ("text", "is no compiled configuration"),
        ("link", "cannot be read: No such file or directory"),
        ("empty folder", "has no folder gateways.d"),
        ("bad site", "cannot be read: smsgwd.yaml:1:1: error[unknown-key]"),
    ],
)
def test_a_side_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path, make: str, words: str) -> None:
    """A side that is no configuration is exit code 2, in one line."""
    place = tmp_path / "place"
    makers: dict[str, Callable[[], object]] = {
        "fifo": lambda: os.mkfifo(place),
        "binary": lambda: place.write_bytes(bytes(range(256)) * 9),
        "text": lambda: place.write_text("provider: console\n"),
        "link": lambda: place.symlink_to("nowhere"),
        "empty folder": place.mkdir,
        "bad site": lambda: written(place, {"smsgwd": "sockett: {}\n"}),
        "missing": lambda: None,
    }
    makers[make]()
    done = run(capsys, "diff", str(written(tmp_path / "good", {})), str(place))
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("closed", [".", "gateways.d", "smsgwd.yaml"])
def test_without_the_right_to_read(capsys: pytest.CaptureFixture[str], closed: str) -> None:
    """A configuration that this user may not read is exit code 2, not an empty one."""
    with open_folder() as folder:
        place = written(folder / "place", {"x": HTTP, "smsgwd": SITE})
        (place / closed).chmod(0)
        with as_nobody():
            done = run(capsys, "diff", str(place), str(place))
        (place / closed).chmod(0o700)
    assert (done.code, done.out) == (2, "")
    assert "it may not be read by this user" in done.err


def test_a_gateway_that_may_not_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A single file that this user may not read is told as one that does not compile."""
    with open_folder() as folder:
        old, new = (written(folder / name, {"x": HTTP}) for name in ("old", "new"))
        (new / "gateways.d" / "x.yaml").chmod(0)
        with as_nobody():
            done = run(capsys, "diff", str(old), str(new))
    assert done.code == 1
    assert "does not compile: a running daemon stays with what it has (`x.yaml:1:1: error[unreadable]" in done.out


def test_a_changed_document(tmp_path: Path) -> None:
    """A compiled gateway that no longer compiles counts as none, and is not the end of the comparison."""
    old = canonical.Configuration("x", {"a": {"provider": "console"}, "f": {"provider": "nothing"}})
    new = canonical.Configuration("y", {"a": {"provider": "console"}, "f": {"provider": "nothing", "sender": "A"}})
    assert [change.subject for change in changes(old, new)] == ["f"]
