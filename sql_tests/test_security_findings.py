"""`security_findings()` is silent on a healthy database and names every fault that is sown."""

from __future__ import annotations

from typing import LiteralString

import pytest

from local_stack.platform import REGIMES
from testkit.database import Connection, Database

RECONCILE: LiteralString = (
    "public.reconcile_order_group_payment(uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, "
    "jsonb, text, text, text)"
)

FAULTS: list[tuple[LiteralString, str]] = [
    ("grant execute on function " + RECONCILE + " to anon", "function_is_executable"),
    ("grant execute on function " + RECONCILE + " to public", "function_is_executable"),
    ("grant execute on function public.cancel_order_group(uuid, text) to authenticated", "function_is_executable"),
    ("grant execute on function payments.verdict to service_role", "function_is_executable"),
    ("revoke execute on function " + RECONCILE + " from service_role", "function_is_not_executable"),
    (
        "drop function public.cancel_order_group(uuid, text);"
        " create function public.cancel_order_group(uuid, text) returns jsonb"
        " language sql security definer set search_path = '' as $$ select '{}'::jsonb $$",
        "function_is_executable",
    ),
    (
        "create function public.reconcile_order_group_payment(p_order_group_id uuid) returns jsonb"
        " language sql security definer set search_path = '' as $$ select '{}'::jsonb $$",
        "unexpected_function",
    ),
    ("create function payments.helper() returns int language sql as 'select 1'", "unexpected_function"),
    ("drop function public.record_inventory_receipt(uuid, integer, text, text)", "missing_function"),
    ("alter function " + RECONCILE + " reset search_path", "changed_function"),
    ("alter function " + RECONCILE + " set search_path = public", "changed_function"),
    ("alter function " + RECONCILE + " security invoker", "changed_function"),
    ("alter table public.orders disable row level security", "row_level_security_is_off"),
    ("alter table payments.stripe_events disable row level security", "row_level_security_is_off"),
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
    ("drop trigger orders_record_changes on public.orders", "missing_guard"),
    (
        "create or replace trigger orders_refund_as_owner before update of status on public.orders"
        " for each row execute function payments.tg_orders__refund_as_owner()",
        "missing_guard",
    ),
    (
        "create or replace trigger order_groups_still_fit_currency after update of total_amount on public.order_groups"
        " for each row execute function payments.tg_order_groups__fit_currency()",
        "missing_guard",
    ),
    (
        "create or replace trigger order_items_need_pending_group before insert or delete or update of quantity"
        " on public.order_items for each row execute function payments.tg_order_items__need_pending_group()",
        "missing_guard",
    ),
    # Guards that are there and do less.
    (
        "create function public.nothing() returns trigger language plpgsql as 'begin return new; end';"
        " create or replace trigger order_groups_start_pending before insert or update of status on public.order_groups"
        " for each row execute function public.nothing()",
        "missing_guard",
    ),
    (
        "create or replace trigger order_groups_stay_settled before update on public.order_groups for each row"
        " when (old.status <> 'pending') execute function payments.tg_order_groups__stay_settled()",
        "missing_guard",
    ),
    ("alter table public.order_groups disable trigger order_groups_start_pending", "missing_guard"),
    ("alter table public.order_groups enable replica trigger order_groups_start_pending", "missing_guard"),
    # Rows that go astray.
    ("create rule swallow as on insert to public.inventory_ledger do instead nothing", "unexpected_rule"),
    ("create rule also as on update to public.orders do also select 1", "unexpected_rule"),
    (
        "create function public.swallow() returns trigger language plpgsql as"
        " 'begin if new.quantity_delta < 0 then RETURN  NULL; end if; return new; end';"
        " create trigger swallow before insert on public.inventory_ledger for each row"
        " execute function public.swallow()",
        "unexpected_guard",
    ),
    (
        "create function public.aside() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger aside after insert on payments.stripe_events for each row execute function public.aside()",
        "unexpected_guard",
    ),
    (
        "create function public.aside() returns trigger language plpgsql as 'begin return new; end';"
        " create trigger aside before insert or update on payments.exceptions for each row"
        " execute function public.aside()",
        "unexpected_guard",
    ),
    (
        "create function public.swallow() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger swallow before update on payments.exceptions for each row execute function public.swallow()",
        "unexpected_guard",
    ),
    # Tables that lost what they stand on.
    ("drop index payments.stripe_events_applied_order_group_id_key", "missing_index"),
    (
        "drop index payments.stripe_events_applied_order_group_id_key; create unique index"
        " stripe_events_applied_order_group_id_key on payments.stripe_events (order_group_id, id)"
        " where outcome = 'applied'",
        "changed_index",
    ),
    ("alter table public.order_items drop constraint order_items_quantity_is_positive_check", "missing_constraint"),
    (
        "alter table public.order_items drop constraint order_items_quantity_is_positive_check;"
        " alter table public.order_items add constraint order_items_quantity_is_positive_check"
        " check (quantity > 0) not valid",
        "changed_constraint",
    ),
    ("alter table payments.stripe_events drop constraint stripe_events_order_group_id_fkey", "missing_constraint"),
    ("alter table public.order_groups alter column total_amount drop not null", "changed_column"),
    ("alter table public.order_groups alter column status set default 'paid'", "changed_column"),
    ("alter table public.order_groups rename column paid_at to paid", "missing_column"),
    (
        "create table public.everything (like public.orders); alter table public.orders inherit public.everything",
        "open_door",
    ),
    ("create table public.more () inherits (public.inventory_ledger)", "unexpected_child"),
    # Functions that are no longer ours.
    (
        "create or replace function payments.tg_settled__start_pending() returns trigger language plpgsql stable"
        " set search_path = '' as 'begin return new; end'",
        "changed_function",
    ),
    ("alter function public.cancel_order_group(uuid, text) reset lock_timeout", "changed_function"),
    ("alter function " + RECONCILE + " stable", "changed_function"),
    ("revoke all on payments.exceptions from postgres", "missing_grant"),
    ("revoke update on public.orders from postgres", "missing_grant"),
    # Doors, however they are spelt.
    (
        'create function public."Peek"() returns bigint language sql security definer'
        " as 'SELECT count(*) FROM PUBLIC . ORDER_GROUPS'",
        "open_door",
    ),
    (
        "create function public.peek() returns bigint language sql security definer set search_path = ''"
        """ as 'select count(*) from "public"."order_groups"'""",
        "open_door",
    ),
    (
        "create function public.peek() returns bigint language sql security definer"
        " begin atomic select count(*) from public.products; end",
        "open_door",
    ),
    (
        "create function public.peek() returns bigint language sql security definer set search_path = public"
        " as 'select count(*) from sellers'",
        "open_door",
    ),
    (
        "create function public.peek() returns bigint language plpgsql security definer set search_path = '' as"
        " $$ declare n bigint; begin execute format('select count(*) from %I.%I', 'public', 'orders') into n;"
        " return n; end $$",
        "open_door",
    ),
    (
        "create function public.pay(p uuid) returns jsonb language sql security definer set search_path = ''"
        " as 'select public.cancel_order_group(p)'",
        "open_door",
    ),
    (
        "create schema inner_room; create function inner_room.orders_of_all() returns bigint language sql"
        " as 'select count(*) from public.orders';"
        " create function public.peek() returns bigint language sql security definer set search_path = ''"
        " as 'select inner_room.orders_of_all()'",
        "open_door",
    ),
    (
        "create schema api; grant usage on schema api to authenticated; create function api.peek() returns bigint"
        " language sql security definer set search_path = '' as 'select count(*) from payments.exceptions';"
        " revoke execute on function api.peek() from public; grant execute on function api.peek() to authenticated",
        "open_door",
    ),
    (
        'create view public."Peek" as select id from public.order_groups; grant select on public."Peek" to anon',
        "view_bypasses_policies",
    ),
    (
        "create materialized view public.peek as select * from public.order_groups;"
        " grant select (id) on public.peek to authenticated",
        "view_bypasses_policies",
    ),
    (
        "create schema api; grant usage on schema api to anon; create view api.deep as select * from public.orders;"
        " create view api.peek as select id from api.deep; grant select on api.peek to anon",
        "view_bypasses_policies",
    ),
    (
        "create function public.all_orders() returns setof public.orders language sql"
        " as 'select * from public.orders'; create view public.peek as select id from public.all_orders()",
        "view_bypasses_policies",
    ),
]


