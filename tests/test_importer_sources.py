"""What `smsgwd import privacyidea` reads, and what it says of a source that it cannot read."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from imported import HTTP, URL, taken

from smsgwd.files import NAME
from smsgwd.importers.privacyidea import mapped_names
from smsgwd.importers.source import Found, SourceError, read

ENTRY = {"providermodule": HTTP, "description": "d", "options": {"URL": URL, "n": "007"}, "headers": {"X": "y"}}
LISTED = {"id": 3, "name": "a b", "secret_options": ["n"], "secret_headers": [], **ENTRY}
EXPORT = {"smsgateway": {"a b": ENTRY}, "policy": {"x": {"action": ["*"]}}, "privacyIDEA_version": "3.12"}
ENVELOPE = {"id": 1, "jsonrpc": "2.0", "result": {"status": True, "value": [LISTED]}, "time": 1.5, "version": "x"}
OLD = {"URL": URL, "HTTP_Method": "POST", "PARAMETER": {"from": "0170"}}


def as_json(data: Any) -> str:
    """A JSON document."""
    return json.dumps(data, indent=1)


def as_yaml(data: Any) -> str:
    """As PyYAML writes it, which is what privacyIDEA exports with."""
    return yaml.safe_dump(data)


def found(text: str | bytes, stem: str = "old") -> Found:
    """What a file holds."""
    return read(text if isinstance(text, bytes) else text.encode(), "export", stem)


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize(
    ("data", "secret"), [(EXPORT, set()), ({"smsgateway": [LISTED]}, {"n"}), ([LISTED], {"n"}), (ENVELOPE, {"n"})]
)
def test_definitions(write: Any, data: Any, secret: set[str]) -> None:
    """Exports and lists, bare or in their envelope, as YAML and JSON, are the same definitions."""
    (one,) = found(write(data)).definitions
    assert (one.name, one.module, one.description) == ("a b", HTTP, "d")
    assert (one.options, one.headers) == ({"URL": URL, "n": "007"}, {"X": "y"})
    assert one.secret_options == secret


@pytest.mark.parametrize("write", [as_json, as_yaml])
def test_old_configurations(write: Any) -> None:
    """An old token configuration is named after its file."""
    assert found(write(OLD), "tokens").old == {"tokens": OLD}


@pytest.mark.parametrize("start", ["", "---\n", "# by hand\n", "---\n# by hand\n\n", "\ufeff"])
def test_a_list_in_yaml(start: str) -> None:
    """A list begins where it may begin in YAML."""
    assert len(found(start + as_yaml([LISTED])).definitions) == 1


def test_other_kinds_are_not_looked_at() -> None:
    """Beside the gateways an export may hold what is refused in ours: aliases, tags, more than a mebibyte."""
    policy = "policy:\n  a: &x [1]\n  b: *x\n  c: !!python/none ''\n  d: |\n    smsgateway:\n"
    bulk = "".join(f"  r{number}: {'x' * 1000}\n" for number in range(1500))
    text = f"event:\n{bulk}{policy}{as_yaml({'smsgateway': {'a': ENTRY}})}resolver: {{a: 1, a: 2}}\n"
    assert [one.name for one in found(text).definitions] == ["a"]


def test_where_a_section_ends() -> None:
    """A section goes on over blank lines, comments and odd line breaks inside of texts, up to the next key."""
    text = (
        f"x-1: *a\n'smsgateway' :\n# c\n\n  a:\n    providermodule: {HTTP}\n    description: \"b\u2028policy: x\"\n"
        "? odd\n: *a\nmy-key:\n- *b\n"
    )
    (one,) = found(text).definitions
    assert (one.module, one.description) == (HTTP, "b\u2028policy: x")


def test_text_in_yaml_stays_text() -> None:
    """What YAML would take for a boolean or a number, written by hand without quotes, stays what was written."""
    text = f"smsgateway: {{yes: {{providermodule: {HTTP}, description: null, options: {{CHECK_SSL: yes, n: 007}}}}}}"
    (one,) = found(text).definitions
    assert (one.name, one.description, one.options) == ("yes", "", {"CHECK_SSL": "yes", "n": "007"})


def test_values_become_text() -> None:
    """As in privacyIDEA's database, every option is text: 5 reads as "5", a truth value as the class's words."""
    entry = {
        **ENTRY,
        "options": {"URL": URL, "TIMEOUT": 5, "CHECK_SSL": True, "to": ["{phone}"], "gone": None},
        "headers": None,
    }
    (one,) = found(as_json({"smsgateway": {"a": entry}})).definitions
    assert one.options == {"URL": URL, "TIMEOUT": "5", "CHECK_SSL": "yes", "to": '["{phone}"]'}
    assert one.headers == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "export:1:1: error[empty-file]: the file is empty"),
        ("{", "export:1:2: not JSON: Expecting property name enclosed in double quotes"),
        ('{"a": 1,\n "b" 2}', "export:2:6: not JSON: Expecting ':' delimiter"),
        ("smsgateway:\n  a: [\n", "export:3:1: error[yaml-syntax]"),
        ("smsgateway:\n  a: &x {}\n", "export:2:6: error[yaml-anchor]"),
        ("- name: a\n  b: *c\n", "export:2:6: error[yaml-alias]"),
        ("smsgateway:\n  a: {options: {}, options: {}}\n", "export:2:20: error[duplicate-key]"),
        ('{"smsgateway": {"a": {}, "a": {}}}', "export: the key 'a' stands twice in one object"),
        ('{"smsgateway": {"a": []}}', "export: /smsgateway/a: not a mapping"),
        ('{"smsgateway": {"a": {"options": "x"}}}', "export: options of 'a': not a mapping"),
        ('{"smsgateway": "x"}', "export: /smsgateway: not a mapping of names"),
        ('{"smtpserver": {"a": 1}}', "export: /smtpserver/a: not a mapping"),
        ("[1]", "export: /0: not a mapping"),
        ('[{"name": "a"}, {"name": "a"}]', "export: there are two gateways 'a'"),
        ('[{"id": 1}]', "export: /0: has no name"),
        ("{}", "export: neither an export of privacyIDEA"),
        ("hello: world", "export: neither an export of privacyIDEA"),
        ("just text", "export:1:1: error[not-a-mapping]"),
        (
            '{"result": {"status": false, "error": {"code": 303, "message": "no right"}}}',
            "export: an error of privacyIDEA: no right",
        ),
        ('{"result": null}', "export: an error of privacyIDEA"),
        ('["\\ud800"]', "export: a text holds half of a surrogate pair, which is no character"),
        ("[" * 100_000, "export: nested too deeply"),
        (b"\xff\xfea", "export: not UTF-8 (octet 1)"),
        (b"\x7fELF\x02\x01\x01\x00", "export:1:1: error[control-character]"),
        (b"a" * ((64 << 20) + 1), "export: larger than 64 MiB"),
    ],
)
def test_what_cannot_be_read(text: str | bytes, words: str) -> None:
    """A source that is none of these is refused in clear words, with the place where there is one."""
    with pytest.raises(SourceError) as refused:
        found(text)
    assert str(refused.value).startswith(words)


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: f"smsgateway:\n  a: {text}".encode("utf-8", "replace"))
)
def test_nothing_but_clear_words(octets: bytes) -> None:
    """Whatever a file holds, it is read or refused."""
    with suppress(SourceError):
        read(octets, "export", "x")


# --- names


@given(st.lists(st.text(max_size=70) | st.sampled_from(["a", "A", "a b", "a-b", "Ä", "-", "", "a-2"]), max_size=12))
def test_no_name_is_lost(names: list[str]) -> None:
    """Each gets a name that fits the pattern, its own where it fits, and no two are alike but for their case."""
    mapped = mapped_names(names, NAME)
    assert list(mapped) == list(dict.fromkeys(names))
    assert all(NAME.fullmatch(name) for name in mapped.values())
    assert len({name.lower() for name in mapped.values()}) == len(mapped)
    for name in mapped:
        alike = [other for other in mapped if other.lower() == name.lower() and NAME.fullmatch(other)]
        assert mapped[name] == name or len(alike) > 1 or not NAME.fullmatch(name)


@pytest.mark.parametrize(
    ("names", "mapped"),
    [
        (["twilio", "Twilio"], ["twilio", "Twilio-2"]),
        (["a b", "a-b", "a.b"], ["a-b-2", "a-b", "a-b-3"]),
        (["Größe", "日本", "../etc"], ["Groe", "gateway", "etc"]),
        (["x" * 70, "x" * 71], ["x" * 63, "x" * 61 + "-2"]),
    ],
)
def test_names(names: list[str], mapped: list[str]) -> None:
    """What a name becomes that is none here, or that another one takes."""
    assert list(mapped_names(names, NAME).values()) == mapped


def test_a_mapped_name_is_told(tmp_path: Path) -> None:
    """A gateway that is called otherwise says so, and keeps its secrets under the new name."""
    made = taken({"smsgateway": {"My GW/1": {**ENTRY, "options": {"URL": URL, "token": "t-1234"}}}}, tmp_path)
    assert list(made.gateways) == ["My-GW-1"]
    assert made.remarks("My GW/1") == ["it is called My-GW-1 here"]
    assert made.secret("My-GW-1/token") == "t-1234\n"
    head = (tmp_path / "gateways.d" / "My-GW-1.yaml").read_text().splitlines()[:2]
    assert head == [
        "# Imported from privacyIDEA: 'My GW/1' (HttpSMSProvider).",
        "# Remark: it is called My-GW-1 here",
    ]
