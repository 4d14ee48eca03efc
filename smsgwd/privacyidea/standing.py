"""A gateway file in privacyIDEA's terms, as its clients read it and write it again.

No secret comes here. In the place of each stands a word that stands nowhere else, its stand-in: what is done with an
option that holds it is done with the word, and where the word comes out, there the secret would.
"""

import secrets as randomness
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smsgwd import privacyidea, schema
from smsgwd.privacyidea import remembered, tags, values
from smsgwd.privacyidea.back import to_definition
from smsgwd.privacyidea.definition import CENSORED, Definition, ServerRef
from smsgwd.privacyidea.remembered import Remembered

_LENGTH = 8  # octets: what SMPP has for a password
STAYS = ("tests",)  # what no definition says, and none takes away
_PLAIN = {("retry",), ("limits",), ("templates",), ("secrets",)}  # say no more than nothing when they are empty
_MANY = 64  # things remembered that are tried one by one


@dataclass(frozen=True, slots=True)
class Standing:
    """What a file says. `hidden_*` are shown as `__CENSORED__`.

    In `definition` each secret is its stand-in, and what it calls secret is what `to_gateway` has to be told: a value
    of which only a part is a secret, by the name of the part, is not.
    """

    definition: Definition
    description: str | None
    hidden_options: frozenset[str]
    hidden_headers: frozenset[str]

    @property
    def options(self) -> dict[str, str]:
        """The options as they are shown."""
        return _censored(self.definition.options, self.hidden_options)

    @property
    def headers(self) -> dict[str, str]:
        """The headers as they are shown."""
        return _censored(self.definition.headers, self.hidden_headers)


def _censored(texts: Mapping[str, str], hidden: frozenset[str]) -> dict[str, str]:
    return {key: CENSORED if key in hidden else text for key, text in texts.items()}


def stand_ins(names: Iterable[str], *texts: str) -> dict[str, str]:
    """A word for each secret that stands in none of the texts. Letters alone: no reader takes them for a number."""
    chosen: dict[str, str] = {}
    for name in names:
        while True:
            word = "".join(randomness.choice(string.ascii_lowercase) for _ in range(_LENGTH))
            if word not in chosen.values() and not any(word in text for text in texts):
                break
        chosen[name] = word
    return chosen


def standing(name: str, data: Mapping[str, Any], text: str, words: Mapping[str, str]) -> Standing | None:
    """What the file of that name says; None when no definition is made into it. `words` are its stand-ins."""
    base = alone(name, data, words)
    found = None if base is None else fitting(base, remembered.read(text), data, words)
    return None if found is None else found[0]


def alone(name: str, data: Mapping[str, Any], words: Mapping[str, str]) -> Standing | None:
    """What the file says without what is remembered; None when there are no words for it."""
    shown = to_definition(name, _spared(data), words)
    if shown.definition is None or shown.remarks:
        return None
    definition, secrets = shown.definition, frozenset(words.values())
    options = (key for key in definition.secret_options if is_whole(definition.options[key], secrets))
    headers = (key for key in definition.secret_headers if is_whole(definition.headers[key], secrets))
    told = replace(definition, secret_options=frozenset(options), secret_headers=frozenset(headers))
    return Standing(told, definition.description, definition.secret_options, definition.secret_headers)


def literals(text: str) -> list[str]:
    """What stands between the tags of an option's value: of JSON the texts and numbers in it."""
    return literals_in(values.read(text)[0])


