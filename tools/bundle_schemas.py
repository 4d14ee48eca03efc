"""Makes each file of schemas/ whole: no `$ref` leaves its file, so editors and check-jsonschema need no network.

    python tools/bundle_schemas.py            # write
    python tools/bundle_schemas.py --check    # exit 1 when something is stale

A new provider: write schemas/NAME.schema.json (the `settings` alone) and run this. In it, refer to shared definitions
(`"$ref": "#/$defs/duration"`, see `$defs` of gateway.schema.json) without copying them; definitions of its own go into
its `$defs` under any other name. To change a shared definition, change it in gateway.schema.json and run this.

Keys that are ours: `x-template: true` marks strings that are templates, `x-secret: true` those that carry a credential,
`x-json: true` what may be any JSON, `x-not-supported: true` what has to stay empty in this version; `x-wanted` says in
words what a pattern wants. Which keys go together is said by `oneOf` or `anyOf` of `required` lists, which do not by
`not` of an `anyOf` of pairs: the findings are made from these.

What it does:
- copies the shared definitions that a file refers to into its `$defs` (gateway.schema.json is their one source);
- embeds every provider's schema in gateway.schema.json, as `$defs` named `settings-NAME`, chosen by `provider`; its
  definition `reply`, if it has one, says what a test of the file may give as the provider's answer.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"
NOT_PROVIDERS = ("gateway", "smsgwd", "token")
EMBEDDED = "settings-"  # the names of embedded definitions begin so; shared ones do not
REF = "#/$defs/"

Json = dict[str, Any]


def main() -> int:
    """Write the schemas, or say which are stale."""
    parser = argparse.ArgumentParser(description="Make the schemas self-contained.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when something is stale")
    arguments = parser.parse_args()
    stale = {path: text for path, text in bundled().items() if path.read_text("utf-8") != text}
    for path, text in stale.items():
        if arguments.check:
            print(f"{path.name} is stale: run tools/bundle_schemas.py")
        else:
            path.write_text(text, "utf-8")
    return 1 if stale and arguments.check else 0


def bundled() -> dict[Path, str]:
    """Every schema file, as it should be."""
    files = {path.name.removesuffix(".schema.json"): path for path in sorted(SCHEMAS.glob("*.schema.json"))}
    schemas = {name: json.loads(path.read_text("utf-8")) for name, path in files.items()}
    gateway = schemas.pop("gateway")
    shared = {name: part for name, part in gateway["$defs"].items() if not name.startswith(EMBEDDED)}
    whole = {name: with_definitions(schema, shared) for name, schema in schemas.items()}
    whole["gateway"] = with_providers(gateway, {n: s for n, s in whole.items() if n not in NOT_PROVIDERS}, shared)
    return {files[name]: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in whole.items()}


def with_definitions(schema: Json, shared: Json) -> Json:
    """A schema with the shared definitions that it needs, and none that it does not."""
    own = {name: part for name, part in schema.get("$defs", {}).items() if name not in shared}
    body = {key: value for key, value in schema.items() if key != "$defs"}
    used: Json = {}
    pending = sorted({*references(body), *references(own)})
    while pending:
        name = pending.pop()
        if name in shared and name not in used:
            used[name] = shared[name]
            pending += references(shared[name])
    definitions = own | dict(sorted(used.items()))
    return body | ({"$defs": definitions} if definitions else {})


def with_providers(gateway: Json, providers: dict[str, Json], shared: Json) -> Json:
    """The schema of a whole gateway file: `provider` decides what `settings` is."""
    definitions = dict(shared)
    for name, schema in providers.items():
        definitions |= embedded(name, schema, shared)
    schema = {key: value for key, value in gateway.items() if key not in {"allOf", "$defs"}}
    schema["properties"]["provider"]["enum"] = sorted(providers)
    return schema | {"allOf": [choice(name, schema) for name, schema in providers.items()], "$defs": definitions}


def choice(name: str, provider: Json) -> Json:
    """If it is this provider, then these settings."""
    reply = {"$ref": f"{REF}{EMBEDDED}{name}.reply"} if "reply" in provider.get("$defs", {}) else False
    then: Json = {
        "properties": {
            "settings": {"$ref": f"{REF}{EMBEDDED}{name}"},
            "tests": {"items": {"properties": {"reply": reply}}},
        }
    }
    if provider.get("required"):
        then["required"] = ["settings"]
    return {"if": {"properties": {"provider": {"const": name}}, "required": ["provider"]}, "then": then}


def embedded(name: str, provider: Json, shared: Json) -> Json:
    """A provider's schema as definitions of gateway.schema.json; its own definitions get names of their own."""
    own = {part: f"{EMBEDDED}{name}.{part}" for part in provider.get("$defs", {}) if part not in shared}
    body = {key: value for key, value in provider.items() if key not in {"$schema", "$id", "$defs"}}
    definitions = {f"{EMBEDDED}{name}": body} | {new: provider["$defs"][old] for old, new in own.items()}
    return {key: renamed(part, own) for key, part in definitions.items()}


def renamed(part: Any, names: dict[str, str]) -> Any:
    """A part of a schema with other names of definitions."""
    if isinstance(part, list):
        return [renamed(item, names) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {key: renamed(value, names) for key, value in part.items()}
    reference = part.get("$ref")
    if isinstance(reference, str):
        old = reference.removeprefix(REF)
        changed["$ref"] = REF + names.get(old, old)
    return changed


def references(part: Any) -> Iterator[str]:
    """The names of the definitions that a part of a schema refers to."""
    if isinstance(part, list):
        for item in part:
            yield from references(item)
    elif isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(REF)
        for value in part.values():
            yield from references(value)


if __name__ == "__main__":
    sys.exit(main())
