"""Each role that a rule of `security_findings()` names, by itself: who may bypass, become, create and reach what."""

from __future__ import annotations

from itertools import product

import pytest

from testkit.database import Connection

Finding = tuple[str, str, str]


def findings(superuser: Connection, *statements: str) -> list[Finding]:
    """What is found while the statements hold; they are rolled back. In the function's own order."""
    with superuser.transaction(force_rollback=True):
        for statement in statements:
            superuser.execute(statement.encode())
        rows = superuser.execute("select * from public.security_findings()").fetchall()
    return [(row["finding"], row["object"], row["detail"]) for row in rows]


@pytest.mark.parametrize(("role", "attribute"), list(product(["anon", "authenticated"], ["superuser", "bypassrls"])))
def test_client_that_bypasses_policies_is_found(superuser: Connection, role: str, attribute: str) -> None:
    told = findings(superuser, f"alter role {role} {attribute}")

    rule = "anon and authenticated must neither be superusers nor bypass row level security"
    assert ("api_role_bypasses_policies", role, rule) in told
    assert {finding for finding, object_, _ in told if object_ == role} == {"api_role_bypasses_policies"}


def test_server_that_bypasses_policies_is_none(superuser: Connection) -> None:
    """`service_role` does on every project."""
    assert findings(superuser, "alter role service_role bypassrls") == []


ROLES = ("anon", "authenticated", "service_role")
# What a role may be to be a door for whoever becomes it; the last one opens nothing.
KINDS = {
    "create role a_door superuser": True,
    "create role a_door bypassrls": True,
    "create role a_door createrole": True,
    "create role a_door in role pg_read_all_data": True,
    "create role a_door; alter function public.cancel_order_group(uuid, text) owner to a_door": True,
    "create role a_door": False,
    "create role a_door createdb": False,
}


def test_each_membership_that_opens_something_is_found_for_each_role(superuser: Connection) -> None:
    told, expected = {}, {}

    for role, (made, is_door) in product(ROLES, KINDS.items()):
        found = findings(superuser, made, f"grant a_door to {role}")
        told[role, made] = sorted({finding for finding, object_, _ in found if object_ == role})
        expected[role, made] = ["open_door"] if is_door else []

    assert told == expected


@pytest.mark.parametrize(
    ("role", "other"), [(role, other) for role, other in product(ROLES, (*ROLES, "pg_monitor")) if role != other]
)
def test_role_that_may_become_another_is_found_by_name(superuser: Connection, role: str, other: str) -> None:
    assert ("open_door", role, f"it is a member of {other}") in findings(superuser, f"grant {other} to {role}")


def test_whoever_may_create_objects_in_public_is_found_by_name(superuser: Connection) -> None:
    makers = ("public", *ROLES, "authenticator")

    told = {maker: findings(superuser, f"grant create on schema public to {maker}") for maker in makers}

    assert told == {maker: [("open_door", "public", f"{maker} may create objects in it")] for maker in makers}


VIEW = "create view {name} as select id from public.order_groups"
HIDDEN = ("create schema api; grant usage on schema api to {role}", VIEW.format(name="api.peek"))


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("verb", ["select", "insert", "update", "delete", "select (id)", "update (id)"])
def test_view_outside_public_is_a_door_for_whoever_has_any_verb_on_it(
    superuser: Connection, role: str, verb: str
) -> None:
    schema, view = HIDDEN
    made = (schema.format(role=role), view)

    assert findings(superuser, *made) == []
    assert findings(superuser, *made, f"grant {verb} on api.peek to {role}") == [
        (
            "view_bypasses_policies",
            "api.peek",
            f"it works on these tables or functions with its owner's rights, and is open to {role}",
        )
    ]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_function_is_a_door_for_the_one_role_that_may_call_it(superuser: Connection, role: str) -> None:
    made = (
        "create function public.peek() returns bigint language sql security definer set search_path = ''"
        " as 'select count(*) from public.orders'",
        "revoke execute on function public.peek() from public, anon, authenticated, service_role",
    )

    assert findings(superuser, *made) == []
    assert findings(superuser, *made, f"grant execute on function public.peek() to {role}") == [
        (
            "open_door",
            "public.peek()",
            f"it works on these tables or functions with its owner's rights, and is open to {role}",
        )
    ]


def test_findings_are_in_the_order_of_what_object_and_detail(superuser: Connection) -> None:
    told = findings(
        superuser,
        "grant select on public.products to anon",
        "grant select on public.orders to anon, authenticator",
        "grant create on schema public to anon",
        "grant authenticated to anon",
        "alter table public.sellers disable row level security",
        "alter table public.orders disable row level security",
        "drop trigger orders_record_changes on public.orders",
    )

    assert len(told) >= 8
    assert told == sorted(told)
