"""A directory that others change under the daemon: real swaps, renames and writes, and what follows by itself."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from nobody import as_nobody, open_folder
from reloading import BROKEN, CONSOLE, PATIENCE_S, Configuration, followed, loaded, on_loop, sender_of, states
from secret_file import write_secret
from swaps import remove_tree, replace_file, swap_link, update_volume

from smsgwd.message import SendRequest
from smsgwd.outcome import Kind, Outcome
from smsgwd.registry import Gateway, Registry
from smsgwd.reload import Reloader
from smsgwd.sender import send


def sender(name: str) -> str:
    return f"{CONSOLE}sender: {name}\n"


def serves(name: str) -> Callable[[Registry], bool]:
    """Whether gateway `a` has this sender."""
    return lambda registry: sender_of(registry, "a") == name


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path / "etc")


# ---- ways to change a file ----


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    replace_file(path, text.encode())


def save_as_vim_does(path: Path, text: str) -> None:
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)
    path.with_name(path.name + "~").unlink()


def remove_and_create(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def copy_with_old_times(path: Path, text: str) -> None:
    other = path.parent.parent / "other"
    other.write_text(text)
    os.utime(other, (1, 1))
    shutil.copy2(other, path)


def link_to_another(path: Path, text: str) -> None:
    other = path.parent.parent / "available.yaml"
    other.write_text(text)
    swap_link(path, other)


WAYS = [write_in_place, rename_over, save_as_vim_does, remove_and_create, copy_with_old_times, link_to_another]


@pytest.mark.parametrize("change", WAYS)
@on_loop
async def test_a_change_takes_effect_by_itself(config: Configuration, change: Callable[[Path, str], None]) -> None:
    """However a file is changed, its new content serves soon, and the gateway was never gone in between."""
    path = config.write("a", sender("ONE"))
    async with followed(config.root) as found:
        change(path, sender("TWO"))
        registry = await found.until(lambda registry: sender_of(registry, "a") != "ONE")
        assert sender_of(registry, "a") == "TWO"
        change(path, sender("THREE"))
        registry = await found.until(lambda registry: sender_of(registry, "a") != "TWO")
        assert sender_of(registry, "a") == "THREE"
        assert all(result.removed == () for result in found.results)


@on_loop
async def test_files_come_and_go(config: Configuration) -> None:
    """A new file is a new gateway; a file that is deleted, or moved away, takes its gateway with it."""
    config.write("a")
    async with followed(config.root) as found:
        config.write("b")
        await found.until(lambda registry: states(registry) == {"a": "ok", "b": "ok"})
        (config.gateways / "a.yaml").unlink()
        await found.until(lambda registry: states(registry) == {"b": "ok"})
        (config.gateways / "b.yaml").rename(config.root / "elsewhere.yaml")
        await found.until(lambda registry: states(registry) == {})


@on_loop
async def test_a_broken_file_by_itself(config: Configuration) -> None:
    """A file that is broken by an edit is stale without being asked, and ok again when it is mended."""
    path = config.write("a")
    async with followed(config.root) as found:
        rename_over(path, BROKEN)
        await found.until(lambda registry: states(registry) == {"a": "stale"})
        rename_over(path, CONSOLE)
        await found.until(lambda registry: states(registry) == {"a": "ok"})


@on_loop
async def test_smsgwd_yaml_by_itself(config: Configuration) -> None:
    """smsgwd.yaml is followed as the gateway files are."""
    async with followed(config.root) as found:
        path = config.write_site("log: {level: debug}\n")
        await found.until(lambda registry: registry.config.log.level == "debug")
        rename_over(path, "log: {level: error}\n")
        await found.until(lambda registry: registry.config.log.level == "error")
        path.unlink()
        await found.until(lambda registry: registry.config.log.level == "info")


@on_loop
async def test_a_slow_writer(config: Configuration) -> None:
    """A file that is written in place, in pieces and with pauses, counts when it is closed, and no piece before."""
    path = config.write("a", sender("ONE"))
    async with followed(config.root) as found:
        with path.open("w") as file:
            for piece in (CONSOLE, "sender: TWO\n", "max_segments: 2\n"):
                file.write(piece)
                file.flush()
                await found.reloader.reload()
                assert sender_of(found.reloader.registry, "a") == "ONE"
        registry = await found.until(serves("TWO"))
        gateway = registry.entries["a"].gateway
        assert isinstance(gateway, Gateway)
        assert gateway.max_segments == 2
        assert [result.changed for result in found.results if result.changed] == [("a",)]


@on_loop
async def test_a_slow_writer_of_files_that_are_not_ours() -> None:
    """Where the kernel does not tell who has a file open, a write without a close holds it back just as well."""
    with open_folder() as folder:
        config = Configuration(folder)
        path = config.write("a", sender("ONE"))
        with path.open("r+") as file, as_nobody():
            async with followed(config.root) as found:
                file.truncate(0)
                for piece in (CONSOLE, "sender: TWO\n", "max_segments: 2\n"):
                    file.write(piece)
                    file.flush()
                    await found.until(lambda registry: any(one.code == "being-written" for one in registry.problems))
                    await found.reloader.reload()
                    assert sender_of(found.reloader.registry, "a") == "ONE"
                file.close()
                registry = await found.until(serves("TWO"))
                assert registry.problems == ()


# ---- ways to change all of them ----


@on_loop
async def test_a_config_map_volume(config: Configuration) -> None:
    """gateways.d as a ConfigMap volume: every update is one step, with gateways that come, change and go."""
    update_volume(config.gateways, {"a.yaml": sender("ONE").encode(), "b.yaml": CONSOLE.encode()})
    async with followed(config.root) as found:
        gateway = found.reloader.registry.entries["b"].gateway
        for name in ("TWO", "THREE"):
            update_volume(config.gateways, {"a.yaml": sender(name).encode(), "b.yaml": CONSOLE.encode()})
            registry = await found.until(serves(name))
            assert registry.entries["b"].gateway is gateway
        update_volume(config.gateways, {"c.yaml": CONSOLE.encode()})
        await found.until(lambda registry: states(registry) == {"c": "ok"})
        assert [(one.added, one.changed, one.removed) for one in found.results] == [
            ((), ("a",), ()),
            ((), ("a",), ()),
            (("c",), (), ("a", "b")),
        ]
        assert all(result.problems == () for result in found.results)


@on_loop
async def test_a_volume_with_everything(tmp_path: Path) -> None:
    """The configuration directory as one volume, smsgwd.yaml and gateways.d in it."""
    root = tmp_path / "etc"
    root.mkdir()
    update_volume(root, {"smsgwd.yaml": b"log: {level: debug}\n", "gateways.d/a.yaml": sender("ONE").encode()})
    async with followed(root) as found:
        update_volume(root, {"smsgwd.yaml": b"log: {level: error}\n", "gateways.d/a.yaml": sender("TWO").encode()})
        registry = await found.until(serves("TWO"))
        assert registry.config.log.level == "error"
        assert len(found.results) == 1


@pytest.mark.parametrize("level", ["", "gateways.d"])
@on_loop
async def test_a_swapped_link(tmp_path: Path, level: str) -> None:
    """A directory that is a link, as git-sync makes it, is followed through every swap; old revisions are removed."""
    link = tmp_path / "etc" / level if level else tmp_path / "etc"
    link.parent.mkdir(exist_ok=True)
    old = None
    for number in range(4):
        revision = Configuration(tmp_path / "revisions" / str(number))
        revision.write("a", sender(f"N{number}"))
        swap_link(link, revision.gateways if level else revision.root)
        if old is None:
            reloading = followed(tmp_path / "etc")
            found = await reloading.__aenter__()
        else:
            remove_tree(old)
        await found.until(serves(f"N{number}"))
        old = revision.root
    assert all(result.removed == () for result in found.results)
    (revision.gateways / "b.yaml").write_text(CONSOLE)
    await found.until(lambda registry: states(registry) == {"a": "ok", "b": "ok"})
    await reloading.__aexit__(None, None, None)


@pytest.mark.parametrize("level", ["", "gateways.d"])
@on_loop
async def test_a_directory_that_is_removed_and_comes_back(config: Configuration, level: str) -> None:
    """Without its directory everything serves on; the directory that returns is followed as the first was."""
    config.write("a", sender("ONE"))
    async with followed(config.root) as found:
        remove_tree(config.root / level)
        registry = await found.until(lambda registry: any(one.code == "no-such-folder" for one in registry.problems))
        assert sender_of(registry, "a") == "ONE"
        Configuration(config.root).write("a", sender("TWO"))
        registry = await found.until(serves("TWO"))
        rename_over(config.gateways / "a.yaml", sender("THREE"))
        registry = await found.until(serves("THREE"))
        assert registry.problems == ()
        assert all(result.removed == () for result in found.results)


@on_loop
async def test_a_git_checkout(config: Configuration) -> None:
    """200 files changed by a real `git checkout` take effect, none of them half, and no gateway twice."""
    for number in range(200):
        config.write(f"g{number}", sender("ONE"))

    def git(*words: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *author, *words], cwd=config.root, check=True, capture_output=True)

    git("init", "-q", "-b", "one")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    git("checkout", "-q", "-b", "two")
    for number in range(0, 200, 2):
        config.write(f"g{number}", sender("TWO"))
        (config.gateways / f"g{number + 1}.yaml").unlink()
    git("commit", "-q", "-a", "-m", "two")
    async with followed(config.root) as found:
        await asyncio.to_thread(git, "checkout", "-q", "one")
        await found.until(lambda registry: len(registry.entries) == 200)
        await found.until(lambda _: sum(len(one.changed) for one in found.results) == 100)
        assert {sender_of(found.reloader.registry, f"g{number}") for number in range(200)} == {"ONE"}
        assert sum(len(one.added) for one in found.results) == 100
        assert all(one.problems == () for one in found.results)


@on_loop
async def test_a_rotated_secret_by_itself(config: Configuration, tmp_path: Path) -> None:
    """Secret files are watched: in a Secret volume, and a plain one that vanishes and comes back."""
    (tmp_path / "volume").mkdir()
    update_volume(tmp_path / "volume", {"token": b"first-token"})
    plain = tmp_path / "plain"
    write_secret(plain, "first-plain")
    config.write("a", f"{CONSOLE}secrets: {{one: {{file: {tmp_path / 'volume' / 'token'}}}}}\n")
    config.write("b", f"{CONSOLE}secrets: {{one: {{file: {plain}}}}}\n")

    def value(reloader: Reloader, name: str) -> str:
        return reloader.registry.sendable(name).secrets[0].reveal()

    async with followed(config.root) as found:
        update_volume(tmp_path / "volume", {"token": b"second-token"})
        await found.until(lambda _: value(found.reloader, "a") == "second-token")
        plain.unlink()
        await found.until(lambda registry: states(registry) == {"a": "ok", "b": "stale"})
        assert value(found.reloader, "b") == "first-plain"
        write_secret(plain, "second-plain")
        await found.until(lambda registry: states(registry) == {"a": "ok", "b": "ok"})
        assert value(found.reloader, "b") == "second-plain"


@on_loop
async def test_what_inotify_does_not_see(config: Configuration) -> None:
    """A change without an event, as on NFS, is found by looking again: here through a hard link elsewhere."""
    path = config.write("a", sender("ONE"))
    other = config.root.parent / "hard-link"
    other.hardlink_to(path)
    async with followed(config.root, rescan_s=0.3) as found:
        other.write_text(sender("TWO"))
        await found.until(serves("TWO"))


@on_loop
async def test_folders_that_cannot_be_watched() -> None:
    """Where a folder may be entered but not watched, looking again every moment finds what no event tells."""
    with open_folder() as folder:
        config = Configuration(folder / "etc")
        other = folder / "hard-link"
        other.hardlink_to(config.write("a", sender("ONE")))
        folder.chmod(0o311)
        try:
            with other.open("r+") as file, as_nobody():
                async with followed(config.root) as found:
                    file.write(sender("TWO"))
                    file.close()
                    await found.until(serves("TWO"))
        finally:
            folder.chmod(0o755)


# ---- versions and their connections ----


class SlowService:
    """An HTTP service that keeps connections, counts them, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.connections = 0
        self.open = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.open += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked.set()
                await self.answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.open -= 1
            self.closed.set()
        finally:
            writer.close()


