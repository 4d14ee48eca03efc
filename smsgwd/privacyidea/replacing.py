"""What a gateway file becomes when a client of privacyIDEA writes it, or one option less. No file is touched.

A secret that is kept is handled by its stand-in (`standing`): wherever a word would come out that people can read, the
secret would, and the request is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smsgwd import privacyidea
from smsgwd.credentials import is_credential
from smsgwd.errors import RequestError
from smsgwd.privacyidea import remembered, tags, values
from smsgwd.privacyidea.asked import Asked, Section
from smsgwd.privacyidea.classes import CLASSES, FIREBASE, HTTP, IDENTIFIER, MAY_HIDE, PARAMETERS
from smsgwd.privacyidea.definition import CENSORED, Definition, Mapped, ServerRef
from smsgwd.privacyidea.http import header_fault
from smsgwd.privacyidea.remembered import Remembered
from smsgwd.privacyidea.sheet import holds_credential
from smsgwd.privacyidea.standing import (
    STAYS,
    Standing,
    alone,
    applied,
    fitting,
    literals,
    literals_in,
    normal,
    servers_of,
    stand_ins,
)
from smsgwd.secret import Secret

_NO_SECRETS: Mapping[str, Secret] = {}
_MAX_DEPTH = 40  # of JSON; a gateway file may be 50 deep


@dataclass(frozen=True, slots=True)
class Stored:
    """A gateway file that is there. `words` are stand-ins of its secrets, `secrets` their values, where they are had.

    `standing` None: no definition is made into it.
    """

    data: Mapping[str, Any]
    words: Mapping[str, str]
    secrets: Mapping[str, Secret]
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class Replaced:
    """What the file becomes. `secrets` are the values that are new; the others stay where they are.

    `remarks` say what has no exact counterpart; none of them holds a value.
    """

    data: dict[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    remembered: Remembered = remembered.NOTHING
    remarks: tuple[str, ...] = ()


def refused(detail: str) -> RequestError:
    """The request is wrong."""
    return RequestError("malformed-request", detail)


def check_class(module: str) -> None:
    """Raises RequestError for a class that cannot be a gateway here."""
    if module == FIREBASE:
        raise refused(f"{module}: it pushes to an app and sends no SMS")
    if module not in CLASSES:
        raise refused(f"there is no module {module[:200]!r}; GET /smsgateway/providers lists those that there are")


def replaced(asked: Asked, stored: Stored | None, servers: Mapping[str, ServerRef]) -> Replaced:
    """The file that this definition makes. Raises RequestError."""
    check_class(asked.module)
    before = None if stored is None else stored.standing
    kept = _kept(asked, before)
    _check_options(asked, kept, servers)
    if stored and stored.data["settings"].get("server") == asked.options.texts.get(IDENTIFIER):
        servers = {**servers, **servers_of(stored.data)}  # who gets the answers stays
    mapped = privacyidea.to_gateway(kept.definition, asked.name, servers)
    if mapped.data is None:
        raise refused(f"{asked.name}: {mapped.remarks[-1].removeprefix('not imported: ')}")
    if None in mapped.secrets.values():
        raise refused(f"{CENSORED} stands inside of an option: the value as a whole can be kept, no part of it")
    memory = _memory(kept, mapped, stored)
    new = _with_values(mapped, stored)
    _check_hidden(new, memory, kept, stored)
    if stored and not new.secrets and normal(asked.name, new.data) == normal(asked.name, stored.data):
        new = replace(new, data=dict(stored.data))  # with the defaults that somebody wrote out
    return replace(new, remembered=memory, remarks=mapped.remarks)


# --- what is kept of what is there


@dataclass(frozen=True, slots=True)
class _Kept:
    """A definition with what is kept filled in. `hidden_*` is what has to be hidden."""

    definition: Definition
    description: str | None
    hidden_options: frozenset[str]
    hidden_headers: frozenset[str]


def _kept(asked: Asked, before: Standing | None) -> _Kept:
    nothing: frozenset[str] = frozenset()
    there = before or Standing(Definition(asked.name, asked.module), "", nothing, nothing)
    known = there.definition
    alike = _shape(asked.module, asked.options.texts) == _shape(known.module, known.options)
    options = _filled(asked.options, known.options, there.hidden_options, known.secret_options if alike else None)
    headers = _filled(asked.headers, known.headers, there.hidden_headers, known.secret_headers if alike else None)
    description = asked.description if before or asked.description else ""
    definition = Definition(
        asked.name, asked.module, description or "", options.texts, headers.texts, options.told, headers.told
    )
    return _Kept(definition, description, options.hidden, headers.hidden)


def _shape(module: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """What decides how the values of options are read."""
    return module, *(options.get(key, "") for key in ("HTTP_METHOD", "SEND_DATA_AS_JSON"))


@dataclass(frozen=True, slots=True)
class _Filled:
    texts: dict[str, str]
    hidden: frozenset[str]  # has to be
    told: frozenset[str]  # of these, what `to_gateway` has to be told


def _filled(
    section: Section, there: Mapping[str, str], hidden_there: frozenset[str], told_there: frozenset[str] | None
) -> _Filled:
    """Options or headers, those that read `__CENSORED__` as they are there; without one they are dropped.

    `told_there` None: what is kept is read in another way now, so all of it is a secret.
    """
    texts, hidden, told = {}, set(), set()
    for key, text in section.texts.items():
        keeps = text == CENSORED
        if keeps and key not in there:
            continue
        texts[key] = there[key] if keeps else text
        stays = keeps and key in hidden_there
        if not stays and not (texts[key] and section.flagged(key)):
            continue
        hidden.add(key)
        if not stays or told_there is None or key in told_there:
            told.add(key)
    return _Filled(texts, frozenset(hidden), frozenset(told))


def _check_options(asked: Asked, kept: _Kept, servers: Mapping[str, ServerRef]) -> None:
    if holds_credential(tags.template(asked.description or "")):
        raise refused("the description holds a credential; it is shown to everyone who may see the gateway")
    for key in sorted(kept.hidden_options & set(PARAMETERS[asked.module]) - MAY_HIDE - {"PROXY"}):
        raise refused(f"{key} cannot be a secret: it stands in the gateway file itself")
    for key, text in (*kept.definition.options.items(), *kept.definition.headers.items()):
        if CENSORED in text:
            raise refused(f"{key[:200]} has {CENSORED} inside: the value as a whole can be kept, no part of it")
        if not _is_shallow(values.read(text)[0]):
            raise refused(f"{key[:200]} is JSON that is nested deeper than {_MAX_DEPTH}")
    for name, value in kept.definition.headers.items() if asked.module == HTTP else ():
        if (fault := header_fault(name, value)) is not None:
            raise refused(f"the header {name[:200]!r} cannot be sent: {fault}")
    identifier = kept.definition.options.get(IDENTIFIER)
    if IDENTIFIER in PARAMETERS[asked.module] and identifier is not None and identifier not in servers:
        known = ", ".join(sorted(servers)) or "none"
        raise refused(f"{IDENTIFIER} has to be one of smtp_servers in smsgwd.yaml: {known}")


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for items in inner for item in items]
    return not level


# --- what is remembered


def _memory(kept: _Kept, mapped: Mapped, stored: Stored | None) -> Remembered:
    """What the file cannot say. Raises RequestError for a secret that nothing would keep."""
    data, given = mapped.data or {}, kept.definition
    words = stand_ins(mapped.secrets, str(data), *given.options.values(), *given.headers.values())
    base = alone(given.name, data, words)
    if base is None:
        raise refused("a gateway file cannot say this so that it could be read again")
    proxy = _proxy(given, base.definition)
    shown = applied(base, Remembered(proxy=proxy))
    kept_words = frozenset(stored.words.values() if stored else ())
    memory = Remembered(
        _pairs(
            _Side(given.options, kept.hidden_options), _Side(shown.definition.options, shown.hidden_options), kept_words
        ),
        _pairs(
            _Side(given.headers, kept.hidden_headers), _Side(shown.definition.headers, shown.hidden_headers), kept_words
        ),
        kept.hidden_options - shown.hidden_options,
        kept.hidden_headers - shown.hidden_headers,
        no_description=kept.description is None,
        proxy=proxy,
    )
    found = fitting(base, memory, data, words)
    if found is None:
        raise refused("a gateway file cannot say this so that it could be read again")
    return found[1]


@dataclass(frozen=True, slots=True)
class _Side:
    """Options or headers, and which of them are hidden, or have to be."""

    texts: Mapping[str, str]
    hidden: frozenset[str]


def _proxy(given: Definition, shown: Definition) -> str:
    """Which parameter the file shows in the place of PROXY."""
    found = {"HTTP_PROXY", "HTTPS_PROXY"} & shown.options.keys() - given.options.keys()
    moved = given.module == HTTP and "PROXY" in given.options and len(found) == 1
    return found.pop() if moved else ""


def _pairs(given: _Side, shown: _Side, words: frozenset[str]) -> dict[str, remembered.Pair]:
    """What has to be remembered of options or headers. Raises RequestError for a secret that nothing would keep."""
    pairs: dict[str, remembered.Pair] = {}
    for key in (*given.texts, *(shown.texts.keys() - given.texts.keys())):
        text = given.texts.get(key)
        if key in shown.hidden:
            continue
        if text is not None and _is_secret(key, text, words, to_hide=key in given.hidden):
            if key != "URL" or key in given.hidden:  # of a URL, what is a secret is told apart
                raise refused(f"{key[:200]} is a secret, but with these options a gateway file has no place to hide it")
        elif shown.texts.get(key) != text:
            pairs[key] = (shown.texts.get(key), text)
    return pairs


def _is_secret(key: str, text: str, words: frozenset[str], *, to_hide: bool) -> bool:
    if holds_credential(tags.template(tags.mark(text))) or any(word in text for word in words):
        return True
    return ((to_hide or is_credential(key)) and bool(literals(text))) or _is_named_secret(values.read(text)[0])


def _is_named_secret(value: Any) -> bool:
    """Whether JSON has a credential inside, by its name."""
    if isinstance(value, list):
        return any(map(_is_named_secret, value))
    items = value.items() if isinstance(value, dict) else ()
    return any(_is_named_secret(item) or (is_credential(key) and bool(literals_in(item))) for key, item in items)


# --- secrets


def _with_values(mapped: Mapped, stored: Stored | None) -> Replaced:
    """The data with its secrets: those that stay as they are, and the values of the others."""
    data = dict(mapped.data or {})
    references = dict(data.get("secrets", {}))
    there = stored.data.get("secrets", {}) if stored else {}
    of_word = {word: name for name, word in stored.words.items()} if stored else {}
    new: dict[str, Secret] = {}
    for name, secret in mapped.secrets.items():
        text = secret.reveal() if secret else ""
        if of_word.get(text) == name:
            references[name] = there[name]
        else:
            new[name] = _value(text, of_word, stored)
    if references:
        data["secrets"] = references
    return Replaced({**data, **staying(stored.data if stored else {})}, new)


def staying(data: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a file whatever is written."""
    return {key: data[key] for key in STAYS if key in data}


