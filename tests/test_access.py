import asyncio
import grp
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import serving

from smsgwd.errors import RequestError
from smsgwd.registry import AccessRule, SiteConfig
from smsgwd.server.access import Peer, look_up, read_peer

ME = os.geteuid()
ALICE = Peer(60_001, frozenset({60_001}))
ADMIN = Peer(60_002, frozenset({60_002, 60_100}))
RULES = (
    AccessRule(users=(60_001,), allow=frozenset({"send"}), gateways=("ops-*", "x")),
    AccessRule(groups=(60_100,), allow=frozenset({"send", "status", "reload"})),
    AccessRule(users=("60003",), allow=frozenset({"status"}), gateways=("ops-*",)),
)
OPS = Peer(60_003, frozenset({60_003}))


@pytest.mark.parametrize(
    ("peer", "action", "gateway", "allowed"),
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
        (Peer(60_009, frozenset({60_009})), "send", "ops-one", False),
        (Peer(0, frozenset({0})), "reload", None, True),
        (Peer(ME, frozenset()), "smsgateway_write", None, True),
    ],
)
def test_a_call_is_allowed_if_a_rule_matches(peer: Peer, action: str, gateway: str | None, allowed: bool) -> None:
    """Caller, action and gateway have to match one rule; root and the daemon's own user may do everything."""
    assert look_up(RULES).allows(peer, action, gateway) is allowed


@pytest.mark.parametrize(("action", "allowed"), [("send", True), ("status", False), ("reload", False)])
def test_without_rules_others_may_send(action: str, allowed: bool) -> None:
    """Who can open the socket may send, and nothing else."""
    assert look_up(()).allows(ALICE, action, "gated") is allowed


def test_names_are_looked_up() -> None:
    """Users and groups by name count by their numbers; unknown ones match nobody, and are no fault."""
    me, group = pwd.getpwuid(ME), grp.getgrgid(os.getgid())
    access = look_up(
        (
            AccessRule(users=("no-such-user-here",), groups=("no-such-group",), allow=frozenset({"send"})),
            AccessRule(users=(me.pw_name, "bad\0name"), groups=(group.gr_name,), allow=frozenset({"status"})),
        )
    )
    assert not access.allows(ALICE, "send", "gated")
    assert not access.allows(ALICE, "status")
    assert access.allows(Peer(60_001, frozenset({group.gr_gid})), "status")


def test_a_refusal_is_told_without_the_gateways_name(caplog: pytest.LogCaptureFixture) -> None:
    """The log has who and what; the answer does not say whether there is such a gateway."""
    with pytest.raises(RequestError) as caught:
        look_up(RULES).require(ALICE, "send", "secret-project")
    assert caught.value.code == "forbidden"
    assert "secret-project" not in caught.value.detail + caplog.text
    assert vars(caplog.records[0])["uid"] == 60_001


def test_a_socket_tells_who_connected() -> None:
    """User, primary and supplementary groups come from the kernel; a TCP socket tells nobody, which is no uid."""
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        peer = read_peer(near)
    assert (peer.uid, peer.groups) == (ME, frozenset({os.getegid(), *os.getgroups()}))
    with socket.socket() as tcp, pytest.raises(OSError, match="Unix socket"):
        read_peer(tcp)


