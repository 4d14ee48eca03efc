"""One gateway as privacyIDEA's clients write and read it, kept in memory: the daemon without files and socket."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smsgwd.compile import compile_gateway
from smsgwd.dump import dump
from smsgwd.edit import edited
from smsgwd.errors import RequestError, has_errors
from smsgwd.load import load
from smsgwd.notes import noted
from smsgwd.privacyidea import asked
from smsgwd.providers._base import Site
from smsgwd.schema import check_gateway
from smsgwd.secret import Secret
from smsgwd.server import smsgateway
from smsgwd.writing import Current, Wanted

CENSORED = "__CENSORED__"
SITE = Site(
    Path("/nowhere"),
    smtp_servers={"corp": {"host": "mail.example", "from": "sms@example.com"}, "plain": {"host": "m", "from": "a@b"}},
    scripts_directory=Path("/nowhere/scripts"),
)


class Stored:
    """The gateway `x`: its file, and the values of its secrets."""

    def __init__(self, text: str = "", secrets: Mapping[str, str] | None = None) -> None:
        self.text = text
        self.secrets = {name: Secret(value) for name, value in (secrets or {}).items()}

    @property
    def values(self) -> dict[str, str]:
        """The secrets, revealed."""
        return {name: secret.reveal() for name, secret in self.secrets.items()}

    @property
    def current(self) -> Current | None:
        """As the writer finds it."""
        if not self.text:
            return None
        source = load(self.text.encode(), "gateways.d/x.yaml")
        data, problems = check_gateway(source)
        assert not problems
        return Current("x", source.file, self.text, source, data, self.secrets, "sha256:x")

    @property
    def entry(self) -> dict[str, Any]:
        """As it is listed."""
        current = self.current
        assert current is not None
        assert current.data is not None
        return smsgateway.said("x", current.data, self.text)

    def post(self, **parameters: Any) -> None:
        """`POST /smsgateway`. Raises RequestError; then nothing has changed."""
        wanted = asked.read({"name": "x", **parameters})
        smsgateway.check_module(wanted.module)
        self._take(smsgateway.writing(wanted, SITE))

    def post_entry(self, **changes: Any) -> None:
        """What is read, written again as privacyIDEA's own page does."""
        self.post(**{**as_parameters(self.entry), **changes})

    def delete(self, key: str) -> None:
        """`DELETE /smsgateway/option/ID/KEY`."""
        self._take(smsgateway.deleting("x", *smsgateway.kind_and_key(key), SITE))

    def _take(self, change: smsgateway.Change) -> None:
        current = self.current
        wanted = change.make(current)
        assert wanted is not None
        self._compile(wanted, current)

    def _compile(self, wanted: Wanted, current: Current | None) -> None:
        assert wanted.data is not None
        text = dump(wanted.data) if current is None else edited(current.text, wanted.data)
        text = noted(text, wanted.notes)
        source = load(text.encode(), "gateways.d/x.yaml")
        _, problems = compile_gateway("x", source, SITE, resolve=False)
        if has_errors(problems):
            raise RequestError("invalid-config", "; ".join(map(str, problems)))
        names = wanted.data.get("secrets", {})
        assert wanted.secrets.keys() <= names.keys()
        self.text = text
        self.secrets = {name: value for name, value in {**self.secrets, **wanted.secrets}.items() if name in names}
        assert self.secrets.keys() == names.keys()


def as_parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the list as the parameters that write it."""
    return {
        "module": entry["providermodule"],
        "description": entry["description"],
        **{f"option.{key}": text for key, text in entry["options"].items()},
        **{f"header.{key}": text for key, text in entry["headers"].items()},
        **{f"secret.option.{key}": key in entry["secret_options"] for key in entry["options"]},
        **{f"secret.header.{key}": key in entry["secret_headers"] for key in entry["headers"]},
    }
