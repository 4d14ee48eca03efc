"""What wakes the reload, and where it looks for that. With real inotify events."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from swaps import remove_tree, replace_file, swap_link, update_volume

from smsgwd.watch import EVERYTHING, Watcher, places

PATIENCE_S = 5.0


class Alarm:
    """Counts how often it was rung."""

    def __init__(self) -> None:
        self.watcher = Watcher(self.ring)
        self._rung = threading.Event()

    def ring(self) -> None:
        """Called by the watcher."""
        self._rung.set()

    def rings(self) -> bool:
        """Whether it rings, now or in a while."""
        rung = self._rung.wait(PATIENCE_S)
        self._rung.clear()
        return rung

    def is_silent_until(self, path: Path) -> bool:
        """Whether nothing rings before an event that comes later than all others: at a path that matters."""
        silent = not self._rung.is_set()
        path.touch()
        return self.rings() and silent

    def follow(self, directory: Path, *besides: Path) -> bool:
        """Watch these, and forget what rang before. Whether a watch was set."""
        new = self.watcher.follow(places(directory, besides))
        self._rung.clear()
        return new


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    yield alarm
    alarm.watcher.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "gateways.d").mkdir(parents=True)
    return tmp_path / "etc"


def test_follows_every_link_on_the_way(tmp_path: Path) -> None:
    """Each folder that a link stands in is watched for that link, and the folder where the path ends."""
    (tmp_path / "real" / "gateways.d").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("../real")
    (tmp_path / "etc").symlink_to("a/link")
    (tmp_path / "real" / "gateways.d" / "x.yaml").symlink_to("../x.yaml")
    found = places(tmp_path / "etc", [tmp_path / "etc" / "secret", tmp_path / "none" / "deep" / "secret"])
    assert found[str(tmp_path)] == {"etc", "real", "none"}
    assert found[str(tmp_path / "a")] == {"link"}
    assert found[str(tmp_path / "real" / "gateways.d")] == EVERYTHING
    assert {"x.yaml", "gateways.d", "smsgwd.yaml", "..data", "secret"} <= found[str(tmp_path / "real")]
    assert len(found) == 4


def test_circles_end(tmp_path: Path) -> None:
    """A link that leads to itself does not keep the watch busy."""
    (tmp_path / "etc").symlink_to("etc")
    assert str(tmp_path) in places(tmp_path / "etc", [])


def test_wakes_for_every_way_to_change_a_file(alarm: Alarm, directory: Path) -> None:
    """Creating, writing, renaming over, linking, changing rights, moving away, deleting: each wakes."""
    path = directory / "gateways.d" / "x.yaml"
    assert alarm.follow(directory)
    assert not alarm.follow(directory)
    for change in (
        lambda: path.write_text("1"),
        lambda: path.write_text("2"),
        lambda: replace_file(path, b"3"),
        lambda: path.chmod(0o600),
        lambda: path.rename(directory.parent / "x.yaml"),
        lambda: path.symlink_to("nowhere"),
        lambda: swap_link(path, Path("elsewhere")),
        path.unlink,
        (directory / "smsgwd.yaml").touch,
        lambda: update_volume(directory / "gateways.d", {"v.yaml": b"1"}),
        lambda: update_volume(directory / "gateways.d", {"v.yaml": b"2"}),
    ):
        change()
        assert alarm.rings()


def test_reading_does_not_wake(alarm: Alarm, directory: Path) -> None:
    """Looking at the files, and what happens to other files around, is no reason to look again."""
    path = directory / "gateways.d" / "x.yaml"
    path.write_text("1")
    alarm.follow(directory)
    path.read_text()
    list(path.parent.iterdir())
    (directory.parent / "other").write_text("1")
    (directory / "README").write_text("1")
    assert alarm.is_silent_until(path)


def test_a_directory_that_comes_back_is_watched_again(alarm: Alarm, directory: Path) -> None:
    """After a directory was removed and made anew, changes in the new one wake."""
    alarm.follow(directory)
    remove_tree(directory)
    assert alarm.rings()
    alarm.follow(directory)
    (directory / "gateways.d").mkdir(parents=True)
    assert alarm.rings()
    assert alarm.follow(directory)
    (directory / "gateways.d" / "x.yaml").touch()
    assert alarm.rings()


def test_a_swapped_directory_is_watched_anew(alarm: Alarm, tmp_path: Path) -> None:
    """When the directory is a link that is pointed elsewhere, that wakes, and so do changes in the new directory."""
    for revision in ("1", "2"):
        (tmp_path / revision / "gateways.d").mkdir(parents=True)
    swap_link(tmp_path / "etc", Path("1"))
    alarm.follow(tmp_path / "etc")
    swap_link(tmp_path / "etc", Path("2"))
    assert alarm.rings()
    assert alarm.follow(tmp_path / "etc")
    (tmp_path / "2" / "gateways.d" / "x.yaml").touch()
    assert alarm.rings()


def test_secret_files_wake(alarm: Alarm, directory: Path, tmp_path: Path) -> None:
    """A secret that is rotated wakes: a plain file, and one in a Secret volume."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "volume").mkdir()
    update_volume(tmp_path / "volume", {"token": b"1"})
    alarm.follow(directory, tmp_path / "secrets" / "password", tmp_path / "volume" / "token")
    (tmp_path / "secrets" / "password").write_text("1")
    assert alarm.rings()
    alarm.follow(directory, tmp_path / "secrets" / "password", tmp_path / "volume" / "token")
    update_volume(tmp_path / "volume", {"token": b"2"})
    assert alarm.rings()


def test_remembers_who_did_not_close(alarm: Alarm, directory: Path) -> None:
    """A file that was written is known as unclosed until it is closed, under its new name, too; not for ever."""
    path, other = directory / "gateways.d" / "x.yaml", directory / "gateways.d" / "y.yaml"
    alarm.follow(directory)
    with path.open("wb", buffering=0) as file:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        file.write(b"1")
        wait_for(lambda: identity in alarm.watcher.unclosed(time.monotonic()))
        path.rename(other)
        path.touch()
        assert identity in alarm.watcher.unclosed(time.monotonic())
        assert identity not in alarm.watcher.unclosed(time.monotonic() + 3600)
    wait_for(lambda: not alarm.watcher.unclosed(time.monotonic()))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


NO_INOTIFY = """
import logging, resource, sys
from pathlib import Path
from smsgwd.watch import Watcher, places
logging.basicConfig(level="WARNING")
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
watcher = Watcher(print)
assert not watcher.follow(places(Path(sys.argv[1]), []))
assert watcher.blind
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
watcher.follow(places(Path(sys.argv[1]), []))
watcher.close()
"""


def test_without_inotify_it_says_so_once(directory: Path) -> None:
    """When no more can be watched, that is one warning, and the watcher says that it is blind."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", NO_INOTIFY, str(directory)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("can be watched (Too many open files)") == 1


def test_a_thousand_folders_are_not_watched_by_a_thousand_threads(alarm: Alarm, directory: Path) -> None:
    """Beyond a hundred folders the rest is left to looking again."""
    besides = [directory / str(number) / "secret" for number in range(120)]
    for path in besides:
        path.parent.mkdir()
    before = threading.active_count()
    alarm.follow(directory, *besides)
    assert alarm.watcher.blind
    assert threading.active_count() - before < 110
