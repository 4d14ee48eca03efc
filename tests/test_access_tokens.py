"""Access tokens: how they are made, what the configuration has of them, and who a request's headers say it is."""

import asyncio
import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from command import run
from multidict import CIMultiDict, CIMultiDictProxy
from served import serving
from socket_client import Response, call, connected, read_response

from smsgwd import canonical
from smsgwd.access_token import TOKEN, digest_of, hash_of, new_token, parse_hash
from smsgwd.caller import Caller
from smsgwd.cli.findings import as_text
from smsgwd.compile import compile_gateway, compile_site
from smsgwd.errors import Problem, RequestError
from smsgwd.load import load
from smsgwd.providers._base import Site
from smsgwd.registry import AccessRule, ListenSettings, Registry, SiteConfig
from smsgwd.server.access import look_up

PORTAL, OTHER = "smsgwd_" + "p0rTal" * 7 + "_", "smsgwd_" + "other-" * 7 + "0"
TOKENS = {"other": digest_of(OTHER), "portal": digest_of(PORTAL)}
LOCAL = Caller(0, frozenset({0}))
REMOTE = Caller(address="192.0.2.1", listener="127.0.0.1:8443")
LISTEN = (ListenSettings("127.0.0.1", 8443, allow=frozenset({"status"})),)


def headers(*fields: tuple[str, str]) -> "CIMultiDictProxy[str]":
    """The headers of a request."""
    return CIMultiDictProxy(CIMultiDict(fields))


def test_a_token_is_chance_and_its_hash_tells_nothing() -> None:
    """32 octets in base64url after a word that says what it is; only its SHA-256 is kept."""
    token = new_token()
    assert TOKEN.fullmatch(token)
    assert token != new_token()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", hash_of(token))
    assert parse_hash(hash_of(token)) == digest_of(token)
    for wrong in ("", "sha256:", "sha256:00", token, hash_of(token)[7:], hash_of(token) + "0"):
        with pytest.raises(ValueError, match=r"hash of a token|hexadecimal"):
            parse_hash(wrong)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ([("Authorization", f"Bearer {PORTAL}")], "portal"),
        ([("authorization", f"bearer  {PORTAL} ")], "portal"),
        ([("Authorization", PORTAL)], "portal"),
        ([("PI-Authorization", PORTAL)], "portal"),
        ([("PI-Authorization", PORTAL), ("Authorization", "Basic Og==")], "portal"),
        ([("PI-Authorization", OTHER), ("Authorization", OTHER)], "other"),
        ([("Authorization", f"Bearer {PORTAL}x")], None),
        ([("Authorization", f"Bearer {PORTAL[:-1]}")], None),
        ([("Authorization", "Bearer")], None),
        ([("Authorization", "Bearer ")], None),
        ([("Authorization", "")], None),
        ([("PI-Authorization", "")], None),
        ([("Authorization", hash_of(PORTAL))], None),
        ([("PI-Authorization", f"Bearer {PORTAL}")], "portal"),
        ([("PI-Authorization", f"Basic {PORTAL}")], None),
        ([("PI-Authorization", PORTAL), ("Authorization", OTHER)], None),
        ([("Authorization", PORTAL), ("Authorization", OTHER)], None),
        ([("Authorization", "\udcff\udcfe")], None),
    ],
)
@pytest.mark.parametrize("peer", [LOCAL, REMOTE])
def test_a_token_names_the_caller(peer: Caller, fields: list[tuple[str, str]], name: str | None) -> None:
    """A token in one of three places says who it is, on every socket; a wrong one, or two of them, say it is nobody.

    What a local caller had beside the token it has no more.
    """
    caller = look_up((), TOKENS).who(peer, headers(*fields))
    if name is None:
        assert caller.unknown_token
        assert caller.name == peer.name
    else:
        assert caller == Caller(token=name, address=peer.address, listener=peer.listener)
        assert caller.name == f"token:{name}"


@pytest.mark.parametrize("peer", [LOCAL, REMOTE])
@pytest.mark.parametrize("fields", [[], [("Authorization", "Basic cm9vdDp4")], [("Authorization", "Digest a=b, c=d")]])
def test_other_schemes_are_no_tokens(peer: Caller, fields: list[tuple[str, str]]) -> None:
    """Without a token it is who connected, whatever else a proxy has put into the header."""
    assert look_up((), TOKENS).who(peer, headers(*fields)) is peer


RULES = (
    AccessRule(users=("token:portal", 60_001), allow=frozenset({"send"}), gateways=("ops-*",), text=False),
    AccessRule(users=("token:portal",), allow=frozenset({"otp_challenge"})),
    AccessRule(users=("token:other",), groups=(60_100,), allow=frozenset({"send", "reload"})),
)
A_TOKEN = Caller(token="portal", address="192.0.2.1", listener="127.0.0.1:8443")


