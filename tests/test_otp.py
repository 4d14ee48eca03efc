import asyncio
import base64
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gated_provider
import pytest
from command import environment, run
from compiled import site_problems
from secret_file import write_secret

from smsgwd import sender
from smsgwd.allowance import Limits
from smsgwd.compile import compile_site
from smsgwd.limits import Limiter
from smsgwd.load import load
from smsgwd.message import SendRequest
from smsgwd.otp import Challenges, Clock, Verdict, Wanted, new_code
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.registry import OtpSettings, RedisServer, Registry, SiteConfig, TextTemplate, Variable
from smsgwd.secret import Secret, key_of
from smsgwd.templates import Scope, compile_template
from smsgwd.units import parse_pace

TO = "+491701234567"


@dataclass
class Time:
    """Two clocks that stand still until they are moved, and can be set apart."""

    wall: float = 1_800_000_000.0
    monotonic: float = 50.0

    def passes(self, seconds: float) -> None:
        """On both."""
        self.wall += seconds
        self.monotonic += seconds

    def clock(self) -> Clock:
        """The clock of a daemon."""
        return Clock(lambda: self.wall, lambda: self.monotonic)


@dataclass
class Phone:
    """Takes what is sent, or does not."""

    kind: Kind = Kind.ACCEPTED
    codes: list[str] = field(default_factory=list)

    async def send(self, request: SendRequest) -> Outcome:
        """As the sender does."""
        assert request.otp is not None
        self.codes.append(request.otp)
        return Outcome(self.kind)


@dataclass
class Instance:
    """One daemon's challenges."""

    time: Time = field(default_factory=Time)
    settings: OtpSettings = field(default_factory=OtpSettings)
    phone: Phone = field(default_factory=Phone)

    def __post_init__(self) -> None:
        self.challenges = Challenges(lambda: self.settings, self.time.clock())

    def issue(self, context: str = "", digits: int = 6, ttl_s: int = 300) -> tuple[str, str]:
        """An id and its code."""
        wanted = Wanted(SendRequest("g", TO), digits, ttl_s, context)
        transaction_id, outcome = asyncio.run(self.challenges.issue(wanted, self.phone.send))
        assert outcome.kind is Kind.ACCEPTED
        assert transaction_id is not None
        return transaction_id, self.phone.codes[-1]

    def verify(self, transaction_id: str, otp: str, context: str = "") -> str:
        """The verdict in short."""
        return short(asyncio.run(self.challenges.verify(transaction_id, otp, context)))


def short(verdict: Verdict) -> str:
    """`verified`, or the reason and the attempts that are left."""
    if verdict.verified:
        return "verified"
    left = "" if verdict.attempts_left is None else f" {verdict.attempts_left}"
    return f"{verdict.reason}{left}"


