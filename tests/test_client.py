import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import (
    OUTCOME,
    Behaviour,
    answering,
    dripping,
    fake_daemon,
    problem,
    read_request,
    saying,
    silent,
    whole_answer,
)

from smsgwd.client import Client, NoAnswerError, RequestRefused
from smsgwd.outcome import Attempt, Kind, Outcome, Reason

UNSENT = {
    **OUTCOME,
    "type": "urn:smsgwd:problem:unsent",
    "status": 503,
    "outcome": "unsent",
    "reason": "throttled",
    "retry_safe": True,
    "message_ids": [],
    "tried": [{"gateway": "twilio", "outcome": "unsent", "reason": "throttled", "elapsed": 0.5}],
}

ANSWER = whole_answer(200, json.dumps(OUTCOME).encode())


def send(path: Path | str, timeout_s: float = 5.0, **members: Any) -> Outcome:
    return Client(str(path), timeout_s).send(**{"gateway": "twilio", "to": "+491701234567", "text": "hi", **members})


def test_accepted(tmp_path: Path) -> None:
    """An accepted message comes back with every member of the daemon's outcome."""
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        outcome = send(daemon.path)
    assert outcome.as_dict() == OUTCOME


def test_request(tmp_path: Path) -> None:
    """What the caller gives is the request, as JSON; what it does not give is left out."""
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        send(daemon.path, text=None, template="login", vars={"code": "1\n2"}, reference="r", idempotency_key="k1")
    assert daemon.bodies == [
        {"gateway": "twilio", "to": "+491701234567", "template": "login", "vars": {"code": "1\n2"}, "reference": "r"}
    ]
    head = daemon.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0] == b"POST /v1/messages HTTP/1.1"
    assert {b"Idempotency-Key: k1", b"Content-Type: application/json", b"Connection: close"} <= set(head)


def test_unsent_of_the_daemon(tmp_path: Path) -> None:
    """An outcome that comes as a problem document is an outcome, with its attempts and the time to wait."""
    with fake_daemon(tmp_path / "s", answering(503, UNSENT, "Retry-After: 7")) as daemon:
        outcome = send(daemon.path)
    assert (outcome.kind, outcome.reason, outcome.retry_safe) == (Kind.UNSENT, Reason.THROTTLED, True)
    assert outcome.tried == (Attempt("twilio", Kind.UNSENT, Reason.THROTTLED, 0.5),)
    assert outcome.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("kind", "status", "again"),
    [("accepted", 200, False), ("rejected", 422, False), ("unsent", 503, True), ("unknown", 504, False)],
)
def test_retryable_says_what_retry_safe_says(tmp_path: Path, kind: str, status: int, again: bool) -> None:
    """A queue that looks at either never repeats what may duplicate; neither shows in a repr what is for the sender."""
    document = {**OUTCOME, "outcome": kind, "retry_safe": again, "type": f"urn:smsgwd:problem:{kind}"}
    with fake_daemon(tmp_path / "s", answering(status, document)) as daemon:
        outcome = send(daemon.path)
    assert (outcome.retryable, outcome.retry_safe) == (again, again)
    assert not {"quote", "retryable"} & set(re.findall(r"(\w+)=", repr(outcome)))


def test_members_of_the_future(tmp_path: Path) -> None:
    """Members of an outcome that this version does not know do no harm."""
    with fake_daemon(tmp_path / "s", answering(200, {**OUTCOME, "colour": "blue"})) as daemon:
        assert send(daemon.path).kind is Kind.ACCEPTED


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("malformed-request", 400),
        ("forbidden", 403),
        ("unknown-gateway", 404),
        ("idempotency-mismatch", 422),
        ("gateway-unavailable", 503),
        ("overloaded", 503),
    ],
)
def test_refused(tmp_path: Path, code: str, status: int) -> None:
    """A request that the daemon refuses raises, with the code, the status, the words and the whole document."""
    with (
        fake_daemon(tmp_path / "s", problem(code, status, "because", state="rejected")) as daemon,
        pytest.raises(RequestRefused, match=f"{code}: because") as caught,
    ):
        send(daemon.path)
    refusal = caught.value
    assert (refusal.code, refusal.status, refusal.detail) == (code, status, "because")
    assert refusal.problem["state"] == "rejected"


