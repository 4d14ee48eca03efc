"""The configuration directory, read in one look: files of one revision, no waiting, every odd name a finding.

Files are opened through the directory that was opened first (of a Kubernetes volume: the one that `..data` led to), so
that a swap in the middle of a look does not mix two revisions. What can be swapped below that (a link per file) is
looked at again after the reading: a look in which something moved is thrown away.
"""

import errno
import fcntl
import os
import re
import signal
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from smsgwd.errors import Problem, Severity

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}", re.ASCII)
GATEWAYS = "gateways.d"
TOKENS = "tokens.d"
SECRETS = "secrets.d"  # where the secrets are that we write, in a folder for each gateway
SITE = "smsgwd"
MAX_OCTETS = 1 << 20  # a file that is larger is refused by the loader: one octet more is read, so that it sees that
_SUFFIXES = (".yaml", ".yml")
_DATA = "..data"  # the link of a Kubernetes volume to its present revision
_TRIES = 5
# O_NONBLOCK: a FIFO that took the place of the file between two calls must not stop the look
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

NAME_RULE = "a name has letters, digits, `_` and `-`, 63 at most, and begins with a letter or digit"
_ALLOWED_OF_TOKENS = (
    "a name has letters, digits, `.`, `_`, `@`, `+` and `-`, 128 at most, and begins with a letter or digit: "
    "it need not be the user"
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says of a file: equal stamps, equal content. Times are in nanoseconds."""

    device: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0  # of the last change of content, name or rights; unlike mtime_ns nobody can set it back
    writing: bool | None = None  # whether someone has it open for writing; None: it cannot be told

    @classmethod
    def of(cls, status: os.stat_result, *, writing: bool | None = None) -> Self:
        """The stamp of a file of this status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, writing)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file as it was read. `file` is how findings call it; `name` is its stem."""

    file: str
    name: str
    data: bytes
    stamp: Stamp = Stamp()


@dataclass(frozen=True, slots=True)
class Fault:
    """A finding about a file that was not read. `name` is what it would be called; empty: it could be nothing."""

    name: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found. `sites` are files `smsgwd.yaml`: one at most in a configuration directory."""

    directory: Path = Path()
    present: bool = True  # the directory could be read
    gateways_present: bool = True  # gateways.d in it could be read
    tokens_present: bool = False  # tokens.d in it could be read; it need not be there
    steady: bool = True  # False: it changed under every try, files of two revisions may be mixed
    sites: tuple[ConfigFile, ...] = ()
    gateways: tuple[ConfigFile, ...] = ()
    tokens: tuple[ConfigFile, ...] = ()
    faults: tuple[Fault, ...] = ()  # about gateways, and what belongs to no file
    token_faults: tuple[Fault, ...] = ()
    site_problems: tuple[Problem, ...] = ()
    empty: tuple[Problem, ...] = ()  # a warning for each folder without a gateway file; for some that is no fault

    @property
    def site(self) -> ConfigFile | None:
        """smsgwd.yaml, if there is one that could be read."""
        return self.sites[0] if self.sites else None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All findings, ordered by place."""
        found = {*self.site_problems, *(fault.problem for fault in (*self.faults, *self.token_faults))}
        return tuple(sorted(found, key=lambda problem: problem.sort_key))


def look(directory: Path) -> Look:
    """All files of the configuration directory, of one revision. Never raises, never waits for a writer."""
    found = _look_once(directory)
    for _ in range(_TRIES - 1):
        if found.steady:
            break
        found = _look_once(directory)
    return found


def read_paths(paths: Sequence[Path]) -> Look:
    """The files that a command line names: gateway files, smsgwd.yaml, folders of gateway files, whole configurations.

    Files of a folder tokens.d are read as tokens. A path that does not exist is a finding (no-such-file). A file that
    is named twice is read once.
    """
    places: dict[Path, _Place] = {}  # by the path that one sees
    faults, empty = [], []
    for path in paths:
        try:
            found = _expanded(path)
            places |= {seen.absolute(): _Place(opened, shown(seen)) for seen, opened in found}
            if not any(_is_gateway(seen) for seen, _ in found) and path.is_dir() and path.absolute().name != TOKENS:
                empty.append(_nothing_in(path / GATEWAYS if (path / GATEWAYS).is_dir() else path))
        except OSError as error:
            faults.append(Fault("", _problem(shown(path), *_unusable(error))))
    sites, site_faults = _read_all(place for seen, place in places.items() if _is_site(seen))
    gateways, more = _read_all(place for seen, place in places.items() if _is_gateway(seen))
    tokens, token_faults = _read_all((place for seen, place in places.items() if _is_token(seen)), tokens=True)
    return Look(
        sites=sites,
        gateways=gateways,
        tokens=tokens,
        faults=(*faults, *more),
        token_faults=token_faults,
        site_problems=_problems_of(site_faults),
        empty=tuple(empty),
    )


def shown(path: Path) -> str:
    """A path as findings name it: what cannot be printed is escaped."""
    text = str(path)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file that the configuration refers to; None when there is no such file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Stamp.of(status)
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError:
        return Stamp()
    try:
        return Stamp.of(os.fstat(descriptor), writing=_open_for_writing(descriptor))
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file is: by its path, or by its name in an opened folder; `shown` is how findings call it."""

    path: Path
    shown: str
    folder: int | None = None

    @property
    def likeness(self) -> tuple[str, str]:
        """Two files that are equal in this have names that cannot stand beside each other."""
        return self.shown.rpartition("/")[0], self.path.stem.lower()

    def status(self, *, follow: bool = True) -> os.stat_result:
        return os.stat(self.path, dir_fd=self.folder, follow_symlinks=follow)


