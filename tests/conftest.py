"""The cast of the HTTP tests: a Data API that obeys the test, and a relay in front of it."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from testkit.data_api_server import DataApi
from testkit.relay_under_test import Relay, environ, serving

# How long an example takes says something about the machine, nothing about the relay.
settings.register_profile("relay", deadline=None)
settings.load_profile("relay")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests are anyio's (a dependency of httpx, so it is here anyway), on asyncio, which aiohttp needs."""
    return "asyncio"


@pytest.fixture
async def data_api(anyio_backend: str) -> AsyncIterator[DataApi]:
    """Healthy, until the test says otherwise."""
    assert anyio_backend == "asyncio"
    async with DataApi().listening() as api:
        yield api


@pytest.fixture
async def relay(data_api: DataApi) -> AsyncIterator[Relay]:
    """In front of `data_api`."""
    async with serving(environ(data_api.url)) as running:
        yield running
