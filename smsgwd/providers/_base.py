"""What a provider is: four steps from a message to an outcome, of which one does I/O.

    provider.interpret(await provider.submit(provider.render(message), deadline))

A provider is one module `smsgwd/providers/NAME.py` with a function

    def build(settings: Mapping[str, Any], bench: Bench) -> Provider[Any, Any]

`settings` is what `schemas/NAME.schema.json` has found valid. `build` opens no connection and starts nothing; it
reports every fault to the bench and goes on with a stand-in, so that one run finds all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from smsgwd import segments
from smsgwd.errors import Severity
from smsgwd.message import Message
from smsgwd.outcome import Outcome
from smsgwd.secret import Secret
from smsgwd.templates import Template
from smsgwd.units import Deadline

KeyPath = tuple[str | int, ...]  # keys and indices from the root of the file: ("settings", "query", "to")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready to leave. `text` is what the recipient reads."""

    text: str

    def count(self) -> segments.Count:
        """How many segments it takes, as far as one can tell from here. Raises segments.EncodingError."""
        return segments.count(self.text)


class Reply(Protocol):
    """What came back, as far as it was read."""

    def as_dict(self) -> dict[str, Any]:
        """The answer, for the debug log. Secrets are hidden by whoever writes it."""


P = TypeVar("P", bound=Prepared)
R = TypeVar("R", bound=Reply)


class Provider(ABC, Generic[P, R]):
    """One configured way out. Made by `build`, used from one event loop."""

    default_phone_format: ClassVar[str] = "e164"
    depends: ClassVar[tuple[str, ...]] = ()  # fields of Site that shape it: it is built anew when one of them changes

    @abstractmethod
    def render(self, message: Message) -> P:
        """Fill in the blanks. Raises MessageError for what cannot be carried (`rejected`)."""

    @abstractmethod
    def describe(self, prepared: P) -> dict[str, Any]:
        """The `request` of `smsgwd render`: exactly what would be sent."""

    def shaped_by(self) -> Mapping[str, Any]:
        """What it took from smsgwd.yaml beside `depends`, secrets as Secret: built anew when one of these changes."""
        return {}

    async def start(self) -> None:
        """Begin what is kept open between sends. Returns at once; called when the gateway begins to serve."""

    @abstractmethod
    async def submit(self, prepared: P, deadline: Deadline) -> R:
        """Send it, once. Raises SubmitError when there is no answer; never waits past the deadline.

        What has to be waited for before anything leaves (a connection, a turn) is waited for until `deadline.to_leave`.
        """

    @abstractmethod
    def interpret(self, reply: R) -> Outcome:
        """What the answer means. Pure. Whatever it quotes is scrubbed by the sender."""

    def reply_of(self, prepared: P, told: Any) -> R:
        """The answer that a test has the provider give to a prepared message, as `submit` would return it.

        `told` is what `$defs.reply` of the provider's schema has found valid. A provider whose schema has no such
        definition is asked nothing: the schema refuses a `reply` for it.
        """
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Further members for `/v1/gateways/NAME`, such as `binds`."""
        return {}

    async def close(self) -> None:
        """End what is kept open. Called once, after the last send of this version."""


@dataclass(frozen=True, slots=True)
class Site:
    """What gateways use of `smsgwd.yaml`."""

    directory: Path = Path()  # the configuration directory; relative paths count from here
    http_engine: str = "auto"  # auto | requests | httptools
    smtp_servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scripts_directory: Path | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)  # of smsgwd.yaml itself


class Bench(Protocol):
    """Where a gateway is built: gives its parts, and takes every fault with its place."""

    name: str
    sender: str
    site: Site
    secrets: Mapping[str, Secret]
    resolved: bool  # False in a plain `check` or `render`: every secret is `***`, files named by settings may be absent

    def template(self, text: str, at: KeyPath, *, escape: Callable[[str], str] | None = None) -> Template:
        """The compiled template. A fault is reported at its place inside the value, and an empty template returned.

        `escape` is applied to what each `{{ }}` yields, not to the text around it.
        """

    def path(self, text: str) -> Path:
        """A file that the settings name, counted from the configuration directory; the reload will look at it, too."""

    def hide(self, value: str) -> None:
        """Take a text derived from secrets (an encoded credential) among what no log, error or answer shows."""

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
