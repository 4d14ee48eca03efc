"""The writer: one change at a time, all or nothing, served when it returns."""

import asyncio
import fcntl
import os
import resource
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from nobody import as_nobody, open_folder
from reloading import BROKEN, Configuration, loaded, on_loop
from swaps import remove_tree

from smsgwd.errors import RequestError
from smsgwd.pin import PinHash
from smsgwd.reload import Reloader
from smsgwd.secret import Secret
from smsgwd.writing import ANY, Changed, Current, Match, Wanted, Writer

WRITABLE = "writable: true\n"
HTTP: Mapping[str, Any] = {
    "provider": "http",
    "secrets": {"password": {"file": "secrets.d/web/password"}},
    "settings": {
        "url": "https://example.com/send",
        "form": {"to": "{{ phone }}", "text": "{{ message }}", "key": "{{ secrets.password }}"},
    },
}


class Desk:
    """A writable configuration, loaded, with its writer."""

    def __init__(self, root: Path, reloader: Reloader) -> None:
        self.root = root
        self.reloader = reloader
        self.writer = Writer(lambda: reloader.registry, reloader.reload)

    def text(self, name: str) -> str:
        """A gateway file."""
        return (self.root / "gateways.d" / f"{name}.yaml").read_text()

    def secrets(self, name: str) -> dict[str, str]:
        """The secret files of a gateway."""
        return {path.name: path.read_text() for path in sorted((self.root / "secrets.d" / name).glob("*"))}

    def digest(self, name: str) -> str:
        """What serves."""
        gateway = self.reloader.registry.entries[name].gateway
        return "" if gateway is None else gateway.digest

    async def put(self, name: str, text: str, match: Match = ANY) -> Changed:
        """A file as it is to be."""
        return await self.writer.change(name, lambda _: Wanted(text=text), match=match)

    async def put_web(self, password: str, **changes: Any) -> Changed:
        """The gateway with a secret."""
        wanted = Wanted(data={**HTTP, **changes}, secrets={"password": Secret(password)})
        return await self.writer.change("web", lambda _: wanted)

    async def delete(self, name: str) -> Changed:
        """No file."""
        return await self.writer.change(name, lambda _: None)

    async def refused(self, change: "asyncio.Future[Any] | Any") -> RequestError:
        """Why a change was not made; nothing may be left of it."""
        before = tree(self.root)
        with pytest.raises(RequestError) as caught:
            await change
        assert tree(self.root) == before
        return caught.value


def tree(root: Path) -> dict[str, str]:
    """All that is there."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text() for path in paths
    }


async def desk(root: Path, site: str = WRITABLE, files: Mapping[str, str] | None = None) -> Desk:
    """A configuration with these gateway files."""
    configuration = Configuration(root)
    configuration.write_site(site)
    for name, text in (files or {"console": "provider: console\n"}).items():
        configuration.write(name, text)
    return Desk(root, await loaded(root))


def mode(path: Path) -> int:
    """The rights of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@on_loop
async def test_new_gateway_serves_when_the_change_returns(tmp_path: Path) -> None:
    """A created gateway is in its file as it was given, and serves."""
    at = await desk(tmp_path)
    changed = await at.put("ops", "# ours\nprovider: console\nsender: ACME\n")
    assert changed == Changed(None, at.digest("ops"))
    assert at.text("ops") == "# ours\nprovider: console\nsender: ACME\n"
    assert mode(tmp_path / "gateways.d" / "ops.yaml") == 0o644


@on_loop
async def test_secret_goes_to_its_own_file(tmp_path: Path) -> None:
    """A secret is in a file for nobody else, in a folder for nobody else, and the gateway file names it."""
    at = await desk(tmp_path)
    await at.put_web("first")
    assert at.secrets("web") == {"password": "first\n"}
    assert "secrets.d/web/password" in at.text("web")
    assert mode(tmp_path / "secrets.d" / "web" / "password") == 0o600
    assert mode(tmp_path / "secrets.d" / "web") == mode(tmp_path / "secrets.d") == 0o700


@on_loop
async def test_changed_secret_gets_a_new_name_and_the_same_one_keeps_it(tmp_path: Path) -> None:
    """Another value goes to another file, and the former one goes; the same value stays where it is."""
    at = await desk(tmp_path)
    await at.put_web("first")
    await at.put_web("first", sender="ACME")
    assert at.secrets("web") == {"password": "first\n"}
    await at.put_web("second")
    ((name, value),) = at.secrets("web").items()
    assert (name.startswith("password-"), value) == (True, "second\n")
    current = await at.writer.current("web")
    assert current is not None
    assert current.secrets == {"password": Secret("second")}
    assert current.digest == at.digest("web")


