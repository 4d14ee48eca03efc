"""privacyIDEA's gateway API at the real daemon: its clients work, and nothing that is secret comes out."""

import asyncio
import hashlib
import json
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from api_document import check_answer
from command import CHECKOUT, run
from daemon_process import Running, configuration, daemon, open_daemon
from fake_http import OK, Line, RawServer
from other_user import IS_ROOT, become, called
from socket_client import Response, call

from smsgwd.privacyidea import HTTP, SMTP
from smsgwd.registry import Entry, Registry, SiteConfig, gateway_id

SITE = (
    "writable: true\nsocket: {mode: '0666'}\nlog: {format: json, level: debug, privacy: false}\n"
    "audit: {file: audit.jsonl}\n"
    "smtp_servers: {corp: {host: mail.example, from: sms@example.com}}\n"
    "access:\n  - {users: [4242], allow: [smsgateway_read, smsgateway_write], gateways: [own-*]}\n"
    "  - {users: [4243], allow: [smsgateway_read]}\n"
)
TWINS = ("gw-36113", "gw-43833")  # of gw-0, gw-1, ... the first two with one id
CENSORED = "__CENSORED__"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def described(target: str) -> str:
    """The path of /openapi.json that a target is."""
    parts = target.split("/")
    if len(parts) > 3 and parts[2] == "option":
        return "/smsgateway/option/{id}/{key}"
    known = {"/smsgateway", "/smsgateway/", "/smsgateway/providers"}
    return target if target in known else "/smsgateway/{gateway}"


