"""How fast messages go through the daemon to an HTTP provider, beside what callers do today.

    .venv/bin/python bench/http_gateway.py [--messages 2000] [--callers 32] [--delay-ms 0]

All of it on loopback and in one run, because only the ratios count: the machine is as busy for one as for the other.
`requests.post` in threads is what a service does that holds its own copy of the credentials.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

_ANSWER = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"sid":"SM1"}'
_GATEWAY = """\
provider: http
settings:
  url: http://127.0.0.1:{port}/messages
  form: {{To: "{{{{ phone }}}}", Body: "{{{{ message }}}}"}}
  message_id: {{json: /sid}}
"""
_MESSAGE = {"gateway": "bench", "to": "+491701234567", "text": "Your code is 123456."}


class _Sink(asyncio.Protocol):
    """Answers every request that has arrived whole with 201, after `delay_s`."""

    delay_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(rest) >= length:
            self._buffer = rest[length:]
            asyncio.get_running_loop().call_later(self.delay_s, self._transport.write, _ANSWER)


def _serve_sink(delay_s: float, port: Any) -> None:
    async def main() -> None:
        _Sink.delay_s = delay_s
        server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def sink(delay_s: float) -> Iterator[int]:
    """A provider in a process of its own; yields its port."""
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=_serve_sink, args=(delay_s, port), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    try:
        yield port.value
    finally:
        process.terminate()
        process.join()


@contextmanager
def daemon(port: int, engine: str) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A daemon with one gateway; yields its socket and process."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        (config / "gateways.d").mkdir()
        (config / "gateways.d" / "bench.yaml").write_text(_GATEWAY.format(port=port))
        (config / "smsgwd.yaml").write_text(f"http: {{engine: {engine}}}\nlog: {{level: warning}}\n")
        path = config / "smsgwd.sock"
        arguments = [sys.executable, "-m", "smsgwd", "serve", "--config", folder, "--socket", str(path)]
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
        while not path.exists():
            time.sleep(0.01)
        try:
            yield path, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


async def _through(path: Path, messages: int, callers: int) -> None:
    """Each caller keeps one connection and sends one message after the other."""
    body = json.dumps(_MESSAGE).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"\r\n" + body

    async def caller(count: int) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for _ in range(count):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if not answer.startswith(b"HTTP/1.1 200") or not await reader.readexactly(length):
                raise RuntimeError(answer.decode())
        writer.close()

    await asyncio.gather(*(caller(messages // callers) for _ in range(callers)))


def _directly(port: int, messages: int, callers: int) -> None:
    form = {"To": _MESSAGE["to"], "Body": _MESSAGE["text"]}

    def post(_: int) -> None:
        requests.post(f"http://127.0.0.1:{port}/messages", data=form, timeout=10).raise_for_status()

    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(post, range(messages)))


def _measured(what: str, messages: int, run: Callable[[], object], cpu_s: Callable[[], float]) -> float:
    before, started = cpu_s(), time.perf_counter()
    run()
    elapsed_s, used_s = time.perf_counter() - started, cpu_s() - before
    print(f"{what:42} {messages / elapsed_s:8.0f} messages/s {used_s / messages * 1e6:8.0f} us CPU each")
    return messages / elapsed_s


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run the three and print the ratios."""
    parser = argparse.ArgumentParser(description="Messages per second through smsgwd, beside requests.post.")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the provider takes")
    args = parser.parse_args()
    with sink(args.delay_ms / 1000) as port:
        count = max(args.callers, args.messages // 4)
        base = _measured("requests.post in threads", count, lambda: _directly(port, count, args.callers), _own_cpu)
        for engine in ("requests", "httptools"):
            with daemon(port, engine) as (path, process):
                asyncio.run(_through(path, args.callers, args.callers))  # warm
                rate = _measured(
                    f"smsgwd, engine {engine}",
                    args.messages,
                    lambda path=path: asyncio.run(_through(path, args.messages, args.callers)),  # type: ignore[misc]  # a default cannot be typed in a lambda
                    lambda pid=process.pid: _cpu_of(pid),  # type: ignore[misc]  # as above
                )
                print(f"{'':42} {rate / base:8.1f} times requests.post")


if __name__ == "__main__":
    main()
