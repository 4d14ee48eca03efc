"""`edited` changes what a gateway file says, and nothing else of its text."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from smsgwd import schema
from smsgwd.edit import edited
from smsgwd.load import load

EXAMPLES = sorted((Path(__file__).parent.parent / "gateways.d").glob("*.yaml"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    ["yes", "null", "0171", "12:30", "a: b", "a #b", "- a", "{{ phone }}", "two\nlines\n", " ", "#", "\u2028", "é"]
)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


def said(text: str) -> dict[str, Any]:
    """What a sound gateway file says."""
    source = load(text.encode(), "x.yaml")
    data, problems = schema.check_gateway(source)
    assert not (*source.problems, *problems)
    assert data is not None
    return data


def commented(text: str) -> str:
    """The same with a comment above each key of the top level."""
    return re.sub(r"(?m)^([a-z_]+):", r"# above \1\n\1:", text)


def text_maps(data: Any) -> list[dict[str, Any]]:
    """The mappings of a file that take any key with any text."""
    settings = data.get("settings", {})
    found = [settings.get(key) for key in ("query", "form", "json")]
    return [one for one in found if isinstance(one, dict)]


@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
@given(path=st.sampled_from(EXAMPLES), data=st.data())
def test_random_changes_of_the_examples(path: Path, data: st.DataObject) -> None:
    """Whatever is changed, added and removed, the file says it, and comments stay above the keys that stay."""
    text = commented(path.read_text())
    wanted = copy.deepcopy(said(text))
    removable = sorted({"description", "tests", "enabled", "deadline", "templates", "limits"} & wanted.keys())
    for key in data.draw(st.sets(st.sampled_from(removable))) if removable else ():
        del wanted[key]
    if data.draw(st.booleans()):
        wanted["description"] = data.draw(TEXTS)
    if data.draw(st.booleans()):
        wanted["retry"] = {"attempts": data.draw(st.integers(1, 10)), "on_unknown": data.draw(st.booleans())}
    for one in text_maps(wanted):
        for key in data.draw(st.sets(st.sampled_from(sorted(one)))) if one else ():
            one[key] = data.draw(TEXTS)
        one.update(data.draw(st.dictionaries(KEYS, TEXTS, max_size=3)))
    changed = edited(text, wanted)
    assert said(changed) == wanted
    stays = [key for key in wanted if re.search(rf"(?m)^{key}:", text)]
    assert sorted(re.findall(r"# above (\w+)\n\1:", changed)) == sorted(stays)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_to_change(path: Path) -> None:
    """What says it already stays, to the octet."""
    text = path.read_text()
    assert edited(text, said(text)) == text


BEFORE = """\
# Ours.

provider: http   # by HTTP
settings:
  # where it goes
  url: 'https://example.com/send'   # theirs

  form:
    to: "{{ phone }}"  # the number
    text: "{{ message }}"
    # who sends
    from: ACME
  timeout: {connect: 3s, total: 10s}  # patient
secrets:
    password: {file: secrets.d/web/password}   # from the portal
# about numbers
phone:
    rewrite:
    -   match: '^0'   # national
        replace: "49"
# the end
"""


def test_rest_of_the_text_stays() -> None:
    """Only the lines change that have to."""
    data = said(BEFORE)
    del data["settings"]["form"]["from"]
    data["settings"]["form"]["class"] = "1"
    data["settings"]["timeout"]["total"] = "20s"
    data["secrets"]["password"] = {"file": "secrets.d/web/password-a1b2c3"}
    data["phone"]["rewrite"][0]["replace"] = "0049"
    data["sender"] = "ACME"
    after = edited(BEFORE, data)
    assert said(after) == data
    assert after == BEFORE.replace("    # who sends\n    from: ACME\n", '    class: "1"\n').replace(
        "total: 10s", "total: 20s"
    ).replace("web/password}", "web/password-a1b2c3}").replace('"49"', '"0049"').replace(
        "# the end\n", "sender: ACME\n# the end\n"
    )


def test_block_text_becomes_another() -> None:
    """A text over several lines, and a collection where a text stood."""
    text = "provider: http\nsettings:\n  url: https://example.com\n  text: |\n    one\n    two\n  method: POST # yes\n"
    data = said(text)
    data["settings"]["text"] = "other"
    assert edited(text, data) == text.replace("|\n    one\n    two\n", "other\n")
    del data["settings"]["text"]
    data["settings"]["json"] = {"a": {"b": ["c", 1, True, None]}}
    assert said(edited(text, data)) == data


ODD = [
    "{provider: console, sender: ACME} # all of it\n",
    "? provider\n: console\n",
    "provider: console\nsender: ACME",
    "\ufeffprovider: console\r\n# why\r\nsender: ACME\r\n",
    "--- # begins\nprovider: console\nsender: ACME\n...\n",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_files(text: str) -> None:
    """However a file is written, it says what is wanted afterwards, and no comment is lost."""
    data = {"provider": "console", "sender": "OTHER", "description": "x", "limits": {"rate": "5/s"}}
    after = edited(text, data)
    assert said(after) == data
    assert [line for line in re.findall(r"# ([a-z ]+)", text) if line not in after] in ([], ["all of it"], ["begins"])


@pytest.mark.parametrize("text", ["", "a: [", "- a\n", "provider: console\nsendr: x\n", "# why\na: &b c\n"])
def test_broken_file_is_written_anew(text: str) -> None:
    """Of a file that cannot be understood the comments stay."""
    after = edited(text, {"provider": "console"})
    assert said(after) == {"provider": "console"}
    assert ("# why" in text) == ("# why" in after)


def test_types_are_kept_apart() -> None:
    """1, 1.0, true and the texts of them are different values."""
    text = "provider: http\nsettings:\n  url: https://example.com\n  method: POST\n  json: {a: 1}\n"
    data = said(text)
    for value in (True, 1.0, "1", "true", None, 10**30, 1e22, [1], {"b": "1"}):
        data["settings"]["json"]["a"] = value
        after = said(edited(text, data))["settings"]["json"]["a"]
        assert (after, type(after)) == (value, type(value))
