"""The router is one database to whoever calls it: the names, the privileges, the listing, the report, the sweep."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import uuid4

import pytest

from testkit.command_line import run
from testkit.database import Connection, Row, scalar
from testkit.payments import reconcile
from testkit.refunds import Refund, record
from testkit.shards import Cluster, all_on, brief, group_on
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


def test_service_role_may_call_what_is_public_and_nobody_else_anything(owner: Connection) -> None:
    rows = owner.execute("""
        select n.nspname as schema, r.rolname as role, count(*) filter (
            where has_function_privilege(r.oid, p.oid, 'execute')
        ) as may, count(*) as all
        from pg_proc as p
        inner join pg_namespace as n on p.pronamespace = n.oid
        cross join pg_roles as r
        where
            n.nspname in ('public', 'shards')
            and r.rolname in ('anon', 'authenticated', 'service_role')
            and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
        group by n.nspname, r.rolname
    """).fetchall()

    assert {(row["schema"], row["role"]): row["may"] for row in rows} == {
        ("public", "anon"): 0,
        ("public", "authenticated"): 0,
        ("public", "service_role"): next(row["all"] for row in rows if row["schema"] == "public"),
        ("shards", "anon"): 0,
        ("shards", "authenticated"): 0,
        ("shards", "service_role"): 0,
    }
    for function in ("shards.settle_claims(integer[],text[])", "shards.connect(text[],text,text)"):
        assert not scalar(owner, "select has_function_privilege('service_role', %s, 'execute')", function)


def test_a_shard_has_no_security_finding_and_the_relays_readiness_is_the_worst_of_all(
    cluster: Cluster, routed: Connection
) -> None:
    assert routed.execute("select * from public.security_findings()").fetchall() == []

    ready = scalar(routed, "select public.reconciliation_readiness()")

    with cluster.shards[0].act_as("service_role") as shard:
        known = scalar(shard, "select public.reconciliation_readiness()")
    assert ready.keys() == known.keys()
    for name in (
        "contract_version",
        "oldest_contract_version",
        "role",
        "can_execute",
        "anon_can_execute",
        "currencies",
    ):
        assert ready[name] == known[name], name
    try:
        with cluster.shards[1].connect() as superuser:
            superuser.execute("grant execute on function public.reconcile_order_group_payments(jsonb) to anon")
            found = routed.execute("select finding, object from public.security_findings()").fetchall()
    finally:
        with cluster.shards[1].connect() as superuser:
            superuser.execute("revoke execute on function public.reconcile_order_group_payments(jsonb) from anon")
    assert [row["object"] for row in found] == ["public.reconcile_order_group_payments(jsonb)"]


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
    for number in (0, 1):
        assert brief(reconcile(routed, group_on(cluster, shops, routed, number).payment())) == ("applied", None)
        wrong = group_on(cluster, shops, routed, number).payment().but(amount_minor=1, amount="0.01")
        assert brief(reconcile(routed, wrong)) == ("rejected", "amount_mismatch")
    query = "select public.payment_report('2026-10-01', '2026-12-31')"

    report = scalar(routed, query)

    parts = []
    for shard in cluster.shards:
        with shard.act_as("service_role") as alone:
            parts.append(scalar(alone, query))
    assert report.keys() == parts[0].keys()
    for name in ("money", "sellers"):
        for line, *lines in zip(report[name], *(part[name] for part in parts), strict=True):
            assert line.keys() == lines[0].keys()
            for field, told in line.items():
                each = [one[field] for one in lines]
                if field in ("gross", "refunded", "net"):
                    assert isinstance(told, str)
                    assert Decimal(told) == sum(map(Decimal, each)), field
                elif field == "orders":
                    assert told == sum(each)
                else:
                    assert [told] * 2 == each, field
    (stock,), *stocks = report["stock"], *(part["stock"] for part in parts)
    for field in ("committed", "items", "returned", "on_hand"):
        assert stock[field] == sum(each[field] for (each,) in stocks), field
    assert sorted(line["id"] for line in report["exceptions"]) == sorted(
        line["id"] for part in parts for line in part["exceptions"]
    )
    assert [(check["name"], check["ok"], check["faults"]) for check in report["checks"]] == [
        (check["name"], True, 0) for check in parts[0]["checks"]
    ]
    listed = routed.execute("select id from public.list_payment_exceptions(p_limit => 3)").fetchall()
    whole = routed.execute("select id, first_seen_at from public.list_payment_exceptions()").fetchall()
    assert [row["id"] for row in listed] == [row["id"] for row in whole][:3]
    assert whole == sorted(whole, key=lambda row: (row["first_seen_at"], row["id"]))


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
    given_up = scalar(routed, "select public.refund_order(%s, 'sold out')", order_id)
    again = scalar(routed, "select public.refund_order(%s, 'sold out')", order_id)
    nowhere = [
        scalar(routed, "select public.advance_order(%s, 'fulfilled')", uuid4()),
        scalar(routed, "select public.refund_order(%s, 'sold out')", uuid4()),
    ]

    assert (moved["outcome"], given_up["outcome"], again["outcome"]) == ("moved", "refunded", "already_refunded")
    assert given_up["order_group_id"] == str(group.id)
    assert [one["reason"] for one in nowhere] == ["order_not_found", "order_not_found"]


# What is spoiled on a shard -> which invariant notices.
SPOILED = {
    "delete from shards.claims where order_group_id = %(group)s": {"payment_has_its_claim"},
    "update shards.claims set order_group_id = gen_random_uuid() where order_group_id = %(group)s": {
        "payment_has_its_claim"
    },
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
    values = {"group": payment.order_group_id, "event": json.dumps(event | {"order_group_id": str(other.id)})}
    with cluster.shards[1].connect() as superuser:
        kept = superuser.execute(
            "select * from shards.claims where order_group_id = %s", [payment.order_group_id]
        ).fetchall()
        superuser.execute(spoil.encode(), values)
        try:
            found = owner.execute("select invariant from shards.broken_invariants()").fetchall()
        finally:
            superuser.execute("set session_replication_role = replica")
            superuser.execute("alter table payments.stripe_events disable trigger all")
            superuser.execute("delete from payments.stripe_events where order_group_id = %s", [other.id])
            superuser.execute("alter table payments.stripe_events enable trigger all")
            superuser.execute("delete from shards.claims where id = any(%s)", [[row["id"] for row in kept]])
            superuser.execute(
                "insert into shards.claims select * from jsonb_populate_recordset(null::shards.claims, %s)",
                [json.dumps(kept, default=str)],
            )

    assert SPOILED[spoil] <= {row["invariant"] for row in found}
