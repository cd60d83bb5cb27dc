"""supabase-py's HTTP goes over aiohttp's client to the one server, and over nothing else; each call gets its own answer
and no other's, or one classified failure."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from yarl import URL

from relay.core.errors import Declined, NoVerdict
from relay.core.outcomes import Reason
from relay.data_api import transport
from testkit.data_api_server import DataApi, Reply

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n[42]"


@dataclass
class Far:
    """The other side: what came in on each connection, and what goes out for each request."""

    url: str = ""
    answers: list[bytes] = field(default_factory=list)
    connections: list[list[str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    hangs_up: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(heard := [])
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                heard.append(head.split(" ")[1].lstrip("/"))
                writer.write(self.answers.pop(0) if self.answers else OK)
                if self.hangs_up:
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        finally:
            writer.close()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    far = Far()
    listener = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield far
    listener.close()


@asynccontextmanager
async def near(url: str) -> AsyncIterator[transport.Client]:
    """As relay.data_api.connection makes it."""
    async with transport.open_http(url, timeout=5.0) as client:
        yield client


async def call(client: transport.Client, url: str, method: str = "POST") -> object:
    return (await client.request(method, url, headers=httpx.Headers())).json()


async def calls(client: transport.Client, far: Far, names: Sequence[str]) -> list[object]:
    return [await call(client, f"{far.url}/{name}") for name in names]


async def test_whatever_supabase_py_might_call_beside_request_goes_nowhere(data_api: DataApi) -> None:
    async with near(data_api.url) as client:
        for way in (client.send(httpx.Request("GET", data_api.url)), client.stream("GET", data_api.url).__aenter__()):
            with pytest.raises(RuntimeError, match="more than"):
                await way

    assert data_api.calls == []


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "http://localhost/x"])
async def test_another_server_is_never_asked(data_api: DataApi, elsewhere: str) -> None:
    async with near(data_api.url) as client:
        with pytest.raises(NoVerdict) as raised:
            await client.request("GET", elsewhere, headers=httpx.Headers({"apikey": "x"}))

    assert (raised.value.reason, raised.value.detail) == (Reason.UNEXPECTED, "RuntimeError")
    assert data_api.calls == []


async def test_a_header_cannot_smuggle_another_one_in(data_api: DataApi) -> None:
    async with near(data_api.url) as client:
        for headers in ({"x": "1\r\nPrefer: tx=commit"}, {"x\ny": "1"}):
            with pytest.raises(NoVerdict):
                await client.request("GET", data_api.url, headers=httpx.Headers(headers))

    assert data_api.calls == []


async def test_filters_are_quoted_once(data_api: DataApi) -> None:
    params = httpx.QueryParams([("id", 'in.("a b","c+d&e")'), ("select", "id,total_amount::text")])

    data_api.always = Reply(body=[])
    async with near(data_api.url) as client:
        await client.request("GET", f"{data_api.url}/rest/v1/things", params=params, headers=httpx.Headers())

    (sent,) = data_api.calls
    assert URL(sent.path, encoded=True).query == {"id": 'in.("a b","c+d&e")', "select": "id,total_amount::text"}


async def test_compressed_answers_are_not_asked_for_and_cookies_are_not_sent_back(far: Far) -> None:
    far.answers = [OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")]
    async with near(far.url) as client:
        await calls(client, far, "ab")

    heads = [{line.lower() for line in head.split("\r\n")} for head in far.heads]
    assert all("accept-encoding: identity" in head for head in heads)
    assert not any(line.startswith("cookie") for head in heads for line in head)


async def test_no_proxy_of_the_environment_is_used(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with near(far.url) as client:
        assert await calls(client, far, "a") == [[42]]


async def test_a_hosts_name_is_asked_for_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """straße.example is another host by the IDNA of 2003 (strasse) than by today's."""
    asked = []

    async def resolve(_: object, host: object, *_others: object, **_options: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", resolve)
    url = "https://xn--strae-oqa.example"
    async with near(url) as client:
        with pytest.raises(NoVerdict):
            await call(client, url)

    assert set(asked) == {"xn--strae-oqa.example"}


async def test_calls_after_each_other_share_a_connection(far: Far) -> None:
    async with near(far.url) as client:
        assert await calls(client, far, "ab") == [[42], [42]]

    assert far.connections == [["a", "b"]]
    await far.closed.wait()


async def test_calls_at_once_have_a_connection_each(far: Far) -> None:
    async with near(far.url) as client:
        await asyncio.gather(*(call(client, f"{far.url}/{name}") for name in "abc"))

    assert sorted(far.connections) == [["a"], ["b"], ["c"]]


async def test_long_answers_share_a_connection_too(far: Far) -> None:
    body = b"[" + b"1," * 100_000 + b"2]"
    far.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body] * 2
    async with near(far.url) as client:
        assert [len(found) for found in await calls(client, far, "ab") if isinstance(found, list)] == [100_001] * 2

    assert far.connections == [["a", "b"]]


async def test_chunks_and_pieces_make_one_answer(far: Far) -> None:
    far.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[4\r\n2\r\n3]\r\n0\r\n\r\n"]
    async with near(far.url) as client:
        assert await calls(client, far, "ab") == [[43], [42]]