@on_loop
async def test_deleted_gateway_takes_its_secrets_with_it(tmp_path: Path) -> None:
    """File, secrets and their folder go, and nothing serves under the name."""
    at = await desk(tmp_path)
    before = (await at.put_web("first")).after
    assert await at.delete("web") == Changed(before, None)
    assert tree(tmp_path).keys() == {"gateways.d/console.yaml", "smsgwd.yaml"}
    assert not (tmp_path / "secrets.d" / "web").exists()
    assert "web" not in at.reloader.registry.entries


@on_loop
async def test_secret_of_another_gateway_stays(tmp_path: Path) -> None:
    """What some other file still refers to is not removed, and neither is what no gateway file ever named."""
    at = await desk(tmp_path)
    await at.put_web("first")
    (tmp_path / "secrets.d" / "web" / "by-hand").write_text("x\n")
    await at.put("other", at.text("web"))
    await at.delete("web")
    assert at.secrets("web") == {"by-hand": "x\n", "password": "first\n"}


@on_loop
async def test_broken_change_changes_nothing(tmp_path: Path) -> None:
    """What does not compile is refused with all its findings."""
    at = await desk(tmp_path)
    error = await at.refused(at.put("console", BROKEN))
    assert error.code == "invalid-config"
    assert [problem["code"] for problem in error.members["problems"]] == ["unknown-key"]
    error = await at.refused(at.put_web("first", sender="far too long for a sender"))
    assert error.code == "invalid-config"


@on_loop
async def test_secret_values_are_part_of_the_trial(tmp_path: Path) -> None:
    """A value that its provider cannot use is found before it is written."""
    at = await desk(tmp_path)
    data = {
        "provider": "smpp",
        "secrets": {"password": {"file": "secrets.d/smsc/password"}},
        "settings": {"host": "127.0.0.1", "port": 2775, "system_id": "a", "password": "{{ secrets.password }}"},
    }
    wanted = Wanted(data=data, secrets={"password": Secret("nine-octets")})
    error = await at.refused(at.writer.change("smsc", lambda _: wanted))
    assert error.code == "invalid-config"
    assert "nine-octets" not in str(error.members)


@on_loop
async def test_gateway_that_others_need_is_not_deleted(tmp_path: Path) -> None:
    """A change that turns another sound file into an error is refused and says which."""
    failover = "provider: failover\nsettings: {gateways: [console]}\n"
    at = await desk(tmp_path, files={"console": "provider: console\n", "both": failover})
    error = await at.refused(at.delete("console"))
    ((file, code),) = {(problem["file"], problem["code"]) for problem in error.members["problems"]}
    assert (error.code, file, code) == ("invalid-config", str(tmp_path / "gateways.d" / "both.yaml"), "unknown-gateway")
    assert "both.yaml" in error.detail
    error = await at.refused(at.put("console", "provider: failover\nsettings: {gateways: [both]}\n"))
    assert {problem["code"] for problem in error.members["problems"]} == {"failover-cycle"}


@on_loop
async def test_gateway_that_a_token_needs_is_not_deleted(tmp_path: Path) -> None:
    """Nor is the one that somebody's one-time passwords are sent by; the answer names the token, and not its number."""
    (tmp_path / "tokens.d").mkdir()
    pin = str(PinHash.of("1234"))
    token = f"user: alice\nphone: '+491701234567'\ngateway: console\npin: {{hash: '{pin}'}}\n"
    (tmp_path / "tokens.d" / "alice.yaml").write_text(token)
    at = await desk(tmp_path)
    error = await at.refused(at.delete("console"))
    assert (error.code, "alice.yaml" in error.detail) == ("invalid-config", True)
    assert "1701234567" not in str(error.members)


@on_loop
async def test_lost_update_is_a_conflict(tmp_path: Path) -> None:
    """Who names the digest that is there may change it; who names an older one may not, nor make or miss a file."""
    at = await desk(tmp_path)
    first = at.digest("console")
    await at.put("console", "provider: console\nsender: A\n", Match.of(first))
    for match in (Match.of(first), Match(exists=False)):
        error = await at.refused(at.put("console", "provider: console\nsender: B\n", match))
        assert (error.code, error.members["digest"]) == ("conflict", at.digest("console"))
    for match in (Match.of(first), Match(exists=True)):
        assert (await at.refused(at.put("new", "provider: console\n", match))).code == "conflict"
    await at.put("new", "provider: console\n", Match(exists=False))


@on_loop
async def test_change_by_hand_counts(tmp_path: Path) -> None:
    """If-Match is about the file on disk, also when it was changed so lately that the former version serves."""
    at = await desk(tmp_path)
    served = at.digest("console")
    (tmp_path / "gateways.d" / "console.yaml").write_text("provider: console\nsender: HAND\n")
    assert (await at.refused(at.put("console", "provider: console\n", Match.of(served)))).code == "conflict"


