"""`security_findings()` is silent on a healthy database and names every fault that is sown."""

from __future__ import annotations

from typing import LiteralString

import pytest

from local_stack.platform import REGIMES
from testkit.database import Connection

RECONCILE: LiteralString = (
    "public.reconcile_order_group_payment(uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, "
    "jsonb, text, text)"
)

FAULTS: list[tuple[LiteralString, str]] = [
    ("grant execute on function " + RECONCILE + " to anon", "function_is_executable"),
    ("grant execute on function " + RECONCILE + " to public", "function_is_executable"),
    ("grant execute on function public.cancel_order_group(uuid) to authenticated", "function_is_executable"),
    ("grant execute on function payments.verdict to service_role", "function_is_executable"),
    ("revoke execute on function " + RECONCILE + " from service_role", "function_is_not_executable"),
    (
        "drop function public.cancel_order_group(uuid); create function public.cancel_order_group(uuid) returns jsonb"
        " language sql security definer set search_path = '' as $$ select '{}'::jsonb $$",
        "function_is_executable",
    ),
    (
        "create function public.reconcile_order_group_payment(p_order_group_id uuid) returns jsonb"
        " language sql security definer set search_path = '' as $$ select '{}'::jsonb $$",
        "unexpected_function",
    ),
    ("create function payments.helper() returns int language sql as 'select 1'", "unexpected_function"),
    ("drop function public.record_inventory_receipt(uuid, integer, text)", "missing_function"),
    ("alter function " + RECONCILE + " reset search_path", "changed_function"),
    ("alter function " + RECONCILE + " set search_path = public", "changed_function"),
    ("alter function " + RECONCILE + " security invoker", "changed_function"),
    ("alter table public.orders disable row level security", "row_level_security_is_off"),
    ("alter table payments.stripe_events disable row level security", "row_level_security_is_off"),
    ("create table public.notes (id bigint primary key)", "row_level_security_is_off"),
    (
        'alter policy "Buyers can read their own order groups" on public.order_groups using (true)',
        "changed_policy",
    ),
    (
        'alter policy "Buyers can read their own order groups" on public.order_groups to authenticated, anon',
        "changed_policy",
    ),
    (
        'alter policy "Nobody can read exceptions" on payments.exceptions using (true)',
        "changed_policy",
    ),
    ("create policy more on public.orders for select to authenticated using (true)", "unexpected_policy"),
    ("create policy more on public.orders for update to service_role using (true)", "unexpected_policy"),
    ('drop policy "Members can read their own sellers" on public.sellers', "missing_policy"),
    ("grant select on public.order_groups to anon", "unexpected_grant"),
    ("grant select (total_amount) on public.order_groups to anon", "unexpected_grant"),
    ("grant select on public.products to public", "unexpected_grant"),
    ("grant update on public.order_groups to service_role", "unexpected_grant"),
    ("grant update (total_amount) on public.orders to service_role", "unexpected_grant"),
    ("grant insert (paid_at) on public.order_groups to service_role", "unexpected_grant"),
    ("grant insert on public.inventory_ledger to service_role", "unexpected_grant"),
    ("grant truncate on public.inventory_ledger to authenticated", "unexpected_grant"),
    ("grant references on public.order_groups to authenticated", "unexpected_grant"),
    ("grant trigger on public.order_groups to service_role", "unexpected_grant"),
    ("grant usage on sequence public.inventory_ledger_id_seq to service_role", "unexpected_grant"),
    ("grant select on payments.exceptions to service_role", "unexpected_grant"),
    ("grant select on public.order_groups to authenticator", "unexpected_grant"),
    ("revoke select on public.orders from authenticated", "missing_grant"),
    ("revoke insert (currency) on public.order_groups from service_role", "missing_grant"),
    ("grant usage on schema payments to service_role", "schema_is_open"),
    ("alter view public.inventory_levels reset (security_invoker)", "view_bypasses_policies"),
    ("create view public.peek as select * from public.order_groups", "view_bypasses_policies"),
    ("drop view public.inventory_levels", "missing_relation"),
    (
        "create function public.peek() returns setof public.order_groups language sql security definer"
        " set search_path = '' as 'select * from public.order_groups'",
        "open_door",
    ),
    (
        "create materialized view public.peek as select * from public.order_groups;"
        " grant select on public.peek to anon",
        "view_bypasses_policies",
    ),
    ("grant select on public.orders to authenticated with grant option", "unexpected_grant"),
    ("alter function " + RECONCILE + " reset lock_timeout", "changed_function"),
    ("alter function " + RECONCILE + " reset default_transaction_isolation", "changed_function"),
    (
        "create or replace trigger inventory_ledger_is_append_only before update or delete or truncate on"
        " public.inventory_ledger for each statement when (false)"
        " execute function payments.tg_history__refuse_change()",
        "missing_guard",
    ),
    ("create table payments.more (id bigint primary key)", "unexpected_relation"),
    ("alter table public.inventory_ledger disable trigger inventory_ledger_is_append_only", "missing_guard"),
    ("alter table public.inventory_ledger enable trigger inventory_ledger_is_append_only", "missing_guard"),
    ("drop trigger orders_move_forward on public.orders", "missing_guard"),
    (
        "create or replace trigger orders_move_forward before update of status on public.orders"
        " for each row execute function payments.tg_orders__move_forward()",
        "missing_guard",
    ),
    (
        "create or replace trigger order_groups_fit_currency before insert on public.order_groups"
        " for each row execute function payments.tg_order_groups__fit_currency()",
        "missing_guard",
    ),
    (
        "create or replace trigger order_items_need_pending_group before insert or delete or update of quantity"
        " on public.order_items for each row execute function payments.tg_order_items__need_pending_group()",
        "missing_guard",
    ),
]


def findings(connection: Connection) -> list[str]:
    rows = connection.execute("select * from public.security_findings()").fetchall()
    return [row["finding"] for row in rows]


@pytest.mark.parametrize("regime", REGIMES)
def test_healthy_database_has_no_finding(service: Connection) -> None:
    rows = service.execute("select * from public.security_findings()").fetchall()

    assert rows == []


def test_each_sown_fault_is_found(service: Connection, owner: Connection) -> None:
    """Each fault is sown in a transaction that is rolled back, so that all of them share one database."""
    missed = []
    for fault, expected in FAULTS:
        owner.execute("begin")
        owner.execute(fault)
        if expected not in findings(owner):
            missed.append((fault, findings(owner)))
        owner.execute("rollback")

    assert missed == []
    assert findings(service) == []


def test_role_that_bypasses_policies_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("alter role anon bypassrls")

    assert findings(superuser) == ["api_role_bypasses_policies"]
    superuser.execute("rollback")


def test_visitor_who_may_become_the_server_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("grant service_role to anon")
    assert findings(superuser) == ["open_door"]
    superuser.execute("grant create on schema public to anon")

    assert findings(superuser) == ["open_door", "open_door"]
    superuser.execute("rollback")


def test_function_that_a_superuser_owns_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("alter function public.cancel_order_group(uuid) owner to supabase_admin")

    assert "changed_function" in findings(superuser)
    superuser.execute("rollback")