def no_socket(path: Path) -> None:
    assert not path.exists()


def plain_file(path: Path) -> None:
    path.write_text("no socket")


def stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (no_socket, "No such file or directory (is the daemon running?)"),
        (plain_file, "nobody listens there: is the daemon running?"),
        (stale_socket, "nobody listens there: is the daemon running?"),
        (Path.mkdir, "Connection refused"),
    ],
)
def test_no_daemon(tmp_path: Path, prepare: Callable[[Path], None], words: str) -> None:
    """Where no daemon listens the message is unsent, in words that say what to look at."""
    prepare(tmp_path / "s")
    outcome = send(tmp_path / "s")
    assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.UNREACHABLE)
    assert str(tmp_path / "s") in outcome.detail
    assert words in outcome.detail


def test_path_too_long(tmp_path: Path) -> None:
    """A path longer than a socket's may be is told, not raised."""
    outcome = send(tmp_path / ("x" * 200))
    assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.UNREACHABLE)
    assert "too long" in outcome.detail


def test_queue_full(tmp_path: Path) -> None:
    """A daemon that accepts no connection gets no request: unsent, within the timeout."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        first.connect(str(tmp_path / "s"))
        outcome = send(tmp_path / "s", 0.2)
    assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.TIMEOUT)
    assert "queue of connections is full" in outcome.detail


def test_queue_with_room_again(tmp_path: Path) -> None:
    """A full queue is waited for: the request goes out as soon as there is room."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        first.connect(str(tmp_path / "s"))
        outcomes: list[Outcome] = []
        sending = threading.Thread(target=lambda: outcomes.append(send(tmp_path / "s")))
        sending.start()
        listener.accept()[0].close()
        connection, _ = listener.accept()
        read_request(connection)
        connection.sendall(ANSWER)
        connection.close()
        sending.join()
    assert outcomes[0].kind is Kind.ACCEPTED


def test_broken_while_writing(tmp_path: Path) -> None:
    """A connection that ends before the whole request was written is unsent: nobody can have acted on half of it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        peer = threading.Thread(target=hang_up)
        peer.start()
        outcome = send(tmp_path / "s", text="x" * 4_000_000)
        peer.join()
    assert (outcome.kind, outcome.reason) == (Kind.UNSENT, Reason.UNREACHABLE)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (saying(b""), Reason.UNREACHABLE),
        (saying(b"HTTP/1.1 200"), Reason.UNREACHABLE),
        (saying(ANSWER[:80]), Reason.UNREACHABLE),
        (saying(ANSWER[:-1]), Reason.UNREACHABLE),
        (saying(b"220 mail.example.com ESMTP\r\n"), Reason.UNREACHABLE),
        (saying(whole_answer(200, b"<html>")), Reason.INTERNAL),
        (saying(whole_answer(404, b"404: Not Found")), Reason.INTERNAL),
        (saying(whole_answer(200, b"[" * 100_000)), Reason.INTERNAL),
        (answering(200, []), Reason.INTERNAL),
        (answering(200, {"outcome": "accepted"}), Reason.INTERNAL),
        (answering(200, {**OUTCOME, "outcome": "delivered"}), Reason.INTERNAL),
        (answering(500, ["no"]), Reason.INTERNAL),
        (problem("internal", 500, "an internal error"), Reason.INTERNAL),
        (silent, Reason.TIMEOUT),
    ],
)
def test_no_answer(tmp_path: Path, behaviour: Behaviour, reason: Reason) -> None:
    """Once the request was written, whatever is no whole answer of ours makes the outcome unknown."""
    with fake_daemon(tmp_path / "s", behaviour) as daemon:
        outcome = send(daemon.path, 0.3, reference="r1")
    assert (outcome.kind, outcome.reason, outcome.retryable) == (Kind.UNKNOWN, reason, False)
    assert (outcome.gateway, outcome.reference) == ("twilio", "r1")


@pytest.mark.parametrize("octets", [b"X-Slow: yes\r\n" * 1000, ANSWER])
def test_dripping_daemon(tmp_path: Path, octets: bytes) -> None:
    """The timeout is for the whole call: a daemon that drips octets cannot stretch it."""
    over = threading.Event()
    with fake_daemon(tmp_path / "s", dripping(octets, 0.05, over)) as daemon:
        outcome = send(daemon.path, 0.3)
        over.set()
    assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.TIMEOUT)
    assert "0.3 s" in outcome.detail


CALLS: list[tuple[str, Callable[[Client], Any], bytes]] = [
    ("status", lambda client: client.status(), b"GET /v1/status"),
    ("reload", lambda client: client.reload(), b"POST /v1/reload"),
    ("gateway", lambda client: client.gateway("a/b"), b"GET /v1/gateways/a%2Fb"),
    ("render", lambda client: client.render(gateway="x", to="1", text="y"), b"POST /v1/render"),
]


@pytest.mark.parametrize(
    ("call", "line"), [(call, line) for _, call, line in CALLS], ids=[name for name, _, _ in CALLS]
)
def test_documents(tmp_path: Path, call: Callable[[Client], Any], line: bytes) -> None:
    """Each question goes to its address and gives the daemon's document."""
    with fake_daemon(tmp_path / "s", answering(200, {"digest": "d"})) as daemon:
        assert call(Client(daemon.path)) == {"digest": "d"}
    assert daemon.requests[0].startswith(line + b" HTTP/1.1\r\n")


