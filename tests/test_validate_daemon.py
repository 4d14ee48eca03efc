import asyncio
import base64
import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import foreign_smsc
import pytest
import requests
import socket_client
from api_document import API, validator
from challenging import Provider
from command import CHECKOUT
from daemon_process import Running, configuration, daemon
from fake_http import free_port
from nobody import as_nobody
from patience import until
from redis_server import redis_server
from socket_client import JSON, Response, call, connected, read_response, request
from token_house import FORM, TOKENS, check, hashed, post, providing, result, serving, token

from smsgwd.client import Client, Login, RequestRefused
from smsgwd.otp.pins import MOST_PER_CORE
from smsgwd.otp.users import WRONG, serial_of


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Provider]]:
    """A daemon for tests that leave it as it is, but for codes that are sent."""
    with serving(tmp_path_factory.mktemp("house"), "{otp: {per_recipient: 1000/s}}") as served:
        yield served


def described(path: str, answer: Response) -> Any:
    """The JSON of an answer, which is as openapi.json describes it."""
    responses = API["paths"][path]["post"]["responses"]
    kind = answer.headers["content-type"]
    validator(responses[str(answer.status)]["content"][kind]["schema"]).validate(answer.json())
    return answer.json()


PAGE = (CHECKOUT / "docs" / "otp.md").read_text()


def block(beginning: str) -> str:
    """The code block of docs/otp.md that begins so."""
    found = [
        text
        for text in re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if text.startswith(beginning)
    ]
    assert len(found) == 1
    text: str = found[0]
    return text


# --- two steps ------------------------------------------------------------------------------------------------------


def test_pin_then_pin_and_code(house: tuple[Running, Provider]) -> None:
    """The PIN has the code sent, PIN and code let in, once; privacyIDEA's clients find what they look for."""
    running, provider = house
    first = described("/validate/check", post(running, "/validate/check", {"user": "alice", "pass": "pincanary1"}))
    assert re.fullmatch(r"canaryword \d{6} is your code", provider.texts[-1])
    assert first["result"] == {"status": True, "value": False, "authentication": "CHALLENGE"}
    detail, shared = first["detail"], ("message", "transaction_id", "serial", "type", "client_mode")
    assert detail["messages"] == [detail["message"]]
    assert detail["transaction_ids"] == [detail["transaction_id"]]
    (challenge,) = detail["multi_challenge"]
    assert challenge == {**{key: detail[key] for key in shared}, "attributes": None, "image": ""}
    assert (detail["serial"], detail["type"], detail["client_mode"]) == (serial_of("alice"), "sms", "interactive")
    password = {"user": "alice", "pass": "pincanary1" + provider.code}
    second = described("/validate/check", post(running, "/validate/check", password))
    assert second["result"] == {"status": True, "value": True, "authentication": "ACCEPT"}
    assert {key: second["detail"][key] for key in ("serial", "type", "otplen")} == {
        "serial": serial_of("alice"),
        "type": "sms",
        "otplen": 6,
    }
    third = described("/validate/check", post(running, "/validate/check", password))
    assert (third["result"]["authentication"], third["detail"]) == ("REJECT", {"message": WRONG})


@pytest.mark.parametrize("name", ["transaction_id", "state"])
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "form"])
def test_pin_then_transaction_and_code(house: tuple[Running, Provider], name: str, as_json: bool) -> None:
    """As a form or as JSON, with either name of the id; parameters that nobody knows are left aside."""
    running, provider = house

    def step(**parameters: str) -> Any:
        more: dict[str, Any] = {"x": [1], "client": None} if as_json else {"x": 1}
        text = json.dumps({**parameters, **more}) if as_json else urlencode({**parameters, **more})
        kind = JSON if as_json else FORM
        return asyncio.run(call(running.path, "POST", "/validate/check", text.encode(), kind)).json()

    first = step(serial=serial_of("bob@example"), **{"pass": "pincanary2"})
    second = {"user": "bob", "realm": "example", "pass": provider.code, name: first["detail"]["transaction_id"]}
    answers = [step(**second)["result"]["value"] for _ in range(2)]
    assert (len(provider.code), answers) == (8, [True, False])


