import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import scripted
from patience import until
from served import serving
from socket_client import call, connected, read_response, request, send

from smsgwd.msisdn import PhoneRules
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import Entry, Failover, Registry, SiteConfig
from smsgwd.server.services import unknown_gateway

MESSAGE = {"gateway": "gated", "to": "+491701234567", "text": "hi"}


def answered(folder: Path, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """The answer to one request."""

    async def scenario() -> Any:
        async with serving(folder) as served:
            return await call(served.path, method, target, body, headers)

    return asyncio.run(scenario())


def test_an_accepted_message_is_answered_with_its_outcome(tmp_path: Path) -> None:
    """200 carries the outcome as plain JSON."""
    response = answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, "reference": "order-42"})
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    outcome = response.json()
    assert outcome.pop("elapsed") < 5
    assert outcome.pop("digest").startswith("sha256:")
    assert outcome == {
        "outcome": "accepted",
        "reason": None,
        "retry_safe": False,
        "gateway": "gated",
        "provider": "gated",
        "message_ids": ["m1"],
        "segments": 1,
        "encoding": "gsm7",
        "reference": "order-42",
        "via": None,
        "attempts": 1,
        "tried": [],
        "detail": "",
    }


@pytest.mark.parametrize(
    ("text", "outcome", "reason", "status", "retry_after"),
    [
        ("rejected", "rejected", "provider", 422, None),
        ("unsent", "unsent", "auth", 503, "1"),
        ("throttled", "unsent", "throttled", 503, "2"),
        ("limit", "unsent", "limit", 429, "1"),
        ("unknown", "unknown", "timeout", 504, None),
        ("crash", "unknown", "internal", 504, None),
        ("", "rejected", "content", 422, None),
    ],
)
def test_every_other_outcome_is_a_problem_document(
    tmp_path: Path, text: str, outcome: str, reason: str, status: int, retry_after: str | None
) -> None:
    """Type, title and status beside the outcome's own fields; `unsent` says when to come again."""
    response = answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, "text": text})
    assert (response.status, response.headers.get("retry-after")) == (status, retry_after)
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:smsgwd:problem:{outcome}"
    assert (document["status"], document["outcome"], document["reason"]) == (status, outcome, reason)
    assert document["retry_safe"] is (outcome == "unsent")
    assert document["title"]


@pytest.mark.parametrize(
    ("gateway", "code", "status"),
    [("nobody", "unknown-gateway", 404), ("off", "gateway-unavailable", 503), ("broken", "gateway-unavailable", 503)],
)
def test_a_gateway_that_cannot_send_is_told(tmp_path: Path, gateway: str, code: str, status: int) -> None:
    """Unknown, disabled and rejected gateways each have their problem."""
    response = answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, "gateway": gateway})
    assert (response.type, response.status, response.json()["status"]) == (code, status, status)


def test_a_rejected_gateway_says_file_line_and_reason(tmp_path: Path) -> None:
    """Whoever gets 503 can go and mend the file."""
    document = answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, "gateway": "broken"}).json()
    assert "gateways.d/broken.yaml:3:5: error[unknown-key]: unknown key 'hots'" in document["detail"]
    assert document["problems"][0]["line"] == 3


