"""Secrets of definitions: which values are, how they are kept, and that they stay what they are."""

import time
from contextlib import suppress
from typing import Any

import pytest
from stored_gateway import CENSORED, SITE, Stored, as_parameters

from smsgwd.errors import RequestError
from smsgwd.privacyidea import FIREBASE, HTTP, SCRIPT, SIPGATE, SMPP, SMTP, asked
from smsgwd.server import smsgateway

URL = {"option.URL": "https://gateway.test/send"}


def http(**parameters: Any) -> Stored:
    """A gateway of the HTTP class."""
    stored = Stored()
    stored.post(module=HTTP, **URL, **parameters)
    return stored


def again(stored: Stored, **parameters: Any) -> None:
    """The same gateway, with nothing but these."""
    stored.post(module=HTTP, **URL, **parameters)


def test_without_flags_the_names_say_it() -> None:
    """Without any flag, what has PASSWORD or SECRET in its name is a secret; options and headers each by themselves."""
    stored = http(**{"option.my_Secret": "s1", "option.x": "y", "header.Mysecretary": "s2", "secret.header.X-A": 0})
    assert stored.entry["secret_options"] == ["my_Secret"]
    assert stored.entry["secret_headers"] == []
    assert stored.entry["headers"] == {"Mysecretary": "s2"}
    assert stored.values == {"my_secret": "s1"}


def test_flags_say_it() -> None:
    """With flags, what is flagged is a secret and nothing else, but for what no gateway file holds in the clear."""
    stored = http(**{"option.x": "s1", "secret.option.x": "true", "option.mysecretary": "y", "option.token": "s2"})
    assert stored.entry["secret_options"] == ["token", "x"]
    assert stored.entry["options"]["mysecretary"] == "y"
    with pytest.raises(RequestError, match="has to be true or false"):
        http(**{"secret.option.x": "perhaps"})


def test_an_option_and_a_header_of_one_name() -> None:
    """A flag on an option leaves the header of the same name readable, and the other way round."""
    stored = http(**{"option.X": "s1", "header.X": "h", "secret.option.X": 1})
    assert (stored.entry["secret_options"], stored.entry["headers"]) == (["X"], {"X": "h"})


@pytest.mark.parametrize("flag", [None, 0, "false", 1])
def test_censored_keeps_a_secret_whatever_the_flag(flag: object) -> None:
    """A secret that is kept stays one: dropping its flag does not make it readable."""
    stored = http(**{"option.x": "s1", "secret.option.x": 1})
    flags = {} if flag is None else {"secret.option.x": flag}
    for _ in range(2):
        again(stored, **{"option.x": CENSORED, **flags})
        assert stored.entry["options"]["x"] == CENSORED
        assert stored.entry["secret_options"] == ["x"]
        assert stored.values == {"x": "s1"}


def test_censored_without_a_stored_value_is_dropped() -> None:
    """__CENSORED__ under a new name, or in the other section, brings nothing along."""
    stored = http(**{"option.x": "s1", "secret.option.x": 1, "header.Y": "s2", "secret.header.Y": 1})
    again(stored, **{"option.renamed": CENSORED, "header.x": CENSORED, "option.Y": CENSORED})
    assert (stored.entry["options"], stored.entry["headers"]) == ({"URL": URL["option.URL"]}, {})
    assert stored.values == {}


def test_an_empty_text_clears_a_secret() -> None:
    """An empty text takes the place of a secret, and is none."""
    stored = http(**{"option.USERNAME": "u", "option.PASSWORD": "s1"})
    again(stored, **{"option.USERNAME": "u", "option.PASSWORD": "", "secret.option.PASSWORD": 1})
    assert stored.entry["options"]["PASSWORD"] == ""
    assert (stored.entry["secret_options"], stored.values) == ([], {})


def test_a_secret_does_not_go_along_to_a_class_that_shows_it() -> None:
    """Another module under which a kept secret would stand in the file is refused, and nothing changes."""
    stored = http(**{"option.script": "s1", "secret.option.script": 1})
    text = stored.text
    with pytest.raises(RequestError, match="script cannot be a secret"):
        stored.post(module=SCRIPT, **{"option.script": CENSORED, "option.background": "wait"})
    with pytest.raises(RequestError, match="no place to hide it"):
        stored.post(module=SMTP, **{"option.MAILTO": "a@b", "option.SMTPIDENTIFIER": "corp", "option.script": CENSORED})
    assert stored.text == text


