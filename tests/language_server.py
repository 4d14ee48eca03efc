"""The YAML language server, which editors use, driven over LSP on its standard streams."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from readers_of_ours import node_modules

PATIENCE_S = 20.0

Json = dict[str, Any]


class LanguageServer:
    """A server, and what it has said of each file so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._number = 0
        self._diagnostics: dict[str, list[Json]] = {}

    async def start(self, folder: Path) -> None:
        """Shake hands. It is told nothing but what every editor tells: the schemas are named in the files."""
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"hover": {"contentFormat": ["markdown"]}},
        }
        await self.ask("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": capabilities})
        self.tell("initialized", {})

    async def open(self, path: Path) -> list[Json]:
        """Open a file; returns what it underlines."""
        self._diagnostics.pop(path.as_uri(), None)
        self.tell("textDocument/didOpen", {"textDocument": _document(path)})
        while path.as_uri() not in self._diagnostics:
            await self._read()
        return self._diagnostics[path.as_uri()]

    async def complete(self, path: Path, line: int, character: int) -> list[str]:
        """What it offers at a place (both from 0), the first word of each."""
        answer = await self.ask("textDocument/completion", _place(path, line, character))
        return [item["label"] for item in answer["items"]]

    async def hover(self, path: Path, line: int, character: int) -> str:
        """What it says about what stands there."""
        answer = await self.ask("textDocument/hover", _place(path, line, character))
        return "" if answer is None else str(answer["contents"]["value"])

    async def ask(self, method: str, params: Json) -> Any:
        """A request, and its answer."""
        self._number += 1
        number = self._number
        self._write({"id": number, "method": method, "params": params})
        while True:
            message = await self._read()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]

    def tell(self, method: str, params: Json) -> None:
        """A notification."""
        self._write({"method": method, "params": params})

    def _write(self, message: Json) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _read(self) -> Json:
        """The next message; requests of the server are answered, and diagnostics kept."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            head = await self._process.stdout.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            message: Json = json.loads(await self._process.stdout.readexactly(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "method" in message and "id" in message:
            self._write({"id": message["id"], "result": _answer(message)})
        return message


def _answer(request: Json) -> Any:
    """What an editor answers: no settings but that nothing is to be fetched from the network."""
    if request["method"] != "workspace/configuration":
        return None
    yaml = {"schemaStore": {"enable": False}, "validate": True, "hover": True, "completion": True}
    return [yaml if item.get("section") == "yaml" else {} for item in request["params"]["items"]]


def _document(path: Path) -> Json:
    return {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": path.read_text("utf-8")}


def _place(path: Path, line: int, character: int) -> Json:
    return {"textDocument": {"uri": path.as_uri()}, "position": {"line": line, "character": character}}


@contextlib.asynccontextmanager
async def language_server(folder: Path) -> AsyncIterator[LanguageServer]:
    """A server for the files of a folder."""
    program = node_modules() / "yaml-language-server" / "bin" / "yaml-language-server"
    process = await asyncio.create_subprocess_exec(
        "node",
        program,
        "--stdio",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=1 << 24,
    )
    server = LanguageServer(process)
    try:
        await server.start(folder)
        yield server
    finally:
        process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else the garbage collector warns of open pipes
