"""The surface of a hosted project: who is who, and what a new object grants in either regime."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from local_stack import platform
from local_stack.errors import StackError
from local_stack.postgres import Postgres

API_ROLES = ("anon", "authenticated", "service_role")
NewDatabase = Callable[[], str]


def installed(server: Postgres, name: str, regime: platform.Regime = "explicit") -> str:
    platform.install(server.dsn(dbname=name), regime=regime, password=server.password)
    return server.dsn(user="postgres", dbname=name)


@pytest.mark.parametrize(
    ("regime", "creator", "table", "sequence"),
    [
        ("legacy", "postgres", {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}, {"USAGE", "SELECT", "UPDATE"}),
        ("explicit", "postgres", {"TRUNCATE"}, {"UPDATE"}),
        ("explicit", "supabase_admin", {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}, None),
    ],
)
def test_new_objects_in_public_are_granted_as_on_the_platform(
    server: Postgres,
    new_database: NewDatabase,
    regime: platform.Regime,
    creator: str,
    table: set[str],
    sequence: set[str] | None,
) -> None:
    name = new_database()
    installed(server, name, regime)
    all_of_table = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")

    with psycopg.connect(server.dsn(user=creator, dbname=name)) as connection:
        connection.execute("create table public.t (id int); create sequence public.s")
        connection.execute("create function public.f() returns int language sql return 1")

        for role in API_ROLES:
            held = {verb for verb in all_of_table if has(connection, "table", role, "public.t", verb)}
            assert held == table
            if sequence is not None:
                kinds = ("USAGE", "SELECT", "UPDATE")
                assert {kind for kind in kinds if has(connection, "sequence", role, "public.s", kind)} == sequence
            # By PUBLIC in today's regime, by a grant of its own besides in the older one.
            assert has(connection, "function", role, "public.f()", "EXECUTE")


def has(connection: psycopg.Connection[tuple[object, ...]], kind: str, role: str, name: str, verb: str) -> bool:
    asked = connection.execute(f"select has_{kind}_privilege(%s, %s, %s)", (role, name, verb))
    row = asked.fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize(("regime", "direct"), [("legacy", set(API_ROLES)), ("explicit", set())])
def test_functions_carry_grants_of_their_own_in_the_older_regime_only(
    server: Postgres, new_database: NewDatabase, regime: platform.Regime, direct: set[str]
) -> None:
    dsn = installed(server, new_database(), regime)

    with psycopg.connect(dsn) as connection:
        connection.execute("create function public.f() returns int language sql return 1")
        rows = connection.execute(
            "select grantee::regrole::text from pg_proc, aclexplode(proacl)"
            " where proname = 'f' and pronamespace = 'public'::regnamespace"
        ).fetchall()

    assert {role for (role,) in rows} & set(API_ROLES) == direct


def test_migrations_role_is_no_superuser_and_does_not_own_auth(server: Postgres, new_database: NewDatabase) -> None:
    dsn = installed(server, new_database())

    with psycopg.connect(dsn) as connection:
        attributes = connection.execute(
            "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles"
            " where rolname = current_user"
        ).fetchone()
        owners = connection.execute(
            "select relowner::regrole::text from pg_class where oid = 'auth.users'::regclass"
            " union all select proowner::regrole::text from pg_proc where oid = 'auth.uid()'::regprocedure"
        ).fetchall()
        connection.execute("create schema private")
        connection.execute("create table public.owned (user_id uuid references auth.users (id))")

    assert attributes == (False, True, True, True, True)
    assert owners == [("supabase_auth_admin",), ("supabase_auth_admin",)]


def test_sessions_of_the_data_api_carry_the_platforms_time_limits(server: Postgres, new_database: NewDatabase) -> None:
    name = new_database()
    installed(server, name)

    with psycopg.connect(server.dsn(user="authenticator", dbname=name)) as connection:
        limits = connection.execute(
            "select current_setting('statement_timeout'), current_setting('lock_timeout')"
        ).fetchone()
        of_roles = connection.execute(
            "select rolname, rolconfig from pg_roles where rolname = any(%s)", (list(API_ROLES),)
        ).fetchall()

    assert limits == ("8s", "8s")
    assert dict(of_roles) == {
        "anon": ["statement_timeout=3s"],
        "authenticated": ["statement_timeout=8s"],
        "service_role": None,
    }


def test_caller_is_read_from_the_tokens_claims(server: Postgres, new_database: NewDatabase) -> None:
    dsn = installed(server, new_database())
    user_id = uuid4()
    claims = {"sub": str(user_id), "role": "authenticated", "email": "ada@example.com"}

    with psycopg.connect(dsn) as connection:
        stranger = connection.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()").fetchone()
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        connection.execute("set local role authenticated")
        caller = connection.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()").fetchone()

    assert stranger == (None, None, None, None)
    assert caller == (user_id, "authenticated", "ada@example.com", claims)


def test_databases_of_one_server_can_be_prepared_at_once_and_again(server: Postgres, new_database: NewDatabase) -> None:
    names = [new_database() for _ in range(4)] * 2

    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        dsns = list(pool.map(lambda name: installed(server, name), names))

    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select auth.uid()").fetchone() == (None,)


def test_server_whose_postgres_is_a_superuser_is_refused(new_database: NewDatabase, server: Postgres) -> None:
    name = new_database()
    installed(server, name)
    with psycopg.connect(server.dsn(dbname=name), autocommit=True) as connection:
        connection.execute("alter role postgres superuser")
        try:
            with pytest.raises(StackError, match="superuser"):
                platform.install(connection)
        finally:
            connection.execute("alter role postgres nosuperuser")
