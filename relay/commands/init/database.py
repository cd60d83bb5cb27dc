"""Reads what `relay init --db-url` must know about a project's database. Writes nothing."""

import re
from collections.abc import Iterator
from typing import Any, Final, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict

from relay.commands.endings import CommandError
from relay.commands.init.mentions import Body
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
# What PostgreSQL keeps as text: the bodies of functions, but for those that it has parsed (`begin atomic`). What an
# extension brings is not the project's. A view's rule is told as the view.
_BODIES: Final = """
select
    proc.oid,
    case proc.prokind when 'p' then 'procedure ' else 'function ' end || proc.oid::regprocedure::text,
    proc.prosrc
from pg_catalog.pg_proc as proc
inner join pg_catalog.pg_language as lang on proc.prolang = lang.oid
where
    lang.lanname not in ('c', 'internal')
    and proc.prosqlbody is null
    and proc.pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
    and not exists (
        select from pg_catalog.pg_depend as dep
        where dep.classid = 'pg_catalog.pg_proc'::regclass and dep.objid = proc.oid and dep.deptype = 'e'
    )
order by 2
"""
_USERS: Final = """
select distinct
    dep.refobjid,
    coalesce(
        (
            select case cls.relkind when 'm' then 'materialized view ' else 'view ' end || cls.oid::regclass::text
            from pg_catalog.pg_rewrite as rul
            inner join pg_catalog.pg_class as cls on rul.ev_class = cls.oid
            where dep.classid = 'pg_catalog.pg_rewrite'::regclass and rul.oid = dep.objid
        ),
        (
            select format('policy "%%s" on %%s', pol.polname, pol.polrelid::regclass)
            from pg_catalog.pg_policy as pol
            where dep.classid = 'pg_catalog.pg_policy'::regclass and pol.oid = dep.objid
        ),
        pg_catalog.pg_describe_object(dep.classid, dep.objid, dep.objsubid)
    )
from pg_catalog.pg_depend as dep
where dep.refclassid = 'pg_catalog.pg_proc'::regclass and dep.deptype in ('n', 'a') and dep.refobjid = any(%s)
order by 2
"""
# pg_cron's commands are text too.
_COMMANDS: Final = "select coalesce('cron job ' || jobname, 'cron job ' || jobid), command from cron.job order by 1"
_LIKE: Final = (
    "--db-url must be like postgresql://postgres@db.<ref>.supabase.co:5432/postgres; in its password write @ as %40, "
    "/ as %2F and % as %25"
)
_PORTS: Final = re.compile("[0-9,]*")
_KINDS: Final[dict[str, Kind]] = {"schema": "schema", "relation": "relation", "routine": "routine"}


def read(url: str) -> ProjectDatabase:
    """Read the database in one read-only transaction.

    Raises CommandError. Its message shows no part of the password that the URL may hold.
    """
    try:
        if _is_misread(url):
            raise CommandError(f"the database cannot be read: {_LIKE}")
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None) as connection:
            connection.read_only = True
            return _read(connection)
    except psycopg.ProgrammingError as error:
        # libpq's message quotes the whole malformed URL. For an error in SQL, the SQLSTATE is enough.
        raise CommandError(f"the database cannot be read: {error.sqlstate or _LIKE}") from None
    except psycopg.Error as error:
        raise CommandError(f"the database cannot be read: {error}".rstrip()) from None


def _is_misread(url: str) -> bool:
    """Whether libpq takes a part of the password, which holds an @ or a / as it is, for the host, the port or the
    database: the message of a connection that fails would show it. Raises psycopg.ProgrammingError.
    """
    parts = conninfo_to_dict(url)
    host, port, database = (str(parts.get(name) or "") for name in ("host", "port", "dbname"))
    return "@" in host + port + database or not _PORTS.fullmatch(port)


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
    return ProjectDatabase(
        applied,
        names,
        tuple(faults),
        has_queues=_is_true(connection, _HAS_QUEUES),
        bodies=tuple(_bodies(connection)),
    )


def _bodies(connection: psycopg.Connection[Any]) -> Iterator[Body]:
    texts = connection.execute(_BODIES).fetchall()
    users: dict[int, list[str]] = {}
    for routine, user in connection.execute(_USERS, [[oid for oid, _, _ in texts]]).fetchall():
        users.setdefault(routine, []).append(user)
    yield from (Body(subject, text, tuple(users.get(oid, ()))) for oid, subject, text in texts)
    if _is_true(connection, "select coalesce(has_table_privilege(to_regclass('cron.job'), 'select'), false)"):
        yield from (Body(subject, command) for subject, command in connection.execute(_COMMANDS).fetchall())


def _exists(connection: psycopg.Connection[Any], table: str) -> bool:
    return _is_true(connection, "select to_regclass(%s) is not null", table)


def _is_true(connection: psycopg.Connection[Any], question: LiteralString, *values: str) -> bool:
    row = connection.execute(question, values).fetchone()
    return bool(row and row[0])
