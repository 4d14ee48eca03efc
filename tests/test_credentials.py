"""Literal credentials: each is found, nothing else is, and no word repeats one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsgwd import schema
from smsgwd.credentials import is_credential, is_literal, literal_secrets, shown
from smsgwd.errors import Problem
from smsgwd.load import load

NAMES = """password Password PASSWORD userPassword user_pass pass passwords pwd token tokens access-token accessToken
authToken auth_token x-api-key X-Api-Key apikey apiKey APIKey api_keys secret client_secret secretKey Authorization
Proxy-Authorization bearer passwd passphrase password1 kennwort api.token"""
OTHERS = """passenger tokenize passage bypass compass key keys auth author user username to text token_type
password_length secretary spassword pin message from sender api apix max_pass_count url"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_key_named_like_a_credential_is_known(name: str) -> None:
    """As a whole word, in any case and style, in the plural too."""
    assert is_credential(name)


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_key_that_only_resembles_one_is_not(name: str) -> None:
    """A part of a word is no alarm, nor is what only tells something about a credential."""
    assert not is_credential(name)


LITERALS = [
    "hunter2",
    "{{ 'hunter2' }}",
    '{{ "a" ~ "b" }}',
    "{{ 'a' | upper }}",
    "{# secrets.x #}a",
    "{{ 'secrets.x' }}",
    "{{ x",
]
TEMPLATES = [
    "",
    "{{ secrets.x }}",
    "Bearer {{ secrets.x }}",
    "{% if phone %}a{% endif %}",
    "{{ unknown }}",
    "{{-secrets.x-}}",
]


@pytest.mark.parametrize("text", LITERALS)
def test_a_text_that_reads_no_name_is_literal(text: str) -> None:
    """Quotes, filters and comments around it do not make it anything else."""
    assert is_literal(text)


@pytest.mark.parametrize("text", TEMPLATES)
def test_a_text_that_reads_a_name_is_not(text: str) -> None:
    """Nor is an empty one; a name that does not exist is another finding."""
    assert not is_literal(text)


def found(settings: str, head: str = "") -> list[Problem]:
    """The literal credentials of an http gateway with these settings."""
    text = f"provider: http\n{head}settings:\n  url: https://127.0.0.1/\n{settings}\n"
    source = load(text.encode(), "x.yaml")
    assert not source.problems
    data, _ = schema.check_gateway(source)
    return literal_secrets(source, data or {})


BAD = {
    "  auth: {username: u, password: hunter2}": "/settings/auth/password",
    "  auth: {username: u, password: 'hunter2{{ phone }}'}": "/settings/auth/password",
    "  auth: {bearer: hunter2}": "/settings/auth/bearer",
    "  headers: {Authorization: Bearer hunter2}": "/settings/headers/Authorization",
    "  headers: {Proxy-Authorization: hunter2}": "/settings/headers/Proxy-Authorization",
    "  query: {password: hunter2}": "/settings/query/password",
    "  query: {tokens: ['{{ secrets.a }}', hunter2]}": "/settings/query/tokens/1",
    "  form: {apiKey: hunter2}": "/settings/form/apiKey",
    "  json: {a: [{pwd: 123456}]}": "/settings/json/a/0/pwd",
    "  json: {a: https://u:hunter2@127.0.0.1/}": "/settings/json/a",
    "  json: {b: 'https://me@example.com:hunter2@127.0.0.1/'}": "/settings/json/b",
    "  proxy: {http: 'http://u:hunter2@p:1'}": "/settings/proxy/http",
    "  proxy: {http: 'http://{{ secrets.u }}:hunter2@p:1'}": "/settings/proxy/http",
    "  xml: '<a><password>hunter2</password></a>'": "/settings/xml",
    "  xml: '<a ns:token=\"hunter2\"/>'": "/settings/xml",
    "  unknown: {secret: hunter2}": "/settings/unknown/secret",
}


@pytest.mark.parametrize(("settings", "pointer"), BAD.items())
def test_a_literal_credential_is_found(settings: str, pointer: str) -> None:
    """At its place, once, in every field that can carry one; the value is in no word of the finding."""
    (problem,) = found(settings)
    assert (problem.code, problem.pointer) == ("literal-secret", pointer)
    assert "hunter2" not in str(problem.as_dict())
    assert "secrets" in problem.hint


