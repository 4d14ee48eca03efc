import asyncio
import grp
import json
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from other_user import IS_ROOT, Call, become, called
from served import serving
from token_files import token as file_of_token

from smsgwd.access_token import digest_of
from smsgwd.caller import Caller
from smsgwd.compile import compile_token
from smsgwd.errors import Problem, RequestError
from smsgwd.load import load
from smsgwd.registry import AccessRule, SiteConfig, State, TokenEntry
from smsgwd.server.access import look_up, read_caller

ME = os.geteuid()
ALICE = Caller(60_001, frozenset({60_001}))
ADMIN = Caller(60_002, frozenset({60_002, 60_100}))
RULES = (
    AccessRule(users=(60_001,), allow=frozenset({"send"}), gateways=("ops-*", "x")),
    AccessRule(groups=(60_100,), allow=frozenset({"send", "status", "reload"})),
    AccessRule(users=("60003",), allow=frozenset({"status"}), gateways=("ops-*",)),
)
OPS = Caller(60_003, frozenset({60_003}))


@pytest.mark.parametrize(
    ("caller", "action", "gateway", "allowed"),
    [
        (ALICE, "send", "ops-one", True),
        (ALICE, "send", "x", True),
        (ALICE, "send", "OPS-one", False),
        (ALICE, "send", "gated", False),
        (ALICE, "status", None, False),
        (ADMIN, "send", "gated", True),
        (ADMIN, "status", None, True),
        (ADMIN, "reload", None, True),
        (ADMIN, "smsgateway_write", None, False),
        (OPS, "status", None, True),
        (OPS, "status", "gated", False),
        (Caller(60_009, frozenset({60_009})), "send", "ops-one", False),
        (Caller(0, frozenset({0})), "reload", None, True),
        (Caller(ME, frozenset()), "smsgateway_write", None, True),
    ],
)
def test_a_call_is_allowed_if_a_rule_matches(caller: Caller, action: str, gateway: str | None, allowed: bool) -> None:
    """Caller, action and gateway have to match one rule; root and the daemon's own user may do everything."""
    assert look_up(RULES).allows(caller, action, gateway) is allowed


@pytest.mark.parametrize(("action", "allowed"), [("send", True), ("status", False), ("reload", False)])
def test_without_rules_others_may_send(action: str, allowed: bool) -> None:
    """Who can open the socket may send, and nothing else."""
    assert look_up(()).allows(ALICE, action, "gated") is allowed


def test_names_are_looked_up() -> None:
    """Users and groups by name count by their numbers; unknown ones match nobody, and are no fault."""
    user = next(one for one in pwd.getpwall() if one.pw_uid not in (0, ME))
    group = next(one for one in grp.getgrall() if one.gr_gid != 0)
    access = look_up(
        (
            AccessRule(users=("no-such-user-here",), groups=("no-such-group",), allow=frozenset({"send"})),
            AccessRule(users=(user.pw_name, "bad\0name"), groups=(group.gr_name,), allow=frozenset({"status"})),
        )
    )
    assert not access.allows(ALICE, "send", "gated")
    assert not access.allows(ALICE, "status")
    assert access.allows(Caller(user.pw_uid, frozenset()), "status")
    assert access.allows(Caller(60_001, frozenset({group.gr_gid})), "status")


def test_a_refusal_says_what_was_asked_for() -> None:
    """Action and gateway, as the caller wrote it, whether or not there is one; a number or a text is not repeated."""
    access = look_up(RULES)
    told = "the caller (uid 60001) may not do this: it needs 'send' on the gateway"
    for gateway, words in (
        ("secret-project", " `secret-project`"),
        ("491701234567", " asked for"),
        ("a b", " asked for"),
    ):
        with pytest.raises(RequestError) as caught:
            access.require(ALICE, "send", gateway)
        assert (caught.value.code, caught.value.action) == ("forbidden", "send")
        assert caught.value.detail == told + words
    with pytest.raises(RequestError, match=r"it needs 'reload'$"):
        access.require(Caller(60_009, frozenset()), "reload")


def test_a_socket_tells_who_connected() -> None:
    """User, primary and supplementary groups come from the kernel; a TCP socket tells an address alone, and no uid."""
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        caller = read_caller(near)
    assert (caller.uid, caller.groups) == (ME, frozenset({os.getegid(), *os.getgroups()}))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            assert read_caller(accepted, "here") == Caller(address="127.0.0.1", listener="here")
    with socket.socket() as nowhere, pytest.raises(OSError, match="not connected"):
        read_caller(nowhere)


