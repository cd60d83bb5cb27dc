"""What a database holds, down to the transaction that wrote each row: proof that something changed nothing."""

from __future__ import annotations

import psycopg
from psycopg import sql

SCHEMAS = ["public", "payments"]

Snapshot = dict[str, list[tuple[str, str]]]
"""For each table of the project, each row's `xmin` and content, sorted."""


def snapshot(dsn: str) -> Snapshot:
    """Look; needs a role that sees all rows."""
    with psycopg.connect(dsn) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname = any(%s) order by 1, 2", [SCHEMAS]
        ).fetchall()
        return {
            f"{schema}.{table}": sorted(
                connection.execute(
                    sql.SQL("select row.xmin::text, row::text from {} as row").format(sql.Identifier(schema, table))
                ).fetchall()
            )
            for schema, table in tables
        }


def changed_tables(before: Snapshot, after: Snapshot) -> list[str]:
    """The names of the tables that differ in any row."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
