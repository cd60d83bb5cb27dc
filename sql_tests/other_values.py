"""Another value for each column of a table, whatever its type: to try what may be changed."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from testkit.database import Connection

# Another value of each type; each differs from whatever stands in the row.
_OTHERS: Final = {
    "bool": "not {}",
    "uuid": "gen_random_uuid()",
    "_uuid": "coalesce({}, '{{}}') || gen_random_uuid()",
    "text": "coalesce({}, '') || 'X'",
    "numeric": "coalesce({}, 0) + 1",
    "int4": "coalesce({}, 0) + 1",
    "int8": "coalesce({}, 0) + 1",
    "timestamptz": "coalesce({}, now()) - interval '1 day'",
    "jsonb": "coalesce({}, '{{}}') || '{{\"another\": true}}'",
}


def columns(connection: Connection, table: str) -> dict[str, str]:
    """Column to type, as the catalogue has them: a column that is added later is tried too."""
    rows = connection.execute(
        "select a.attname::text as name, t.typname::text as type from pg_attribute as a"
        " inner join pg_type as t on t.oid = a.atttypid"
        " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum",
        [table],
    )
    return {row["name"]: row["type"] for row in rows}


def another(column: str, type_: str) -> sql.Composed:
    """An expression over the row."""
    return sql.SQL(_OTHERS[type_]).format(sql.Identifier(column))
