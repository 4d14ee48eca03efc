"""The secrets that a file refers to."""

from collections.abc import Mapping

from smsgwd.compile.draft import Draft
from smsgwd.errors import Severity
from smsgwd.load import Mapping as MappingNode
from smsgwd.providers._base import KeyPath
from smsgwd.secret import MASKED, SHORT_SECRET, Secret, SecretRef, SecretUnavailableError


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
    try:
        path = wanted.path(draft.site.directory)
        if path is not None:
            draft.files.add(path)
        secret = wanted.resolve(draft.site.directory)
    except SecretUnavailableError as error:
        message = f"the secret {at[-1]!r} cannot be had: {error}"
        draft.problem((*at, kind), "missing-secret", message, _WHERE_SECRETS_COME_FROM.get(kind, ""))
        return MASKED
    return _told_if_short(draft, at, reference, secret)


def _told_if_short(draft: Draft, at: KeyPath, reference: Mapping[str, str], secret: Secret) -> Secret:
    if len(secret.reveal()) < SHORT_SECRET:
        draft.problem(
            (*at, *reference),
            "short-secret",
            f"the secret {at[-1]!r} has fewer than {SHORT_SECRET} characters: too short to be hidden in an answer",
            severity=Severity.WARNING,
        )
    return secret
