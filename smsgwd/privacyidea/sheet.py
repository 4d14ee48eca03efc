"""A gateway file on its way: its secrets, and the remarks on what could not be said exactly."""

import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from smsgwd.credentials import is_credential, literal_secrets
from smsgwd.load import load
from smsgwd.privacyidea import tags
from smsgwd.privacyidea.definition import CENSORED, Mapped
from smsgwd.secret import Secret

_DEADLINE_S = 30.0  # the default of a gateway file
_LONGEST_NAME = 60  # of a secret, which is a file, too


class Sheet:
    """Collects secrets and remarks while one definition, or smsgwd.yaml, is written.

    `folder` is where the files of its secrets are, as the configuration names it.
    """

    def __init__(self, folder: str, secret_keys: Iterable[str] = (), secret_headers: Iterable[str] = ()) -> None:
        self._folder = folder
        self._secret_keys = frozenset(secret_keys)
        self._secret_headers = frozenset(secret_headers)
        self.secrets: dict[str, Secret | None] = {}
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        """Say what has no exact counterpart. The text holds no value: any could be a secret."""
        if text not in self.remarks:
            self.remarks.append(text)

    def secret(self, key: str, value: str) -> str:
        """The reference to a new secret, named after what it is for."""
        name = free_name(key, self.secrets)
        self.secrets[name] = None if value == CENSORED else Secret(value)
        if value == CENSORED:
            self.remark(f"{key} is censored in the source: write it to {self._folder}/{name}")
        return f"{{{{ secrets.{name} }}}}"

    def is_secret(self, key: str) -> bool:
        """Whether what stands under this key is a credential: by its name, or because the source says so."""
        return key in self._secret_keys or is_credential(key)

    def header(self, name: str, text: str) -> str:
        """The template of a header."""
        return self.text(name, text, secret=name in self._secret_headers or is_credential(name))

    def text(self, key: str, text: str, *, secret: bool | None = None) -> str:
        """The template of a marked text. What is, or holds, a credential becomes a secret; None: as the key says."""
        secret = text == CENSORED or (self.is_secret(key) if secret is None else secret)
        if not (secret or holds_credential(tags.template(text))):
            return tags.template(text)
        parts = tags.pieces(text)
        return "".join(tags.tag(part) if tags.is_marked(part) else self.secret(key, part) for part in parts)

    def references(self) -> dict[str, dict[str, str]]:
        """`secrets` of the file."""
        return {name: {"file": f"{self._folder}/{name}"} for name in self.secrets}

    def mapped(self, data: dict[str, Any] | None) -> Mapped:
        """The result."""
        return Mapped(data, self.secrets if data else {}, tuple(self.remarks))


def free_name(key: str, taken: Container[str]) -> str:
    """A name for a secret, after what it is for."""
    base = re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_").lower()[:_LONGEST_NAME] or "secret"
    base = f"_{base}" if base[0].isdigit() else base
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def holds_credential(text: str) -> bool:
    """Whether a credential stands inside the text: in a URL, in XML."""
    source = load(json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "replace"), "")
    return bool(literal_secrets(source, {}))


def present(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without what is None."""
    return {key: value for key, value in data.items() if value is not None}


def seconds(sheet: Sheet, key: str, text: str, default: float) -> float:
    """A span that privacyIDEA has in seconds; the default for none, and for what is none."""
    if not text:
        return default
    try:
        span = float(text)
    except ValueError:
        span = math.nan
    if not 0.001 <= span < 1_000_000:  # nan is neither
        sheet.remark(f"{key} is no number of seconds above zero: {default:g} are used")
        return default
    return span


def duration(span_s: float) -> str:
    """A span as configuration files write it."""
    milliseconds = round(span_s * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def deadline(total_s: float) -> str | None:
    """The deadline that one attempt of this length needs; None where the default is enough."""
    return duration(total_s) if total_s > _DEADLINE_S else None