# What projects have of their own, and what the platform does to them.
HEALTHY: list[LiteralString] = [
    # Columns of the project's own on every table, and what it may do with them.
    """
    do $$ declare r regclass; begin
        for r in select c.oid from pg_class as c
            where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'payments'::regnamespace)
        loop
            execute format('alter table %s add column own_note text, add column own_count int not null default 0,'
                ' add column own_json json, add column own_twice int generated always as (own_count * 2) stored', r);
        end loop;
    end $$
    """,
    "alter table public.orders add own_note text; grant select (own_note), update (own_note) on public.orders to anon",
    "create index own_index on public.orders (created_at desc, id)",
    "alter table public.products add constraint own_check check (name <> 'x'), add constraint own_key unique (sku, id)",
    """
    create function public.handle_updated_at() returns trigger language plpgsql as
    $$ begin
        -- never: return null
        new.name = btrim(new.name);
        return new;
    end $$;
    create trigger handle_updated_at before update on public.products
    for each row execute function public.handle_updated_at()
    """,
    """
    create function public.tell() returns trigger language plpgsql security definer as
    $$ begin perform 1 from public.orders; return null; end $$;
    create trigger tell after update on public.order_groups for each row execute function public.tell()
    """,
    # Tables, views and functions of the project's own.
    """
    create table public.gift_cards (
        id bigint primary key,
        order_group_id uuid references public.order_groups,
        also uuid references public.order_groups
    );
    create view public.gifts as select * from public.gift_cards
    """,
    "create view public.mine with (security_invoker = on) as select id from public.order_groups",
    """
    create schema warehouse; create table warehouse.products (id int); grant usage on schema warehouse to anon;
    create view warehouse.shelf as select id from warehouse.products; grant select on warehouse.shelf to anon;
    create function public.count_products() returns bigint language sql security definer set search_path = '' as
    $$ select count(*) as orders /* not public.orders */ from warehouse.products as products -- nor public.sellers $$
    """,
    """
    create table public."Orders" (id int); alter table public."Orders" enable row level security;
    create function public.capital() returns bigint language sql security definer set search_path = '' as
    'select count(*) from public."Orders"'
    """,
    """
    create function public.for_the_server() returns bigint language sql security definer as
    'select count(*) from public.orders';
    revoke execute on function public.for_the_server() from public, anon, authenticated
    """,
    "create function public.for_the_caller() returns bigint language sql as 'select count(*) from public.orders'",
    """
    create schema reports; create view reports.turnover as select sum(total_amount) from public.order_groups;
    create materialized view reports.kept as select * from reports.turnover
    """,
]
# The same, by the platform's own superuser.
PLATFORM: list[LiteralString] = [
    # https://github.com/supabase/postgres: pgsodium's roles on projects of PostgreSQL 15 and those upgraded from it.
    "create role test_keyholder; grant test_keyholder to service_role",
    # An extension in `public`, with a table, a view and a function of its own.
    """
    create table public.spatial_ref_sys (srid int); grant all on public.spatial_ref_sys to anon, authenticated;
    create view public.geography_columns as select id from public.orders;
    grant select on public.geography_columns to anon;
    create function public.st_orders() returns bigint language sql security definer as
    'select count(*) from public.orders';
    alter extension plpgsql add table public.spatial_ref_sys;
    alter extension plpgsql add view public.geography_columns;
    alter extension plpgsql add function public.st_orders()
    """,
]


