import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from command import CHECKOUT

TIMEOUT_S = 50.0


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program with nothing of the checkout around it."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment with the wheel in it, made without a network.

    The dependencies are those of this environment: a .pth file leads there, behind the wheel's own files.
    """
    folder = tmp_path_factory.mktemp("wheel")
    built = call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", CHECKOUT, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    done = call(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


def test_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    """What runs is the wheel, not the checkout."""
    done = call(installed / "bin" / "python", "-c", "import smsgwd; print(smsgwd.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_check(installed: Path, tmp_path: Path) -> None:
    """The installed command checks a file elsewhere."""
    (tmp_path / "good.yaml").write_text(
        "provider: http\nsettings: {url: 'https://sms.example.com/', form: {to: '{{ phone }}', t: '{{ message }}'}}\n"
    )
    (tmp_path / "bad.yaml").write_text("provider: http\nsettings: {ulr: x}\n")
    good = call(installed / "bin" / "smsgwd", "check", "good.yaml", cwd=tmp_path)
    bad = call(installed / "bin" / "smsgwd", "check", "bad.yaml", cwd=tmp_path)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "1 file, 0 errors, 0 warnings\n")
    assert bad.returncode == 1
    assert "bad.yaml:2:12: error[unknown-key]" in bad.stdout


def test_schemas(installed: Path, tmp_path: Path) -> None:
    """The installed command prints every schema of the checkout."""
    for path in (CHECKOUT / "schemas").glob("*.schema.json"):
        done = call(installed / "bin" / "smsgwd", "schema", path.name.removesuffix(".schema.json"), cwd=tmp_path)
        assert json.loads(done.stdout) == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("schemas", "lib/python*/site-packages/smsgwd/schemas"),
        ("systemd", "share/smsgwd/systemd"),
    ],
)
def test_folders(installed: Path, source: str, place: str) -> None:
    """Schemas and systemd units are in the wheel, all of them, as they are in the checkout."""
    (folder,) = installed.glob(place)
    there = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert there == {path.name: path.read_bytes() for path in (CHECKOUT / source).iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("completions/smsgwd.bash", "share/bash-completion/completions/smsgwd"),
        ("completions/_smsgwd", "share/zsh/site-functions/_smsgwd"),
    ],
)
def test_completions(installed: Path, source: str, place: str) -> None:
    """The completions are where the shells look for them below a prefix."""
    assert (installed / place).read_bytes() == (CHECKOUT / source).read_bytes()


def test_demo(installed: Path, tmp_path: Path) -> None:
    """The installed command can show the whole path of a message."""
    done = call(installed / "bin" / "smsgwd", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"outcome": "accepted"' in done.stdout


def test_init(installed: Path, tmp_path: Path) -> None:
    """The installed command has its examples with it."""
    done = call(installed / "bin" / "smsgwd", "init", "new", "--provider", "script", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "gateways.d" / "script.yaml").is_file()
    assert call(installed / "bin" / "smsgwd", "check", "--strict", "new", cwd=tmp_path).returncode == 0
    explained = call(installed / "bin" / "smsgwd", "explain", "unknown-key", cwd=tmp_path)
    assert explained.stdout.startswith("error[unknown-key]: ")