@on_loop
async def test_only_one_of_many_writers_wins(tmp_path: Path) -> None:
    """Of twenty that change the same version at once one does; the others hear that it has changed."""
    at = await desk(tmp_path)
    match = Match.of(at.digest("console"))
    texts = [f"provider: console\nsender: W{number}\n" for number in range(20)]
    done = await asyncio.gather(*(at.put("console", text, match) for text in texts), return_exceptions=True)
    assert [type(one) for one in done].count(Changed) == 1
    assert {one.code for one in done if isinstance(one, RequestError)} == {"conflict"}


@on_loop
async def test_read_only_unless_it_says_so(tmp_path: Path) -> None:
    """Without `writable: true` the configuration is managed in Git."""
    at = await desk(tmp_path, site="{}\n")
    error = await at.refused(at.put("console", "provider: console\n"))
    assert (error.code, "managed in Git" in error.detail) == ("read-only", True)


NAMES = ["../x", "a/b", ".hidden", "-x", "x" * 64, "x" * 200, "", "a b", "con.yaml", "cоnsole", "x\n", "ﬁ", "a\0b"]


@on_loop
async def test_no_name_leads_out(tmp_path: Path) -> None:
    """Names outside of the pattern, look-alikes from other alphabets included, are refused."""
    at = await desk(tmp_path)
    for name in NAMES:
        assert (await at.refused(at.put(name, "provider: console\n"))).code == "malformed-request"
    await at.put("con", "provider: console\n")  # only another system has trouble with it
    assert "con" in at.reloader.registry.entries


@on_loop
async def test_names_that_differ_by_case_or_suffix(tmp_path: Path) -> None:
    """NAME.yml is changed in place; a name that differs from one that is there by capitals alone is refused."""
    at = await desk(tmp_path)
    (tmp_path / "gateways.d" / "ops.yml").write_text("provider: console\n")
    await at.put("ops", "provider: console\nsender: ACME\n")
    assert tree(tmp_path)["gateways.d/ops.yml"] == "provider: console\nsender: ACME\n"
    assert not (tmp_path / "gateways.d" / "ops.yaml").exists()
    error = await at.refused(at.put("Ops", "provider: console\n"))
    assert (error.code, "ops.yml" in error.detail) == ("invalid-config", True)


def _link(root: Path, what: str, elsewhere: Path) -> None:
    """Put a link in the place of something."""
    path = root / what
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("what", ["gateways.d", "gateways.d/web.yaml", "secrets.d", "secrets.d/web"])
def test_nothing_is_written_through_a_link(what: str, tmp_path: Path) -> None:
    """A link is managed elsewhere: the change is refused, and what it leads to stays as it is."""

    @on_loop
    async def attempt() -> None:
        at = await desk(tmp_path / "ours", files={"web": "provider: console\n"})
        _link(at.root, what, tmp_path / "elsewhere" / "it")
        before = tree(tmp_path / "elsewhere")
        error = await at.refused(at.put_web("first"))
        assert (error.code, "managed elsewhere" in error.detail) == ("read-only", True)
        assert tree(tmp_path / "elsewhere") == before

    attempt()


@on_loop
async def test_existing_file_keeps_its_rights(tmp_path: Path) -> None:
    """A file that was for its group alone stays so."""
    at = await desk(tmp_path)
    path = tmp_path / "gateways.d" / "console.yaml"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    await at.put("console", "provider: console\nsender: ACME\n")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@on_loop
async def test_what_make_raises_refuses(tmp_path: Path) -> None:
    """Whoever makes the change sees what is there, and may refuse; nothing happens then."""
    at = await desk(tmp_path, files={"console": "# why\nprovider: console\n"})
    seen: list[Current | None] = []

    def make(current: Current | None) -> Wanted:
        seen.append(current)
        raise RequestError("conflict", "no")

    assert (await at.refused(at.writer.change("console", make))).code == "conflict"
    ((current),) = seen
    assert current is not None
    assert (current.text, current.data) == ("# why\nprovider: console\n", {"provider": "console"})


@on_loop
async def test_broken_file_can_be_seen_replaced_and_deleted(tmp_path: Path) -> None:
    """A file that does not compile has no data and no digest; a sound one may take its place, or none."""
    at = await desk(tmp_path, files={"one": BROKEN, "two": "a: [\n"})
    current = await at.writer.current("one")
    assert current is not None
    assert (current.data, current.digest, current.text) == (None, "", BROKEN)
    assert (await at.put("one", "provider: console\n")).before == ""
    await at.delete("two")
    assert set(at.reloader.registry.entries) == {"one"}


@on_loop
async def test_deleting_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    """There was none, there is none."""
    at = await desk(tmp_path)
    assert await at.delete("none") == Changed(None, None)


