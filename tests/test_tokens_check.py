"""Token files before they are deployed: check, fmt, schema; what is wrong with one by itself and among others."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import CHECKOUT, Done, environment, run, spawn
from hypothesis import given, settings
from hypothesis import strategies as st
from token_files import CONSOLE, HASH, NUMBER, OTHER_HASH, PIN, SALT, configured, leaked, token

from smsgwd import schema
from smsgwd.cli.findings import as_text
from smsgwd.compile import compile_token
from smsgwd.load import load

Capsys = pytest.CaptureFixture[str]


def check(capsys: Capsys, folder: Path, *arguments: str) -> list[tuple[str, str, str]]:
    """File, severity and code of each finding."""
    done = run(capsys, "check", "--config", str(folder), "--format", "json", *arguments)
    found = json.loads(done.out)["findings"]
    return [(Path(one["file"]).name, one["severity"], one["code"]) for one in found]


def words(capsys: Capsys, folder: Path, *arguments: str) -> str:
    """What `smsgwd check` prints for people."""
    return run(capsys, "check", "--config", str(folder), *arguments).out.replace(f"{folder}/", "")


# --- a file by itself


def test_a_token(capsys: Capsys, tmp_path: Path) -> None:
    """A whole token file has no finding, and its values have their types."""
    text = token("alice@example.com", more="template: login\nenabled: false\ndigits: 8\nttl: 90s\n")
    assert check(capsys, configured(tmp_path, {"alice@example.com": text})) == []
    found, problems = compile_token("alice", load(text.encode(), "a.yaml"))
    assert found is not None
    assert problems == ()
    assert (found.name, found.user, found.phone, found.gateway) == ("alice", "alice@example.com", NUMBER, "console")
    assert (found.template, found.enabled, found.digits, found.ttl_s) == ("login", False, 8, 90)
    assert str(found.pin) == HASH


def test_defaults() -> None:
    """Without them a token is enabled, has six digits and five minutes, and the schema says the same."""
    found, _ = compile_token("alice", load(token().encode(), "a.yaml"))
    assert found is not None
    assert (found.template, found.enabled, found.digits, found.ttl_s) == (None, True, 6, 300)
    assert [schema.token_default_of((key,)) for key in ("enabled", "digits", "ttl")] == [True, 6, "5m"]


@pytest.mark.parametrize("ttl", ["1s", "1h", "60m", "3600s", "2000ms"])
def test_ttl(ttl: str) -> None:
    """One second to an hour, in whole seconds, however it is written."""
    assert compile_token("alice", load(token(more=f"ttl: {ttl}\n").encode(), "a.yaml"))[1] == ()


@pytest.mark.parametrize("ttl", ["61m", "2h", "500ms", "1500ms", "0s", "300"])
def test_ttl_that_is_none(ttl: str) -> None:
    """More, less, or a part of a second is an error at the value."""
    (problem,) = compile_token("alice", load(token(more=f"ttl: {ttl}\n").encode(), "a.yaml"))[1]
    assert (problem.line, problem.column, problem.code, problem.pointer) == (5, 6, "bad-value", "/ttl")


@pytest.mark.parametrize("user", ["x" * 128, "Jörg Müller", "a.b+c@example.com", "用户"])
def test_user(user: str) -> None:
    """A user is any text of 1 to 128 characters."""
    found, _ = compile_token("alice", load(token(f'"{user}"').encode(), "a.yaml"))
    assert found is not None
    assert found.user == user


@pytest.mark.parametrize("user", ["", "x" * 129, "a\\nb", "a\\0b", "a\\x7fb", "alice\\n", "a\\x85b"])
def test_user_that_is_none(user: str) -> None:
    """An empty name, a longer one and control characters are an error."""
    (problem,) = compile_token("alice", load(token(f'"{user}"').encode(), "a.yaml"))[1]
    assert (problem.code, problem.pointer) == ("bad-value", "/user")


@pytest.mark.parametrize("name", ["alice", "a", "alice@example.com", "a.b_c+d-e", "x" * 128, "smsgwd"])
def test_names_of_files(capsys: Capsys, tmp_path: Path, name: str) -> None:
    """The name of a file has letters, digits and some signs; it need not be the user."""
    assert check(capsys, configured(tmp_path, {name: token()})) == []


@pytest.mark.parametrize("name", ["-a", "@x", "a b", "ä", "x" * 129, "a~"])
def test_names_that_are_none(capsys: Capsys, tmp_path: Path, name: str) -> None:
    """Other names are an error, which does not stop the others."""
    found = check(capsys, configured(tmp_path, {name: token(), "bob": token("bob")}))
    assert [code for _, _, code in found] == ["bad-name"]


# --- what no excerpt, message, hint or pointer repeats

BAD = {
    "clear-pin": token().replace(f'{{hash: "{HASH}"}}', f'"{PIN}"'),
    "clear-pin-in-hash": token(pin=PIN),
    "clear-pin-as-key": token().replace(f'{{hash: "{HASH}"}}', f"{{{PIN}}}"),
    "cut-hash": token().replace(f'"{HASH}"', HASH),
    "damaged-hash": token(pin=HASH[:-30]),
    "number-as-key": token(more=f'"{NUMBER}": x\n'),
    "number-twice": token(more=f'"{NUMBER}": x\n"{NUMBER}": y\n'),
    "hash-as-key": token(more=f'"{HASH}": x\n'),
    "hash-at-the-top": token(more=f'hash: "{HASH}"\n'),
    "misspelt-phone": token().replace("phone", "phnoe"),
    "no-blank": token().replace("phone: ", "phone:"),
    "no-blank-number": token().replace('phone: "', "phone:").replace('"\ngateway', "\ngateway"),
    "unclosed": token().replace(f'{NUMBER}"', NUMBER),
    "unclosed-pin": token(pin=PIN).replace(f'{PIN}"', PIN),
    "phone-twice": token(more=f'phone: "{NUMBER}"\n'),
    "on-the-next-line": f"user: alice\nphone:\n  - {NUMBER}\ngateway: console\npin:\n  {PIN}\n",
    "in-one-line": f'{{user: alice, gateway: console, phone: "{NUMBER}", pin: {PIN}, digits: 3}}\n',
    "anchor": token().replace('phone: "', 'phone: &x "'),
    "tag": token().replace('phone: "', 'phone: !str "'),
    "block": f"user: alice\ngateway: console\nphone: |\n  {NUMBER}\n   x\n - {NUMBER}\npin: {PIN}\n",
    "comment": token(more=f"# was {NUMBER}, PIN {PIN}\n  digits: 6\n"),
    "tab": token(more=f"\tphone: {NUMBER}\n"),
    "control-character": token(more=f"# {NUMBER} \x01\n"),
    "other-types": f"user: [alice]\nphone: {{a: {NUMBER}}}\ngateway: {{}}\npin: [{PIN}]\ndigits: x\n",
    "not-a-mapping": f"- {NUMBER}\n- {PIN}\n",
    "text": f"{NUMBER} {PIN} {HASH}\n",
    "colon": f"phone: a: {NUMBER}\n",
    "two-documents": token() + "---\n" + token(),
    "bad-number": token(phone=NUMBER.replace("+49", "0")),
    "no-number": token(phone=f"{NUMBER}{NUMBER}"),
    "unknown-gateway": token(gateway="consol"),
    "latin-1": token("\udce4"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_no_finding_repeats_number_pin_or_hash(capsys: Capsys, tmp_path: Path, name: str, form: str) -> None:
    """Whatever is wrong with a token file, it is found, and nothing that is said of it gives the token away."""
    configured(tmp_path, {})
    (tmp_path / "tokens.d" / "alice.yaml").write_bytes(BAD[name].encode("utf-8", "surrogateescape"))
    done = run(capsys, "check", "--config", str(tmp_path), "--format", form)
    assert done.code == 1
    assert leaked(done.out + done.err) == []
    assert "internal" not in done.out


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["fmt", "compile", "diff"])
def test_no_other_verb_repeats_them(capsys: Capsys, tmp_path: Path, name: str, verb: str) -> None:
    """Verbs that cannot use the file do not print it either."""
    configured(tmp_path, {})
    (tmp_path / "tokens.d" / "alice.yaml").write_bytes(BAD[name].encode("utf-8", "surrogateescape"))
    before = configured(tmp_path / "before", {"alice": token()})
    arguments = ["diff", str(before), str(tmp_path)] if verb == "diff" else [verb, "--config", str(tmp_path)]
    done = run(capsys, *arguments)
    assert leaked(done.out + done.err) == []
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", BAD)
def test_a_token_file_that_is_taken_for_a_gateway(capsys: Capsys, tmp_path: Path, name: str) -> None:
    """A token file beside tokens.d, checked by mistake, gives away neither the number nor the hash after its key."""
    path = tmp_path / "alice.yaml"
    path.write_text(token(), "utf-8")
    done = run(capsys, "check", "--config", str(configured(tmp_path, {})), str(path))
    assert done.code == 1
    assert leaked(done.out + done.err) == []


LINES = st.sampled_from([*token().splitlines(), *token(pin=PIN).splitlines(), f"  {NUMBER}", f"- {PIN}", f"# {HASH}"])
SIGNS = st.sampled_from(["", " ", "  ", "{", "}", "[", '"', "'", ":", ",", "- ", "|", ">", "&a ", "*", "!", "%", "\t"])


@given(st.lists(st.tuples(SIGNS, LINES, SIGNS), min_size=1, max_size=7))
@settings(max_examples=400, deadline=None)
def test_no_mixture_of_lines_gives_them_away(parts: list[tuple[str, str, str]]) -> None:
    """Lines of token files in any order, with any signs around them: no finding holds number, PIN, salt or hash."""
    text = "\n".join("".join(part) for part in parts)
    source = load(text.encode(), "tokens.d/x.yaml", private=True)
    _, problems = compile_token("x", source)
    told = as_text(problems, {source.file: source}, color=False) + "".join(str(one.as_dict()) for one in problems)
    assert leaked(told) == []


# --- among other files


def test_a_gateway_that_is_not_there(capsys: Capsys, tmp_path: Path) -> None:
    """An unknown gateway is an error at its name, with the nearest one."""
    text = words(capsys, configured(tmp_path, {"alice": token(gateway="consol")}))
    assert text == (
        "tokens.d/alice.yaml:3:10: error[unknown-gateway]: there is no gateway `consol`\n"
        "    3 | gateway: consol\n      |          ^\n  hint: did you mean `console`?\n"
    )


@pytest.mark.parametrize("gateway", ["provider: console\nenabled: false\n", "provider: consol\n"])
def test_a_gateway_that_cannot_send(capsys: Capsys, tmp_path: Path, gateway: str) -> None:
    """A gateway that is disabled or has errors is a warning; a comment silences it, a disabled token needs none."""
    tokens = {
        "alice": token(gateway="ops"),
        "bob": token("bob", gateway="ops # smsgwd: ignore unavailable-gateway later"),
        "carol": token("carol", gateway="ops", more="enabled: false\n"),
    }
    found = check(capsys, configured(tmp_path, tokens, {"ops": gateway}), str(tmp_path / "tokens.d"))
    assert found == [("alice.yaml", "warning", "unavailable-gateway")]


@pytest.mark.parametrize(
    ("template", "code", "said"),
    [
        ("logn", "unknown-template", "did you mean `login`?"),
        ("alert", "unusable-template", "does not use {{ otp }}"),
        ("greeting", "unusable-template", "needs `name`, which no token has"),
    ],
)
def test_a_template_that_no_token_can_use(capsys: Capsys, tmp_path: Path, template: str, code: str, said: str) -> None:
    """A template has to be there, to use the code, and to need nothing else."""
    text = words(capsys, configured(tmp_path, {"alice": token(more=f"template: {template}\n")}))
    assert text.startswith(f"tokens.d/alice.yaml:5:11: error[{code}]: ")
    assert said in text


def test_a_number_that_the_gateway_cannot_read(capsys: Capsys, tmp_path: Path) -> None:
    """A national number needs a gateway with a region; a verbatim gateway takes what is written."""
    gateways = {
        "abroad": "provider: console\n",
        "home": "provider: console\nphone: {region: DE}\n",
        "raw": "provider: console\nphone: {format: verbatim}\n",
    }
    tokens = {name: token(name, phone="0170 1234567", gateway=name) for name in gateways}
    assert check(capsys, configured(tmp_path, tokens, gateways)) == [("abroad.yaml", "error", "bad-number")]


@pytest.mark.parametrize("other", ["alice", "Alice", "ALICE", "ａlice"])
def test_two_files_for_one_user(capsys: Capsys, tmp_path: Path, other: str) -> None:
    """Two tokens for one user are an error at both, also where only capitals or the form of a letter differ."""
    folder = configured(tmp_path, {"a": token(), "b": token(other), "c": token("carol")})
    assert check(capsys, folder) == [("a.yaml", "error", "duplicate-user"), ("b.yaml", "error", "duplicate-user")]
    assert check(capsys, folder, str(folder / "tokens.d" / "a.yaml")) == [("a.yaml", "error", "duplicate-user")]


def test_a_failover_can_send(capsys: Capsys, tmp_path: Path) -> None:
    """A token may name a failover, whose templates and rules count."""
    either = 'provider: failover\nsettings: {gateways: [console]}\ntemplates: {code: {text: "{{ otp }}"}}\n'
    tokens = {
        "alice": token(gateway="either", more="template: code\n"),
        "bob": token("bob", gateway="either", more="template: login\n"),
    }
    folder = configured(tmp_path, tokens, {"console": CONSOLE, "either": either})
    assert check(capsys, folder) == [("bob.yaml", "error", "unknown-template")]


def test_one_file_is_checked_among_those_of_the_configuration(capsys: Capsys, tmp_path: Path) -> None:
    """A single token file has its gateway looked up in --config; the findings of others are not told."""
    folder = configured(tmp_path, {"alice": token(), "bad": token(pin=PIN)})
    assert check(capsys, folder, str(folder / "tokens.d" / "alice.yaml")) == []


def test_many_files(tmp_path: Path) -> None:
    """Of 300 token files on all cores the same findings come, those between files as well."""
    folder = configured(tmp_path, {f"u{number:03}": token(f"user{number % 299}") for number in range(300)})
    done = spawn("check", "--config", str(folder))
    assert (done.code, done.out.count("error[duplicate-user]")) == (1, 2)
    assert done.err == "301 files, 2 errors, 0 warnings\n"


def test_odd_files(capsys: Capsys, tmp_path: Path) -> None:
    """FIFOs, dangling links, clashing names and huge files are found, and never opened or waited for."""
    folder = configured(tmp_path, {"alice": token(), "Alice": token(), "huge": "#" * (1 << 21)}) / "tokens.d"
    os.mkfifo(folder / "fifo.yaml")
    (folder / "link.yaml").symlink_to("nowhere")
    (folder / ".gitkeep").touch()
    (folder / "notes.txt").touch()
    assert check(capsys, tmp_path) == [
        ("Alice.yaml", "error", "name-clash"),
        ("alice.yaml", "error", "name-clash"),
        ("fifo.yaml", "error", "not-a-file"),
        ("huge.yaml", "error", "too-large"),
        ("link.yaml", "error", "dangling-link"),
    ]


@pytest.mark.parametrize("where", ["", "tokens.d", "tokens.d/alice.yaml"])
def test_paths(capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A token file is known by its folder, however it is named; from inside the folder, too."""
    folder = configured(tmp_path, {"alice": token(pin=PIN)})
    assert check(capsys, folder, str(folder / where)) == [("alice.yaml", "error", "clear-pin")]
    monkeypatch.chdir(folder / "tokens.d")
    assert check(capsys, folder, "alice.yaml") == [("alice.yaml", "error", "clear-pin")]
    assert leaked(words(capsys, folder, "alice.yaml", ".")) == []