def wrong(code: str) -> str:
    """Another code of the same length."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


def test_the_right_code_is_taken_once() -> None:
    """The first right code verifies, each further one is used."""
    one = Instance()
    transaction_id, code = one.issue()
    assert [one.verify(transaction_id, code) for _ in range(3)] == ["verified", "used 0", "used 0"]
    assert one.verify(transaction_id, wrong(code)) == "used 0"


@pytest.mark.parametrize("attempts", [1, 3, 10])
def test_wrong_codes_are_counted(attempts: int) -> None:
    """So many wrong codes are told wrong; after them nothing is taken, the right code neither."""
    one = Instance(settings=OtpSettings(attempts=attempts))
    transaction_id, code = one.issue()
    told = [one.verify(transaction_id, wrong(code)) for _ in range(attempts)]
    assert told == [f"wrong {left}" for left in reversed(range(attempts))]
    assert one.verify(transaction_id, code) == "too_many 0"
    assert one.verify(transaction_id, wrong(code)) == "too_many 0"
    other_id, other_code = one.issue()
    assert one.verify(other_id, other_code) == "verified"


@pytest.mark.parametrize("guess", ["", " ", "4", "12345678901", "٤٩٣٨١٧", "\ud800", "\0"])
def test_what_is_no_code_is_a_wrong_one(guess: str) -> None:
    """Whatever is given as a code counts as a try."""
    one = Instance()
    assert one.verify(one.issue()[0], guess) == "wrong 2"


def test_a_context_is_bound() -> None:
    """A code verifies in the context that it was asked for; elsewhere its id is none, and nothing is counted."""
    one = Instance()
    transaction_id, code = one.issue("alice@vpn")
    assert [one.verify(transaction_id, code, other) for other in ("", "alice@ssh", "alice@vpn ")] == ["invalid"] * 3
    assert one.verify(transaction_id, code, "alice@vpn") == "verified"


def test_a_code_expires() -> None:
    """It is good until the last moment of its time, and never after."""
    one = Instance()
    first, first_code = one.issue(ttl_s=60)
    second, second_code = one.issue(ttl_s=60)
    one.time.passes(59.5)
    assert one.verify(first, first_code) == "verified"
    one.time.passes(0.5)
    assert one.verify(second, second_code) == "expired 0"
    assert one.verify(first, first_code) == "expired 0"


def test_a_clock_that_jumps_back_revives_nothing() -> None:
    """What has expired stays so, and what has not expires when its time has passed, not later."""
    one = Instance()
    first, first_code = one.issue(ttl_s=60)
    one.time.passes(61)
    assert one.verify(first, first_code) == "expired 0"
    one.time.wall -= 3600
    assert one.verify(first, first_code) == "expired 0"
    second, second_code = one.issue(ttl_s=60)
    third, third_code = one.issue(ttl_s=60)
    one.time.passes(59)
    assert one.verify(second, second_code) == "verified"
    one.time.wall -= 3600
    one.time.passes(2)
    assert one.verify(third, third_code) == "expired 0"
    assert one.verify(second, second_code) == "expired 0"


def test_a_clock_that_jumps_ahead_ends_what_is_open() -> None:
    """The wall clock ahead of the monotonic one counts: a machine may have slept."""
    one = Instance()
    transaction_id, code = one.issue()
    one.time.wall += 301
    assert one.verify(transaction_id, code) == "expired 0"


def shared(*keys: bytes) -> OtpSettings:
    """Settings with these keys."""
    return OtpSettings(keys=tuple(Secret(base64.b64encode(key).decode()) for key in keys))


def test_instances_with_one_key_verify_for_each_other() -> None:
    """Any instance with the key verifies what another one has sent; without it nobody does."""
    key = os.urandom(32)
    first, second, stranger = Instance(settings=shared(key)), Instance(settings=shared(key)), Instance()
    transaction_id, code = first.issue()
    assert stranger.verify(transaction_id, code) == "invalid"
    assert second.verify(transaction_id, code) == "verified"


def test_an_id_of_a_clock_far_ahead_is_not_taken() -> None:
    """An instance whose clock was wrong cannot make codes that are good for longer than any may be."""
    key = os.urandom(32)
    wild, sane = Instance(settings=shared(key), time=Time(wall=1_900_000_000.0)), Instance(settings=shared(key))
    transaction_id, code = wild.issue()
    assert sane.verify(transaction_id, code) == "invalid"
    assert wild.verify(transaction_id, code) == "verified"


def test_keys_are_rotated_while_serving(caplog: pytest.LogCaptureFixture) -> None:
    """New settings take effect at once, with what was counted; without keys there is one of the process's own."""
    old, new = os.urandom(32), os.urandom(32)
    one = Instance(settings=shared(old))
    transaction_id, code = one.issue()
    assert one.verify(transaction_id, wrong(code)) == "wrong 2"
    one.settings = shared(new, old)
    assert one.verify(transaction_id, wrong(code)) == "wrong 1"
    one.settings = shared(new)
    assert one.verify(transaction_id, code) == "invalid"
    assert not caplog.records
    one.settings = OtpSettings()
    own_id, own_code = one.issue()
    one.issue()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert one.verify(own_id, own_code) == "verified"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ACCEPTED])