def service_gateway(port: int, **more: str) -> str:
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    return f"provider: http\n{extra}settings: {{url: 'http://127.0.0.1:{port}/x', query: {{to: '{{{{ phone }}}}'}}}}\n"


async def send_one(reloader: Reloader, name: str = "a") -> Outcome:
    return await send(reloader.registry, SendRequest(name, "+491701234567", text="hi"))


@on_loop
async def test_a_send_finishes_on_the_version_it_began_with(config: Configuration) -> None:
    """A version that was replaced in the middle of a send is closed after it, and the outcome carries its digest."""
    service = SlowService()
    async with await asyncio.start_server(service.serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        path = config.write("a", service_gateway(port))
        async with followed(config.root) as found:
            digest = found.reloader.registry.digest
            sending = asyncio.create_task(send_one(found.reloader))
            await service.asked.wait()
            rename_over(path, service_gateway(port, deadline="9s"))
            await found.until(lambda registry: registry.digest != digest)
            assert service.open == 1
            service.answer.set()
            outcome = await sending
            assert (outcome.kind, outcome.digest) == (Kind.ACCEPTED, digest)
            async with asyncio.timeout(10):
                await service.closed.wait()
            assert (await send_one(found.reloader)).digest == found.reloader.registry.digest
            assert service.connections == 2


@on_loop
async def test_connections_of_an_unchanged_gateway_stay(config: Configuration) -> None:
    """While other gateways change, and with a comment of its own, a gateway goes on with the connection it has."""
    service = SlowService()
    service.answer.set()
    async with await asyncio.start_server(service.serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        path = config.write("a", service_gateway(port))
        async with followed(config.root) as found:
            await send_one(found.reloader)
            config.write("b")
            await found.until(lambda registry: "b" in registry.entries)
            path.write_text("# a comment\n" + service_gateway(port))
            await found.reloader.reload()
            await send_one(found.reloader)
            assert (service.connections, service.open) == (1, 1)
        assert service.connections == 1
        async with asyncio.timeout(10):
            await service.closed.wait()


@on_loop
async def test_a_gateway_that_is_removed_finishes_its_sends(config: Configuration) -> None:
    """The file goes in the middle of a send: new sends are refused, the running one ends as if nothing had been."""
    service = SlowService()
    async with await asyncio.start_server(service.serve, "127.0.0.1") as server:
        path = config.write("a", service_gateway(server.sockets[0].getsockname()[1]))
        async with followed(config.root) as found:
            sending = asyncio.create_task(send_one(found.reloader))
            await service.asked.wait()
            path.unlink()
            await found.until(lambda registry: not registry.entries)
            service.answer.set()
            assert (await sending).kind is Kind.ACCEPTED


@pytest.mark.parametrize("turns", range(12))
@on_loop
async def test_a_watch_ends_whenever_it_is_cancelled(tmp_path: Path, turns: int) -> None:
    """After so many turns of the event loop or other: a stop that comes just as something wakes it is not lost."""
    Configuration(tmp_path).write("one")
    reloader = await loaded(tmp_path)
    watching = asyncio.create_task(reloader.watch())
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    done, _ = await asyncio.wait([watching], timeout=PATIENCE_S)
    assert done
    await reloader.close()