class Page:
    """privacyIDEA's page for SMS gateways, as far as a server can see it. It keeps all that it was ever answered."""

    def __init__(self, running: Running, config: Path) -> None:
        self.running = running
        self.config = config
        self.answers = ""

    def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """One request; its answer is one that /openapi.json describes."""
        response = asyncio.run(call(self.running.path, method, target, body, headers))
        self.answers += f"{response.headers} {response.body.decode()}\n"
        if target.startswith("/smsgateway"):
            check_answer(method, described(target), response)
        return response

    def value(self, method: str, target: str, body: Any = None) -> Any:
        """What an answer carries."""
        response = self.ask(method, target, body)
        assert response.status == 200, response.body
        return response.json()["result"]["value"]

    def refused(self, status: int, method: str, target: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The error of a request that is refused; nothing has changed."""
        before = self.files()
        fields = {key.replace("_", "-"): text for key, text in headers.items()}
        response = self.ask(method, target, body, fields)
        assert response.status == status, response.body
        assert self.files() == before
        found = response.json()
        error: dict[str, Any] = found["result"]["error"]
        assert "detail" not in found
        return error

    def files(self) -> dict[str, str]:
        """Everything in the configuration but the audit."""
        paths = [path for path in self.config.rglob("*") if path.is_file() and path.name != "audit.jsonl"]
        return {str(path.relative_to(self.config)): path.read_text() for path in paths}

    def save(self, form: Mapping[str, Any], **changes: Any) -> int:
        """What the page sends when somebody saves: every field that it shows, and the flags of all."""
        entry = {**form, **changes}
        sent = {"name": entry["name"], "module": entry["providermodule"], "description": entry["description"]}
        for kind, plural in (("option", "options"), ("header", "headers")):
            for key, text in entry[plural].items():
                sent[f"{kind}.{key}"] = text
                sent[f"secret.{kind}.{key}"] = key in entry[f"secret_{plural}"]
        return int(self.value("POST", "/smsgateway", sent))

    def entry(self, number: int) -> dict[str, Any]:
        """The gateway of an id."""
        (found,) = self.value("GET", f"/smsgateway/{number}")
        return dict(found)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One daemon for all."""
    files = {"smsgwd.yaml": SITE, **{f"gateways.d/{name}.yaml": "provider: console\n" for name in TWINS}}
    config = configuration(tmp_path_factory.mktemp("page"), files)
    (config / "gateways.d" / "broken.yaml").write_text("provider: nonsense\n")
    with open_daemon(config) as running:
        yield Page(running, config)


def answered(line: Line) -> None:
    """A provider that takes everything."""
    while line.read():
        line.send(OK)


def test_a_gateway_comes_changes_and_goes(page: Page) -> None:
    """Made from its descriptor, shown, changed, used, deleted: no answer, log or gateway file shows a secret."""
    with RawServer(answered) as server:
        modules = page.value("GET", "/smsgateway/providers")
        parameters = modules[HTTP]["parameters"]
        form: dict[str, Any] = {
            "name": "paged",
            "providermodule": HTTP,
            "description": "by the page",
            "options": {key: one.get("values", [""])[0] for key, one in parameters.items() if one.get("required")},
            "headers": {"X-Key": "kanari-header"},
            "secret_options": ["hidden", "PASSWORD"],
            "secret_headers": ["X-Key"],
        }
        form["options"] |= {"URL": f"http://127.0.0.1:{server.port}/send", "to": "{phone}", "text": "Code {otp}"}
        form["options"] |= {"hidden": "kanari-hidden", "USERNAME": "u", "PASSWORD": "kanari-password", "TIMEOUT": "2"}
        number = page.save(form)
        assert number == gateway_id("paged")
        shown = page.entry(number)
        hidden = {**form["options"], "hidden": CENSORED, "PASSWORD": CENSORED}
        assert (shown["options"], shown["headers"]) == (hidden, {"X-Key": CENSORED})
        assert (shown["secret_options"], shown["secret_headers"]) == (["PASSWORD", "hidden"], ["X-Key"])
        before = page.files()
        assert page.save(shown) == number
        assert page.files() == before
        page.save(shown, options={**shown["options"], "text": "Your code: {otp}"}, secret_options=[], secret_headers=[])
        assert page.entry(number)["secret_options"] == ["PASSWORD", "hidden"]
        assert page.value("DELETE", f"/smsgateway/option/{number}/TIMEOUT") == 1
        message = {"gateway": "paged", "to": "0170 1234567", "text": "123456"}
        page.ask("POST", "/v1/render", message)
        assert page.ask("POST", "/v1/messages", message).json()["outcome"] == "accepted"
    (request,) = (octets.decode() for octets in server.requests)
    assert "kanari-hidden" in request
    assert "X-Key: kanari-header" in request
    assert "Your+code%3A+123456" in request
    folder = page.config / "secrets.d" / "paged"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for target in ("/v1/gateways", "/v1/status", "/metrics", "/smsgateway/"):
        page.ask("GET", target)
    assert "kanari" not in page.answers
    assert "kanari" not in page.running.printed()
    assert "kanari" not in (page.config / "audit.jsonl").read_text()
    assert "kanari" not in (page.config / "gateways.d" / "paged.yaml").read_text()
    assert page.value("DELETE", "/smsgateway/paged") == 1
    assert not folder.exists() or not list(folder.iterdir())
    assert page.value("DELETE", "/smsgateway/paged") == 0
    assert page.value("GET", f"/smsgateway/{number}") == []
    audited = [json.loads(line) for line in (page.config / "audit.jsonl").read_text().splitlines()]
    assert [line["action"] for line in audited if line["gateway"] == "paged"] == [
        *("create", "change", "change", "delete-option", "delete", "delete")
    ]


def test_a_form_is_read(page: Page) -> None:
    """A form does as well as JSON, with and without the slash; what nobody knows is ignored."""
    fields = {"name": "form", "module": HTTP, "option.URL": "https://h/", "option.a+b": "ä & {otp}", "more": "x"}
    for target in ("/smsgateway", "/smsgateway/"):
        response = page.ask("POST", target, urlencode(fields).encode(), FORM)
        assert response.json()["result"] == {"status": True, "value": gateway_id("form")}
    assert page.entry(gateway_id("form"))["options"] == {"URL": "https://h/", "a+b": "ä & {otp}"}
    assert page.refused(400, "POST", "/smsgateway", b"name=x&name=y", **FORM)["code"] == 905
    page.refused(400, "POST", "/smsgateway", b"name=%ff&module=x", **FORM)
    page.refused(415, "POST", "/smsgateway", b"name=x", Content_Type="multipart/form-data; boundary=x")
    page.refused(413, "POST", "/smsgateway", b"x" * 70_000, **FORM)
    assert page.value("DELETE", "/smsgateway/form") == 1


def test_the_list_has_everything(page: Page) -> None:
    """The list is sorted, and shows what no class can be by its provider, a broken file with the reason."""
    moved = page.ask("GET", "/smsgateway")
    assert (moved.status, moved.headers["location"]) == (308, "/smsgateway/")
    listed = page.value("GET", "/smsgateway/")
    assert [one["name"] for one in listed] == sorted(one["name"] for one in listed)
    found = {one["name"]: one for one in listed}
    assert found["console"] == {
        "id": gateway_id("console"),
        "name": "console",
        "providermodule": "smsgwd.providers.console",
        "description": "",
        "options": {},
        "headers": {},
        "secret_options": [],
        "secret_headers": [],
    }
    assert found["broken"]["providermodule"] == ""
    assert "broken.yaml:1:11: error[unknown-provider]" in found["broken"]["description"]
    lossy = {"name": "broken", "module": HTTP, "option.URL": "https://h/"}
    assert page.refused(409, "POST", "/smsgateway", lossy)["code"] == 10
    page.refused(400, "GET", "/smsgateway/console")


def test_the_modules(page: Page) -> None:
    """The five classes of privacyIDEA by its names, and each of our providers."""
    modules = page.value("GET", "/smsgateway/providers")
    assert [name.rpartition(".")[2] for name in modules if name.startswith("privacyidea.")] == [
        *("HttpSMSProvider", "SipgateSMSProvider", "SmtpSMSProvider", "SmppSMSProvider", "ScriptSMSProvider")
    ]
    assert modules[SMTP]["parameters"]["SMTPIDENTIFIER"]["values"] == ["corp"]
    assert modules[SMTP]["parameters"]["BODY"]["type"] == "text"
    assert (modules[HTTP]["options_allowed"], modules[HTTP]["headers_allowed"]) == (True, True)
    assert modules[HTTP]["parameters"]["PASSWORD"]["secret"] is True
    script = modules["privacyidea.lib.smsprovider.ScriptSMSProvider.ScriptSMSProvider"]
    assert "headers_allowed" not in script
    assert modules["smsgwd.providers.http"]["parameters"]["auth.password"]["secret"] is True
    assert modules["smsgwd.providers.sipgate"]["parameters"]["api"]["values"] == ["xmlrpc", "rest"]


HEADED = {"name": "x", "module": HTTP, "option.URL": "https://h/"}


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"name": "x"}, "Missing parameter: 'module'"),
        ({"module": HTTP}, "Missing parameter: 'name'"),
        ({"name": "../x", "module": HTTP}, "cannot be the name of a gateway"),
        ({"name": "x" * 200, "module": HTTP}, "cannot be the name of a gateway"),
        ({"name": "ｘ", "module": HTTP}, "cannot be the name of a gateway"),
        ({"name": "x", "module": "os.system"}, "there is no module"),
        ({**HEADED, "header.Host": "x"}, "the header 'Host' cannot be sent: smsgwd writes it itself"),
        ({**HEADED, "header.X": "a\r\nEvil: 1"}, "the header 'X' cannot be sent"),
        ({**HEADED, "header.X\r\nEvil": "1"}, "cannot be sent: no request can carry it"),
        ({"name": "x", "module": HTTP}, "x: URL is missing"),
        ({"name": "CONSOLE", "module": HTTP, "option.URL": "https://h/"}, "console.yaml"),
        ({"name": "x", "module": "smsgwd.providers.http", "option.url": "no url"}, "gateways.d/x.yaml:2: "),
    ],
)
def test_what_cannot_be(page: Page, parameters: dict[str, Any], why: str) -> None:
    """What is missing, is no name or does not compile is 400, with the reason, and nothing has changed."""
    error = page.refused(400, "POST", "/smsgateway", parameters)
    assert error["code"] == 905
    assert why in error["message"]


