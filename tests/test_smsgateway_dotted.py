"""Settings as dotted options, and gateways that no class of privacyIDEA can be."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_gateway import CENSORED, Stored

from smsgwd import schema
from smsgwd.errors import RequestError
from smsgwd.load import load
from smsgwd.privacyidea.dotted import PathError, descriptor, gather, spread
from smsgwd.schema import check_gateway

EXAMPLES = Path(__file__).parent.parent / "gateways.d"
KEYS = st.text(st.sampled_from("a.\\0 1{"), max_size=3)
TEXTS = st.one_of(st.text(st.sampled_from('a1.[]{}"\\ -'), max_size=4), st.sampled_from(["true", "null", "1e3", "NaN"]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-9, 9), TEXTS)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(JSON, st.dictionaries(KEYS, st.one_of(TEXTS, st.lists(TEXTS, max_size=2)), max_size=3))
@settings(max_examples=300, deadline=None)
def test_settings_come_back(value: Any, query: dict[str, Any]) -> None:
    """Whatever JSON and parameters a file holds, its dotted options are the same settings again, types included."""
    given_settings = {
        "url": "https://x",
        "json": value,
        "query": query,
        "tls": {"verify": False},
        "success": {"status": [200]},
    }
    options = spread("http", given_settings)
    assert all(isinstance(text, str) for text in options.values())
    back = gather("http", options)
    assert (back, repr(back)) == (given_settings, repr(given_settings))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"query.a": "x", "query.a.b": "y"}, "inside of another one"),
        ({"query.a.b": "y", "query.a": "x"}, "inside of another one, or is there twice"),
        ({"query.a.0": "x", "query.a.2": "y"}, "have to be counted from 0"),
        ({"query.a\\": "x"}, "is no path"),
        ({"json.a": "1", "json.\\a": "2"}, "is there twice"),
        ({"query.0": "1", "query.\\0": "2"}, "written in two ways"),
        ({".".join("a" * 50): "x"}, "is no path"),
    ],
)
def test_paths_that_contradict_each_other(options: dict[str, str], why: str) -> None:
    """Options that cannot be one tree of settings are refused, with the reason."""
    with pytest.raises(PathError, match=why):
        gather("http", options)


@pytest.mark.parametrize("provider", schema.provider_names())
def test_every_provider_is_described(provider: str) -> None:
    """Each setting of each provider has a description; what its schema requires is required."""
    found = descriptor(provider)
    assert all(parameter["description"] for parameter in found["parameters"].values())
    required = {key for key, parameter in found["parameters"].items() if parameter.get("required")}
    assert set(schema.setting_at(provider, ()).get("required", ())) <= required


def read(path: Path) -> Stored:
    """An example as it stands in its file."""
    text = path.read_text()
    data, _ = check_gateway(load(text.encode(), path.name))
    assert data is not None
    return Stored(text, {name: f"geheim-{name}" for name in data.get("secrets", {})})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_read_and_written(path: Path) -> None:
    """Each shipped example is shown without a secret, and writing what is read changes not a character."""
    stored = read(path)
    assert "geheim-" not in str(stored.entry)
    text, values = stored.text, stored.values
    description = stored.entry["description"]
    stored.post_entry()
    assert (stored.text, stored.values) == (text, values)
    assert stored.entry["description"] == description


FILE = """\
# ours
provider: http
description: words
max_segments: 3   # not more
secrets: {token: {file: secrets.d/x/token}, user: {env: THE_USER}}
templates:
  login: {text: "Code {{ vars.code }}", vars: {code: {}}}
settings:
  url: https://gateway.test/send   # where to
  form: {to: "{{ phone }}", text: "{{ message }}", token: "{{ secrets.token }}"}
  auth: {username: "{{ secrets.user }}", password: "{{ secrets.token }}"}
