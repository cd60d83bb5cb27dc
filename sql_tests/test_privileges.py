"""The matrix of `privileges.py` against the catalogue, and against what really happens, in both regimes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product

import psycopg
import pytest
from psycopg import sql

from local_stack.platform import REGIMES
from sql_tests import privileges
from sql_tests.privilege_matrix import ask, held_and_expected
from sql_tests.privileges import (
    COLUMNS,
    FUNCTIONS,
    ROLES,
    SEQUENCES,
    may_column,
    may_execute,
    may_table,
)
from testkit.database import Connection, Database
from testkit.shop import Shop

in_both_regimes = pytest.mark.parametrize("regime", REGIMES)

ALLOWED, DENIED = "allowed", "denied"


@in_both_regimes
def test_nothing_exists_that_the_matrix_does_not_list(superuser: Connection) -> None:
    relations = superuser.execute(
        """
        select n.nspname || '.' || c.relname as name, c.relkind::text as kind,
            (
                select array_agg(a.attname::text order by a.attnum) from pg_attribute as a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            ) as columns
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('public', 'payments') and c.relkind not in ('i', 'c', 't')
        """
    ).fetchall()
    superuser.execute("set search_path = ''")  # so that every name is printed in full
    functions = superuser.execute(
        "select oid::regprocedure::text as name from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'payments'::regnamespace)"
    ).fetchall()

    assert {r["name"]: tuple(r["columns"]) for r in relations if r["kind"] != "S"} == COLUMNS
    assert {r["name"] for r in relations if r["kind"] == "S"} == set(SEQUENCES)
    assert sorted(r["name"] for r in functions) == FUNCTIONS


@in_both_regimes
def test_catalogue_holds_exactly_the_matrix(superuser: Connection) -> None:
    cells, expected = held_and_expected(superuser)

    assert len(cells) >= 500
    assert cells == expected


@in_both_regimes
def test_maintain_is_granted_to_nobody(superuser: Connection) -> None:
    if superuser.info.server_version < 170000:
        return  # the verb is PostgreSQL 17's
    held = [
        (role, relation)
        for role, relation in product(ROLES, COLUMNS)
        if ask(superuser, "has_table_privilege", role, relation, "MAINTAIN")
    ]

    assert held == []


# Their ids are the database's alone to give, which Postgres says before it looks at privileges.
SERIAL = ("public.inventory_ledger", "public.order_status_changes", "payments.exceptions")


def attempts(role: str) -> Iterator[tuple[sql.Composed, bool]]:
    """Statements that touch no row, each with whether the role may run it."""
    for relation, columns in COLUMNS.items():
        name = sql.Identifier(*relation.split("."))
        if relation != "public.inventory_levels":
            yield sql.SQL("truncate {}").format(name), may_table(role, relation, "TRUNCATE")
            yield sql.SQL("delete from {} where false").format(name), may_table(role, relation, "DELETE")
        for column in columns:
            field = sql.Identifier(column)
            yield (
                sql.SQL("select {} from {} where false").format(field, name),
                may_column(role, relation, column, "SELECT"),
            )
            if relation == "public.inventory_levels" or column == "minor_per_major":
                continue
            yield (
                sql.SQL("insert into {} ({}) {} select null where false").format(
                    name, field, sql.SQL("overriding system value")
                ),
                may_column(role, relation, column, "INSERT"),
            )
            if not (column == "id" and relation in SERIAL):
                yield (
                    sql.SQL("update {} set {} = null where false").format(name, field),
                    may_column(role, relation, column, "UPDATE"),
                )
    for sequence in SEQUENCES:
        yield sql.SQL("select nextval({})").format(sql.Literal(sequence)), False
        yield sql.SQL("select setval({}, 1)").format(sql.Literal(sequence)), False
        yield sql.SQL("select last_value from {}").format(sql.Identifier(*sequence.split("."))), False


def calls(role: str) -> Iterator[tuple[sql.Composed, bool]]:
    """Every function with null for every argument."""
    for signature in FUNCTIONS:
        if ".tg_" in signature:
            continue  # Postgres itself refuses to call a trigger function
        schema, rest = signature.split(".", 1)
        name, types = rest.rstrip(")").split("(", 1)
        nulls = ", ".join(f"null::{type_}" for type_ in types.split(",")) if types else ""
        yield (
            sql.SQL("select {}({})").format(sql.Identifier(schema, name), sql.SQL(nulls)),
            schema == "public" and may_execute(role, signature),  # nobody enters `payments`, whatever stands there
        )


@in_both_regimes
def test_what_is_not_granted_is_denied_in_fact(db: Database, shop: Shop, connections: ExitStack) -> None:
    actors = {
        ("anon", "visitor"): connections.enter_context(db.act_as("anon")),
        ("authenticated", "buyer"): connections.enter_context(db.act_as("authenticated", user_id=shop.buyer_id)),
        ("authenticated", "stranger"): connections.enter_context(db.act_as("authenticated", user_id=shop.stranger_id)),
        ("authenticated", "member"): connections.enter_context(
            db.act_as("authenticated", user_id=shop.sellers[0].member_id)
        ),
        ("authenticated", "other seller's member"): connections.enter_context(
            db.act_as("authenticated", user_id=shop.sellers[1].member_id)
        ),
        ("service_role", "server"): connections.enter_context(db.act_as("service_role")),
        ("authenticator", "login"): connections.enter_context(db.connect("authenticator")),
    }
    surprises = []
    count = 0

    for (role, actor), connection in actors.items():
        for statement, allowed in [*attempts(role), *calls(role)]:
            happened = attempt(connection, statement)
            count += 1
            if happened != (ALLOWED if allowed else DENIED):
                surprises.append((actor, statement.as_string(connection), happened))

    assert count >= 250
    assert surprises == []


def attempt(connection: Connection, statement: sql.Composed) -> str:
    """What becomes of a statement; everything but a refusal of the privilege system counts as allowed."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        return DENIED if "permission denied" in str(error) else f"refused otherwise: {error}"
    except psycopg.Error:
        return ALLOWED  # it got past the privileges and failed on the nulls
    return ALLOWED


def test_matrix_is_what_the_contract_says_in_numbers() -> None:
    assert {role for role, _ in privileges.TABLE_GRANTS} == {"authenticated", "service_role"}
    assert {role for role, _, _ in privileges.COLUMN_GRANTS} == {"service_role"}
    payment_columns = {c for c in COLUMNS["public.order_groups"] if c == "paid_at" or c.startswith("stripe_")}
    granted = privileges.COLUMN_GRANTS["service_role", "public.order_groups", "INSERT"]
    assert granted.isdisjoint(payment_columns)
