"""One change, and how it is said: in CommonMark, which is fine on a terminal, too."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smsgwd.files import TOKENS
from smsgwd.load import Path, pointer

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "nothing"})()
_TOKENS = f"{TOKENS}/"
_LONGEST = 80  # characters of a value
_FENCES = re.compile("`+")


@dataclass(frozen=True, slots=True)
class Change:
    """An effect on users. `pointer` leads to the key in the file of its subject.

    `subject` is a gateway, `tokens.d/NAME` for a token, or empty for smsgwd.yaml.
    """

    subject: str
    kind: str  # added | changed | removed
    effect: str  # CommonMark on one line
    pointer: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As `smsgwd diff --format json` shows it."""
        subject = {"gateway": self.gateway or None, **({"token": self.token} if self.token else {})}
        return {**subject, "kind": self.kind, "pointer": self.pointer, "effect": self.effect}

    @property
    def token(self) -> str:
        """The name of the token file; empty for what is none."""
        return self.subject.removeprefix(_TOKENS) if self.subject.startswith(_TOKENS) else ""

    @property
    def gateway(self) -> str:
        """The name of the gateway; empty for what is none."""
        return "" if self.token else self.subject


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that is not what it was. ABSENT stands for one that is not there."""

    path: Path
    old: Any = ABSENT
    new: Any = ABSENT

    @property
    def kind(self) -> str:
        """How it changed."""
        return "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"

    def change(self, subject: str, effect: str) -> Change:
        """The change that this makes."""
        return Change(subject, self.kind, effect, pointer(self.path))


_IsWhole = Callable[[Path, bool], bool]  # of a path, and whether one side lacks it


def _never(_path: Path, _lacking: bool) -> bool:
    return False


def leaves(path: Path, old: Any, new: Any, is_whole: _IsWhole = _never) -> Iterator[Leaf]:
    """What differs below a path. Mappings are compared key by key, but for those that are said as a whole."""
    maps = [one for one in (old, new) if isinstance(one, Mapping)]
    lacking = old is ABSENT or new is ABSENT
    if (len(maps) == 2 or (lacking and any(maps))) and not is_whole(path, lacking):
        old, new = ({} if one is ABSENT else one for one in (old, new))
        for key in sorted({*old, *new}):
            yield from leaves((*path, key), old.get(key, ABSENT), new.get(key, ABSENT), is_whole)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Leaf(path, old, new)


def code(value: Any) -> str:
    """A value as a code span (CommonMark 0.31, 6.1), without what could steer a terminal, and not too long."""
    return _span(_text(value))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) and value.strip() == value and value else _json(value)
    return "".join(map(_printable, text))


def _span(text: str, place: int = 0) -> str:
    """The text as a code span; of a long one the part with this place in it."""
    begin = 0 if len(text) <= _LONGEST or place < _LONGEST - 1 else place - _LONGEST // 2
    end = len(text) if len(text) <= _LONGEST else begin + _LONGEST - 1
    text = "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))
    fence = "`" * (1 + max((len(found) for found in _FENCES.findall(text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def listed(words: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def _alike(one: str, other: str) -> int:
    """With how many characters both texts begin."""
    shorter = min(len(one), len(other))
    return next((index for index in range(shorter) if one[index] != other[index]), shorter)


def instead(new: Any, old: Any) -> str:
    """`new` (before: `old`); of long ones what differs is to be seen."""
    if new is ABSENT or old is ABSENT:
        shown = ["nothing" if value is ABSENT else code(value) for value in (new, old)]
    else:
        texts = [_text(value) for value in (new, old)]
        shown = [_span(text, _alike(*texts)) for text in texts]
    return f"{shown[0]} (before: {shown[1]})"
