"""A server to install things on, and a temporary directory that an unprivileged server may enter."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from local_stack.postgres import Postgres


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """Like tmp_path, but everybody may enter it, as everybody may enter /tmp."""
    path = Path(tempfile.mkdtemp(prefix="local stack tests "))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A bare server: no roles but its superuser's."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def new_database(server: Postgres) -> Callable[[], str]:
    """Creates an empty database and returns its name."""

    def create() -> str:
        name = f"test_{uuid4().hex[:12]}"
        server.create_database(name)
        return name

    return create
