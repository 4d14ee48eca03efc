"""The verbs and the client against the real daemon, as processes."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, run, spawn
from daemon_process import daemon

from smsgwd.client import Client, NoAnswerError, RequestRefused
from smsgwd.outcome import Kind

GOOD = "provider: console\nphone: {region: DE}\ntemplates: {login: {text: 'Code {{ code }}', vars: {code: {}}}}\n"
BROKEN = "provider: console\nretry: {atempts: 3}\n"


def serves(client: Client) -> bool:
    """Whether the daemon answers."""
    try:
        client.status()
    except NoAnswerError:
        return False
    return True


@contextmanager
def serving(config: Path) -> Iterator[str]:
    """The socket of a daemon on this configuration, for the length of a `with`; it ends in order."""
    with daemon(config) as running:
        yield str(running.ready().path)
        assert running.stop() == 0, running.printed()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration directory with a good console."""
    folder = tmp_path / "config" / "gateways.d"
    folder.mkdir(parents=True)
    (folder / "console.yaml").write_text(GOOD)
    return folder.parent


@pytest.fixture
def socket(config: Path) -> Iterator[str]:
    """The socket of a daemon that serves it."""
    with serving(config) as path:
        yield path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of one daemon for tests that change nothing: a good gateway, a disabled and a broken one."""
    folder = tmp_path_factory.mktemp("shared")
    files = {"console": GOOD, "off": GOOD + "enabled: false\n", "broken": BROKEN}
    (folder / "gateways.d").mkdir()
    for name, content in files.items():
        (folder / "gateways.d" / f"{name}.yaml").write_text(content)
    with serving(folder) as path:
        yield path


def test_send(capsys: pytest.CaptureFixture[str], shared: str) -> None:
    """A message goes from the command through the daemon to the gateway, and its outcome back."""
    to = ("--gateway", "console", "--to", "0170 1234567", "--socket", shared)
    plain = run(capsys, "send", *to, "--text", "hi")
    assert (plain.code, plain.err) == (0, "")
    assert plain.out.startswith("accepted by console: ")
    assert plain.out.endswith(" (1 segment, gsm7)\n")
    template = run(capsys, "send", *to, "--template", "login", "--var", "code=“1”", "--reference", "r", "--json")
    outcome = json.loads(template.out)
    assert (outcome["outcome"], outcome["encoding"], outcome["reference"]) == ("accepted", "ucs2", "r")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--gateway", "nobody", "--to", "+491701234567", "--text", "hi"), 1, "refused (unknown-gateway)"),
        (("--gateway", "console", "--to", "12", "--text", "hi"), 1, "rejected by console (invalid_destination)"),
        (("--gateway", "console", "--to", "+491701234567", "--text", ""), 1, "the text is empty"),
        (("--gateway", "console", "--to", "+491701234567", "--template", "x"), 1, "refused (malformed-request)"),
        (("--gateway", "off", "--to", "+491701234567", "--text", "hi"), 75, "refused (gateway-unavailable)"),
        (("--gateway", "broken", "--to", "+491701234567", "--text", "hi"), 75, "broken.yaml:2:9: error[unknown-key]"),
    ],
)
def test_not_sent(
    capsys: pytest.CaptureFixture[str], shared: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """What cannot be sent is told in the daemon's words, with the exit code of the interface."""
    done = run(capsys, "send", *arguments, "--socket", shared)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_status_and_reload(capsys: pytest.CaptureFixture[str], config: Path, socket: str) -> None:
    """A broken file shows in reload and status with its place; when it is mended all is well again."""
    (config / "gateways.d" / "new.yaml").write_text(BROKEN)
    broken = run(capsys, "reload", "--socket", socket)
    assert broken.code == 1
    assert "new.yaml:2:9: error[unknown-key]" in broken.err
    shown = run(capsys, "status", "--socket", socket).out
    assert "1 ok, 1 rejected" in shown
    assert "new.yaml:2:9: error[unknown-key]" in shown
    (config / "gateways.d" / "new.yaml").write_text(GOOD)
    mended = run(capsys, "reload", "--wait", "--socket", socket)
    assert (mended.code, mended.err) == (0, "")
    assert "2 ok" in run(capsys, "status", "--socket", socket).out


def test_reload_expects(capsys: pytest.CaptureFixture[str], socket: str) -> None:
    """--expect holds for the digest that is served, and for no other."""
    digest = json.loads(run(capsys, "status", "--json", "--socket", socket).out)["digest"]
    assert run(capsys, "reload", "--expect", digest, "--socket", socket).code == 0
    other = run(capsys, "reload", "--expect", "sha256:0", "--wait", "--timeout", "300ms", "--socket", socket)
    assert other.code == 1
    assert f"expected the digest sha256:0, but {digest} is served" in other.err


