"""One look at the configuration directory, with real files, links, pipes and swaps."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from nobody import as_nobody, open_folder
from swaps import swap_link, update_volume

from smsgwd.files import MAX_OCTETS, ConfigFile, Look, Stamp, look, read_paths, shown, stamp_of

GATEWAY = b"provider: console\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "gateways.d").mkdir(parents=True)
    return tmp_path / "etc"


def write(directory: Path, name: str, data: bytes = GATEWAY) -> Path:
    path = directory / "gateways.d" / name
    path.write_bytes(data)
    return path


def names(found: Look) -> list[str]:
    return [file.name for file in found.gateways]


def findings(found: Look, directory: Path) -> list[tuple[str, str]]:
    return [(problem.file.removeprefix(f"{directory}/"), problem.code) for problem in found.problems]


def test_reads_all_of_it(directory: Path) -> None:
    """A look holds every gateway file and smsgwd.yaml, with their bytes, their names and their paths as given."""
    write(directory, "b.yml", b"b")
    path = write(directory, "a.yaml", b"a")
    (directory / "smsgwd.yaml").write_bytes(b"s")
    found = look(directory)
    assert [(file.name, file.data) for file in found.gateways] == [("a", b"a"), ("b", b"b")]
    assert found.gateways[0].file == str(path)
    assert found.site is not None
    assert found.site.data == b"s"
    assert (found.present, found.gateways_present, found.steady, found.problems) == (True, True, True, ())


def test_names_paths_as_they_were_given(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `--config .` a finding says `gateways.d/x.yaml`, without `./`."""
    os.mkfifo(directory / "gateways.d" / "x.yaml")
    monkeypatch.chdir(directory)
    assert [problem.file for problem in look(Path()).problems] == ["gateways.d/x.yaml"]
    assert [problem.file for problem in look(Path("../etc")).problems] == ["../etc/gateways.d/x.yaml"]
    monkeypatch.chdir(directory / "gateways.d")
    (directory / "smsgwd.yaml").write_bytes(b"s")
    assert look(Path("..")).site is not None


@pytest.mark.parametrize(
    "name", [".hidden.yaml", "..data.yaml", "notes.txt", "x.yaml~", "x.YAML", "README", "x.yaml.swp"]
)
def test_ignores_what_is_none_of_it(directory: Path, name: str) -> None:
    """Hidden files, files that are no YAML and sub-folders are passed over without a word."""
    write(directory, name)
    for folder in ("folder", "folder.yaml", "my folder.yml", "good.yml"):
        (directory / "gateways.d" / folder).mkdir()
    (directory / "gateways.d" / "link.yaml").symlink_to("folder")
    found = look(directory)
    assert (found.sites, found.gateways, found.problems) == ((), (), ())
    found = read_paths([directory])
    assert (found.sites, found.gateways, found.problems) == ((), (), ())
    write(directory, "good.yaml")
    assert names(look(directory)) == ["good"]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (os.mkfifo, "not-a-file"),
        (lambda path: path.symlink_to("/dev/zero"), "not-a-file"),
        (lambda path: path.symlink_to("/dev/stdin"), "not-a-file"),
        (lambda path: path.symlink_to("nowhere"), "dangling-link"),
        (lambda path: path.symlink_to(path), "dangling-link"),
    ],
    ids=["fifo", "device", "pipe", "nowhere", "circle"],
)
def test_odd_files_are_findings(directory: Path, make: Callable[[Path], None], code: str) -> None:
    """A FIFO, a device, a dangling link: told, never opened, and the others are read."""
    make(directory / "gateways.d" / "odd.yaml")
    write(directory, "good.yaml")
    found = look(directory)
    assert names(found) == ["good"]
    assert [(fault.name, fault.problem.code) for fault in found.faults] == [("odd", code)]
    assert found.problems[0].file == str(directory / "gateways.d" / "odd.yaml")


def test_a_fifo_is_not_opened(directory: Path) -> None:
    """A writer that waits for a reader of a FIFO called x.yaml goes on waiting: nobody opened it."""
    fifo = directory / "gateways.d" / "x.yaml"
    os.mkfifo(fifo)
    opened = threading.Event()

    def wait_for_reader() -> None:
        os.close(os.open(fifo, os.O_WRONLY))
        opened.set()

    writer = threading.Thread(target=wait_for_reader, daemon=True)
    writer.start()
    look(directory)
    assert not opened.is_set()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer.join(10)
    os.close(reader)
    assert opened.is_set()