def test_trigger(house: tuple[Running, Provider]) -> None:
    """A code without a PIN: one was sent, or none, and then it is not said why."""
    running, provider = house
    answer = post(running, "/validate/triggerchallenge", {"user": "alice"})
    sent = described("/validate/triggerchallenge", answer)
    assert sent["result"] == {"status": True, "value": 1, "authentication": "CHALLENGE"}
    transaction_id, before = sent["detail"]["transaction_id"], len(provider.texts)
    assert result(running, "bob@example", provider.code, transaction_id) == "REJECT"
    assert result(running, "alice", provider.code, transaction_id) == "ACCEPT"
    for user in ("off", "nobody"):
        none = described("/validate/triggerchallenge", post(running, "/validate/triggerchallenge", {"user": user}))
        assert none["result"] == {"status": True, "value": 0, "authentication": "REJECT"}
        assert set(none["detail"]) == {"message"}
    assert len(provider.texts) == before


def test_over_smpp(tmp_path: Path) -> None:
    """A login whose code goes out through an SMSC that we did not write, both ways."""
    gateway = "provider: smpp\nsettings: {host: 127.0.0.1, port: %d, system_id: me, password: '{{ secrets.p }}'}\n"

    async def test() -> None:
        async with foreign_smsc.node(password="hunter2x") as smsc:
            files = {
                "gateways.d/smsc.yaml": gateway % smsc.port + "secrets: {p: {file: p}}\n",
                "p": "hunter2x",
                "tokens.d/alice.yaml": token("alice", "1234", gateway="smsc"),
            }
            config = configuration(tmp_path, files)
            (config / "p").chmod(0o600)
            with daemon(config) as running:
                await asyncio.to_thread(running.ready)
                first = await asyncio.to_thread(check, running, "alice", "1234")
                code = (await smsc.do("report"))["taken"][-1]["text"]
                transaction_id = first["detail"]["transaction_id"]
                assert await asyncio.to_thread(result, running, "alice", code, transaction_id) == "ACCEPT"
                await asyncio.to_thread(check, running, "alice", "1234")
                code = (await smsc.do("report"))["taken"][-1]["text"]
                assert await asyncio.to_thread(result, running, "alice", "1234" + code) == "ACCEPT"

    asyncio.run(test())


def test_two_daemons_with_one_redis(tmp_path: Path) -> None:
    """What one has sent the other one lets in, by either way, once; wrong PINs are counted in both together."""
    keys = {"key": base64.b64encode(os.urandom(32)).decode()}
    with redis_server() as redis, ExitStack() as stack:
        site = f"{{otp: {{keys: {{k1: {{file: key}}}}, storage: 'unix://{redis.path}'}}}}"
        config, provider = stack.enter_context(providing(tmp_path, site, keys))
        (config / "key").chmod(0o600)
        one, other = (stack.enter_context(daemon(config)).ready() for _ in range(2))
        check(one, "alice", "pincanary1")
        words = [result(running, "alice", "pincanary1" + provider.code) for running in (other, one)]
        transaction_id = check(one, "bob@example", "pincanary2")["detail"]["transaction_id"]
        words += [result(running, "bob@example", provider.code, transaction_id) for running in (other, one)]
        assert words == ["ACCEPT", "REJECT", "ACCEPT", "REJECT"]
        for running in (one, other):
            assert result(running, "nobody", "9999") == "REJECT"
        counts = Counter(redis.client.get(key) for key in redis.client.scan_iter("smsgwd:otp:failed:*"))
        assert counts == {b"1": 1, b"2": 1}  # of alice, whose code came a second time, and of nobody


def test_as_privacyideas_pam_module_asks(tmp_path: Path) -> None:
    """Over TCP, with the settings of the page: the answer to its second question goes with the id of the first."""
    port = free_port()
    with serving(tmp_path, block("# smsgwd.yaml: whoever is on this machine").replace("8025", str(port))) as served:
        running, provider = served

        def asked(target: str = "check", **form: str) -> Any:
            url = f"http://127.0.0.1:{port}/validate/{target}"
            return requests.post(url, data=form, headers={"user-agent": "PAM/2.15.0"}, timeout=20).json()

        first = asked(user="bob", realm="example", **{"pass": "pincanary2"})
        transaction_id = first["detail"]["transaction_id"]
        assert (first["result"]["status"], first["result"]["value"]) == (True, False)
        second = asked(user="bob", realm="example", transaction_id=transaction_id, **{"pass": provider.code})
        assert (second["result"]["status"], second["result"]["value"]) == (True, True)
        refused = asked("triggerchallenge", user="bob")
        assert (refused["result"]["status"], refused["result"]["error"]["code"], refused["status"]) == (
            False,
            4033,
            401,
        )
        told = [json.loads(line) for line in running.printed().splitlines()]
    assert [line["from"] for line in told if line["message"] == "login"] == ["127.0.0.1"] * 2


