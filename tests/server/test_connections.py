"""What connections may cost: senders who hang up, who idle by the thousand, who never end a body."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp.http_writer import StreamWriter

from relay.server import connections, deliveries
from relay.server.webhook import PATH
from testkit.data_api_server import DataApi
from testkit.relay_log import faults_in
from testkit.relay_process import RelayProcess, relay_serve
from testkit.relay_under_test import Relay, environ
from testkit.stripe_events import completed, delivery
from testkit.wire import Wire, connected

pytestmark = pytest.mark.anyio

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: relay\r\n".encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"
# Each is a socket here and a socket there; as many as the machine allows, and no more than prove the point.
MOST_IDLE = 3000
# aiohttp's own objects for one connection are about 20 KiB; a buffer of 64 KiB each would be a finding.
BYTES_PER_CONNECTION = 48 * 1024


async def test_a_sender_who_hangs_up_before_the_100_continue_is_not_logged_as_a_fault(
    relay: Relay, data_api: DataApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = StreamWriter.write

    async def gone(self: StreamWriter, chunk: Any, **options: Any) -> None:
        if bytes(chunk).startswith(b"HTTP/1.1 100"):
            raise aiohttp.ClientConnectionResetError
        await write(self, chunk, **options)

    monkeypatch.setattr(StreamWriter, "write", gone)

    async with connected(int(relay.url.rsplit(":", 1)[1])) as wire:
        wire.send(HEAD + b"Expect: 100-continue\r\nStripe-Signature: t=1,v1=x\r\nContent-Length: 2\r\n\r\n{}")
        answer = await wire.answer()

    assert answer is not None
    assert json.loads(answer.body)["reason"] == "invalid_signature"
    assert [record.message for record in caplog.records] == []
    assert data_api.calls == []


async def test_nothing_is_kept_of_a_connection_that_has_ended(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = 0
    all_lost = asyncio.Event()
    connection_lost = connections.Connection.connection_lost

    def count(self: connections.Connection, exc: BaseException | None) -> None:
        nonlocal lost
        connection_lost(self, exc)
        lost += 1
        if lost == 50:
            all_lost.set()

    monkeypatch.setattr(connections.Connection, "connection_lost", count)
    for _ in range(50):
        async with connected(int(relay.url.rsplit(":", 1)[1])) as wire:
            wire.send(HEALTH)
            assert await wire.answer() is not None
            wire.send(b"P")
            await wire.flush()
    await all_lost.wait()

    gc.collect()

    # The task of the one that was lost last may just be ending.
    assert len([each for each in gc.get_objects() if type(each) is connections.Connection]) <= 1


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many connections this process and the relay (which inherits the limit) can hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 2 * MOST_IDLE) if hard != resource.RLIM_INFINITY else 2 * MOST_IDLE
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield min(MOST_IDLE, max(soft, wanted) - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def deliver(wire: Wire) -> int:
    body, headers = delivery(completed())
    head = HEAD + f"Stripe-Signature: {headers['Stripe-Signature']}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    wire.send(head + body)
    answer = await wire.answer()
    assert answer is not None
    return answer.status


Held = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
Crowd = Callable[[RelayProcess, int, bytes], Awaitable[Held]]


@pytest.fixture
async def crowd(anyio_backend: str) -> AsyncIterator[Crowd]:
    """Opens that many connections, each of which sends `opening`; they end with the test."""
    assert anyio_backend == "asyncio"
    made: Held = []

    async def gather(relay: RelayProcess, count: int, opening: bytes) -> Held:
        for _ in range(count):
            made.append(await asyncio.open_connection("127.0.0.1", relay.port))
            made[-1][1].write(opening)
        return made[-count:]

    yield gather
    for _, writer in made:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "opening",
    [
        HEALTH,
        b"",
        HEAD,
        HEAD + b"Content-Length: 1000000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["idle after a request", "silent", "half a head", "half a body", "half a chunked body"],
)
async def test_thousands_of_connections_are_cheap_and_others_are_still_served(
    data_api: DataApi, descriptors: int, crowd: Crowd, opening: bytes
) -> None:
    async with relay_serve(environ(data_api.url)) as relay:
        async with connected(relay.port) as other:
            assert await deliver(other) == 200
        before = relay.resident_bytes

        await crowd(relay, descriptors, opening)
        async with connected(relay.port) as other:
            assert await deliver(other) == 200
        grown = relay.resident_bytes - before

        assert grown < descriptors * BYTES_PER_CONNECTION, f"{grown / descriptors:.0f} bytes each"
        assert faults_in(relay.log) == []


async def test_held_back_megabytes_wait_for_a_place_and_small_deliveries_do_not(
    data_api: DataApi, descriptors: int, crowd: Crowd
) -> None:
    most = min(400, descriptors)
    opening = HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 900_000
    async with relay_serve(environ(data_api.url)) as relay:
        before = relay.resident_bytes
        await crowd(relay, most, opening)

        async with connected(relay.port) as other:
            assert await deliver(other) == 200

        # A place holds a megabyte, twice while it grows; whoever waits for one, what a socket is read into at once.
        places = deliveries.LARGE_BODIES * 2 * 2**20
        assert relay.resident_bytes - before < places + most * 400 * 1024


async def test_large_deliveries_take_turns_and_all_get_through(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "LARGE_BODIES", 1)
    events = [completed(filler="x" * 400_000) for _ in range(12)]

    answers = await asyncio.gather(*(relay.deliver(event) for event in events))

    assert {answer.verdict for answer in answers} == {(200, "applied", None)}


async def test_no_answer_names_a_version(relay: Relay) -> None:
    requests = [
        HEALTH,
        b"GET /nothing HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: 0\r\n\r\n",
    ]
    for request in requests:
        async with connected(int(relay.url.rsplit(":", 1)[1])) as wire:
            wire.send(request)
            answer = await wire.answer()
        assert answer is not None
        assert answer.headers["server"] == "relay"


async def test_whoever_dawdles_is_cut_without_any_setting(data_api: DataApi, crowd: Crowd) -> None:
    """The real limits, all kinds at once, which takes the time of the slowest. The end is awaited, not measured."""
    openings = [b"", b"P", HEAD, HEAD + b"Content-Length: 10\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]
    async with relay_serve(environ(data_api.url)) as relay:
        held = [each for opening in openings for each in await crowd(relay, 3, opening)]

        async with asyncio.timeout(30):
            ends = await asyncio.gather(*(reader.read() for reader, _ in held))

        answered = [end.split(b" ", 2)[1] if end else b"" for end in ends]
        assert answered == [b""] * 9 + [b"408"] * 6


async def test_a_sender_who_drips_is_cut_though_something_comes_all_the_time(data_api: DataApi) -> None:
    async def drip(opening: bytes, drop: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(opening)
        end = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([end], timeout=0.2))[0]:
            writer.write(drop)
        writer.close()
        return await end

    async with relay_serve(environ(data_api.url)) as relay, asyncio.timeout(40):
        ends = await asyncio.gather(
            drip(b"", b"P"),
            drip(HEAD, b"X: y\r\n"),
            drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
            drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            drip(HEALTH, b"P"),
        )

    assert [end[9:12] for end in ends[:4]] in ([b"", b"", b"408", b"408"], [b"400", b"", b"408", b"408"])
    assert ends[4].startswith(b"HTTP/1.1 200")


async def test_answers_are_not_piled_up_for_a_sender_who_never_reads(data_api: DataApi) -> None:
    """Pipelining without reading: the relay must stop taking requests, not buffer answers without end."""
    async with relay_serve(environ(data_api.url)) as relay:
        async with connected(relay.port) as other:
            assert await deliver(other) == 200
        before = relay.resident_bytes
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        request = b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n"

        # As much as the relay takes; it is full when nothing more goes out.
        writer.transport.set_write_buffer_limits(high=2**16)
        for _ in range(200):
            writer.write(request * 100)
            try:
                async with asyncio.timeout(1):
                    await writer.drain()
            except (TimeoutError, ConnectionError):
                break
        async with connected(relay.port) as other:
            assert await deliver(other) == 200

        assert relay.resident_bytes - before < 64 * 2**20
        writer.transport.abort()
        assert reader is not None
