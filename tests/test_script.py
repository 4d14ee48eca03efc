"""The provider `script`, with real programs."""

import asyncio
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from drafting import built, message
from patience import until

from smsgwd.errors import MessageError, Problem, Severity, SubmitError
from smsgwd.outcome import Kind, Outcome, Reason
from smsgwd.providers import script
from smsgwd.providers._base import Site
from smsgwd.providers.script import ScriptProvider
from smsgwd.providers.script.program import Program
from smsgwd.units import Deadline

Folder = Path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    directory = tmp_path / "scripts"
    directory.mkdir(mode=0o755)
    return directory


def write(folder: Folder, text: str, name: str = "send.sh", mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def made(folder: Folder, *command: str, **settings: Any) -> ScriptProvider:
    provider, problems = build(folder, *(command or ("send.sh",)), **settings)
    assert not problems
    return provider


def build(
    folder: Folder, *command: str, secrets: dict[str, str] | None = None, resolved: bool = True, **settings: Any
) -> tuple[ScriptProvider, list[Problem]]:
    site = Site(directory=folder.parent, scripts_directory=folder)
    return built(script.build, {"command": list(command), **settings}, site=site, secrets=secrets, resolved=resolved)


async def send(provider: ScriptProvider, text: str = "Your code is 4711", deadline_s: float = 20.0) -> Outcome:
    return provider.interpret(await provider.submit(provider.render(message(text)), Deadline.after(deadline_s)))


def run(awaitable: Awaitable[Outcome]) -> Outcome:
    async def main() -> Outcome:
        return await awaitable

    return asyncio.run(main())


def alive(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_script_gets_number_and_message(folder: Folder) -> None:
    """The number is the last argument, the message stands on standard input exactly as written."""
    write(folder, '#!/bin/sh\ncat > "$0.in"\nprintf "%s\\n" "$@" > "$0.args"\npwd > "$0.cwd"\n')
    text = 'Grüße "€" 😀\n\t; rm -rf $(pwd)  '
    outcome = run(send(made(folder, "send.sh", "--from=ACME", "{{ message }}"), text))
    assert outcome.kind is Kind.ACCEPTED
    assert (folder / "send.sh.in").read_bytes() == text.encode()
    assert (folder / "send.sh.args").read_text() == f"--from=ACME\n{text}\n+491701234567\n"
    assert (folder / "send.sh.cwd").read_text() == f"{folder}\n"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (0, Kind.ACCEPTED, None),
        (75, Kind.UNSENT, Reason.THROTTLED),  # sysexits.h: a temporary failure
        (1, Kind.REJECTED, Reason.PROVIDER),
        (64, Kind.REJECTED, Reason.PROVIDER),
        (127, Kind.REJECTED, Reason.PROVIDER),
        (255, Kind.REJECTED, Reason.PROVIDER),
    ],
)
def test_the_exit_code_is_the_outcome(folder: Folder, code: int, kind: Kind, reason: Reason | None) -> None:
    """0 is accepted, 75 unsent, everything else rejected, and what the script printed is there to be quoted."""
    write(folder, f"#!/bin/sh\necho out\necho err >&2\nexit {code}\n")
    outcome = run(send(made(folder)))
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert outcome.quote == ("out\nerr\n" if code else "")
    assert str(code) in outcome.detail or not code


def test_a_script_that_crashes_may_have_sent(folder: Folder) -> None:
    """A script that a signal ended is unknown: nobody knows how far it had come."""
    write(folder, "#!/bin/sh\nkill -KILL $$\n")
    outcome = run(send(made(folder)))
    assert (outcome.kind, outcome.reason) == (Kind.UNKNOWN, Reason.PROVIDER)
    assert "signal 9" in outcome.detail


@pytest.mark.parametrize("settings", [{"timeout": "1s"}, {}])
def test_over_time_the_whole_group_ends(folder: Folder, settings: dict[str, str]) -> None:
    """Over its time limit, or the deadline, a script is unknown/timeout, and it and its children are ended."""
    write(folder, '#!/bin/sh\ntrap "" TERM\nsleep 60 &\necho $$ $! > "$0.tmp"\nmv "$0.tmp" "$0.pids"\nwait\nsleep 60\n')

    async def main() -> None:
        provider = made(folder, **settings)
        began = time.monotonic()
        with pytest.raises(SubmitError) as caught:
            await send(provider, deadline_s=20.0 if settings else 1.0)
        assert time.monotonic() - began < 5
        assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, True)
        pids = [int(pid) for pid in (folder / "send.sh.pids").read_text().split()]
        await until(lambda: provider.status() == {"running": 0})
        await until(lambda: not any(map(alive, pids)))

    asyncio.run(main())


