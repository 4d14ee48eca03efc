"""tokens.d under the daemon: what is right takes effect, what is not leaves the token that served."""

import asyncio
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from command import spawn
from daemon_process import daemon
from reloading import Configuration, followed, loaded, on_loop
from socket_client import Response, call
from swaps import remove_tree, replace_file, swap_link, update_volume
from token_files import CONSOLE, HASH, NUMBER, OTHER_HASH, PIN, VALUE, configured, leaked, token

from smsgwd.registry import Registry
from smsgwd.reload import Names

BROKEN = token(pin=PIN)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configured(tmp_path / "etc", {"alice": token()})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def write(config: Path, name: str, text: str) -> None:
    replace_file(config / "tokens.d" / f"{name}.yaml", text.encode())


def answer(path: Path, method: str, target: str) -> Response:
    return asyncio.run(call(path, method, target))


def states(registry: Registry) -> dict[str, str]:
    return {name: str(entry.state) for name, entry in registry.tokens.items()}


def codes(registry: Registry) -> list[str]:
    return [problem.code for problem in registry.problems]


def digits_of(registry: Registry, user: str = "alice") -> int | None:
    """How many digits the token has that serves for a user; None without one."""
    found = registry.token_of(user)
    return None if found is None else found.digits


def gives(digits: int | None) -> Callable[[Registry], bool]:
    return lambda registry: digits_of(registry) == digits


# --- one after the other


@on_loop
async def test_tokens_come_change_and_go(config: Path) -> None:
    """A reload tells the files of tokens that serve now, in another version, or no more; each is a new generation."""
    reloader = await loaded(config)
    first = reloader.registry
    assert (states(first), first.problems, reloader.healthy) == ({"alice": "ok"}, (), True)
    write(config, "bob", token("bob"))
    added = await reloader.reload()
    assert (added.tokens, added.generation) == (Names(added=("bob",)), first.generation + 1)
    assert added.digest == reloader.registry.digest != first.digest
    write(config, "alice", token(more="digits: 8\n"))
    assert (await reloader.reload()).tokens == Names(changed=("alice",))
    (config / "tokens.d" / "bob.yaml").unlink()
    removed = await reloader.reload()
    assert (removed.tokens, reloader.registry.token_of("bob")) == (Names(removed=("bob",)), None)
    assert removed.as_dict()["tokens"] == {"added": [], "changed": [], "removed": ["bob"]}
    await reloader.close()


@on_loop
async def test_what_changes_nothing(config: Path) -> None:
    """A comment is no change, but what is found later stands where the file has it then."""
    reloader = await loaded(config)
    write(config, "alice", "# hers\n\n" + token())
    result = await reloader.reload()
    assert (result.tokens, result.generation) == (Names(), 1)
    (config / "gateways.d" / "console.yaml").rename(config / "gateways.d" / "other.yaml")
    (problem,) = (await reloader.reload()).problems
    assert (problem.code, problem.line, problem.hint) == ("unknown-gateway", 5, "gateways.d has no file of this name")
    await reloader.close()


@on_loop
async def test_a_broken_file_is_stale(config: Path, state: Path) -> None:
    """The token that served goes on, also over restarts; mended, the new one serves; a new broken file is rejected."""
    reloader = await loaded(config, state=state)
    write(config, "alice", BROKEN)
    write(config, "bob", token("bob", pin=PIN))
    result = await reloader.reload()
    assert states(reloader.registry) == {"alice": "stale", "bob": "rejected"}
    assert (result.tokens, codes(reloader.registry), reloader.healthy) == (Names(), ["clear-pin"] * 2, False)
    assert (digits_of(reloader.registry), digits_of(reloader.registry, "bob")) == (6, None)
    await reloader.close()
    for _ in range(2):
        reloader = await loaded(config, state=state)
        assert (states(reloader.registry), digits_of(reloader.registry)) == ({"alice": "stale", "bob": "rejected"}, 6)
        await reloader.close()
    reloader = await loaded(config)
    assert states(reloader.registry) == {"alice": "rejected", "bob": "rejected"}
    write(config, "alice", token(more="digits: 8\n"))
    (config / "tokens.d" / "bob.yaml").unlink()
    await reloader.reload()
    assert (states(reloader.registry), digits_of(reloader.registry), reloader.healthy) == ({"alice": "ok"}, 8, True)
    await reloader.close()


