"""Callers that each keep one connection busy: a closed loop, as a sale's burst behind a balancer is."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles
from typing import cast

Request = Callable[[], bytes]


@dataclass(slots=True)
class Load:
    """What the callers saw."""

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    """Seconds from the request's first byte to its answer's last, one for each right answer."""
    wrong: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Right answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies, in seconds."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


class _Caller(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, load: Load, request: Request, expected: bytes, until: float, limit: list[int]) -> None:
        self._load = load
        self._request = request
        self._expected = expected
        self._until = until
        self._limit = limit
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        if time.perf_counter() >= self._until or not self._limit[0]:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._limit[0] -= 1
        request = self._request()
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._buffer += data
        if not is_whole(self._buffer):
            return
        took = time.perf_counter() - self._sent
        if self._expected in self._buffer:
            self._load.latencies.append(took)
        else:
            self._load.wrong.append(self._buffer[:400].decode(errors="replace"))
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up in the middle is wrong, too."""
        if not self.done.done():
            self._load.wrong.append(f"connection lost: {exc!r}")
            self.done.set_result(None)


def is_whole(answer: bytes) -> bool:
    """Whether an HTTP answer has arrived to its end, by its length or its last chunk."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])


async def press(
    port: int,
    request: Request,
    *,
    callers: int,
    seconds: float = float("inf"),
    requests: int = 2**62,
    expected: bytes = b'"applied"',
) -> Load:
    """Send for so many seconds, or so many requests. An answer is right where it holds `expected`."""
    load = Load()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    limit = [requests]
    protocols = [
        (
            await loop.create_connection(
                lambda: _Caller(load, request, expected, started + seconds, limit), "127.0.0.1", port
            )
        )[1]
        for _ in range(callers)
    ]
    await asyncio.gather(*(each.done for each in protocols))
    load.seconds = time.perf_counter() - started
    return load
