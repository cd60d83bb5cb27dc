"""An operator's desk on a project of its own."""

from collections.abc import AsyncIterator

import pytest

from testkit.desk import Desk, desk
from testkit.project import Project


@pytest.fixture
async def ada(anyio_backend: str, project: Project) -> AsyncIterator[Desk]:
    """Ada's desk, entered."""
    assert anyio_backend == "asyncio"
    async with desk(project) as opened:
        yield opened
