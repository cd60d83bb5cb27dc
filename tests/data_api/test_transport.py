"""supabase-py's HTTP goes over the relay's connections to the one server, and over nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from yarl import URL

from relay.data_api import transport
from relay.data_api.http1 import Server
from testkit.data_api_server import DataApi, Reply

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[transport.Client]:
    """As relay.data_api.client makes it."""
    target = URL(url)
    async with (
        Server(target.host or "", target.port or 0, tls=None, connect_seconds=3.0, idle_seconds=15.0) as server,
        transport.Client(server, url) as client,
    ):
        yield client


async def test_whatever_supabase_py_might_call_beside_request_goes_nowhere(data_api: DataApi) -> None:
    async with client_of(data_api.url) as client:
        for way in (client.send(httpx.Request("GET", data_api.url)), client.stream("GET", data_api.url).__aenter__()):
            with pytest.raises(RuntimeError, match="more than"):
                await way

    assert data_api.calls == []


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "http://localhost/x"])
async def test_another_server_is_never_asked(data_api: DataApi, elsewhere: str) -> None:
    async with client_of(data_api.url) as client:
        with pytest.raises(RuntimeError, match="another server"):
            await client.request("GET", elsewhere, headers=httpx.Headers({"apikey": "x"}))

    assert data_api.calls == []


async def test_a_header_cannot_smuggle_another_one_in(data_api: DataApi) -> None:
    async with client_of(data_api.url) as client:
        for headers in ({"x": "1\r\nPrefer: tx=commit"}, {"x\ny": "1"}):
            with pytest.raises(RuntimeError, match="line break"):
                await client.request("GET", data_api.url, headers=httpx.Headers(headers))

    assert data_api.calls == []


async def test_filters_are_quoted_once(data_api: DataApi) -> None:
    params = httpx.QueryParams([("id", 'in.("a b","c+d&e")'), ("select", "id,total_amount::text")])

    data_api.always = Reply()
    async with client_of(data_api.url) as client:
        await client.request("GET", f"{data_api.url}/rest/v1/things", params=params, headers=httpx.Headers())

    (call,) = data_api.calls
    assert URL(call.path, encoded=True).query == {"id": 'in.("a b","c+d&e")', "select": "id,total_amount::text"}


@pytest.mark.parametrize("content", ['{"a": "é"}', "", "no JSON", "[1]"])
async def test_plain_answer_is_in_all_that_is_asked_of_it_what_httpx_would_give(
    data_api: DataApi, content: str
) -> None:
    data_api.always = Reply(body=content)
    async with client_of(data_api.url) as client:
        answer = await client.request("POST", f"{data_api.url}/rest/v1/rpc/f", headers=httpx.Headers())
    whole = httpx.Response(200, content=content.encode())

    for name in ("status_code", "is_success", "content", "text", "reason_phrase", "charset_encoding"):
        assert getattr(answer, name) == getattr(whole, name), name
    assert "prefer" not in answer.request.headers
    assert outcome_of(answer.json) == outcome_of(whole.json)
    with pytest.raises(AttributeError):
        getattr(answer, "no_such_thing")  # noqa: B009


def outcome_of(call: Callable[[], object]) -> object:
    """What it returns, or the class of what it raises: supabase-py goes by both."""
    try:
        return call()
    except Exception as error:
        return type(error)