def test_render_shows_what_would_be_sent(tmp_path: Path) -> None:
    """Nothing is submitted; the answer is the JSON of `smsgwd render`."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            response = await call(served.path, "POST", "/v1/render", MESSAGE)
            assert response.json() == {
                "gateway": "gated",
                "provider": "gated",
                "to": "+491701234567",
                "text": "hi",
                "segments": 1,
                "encoding": "gsm7",
                "request": {"text": "hi"},
            }
            assert served.provider.submitted == []

    asyncio.run(scenario())


def test_render_refuses_what_send_would_refuse(tmp_path: Path) -> None:
    """A number that is none is the same problem document as on sending."""
    response = answered(tmp_path, "POST", "/v1/render", {**MESSAGE, "to": "nobody"})
    assert (response.status, response.type) == (422, "rejected")
    assert response.json()["reason"] == "invalid_destination"


def test_the_gateways_are_listed(tmp_path: Path) -> None:
    """Each gateway with provider, state, problems, digest and its last outcome."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            await send(served.path, "rejected")
            gateways = {one["name"]: one for one in (await call(served.path, "GET", "/v1/gateways")).json()}
            assert {name: one["state"] for name, one in gateways.items()} == {
                "broken": "rejected",
                "gated": "ok",
                "off": "disabled",
                "ops-one": "ok",
            }
            assert gateways["gated"]["last"]["outcome"] == "rejected"
            assert gateways["gated"]["last"]["at"].endswith("Z")
            assert gateways["ops-one"]["last"] is None
            assert gateways["broken"]["problems"][0]["code"] == "unknown-key"
            assert gateways["broken"]["provider"] is None
            single = await call(served.path, "GET", "/v1/gateways/gated")
            assert single.json() == gateways["gated"]

    asyncio.run(scenario())


def test_the_status_counts_gateways(tmp_path: Path) -> None:
    """Digest, generation, version, uptime, gateways by state, all problems."""
    status = answered(tmp_path, "GET", "/v1/status").json()
    assert status["gateways"] == {"ok": 2, "stale": 0, "rejected": 1, "disabled": 1}
    assert status["generation"] == 1
    assert status["problems"][0]["file"] == "gateways.d/broken.yaml"
    assert set(status) == {"digest", "generation", "version", "uptime", "gateways", "tokens", "problems"}


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
def test_it_lives_and_is_ready_whatever_single_gateways_say(tmp_path: Path, target: str) -> None:
    """200 as soon as it serves."""
    assert answered(tmp_path, "GET", target).status == 200


def test_metrics_count_by_gateway_and_outcome(tmp_path: Path) -> None:
    """The names that people watch; a gateway that only a caller named has no series."""

    async def scenario() -> str:
        async with serving(tmp_path) as served:
            await send(served.path, "hi")
            await send(served.path, "unknown")
            await send(served.path, "hi", gateway="made-up")
            response = await call(served.path, "GET", "/metrics")
            assert response.headers["content-type"].startswith("text/plain; version=")
            return response.body.decode()

    text = asyncio.run(scenario())
    for line in (
        'smsgwd_messages_total{gateway="gated",outcome="accepted",reason=""} 1.0',
        'smsgwd_messages_total{gateway="gated",outcome="unknown",reason="timeout"} 1.0',
        'smsgwd_segments_total{encoding="gsm7",gateway="gated"} 1.0',
        'smsgwd_send_duration_seconds_count{gateway="gated"} 2.0',
        'smsgwd_in_flight{gateway="gated"} 0.0',
        'smsgwd_gateway_state{gateway="broken",state="rejected"} 1.0',
        'smsgwd_gateway_state{gateway="gated",state="stale"} 0.0',
        "smsgwd_config_last_reload_successful 0.0",
        "smsgwd_config_last_reload_success_timestamp_seconds 1.7e+09",
    ):
        assert line in text.splitlines()
    assert 'smsgwd_config_info{digest="sha256:' in text
    assert "made-up" not in text


def test_a_dead_member_of_a_failover_is_seen(tmp_path: Path) -> None:
    """Each attempt at each gateway is counted, and its last end shown, whoever took the message in the end."""
    dead = scripted.gateway(Outcome(Kind.UNSENT, Reason.UNREACHABLE, retryable=False), name="dead")
    works = scripted.gateway(scripted.ACCEPTED, name="works")
    both = Failover(name="both", provider_name="failover", phone=PhoneRules(), gateways=("dead", "works"))

    async def scenario() -> tuple[str, list[dict[str, Any]]]:
        async with serving(tmp_path) as served:
            served.configuration.registry = Registry.of(
                [Entry.of(one.name, one) for one in (both, dead, works)], SiteConfig()
            )
            assert (await send(served.path, "hi", gateway="both")).status == 200
            metrics = await call(served.path, "GET", "/metrics")
            return metrics.body.decode(), (await call(served.path, "GET", "/v1/gateways")).json()

    text, gateways = asyncio.run(scenario())
    counted = [
        line for line in text.splitlines() if line.startswith(("smsgwd_attempts_total{", "smsgwd_messages_total{"))
    ]
    assert sorted(counted) == [
        'smsgwd_attempts_total{gateway="dead",outcome="unsent",reason="unreachable"} 1.0',
        'smsgwd_attempts_total{gateway="works",outcome="accepted",reason=""} 1.0',
        'smsgwd_messages_total{gateway="works",outcome="accepted",reason=""} 1.0',
    ]
    assert {one["name"]: one["last"]["outcome"] for one in gateways} == {
        "both": "accepted",
        "dead": "unsent",
        "works": "accepted",
    }


