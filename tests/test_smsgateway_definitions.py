"""What privacyIDEA's clients write is what they read, whatever it is; and what is secret stays so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import CASES, export, taken
from stored_gateway import CENSORED, SITE, Stored

from smsgwd.errors import RequestError
from smsgwd.privacyidea import HTTP, SCRIPT, SIPGATE, SMPP, SMTP

WORDS = [
    "{phone}",
    "{otp}",
    "{",
    "}",
    "{{ ",
    '"',
    "[",
    "]",
    ",",
    ":",
    "1",
    ".5",
    "true",
    "null",
    " ",
    "\\",
    "ä",
    "#",
    "\n",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
NAMES = st.sampled_from(["to", "text", "from", "data[]", "a.b", "Secret", "password", "api_key", "x", "n"])
REGEXPS = st.sampled_from(["", "/^0/0049/", "nonsense", "/(/x/", "/[+ ]//"])
TIMEOUTS = st.sampled_from(["", "3", "3.0", "2.5", "60", "x", "0"])
YES_NO = st.sampled_from(["yes", "no", "", "maybe"])
URLS = st.sampled_from(
    ["https://gateway.test/send", "http://h/a/../b?x=%7e&y= z", "HTTPS://h", "https://h:1/?q={phone}"]
)
PROXIES = st.sampled_from(["", "http://p:1", "https://p:1/", "p:1", "ftp://p"])


def options(required: Mapping[str, st.SearchStrategy[str]], **optional: st.SearchStrategy[str]) -> Any:
    return st.fixed_dictionaries(dict(required), optional=optional)


DEFINITIONS = st.one_of(
    st.tuples(
        st.just(HTTP),
        st.tuples(
            options(
                {"URL": URLS},
                HTTP_METHOD=st.sampled_from(["GET", "POST", "PUT", ""]),
                SEND_DATA_AS_JSON=YES_NO,
                CHECK_SSL=YES_NO,
                TIMEOUT=TIMEOUTS,
                REGEXP=REGEXPS,
                RETURN_SUCCESS=TEXTS,
                RETURN_FAIL=TEXTS,
                PROXY=PROXIES,
                HTTP_PROXY=PROXIES,
                HTTPS_PROXY=PROXIES,
            ),
            st.dictionaries(NAMES, TEXTS, max_size=4),
            st.sampled_from([{}, {"USERNAME": "u"}, {"USERNAME": "u", "PASSWORD": "geheim"}, {"PASSWORD": ""}]),
        ).map(lambda parts: {**parts[1], **parts[0], **parts[2]}),
    ),
    st.tuples(
        st.just(SIPGATE),
        options(
            {"USERNAME": st.sampled_from(["u", "{otp}"]), "PASSWORD": st.just("geheim")},
            PROXY=PROXIES,
            REGEXP=REGEXPS,
            more=TEXTS,
        ),
    ),
    st.tuples(
        st.just(SMTP),
        options(
            {
                "MAILTO": st.sampled_from(["a@example.com", "{phone}@example.com", "A <a@example.com>, b@example.com"]),
                "SMTPIDENTIFIER": st.sampled_from(["corp", "plain"]),
            },
            SUBJECT=TEXTS,
            BODY=TEXTS,
            REGEXP=REGEXPS,
        ),
    ),
    st.tuples(
        st.just(SMPP),
        options(
            {"SMSC_HOST": st.just("smsc.example"), "SMSC_PORT": st.sampled_from(["2775", "0x10", "", "x"])},
            SYSTEM_ID=st.sampled_from(["me", ""]),
            PASSWORD=st.sampled_from(["geheim", "longer than eight", ""]),
            S_ADDR=st.sampled_from(["ACME", "", "no such address at all"]),
            S_ADDR_TON=st.sampled_from(["5", "0x5", ""]),
            D_ADDR_NPI=st.sampled_from(["1", "-1"]),
            REGEXP=REGEXPS,
        ),
    ),
    st.tuples(
        st.just(SCRIPT),
        options(
            {"script": st.sampled_from(["send.sh", "{x", "{phone}"])},
            background=st.sampled_from(["wait", "background", ""]),
            REGEXP=REGEXPS,
        ),
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(["X-A", "x-a", "Authorization", "X-Api-Key", "Host", "bad name"]),
    st.sampled_from(["v", "", "ä", "a{phone}", "a\nb"]),
    max_size=3,
)


@given(DEFINITIONS, st.one_of(st.just({}), HEADERS), st.sampled_from([None, "", "words # and: more\nlines", "{{ x }}"]))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(
    definition: tuple[str, dict[str, str]], headers: dict[str, str], description: str | None
) -> None:
    """Every option and header reads as it was written, secrets censored, and writing that again changes nothing."""
    module, given_options = definition
    stored = Stored()
    parameters = {
        "module": module,
        **{f"option.{key}": text for key, text in given_options.items()},
        **{f"header.{key}": text for key, text in headers.items()},
        **({} if description is None else {"description": description}),
    }
    try:
        stored.post(**parameters)
    except RequestError:
        return  # what cannot be kept is refused
    entry = stored.entry
    assert (entry["providermodule"], entry["description"]) == (module, description or "")
    assert entry["options"] == {
        key: CENSORED if key in entry["secret_options"] else text for key, text in given_options.items()
    }
    assert entry["headers"] == {
        key: CENSORED if key in entry["secret_headers"] else text for key, text in headers.items()
    }
    text, values = stored.text, stored.values
    stored.post_entry()
    assert (stored.text, stored.values) == (text, values)


# --- secrets

KEYS = [
    "URL",
    "USERNAME",
    "PASSWORD",
    "token",
    "to",
    "x",
    "script",
    "S_ADDR",
    "SMSC_HOST",
    "SYSTEM_ID",
    "BODY",
    "REGEXP",
]
BASES: Mapping[str, dict[str, str]] = {
    HTTP: {"option.URL": "https://gateway.test/send"},
    SIPGATE: {"option.USERNAME": "u"},
    SMTP: {"option.MAILTO": "{phone}@example.com", "option.SMTPIDENTIFIER": "corp"},
    SMPP: {"option.SMSC_HOST": "smsc.example", "option.SMSC_PORT": "2775"},
    SCRIPT: {"option.script": "send.sh", "option.background": "wait"},
    "smsgwd.providers.http": {"option.url": "https://gateway.test/send", "option.query.to": "{{ phone }}"},
}
SHAPES = ["%s", '"%s"', '["%s", "{otp}"]', '{"token": "%s", "n": "plain"}', '[[{"token": "%s"}]]', "a{otp}%s", " %s"]
PLAIN = ["", "plain", "{phone}", "{{ secrets.password }}", "{{ secrets.token }}", "__CENSORED__x", '["__CENSORED__"]']
STEPS = st.one_of(
    st.tuples(st.just("delete"), st.sampled_from(["", "option.", "header."]), st.sampled_from(KEYS)),
    st.tuples(
        st.just("post"),
        st.sampled_from(list(BASES)),
        st.sampled_from([{}, {"HTTP_METHOD": "POST", "SEND_DATA_AS_JSON": "yes"}, {"HTTP_METHOD": "POST"}]),
        st.dictionaries(
            st.tuples(st.sampled_from(["option", "option", "header"]), st.sampled_from(KEYS)),
            st.one_of(st.just(CENSORED), st.just(CENSORED), st.sampled_from(SHAPES), st.sampled_from(PLAIN)),
            max_size=4,
        ),
        st.sampled_from([None, False, True]),
        st.sampled_from(["", "words", CENSORED]),
    ),
)


def parameters_of(step: Any, canary: str) -> dict[str, Any]:
    """The parameters of a step. What is new and secret holds the canary and is flagged; the rest as it comes."""
    _, module, how, texts, flag, description = step
    found: dict[str, Any] = {**BASES[module], **{f"option.{key}": text for key, text in how.items()}}
    for (kind, key), text in texts.items():
        found[f"{kind}.{key}"] = text.replace("%s", canary)
        if "%s" in text:
            found[f"secret.{kind}.{key}"] = True
        elif flag is not None:
            found[f"secret.{kind}.{key}"] = flag
    return {"module": module, "description": description, **found}


@given(st.lists(STEPS, min_size=2, max_size=6))
@settings(max_examples=120, deadline=None)
def test_a_stored_secret_never_comes_out(steps: list[Any]) -> None:
    """Whatever is written and deleted, with whatever flags, no answer, file or refusal shows what once was a secret."""
    stored = Stored()
    for number, step in enumerate(steps):
        canary = f"kanari{number}"
        seen = ""
        try:
            if step[0] == "delete":
                stored.delete(step[1] + step[2])
            else:
                stored.post(**parameters_of(step, canary))
                assert step[1] in {stored.entry["providermodule"], "smsgwd.providers.http"}
        except RequestError as error:
            seen = f"{error} {error.members}"
        if stored.text:
            seen += f"{stored.text} {stored.entry}"
        assert "kanari" not in seen


# --- what was imported


@pytest.mark.parametrize("file", ["http.yaml", "others.yaml"])
def test_what_was_imported_is_shown_by_its_class(tmp_path: Path, file: str) -> None:
    """Every gateway that the importer writes is shown by its class, and saving it changes not a character."""
    taken((CASES / file).read_text(), tmp_path)
    source = export(CASES / file)["smsgateway"]
    for path in sorted((tmp_path / "gateways.d").iterdir()):
        folder = tmp_path / "secrets.d" / path.stem
        values = {one.name: one.read_text().removesuffix("\n") for one in folder.glob("*")}
        stored = Stored(path.read_text().replace(f"secrets.d/{path.stem}/", "secrets.d/x/"), values)
        assert stored.entry["providermodule"].startswith("privacyidea.lib.smsprovider.")
        if path.stem in source:
            assert stored.entry["providermodule"] == source[path.stem]["providermodule"]
        if stored.entry["options"].get("SMTPIDENTIFIER", "corp") in SITE.smtp_servers:
            text = stored.text
            stored.post_entry()
            assert (stored.text, stored.values) == (text, values)


# --- what was edited by hand


WRITTEN = {"option.URL": "https://gateway.test/send", "option.to": "{phone}", "option.TOKEN": "geheim-1"}
TESTS = """tests:
  - name: one  # why
    send: {to: "+491701234567", text: hi}
    expect: {segments: 1}
