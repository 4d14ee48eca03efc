"""The native admin calls, at the real daemon: gateways as files, over the socket."""

import asyncio
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from api_document import check_answer
from daemon_process import Running, configuration, daemon, open_daemon
from other_user import IS_ROOT, become, called
from secret_file import write_secret
from socket_client import Response, call

from smsgwd.access_token import hash_of, new_token
from smsgwd.audit import Audit
from smsgwd.caller import Caller
from smsgwd.errors import RequestError

SITE = "writable: true\nsocket: {mode: '0666'}\nlog: {format: text, level: error}\naudit: {file: audit.jsonl}\n"
RULES = "access:\n  - {users: [4242], allow: [smsgateway_write, status], gateways: [own-*]}\n"
TOKEN = new_token()
TOKENS = f"tokens: {{portal: {{hash: '{hash_of(TOKEN)}'}}}}\n"
CONSOLE = b"# ours\nprovider: console\n"


class Portal:
    """Whoever manages gateways over the socket."""

    def __init__(self, running: Running, config: Path) -> None:
        self.running = running
        self.config = config

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
        """One request; its answer is one that /openapi.json describes."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # as `curl --data-binary` has it
        response = asyncio.run(call(self.running.path, method, target, body, {**form, **(headers or {})}))
        path = target.partition("?")[0]
        path = "/v1/gateways/{name}" if path.startswith("/v1/gateways/") else path
        check_answer(method, path, response)
        return response

    def put(self, name: str, text: bytes, **headers: str) -> Response:
        """A gateway file."""
        return self.ask("PUT", f"/v1/gateways/{name}", text, {key.replace("_", "-"): headers[key] for key in headers})

    def audited(self) -> list[dict[str, Any]]:
        """The lines of the audit file."""
        return [json.loads(line) for line in (self.config / "audit.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One daemon for all."""
    config = configuration(tmp_path_factory.mktemp("portal"), {"smsgwd.yaml": SITE + RULES + TOKENS})
    with open_daemon(config) as running:
        yield Portal(running, config)


def test_gateway_comes_changes_and_goes(portal: Portal) -> None:
    """PUT creates and changes, GET shows file and state, DELETE removes; each answer carries the digest."""
    made = portal.put("fresh", CONSOLE, If_None_Match="*")
    assert (made.status, made.json()["state"]) == (201, "ok")
    assert made.headers["etag"] == f'"{made.json()["digest"]}"'
    shown = portal.ask("GET", "/v1/gateways/fresh")
    assert shown.headers["etag"] == made.headers["etag"]
    file = portal.ask("GET", "/v1/gateways/fresh", headers={"Accept": "application/yaml"})
    assert (file.body, file.headers["etag"]) == (CONSOLE, made.headers["etag"])
    changed = portal.put("fresh", CONSOLE + b"sender: ACME\n", If_Match=file.headers["etag"])
    assert changed.status == 200
    stale = portal.put("fresh", CONSOLE, If_Match=file.headers["etag"].strip('"'))
    assert (stale.status, stale.json()["digest"]) == (412, changed.json()["digest"])
    assert portal.put("fresh", CONSOLE, If_None_Match="*").status == 412
    gone = portal.ask("DELETE", "/v1/gateways/fresh", headers={"If-Match": changed.headers["etag"]})
    assert (gone.status, gone.json()["name"]) == (200, "fresh")
    assert gone.json()["digest"] == portal.ask("GET", "/v1/status").json()["digest"]
    assert portal.ask("GET", "/v1/gateways/fresh").status == 404
    assert portal.ask("DELETE", "/v1/gateways/fresh").type == "unknown-gateway"
    told = [
        (line["action"], line["outcome"], line["before"], line["after"])
        for line in portal.audited()
        if line["gateway"] == "fresh"
    ]
    first, second = made.json()["digest"], changed.json()["digest"]
    assert told == [
        ("create", "done", None, first),
        ("change", "done", first, second),
        ("change", "conflict", None, None),
        ("change", "conflict", None, None),
        ("delete", "done", second, None),
        ("delete", "unknown-gateway", None, None),
    ]