@on_loop
async def test_a_deleted_token_does_not_come_back(config: Path, state: Path) -> None:
    """A file that is gone takes its token with it, at once and after a restart; so does one deleted meanwhile."""
    write(config, "bob", token("bob"))
    reloader = await loaded(config, state=state)
    (config / "tokens.d" / "alice.yaml").unlink()
    await reloader.reload()
    assert states(reloader.registry) == {"bob": "ok"}
    await reloader.close()
    (config / "tokens.d" / "bob.yaml").unlink()
    reloader = await loaded(config, state=state)
    assert (states(reloader.registry), reloader.registry.problems) == ({}, ())
    await reloader.close()


@on_loop
async def test_the_folder_that_vanishes(config: Path, state: Path) -> None:
    """Without tokens.d the last set goes on, also over a restart, and that is told; an empty one takes all away."""
    reloader = await loaded(config, state=state)
    remove_tree(config / "tokens.d")
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == ({"alice": "ok"}, ["no-such-folder"])
    assert not reloader.healthy
    await reloader.close()
    reloader = await loaded(config, state=state)
    assert (states(reloader.registry), codes(reloader.registry)) == ({"alice": "ok"}, ["no-such-folder"])
    (config / "tokens.d").mkdir()
    (config / "tokens.d" / ".gitkeep").touch()
    result = await reloader.reload()
    assert (states(reloader.registry), result.problems) == ({}, ())
    await reloader.close()


@on_loop
async def test_a_configuration_without_tokens(tmp_path: Path) -> None:
    """tokens.d need not be there: nothing is found wrong, and one that comes later is followed."""
    Configuration(tmp_path / "etc").write("console", CONSOLE)
    reloader = await loaded(tmp_path / "etc")
    digest = reloader.registry.digest
    assert (reloader.registry.problems, reloader.registry.token_counts()["ok"]) == ((), 0)
    configured(tmp_path / "etc", {"alice": token()})
    assert (await reloader.reload()).digest != digest
    assert states(reloader.registry) == {"alice": "ok"}
    await reloader.close()


# --- among other files


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (token(gateway="consol"), "unknown-gateway"),
        (token(more="template: logn\n"), "unknown-template"),
        (token(more="template: alert\n"), "unusable-template"),
        (token(phone="0170"), "bad-number"),
    ],
)
@on_loop
async def test_a_token_that_cannot_send_is_stale(config: Path, state: Path, text: str, code: str) -> None:
    """What is wrong among other files is as wrong as what is wrong in the file: the token that served goes on."""
    reloader = await loaded(config, state=state)
    write(config, "alice", text + "digits: 8\n")
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == ({"alice": "stale"}, [code])
    assert digits_of(reloader.registry) == 6
    again = await reloader.reload()
    assert ([problem.code for problem in again.problems], again.tokens) == ([code], Names())
    await reloader.close()
    reloader = await loaded(config, state=state)
    assert (states(reloader.registry), digits_of(reloader.registry)) == ({"alice": "stale"}, 6)
    await reloader.close()


@on_loop
async def test_a_gateway_that_goes_and_comes(config: Path) -> None:
    """When its gateway goes, a token is stale and told; when it comes back, it is right again by itself."""
    reloader = await loaded(config)
    path = config / "gateways.d" / "console.yaml"
    (config / "gateways.d" / "other.yaml").write_text(CONSOLE)
    path.unlink()
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == ({"alice": "stale"}, ["unknown-gateway"])
    path.write_text(CONSOLE + "enabled: false\n")
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == ({"alice": "ok"}, ["unavailable-gateway"])
    assert reloader.healthy
    path.write_text(CONSOLE)
    assert (await reloader.reload()).problems == ()
    await reloader.close()


