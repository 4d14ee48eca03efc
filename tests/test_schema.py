"""The schemas: findings at their place, values of their type, and the same verdict as an independent checker's."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from smsgwd import schema
from smsgwd.load import load
from smsgwd.units import parse_duration

ROOT = Path(__file__).parent.parent
BAD = ROOT / "tests" / "cases" / "bad"
HTTP = "provider: http\nsettings:\n  url: http://127.0.0.1/\n"


def gateway(text: str) -> tuple[dict[str, Any] | None, list[tuple[int, int, str]]]:
    """The data of a gateway file, and place and code of what is wrong with it."""
    data, problems = schema.check_gateway(load(text.encode(), "x.yaml"))
    return data, [(problem.line, problem.column, problem.code) for problem in problems]


def properties(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each property that a schema describes."""
    if isinstance(part, list):
        for item in part:
            yield from properties(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "properties":
                yield from value.items()
            if key != "allOf":  # there the provider chooses the settings; nothing is described
                yield from properties(value)


# --- the schemas themselves


@pytest.mark.parametrize("name", schema.names())
def test_a_schema_is_one(name: str) -> None:
    """It follows the standard, has an id that nobody can fetch, and refers to nothing outside of its file."""
    document = schema.read(name)
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"urn:smsgwd:schema:{name}"
    references = [line for line in json.dumps(document, indent=1).splitlines() if '"$ref"' in line]
    assert all('"#/$defs/' in line for line in references)


@pytest.mark.parametrize("name", schema.names())
def test_every_property_is_explained(name: str) -> None:
    """Title, description and an example of each key, for editors and for `smsgwd schema`."""
    for key, found in properties({"properties": schema.read(name).get("properties", {})}):
        assert found.get("title"), key
        assert found.get("description"), key
        assert found.get("examples"), key
    for key, found in properties(schema.read(name).get("$defs", {})):
        assert {"title", "description", "examples"} <= found.keys(), key


@pytest.mark.parametrize("name", schema.names())
def test_every_example_is_valid(name: str) -> None:
    """What a schema gives as an example is what it wants."""
    document = schema.read(name)
    for _, found in properties(document):
        part = {"$defs": document.get("$defs", {}), **found}
        for example in found["examples"]:
            Draft202012Validator(part).validate(example)


@pytest.mark.parametrize("name", schema.names())
def test_every_pattern_has_words(name: str) -> None:
    """No finding ever shows a regular expression."""

    def patterns(part: Any) -> Iterator[dict[str, Any]]:
        if isinstance(part, list | dict):
            for value in part.values() if isinstance(part, dict) else part:
                yield from patterns(value)
        if isinstance(part, dict) and isinstance(part.get("pattern"), str):
            yield part

    assert all(part.get("x-wanted") for part in patterns(schema.read(name)))


def test_the_bundle_is_fresh() -> None:
    """tools/bundle_schemas.py has nothing to write."""
    tool = ROOT / "tools" / "bundle_schemas.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_unknown_schema_is_an_error() -> None:
    """No name leads out of the folder."""
    with pytest.raises(KeyError):
        schema.read("../pyproject")


# --- types


TYPED = f"""\
provider: http
sender: 0171
enabled: true
max_segments: 3
description: 2026-11-21
phone: {{short_codes: false}}
templates: {{1e3: x}}
settings:
  url: http://127.0.0.1/
  query: {{a: +491701234567, b: yes, c: [12:30, 1.50, true, "2"], d: "", e: no}}
  success: {{status: [200, 201], json: {{pointer: /a, in: [1, true]}}}}
  json:
    a: [1, -2.5, 1e2, true, null, {"9" * 40}]
    b: [yes, 0171, +1, 0x1F, .5, "1", "true", ~, 1_000, 12:30, 01, True]
"""


def test_values_get_the_type_that_the_schema_wants() -> None:
    """Text is what was written, a number one only where one is wanted or in JSON."""
    data, found = gateway(TYPED.replace("templates: {1e3: x}\n", ""))
    assert not found
    assert data == {
        "provider": "http",
        "sender": "0171",
        "enabled": True,
        "max_segments": 3,
        "description": "2026-11-21",
        "phone": {"short_codes": False},
        "settings": {
            "url": "http://127.0.0.1/",
            "query": {"a": "+491701234567", "b": "yes", "c": ["12:30", "1.50", "true", "2"], "d": "", "e": "no"},
            "success": {"status": [200, 201], "json": {"pointer": "/a", "in": ["1", "true"]}},
            "json": {
                "a": [1, -2.5, 100.0, True, None, int("9" * 40)],
                "b": ["yes", "0171", "+1", "0x1F", ".5", "1", "true", "~", "1_000", "12:30", "01", "True"],
            },
        },
    }


@pytest.mark.parametrize(
    "text", ["1", "-0", "1.5", "1e5", "true", "null", "01", "+1", "1.", "NaN", "Infinity", "1e999"]
)
def test_json_is_typed_as_json_says(text: str) -> None:
    """Inside `json` a plain scalar has a type exactly where JSON itself gives it one."""
    data, found = gateway(f"{HTTP}  json: [{text}]\n")
    assert data is not None
    try:
        wanted = json.loads(text, parse_constant=lambda _: text)
    except ValueError:
        wanted = text
    if wanted == float("inf"):
        assert found == [(4, 10, "bad-value")]
    else:
        assert not found
        assert data["settings"]["json"] == [wanted]
        assert type(data["settings"]["json"][0]) is type(wanted)


# --- what is left


def test_what_is_wrong_is_left_out() -> None:
    """The rest of the data is valid, so that the rest of the checks can go on."""
    text = """\
provider: http
enabled: no
retry: {attempts: 99, wait: 1s}
phone: {rewrite: [{match: a}, {match: b, replace: c}]}
secrets: {a: {env: A}, b: {env: B, file: C}}
templates: {a: {txt: x}, b: {text: x, vars: {c: {max_length: x, charset: digits}}}}
nonsense: x
settings: {url: x, query: {a: [b, *c, d]}}
"""
    data, _ = gateway(text)
    assert data == {
        "provider": "http",
        "retry": {"wait": "1s"},
        "phone": {},
        "secrets": {"a": {"env": "A"}},
        "templates": {"b": {"text": "x", "vars": {"c": {"charset": "digits"}}}},
        "settings": {"url": "x", "query": {"a": ["b", None, "d"]}},
    }


def test_templates_of_unsound_settings_are_found() -> None:
    """Every template leaf, with its path, whatever else is wrong."""
    data, _ = gateway(
        f"{HTTP}  query: {{a: x, b: [y, 1]}}\n  json: {{c: [z, 1, true]}}\n  failure: {{contains: n}}\n  bad: n\n"
    )
    assert data is not None
    assert list(schema.template_leaves("http", data["settings"])) == [
        (("url",), "http://127.0.0.1/"),
        (("query", "a"), "x"),
        (("query", "b", 0), "y"),
        (("query", "b", 1), "1"),
        (("json", "c", 0), "z"),
    ]
    assert list(schema.template_leaves("nobody", data["settings"])) == []


def test_an_alias_is_told_once() -> None:
    """What the loader refused is no missing key and no wrong type besides."""
    assert gateway("provider: http\nsettings: {url: *x}\n")[1] == []


def test_a_number_too_long_for_python_is_a_finding() -> None:
    """5,000 digits do not raise."""
    digits = "9" * 5000
    assert gateway(f"{HTTP}  json: {digits}\nmax_segments: {digits}\n")[1] == [
        (4, 9, "bad-value"),
        (5, 15, "wrong-type"),
    ]


@pytest.mark.parametrize("text", ["deadline: 30s", "phone: {region: DE}", "secrets: {a: {env: A}}"])
def test_no_text_may_end_in_a_line_break(text: str) -> None:
    """Python's `$` also fits before a last line break; ours does not."""
    assert not gateway(f"provider: console\n{text}\n")[1]
    value = text.replace(": ", ": X", 1) if "{" not in text else text
    broken = {"deadline: X30s": 'deadline: "30s\\n"'}.get(
        value, value.replace("DE", '"DE\\n"').replace("{a:", '{"a\\n":')
    )
    assert [code for _, _, code in gateway(f"provider: console\n{broken}\n")[1]] == ["bad-value"]


@given(st.from_regex(r"[0-9]{1,10}(ms|s|m|h|d)?\n?", fullmatch=True))
@settings(deadline=None)
def test_a_duration_is_what_the_program_reads(text: str) -> None:
    """Schema and program agree on every duration."""
    try:
        parse_duration(text)
        valid = True
    except ValueError:
        valid = False
    assert (gateway(f"provider: console\ndeadline: {json.dumps(text)}\n")[1] == []) is valid


def test_many_files_are_quick() -> None:
    """A hundred files of a usual size are read and checked in a moment, the first included."""
    text = TYPED.replace("templates: {1e3: x}\n", "").encode()
    began = time.process_time()
    for _ in range(100):
        schema.check_gateway(load(text, "x"))
    assert time.process_time() - began < 3


def test_many_faults_are_bounded() -> None:
    """A file of nothing but unknown keys ends soon."""
    text = "provider: console\n" + "".join(f"provider{number}: x\n" for number in range(40_000))
    began = time.process_time()
    _, found = gateway(text)
    assert len(found) == 1000
    assert time.process_time() - began < 8


# --- an independent checker

GOOD = {
    "console": "provider: console\n",
    "settings": "provider: console\nsettings: {}\nlimits: {}\ntests: []\n",
    "http": TYPED.replace("0171", '"0171"')
    .replace("+491701234567", '"+491701234567"')
    .replace(": yes", ': "yes"')
    .replace("[12:30, 1.50, true,", '["12:30", "1.50", "true",')
    .replace("e: no", 'e: "no"')
    .replace("[1, true]", '["1"]')
    .replace("2026-11-21", '"2026-11-21"')
    .replace("templates: {1e3: x}\n", ""),
    "bodies": f"{HTTP}  method: PUT\n  xml: <a/>\n  auth: {{bearer: x}}\nsecrets: {{t: {{env: t}}}}\n",
    "basic": f"{HTTP}  auth: {{username: u, password: ''}}\n  tls: {{client_cert: c, client_key: k}}\n",
}
# What only smsgwd looks at: YAML itself, templates, literal credentials, phone numbers, regular expressions.
STRUCTURAL = {
    "bad-value",
    "conflicting-keys",
    "missing-key",
    "no-value",
    "not-supported",
    "unknown-key",
    "unknown-provider",
    "wrong-type",
}
# Read in another way by a plain YAML reader, or not at all.
READ_OTHERWISE = (
    "yaml",
    "syntax",
    "sops",
    "duplicate",
    "too",
    "not",
    "empty",
    "control",
    "key",
    "site",
    "token",
    "json",
    "literal-dup",
)


def verdicts(files: list[Path], name: str) -> dict[str, bool]:
    """Of each file, whether check-jsonschema finds it valid. It gets no network: proxies lead nowhere."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    command: list[str | Path] = [tool, "--schemafile", ROOT / "schemas" / f"{name}.schema.json", "-o", "json", *files]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **nowhere})
    report = json.loads(done.stdout)
    assert not report.get("parse_errors"), report["parse_errors"]
    wrong = {Path(error["filename"]).name for error in report.get("errors", [])}
    return {file.name: file.name not in wrong for file in files}


def test_the_schemas_work_by_themselves(tmp_path: Path) -> None:
    """check-jsonschema agrees with us on what is structurally wrong, in good files and in bad ones."""
    for name, text in GOOD.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [*tmp_path.glob("*.yaml")]
    files += [path for path in BAD.glob("*.yaml") if not path.stem.startswith(READ_OTHERWISE)]
    assert len(files) > 50
    theirs = verdicts(files, "gateway")
    ours = {}
    for file in files:
        _, problems = schema.check_gateway(load(file.read_bytes(), file.name))
        ours[file.name] = not {problem.code for problem in problems} & STRUCTURAL
    assert ours == theirs


def test_the_shipped_files_are_valid_to_others() -> None:
    """Every example, and smsgwd.yaml if there is one, passes check-jsonschema."""
    examples = sorted((ROOT / "gateways.d").glob("*.yaml"))
    if examples:
        assert all(verdicts(examples, "gateway").values())
    site = [path for path in (ROOT / "smsgwd.yaml",) if path.exists()]
    assert all(verdicts(site, "smsgwd").values()) if site else True


def test_the_example_of_the_interface_is_valid() -> None:
    """smsgwd.yaml with every key is valid."""
    text = """\
socket: {path: /run/smsgwd/smsgwd.sock, mode: 0660, group: smsgwd}
writable: false
access:
  - {users: [alertmanager, 1001, "1002"], allow: [send], gateways: ["ops-*"]}
  - {groups: [sms-admins], allow: [send, status, reload, smsgateway_read, smsgateway_write]}
secrets: {mail: {file: secrets.d/mail}}
smtp_servers:
  corp: {host: mail.example.com, port: 587, tls: starttls, verify: true, ca_file: ca.pem, username: sms,
         password: "{{ secrets.mail }}", from: sms@example.com, timeout: 10s}
scripts: {directory: /etc/smsgwd/scripts}
limits: {}
otp: {}
log: {format: json, level: info, privacy: true}
http: {engine: auto}
"""
    data, problems = schema.check_site(load(text.encode(), "smsgwd.yaml"))
    assert problems == ()
    assert data is not None
    assert data["socket"]["mode"] == "0660"
    assert data["access"][0]["users"] == ["alertmanager", 1001, "1002"]
    assert data.keys() == yaml.safe_load(text).keys()
    assert [path for path, _ in schema.site_secret_leaves(data)] == [("smtp_servers", "corp", "password")]
