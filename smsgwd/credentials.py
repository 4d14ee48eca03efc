"""Finds credentials that stand in a configuration file in the clear, where only `{{ secrets.NAME }}` may stand.

Looked at are the fields that a schema marks, keys named like a credential (of a query, form, JSON, header, ...),
elements and attributes of XML named so, and `user:pass@` and parameters of URLs. No message repeats a value.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_plus

from smsgwd import schema
from smsgwd.access_token import TOKEN
from smsgwd.errors import Problem
from smsgwd.load import Entry, Node, Path, Scalar, Source, pointer, shorten, walk
from smsgwd.load import Mapping as MappingNode

# Words that name a credential, alone or as a part of a key: `password`, `x-access-token`, `apiKey` (api + key).
_WORDS = frozenset({"authorization", "bearer", "credential", "jwt", "passcode", "passphrase", "secret", "token"})
_WORDS |= {"pass", "passwd", "password", "passwort", "kennwort", "psw", "pswd", "pw", "pwd"}
_WORDS |= {f"{of}{word}" for of in ("access", "api", "app", "auth", "client", "user") for word in _WORDS}
_WORDS |= {f"{of}key" for of in ("access", "api", "app", "auth", "private", "secret", "security")}
# A key that ends so tells something about a credential: token_type, password_length.
_ABOUT = frozenset(
    {"count", "enabled", "expires", "expiry", "format", "length", "limit", "policy", "ttl", "type", "url"}
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")

_OPENER = re.compile(r"\{[{%#]")
_CLOSERS = {"{{": "}}", "{%": "%}", "{#": "#}"}
# A text in quotes (to the end, if it is not closed), or a name; the names of filters and attributes follow a sign.
_WORD_OF_TEMPLATE = re.compile(
    r"""'(?:\\.|[^'\\])*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)|([|.]\s*)?\b([A-Za-z_]\w*)""", re.DOTALL
)
_KEYWORDS = frozenset({"and", "else", "elif", "endif", "endraw", "if", "in", "is", "not", "or", "raw"})
_KEYWORDS |= {"true", "True", "false", "False", "none", "None"}
_OF_MESSAGES = frozenset({"message", "otp", "phone", "reference", "sender", "vars"})

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_USER_AND_PASSWORD = re.compile(r"[^:]*:(.+)@", re.DOTALL)  # the user may be a mail address
_PARAMETER = re.compile(r"[?&;]([^=&;#]*)=([^&;#]+)")
_XML_ELEMENT = re.compile(r"<([^\s<>/!?]+)(?:\s[^<>]*)?>\s*([^<\s][^<]*)</")
_XML_ATTRIBUTE = re.compile(r"\s([^\s<>=\"']+)\s*=\s*(?:\"([^\"<]+)\"|'([^'<]+)')")
_MASK = "\ud800"  # takes the place of each character of an expression: no file can hold a lone surrogate

_NOT_LOOKED_AT = frozenset({"access", "secrets", "templates", "tests"})  # nothing there goes to a provider
_REFERENCE_KINDS = ("credential", "env", "file")


def literal_secrets(source: Source, data: Mapping[str, Any]) -> list[Problem]:
    """The literal credentials of a gateway file or of smsgwd.yaml; `data` is what `schema` made of it."""
    if source.data is None:
        return []
    found = {
        **dict(_in_secrets(source, source.data)),
        **dict(_by_schema(source, data)),
        **dict(_by_name(source, source.data)),
        **dict(_our_tokens(source, source.data)),
    }
    return sorted(found.values(), key=lambda problem: problem.sort_key)


def is_credential(key: str) -> bool:
    """Whether a key is named like a credential: as a whole word, not `passenger` or `tokenize`."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] in _ABOUT:
        return False
    pairs = [first + second for first, second in pairwise(words)]
    return any(_singular(word) in _WORDS for word in words + pairs)


def _singular(word: str) -> str:
    return word.removesuffix("s") if not word.endswith("ss") else word


def is_literal(text: str) -> bool:
    """Whether a text has no part that comes from elsewhere: it is not empty, and reads no name."""
    return bool(text) and not names_read(text)


def names_read(text: str) -> set[str]:
    """The names that a template reads, whether they exist or not."""
    return {name for start, end in expressions(text) for name in _names_in(text[start:end])}


