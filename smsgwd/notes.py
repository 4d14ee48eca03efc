"""Comment lines at the top of a file in which a program keeps what the file itself has no place for."""

from collections.abc import Iterator, Mapping

_MODELINE = "yaml-language-server:"  # editors look for it in the first line
_BOM = "\ufeff"


def noted(text: str, notes: Mapping[str, str | None]) -> str:
    """The text with these comments at its top, each in the place of the one that begins so; None takes that away."""
    bom = _BOM if text.startswith(_BOM) else ""
    for beginning, note in notes.items():
        text = _noted(text.removeprefix(_BOM), beginning, note)
    return bom + text.removeprefix(_BOM)


def _noted(text: str, beginning: str, note: str | None) -> str:
    comments = dict(comments_at_top(text))
    old = [number for number, comment in comments.items() if comment.startswith(beginning)]
    lines = text.split("\n")
    if note is not None:
        line = f"# {note}" + ("\r" if lines[0].endswith("\r") else "")
        if old:
            lines[old.pop(0)] = line
        else:
            lines.insert(1 if comments.get(0, "").startswith(_MODELINE) else 0, line)
            return "\n".join(lines)
    return "\n".join(line for number, line in enumerate(lines) if number not in old)


def comments_at_top(text: str) -> Iterator[tuple[int, str]]:
    """The comments before anything else, without their sign, and the lines they stand in, counted from 0."""
    for number, line in enumerate(text.removeprefix(_BOM).split("\n")):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            return
        if stripped:
            yield number, stripped.removeprefix("#").strip()
