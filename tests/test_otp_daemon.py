import asyncio
import base64
import itertools
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_document import API, validator
from challenging import CHALLENGE, TO, Provider, guessed, post, serving, verify
from command import spawn
from daemon_process import Running, daemon
from nobody import as_nobody
from secret_file import write_secret
from socket_client import Response, call

from smsgwd.client import Client, RequestRefused, Verification
from smsgwd.errors import RequestError
from smsgwd.outcome import Kind
from smsgwd.server.challenges import CHALLENGE_KEYS, VERIFICATION_KEYS, read_challenge, read_try


def test_a_login_in_two_steps(tmp_path: Path) -> None:
    """The code comes by SMS; with it, and the id of the first answer, the second step lets in, once."""
    with serving(tmp_path) as (running, provider):
        members = {"template": "login", "vars": {"service": "VPN"}, "digits": 8, "ttl": 60, "context": "alice@vpn"}
        answer = post(running, "/v1/challenges", CHALLENGE | members)
        issued = answer.json()
        validator({"$ref": "#/components/schemas/Issued"}).validate(issued)
        assert answer.status == 200
        assert issued["expires_in"] == 60
        assert issued["outcome"]["outcome"] == "accepted"
        assert re.fullmatch(r"canaryword \d{8} for VPN", provider.texts[0])
        code, transaction_id = provider.code, issued["transaction_id"]
        assert code not in answer.body.decode()
        wrong = f"{(int(code) + 1) % 10**8:08}"
        assert verify(running, transaction_id, wrong, context="alice@vpn") == {
            "verified": False,
            "reason": "wrong",
            "attempts_left": 2,
        }
        assert verify(running, transaction_id, code) == {"verified": False, "reason": "invalid"}
        assert verify(running, transaction_id, code, context="alice@vpn") == {"verified": True}
        again = verify(running, transaction_id, code, context="alice@vpn")
        assert again == {"verified": False, "reason": "used", "attempts_left": 0}


def test_ten_thousand_guesses(tmp_path: Path) -> None:
    """From fifty connections at once no more guesses are judged than are allowed, and then no code is taken."""
    with serving(tmp_path, "{log: {level: error}}") as (running, provider):
        transaction_id = post(running, "/v1/challenges", CHALLENGE | {"digits": 4}).json()["transaction_id"]
        guesses = (f"{number:04}" for number in range(10_000) if f"{number:04}" != provider.code)
        counts = asyncio.run(guessed(running, transaction_id, guesses))
        assert counts == {"wrong": 3, "too_many": 9_996}
        assert verify(running, transaction_id, provider.code)["reason"] == "too_many"


def test_one_code_from_fifty_connections_is_used_once(tmp_path: Path) -> None:
    """Of many who bring the right code at the same moment one is let in."""
    with serving(tmp_path) as (running, provider):
        transaction_id = post(running, "/v1/challenges", CHALLENGE).json()["transaction_id"]
        body = {"transaction_id": transaction_id, "otp": provider.code}

        async def everybody() -> list[Response]:
            tries = (call(running.path, "POST", "/v1/challenges/verify", body) for _ in range(50))
            return await asyncio.gather(*tries)

        reasons = Counter(answer.json().get("reason", "verified") for answer in asyncio.run(everybody()))
        assert reasons == {"verified": 1, "used": 49}