@pytest.mark.parametrize(
    ("caller", "action", "gateway", "text", "code"),
    [
        (A_TOKEN, "send", "ops-one", False, ""),
        (A_TOKEN, "send", "ops-one", True, "forbidden"),
        (A_TOKEN, "send", "gated", False, "forbidden"),
        (A_TOKEN, "reload", None, False, "forbidden"),
        (A_TOKEN, "status", None, False, ""),
        (A_TOKEN, "otp_challenge", "gated", True, ""),
        (Caller(token="portal"), "status", None, False, "forbidden"),
        (Caller(token="other"), "send", "gated", True, ""),
        (Caller(60_001), "send", "ops-one", True, "forbidden"),
        (Caller(60_001), "send", "ops-one", False, ""),
        (REMOTE, "status", "gated", False, ""),
        (REMOTE, "send", "ops-one", False, "unauthorized"),
        (Caller(address="192.0.2.1"), "status", None, False, "unauthorized"),
        (Caller(0, unknown_token=True), "status", None, False, "unauthorized"),
        (
            Caller(address="192.0.2.1", listener="127.0.0.1:8443", unknown_token=True),
            "status",
            None,
            False,
            "unauthorized",
        ),
        (Caller(4_294_967_295), "status", None, False, "forbidden"),
    ],
)
def test_who_may_do_what(caller: Caller, action: str, gateway: str | None, text: bool, code: str) -> None:
    """Rules name tokens as they name users; `allow` is for all at its listener; nobody is asked for a token."""
    access = look_up(RULES, TOKENS, LISTEN)
    assert access.allows(caller, action, gateway, text=text) is not bool(code)
    with pytest.raises(RequestError) if code else nullcontext() as caught:
        access.require(caller, action, gateway, text=text)
    if caught is not None:
        assert (caught.value.code, caught.value.action) == (code, action)
        assert ("templates alone" in caught.value.detail) is (text and code == "forbidden")


def test_another_rule_may_allow_a_text() -> None:
    """`text: false` takes nothing from what a further rule gives."""
    further = AccessRule(users=("token:portal",), allow=frozenset({"send"}), gateways=("ops-one",))
    access = look_up((*RULES, further), TOKENS)
    assert access.allows(A_TOKEN, "send", "ops-one", text=True)
    assert not access.allows(A_TOKEN, "send", "ops-two", text=True)


def test_without_rules_a_token_may_send_and_nobody_may() -> None:
    """A token is a local user without a uid; who has none is nobody."""
    access = look_up((), TOKENS)
    assert access.allows(A_TOKEN, "send", "gated", text=True)
    assert access.actions_of(A_TOKEN) == ["send"]
    assert not access.allows(A_TOKEN, "status")
    assert not access.allows(Caller(address="192.0.2.1"), "send", "gated")


# --- the configuration ---------------------------------------------------------------------------------------------


def site(text: str) -> tuple[SiteConfig | None, tuple[Problem, ...], str]:
    """smsgwd.yaml, compiled, its findings, and these as the terminal shows them."""
    source = load(text.encode(), "smsgwd.yaml")
    config, problems = compile_site(source, Path(), resolve=False)
    return config, problems, as_text(problems, {source.file: source}, color=False)


def test_a_hash_is_no_secret() -> None:
    """What belongs there is no finding, whatever the token is called."""
    config, problems, _ = site(f"tokens: {{token: {{hash: '{hash_of(PORTAL)}'}}}}\n")
    assert problems == ()
    assert config is not None
    assert config.tokens == {"token": digest_of(PORTAL)}


@pytest.mark.parametrize(
    "text",
    [
        f"tokens:\n  portal:\n    hash: {PORTAL}\n",
        f"tokens: {{portal: {{hash: '{PORTAL}'}}}}\n",
        f"tokens: {{portal: {PORTAL}}}\n",
        f"tokens: {{portal: {{token: {PORTAL}}}}}\n",
        f"tokens: {{portal: {{hash: ' {PORTAL} '}}}}\n",
        f"access:\n  - users: [token:{PORTAL}]\n    allow: [send]\n",
    ],
)
def test_a_token_in_the_place_of_its_hash_is_told_and_not_repeated(text: str) -> None:
    """The token itself in the file is a literal secret; neither finding nor excerpt shows it."""
    _, problems, told = site(text)
    assert "literal-secret" in {problem.code for problem in problems}
    assert PORTAL[7:] not in told + json.dumps([problem.as_dict() for problem in problems])