def test_ipv4_is_ipv4_on_a_socket_of_both() -> None:
    """A client is counted by one address, whichever sort of socket it came to."""
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server,
        socket.create_connection(("127.0.0.1", server.getsockname()[1])),
    ):
        accepted, _ = server.accept()
        with accepted:
            assert read_caller(accepted).address == "127.0.0.1"


SEND_ALLOWED: Call = ("POST", "/v1/messages", ["ops-one"])
CALLS: list[Call] = [
    SEND_ALLOWED,
    ("POST", "/v1/messages", ["gated"]),
    ("POST", "/v1/messages", ["not-there"]),
    ("POST", "/v1/render", ["ops-one"]),
    ("POST", "/v1/render", ["gated"]),
    ("GET", "/v1/gateways", []),
    ("GET", "/v1/gateways/ops-one", []),
    ("GET", "/v1/gateways/gated", []),
    ("GET", "/v1/gateways/not-there", []),
    ("GET", "/v1/status", []),
    ("GET", "/metrics", []),
    ("POST", "/v1/reload", []),
    ("GET", "/healthz", []),
    ("GET", "/readyz", []),
    ("GET", "/openapi.json", []),
]
# Another user needs root to become it; without root there is only our own, which may do everything.
OTHERS: dict[str, tuple[list[str], str]] = (
    {
        "user": (become(60_001), "restricted"),
        "group": (become(60_002, [60_100]), "admin"),
        "status of some": (become(60_003), "watcher"),
        "nobody": (become(60_009), "nobody"),
        "root": ([], "admin"),
    }
    if IS_ROOT
    else {"ourselves": ([], "admin")}
)
EXPECTED = {
    #            send            render    gateways            status metrics reload health ready document
    "restricted": [200, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403, 200, 200, 200],
    "admin": [200, 200, 404, 200, 200, 200, 200, 200, 404, 200, 200, 200, 200, 200, 200],
    "watcher": [403, 403, 403, 403, 403, 200, 200, 403, 403, 200, 200, 403, 200, 200, 200],
    "nobody": [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 200, 200, 200],
}


def answers_to(who: str, folder: Path, rules: tuple[AccessRule, ...], calls: list[Call]) -> list[tuple[int, Any]]:
    """What a process that became somebody else is answered."""

    async def scenario() -> list[tuple[int, Any]]:
        async with serving(folder, config=SiteConfig(access=rules)) as served:
            return await asyncio.to_thread(called, OTHERS[who][0], served.path, calls)

    return asyncio.run(scenario())


@pytest.mark.parametrize("who", OTHERS)
def test_real_processes_of_other_users(open_folder: Path, who: str) -> None:
    """Each call of each sort of caller is allowed or refused as the rules say, and refused before it is looked up."""
    answers = answers_to(who, open_folder, RULES, CALLS)
    assert [status for status, _ in answers] == EXPECTED[OTHERS[who][1]]
    for status, content in answers:
        assert status != 403 or content["type"] == "urn:smsgwd:problem:forbidden"


@pytest.mark.parametrize("who", sorted(OTHERS))
def test_without_rules_real_processes_of_other_users_may_send(open_folder: Path, who: str) -> None:
    """Without rules another user may send and nothing else."""
    answers = answers_to(who, open_folder, (), [SEND_ALLOWED, ("GET", "/v1/status", [])])
    assert [status for status, _ in answers] == ([200, 403] if OTHERS[who][0] else [200, 200])


@pytest.mark.parametrize("who", OTHERS)
def test_access_is_asked_for_each_line_of_a_stream(open_folder: Path, who: str) -> None:
    """A line for a gateway that the caller may not use is refused alone."""
    stream: Call = ("POST", "/v1/messages", ["ops-one", "gated", "not-there"])
    ((status, text),) = answers_to(who, open_folder, RULES, [stream])
    lines = {one["line"]: one.get("status", 200) for one in map(json.loads, text.splitlines())}
    assert status == 200
    assert [lines[1], lines[2], lines[3]] == EXPECTED[OTHERS[who][1]][:3]