GOOD = [
    "  auth: {username: hunter2, password: '{{ secrets.a }}'}",
    "  auth: {username: u, password: ''}",
    "  headers: {Authorization: 'Bearer {{ secrets.a }}', X-Passenger: x}",
    "  query: {pass: '{{ secrets.a }}', token: '{{ vars.token }}', password: '', key: x}",
    "  json: {password: null, token: true, secret: '{{ secrets.a }}'}",
    "  proxy: {http: 'http://u:{{ secrets.a }}@p:1', https: 'http://p:3128/a@b:c'}",
    "  xml: '<a><password>{{ secrets.a }}</password><token/><passage>x</passage></a>'",
    "  text: 'Your password: {{ message }}'",
    "  query: {a: 'x?password=y', b: 'https://127.0.0.1/?token={{ secrets.a }}&b=c'}",
]


@pytest.mark.parametrize("settings", GOOD)
def test_nothing_else_is_an_alarm(settings: str) -> None:
    """References, empty values, words that only resemble a credential, and texts about one are fine."""
    assert found(settings) == []


def test_the_place_is_exact() -> None:
    """In a URL and in a block of XML the finding points at the credential itself."""
    (problem,) = found("  xml: |\n    <a>\n      <token>hunter2</token>\n    </a>")
    assert (problem.line, problem.column) == (6, 14)
    (problem,) = found("  query: {a: 'https://127.0.0.1/?b=c&pwd=hunter2'}")
    assert (problem.line, problem.column) == (4, 42)


def test_a_secret_in_the_place_of_its_source_is_found() -> None:
    """Whoever writes the password under `secrets` itself is told how to say where it comes from."""
    problems = found("", "secrets:\n  a: hunter2\n  b: {value: hunter2}\n  c: {env: fine}\n")
    assert [problem.pointer for problem in problems] == ["/secrets/a", "/secrets/b/value"]
    assert "hunter2" not in str([problem.as_dict() for problem in problems])


def test_the_password_of_a_mail_server_is_found() -> None:
    """smsgwd.yaml is looked at as well."""
    source = load(b"smtp_servers: {corp: {host: h, from: a@b.c, username: u, password: hunter2}}\n", "smsgwd.yaml")
    data, problems = schema.check_site(source)
    assert problems == ()
    assert data is not None
    (problem,) = literal_secrets(source, data)
    assert problem.pointer == "/smtp_servers/corp/password"


@given(st.text("{}%#'\"\\|. ax", max_size=40))
def test_no_template_is_too_odd(text: str) -> None:
    """Whatever is written between braces, an answer comes."""
    assert is_literal(text) in {True, False}
    assert isinstance(shown(text), str)


SHOWN = {
    "query: {password: '{{ secrets.a }}', password: hunter2}": "query: {password: '{{ secrets.a }}', password: ***",
    "proxy: {http: 'http://{{ secrets.u }}@p', https: 'http://a@b:hunter2@p'}": (
        "proxy: {http: 'http://{{ secrets.u }}@p', https: 'http://***"
    ),
    "auth: {password: hunter2, username: '{{ secrets.nme }}'}": "auth: {password: ***",
    "Authorization: Bearer {{ secrets.nme }}": "Authorization: Bearer {{ secrets.nme }}",
    "url: 'http://127.0.0.1:80/a@b'": "url: 'http://127.0.0.1:80/a@b'",
}


@pytest.mark.parametrize(("line", "excerpt"), SHOWN.items())
def test_an_excerpt_is_cut_where_a_credential_may_stand(line: str, excerpt: str) -> None:
    """Also beside a template, which is shown, because a finding may point into it."""
    assert shown(line) == excerpt


HOSTILE = ["{{", "{#", "<a", " a=", "?a=", "://:@", "{{ x }}", "<a b='", "'\\", "a", "&a="]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("head", ["https://", "<", "{{ '"])
def test_a_hostile_text_ends_soon(piece: str, head: str) -> None:
    """The time grows with the length of a text, not with its square."""
    text = (head + piece * (500_000 // len(piece))).replace("\\", "\\\\").replace('"', '\\"')
    began = time.monotonic()
    found(f'  xml: "{text}"')
    shown(text)
    assert time.monotonic() - began < 5
