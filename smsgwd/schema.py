"""Checks loaded files against the schemas, and gives their values the types that the schemas want.

A gateway file is checked in two parts, each by one compiled validator: what all gateways have, and `settings`, by the
schema of its provider. (One schema with a choice inside would flag good keys for a bad one.) All findings are told,
each at its place and in our words; what is found wrong is left out of the data, so that the rest can be looked at too.

A plain scalar is the text that was written where text is wanted (`+491701234567`, `0171`, `yes`, `12:30`); it is a
boolean or number only where one is wanted, and inside JSON.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from itertools import islice
from math import isfinite
from pathlib import Path as FilePath
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from smsgwd.errors import Problem
from smsgwd.load import MAX_PROBLEMS, Node, Path, Scalar, Sequence, Source, pointer, shorten
from smsgwd.load import Mapping as MappingNode

Schema = Mapping[str, Any]

_NOT_PROVIDERS = ("gateway", "smsgwd", "token")
_NO_VALUE = ("", "~", "null")
_JSON_WORDS = {"true": True, "false": False, "null": None}
# RFC 8259, section 6. The length is bounded: Python refuses, or takes long over, numbers of thousands of digits.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(\.[0-9]{1,99})?([eE][+-]?[0-9]{1,9})?")
_NUMBER_OF_ANY_LENGTH = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


# --- the schemas ---------------------------------------------------------------------------------------------------


@cache
def _directory() -> FilePath:
    """Where the schemas are: in the installed package, or beside it in a checkout."""
    package = FilePath(__file__).parent
    installed = package / "schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


@cache
def names() -> tuple[str, ...]:
    """The names of all schemas, those of whole files included."""
    return tuple(sorted(path.name.removesuffix(".schema.json") for path in _directory().glob("*.schema.json")))


@cache
def provider_names() -> tuple[str, ...]:
    """What `provider` may be: every schema but those of whole files."""
    return tuple(name for name in names() if name not in _NOT_PROVIDERS)


def read(name: str) -> dict[str, Any]:
    """One schema, as it is in its file. Raises KeyError for a name that is not in `names()`."""
    if name not in names():
        raise KeyError(name)
    schema: dict[str, Any] = json.loads((_directory() / f"{name}.schema.json").read_text("utf-8"))
    return schema


def _pattern(_: Validator, pattern: str, instance: object, __: Schema) -> Iterator[ValidationError]:
    """As the standard's keyword, but the end of a text is its end: Python's `$` also fits before a last line break."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError("no match")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]  # the stub has no types


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema, ready to be used: its references are filled in. `base` is where it applies in the file."""

    schema: Schema
    validator: Validator
    base: Path = ()


def _child(schema: Schema, key: str) -> Schema:
    """The schema of a value of a mapping; an empty one for an unknown key."""
    if schema.get("x-json"):
        return schema
    further = schema.get("additionalProperties")
    found: Schema = schema.get("properties", {}).get(key, further if isinstance(further, dict) else {})
    return found


def _item(schema: Schema) -> Schema:
    """The schema of the items of a list."""
    return schema if schema.get("x-json") else schema.get("items", {})


def _filled_in(part: Any, definitions: Schema) -> Any:
    """A part of a schema with what it refers to in the place of each reference. None refers to itself."""
    if isinstance(part, list):
        return [_filled_in(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    own = {key: _filled_in(value, definitions) for key, value in part.items() if key not in {"$ref", "$defs"}}
    if "$ref" not in part:
        return own
    return {**_filled_in(definitions[part["$ref"].removeprefix("#/$defs/")], definitions), **own}


def _part(schema: Schema, base: Path = ()) -> _Part:
    whole = _filled_in(schema, schema.get("$defs", {}))
    # an explicit, empty registry: no reference is ever fetched from anywhere
    return _Part(whole, _Validator(whole, registry=Registry()), base)


@cache
def _common() -> _Part:
    """What all gateways have: the schema of the file without the choice of provider, which is made here."""
    schema = read("gateway")
    del schema["allOf"], schema["properties"]["provider"]["enum"]
    return _part(schema)


@cache
def _settings(provider: str) -> _Part:
    return _part(read(provider), ("settings",))


@cache
def _reply(provider: str) -> _Part | None:
    """What a test may give as an answer of the provider; None where nothing answers."""
    definitions = read(provider).get("$defs", {})
    return _part({"$ref": "#/$defs/reply", "$defs": definitions}) if "reply" in definitions else None


@cache
def _site() -> _Part:
    return _part(read("smsgwd"))


@cache
def _token() -> _Part:
    return _part(read("token"))


# --- checking ------------------------------------------------------------------------------------------------------


def check_gateway(source: Source) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """The typed data of a gateway file and what is wrong with it, in order. None when the file could not be read.

    Data that is wrong is left out (of `settings` only what could not even be read), and a list whose items are wrong as
    a whole. `settings` are what the provider wants when no finding points at them, at `provider` or at the whole file.
    """
    if source.data is None:
        return None, ()
    check = _Check(source)
    data = check.part(_common(), source.data)
    provider = data.get("provider")
    if provider in provider_names():
        _check_settings(check, _settings(provider), source.data, data)
        for path in _replies(source):
            _typed_reply(check, provider, path)
    elif provider is not None:
        check.report(
            ("provider",), "unknown-provider", f"there is no provider `{shorten(provider)}`", _nearest(provider)
        )
        del data["provider"]
    return data, check.ordered()


def _nearest(provider: str) -> str:
    return _did_you_mean(provider, provider_names())


def _check_settings(check: "_Check", part: _Part, root: MappingNode, data: dict[str, Any]) -> None:
    entry = root.entries.get("settings")
    if entry is None and part.schema.get("required"):
        if _is_told("settings", root.entries, _common().schema["properties"]):
            return
        keys = _listed(part.schema["required"])
        hint = f"write `settings:` and {keys} below it"
        check.report(
            (), "missing-key", f"`settings` is missing: provider {data['provider']} needs {keys}", hint, on_key=True
        )
    elif entry is not None and "settings" in data:
        data["settings"] = check.part(part, entry.value)


def check_reply(source: Source, provider: str, path: Path) -> tuple[Any, tuple[Problem, ...]]:
    """What a test has this provider answer, typed, and what is wrong with it. `path` is where the answer stands."""
    check = _Check(source)
    return _typed_reply(check, provider, path), check.ordered()


def _replies(source: Source) -> Iterator[Path]:
    tests = source.node(("tests",))
    if isinstance(tests, Sequence):
        paths: list[Path] = [("tests", index, "reply") for index in range(len(tests.items))]
        yield from (path for path in paths if source.node(path) is not None)


def _typed_reply(check: "_Check", provider: str, path: Path) -> Any:
    part, node = _reply(provider), check.source.node(path)
    if part is not None and node is not None:
        return check.part(replace(part, base=path), node)
    told, hint = f"nothing answers a gateway of the provider {provider}", "leave `reply` out"
    check.report(path, "unknown-key", told, hint, on_key=True)
    return None


def check_site(source: Source) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """The typed data of smsgwd.yaml and what is wrong with it, as `check_gateway`."""
    return _checked(source, _site())


def check_token(source: Source) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """The same of a token file."""
    return _checked(source, _token())


def _checked(source: Source, part: _Part) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    if source.data is None:
        return None, ()
    check = _Check(source)
    data = check.part(part, source.data)
    return data, check.ordered()


def order_of(provider: str, path: Path) -> tuple[str, ...]:
    """The keys of a mapping of a gateway file in their usual order; none where a file chooses its keys itself."""
    part = _common()
    if provider in provider_names():
        if path[:1] == ("settings",):
            part = _settings(provider)
        elif path[:1] == ("tests",) and path[2:3] == ("reply",):
            part = replace(_reply(provider) or part, base=path[:3])
    return _order(part, path[len(part.base) :])


def site_order_of(path: Path) -> tuple[str, ...]:
    """The same of smsgwd.yaml."""
    return _order(_site(), path)


def token_order_of(path: Path) -> tuple[str, ...]:
    """The same of a token file."""
    return _order(_token(), path)


def _order(part: _Part, path: Path) -> tuple[str, ...]:
    schema = _below(part, path)
    return () if schema.get("x-json") else tuple(schema.get("properties", ()))


def default_of(provider: str, path: Path) -> Any:
    """What holds where nothing is written at a path of a gateway file; None where the schema says nothing."""
    part = _settings(provider) if path[:1] == ("settings",) and provider in provider_names() else _common()
    return _default(part, path[len(part.base) :])


def site_default_of(path: Path) -> Any:
    """The same of smsgwd.yaml."""
    return _default(_site(), path)


def token_default_of(path: Path) -> Any:
    """The same of a token file."""
    return _default(_token(), path)


def _default(part: _Part, path: Path) -> Any:
    return _below(part, path).get("default")


def _below(part: _Part, path: Path) -> Schema:
    found = part.schema
    for key in path:
        found = _child(found, key) if isinstance(key, str) else _item(found)
    return found


def setting_at(provider: str, path: Path) -> Schema:
    """The schema of a value of the settings, its path counted from there; an empty one for what nobody knows."""
    found = _settings(provider).schema
    for key in path:
        found = _child(found, key) if isinstance(key, str) else _of_item(found)
    return found


def types_of(schema: Schema) -> frozenset[str]:
    """What a value may be, as JSON Schema calls it; nothing where anything may stand."""
    return frozenset(_types(schema))


def template_leaves(provider: str, settings: Any) -> Iterator[tuple[Path, str]]:
    """Each template of some settings, sound or not, with its path below `settings`."""
    for path, text, schema in _leaves(provider, settings):
        if schema.get("x-template"):
            yield path, text


def secret_leaves(provider: str, settings: Any) -> Iterator[tuple[Path, str]]:
    """Each text of some settings that carries a credential by the word of the schema, as `template_leaves`."""
    for path, text, schema in _leaves(provider, settings):
        if schema.get("x-secret"):
            yield path, text


def site_secret_leaves(data: Any) -> Iterator[tuple[Path, str]]:
    """Each text of smsgwd.yaml that carries a credential, with its path."""
    for path, text, schema in _walk(_site(), data):
        if schema.get("x-secret"):
            yield path, text


def _leaves(provider: str, settings: Any) -> Iterator[tuple[Path, str, Schema]]:
    return _walk(_settings(provider), settings) if provider in provider_names() else iter(())


def _walk(part: _Part, data: Any) -> Iterator[tuple[Path, str, Schema]]:
    """Each text below a part of the data, in order, with its path and schema."""
    pending: list[tuple[Path, Any, Schema]] = [((), data, part.schema)]
    while pending:
        path, value, schema = pending.pop()
        if isinstance(value, str):
            yield path, value, schema
        elif isinstance(value, dict):
            pending += [((*path, key), item, _child(schema, key)) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            items = [((*path, index), item, _of_item(schema)) for index, item in enumerate(value)]
            pending += reversed(items)


def _of_item(schema: Schema) -> Schema:
    """The schema of an item; what is said of `text or list of texts` holds for the texts of the list."""
    marks = {key: schema[key] for key in ("x-template", "x-secret") if key in schema}
    return {**_item(schema), **marks}


# --- one check -----------------------------------------------------------------------------------------------------

_HOLE: Any = object()  # in the place of a value that could not be read: it satisfies `required`, and is told already


@dataclass(slots=True)
class _Check:
    """One file being checked."""

    source: Source
    problems: list[Problem] = field(default_factory=list)
    bad: set[Path] = field(default_factory=set)  # paths of values that are left out

    def report(self, path: Path, code: str, message: str, hint: str = "", *, on_key: bool = False) -> None:
        """Take a finding."""
        if len(self.problems) < MAX_PROBLEMS:  # as the loader: nobody reads more
            problem = self.source.problem(path, code, message, hint, on_key=on_key)
            if code == "unknown-key" and ":" in str(path[-1]):
                problem = replace(problem, pointer=pointer(path[:-1]))
            self.problems.append(problem)

    def ordered(self) -> tuple[Problem, ...]:
        """The findings, in the order of the file."""
        return tuple(sorted(set(self.problems), key=lambda problem: problem.sort_key))

    def part(self, part: _Part, node: Node) -> Any:
        """The typed data of a part of the file, without what is wrong."""
        data = self._typed(node, part.schema, part.base)
        for error in islice(part.validator.iter_errors(data), MAX_PROBLEMS):
            if error.instance is not _HOLE:
                self._tell(_Fault(self.source, part, error))
        if not part.base:
            self._leave_out(part, data)
        return _without_holes(data)

    # -- types

    def _typed(self, node: Node, schema: Schema, path: Path) -> Any:
        if isinstance(node, Scalar):
            return self._scalar(node, schema, path)
        if isinstance(node, MappingNode) and not node.broken:
            return {
                key: self._typed(entry.value, _child(schema, key), (*path, key)) for key, entry in node.entries.items()
            }
        if isinstance(node, Sequence):
            item = _item(schema)
            return [self._typed(value, item, (*path, index)) for index, value in enumerate(node.items)]
        return self._hole(path)

    def _hole(self, path: Path) -> Any:
        self.bad.add(path)
        return _HOLE

    def _scalar(self, node: Scalar, schema: Schema, path: Path) -> Any:
        if not node.plain:
            return node.text
        wanted = _types(schema)
        if not wanted:
            return self._json(node, schema, path)
        if node.text in _NO_VALUE:
            return None
        if "boolean" in wanted and node.text in {"true", "false"}:
            return node.text == "true"
        number = _number(node.text) if wanted & {"integer", "number"} else None
        return node.text if number is None or (isinstance(number, float) and "number" not in wanted) else number

    def _json(self, node: Scalar, schema: Schema, path: Path) -> Any:
        """A plain scalar inside JSON: `true`, `false`, `null` and numbers as JSON writes them have a type."""
        if node.text in _JSON_WORDS:
            return _JSON_WORDS[node.text]
        number = _number(node.text)
        if number is not None or not schema.get("x-json"):
            return node.text if number is None else number
        if not node.text:
            self.report(path, "no-value", f"{_label(path)} has no value", 'write null, or "" for an empty text')
            return self._hole(path)
        if _NUMBER_OF_ANY_LENGTH.fullmatch(node.text):
            self.report(path, "bad-value", f"{_label(path)} is too large a number", "quote it to send it as text")
            return self._hole(path)
        return node.text

    # -- what is left out

    def _leave_out(self, part: _Part, data: Any) -> None:
        """Remove what is wrong, and then what lacks it, until the rest is right.

        Of `settings` nothing: whoever looks at them has to know that they are not sound.
        """
        bad, removed = self.bad, set[Path]()
        while bad - removed:
            removed |= bad
            for path in sorted(bad, key=len, reverse=True):
                if path and (path[0] != "settings" or len(path) == 1):
                    _remove(data, path)
            errors = part.validator.iter_errors(data)
            bad = {path for error in errors for path in _Fault(self.source, part, error).spoilt()}

    def _tell(self, fault: "_Fault") -> None:
        explain = _EXPLAIN.get(fault.keyword, _other)
        for finding in islice(explain(fault), MAX_PROBLEMS - len(self.problems)):
            self.report(finding.path, finding.code, finding.message, finding.hint, on_key=finding.on_key)
        if not fault.part.base:
            self.bad.update(fault.spoilt())


def _types(schema: Schema) -> set[str]:
    wanted = schema.get("type", ())
    return {wanted} if isinstance(wanted, str) else set(wanted)


def _number(text: str) -> int | float | None:
    """The number that JSON would read; None when it is none, or none that can be written again."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    if not (found[1] or found[2]):
        return int(text)
    number = float(text)
    return number if isfinite(number) else None


