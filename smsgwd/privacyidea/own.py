"""Gateways that no class of privacyIDEA can be: `smsgwd.providers.NAME`, with their settings as dotted options.

Their texts are templates, and secrets show as what stands there, `{{ secrets.NAME }}`. Such a reference may stay where
it is and nowhere else: whoever may write a gateway could send a secret, that he cannot read, to a phone of his own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smsgwd import privacyidea, schema
from smsgwd.credentials import is_credential, is_literal, names_read
from smsgwd.errors import RequestError
from smsgwd.privacyidea.asked import OURS, Asked, Section
from smsgwd.privacyidea.definition import CENSORED
from smsgwd.privacyidea.dotted import Path, PathError, gather, leaves, path_in, spread, written
from smsgwd.privacyidea.remembered import Remembered
from smsgwd.privacyidea.replacing import Replaced, refused
from smsgwd.privacyidea.sheet import free_name
from smsgwd.privacyidea.standing import is_ours
from smsgwd.secret import Secret

_REPLACED = frozenset({"provider", "description", "settings", "secrets"})
_ONE_SECRET = re.compile(r"\{\{\s*secrets\.(\w+)\s*\}\}", re.ASCII)
_ANY_SECRET = re.compile(r"\bsecrets\.(\w+)", re.ASCII)


def shown(data: Mapping[str, Any]) -> dict[str, str]:
    """The settings as options."""
    return spread(data["provider"], data.get("settings", {}))


def check_module(module: str) -> str:
    """The provider that a module means. Raises RequestError for none."""
    provider = module.removeprefix(OURS)
    if provider not in schema.provider_names():
        raise refused(f"there is no module {module[:200]!r}; GET /smsgateway/providers lists those that there are")
    return provider


def replaced(asked: Asked, data: Mapping[str, Any]) -> Replaced:
    """The file with these settings; `data` is what it says now, or is to keep. Raises RequestError."""
    provider = check_module(asked.module)
    before = _texts(data.get("settings", {}))
    options = {key: text for key, text in asked.options.texts.items() if text != CENSORED}
    try:
        settings = gather(provider, options)
    except PathError as error:
        raise refused(str(error)) from None
    for key in asked.options.texts.keys() - options.keys():
        _keep(settings, data.get("settings", {}), key)
    if asked.headers.texts:
        raise refused(f"{asked.module} takes no headers of its own: they are options, such as option.headers.NAME")
    draft = _Draft(asked.name, dict(data.get("secrets", {})), before)
    for path, text in _texts(settings).items():
        _put(settings, path, draft.checked(provider, asked.options, path, text))
    draft.drop_unused(settings)
    rest = {key: value for key, value in data.items() if key not in _REPLACED}
    new = {
        "provider": provider,
        **({"description": asked.description} if asked.description else {}),
        **{key: value for key, value in rest.items() if key != "provider"},
        **({"secrets": draft.references} if draft.references else {}),
        **({"settings": settings} if settings or "settings" in data else {}),
    }
    return Replaced(new, draft.values, Remembered(no_description=bool(data) and asked.description is None))


def without(name: str, data: Mapping[str, Any], kind: str, key: str) -> Replaced:
    """The file without this setting. Raises RequestError not-found."""
    settings = _copied(data.get("settings", {}))
    path = path_in(settings, key) if kind == "option" else None
    if path is None:
        raise RequestError("not-found", f"there is no {kind[:64]} {key[:200]!r}")
    before = _texts(settings)
    inside = settings
    for part in path[:-1]:
        inside = inside[part]
    del inside[path[-1]]
    draft = _Draft(name, dict(data.get("secrets", {})), before)
    draft.drop_unused(settings)
    new = {**data, "settings": settings, "secrets": draft.references}
    return Replaced({key: value for key, value in new.items() if value or key != "secrets"})


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _texts(settings: Mapping[str, Any]) -> dict[Path, str]:
    return {path: value for path, value in leaves(settings) if isinstance(value, str)}


def _keep(settings: dict[str, Any], before: Mapping[str, Any], key: str) -> None:
    """A value that was sent as `__CENSORED__` stays; without one it is dropped."""
    path = path_in(before, key)
    if path is None:
        return
    value: Any = before
    for part in path:
        value = value[part]
    if any(isinstance(part, int) for part in path):
        raise refused(f"{key[:200]} is {CENSORED}, and stands in a list: give its value")
    inside: Any = settings
    for part in path[:-1]:
        inside = inside.setdefault(part, {})
        if not isinstance(inside, dict):
            raise refused(f"the option {key[:200]!r} is inside of another one")
    inside[path[-1]] = value


def _put(settings: dict[str, Any], path: Path, value: str) -> None:
    inside: Any = settings
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value


@dataclass(slots=True)
class _Draft:
    """The secrets of the file on their way. `before` is every text of the settings as they were."""

    name: str
    references: dict[str, Any]
    before: Mapping[Path, str]
    values: dict[str, Secret] = field(default_factory=dict)

    def checked(self, provider: str, options: Section, path: Path, text: str) -> str:
        """The text, or the reference to the secret that it has become. Raises RequestError."""
        wanted = schema.setting_at(provider, path)
        key = written(path)
        flagged = options.flagged(key) if text else False
        if not wanted.get("x-template"):
            if flagged and options.flags is not None:
                raise refused(f"{key[:200]} cannot be a secret: it stands in the gateway file itself")
            return text
        if "secrets" in names_read(text):
            if self.before.get(path) != text:
                raise refused(
                    f"{key[:200]} refers to a secret: a reference can stay where it stands, and can be put nowhere"
                    " else; give the value itself"
                )
            return text
        if is_literal(text) and (flagged or wanted.get("x-secret") or is_credential(_nearest(path))):
            return self._secret(path, text)
        if flagged and options.flags is not None and not is_literal(text):
            raise refused(f"{key[:200]} is a template, and cannot be a secret")
        return text

    def _secret(self, path: Path, text: str) -> str:
        """The reference to a secret of this value: the one that stood there, if it is ours and stood nowhere else."""
        found = _ONE_SECRET.fullmatch(self.before.get(path, ""))
        uses = [name for other in self.before.values() for name in _ANY_SECRET.findall(other)]
        ours = found is not None and is_ours(self.references.get(found[1], {}), self._folder)
        name = found[1] if found and ours and uses.count(found[1]) == 1 else free_name(_nearest(path), self.references)
        self.references[name] = {"file": f"{self._folder}/{name}"}
        self.values[name] = Secret(text)
        return f"{{{{ secrets.{name} }}}}"

    @property
    def _folder(self) -> str:
        return privacyidea.secrets_folder(self.name)

    def drop_unused(self, settings: Mapping[str, Any]) -> None:
        """Secrets of our own that the settings referred to, and do no more."""
        used = {name for text in _texts(settings).values() for name in _ANY_SECRET.findall(text)}
        gone = {name for text in self.before.values() for name in _ANY_SECRET.findall(text)} - used
        for name in gone:
            if is_ours(self.references.get(name, {}), self._folder):
                del self.references[name]


def _nearest(path: Path) -> str:
    """The name of what a path leads to."""
    return next((part for part in reversed(path) if isinstance(part, str)), "")
