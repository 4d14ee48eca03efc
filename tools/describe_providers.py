"""Writes docs/providers.md and docs/configuration.md from schemas/ and gateways.d/: every key of every file.

python tools/describe_providers.py            # write
python tools/describe_providers.py --check    # exit 1 when one is stale
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smsgwd.templates.filters import NAMES

ROOT = Path(__file__).resolve().parent.parent
PROVIDERS = ROOT / "docs" / "providers.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
NOT_PROVIDERS = ("gateway", "smsgwd", "token")

Json = dict[str, Any]

HEAD = """\
<!-- Written by tools/describe_providers.py from schemas/ and gateways.d/: do not edit. -->
# Providers

`provider` in a gateway file says what sort of gateway it is, and with it which keys `settings` has. The tables name
them all; `a.b` is the key `b` inside of `a`, `a[].b` that of each item of the list `a`. An editor that knows
`schemas/gateway.schema.json` completes them, `smsgwd check` finds what is wrong with them, and `smsgwd render` shows
what would be sent.

What a *template* may hold, and what all gateways have in common, stands in [configuration.md](configuration.md).
A *duration* is a whole number and a unit: `500ms`, `3s`, `2m` or `1h`.
"""
FILES = """\
<!-- Written by tools/describe_providers.py from schemas/: do not edit. -->
# The configuration directory

    gateways.d/NAME.yaml   one gateway per file; the file's name is the gateway's
    tokens.d/NAME.yaml     optional: one user each who logs in with a PIN and a one-time password ([otp.md](otp.md))
    smsgwd.yaml            optional: everything that is not one gateway

`smsgwd --config DIR`, or `$SMSGWD_CONFIG`, names the directory; without either it is `/etc/smsgwd`. Paths in the files
count from it. In the tables `a.b` is the key `b` inside of `a`, `a[].b` that of each item of the list `a`, and `NAME`
stands for names of your own. A *duration* is a whole number and a unit: `500ms`, `3s`, `2m` or `1h`.

## Templates

Texts in `settings` are templates in Jinja's syntax. They may hold

- `{{ phone }}` (formatted by the rules of `phone`), `{{ message }}` and its other name `{{ otp }}` (the text that is
  sent), `{{ sender }}`, `{{ reference }}`,
- `{{ vars.NAME }}`: a variable that some template of the file declares; empty when the caller sent a text,
- `{{ secrets.NAME }}`: a secret of the file; it stands bare, text around it is allowed,
- filters: `{{ phone | digits }}`; there are FILTERS,
- `{% if vars.NAME == "x" %}...{% elif ... %}...{% else %}...{% endif %}` and `{{ a if b else c }}`, with `==`, `!=`,
  `in`, `not in`, `and`, `or`, `not`; `~` joins two texts.

There is nothing else: no loop, no call, no arithmetic. The provider serialises what a template yields, so no character
of a message can change the structure of a request. The texts of `templates` see their own `vars` alone (and `otp`, in
messages for one-time passwords).

## Secrets