def _remove(data: Any, path: Path) -> None:
    """Remove a value; of a list all, because the places of its other items have to stay true."""
    first_index = next((depth for depth, part in enumerate(path) if isinstance(part, int)), len(path))
    *parents, last = path[:first_index] or (None,)
    for part in parents:
        data = data.get(part) if isinstance(data, dict) else None
    if isinstance(data, dict):
        data.pop(last, None)


def _without_holes(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_holes(value) for key, value in data.items() if value is not _HOLE}
    if isinstance(data, list):
        return [None if value is _HOLE else _without_holes(value) for value in data]
    return {} if data is _HOLE else data


# --- the validator's errors in our words ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Finding:
    path: Path
    code: str
    message: str
    hint: str = ""
    on_key: bool = False


class _Fault:
    """An error of the validator, and what is needed to explain it."""

    def __init__(self, source: Source, part: _Part, error: ValidationError) -> None:
        self.source = source
        self.part = part
        self.path: Path = (*part.base, *error.absolute_path)
        self.keyword = str(error.validator)
        self.wanted: Any = error.validator_value
        self.instance: Any = error.instance
        self.schema: Schema = error.schema if isinstance(error.schema, dict) else {}
        self.of_name = "propertyNames" in error.absolute_schema_path

    @property
    def node(self) -> Node | None:
        """What was written."""
        return self.source.node(self.path)

    @property
    def label(self) -> str:
        """The value's name in a message."""
        return _label((*self.path, self.instance) if self.of_name else self.path)

    def at_value(self, code: str, message: str, hint: str = "") -> Iterator[_Finding]:
        """One finding at the value, or at the name that is wrong."""
        if self.of_name:
            yield _Finding((*self.path, self.instance), code, message, hint, on_key=True)
        else:
            yield _Finding(self.path, code, message, hint)

    def spoilt(self) -> Iterable[Path]:
        """What has to be left out: what is wrong itself, not what holds it where that is the file or `settings`."""
        if self.keyword == "additionalProperties":
            return [(*self.path, key) for key in _unknown(self)]
        if self.of_name:
            return [(*self.path, self.instance)]
        return [self.path] if self.path not in {(), ("settings",)} or self.keyword == "type" else []