# --- other verbs


def test_fmt_orders_keys(capsys: Capsys, tmp_path: Path) -> None:
    """Keys come into the order of the schema, comments stay with theirs, and what is said stays."""
    text = f'# Alice\n\npin: {{hash: "{HASH}"}}\ngateway: console # now\n# her own\nphone: "{NUMBER}"\nuser: alice\n'
    folder = configured(tmp_path, {"alice": text})
    done = run(capsys, "fmt", "--config", str(folder))
    after = (folder / "tokens.d" / "alice.yaml").read_text()
    assert (done.code, leaked(done.out + done.err)) == (0, [])
    assert list(yaml.safe_load(after)) == ["user", "phone", "gateway", "pin"]
    assert yaml.safe_load(after) == yaml.safe_load(text)
    assert f'# her own\nphone: "{NUMBER}"\n' in after
    assert run(capsys, "fmt", "--check", "--config", str(folder)).code == 0


def test_schema_for_editors(capsys: Capsys, tmp_path: Path) -> None:
    """`smsgwd schema token` is a schema by which other checkers come to the same verdict."""
    (tmp_path / "token.schema.json").write_text(run(capsys, "schema", "token").out)
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("# yaml-language-server: $schema=../schemas/token.schema.json\n" + token(more="ttl: 5m\n"))
    bad.write_text(token(more="ttl: 5\n"))
    ended = {}
    for path in (good, bad):
        command = [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--schemafile",
            str(tmp_path / "token.schema.json"),
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30, env=environment(), cwd=CHECKOUT)
        ended[path.name] = done.returncode
    assert ended == {"good.yaml": 0, "bad.yaml": 1}