# --- what is not let in ---------------------------------------------------------------------------------------------


def test_what_is_rejected_is_alike(house: tuple[Running, Provider]) -> None:
    """An unknown user, a disabled token and a wrong PIN have one answer, but for the time in it; no SMS goes out."""
    running, provider = house
    before = len(provider.texts)
    tries = [("nobody", "pincanary3"), ("off", "pincanary3"), ("bob@example", "pincanary3"), ("bob@example", "")]
    answers = [check(running, user, password) for user, password in tries]
    answers += [check(running, user, "12345678", "A" * 74) for user, _ in tries]
    assert len({answer.pop("time") for answer in answers}) == len(answers)
    assert all(answer == answers[0] for answer in answers)
    assert len(provider.texts) == before


def test_another_way_to_a_code(house: tuple[Running, Provider]) -> None:
    """A challenge of `/v1/challenges` lets no user in, whatever its context, and a user's is not verified there."""
    running, provider = house

    def v1(target: str, **members: str) -> Response:
        return asyncio.run(call(running.path, "POST", target, members))

    transaction_id = check(running, "alice", "pincanary1")["detail"]["transaction_id"]
    code = provider.code
    contexts = ("", "alice", "\ud800alice", f"\ud800alice\n+491701234567\n{hashed('pincanary1')}")
    for context in contexts:
        answer = v1("/v1/challenges/verify", transaction_id=transaction_id, otp=code, context=context)
        assert answer.status == 400 if "\ud800" in context else answer.json()["reason"] == "invalid"
        issued = v1("/v1/challenges", gateway="web", to="+491701234567", context=context)
        assert issued.status == (400 if "\ud800" in context else 200)
        if issued.status == 200:
            assert result(running, "alice", provider.code, issued.json()["transaction_id"]) == "REJECT"
    assert result(running, "alice", code, transaction_id) == "ACCEPT"


def test_a_code_that_cannot_be_sent(house: tuple[Running, Provider]) -> None:
    """The answer says so, with the reason alone: nothing of gateway, number or what the provider said."""
    answer = check(house[0], "refused", "pincanary4")
    assert answer["result"] == {"status": True, "value": False, "authentication": "REJECT"}
    assert answer["detail"] == {"message": "the one-time password could not be sent (provider)"}


def test_codes_for_a_number_are_limited(tmp_path: Path) -> None:
    """As for challenges: the sixth within ten minutes is not sent."""
    with serving(tmp_path) as (running, provider):
        words = [check(running, "alice", "pincanary1")["detail"]["message"] for _ in range(6)]
        assert words[5] == "the one-time password could not be sent (limit)"
        assert (len(set(words)), len(provider.texts)) == (2, 5)


def test_reload_in_mid_login(tmp_path: Path) -> None:
    """A token that is disabled or taken away between the steps lets nobody in; a new one needs no restart."""
    with serving(tmp_path) as (running, provider):

        def reload() -> None:
            assert asyncio.run(call(running.path, "POST", "/v1/reload")).status == 200

        check(running, "alice", "pincanary1")
        code, file = provider.code, tmp_path / "tokens.d" / "alice.yaml"
        text = file.read_text()
        words = []
        for content in (text + "enabled: false\n", text):
            file.write_text(content)
            reload()
            words.append(result(running, "alice", "pincanary1" + code))
        transaction_id = check(running, "alice", "pincanary1")["detail"]["transaction_id"]
        file.unlink()
        reload()
        reload()  # a file is gone when two looks miss it
        words.append(result(running, "alice", provider.code, transaction_id))
        (tmp_path / "tokens.d" / "carol.yaml").write_text(token("carol", "5678"))
        reload()
        words.append(result(running, "carol", "5678"))
        assert words == ["REJECT", "ACCEPT", "REJECT", "CHALLENGE"]