def test_what_was_not_accepted_is_no_transaction(kind: Kind) -> None:
    """There is no id unless a provider took the message."""
    wanted = Wanted(SendRequest("g", TO))
    issued = asyncio.run(Challenges(OtpSettings).issue(wanted, Phone(kind).send))
    assert issued == (None, Outcome(kind))


@pytest.mark.parametrize("digits", range(4, 11))
def test_codes_have_their_digits(digits: int) -> None:
    """A code has as many digits as were asked for, any of them in any place."""
    codes = [new_code(digits) for _ in range(300)]
    assert {len(code) for code in codes} == {digits}
    for place in range(digits):
        assert set("0123456789") == {code[place] for code in codes}


def test_codes_are_spread() -> None:
    """Of ten thousand codes of four digits each first digit takes its tenth, roughly."""
    counts = Counter(new_code(4)[0] for _ in range(10_000))
    assert all(800 < counts[digit] < 1200 for digit in "0123456789")


# --- the message ----------------------------------------------------------------------------------------------------


def template(text: str, *variables: str) -> TextTemplate:
    """A message that callers name."""
    scope = Scope(frozenset({"otp", *variables}), {})
    return TextTemplate(compile_template(text, scope)[0], {name: Variable() for name in variables})


TEMPLATES = {
    "plain": template("Hello"),
    "login": template("{{ otp }} for {{ service }}", "service"),
    "twice": template("{{ otp }}{% if otp %} ({{ otp }}){% endif %}"),
}


def snapshot(provider: gated_provider.Gated, config: SiteConfig | None = None) -> Registry:
    """One gateway with the templates."""
    one = gated_provider.gateway(provider, templates=TEMPLATES, variables=frozenset({"service"}))
    entry = gated_provider.registry(provider).entries["gated"]
    return Registry.of([type(entry).of("gated", one)], config or SiteConfig())


def sent(members: dict[str, Any], otp: str | None = "4711") -> tuple[Outcome, list[str]]:
    """What became of a message, and what a provider got."""
    provider = gated_provider.Gated()
    request = SendRequest(gateway="gated", to=TO, otp=otp, **members)
    return asyncio.run(sender.send(snapshot(provider), request)), provider.submitted


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "4711"),
        ({"text": "{{ otp }} is it"}, "4711 is it"),
        ({"text": "{{ otp }}, {{ otp }}"}, "4711, 4711"),
        ({"text": "{{otp}} {{ otp }} {{ phone }} {% if %} {otp}"}, "{{otp}} 4711 {{ phone }} {% if %} {otp}"),
        ({"template": "login", "vars": {"service": "{{ otp }}"}}, "4711 for {{ otp }}"),
        ({"template": "twice"}, "4711 (4711)"),
    ],
)
def test_the_code_stands_in_the_message(members: dict[str, Any], text: str) -> None:
    """In a text exactly `{{ otp }}` is replaced; a template sees it; without either it is the message."""
    outcome, submitted = sent(members)
    assert (outcome.kind, submitted) == (Kind.ACCEPTED, [text])


@pytest.mark.parametrize(
    ("members", "otp"),
    [
        ({"text": "Hello"}, "4711"),
        ({"text": ""}, "4711"),
        ({"text": "{{otp}}"}, "4711"),
        ({"template": "plain"}, "4711"),
        ({"template": "login"}, "4711"),
        ({"template": "login", "vars": {"service": "x", "otp": "1"}}, "4711"),
        ({"template": "login", "vars": {"service": "x"}}, None),
        ({"template": "login", "vars": {"service": "x", "otp": "1"}}, None),
    ],
)
def test_a_code_that_nobody_would_learn_is_not_sent(members: dict[str, Any], otp: str | None) -> None:
    """A text or template without the code is refused, and so is a template for codes on a plain send."""
    outcome, submitted = sent(members, otp)
    assert (outcome.kind, outcome.reason, submitted) == (Kind.REJECTED, Reason.CONTENT, [])


