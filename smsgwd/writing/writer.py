"""One change after the other: read, made, edited, compiled, written, served."""

import asyncio
import errno
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsgwd import schema
from smsgwd.compile import compile_gateway, digest_of_file
from smsgwd.dump import dump
from smsgwd.edit import edited
from smsgwd.errors import RequestError
from smsgwd.files import GATEWAYS, NAME, NAME_RULE, SECRETS, shown
from smsgwd.load import load
from smsgwd.notes import noted
from smsgwd.registry import Registry, State
from smsgwd.secret import MAX_SECRET_OCTETS, Secret, SecretRef, SecretUnavailableError
from smsgwd.writing import files, trial
from smsgwd.writing.area import Area, BusyError
from smsgwd.writing.commit import Found, Plan, carry_out
from smsgwd.writing.leavings import own_secrets, settle
from smsgwd.writing.model import ANY, Changed, Current, Make, Match, Wanted

_SUFFIXES = (".yaml", ".yml")


class Writer:
    """Changes gateway files. `registry` is what is served now; `reload` has the directory looked at again."""

    def __init__(self, registry: Callable[[], Registry], reload: Callable[[], Awaitable[object]]) -> None:
        self._registry = registry
        self._reload = reload
        self._lock = asyncio.Lock()

    async def current(self, name: str) -> Current | None:
        """The gateway file of that name as it is on disk; None when there is none. Raises RequestError."""
        return await asyncio.to_thread(self._current_now, name)

    async def change(self, name: str, make: Make, *, match: Match = ANY) -> Changed:
        """Change, create or delete a gateway file, one call at a time; returns when the new version serves.

        `make` is called with what is there, in a thread, and says what it is to become; None deletes the file and the
        secrets in its own folder. It may raise RequestError.
        Raises RequestError: read-only, conflict (`match` does not fit), invalid-config (nothing was changed),
        malformed-request (no name), not-written (nothing was changed), overloaded.
        """
        async with self._lock:
            changed, octets = await asyncio.to_thread(self._change_now, name, make, match)
            await self._reload()
            await asyncio.to_thread(self._check_served, name, changed, octets)
        return changed

    # ---- read ----

    @property
    def _directory(self) -> Path:
        return self._registry().config.site.directory

    def _current_now(self, name: str) -> Current | None:
        _check_name(name)
        try:
            folder = os.open(self._directory / GATEWAYS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._current(name, _find(name, folder))
        except files.ElsewhereError as error:
            raise _managed_elsewhere(error) from None
        except OSError as error:
            raise RequestError("internal", f"the gateway file cannot be read: {error.strerror}") from None
        finally:
            os.close(folder)

    def _current(self, name: str, found: Found) -> Current | None:
        if found.octets is None:
            return None
        site = self._registry().config.site
        source = load(found.octets, self._file(found.entry))
        served, _ = compile_gateway(name, source, site, resolve=False)
        data = None if served is None else schema.check_gateway(source)[0]
        values = {} if data is None else _values(data, site.directory)
        digest = "" if data is None else digest_of_file(data)
        return Current(name, source.file, _text(found.octets), source, data, values, digest)

    def _file(self, entry: str) -> str:
        return shown(self._directory / GATEWAYS / entry)

    # ---- change ----

    def _change_now(self, name: str, make: Make, match: Match) -> tuple[Changed, bytes | None]:
        """What was done, and the octets that the gateway file has now."""
        _check_name(name)
        if not self._registry().config.writable:
            raise RequestError("read-only", "the configuration is managed in Git: smsgwd.yaml does not say `writable`")
        try:
            with Area.opened(self._directory) as area:
                settle(area)
                found = _find(name, area.gateways)
                current = self._current(name, found)
                if not match.admits(current):
                    raise _changed_meanwhile(current)
                changed, plan = self._planned(name, make(current), current, found)
                if plan is not None:
                    carry_out(area, plan)
                return changed, found.octets if plan is None else plan.octets
        except files.ElsewhereError as error:
            raise _managed_elsewhere(error) from None
        except BusyError:
            raise RequestError("overloaded", "another process is changing the configuration") from None
        except OSError as error:
            raise _not_written(error) from None

    def _planned(
        self, name: str, wanted: Wanted | None, current: Current | None, found: Found
    ) -> tuple[Changed, Plan | None]:
        """What will have been done, and how; None where nothing is to do. Raises RequestError."""
        before = None if current is None else current.digest
        former = set() if current is None else own_secrets(current.source, name, self._directory)
        if wanted is None:
            if current is None:
                return Changed(None, None), None
            trial.without(name, self._registry())
            return Changed(before, None), Plan(name, found, None, {}, former)
        wanted, new = self._with_secrets(name, wanted, current)
        octets = _octets(_text_of(wanted, current))
        source = load(octets, self._file(found.entry))
        digest, problems = trial.tried(name, source, wanted.secrets, self._registry())
        plan = Plan(name, found, octets, new, former - own_secrets(source, name, self._directory))
        return Changed(before, digest, problems), None if octets == found.octets and not new else plan

    def _with_secrets(self, name: str, wanted: Wanted, current: Current | None) -> tuple[Wanted, dict[str, bytes]]:
        """The same with references to its secret files, and the files that are new: those of changed values."""
        if not wanted.secrets or wanted.data is None:
            return wanted, {}
        references = dict(wanted.data.get("secrets", {}))
        taken = self._taken_names(name, current)
        new: dict[str, bytes] = {}
        for secret, value in wanted.secrets.items():
            if secret not in references:
                raise ValueError(f"a value for the secret {secret!r}, which the data does not have")
            kept = self._kept_reference(name, secret, value, current)
            if kept is None:
                file = _free_name(secret, taken)
                taken.add(file.lower())
                new[file] = _secret_octets(secret, value)
            references[secret] = {"file": f"{SECRETS}/{name}/{file}"} if kept is None else kept
        return replace(wanted, data={**wanted.data, "secrets": references}), new

    def _taken_names(self, name: str, current: Current | None) -> set[str]:
        """Names in the folder of a gateway that are in use, or that its file refers to."""
        try:
            there = files.names(self._directory / SECRETS / name)
        except OSError:
            there = []
        named = set() if current is None else own_secrets(current.source, name, self._directory)
        return {one.lower() for one in (*there, *named)}

    def _kept_reference(
        self, name: str, secret: str, value: Secret, current: Current | None
    ) -> Mapping[str, str] | None:
        """The reference that stands in the file for this value, if it is one to a file of its own."""
        if current is None or current.data is None or current.secrets.get(secret) != value:
            return None
        reference: Mapping[str, str] = current.data["secrets"][secret]
        inside = Path(os.path.normpath(self._directory / SECRETS / name))
        own = "file" in reference and Path(os.path.normpath(self._directory / reference["file"])).parent == inside
        return reference if own else None

    def _check_served(self, name: str, changed: Changed, octets: bytes | None) -> None:
        """Raises RequestError when something else serves than what was written."""
        entry = self._registry().entries.get(name)
        gateway = entry.gateway if entry is not None and entry.state in {State.OK, State.DISABLED} else None
        if (entry is None and changed.after is None) or (gateway is not None and gateway.digest == changed.after):
            return
        there = self._current_now(name)
        if (None if there is None else _octets(there.text)) != octets:
            detail = "it was written, but somebody changed the file again at the same moment, and that is what counts"
            raise RequestError("conflict", detail, {"written": True})
        problems = [] if entry is None else [problem.as_dict() for problem in entry.problems]
        detail = "it was written, but does not serve; /v1/gateways says why"
        raise RequestError("gateway-unavailable", detail, {"written": True, "problems": problems})


# --- what is there


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise RequestError("malformed-request", f"this cannot be the name of a gateway: {NAME_RULE}")


def _find(name: str, folder: int) -> Found:
    """What is there under a name. Raises RequestError when another file is in its way, ElsewhereError, OSError."""
    alike = [one for one in files.names(folder) if one.lower() in {f"{name.lower()}{suffix}" for suffix in _SUFFIXES}]
    own = [f"{name}{suffix}" for suffix in _SUFFIXES if f"{name}{suffix}" in alike]
    if len(alike) > 1 or len(own) < len(alike):
        others = ", ".join(sorted(set(alike) - set(own[:1])))
        detail = f"a file beside it has this name, too, but for its suffix or capitals: {others}"
        raise RequestError("invalid-config", detail, {"problems": []})
    entry = own[0] if own else f"{name}{_SUFFIXES[0]}"
    found = files.read(entry, folder)
    return Found(entry) if found is None else Found(entry, *found)


def _values(data: Mapping[str, Any], directory: Path) -> dict[str, Secret]:
    values = {}
    for name, reference in data.get("secrets", {}).items():
        try:
            values[name] = SecretRef(*next(iter(reference.items()))).resolve(directory)
        except SecretUnavailableError:
            continue
    return values


# --- what it is to become


def _text_of(wanted: Wanted, current: Current | None) -> str:
    if wanted.text is not None:
        return wanted.text
    data = wanted.data or {}
    try:
        text = dump(data, wanted.comments) if current is None else edited(current.text, data)
        return noted(text, wanted.notes)
    except UnicodeError:
        raise RequestError("malformed-request", "a text holds half of a character (a lone surrogate)") from None


def _text(octets: bytes) -> str:
    """The text, from which `_octets` makes the same again whatever they are."""
    return octets.decode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RequestError("malformed-request", "a text holds half of a character (a lone surrogate)") from None


def _secret_octets(name: str, value: Secret) -> bytes:
    try:
        octets = value.as_file().encode()
    except UnicodeEncodeError:
        raise RequestError("malformed-request", f"the secret {name!r} is no text") from None
    if not value.reveal() or len(octets) > MAX_SECRET_OCTETS:
        raise RequestError("malformed-request", f"the secret {name!r} is empty, or larger than 64 KiB")
    return octets


def _free_name(secret: str, taken: Collection[str]) -> str:
    """A file name for a value of this secret."""
    name = secret
    while name.lower() in taken:
        name = f"{secret}-{secrets.token_hex(3)}"
    return name


# --- refusals


def _changed_meanwhile(current: Current | None) -> RequestError:
    if current is None:
        return RequestError("conflict", "there is no such gateway file (any more)", {"digest": None})
    return RequestError("conflict", "the gateway file is another one by now", {"digest": current.digest or None})


def _managed_elsewhere(error: files.ElsewhereError) -> RequestError:
    return RequestError("read-only", f"the configuration is managed elsewhere: {error}")


def _not_written(error: OSError) -> RequestError:
    if error.errno == errno.EROFS:
        return RequestError("read-only", "the configuration is on a read-only file system")
    what = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return RequestError("not-written", f"nothing was changed: {error.strerror or type(error).__name__}{what}")
