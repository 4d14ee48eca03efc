"""The daemon with SMPP gateways, over SMSCs that we did not write: its sessions through reloads and a stop."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import foreign_smsc
from daemon_process import configuration, daemon
from smpp_gateway import run
from socket_client import call

MESSAGES = 120  # more than a window holds
GATEWAY = """\
provider: smpp
sender: ACME
deadline: 15s
secrets: {password: {file: password}}
settings:
  host: 127.0.0.1
  port: %d
  system_id: me
  password: "{{ secrets.password }}"
  window: %d
"""


async def outcome(path: Path, text: str) -> dict[str, Any]:
    """What becomes of one message over the gateway `a`."""
    body = {"gateway": "a", "to": "+491701234567", "text": text}
    found: dict[str, Any] = (await call(path, "POST", "/v1/messages", body)).json()
    return found


async def bind(path: Path, name: str) -> dict[str, Any]:
    """How the bind of a gateway stands."""
    found: dict[str, Any] = (await call(path, "GET", f"/v1/gateways/{name}")).json()["binds"][0]
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process tells; the test's own time limit ends a wait in vain."""
    while not await condition():  # noqa: ASYNC110 - other processes have no event for us
        await asyncio.sleep(0.02)


async def until_bound(path: Path) -> None:
    """Wait for both gateways."""

    async def both() -> bool:
        return {(await bind(path, name))["state"] for name in ("a", "b")} == {"bound"}

    await until(both)


def test_sessions_through_reloads_and_a_stop(tmp_path: Path) -> None:
    """A reload leaves the session of an unchanged gateway alone; a stop waits for the answers, then unbinds."""

    async def test() -> None:
        async with foreign_smsc.node(password="hunter2x", delay_ms=200) as kept, foreign_smsc.node() as changed:
            files = {"gateways.d/a.yaml": GATEWAY % (kept.port, 10), "gateways.d/b.yaml": GATEWAY % (changed.port, 10)}
            config = configuration(tmp_path, {**files, "password": "hunter2x\n"})
            (config / "password").chmod(0o600)
            with daemon(config) as running:
                running.ready()
                await until_bound(running.path)
                sends = [asyncio.create_task(outcome(running.path, f"message {number}")) for number in range(MESSAGES)]
                (config / "gateways.d" / "b.yaml").write_text(GATEWAY % (changed.port, 20))
                await asyncio.to_thread(running.reload)
                await until_bound(running.path)
                assert not all(send.done() for send in sends)
                assert await asyncio.to_thread(running.stop) == 0
                assert {(await send)["outcome"] for send in sends} == {"accepted"}
            report = await kept.do("report")
            assert sorted(one["text"] for one in report["taken"]) == sorted(f"message {n}" for n in range(MESSAGES))
            assert (len(report["sessions"]), report["unbound"]) == (1, 1)
            assert len((await changed.do("report"))["sessions"]) == 2

    run(test())


def test_an_smsc_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    """What was on its way is unknown, what waited goes over the next session, and status tells how it stands."""

    async def test() -> None:
        async def window_is_full() -> bool:
            return int((await smsc.do("report"))["seen"]) >= 10

        async def is_down() -> bool:
            standing = await bind(running.path, "a")
            return standing["state"] == "down" and bool(standing["error"])

        async with foreign_smsc.node(delay_ms=50) as other, foreign_smsc.node(delay_ms=200) as smsc:
            port = smsc.port
            files = {"gateways.d/a.yaml": GATEWAY % (port, 10), "gateways.d/b.yaml": GATEWAY % (other.port, 10)}
            config = configuration(tmp_path, {**files, "password": "hunter2x\n"})
            (config / "password").chmod(0o600)
            with daemon(config) as running:
                running.ready()
                await until_bound(running.path)
                sends = [asyncio.create_task(outcome(running.path, f"message {number}")) for number in range(40)]
                await until(window_is_full)
                smsc.kill()
                await until(is_down)
                async with foreign_smsc.node(port=port) as again:
                    kinds = [(await send)["outcome"] for send in sends]
                    taken = {one["text"] for one in (await again.do("report"))["taken"]}
            assert set(kinds) <= {"accepted", "unknown"}
            assert 1 <= kinds.count("unknown") <= 10
            assert all(kinds[int(text.split()[1])] == "accepted" for text in taken)
            assert len(taken) >= 20

    run(test())