@on_loop
async def test_other_change_at_the_same_moment_is_told(tmp_path: Path) -> None:
    """When somebody else's version serves in the end, it is not said that ours does."""
    at = await desk(tmp_path)

    async def reload_after_somebody() -> None:
        (tmp_path / "gateways.d" / "console.yaml").write_text("provider: console\nsender: HAND\n")
        await at.reloader.reload()

    writer = Writer(lambda: at.reloader.registry, reload_after_somebody)
    with pytest.raises(RequestError, match="somebody changed the file again") as caught:
        await writer.change("console", lambda _: Wanted(text="provider: console\nsender: OURS\n"))
    assert (caught.value.code, caught.value.members) == ("conflict", {"written": True})


@on_loop
async def test_change_by_hand_in_mid_write_wins(tmp_path: Path) -> None:
    """A file that somebody saves while ours is being made is not overwritten."""
    at = await desk(tmp_path)

    def make(_: Current | None) -> Wanted:
        (tmp_path / "gateways.d" / "console.yaml").write_text("provider: console\nsender: HAND\n")
        return Wanted(text="provider: console\nsender: OURS\n")

    with pytest.raises(RequestError) as caught:
        await at.writer.change("console", make)
    assert (caught.value.code, at.text("console")) == ("conflict", "provider: console\nsender: HAND\n")
    assert tree(tmp_path).keys() == {"gateways.d/console.yaml", "smsgwd.yaml"}


BAD_SECRETS: Mapping[str, Callable[[], str]] = {
    "empty": str,
    "too large": lambda: "x" * 70_000,
    "half a character": lambda: "pass\ud800word",
}


@pytest.mark.parametrize("what", BAD_SECRETS)
def test_secret_that_no_file_can_hold(what: str, tmp_path: Path) -> None:
    """Such a value is refused, and not repeated."""

    @on_loop
    async def attempt() -> None:
        at = await desk(tmp_path)
        error = await at.refused(at.put_web(BAD_SECRETS[what]()))
        assert (error.code, "'password'" in error.detail) == ("malformed-request", True)

    attempt()


@on_loop
async def test_a_folder_that_cannot_be_made_is_named() -> None:
    """secrets.d is missing, and may not be made: nothing is changed, and the answer names the folder."""
    with open_folder() as root:
        at = await desk(root)
        await at.put_web("geheim-1")  # nobody may not be able to import what this needs
        (root / "gateways.d" / "web.yaml").unlink()
        remove_tree(root / "secrets.d")
        (root / "gateways.d").chmod(0o777)
        root.chmod(0o555)  # for whoever is not root
        with as_nobody():
            error = await at.refused(at.put_web("geheim-2"))
        root.chmod(0o755)
        assert (error.code, error.detail) == ("not-written", "nothing was changed: Permission denied (secrets.d)")
        assert not (root / "gateways.d" / "web.yaml").exists()


LIMITS = {"the journal": 20, "a secret": 500, "the gateway file": 4_000}  # octets that a file may have at most


@pytest.mark.parametrize("what", LIMITS)
def test_full_disk_undoes_everything(what: str, tmp_path: Path) -> None:
    """Whichever file does not fit, nothing is changed, and the answer says why."""

    @on_loop
    async def attempt() -> None:
        at = await desk(tmp_path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMITS[what], hard))
        try:
            error = await at.refused(at.put_web("x" * 1_000, description="y" * 10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (error.code, error.detail) == ("not-written", "nothing was changed: File too large")
        assert not (tmp_path / "secrets.d" / "web").exists()
        await at.put_web("x" * 1_000, description="y" * 10_000)

    attempt()


@on_loop
async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    """Two daemons over one directory change it one after the other, too."""
    at = await desk(tmp_path)
    descriptor = os.open(tmp_path / "gateways.d", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    change = asyncio.create_task(at.put("ops", "provider: console\n"))
    await asyncio.wait([change], timeout=0.2)
    assert (change.done(), (tmp_path / "gateways.d" / "ops.yaml").exists()) == (False, False)
    os.close(descriptor)
    await change
    assert (tmp_path / "gateways.d" / "ops.yaml").exists()


@on_loop
async def test_swapped_link_in_mid_write_leads_nowhere(tmp_path: Path) -> None:
    """A folder that is exchanged for a link while the change is made takes nothing to where the link leads."""
    at = await desk(tmp_path / "ours")
    (tmp_path / "elsewhere").mkdir()

    def make(_: Current | None) -> Wanted:
        (at.root / "gateways.d").rename(at.root / "before")
        (at.root / "gateways.d").symlink_to(tmp_path / "elsewhere")
        (at.root / "secrets.d").symlink_to(tmp_path / "elsewhere")
        return Wanted(data=HTTP, secrets={"password": Secret("first")})

    with pytest.raises(RequestError) as caught:
        await at.writer.change("web", make)
    assert caught.value.code == "read-only"
    assert not list((tmp_path / "elsewhere").iterdir())
