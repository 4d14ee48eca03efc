"""What a client of privacyIDEA asks for when it writes a gateway: `name`, `module`, `option.X`, `secret.header.X`..."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smsgwd.errors import RequestError

_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}
_LONGEST = 10_000  # characters of a value, as of a text that is rendered
_NONCHARACTERS = frozenset(map(chr, range(0xFDD0, 0xFDF0)))  # Unicode, 23.7: marks of our own, and no text
OURS = "smsgwd.providers."  # how the modules are called that privacyIDEA has not


@dataclass(frozen=True, slots=True)
class Section:
    """Options, or headers. `flags` are what is a secret; None: nothing was said, so the names of the keys say it."""

    texts: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, bool] | None = None

    def flagged(self, key: str) -> bool:
        """Whether what stands under this key is to be a secret."""
        if self.flags is None:
            return "PASSWORD" in key.upper() or "SECRET" in key.upper()
        return self.flags.get(key, False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A gateway as it was asked for. `description` None: it was left out."""

    name: str
    module: str
    description: str | None = None
    options: Section = Section()
    headers: Section = Section()


def read(parameters: Mapping[str, Any]) -> Asked:
    """The parameters of `POST /smsgateway`; those that nobody knows are ignored. Raises RequestError."""
    name, module = (_required(parameters, key) for key in ("name", "module"))
    description = parameters.get("description")
    as_json = module.startswith(OURS)
    return Asked(
        name,
        module,
        None if description is None else _text("description", description, as_json=False),
        *(_section(parameters, kind, as_json=as_json) for kind in ("option", "header")),
    )


def _required(parameters: Mapping[str, Any], key: str) -> str:
    value = parameters.get(key)
    if value is None or value == "":
        raise RequestError("malformed-request", f"Missing parameter: {key!r}")
    if not isinstance(value, str):
        raise RequestError("malformed-request", f"{key!r} has to be a text")
    return _text(key, value, as_json=False)


def _section(parameters: Mapping[str, Any], kind: str, *, as_json: bool) -> Section:
    begin, flag = f"{kind}.", f"secret.{kind}."
    texts = {
        key.removeprefix(begin): _text(key, value, as_json=as_json)
        for key, value in parameters.items()
        if key.startswith(begin) and value is not None
    }
    flags = {key.removeprefix(flag): _flag(key, value) for key, value in parameters.items() if key.startswith(flag)}
    return Section(texts, flags or None)


def _flag(key: str, value: Any) -> bool:
    found = _FLAGS.get(str("" if value is None else value).strip().lower())
    if found is None:
        raise RequestError("malformed-request", f"{key[:200]!r} has to be true or false")
    return found


def _text(key: str, value: Any, *, as_json: bool) -> str:
    """A value as text: a number and a boolean as Python shows them, for our own modules as JSON does.

    Lists and objects are JSON in either case: that is what the HTTP class reads in an option.
    """
    if isinstance(value, str):
        text = value
    elif as_json or isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    if len(text) > _LONGEST:
        raise RequestError("malformed-request", f"{key[:200]!r} is longer than {_LONGEST} characters")
    if not _NONCHARACTERS.isdisjoint(key + text) or not _is_unicode(key + text):
        raise RequestError("malformed-request", f"{key[:200]!r} has a character that is none")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