def test_a_password_goes_along_to_a_class_that_hides_it() -> None:
    """A password that is kept is one in another class, too."""
    stored = http(**{"option.USERNAME": "u", "option.PASSWORD": "geheim-1"})
    stored.post(module=SIPGATE, **{"option.USERNAME": "u", "option.PASSWORD": CENSORED})
    assert stored.entry["options"] == {"USERNAME": "u", "PASSWORD": CENSORED}
    assert stored.values == {"password": "geheim-1"}


def test_a_secret_stays_one_in_another_body() -> None:
    """What is kept from a JSON body is a secret as a whole in a form, and refused where it would come out."""
    body = {"option.HTTP_METHOD": "POST", "option.SEND_DATA_AS_JSON": "yes"}
    stored = http(
        **body, **{"option.data": '{"token": "s1", "n": "plain"}', "option.x": '["s2", "{otp}"]', "secret.option.x": 1}
    )
    assert stored.entry["secret_options"] == ["data", "x"]
    text, values = stored.text, stored.values
    stored.post_entry()
    assert (stored.text, stored.values) == (text, values)
    again(stored, **{"option.HTTP_METHOD": "POST", "option.x": CENSORED})
    assert (stored.entry["options"]["x"], stored.values) == (CENSORED, {"x": "s2"})


@pytest.mark.parametrize(
    ("module", "key"),
    [
        (HTTP, "URL"),
        (HTTP, "HTTP_METHOD"),
        (HTTP, "TIMEOUT"),
        (HTTP, "RETURN_SUCCESS"),
        (HTTP, "REGEXP"),
        (SMPP, "SMSC_HOST"),
        (SMPP, "S_ADDR"),
        (SCRIPT, "script"),
        (SMTP, "MAILTO"),
    ],
)
def test_what_cannot_be_a_secret(module: str, key: str) -> None:
    """A flag on what stands in the file itself is refused with the reason, and nothing is stored."""
    needed = {
        HTTP: URL,
        SMPP: {"option.SMSC_HOST": "h", "option.SMSC_PORT": "1"},
        SCRIPT: {"option.script": "x.sh"},
        SMTP: {"option.MAILTO": "a@b", "option.SMTPIDENTIFIER": "corp"},
    }
    stored = Stored()
    with pytest.raises(RequestError, match=f"^{key} ") as caught:
        stored.post(module=module, **{f"option.{key}": "x", **needed[module]}, **{f"secret.option.{key}": 1})
    assert caught.value.code == "malformed-request"
    assert stored.text == ""


def test_a_credential_inside_of_a_url() -> None:
    """A password of a URL goes where it belongs; a URL with a password in its query is hidden as a whole."""
    stored = Stored()
    stored.post(module=HTTP, **{"option.URL": "https://u:s1@h/x"})
    assert stored.entry["options"] == {"URL": "https://h/x", "USERNAME": "u", "PASSWORD": CENSORED}
    stored.post(module=HTTP, **{"option.URL": "https://h/x?password=s2"})
    assert stored.entry["options"] == {"URL": CENSORED}
    text = stored.text
    stored.post_entry()
    assert (stored.text, stored.values) == (text, {"password": "s2"})


def test_a_proxy_is_read_under_its_own_name() -> None:
    """PROXY reads as PROXY, hidden with a password in it, and is kept."""
    stored = http(**{"option.PROXY": "https://u:geheim-1@p:1"})
    assert stored.entry["options"]["PROXY"] == CENSORED
    text = stored.text
    stored.post_entry()
    assert (stored.text, stored.values) == (text, {"proxy_password": "geheim-1"})


@pytest.mark.parametrize(
    "text", ["{{ secrets.password }}", "{% raw %}", "{{ phone }}", "{# x #}", '["{{ secrets.password }}"]', "a{"]
)
def test_text_is_text(text: str) -> None:
    """What a client sends is no template: it reads as it was sent, and is sent as such."""
    stored = http(**{"option.USERNAME": "u", "option.PASSWORD": "geheim-1", "option.text": text})
    assert stored.entry["options"]["text"] == text
    assert stored.entry["secret_options"] == ["PASSWORD"]
    assert "".join(line for line in stored.text.split("\n") if line[:1] != "#").count("{{ secrets.password }}") == 1
    assert "geheim" not in stored.text