def test_a_close_sees_to_the_end_of_what_was_over_time(folder: Folder) -> None:
    """When a gateway is closed none of its processes is left that is being ended: the daemon may stop right after."""
    write(folder, '#!/bin/sh\ntrap "" TERM\nsleep 60 &\necho $$ $! > "$0.tmp"\nmv "$0.tmp" "$0.pids"\nwait\nsleep 60\n')

    async def main() -> None:
        provider = made(folder, timeout="1s")
        with pytest.raises(SubmitError):
            await send(provider)
        await provider.close()
        assert provider.status() == {"running": 0}
        leader, child = map(int, (folder / "send.sh.pids").read_text().split())
        assert reaped(leader)
        await until(lambda: not alive(child))  # killed; init has yet to reap it

    asyncio.run(main())


def test_a_polite_script_may_clean_up(folder: Folder) -> None:
    """A script over time gets SIGTERM first, and a moment for its own end."""
    write(folder, '#!/bin/sh\ntrap "touch $0.cleaned; exit 0" TERM\nsleep 60 &\nwait\n')

    async def main() -> None:
        provider = made(folder, timeout="1s")
        with pytest.raises(SubmitError):
            await send(provider)
        await until(lambda: provider.status() == {"running": 0})
        assert (folder / "send.sh.cleaned").exists()

    asyncio.run(main())


def test_output_is_capped(folder: Folder) -> None:
    """A script that prints without end is neither blocked nor kept in memory: 4 KiB stay."""
    write(folder, "#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' x\nexit 3\n")
    outcome = run(send(made(folder)))
    assert outcome.kind is Kind.REJECTED
    assert outcome.quote == "x" * 4096


def test_output_that_is_no_text(folder: Folder) -> None:
    """Output in no known encoding is quoted with marks for what cannot be read."""
    write(folder, "#!/bin/sh\nprintf 'caf\\351'\nexit 3\n")
    assert run(send(made(folder))).quote == "caf\ufffd"


def test_a_child_that_is_left_behind_is_not_waited_for(folder: Folder) -> None:
    """The end of the script counts, not that of a child which still holds its output."""
    write(folder, '#!/bin/sh\nsleep 60 &\necho $! > "$0.pid"\necho gone\nexit 1\n')
    began = time.monotonic()
    outcome = run(send(made(folder)))
    os.kill(int((folder / "send.sh.pid").read_text()), signal.SIGKILL)
    assert outcome.quote == "gone\n"
    assert time.monotonic() - began < 10


def test_a_script_that_reads_nothing(folder: Folder) -> None:
    """Whoever ends without reading its standard input breaks nothing."""
    write(folder, "#!/bin/sh\nexec 0<&-\nexit 0\n")
    assert run(send(made(folder), "x" * 10_000)).kind is Kind.ACCEPTED


def test_many_at_once(folder: Folder) -> None:
    """More messages than turns: all are sent, each by a script of its own, never more than 32 at once."""
    write(folder, '#!/bin/sh\ncat >> "$0.log"\n')

    async def main() -> None:
        provider = made(folder)
        outcomes = await asyncio.gather(*(send(provider, f"{number}\n") for number in range(80)))
        assert {outcome.kind for outcome in outcomes} == {Kind.ACCEPTED}
        await provider.close()

    asyncio.run(main())
    assert sorted(map(int, (folder / "send.sh.log").read_text().split())) == list(range(80))