CLIENT = """
import http.client, json, socket, sys
path, calls = sys.argv[1], json.loads(sys.argv[2])
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
answers = []
for method, target, gateway in calls:
    connection = Connection("smsgwd")
    lines = [json.dumps({"gateway": one, "to": "+491701234567", "text": "hi"}) for one in gateway or []]
    kind = "application/x-ndjson" if lines[1:] else "application/json"
    connection.request(method, target, "\\n".join(lines), {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read().decode()
    kind = answer.headers["Content-Type"]
    answers.append([answer.status, json.loads(text) if kind.endswith("json") and "nd" not in kind else text])
    connection.close()
print(json.dumps(answers))
"""
SEND_ALLOWED = ["POST", "/v1/messages", ["ops-one"]]
CALLS = [
    SEND_ALLOWED,
    ["POST", "/v1/messages", ["gated"]],
    ["POST", "/v1/messages", ["not-there"]],
    ["POST", "/v1/render", ["ops-one"]],
    ["POST", "/v1/render", ["gated"]],
    ["GET", "/v1/gateways", None],
    ["GET", "/v1/gateways/ops-one", None],
    ["GET", "/v1/gateways/gated", None],
    ["GET", "/v1/gateways/not-there", None],
    ["GET", "/v1/status", None],
    ["GET", "/metrics", None],
    ["POST", "/v1/reload", None],
    ["GET", "/healthz", None],
    ["GET", "/readyz", None],
    ["GET", "/openapi.json", None],
]
# Another user needs root to become it; without root these are our own groups and our own uid, which may do everything.
OTHERS = (
    {
        "user": (["setpriv", "--reuid=60001", "--regid=60001", "--clear-groups"], "restricted"),
        "group": (["setpriv", "--reuid=60002", "--regid=60002", "--groups=60100"], "admin"),
        "status of some": (["setpriv", "--reuid=60003", "--regid=60003", "--clear-groups"], "watcher"),
        "nobody": (["setpriv", "--reuid=60009", "--regid=60009", "--clear-groups"], "nobody"),
        "root": ([], "admin"),
    }
    if ME == 0
    else {"ourselves": ([], "admin")}
)
EXPECTED = {
    #            send            render    gateways            status metrics reload health ready document
    "restricted": [200, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403, 200, 200, 200],
    "admin": [200, 200, 404, 200, 200, 200, 200, 200, 404, 200, 200, 200, 200, 200, 200],
    "watcher": [403, 403, 403, 403, 403, 200, 200, 403, 403, 200, 200, 403, 200, 200, 200],
    "nobody": [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 200, 200, 200],
}


async def called(folder: Path, rules: tuple[AccessRule, ...], become: list[str], calls: list[Any]) -> list[Any]:
    """What a process that became somebody else is answered."""
    async with serving(folder, config=SiteConfig(access=rules)) as served:
        client = await asyncio.create_subprocess_exec(
            *become,
            getattr(sys, "_base_executable", sys.executable),
            "-I",
            "-c",
            CLIENT,
            str(served.path),
            json.dumps(calls),
            stdout=subprocess.PIPE,
            cwd="/",
        )
        printed, _ = await asyncio.wait_for(client.communicate(), 30)
        return list(json.loads(printed))


@pytest.mark.parametrize("who", OTHERS)
def test_real_processes_of_other_users(open_folder: Path, who: str) -> None:
    """Each call of each sort of caller is allowed or refused as the rules say, and refused before it is looked up."""
    become, kind = OTHERS[who]
    answers = asyncio.run(called(open_folder, RULES, become, CALLS))
    assert [status for status, _ in answers] == EXPECTED[kind]
    for status, content in answers:
        assert status != 403 or content["type"] == "urn:smsgwd:problem:forbidden"


@pytest.mark.parametrize("who", sorted(OTHERS))
def test_without_rules_real_processes_of_other_users_may_send(open_folder: Path, who: str) -> None:
    """Without rules another user may send and nothing else."""
    become, _ = OTHERS[who]
    answers = asyncio.run(called(open_folder, (), become, [SEND_ALLOWED, ["GET", "/v1/status", None]]))
    assert [status for status, _ in answers] == ([200, 200] if not become else [200, 403])


@pytest.mark.parametrize("who", OTHERS)
def test_access_is_asked_for_each_line_of_a_stream(open_folder: Path, who: str) -> None:
    """A line for a gateway that the caller may not use is refused alone."""
    become, kind = OTHERS[who]
    ((status, text),) = asyncio.run(
        called(open_folder, RULES, become, [["POST", "/v1/messages", ["ops-one", "gated", "not-there"]]])
    )
    lines = {one["line"]: one.get("status", 200) for one in map(json.loads, text.splitlines())}
    assert status == 200
    assert [lines[1], lines[2], lines[3]] == EXPECTED[kind][:3]


def test_the_list_shows_what_the_caller_may_see(open_folder: Path) -> None:
    """A rule for some gateways shows these and hides the others' names and faults."""
    become, kind = OTHERS.get("status of some", ([], "admin"))
    answers = asyncio.run(
        called(open_folder, RULES, become, [["GET", "/v1/gateways", None], ["GET", "/v1/status", None]])
    )
    names = [one["name"] for one in answers[0][1]]
    if kind == "watcher":
        assert names == ["ops-one"]
        assert answers[1][1]["problems"] == []
        assert answers[1][1]["gateways"]["ok"] == 1
    else:
        assert names == ["broken", "gated", "off", "ops-one"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter; pytest's own are for us alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)