# --- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/validate/check", "/validate/triggerchallenge"])
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", FORM, 400, 905),
        (b"pass=1", FORM, 400, 905),
        (b"user=&pass=1", FORM, 400, 905),
        (b"user=a&user=b&pass=1", FORM, 400, 905),
        (b"user=%ff&pass=1", FORM, 400, 905),
        (b"user=\xff&pass=1", FORM, 400, 905),
        (b"&".join([b"x=1"] * 2000), FORM, 400, 905),
        (b'{"pass": "1"}', JSON, 400, 905),
        (b'{"user": 1, "pass": "1"}', JSON, 400, 905),
        (b'{"user": "\\ud800", "pass": "1"}', JSON, 400, 905),
        (b"[]", JSON, 400, 905),
        (b"user=a&pass=1", JSON, 400, 905),
        (b"user=a&pass=1", {"Content-Type": "text/plain"}, 415, 10),
        (b"user=a&pass=1", {"Content-Type": "multipart/form-data; boundary=x"}, 415, 10),
        (b"user=a&pass=1", {}, 415, 10),
        (b"user=" + b"a" * 70_000, FORM, 413, 10),
    ],
)
def test_what_is_no_login(
    house: tuple[Running, Provider], target: str, body: bytes, kind: dict[str, str], status: int, code: int
) -> None:
    """It is refused in privacyIDEA's dialect, with our problem document in the same answer."""

    async def asked() -> Response:
        async with connected(house[0].path) as (reader, writer):
            writer.write(request("POST", target, body, kind))
            return await read_response(reader)

    answer = asyncio.run(asked())
    assert answer.status == status
    assert described(target, answer)["result"]["error"]["code"] == code


@pytest.mark.parametrize("form", [{"user": "alice"}, {"user": "alice", "transaction_id": "x"}])
def test_no_password(house: tuple[Running, Provider], form: dict[str, str]) -> None:
    """`check` needs a `pass`, even an empty one."""
    answer = post(house[0], "/validate/check", form)
    assert (answer.status, answer.json()["result"]["error"]["code"]) == (400, 905)


def test_access(tmp_path: Path) -> None:
    """Who may verify may not trigger, and a rule's gateways say which tokens there are for its callers."""
    asked = [
        ("/validate/check", {"user": "alice", "pass": "pincanary1"}),
        ("/validate/triggerchallenge", {"user": "alice"}),
    ]
    words = []
    socket = "{path: smsgwd.sock, mode: '0666'}"
    with serving(tmp_path, f"{{socket: {socket}}}") as (running, _):
        running.path.chmod(0o666)
        running.path.parent.chmod(0o755)
        for rule in ("[otp_verify], gateways: [web]", "[otp_challenge]", "[otp_verify], gateways: [other]", "[send]"):
            rules = f"[{{users: [65534], allow: {rule}}}]"
            (tmp_path / "smsgwd.yaml").write_text(f"{{socket: {socket}, access: {rules}}}")
            assert asyncio.run(call(running.path, "POST", "/v1/reload")).status == 200
            with as_nobody():
                answers = [post(running, target, form) for target, form in asked]
            words.append([str(one.json()["result"].get("authentication", one.status)) for one in answers])
    expected = [["CHALLENGE", "403"], ["403", "CHALLENGE"], ["REJECT", "403"], ["403", "403"]]
    assert words == (expected if os.geteuid() == 0 else [["CHALLENGE"] * 2] * 4)  # we may do everything ourselves


def test_the_limits_of_the_caller_hold_for_codes(tmp_path: Path) -> None:
    """Of the rule that lets it verify, or trigger: the third code is not sent, and there is no other way to one."""
    rules = "[{users: [65534], allow: [otp_verify, otp_challenge], limits: {budget: 2/d}}]"
    with serving(tmp_path, f"{{otp: {{per_recipient: 99/s}}, access: {rules}}}") as (running, provider):
        running.path.chmod(0o666)
        running.path.parent.chmod(0o755)
        with as_nobody():
            words = [result(running, "alice", "pincanary1")]
            for _ in range(2):
                triggered = post(running, "/validate/triggerchallenge", {"user": "alice"}).json()
                words.append(triggered["result"]["authentication"])
            words.append(result(running, "alice", "pincanary1"))
        limited = os.geteuid() == 0  # we have no limits ourselves
        assert words == ["CHALLENGE"] * 2 + (["REJECT"] * 2 if limited else ["CHALLENGE"] * 2)
        assert len(provider.texts) == (2 if limited else 4)


# --- many at once ---------------------------------------------------------------------------------------------------


