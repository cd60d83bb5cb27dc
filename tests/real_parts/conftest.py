"""A migrated project on Debian's PostgreSQL 17, with extensions that hosted projects preload (`make real-parts`)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from local_stack import platform, supabase_cli
from local_stack.errors import PartMissingError
from local_stack.postgres import Postgres
from testkit.database import SUPERUSER, Connection, Database
from testkit.shards import Cluster
from testkit.shop import Shop

NAME = "shop"
PRELOADED = "pg_cron,pgaudit,plpgsql_check"


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    if "LOCAL_STACK_PG_BIN" not in os.environ:
        raise PartMissingError("`make real-parts` builds these parts and runs these tests on them")
    settings = {
        "shared_preload_libraries": PRELOADED,
        "cron.database_name": NAME,
        "cron.use_background_workers": "on",
        "pgaudit.log": "write,ddl,function",
    }
    with Postgres(settings=settings) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def project(server: Postgres) -> Database:
    """With every extension that is to be had; they come first, as on a hosted project."""
    server.create_database(NAME)
    database = Database(NAME, server.host, server.port, server.password)
    platform.install(database.dsn(SUPERUSER), password=server.password)
    with database.connect() as superuser:
        superuser.execute(f"alter database {NAME} owner to postgres")
        superuser.execute("create schema if not exists extensions; grant usage on schema extensions to public")
        for extension in ("pg_cron", "pgaudit", "plpgsql_check"):
            superuser.execute(f"create extension {extension}".encode())
        superuser.execute("create extension pgtap with schema extensions")
    supabase_cli.db_push(database.url("postgres"))
    return database


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shops(cluster: Cluster) -> list[Shop]:
    return cluster.open_shops()


@pytest.fixture
def routed(cluster: Cluster) -> Iterator[Connection]:
    """`service_role` at the router, as the Data API opens it."""
    with cluster.router.act_as("service_role") as connection:
        yield connection


@pytest.fixture
def owner(cluster: Cluster) -> Iterator[Connection]:
    """The router's."""
    with cluster.router.connect("postgres") as connection:
        yield connection


@pytest.fixture
def sound(cluster: Cluster) -> Iterator[None]:
    """After the test each invariant holds, those of each shard and those across them."""
    yield
    with cluster.router.connect("postgres") as owner:
        assert owner.execute("select * from shards.broken_invariants()").fetchall() == []


@pytest.fixture
def superuser(project: Database) -> Iterator[Connection]:
    with project.connect() as connection:
        yield connection
