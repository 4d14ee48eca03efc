"""`smsgwd check` of more files than one core is asked to do: both cores, flat in memory, the same findings."""

import json
import subprocess
from pathlib import Path

import pytest
from command import CHECKOUT, TIMEOUT_S, environment, python, spawn

from smsgwd.cli.reading import check

GOOD = "provider: console\n"
TYPO = "provider: console\nretry: {atempts: 3}\n"
FAILOVER = "provider: failover\nsettings: {gateways: [g000, g002, nobody]}\n"
KILLED = """\
import os
from smsgwd.cli.cores import on_all_cores
os.sched_getaffinity = lambda _: {0, 1, 2}  # what the machine of this test has is not what is promised
first = os.getpid()
def work(thing):
    if os.getpid() != first:
        %s
    return thing * 2
print(sorted(on_all_cores(work, range(1000))) == [2 * thing for thing in range(1000)])
"""


def many(folder: Path, count: int) -> Path:
    """A configuration in which every third file has an error, and a failover names what is not there."""
    (folder / "gateways.d").mkdir()
    for number in range(count):
        (folder / "gateways.d" / f"g{number:03}.yaml").write_text(GOOD if number % 3 else TYPO)
    (folder / "gateways.d" / "first.yaml").write_text(FAILOVER)
    return folder


def test_all_files_on_all_cores(tmp_path: Path) -> None:
    """Of 500 files all findings come, ordered, with their excerpts and with those between files."""
    many(tmp_path, 500)
    done = spawn("check", "--config", str(tmp_path), "--format", "json")
    found = json.loads(done.out)["findings"]
    assert done.code == 1
    assert [(Path(one["file"]).stem, one["code"]) for one in found] == [
        ("first", "unavailable-gateway"),
        ("first", "unknown-gateway"),
        *[(f"g{number:03}", "unknown-key") for number in range(0, 500, 3)],
    ]
    text = spawn("check", "--config", str(tmp_path))
    assert text.err == "501 files, 168 errors, 1 warning\n"
    assert text.out.count("    2 | retry: {atempts: 3}\n      |         ^\n") == 167


def test_nothing_is_kept_of_sound_files(tmp_path: Path) -> None:
    """Neither trees nor compiled gateways stay in memory: of a file with findings its text does, for the excerpt."""
    reading, files = check([], many(tmp_path, 60), resolve=False)
    assert files == 61
    assert not reading.entries
    assert len(reading.sources) == 20
    assert all(source.data is None for source in reading.sources.values())


@pytest.mark.parametrize("end", ["os._exit(9)", "os.abort()", "raise MemoryError"])
def test_a_process_that_dies(end: str) -> None:
    """What a process was killed over the first one does itself: no result is lost, and nobody waits for ever."""
    done = subprocess.run(
        python("-c", KILLED % end),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=CHECKOUT,
        env=environment(),
    )
    assert (done.stdout, done.stderr) == (b"True\n", b"")
