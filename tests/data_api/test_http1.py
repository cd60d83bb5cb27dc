"""Calls over kept connections: each gets its own answer and no other's, or a reason why there is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from relay.data_api.http1 import (
    MAX_ANSWER_BYTES,
    MAX_HEAD_BYTES,
    Answer,
    BadAnswer,
    ConnectTimeout,
    Server,
    Unanswered,
    _Connection,
)

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def request(name: str = "x") -> bytes:
    return f"GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


@dataclass
class Far:
    """The other side: what came in on each connection, and what goes out for each request."""

    port: int = 0
    answers: list[bytes] = field(default_factory=list)
    connections: list[list[bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    hangs_up: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(heard := [])
        self.writers.append(writer)
        try:
            while True:
                heard.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answers.pop(0) if self.answers else OK)
                if self.hangs_up:
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        finally:
            writer.close()

    @asynccontextmanager
    async def near(self, *, connect_seconds: float = 3.0, idle_seconds: float = 15.0) -> AsyncIterator[Server]:
        async with Server(
            "127.0.0.1", self.port, tls=None, connect_seconds=connect_seconds, idle_seconds=idle_seconds
        ) as server:
            yield server


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    far = Far()
    listener = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = listener.sockets[0].getsockname()[1]
    yield far
    listener.close()


async def test_calls_after_each_other_share_a_connection(far: Far) -> None:
    async with far.near() as server:
        answers = [await server.call(request(name)) for name in "ab"]

    assert answers == [Answer(200, {b"content-type": b"text/plain", b"content-length": b"2"}, b"ok")] * 2
    assert far.connections == [[request("a"), request("b")]]


async def test_calls_at_once_have_a_connection_each(far: Far) -> None:
    async with far.near() as server:
        await asyncio.gather(*(server.call(request(name)) for name in "abc"))

    assert sorted(far.connections) == [[request("a")], [request("b")], [request("c")]]


async def test_chunks_and_pieces_make_one_answer(far: Far) -> None:
    far.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"]
    async with far.near() as server:
        assert (await server.call(request())).content == b"abc"
        assert (await server.call(request())).content == b"ok"


async def test_an_answer_that_only_says_that_another_one_follows_is_passed_over(far: Far) -> None:
    far.answers = [b"HTTP/1.1 103 Early Hints\r\nX-First: 1\r\n\r\n" + OK]
    async with far.near() as server:
        answer = await server.call(request())

    assert (answer.status, answer.content) == (200, b"ok")
    assert b"x-first" not in answer.headers


async def test_an_answer_without_a_length_ends_with_its_connection(far: Far) -> None:
    far.hangs_up = True
    far.answers = [b"HTTP/1.1 200 OK\r\n\r\nto the end"]
    async with far.near() as server:
        assert (await server.call(request())).content == b"to the end"


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"HTTP/1.1 200",
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_none(far: Far, cut: bytes) -> None:
    far.hangs_up = True
    far.answers = [cut]
    async with far.near() as server:
        with pytest.raises(Unanswered):
            await server.call(request())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1) + b" " * (MAX_ANSWER_BYTES + 1),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
    ],
    ids=["another protocol", "two lengths", "no end", "interim answers without end"],
)
async def test_what_is_no_answer_is_refused(far: Far, answer: bytes) -> None:
    far.answers = [answer]
    async with far.near() as server:
        with pytest.raises(BadAnswer):
            await server.call(request())

        assert (await server.call(request("next"))).content == b"ok"

    assert len(far.connections) == 2


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK + OK,
        OK + b"HTTP/1.1 ",
    ],
    ids=["said to be the last", "HTTP/1.0", "two at once", "and a bit of another"],
)
async def test_a_connection_that_is_not_clean_has_no_second_call(far: Far, answer: bytes) -> None:
    far.answers = [answer]
    async with far.near() as server:
        for name in "ab":
            assert (await server.call(request(name))).content == b"ok"

    assert far.connections == [[request("a")], [request("b")]]


async def test_what_comes_between_two_calls_ends_the_connection(far: Far) -> None:
    async with far.near() as server:
        await server.call(request("a"))
        far.writers[0].write(OK.replace(b"ok", b"no"))
        await far.closed.wait()

        assert (await server.call(request("b"))).content == b"ok"

    assert far.connections == [[request("a")], [request("b")]]


async def test_the_answer_of_a_call_that_was_given_up_is_nobodys(far: Far) -> None:
    far.answers = [b""]
    async with far.near() as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await server.call(request("a"))
        await far.closed.wait()

        assert (await server.call(request("b"))).content == b"ok"

    assert far.connections == [[request("a")], [request("b")]]


async def test_a_connection_that_was_idle_for_long_is_not_used_again(far: Far) -> None:
    async with far.near(idle_seconds=-1.0) as server:
        for name in "ab":
            await server.call(request(name))
        await far.closed.wait()

    assert far.connections == [[request("a")], [request("b")]]


async def test_a_connection_that_the_server_has_closed_is_not_used_again(far: Far) -> None:
    async with far.near() as server:
        await server.call(request("a"))
        far.writers[0].close()
        async with asyncio.timeout(10):
            while server._idle[0].is_open:  # noqa: ASYNC110, SLF001  what was closed there is not yet known here
                await asyncio.sleep(0)

        await server.call(request("b"))

    assert far.connections == [[request("a")], [request("b")]]


async def test_long_answers_share_a_connection_too(far: Far) -> None:
    body = b"x" * (2 * MAX_HEAD_BYTES)
    far.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body] * 2
    async with far.near() as server:
        assert [(await server.call(request(name))).content for name in "ab"] == [body, body]

    assert far.connections == [[request("a"), request("b")]]


async def test_where_one_kept_connection_has_died_the_others_are_not_tried(far: Far) -> None:
    async with far.near() as server:
        await asyncio.gather(*(server.call(request(name)) for name in "abc"))
        far.hangs_up, far.answers = True, [b""]
        with pytest.raises(Unanswered):
            await server.call(request("d"))
        far.hangs_up = False

        assert (await server.call(request("e"))).content == b"ok"

    assert far.connections[3:] == [[request("e")]]


async def test_a_call_that_outlives_the_end_keeps_no_connection(far: Far) -> None:
    far.answers = [b""]
    async with far.near() as server:
        last = asyncio.create_task(server.call(request()))
        while not far.connections or not far.connections[0]:  # noqa: ASYNC110  until it has arrived
            await asyncio.sleep(0)
    far.writers[0].write(OK)

    assert (await last).content == b"ok"
    await far.closed.wait()


async def test_the_end_closes_what_is_idle(far: Far) -> None:
    async with far.near() as server:
        await server.call(request())
    await far.closed.wait()


async def test_a_connection_that_was_lost_before_its_first_call_says_so_at_once(far: Far) -> None:
    connection = _Connection()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: connection, "127.0.0.1", far.port)
    transport.abort()
    await asyncio.sleep(0)

    with pytest.raises(Unanswered):
        await connection.call(request())


async def test_no_connection_in_time_has_an_exception_of_its_own(far: Far) -> None:
    async with far.near(connect_seconds=0.0) as server:
        with pytest.raises(ConnectTimeout):
            await server.call(request())

    assert far.connections == []


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 1), ("name.invalid", 80)])
async def test_where_nobody_is_there_the_systems_error_says_so(host: str, port: int) -> None:
    server = Server(host, port, tls=None, connect_seconds=3.0, idle_seconds=15.0)
    with pytest.raises(OSError, match=r"\[Errno") as raised:
        await server.call(request())

    assert not isinstance(raised.value, ConnectTimeout | Unanswered)
