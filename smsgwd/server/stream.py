"""Many messages on one connection: a line for each message, a line for each outcome as it ends (NDJSON).

Back-pressure comes by itself: a line holds one of the places of the window until its outcome has been written, and
without a free place nothing more is read.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from smsgwd.errors import RequestError
from smsgwd.server.body import MAX_BODY, UNFRAMED, invite, parse_object
from smsgwd.server.connection import Connection
from smsgwd.server.problems import as_octets, begun_answer, document

log = logging.getLogger("smsgwd.server")

NDJSON = "application/x-ndjson"
_WINDOW = 256  # messages of one stream at once

Send = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Refused = Callable[[RequestError], None]


class Stream:
    """One stream. `send` makes a message's object into its outcome's, or raises RequestError, which `refused` hears."""

    def __init__(self, request: web.BaseRequest, connection: Connection, send: Send, refused: Refused) -> None:
        self._request = request
        self._connection = connection
        self._limits = connection.limits
        self._send = send
        self._refused = refused
        self._response = begun_answer(NDJSON)
        self._places = asyncio.Semaphore(_WINDOW)
        self._writing = asyncio.Lock()
        self._running = 0

    async def run(self) -> web.StreamResponse:
        """Read to the end of the stream, and return when its last outcome has been written."""
        await invite(self._request)
        await self._response.prepare(self._request)
        self._connection.request_is_read()  # from here on each line has its own time
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._read(tasks)
        except ExceptionGroup:  # of ConnectionError and TimeoutError: all else has become an answer
            self._connection.drop()
            raise ConnectionResetError("the client is gone, or too slow") from None
        return self._response

    def stop(self) -> None:
        """Read no more. What was read is sent and answered: a line without an outcome was not begun."""
        self._request.content.feed_eof()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        number = 0
        async for line in self._lines():
            number += 1
            if len(line) > MAX_BODY:
                self._response.force_close()
                await self._write(
                    number, self._refusal(RequestError("too-large", f"a line has at most {MAX_BODY} octets"))
                )
                return
            if line.strip():
                await self._places.acquire()
                self._running += 1
                tasks.create_task(self._one(number, line))

    async def _one(self, number: int, line: bytes) -> None:
        try:
            await self._write(number, await self._answer(line))
        finally:
            self._running -= 1
            self._places.release()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return await self._send(parse_object(line))
        except RequestError as error:
            return self._refusal(error)
        except Exception:
            log.exception("unforeseen failure of a line")
            return document("internal", "something unforeseen went wrong; the log has it")

    def _refusal(self, error: RequestError) -> dict[str, Any]:
        self._refused(error)
        return document(error.code, error.detail, error.members)

    async def _write(self, number: int, content: dict[str, Any]) -> None:
        async with self._writing, asyncio.timeout(self._limits.answer_s):
            await self._response.write(as_octets({"line": number, **content}))

    async def _lines(self) -> AsyncIterator[bytes]:
        """The lines of the body, the last with or without its end; one that is too long comes cut, as the last."""
        rest, began = b"", time.monotonic()
        while chunk := await self._chunk(began if rest else None):
            *lines, last = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
            if lines or not rest:
                began = time.monotonic()
            rest = last
            if len(rest) > MAX_BODY:
                break
        if rest:
            yield rest

    async def _chunk(self, began: float | None) -> bytes:
        """What comes next. A line that began has to end in time; between lines the client may rest for a while.

        As long as outcomes are due it may rest for longer: perhaps it waits for them.
        """
        patience_s = self._limits.idle_s if began is None else began + self._limits.request_s - time.monotonic()
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    return await self._request.content.readany()
            except TimeoutError:
                if began is not None or not self._running:
                    raise
            except UNFRAMED:
                raise ConnectionResetError("the body's framing is broken") from None