def test_no_turn_before_the_deadline(folder: Folder) -> None:
    """A send that finds all turns taken until its deadline is unsent: its script never ran."""
    write(folder, '#!/bin/sh\necho >> "$0.log"\nuntil [ -e "$0.go" ]; do sleep 0.05; done\n')

    async def main() -> None:
        provider = made(folder)
        sends = [asyncio.create_task(send(provider)) for _ in range(script.MAX_RUNNING)]
        await until(lambda: provider.status() == {"running": script.MAX_RUNNING})
        with pytest.raises(SubmitError) as caught:
            await send(provider, deadline_s=0.2)
        assert (caught.value.reason, caught.value.handed_over) == (Reason.TIMEOUT, False)
        (folder / "send.sh.go").touch()
        assert {outcome.kind for outcome in await asyncio.gather(*sends)} == {Kind.ACCEPTED}

    asyncio.run(main())
    assert (folder / "send.sh.log").read_text().count("\n") == script.MAX_RUNNING


def test_the_environment_is_clean(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script sees PATH, LANG and what `env` says; no variable and no descriptor of the daemon."""
    for name in ("LISTEN_FDS", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "HOME", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "x")
    write(folder, '#!/bin/sh\nenv > "$0.env"\nls -l /proc/$$/fd > "$0.fds"\n')
    read, written = os.pipe()
    os.set_inheritable(read, True)
    provider, problems = build(
        folder, "send.sh", env={"TOKEN": "{{ secrets.token }}", "TEXT": "<{{ otp }}>"}, secrets={"token": "s3cret"}
    )
    assert run(send(provider, "ä=b")).kind is Kind.ACCEPTED
    inherited = f"pipe:[{os.fstat(read).st_ino}]"
    os.close(read)
    os.close(written)
    env = dict(line.split("=", 1) for line in (folder / "send.sh.env").read_text().splitlines())
    assert not problems
    assert env.pop("PATH").startswith("/usr/local/sbin:")
    assert {name: env[name] for name in env if name not in {"PWD", "SHLVL", "_", "OLDPWD"}} == {
        "LANG": "C.UTF-8",
        "TOKEN": "s3cret",
        "TEXT": "<ä=b>",
    }
    assert inherited not in (folder / "send.sh.fds").read_text()


def test_background_returns_at_once(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """A background script is accepted when it has started; its end is reaped, and logged without what it printed."""
    caplog.set_level(logging.INFO, "smsgwd.script")
    write(folder, '#!/bin/sh\necho $$ > "$0.pid"\ncat\nuntil [ -e "$0.go" ]; do sleep 0.05; done\nexit 7\n')

    async def main() -> None:
        provider = made(folder, mode="background")
        assert (await send(provider)).kind is Kind.ACCEPTED
        assert provider.status() == {"running": 1}
        await provider.close()
        (folder / "send.sh.go").touch()
        await until(lambda: provider.status() == {"running": 0})
        assert reaped(int((folder / "send.sh.pid").read_text()))

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["background script ended with code 7"]
    assert caplog.records[0].levelname == "WARNING"
    assert "4711" not in caplog.text


def test_background_has_a_limit_too(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """A background script that hangs is ended after its time limit, whatever the deadline of its message was."""
    write(folder, "#!/bin/sh\nexec sleep 60\n")

    async def main() -> None:
        provider = made(folder, mode="background", timeout="200ms")
        assert (await send(provider)).kind is Kind.ACCEPTED
        await until(lambda: provider.status() == {"running": 0})

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["background script over time and ended"]


def replaced_by_link(folder: Folder, path: Path) -> None:
    outside = folder.parent / "outside.sh"
    path.rename(outside)
    path.symlink_to(outside)


def replaced_by(make: Callable[[Path], object]) -> Callable[[Folder, Path], object]:
    def replace(_: Folder, path: Path) -> None:
        path.unlink()
        make(path)

    return replace


SPOILERS: dict[str, tuple[Callable[[Folder, Path], object], str]] = {
    "missing": (lambda _, path: path.unlink(), "No such file"),
    "folder missing": (lambda folder, _: folder.rename(folder.parent / "gone"), "No such file"),
    "link out of the folder": (replaced_by_link, "link out of"),
    "writable by the group": (lambda _, path: path.chmod(0o775), "writable by group or others"),
    "writable by others": (lambda _, path: path.chmod(0o757), "writable by group or others"),
    "folder writable by others": (lambda folder, _: folder.chmod(0o777), "writable by group or others"),
    "not executable": (lambda _, path: path.chmod(0o644), "not executable"),
    "a directory": (replaced_by(Path.mkdir), "no regular file"),
    "a FIFO": (replaced_by(os.mkfifo), "no regular file"),
    "a loop of links": (replaced_by(lambda path: path.symlink_to(path)), "Too many levels"),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_what_others_could_change_does_not_run(folder: Folder, name: str) -> None:
    """A doubtful file is a finding at load, unsent/config just before the run, and nothing to a plain check."""
    path = write(folder, '#!/bin/sh\ntouch "$0.ran"\n')
    provider = made(folder)
    spoil, words = SPOILERS[name]
    spoil(folder, path)
    with pytest.raises(SubmitError) as caught:
        run(send(provider))
    assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)
    assert words in caught.value.detail
    ((finding,), (at_check,)) = ([build(folder, "send.sh", resolved=resolved)[1]] for resolved in (True, False))
    assert [(each.code, each.pointer) for each in finding] == [("bad-script", "/settings/command/0")]
    assert words in finding[0].message
    assert not at_check
    assert not list(folder.parent.rglob("*.ran"))


def test_what_a_stranger_owns_does_not_run(folder: Folder) -> None:
    """A script or folder that belongs to another user than root and the daemon's is not run."""
    program = Program.named("send.sh", folder)
    assert program is not None
    write(folder, "#!/bin/sh\n")
    assert program.fault() is None
    assert "belongs neither to root nor" in (program.fault(owners={os.geteuid() + 1}) or "")


def test_links_inside_the_folder_are_fine(folder: Folder) -> None:
    """A link to another script of the folder, and a script in a folder of it, run."""
    (folder / "real").mkdir(mode=0o755)
    write(folder / "real", "#!/bin/sh\n")
    (folder / "send.sh").symlink_to("real/send.sh")
    assert run(send(made(folder))).kind is Kind.ACCEPTED
    assert run(send(made(folder, "real/send.sh"))).kind is Kind.ACCEPTED
    assert run(send(made(folder, str(folder / "send.sh")))).kind is Kind.ACCEPTED


@pytest.mark.parametrize("name", ["../send.sh", "a/../send.sh", "/bin/sh", ".", "", "/etc/passwd"])
def test_paths_out_of_the_folder_are_findings(folder: Folder, name: str) -> None:
    """A name that leads out of the script folder is a finding, in a plain check too."""
    _, problems = build(folder, name, resolved=False)
    assert [(each.code, each.pointer) for each in problems] == [("bad-script", "/settings/command/0")]


def test_the_folder_is_beside_the_gateways_by_default(folder: Folder) -> None:
    """Where smsgwd.yaml names no folder, it is `scripts` of the configuration directory."""
    write(folder, "#!/bin/sh\n")
    _, problems = built(script.build, {"command": ["send.sh"]}, site=Site(directory=folder.parent))
    assert not problems


def test_the_program_is_no_template(folder: Folder) -> None:
    """The message cannot choose which program runs."""
    _, problems = build(folder, "{{ message }}", resolved=False)
    assert [each.code for each in problems] == ["bad-script"]


def test_a_secret_among_the_arguments_is_a_warning(folder: Folder) -> None:
    """Arguments show in the process list: a secret there is a warning that names `env`."""
    write(folder, "#!/bin/sh\n")
    _, problems = build(folder, "send.sh", "--token={{ secrets.token }}", secrets={"token": "s3cret"})
    assert [(each.code, each.severity, each.pointer) for each in problems] == [
        ("secret-in-arguments", Severity.WARNING, "/settings/command/1")
    ]


@pytest.mark.parametrize("mode", ["wait", "background"])
@pytest.mark.parametrize(
    ("content", "words"),
    [("#!/nonexistent/interpreter\n", "No such file"), ("no program at all\n", "Exec format error")],
)
def test_what_cannot_be_started_is_unsent(folder: Folder, mode: str, content: str, words: str) -> None:
    """A script without a working interpreter is unsent/config, in the background too: nothing ran."""
    write(folder, content)
    with pytest.raises(SubmitError) as caught:
        run(send(made(folder, mode=mode)))
    assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.CONFIG, False, False)
    assert words in caught.value.detail


