"""Whoever never reads the answers is cut, while the relay serves and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from relay.server import connections
from relay.server.connections import Connection
from testkit.command_line import serve
from testkit.data_api_server import DataApi
from testkit.polling import until
from testkit.relay_under_test import environ, serving

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n"
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


def deaf(url: str) -> socket.socket:
    """A connection that takes next to nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    made.setblocking(False)
    return made


def flood(stream: socket.socket) -> int:
    """Ask again and again, and read nothing; how many bytes went out before the relay took no more for a second."""
    sent, silent_since = 0, time.monotonic()
    while time.monotonic() - silent_since < 1:
        try:
            sent += stream.send(REQUEST * 100)
            silent_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
        except ConnectionError:
            break
    return sent


@asynccontextmanager
async def connection(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[socket.socket, Connection, asyncio.Event]]:
    """A deaf sender to a relay, its end at the relay, and the event that says that it has ended."""
    made: list[Connection] = []
    lost = asyncio.Event()
    connection_made, connection_lost = Connection.connection_made, Connection.connection_lost

    def note(self: Connection, transport: asyncio.BaseTransport) -> None:
        connection_made(self, transport)
        made.append(self)

    def forget(self: Connection, exc: BaseException | None) -> None:
        connection_lost(self, exc)
        lost.set()

    monkeypatch.setattr(Connection, "connection_made", note)
    monkeypatch.setattr(Connection, "connection_lost", forget)
    with contextlib.ExitStack() as senders:
        async with DataApi().listening() as data_api, serving(environ(data_api.url)) as relay:
            stream = senders.enter_context(deaf(relay.url))
            await until(lambda: bool(made))
            yield stream, made[0], lost
        await lost.wait()  # while the sender still holds its end


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


def test_a_sender_who_asks_without_end_and_reads_nothing_is_cut(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKING_SECONDS", 0.2)

    async def play() -> None:
        async with connection(monkeypatch) as (stream, _, lost), asyncio.timeout(30):
            await asyncio.to_thread(flood, stream)
            await lost.wait()

    runner.run(play())


def test_a_sender_who_leaves_the_last_answers_unread_is_cut_when_the_connection_was_idle_for_too_long(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKING_SECONDS", 0.2)
    monkeypatch.setitem(connections.HANDLER_ARGS, "keepalive_timeout", 0.5)

    async def play() -> None:
        async with connection(monkeypatch) as (stream, relays_end, lost), asyncio.timeout(30):
            wire = relays_end.transport
            assert wire is not None
            while not wire.get_write_buffer_size():
                stream.send(REQUEST)
                await asyncio.sleep(0.01)
            assert not relays_end.writing_paused
            await lost.wait()

    runner.run(play())


def test_a_sender_who_reads_late_but_in_time_gets_every_answer(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKING_SECONDS", 2.0)

    async def play() -> None:
        async with connection(monkeypatch) as (stream, relays_end, lost), asyncio.timeout(30):
            asked = 0
            while not relays_end.writing_paused:
                stream.send(REQUEST)
                asked += 1
                await asyncio.sleep(0.005)
            loop = asyncio.get_running_loop()
            found = b""
            while found.count(b"HTTP/1.1 200") < asked:
                found += await loop.sock_recv(stream, 2**20)
            with pytest.raises(TimeoutError):  # the deadline is over, and was let go
                await asyncio.wait_for(lost.wait(), 2.1)

    runner.run(play())


def test_what_is_unread_at_the_end_of_the_drain_is_aborted(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKING_SECONDS", 1000.0)

    async def play() -> None:
        async with asyncio.timeout(30):
            async with connection(monkeypatch) as (stream, relays_end, lost):
                while not relays_end.writing_paused:
                    with contextlib.suppress(BlockingIOError):
                        stream.send(REQUEST * 100)
                    await asyncio.sleep(0.005)
                assert not lost.is_set()
            assert lost.is_set()

    runner.run(play())


@pytest.mark.anyio
async def test_sigterm_ends_within_thirty_seconds_though_some_read_nothing(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        with deaf(relay.url) as first, deaf(relay.url) as second:
            await asyncio.to_thread(flood, first)
            second.send(REQUEST)
            relay.process.send_signal(signal.SIGTERM)

            async with asyncio.timeout(25):
                assert await relay.process.wait() == 0
