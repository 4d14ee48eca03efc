"""`smsgwd import privacyidea` as a user runs it."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from command import Done, run, spawn
from imported import CASES, HTTP, URL, compiled

from smsgwd.importers import files
from smsgwd.importers.files import File, FileError
from smsgwd.importers.privacyidea import Imported

CANARY = "c4n4ry-geheim"
ENTRY = {"providermodule": HTTP, "options": {"URL": URL, "to": "{phone}", "text": "{otp}", "token": CANARY}}
FIREBASE = {"providermodule": "privacyidea.lib.smsprovider.FirebaseProvider.FirebaseProvider", "options": {}}


def written(path: Path, data: Any) -> str:
    """A file with that JSON document."""
    path.write_text(json.dumps(data), "utf-8")
    return str(path)


@pytest.fixture
def export(tmp_path: Path) -> str:
    """An export with one gateway."""
    return written(tmp_path / "export.json", {"smsgateway": {"x": ENTRY}})


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", ["http.yaml", "others.yaml"])
def test_the_result_is_clean(capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str) -> None:
    """`smsgwd check` finds no error in what was written; what it warns of is as doubtful in privacyIDEA."""
    out = tmp_path / "new" / "config"
    done = run(capsys, "import", "privacyidea", str(CASES / case), "-o", str(out))
    assert done.code == 0
    assert sorted(done.out.splitlines()) == sorted(str(out / path) for path in tree(out))
    checked = run(capsys, "check", "--config", str(out))
    assert checked.code == 0
    assert " 0 errors, " in checked.err


def test_modes(capsys: pytest.CaptureFixture[str], tmp_path: Path, export: str) -> None:
    """Secrets are for their owner alone, whatever the umask."""
    old = os.umask(0)
    try:
        assert run(capsys, "import", "privacyidea", export, "-o", str(tmp_path / "out")).code == 0
    finally:
        os.umask(old)
    modes = {
        str(path.relative_to(tmp_path / "out")): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "out").rglob("*")
    }
    assert modes["secrets.d"] == modes["secrets.d/x"] == 0o700
    assert modes["secrets.d/x/token"] == 0o600
    assert modes["gateways.d/x.yaml"] == 0o666
    assert (tmp_path / "out/secrets.d/x/token").read_text() == f"{CANARY}\n"


def test_remarks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They go to standard error and into the file, and fail with --strict alone; the files are written either way."""
    entry = {**ENTRY, "options": {**ENTRY["options"], "HTTP_METHOD": "post"}}  # type: ignore[dict-item]  # it is a mapping
    source = written(tmp_path / "e.json", {"smsgateway": {"x": entry, "push": FIREBASE}})
    words = "HTTP_METHOD is neither GET nor POST: GET is used, as privacyIDEA does"
    for index, (strict, code) in enumerate((([], 0), (["--strict"], 1))):
        out = tmp_path / str(index)
        done = run(capsys, "import", "privacyidea", source, "-o", str(out), *strict)
        assert done.code == code
        assert done.err.splitlines() == [f"x: {words}", "push: not imported: it pushes to an app and sends no SMS"]
        assert f"# Remark: {words}\n" in (out / "gateways.d" / "x.yaml").read_text()
        assert not (out / "gateways.d" / "push.yaml").exists()


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path, export: str) -> None:
    """One file that is there already, and nothing at all is written; --force writes."""
    out = tmp_path / "out"
    (out / "gateways.d").mkdir(parents=True)
    mine = out / "gateways.d" / "x.yaml"
    mine.write_text("provider: console\n")
    done = run(capsys, "import", "privacyidea", export, "-o", str(out))
    assert (done.code, done.out) == (1, "")
    assert str(mine) in done.err
    assert tree(out) == {"gateways.d/x.yaml": b"provider: console\n"}
    assert run(capsys, "import", "privacyidea", export, "-o", str(out), "--force").code == 0
    assert b"provider: http" in mine.read_bytes()
    assert sorted(tree(out)) == ["gateways.d/x.yaml", "secrets.d/x/token"]


