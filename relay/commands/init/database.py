"""Reads what `relay init --db-url` must know about a project's database. Writes nothing."""

from typing import Any, Final, LiteralString

import psycopg

from relay.commands.endings import CommandError
from relay.commands.init.obstacles import ProjectDatabase
from relay.commands.init.sql_statements import Kind, Name

CONNECT_SECONDS: Final = 10
OLDEST_POSTGRES: Final = 15
"""The first major version with `security_invoker` views."""

# Every name in the schemas that the migrations write to, and the word that `alter` uses for it. PostgreSQL derives the
# names of row types and array types, so these are left out.
_NAMES: Final = """
select 'schema', '', nspname::text, 'schema' from pg_catalog.pg_namespace where nspname = 'payments'
union all
select
    'relation',
    relnamespace::regnamespace::text,
    relname::text,
    case relkind
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'i' then 'index'
        when 'I' then 'index'
        when 'S' then 'sequence'
        when 'c' then 'type'
        when 'f' then 'foreign table'
        else 'table'
    end
from pg_catalog.pg_class
where relnamespace::regnamespace::text in ('public', 'payments')
union all
select
    'relation',
    typnamespace::regnamespace::text,
    typname::text,
    case typtype when 'd' then 'domain' else 'type' end
from pg_catalog.pg_type
where typnamespace::regnamespace::text in ('public', 'payments') and typrelid = 0
union all
select 'routine', pronamespace::regnamespace::text, proname::text, 'routine' from pg_catalog.pg_proc
where pronamespace::regnamespace::text in ('public', 'payments')
"""
_HAS_QUEUES: Final = """
select
    to_regprocedure('pgmq.create(text)') is not null
    or exists (select from pg_catalog.pg_available_extensions where name = 'pgmq')
"""
_KINDS: Final[dict[str, Kind]] = {"schema": "schema", "relation": "relation", "routine": "routine"}


def read(url: str) -> ProjectDatabase:
    """Read the database in one read-only transaction.

    Raises CommandError. Its message never shows the URL, which may hold a password.
    """
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None) as connection:
            connection.read_only = True
            return _read(connection)
    except psycopg.ProgrammingError as error:
        # libpq's message quotes the whole malformed URL. For an error in SQL, the SQLSTATE is enough.
        raise CommandError(f"the database cannot be read: {error.sqlstate or '--db-url is no URL'}") from None
    except psycopg.Error as error:
        raise CommandError(f"the database cannot be read: {error}".rstrip()) from None


def _read(connection: psycopg.Connection[Any]) -> ProjectDatabase:
    faults = []
    major = connection.info.server_version // 10000
    if major < OLDEST_POSTGRES:
        faults.append(f"is PostgreSQL {major}; {OLDEST_POSTGRES} or newer is needed")
    if not _exists(connection, "auth.users"):
        faults.append("has no table auth.users, so it is not a Supabase project's")
    applied: dict[str, str | None] = {}
    if _exists(connection, "supabase_migrations.schema_migrations"):
        rows = connection.execute("select version, name from supabase_migrations.schema_migrations").fetchall()
        applied = {version: name for version, name in rows}  # noqa: C416  `dict(rows)` has no types
    rows = connection.execute(_NAMES).fetchall()
    names = {Name(_KINDS[kind], schema, name): made_as for kind, schema, name, made_as in rows}
    return ProjectDatabase(applied, names, tuple(faults), has_queues=_is_true(connection, _HAS_QUEUES))


def _exists(connection: psycopg.Connection[Any], table: str) -> bool:
    return _is_true(connection, "select to_regclass(%s) is not null", table)


def _is_true(connection: psycopg.Connection[Any], question: LiteralString, *values: str) -> bool:
    row = connection.execute(question, values).fetchone()
    return bool(row and row[0])
