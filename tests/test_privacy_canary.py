import asyncio
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Running, configuration, daemon
from fake_http import Line, RawServer
from socket_client import JSON, Response, call, raw, request

SECRET = "s3cr3t/canary&value"
SECRET_FORMS = (SECRET, "s3cr3t%2Fcanary%26value", "s3cr3t\\/canary&value")
TEXT = "canaryword for your eyes"
CODE = "493817"
TO = "+49 170 1112233"
MASKED = "+4917*****33"
NUMBER_FORMS = ("1701112233", TO, "170 1112233", "1112233")
PRIVATE = (*SECRET_FORMS, "canaryword", CODE, *NUMBER_FORMS)

GATEWAY = """
provider: http
retry: {{attempts: 1}}
secrets: {{token: {{file: token}}}}
templates:
  login: {{text: "canaryword {{{{ code }}}}", vars: {{code: {{charset: digits}}}}}}
settings:
  url: http://127.0.0.1:{port}/{status}
  method: POST
  query: {{to: "{{{{ phone }}}}", key: "{{{{ secrets.token }}}}"}}
  headers: {{Authorization: "Bearer {{{{ secrets.token }}}}"}}
  json: {{to: "{{{{ phone }}}}", text: "{{{{ message }}}}", key: "{{{{ secrets.token }}}}"}}
  error: {{regex: '(?s)(.*)'}}
  message_id: {{json: /id}}
"""


def echo(line: Line) -> None:
    """Answers with everything that it was told, under the status that the path names."""
    while asked := line.read():
        status = asked.split(b"/")[1].split(b"?")[0]
        said = json.dumps({"id": "m1", "echo": asked.decode("latin-1")}).encode()
        field = b"X-Echo: " + asked.split(b"\r\n")[0] + b"\r\n"
        line.send(b"HTTP/1.1 %s Said\r\n%sContent-Length: %d\r\n\r\n%s" % (status, field, len(said), said))


@dataclass
class Told:
    """All that came out of a daemon: what it printed, and what it answered but to `render`."""

    printed: str
    answers: list[Response]
    rendered: list[Response]

    @property
    def everything(self) -> str:
        """In one text."""
        return self.printed + "".join(f"{one.headers}{one.body.decode()}" for one in self.answers)


STATUSES = (200, 400, 401, 429, 500, 302)


def everything_of(folder: Path, log: str) -> Told:
    """A daemon that is asked for all that it can do, rightly and wrongly."""
    with RawServer(echo) as server:
        files = {f"gateways.d/g{status}.yaml": GATEWAY.format(port=server.port, status=status) for status in STATUSES}
        files |= {"token": SECRET + "\n", "smsgwd.yaml": f"log: {log}\n"}
        files["gateways.d/parrot.yaml"] = GATEWAY.format(port=server.port, status=200).replace(
            "{json: /id}", "{regex: '(?s)(.*)'}"
        )
        files["gateways.d/gone.yaml"] = GATEWAY.format(port=1, status=200)
        files["gateways.d/bad.yaml"] = GATEWAY.format(port=1, status=200) + "  passwort: 1\n"
        (folder / "gateways.d").mkdir()
        with daemon(configuration(folder, files)) as running:
            running.ready()
            answers, rendered = asyncio.run(asked(running))
            assert running.stop(signal.SIGTERM) == 0
            return Told(running.printed(), answers, rendered)


