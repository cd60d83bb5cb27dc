"""The router is one database to whoever calls it: the names, the privileges, the listing, the report, the sweep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg import sql

from testkit.command_line import run
from testkit.database import Connection, Database, Row, past_every_guard, scalar
from testkit.payments import reconcile
from testkit.refunds import Refund, record
from testkit.shards import Cluster, all_on, brief, group_on, id_on
from testkit.shop import Shop
from testkit.stripe_api_server import StripeServer
from testkit.sweeping import settings

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.anyio]


# The router is one database to whoever calls it.


def test_the_routers_functions_have_the_names_parameters_and_results_of_ours(
    cluster: Cluster, owner: Connection
) -> None:
    query = """
        select
            p.oid::regprocedure::text as name,
            pg_get_function_arguments(p.oid) as arguments,
            pg_get_function_result(p.oid) as result
        from pg_proc as p
        where
            p.pronamespace = 'public'::regnamespace
            and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
    """
    with cluster.shards[0].connect("postgres") as shard:
        ours = {row["name"]: row for row in shard.execute(query).fetchall()}

    routed = {row["name"]: row for row in owner.execute(query).fetchall()}

    assert routed == {name: ours[name] for name in routed}
    # deploy/shards/README.md says of each what to do instead.
    assert {name.partition("(")[0] for name in ours.keys() - routed.keys()} == NOT_ROUTED


NOT_ROUTED = {
    "claim_exception_notifications",
    "erase_order_group_metadata",
    "finish_exception_notifications",
    "import_order_group",
    "record_inventory_adjustment",
    "record_inventory_receipt",
}


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


async def test_the_sweep_pays_what_was_claimed_and_never_paid_on_either_shard(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    environment = cluster.stack.env()
    async with StripeServer().listening() as stripe:
        environment |= settings(stripe)
        sessions = [stripe.session(group_on(cluster, shops, routed, number)) for number in (0, 1)]
        events = [stripe.event(session) for session in sessions]
        for event, session in zip(events, sessions, strict=True):
            claimed = {
                "p_order_group_id": session["metadata"]["order_group_id"],
                "p_stripe_event_id": event["id"],
                "p_checkout_session_id": session["id"],
                "p_payment_intent_id": session["payment_intent"],
            }
            owner.execute("select shards.claim_for(%s)", [json.dumps([claimed])])

        swept = [await run("sweep", "--json", "--since", "72h", env=environment) for _ in range(2)]

    assert all(ended.output for ended in swept), swept
    first, second = (json.loads(ended.output) for ended in swept)
    groups = {session["metadata"]["order_group_id"] for session in sessions}
    assert (first["applied"], first["known"], second["applied"], second["known"]) == (2, 0, 0, 2)
    assert {line["order_group_id"] for line in first["applied_now"]} == groups
    assert first["failed"] == first["rejected"] == second["failed"] == []
    paid = routed.execute(
        "select id::text from public.order_groups where id::text = any(%s) and status = 'paid'", [list(groups)]
    )
    assert {row["id"] for row in paid.fetchall()} == groups
    waiting = owner.execute("select id from shards.sweep_claims(clock_timestamp())").fetchall()
    assert {row["id"] for row in waiting}.isdisjoint(session["id"] for session in sessions)


# All shards together


def test_report_and_listing_are_the_sums_of_the_shards(cluster: Cluster, shops: list[Shop], routed: Connection) -> None:
    for number in (0, 1, 1):
        paid = group_on(cluster, shops, routed, number).payment()
        assert brief(reconcile(routed, paid)) == ("applied", None)
        assert brief(record(routed, Refund.of(paid, 100))) == ("recorded", None)
        assert brief(reconcile(routed, group_on(cluster, shops, routed, number, "EUR").payment())) == ("applied", None)
        simulated = group_on(cluster, shops, routed, number).payment().but(payment_intent_id=f"pi_sim_{uuid4().hex}")
        assert brief(reconcile(routed, simulated)) == ("applied", None)
        wrong = group_on(cluster, shops, routed, number).payment().but(amount_minor=1, amount="0.01")
        assert brief(reconcile(routed, wrong)) == ("rejected", "amount_mismatch")
    query = "select public.payment_report('2026-10-01', '2026-12-31')"

    report = scalar(routed, query)

    parts = []
    for shard in cluster.shards:
        with shard.act_as("service_role") as alone:
            parts.append(scalar(alone, query))
    assert report.keys() == parts[0].keys()
    for name, keys in ADDED_UP.items():
        assert keyed(report[name], keys) == summed([line for part in parts for line in part[name]], keys), name
        assert all(isinstance(line[field], str) for line in report[name] for field in line.keys() & MONEY), name
    assert sorted(line["id"] for line in report["exceptions"]) == sorted(
        line["id"] for part in parts for line in part["exceptions"]
    )
    assert [(check["name"], check["ok"], check["faults"]) for check in report["checks"]] == [
        (check["name"], True, 0) for check in parts[0]["checks"]
    ]


ADDED_UP = {
    "totals": ("day", "currency", "outcome"),
    "days": ("day",),
    "money": ("currency",),
    "simulated": ("currency",),
    "sellers": ("seller", "seller_id", "currency"),
    "stock": ("seller", "sku", "product_id", "product"),
}
MONEY = {"amount", "gross", "refunded", "net"}


def keyed(lines: list[Row], keys: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, Decimal]]:
    """What each line counts, by what it is about."""
    assert lines
    told = {tuple(line[key] for key in keys): line for line in lines}
    assert len(told) == len(lines)
    return {key: {name: Decimal(line[name]) for name in line.keys() - set(keys)} for key, line in told.items()}


def summed(lines: list[Row], keys: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, Decimal]]:
    """The same of several shards."""
    sums: dict[tuple[str, ...], dict[str, Decimal]] = {}
    for line in lines:
        for key, fields in keyed([line], keys).items():
            known = sums.setdefault(key, dict.fromkeys(fields, Decimal(0)))
            for name, value in fields.items():
                known[name] += value
    return sums


def test_a_list_of_exceptions_is_one_list(cluster: Cluster, shops: list[Shop], routed: Connection) -> None:
    wrong = [group_on(cluster, shops, routed, n % 2).payment().but(amount_minor=1, amount="0.01") for n in range(4)]
    for payment in wrong:
        assert brief(reconcile(routed, payment)) == ("rejected", "amount_mismatch")

    def listed(parameters: LiteralString, *values: Any) -> list[Row]:
        return routed.execute(f"select * from public.list_payment_exceptions({parameters})", values).fetchall()

    whole = listed("")
    assert whole == sorted(whole, key=lambda row: (row["first_seen_at"], row["id"]))
    ours = whole[-4:]
    assert [row["stripe_event_id"] for row in ours] == [payment.event_id for payment in wrong]
    assert listed("p_limit => 3") == whole[:3]
    assert listed("p_before => %s", ours[2]["first_seen_at"]) == whole[:-2]
    assert listed("p_sessions => %s", [row["checkout_session_id"] for row in ours[1:3]]) == ours[1:3]
    assert [listed("p_id => %s", row["id"]) for row in ours] == [[row] for row in ours]
    assert [listed("p_event => %s", row["stripe_event_id"]) for row in ours] == [[row] for row in ours]
    assert listed("p_reason => 'amount_mismatch'") == [row for row in whole if row["reason"] == "amount_mismatch"]
    assert listed("p_status => 'resolved'") == [
        row for row in listed("p_status => 'all'") if row["status"] == "resolved"
    ]


def test_lines_are_those_of_the_shards_and_a_refund_that_came_first_is_one(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    query: LiteralString = "select public.payment_lines('2026-10-01', '2026-12-31')"
    payment = all_on(cluster, group_on(cluster, shops, routed, 0).payment(), 1)
    refund = Refund.of(payment, 100)
    assert record(routed, refund)["outcome"] == "recorded"
    assert brief(reconcile(routed, payment)) == ("applied", None)

    lines = scalar(routed, query)

    parts = []
    for shard in cluster.shards:
        with shard.act_as("service_role") as alone:
            parts += scalar(alone, query)
    both = [line for line in parts if line["id"] == refund.id]
    assert sorted(line["order_group_id"] or "" for line in both) == ["", str(payment.order_group_id)]
    expected = {(line["kind"], line["id"], line["at"]): line for line in sorted(parts, key=names_a_group)}
    assert sorted(map(json.dumps, lines)) == sorted(map(json.dumps, expected.values()))
    times = [datetime.fromisoformat(line["at"]) for line in lines]
    assert times == sorted(times)


def names_a_group(line: Row) -> bool:
    return line["order_group_id"] is not None


@pytest.mark.parametrize("number", [0, 1])
def test_an_order_is_moved_and_given_up_wherever_it_lies(
    cluster: Cluster, shops: list[Shop], routed: Connection, number: int
) -> None:
    group = group_on(cluster, shops, routed, number)
    reconcile(routed, group.payment())
    with cluster.shards[number].connect() as superuser:
        order_id = scalar(superuser, "select min(id::text) from public.orders where order_group_id = %s", group.id)

    moved = scalar(routed, "select public.advance_order(%s, 'fulfilled')", order_id)
    given_up = scalar(routed, "select public.refund_order(%s, 'sold out', false)", order_id)
    again = scalar(routed, "select public.refund_order(%s, 'sold out')", order_id)
    nowhere = [
        scalar(routed, "select public.advance_order(%s, 'fulfilled')", uuid4()),
        scalar(routed, "select public.refund_order(%s, 'sold out')", uuid4()),
    ]

    assert (moved["outcome"], given_up["outcome"], again["outcome"]) == ("moved", "refunded", "already_refunded")
    assert (given_up["order_group_id"], given_up["ledger_entries"]) == (str(group.id), 0)
    assert [one["reason"] for one in nowhere] == ["order_not_found", "order_not_found"]


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