def _names_in(expression: str) -> Iterator[str]:
    if not expression.startswith("{#"):
        for sign, name in _WORD_OF_TEMPLATE.findall(expression):
            if name and not sign and name not in _KEYWORDS:
                yield name


def expressions(text: str) -> Iterator[tuple[int, int]]:
    """Where the expressions, statements and comments of a template stand. Looks at each character once or twice."""
    position = 0
    unclosed = set()
    for found in _OPENER.finditer(text):
        opener = found[0]
        if found.start() < position or opener in unclosed:
            continue
        end = text.find(_CLOSERS[opener], found.end())
        if end < 0:
            unclosed.add(opener)
        else:
            position = end + 2
            yield found.start(), position


def _masked(text: str) -> str:
    """The text, each character of an expression that reads a name replaced: offsets stay."""
    pieces, position = [], 0
    for start, end in expressions(text):
        reads = any(_names_in(text[start:end]))
        pieces += [text[position:start], _MASK * (end - start) if reads else text[start:end]]
        position = end
    return "".join([*pieces, text[position:]])


# --- where credentials stand ---------------------------------------------------------------------------------------

_Found = Iterator[tuple[Path, Problem]]


def _in_secrets(source: Source, root: MappingNode) -> _Found:
    """The secret itself where it should be said where it comes from."""
    entry = root.entries.get("secrets")
    for path, node in walk(entry.value, ("secrets",)) if entry else ():
        kind = get_close_matches(str(path[-1]), _REFERENCE_KINDS, 1)  # `evn` is told as what it is
        instead_of_reference = len(path) == 2 or not kind
        if isinstance(node, Scalar) and len(path) > 1 and instead_of_reference and not _no_credential(node):
            hint = f"say where it comes from: {path[1]}: {{env: NAME}}, {{file: PATH}} or {{credential: NAME}}"
            message = f"the secret `{shorten(str(path[1]))}` stands here itself"
            yield path, source.problem(path, "literal-secret", message, hint)


def _no_credential(node: Scalar) -> bool:
    return not node.text or (node.plain and node.text in {"~", "null", "true", "false"})


def _by_schema(source: Source, data: Mapping[str, Any]) -> _Found:
    """Fields that carry a credential: only a secret can stand there."""
    for path, text in _secret_leaves(data):
        if text and names_read(text) <= _OF_MESSAGES:
            yield path, _problem(source, path)


