"""What is true of every database of the project, whatever has happened to it."""

from __future__ import annotations

from functools import cache

from local_stack.supabase_cli import REPOSITORY
from testkit.database import Connection, Row

INVARIANTS = REPOSITORY / "sql_tests" / "invariants.sql"


@cache
def _query() -> bytes:
    return INVARIANTS.read_bytes()


def broken_invariants(connection: Connection) -> list[Row]:
    """What `invariants.sql` finds; nothing where all is well."""
    return connection.execute(_query()).fetchall()
