"""Who may call what on router and shards, and that the router tells what is unsafe, unready or broken on one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import pytest
from psycopg import sql

from testkit.database import Connection, Database, Row, past_every_guard, scalar
from testkit.payments import reconcile
from testkit.shards import Cluster, all_on, group_on, id_on
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("sound")


# What the router calls on a shard.
CALLED = {
    "broken",
    "claim",
    "early",
    "facts",
    "forget_taken",
    "holders",
    "open_claims",
    "paid_claims",
    "preview_together",
    "reconcile_alone",
    "reconcile_together",
    "record",
    "record_unclaimed",
    "release_claims",
    "settle_claims",
}
FUNCTIONS: LiteralString = """
    select
        n.nspname as schema,
        p.proname as name,
        p.proowner::regrole::text as owner,
        array(
            select r.rolname::text
            from pg_roles as r
            where
                r.rolname in ('anon', 'authenticated', 'service_role')
                and has_function_privilege(r.oid, p.oid, 'execute')
            order by r.rolname
        ) as may_call,
        not p.prosecdef or coalesce('search_path=""' = any(p.proconfig), false) as is_closed
    from pg_proc as p
    inner join pg_namespace as n on p.pronamespace = n.oid
    where
        n.nspname in ('public', 'shards')
        and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
"""
# Each privilege of these roles on a schema, table, view or foreign table of ours.
RELATIONS: LiteralString = """
    select r.rolname::text || ' ' || a.privilege || ' ' || o.name as granted
    from (
        select c.oid, c.oid::regclass::text as name, false as is_schema
        from pg_class as c
        where
            c.relkind in ('r', 'v', 'f')
            and (c.relnamespace::regnamespace::text like 'shard%' or c.oid = to_regclass('public.order_groups'))
        union all
        select n.oid, n.nspname, true
        from pg_namespace as n
        where n.nspname like 'shard%'
    ) as o
    cross join pg_roles as r
    cross join unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER,USAGE,CREATE}'::text[]) as a (privilege)
    where
        r.rolname in ('anon', 'authenticated', 'service_role')
        and case
            when o.is_schema and a.privilege in ('USAGE', 'CREATE') then has_schema_privilege(r.oid, o.oid, a.privilege)
            when not o.is_schema and a.privilege not in ('USAGE', 'CREATE')
                then has_table_privilege(r.oid, o.oid, a.privilege)
        end
"""


def test_service_role_may_call_what_is_public_and_nobody_else_anything(cluster: Cluster, owner: Connection) -> None:
    functions = owner.execute(FUNCTIONS).fetchall()

    assert [each for each in functions if each["schema"] == "public" and each["may_call"] != ["service_role"]] == []
    assert [each for each in functions if each["schema"] == "shards" and each["may_call"] != []] == []
    assert [each["name"] for each in functions if each["owner"] != "postgres"] == ["connect"]
    assert [each["name"] for each in functions if not each["is_closed"]] == []
    granted = {row["granted"] for row in owner.execute(RELATIONS).fetchall()}
    assert granted == {"service_role SELECT order_groups"}

    for shard in cluster.shards:
        with shard.connect("postgres") as alone:
            functions = [each for each in alone.execute(FUNCTIONS).fetchall() if each["schema"] == "shards"]
            granted = {row["granted"] for row in alone.execute(RELATIONS + " and o.name like 'shards%'").fetchall()}
            unguarded = alone.execute(
                "select relname from pg_class"
                " where relnamespace = 'shards'::regnamespace and relkind = 'r' and not relrowsecurity"
            ).fetchall()
        may_call = {each["name"]: each["may_call"] for each in functions if each["may_call"]}
        assert may_call == {name: ["service_role"] for name in CALLED}
        assert [each["name"] for each in functions if each["owner"] != "postgres" or not each["is_closed"]] == []
        assert granted == {"service_role USAGE shards"}
        assert unguarded == []


def test_what_is_unsafe_on_one_shard_is_found(cluster: Cluster, routed: Connection) -> None:
    assert routed.execute("select * from public.security_findings()").fetchall() == []

    with cluster.shards[1].connect() as superuser:
        superuser.execute("grant execute on function public.reconcile_order_group_payments(jsonb) to anon")
        try:
            found = routed.execute("select finding, object from public.security_findings()").fetchall()
        finally:
            superuser.execute("revoke execute on function public.reconcile_order_group_payments(jsonb) from anon")

    assert [row["object"] for row in found] == ["public.reconcile_order_group_payments(jsonb)"]


# What a shard may say -> what the router makes of it and of another shard that says the contrary.
WORST: dict[str, tuple[Any, Any, Any]] = {
    "contract_version": (3, 2, 2),
    "oldest_contract_version": (1, 2, 2),
    "can_execute": (True, False, False),
    "anon_can_execute": (False, True, True),
    "expiry_last_ran_at": ("2026-11-01T12:00:00+00:00", "2026-11-01T11:00:00+00:00", "2026-11-01T11:00:00+00:00"),
    "overdue_since": (None, "2026-11-01T11:00:00+00:00", "2026-11-01T11:00:00+00:00"),
    "open_exceptions": (
        {"amount_mismatch": 2, "missing_reference": 1},
        {"amount_mismatch": 3, "duplicate_payment": 1},
        {"amount_mismatch": 5, "missing_reference": 1, "duplicate_payment": 1},
    ),
    "oldest_open_exception_at": (
        "2026-11-01T12:00:00+00:00",
        "2026-11-01T11:00:00+00:00",
        "2026-11-01T11:00:00+00:00",
    ),
    "fragile_triggers": (["one"], ["two"], ["one", "two"]),
}


@pytest.mark.parametrize("worse", [0, 1])
def test_the_router_is_as_ready_as_the_worst_of_the_shards(cluster: Cluster, routed: Connection, worse: int) -> None:
    query: LiteralString = "select public.reconciliation_readiness()"
    with cluster.shards[0].act_as("service_role") as shard:
        known = scalar(shard, query)

    ready = scalar(routed, query)
    with ExitStack() as instead:
        for number, database in enumerate(cluster.shards):
            told = {name: values[number == worse] for name, values in WORST.items()}
            instead.enter_context(saying(database, told))
        worst = scalar(routed, query)

    assert ready.keys() == known.keys() == worst.keys()
    for name in (
        "contract_version",
        "oldest_contract_version",
        "role",
        "can_execute",
        "anon_can_execute",
        "currencies",
    ):
        assert ready[name] == known[name], name
    worst["fragile_triggers"].sort()
    assert {name: worst[name] for name in WORST} == {name: values[2] for name, values in WORST.items()}


@contextmanager
def saying(shard: Database, told: Row) -> Iterator[None]:
    """The shard's readiness says this beside what is so."""
    with shard.connect() as superuser:
        superuser.execute("alter function public.reconciliation_readiness() rename to readiness_of_this_shard")
        superuser.execute(
            sql.SQL("""
                create function public.reconciliation_readiness() returns jsonb language sql as $$
                    select public.readiness_of_this_shard() || {}
                $$
            """).format(sql.Literal(json.dumps(told)))
        )
        try:
            yield
        finally:
            superuser.execute("drop function public.reconciliation_readiness()")
            superuser.execute("alter function public.readiness_of_this_shard() rename to reconciliation_readiness")