def test_a_script_that_is_just_being_written(folder: Folder) -> None:
    """A program that is open for writing is unsent and tried again: a deployment is at it."""
    path = folder / "send.sh"
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o755)
    with path.open("ab"), pytest.raises(SubmitError) as caught:
        run(send(made(folder)))
    assert (caught.value.reason, caught.value.handed_over, caught.value.retryable) == (Reason.UNREACHABLE, False, True)


def test_a_machine_without_descriptors(folder: Folder) -> None:
    """With no descriptor left nothing is started and the send is unsent, to be tried again."""
    write(folder, "#!/bin/sh\n")

    async def main() -> None:
        provider = made(folder, mode="background")
        assert (await send(provider)).kind is Kind.ACCEPTED  # the loop and a thread stand
        await until(lambda: provider.status() == {"running": 0})
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(SubmitError) as caught:
                await send(provider)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (caught.value.reason, caught.value.handed_over) == (Reason.UNREACHABLE, False)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("command", "text", "phone", "reason"),
    [
        (["send.sh"], "hi", "-rf", Reason.INVALID_DESTINATION),
        (["send.sh", "{{ message }}"], "--help", "+491701234567", Reason.CONTENT),
        (["send.sh", "{{ message }}"], "a\0b", "+491701234567", Reason.CONTENT),
        (["send.sh"], "hi", "49\x00170", Reason.CONTENT),
        (["send.sh"], "half \ud83d", "+491701234567", Reason.CONTENT),
    ],
)
def test_what_cannot_be_an_argument_is_rejected(
    folder: Folder, command: list[str], text: str, phone: str, reason: Reason
) -> None:
    """What would become an option, or cannot stand in an argument, is rejected before anything runs."""
    provider, _ = build(folder, *command, resolved=False)
    with pytest.raises(MessageError) as caught:
        provider.render(message(text, phone))
    assert caught.value.reason is reason