@pytest.mark.parametrize(
    ("method", "target", "code", "status", "allow"),
    [
        ("GET", "/", "not-found", 404, None),
        ("GET", "/v1/messages/", "not-found", 404, None),
        ("GET", "/v1/gateways/", "not-found", 404, None),
        ("GET", "/v1/gateways/a%2Fb", "unknown-gateway", 404, None),
        ("GET", "/v1/gateways/nobody", "unknown-gateway", 404, None),
        ("GET", "/v1/messages", "method-not-allowed", 405, "POST"),
        ("POST", "/v1/status", "method-not-allowed", 405, "GET, HEAD"),
        ("POST", "/v1/gateways/gated", "method-not-allowed", 405, "GET, PUT, DELETE, HEAD"),
        ("OPTIONS", "/v1/messages", "method-not-allowed", 405, "POST"),
    ],
)
def test_wrong_paths_and_methods(
    tmp_path: Path, method: str, target: str, code: str, status: int, allow: str | None
) -> None:
    """404 and 405 are problem documents; 405 says which methods there are."""
    response = answered(tmp_path, method, target)
    assert (response.type, response.status, response.headers.get("allow")) == (code, status, allow)
    assert response.headers["content-type"] == "application/problem+json"


def test_head_is_get_without_the_body(tmp_path: Path) -> None:
    """HEAD gives the headers of GET."""
    response = answered(tmp_path, "HEAD", "/v1/status")
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["content-length"]) > 0


def test_nobody_is_told_what_runs_here(tmp_path: Path) -> None:
    """The Server header names smsgwd, not the versions of what it is made of."""
    for target in ("/healthz", "/nothing"):
        assert answered(tmp_path, "GET", target).headers["server"] == "smsgwd"


def test_reload_answers_with_what_it_did(tmp_path: Path) -> None:
    """POST /v1/reload gives digest, generation, names and problems."""
    response = answered(tmp_path, "POST", "/v1/reload")
    assert response.status == 200
    assert set(response.json()) == {"digest", "generation", "added", "changed", "removed", "tokens", "problems"}


def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    """Requests may follow each other, and be written ahead; answers come in their order."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            writer.write(request("GET", "/healthz") * 3 + request("GET", "/nothing") + request("GET", "/healthz"))
            statuses = [(await read_response(reader)).status for _ in range(5)]
            assert statuses == [200, 200, 200, 404, 200]

    asyncio.run(scenario())


def test_an_idempotency_key_makes_two_requests_one_send(tmp_path: Path) -> None:
    """Same key, same body (keys in another order): one send, one outcome; another body is refused."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            key = {"Idempotency-Key": "k1"}
            first = await call(served.path, "POST", "/v1/messages", MESSAGE, key)
            second = await call(served.path, "POST", "/v1/messages", dict(reversed(MESSAGE.items())), key)
            assert first.body == second.body
            assert served.provider.submitted == ["hi"]
            other = await send(served.path, "another", key)
            assert (other.status, other.type) == (422, "idempotency-mismatch")

    asyncio.run(scenario())


