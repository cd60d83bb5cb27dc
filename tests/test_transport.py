"""supabase-py's HTTP goes over aiohttp's client, and over nothing else."""

import aiohttp
import httpx
import pytest
from yarl import URL

from relay import transport
from tests.data_api import DataApi, Reply

pytestmark = pytest.mark.anyio


async def test_whatever_supabase_py_might_call_beside_request_goes_nowhere(data_api: DataApi) -> None:
    async with aiohttp.ClientSession() as session, transport.Client(session) as client:
        for way in (client.send(httpx.Request("GET", data_api.url)), client.stream("GET", data_api.url).__aenter__()):
            with pytest.raises(RuntimeError, match="more than"):
                await way

    assert data_api.calls == []


async def test_filters_are_quoted_once(data_api: DataApi) -> None:
    params = httpx.QueryParams([("id", 'in.("a b","c+d&e")'), ("select", "id,total_amount::text")])

    data_api.always = Reply()
    async with aiohttp.ClientSession(auto_decompress=False) as session, transport.Client(session) as client:
        await client.request("GET", f"{data_api.url}/rest/v1/things", params=params, headers=httpx.Headers())

    (call,) = data_api.calls
    assert URL(call.path, encoded=True).query == {"id": 'in.("a b","c+d&e")', "select": "id,total_amount::text"}
