import json
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, run, spawn

GOOD = "provider: console\n"
TYPO = "provider: console\nretry: {atempts: 3}\n"
WARNED = "provider: console\ntemplates: {a: {text: 'Hello {otp}'}}\n"
SECRET = """\
provider: http
secrets: {token: {env: SMSGWD_TEST_TOKEN}}
settings: {url: 'https://127.0.0.1/', headers: {access-token: '{{ secrets.token }}'}, success: {contains: OK}}
"""


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own configuration; files are named from the test's own folder."""
    monkeypatch.setenv("SMSGWD_CONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("SMSGWD_TEST_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_nothing_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where all is well nothing is said but the count, and the exit code is 0."""
    write(tmp_path, {"gateways.d/a.yaml": GOOD, "gateways.d/b.yml": GOOD, "smsgwd.yaml": "log: {level: info}\n"})
    done = run(capsys, "check", "--config", ".")
    assert (done.code, done.out, done.err) == (0, "", "3 files, 0 errors, 0 warnings\n")


@pytest.mark.parametrize("arguments", [["--config", "."], ["."], ["gateways.d"]])
def test_no_gateway(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]) -> None:
    """A configuration without a gateway is a warning that names the folder that was looked in; no file is counted."""
    (tmp_path / "gateways.d").mkdir()
    done = run(capsys, "check", *arguments)
    assert (done.code, done.err) == (0, "0 files, 0 errors, 1 warning\n")
    assert done.out.startswith(
        "gateways.d:1:1: warning[no-gateways]: there is no gateway file in this folder\n  hint: put"
    )
    assert run(capsys, "check", "--strict", *arguments).code == 1


def test_a_broken_site_is_told_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where smsgwd.yaml has errors no gateway is said to name a mail server that is not there."""
    gateway = "provider: smtp\nsettings: {server: corp, mail_to: a@example.com}\n"
    site = "smtp_servers:\n  corp: {host: mail.example.com, from: %s}\n"
    write(tmp_path, {"gateways.d/a.yaml": gateway, "smsgwd.yaml": site % "nobody"})
    done = run(capsys, "check", "--config", ".")
    assert (done.code, done.err) == (1, "2 files, 1 error, 0 warnings\n")
    assert done.out.startswith("smsgwd.yaml:2:40: error[bad-value]: ")
    write(tmp_path, {"smsgwd.yaml": site.replace("corp", "crop") % "a@example.com"})
    assert "error[unknown-smtp-server]" in run(capsys, "check", "--config", ".").out


def test_every_finding_of_every_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All findings of all files come in one run, ordered, each with its place, its line and the mend."""
    write(tmp_path, {"gateways.d/b.yaml": TYPO, "gateways.d/a.yaml": WARNED, "smsgwd.yaml": "sockt: {}\n"})
    done = run(capsys, "check", "--config", ".")
    assert (done.code, done.err) == (1, "3 files, 2 errors, 1 warning\n")
    places = [line for line in done.out.splitlines() if re.match(r"\S+:\d+:\d+: ", line)]
    assert [line.split(": ")[0:2] for line in places] == [
        ["gateways.d/a.yaml:2:30", "warning[single-brace]"],
        ["gateways.d/b.yaml:2:9", "error[unknown-key]"],
        ["smsgwd.yaml:1:1", "error[unknown-key]"],
    ]
    assert "    2 | retry: {atempts: 3}\n      |         ^\n  hint: did you mean `attempts`?\n" in done.out


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--format json is one document with the findings and the counts, and nothing else is said."""
    write(tmp_path, {"gateways.d/b.yaml": TYPO, "gateways.d/a.yaml": WARNED})
    done = run(capsys, "check", "--format", "json", "--config", ".")
    document = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert {key: document[key] for key in ("files", "errors", "warnings")} == {"files": 2, "errors": 1, "warnings": 1}
    assert document["findings"][1] == {
        "file": "gateways.d/b.yaml",
        "line": 2,
        "column": 9,
        "code": "unknown-key",
        "severity": "error",
        "message": "unknown key `atempts`",
        "hint": "did you mean `attempts`?",
        "pointer": "/retry/atempts",
    }


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_strict(capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    """A warning alone fails only with --strict."""
    write(tmp_path, {"gateways.d/a.yaml": WARNED})
    done = run(capsys, "check", "--config", ".", *options)
    assert (done.code, done.err) == (code, "1 file, 0 errors, 1 warning\n")


def test_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Secrets are looked for with --secrets only; a missing one is an error, and none is ever shown."""
    write(tmp_path, {"gateways.d/a.yaml": SECRET})
    assert run(capsys, "check", "--config", ".").code == 0
    missing = run(capsys, "check", "--config", ".", "--secrets")
    assert missing.code == 1
    assert "error[missing-secret]" in missing.out
    assert "hint: set it in the environment of the daemon; with systemd by Environment=" in missing.out
    monkeypatch.setenv("SMSGWD_TEST_TOKEN", "canary-4711")
    there = run(capsys, "check", "--config", ".", "--secrets")
    assert there.code == 0
    assert "canary" not in there.out + there.err + missing.out


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["config/gateways.d/a.yaml"], 1),
        (["config/gateways.d"], 2),
        (["config"], 3),
        (["config/smsgwd.yaml"], 1),
        (["config/gateways.d/a.yaml", "other"], 2),
        (["config/gateways.d/a.yaml", "config"], 3),
    ],
)
def test_paths(capsys: pytest.CaptureFixture[str], tmp_path: Path, paths: list[str], files: int) -> None:
    """PATH is a file, a folder of gateway files or a whole configuration; each file is looked at once."""
    names = ["config/gateways.d/a.yaml", "config/gateways.d/b.yaml", "other/c.yaml"]
    write(tmp_path, {**dict.fromkeys(names, GOOD), "config/smsgwd.yaml": "log: {level: info}\n"})
    done = run(capsys, "check", *paths)
    assert done.code == 0
    assert done.err == f"{files} file{'s' if files > 1 else ''}, 0 errors, 0 warnings\n"


def test_what_a_file_refers_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The members of a failover are looked up in --config; what is wrong with these themselves is not asked for."""
    failover = "provider: failover\nsettings: {gateways: [there, gone]}\n"
    write(
        tmp_path, {"new/both.yaml": failover, "config/gateways.d/there.yaml": WARNED, "config/gateways.d/x.yaml": TYPO}
    )
    done = run(capsys, "check", "new/both.yaml", "--config", "config")
    assert (done.code, done.err) == (1, "1 file, 1 error, 0 warnings\n")
    assert done.out.startswith("new/both.yaml:2:30: error[unknown-gateway]: there is no gateway `gone`\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "nowhere:1:1: error[no-such-folder]: it does not exist\n  hint: give the configuration directory"),
        (["check", "nothing.yaml"], "nothing.yaml:1:1: error[no-such-file]: it does not exist"),
        (["check", "fifo.yaml"], "fifo.yaml:1:1: error[not-a-file]"),
        (["check", "link.yaml"], "link.yaml:1:1: error[dangling-link]"),
        (["check", "bad name.yaml"], "bad name.yaml:1:1: error[bad-name]"),
        (["check", "large.yaml"], "large.yaml:1:1: error[too-large]"),
        (["check", "deep.yaml"], "error[too-deep]"),
        (["check", "binary.yaml"], "error[not-utf8]"),
    ],
)
def test_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str) -> None:
    """What is missing, no file, or no text is a finding with its name, not a traceback; exit code 1."""
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "link.yaml").symlink_to("gone.yaml")
    (tmp_path / "bad name.yaml").write_text(GOOD)
    (tmp_path / "large.yaml").write_text("#" * 1_048_577)
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 30_000)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe\x00")
    done = run(capsys, *arguments)
    assert done.code == 1
    assert words in done.out
    assert done.err == "1 file, 1 error, 0 warnings\n"