def test_a_repeated_answer_says_so(tmp_path: Path) -> None:
    """Idempotency-Replayed: true stands in the answer that is not of a new send, whatever its outcome."""

    async def scenario() -> list[str | None]:
        async with serving(tmp_path) as served:
            asked = [("hi", "a"), ("hi", "a"), ("unknown", "b"), ("unknown", "b"), ("unsent", "c"), ("unsent", "c")]
            answers = [await send(served.path, text, {"Idempotency-Key": key}) for text, key in asked]
            return [one.headers.get("idempotency-replayed") for one in (*answers, await send(served.path, "hi"))]

    assert asyncio.run(scenario()) == [None, "true", None, "true", None, None, None]


def test_refused_requests_are_logged_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Single ones, lines of a stream, and requests for nothing: code and uid, and the gateway where there is one."""

    async def scenario() -> str:
        async with serving(tmp_path) as served:
            await send(served.path, "hi", gateway="made-up")
            await send(served.path, "hi", gateway="broken")
            await send(served.path, "hi", txt="hi")
            await call(served.path, "GET", "/nothing")
            lines = b'{"gateway": "off", "to": "+491701234567", "text": "hi"}\n{}\n'
            await call(served.path, "POST", "/v1/messages", lines, {"Content-Type": "application/x-ndjson"})
            await call(served.path, "GET", "/v1/gateways/another")
            return (await call(served.path, "GET", "/metrics")).body.decode()

    text = asyncio.run(scenario())
    told = [(vars(one)["code"], vars(one).get("gateway")) for one in caplog.records if one.message == "refused"]
    assert told == [
        ("unknown-gateway", None),
        ("gateway-unavailable", "broken"),
        ("malformed-request", "gated"),
        ("not-found", None),
    ]
    assert {vars(one)["uid"] for one in caplog.records if one.message == "refused"} == {os.getuid()}
    for code, number in (
        ("unknown-gateway", 2),
        ("gateway-unavailable", 2),
        ("malformed-request", 2),
        ("not-found", 1),
    ):
        assert f'smsgwd_requests_refused_total{{code="{code}"}} {number}.0' in text


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("gatd", "there is no gateway `gatd`: did you mean `gated`?"),
        ("zzz", "there is no gateway `zzz`"),
        ("+491701234567", "there is no gateway of this name"),
        ("491701234567", "there is no gateway of this name"),
        ("a text \n", "there is no gateway of this name"),
    ],
)
def test_an_unknown_gateway_is_named(tmp_path: Path, name: str, detail: str) -> None:
    """As the caller wrote it, where that can be a name, with the nearest that there is."""
    assert answered(tmp_path, "POST", "/v1/messages", {**MESSAGE, "gateway": name}).json()["detail"] == detail


def test_only_gateways_that_the_caller_may_use_are_suggested() -> None:
    """A gateway that is not for the caller is not given away by the name of another."""
    assert unknown_gateway("gatd", ["gated"]).detail.endswith("did you mean `gated`?")
    assert unknown_gateway("gatd", []).detail == "there is no gateway `gatd`"


def test_a_repeated_request_waits_for_the_first(tmp_path: Path) -> None:
    """While the first send runs the second waits for it, even when the first client has gone."""

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            key = {"Idempotency-Key": "k1"}
            first = asyncio.create_task(send(served.path, "wait", key))
            await until(lambda: served.provider.submitted == ["wait"])
            second = asyncio.create_task(send(served.path, "wait", key))
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            served.provider.gate.set()
            assert (await second).json()["outcome"] == "accepted"
            assert served.provider.submitted == ["wait"]

    asyncio.run(scenario())


@pytest.mark.parametrize("fields", ["Idempotency-Key: a b\r\n", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"])
def test_a_bad_idempotency_key_is_malformed(tmp_path: Path, fields: str) -> None:
    """A key that is none, or two of them, is never taken for no key."""

    async def scenario() -> None:
        async with serving(tmp_path) as served, connected(served.path) as (reader, writer):
            writer.write(
                f"POST /v1/messages HTTP/1.1\r\nHost: x\r\n{fields}Content-Type: application/json\r\n"
                'Content-Length: 51\r\n\r\n{"gateway":"gated","to":"+491701234567","text":"1"}'.encode()
            )
            assert (await read_response(reader)).type == "malformed-request"
            assert served.provider.submitted == []

    asyncio.run(scenario())