def test_client(shared: str) -> None:
    """Every question of the client has its answer."""
    client = Client(shared)
    outcome = client.send(gateway="console", to="0170 1234567", template="login", vars={"code": "1"}, deadline="5s")
    assert (outcome.kind, outcome.gateway, outcome.attempts) == (Kind.ACCEPTED, "console", 1)
    assert client.render(gateway="console", to="0170 1234567", text="hi")["to"] == "+491701234567"
    assert [one["name"] for one in client.gateways()] == ["broken", "console", "off"]
    assert client.gateway("console")["last"]["outcome"] == "accepted"
    assert client.reload()["digest"] == client.status()["digest"] == outcome.digest
    with pytest.raises(RequestRefused, match="unknown-gateway"):
        client.gateway("nobody")


def test_idempotency(shared: str) -> None:
    """The same key gets the first outcome; with another text it is refused."""
    client = Client(shared)
    first, again = (
        client.send(gateway="console", to="+491701234567", text="hi", idempotency_key="k") for _ in range(2)
    )
    assert first.message_ids == again.message_ids != ()
    with pytest.raises(RequestRefused, match="idempotency-mismatch"):
        client.send(gateway="console", to="+491701234567", text="ho", idempotency_key="k")


def test_after_its_end(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """After the daemon has ended a send is unsent, exit 75: whoever asks again loses nothing."""
    with serving(config) as socket:
        pass
    message = ("--gateway", "console", "--to", "+491701234567", "--text", "hi")
    assert run(capsys, "send", *message, "--socket", socket).code == 75


def test_serve_without_configuration(tmp_path: Path) -> None:
    """A configuration directory that is not there is told in one line, without a traceback."""
    done = spawn("serve", "--config", str(tmp_path / "gone"), "--socket", str(tmp_path / "s"))
    assert done.code in (1, 78)
    assert str(tmp_path / "gone") in done.err
    assert "Traceback" not in done.err


def test_serve_with_bad_site(config: Path, tmp_path: Path) -> None:
    """A bad smsgwd.yaml at the start is exit code 78, with its finding."""
    (config / "smsgwd.yaml").write_text("sockt: {}\n")
    done = spawn("serve", "--config", str(config), "--socket", str(tmp_path / "s"))
    assert done.code == 78
    assert "smsgwd.yaml:1:1: error[unknown-key]" in done.err


def test_serve_on_a_taken_socket(config: Path, shared: str) -> None:
    """A socket that a daemon serves is not taken from it."""
    done = spawn("serve", "--config", str(config), "--socket", shared)
    assert done.code == 1
    assert shared in done.err
    assert serves(Client(shared))


@pytest.mark.parametrize("from_checkout", [False, True])
def test_demo(tmp_path: Path, from_checkout: bool) -> None:
    """The demo shows each step and its outcome, exits 0, and leaves nothing behind."""
    options = ("--config", ".") if from_checkout else ()
    done = spawn("demo", *options, env={"TMPDIR": str(tmp_path), "SMSGWD_SOCKET": "/nonexistent/s"})
    assert (done.code, done.err.replace("1 file, 0 errors, 0 warnings\n", "")) == (0, "")
    for step in ("serve", "check", "render", "send", "status"):
        assert f"$ smsgwd {step} " in done.out
    assert "provider: console" in done.out
    assert '"outcome": "accepted"' in done.out
    assert "+4917*****67" in done.out
    assert list(tmp_path.iterdir()) == []


def test_demo_of_a_broken_configuration(config: Path, tmp_path: Path) -> None:
    """The demo of a configuration whose console does not compile says so and fails."""
    (config / "gateways.d" / "console.yaml").write_text(BROKEN)
    done = spawn("demo", "--config", str(config), env={"TMPDIR": str(tmp_path)})
    assert done.code == 75
    assert "error[unknown-key]" in done.out
    assert "gateway-unavailable" in done.out


def test_demo_without_configuration(tmp_path: Path) -> None:
    """The demo of nothing says that the daemon does not serve."""
    done = spawn("demo", "--config", str(tmp_path / "gone"))
    assert done.code == 1
    assert "Traceback" not in done.err


def test_demo_of_another_user(tmp_path: Path) -> None:
    """The demo works for a user who is not root, too."""
    if os.geteuid() != 0:  # then all the other tests are that proof
        return
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    # This Python may be in a folder of root's: that nobody may read everything here gives the demo nothing else.
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    nobody = ("--reuid=65534", "--regid=65534", "--clear-groups", *reading)
    done = subprocess.run(
        ["setpriv", *nobody, *python("-m", "smsgwd", "demo")],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        cwd=CHECKOUT,
        env=environment({"HOME": str(home), "TMPDIR": str(home)}),
    )
    assert done.returncode == 0, done.stderr
    assert '"outcome": "accepted"' in done.stdout
