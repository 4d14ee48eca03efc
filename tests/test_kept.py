"""What is kept for a restart."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from smsgwd.kept import DamagedError, Kept, read, write

KEPT = Kept(b"log: {}\r\n", {"a": "\ufeffprovider: console # ä\n".encode(), "b": b"provider: http\n"})


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    """The bytes come back as they were, with byte order marks and line ends, from a directory that is made for it."""
    write(tmp_path / "state", KEPT)
    assert read(tmp_path / "state") == KEPT
    write(tmp_path / "state", Kept(None, {"b": b"2"}))
    assert read(tmp_path / "state") == Kept(None, {"b": b"2"})


def test_nothing_is_kept_at_first(tmp_path: Path) -> None:
    """An empty or missing directory holds nothing, without an error."""
    assert read(tmp_path) == read(tmp_path / "none") == Kept()


def test_is_for_its_user_only(tmp_path: Path) -> None:
    """Nobody else reads what is kept, and nothing else is left behind."""
    write(tmp_path / "state", KEPT)
    (file,) = (tmp_path / "state").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("damage", [b"", b"smsgwd kept 1 sha256:00\n{}", b"\x00" * 100, b"{}", "half"])
def test_damage_is_found(tmp_path: Path, damage: bytes | str) -> None:
    """Half a file, an empty one, one of zeros or of another program is not taken for what was kept."""
    write(tmp_path, KEPT)
    path = tmp_path / "kept.json"
    path.write_bytes(damage if isinstance(damage, bytes) else path.read_bytes()[:-10])
    with pytest.raises(DamagedError, match="is damaged"):
        read(tmp_path)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from smsgwd.kept import Kept, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write(Path(sys.argv[1]), Kept(None, {"a": b"x" * 10_000}))
except OSError as error:
    print(type(error).__name__)
"""


def test_a_full_disk_harms_nothing(tmp_path: Path) -> None:
    """When there is no room, that is an OSError, and what was kept before still is."""
    write(tmp_path, KEPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert answer.stdout == "OSError\n"
    assert read(tmp_path) == KEPT
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


KEEP_WRITING = """
import sys
from pathlib import Path
from smsgwd.kept import Kept, write
print(flush=True)
number = 0
while True:
    number += 1
    write(Path(sys.argv[1]), Kept(str(number).encode(), {"a": str(number).encode() * 10_000}))
"""


def test_a_kill_harms_nothing(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves what it kept before, whole."""
    write(tmp_path, Kept(b"0", {"a": b"0" * 10_000}))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for delay_s in (0.0, 0.003, 0.007, 0.011):
        command = [sys.executable, "-c", KEEP_WRITING, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(delay_s)  # not to be lucky: to be killed at different points
            process.kill()
        kept = read(tmp_path)
        assert kept.site is not None
        assert kept.gateways["a"] == kept.site * 10_000