def _label(path: Path) -> str:
    """`to[1]`: the last key, and the indices after it."""
    if not path:
        return "the file"
    keys = [depth for depth, part in enumerate(path) if isinstance(part, str)]
    last = keys[-1] if keys else 0
    return f"`{shorten(str(path[last]))}{''.join(f'[{index}]' for index in path[last + 1 :])}`"


def _listed(keys: Iterable[str], last: str = "and") -> str:
    quoted = [f"`{key}`" for key in keys]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def _did_you_mean(word: str, known: Iterable[str], free: Iterable[str] | None = None) -> str:
    """The nearest known word, or all that are known (and still free)."""
    known = list(known)
    lower = {name.lower().replace("-", "_"): name for name in known}
    # only short words are compared: the time grows with the square of the length
    near = get_close_matches(word.lower().replace("-", "_"), lower, n=1) if len(word) <= 64 else []
    if near:
        return f"did you mean `{lower[near[0]]}`?"
    rest = known if free is None else list(free)
    return f"known: {', '.join(f'`{name}`' for name in rest)}" if rest else ""


def _wrong_type(fault: _Fault) -> Iterator[_Finding]:
    wanted = _types({"type": fault.wanted})
    words = " or ".join(words for kind, words in _KINDS.items() if kind in wanted)
    if fault.instance is None:
        may_be_empty = "string" in wanted and not fault.schema.keys() & {"enum", "pattern", "minLength"}
        hint = 'write "" for an empty text, or leave the key out' if may_be_empty else "leave the key out"
        yield from fault.at_value("no-value", f"{fault.label} has no value", hint)
        return
    message = f"{fault.label} has to be {words}{_instead(fault, wanted)}"
    yield from fault.at_value("wrong-type", message, _type_hint(fault, wanted))


