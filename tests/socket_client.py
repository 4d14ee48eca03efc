"""A client of the Unix socket, or of a TCP listener, that can also behave badly."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON = {"Content-Type": "application/json"}
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Response:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]  # names in small letters
    body: bytes

    @property
    def type(self) -> str:
        """The problem's code."""
        return str(self.json()["type"]).removeprefix("urn:smsgwd:problem:")

    def json(self) -> Any:
        """The JSON in the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Tcp:
    """A TCP listener: with `ca` one that speaks TLS. `source` is the address that the client comes from."""

    port: int
    ca: Path | None = None
    host: str = "127.0.0.1"
    source: str | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it."""
        tls = None if self.ca is None else ssl.create_default_context(cafile=self.ca)
        source = None if self.source is None else (self.source, 0)
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.open_connection(self.host, self.port, ssl=tls, local_addr=source)


Where = Path | Tcp


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the socket or listener."""
    reader, writer = await (asyncio.open_unix_connection(where) if isinstance(where, Path) else where.connect())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def request(method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The octets of a request, with its length."""
    fields = {"Host": "smsgwd", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


async def read_response(reader: asyncio.StreamReader, *, body: bool = True) -> Response:
    """One answer from the connection. `body` False: of a HEAD request."""
    async with asyncio.timeout(PATIENCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0")) if body else 0
        return Response(int(first.split(" ")[1]), headers, await reader.readexactly(length))


async def raw(path: Where, octets: bytes, *, body: bool = True) -> Response:
    """Write these octets on a connection of their own, and read one answer."""
    async with connected(path) as (reader, writer):
        writer.write(octets)
        return await read_response(reader, body=body)


async def call(
    path: Where, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Response:
    """One request on a connection of its own; a body that is no octets goes as JSON."""
    octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {**(JSON if octets else {}), **(headers or {})}
    return await raw(path, request(method, target, octets, fields), body=method != "HEAD")


async def send(path: Where, text: str, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """A message to the gateway `gated`."""
    body = {"gateway": "gated", "to": "+491701234567", "text": text, **members}
    return await call(path, "POST", "/v1/messages", body, headers)
