"""The secrets that a file refers to."""

import os
from collections.abc import Mapping
from pathlib import Path

from smsgwd.compile.draft import Draft
from smsgwd.errors import Severity
from smsgwd.files import SECRETS
from smsgwd.load import Mapping as MappingNode
from smsgwd.providers._base import KeyPath
from smsgwd.secret import MASKED, SHORT_SECRET, Secret, SecretExposedError, SecretRef, SecretUnavailableError


def secrets_of(draft: Draft, references: Mapping[str, Mapping[str, str]]) -> dict[str, Secret]:
    """The secrets by name; one whose reference is wrong is told already, and is no unknown name as well."""
    declared = draft.source.node(("secrets",))
    names = declared.entries if isinstance(declared, MappingNode) else {}
    return {name: _secret(draft, name, references[name]) if name in references else MASKED for name in names}


def _secret(draft: Draft, name: str, reference: Mapping[str, str]) -> Secret:
    at = ("secrets", name)
    given = draft.values.get(name)
    return secret_of(draft, at, reference) if given is None else _told_if_short(draft, at, reference, given)


_WHERE_SECRETS_COME_FROM = {
    "env": "set it in the environment of the daemon; with systemd by Environment=, or better as a credential",
    "credential": "with systemd by LoadCredential= or SetCredentialEncrypted= of the service",
}


def secret_of(draft: Draft, at: KeyPath, reference: Mapping[str, str]) -> Secret:
    """The secret that a reference means; `***` where secrets are not read, or it cannot be had."""
    if not draft.resolved:
        return MASKED
    ((kind, name),) = reference.items()
    wanted = SecretRef(kind, name)
    where, what = (*at, kind), f"the secret {at[-1]!r}"
    try:
        path = wanted.path(draft.site.directory)
        if path is not None:
            draft.files.add(path)
        if path is not None and _leads_out(path, draft):
            hint = "put the file itself there, or name the place that the link leads to"
            draft.problem(where, "secret-link", f"{what} is a link that leads out of {SECRETS}: {path}", hint)
            return MASKED
        secret, exposed = wanted.resolve_and_look(draft.site.directory)
    except SecretExposedError as error:
        tell_exposed(draft, where, what, error.path, for_good=False)
        return MASKED
    except SecretUnavailableError as error:
        message = f"{what} cannot be had: {error}"
        draft.problem(where, "missing-secret", message, _WHERE_SECRETS_COME_FROM.get(kind, ""))
        return MASKED
    if exposed and path is not None:
        tell_exposed(draft, where, what, path, for_good=True)
    return _told_if_short(draft, at, reference, secret)


_READ_ONLY_HINT = "mount it with fewer rights: in Kubernetes by `defaultMode: 0440` beside an `fsGroup`"


def tell_exposed(draft: Draft, at: KeyPath, what: str, path: Path, *, for_good: bool) -> None:
    """A file that others may read; `for_good`: nobody can change that, it is on a read-only mount."""
    if for_good:
        message = f"{what} can be read by others, on a read-only mount: {path}"
        draft.problem(at, "exposed-secret", message, _READ_ONLY_HINT, severity=Severity.WARNING)
    else:
        draft.problem(at, "exposed-secret", f"{what} can be read by others: {path}", f"chmod o= {path}")


def _leads_out(path: Path, draft: Draft) -> bool:
    """Whether a file in the gateway's own folder of secrets, which we write, is a link to somewhere else."""
    secrets = draft.site.directory / SECRETS
    if not Path(os.path.normpath(path)).is_relative_to(Path(os.path.normpath(secrets / draft.name))):
        return False
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(secrets))


def _told_if_short(draft: Draft, at: KeyPath, reference: Mapping[str, str], secret: Secret) -> Secret:
    if len(secret.reveal()) < SHORT_SECRET:
        draft.problem(
            (*at, *reference),
            "short-secret",
            f"the secret {at[-1]!r} has fewer than {SHORT_SECRET} characters: too short to be hidden in an answer",
            severity=Severity.WARNING,
        )
    return secret