def test_a_lost_update_is_refused(page: Page) -> None:
    """If-Match with the digest that was read lets a change pass, once."""
    parameters = {"name": "matched", "module": HTTP, "option.URL": "https://h/"}
    made = page.ask("POST", "/smsgateway", parameters)
    number = made.json()["result"]["value"]
    etag = page.ask("GET", f"/smsgateway/{number}").headers["etag"]
    assert etag == made.headers["etag"]
    changed = page.ask("POST", "/smsgateway", {**parameters, "option.x": "y"}, {"If-Match": etag})
    assert changed.status == 200
    page.refused(412, "POST", "/smsgateway", parameters, If_Match=etag)
    page.refused(412, "DELETE", f"/smsgateway/option/{number}/x", If_Match=etag)
    page.refused(412, "DELETE", "/smsgateway/matched", If_Match=etag)
    assert page.ask("DELETE", "/smsgateway/matched", headers={"If-Match": changed.headers["etag"]}).status == 200


def test_writers_at_once(page: Page) -> None:
    """Of many writers each one's gateway is there afterwards, whole."""

    async def write() -> list[Response]:
        bodies = [
            {"name": "shared", "module": HTTP, "option.URL": "https://h/", "option.a": str(n), "option.token": f"t{n}"}
            for n in range(8)
        ]
        return list(await asyncio.gather(*(call(page.running.path, "POST", "/smsgateway", body) for body in bodies)))

    assert {response.status for response in asyncio.run(write())} == {200}
    last = page.entry(gateway_id("shared"))["options"]["a"]
    values = [path.read_text() for path in (page.config / "secrets.d" / "shared").iterdir()]
    assert values == [f"t{last}\n"]
    assert page.value("DELETE", "/smsgateway/shared") == 1