def test_a_socket_is_a_finding(directory: Path) -> None:
    """A socket in the place of a file is told as one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "gateways.d" / "x.yaml"))
        assert [problem.message for problem in look(directory).problems] == ["this is a socket, not a file"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a b.yaml", "a b.yaml"),
        ("-a.yaml", "-a.yaml"),
        ("é.yaml", "é.yaml"),
        (f"{'a' * 64}.yaml", f"{'a' * 64}.yaml"),
        ("a\nb.yaml", r"a\nb.yaml"),
        ("a\x1b[2Jb.yaml", r"a\x1b[2Jb.yaml"),
        ("a.b.yaml", "a.b.yaml"),
    ],
)
def test_bad_names_are_findings(directory: Path, name: str, file: str) -> None:
    """A file whose stem cannot be the name of a gateway is told, with control characters escaped."""
    write(directory, name)
    write(directory, f"{'b' * 63}.yaml")
    found = look(directory)
    assert names(found) == ["b" * 63]
    assert findings(found, directory) == [(f"gateways.d/{file}", "bad-name")]
    assert found.faults[0].name == ""


def test_names_that_are_no_text_are_findings(directory: Path) -> None:
    """Octets of a name that are no UTF-8 are shown escaped."""
    (Path(os.fsdecode(os.fsencode(directory) + b"/gateways.d/\xff.yaml"))).write_bytes(GATEWAY)
    found = look(directory)
    assert findings(found, directory) == [(r"gateways.d/\xff.yaml", "bad-name")]
    found.problems[0].file.encode()


@pytest.mark.parametrize(("one", "other"), [("x.yaml", "x.yml"), ("x.yaml", "X.yaml"), ("x.yml", "X.yaml")])
def test_names_that_clash_are_findings(directory: Path, one: str, other: str) -> None:
    """Two files with one stem, or with names that differ only in case: an error on each, and neither is read."""
    write(directory, one)
    write(directory, other)
    write(directory, "y.yaml")
    found = look(directory)
    assert names(found) == ["y"]
    assert {fault.name for fault in found.faults} == {Path(one).stem, Path(other).stem}
    assert sorted(findings(found, directory)) == sorted((f"gateways.d/{name}", "name-clash") for name in (one, other))


def test_smsgwd_yaml_may_clash_and_be_odd_as_well(directory: Path) -> None:
    """smsgwd.yml is accepted; beside smsgwd.yaml it is an error on both; a gateway may be called smsgwd."""
    (directory / "smsgwd.yml").write_bytes(b"s")
    write(directory, "smsgwd.yaml")
    found = look(directory)
    assert [file.name for file in (*found.sites, *found.gateways)] == ["smsgwd", "smsgwd"]
    os.mkfifo(directory / "smsgwd.yaml")
    found = look(directory)
    assert [problem.code for problem in found.site_problems] == ["name-clash", "name-clash"]
    assert found.site is None
    (directory / "smsgwd.yml").unlink()
    assert [problem.code for problem in look(directory).site_problems] == ["not-a-file"]


def test_reads_no_more_of_a_large_file_than_shows_that_it_is(directory: Path) -> None:
    """Of a file over 1 MiB one octet more is read, so that the loader refuses it."""
    with write(directory, "x.yaml").open("wb") as file:
        file.truncate(1 << 40)
    assert len(look(directory).gateways[0].data) == MAX_OCTETS + 1


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    """A directory that does not exist, or is none, is not present; that is told, and nothing is known of its files."""
    found = look(tmp_path / "none")
    assert (found.present, found.gateways_present) == (False, False)
    assert [problem.code for problem in found.problems] == ["no-such-folder"]
    (tmp_path / "file").touch()
    found = look(tmp_path / "file")
    assert (found.present, [problem.code for problem in found.problems]) == (False, ["unreadable"])


def test_a_folder_without_a_gateway_is_told(directory: Path) -> None:
    """Where nothing could be a gateway, a warning names the folder that was looked in; a bad name is something."""
    folder = directory / "gateways.d"
    (directory / "smsgwd.yaml").write_bytes(b"{}")
    for found in (look(directory), read_paths([directory]), read_paths([folder])):
        assert [(one.file, one.code, str(one.severity)) for one in found.empty] == [
            (str(folder), "no-gateways", "warning")
        ]
    write(directory, "a b.yaml")
    for found in (look(directory), read_paths([directory]), read_paths([folder])):
        assert found.empty == ()
    (folder / "a b.yaml").unlink()
    folder.rmdir()
    assert [(one.file, one.code) for one in look(directory).empty] == [(str(folder), "no-gateways")]
    assert [(one.file, one.code) for one in read_paths([directory]).empty] == [(str(directory), "no-gateways")]


def test_gateways_d_that_is_gone(directory: Path) -> None:
    """gateways.d may be missing by itself; one that is a file is told."""
    (directory / "gateways.d").rmdir()
    found = look(directory)
    assert (found.present, found.gateways_present, found.problems) == (True, False, ())
    (directory / "gateways.d").touch()
    found = look(directory)
    assert (found.gateways_present, findings(found, directory)) == (False, [("gateways.d", "unreadable")])


def test_unreadable_files_are_findings() -> None:
    """What the user may not read is told as such; the others are read, and nobody says who writes them."""
    with open_folder() as directory:
        (directory / "gateways.d").mkdir()
        write(directory, "x.yaml").chmod(0)
        write(directory, "y.yaml")
        with as_nobody():
            found = look(directory)
        assert findings(found, directory) == [("gateways.d/x.yaml", "unreadable")]
        assert [file.stamp.writing for file in found.gateways] == [None if os.geteuid() == 0 else False]


@pytest.mark.parametrize("hidden", ["", "gateways.d"])
def test_unreadable_folders_are_not_present(hidden: str) -> None:
    """A folder that the user may not read is not known, and that is told: nothing is taken for removed."""
    with open_folder() as directory:
        (directory / "gateways.d").mkdir()
        write(directory, "y.yaml")
        (directory / hidden).chmod(0)
        with as_nobody():
            found = look(directory)
        (directory / hidden).chmod(0o755)
        assert (found.present, found.gateways_present) == (bool(hidden), False)
        assert [problem.code for problem in found.problems] == ["unreadable"]


# ---- one revision -------------------------------------------------------------------------------------------


def test_reads_a_kubernetes_volume(directory: Path) -> None:
    """gateways.d as a ConfigMap volume: the files of the revision, each once."""
    update_volume(directory / "gateways.d", {"a.yaml": b"1", "b.yaml": b"1"})
    write(directory, "beside.yaml", b"-")
    found = look(directory)
    assert [(file.name, file.data) for file in found.gateways] == [("a", b"1"), ("b", b"1"), ("beside", b"-")]
    update_volume(directory / "gateways.d", {"a.yaml": b"2", "c.yaml": b"2"})
    found = look(directory)
    assert [(file.name, file.data) for file in found.gateways] == [("a", b"2"), ("beside", b"-"), ("c", b"2")]
    assert found.problems == ()


@pytest.mark.parametrize("target", [None, "..data/other.yaml", "../elsewhere.yaml"])
def test_what_one_sees_beside_a_revision_is_what_is_read(directory: Path, target: str | None) -> None:
    """A file, or a link to another one, is read where `cat` reads it, also where the revision has one of its name."""
    folder = directory / "gateways.d"
    update_volume(folder, {"a.yaml": b"revision", "other.yaml": b"seen"})
    (directory / "elsewhere.yaml").write_bytes(b"seen")
    (folder / "a.yaml").unlink()
    if target is None:
        (folder / "a.yaml").write_bytes(b"seen")
    else:
        (folder / "a.yaml").symlink_to(target)
    assert (folder / "a.yaml").read_bytes() == b"seen"
    for found in (look(directory), read_paths([directory]), read_paths([folder])):
        assert [(file.file, file.data) for file in found.gateways] == [
            (str(folder / "a.yaml"), b"seen"),
            (str(folder / "other.yaml"), b"seen"),
        ]
        assert found.problems == ()


def test_a_folder_beside_a_revision_is_the_one_that_one_sees(tmp_path: Path) -> None:
    """A real gateways.d wins over the one that the revision of the configuration directory has."""
    update_volume(tmp_path, {"smsgwd.yaml": b"1", "gateways.d/a.yaml": b"1"})
    (tmp_path / "gateways.d").unlink()
    (tmp_path / "gateways.d").mkdir()
    (tmp_path / "gateways.d" / "b.yaml").write_bytes(b"2")
    for found in (look(tmp_path), read_paths([tmp_path]), read_paths([tmp_path / "gateways.d"])):
        assert [(file.name, file.data) for file in found.gateways] == [("b", b"2")]


def test_the_middle_of_a_swap_is_no_finding(directory: Path) -> None:
    """Right after `..data` was renamed old links dangle and new ones are missing: the new revision is read."""
    folder = directory / "gateways.d"
    update_volume(folder, {"a.yaml": b"1", "b.yaml": b"1"})
    (folder / "..2").mkdir()
    (folder / "..2" / "c.yaml").write_bytes(b"2")
    (folder / "..data_tmp").symlink_to("..2")
    (folder / "..data_tmp").rename(folder / "..data")
    for found in (look(directory), read_paths([directory]), read_paths([folder])):
        assert ([file.file for file in found.gateways], found.problems) == ([str(folder / "c.yaml")], ())


def test_the_directory_itself_may_be_such_a_volume(tmp_path: Path) -> None:
    """smsgwd.yaml and gateways.d of one ConfigMap volume come from its present revision."""
    update_volume(tmp_path, {"smsgwd.yaml": b"1", "gateways.d/a.yaml": b"1"})
    found = look(tmp_path)
    assert [file.data for file in (*found.sites, *found.gateways)] == [b"1", b"1"]
    assert found.gateways[0].file == str(tmp_path / "gateways.d" / "a.yaml")


@pytest.mark.parametrize("level", ["directory", "gateways.d", "each file", "volume"])
def test_never_mixes_two_revisions(tmp_path: Path, level: str) -> None:
    """While revisions are swapped without pause, every steady look holds the files of exactly one."""
    swap = SWAPS[level]
    swap(tmp_path, 0)
    stop = threading.Event()

    def keep_swapping() -> None:
        revision = 1
        while not stop.is_set():
            swap(tmp_path, revision)
            revision += 1
            stop.wait(0.003)

    writer = threading.Thread(target=keep_swapping)
    writer.start()
    seen = set()
    try:
        for _ in range(150):
            found = look(tmp_path / "etc")
            if found.steady and found.gateways_present:
                assert len({file.data for file in found.gateways}) == 1
                assert names(found) == sorted(Path(name).stem for name in FILES)
                seen.add(found.gateways[0].data)
    finally:
        stop.set()
        writer.join()
    assert len(seen) > 3


FILES = [f"g{number}.yaml" for number in range(20)]


def revision_of(root: Path, revision: int) -> Path:
    folder = root / "revisions" / str(revision) / "gateways.d"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(str(revision).encode())
    return folder.parent


def swap_directory(root: Path, revision: int) -> None:
    swap_link(root / "etc", revision_of(root, revision))


def swap_gateways(root: Path, revision: int) -> None:
    (root / "etc").mkdir(exist_ok=True)
    swap_link(root / "etc" / "gateways.d", revision_of(root, revision) / "gateways.d")


def swap_each_file(root: Path, revision: int) -> None:
    (root / "etc" / "gateways.d").mkdir(parents=True, exist_ok=True)
    swap_link(root / "current", revision_of(root, revision))
    if revision == 0:
        for name in FILES:
            (root / "etc" / "gateways.d" / name).symlink_to(root / "current" / "gateways.d" / name)


def swap_volume(root: Path, revision: int) -> None:
    (root / "etc" / "gateways.d").mkdir(parents=True, exist_ok=True)
    update_volume(root / "etc" / "gateways.d", {name: str(revision).encode() for name in FILES})


SWAPS = {
    "directory": swap_directory,
    "gateways.d": swap_gateways,
    "each file": swap_each_file,
    "volume": swap_volume,
}


# ---- stamps -------------------------------------------------------------------------------------------------


def test_says_who_is_being_written(directory: Path) -> None:
    """A file that someone has open for writing is known as such, and no more when it is closed."""
    path = write(directory, "x.yaml")
    with path.open("ab"):
        assert look(directory).gateways[0].stamp.writing is True
    assert look(directory).gateways[0].stamp.writing is False
    with path.open("rb"):
        assert look(directory).gateways[0].stamp.writing is False


def test_a_writer_that_comes_during_a_look_harms_nothing(directory: Path) -> None:
    """The signal that the kernel sends to the holder of a lease ends nobody."""
    path = write(directory, "x.yaml")
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            path.write_bytes(GATEWAY)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(2000):
            look(directory)
    finally:
        stop.set()
        writer.join()


def test_the_stamp_of_a_secret(tmp_path: Path) -> None:
    """A file has a stamp, which changes with its content; one that is missing has none; a FIFO is not opened."""
    path = tmp_path / "secret"
    assert stamp_of(path) is None
    path.write_text("one")
    first = stamp_of(path)
    assert first is not None
    assert (first.size, first.writing) == (3, False)
    path.write_text("four")
    assert stamp_of(path) != first
    path.unlink()
    os.mkfifo(path)
    assert isinstance(stamp_of(path), Stamp)


# ---- command line -------------------------------------------------------------------------------------------


@pytest.fixture
def tree(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(directory, "a.yaml")
    write(directory, "b.yml")
    (directory / "smsgwd.yaml").write_bytes(b"s")
    monkeypatch.chdir(directory)
    return directory


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["."], ["smsgwd.yaml", "gateways.d/a.yaml", "gateways.d/b.yml"]),
        (["gateways.d"], ["gateways.d/a.yaml", "gateways.d/b.yml"]),
        (["gateways.d/a.yaml"], ["gateways.d/a.yaml"]),
        (["smsgwd.yaml"], ["smsgwd.yaml"]),
        (["./gateways.d/", "gateways.d/a.yaml"], ["gateways.d/a.yaml", "gateways.d/b.yml"]),
        ([], []),
    ],
)
def test_reads_what_a_command_line_names(tree: Path, paths: list[str], files: list[str]) -> None:
    """A gateway file, smsgwd.yaml, a folder of gateway files, a whole configuration: each file once."""
    found = read_paths([Path(path) for path in paths])
    assert [file.file for file in (*found.sites, *found.gateways)] == files
    assert found.problems == ()


def test_any_folder_may_hold_gateway_files(tmp_path: Path) -> None:
    """A folder without gateways.d is a folder of gateway files; equal names in two folders do not clash."""
    for folder in ("prod", "stage"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yaml").write_bytes(GATEWAY)
    found = read_paths([tmp_path / "prod", tmp_path / "stage"])
    assert (names(found), found.problems) == (["x", "x"], ())


def test_several_configurations_at_once(tmp_path: Path) -> None:
    """Two configurations may be checked in one run: then there are two files smsgwd.yaml."""
    for folder in ("prod", "stage"):
        (tmp_path / folder / "gateways.d").mkdir(parents=True)
        (tmp_path / folder / "smsgwd.yaml").write_bytes(b"s")
    assert len(read_paths([tmp_path / "prod", tmp_path / "stage"]).sites) == 2


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("none.yaml", "no-such-file"),
        ("a.yaml/none.yaml", "unreadable"),
        ("none/", "no-such-file"),
        ("notes.txt", "bad-name"),
        ("dangling.yaml", "dangling-link"),
        ("fifo.yaml", "not-a-file"),
    ],
)
def test_paths_that_are_no_files_are_findings(tmp_path: Path, path: str, code: str) -> None:
    """A path that does not exist or is no gateway file is told, and the others are read."""
    (tmp_path / "a.yaml").write_bytes(GATEWAY)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo.yaml")
    found = read_paths([tmp_path / path, tmp_path / "a.yaml"])
    assert names(found) == ["a"]
    assert findings(found, tmp_path) == [(path.rstrip("/"), code)]


def test_shown_escapes_what_a_terminal_would_obey() -> None:
    """Control characters and octets that are no UTF-8 appear as escapes."""
    assert shown(Path("a\x07\udcffb")) == r"a\x07\xffb"


def test_a_config_file_needs_no_stamp() -> None:
    """Other parts make a ConfigFile of their own without a stamp."""
    assert ConfigFile("x.yaml", "x", b"").stamp == Stamp()
