"""Secret files: whose eyes they are for, where they may lead, and what a new one changes."""

import asyncio
import json
import subprocess
from pathlib import Path

import command
import foreign_smsc
import pytest
from daemon_process import configuration, daemon
from other_user import IS_ROOT
from secret_file import write_secret
from smpp_gateway import run
from socket_client import call

CANARY = "kanarienvogel"
SITE = """
secrets: {mail: {file: secrets.d/mail}}
smtp_servers:
  corp: {host: 127.0.0.1, username: sms, password: "{{ secrets.mail }}", from: sms@example.com}
"""
FILES = {
    "gateways.d/a.yaml": "provider: console\nsecrets: {one: {file: secrets.d/a/one}}\n",
    "gateways.d/b.yaml": "provider: smtp\nsettings: {server: corp, mail_to: a@example.com}\n",
    "smsgwd.yaml": SITE,
    "secrets.d/a/one": CANARY,
    "secrets.d/mail": CANARY,
}


def checked(config: Path, *prefix: str) -> tuple[int, list[tuple[str, str, str]], str]:
    """What `check --secrets` says: exit code, findings, and all that it printed."""
    words = [
        *prefix,
        *command.python("-m", "smsgwd", "check", "--config", str(config), "--secrets", "--format", "json"),
    ]
    words, env, where = [*prefix, *words], command.environment({}), command.CHECKOUT
    done = subprocess.run(
        [*prefix, *words], capture_output=True, text=True, timeout=30, check=False, env=env, cwd=where
    )
    found = [
        (Path(one["file"]).name, one["code"], one["severity"])
        for one in json.loads(done.stdout)["findings"]
        if one["code"] not in {"no-effect", "unused-secret"}
    ]
    return done.returncode, found, done.stdout + done.stderr


def test_check_tells_which_secrets_are_exposed(tmp_path: Path) -> None:
    """`check --secrets` names each file that others may read, and shows none."""
    config = configuration(tmp_path, FILES)
    assert checked(config)[1] == []
    for name in ("a/one", "mail"):
        (config / "secrets.d" / name).chmod(0o644)
    code, found, printed = checked(config)
    assert code == 1
    assert {one for one in found if one[1] == "exposed-secret"} == {
        ("a.yaml", "exposed-secret", "error"),
        ("smsgwd.yaml", "exposed-secret", "error"),
    }
    assert str(config / "secrets.d" / "a" / "one") in printed
    assert CANARY not in printed


def test_sealing_key_that_others_may_read(tmp_path: Path) -> None:
    """A key of one-time passwords is a secret file, too."""
    config = configuration(tmp_path, {"smsgwd.yaml": "otp: {keys: {k: {file: key}}}\n", "key": "A" * 43 + "="})
    assert checked(config)[:2] == (0, [])
    (config / "key").chmod(0o644)
    assert checked(config)[:2] == (1, [("smsgwd.yaml", "exposed-secret", "error")])


@pytest.mark.skipif(not IS_ROOT, reason="only root can mount")
def test_read_only_mount_is_a_warning(tmp_path: Path) -> None:
    """Volumes of Kubernetes have 0644, and nobody in the container can change that."""
    config = configuration(tmp_path, FILES)
    (config / "secrets.d" / "a" / "one").chmod(0o644)
    folder = config / "secrets.d" / "a"
    mounted = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}" && exec "$@"'
    code, found, _ = checked(config, "unshare", "--mount", "sh", "-c", mounted, "sh")
    assert (code, found) == (0, [("a.yaml", "exposed-secret", "warning")])


def test_link_out_of_the_folder_of_secrets(tmp_path: Path) -> None:
    """In the folder that is written over the socket a link out of secrets.d is an error; one within it is none."""
    config = configuration(tmp_path / "config", FILES)
    elsewhere = write_secret(tmp_path / "elsewhere", CANARY)
    one = config / "secrets.d" / "a" / "one"
    one.unlink()
    one.symlink_to(elsewhere)
    code, found, printed = checked(config)
    assert (code, found) == (1, [("a.yaml", "secret-link", "error")])
    assert CANARY not in printed
    one.unlink()
    one.symlink_to("../mail")
    assert checked(config)[:2] == (0, [])


GATEWAY = """
provider: smpp
secrets: {{password: {{file: secrets.d/{name}}}}}
settings: {{host: 127.0.0.1, port: {port}, system_id: me, password: "{{{{ secrets.password }}}}"}}
"""


async def stands(path: Path, name: str) -> str:
    """The state of the bind of a gateway."""
    return str((await call(path, "GET", f"/v1/gateways/{name}")).json()["binds"][0]["state"])


async def until_stands(path: Path, **wanted: str) -> None:
    """Wait until the binds of these gateways are in these states."""
    while {name: await stands(path, name) for name in wanted} != wanted:  # noqa: ASYNC110 - told by another process
        await asyncio.sleep(0.02)


def test_rotated_secret_takes_effect_by_itself(tmp_path: Path) -> None:
    """A new value binds anew where it is used, without a restart, and the session of the other gateway stays."""

    async def test() -> None:
        async with foreign_smsc.node(password="first") as kept, foreign_smsc.node(password="second") as rotated:
            files = {"gateways.d/a.yaml": GATEWAY.format(name="a", port=kept.port), "secrets.d/a": "first\n"}
            files |= {"gateways.d/b.yaml": GATEWAY.format(name="b", port=rotated.port), "secrets.d/b": "first\n"}
            config = configuration(tmp_path, files)
            with daemon(config) as running:
                running.ready()
                await until_stands(running.path, a="bound", b="refused")
                write_secret(config / "secrets.d" / ".b", "second\n").rename(config / "secrets.d" / "b")
                await until_stands(running.path, a="bound", b="bound")
            assert len((await kept.do("report"))["sessions"]) == 1

    run(test())
