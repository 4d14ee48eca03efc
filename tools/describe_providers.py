"""Writes docs/providers.md from schemas/ and gateways.d/: what each provider is for, its keys, an example.

python tools/describe_providers.py            # write
python tools/describe_providers.py --check    # exit 1 when it is stale
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "providers.md"
NOT_PROVIDERS = ("gateway", "smsgwd", "token")

Json = dict[str, Any]

HEAD = """\
<!-- Written by tools/describe_providers.py from schemas/ and gateways.d/: do not edit. -->
# Providers

`provider` in a gateway file says what sort of gateway it is, and with it which keys `settings` has. The tables name
them all; `a.b` is the key `b` inside of `a`, `a[].b` that of each item of the list `a`. An editor that knows
`schemas/gateway.schema.json` completes them, `smsgwd check` finds what is wrong with them, and `smsgwd render` shows
what would be sent.

A *template* is a text that may hold `{{ phone }}`, `{{ message }}`, `{{ sender }}`, `{{ reference }}`,
`{{ vars.NAME }}` and `{{ secrets.NAME }}`. A *duration* is a whole number and a unit: `500ms`, `3s`, `2m` or `1h`.
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
MANY = {"string": "texts", "integer": "numbers", "object": "mappings"}


def main() -> int:
    """Write the page, or say that it is stale."""
    parser = argparse.ArgumentParser(description="Write docs/providers.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when it is stale")
    arguments = parser.parse_args()
    text = page()
    if arguments.check and not (PAGE.is_file() and PAGE.read_text("utf-8") == text):
        print(f"{PAGE.name} is stale: run tools/describe_providers.py")
        return 1
    if not arguments.check:
        PAGE.write_text(text, "utf-8")
    return 0


def page() -> str:
    """The page, as it has to be."""
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
    return MANY[part["type"]]


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
