"""The wire between relays and gateway, which can be cut, made slow, or go dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

CHUNK_BYTES = 65536


class Proxy:
    """Forwards TCP connections to a port of the loopback."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._connections: set[_Connection] = set()
        self.port = 0
        self.delay_seconds = 0.0
        """Each piece, either way, is held for so long."""
        self.answers_to_cut = 0
        """So many of the next answers are lost: the call has been made, the connection breaks."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """On a free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut_all()

    def cut_all(self) -> int:
        """Break every connection now; returns how many there were."""
        cut = list(self._connections)
        for connection in cut:
            connection.cut()
        return len(cut)

    def kill_all(self) -> int:
        """Nothing comes out of the connections of this moment any more, though they stay open: a host that is gone."""
        for connection in self._connections:
            connection.dead = True
        return len(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), onward)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.cut()


class _Connection:
    """One connection and its continuation."""

    def __init__(
        self,
        proxy: Proxy,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._near = near
        self._far = far
        self.dead = False

    def cut(self) -> None:
        """Without a word, to both sides."""
        for _, writer in (self._near, self._far):
            writer.transport.abort()

    async def run(self) -> None:
        """Forward until either side ends."""
        pumps = [
            asyncio.create_task(self._pump(self._near[0], self._far[1], is_answer=False)),
            asyncio.create_task(self._pump(self._far[0], self._near[1], is_answer=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._proxy.delay_seconds:
                await asyncio.sleep(self._proxy.delay_seconds)
            if is_answer and self.dead:
                continue
            if is_answer and self._proxy.answers_to_cut > 0:
                self._proxy.answers_to_cut -= 1
                return
            writer.write(chunk)
            await writer.drain()
