"""What a reload makes of a changed directory: states, versions, what is kept. By `reload()`, without a watch."""

import asyncio
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gated_provider import Gated, gateway
from reloading import BROKEN, CONSOLE, Configuration, loaded, on_loop, sender_of, states
from secret_file import write_secret
from swaps import remove_tree, replace_file

from smsgwd.cli.reading import check
from smsgwd.errors import ConfigError, RequestError, Severity
from smsgwd.message import SendRequest
from smsgwd.outcome import Kind
from smsgwd.registry import State
from smsgwd.reload import Reloader, ReloadResult, _close_after_use
from smsgwd.sender import send
from smsgwd.versions import Known


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path / "etc")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def running(config: Configuration, state: Path | None = None) -> AsyncIterator[Reloader]:
    reloader = await loaded(config.root, state=state)
    yield reloader
    await reloader.close()


def codes(result: ReloadResult) -> list[str]:
    return [problem.code for problem in result.problems]


def sender(name: str) -> str:
    return f"{CONSOLE}sender: {name}\n"


# ---- files ----


@on_loop
async def test_names_what_changed(config: Configuration) -> None:
    """A reload tells digest, generation, and which gateways serve now, in another version, or no more."""
    for name in "abc":
        config.write(name)
    async with running(config) as reloader:
        first = reloader.registry
        config.write("b", sender("ACME"))
        (config.gateways / "c.yaml").unlink()
        config.write("d")
        result = await reloader.reload()
        assert (result.added, result.changed, result.removed) == (("d",), ("b",), ("c",))
        assert result.generation == first.generation + 1 == reloader.registry.generation
        assert result.digest == reloader.registry.digest != first.digest
        assert result.as_dict() == {
            "digest": result.digest,
            "generation": 2,
            "added": ["d"],
            "changed": ["b"],
            "removed": ["c"],
            "tokens": {"added": [], "changed": [], "removed": []},
            "problems": [],
        }
        with pytest.raises(RequestError, match="no gateway of this name"):
            reloader.registry.sendable("c")


@on_loop
async def test_without_a_change_nothing_changes(config: Configuration) -> None:
    """A reload of an unchanged directory leaves the snapshot, its generation and every gateway as they are."""
    config.write("a")
    async with running(config) as reloader:
        before = reloader.registry
        result = await reloader.reload()
        assert result == ReloadResult(before.digest, before.generation)
        assert reloader.registry.entries["a"].gateway is before.entries["a"].gateway


@pytest.mark.parametrize("text", [f"# a comment\n{CONSOLE}", f"---\n{CONSOLE}", "provider:   'console'\n"])
@on_loop
async def test_comments_leave_the_gateway_alone(config: Configuration, text: str) -> None:
    """A change that means nothing keeps the very same gateway, sessions and all."""
    config.write("a")
    async with running(config) as reloader:
        before = reloader.registry
        config.write("a", text)
        assert (await reloader.reload()).generation == before.generation
        assert reloader.registry.entries["a"].gateway is before.entries["a"].gateway


@on_loop
async def test_other_gateways_are_not_touched(config: Configuration) -> None:
    """A gateway whose file did not change stays the same object while others come, change and go."""
    for name in "abc":
        config.write(name)
    async with running(config) as reloader:
        gateway = reloader.registry.entries["a"].gateway
        config.write("b", sender("ACME"))
        config.write("c", BROKEN)
        config.write("d", BROKEN)
        await reloader.reload()
        assert reloader.registry.entries["a"].gateway is gateway


@on_loop
async def test_a_broken_file_keeps_the_version_that_compiled(config: Configuration) -> None:
    """The gateway is stale and goes on sending; every other change of the same look takes effect."""
    config.write("a", sender("ONE"))
    async with running(config) as reloader:
        gateway = reloader.registry.entries["a"].gateway
        config.write("a", BROKEN)
        config.write("b")
        result = await reloader.reload()
        assert states(reloader.registry) == {"a": "stale", "b": "ok"}
        assert (result.added, result.changed, codes(result)) == (("b",), (), ["unknown-key"])
        assert reloader.registry.sendable("a") is gateway
        outcome = await send(reloader.registry, SendRequest("a", "+491701234567", text="hi"))
        assert outcome.kind is Kind.ACCEPTED
        assert not reloader.healthy
        config.write("a", sender("TWO"))
        result = await reloader.reload()
        assert (states(reloader.registry), result.changed) == ({"a": "ok", "b": "ok"}, ("a",))
        assert reloader.healthy


