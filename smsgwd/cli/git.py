"""Reads a configuration directory out of a Git revision, by plumbing alone: no checkout, no network, no hook."""

import os
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smsgwd.cli.terminal import Failure
from smsgwd.files import GATEWAYS, MAX_OCTETS, TOKENS

_TIMEOUT_S = 60.0
_SITES = ("smsgwd.yaml", "smsgwd.yml")
_SUFFIXES = (".yaml", ".yml")
_NOWHERE = (b"symlink", b"dangling", b"loop", b"notdir")  # how git calls links that lead to no object
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",  # in a partial clone a missing object is missing
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands at a path of a revision; a link inside of the revision is followed. `kind` may be `missing`."""

    kind: str
    name: str = ""  # of the object
    size: int = 0


_MISSING = _Found("missing")


def extract(written: str, folder: Path) -> None:
    """Put the configuration of `REV[:PATH]` into an empty folder, as far as smsgwd reads it.

    PATH counts from the top of the repository, or with `./` from the current folder, as in Git; without it the current
    folder is meant. Raises Failure.
    """
    revision, colon, path = written.partition(":")
    commit = _commit(revision)
    root = _root(path if colon else "./")
    base = f"{commit}:{root}"
    if _look([base])[0].kind != "tree":
        raise Failure(f"git:{written}: there is no folder {root or '.'} in this revision")
    names = _names(base)
    _write(folder, base, [name for name in _SITES if name in names])
    between = "/" if root else ""
    if not _extract_folder(f"{base}{between}{GATEWAYS}", folder / GATEWAYS):
        raise Failure(f"git:{written}: there is no folder {PurePosixPath(root, GATEWAYS)} in this revision")
    _extract_folder(f"{base}{between}{TOKENS}", folder / TOKENS)


def _extract_folder(inside: str, folder: Path) -> bool:
    """Make a folder of the YAML files of another; whether there is one in the revision."""
    place = _look([inside])[0]
    if place.kind != "tree":
        return False
    folder.mkdir()
    wanted = [name for name in _names(place.name) if name.endswith(_SUFFIXES) and not name.startswith(".")]
    _write(folder, inside, wanted)
    return True


def _commit(revision: str) -> str:
    """The full name of a commit. Raises Failure."""
    if not revision:
        raise Failure("git: a revision has to follow, such as git:origin/main or git:HEAD~1:path")
    done = _run(("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"))
    if done.returncode:
        _git("rev-parse", "--git-dir")  # says what is wrong with the repository, if it is that
        raise Failure(f"git:{revision}: this repository has no such revision")
    return done.stdout.decode().strip()


def _root(path: str) -> str:
    """A folder as seen from the top of the repository, empty for the top itself. Raises Failure."""
    if path in {".", ".."} or path.startswith(("./", "../")):
        prefix = _git("rev-parse", "--show-prefix").decode(errors="surrogateescape").rstrip("\n")
        path = os.path.normpath(f"{prefix}{path}")
    if path.startswith(("..", "/")) or "\n" in path:
        raise Failure(f"git: {path!r} is no folder of this repository")
    return "" if path == "." else path.rstrip("/")


def _names(tree: str) -> list[str]:
    listed = _git("ls-tree", "--full-tree", "-z", "--name-only", tree).decode(errors="surrogateescape")
    return [name for name in listed.split("\0") if name]


def _look(expressions: Sequence[str]) -> list[_Found]:
    """What each `COMMIT:PATH`, or name of an object, leads to."""
    told, found = _git("cat-file", "--batch-check", "--follow-symlinks", asked=expressions), list[_Found]()
    position = 0
    for _ in expressions:
        end = told.index(b"\n", position)
        words, position = told[position:end].split(b" "), end + 1
        if len(words) == 2 and words[0] in _NOWHERE:  # then the path follows that it came to
            position += int(words[1]) + 1
        is_object = len(words) == 3 and words[2].isdigit()
        found.append(_Found(words[1].decode(), words[0].decode(), int(words[2])) if is_object else _MISSING)
    return found


def _write(folder: Path, base: str, names: Sequence[str]) -> None:
    """The files of these names; what cannot be read from the revision becomes a link that leads nowhere."""
    # a line asks for an object: a name of two lines cannot be asked for, and can be no gateway's
    places = _look([base if "\n" in name else f"{base}{'' if base.endswith(':') else '/'}{name}" for name in names])
    small = [(name, place) for name, place in zip(names, places, strict=True) if place.size <= MAX_OCTETS]
    contents = _contents({place.name for _, place in small if place.kind == "blob"})
    for name, place in zip(names, places, strict=True):
        path = folder / name
        if place.kind == "tree":
            path.mkdir()
        elif place.kind != "blob":
            path.symlink_to("nowhere in this revision")
        else:  # of what is too large only that it is
            path.write_bytes(contents.get(place.name) or b"\0" * min(place.size, MAX_OCTETS + 1))


def _contents(objects: Collection[str]) -> dict[str, bytes]:
    """The content of each blob."""
    if not objects:
        return {}
    told, position = _git("cat-file", "--batch", "--buffer", asked=list(objects)), 0
    contents = {}
    for _ in objects:
        end = told.index(b"\n", position)
        name, _, size = told[position:end].split(b" ")
        position = end + 1 + int(size)
        contents[name.decode()] = told[end + 1 : position]
        position += 1
    return contents


def _git(*arguments: str, asked: Sequence[str] | None = None) -> bytes:
    """What git says on standard output, `asked` written to its input line by line. Raises Failure."""
    done = _run(arguments, "".join(f"{line}\n" for line in asked or ()))
    if done.returncode:
        first, *_ = [*done.stderr.decode(errors="backslashreplace").splitlines(), "it gave no reason"]
        raise Failure(f"git {arguments[0]}: {first}")
    return done.stdout


def _run(arguments: Sequence[str], asked: str = "") -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(  # noqa: S603 - the program is git, a revision comes after --end-of-options
            ["git", *arguments],  # noqa: S607 - where git is, is the user's own affair
            input=asked.encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
            env={**os.environ, **_ENVIRONMENT},
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"git {arguments[0]}: no answer within {_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise Failure(f"git cannot be run: {error.strerror}") from None