class _Folder:
    """An opened directory; of a Kubernetes volume also the revision that `..data` led to when it was opened."""

    def __init__(self, path: Path, shown_as: Path, inside: int | None) -> None:
        self.path = path
        self.shown = shown_as
        self.inside = inside
        self.visible = os.open(path, _FOLDER, dir_fd=inside)
        self.revision: int | None = None
        with suppress(OSError):
            self.revision = os.open(_DATA, _FOLDER, dir_fd=self.visible)

    @classmethod
    @contextmanager
    def opened(cls, path: Path, shown_as: Path, inside: int | None = None) -> "Iterator[_Folder]":
        """The folder at a path, or of that name in an opened one. Raises OSError."""
        folder = cls(path, shown_as, inside)
        try:
            yield folder
        finally:
            for descriptor in folder.layers:
                os.close(descriptor)

    @property
    def layers(self) -> tuple[int, ...]:
        """What it consists of, the most recent first."""
        return (self.visible,) if self.revision is None else (self.revision, self.visible)

    def moved(self) -> bool:
        """Whether its path leads elsewhere by now. Raises OSError."""
        return _identity(os.stat(self.path, dir_fd=self.inside)) != _identity(os.fstat(self.visible)) or (
            self.revision is not None
            and _identity(os.stat(_DATA, dir_fd=self.visible)) != _identity(os.fstat(self.revision))
        )

    def names(self) -> dict[str, int]:
        """The YAML files by name, each with the directory to open it in. Names that begin with `.` are left out."""
        if self.revision is None:
            return dict.fromkeys(_yaml_in(self.visible), self.visible)
        # a link into the revision that is not in the revision (any more) is about to be removed
        own = [name for name in _yaml_in(self.visible) if not self._leads_to_revision(name)]
        return dict.fromkeys(_yaml_in(self.revision), self.revision) | dict.fromkeys(own, self.visible)

    def layer_with(self, name: str) -> int:
        """The directory to open a name in: the visible one, but for what is there only as a link into the revision."""
        if self.revision is not None and (self._leads_to_revision(name) or not self._shows(name)):
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=self.revision)
                return self.revision
        return self.visible

    def places(self, names: Mapping[str, int]) -> list[_Place]:
        return [_Place(Path(name), shown(self.shown / name), folder) for name, folder in names.items()]

    def _leads_to_revision(self, name: str) -> bool:
        try:
            return os.readlink(name, dir_fd=self.visible) == f"{_DATA}/{name}"
        except OSError:
            return False

    def _shows(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self.visible, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def _look_once(directory: Path) -> Look:
    try:
        with _Folder.opened(directory, directory) as root:
            places = root.places({name: folder for name, folder in root.names().items() if Path(name).stem == SITE})
            sites, faults = _read_all(places)
            found = _look_at_gateways(root, Look(directory, sites=sites, site_problems=_problems_of(faults)))
            found = _look_at_tokens(root, found)
            return replace(found, steady=found.steady and _unchanged(places, sites) and not root.moved())
    except OSError as error:
        problem = _problem(shown(directory), *_unusable(error, folder=True))
        return Look(directory, present=False, gateways_present=False, faults=(Fault("", problem),))


@dataclass(frozen=True, slots=True)
class _Inside:
    """What one look has found in a folder of the configuration directory."""

    present: bool = True  # it could be read: where not, what is in it is not known
    files: tuple[ConfigFile, ...] = ()
    faults: tuple[Fault, ...] = ()
    steady: bool = True


def _look_at_gateways(root: _Folder, found: Look) -> Look:
    """The look, completed by gateways.d."""
    inside = _look_into(root, GATEWAYS)
    empty = () if inside.files or inside.faults else (_nothing_in(root.shown / GATEWAYS),)
    return replace(
        found,
        gateways_present=inside.present,
        gateways=inside.files,
        faults=inside.faults,
        empty=empty,
        steady=inside.steady,
    )


def _look_at_tokens(root: _Folder, found: Look) -> Look:
    """The look, completed by tokens.d."""
    inside = _look_into(root, TOKENS)
    return replace(
        found,
        tokens_present=inside.present,
        tokens=inside.files,
        token_faults=inside.faults,
        steady=found.steady and inside.steady,
    )


def _look_into(root: _Folder, name: str) -> _Inside:
    path = root.shown / name
    try:
        with _Folder.opened(Path(name), path, root.layer_with(name)) as folder:
            names = folder.names()
            places = folder.places(names)
            files, faults = _read_all(places, tokens=name == TOKENS)
            steady = _unchanged(places, files) and folder.names() == names and not folder.moved()
            return _Inside(files=files, faults=faults, steady=steady)
    except FileNotFoundError:
        return _Inside(present=False)
    except OSError as error:
        problem = _problem(shown(path), *_unusable(error, folder=True))
        return _Inside(present=False, faults=(Fault("", problem),))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _unchanged(places: Iterable[_Place], files: Iterable[ConfigFile]) -> bool:
    """Whether each file that was read is still the one at its place. Raises OSError."""
    stamps = {file.file: replace(file.stamp, writing=None) for file in files}
    return all(Stamp.of(place.status()) == stamps[place.shown] for place in places if place.shown in stamps)


def _expanded(path: Path) -> list[tuple[Path, Path]]:
    """The files that one argument stands for, as they are seen and opened. Raises OSError where there is no such path.

    In a folder it is what `look` would read there.
    """
    if not path.is_dir():
        path.lstat()
        return [(path, path)]
    with _Folder.opened(path, path) as folder:
        names = sorted(folder.names().items())
        files = [
            (path / name, path / (name if layer == folder.visible else f"{_DATA}/{name}")) for name, layer in names
        ]
    tokens = _expanded(path / TOKENS) if not _is_folder_of_files(path) and (path / TOKENS).is_dir() else []
    if _is_folder_of_files(path) or not (path / GATEWAYS).is_dir():
        return files + tokens
    return [(seen, opened) for seen, opened in files if _is_site(seen)] + _expanded(path / GATEWAYS) + tokens


def _is_folder_of_files(path: Path) -> bool:
    return path.absolute().name in {GATEWAYS, TOKENS}


def _is_yaml(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def _yaml_in(folder: int) -> list[str]:
    """The YAML files of a folder by name, sub-folders left out, whatever they are called.

    Only one in the place of smsgwd.yaml is kept, to be told: so does a container show a file that is not mounted.
    """
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if _is_yaml(entry.name) and (Path(entry.name).stem == SITE or _is_file(entry))
        ]


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return not entry.is_dir()
    except OSError:  # a link that leads in a circle
        return True


def _is_site(path: Path) -> bool:
    """Whether this is smsgwd.yaml, not a gateway or token of that name."""
    return path.stem == SITE and _is_yaml(path.name) and not _is_folder_of_files(path.absolute().parent)


def _is_token(path: Path) -> bool:
    return path.absolute().parent.name == TOKENS


def _is_gateway(path: Path) -> bool:
    return not _is_site(path) and not _is_token(path)


def _problems_of(faults: Iterable[Fault]) -> tuple[Problem, ...]:
    return tuple(fault.problem for fault in faults)


def _read_all(places: Iterable[_Place], *, tokens: bool = False) -> tuple[tuple[ConfigFile, ...], tuple[Fault, ...]]:
    """The files at these places, and what is wrong with the others; `tokens`: they are token files."""
    ordered = sorted(places, key=lambda place: place.shown)
    counts = Counter(place.likeness for place in ordered)
    files, faults = [], []
    for place in ordered:
        found = _name_fault(place, alike=counts[place.likeness], tokens=tokens) or _read(place)
        if isinstance(found, ConfigFile):
            files.append(found)
        elif found is not None:
            faults.append(found)
    return tuple(files), tuple(faults)


def _name_fault(place: _Place, *, alike: int, tokens: bool) -> Fault | None:
    name = place.path.stem
    if not _is_yaml(place.path.name):
        return Fault("", _problem(place.shown, "bad-name", "this is not the name of a YAML file", "call it NAME.yaml"))
    if tokens and not TOKEN_NAME.fullmatch(name):
        message = "this cannot be the name of a token file"
        return Fault("", _problem(place.shown, "bad-name", message, _ALLOWED_OF_TOKENS))
    if not tokens and not NAME.fullmatch(name):
        return Fault("", _problem(place.shown, "bad-name", "this cannot be the name of a gateway", NAME_RULE))
    if alike > 1:
        message = f"a file beside this one has the name {name!r}, too (.yml, or other capitals)"
        return Fault(name, _problem(place.shown, "name-clash", message, "keep one of them"))
    return None


def _read(place: _Place) -> ConfigFile | Fault | None:
    """The file; a fault where it is none; None when it went away before it was opened."""
    name = place.path.stem
    try:
        kind = stat.S_IFMT(place.status().st_mode)
        if kind != stat.S_IFREG:
            return Fault(name, _problem(place.shown, "not-a-file", f"this is {_KINDS[kind]}, not a file"))
        descriptor = os.open(place.path, _READ, dir_fd=place.folder)
        with os.fdopen(descriptor, "rb") as file:
            stamp = Stamp.of(os.fstat(descriptor), writing=_open_for_writing(descriptor))
            return ConfigFile(place.shown, name, file.read(MAX_OCTETS + 1), stamp)
    except FileNotFoundError:
        return (
            Fault(name, _problem(place.shown, "dangling-link", "this link leads nowhere")) if _is_link(place) else None
        )
    except OSError as error:
        return Fault(name, _problem(place.shown, *_unusable(error)))


def _is_link(place: _Place) -> bool:
    try:
        return stat.S_ISLNK(place.status(follow=False).st_mode)
    except OSError:
        return False


def _open_for_writing(descriptor: int) -> bool | None:
    """Whether someone has the file open for writing: then the kernel refuses a read lease (fcntl(2), F_SETLEASE).

    None where it does not say: on another user's file (without CAP_LEASE), on file systems without leases such as NFS.
    """
    try:
        # A writer that comes while the lease is held raises a signal: by default SIGIO, which would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _unusable(error: OSError, *, folder: bool = False) -> tuple[str, str, str]:
    """Code, message and hint for a file or folder that cannot be used."""
    if error.errno == errno.ENOENT and folder:
        return "no-such-folder", "it does not exist", "give the configuration directory: --config DIR"
    if error.errno == errno.ENOENT:
        return "no-such-file", "it does not exist", ""
    if error.errno == errno.ELOOP:
        return "dangling-link", "this link leads in a circle", ""
    if error.errno == errno.EACCES:
        return "unreadable", "it may not be read by this user", "look at its rights, and at those of its folders"
    return "unreadable", f"it cannot be read: {error.strerror or type(error).__name__}", ""


def _nothing_in(folder: Path) -> Problem:
    message = "there is no gateway file in this folder"
    hint = f"put NAME.yaml into it, or give another configuration directory: --config DIR, which holds {GATEWAYS}/"
    return replace(_problem(shown(folder), "no-gateways", message, hint), severity=Severity.WARNING)


def _problem(file: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(file, 1, 1, code, message, hint)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # an octet that is no UTF-8, as os.fsdecode carries it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