@pytest.mark.parametrize("place", ["option.x", "option.URL", "description", "header.X", "option.REGEXP"])
def test_nobody_can_name_a_stand_in(place: str) -> None:
    """What stands for a secret inside is no word that a caller can use; characters that are none are refused."""
    stored = Stored()
    with pytest.raises(RequestError, match="a character that is none"):
        stored.post(module=HTTP, **{**URL, place: "https://x\ufdd0"})


def test_censored_inside_of_a_value_is_refused() -> None:
    """Only a whole value can be kept."""
    for text in ("x __CENSORED__", '["__CENSORED__"]', '{"token": "\\u005f_CENSORED__"}'):
        with pytest.raises(RequestError, match="no part of it"):
            http(**{"option.HTTP_METHOD": "POST", "option.SEND_DATA_AS_JSON": "yes", "option.x": text})


def test_a_value_that_cannot_be_had_is_kept_where_it_is() -> None:
    """A secret file that is missing now can be kept as it stands, and cannot become another one."""
    stored = http(**{"option.USERNAME": "u", "option.PASSWORD": "s1"})
    text, stored.secrets = stored.text, {}
    new = stored.current
    assert new is not None
    change = smsgateway.writing(asked.read({"name": "x", **as_parameters(stored.entry)}), SITE)
    wanted = change.make(new)
    assert wanted is not None
    assert (wanted.data, wanted.secrets) == (new.data, {})
    assert stored.text == text


def test_modules_that_there_are_not() -> None:
    """Firebase, and what nobody knows, is refused with the reason."""
    for module, why in (
        (FIREBASE, "sends no SMS"),
        ("os.system", "there is no module"),
        ("smsgwd.providers.x", "no module"),
    ):
        with pytest.raises(RequestError, match=why):
            Stored().post(module=module)
    for parameters in ({"name": ""}, {"module": ""}, {}):
        with pytest.raises(RequestError, match="Missing parameter"):
            Stored().post(**parameters)


def test_the_mail_server_has_to_be_there() -> None:
    """SMTPIDENTIFIER is one of smtp_servers."""
    with pytest.raises(RequestError, match=r"SMTPIDENTIFIER has to be one of .*: corp, plain"):
        Stored().post(module=SMTP, **{"option.MAILTO": "a@b", "option.SMTPIDENTIFIER": "other"})


# --- the file, changed by hand


def test_the_file_wins() -> None:
    """What was changed by hand is shown; the rest is remembered, as long as it makes the same file."""
    stored = http(**{"option.to": ' ["{phone}"]', "option.CHECK_SSL": "maybe", "option.x": "null"})
    assert "TIMEOUT" not in stored.entry["options"]
    stored.text = stored.text.replace("connect: 3s, total: 6s", "connect: 5s, total: 10s")
    stored.text = stored.text.replace("# privacyidea", "# a comment\n#   privacyidea")
    assert stored.entry["options"]["TIMEOUT"] == "5"
    assert stored.entry["options"]["to"] == ' ["{phone}"]'
    stored.text = stored.text.replace("verify: false", "verify: true")
    assert stored.entry["options"]["CHECK_SSL"] == "yes"
    assert stored.entry["options"]["x"] == "null"


@pytest.mark.parametrize(
    "line", ["", "# privacyidea: nonsense", "# privacyidea: [1]", '# privacyidea: {"options": {"x": [1, 2]}}']
)
def test_without_the_line_defaults_are_explicit(line: str) -> None:
    """The comment can be removed, or be nonsense: then what the file says is shown."""
    stored = http(**{"option.to": ' ["{phone}"]'})
    head, _, rest = stored.text.partition("\n")
    assert head.startswith("# privacyidea: ")
    stored.text = f"{line}\n{rest}"
    assert stored.entry["options"] == {
        "URL": URL["option.URL"],
        "HTTP_METHOD": "GET",
        "SEND_DATA_AS_JSON": "no",
        "CHECK_SSL": "yes",
        "TIMEOUT": "3",
        "to": "{phone}",
    }
    stored.post_entry()
    assert "privacyidea" not in stored.text