_KINDS = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping",
}
_TRUE = {"yes", "on", "y", "1", "true", "True", "TRUE", "Yes", "YES", "On", "ON"}
_FALSE = {"no", "off", "n", "0", "false", "False", "FALSE", "No", "NO", "Off", "OFF"}


def _instead(fault: _Fault, wanted: set[str]) -> str:
    if isinstance(fault.instance, dict):
        return ", not a mapping"
    if isinstance(fault.instance, list):
        return ", not a list"
    return ", not text" if wanted & {"array", "object"} else ""


def _type_hint(fault: _Fault, wanted: set[str]) -> str:
    text = fault.instance if isinstance(fault.instance, str) else ""
    if "boolean" in wanted and text in _TRUE | _FALSE:
        return f"write {'true' if text in _TRUE else 'false'}{_without_quotes(fault)}"
    number = _number(text)
    if "integer" in wanted and number is not None and number == int(number) and abs(number) < 1e9:
        return f"write {int(number)}{_without_quotes(fault)}"
    if "object" in wanted:
        known = _known(fault)
        return f"keys: {', '.join(known)}" if known else "write lines of `key: value` below it"
    if "array" in wanted and not isinstance(fault.instance, dict):
        return "write it in brackets: [...]"
    return "quote the text" if "string" in wanted else _example(fault)