@pytest.mark.parametrize("who", OTHERS)
def test_a_token_is_who_calls_whatever_user_has_it(open_folder: Path, who: str) -> None:
    """On the Unix socket a token gives another user its rights, and takes from our own and from root all else."""
    token = "smsgwd_" + "0" * 43
    rules = (AccessRule(users=("token:portal",), allow=frozenset({"status"})),)
    config = SiteConfig(access=rules, tokens={"portal": digest_of(token)})
    mine = 403 if OTHERS[who][0] else 200
    calls = [
        ("GET", "status", (), mine),
        ("GET", "status", (f"Authorization: Bearer {token}",), 200),
        ("GET", "status", ("Authorization: Basic cm9vdDp4", f"PI-Authorization: {token}"), 200),
        ("GET", "status", ("Authorization: Bearer x",), 401),
        ("GET", "status", ("Authorization: Basic cm9vdDp4",), mine),
        ("POST", "reload", (f"Authorization: {token}",), 403),
    ]

    def ask(path: Path, method: str, call: str, fields: tuple[str, ...]) -> int:
        headers = [word for field in fields for word in ("-H", field)]
        command = [*OTHERS[who][0], "curl", "--silent", "--max-time", "10", "--output", "/dev/null", "-X", method]
        command += ["--write-out", "%{http_code}", "--unix-socket", str(path), *headers, f"http://smsgwd/v1/{call}"]
        return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30, cwd="/").stdout)

    async def scenario() -> list[int]:
        async with serving(open_folder, config=config) as served:
            return [await asyncio.to_thread(ask, served.path, *call[:3]) for call in calls]

    assert asyncio.run(scenario()) == [call[3] for call in calls]


def test_the_list_shows_what_the_caller_may_see(open_folder: Path) -> None:
    """A rule for some gateways shows these and hides the others' names and faults."""
    who = next((one for one in OTHERS if one == "status of some"), "ourselves")
    answers = answers_to(who, open_folder, RULES, [("GET", "/v1/gateways", []), ("GET", "/v1/status", [])])
    names = [one["name"] for one in answers[0][1]]
    if IS_ROOT:
        assert names == ["ops-one"]
        assert answers[1][1]["problems"] == []
        assert answers[1][1]["gateways"]["ok"] == 1
    else:
        assert names == ["broken", "gated", "off", "ops-one"]


def test_tokens_are_counted_that_the_caller_may_see(open_folder: Path) -> None:
    """A rule for some gateways counts the tokens that these send for; what is wrong with others is not told."""
    problem = Problem("tokens.d/x.yaml", 1, 1, "clear-pin", "a PIN stands here itself")

    def entry(gateway: str | None) -> TokenEntry:
        token = compile_token("x", load(file_of_token(gateway=gateway).encode(), "x.yaml"))[0] if gateway else None
        return TokenEntry(str(gateway), State.OK if token else State.REJECTED, token, (problem,) * (not token))

    async def scenario() -> list[tuple[int, Any]]:
        async with serving(open_folder, config=SiteConfig(access=RULES)) as served:
            tokens = {str(name): entry(name) for name in ("ops-one", "gated", None)}
            served.configuration.registry = replace(served.configuration.registry, tokens=tokens)
            return await asyncio.to_thread(
                called, become(60_003) if IS_ROOT else (), served.path, [("GET", "/v1/status", [])]
            )

    ((status, content),) = asyncio.run(scenario())
    assert (status, content["tokens"]["ok"], content["tokens"]["rejected"]) == ((200, 1, 0) if IS_ROOT else (200, 2, 1))
    assert not IS_ROOT or content["problems"] == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter; pytest's own are for us alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_metrics_show_what_the_caller_may_see(open_folder: Path) -> None:
    """Of series by gateway those of the gateways that a rule names; all others are as they are."""
    rules = (AccessRule(users=(60_001,), allow=frozenset({"status"}), gateways=("gat*",)),)

    async def scenario() -> list[tuple[int, Any]]:
        async with serving(open_folder, config=SiteConfig(access=rules)) as served:
            return await asyncio.to_thread(
                called, become(60_001) if IS_ROOT else [], served.path, [("GET", "/metrics", [])]
            )

    ((status, text),) = asyncio.run(scenario())
    assert status == 200
    assert 'gateway="gated"' in text
    assert "smsgwd_config_info" in text
    assert ('gateway="off"' in text) is not IS_ROOT