# --- compile and diff


def compiled(capsys: Capsys, folder: Path) -> Done:
    done = run(capsys, "compile", "--config", str(folder))
    assert done.code == 0, done.err
    return done


def test_compile_shows_digests(capsys: Capsys, tmp_path: Path) -> None:
    """In the document number and PIN hash are digests; the same files make the same octets, which can be read again."""
    folder = configured(tmp_path / "a", {"alice": token(more="template: login\n")})
    done = compiled(capsys, folder)
    assert leaked(done.out) == []
    document = json.loads(done.out)
    alice = document["tokens"]["alice"]
    assert {key: alice[key] for key in ("user", "gateway", "template")} == {
        "user": "alice",
        "gateway": "console",
        "template": "login",
    }
    assert all(len(text) == 71 and text.startswith("sha256:") for text in (alice["phone"], alice["pin"]["hash"]))
    again = configured(tmp_path / "b", {"alice": "# a comment\n" + token(more="template: login\n")})
    assert compiled(capsys, again).out == done.out
    (tmp_path / "c.json").write_text(done.out)
    told = run(capsys, "diff", str(tmp_path / "c.json"), str(folder))
    assert (told.code, told.err) == (0, "smsgwd: nothing changes for users\n")


def test_the_digest_of_a_number_is_salted(capsys: Capsys, tmp_path: Path) -> None:
    """Two users with one number have different digests of it, unless they share a PIN hash: nobody can try numbers."""
    folder = configured(tmp_path, {"a": token("a"), "b": token("b", pin=OTHER_HASH)})
    tokens = json.loads(compiled(capsys, folder).out)["tokens"]
    assert tokens["a"]["phone"] != tokens["b"]["phone"]