def test_gateways(tmp_path: Path) -> None:
    """The gateways are a list."""
    with fake_daemon(tmp_path / "s", answering(200, [{"name": "a"}])) as daemon:
        assert Client(daemon.path).gateways() == [{"name": "a"}]


def test_render_of_a_rejected_message(tmp_path: Path) -> None:
    """A message that cannot be sent has no rendering: it is refused, in the outcome's words."""
    with (
        fake_daemon(tmp_path / "s", problem("rejected", 422, "the text is empty", reason="content")) as daemon,
        pytest.raises(RequestRefused, match="rejected: the text is empty") as caught,
    ):
        Client(daemon.path).render(gateway="x", to="1", text="y")
    assert caught.value.problem["reason"] == "content"


@pytest.mark.parametrize("document", [{"digest": "d"}, "text"])
def test_gateways_of_somebody_else(tmp_path: Path, document: Any) -> None:
    """What is no list is no answer."""
    with fake_daemon(tmp_path / "s", answering(200, document)) as daemon, pytest.raises(NoAnswerError):
        Client(daemon.path).gateways()


@pytest.mark.parametrize("call", [call for _, call, _ in CALLS], ids=[name for name, _, _ in CALLS])
def test_questions_without_answer(tmp_path: Path, call: Callable[[Client], Any]) -> None:
    """A question without an answer raises, and says whether the daemon can have acted on it."""
    with pytest.raises(NoAnswerError, match=os.strerror(errno.ENOENT)) as nobody:
        call(Client(str(tmp_path / "s")))
    with fake_daemon(tmp_path / "s", answering(200, "text")) as daemon, pytest.raises(NoAnswerError) as foreign:
        call(Client(daemon.path))
    assert (nobody.value.handed_over, foreign.value.handed_over) == (False, True)


def test_path_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the client goes where $SMSGWD_SOCKET says."""
    with fake_daemon(tmp_path / "s", answering(200, {"digest": "d"})) as daemon:
        monkeypatch.setenv("SMSGWD_SOCKET", daemon.path)
        assert Client().status() == {"digest": "d"}


def test_many_threads(tmp_path: Path) -> None:
    """One client may be used by many threads at once."""
    with fake_daemon(tmp_path / "s", answering(200, OUTCOME)) as daemon:
        client, outcomes = Client(daemon.path), list[Outcome]()

        def work() -> None:
            outcomes.append(client.send(gateway="twilio", to="+491701234567", text="hi"))

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outcome.kind for outcome in outcomes] == [Kind.ACCEPTED] * 20


def test_imports_the_standard_library_only() -> None:
    """The client works where nothing but Python is installed."""
    code = (
        "import sys; before = set(sys.modules); import smsgwd.client;"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(tops - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "['smsgwd']"
