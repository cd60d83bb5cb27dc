"""Supabase Queues (pgmq) in a database, and the migration that announces order groups through them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from psycopg import sql

from local_stack.supabase_cli import REPOSITORY
from testkit.database import Connection, Row, scalar

QUEUE = "order_group_events"


def pgmq_sql() -> str:
    """What the extension would create, from the package pgmq, of which nothing else is used."""
    spec = importlib.util.find_spec("pgmq")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "sql" / "pgmq.sql").read_text()


def install_pgmq(superuser: Connection) -> None:
    """Create what `create extension pgmq` gives to `postgres` on a hosted project."""
    database = sql.Identifier(superuser.info.dbname)
    with superuser.transaction():
        superuser.execute(sql.SQL("grant create on database {} to postgres; set local role postgres").format(database))
        superuser.execute(pgmq_sql().encode())


def announce(owner: Connection, project_dir: Path = REPOSITORY) -> None:
    """Run the migrations that `relay init --with queues` adds."""
    for path in sorted((project_dir / "supabase" / "queues").iterdir()):
        with owner.transaction():
            owner.execute(path.read_bytes())


def waiting(superuser: Connection) -> list[Row]:
    """The messages in the queue, oldest first."""
    return [
        row["message"] for row in superuser.execute("select message from pgmq.q_order_group_events order by msg_id")
    ]


def read(service: Connection, *, limit: int = 10, seconds: int = 60) -> list[Row]:
    """What a worker reads."""
    found: list[Row] = scalar(service, "select public.read_order_group_events(%s, %s)", limit, seconds)
    return found