"""
FILE = FILE.replace("{{ vars.code }}", "{{ code }}")


def ours() -> Stored:
    """A gateway with templates, which no definition has."""
    return Stored(FILE, {"token": "geheim-1", "user": "geheim-2"})


def test_secrets_show_as_references() -> None:
    """What no class can be is shown with its settings, and each secret as the reference that stands there."""
    entry = ours().entry
    assert entry["providermodule"] == "smsgwd.providers.http"
    assert entry["options"] == {
        "url": "https://gateway.test/send",
        "form.to": "{{ phone }}",
        "form.text": "{{ message }}",
        "form.token": "{{ secrets.token }}",
        "auth.username": "{{ secrets.user }}",
        "auth.password": "{{ secrets.token }}",
    }
    assert (entry["secret_options"], entry["headers"]) == ([], {})


def test_settings_change_and_the_rest_stays() -> None:
    """Settings and description are replaced, typed as the schema wants; all else of the file stays, comments too."""
    stored = ours()
    stored.post_entry(
        **{"option.tls.verify": False, "option.success.status.0": 202, "option.form.text": "Hi {{ message }}"}
    )
    assert "max_segments: 3   # not more" in stored.text
    assert 'login: {text: "Code {{ code }}"' in stored.text
    assert "verify: false" in stored.text
    assert "[202]" in stored.text
    stored.post(module="smsgwd.providers.http", **{"option.url": "https://gateway.test/other"})
    assert stored.entry["options"] == {"url": "https://gateway.test/other"}
    assert stored.entry["description"] is None
    assert stored.values == {"user": "geheim-2"}  # the secret of its own that nothing refers to any more is gone


def test_a_new_credential_becomes_a_secret() -> None:
    """What stands where a credential belongs becomes a secret, and the reference that stands there shows."""
    stored = ours()
    stored.post_entry(
        **{"option.headers.X-Api-Key": "geheim-3", "option.auth.username": "me", "option.form.token": "geheim-4"}
    )
    assert stored.entry["options"]["headers.X-Api-Key"] == "{{ secrets.x_api_key }}"
    assert stored.entry["options"]["form.token"] == "{{ secrets.token_2 }}"  # `token` is used elsewhere, too
    assert "geheim" not in stored.text
    assert stored.values == {"token": "geheim-1", "user": "geheim-2", "x_api_key": "geheim-3", "token_2": "geheim-4"}
    stored.post_entry(**{"option.headers.X-Api-Key": "geheim-5"})
    assert stored.values["x_api_key"] == "geheim-5"


@pytest.mark.parametrize(
    "changes",
    [
        {"option.form.text": "{{ secrets.token }} {{ message }}"},
        {"option.url": "https://evil.test/{{ secrets.token }}"},
        {"option.form.to": "{{ secrets.token }}"},
        {"option.form.more": "{{secrets.user}}"},
        {"option.form.token": "{{ secrets.user }}"},
        {"option.form.more": "{% if secrets.user %}x{% endif %}"},
    ],
)
def test_a_reference_cannot_be_put_elsewhere(changes: dict[str, str]) -> None:
    """A reference to a secret stays where it stands: no caller has it sent to another place by naming it there."""
    stored = ours()
    with pytest.raises(RequestError, match="can be put nowhere else"):
        stored.post_entry(**changes)
    assert stored.text == FILE


def test_what_cannot_be_a_secret() -> None:
    """A flag on a setting that stands in the file itself, or on a template, is refused."""
    stored = ours()
    with pytest.raises(RequestError, match="method cannot be a secret"):
        stored.post_entry(**{"option.method": "POST", "secret.option.method": 1})
    with pytest.raises(RequestError, match="is a template"):
        stored.post(module="smsgwd.providers.http", **{"option.url": "https://x/{{ phone }}", "secret.option.url": 1})


def test_censored_keeps_what_stands_there() -> None:
    """__CENSORED__ keeps a setting as it is; where there is none it is dropped."""
    stored = ours()
    stored.post(
        module="smsgwd.providers.http",
        **{"option.url": CENSORED, "option.form.token": CENSORED, "option.form.more": CENSORED},
    )
    assert stored.entry["options"] == {"url": "https://gateway.test/send", "form.token": "{{ secrets.token }}"}


def test_a_setting_is_deleted() -> None:
    """A setting goes with the secret that only it referred to; without its prefix a dotted one is not there."""
    stored = ours()
    stored.delete("option.form.token")
    assert stored.values == {"user": "geheim-2", "token": "geheim-1"}
    with pytest.raises(RequestError, match="`password` is missing"):
        stored.delete("option.auth.password")
    for key in ("form.text", "option.form.token", "header.url", "option.form", "option.form.to.0"):
        with pytest.raises(RequestError) as caught:
            stored.delete(key)
        assert caught.value.code == "not-found"


def test_it_is_not_overwritten_with_a_class() -> None:
    """A definition of privacyIDEA cannot say what such a file says: it is refused, and what would be lost is named."""
    stored = ours()
    http = "privacyidea.lib.smsprovider.HttpSMSProvider.HttpSMSProvider"
    for module in (http, "smsgwd.providers.console"):
        with pytest.raises(RequestError, match="templates") as caught:
            stored.post(module=module, **{"option.URL": "https://x"})
        assert caught.value.code == "lossy-overwrite"
        assert "max_segments" in str(caught.value)
    assert stored.text == FILE