@on_loop
async def test_a_stale_gateway_that_is_mended_as_it_was(config: Configuration) -> None:
    """A file that is put back as it was makes its gateway ok again, with the same version."""
    config.write("a")
    async with running(config) as reloader:
        gateway = reloader.registry.entries["a"].gateway
        config.write("a", BROKEN)
        await reloader.reload()
        config.write("a")
        result = await reloader.reload()
        assert (states(reloader.registry), result.changed) == ({"a": "ok"}, ())
        assert reloader.registry.entries["a"].gateway is gateway


@on_loop
async def test_a_new_broken_file_is_rejected(config: Configuration) -> None:
    """Sends to it are refused as gateway-unavailable with file, line and reason; the daemon starts all the same."""
    config.write("bad", BROKEN)
    config.write("good")
    async with running(config) as reloader:
        assert states(reloader.registry) == {"bad": "rejected", "good": "ok"}
        with pytest.raises(RequestError) as refused:
            reloader.registry.sendable("bad")
        assert refused.value.code == "gateway-unavailable"
        assert "gateways.d/bad.yaml:2:1: error[unknown-key]" in refused.value.detail
        (config.gateways / "bad.yaml").unlink()
        await reloader.reload()
        assert states(reloader.registry) == {"good": "ok"}


@on_loop
async def test_a_disabled_gateway_is_disabled(config: Configuration) -> None:
    """A disabled gateway is `disabled`, also without its secrets; enabled without them it is rejected."""
    secret = "secrets: {password: {file: none}}\n"
    config.write("off", f"{CONSOLE}enabled: false\n{secret}")
    async with running(config) as reloader:
        assert states(reloader.registry) == {"off": "disabled"}
        assert reloader.healthy
        config.write("off", f"{CONSOLE}{secret}")
        result = await reloader.reload()
        assert codes(result) == ["missing-secret"]


@on_loop
async def test_a_disabled_gateway_says_where(config: Configuration) -> None:
    """Sends to it are refused with file, line and reason, also when the line has moved."""
    path = config.write("off", f"{CONSOLE}enabled: false\n")
    async with running(config) as reloader:
        with pytest.raises(RequestError, match=rf"{re.escape(str(path))}:2:1: enabled: false"):
            reloader.registry.sendable("off")
        config.write("off", f"# why\n{CONSOLE}enabled: false\n")
        await reloader.reload()
        with pytest.raises(RequestError, match=rf"{re.escape(str(path))}:3:1: enabled: false"):
            reloader.registry.sendable("off")