async def test_an_answer_that_only_says_that_another_one_follows_is_passed_over(far: Far) -> None:
    far.answers = [b"HTTP/1.1 103 Early Hints\r\nX-First: 1\r\n\r\n" + OK]
    async with near(far.url) as client:
        assert await calls(client, far, "a") == [[42]]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "101, HTTP 101"),
        (OK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), "ClientResponseError"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "ClientResponseError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**26 + b" " * (2**25 + 1), "BadAnswer"),
        (OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), "BadAnswer"),
        (OK.replace(b"[42]", b"4 2]"), "JSONDecodeError"),
    ],
    ids=["another protocol", "two lengths", "a head without end", "no end", "compressed", "no JSON"],
)
async def test_what_is_no_answer_breaks_the_contract_and_spoils_no_other_call(
    far: Far, answer: bytes, detail: str
) -> None:
    far.answers = [answer]
    async with near(far.url) as client:
        with pytest.raises(NoVerdict) as raised:
            await calls(client, far, "a")

        assert await calls(client, far, "b") == [[42]]

    assert (raised.value.reason, raised.value.detail) == (Reason.CONTRACT_VIOLATION, detail)
    assert not raised.value.retryable


@pytest.mark.parametrize(
    ("path", "longest"),
    [
        ("rest/v1/rpc/reconcile_order_group_payment", 64 * 1024),
        ("rest/v1/rpc/reconciliation_readiness", 64 * 1024),
        ("rest/v1/rpc/payment_report", 32 * 1024 * 1024),
        ("rest/v1/order_groups", 32 * 1024 * 1024),
    ],
)
async def test_each_kind_of_answer_has_its_longest(far: Far, path: str, longest: int) -> None:
    def of(length: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"[".ljust(length - 1) + b"]"

    far.answers = [of(longest), of(longest + 1)]
    async with near(far.url) as client:
        assert await calls(client, far, [path]) == [[]]
        with pytest.raises(NoVerdict) as raised:
            await calls(client, far, [path])

    assert (raised.value.reason, raised.value.detail) == (Reason.CONTRACT_VIOLATION, "BadAnswer")


@pytest.mark.parametrize("other", [{"auth": ("a", "b")}, {"cookies": {}}, {"timeout": None}, {"json": None}], ids=str)
async def test_nothing_that_supabase_py_passes_is_left_out_unnoticed(data_api: DataApi, other: dict[str, Any]) -> None:
    async with near(data_api.url) as client:
        with pytest.raises(NoVerdict) as raised:
            await client.request("GET", data_api.url, headers=httpx.Headers(), **other)

    assert (raised.value.reason, raised.value.detail) == (Reason.UNEXPECTED, "RuntimeError")
    assert data_api.calls == []


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 200", OK[:-1]], ids=["nothing", "in the head", "in the body"])
async def test_an_answer_that_breaks_off_may_be_asked_for_again(far: Far, cut: bytes) -> None:
    far.hangs_up = True
    far.answers = [cut]
    async with near(far.url) as client:
        with pytest.raises(NoVerdict) as raised:
            await calls(client, far, "a")

    assert (raised.value.reason, raised.value.retryable) == (Reason.DATABASE_UNAVAILABLE, True)


@pytest.mark.parametrize(
    "answer",
    [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"HTTP/1.1", b"HTTP/1.0"), OK + OK],
    ids=["said to be the last", "HTTP/1.0", "two at once"],
)
async def test_a_connection_that_is_not_clean_has_no_second_call(far: Far, answer: bytes) -> None:
    far.answers = [answer]
    async with near(far.url) as client:
        assert await calls(client, far, "ab") == [[42], [42]]

    assert far.connections == [["a"], ["b"]]


async def test_the_answer_of_a_call_that_was_given_up_is_nobodys(far: Far) -> None:
    far.answers = [b""]
    async with near(far.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await calls(client, far, "a")
        await far.closed.wait()

        assert await calls(client, far, "b") == [[42]]

    assert far.connections == [["a"], ["b"]]


async def test_what_comes_between_two_calls_ends_the_connection(far: Far) -> None:
    async with near(far.url) as client:
        await calls(client, far, "a")
        far.writers[0].write(OK.replace(b"42", b"66"))
        for _ in range(3):  # rounds of the loop, in which it arrives: the loopback holds nothing back
            await asyncio.sleep(0)

        assert await calls(client, far, "bc") == [[42], [42]]

    assert far.connections == [["a"], ["b", "c"]]


async def test_a_connection_that_was_idle_for_long_is_not_used_again(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.01)
    async with near(far.url) as client:
        await calls(client, far, "a")
        await far.closed.wait()
        await calls(client, far, "b")

    assert far.connections == [["a"], ["b"]]


async def test_no_connection_in_time_is_not_tried_again(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1e-9)
    async with near(far.url) as client:
        with pytest.raises(NoVerdict) as raised:
            await calls(client, far, "a")

    assert (raised.value.reason, raised.value.detail) == (Reason.DATABASE_UNAVAILABLE, "ConnectionTimeoutError")
    assert not raised.value.retryable


async def test_what_a_function_says_to_its_caller_is_kept_for_an_operator_and_out_of_the_detail(far: Far) -> None:
    words = b'{"code": "P0002", "message": "there is no payment exception 17", "details": null, "hint": null}'
    far.answers = [b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(words) + words]
    async with near(far.url) as client:
        with pytest.raises(Declined) as raised:
            await calls(client, far, "a")

    assert str(raised.value) == "there is no payment exception 17"
    assert (raised.value.reason, raised.value.detail) == (Reason.UNEXPECTED, "P0002, HTTP 400")
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
