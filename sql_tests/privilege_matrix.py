"""The matrix of `privileges.py` as cells, beside what a database's catalogue holds."""

from __future__ import annotations

from itertools import product

from psycopg import sql

from sql_tests.privileges import (
    COLUMN_VERBS,
    COLUMNS,
    FUNCTIONS,
    ROLES,
    SEQUENCE_VERBS,
    SEQUENCES,
    TABLE_VERBS,
    may_column,
    may_execute,
    may_table,
)
from testkit.database import Connection

Cells = dict[tuple[str, str, str], bool]


def held_and_expected(superuser: Connection) -> tuple[Cells, Cells]:
    """Each role, object and verb: whether the catalogue holds it, and whether the matrix does."""
    cells: Cells = {}
    expected: Cells = {}

    for role, relation in product(ROLES, COLUMNS):
        for verb in TABLE_VERBS:
            cell = (role, relation, verb)
            cells[cell] = ask(superuser, "has_table_privilege", *cell)
            expected[cell] = may_table(role, relation, verb)
        for column, verb in product(COLUMNS[relation], COLUMN_VERBS):
            cell = (role, f"{relation}.{column}", verb)
            cells[cell] = ask(superuser, "has_column_privilege", role, relation, column, verb)
            expected[cell] = may_column(role, relation, column, verb)
    for role, sequence, verb in product(ROLES, SEQUENCES, SEQUENCE_VERBS):
        cells[role, sequence, verb] = ask(superuser, "has_sequence_privilege", role, sequence, verb)
        expected[role, sequence, verb] = False
    for role, signature in product(ROLES, FUNCTIONS):
        cells[role, signature, "EXECUTE"] = ask(superuser, "has_function_privilege", role, signature, "execute")
        expected[role, signature, "EXECUTE"] = may_execute(role, signature)
    for role, verb in product(ROLES, ("USAGE", "CREATE")):
        cells[role, "payments", verb] = ask(superuser, "has_schema_privilege", role, "payments", verb)
        expected[role, "payments", verb] = False
    return cells, expected


def ask(connection: Connection, function: str, *arguments: str) -> bool:
    query = sql.SQL("select {}({}) as held").format(
        sql.Identifier(function), sql.SQL(", ").join(map(sql.Literal, arguments))
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    return bool(row["held"])