@pytest.mark.parametrize("name", ["x.yml", "X.yaml"])
def test_twins(capsys: pytest.CaptureFixture[str], tmp_path: Path, export: str, name: str) -> None:
    """Beside a file of nearly its name a gateway could not be read: even --force writes nothing then."""
    out = tmp_path / "out"
    (out / "gateways.d").mkdir(parents=True)
    (out / "gateways.d" / name).write_text("provider: console\n")
    done = run(capsys, "import", "privacyidea", export, "-o", str(out), "--force")
    assert done.code == 1
    assert f"there are other files of these gateways, nothing was written:\n  {out}/gateways.d/{name}" in done.err
    assert list(tree(out)) == [f"gateways.d/{name}"]


def test_a_link_is_replaced_not_followed(capsys: pytest.CaptureFixture[str], tmp_path: Path, export: str) -> None:
    """--force puts the file in the place of a link, and leaves alone what the link leads to."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "gateways.d").mkdir(parents=True)
    elsewhere.write_text("kept")
    (out / "gateways.d" / "x.yaml").symlink_to(elsewhere)
    assert run(capsys, "import", "privacyidea", export, "-o", str(out)).code == 1
    assert run(capsys, "import", "privacyidea", export, "-o", str(out), "--force").code == 0
    assert elsewhere.read_text() == "kept"
    assert not (out / "gateways.d" / "x.yaml").is_symlink()


def test_secrets_are_not_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A credential, wherever it stood, is in secret files alone: not in output, remarks or configuration files."""
    places: dict[str, Any] = {
        "options": {"token": CANARY},
        "url": {"URL": f"https://u:{CANARY}@gateway.test/x?password={CANARY}#{CANARY}"},
        "bad-url": {"URL": f"gopher://u:{CANARY}@gateway.test/"},
        "worse-url": {"URL": f"https://u:{CANARY}@gate way.test/?token={CANARY}"},
        "auth": {"USERNAME": "u", "PASSWORD": CANARY, "RETURN_FAIL": "x"},
        "only-password": {"PASSWORD": CANARY},
        "proxy": {"PROXY": f"http://u:{CANARY}@p:1"},
        "bad-proxy": {"PROXY": f"socks5://u:{CANARY}@p:1", "HTTP_PROXY": f"http://u:{CANARY}@:x"},
        "json": {"HTTP_METHOD": "POST", "SEND_DATA_AS_JSON": "yes", "a": json.dumps({"password": [CANARY]})},
        "xml": {"x": f"<a><password>{CANARY}</password><t>{{otp}}</t></a>"},
        "callback": {"x": f"https://cb.test/?api_key={CANARY}&t={{otp}}"},
        "timeout": {"password": CANARY, "TIMEOUT": "x", "REGEXP": "/(/x/", "CHECK_SSL": "?"},
    }
    defined = {name: {**ENTRY, "options": {"URL": URL, **options}} for name, options in places.items()}
    defined["headers"] = {
        **ENTRY,
        "headers": {"X-Api-Key": CANARY, "Authorization": f"Bearer {CANARY}", "Token\n": CANARY},
    }
    defined["description"] = {**ENTRY, "description": f"https://x:{CANARY}@x.example"}
    defined["smpp"] = {
        "providermodule": HTTP.replace("Http", "Smpp"),
        "options": {"SMSC_HOST": "x", "PASSWORD": CANARY},
    }
    defined["mail"] = {
        "providermodule": HTTP.replace("Http", "Smtp"),
        "options": {"SMTPIDENTIFIER": "s", "MAILTO": "a@b.example"},
    }
    server = {"server": "x y", "username": "u", "password": CANARY, "sender": "x"}
    source = written(tmp_path / "e.json", {"smsgateway": defined, "smtpserver": {"s": server}})
    out = tmp_path / "out"
    done = run(capsys, "import", "privacyidea", source, "-o", str(out))
    assert done.code == 0
    assert CANARY not in done.out + done.err
    holding = {name for name, octets in tree(out).items() if CANARY.encode() in octets}
    assert holding
    assert all(name.startswith("secrets.d/") for name in holding)
    assert compiled(out, Imported()).gateways.keys() == set(defined) - {"bad-url", "worse-url"}


