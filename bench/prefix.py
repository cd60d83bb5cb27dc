"""Adds nothing but the path: what comes for /rest/v1/… goes on to PostgREST's /…, as Supabase's gateway does it.

`python -m bench.prefix PORT UPSTREAM_PORT`. Bytes are passed as they come, so that it costs next to nothing.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class _Downstream(asyncio.Protocol):
    """Gives PostgREST's bytes back."""

    def __init__(self, caller: asyncio.Transport) -> None:
        self._caller = caller

    def data_received(self, data: bytes) -> None:
        self._caller.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._caller.close()


class _Upstream(asyncio.Protocol):
    """A caller's connection, and the one to PostgREST that belongs to it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._waiting = bytearray()
        self._postgrest: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._caller = cast(asyncio.Transport, transport)
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Downstream(self._caller), "127.0.0.1", self._port)
        self._postgrest = transport
        if self._waiting:
            transport.write(bytes(self._waiting))

    def data_received(self, data: bytes) -> None:
        # Callers do not pipeline: a head stands at a chunk's beginning.
        data = data.replace(b" /rest/v1/", b" /", 1) if b" /rest/v1/" in data[:64] else data
        if self._postgrest is None:
            self._waiting += data
        else:
            self._postgrest.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._postgrest is not None:
            self._postgrest.close()


async def serve(port: int, upstream: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: _Upstream(upstream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
