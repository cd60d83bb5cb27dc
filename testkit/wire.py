"""A raw connection to the relay, and the answers on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

# Longer than the relay's own limits for a head or a body: whoever waits longer has found something.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """Sends bytes, reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, content: bytes) -> None:
        """Write without waiting; nothing where the relay has hung up already."""
        if not self._writer.transport.is_closing():
            self._writer.write(content)

    async def flush(self) -> None:
        """Wait until the relay has taken what was sent, or has hung up."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def hang_up(self) -> None:
        """Send nothing any more, and still read."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def answer(self, *, bodiless: bool = False) -> Answer | None:
        """The next answer that is final, or None where the connection has ended before one."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while answer := await self._next(bodiless):
                    if answer.status >= 200:
                        return answer
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return None

    async def _next(self, bodiless: bool) -> Answer | None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = b"" if bodiless else await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """A connection to a relay on the loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