def test_standard_input(tmp_path: Path) -> None:
    """`-` reads standard input; an old configuration, which has no file to be named after, is `gateway`."""
    octets = json.dumps({"URL": URL}).encode()
    done = spawn("import", "privacyidea", "-", "-o", str(tmp_path / "out"), stdin=octets)
    assert done == Done(0, f"{tmp_path}/out/gateways.d/gateway.yaml\n", "")


def test_an_old_configuration_is_named_after_its_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The name of the file without its suffix, mapped where it is none."""
    source = written(tmp_path / "my tokens.json", {"URL": URL})
    assert run(capsys, "import", "privacyidea", source, "-o", str(tmp_path / "out")).code == 0
    assert list(tree(tmp_path / "out")) == ["gateways.d/my-tokens.yaml"]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (None, "No such file or directory"),
        (b"", "empty-file"),
        (b"\x00\x01\x02", "control-character"),
        (b"\xff", "not UTF-8"),
        (b"{", "not JSON"),
        (b"hello: world", "neither an export of privacyIDEA"),
        (b"smsgateway: {}", "holds no SMS gateway"),
        (b'{"result": {"status": true, "value": []}}', "holds no SMS gateway"),
    ],
)
def test_sources_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, octets: bytes | None, words: str
) -> None:
    """They are refused with the name of the file, and nothing is written."""
    source = tmp_path / "source"
    if octets is not None:
        source.write_bytes(octets)
    done = run(capsys, "import", "privacyidea", str(source), "-o", str(tmp_path / "out"))
    assert (done.code, done.out) == (1, "")
    assert str(source) in done.err
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_a_folder_as_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder is none."""
    done = run(capsys, "import", "privacyidea", str(tmp_path), "-o", str(tmp_path / "out"))
    assert (done.code, done.err) == (1, f"smsgwd: {tmp_path}: Is a directory\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["privacyidea"],
        ["privacyidea", "export.yaml"],
        ["linotp", "export.yaml", "-o", "out"],
        ["privacyidea", "https://pi.example.com", "-o", "out"],
        ["privacyidea", "export.yaml", "-o", "out", "--token-file", "token"],
        ["privacyidea", "export.yaml", "-o", "out", "--ca-file", "ca.pem"],
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Exit code 2 and the usage."""
    done = run(capsys, "import", *arguments)
    assert done.code == 2
    assert done.err.startswith("usage: smsgwd import")


def test_in_a_process_of_its_own(tmp_path: Path, export: str) -> None:
    """The whole command, warnings being errors."""
    assert spawn("import", "privacyidea", export, "-o", str(tmp_path / "out")) == Done(
        0, f"{tmp_path}/out/gateways.d/x.yaml\n{tmp_path}/out/secrets.d/x/token\n", ""
    )


# --- writing

PLAIN = File(PurePosixPath("gateways.d/a.yaml"), "provider: console\n")
SECRET = File(PurePosixPath("secrets.d/a/password"), "geheim\n", secret=True)


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[Path]:
    """A directory in which the folder for secrets cannot be made."""
    (tmp_path / "secrets.d").write_text("a file")
    yield tmp_path
    assert list(tree(tmp_path)) == ["secrets.d"]


def test_all_or_nothing(blocked: Path) -> None:
    """What cannot be written is told, and no other file of the import stays behind, under no name."""
    with pytest.raises(FileError, match=r"secrets\.d/a/password: File exists"):
        files.write(blocked, [PLAIN, SECRET])


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """The directory itself may be what cannot be made."""
    (tmp_path / "out").write_text("")
    with pytest.raises(FileError, match=r"out/gateways\.d/a\.yaml: File exists"):
        files.write(tmp_path / "out", [PLAIN])


def test_secrets_come_first(tmp_path: Path) -> None:
    """Who watches the directory sees smsgwd.yaml and secrets before the gateways that need them."""
    site = File(PurePosixPath("smsgwd.yaml"), "{}\n")
    files.write(tmp_path, [PLAIN, site, SECRET])
    changed = [(tmp_path / file.path).stat().st_ctime_ns for file in (SECRET, site, PLAIN)]
    assert changed == sorted(changed)