def test_a_thousand_logins_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no more memory than as many threads as there are cores, and other calls are answered meanwhile."""
    monkeypatch.setattr(socket_client, "PATIENCE_S", 50.0)  # the last one waits for many runs of scrypt
    tokens = {name: text.replace(hashed("1"), hashed("1", ln=13)) for name, text in SAME_PIN.items()}
    with serving(tmp_path, "{log: {level: error}}", tokens) as (running, _):
        answers, order = asyncio.run(thousand(running))
        status = Path(f"/proc/{running.process.pid}/status").read_text()
    counts = Counter(answer.status for answer in answers)
    cores = len(os.sched_getaffinity(0))
    assert counts[200] >= cores * MOST_PER_CORE
    assert counts[200] + counts[503] == 1000
    refused = next(answer for answer in answers if answer.status == 503)
    assert described("/validate/check", refused)["result"]["error"]["message"] == "too many PINs are being looked at"
    assert refused.headers["retry-after"] == "1"
    assert "health" in order[:-10]
    peak_kib = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
    assert peak_kib < (200 + 64 * cores) * 1024  # a thousand runs at once would be 8 GiB


SAME_PIN = {file: token(file.partition(".d/")[2].removesuffix(".yaml"), "1") for file in TOKENS}


async def thousand(running: Running) -> tuple[list[Response], list[str]]:
    """The answers to a thousand logins of a thousand names, and in which order they and one other call came."""
    order: list[str] = []

    async def one(name: str, method: str, target: str, body: bytes = b"") -> Response:
        answer = await call(running.path, method, target, body, FORM if body else None)
        order.append(name)
        return answer

    forms = (urlencode({"user": f"nobody{n}", "pass": "9999"}).encode() for n in range(1000))
    tasks = [asyncio.create_task(one("login", "POST", "/validate/check", form)) for form in forms]
    await until(lambda: bool(order))  # the first ones are refused: as many as may wait do so now
    await one("health", "GET", "/healthz")
    return await asyncio.gather(*tasks), order


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["{format: text, level: debug}", "{level: debug, privacy: false}"])
def test_nothing_is_told(tmp_path: Path, log: str) -> None:
    """Against a provider that echoes all: no PIN, code, number, name or transaction in log, answer or metric."""
    with serving(tmp_path, f"{{log: {log}}}") as (running, provider):
        answers, codes, ids = [], set(), set()
        for user, pin in (("alice", "pincanary1"), ("bob@example", "pincanary2"), ("refused", "pincanary4")):
            first = check(running, user, pin)
            codes.add(provider.code)
            transaction_id = first["detail"].get("transaction_id", "none")
            ids.add(transaction_id)
            for password, given in ((pin + provider.code, ""), (provider.code, transaction_id), ("guesscanary", "")):
                answers.append(check(running, user, password, given))
            answers.append({**first, "detail": {"message": first["detail"]["message"]}})
        answers.append(check(running, "namecanary", "pincanary9"))
        answers.append(post(running, "/validate/check", {"user": "namecanary", "serial": "x"}).json())
        seen = [json.dumps({**answer, "time": 0}) for answer in answers]
        seen += [asyncio.run(call(running.path, "GET", path)).body.decode() for path in ("/metrics", "/v1/status")]
        assert running.stop(signal.SIGTERM) == 0
        lines = running.printed().splitlines()
    ids.discard("none")
    words = ("pincanary", "guesscanary", "namecanary", "example", "$scrypt", *ids)
    numbers = re.compile(rf"(?<![0-9a-f.])(?:{'|'.join(codes)})|4917\d{{7}}|170(?:1234|7654)")
    shown = log == "{level: debug, privacy: false}"  # that is the switch by which numbers are logged, with a warning
    for text in (*seen, *lines):
        assert not any(word in text for word in words), text
        assert shown or not numbers.search(text), text
    logins = [line for line in lines if "CHALLENGE" in line or "ACCEPT" in line or "REJECT" in line]
    assert len(logins) == 13
    assert sum(serial_of("alice") in line for line in logins) == 2


def test_the_log_has_one_line_for_each_step(tmp_path: Path) -> None:
    """With the caller, the result, the serial of a token that there is, and the reason."""
    with serving(tmp_path) as (running, provider):
        check(running, "alice", "pincanary1")
        check(running, "alice", "pincanary1" + provider.code)
        check(running, "alice", "9999")
        check(running, "nobody", "9999")
        check(running, "off", "9999")
        check(running, "refused", "pincanary4")
        assert running.stop(signal.SIGTERM) == 0
        lines = [json.loads(line) for line in running.printed().splitlines()]
    told = [
        (line["result"], line.get("serial"), line.get("reason"), line["uid"])
        for line in lines
        if line["message"] == "login"
    ]
    uid, alice = os.geteuid(), serial_of("alice")
    assert told == [
        ("CHALLENGE", alice, None, uid),
        ("ACCEPT", alice, None, uid),
        ("REJECT", None, "wrong_pin", uid),
        ("REJECT", None, "unknown", uid),
        ("REJECT", None, "disabled", uid),
        ("REJECT", serial_of("refused"), "unsent", uid),
    ]


# --- the client, and what the page says -----------------------------------------------------------------------------


def test_the_client(house: tuple[Running, Provider]) -> None:
    """`Client.validate` tells who is let in, whether a code was sent, and what to say to the person."""
    running, provider = house
    client = Client(str(running.path))
    first = client.validate("alice", "pincanary1")
    assert (first.accepted, first.message) == (False, "Enter the OTP from the SMS:")
    assert client.validate("alice", "0", first.transaction_id) == Login(
        accepted=False, transaction_id=None, message=WRONG
    )
    assert client.validate("alice", provider.code, first.transaction_id).accepted
    with pytest.raises(RequestRefused, match="malformed-request"):
        client.validate("", "1")


def test_the_application_of_the_page(house: tuple[Running, Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines let in whoever has PIN and code, and nobody else, also when there is no daemon."""
    running, provider = house
    names: dict[str, Any] = {}
    exec(block("from smsgwd.client import Client, NoAnswerError"), names)
    monkeypatch.setenv("SMSGWD_SOCKET", str(running.path))
    login = names["login"]
    assert login("bob@example", lambda question: "pincanary2" if question == "PIN: " else provider.code) is True
    assert login("bob@example", lambda question: "pincanary2" if question == "PIN: " else "12345678") is False
    assert login("bob@example", lambda _: "pincanary1") is False
    monkeypatch.setenv("SMSGWD_SOCKET", "/nonexistent/s")
    assert login("bob@example", lambda _: "pincanary2") is False


