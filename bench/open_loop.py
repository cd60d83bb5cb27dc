"""Deliveries that come when they come, answered or not the ones before them: an open loop over the real stack.

A closed loop is polite: where a server is slow, its callers send less. Here the moments are fixed beforehand, and each
latency counts from the moment at which its delivery was to be sent.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from bench import recipes
from bench.callers import Load, Request, is_whole, press
from bench.whole_path import stage

# Shares of what the server takes from 64 callers who wait for each answer.
SHARES = (0.3, 0.5, 0.7, 0.9)
CALLERS = 64
APPLIED = b'"applied"'
# Fewer than a relay lets wait, so that none is refused; what comes while all are busy waits here, and its time counts.
CONNECTIONS = 240


class _Line(asyncio.Protocol):
    """A connection that carries one delivery at a time."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._buffer = b""
        self._intended = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Free for the first delivery."""
        self.transport = cast(asyncio.Transport, transport)

    def send(self, intended: float) -> None:
        """Send a delivery that was to be sent at this moment of the loop's clock."""
        self._intended = intended
        self.transport.write(self._crowd.request())

    def data_received(self, data: bytes) -> None:
        """Collect the answer, and take the next delivery that waits."""
        self._buffer += data
        if is_whole(self._buffer):
            answer, self._buffer = self._buffer, b""
            self._crowd.answered(self, answer, self._intended)

    def connection_lost(self, exc: Exception | None) -> None:
        """Servers keep connections while deliveries come."""
        self._crowd.lost(exc)


class _Crowd:
    """All deliveries of one run, and the connections that carry them."""

    def __init__(self, request: Request, deliveries: int) -> None:
        self.request = request
        self.load = Load(latencies=array("d"))
        self._loop = asyncio.get_running_loop()
        self._left = deliveries
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._late: deque[float] = deque()
        self.done = self._loop.create_future()

    async def connect(self, port: int) -> None:
        """Open all connections before the first delivery is due."""
        opened = [self._loop.create_connection(lambda: _Line(self), "127.0.0.1", port) for _ in range(CONNECTIONS)]
        self._lines = [line for _, line in await asyncio.gather(*opened)]
        self._idle = [*self._lines]

    def arrive(self, intended: float) -> None:
        """A delivery is due."""
        if self._idle:
            self._idle.pop().send(intended)
        else:
            self._late.append(intended)

    def answered(self, line: _Line, answer: bytes, intended: float) -> None:
        """Keep its latency, or what was wrong with it."""
        if APPLIED in answer:
            self.load.latencies.append(self._loop.time() - intended)
        else:
            self.load.wrong.append(answer[:400].decode(errors="replace"))
        self._left -= 1
        if self._late:
            line.send(self._late.popleft())
        else:
            self._idle.append(line)
        if not self._left and not self.done.done():
            self.done.set_result(None)

    def lost(self, exc: Exception | None) -> None:
        """A server that hangs up ends the run."""
        if not self.done.done():
            self.load.wrong.append(f"connection lost: {exc!r}")
            self.done.set_result(None)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.transport.close()


async def offer(port: int, request: Request, *, rate: float, seconds: float) -> Load:
    """Send `rate` deliveries a second at moments of chance, the same ones each time, and wait for all answers."""
    random, loop = Random(0), asyncio.get_running_loop()  # noqa: S311  moments, no secrets
    crowd = _Crowd(request, round(rate * seconds))
    await crowd.connect(port)
    moment = begin = loop.time() + 0.1
    due = []
    for _ in range(round(rate * seconds)):
        moment += random.expovariate(rate)
        due.append(loop.call_at(moment, crowd.arrive, moment))
    await crowd.done
    crowd.load.seconds = loop.time() - begin
    for timer in due:
        timer.cancel()
    crowd.close()
    return crowd.load


async def follow(names: Sequence[str], rounds: int, seconds: float, home: Path) -> dict[str, Any]:
    """The latencies of each server at shares of what 64 callers get through.

    What they get through is measured anew before each round of shares, because a shared machine is not always as fast.
    """
    measured = (rounds + 1) * (1 + len(SHARES)) * len(names) * seconds
    with stage(home, seconds=measured) as set_up:
        servers = {name: set_up.start(recipes.recipe(name)) for name in names}
        made = {name: set_up.deliveries(server) for name, server in servers.items()}

        def requests(name: str) -> Request:
            return lambda: made[name].request(made[name].body(set_up.groups.take()))

        per_second: dict[str, list[float]] = {name: [] for name in names}
        samples: dict[str, list[dict[str, float]]] = {}
        for number in range(rounds + 1):
            for name, server in servers.items():
                load = await press(server.port, requests(name), callers=CALLERS, seconds=seconds)
                for share in SHARES:
                    rate = share * load.per_second
                    offered = await offer(server.port, requests(name), rate=rate, seconds=seconds)
                    if offered.wrong:
                        raise SystemExit(f"bench: {name} answered wrongly at {share:.0%}: {offered.wrong[:1]}")
                    p50, p99 = offered.percentile(50) * 1e3, offered.percentile(99) * 1e3
                    if number:  # the first one warms up
                        sample = {"per_second": rate, "p50_ms": p50, "p99_ms": p99}
                        samples.setdefault(f"{name}, {share:.0%}", []).append(sample)
                        sys.stderr.write(f"bench: open loop, {name} at {share:.0%} ({rate:,.0f}/s): p99 {p99:.0f} ms\n")
                if number:
                    per_second[name].append(load.per_second)
        return {"per_second": per_second, "samples": samples}