def test_no_configuration_to_look_in(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A --config that is not there is told, though the file that is checked may need nothing of it."""
    write(tmp_path, {"a.yaml": GOOD})
    done = run(capsys, "check", "a.yaml", "--config", "gone")
    assert (done.code, done.out, done.err) == (1, "", "smsgwd: --config gone: there is no such folder\n")


def test_color(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A pipe gets no colour."""
    write(tmp_path, {"gateways.d/b.yaml": TYPO})
    assert "\x1b" not in run(capsys, "check", "--config", ".").out


def test_color_of_a_terminal(tmp_path: Path) -> None:
    """A terminal gets colour, unless NO_COLOR is set to something."""
    write(tmp_path, {"gateways.d/b.yaml": TYPO})
    shown = [on_terminal("check", str(tmp_path / "gateways.d"), NO_COLOR=value) for value in ("", "1")]
    assert ["\x1b[1;31merror" in text for text in shown] == [True, False]


def on_terminal(*arguments: str, **environ: str) -> str:
    """What the command writes to a terminal."""
    return on_terminal_of(python("-m", "smsgwd", *arguments), environ)


def on_terminal_of(command_line: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a command line writes to a terminal."""
    written = bytearray()
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command_line,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=CHECKOUT,
        env=environment({"TERM": "xterm", **environ}),
    ) as command:
        os.close(terminal)
        with suppress(OSError):  # EIO: the last one who had the terminal open is gone
            while data := os.read(controller, 65536):
                written.extend(data)
        command.wait(TIMEOUT_S)
    os.close(controller)
    return written.decode()


@pytest.mark.parametrize("kind", ["text", "json", "github", "sarif"])
def test_more_findings_than_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    """A file with 2,000 mistakes gets the first 1,000 of them told, and a word that there may be more."""
    mistakes = "".join(f"key{number}: 1\n" for number in range(2000))
    write(tmp_path, {"gateways.d/a.yaml": GOOD + mistakes, "gateways.d/b.yaml": TYPO})
    done = run(capsys, "check", "--config", ".", "--format", kind)
    assert done.code == 1
    assert done.err.endswith("smsgwd: gateways.d/a.yaml: there may be more than these 1000 findings\n")
    assert "key999" in done.out
    assert "key1000" not in done.out


def test_small_terminals(tmp_path: Path) -> None:
    """On a terminal of 40 columns no excerpt is wrapped: a wrapped one would have its caret below something else."""
    write(tmp_path, {"gateways.d/a.yaml": f"provider: console\nretry: {{{' ' * 90}atempts: 3{' ' * 90}}}\n"})
    command = [*python("-m", "smsgwd", "check", "--config", str(tmp_path))]
    shell = f"stty columns 40 && exec {shlex.join(command)}"
    lines = re.sub(r"\x1b\[[\d;]*m", "", on_terminal_of(["sh", "-c", shell], {})).splitlines()
    excerpt, caret = (line for line in lines if re.match(r" {4}[2 ] [| ]", line))
    assert max(len(excerpt), len(caret)) < 40
    assert excerpt[caret.index("^") :].startswith("atempts: 3")


def test_the_examples() -> None:
    """Every file of this repository is fine, warnings included."""
    done = spawn("check", "--config", str(CHECKOUT), "--strict")
    assert (done.code, done.out) == (0, "")


def test_imports_of_check(tmp_path: Path) -> None:
    """No library of the server or of the network is imported to check files."""
    write(tmp_path, {"gateways.d/a.yaml": SECRET})
    code = (
        "import sys; from smsgwd.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({'aiohttp', 'requests', 'watchdog', 'httptools'} & set(sys.modules)), code)"
    )
    done = subprocess.run(
        python("-c", code, "check", "gateways.d"),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=TIMEOUT_S,
    )
    assert done.stdout == "[] 0\n"