def test_the_script_of_the_page(house: tuple[Running, Provider]) -> None:
    """As pam_exec starts it: the PIN is denied and the code comes, PIN and code let in."""
    running, provider = house
    script = block("#!/bin/sh\n# /usr/local/sbin/smsgwd-pam").replace("/run/smsgwd/smsgwd.sock", str(running.path))

    def let_in(password: str) -> bool:
        environ = {"PATH": os.environ["PATH"], "PAM_USER": "bob@example"}
        given = password.encode() + b"\0"
        return subprocess.run(["sh", "-c", script], input=given, env=environ, check=False, timeout=30).returncode == 0

    assert not let_in("pincanary2")
    assert not let_in("pincanary1" + provider.code)
    assert let_in("pincanary2" + provider.code)
    assert not let_in("pincanary2" + provider.code)


def test_the_doorman_of_the_page(house: tuple[Running, Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands behind nginx: no request passes without a session, and a login makes one."""
    running, provider = house
    monkeypatch.setenv("SMSGWD_SOCKET", str(running.path))
    names: dict[str, Any] = {"__name__": "doorman"}
    exec(block("# /usr/local/lib/doorman.py"), names)
    monkeypatch.setattr(names["Doorman"], "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), names["Doorman"]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def asked(method: str, path: str, form: dict[str, str] | None = None, cookie: str = "") -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, path, urlencode(form or {}), {**FORM, "Cookie": cookie})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers.get("Set-Cookie", "")

        assert [asked("GET", "/auth", cookie=cookie)[0] for cookie in ("", "session=x", "a=b; c")] == [401] * 3
        assert asked("GET", "/login")[0] == 200
        refused = asked("POST", "/login", {"user": "<alice>", "password": "1"})
        assert (refused[0], "&lt;alice&gt;" in refused[1], refused[2]) == (200, True, "")
        page = asked("POST", "/login", {"user": "alice", "password": "pincanary1"})[1]
        (transaction_id,) = re.findall(r'name="id" type="hidden" value="([^"]+)"', page)
        second = {"user": "alice", "password": provider.code, "id": transaction_id}
        status, _, cookie = asked("POST", "/login", second)
        assert status == 303
        assert asked("GET", "/auth", cookie=cookie.partition(";")[0])[0] == 204
        server.shutdown()


def test_the_command_line_of_the_page(house: tuple[Running, Provider], tmp_path: Path) -> None:
    """Its curl asks what it says, with the PIN from a file, which ends with a line break as files do."""
    line = block("tr -d '\\n' < pin.txt | curl").replace("alice@example.com", "alice")
    (tmp_path / "pin.txt").write_text("pincanary1\n")
    script = line.replace("/run/smsgwd/smsgwd.sock", str(house[0].path)).replace("curl ", "curl --silent ", 1)
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["result"]["authentication"] == "CHALLENGE"