def _without_quotes(fault: _Fault) -> str:
    return " without quotes" if isinstance(fault.node, Scalar) and not fault.node.plain else ""


def _known(fault: _Fault) -> list[str]:
    return [f"`{key}`" for key in fault.schema.get("properties", {})]


def _example(fault: _Fault) -> str:
    examples = fault.schema.get("examples")
    return f"for example {json.dumps(examples[0], ensure_ascii=False)}" if examples else ""


def _unknown(fault: _Fault) -> list[str]:
    return [key for key in fault.instance if key not in fault.schema.get("properties", {})]


def _unknown_key(fault: _Fault) -> Iterator[_Finding]:
    known = fault.schema.get("properties", {})
    free = [key for key in known if key not in fault.instance]
    for key in _unknown(fault):
        hint = _elsewhere(fault, key) or _no_blank(key, known) or _did_you_mean(key, known, free)
        name, colon, _ = key.partition(":")  # what stands behind it may be a password that lacks its blank
        message = f"unknown key `{shorten(name)}{':…' if colon else ''}`"
        yield _Finding((*fault.path, key), "unknown-key", message, hint, on_key=True)


def _no_blank(key: str, known: Iterable[str]) -> str:
    name, colon, _ = key.partition(":")
    return f"put a blank after the colon: `{name}: ...`" if colon and name in known else ""