def test_a_new_place_for_kept_secrets_is_told(page: Page) -> None:
    """A URL that leads elsewhere takes the secrets along, as in privacyIDEA; the log has a warning."""
    parameters = {"name": "moved", "module": HTTP, "option.URL": "https://h/", "option.token": "kanari-9"}
    page.value("POST", "/smsgateway", parameters)
    page.value("POST", "/smsgateway", {**parameters, "option.token": CENSORED, "option.URL": "https://h/other"})
    assert "sends to another place" not in page.running.printed()
    page.value("POST", "/smsgateway", {**parameters, "option.token": CENSORED, "option.URL": "https://i/"})
    assert "sends to another place" in page.running.printed()
    assert [path.read_text() for path in (page.config / "secrets.d" / "moved").iterdir()] == ["kanari-9\n"]
    assert page.value("DELETE", "/smsgateway/moved") == 1


# --- ids


def test_without_the_audit_nothing_is_done(page: Page) -> None:
    """Where no line can be written, no gateway is created or deleted, and the refusal says why."""
    audit = page.config / "audit.jsonl"
    audit.rename(page.config / "audit.1")
    audit.mkdir()
    try:
        for method, target, body in (
            ("POST", "/smsgateway", {"name": "dark", "module": HTTP, "option.URL": "https://h/"}),
            ("DELETE", f"/smsgateway/{TWINS[0]}", None),
            ("DELETE", "/smsgateway/option/1/URL", None),
        ):
            assert "cannot be opened" in page.refused(503, method, target, body)["message"]
    finally:
        audit.rmdir()
        (page.config / "audit.1").rename(audit)


def test_ids() -> None:
    """The id of a name is the first 31 bits of its SHA-256; two names of many thousands have the same one."""
    assert gateway_id("x") == int(hashlib.sha256(b"x").hexdigest()[:8], 16) >> 1
    first: dict[int, str] = {}
    twins = next((first[number], name) for name in (f"gw-{n}" for n in range(200_000))
                 if first.setdefault(number := gateway_id(name), name) != name)  # fmt: skip
    assert twins == TWINS