def _value(text: str, of_word: Mapping[str, str], stored: Stored | None) -> Secret:
    """The text of a secret with the secrets that it was made of. Raises RequestError where one cannot be had."""
    for word, name in of_word.items():
        if word in text:
            value = (stored.secrets if stored else _NO_SECRETS).get(name)
            if value is None:
                raise refused(f"the secret {name} cannot be kept: its value cannot be had; give it again")
            text = text.replace(word, value.reveal())
    return Secret(text)


def _check_hidden(new: Replaced, memory: Remembered, kept: _Kept, stored: Stored | None) -> None:
    """Raises RequestError where a secret that is kept would come out."""
    readable = f"{new.data} {memory.line()} {kept.description}"
    if any(word in readable for word in (stored.words.values() if stored else ())):
        raise refused(f"a secret that is kept ({CENSORED}) would become readable: give the value instead")


# --- one option less


def without(standing: Standing, kind: str, key: str) -> Asked:
    """The same definition without this option or header. Raises RequestError not-found, malformed-request."""
    definition = standing.definition
    sections = {
        "option": (standing.options, standing.hidden_options),
        "header": (standing.headers, standing.hidden_headers),
    }
    if key not in sections.get(kind, ({}, frozenset()))[0]:
        raise RequestError("not-found", f"there is no {kind[:64]} {key[:200]!r}")
    parameter = CLASSES[definition.module].parameters.get(key) if kind == "option" else None
    if parameter is not None and parameter.required:
        raise refused(f"{key} is required by the module")
    left = {
        one: Section(
            {name: text for name, text in texts.items() if (one, name) != (kind, key)},
            dict.fromkeys(texts, False) | dict.fromkeys(hidden, True),
        )
        for one, (texts, hidden) in sections.items()
    }
    return Asked(definition.name, definition.module, standing.description, left["option"], left["header"])
