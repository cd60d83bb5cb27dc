"""One server per worker, one migrated template per regime, one clone per test.

`SQL_TESTS_DATABASE_URL` names the superuser's URL of another server instead (for instance that of `supabase start`);
databases are then made there, and its login roles must share the URL's password. `SQL_TESTS_PROJECT_DIR` names the
directory whose `supabase/migrations` are pushed instead of the repository's: `mutation.py` spoils them there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pytest_postgresql.janitor import DatabaseJanitor

from local_stack import platform, supabase_cli
from local_stack.postgres import Postgres
from sql_tests.races import RaceDatabase
from testkit import queues
from testkit.database import SUPERUSER, Connection, Database
from testkit.payments import WAYS, Payment, sent
from testkit.shop import OrderGroup, Shop, open_shop

PROJECT_DIR = Path(os.environ.get("SQL_TESTS_PROJECT_DIR", supabase_cli.REPOSITORY))


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    """The server's own database, as superuser."""
    if url := os.environ.get("SQL_TESTS_DATABASE_URL"):
        parts = conninfo_to_dict(url)
        yield Database("postgres", str(parts["host"]), int(str(parts["port"])), str(parts["password"]))
        return
    with Postgres() as postgres:
        yield Database("postgres", postgres.host, postgres.port, postgres.password)


@pytest.fixture(scope="session")
def template(server: Database) -> Iterator[Callable[[platform.Regime], Database]]:
    """Migrated templates by regime, each made when first asked for."""
    templates: dict[platform.Regime, Database] = {}
    janitors = ExitStack()

    def of(regime: platform.Regime) -> Database:
        if regime not in templates:
            name = f"template_{regime}_{uuid4().hex[:8]}"
            database = Database(name, server.host, server.port, server.password)
            with server.connect() as connection:
                connection.execute(f'create database "{name}"')
            janitors.callback(janitor(server, name).drop)
            platform.install(database.dsn(SUPERUSER), regime=regime, password=server.password)
            with server.connect() as connection:
                connection.execute(f'alter database "{name}" owner to postgres')
            supabase_cli.db_push(database.url("postgres"), project_dir=PROJECT_DIR)
            with server.connect() as connection:
                connection.execute(f'alter database "{name}" is_template true')
            templates[regime] = database
        return templates[regime]

    with janitors:
        yield of


def janitor(server: Database, name: str) -> DatabaseJanitor:
    return DatabaseJanitor(
        user=SUPERUSER,
        host=server.host,
        port=server.port,
        dbname=name,
        as_template=True,
        password=server.password,
    )


@pytest.fixture
def regime() -> platform.Regime:
    """The regime of default privileges; tests that must hold in both parametrise it."""
    return "explicit"


@pytest.fixture(scope="session")
def maintenance(server: Database) -> Iterator[Connection]:
    """The one session that makes and removes the tests' databases."""
    with server.connect() as connection:
        yield connection


@contextmanager
def cloned(maintenance: Connection, template: Database) -> Iterator[Database]:
    """A copy of the template, by its files: half the work of the default strategy, which logs each page."""
    clone = replace(template, name=f"test_{uuid4().hex}")
    name = sql.Identifier(clone.name)
    copy = sql.SQL("create database {} template {} strategy file_copy")
    maintenance.execute(copy.format(name, sql.Identifier(template.name)))
    try:
        yield clone
    finally:
        maintenance.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture
def db(
    maintenance: Connection, template: Callable[[platform.Regime], Database], regime: platform.Regime
) -> Iterator[Database]:
    """A migrated database of the test's own."""
    with cloned(maintenance, template(regime)) as database:
        yield database


@pytest.fixture(scope="module")
def module_db(maintenance: Connection, template: Callable[[platform.Regime], Database]) -> Iterator[Database]:
    """A migrated database for a whole module, whose tests keep to rows of their own or roll back."""
    with cloned(maintenance, template("explicit")) as database:
        yield database


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def superuser(db: Database, connections: ExitStack) -> Connection:
    """The platform's superuser: prepares and reads everything; never acts."""
    return connections.enter_context(db.connect())


@pytest.fixture
def owner(db: Database, connections: ExitStack) -> Connection:
    """`postgres`, who owns what the migrations made and is no superuser."""
    return connections.enter_context(db.connect("postgres"))


@pytest.fixture
def service(db: Database, connections: ExitStack) -> Connection:
    """The shop's server and the relay: `service_role` through the Data API."""
    return connections.enter_context(db.act_as("service_role"))


@pytest.fixture
def queue(superuser: Connection, owner: Connection) -> None:
    """The database announces what becomes of its order groups, through Supabase Queues."""
    queues.install_pgmq(superuser)
    queues.announce(owner, PROJECT_DIR)


@pytest.fixture(params=WAYS)
def each_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the module tests of a payment holds for one that is sent alone, and for one that is sent in a batch."""
    with sent(request.param):
        yield


@pytest.fixture
def shop(superuser: Connection, service: Connection) -> Shop:
    return open_shop(superuser, service)


@pytest.fixture(scope="module")
def race_database(module_db: Database) -> Iterator[RaceDatabase]:
    with RaceDatabase.open(module_db) as opened:
        yield opened


@pytest.fixture
def database(race_database: RaceDatabase) -> Iterator[RaceDatabase]:
    """The module's database for races; rivals that a test has left behind go with it."""
    yield race_database
    race_database.clear()


@pytest.fixture
def group(database: RaceDatabase) -> OrderGroup:
    """A pending group of the test's own in the database for races."""
    return database.shop.order_group()


@pytest.fixture
def payment(group: OrderGroup) -> Payment:
    """The payment of exactly its total."""
    return group.payment()