@pytest.mark.parametrize("odd", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
@on_loop
async def test_an_odd_file_is_like_a_broken_one(config: Configuration, odd: Callable[[Path], None]) -> None:
    """A FIFO, a dangling link in the place of a file: stale where it served before, rejected where not."""
    path = config.write("old")
    async with running(config) as reloader:
        path.unlink()
        odd(path)
        odd(config.gateways / "new.yaml")
        await reloader.reload()
        assert states(reloader.registry) == {"old": "stale", "new": "rejected"}


@on_loop
async def test_names_that_clash(config: Configuration) -> None:
    """Of two files with one name neither is new; the version that served goes on; removing one mends it."""
    config.write("a", sender("ONE"))
    async with running(config) as reloader:
        other = config.gateways / "a.yml"
        other.write_text(sender("TWO"))
        (config.gateways / "B.yaml").write_text(CONSOLE)
        (config.gateways / "b.yaml").write_text(CONSOLE)
        result = await reloader.reload()
        assert states(reloader.registry) == {"a": "stale", "B": "rejected", "b": "rejected"}
        assert sender_of(reloader.registry, "a") == "ONE"
        assert codes(result) == ["name-clash"] * 4
        (config.gateways / "a.yaml").unlink()
        await reloader.reload()
        assert sender_of(reloader.registry, "a") == "TWO"


@on_loop
async def test_a_name_that_cannot_be_one_is_told(config: Configuration) -> None:
    """A file with an impossible name is a finding of no gateway, and the reload is not a success."""
    config.write("a")
    async with running(config) as reloader:
        config.write("a b")
        assert codes(await reloader.reload()) == ["bad-name"]
        assert (states(reloader.registry), reloader.healthy) == ({"a": "ok"}, False)


@on_loop
async def test_warnings_do_not_make_it_fail(config: Configuration) -> None:
    """A file with warnings only serves, its warnings are told, and the reload is a success."""
    config.write("a", f'{CONSOLE}templates:\n  t: {{text: "Code {{otp}}", vars: {{}}}}\n')
    async with running(config) as reloader:
        assert [problem.severity for problem in reloader.registry.problems] == [Severity.WARNING]
        assert (states(reloader.registry), reloader.healthy) == ({"a": "ok"}, True)


@on_loop
async def test_says_when_all_was_well(config: Configuration) -> None:
    """The time of the last success moves with each reload that finds all well, and stands still while one does not."""
    config.write("a")
    async with running(config) as reloader:
        first = reloader.last_success_at
        assert first > 0
        await reloader.reload()
        second = reloader.last_success_at
        assert second > first
        config.write("a", BROKEN)
        await reloader.reload()
        assert reloader.last_success_at == second


@on_loop
async def test_calls_queue(config: Configuration) -> None:
    """Each of many reloads at once sees what was there when it was called."""
    async with running(config) as reloader:

        async def write_and_reload(name: str) -> bool:
            config.write(name)
            await reloader.reload()
            return name in reloader.registry.entries

        assert all(await asyncio.gather(*(write_and_reload(f"g{number}") for number in range(10))))


@on_loop
async def test_who_subscribes_is_told(config: Configuration, caplog: pytest.LogCaptureFixture) -> None:
    """Every reload that was asked for is told to all subscribers, whatever one of them does."""
    told: list[ReloadResult] = []

    def fail(result: ReloadResult) -> None:
        raise RuntimeError(result.digest)

    async with running(config) as reloader:
        reloader.subscribe(fail)
        reloader.subscribe(told.append)
        result = await reloader.reload()
        assert told == [result]
        assert "unforeseen RuntimeError" in caplog.text
        assert "sha256:" not in caplog.text


@on_loop
async def test_an_unforeseen_fault_is_a_finding(
    config: Configuration, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw while compiling one file is `internal` at that file, by its type, and the others go on."""
    monkeypatch.setitem(sys.modules, "smsgwd.providers.http", None)  # as if a part of the installation were missing
    config.write("a")
    config.write("b", "provider: http\nsettings: {url: 'https://example.com/canary'}\n")
    async with running(config) as reloader:
        assert states(reloader.registry) == {"a": "ok", "b": "rejected"}
        (problem,) = reloader.registry.problems
        assert (problem.code, problem.line, "ModuleNotFoundError" in problem.message) == ("internal", 1, True)
        assert check((), config.root, resolve=True)[0].problems == [problem]  # `smsgwd check` says the same
    assert "canary" not in caplog.text


CANARY = "the text of a fault"


class Stubborn(Gated):
    """A provider that can neither be started nor closed."""

    async def start(self) -> None:
        """Fails."""
        raise RuntimeError(CANARY)

    async def close(self) -> None:
        """Fails."""
        raise RuntimeError(CANARY)


@on_loop
async def test_a_provider_that_fails_to_start_and_to_close(
    config: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    """A version that cannot be started does not serve, one that cannot be closed is let go; neither stops a reload."""
    stubborn = gateway(Stubborn(), "a")
    reloader = Reloader(config.root)
    begun = await reloader._begun(Known("a", State.OK, stubborn))
    assert (begun.state, [problem.code for problem in begun.problems]) == (State.REJECTED, ["internal"])
    await _close_after_use(stubborn)
    assert caplog.text.count("unforeseen RuntimeError") == 2
    assert CANARY not in caplog.text


# ---- being written ----


@on_loop
async def test_a_file_that_is_being_written_is_not_read(config: Configuration) -> None:
    """While somebody has the file open, the last version serves and a warning tells it; half a file is never used."""
    path = config.write("a", sender("ONE"))
    async with running(config) as reloader:
        with path.open("w") as file, (config.gateways / "b.yaml").open("w") as new:
            for piece in ("provider: console\n", "sender: TWO\n"):
                file.write(piece)
                file.flush()
                new.write(piece)
                new.flush()
                result = await reloader.reload()
                assert (states(reloader.registry), sender_of(reloader.registry, "a")) == ({"a": "ok"}, "ONE")
                assert codes(result) == ["being-written"] * 2
            assert reloader.healthy
        await reloader.reload()
        assert (sender_of(reloader.registry, "a"), sender_of(reloader.registry, "b")) == ("TWO", "TWO")


@on_loop
async def test_a_file_that_is_kept_open_holds_nobody_up(config: Configuration) -> None:
    """Another change takes effect while a file is open for writing."""
    path = config.write("a")
    async with running(config) as reloader:
        with path.open("a"):
            config.write("b")
            async with asyncio.timeout(1):
                await reloader.reload()
            assert states(reloader.registry) == {"a": "ok", "b": "ok"}


# ---- directories ----


@on_loop
async def test_a_directory_that_is_gone_keeps_the_last_set(config: Configuration) -> None:
    """Without the directory, or gateways.d in it, everything serves on and that is told; when it returns it counts."""
    config.write("a")
    config.write_site("log: {level: debug}\n")
    async with running(config) as reloader:
        gateway = reloader.registry.entries["a"].gateway
        for gone in (config.gateways, config.root):
            remove_tree(gone)
            result = await reloader.reload()
            assert codes(result) == ["no-such-folder"]
            assert reloader.registry.entries["a"].gateway is gateway
            assert (reloader.registry.config.log.level, reloader.healthy) == ("debug", False)
        config.gateways.mkdir(parents=True)
        config.write("b")
        result = await reloader.reload()
        assert (states(reloader.registry), result.problems) == ({"b": "ok"}, ())
        assert reloader.registry.config.log.level == "info"


@on_loop
async def test_an_empty_directory_removes_all(config: Configuration) -> None:
    """A directory that is there and empty means that there are no gateways any more."""
    config.write("a").parent.joinpath("b.yaml").write_text(CONSOLE)
    async with running(config) as reloader:
        for path in config.gateways.iterdir():
            path.unlink()
        assert (await reloader.reload()).removed == ("a", "b")
        assert reloader.registry.entries == {}


@on_loop
async def test_without_a_directory_it_does_not_start(tmp_path: Path) -> None:
    """A directory that does not exist at the start is an error, unless something was kept."""
    with pytest.raises(ConfigError, match="no-such-folder"):
        await loaded(tmp_path / "none")


# ---- smsgwd.yaml ----


@on_loop
async def test_a_bad_smsgwd_yaml_keeps_the_previous_one(config: Configuration) -> None:
    """Its faults are told, the gateways change all the same, and a mended one takes effect."""
    config.write_site("log: {level: debug}\n")
    async with running(config) as reloader:
        config.write_site("log: {level: lowd}\n")
        config.write("a")
        result = await reloader.reload()
        assert len(result.problems) == 1
        assert (reloader.registry.config.log.level, states(reloader.registry)) == ("debug", {"a": "ok"})
        assert not reloader.healthy
        config.write_site("log: {level: error}\n")
        result = await reloader.reload()
        assert (reloader.registry.config.log.level, result.problems, reloader.healthy) == ("error", (), True)


@on_loop
async def test_smsgwd_yaml_that_is_gone_means_the_defaults(config: Configuration) -> None:
    """Without smsgwd.yaml the defaults hold; unlike a bad one it was taken away on purpose."""
    path = config.write_site("log: {level: debug}\n")
    async with running(config) as reloader:
        generation = reloader.registry.generation
        path.unlink()
        assert (await reloader.reload()).generation == generation + 1
        assert reloader.registry.config.log.level == "info"


@pytest.mark.parametrize("odd", [os.mkfifo, Path.mkdir])
@on_loop
async def test_a_bad_smsgwd_yaml_does_not_start(config: Configuration, odd: Callable[[Path], None]) -> None:
    """At the start there is nothing to go on with: ConfigError with its findings."""
    config.write("a")
    config.write_site("log: {level: lowd}\n")
    with pytest.raises(ConfigError, match=r"smsgwd\.yaml:1:"):
        await loaded(config.root)
    (config.root / "smsgwd.yaml").unlink()
    odd(config.root / "smsgwd.yaml")
    with pytest.raises(ConfigError, match="not-a-file"):
        await loaded(config.root)


# ---- secrets ----


def with_secret(path: Path | str) -> str:
    return f"{CONSOLE}secrets: {{password: {{file: {path}}}}}\n"


@on_loop
async def test_a_rotated_secret_is_a_new_version(config: Configuration) -> None:
    """A secret file with another value makes a new version, with the same digest: the file says the same."""
    secret = config.root / "secret"
    write_secret(secret, "first\n")
    config.write("a", with_secret("secret"))
    config.write("b")
    async with running(config) as reloader:
        before = reloader.registry
        replace_file(secret, b"second\n")
        result = await reloader.reload()
        assert (result.changed, result.digest) == (("a",), before.digest)
        gateway = reloader.registry.sendable("a")
        assert [one.reveal() for one in gateway.secrets] == ["second"]
        assert reloader.registry.entries["b"].gateway is before.entries["b"].gateway


@on_loop
async def test_a_touched_secret_changes_nothing(config: Configuration) -> None:
    """A secret file that was written anew with the same value leaves the gateway alone."""
    secret = config.root / "secret"
    write_secret(secret, "first")
    config.write("a", with_secret("secret"))
    async with running(config) as reloader:
        gateway = reloader.registry.entries["a"].gateway
        replace_file(secret, b"first")
        await reloader.reload()
        assert reloader.registry.entries["a"].gateway is gateway


@on_loop
async def test_a_secret_that_vanishes_makes_it_stale(config: Configuration) -> None:
    """The last value keeps sending; when the secret is back, with another value, that one does."""
    secret = config.root / "secret"
    write_secret(secret, "first")
    config.write("a", with_secret("secret"))
    async with running(config) as reloader:
        secret.unlink()
        result = await reloader.reload()
        assert (states(reloader.registry), codes(result)) == ({"a": "stale"}, ["missing-secret"])
        assert [one.reveal() for one in reloader.registry.sendable("a").secrets] == ["first"]
        write_secret(secret, "second")
        await reloader.reload()
        assert states(reloader.registry) == {"a": "ok"}
        assert [one.reveal() for one in reloader.registry.sendable("a").secrets] == ["second"]


@on_loop
async def test_a_secret_that_comes_late(config: Configuration) -> None:
    """A gateway that was rejected because its secret was missing serves when it is there."""
    config.write("a", with_secret("secret"))
    async with running(config) as reloader:
        assert states(reloader.registry) == {"a": "rejected"}
        write_secret(config.root / "secret", "value")
        await reloader.reload()
        assert states(reloader.registry) == {"a": "ok"}


@on_loop
async def test_half_a_secret_is_not_used(config: Configuration) -> None:
    """A secret file that is being written in place is not read before it is closed."""
    secret = config.root / "secret"
    write_secret(secret, "first")
    config.write("a", with_secret("secret"))
    async with running(config) as reloader:
        await reloader.reload()
        with secret.open("w") as file:
            file.write("sec")
            file.flush()
            await reloader.reload()
            assert [one.reveal() for one in reloader.registry.sendable("a").secrets] == ["first"]
            file.write("ond")
        await reloader.reload()
        assert [one.reveal() for one in reloader.registry.sendable("a").secrets] == ["second"]


@on_loop
async def test_secrets_of_smsgwd_yaml(config: Configuration) -> None:
    """A secret of smsgwd.yaml that vanishes makes the gateways that use it stale; when it is back, they are well."""
    secret = config.root / "mail"
    write_secret(secret, "first")
    server = "{host: 127.0.0.1, username: sms, password: '{{ secrets.mail }}', from: a@example.com}"
    config.write_site(f"secrets: {{mail: {{file: mail}}}}\nsmtp_servers: {{corp: {server}}}\n")
    config.write("central", "provider: smtp\nsettings: {server: corp, mail_to: sms@example.com}\n")
    config.write("other", "provider: console\n")
    async with running(config) as reloader:
        first = reloader.registry.sendable("central")
        secret.unlink()
        assert set(codes(await reloader.reload())) == {"missing-secret"}
        states = {name: entry.state for name, entry in reloader.registry.entries.items()}
        assert states == {"central": State.STALE, "other": State.OK}
        assert reloader.registry.sendable("central") is first
        assert not reloader.healthy
        write_secret(secret, "second")
        assert (await reloader.reload()).problems == ()
        assert reloader.registry.entries["central"].state is State.OK
        assert reloader.registry.sendable("central") is not first


@on_loop
async def test_a_gateway_minds_its_own_mail_server_alone(config: Configuration) -> None:
    """A gateway is built anew when its server of smsgwd.yaml or that one's secret changes, not for any other."""
    write_secret(config.root / "mail", "first")
    write_secret(config.root / "other", "first")
    server = "{host: 127.0.0.1, username: sms, password: '{{ secrets.%s }}', from: %s@example.com}"
    site = "secrets: {mail: {file: mail}, other: {file: other}}\nsmtp_servers:\n  corp: %s\n  two: %s\n"
    config.write_site(site % (server % ("mail", "a"), server % ("other", "b")))
    smtp = "provider: smtp\nsettings: {server: %s, mail_to: sms@example.com}\n"
    config.write("central", smtp % "corp")
    config.write("inline", smtp % "{host: 127.0.0.1, from: a@example.com}")
    async with running(config) as reloader:
        before = [reloader.registry.sendable(name) for name in ("central", "inline")]
        (config.root / "other").write_text("second")
        config.write_site(site % (server % ("mail", "a"), server % ("other", "c")))
        await reloader.reload()
        after = [reloader.registry.sendable(name) for name in ("central", "inline")]
        assert [one is other for one, other in zip(before, after, strict=True)] == [True, True]
        (config.root / "mail").write_text("second")
        await reloader.reload()
        rotated = [reloader.registry.sendable(name) for name in ("central", "inline")]
        assert [one is other for one, other in zip(after, rotated, strict=True)] == [False, True]
        config.write_site(site % (server % ("mail", "x"), server % ("other", "c")))
        await reloader.reload()
        assert reloader.registry.sendable("central") is not rotated[0]


# ---- restarts ----


@on_loop
async def test_a_restart_over_a_broken_file_is_stale(config: Configuration, state: Path) -> None:
    """With a state directory the last version that compiled serves after a restart, also over later changes."""
    config.write("a", sender("ONE"))
    config.write("gone")
    async with running(config, state) as reloader:
        config.write("a", sender("TWO"))
        await reloader.reload()
        config.write("a", BROKEN)
        await reloader.reload()
    (config.gateways / "gone.yaml").unlink()
    config.write("new", BROKEN)
    for _ in range(2):
        async with running(config, state) as reloader:
            assert states(reloader.registry) == {"a": "stale", "new": "rejected"}
            assert sender_of(reloader.registry, "a") == "TWO"
            assert {problem.code for problem in reloader.registry.problems} == {"unknown-key"}
    async with running(config) as reloader:
        assert states(reloader.registry) == {"a": "rejected", "new": "rejected"}


@on_loop
async def test_a_deleted_file_does_not_come_back(config: Configuration, state: Path) -> None:
    """A gateway that was removed while the daemon ran, or while it did not, is unknown after a restart."""
    for name in ("early", "late", "stays"):
        config.write(name)
    async with running(config, state) as reloader:
        (config.gateways / "early.yaml").unlink()
        await reloader.reload()
    (config.gateways / "late.yaml").unlink()
    async with running(config, state) as reloader:
        assert states(reloader.registry) == {"stays": "ok"}
    config.write("early", BROKEN)
    config.write("late", BROKEN)
    async with running(config, state) as reloader:
        assert states(reloader.registry) == {"early": "rejected", "late": "rejected", "stays": "ok"}


@on_loop
async def test_a_restart_over_a_half_written_file(config: Configuration, state: Path) -> None:
    """A file that is still open for writing at the start does not hide the version that was kept."""
    path = config.write("a", sender("ONE"))
    async with running(config, state):
        pass
    with path.open("w") as file:
        file.write(CONSOLE)
        file.flush()
        reloader = await loaded(config.root, state=state)
        assert (states(reloader.registry), sender_of(reloader.registry, "a")) == ({"a": "stale"}, "ONE")
        file.write("sender: ONE\n")
    await reloader.reload()
    assert states(reloader.registry) == {"a": "ok"}
    await reloader.close()


@on_loop
async def test_a_restart_over_a_bad_smsgwd_yaml(config: Configuration, state: Path) -> None:
    """The kept smsgwd.yaml serves, with the faults of the present one; one that was removed does not come back."""
    path = config.write_site("log: {level: debug}\n")
    async with running(config, state):
        config.write_site("log: {level: lowd}\n")
    for _ in range(2):
        async with running(config, state) as reloader:
            assert (reloader.registry.config.log.level, reloader.healthy) == ("debug", False)
    path.unlink()
    async with running(config, state) as reloader:
        assert reloader.registry.config.log.level == "info"
    config.write_site("log: {level: lowd}\n")
    with pytest.raises(ConfigError):
        await loaded(config.root, state=state)


@on_loop
async def test_a_restart_without_the_directory(config: Configuration, state: Path) -> None:
    """The kept set serves until the directory returns; a file that did not return with it is gone."""
    config.write("a")
    config.write("b")
    config.write_site("log: {level: debug}\n")
    async with running(config, state):
        pass
    remove_tree(config.root)
    async with running(config, state) as reloader:
        assert (states(reloader.registry), reloader.registry.config.log.level) == ({"a": "ok", "b": "ok"}, "debug")
        assert [problem.code for problem in reloader.registry.problems] == ["no-such-folder"]
        Configuration(config.root).write("a")
        await reloader.reload()
        assert (states(reloader.registry), reloader.registry.problems) == ({"a": "ok"}, ())


@on_loop
async def test_no_secret_is_kept(config: Configuration, state: Path) -> None:
    """The state directory never holds the value of a secret, and its files are for their user only."""
    write_secret(config.root / "secret", "canary-4711")
    config.write("a", with_secret("secret"))
    config.write_site("secrets: {mail: {file: secret}}\n")
    async with running(config, state):
        pass
    (file,) = state.iterdir()  # noqa: ASYNC240 - a test waits for its disk
    assert b"canary-4711" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"\x00" * 4096, b'{"gateways": {"a": 1}}'])
@on_loop
async def test_damaged_state_is_a_warning(
    config: Configuration, state: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What was kept and is damaged is not used, is told in the log, and is replaced by what serves now."""
    config.write("a")
    async with running(config, state):
        pass
    (state / "kept.json").write_bytes(damage)
    async with running(config, state) as reloader:
        assert states(reloader.registry) == {"a": "ok"}
    assert "kept.json is damaged" in caplog.text
    config.write("a", BROKEN)
    async with running(config, state) as reloader:
        assert states(reloader.registry) == {"a": "stale"}


@on_loop
async def test_a_state_directory_that_cannot_be_written(config: Configuration, tmp_path: Path) -> None:
    """That nothing can be kept is a warning; the service goes on, and a later reload tries again."""
    config.write("a")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    async with running(config, blocked / "state") as reloader:
        assert [(problem.code, problem.severity) for problem in reloader.registry.problems] == [
            ("not-kept", Severity.WARNING)
        ]
        assert (states(reloader.registry), reloader.healthy) == ({"a": "ok"}, True)
        blocked.unlink()
        assert (await reloader.reload()).problems == ()
    config.write("a", BROKEN)
    async with running(config, blocked / "state") as reloader:
        assert reloader.registry.entries["a"].state is State.STALE