def test_the_same_id_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two gateways with one id get a warning at both files, from `check` as from the daemon."""
    config = configuration(tmp_path, {f"gateways.d/{name}.yaml": "provider: console\n" for name in TWINS})
    done = run(capsys, "check", "--config", str(config))
    for name, other in (TWINS, TWINS[::-1]):
        assert f"{name}.yaml:1:1: warning[same-id]: privacyIDEA's clients cannot tell it from `{other}`" in done.out
    entries = [Entry.of(name, None) for name in (*TWINS, "console")]
    registry = Registry.of(entries, SiteConfig())
    assert [problem.code for name in TWINS for problem in registry.entries[name].problems] == ["same-id", "same-id"]
    assert registry.entries["console"].problems == ()


def test_the_same_id_is_not_guessed(page: Page) -> None:
    """Of two gateways with one id both are listed under it, and no option of either is deleted by it."""
    number = gateway_id(TWINS[0])
    assert [one["name"] for one in page.value("GET", f"/smsgateway/{number}")] == list(TWINS)
    assert "same id" in page.refused(409, "DELETE", f"/smsgateway/option/{number}/x")["message"]
    page.refused(404, "DELETE", "/smsgateway/option/1/x")
    page.refused(400, "DELETE", "/smsgateway/option/x/x")


# --- who may


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_others_see_and_write_what_the_rules_say(page: Page) -> None:
    """Gateways beyond the globs of a rule are not listed and not written; without the right it is 403."""
    page.value("POST", "/smsgateway", {"name": "own-1", "module": HTTP, "option.URL": "https://h/", "option.a": "b"})
    number, foreign = gateway_id("own-1"), gateway_id("console")
    calls = [
        ("GET", "/smsgateway/", ["x"]),
        ("GET", f"/smsgateway/{foreign}", ["x"]),
        ("DELETE", f"/smsgateway/option/{foreign}/x", ["x"]),
        ("DELETE", "/smsgateway/console", ["x"]),
        ("DELETE", f"/smsgateway/option/{number}/a", ["x"]),
        ("POST", "/smsgateway", ["x"]),
        ("DELETE", "/smsgateway/own-1", ["x"]),
    ]
    answers = called(become(4242), page.running.path, calls)
    assert [status for status, _ in answers] == [200, 200, 404, 403, 200, 400, 200]
    assert [one["name"] for one in answers[0][1]["result"]["value"]] == ["own-1"]
    assert answers[1][1]["result"]["value"] == []
    assert answers[3][1]["result"]["error"]["code"] == 303
    reader = called(become(4243), page.running.path, calls[:1] + calls[5:])
    assert [status for status, _ in reader] == [200, 403, 403]
    nobody = called(become(4244), page.running.path, [*calls, ("GET", "/smsgateway/providers", ["x"])])
    assert {status for status, _ in nobody} == {403}


def test_what_is_managed_elsewhere_is_read_only(tmp_path: Path) -> None:
    """Without `writable`, and where files are links, gateways are shown and not written: 409."""
    config = configuration(tmp_path / "config")
    real = tmp_path / "real.yaml"
    real.write_text("provider: console\ndescription: linked\n")
    (config / "gateways.d" / "linked.yaml").symlink_to(real)
    parameters = {"name": "linked", "module": "smsgwd.providers.console"}
    for site in ("writable: false\n", "writable: true\n"):
        (config / "smsgwd.yaml").write_text(site)
        with daemon(config) as running:
            page = Page(running.ready(), config)
            assert page.entry(gateway_id("linked"))["description"] == "linked"
            assert "managed" in page.refused(409, "POST", "/smsgateway", parameters)["message"]
            page.refused(409, "DELETE", "/smsgateway/linked")


def test_keys_in_paths_are_decoded(page: Page) -> None:
    """A key with blanks and signs is deleted by its encoded form."""
    key = "to[] ä&?"
    page.value("POST", "/smsgateway", {"name": "odd", "module": HTTP, "option.URL": "https://h/", f"option.{key}": "x"})
    assert page.value("DELETE", f"/smsgateway/option/{gateway_id('odd')}/option.{quote(key, safe='')}") == 1
    fields = {"name": "odd", "module": HTTP, "option.URL": "https://h/", "option.a/b=1": "x"}
    page.value("POST", "/smsgateway", fields)
    assert page.value("DELETE", f"/smsgateway/option/{gateway_id('odd')}/option.a%2Fb%3D1") == 1
    assert page.value("DELETE", "/smsgateway/odd") == 1
    assert "name of a gateway" in page.refused(400, "DELETE", "/smsgateway/..%2Fodd")["message"]


def test_a_gateway_called_providers(page: Page) -> None:
    """It can be written and deleted, although its name is that of another call."""
    page.value("POST", "/smsgateway", {"name": "providers", "module": HTTP, "option.URL": "https://h/"})
    response = asyncio.run(call(page.running.path, "DELETE", "/smsgateway/providers"))
    assert response.json()["result"]["value"] == 1
    assert not (page.config / "gateways.d" / "providers.yaml").exists()


def test_the_commands_of_the_page_work(page: Page) -> None:
    """Each line of `Its clients` in docs/privacyidea.md is typed as it stands, and does what is said there."""
    text = (CHECKOUT / "docs" / "privacyidea.md").read_text().partition("## Its clients")[2]
    commands = (
        text.partition("```sh\n")[2].partition("```")[0].replace("/run/smsgwd/smsgwd.sock", str(page.running.path))
    )
    done = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, check=True, timeout=60)
    answers = [json.loads(line)["result"]["value"] for line in done.stdout.splitlines()]
    assert [one["name"] for one in answers[0]][:2] == ["broken", "console"]
    assert HTTP in answers[1]
    assert answers[2:] == [gateway_id("acme"), 1, 1]
    assert "4711-geheim" not in done.stdout
