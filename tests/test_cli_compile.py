import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from command import CHECKOUT, run, spawn
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_file import write_secret

from smsgwd import canonical
from smsgwd.compile import digest_of_file
from smsgwd.registry import digest_of
from smsgwd.reload import Reloader

FILE = """\
# a comment
provider: http
description: one
secrets: {token: {env: SMSGWD_TEST_NOWHERE}}
settings:
  url: https://sms.example.com/
  query: {b: "{{ message }}", a: 0171, token: "{{ secrets.token }}"} # smsgwd: ignore secret-in-query it is a test
  success: {contains: ü}
tests:
  - {send: {to: "+491701234567", text: hi}, expect: {segments: 1}}
"""
SAME = """\
settings: {success: {contains: "ü"}, query: {token: "{{ secrets.token }}", "a": "0171", b: '{{ message }}'},
  url: "https://sms.example.com/"}   # smsgwd: ignore secret-in-query it is a test
secrets:
  token:
    env: SMSGWD_TEST_NOWHERE
provider: http
description: another
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration directory."""
    (tmp_path / "gateways.d").mkdir()
    (tmp_path / "gateways.d" / "x.yaml").write_text(FILE)
    (tmp_path / "gateways.d" / "off.yaml").write_text("provider: console\nenabled: false\n")
    (tmp_path / "smsgwd.yaml").write_text("log: {level: debug}\nsecrets: {mail: {file: secrets.d/mail}}\n")
    return tmp_path


def compiled(capsys: pytest.CaptureFixture[str], config: Path) -> str:
    """The document."""
    done = run(capsys, "compile", "--config", str(config))
    assert done.code == 0
    return done.out