def literals_in(value: Any) -> list[str]:
    """The same of what was read."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [piece for item in items for piece in literals_in(item)]
    if isinstance(value, str):
        return [piece for piece in tags.pieces(value) if not tags.is_marked(piece)]
    return [str(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def is_whole(text: str, words: frozenset[str]) -> bool:
    """Whether a value is a secret through and through."""
    return all(piece in words for piece in literals(text))


# --- what is remembered


def fitting(
    base: Standing, memory: Remembered, data: Mapping[str, Any], words: Mapping[str, str]
) -> tuple[Standing, Remembered] | None:
    """What the file and what is remembered say, as far as it makes this very file; None when nothing does."""
    whole = applied(base, memory)
    if makes(whole.definition, data, words):
        return whole, memory
    if not makes(base.definition, data, words):
        return None
    found, fits = base, remembered.NOTHING
    single = list(memory.single())
    for one in single if len(single) <= _MANY else ():
        more = applied(base, fits | one)
        if makes(more.definition, data, words):
            found, fits = more, fits | one
    return found, fits


def applied(base: Standing, memory: Remembered) -> Standing:
    """What is remembered, put in the place of what the file alone says. Nothing that is hidden changes."""
    base = _with_proxy(base, memory.proxy)
    options = _with_pairs(base.definition.options, base.hidden_options, memory.options)
    headers = _with_pairs(base.definition.headers, base.hidden_headers, memory.headers)
    description = base.description
    if memory.no_description and not description:
        description = None
    return Standing(
        replace(base.definition, options=options, headers=headers),
        description,
        base.hidden_options | (memory.secret_options & options.keys()),
        base.hidden_headers | (memory.secret_headers & headers.keys()),
    )


def _with_pairs(
    texts: Mapping[str, str], hidden: frozenset[str], pairs: Mapping[str, remembered.Pair]
) -> dict[str, str]:
    fit = {key: written for key, (shown, written) in pairs.items() if key not in hidden and texts.get(key) == shown}
    # what the file has not comes first: of headers that differ by case alone the last one counts
    added = {key: written for key, written in fit.items() if key not in texts}
    found = {**added, **texts, **fit}
    return {key: text for key, text in found.items() if text is not None}


def _with_proxy(base: Standing, key: str) -> Standing:
    """PROXY in the place of HTTP_PROXY or HTTPS_PROXY, which its scheme tells."""
    options = dict(base.definition.options)
    if key not in {"HTTP_PROXY", "HTTPS_PROXY"} & options.keys() or "PROXY" in options:
        return base
    proxy = options.pop(key)
    options["PROXY"] = proxy.replace("http://", "https://", 1) if key == "HTTPS_PROXY" else proxy
    hidden = base.hidden_options
    if key in hidden:
        hidden = hidden - {key} | {"PROXY"}
    return replace(base, definition=replace(base.definition, options=options), hidden_options=hidden)


# --- whether a definition makes a file


def makes(definition: Definition, data: Mapping[str, Any], words: Mapping[str, str]) -> bool:
    """Whether `to_gateway` makes this file of the definition, secrets included."""
    name = definition.name
    try:
        mapped = privacyidea.to_gateway(definition, name, servers_of(data))
    except RecursionError:  # in a comment that was written by hand
        return False
    found = {key: secret and secret.reveal() for key, secret in mapped.secrets.items()}
    return mapped.data is not None and found == words and normal(name, mapped.data) == normal(name, data)


def unmade(name: str, data: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    """What no definition says of this file: reasons, and dotted keys."""
    shown = to_definition(name, _spared(data), words)
    if shown.definition is None:
        return [f"the settings: {shown.remarks[0]}"]
    mapped = privacyidea.to_gateway(shown.definition, name, servers_of(data))
    here, there = normal(name, data), normal(name, mapped.data or {})
    differing = _differences(here, there)
    more = [key for key in differing if not any(remark.startswith(f"{key} ") for remark in shown.remarks)]
    missing = [f"{key} is not given" for key in _differences(there, here) if key not in differing]
    return [*shown.remarks, *more, *missing] or ["the secrets are not those of a definition"]


def _spared(data: Mapping[str, Any]) -> dict[str, Any]:
    """The file without what it need not say, such as `enabled: true`. The settings stay: an option can say each."""
    rest = {key: value for key, value in data.items() if key != "settings"}
    return {**_without_defaults(data["provider"], rest, ()), **{key: data[key] for key in ("settings",) if key in data}}


def _differences(one: Any, other: Any, path: tuple[str, ...] = ()) -> list[str]:
    """The keys that the first has, and the other has not, or otherwise."""
    if not isinstance(one, dict):
        return []
    found = []
    for key, value in one.items():
        if key in other and isinstance(value, dict) and isinstance(other[key], dict) and key != "secrets":
            found += _differences(value, other[key], (*path, key))
        elif key not in other or other[key] != value:
            found.append(".".join((*path, key)))
    return found


def servers_of(data: Mapping[str, Any]) -> dict[str, ServerRef]:
    """The SMTP server of a file, as it was when the file was made: who gets the answers is written there."""
    server = data["settings"].get("server") if data["provider"] == "smtp" else None
    if not isinstance(server, str):
        return {}
    reply_to = data["settings"].get("headers", {}).get("Reply-To", "")
    sender = "" if tags.has_secret(reply_to) else tags.marked(reply_to, {}) or ""
    return {server: ServerRef(server, "" if tags.is_marked(sender) else sender)}


def normal(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says, without what is the same if it is left out, and wherever the files of its secrets are.

    Its tests are no part of it, as they are none of its digest: whatever a client writes, they stay.
    """
    said = {key: value for key, value in data.items() if key not in STAYS}
    found: dict[str, Any] = _without_defaults(said["provider"], said, ()) if said else {}
    folder = privacyidea.secrets_folder(name)
    if "secrets" in found:
        found["secrets"] = {key: "ours" if is_ours(ref, folder) else ref for key, ref in found["secrets"].items()}
    return found


def is_ours(reference: Mapping[str, str], folder: str) -> bool:
    """Whether a secret is in a file of this folder."""
    head, _, file = reference.get("file", "").rpartition("/")
    return head == folder and bool(file)


def _without_defaults(provider: str, value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    kept = {}
    for key, item in value.items():
        here = (*path, key)
        default = schema.default_of(provider, here)
        if default is not None and item == default and type(item) is type(default):
            continue
        if not isinstance(item, dict) or (not item and here not in _PLAIN) or here[:2] == ("settings", "json"):
            kept[key] = item
        elif (less := _without_defaults(provider, item, here)) or not _is_plain(provider, here):
            kept[key] = less
    return kept


def _is_plain(provider: str, path: tuple[str, ...]) -> bool:
    """Whether an empty mapping there says no more than none."""
    if path[0] == "settings":
        return schema.types_of(schema.setting_at(provider, path[1:])) == {"object"}
    return path in _PLAIN