def test_a_token_in_a_gateway_file_is_told() -> None:
    """A gateway that talks to another smsgwd has its token from a secret, wherever it stands."""
    text = f"provider: http\nsettings:\n  url: https://192.0.2.1/{PORTAL}\n  success: {{contains: x}}\n"
    source = load(text.encode(), "g.yaml")
    _, problems = compile_gateway("g", source, Site(), resolve=False)
    assert [problem.code for problem in problems if problem.severity == "error"] == ["literal-secret"]
    assert PORTAL[7:] not in as_text(problems, {source.file: source}, color=False)


def test_compiled_documents_show_another_token_and_no_hash() -> None:
    """Nothing that a token fits leaves the file, and a changed token is a change."""
    documents = []
    for token in (PORTAL, OTHER):
        source = load(f"tokens: {{portal: {{hash: '{hash_of(token)}'}}}}\n".encode(), "smsgwd.yaml")
        text = canonical.configuration(Registry.of((), SiteConfig()), {}, source, {}, ()).as_text()
        assert hash_of(token) not in text
        assert canonical.parse(text).as_text() == text
        documents.append(text)
    assert documents[0] != documents[1]


def test_the_command_makes_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """Token and hash on standard output, what to do with them on standard error; the token stands there once."""
    done = run(capsys, "token", "new", "portal")
    token, hashed = (line.split(": ")[1] for line in done.out.splitlines())
    assert done.code == 0
    assert done.out == f"token: {token}\nhash: {hashed}\n"
    assert hash_of(token) == hashed
    assert token not in done.err
    assert "not shown again" in done.err
    entered = done.err.partition("\n\n")[2]
    config, problems, _ = site(entered)
    assert problems == ()
    assert config is not None
    assert config.tokens == {"portal": digest_of(token)}


def test_the_command_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document with name, token and hash; without a name it is null."""
    for arguments, name in ((["portal"], "portal"), ([], None)):
        found = json.loads(run(capsys, "token", "new", *arguments, "--json").out)
        assert found == {"name": name, "token": found["token"], "hash": hash_of(found["token"])}


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 64, ".x"])
def test_a_name_that_smsgwd_yaml_would_not_take_is_wrong_usage(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """No token is made for it."""
    done = run(capsys, "token", "new", "--", name)
    assert (done.code, done.out) == (2, "")


# --- calls ---------------------------------------------------------------------------------------------------------

CONFIG = SiteConfig(access=RULES, tokens=TOKENS)
MESSAGE = {"gateway": "ops-one", "to": "+491701234567"}


def asked(folder: Path, *calls: tuple[str, str, Any, dict[str, str]]) -> list[Response]:
    """The answers of the Unix socket to our own user, who may do everything without a token."""

    async def scenario() -> list[Response]:
        async with serving(folder, config=CONFIG) as served:
            return [await call(served.path, *one) for one in calls]

    return asyncio.run(scenario())


def test_a_token_on_the_unix_socket_takes_rights_away(tmp_path: Path) -> None:
    """A proxy that runs as the daemon's own user passes on callers who may do what their token may, and no more."""
    token, unknown = {"Authorization": f"Bearer {PORTAL}"}, {"Authorization": "Bearer nobody"}
    answers = asked(
        tmp_path,
        ("GET", "/v1/status", None, {}),
        ("GET", "/v1/status", None, token),
        ("GET", "/v1/status", None, unknown),
        ("GET", "/healthz", None, unknown),
        ("POST", "/v1/messages", {**MESSAGE, "text": "hi"}, token),
        ("POST", "/v1/render", {**MESSAGE, "text": "hi"}, token),
        ("POST", "/v1/challenges", {**MESSAGE, "text": "{{ otp }}"}, token),
        ("GET", "/v1/nothing", None, unknown),
    )
    assert [one.status for one in answers] == [200, 403, 401, 200, 403, 403, 200, 404]
    assert (answers[2].type, answers[2].headers["www-authenticate"]) == ("unauthorized", "Bearer")
    assert "name a 'template'" in answers[4].json()["detail"]


def test_each_line_of_a_stream_is_looked_at_anew(tmp_path: Path) -> None:
    """A line with a text is refused where templates are wanted; a token that is taken away ends what the stream may."""
    line = json.dumps({**MESSAGE, "text": "hi"}).encode() + b"\n"
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {OTHER}\r\n".encode()
    head += b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def scenario() -> list[Any]:
        async with serving(tmp_path, config=CONFIG) as served, connected(served.path) as (reader, writer):
            writer.write(head)
            await reader.readuntil(b"\r\n\r\n")
            answers = []
            for tokens in (TOKENS, {}, {"portal": digest_of(OTHER)}):
                served.services.access = look_up(RULES, tokens)
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                size = int(await reader.readline(), 16)
                answers.append(json.loads((await reader.readexactly(size + 2))[:-2]))
            return answers

    answers = asyncio.run(scenario())
    assert [one.get("outcome", one.get("type")) for one in answers] == [
        "accepted",
        "urn:smsgwd:problem:unauthorized",
        "urn:smsgwd:problem:forbidden",
    ]
    assert "templates alone" in answers[2]["detail"]