def test_a_plain_text_stays_as_it_is() -> None:
    """Without a challenge nothing in a text is replaced."""
    assert sent({"text": "{{ otp }}"}, None)[1] == ["{{ otp }}"]


def test_what_is_shown_has_a_sample_code() -> None:
    """`render` shows a template for one-time passwords with a code that is none, and plain texts as they are."""
    registry = snapshot(gated_provider.Gated())
    shown = sender.render(registry, SendRequest("gated", TO, template="login", vars={"service": "VPN"}))
    assert shown["text"] == "123456 for VPN"
    assert sender.render(registry, SendRequest("gated", TO, text="{{ otp }}"))["text"] == "{{ otp }}"


def test_tests_of_gateway_files_have_a_sample_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test inside a gateway file names a template for one-time passwords, and expects the sample code."""
    (tmp_path / "gateways.d").mkdir()
    (tmp_path / "gateways.d" / "g.yaml").write_text(TESTED)
    done = run(capsys, "test", "--config", str(tmp_path))
    assert (done.code, done.err) == (0, "2 tests in 1 file, 0 failed\n"), done


TESTED = """
provider: http
templates: {login: {text: "{{ otp }} is your code"}}
settings: {url: "https://sms.example.com/send", form: {to: "{{ phone }}", text: "{{ message }}"}}
tests:
  - name: what is sent
    send: {to: "+491701234567", template: login}
    expect: {text: 123456 is your code, request: {body: {text: 123456 is your code}}}
  - name: what is answered
    send: {to: "+491701234567", template: login}
    reply: {status: 200, body: ok}
    expect: {outcome: accepted}