"""


@pytest.mark.parametrize(
    "more", [TESTS, "enabled: true\n", "limits: {}\n", "retry: {attempts: 3}\n", "deadline: 30s\n"]
)
def test_what_changes_no_message_does_not_change_what_is_shown(more: str) -> None:
    """Tests, and defaults that somebody wrote out, leave a gateway with its class and its options."""
    stored = Stored()
    stored.post(module=HTTP, **{**WRITTEN, "option.TIMEOUT": "10"})
    stored.text = stored.text.replace("deadline: 30s\n", "")
    shown = stored.entry
    stored.text += more
    assert stored.entry == shown
    stored.post_entry()
    assert stored.text.endswith(more)


def test_tests_stay_whatever_is_written() -> None:
    """What a client writes, under either name of the module, and what it deletes leaves the tests of the file there."""
    stored = Stored()
    stored.post(module=HTTP, **WRITTEN)
    stored.text += TESTS
    stored.post(module=HTTP, **{**WRITTEN, "option.to": "{phone}x", "option.TOKEN": CENSORED})
    stored.delete("TOKEN")
    assert stored.entry["options"]["to"] == "{phone}x"
    assert TESTS in stored.text
    stored.post(module="smsgwd.providers.http", **{"option.url": "https://elsewhere.test/"})
    assert TESTS in stored.text
    assert stored.entry["options"] == {"url": "https://elsewhere.test/"}


def test_saving_it_under_our_name_keeps_what_is_remembered() -> None:
    """A gateway that was disabled by hand, and saved so, is shown as it was written once it is enabled again."""
    stored = Stored()
    stored.post(module=HTTP, **WRITTEN)
    shown = stored.entry
    stored.text += "enabled: false\n"
    text = stored.text
    stored.post_entry()
    assert stored.text == text
    stored.text = text.removesuffix("enabled: false\n")
    assert stored.entry == shown