RIGHTS = ["send", "otp_challenge"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_login_answers_the_token_as_privacyidea_does(tmp_path: Path) -> None:
    """The name of the token and the token, as a form or as JSON, whatever else the client sends along."""
    form = f"username=portal&password={PORTAL}&realm=".encode()
    answers = asked(
        tmp_path,
        ("POST", "/auth", form, FORM),
        ("POST", "/auth", {"username": "portal", "password": PORTAL, "realm": None}, {}),
    )
    for answer in answers:
        found = answer.json()
        value = {
            "token": PORTAL,
            "username": "portal",
            "realm": "",
            "role": "admin",
            "rights": ["send", "otp_challenge"],
        }
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        assert found["result"] == {"status": True, "value": value}
        assert (found["id"], found["jsonrpc"]) == (1, "2.0")


def test_a_login_does_not_tell_a_wrong_name_from_a_wrong_token(tmp_path: Path) -> None:
    """Name and token have to belong together; what is wrong is not said."""
    wrong = [("portal", OTHER), ("nobody", PORTAL), ("portal", "x"), ("nobody", "x"), ("pörtal", "ä")]
    bodies = [{"username": name, "password": token} for name, token in wrong]
    answers = asked(tmp_path, *(("POST", "/auth", body, {}) for body in bodies))
    assert {one.status for one in answers} == {401}
    assert {one.headers["www-authenticate"] for one in answers} == {"Bearer"}
    told = [{key: value for key, value in one.json().items() if key != "time"} for one in answers]
    assert told == [told[0]] * len(wrong)
    assert told[0]["result"] == {"status": False, "error": {"code": 4031, "message": "wrong username or password"}}
    assert told[0]["type"] == "urn:smsgwd:problem:unauthorized"


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", FORM, 400, 905),
        (b"username=portal", FORM, 400, 905),
        (b"password=x&username=", FORM, 400, 905),
        (b"username=a&username=b&password=x", FORM, 400, 905),
        (b"username=%ff&password=x", FORM, 400, 905),
        (b"username=\xff&password=x", FORM, 400, 905),
        (b"&a=" * 2000, FORM, 400, 905),
        (b'{"username": "portal", "password": 1}', {}, 400, 905),
        (b"[]", {}, 400, 905),
        (b"username=portal", {"Content-Type": "text/plain"}, 415, 10),
        (b"username=" + b"x" * 70_000, FORM, 413, 10),
    ],
)
def test_a_login_that_is_none_is_refused(
    tmp_path: Path, body: bytes, kind: dict[str, str], status: int, code: int
) -> None:
    """What is missing or cannot be read is said in privacyIDEA's words."""
    (answer,) = asked(tmp_path, ("POST", "/auth", body, kind))
    assert answer.status == status
    assert answer.json()["result"]["error"]["code"] == code


def test_refusals_name_the_token_and_never_show_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is counted and logged, with the name of the token or with who connected."""
    unknown = new_token()

    async def scenario() -> str:
        async with serving(tmp_path, config=CONFIG) as served:
            for token in (PORTAL, unknown):
                await call(served.path, "POST", "/v1/reload", None, {"PI-Authorization": token})
            await call(served.path, "POST", "/auth", {"username": "x", "password": unknown})
            return (await call(served.path, "GET", "/metrics")).body.decode()

    text = asyncio.run(scenario())
    assert 'smsgwd_requests_refused_total{code="forbidden"} 1.0' in text
    assert 'smsgwd_requests_refused_total{code="unauthorized"} 2.0' in text
    records = [record for record in caplog.records if record.name == "smsgwd.server"]
    told = [{key: vars(record).get(key) for key in ("code", "token", "uid")} for record in records]
    assert told[0] == {"code": "forbidden", "token": "portal", "uid": None}
    assert told[1]["code"] == "unauthorized"
    assert told[1]["uid"] is not None
    assert not [token for token in (PORTAL, unknown) if token in str([vars(record) for record in caplog.records])]


def test_a_pipelined_request_has_its_own_token(tmp_path: Path) -> None:
    """Who calls is asked for each request, not for the connection."""

    async def scenario() -> list[int]:
        async with serving(tmp_path, config=CONFIG) as served, connected(served.path) as (reader, writer):
            for header in (b"Authorization: nobody\r\n", b"", b"Authorization: " + OTHER.encode() + b"\r\n"):
                writer.write(b"POST /v1/reload HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
            return [(await read_response(reader)).status for _ in range(3)]

    assert asyncio.run(scenario()) == [401, 200, 200]