"""


def test_challenges_for_one_number_are_limited() -> None:
    """Only so many codes go to one number in a time, however it is written; plain messages are not counted in it."""

    async def scenario() -> list[str]:
        provider, limiter = gated_provider.Gated(), Limiter()
        pace = parse_pace("2/10m")
        registry = snapshot(provider, SiteConfig(otp=OtpSettings(limits=Limits(per_recipient=pace))))
        told = []
        for to, otp in ((TO, "1"), (TO, None), ("00" + TO[1:], "2"), (TO, "3"), ("+491701234568", "4"), (TO, None)):
            outcome = await sender.send(registry, SendRequest("gated", to, text="{{ otp }}", otp=otp), limiter)
            told.append(f"{outcome.kind} {outcome.reason}")
            if outcome.kind is Kind.UNSENT:
                assert "`otp` of smsgwd.yaml" in outcome.detail
                assert limiter.refused == {("gated", "per_recipient"): 1}
        return told

    assert asyncio.run(scenario()) == ["accepted None"] * 3 + ["unsent limit"] + ["accepted None"] * 2


# --- smsgwd.yaml ----------------------------------------------------------------------------------------------------


def site(folder: Path, text: str) -> tuple[SiteConfig | None, list[str]]:
    """The compiled smsgwd.yaml and its findings."""
    config, problems = compile_site(load(text.encode(), "smsgwd.yaml"), folder, resolve=True)
    return config, [f"{problem.line}:{problem.column} {problem.code}" for problem in problems]


def test_settings(tmp_path: Path) -> None:
    """Keys come from secrets, in the order of the file; limits and attempts have their defaults."""
    keys = [os.urandom(32), os.urandom(32)]
    for name, key in zip(("new", "old"), keys, strict=True):
        write_secret(tmp_path / name, base64.b64encode(key).decode() + "\n")
    config, found = site(tmp_path, "otp:\n  keys: {k2: {file: new}, k1: {file: old}}\n  attempts: 5\n")
    assert config is not None
    assert found == []
    assert [key_of(key) for key in config.otp.keys] == keys
    assert (config.otp.attempts, str(config.otp.limits.per_recipient)) == (5, "5/10m")
    plain, _ = site(tmp_path, "otp: {per_recipient: 1/s, storage: memory, fail: closed}\n")
    assert plain is not None
    assert (plain.otp.keys, plain.otp.attempts, str(plain.otp.limits.per_recipient)) == ((), 3, "1/s")


@pytest.mark.parametrize(
    "key",
    ["hello world", "aGVsbG8=", "A" * 42, "A" * 44, base64.b64encode(bytes(31)).decode(), "é" * 44, "0" * 64],
)
def test_a_key_of_another_length_is_a_finding(tmp_path: Path, key: str) -> None:
    """What is not base64 of 32 octets is told at its place, without its value, and such a file is not served."""
    write_secret(tmp_path / "key", key)
    config, problems = compile_site(
        load(b"otp:\n  keys:\n    k1: {file: key}\n", "smsgwd.yaml"), tmp_path, resolve=True
    )
    assert config is None
    assert [(one.line, one.column, one.code) for one in problems] == [(3, 16, "bad-value")]
    assert key not in f"{problems[0]}{problems[0].hint}"


def test_a_missing_key_is_not_served(tmp_path: Path) -> None:
    """Without one of its keys the file is not sound: with another key in its place ids would look forged."""
    assert site(tmp_path, "otp: {keys: {k1: {file: gone}}}\n") == (None, ["1:25 missing-secret"])


@pytest.mark.parametrize(
    ("otp", "found"),
    [
        ("{attempts: 0}", "bad-value"),
        ("{attempts: 11}", "bad-value"),
        ("{keys: {}}", "bad-value"),
        ("{keys: {k1: abc}}", "wrong-type"),
        ("{per_recipient: 5}", "bad-value"),
        ("{per_recipient: 0/m}", "bad-value"),
        ("{storage: redis}", "bad-value"),
        ("{storage: ''}", "bad-value"),
        ("{storage: 'http://localhost'}", "bad-value"),
        ("{storage: {url: 'redis://localhost'}}", "wrong-type"),
        ("{fail: maybe}", "bad-value"),
        ("{storage: 'redis://:canary@localhost'}", "literal-secret"),
        ("{storage: 'unix://u:canary@/run/redis.sock'}", "literal-secret"),
        ("{storage: 'redis://{{ phone }}@localhost'}", "unknown-name"),
        ("{storage: 'redis://:{{ secrets.nobody }}@localhost'}", "unknown-name"),
        ("{key: {}}", "unknown-key"),
    ],
)
def test_wrong_settings_are_findings(otp: str, found: str) -> None:
    """What cannot be is told, and no password."""
    problems = site_problems(f"otp: {otp}\n")
    assert [problem.code for problem in problems] == [found]
    assert "canary" not in f"{problems[0]}{problems[0].hint}"


def stored(folder: Path, storage: str, **secrets: str) -> tuple[SiteConfig | None, list[str]]:
    """smsgwd.yaml with a storage, and the files of its secrets."""
    for name, text in secrets.items():
        write_secret(folder / name, text)
    named = ", ".join(f"{name}: {{file: {name}}}" for name in secrets)
    return site(folder, f"otp:\n  fail: open\n  storage: {storage}\nsecrets: {{{named}}}\n")


CANARY = "p@ss:w/ord?#%+ü 4711"


@pytest.mark.parametrize(
    ("storage", "server", "name"),
    [
        ("redis://localhost", RedisServer("localhost"), "redis://localhost:6379/0"),
        (
            "rediss://h.example:7000/12",
            RedisServer("h.example", 7000, database=12, tls=True),
            "rediss://h.example:7000/12",
        ),
        ("'redis://[::1]/'", RedisServer("::1"), "redis://[::1]:6379/0"),
        ("'redis://:{{ secrets.pw }}@h'", RedisServer("h", password=Secret(CANARY)), "redis://h:6379/0"),
        (
            "'redis://{{ secrets.user }}:{{ secrets.pw }}@h:1/2'",
            RedisServer("h", 1, database=2, username="user-canary", password=Secret(CANARY)),
            "redis://h:1/2",
        ),
        ("unix:///run/redis.sock", RedisServer(path="/run/redis.sock"), "unix:///run/redis.sock?db=0"),
        (
            "'unix://:{{ secrets.pw }}@/run/redis.sock?db=3'",
            RedisServer(path="/run/redis.sock", database=3, password=Secret(CANARY)),
            "unix:///run/redis.sock?db=3",
        ),
        ("'{{ secrets.url }}'", RedisServer("h", password=Secret("url-canary")), "redis://h:6379/0"),
    ],
)
def test_a_storage(tmp_path: Path, storage: str, server: RedisServer, name: str) -> None:
    """A URL becomes a server, whatever its password is made of; what is printed of it holds no user and no password."""
    config, found = stored(tmp_path, storage, pw=CANARY, user="user-canary", url="redis://:url-canary@h")
    assert [one for one in found if "unused" not in one] == []
    assert config is not None
    assert config.otp.fail_open
    assert (config.otp.storage, config.otp.storage and config.otp.storage.name) == (server, name)
    assert not any(word in repr(config) for word in (CANARY, "canary"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://h:0x1",
        "redis://h:99999",
        "redis://[::1",
        "redis://h/x",
        "redis://h/0/1",
        "redis://h/-1",
        "redis://h/123456",
        "redis://h/0?db=1",
        "redis://h/0#1",
        "redis://user-canary@h",
        "redis://h h",
        "redis://h\u00fc",
        "unix://run/redis.sock",
        "unix://",
        "unix:///",
        "unix:///s?db=",
        "unix:///s?db=1&db=2",
        "unix:///s?timeout=1",
        "unix:///s#x",
    ],
)
def test_a_bad_storage_is_a_finding(tmp_path: Path, url: str) -> None:
    """It is told at its place, whether it stands in the file or is a secret, and never repeated."""
    for storage, where in ((f"'{url}'", "3:12"), ("'{{ secrets.url }}'", "3:12")):
        write_secret(tmp_path / "url", url)
        text = f"otp:\n  fail: open\n  storage: {storage}\nsecrets: {{url: {{file: url}}}}\n"
        config, problems = compile_site(load(text.encode(), "smsgwd.yaml"), tmp_path, resolve=True)
        assert config is None
        assert [f"{one.line}:{one.column} {one.code}" for one in problems] == [f"{where} bad-storage"]
        assert url.partition("://")[2] not in problems[0].message or url.endswith("://")
        assert "canary" not in problems[0].message


def test_another_url_is_a_finding_when_it_is_a_secret(tmp_path: Path) -> None:
    """A secret that is no URL of a redis is told as such."""
    assert stored(tmp_path, "'{{ secrets.url }}'", url="https://canary@h/")[1] == ["3:12 bad-storage"]


def test_a_storage_without_its_secret_is_not_served(tmp_path: Path) -> None:
    """Without the password nobody could verify anything: the file is not sound, and both places are told."""
    text = "otp: {storage: 'redis://:{{ secrets.pw }}@h'}\nsecrets: {pw: {file: gone}}\n"
    assert site(tmp_path, text) == (None, ["1:16 missing-secret", "2:22 missing-secret"])
    config, problems = compile_site(load(text.encode(), "smsgwd.yaml"), tmp_path, resolve=False)
    assert config is not None
    assert problems == ()


def test_a_storage_whose_package_is_not_installed(tmp_path: Path) -> None:
    """Without the extra its finding says how to install it; a plain check, which opens nothing, has none."""
    (tmp_path / "smsgwd.yaml").write_text("otp: {storage: 'redis://h'}\n")
    hidden = "import sys; sys.modules['redis'] = None; from smsgwd.__main__ import main; sys.exit(main())"
    told = []
    for more in (["--secrets"], []):
        arguments = [sys.executable, "-c", hidden, "check", "--config", str(tmp_path), *more]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60, check=False)
        told.append((done.returncode, done.stdout + done.stderr))
    assert told[0][0] == 1
    assert "smsgwd.yaml:1:16: error[missing-extra]: the package redis is not installed" in told[0][1]
    assert "pip install 'smsgwd[redis]'" in told[0][1]
    assert told[1][0] == 0