def _is_told(key: str, given: Iterable[str], known: Iterable[str]) -> bool:
    """Whether a key that is missing is there under another name, which is a finding already."""
    others = [other for other in given if other not in known]
    return any(_no_blank(other, [key]) or _did_you_mean(other, known) == f"did you mean `{key}`?" for other in others)


def _elsewhere(fault: _Fault, key: str) -> str:
    """A key of the provider among those of the gateway, or the other way round."""
    provider = fault.source.node(("provider",))
    if not isinstance(provider, Scalar) or provider.text not in provider_names():
        return ""
    if fault.path == () and key in _settings(provider.text).schema["properties"]:
        return "it belongs below `settings`"
    if fault.path == ("settings",) and key in _common().schema["properties"]:
        return "it belongs to the gateway, beside `settings`"
    return ""


def _missing(fault: _Fault) -> Iterator[_Finding]:
    known = fault.schema.get("properties", {})
    for key in fault.wanted:
        if key not in fault.instance and not _is_told(key, fault.instance, known):
            yield _missing_key(fault, f"`{key}` is missing", _example_of(fault, key))


def _missing_key(fault: _Fault, what: str, hint: str = "") -> _Finding:
    message = f"{what} in {fault.label}" if fault.path else what
    return _Finding(fault.path, "missing-key", message, hint, on_key=True)


def _example_of(fault: _Fault, key: str) -> str:
    examples = fault.schema.get("properties", {}).get(key, {}).get("examples")
    return f"for example `{key}: {json.dumps(examples[0], ensure_ascii=False)}`" if examples else ""


def _needed_beside(fault: _Fault) -> Iterator[_Finding]:
    for key, others in fault.wanted.items():
        missing = [other for other in others if key in fault.instance and other not in fault.instance]
        if missing:
            yield _missing_key(
                fault, f"{_listed(missing)} is missing: it belongs to `{key}`", _example_of(fault, missing[0])
            )


def _choice(fault: _Fault) -> Iterator[_Finding]:
    """`oneOf` and `anyOf` of `required` lists: which keys go together."""
    if not isinstance(fault.instance, dict):
        return  # `type` says so already
    shapes = [shape["required"] for shape in fault.wanted]
    whole = [shape for shape in shapes if all(key in fault.instance for key in shape)]
    if len(whole) > 1:
        yield _conflict(fault, {key for shape in whole for key in shape})
        return
    begun = [shape for shape in shapes if any(key in fault.instance for key in shape)]
    if begun:
        missing = [key for key in begun[0] if key not in fault.instance]
        yield _missing_key(fault, f"{_listed(missing)} is missing", _example_of(fault, missing[0]))
    else:
        yield _missing_key(fault, f"{_choices(shapes)} is missing")


def _choices(shapes: list[list[str]]) -> str:
    if all(len(shape) == 1 for shape in shapes):
        return _listed([shape[0] for shape in shapes], "or")
    return ", or ".join(_listed(shape) for shape in shapes)


