"""Databases, and who acts in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, LiteralString
from urllib.parse import quote
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from local_stack.surface import StackSurface
from testkit.snapshot import Snapshot, snapshot

Connection = psycopg.Connection[dict[str, Any]]
Role = Literal["anon", "authenticated", "service_role"]
Row = dict[str, Any]

SUPERUSER = "supabase_admin"


@dataclass(frozen=True, slots=True)
class Database:
    """One clone of the template; every login role has the server's one password."""

    name: str
    host: str
    port: int
    password: str

    def dsn(self, user: str) -> str:
        return make_conninfo(
            host=self.host, port=self.port, user=user, password=self.password, dbname=self.name, sslmode="disable"
        )

    def url(self, user: str) -> str:
        return (
            f"postgresql://{user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{self.name}?sslmode=disable"
        )

    def connect(self, user: str = SUPERUSER, *, autocommit: bool = True) -> Connection:
        return psycopg.connect(self.dsn(user), autocommit=autocommit, row_factory=dict_row)

    def act_as(self, role: Role, *, user_id: UUID | None = None, autocommit: bool = True) -> Connection:
        """A session as PostgREST opens it: logged in as authenticator, then switched to the role."""
        connection = self.connect("authenticator")
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
        connection.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
        connection.autocommit = autocommit
        return connection

    def snapshot(self) -> Snapshot:
        """Every row with the transaction that wrote it: equal snapshots mean that nothing was written."""
        return snapshot(self.dsn(SUPERUSER))


@contextmanager
def connected(stack: StackSurface) -> Iterator[tuple[Connection, Connection]]:
    """Two sessions: the superuser, who looks, and plays Supabase Auth; and the shop's server, as `service_role`."""
    with (
        psycopg.connect(stack.dsn(), autocommit=True, row_factory=dict_row) as superuser,
        psycopg.connect(stack.dsn(user="authenticator"), autocommit=True, row_factory=dict_row) as service,
    ):
        service.execute("set role service_role")
        yield superuser, service


@contextmanager
def past_every_guard(superuser: Connection, *, force_rollback: bool = False) -> Iterator[None]:
    """One transaction in which the superuser writes what no trigger and no foreign key would let through."""
    with superuser.transaction(force_rollback=force_rollback):
        superuser.execute("set local session_replication_role = replica")
        # These fire for a replica, too.
        triggers = superuser.execute(
            "select tgrelid::regclass::text as table, quote_ident(tgname) as name from pg_trigger where tgenabled = 'A'"
        ).fetchall()
        for trigger in triggers:
            superuser.execute(f"alter table {trigger['table']} disable trigger {trigger['name']}".encode())
        yield
        for trigger in triggers:
            superuser.execute(f"alter table {trigger['table']} enable always trigger {trigger['name']}".encode())


def scalar(connection: Connection, query: LiteralString, *values: Any) -> Any:
    """The single value of a query's single row."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    (value,) = row.values()
    return value
