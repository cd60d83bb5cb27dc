"""Turns an empty database of any PostgreSQL ≥ 15 into what a hosted Supabase project is inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from local_stack.errors import StackError

# `explicit`: projects since mid-2026, nothing in public is exposed without a grant (nearly:
# see explicit.sql).
# `legacy`: older projects, where everybody holds everything until it is revoked.
Regime = Literal["explicit", "legacy"]
REGIMES: tuple[Regime, ...] = ("explicit", "legacy")

LOGIN_ROLES = ("postgres", "authenticator", "supabase_auth_admin")
HERE = Path(__file__).parent


def install(target: str | psycopg.Connection[Any], *, regime: Regime = "explicit", password: str | None = None) -> None:
    """Create roles, schema `auth`, grants, event triggers and default privileges in the connected database.

    `target` is a superuser's DSN or connection (which must not be inside a transaction). `password` becomes
    that of the login roles; without one their passwords stay as they are. Roles are cluster-wide: two
    databases of one server may be prepared at once. Raises StackError where `postgres` is a superuser,
    because a test of privileges proves nothing there.
    """
    if isinstance(target, str):
        with psycopg.connect(target, autocommit=True) as connection:
            _install(connection, regime, password)
    else:
        _install(target, regime, password)


def _install(connection: psycopg.Connection[Any], regime: Regime, password: str | None) -> None:
    # Memberships touch the shared catalogues too, so all of it happens under the lock that roles.sql takes.
    with connection.transaction():
        connection.execute(_read("roles.sql"))
        if password is not None:
            for role in LOGIN_ROLES:
                statement = sql.SQL("alter role {} password {}")
                connection.execute(statement.format(sql.Identifier(role), sql.Literal(password)))
        row = connection.execute("select rolsuper from pg_roles where rolname = 'postgres'").fetchone()
        if row is None or row[0]:
            raise StackError(
                "on this server `postgres` is a superuser, which it is not on a hosted project: "
                "use a server whose superuser has another name (initdb --username supabase_admin)"
            )
        connection.execute(_read("platform.sql"))
        if regime == "explicit":
            connection.execute(_read("explicit.sql"))


def _read(name: str) -> bytes:
    return (HERE / name).read_bytes()
