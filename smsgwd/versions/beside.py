"""The files that a version was compiled with, beside its own: secrets, certificates, scripts."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from smsgwd.files import stamp_of
from smsgwd.sightings import Sight, Sightings, at_rest

# False: what was read may not be what is there now.
Besides = Mapping[Path, Sight]


def stamps(sightings: Sightings, files: Iterable[Path], *, compiled: bool) -> Besides:
    """What the files beside were when they were read, as far as that is known."""
    return {
        path: sightings.sight(path) if path in sightings else _fresh_stamp(path, compiled=compiled) for path in files
    }


def same(sightings: Sightings, besides: Besides) -> bool:
    """Whether they are what they were."""
    return all(sightings.sight(path) == stamp for path, stamp in besides.items())


def _fresh_stamp(path: Path, *, compiled: bool) -> Sight:
    """The stamp of a file that was just read for the first time; False where it may have changed since."""
    stamp = stamp_of(path)
    if stamp is None:
        return False if compiled else None
    return stamp if at_rest(stamp, time.time()) else False