def test_the_digest_without_tokens(capsys: Capsys, tmp_path: Path) -> None:
    """An empty tokens.d changes neither the document nor the digest."""
    folder = configured(tmp_path, {})
    before = compiled(capsys, folder).out
    (folder / "tokens.d").rmdir()
    assert compiled(capsys, folder).out == before
    assert "tokens" not in json.loads(before)


def test_a_damaged_document(capsys: Capsys, tmp_path: Path) -> None:
    """A compiled file whose tokens were changed, or are none, is refused."""
    folder = configured(tmp_path, {"alice": token()})
    document = json.loads(compiled(capsys, folder).out)
    others: list[Any] = [{"alice": {**document["tokens"]["alice"], "user": "bob"}}, {"alice": 1}, {"alice": {}}, [], {}]
    for tokens in others:
        (tmp_path / "c.json").write_text(json.dumps({**document, "tokens": tokens}))
        assert run(capsys, "diff", str(tmp_path / "c.json"), str(folder)).code == 2


CHANGES = {
    "number": (token(phone="+491709999999"), ["one-time passwords go to another number"]),
    "pin": (token(pin=OTHER_HASH), ["the PIN is another"]),
    "user": (token("bob"), ["is for the user `bob` (before: `alice`)"]),
    "gateway": (token(gateway="other"), ["one-time passwords go through the gateway `other` (before: `console`)"]),
    "template": (token(more="template: login\n"), ["the template is `login` (before: nothing)"]),
    "disabled": (token(more="enabled: false\n"), ["no longer lets its user in (disabled)"]),
    "digits": (token(more="digits: 8\n"), ["a one-time password has this many digits: `8` (before: `6`)"]),
    "ttl": (token(more="ttl: 60s\n"), ["a one-time password is good for `60s` (before: `5m`)"]),
    "nothing": (token(more="ttl: 300s\ndigits: 6\nenabled: true\n"), []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_diff_in_words(capsys: Capsys, tmp_path: Path, name: str) -> None:
    """A reviewer is told what changed, never the number or the hash; from compiled files as well."""
    gateways = {"console": CONSOLE, "other": CONSOLE}
    text, effects = CHANGES[name]
    old = configured(tmp_path / "old", {"alice": token()}, gateways)
    new = configured(tmp_path / "new", {"alice": text}, gateways)
    done = run(capsys, "diff", str(old), str(new), "--format", "json")
    found = json.loads(done.out)["changes"]
    assert [(one["gateway"], one["token"], one["effect"]) for one in found] == [(None, "alice", one) for one in effects]
    for form in ("text", "markdown"):
        shown = run(capsys, "diff", str(old), str(new), "--format", form)
        assert leaked(shown.out + shown.err + done.out) == []
    (tmp_path / "old.json").write_text(compiled(capsys, old).out)
    sealed = json.loads(run(capsys, "diff", str(tmp_path / "old.json"), str(new), "--format", "json").out)["changes"]
    assert [one["effect"] for one in sealed][: len(effects)] == effects


def test_diff_of_whole_tokens(capsys: Capsys, tmp_path: Path) -> None:
    """Tokens come, go, break and are mended, each in one line with its user."""
    old = configured(
        tmp_path / "old", {"gone": token("gone"), "breaks": token("breaks"), "mended": token("mended", pin=PIN)}
    )
    new = configured(
        tmp_path / "new",
        {"new": token("new"), "breaks": token("breaks", more="digits: 3\n"), "mended": token("mended")},
    )
    done = run(capsys, "diff", str(old), str(new))
    broken = "``breaks.yaml:5:9: error[bad-value]: `digits` has to be 4 at least``"
    assert done.out.splitlines() == [
        "tokens.d/breaks",
        "  does not compile: a running daemon stays with what it has (" + broken + ")",
        "tokens.d/gone",
        "  is gone: the user `gone` is not let in",
        "tokens.d/mended",
        "  compiles now: the user `mended`, by the gateway `console`",
        "tokens.d/new",
        "  is new: the user `new`, by the gateway `console`",
    ]
    assert done.err == "smsgwd: 4 changes for users in 4 tokens\n"


def test_diff_of_revisions(tmp_path: Path) -> None:
    """Tokens are read out of a revision of Git, too."""
    folder = configured(tmp_path, {"alice": token()})
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
    for words in (["init"], ["add", "--all"], ["commit", "-m", "one"]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, timeout=20)
    (folder / "tokens.d" / "alice.yaml").write_text(token(pin=OTHER_HASH))
    command = [sys.executable, "-m", "smsgwd", "diff", "git:HEAD", "."]
    env = environment({"PYTHONPATH": str(CHECKOUT)})
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30, env=env)
    assert (done.returncode, done.stdout) == (1, "tokens.d/alice\n  the PIN is another\n")
    assert SALT not in done.stdout + done.stderr