def findings(connection: Connection) -> list[str]:
    rows = connection.execute("select * from public.security_findings()").fetchall()
    return [row["finding"] for row in rows]


@pytest.mark.parametrize("regime", REGIMES)
def test_healthy_database_has_no_finding(service: Connection) -> None:
    rows = service.execute("select * from public.security_findings()").fetchall()

    assert rows == []


@pytest.mark.parametrize("regime", REGIMES)
def test_what_a_project_has_of_its_own_is_no_finding(db: Database, superuser: Connection, owner: Connection) -> None:
    superuser.execute(f'grant create on database "{db.name}" to postgres')
    told = []
    for statements, actor in [*((one, owner) for one in HEALTHY), *((one, superuser) for one in PLATFORM)]:
        actor.execute("begin")
        actor.execute(statements)
        rows = actor.execute("select * from public.security_findings()").fetchall()
        told += [(statements, row) for row in rows]
        actor.execute("rollback")

    assert told == []


def test_project_of_thousands_of_functions_and_views_is_judged_within_the_data_apis_time_limit(
    service: Connection, owner: Connection
) -> None:
    owner.execute(
        """
        do $$ begin
            for i in 1..2000 loop
                execute format($f$
                    create function public.own_%s() returns bigint language plpgsql security definer
                    set search_path = '' as $b$ declare n bigint; begin %s
                        select public.own_%s() into n; return n; end $b$ $f$,
                    i, repeat('perform count(*) from warehouse.shelf as s where s.name = ''left''; ', 30),
                    i - i % 10 + (i + 1) % 10
                );
            end loop;
            for i in 1..1000 loop
                execute format('create table public.own_table_%s (id int, name text)', i);
                execute format('create view public.own_view_%s as select t.id from public.own_table_%s as t', i, i);
            end loop;
        end $$
        """
    )
    service.execute("set statement_timeout = '8s'")

    assert findings(service) == []
    owner.execute(
        "create or replace function public.own_7() returns bigint language sql security definer set search_path = ''"
        " as 'select count(*) from public.orders'"
    )
    assert findings(service) == ["open_door"] * 2 * 7  # to two roles, and what calls it


