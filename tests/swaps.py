"""How others change a directory under a daemon: Kubernetes volumes, swapped links."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

from secret_file import write_secret

_revisions = itertools.count()


def update_volume(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a new revision of a ConfigMap or Secret volume as the kubelet does.

    A directory with the files, the swap of `..data`, links for what is new, no links for what is gone, then the old
    directory is removed (kubernetes, pkg/volume/util/atomic_writer.go).
    """
    data = folder / "..data"
    old = folder / data.readlink() if data.is_symlink() else None
    new = folder / f"..revision_{next(_revisions)}"
    for name, content in files.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        write_secret(new / name, content)
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(data)
    _update_links(folder, {Path(name).parts[0] for name in files})
    if old is not None:
        remove_tree(old)


def _update_links(folder: Path, names: set[str]) -> None:
    links = {path.name for path in folder.iterdir() if path.is_symlink() and not path.name.startswith("..")}
    for name in names - links:
        (folder / name).symlink_to(f"..data/{name}")
    for name in links - names:
        (folder / name).unlink()


def remove_tree(folder: Path) -> None:
    """Removes a directory with all that is in it, one entry after the other."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            (Path(path) / name).unlink()
        for name in folders:
            (Path(path) / name).rmdir()
    folder.rmdir()


def swap_link(link: Path, target: Path) -> None:
    """Points a link elsewhere in one step, as git-sync does."""
    temporary = link.with_name(f".{link.name}.{next(_revisions)}")
    temporary.symlink_to(target)
    temporary.rename(link)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it over, as editors and deployment tools do."""
    temporary = path.with_name(f".{path.name}.{next(_revisions)}")
    write_secret(temporary, content)  # perhaps it is one
    temporary.rename(path)