@on_loop
async def test_a_second_file_for_one_user(config: Path) -> None:
    """Neither file takes effect beside the other; the token that served goes on until one of them is gone."""
    reloader = await loaded(config)
    write(config, "alice", token(more="digits: 8\n"))
    write(config, "also", token("Alice", more="digits: 9\n"))
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == (
        {"alice": "stale", "also": "rejected"},
        ["duplicate-user"] * 2,
    )
    assert (digits_of(reloader.registry), digits_of(reloader.registry, "Alice")) == (6, None)
    assert (await reloader.reload()).generation == reloader.registry.generation
    assert states(reloader.registry) == {"alice": "stale", "also": "rejected"}
    (config / "tokens.d" / "alice.yaml").unlink()
    await reloader.reload()
    assert (digits_of(reloader.registry), digits_of(reloader.registry, "Alice")) == (None, 9)
    await reloader.close()


@on_loop
async def test_users_that_change_files(config: Path) -> None:
    """Two files whose users change places in one look take effect, both."""
    write(config, "bob", token("bob", more="digits: 9\n"))
    reloader = await loaded(config)
    write(config, "alice", token("bob"))
    write(config, "bob", token("alice", more="digits: 9\n"))
    await reloader.reload()
    assert (digits_of(reloader.registry, "alice"), digits_of(reloader.registry, "bob")) == (9, 6)
    assert reloader.registry.problems == ()
    await reloader.close()


@on_loop
async def test_a_disabled_token(config: Path) -> None:
    """It is found by its user, and says that it is not to be used."""
    write(config, "alice", token(more="enabled: false\n"))
    reloader = await loaded(config)
    found = reloader.registry.token_of("alice")
    assert found is not None
    assert (found.enabled, states(reloader.registry), reloader.healthy) == (False, {"alice": "disabled"}, True)
    await reloader.close()


# --- by itself


@pytest.mark.parametrize("write_how", ["in place", "renamed over"])
@on_loop
async def test_a_change_takes_effect_by_itself(config: Path, write_how: str) -> None:
    """Whatever way a token file is written, and when tokens.d is another one by then, it is followed."""
    async with followed(config) as found:
        path = config / "tokens.d" / "alice.yaml"
        text = token(more="digits: 8\n")
        await asyncio.to_thread(path.write_text, text) if write_how == "in place" else replace_file(path, text.encode())
        await found.until(gives(8))
        remove_tree(config / "tokens.d")
        await found.until(lambda registry: "no-such-folder" in codes(registry))
        configured(config, {"alice": token(more="digits: 9\n")})
        await found.until(gives(9))
        path.unlink()
        await found.until(gives(None))


@on_loop
async def test_a_file_that_is_still_written(config: Path) -> None:
    """Half a file is never read: while it is open the token that served goes on, and the file is told of."""
    async with followed(config) as found:
        with (config / "tokens.d" / "alice.yaml").open("w") as file:
            file.write(token())
            file.flush()
            await found.until(lambda registry: "being-written" in codes(registry))
            assert digits_of(found.reloader.registry) == 6
            file.write("digits: 8\n")
        await found.until(gives(8))


@on_loop
async def test_a_kubernetes_volume(tmp_path: Path) -> None:
    """Gateways and tokens of a ConfigMap are swapped at once: no look sees a token without its gateway."""
    one = {"gateways.d/a.yaml": CONSOLE.encode(), "tokens.d/alice.yaml": token(gateway="a").encode()}
    two = {
        "gateways.d/b.yaml": CONSOLE.encode(),
        "tokens.d/alice.yaml": token(gateway="b", more="digits: 8\n").encode(),
    }
    volume = tmp_path / "etc"
    volume.mkdir()
    update_volume(volume, one)
    async with followed(volume) as found:
        for files, digits in ((two, 8), (one, 6), (two, 8)):
            update_volume(volume, files)
            await found.until(gives(digits))
        assert all(not result.problems for result in found.results)