A credential never stands in these files: `secrets` says where it comes from, a file, a variable of the environment or a
credential of systemd. A secret file belongs to the daemon's user and has the mode 0600: one that others may read is an
error (on a read-only mount, such as Kubernetes' volumes, a warning), and with the units of `systemd/` the group
`smsgwd` is that of everyone who may send. A new value takes effect by itself within a second; only the gateways that
use it begin anew. `smsgwd check --secrets` tells which are missing and which are exposed. With `writable: true` the
secrets of the gateway NAME are written to `secrets.d/NAME/`, in which no file may be a link that leads out of
`secrets.d` ([admin.md](admin.md)).

"""
KEYS = """\
| key | what it may be | default | what it is |
|---|---|---|---|
"""
ONE = {
    "string": "text",
    "boolean": "`true` or `false`",
    "integer": "number",
    "object": "mapping",
    "array": "list",
}
MANY = {
    "string": "texts",
    "integer": "numbers",
    "number": "numbers",
    "boolean": "booleans",
    "object": "mappings",
    "array": "lists",
}


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description="Write docs/providers.md and docs/configuration.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when one is stale")
    arguments = parser.parse_args()
    pages = {PROVIDERS: providers_page(), CONFIGURATION: configuration_page()}
    stale = {path: text for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if arguments.check:
            print(f"{path.name} is stale: run tools/describe_providers.py")
        else:
            path.write_text(text, "utf-8")
    return 1 if stale and arguments.check else 0


def configuration_page() -> str:
    """What all gateway files have in common, and smsgwd.yaml."""
    filters = ", ".join(f"`{name}`" for name in sorted(NAMES))
    parts = [FILES.replace("FILTERS", filters)]
    for name, title in (("gateway", "A gateway file"), ("smsgwd", "smsgwd.yaml"), ("token", "A token file")):
        schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text("utf-8"))
        rows = "".join(keys(schema, schema["$defs"]))
        parts.append(f"## {title}\n\n{schema['description']}\n\n{KEYS}{rows}\n")
    return "".join(parts).rstrip() + "\n"


def providers_page() -> str:
    """What each provider is for, its keys, an example."""
    schemas = {path.name.removesuffix(".schema.json"): path for path in sorted((ROOT / "schemas").glob("*.json"))}
    providers = {name: json.loads(path.read_text("utf-8")) for name, path in schemas.items()}
    examples = shipped()
    described = [
        section(name, schema, examples[name]) for name, schema in providers.items() if name not in NOT_PROVIDERS
    ]
    return HEAD + "\n" + "\n".join([overview(providers, examples), *described])


def shipped() -> dict[str, list[Path]]:
    """The examples of each provider; the one that has its name comes first."""
    found: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "gateways.d").glob("*.yaml")):
        match = re.search(r"^provider: ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)
        if match:
            found.setdefault(match[1], []).append(path)
    return {name: sorted(paths, key=lambda path: path.stem != name) for name, paths in found.items()}


def overview(providers: dict[str, Json], examples: dict[str, list[Path]]) -> str:
    """The table of all providers."""
    rows = [
        f"| [`{name}`](#{name}) | {cell(schema['description'])} | {', '.join(map(link, examples[name]))} |\n"
        for name, schema in providers.items()
        if name not in NOT_PROVIDERS
    ]
    return "| provider | what it is for | examples |\n|---|---|---|\n" + "".join(rows)


def section(name: str, schema: Json, examples: list[Path]) -> str:
    """All about one provider."""
    rows = "".join(keys(schema, schema.get("$defs", {})))
    first, *others = examples
    more = f"More of them: {', '.join(map(link, others))}.\n\n" if others else ""
    return (
        f"## {name}\n\n{schema['description']}\n\n"
        + (KEYS + rows + "\n" if rows else "")
        + f"{link(first)}:\n\n```yaml\n{first.read_text('utf-8')}```\n"
        + ("\n" + more.rstrip() + "\n" if more else "")
    )


def keys(schema: Json, definitions: Json, before: str = "") -> Iterator[str]:
    """A row for each key of a mapping, those inside of it below it."""
    required = schema.get("required", ())
    for key, part in schema.get("properties", {}).items():
        whole = filled_in(part, definitions)
        default = "required" if key in required else value(whole["default"]) if "default" in whole else ""
        yield f"| `{before}{key}` | {kind(whole, definitions)} | {default} | {cell(whole['description'])} |\n"
        yield from keys(whole, definitions, f"{before}{key}.")
        yield from keys(filled_in(whole.get("items", {}), definitions), definitions, f"{before}{key}[].")
        named = whole.get("additionalProperties", {})
        yield from keys(filled_in(named, definitions) if named else {}, definitions, f"{before}{key}.NAME.")


def filled_in(part: Json, definitions: Json) -> Json:
    """A part of a schema together with the definition that it refers to; `name` is what that is called."""
    if "$ref" not in part:
        return part
    name = part["$ref"].removeprefix("#/$defs/")
    return {"name": name, **filled_in(definitions[name], definitions), **part}


def kind(part: Json, definitions: Json) -> str:
    """What a value may be, in words."""
    if part.get("x-json"):
        return "any JSON, its strings templates"
    if "enum" in part:
        return ", ".join(map(value, part["enum"]))
    if part.get("name") == "duration":
        return "duration"
    types = [part.get("type", "object")] if isinstance(part.get("type", "object"), str) else part["type"]
    return " or ".join(one_kind(part, name, definitions) for name in types)


def one_kind(part: Json, name: str, definitions: Json) -> str:
    """One of the types that a value may have."""
    if name == "string" and part.get("x-secret"):
        return "template, its credential from a secret"
    if name == "string" and part.get("x-template"):
        return "template"
    if name == "integer" and "minimum" in part:
        return f"{part['minimum']} to {part['maximum']}"
    inner = part.get({"array": "items", "object": "additionalProperties"}.get(name, ""))
    return f"{ONE[name]} of {several(filled_in(inner, definitions), part)}" if inner else ONE[name]


def several(part: Json, outer: Json) -> str:
    """What the values inside of a list or mapping are."""
    if "enum" in part:
        return ", ".join(map(value, part["enum"]))
    if part.get("x-template") or outer.get("x-template"):
        return "templates" if part.get("type") == "string" else "templates or lists of them"
    types = part.get("type", "object")
    return " or ".join(MANY[name] for name in ([types] if isinstance(types, str) else types))


def value(data: Any) -> str:
    """A value as it stands in a file."""
    text = data if isinstance(data, str) and data else json.dumps(data, ensure_ascii=False)
    return f"`{text}`"


def cell(text: str) -> str:
    """A text inside of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def link(path: Path) -> str:
    """A link to an example."""
    return f"[`gateways.d/{path.name}`](../gateways.d/{path.name})"


if __name__ == "__main__":
    sys.exit(main())