# What is spoiled on shard 1 -> which invariant notices.
SPOILED = {
    **{
        f"delete from shards.claims where order_group_id = %(group)s and id like '{kind}%%'": {"payment_has_its_claim"}
        for kind in ("evt_", "cs_", "pi_")
    },
    "update shards.claims set order_group_id = gen_random_uuid() where order_group_id = %(group)s": {
        "payment_has_its_claim"
    },
    "insert into shards.claims select %(elsewhere)s, %(group)s, now()": {"row_lies_on_its_shard"},
    "insert into payments.stripe_events select * from jsonb_populate_record(null::payments.stripe_events, %(event)s)": {
        "applied_event_has_paid_its_group",
        "payment_belongs_to_one_order_group_of_all_shards",
        "payment_has_its_claim",
    },
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_the_invariants_across_shards_notice_what_is_spoiled(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection, spoil: str
) -> None:
    payment = all_on(cluster, group_on(cluster, shops, routed, 0).payment(), 1)
    other = group_on(cluster, shops, routed, 1)
    reconcile(routed, payment)
    with cluster.shards[0].connect() as superuser:
        event = scalar(superuser, "select to_jsonb(e) from payments.stripe_events as e where id = %s", payment.event_id)
    values = {
        "group": payment.order_group_id,
        "event": json.dumps(event | {"order_group_id": str(other.id)}),
        "elsewhere": id_on(cluster, 0, "pi"),
    }
    with cluster.shards[1].connect() as superuser:
        kept = superuser.execute("select * from shards.claims").fetchall()
        superuser.execute(spoil.encode(), values)
        try:
            found = owner.execute("select shard, invariant from shards.broken_invariants()").fetchall()
            report = scalar(routed, "select public.payment_report('2026-10-01', '2026-12-31')")
        finally:
            with past_every_guard(superuser):
                superuser.execute("delete from payments.stripe_events where order_group_id = %s", [other.id])
                superuser.execute("delete from shards.claims")
                superuser.execute(
                    "insert into shards.claims select * from jsonb_populate_recordset(null::shards.claims, %s)",
                    [json.dumps(kept, default=str)],
                )

    assert {row["invariant"] for row in found} == SPOILED[spoil]
    # The report's checks are those of the shards, each for itself.
    broken = {row["invariant"] for row in found if row["shard"] is not None} - ACROSS
    assert {check["name"] for check in report["checks"] if not check["ok"]} == broken


ACROSS = {"payment_has_its_claim", "row_lies_on_its_shard"}