def test_document(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """All that the files say is there, secrets as references; comments and tests are not."""
    document = json.loads(compiled(capsys, config))
    assert document["smsgwd"] == 1
    assert set(document["gateways"]) == {"x", "off"}
    gateway = document["gateways"]["x"]
    assert gateway.pop("digest").startswith("sha256:")
    assert gateway == {
        "provider": "http",
        "description": "one",
        "secrets": {"token": {"env": "SMSGWD_TEST_NOWHERE"}},
        "settings": {
            "url": "https://sms.example.com/",
            "query": {"b": "{{ message }}", "a": "0171", "token": "{{ secrets.token }}"},
            "success": {"contains": "ü"},
        },
    }
    assert document["site"] == {"log": {"level": "debug"}, "secrets": {"mail": {"file": "secrets.d/mail"}}}


def test_the_digest_is_the_daemons(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The digest is the one that the daemon serves after a reload."""

    async def served() -> str:
        reloader = Reloader(config, quiet_s=0.01)
        await reloader.load()
        await reloader.close()
        return reloader.registry.digest

    (config / "gateways.d" / "x.yaml").write_text(FILE.replace("env: SMSGWD_TEST_NOWHERE", "file: token"))
    write_secret(config / "token", "token-4711")
    (config / "secrets.d").mkdir()
    write_secret(config / "secrets.d" / "mail", "mail-4711")
    assert json.loads(compiled(capsys, config))["digest"] == asyncio.run(served())


def test_same_meaning_same_digest(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Comments, key order, quoting, description and tests are not part of a digest; all else is."""
    before = json.loads(compiled(capsys, config))
    (config / "gateways.d" / "x.yaml").write_text(SAME)
    assert json.loads(compiled(capsys, config))["digest"] == before["digest"]
    (config / "gateways.d" / "x.yaml").write_text(FILE.replace("0171", "0172"))
    after = json.loads(compiled(capsys, config))
    assert after["digest"] != before["digest"]
    assert after["gateways"]["off"] == before["gateways"]["off"]


def test_same_input_same_octets(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    """Another place, process, hash seed and order of the file system make no difference."""
    here = compiled(capsys, CHECKOUT)
    done = spawn("compile", "--config", str(CHECKOUT), env={"PYTHONHASHSEED": "7", "LC_ALL": "C"})
    assert done.out == here
    copy = tmp_path / "copy"
    (copy / "gateways.d").mkdir(parents=True)
    for path in sorted((CHECKOUT / "gateways.d").glob("*.yaml"), reverse=True):
        (copy / "gateways.d" / path.name).write_bytes(path.read_bytes())
    assert compiled(capsys, copy) == here
    assert canonical.parse(here).as_text() == here


def test_output(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    """-o writes a file instead, whole or not at all; what cannot be written is told."""
    target = tmp_path / "compiled.json"
    done = run(capsys, "compile", "--config", str(config), "-o", str(target))
    assert (done.code, done.out) == (0, "")
    assert target.read_text() == compiled(capsys, config)
    done = run(capsys, "compile", "--config", str(config), "-o", "/nonexistent/compiled.json")
    assert (done.code, done.out) == (1, "")
    assert "/nonexistent/compiled.json: it cannot be written: No such file or directory" in done.err
    assert run(capsys, "compile", "--config", str(config), "-o", "/dev/null").code == 0


def test_errors_write_nothing(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    """A file with errors keeps anything from being written; its findings are told on standard error."""
    (config / "gateways.d" / "bad.yaml").write_text("provider: consle\n")
    (config / "gateways.d" / "link.yaml").symlink_to("nowhere")
    done = run(capsys, "compile", "--config", str(config), "-o", str(tmp_path / "compiled.json"))
    assert (done.code, done.out) == (1, "")
    assert "error[unknown-provider]" in done.err
    assert "error[dangling-link]" in done.err
    assert not (tmp_path / "compiled.json").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("nothing", "has no folder gateways.d"),
        ("missing", "it does not exist"),
        ("file", "it cannot be read: Not a directory"),
        ("bad site", "error[unknown-key]"),
    ],
)
def test_no_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path, make: str, words: str) -> None:
    """What is no configuration directory is told, exit code 1."""
    place = tmp_path / "place"
    if make == "file":
        place.write_text("")
    elif make != "missing":
        place.mkdir()
    if make == "bad site":
        (place / "gateways.d").mkdir()
        (place / "smsgwd.yaml").write_text("sockett: {}\n")
    done = run(capsys, "compile", "--config", str(place))
    assert (done.code, done.out) == (1, "")
    assert words in done.err


def signed(gateway: dict[str, Any], site: Any = None) -> str:
    """A document whose digests are right, whatever it says."""
    gateways = {"x": gateway} if gateway else {}
    digests = {name: digest_of_file(data) for name, data in gateways.items()}
    whole = {name: {**data, "digest": digests[name]} for name, data in gateways.items()}
    return json.dumps({"smsgwd": 1, "digest": digest_of(digests), "gateways": whole, "site": site or {}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "not written by `smsgwd compile`"),
        ('{"gateways": {}}', "another version"),
        ('{"smsgwd": 1, "gateways": {}, "digest": "x"}', "its digest"),
        ('{"smsgwd": 1, "gateways": {"x": {"provider": "console", "digest": "x"}}}', "the digest of the gateway 'x'"),
        ('{"smsgwd": 1, "gateways": {"x": 1}}', "the digest of the gateway 'x'"),
        ("[" * 100_000, "nested too deeply"),
        (signed({"provider": "consle"}), "the gateway 'x' does not fit the schemas of this version"),
        (signed({"provider": "console", "templates": 5}), "the gateway 'x' does not fit"),
        (signed({"provider": "console", "sender": "\ud800"}), "surrogates not allowed"),
        (signed({}, {"sockett": {}}), "smsgwd.yaml does not fit"),
        (signed({}, 5), "smsgwd.yaml is not a mapping"),
    ],
    ids=range(12),
)
def test_what_is_no_document(text: str, words: str) -> None:
    """A document that smsgwd did not write, or that was changed since, is refused."""
    with pytest.raises(ValueError, match=words):
        canonical.parse(text)


def test_nothing_of_the_environment(config: Path) -> None:
    """A secret that is there is neither read nor written."""
    done = spawn("compile", "--config", str(config), env={"SMSGWD_TEST_NOWHERE": "canary-4711"})
    assert done.code == 0
    assert "canary" not in done.out + done.err


JSON = st.recursive(st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(), st.lists, max_leaves=5)


@settings(deadline=None)
@given(st.text(), st.dictionaries(st.text(min_size=1), JSON | st.dictionaries(st.text(min_size=1), JSON, max_size=2)))
def test_whatever_a_file_can_say(description: str, body: dict[str, Any]) -> None:
    """A document can be read again whatever texts, numbers and keys stand in the files."""
    gateway = {"provider": "http", "description": description, "settings": {"url": "https://x.example/", "json": body}}
    document = signed(gateway)
    assert canonical.parse(canonical.parse(document).as_text()).gateways["x"] == gateway