@on_loop
async def test_a_volume_of_tokens_alone(tmp_path: Path) -> None:
    """tokens.d may be a volume of its own (a Secret); when it is swapped, each look is of one revision."""
    etc = configured(tmp_path, {})
    volume = etc / "tokens.d"
    update_volume(volume, {"alice.yaml": token().encode(), "bob.yaml": token("bob").encode()})
    async with followed(etc) as found:
        assert states(found.reloader.registry) == {"alice": "ok", "bob": "ok"}
        update_volume(volume, {"alice.yaml": token("bob").encode(), "carol.yaml": token().encode()})
        await found.until(lambda registry: states(registry) == {"alice": "ok", "carol": "ok"})
        assert all(not result.problems for result in found.results)


@on_loop
async def test_a_swapped_link(tmp_path: Path) -> None:
    """A checkout that is swapped under its link, as git-sync does, is followed into its tokens."""
    one = configured(tmp_path / "one", {"alice": token()})
    two = configured(tmp_path / "two", {"alice": token(more="digits: 8\n")})
    swap_link(tmp_path / "now", one)
    async with followed(tmp_path / "now") as found:
        for target, digits in ((two, 8), (one, 6)):
            swap_link(tmp_path / "now", target)
            await found.until(gives(digits))


@on_loop
async def test_odd_files(config: Path) -> None:
    """A FIFO or a dangling link in the place of a token leaves the one that served."""
    reloader = await loaded(config)
    path = config / "tokens.d" / "alice.yaml"
    path.unlink()
    os.mkfifo(path)
    (config / "tokens.d" / "bob.yaml").symlink_to("nowhere")
    await reloader.reload()
    assert (states(reloader.registry), codes(reloader.registry)) == (
        {"alice": "stale", "bob": "rejected"},
        ["not-a-file", "dangling-link"],
    )
    await reloader.close()


# --- the daemon as a process


def test_the_daemon_gives_nothing_away(tmp_path: Path) -> None:
    """Through good, broken and clashing tokens: no answer, metric or log at debug holds number, PIN or hash."""
    config, state = configured(tmp_path / "etc", {"alice": token(), "bad": BROKEN}), tmp_path / "state"
    (config / "smsgwd.yaml").write_text("log: {level: debug, privacy: false}\n")
    with daemon(config, "--state", str(state)) as running:
        running.ready()
        told = []
        for name, text in {
            "alice": token(pin=OTHER_HASH),
            "bob": token("alice"),
            "carol": token("carol", phone="0170"),
            "dave": token("dave", gateway="nowhere"),
            "eve": f"{NUMBER}: {HASH}\n",
        }.items():
            write(config, name, text)
            told += [answer(running.path, "POST", "/v1/reload"), answer(running.path, "GET", "/v1/status")]
        running.reload()
        status = answer(running.path, "GET", "/v1/status").json()
        metrics = answer(running.path, "GET", "/metrics").body.decode()
        assert status["tokens"] == {"ok": 0, "stale": 1, "rejected": 5, "disabled": 0}
        assert {problem["code"] for problem in status["problems"]} >= {"clear-pin", "duplicate-user", "bad-number"}
        assert 'smsgwd_tokens{state="rejected"} 5.0' in metrics
        assert "smsgwd_config_last_reload_successful 0.0" in metrics
        assert "alice" not in metrics
        assert running.stop(signal.SIGTERM) == 0
        everything = running.printed() + metrics + "".join(one.body.decode() for one in told)
        assert leaked(everything) == []
    assert stat.S_IMODE((state / "kept.json").stat().st_mode) == 0o600
    assert VALUE in (state / "kept.json").read_text()


def test_expect_waits_for_tokens(tmp_path: Path) -> None:
    """The digest that `smsgwd compile` writes is the one that the daemon serves, tokens included."""
    config = configured(tmp_path, {"alice": token(), "bob": token("bob")})
    with daemon(config) as running:
        running.ready()
        write(config, "bob", token("bob", pin=OTHER_HASH))
        digest = json.loads(spawn("compile", "--config", str(config)).out)["digest"]
        done = spawn("reload", "--socket", str(running.path), "--wait", "--expect", digest)
        assert (done.code, done.out.splitlines()[1].startswith(f"digest {digest}")) == (0, True)
        shown = spawn("status", "--socket", str(running.path)).out
        assert "\ntokens: 2 ok\n" in shown
