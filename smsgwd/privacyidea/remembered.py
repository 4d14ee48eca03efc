"""What a definition said and a gateway file cannot: one comment line at the top of the file.

    # privacyidea: {"options": {"TIMEOUT": ["3", null]}}

For each option: what the file alone would be shown as, and what was written; null is an option that is not there. The
line holds no secret, and the file wins: where it is no longer shown as the first of the two, the second counts no more.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smsgwd.notes import comments_at_top

BEGINNING = "privacyidea: "

Pair = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Remembered:
    """Pairs of what is shown and what was written.

    `secret_options` and `secret_headers` are values that are hidden though the file holds no secret in them. `proxy`
    is what PROXY stands in the place of.
    """

    options: Mapping[str, Pair] = field(default_factory=dict)
    headers: Mapping[str, Pair] = field(default_factory=dict)
    secret_options: frozenset[str] = frozenset()
    secret_headers: frozenset[str] = frozenset()
    no_description: bool = False  # null, and not the empty text that a file without one is shown with
    proxy: str = ""

    def line(self) -> str | None:
        """The comment, without its `# `; None when there is nothing to remember."""
        found = {
            "options": {key: list(pair) for key, pair in self.options.items()},
            "headers": {key: list(pair) for key, pair in self.headers.items()},
            "description": ["", None] if self.no_description else None,
            "secret_options": sorted(self.secret_options),
            "secret_headers": sorted(self.secret_headers),
            "proxy": self.proxy,
        }
        said = {key: value for key, value in found.items() if value}
        return BEGINNING + json.dumps(said) if said else None  # ASCII: nothing in it ends a line

    def single(self) -> "Iterator[Remembered]":
        """Each thing by itself."""
        yield from (Remembered(options={key: pair}) for key, pair in self.options.items())
        yield from (Remembered(headers={key: pair}) for key, pair in self.headers.items())
        yield from (Remembered(secret_options=frozenset({key})) for key in sorted(self.secret_options))
        yield from (Remembered(secret_headers=frozenset({key})) for key in sorted(self.secret_headers))
        if self.no_description:
            yield Remembered(no_description=True)
        if self.proxy:
            yield Remembered(proxy=self.proxy)

    def __or__(self, other: "Remembered") -> "Remembered":
        return Remembered(
            {**self.options, **other.options},
            {**self.headers, **other.headers},
            self.secret_options | other.secret_options,
            self.secret_headers | other.secret_headers,
            self.no_description or other.no_description,
            self.proxy or other.proxy,
        )


NOTHING = Remembered()


def read(text: str) -> Remembered:
    """What the comments at the top of a gateway file remember; nothing where they make no sense."""
    said = next((comment for _, comment in comments_at_top(text) if comment.startswith(BEGINNING)), None)
    if said is None:
        return NOTHING
    try:
        return _parsed(json.loads(said.removeprefix(BEGINNING)))
    except (ValueError, TypeError, AttributeError, RecursionError):  # written by hand
        return NOTHING


def _parsed(said: Any) -> Remembered:
    """Raises ValueError, TypeError, AttributeError for what no line says."""
    return Remembered(
        {key: _pair(pair) for key, pair in said.get("options", {}).items()},
        {key: _pair(pair) for key, pair in said.get("headers", {}).items()},
        frozenset(map(_text, said.get("secret_options", ()))),
        frozenset(map(_text, said.get("secret_headers", ()))),
        said.get("description") == ["", None],
        _text(said.get("proxy", "")),
    )


def _pair(pair: Any) -> Pair:
    shown, written = pair
    return None if shown is None else _text(shown), None if written is None else _text(written)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