def test_the_line_cannot_lie() -> None:
    """A remembered value that would make another file is not shown."""
    stored = http(**{"option.to": "{phone}"})
    stored.text = (
        '# privacyidea: {"options": {"to": ["{phone}", "+49"], "CHECK_SSL": ["yes", "no"], "TIMEOUT": ["3", "3.0"]}}\n'
        + stored.text.partition("\n")[2]
    )
    assert stored.entry["options"]["to"] == "{phone}"
    assert stored.entry["options"]["CHECK_SSL"] == "yes"
    assert stored.entry["options"]["TIMEOUT"] == "3.0"


def test_comments_and_order_stay() -> None:
    """A change leaves the comments and the order of keys that somebody gave the file."""
    stored = http(**{"option.to": "{phone}", "option.text": "{otp}"})
    stored.text = stored.text.replace("provider: http\n", "# first\nprovider: http   # kind\n")
    stored.post_entry(**{"option.TIMEOUT": 7, "description": "words"})
    assert "# first\nprovider: http   # kind\n" in stored.text
    assert (stored.entry["options"]["TIMEOUT"], stored.entry["description"]) == ("7", "words")


def test_a_description_left_out() -> None:
    """It reads as an empty text after creating, and as null after updating."""
    stored = http()
    assert stored.entry["description"] == ""
    again(stored)
    assert stored.entry["description"] is None
    again(stored, description="words")
    assert stored.entry["description"] == "words"


def test_a_description_holds_no_credential() -> None:
    """It is shown to everybody, so a URL with a password in it is refused."""
    with pytest.raises(RequestError, match="the description holds a credential"):
        http(description="https://u:geheim@h/")


def test_values_become_text() -> None:
    """Numbers and booleans read as Python shows them, lists as JSON; null is nothing."""
    stored = http(**{"option.a": 5, "option.b": True, "option.c": ["x", 1], "option.d": None, "option.e": 1.5})
    found = {key: text for key, text in stored.entry["options"].items() if len(key) == 1}
    assert found == {"a": "5", "b": "True", "c": '["x", 1]', "e": "1.5"}


# --- one option less


def test_an_option_is_deleted() -> None:
    """An option or a header goes, with its secret; the others stay as they are, secrets hidden as they were."""
    stored = http(
        **{"option.a.b": "1", "option.token": "s1", "option.x": "s2", "secret.option.x": 1, "header.X-A": "y"}
    )
    stored.delete("option.a.b")
    stored.delete("token")
    stored.delete("header.X-A")
    assert stored.entry["options"] == {"URL": URL["option.URL"], "x": CENSORED}
    assert (stored.entry["headers"], stored.values) == ({}, {"x": "s2"})


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("URL", "malformed-request"),
        ("option.HTTP_METHOD", "malformed-request"),
        ("header.URL", "not-found"),
        ("x", "not-found"),
        ("a.b", "not-found"),
        ("secret.x", "not-found"),
    ],
)
def test_an_option_that_cannot_be_deleted(key: str, code: str) -> None:
    """A required one is refused; one that is not there, as that sort, is not found."""
    stored = http(**{"option.HTTP_METHOD": "GET", "option.a.b": "1"})
    with pytest.raises(RequestError) as caught:
        stored.delete(key)
    assert caught.value.code == code


# --- what takes long


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("x", '"' + '\\"' * 4900),
        ("x", "{{" * 2000),
        ("x", "[" * 4900),
        ("x", "[" * 41 + "]" * 41),
        ("x", "<a " * 3000),
        ("REGEXP", "/" * 9000 + "\n/"),
        ("REGEXP", "/" * 9000 + "x"),
        ("REGEXP", "/[" + "[" * 9000 + "/x/"),
        ("URL", "https://h/?" + "&" * 9000),
        ("PROXY", "http://" + "@" * 9000),
        ("x", "y" * 10_001),
    ],
)
def test_nothing_takes_long(key: str, text: str) -> None:
    """A value made to be looked at again and again is read or refused in less than a second of processor time."""
    begun = time.process_time()
    stored = Stored()
    with suppress(RequestError):
        stored.post(module=HTTP, **{**URL, f"option.{key}": text})
        assert stored.entry["options"][key] == text
    assert time.process_time() - begun < 1