@pytest.mark.parametrize("regime", REGIMES)
def test_a_child_of_any_table_is_found_alone(owner: Connection, service: Connection) -> None:
    """Its rows count in the parent's sums, and none of the parent's guards holds for them."""
    tables = owner.execute(
        "select o.object from payments.own_objects() as o"
        " inner join pg_class as c on o.kind = 'relation' and o.id = c.oid and c.relkind = 'r'"
    ).fetchall()
    assert {"public.inventory_ledger", "payments.refunds"} < {row["object"] for row in tables}
    for parent in (row["object"] for row in tables):
        for made in (
            "create table public.child () inherits ({0})",
            "create table public.child (like {0} including all); alter table public.child inherit {0}",
        ):
            owner.execute("begin")
            owner.execute(made.format(parent).encode())
            rows = owner.execute("select * from public.security_findings()").fetchall()
            owner.execute("rollback")
            detail = "the rows of public.child count as its own"
            assert rows == [{"finding": "unexpected_child", "object": parent, "detail": detail}]
    assert findings(service) == []


def test_each_sown_fault_is_found(db: Database, superuser: Connection, service: Connection, owner: Connection) -> None:
    """Each fault is sown in a transaction that is rolled back, so that all of them share one database."""
    superuser.execute(f'grant create on database "{db.name}" to postgres')
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


def test_visitor_who_may_become_somebody_else_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("grant authenticated to anon")
    assert findings(superuser) == ["open_door"]
    superuser.execute("revoke authenticated from anon")
    superuser.execute("grant service_role to anon")
    assert findings(superuser) == ["open_door"]
    superuser.execute("grant create on schema public to anon")

    assert findings(superuser) == ["open_door", "open_door"]
    superuser.execute("rollback")


def test_function_that_a_superuser_owns_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("alter function public.cancel_order_group(uuid, text) owner to supabase_admin")

    assert "changed_function" in findings(superuser)
    superuser.execute("rollback")


def test_owner_who_is_bound_by_policies_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("alter table public.orders force row level security")
    assert findings(superuser) == []
    superuser.execute("alter role postgres nobypassrls")

    assert findings(superuser) == ["owner_is_bound_by_policies"]
    superuser.execute("rollback")


def test_foreign_key_that_was_switched_off_is_found(superuser: Connection) -> None:
    superuser.execute("begin")
    superuser.execute("alter table payments.exceptions disable trigger all")

    # The key, what keeps the rows, and what forgets who was told.
    assert findings(superuser) == ["missing_guard"] * 3
    superuser.execute("rollback")
