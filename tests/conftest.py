"""What most tests begin with: a Data API that obeys the test and a relay in front of it; a project on the stack."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

from local_stack.surface import StackSurface
from testkit.data_api_server import DataApi
from testkit.project import Project, open_project
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_api_server import StripeServer

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


@pytest.fixture(scope="module")
def project(stack: StackSurface) -> Iterator[Project]:
    """A shop on the stack; its tests keep to rows of their own."""
    with open_project(stack) as opened:
        yield opened


@pytest.fixture
async def stripe(anyio_backend: str, project: Project) -> AsyncIterator[StripeServer]:
    """An account whose sessions are all that this test makes; groups of other tests are moved out of the window."""
    assert anyio_backend == "asyncio"
    project.a_year_passes()
    async with StripeServer().listening() as server:
        yield server