@pytest.mark.parametrize(
    ("members", "status", "problem"),
    [
        ({"gateway": "refusing"}, 422, "rejected"),
        ({"to": "12"}, 422, "rejected"),
        ({"text": "no code in here"}, 422, "rejected"),
        ({"template": "hello"}, 422, "rejected"),
        ({"template": "login"}, 422, "rejected"),
        ({"template": "nothing"}, 400, "malformed-request"),
        ({"gateway": "nobody"}, 404, "unknown-gateway"),
        ({"gateway": "off"}, 503, "gateway-unavailable"),
        ({"digits": 3}, 400, "malformed-request"),
        ({"sender": "ACME"}, 400, "malformed-request"),
    ],
)
def test_what_is_not_accepted_has_no_transaction(
    web: tuple[Running, Provider], members: dict[str, Any], status: int, problem: str
) -> None:
    """A refused challenge answers as a message does, as openapi.json describes it, without an id."""
    answer = post(web[0], "/v1/challenges", CHALLENGE | members)
    assert (answer.status, answer.type) == (status, problem)
    assert "transaction_id" not in answer.json()
    described = API["paths"]["/v1/challenges"]["post"]["responses"][str(status)]
    validator(described["content"]["application/problem+json"]["schema"]).validate(answer.json())


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Provider]]:
    """A daemon for tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("web"), "{otp: {per_recipient: 1000/s}}") as served:
        yield served


def test_an_idempotency_key_is_for_messages(web: tuple[Running, Provider]) -> None:
    """A challenge is never repeated from memory, so a key for that is refused and nothing is sent."""
    before = len(web[1].texts)
    answer = post(web[0], "/v1/challenges", CHALLENGE, {"Idempotency-Key": "k"})
    assert (answer.status, answer.type, len(web[1].texts)) == (400, "malformed-request", before)


def test_challenges_for_a_number_are_limited(tmp_path: Path) -> None:
    """The sixth within ten minutes is unsent for a limit, says when to come again, and gives no transaction."""
    with serving(tmp_path) as (running, provider):
        statuses = [post(running, "/v1/challenges", CHALLENGE).status for _ in range(5)]
        answer = post(running, "/v1/challenges", CHALLENGE)
        assert statuses == [200] * 5
        assert (answer.status, answer.json()["reason"], len(provider.texts)) == (429, "limit", 5)
        assert 1 <= int(answer.headers["retry-after"]) <= 600


VALUES: dict[str, list[Any]] = {
    "gateway": ["web", 1, None],
    "to": [TO, 1],
    "text": ["{{ otp }}", "", 1],
    "template": ["login", 1],
    "vars": [{}, {"service": "x"}, {"service": 1}, [], None],
    "digits": [4, 10, 3, 11, 6.5, "6", True, None],
    "ttl": [1, 3600, 0, 3601, -1, 0.5, "5m", True],
    "context": ["", "x", 1, None],
    "transaction_id": ["", "x", 1],
    "otp": ["", "123456", 123456],
    "more": [1],
}


@pytest.mark.parametrize(
    ("schema", "read", "keys", "base"),
    [
        ("Challenge", read_challenge, CHALLENGE_KEYS, CHALLENGE),
        ("Verification", read_try, VERIFICATION_KEYS, {"transaction_id": "x", "otp": "1"}),
    ],
)
def test_the_code_takes_what_the_schema_takes(schema: str, read: Any, keys: set[str], base: dict[str, Any]) -> None:
    """The hand-written checks and the schemas agree on bodies with each pair of keys missing, right and wrong."""
    document = API["components"]["schemas"][schema]
    assert set(document["properties"]) == keys
    for first, second in itertools.combinations(VALUES, 2):
        left = {key: value for key, value in base.items() if key not in (first, second)}
        for one, other in itertools.product(VALUES[first], VALUES[second]):
            for body in (base | {first: one, second: other}, left, left | {first: one}):
                assert taken(read, body) is validator(document).is_valid(body), body


def taken(read: Any, body: dict[str, Any]) -> bool:
    """Whether a body is read, or refused as malformed."""
    try:
        read(body)
    except RequestError as error:
        return error.code != "malformed-request"
    else:
        return True


def test_keys_outlive_the_daemon(tmp_path: Path) -> None:
    """With a configured key what one process has sent the next one verifies, and another instance; without, not."""
    write_secret(tmp_path / "key", base64.b64encode(os.urandom(32)))
    answers = []
    for site in ("{otp: {keys: {k1: {file: key}}}}", "{}"):
        with serving(tmp_path, site) as (running, provider):
            transaction_id = post(running, "/v1/challenges", CHALLENGE).json()["transaction_id"]
            warned = "open challenges end with this process" in running.printed()
            assert running.stop(signal.SIGTERM) == 0
        with serving(tmp_path, site) as (running, _):
            answers.append((warned, verify(running, transaction_id, provider.code).get("reason", "verified")))
    assert answers == [(False, "verified"), (True, "invalid")]


def test_a_bad_key_keeps_the_last_settings(tmp_path: Path) -> None:
    """A key file that becomes unusable leaves the good one in force; at the start there is nothing to serve with."""
    write_secret(tmp_path / "key", base64.b64encode(os.urandom(32)))
    with serving(tmp_path, "{otp: {keys: {k1: {file: key}}}}") as (running, provider):
        transaction_id = post(running, "/v1/challenges", CHALLENGE).json()["transaction_id"]
        (tmp_path / "key").write_text("no key")
        problems = post(running, "/v1/reload", None).json()["problems"]
        assert [problem["code"] for problem in problems] == ["bad-value"]
        assert verify(running, transaction_id, provider.code) == {"verified": True}
    with daemon(tmp_path) as running:
        assert running.process.wait(20) == 78
        assert "not base64 of 32 octets" in running.printed()


def test_access(tmp_path: Path) -> None:
    """Who may send codes may not verify them, and sends them by its gateways alone; who may only send does neither."""
    rules = "[{users: [65534], allow: [send, otp_challenge], gateways: [console]}]"
    asked = [
        ("/v1/challenges", {"gateway": "console", "to": TO}),
        ("/v1/challenges", CHALLENGE),
        ("/v1/challenges/verify", {"transaction_id": "x", "otp": "1"}),
    ]
    answers = []
    for access in (rules, rules.replace(", otp_challenge", ""), rules.replace("otp_challenge", "otp_verify")):
        with serving(tmp_path, f"{{socket: {{mode: '0666'}}, access: {access}}}") as (running, _):
            running.path.parent.chmod(0o755)
            with as_nobody():
                answers.append([post(running, target, body).status for target, body in asked])
    expected = [[200, 403, 403], [403, 403, 403], [403, 403, 200]]
    assert answers == (expected if os.geteuid() == 0 else [[200, 200, 200]] * 3)  # we may do everything ourselves


@pytest.mark.parametrize("log", ["{level: debug}", "{level: debug, privacy: false}", "{format: text}"])
def test_codes_are_told_nowhere(tmp_path: Path, log: str) -> None:
    """Against a provider that echoes all: no code, no id of a transaction and no context in log, answer or metric."""
    with serving(tmp_path, f"{{log: {log}, otp: {{per_recipient: 99/m}}}}") as (running, provider):
        codes, ids, answers = set(), set(), []
        login = {"template": "login", "vars": {"service": "VPN"}}
        contents: list[dict[str, Any]] = [{}, login, {"text": "x{{ otp }}y"}, {"text": "{{ otp }}", "digits": 4}]
        for content, gateway in itertools.product(contents, ("web", "refusing")):
            answer = post(running, "/v1/challenges", CHALLENGE | content | {"gateway": gateway, "context": "ctxcanary"})
            found = re.search(r"\d{4,10}", provider.texts[-1])
            assert found is not None
            codes.add(found[0])
            answers.append(answer.body.decode())
            if answer.status == 200:
                transaction_id = answer.json()["transaction_id"]
                ids.add(transaction_id)
                answers[-1] = answers[-1].replace(transaction_id, "")
                for guess in ("guesscanary", found[0], found[0]):
                    body = {"transaction_id": transaction_id, "otp": guess, "context": "ctxcanary"}
                    answers.append(post(running, "/v1/challenges/verify", body).body.decode())
        answers += [
            asyncio.run(call(running.path, "GET", target)).body.decode() for target in ("/metrics", "/v1/status")
        ]
        assert running.stop(signal.SIGTERM) == 0
        digits = re.compile(rf"(?<![0-9a-f.]){'|(?<![0-9a-f.])'.join(codes)}")
        assert len(ids) == 4
        for text in (*answers, *running.printed().splitlines()):
            assert not any(word in text for word in (*ids, "ctxcanary", "guesscanary"))
            assert not digits.search(text), text


def test_the_client(web: tuple[Running, Provider]) -> None:
    """`smsgwd.client` has the two steps; what was not accepted is an outcome, what is not possible a refusal."""
    running, provider = web
    client = Client(str(running.path))
    challenge = client.challenge(gateway="web", to=TO, text="{{ otp }}", digits=5, ttl_s=30, context="c")
    assert challenge.transaction_id is not None
    assert (challenge.outcome.kind, challenge.expires_in_s) == (Kind.ACCEPTED, 30)
    assert client.verify(challenge.transaction_id, "x", "c") == Verification(
        verified=False, reason="wrong", attempts_left=2
    )
    assert client.verify(challenge.transaction_id, provider.code, "c") == Verification(verified=True)
    refused = client.challenge(gateway="refusing", to=TO)
    assert (refused.transaction_id, refused.outcome.kind) == (None, Kind.REJECTED)
    unreachable = Client("/nonexistent/s").challenge(gateway="web", to=TO)
    assert (unreachable.transaction_id, unreachable.outcome.kind) == (None, Kind.UNSENT)
    with pytest.raises(RequestRefused, match="unknown-gateway"):
        client.challenge(gateway="nobody", to=TO)


def test_the_command(web: tuple[Running, Provider]) -> None:
    """`smsgwd otp challenge` prints the id alone on standard output; `verify` takes it and the code."""
    running, provider = web
    where = ("--socket", str(running.path))
    sent = spawn("otp", "challenge", *where, "--gateway", "web", "--to", TO, "--ttl", "1m", "--context", "c")
    assert (sent.code, sent.out.count("\n"), len(sent.out.strip())) == (0, 1, 74)
    assert "accepted by web" in sent.err
    assert "good for 60 s" in sent.err
    transaction_id, code = sent.out.strip(), provider.code
    tries = [
        spawn("otp", "verify", *where, transaction_id, otp, "--context", "c", *more, stdin=code.encode() + b"\n")
        for otp, more in (("0", ()), ("-", ()), ("-", ("--json",)), ("0", ("--json",)))
    ]
    assert [one.code for one in tries] == [1, 0, 1, 1]
    assert tries[0].err == "smsgwd: not verified: wrong; attempts left: 2\n"
    assert tries[1].out == "verified\n"
    assert json.loads(tries[2].out) == {"verified": False, "reason": "used", "attempts_left": 0}
    shown = spawn("otp", "challenge", *where, "--gateway", "web", "--to", TO, "--json")
    assert set(json.loads(shown.out)) == {"transaction_id", "expires_in", "outcome"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["challenge", "--gateway", "refusing", "--to", TO], 1, "rejected by refusing"),
        (["challenge", "--gateway", "refusing", "--to", TO, "--json"], 1, '"outcome": "rejected"'),
        (["challenge", "--gateway", "nobody", "--to", TO], 1, "refused (unknown-gateway)"),
        (["challenge", "--gateway", "off", "--to", TO], 75, "refused (gateway-unavailable)"),
        (["challenge", "--gateway", "web", "--to", TO, "--digits", "3"], 1, "'digits' has to be a whole number"),
        (["challenge", "--gateway", "web", "--to", TO, "--ttl", "1500ms"], 2, "--ttl: give whole seconds"),
        (["challenge", "--gateway", "web", "--to", TO, "--var", "a=b"], 2, "--var: goes with --template only"),
        (["challenge", "--gateway", "web", "--to", TO, "--text", "a"], 1, "the text has no {{ otp }}"),
        (["verify", "no-id", "1"], 1, "not verified: invalid\n"),
        (["verify", "no-id"], 2, "the following arguments are required: CODE"),
        (["verify", "--socket", "/nonexistent/s", "a", "1"], 75, "is the daemon running?"),
        ([], 2, "the following arguments are required: STEP"),
    ],
)
def test_wrong_usage_of_the_command(web: tuple[Running, Provider], arguments: list[str], code: int, words: str) -> None:
    """What does not come to a transaction or a verification is told, and by the exit code whether to try again."""
    done = spawn("otp", *arguments, env={"SMSGWD_SOCKET": str(web[0].path)})
    assert (done.code, words in done.err + done.out) == (code, True), done