BAD_FILES = {
    "duplicate keys": (b"provider: console\nprovider: http\n", "duplicate-key"),
    "ten thousand levels": (b"a: " + b"[" * 10_000 + b"]" * 10_000, "too-deep"),
    "an alias": (b"a: &a [x]\nb: *a\n", "yaml-anchor"),
    "not UTF-8": (b"provider: \xff\n", "not-utf8"),
    "nothing": (b"", "empty-file"),
    "JSON with two equal keys": (b'{"provider": "console", "provider": "http"}', "duplicate-key"),
    "a secret": (
        b"provider: smtp\nsettings: {server: {host: a, password: hunter22}, mail_to: a@b.c}\n",
        "literal-secret",
    ),
    "a missing secret": (b"provider: console\nsecrets: {a: {file: secrets.d/x/y}}\n", "missing-secret"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_file_is_refused_with_its_findings(portal: Portal, what: str) -> None:
    """What does not compile changes nothing; the answer has all findings, and no value."""
    text, code = BAD_FILES[what]
    response = portal.put("bad", text)
    assert (response.status, response.type) == (422, "invalid-config")
    assert code in {problem["code"] for problem in response.json()["problems"]}
    assert b"hunter22" not in response.body
    assert not list(portal.config.glob("gateways.d/*bad*"))
    line = portal.audited()[-1]
    assert (line["outcome"], code in line["detail"]) == ("invalid-config", True)


@pytest.mark.parametrize("text", ["settings: {password: hunter22}\n", "password: hunter22\nx: [\n"])
def test_file_with_a_secret_in_it_is_not_shown(portal: Portal, text: str) -> None:
    """A file that somebody put there with a literal secret, or that cannot be read as YAML, stays on the machine."""
    path = portal.config / "gateways.d" / "careless.yaml"
    path.write_text("provider: sipgate\n" + text)
    response = portal.ask("GET", "/v1/gateways/careless", headers={"Accept": "application/yaml"})
    path.unlink()
    assert (response.status, response.type) == (422, "invalid-config")
    assert response.json()["problems"]
    assert b"hunter22" not in response.body


BAD_NAMES = ["con.fig", "x" * 200, "-x", "%2e%2e", "c%D0%BEnsole", "a%20b", "%EF%AC%81", "x%0A", "%00"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_refused(portal: Portal, name: str) -> None:
    """Names outside of the pattern are malformed, in whatever alphabet."""
    audit = portal.config / "audit.jsonl"  # the first refusal makes it
    before = {*portal.config.rglob("*"), audit}
    assert portal.put(name, CONSOLE).type == "malformed-request"
    assert {*portal.config.rglob("*"), audit} == before


def test_path_does_not_lead_out(portal: Portal) -> None:
    """A name with a slash is no path of the API."""
    for target in ("/v1/gateways/../x", "/v1/gateways/..%2Fx", "/v1/gateways/a%2Fb"):
        response = asyncio.run(call(portal.running.path, "PUT", target, CONSOLE))
        assert response.status in {400, 404}
    assert not (portal.config / "x").exists()
    assert not (portal.config / "x.yaml").exists()


def test_bodies_that_are_not_taken(portal: Portal) -> None:
    """Parts, compression and more than 1 MiB are refused."""
    parts = {"Content-Type": "multipart/form-data; boundary=x"}
    assert portal.ask("PUT", "/v1/gateways/big", b"--x--", parts).status == 415
    assert portal.ask("PUT", "/v1/gateways/big", b"x", {"Content-Encoding": "gzip"}).status == 415
    assert portal.put("big", b"#" * (1 << 20) + b"\n").status == 413
    large = b"provider: console\n" + b"#" * 900_000 + b"\n"
    assert portal.put("big", large).status == 201
    assert portal.ask("DELETE", "/v1/gateways/big").status == 200


CONDITIONS = [{"If_None_Match": '"sha256:1"'}, {"If_Match": "*", "If_None_Match": "*"}, {"If_Match": '""'}]


@pytest.mark.parametrize("headers", CONDITIONS, ids=str)
def test_conditions_that_say_nothing(portal: Portal, headers: dict[str, str]) -> None:
    """A condition that cannot be meant is malformed."""
    assert portal.put("console", CONSOLE, **headers).type == "malformed-request"


def test_check_changes_nothing(portal: Portal) -> None:
    """POST /v1/check tells what `smsgwd check` would, also of smsgwd.yaml and of a failover, and writes nothing."""
    before = sorted(portal.config.rglob("*"))
    sound = portal.ask("POST", "/v1/check", CONSOLE)
    assert sound.json() == {"findings": [], "files": 1, "errors": 0, "warnings": 0}
    found = portal.ask(
        "POST", "/v1/check?name=mine", b"provider: failover\nsettings: {gateways: [none, mine]}\n"
    ).json()
    assert {(one["file"], one["code"]) for one in found["findings"]} == {
        ("gateways.d/mine.yaml", "unknown-gateway"),
        ("gateways.d/mine.yaml", "failover-cycle"),
    }
    site = portal.ask("POST", "/v1/check?name=smsgwd.yaml", b"log: {level: INFO}\nsecrets: {a: {file: none}}\n").json()
    assert [(one["file"], one["code"]) for one in site["findings"]][:1] == [("smsgwd.yaml", "bad-value")]
    assert portal.ask("POST", "/v1/check?name=../x", CONSOLE).type == "malformed-request"
    assert sorted(portal.config.rglob("*")) == before


def test_nothing_without_an_end_is_opened(portal: Portal) -> None:
    """A file that names a FIFO or a device as a certificate is refused; nobody waits for the one or reads the other."""
    os.mkfifo(portal.config / "fifo")
    for path in ("/dev/zero", "fifo"):
        text = f"provider: http\nsettings: {{url: https://example.com, tls: {{ca_file: {path}}}}}\n"
        assert portal.ask("POST", "/v1/check", text.encode()).status == 200
        refused = portal.put("endless", text.encode())
        assert (refused.status, "it is no file" in str(refused.json()["problems"])) == (422, True)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_rights_are_those_of_the_rules(portal: Portal) -> None:
    """Who may write one gateway may not write another, nor read files; each refusal is audited."""
    calls = [
        ("PUT", "/v1/gateways/console", ["x"]),
        ("DELETE", "/v1/gateways/console", []),
        ("PUT", "/v1/gateways/own-1", []),
        ("GET", "/v1/gateways/own-1", []),
        ("POST", "/v1/check", []),
    ]
    answers = called(become(4242), portal.running.path, calls)
    assert [status for status, _ in answers] == [403, 403, 422, 404, 200]
    answers = called(become(4343), portal.running.path, [("POST", "/v1/check", []), ("PUT", "/v1/gateways/a", [])])
    assert [status for status, _ in answers] == [403, 403]
    mine = [line for line in portal.audited() if line["by"] == "uid:4242"]
    assert [(line["action"], line["gateway"], line["outcome"]) for line in mine] == [
        ("change", "console", "forbidden"),
        ("delete", "console", "forbidden"),
        ("create", "own-1", "invalid-config"),
    ]
    assert mine[0]["from"] == str(portal.running.path)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_nobody_fills_the_audit(portal: Portal) -> None:
    """Of a caller who may not, some lines are written at once, then one a second that counts those left out."""
    answers = called(become(4545), portal.running.path, [("DELETE", "/v1/gateways/console", [])] * 200)
    assert {status for status, _ in answers} == {403}
    assert 10 <= len([line for line in portal.audited() if line["by"] == "uid:4545"]) < 100


FOREIGN = [
    "{file: secrets.d/console/key}",
    "{file: secrets.d/own-2/../console/key}",
    "{env: HOME}",
    "{file: /etc/passwd}",
]


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_nobody_takes_the_secrets_of_another_gateway(portal: Portal) -> None:
    """Who may write some gateways alone can name their own secrets, and those that are in the file already."""
    for folder in ("console", "own-2"):
        (portal.config / "secrets.d" / folder).mkdir(parents=True)
        write_secret(portal.config / "secrets.d" / folder / "key", "hunter22\n")
    curl = [*become(4242), "curl", "--silent", "--unix-socket", str(portal.running.path), "--write-out", "%{http_code}"]

    def put(reference: str) -> str:
        text = f"provider: console\nsecrets: {{key: {reference}}}\n"
        put = ["-X", "PUT", "--data-binary", text, "http://smsgwd/v1/gateways/own-2"]
        return subprocess.run([*curl, *put], capture_output=True, text=True, timeout=30, check=True, cwd="/").stdout[
            -3:
        ]

    assert [put(reference) for reference in FOREIGN] == ["403"] * len(FOREIGN)
    assert put("{file: secrets.d/own-2/key}") == "201"
    assert portal.put("own-2", b"provider: console\nsecrets: {key: {file: secrets.d/console/key}}\n").status == 200
    assert put("{file: secrets.d/console/key}") == "200"  # it is there already


def test_reload_is_audited(portal: Portal) -> None:
    """A reload that is asked for over the socket stands in the audit, with the digests of before and after."""
    digest = portal.ask("POST", "/v1/reload").json()["digest"]
    line = portal.audited()[-1]
    assert (line["action"], line["outcome"], line["before"], line["after"]) == ("reload", "done", digest, digest)


def test_login_is_audited(portal: Portal) -> None:
    """A login is audited by the name of its token, one that fails by who called; no token is written down."""
    body = json.dumps({"username": "portal", "password": TOKEN}).encode()
    good = portal.ask("POST", "/auth", body, {"Content-Type": "application/json"})
    bad = portal.ask("POST", "/auth", body.replace(b"portal", b"porter"), {"Content-Type": "application/json"})
    assert (good.status, bad.status) == (200, 401)
    told = [(line["outcome"], line["by"]) for line in portal.audited() if line["action"] == "login"]
    assert told == [("done", "token:portal"), ("unauthorized", f"uid:{os.geteuid()}")]
    assert TOKEN not in (portal.config / "audit.jsonl").read_text()


def test_audit_is_in_the_log_as_json(portal: Portal) -> None:
    """The log has each line of the audit as JSON, also where the rest is text and of other levels."""
    portal.put("logged", b"a: [")
    lines = [json.loads(line) for line in portal.running.printed().splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line.get("gateway") == "logged"]
    assert (told["logger"], told["outcome"], told["by"][:4]) == ("smsgwd.audit", "invalid-config", "uid:")


def test_audit_file(portal: Portal) -> None:
    """It is for its owner alone, is made anew when it was rotated away, and without it nothing is done."""
    path = portal.config / "audit.jsonl"
    portal.put("console", b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(portal.config / "audit.1")
    portal.put("console", b"")
    assert len(portal.audited()) == 1
    path.unlink()
    path.symlink_to(portal.config / "elsewhere")
    refused = portal.put("console", CONSOLE + b"sender: X\n")
    assert (refused.status, refused.type) == (503, "audit-unavailable")
    assert not (portal.config / "elsewhere").exists()
    assert (portal.config / "gateways.d" / "console.yaml").read_text() == "provider: console\n"
    path.unlink()


def test_a_torn_line_of_the_audit_spoils_no_other(portal: Portal) -> None:
    """Where a part of a line was written, when a disk was full, the next one begins on a line of its own."""
    path = portal.config / "audit.jsonl"
    with path.open("a") as file:
        file.write('{"at": "20')
    portal.put("console", b"")
    assert json.loads(path.read_text().splitlines()[-1])["action"] == "change"
    path.unlink()


def test_a_full_disk_of_the_audit_stops_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk has no room for a line nothing is changed, and it goes on by itself when there is some."""
    audit = Audit(lambda: tmp_path / "audit.jsonl")
    done = []

    async def act() -> None:
        async with audit.action("change", Caller(uid=1)):
            done.append("change")

    with monkeypatch.context() as full:
        free = os.statvfs(tmp_path)
        full.setattr(os, "fstatvfs", lambda _: os.statvfs_result((*free[:3], 0, 0, *free[5:])))
        with pytest.raises(RequestError, match="No space left") as caught:
            asyncio.run(act())
    assert (caught.value.code, done) == ("audit-unavailable", [])
    asyncio.run(act())
    assert json.loads((tmp_path / "audit.jsonl").read_text())["outcome"] == "done"


def test_read_only_by_default(tmp_path: Path) -> None:
    """Without `writable: true` a configuration can be read and checked, and not changed."""
    config = configuration(tmp_path)
    with daemon(config) as running:
        portal = Portal(running.ready(), config)
        assert portal.put("console", CONSOLE).type == "read-only"
        assert portal.ask("DELETE", "/v1/gateways/console").type == "read-only"
        assert portal.ask("GET", "/v1/gateways/console", headers={"Accept": "application/yaml"}).status == 200
        assert portal.ask("POST", "/v1/check", b"a: b\n").status == 200


def test_start_clears_up_what_was_cut_off(tmp_path: Path) -> None:
    """A daemon that was killed in the middle of a write leaves nothing behind after its next start."""
    files = {"smsgwd.yaml": SITE, "secrets.d/.writing-web.json": '{"gateway": "web", "secrets": ["password"]}'}
    config = configuration(tmp_path, files | {"gateways.d/.writing-web.yaml-1": "x", "secrets.d/web/password": "x"})
    with daemon(config) as running:
        running.ready()
        assert running.stop(signal.SIGTERM) == 0
    left = {str(path.relative_to(config)) for path in config.rglob("*") if path.is_file()}
    assert left == {"smsgwd.yaml", "gateways.d/console.yaml"}
    assert not (config / "secrets.d" / "web").exists()