def test_dashes_that_are_meant(folder: Folder) -> None:
    """An option that the settings write stays one, whatever the message begins with."""
    provider, _ = build(folder, "send.sh", "--text={{ message }}", "--", resolved=False)
    prepared = provider.render(message("--x"))
    assert provider.describe(prepared) == {
        "argv": ["send.sh", "--text=--x", "--", "+491701234567"],
        "stdin": "--x",
    }


EXAMPLES = Path(__file__).parent.parent / "scripts"


def test_the_example_that_spools(folder: Folder) -> None:
    """scripts/spool writes each message as one JSON file, and is unsent where it cannot."""
    write(folder, (EXAMPLES / "spool").read_text(), "spool")
    spool = folder.parent / "spool"
    provider = made(folder, "spool", env={"SPOOL": str(spool)})
    assert run(send(provider)).kind is Kind.UNSENT
    spool.mkdir()
    assert run(send(provider, "Grüße\n")).kind is Kind.ACCEPTED
    (file,) = spool.iterdir()
    assert json.loads(file.read_text()) == {"to": "+491701234567", "text": "Grüße\n"}
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Code 4711 {}\n", "-autolen 1000"),
        ("-n", "-autolen 1000"),
        ("Grüße 😀", "-autolen 1000 -unicode"),
    ],
)
def test_the_example_for_gammu_smsd(folder: Folder, text: str, options: str) -> None:
    """scripts/gammu-smsd hands number and text to gammu-smsd-inject, and is unsent when that fails or is not there."""
    write(folder, (EXAMPLES / "gammu-smsd").read_text(), "gammu-smsd")
    programs = folder.parent / "bin"
    programs.mkdir()
    (programs / "cat").symlink_to("/bin/cat")
    provider = made(folder, "gammu-smsd", env={"PATH": str(programs)})
    missing = run(send(provider, text))
    assert (missing.kind, missing.quote) == (Kind.UNSENT, "gammu-smsd-inject is not installed\n")
    write(programs, '#!/bin/sh\ncat > "$0.in"\necho "$@" > "$0.args"\n', "gammu-smsd-inject")
    assert run(send(provider, text)).kind is Kind.ACCEPTED
    assert (programs / "gammu-smsd-inject.in").read_text() == text
    assert (programs / "gammu-smsd-inject.args").read_text() == f"TEXT +491701234567 {options}\n"
    write(programs, "#!/bin/sh\nexit 2\n", "gammu-smsd-inject")
    assert run(send(provider, text)).kind is Kind.UNSENT