def _conflicting(fault: _Fault) -> Iterator[_Finding]:
    """`not` of an `anyOf` of pairs: which keys do not go together."""
    if not isinstance(fault.instance, dict):
        return  # `type` says so already
    pairs = [set(pair["required"]) for pair in fault.wanted["anyOf"]]
    yield _conflict(fault, {key for pair in pairs if pair <= fault.instance.keys() for key in pair})


def _conflict(fault: _Fault, keys: set[str]) -> _Finding:
    first, second = [key for key in fault.instance if key in keys][:2]
    message = f"`{second}` cannot stand beside `{first}`"
    return _Finding((*fault.path, second), "conflicting-keys", message, "keep one of them", on_key=True)


def _not_one_of(fault: _Fault) -> Iterator[_Finding]:
    if not any(fault.part.validator.is_type(fault.instance, kind) for kind in _types(fault.schema)):
        return  # `type` says so already
    choices = fault.wanted if fault.keyword == "enum" else [fault.wanted]
    texts = [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
    message = f"{fault.label} has to be {_listed(texts, 'or')}"
    text = fault.instance if isinstance(fault.instance, str) else ""
    hint = _did_you_mean(text, texts)
    yield from fault.at_value("bad-value", message, hint if hint.startswith("did") else "")


def _not_this_text(fault: _Fault) -> Iterator[_Finding]:
    words = fault.schema.get("x-wanted", "written in another way")
    yield from fault.at_value("bad-value", f"{fault.label} has to be {words}", _text_hint(fault))


def _text_hint(fault: _Fault) -> str:
    text = fault.instance
    if not isinstance(text, str):
        return ""
    if text != text.strip():
        return "there are blanks or line breaks around it"
    wanted = fault.schema.get("x-wanted", "")
    meant = [text.upper()] if "capital letters" in wanted else []
    meant += [text.replace(" ", ""), f"{text}s"] if wanted.startswith("a duration") else []
    return next((f"write {one}" for one in meant if one != text and re.fullmatch(fault.wanted, one)), "")


def _too_small(fault: _Fault) -> Iterator[_Finding]:
    yield from fault.at_value("bad-value", f"{fault.label} has to be {fault.wanted} at least")


def _too_large(fault: _Fault) -> Iterator[_Finding]:
    yield from fault.at_value("bad-value", f"{fault.label} has to be {fault.wanted} at most")


def _empty(fault: _Fault) -> Iterator[_Finding]:
    known = _known(fault)
    hint = f"keys: {', '.join(known)}" if known else "give a value, or leave the key out"
    yield from fault.at_value("bad-value", f"{fault.label} is empty", hint)


def _too_long(fault: _Fault) -> Iterator[_Finding]:
    yield from fault.at_value("bad-value", f"{fault.label} is longer than {fault.wanted}")


def _repeated(fault: _Fault) -> Iterator[_Finding]:
    for index, item in enumerate(fault.instance):
        if item in fault.instance[:index]:
            yield _Finding((*fault.path, index), "bad-value", f"{fault.label} names `{item}` twice", "keep one of them")


def _other(fault: _Fault) -> Iterator[_Finding]:
    yield from fault.at_value("bad-value", f"{fault.label} is not what its schema wants ({fault.keyword})")


def _supported(explain: Callable[[_Fault], Iterator[_Finding]]) -> Callable[[_Fault], Iterator[_Finding]]:
    """The same, but for what this version does not do, which has to say so."""

    def explained(fault: _Fault) -> Iterator[_Finding]:
        if fault.schema.get("x-not-supported"):
            message = f"{fault.label} is not supported by this version"
            yield _Finding(fault.path, "not-supported", message, "leave it out: it would have no effect", on_key=True)
        else:
            yield from explain(fault)

    return explained


_EXPLAIN: dict[str, Callable[[_Fault], Iterator[_Finding]]] = {
    "type": _wrong_type,
    "required": _missing,
    "dependentRequired": _needed_beside,
    "additionalProperties": _unknown_key,
    "oneOf": _choice,
    "anyOf": _choice,
    "not": _conflicting,
    "enum": _not_one_of,
    "const": _supported(_not_one_of),
    "pattern": _not_this_text,
    "uniqueItems": _repeated,
    "minimum": _too_small,
    "maximum": _too_large,
    "minLength": _empty,
    "minItems": _empty,
    "minProperties": _empty,
    "maxLength": _too_long,
    "maxItems": _supported(_too_long),
    "maxProperties": _supported(_too_long),
}
