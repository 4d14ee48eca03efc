"""A drawing of boxes and arrows, as Mermaid (https://mermaid.js.org) or in the DOT language of Graphviz."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from smsgwd.cli.findings import printable


class Look(StrEnum):
    """How a box looks."""

    CALLER = "caller"
    CHOICE = "choice"
    GATEWAY = "gateway"
    DISABLED = "disabled"
    BROKEN = "broken"


@dataclass(slots=True)
class Drawing:
    """Boxes by name, in order, each with its lines of text; arrows between them, each with the labels that it has."""

    boxes: dict[str, tuple[Look, tuple[str, ...]]] = field(default_factory=dict)
    arrows: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def box(self, name: str, look: Look, *lines: str) -> None:
        """Draw a box; empty lines are left out."""
        self.boxes[name] = (look, tuple(printable(line) for line in lines if line))

    def arrow(self, start: str, end: str, label: str = "") -> None:
        """Draw an arrow; another one between the same boxes becomes a further label."""
        self.arrows.setdefault((start, end), []).append(printable(label))

    def numbers(self) -> Mapping[str, str]:
        """What each box is called in the text of a drawing: a name of its own could be a word of the language."""
        return {name: f"n{number}" for number, name in enumerate(self.boxes)}


def as_mermaid(drawing: Drawing) -> str:
    """A flowchart, from left to right. GitHub and GitLab show it inside of ```mermaid."""
    return "\n".join(_mermaid(drawing)) + "\n"


def as_dot(drawing: Drawing) -> str:
    """A graph for dot(1), from left to right."""
    return "\n".join(_dot(drawing)) + "\n"


_SHAPES = {Look.CALLER: ("([", "])"), Look.CHOICE: ("{{", "}}")}
_CLASSES = {Look.DISABLED: "stroke-dasharray: 4 4,color: #888", Look.BROKEN: "stroke: #c00,stroke-dasharray: 1 3"}
_ENTITIES = str.maketrans({sign: f"#{ord(sign)};" for sign in '"#%&<>\\`{}|'})  # what Mermaid or its cleaner would read


def _mermaid(drawing: Drawing) -> Iterator[str]:
    numbers = drawing.numbers()
    yield "flowchart LR"
    for name, (look, lines) in drawing.boxes.items():
        opening, closing = _SHAPES.get(look, ("[", "]"))
        text = "<br/>".join(line.translate(_ENTITIES) for line in lines)
        style = f":::{look}" if look in _CLASSES else ""
        yield f'    {numbers[name]}{opening}"{text}"{closing}{style}'
    for (start, end), labels in drawing.arrows.items():
        text = "<br/>".join(label.translate(_ENTITIES) for label in labels if label)
        yield f"    {numbers[start]} --> " + (f'|"{text}"| ' if text else "") + numbers[end]
    used = {look for look, _ in drawing.boxes.values()}
    yield from (f"    classDef {look} {style}" for look, style in _CLASSES.items() if look in used)


_LOOKS = {
    Look.CALLER: "shape=oval",
    Look.CHOICE: "shape=hexagon",
    Look.GATEWAY: "shape=box",
    Look.DISABLED: "shape=box style=dashed fontcolor=gray",
    Look.BROKEN: "shape=box style=dotted color=red",
}


def _dot(drawing: Drawing) -> Iterator[str]:
    numbers = drawing.numbers()
    yield "digraph smsgwd {"
    yield "    rankdir=LR"
    for name, (look, lines) in drawing.boxes.items():
        yield f"    {numbers[name]} [label={_quoted(*lines)} {_LOOKS[look]}]"
    for (start, end), labels in drawing.arrows.items():
        yield f"    {numbers[start]} -> {numbers[end]} [label={_quoted(*filter(None, labels))}]"
    yield "}"


def _quoted(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


FORMATS: Mapping[str, Callable[[Drawing], str]] = {"mermaid": as_mermaid, "dot": as_dot}