def _secret_leaves(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    if "provider" in data:
        for path, text in schema.secret_leaves(data["provider"], data.get("settings", {})):
            yield ("settings", *path), text
    else:
        yield from schema.site_secret_leaves(data)


def _by_name(source: Source, root: MappingNode) -> _Found:
    """Whatever else stands in the file, known to the schema or not: a credential in a wrong place is still one."""
    for path, node in _looked_at(root):
        if not isinstance(node, Scalar) or _no_credential(node):
            continue
        name = _nearest_key(path)
        if is_credential(name) and is_literal(node.text):
            yield path, _problem(source, path)
            continue
        for found in (_in_url(node.text), _in_xml(node.text)):
            if found:
                offset, name = found
                yield path, _problem(source, path, name, offset)


def _our_tokens(source: Source, root: MappingNode) -> _Found:
    """An access token of smsgwd, wherever it stands: where a token is meant its hash belongs."""
    if not TOKEN.search(source.text):
        return
    for path, node in walk(root):
        found = TOKEN.search(node.text) if isinstance(node, Scalar) else None
        if found and path[0] == "tokens":
            message = f"an access token stands here itself, in {pointer(path)}"
            hint = "its hash belongs here; make a new token with `smsgwd token new`: this one has been seen"
            yield path, source.problem(path, "literal-secret", message, hint)
        elif found:
            yield path, _problem(source, path, offset=found.start())


def _looked_at(root: MappingNode) -> Iterator[tuple[Path, Node]]:
    entries: list[tuple[str, Entry]] = [item for item in root.entries.items() if item[0] not in _NOT_LOOKED_AT]
    for key, entry in entries:
        yield from walk(entry.value, (key,))


def _nearest_key(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _in_url(text: str) -> tuple[int, str] | None:
    """Where in a URL a password stands, and what it is called: `user:pass@` or a parameter."""
    masked = _masked(text)
    url = _URL.match(masked)
    if url is None:
        return None
    user = _USER_AND_PASSWORD.fullmatch(url[1], 0, url[1].rfind("@") + 1)
    if user and _MASK not in user[1]:
        return url.start(1), "password"
    for parameter in _PARAMETER.finditer(masked, url.end()):
        if is_credential(unquote_plus(parameter[1])) and _MASK not in parameter[2]:
            return parameter.start(2), unquote_plus(parameter[1])
    return None


def _in_xml(text: str) -> tuple[int, str] | None:
    """Where in an XML document the text of an element or attribute named like a credential stands."""
    if not text.lstrip().startswith("<"):
        return None
    masked = _masked(text)
    for found in sorted([*_XML_ELEMENT.finditer(masked), *_XML_ATTRIBUTE.finditer(masked)], key=re.Match.start):
        group = next(index for index in range(2, len(found.groups()) + 2) if found[index] is not None)
        if is_credential(found[1].rpartition(":")[2]) and _MASK not in found[group]:
            return found.start(group), found[1]
    return None


def _problem(source: Source, path: Path, name: str = "", offset: int | None = None) -> Problem:
    name = re.sub(r"\W+", "_", name or _nearest_key(path)).strip("_").lower()[:40] or "password"
    message = f"a credential stands here itself, in {pointer(path)}"
    hint = f'write "{{{{ secrets.{name} }}}}"{_to_be_declared(source, name)}'
    return source.problem(path, "literal-secret", message, hint, offset=offset)


def _to_be_declared(source: Source, name: str) -> str:
    """What else has to be written, where the secret is not there yet."""
    there = source.node(("secrets",))
    if not isinstance(there, MappingNode):
        return f", and above: secrets: {{{name}: {{env: {name.upper()}}}}}"
    return "" if name in there.entries else f", and add to `secrets`: {name}: {{env: {name.upper()}}}"


_ASSIGNMENT = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*)[\"']?\s*[:=]\s*[\"']?(?=[^\s\"'{])")
_USER_INFO = re.compile(r"://([^/\s]*)@")


# What a token file holds: it may have been taken for another file.
_OF_TOKENS = frozenset({"pin", "hash"})
_NUMBER = re.compile(r"\bphone[\"']?\s*:\s*[\"']?(?=[+0-9])")
_HASH = re.compile(r"\$scrypt\$")
# A line of a token file that holds neither number nor PIN, up to where something else may follow; or any other key.
_OPEN_KEY = re.compile(
    r"""[\s{]*["']?(?:user|gateway|template|enabled|digits|ttl)["']?\s*:[^,#$]*?(?=[,#$]|p(?:hone|in)|hash|$)"""
)
_KEY = re.compile(r"""[\s{]*["']?[A-Za-z_]{1,16}["']?\s*:""")


def shown_of_private(line: str) -> str:
    """A line of a token file, fit for an excerpt: of phone and PIN, and of what is neither key nor value, nothing."""
    found = _OPEN_KEY.match(line) or _KEY.match(line)
    begin = found[0] if found else line[: len(line) - len(line.lstrip())]
    return begin if begin.rstrip() == line.rstrip() else f"{begin.rstrip()} ***" if found else f"{begin}***"


def shown(line: str) -> str:
    """A line of a file, fit for an excerpt: cut where a credential may stand, whether the file can be read or not."""
    begin = 0
    for field in line.split(","):  # what has a template is told by its own finding
        cut = None if "{{" in field else _cut(field)
        if cut is not None:
            return line[: begin + cut] + "***"
        begin += len(field) + 1
    return line


def _cut(text: str) -> int | None:
    """Where the first credential may begin."""
    names = (found for found in _ASSIGNMENT.finditer(text) if found[1] != "credential")  # a key of references
    cuts = [found.end() for found in names if is_credential(found[1]) or found[1] in _OF_TOKENS]
    cuts += [found.end() for found in _NUMBER.finditer(text)]
    cuts += [found.start() for found in _HASH.finditer(text)]
    cuts += [found.start(1) for found in _USER_INFO.finditer(text) if ":" in found[1]]
    cuts += [found.start() for found in TOKEN.finditer(text)]
    return min(cuts, default=None)
