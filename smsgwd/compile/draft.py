"""A file on its way to being compiled."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smsgwd.errors import MessageError, Problem, Severity
from smsgwd.load import Source
from smsgwd.providers._base import KeyPath, Site
from smsgwd.secret import Secret
from smsgwd.templates import Scope, Template, TemplateError, compile_template
from smsgwd.units import parse_duration

_MESSAGE_NAMES = frozenset({"phone", "message", "otp", "sender", "reference"})


@dataclass(slots=True)
class Draft:
    """A file on its way to being compiled: collects its problems, compiles its templates. Implements `Bench`."""

    name: str
    source: Source
    site: Site
    resolved: bool
    sender: str = ""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    region: str | None = None
    names: frozenset[str] = _MESSAGE_NAMES
    used: set[str] = field(default_factory=set)  # names that templates read
    problems: list[Problem] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    hidden: list[Secret] = field(default_factory=list)
    values: Mapping[str, Secret] = field(default_factory=dict)  # of secrets that are not to be read: given by name

    def problem(
        self,
        at: KeyPath,
        code: str,
        message: str,
        hint: str = "",
        *,
        offset: int | None = None,
        on_key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Report a fault at a value (`offset` characters into its text), or at its key."""
        found = self.source.problem(at, code, message, hint, offset=offset, on_key=on_key, severity=severity)
        self.problems.append(found)

    def template(self, text: str, at: KeyPath, *, escape: Callable[[str], str] | None = None) -> Template:
        """The compiled template of `settings`; an empty one where it has faults."""
        return self.compiled(text, at, Scope(self.names, self.secrets, self.region), escape)

    def compiled(self, text: str, at: KeyPath, scope: Scope, escape: Callable[[str], str] | None = None) -> Template:
        """The compiled template of any part of the file."""
        try:
            template, faults = compile_template(text, scope, escape)
        except TemplateError as error:
            template, faults = compile_template("", scope)[0], list(error.faults)
        for fault in faults:
            severity = Severity.WARNING if fault.warning else Severity.ERROR
            self.problem(at, fault.code, fault.message, fault.hint, offset=fault.offset, severity=severity)
        self.used |= template.uses
        return self._possible(template, at)

    def _possible(self, template: Template, at: KeyPath) -> Template:
        """The template, or an empty one in the place of one that is the same for each message and always fails."""
        try:
            if template.constant:
                template.render({})
        except MessageError as error:
            self.problem(at, "bad-value", error.detail)
            return compile_template("", Scope(frozenset(), {}))[0]
        return template

    def path(self, text: str) -> Path:
        """A file that the settings name."""
        path = self.site.directory / text
        self.files.add(path)
        return path

    def hide(self, value: str) -> None:
        """Take a text among what no log, error or answer shows."""
        self.hidden.append(Secret(value))


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The findings, each once, ordered by place."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.sort_key))


def seconds(draft: Draft, data: Mapping[str, Any], key: str, default: float, *inside: str) -> float:
    """The duration under a key (of a mapping that stands `inside` of those keys), in seconds."""
    if key not in data:
        return default
    try:
        return parse_duration(data[key])
    except ValueError as error:
        draft.problem((*inside, key), "bad-duration", f"not a duration: {error}")
        return default
