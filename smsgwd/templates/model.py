"""What templates are to the rest of the house."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from smsgwd.errors import MessageError
from smsgwd.outcome import Reason
from smsgwd.secret import Secret

MAX_RENDERED = 10_000  # characters of a rendered template
MAX_VALUE = 100_000  # characters of any value on the way there: `message | truncate(160)` may begin with a long one

Render = Callable[[Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that a template may use.

    `names` are those given at each render (`phone`, `message`, `otp`, `sender`, `reference`, `vars.code`);
    `secrets` are bound when it is compiled. `region` is for the number filters.
    """

    names: frozenset[str]
    secrets: Mapping[str, Secret]
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """A part of a template that is filled in: `{{ … }}`, or a whole `{% if … %}` (then `block` is true)."""

    uses: frozenset[str]
    render: Render  # as it stands in the rendered template, escaped
    value: Render  # before it is escaped; of a block, the same as `render`
    block: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. `pieces` are its texts and expressions in order; rendering joins them."""

    source: str
    uses: frozenset[str]  # the names it reads, such as "phone", "vars.code", "secrets.token"
    constant: bool  # it reads no name but secrets: renders to the same text for each message
    pieces: tuple[str | Expression, ...]
    _render: Render

    def render(self, names: Mapping[str, str]) -> str:
        """The text. Raises MessageError (content) when it is longer than 10,000 characters.

        A number filter raises it, too, for what is no number: invalid_destination for `phone`, invalid_sender for
        `sender`, else content.
        """
        return self._render(names)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a template at an offset (in characters, from 0) of its source; `severity` as of Problem."""

    offset: int
    code: str
    message: str
    hint: str = ""
    warning: bool = False


class TemplateError(Exception):
    """A template that cannot be compiled; `faults` says why, all of it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.offset))
        super().__init__("; ".join(f"{fault.offset}: {fault.message}" for fault in self.faults))


def too_long(limit: int = MAX_RENDERED) -> MessageError:
    """What is raised where a template would render to more than it may."""
    return MessageError(Reason.CONTENT, f"a template of the gateway renders to more than {limit:,} characters")