async def asked(running: Running) -> tuple[list[Response], list[Response]]:
    """The answers to many requests, and those of `render`."""
    path, answers, rendered = running.path, [], []
    for name in (*(f"g{status}" for status in STATUSES), "gone", "bad", TO, TEXT):
        for content in ({"text": TEXT}, {"template": "login", "vars": {"code": CODE}}):
            body: dict[str, Any] = {"gateway": name, "to": TO, **content}
            answers.append(await call(path, "POST", "/v1/messages", body))
    good: dict[str, Any] = {"gateway": "g200", "to": TO, "text": TEXT}
    rendered.append(await call(path, "POST", "/v1/render", good))
    for reference in (TO, "my-491701112233", TEXT, f"{TEXT}!", CODE, f"code-{CODE}", "order-42"):
        coded = {"gateway": "g200", "to": TO, "template": "login", "vars": {"code": CODE}, "reference": reference}
        for body in (
            {**good, "text": f"{TEXT}: {CODE}", "reference": reference},
            coded,
            {**coded, "gateway": "parrot"},
        ):
            await call(
                path, "POST", "/v1/messages", body
            )  # its answer repeats the caller's own reference, as it has to
    wrong: list[dict[str, Any]] = [
        {**good, "to": TO + "0000000"},
        {**good, "text": TEXT * 1000},
        {**good, "sender": TEXT},
        {**good, "vars": {}},
        {**good, "deadline": TO},
        {**good, "text": [TEXT]},
        {"gateway": "g200", "to": TO, "template": TEXT},
        {"gateway": "g200", "to": TO, "template": "login", "vars": {"code": TEXT}},
        {"gateway": "g200", "to": TO, "template": "login", "vars": {}},
    ]
    for body in wrong:
        answers.append(await call(path, "POST", "/v1/messages", body))
        answers.append(await call(path, "POST", "/v1/render", body))
    octets = json.dumps(good).encode()
    answers.append(await call(path, "POST", "/v1/messages", octets[:-3]))
    answers.append(await call(path, "POST", "/v1/messages", octets[:-1] + b',"text":"x"}'))
    answers.append(await call(path, "POST", f"/v1/messages/{TEXT}/{TO}".replace(" ", "%20"), good))
    answers.append(await call(path, "POST", "/v1/messages", octets, {"Idempotency-Key": TEXT}))
    answers.append(await call(path, "POST", "/v1/messages", octets, {"Content-Type": TEXT.partition(" ")[0]}))
    answers.append(await raw(path, request("BAD METHOD", f"/{TEXT}", octets, JSON)))
    shown = ("/metrics", "/v1/status", "/v1/gateways", "/v1/gateways/g200", "/readyz")
    answers += [await call(path, "GET", target) for target in shown]
    answers.append(await call(path, "POST", "/v1/reload"))
    return answers, rendered


def given_away(text: str, words: tuple[str, ...]) -> list[str]:
    """The lines that hold one of the words."""
    return [f"{word}: {line[:400]}" for line in text.splitlines() for word in words if word in line]


@pytest.mark.parametrize(
    "log",
    ["{}", "{level: debug}", "{level: debug, format: text}", "{privacy: false}"],
    ids=["info", "debug", "text", "no debug"],
)
def test_nothing_private_is_told(tmp_path: Path, log: str) -> None:
    """Against a provider that echoes everything: no text, code, number or secret in log, answer, metric or status."""
    told = everything_of(tmp_path, log)
    assert given_away(told.everything, PRIVATE) == []
    assert MASKED in told.printed
    assert told.printed.count("outcome") > 10
    assert "order-42" in told.printed
    statuses = {one.status for one in told.answers}
    assert statuses >= {200, 400, 404, 415, 422, 503, 504}
    for one in told.rendered:
        assert "canaryword" in one.body.decode()
        assert given_away(one.body.decode(), SECRET_FORMS) == []


def test_the_debug_switch_shows_messages_and_answers_but_no_secret(tmp_path: Path) -> None:
    """`privacy: false` with `level: debug` logs what was submitted and answered, warns at the start, hides secrets."""
    told = everything_of(tmp_path, "{level: debug, privacy: false}")
    assert given_away(told.everything, SECRET_FORMS) == []
    assert told.printed.count('"level": "warning", "logger": "smsgwd", "message": "privacy is off') == 1
    events = [json.loads(line) for line in told.printed.splitlines()]
    shown = {event["message"]: json.dumps(event) for event in events if event["message"] in ("message", "answer")}
    for event in ("message", "answer"):
        assert "canaryword" in shown[event]
        assert "***" in shown[event]
    answers = "".join(one.body.decode() for one in told.answers)
    assert given_away(answers, PRIVATE) == []
