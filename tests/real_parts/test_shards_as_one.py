"""The router is one database to whoever calls it: the names, the listing, the report, the sweep."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString
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
        money = [line[field] for line in report[name] for field in line.keys() & MONEY]
        assert all(value is None or isinstance(value, str) for value in money), name
    assert sorted(line["id"] for line in report["exceptions"]) == sorted(
        line["id"] for part in parts for line in part["exceptions"]
    )
    assert [(check["name"], check["ok"], check["faults"]) for check in report["checks"]] == [
        (check["name"], True, 0) for check in parts[0]["checks"]
    ]


ADDED_UP = {
    "totals": ("day", "currency", "outcome"),
    "days": ("day",),
    "modes": ("mode",),
    "money": ("currency",),
    "simulated": ("currency",),
    "sellers": ("seller", "seller_id", "currency"),
    "stock": ("seller", "sku", "product_id", "product"),
}
MONEY = {"amount", "gross", "refunded", "net"}


# What each line counts, by what it is about; nothing where no payment of a line said how much.
Counted = dict[tuple[str, ...], dict[str, Decimal | None]]


def keyed(lines: list[Row], keys: tuple[str, ...]) -> Counted:
    """The lines of one report, of which no two are about the same."""
    assert lines
    told: Counted = {}
    for line in lines:
        counts = {name: value for name, value in line.items() if name not in keys}
        about = tuple(line[key] for key in keys)
        assert about not in told
        told[about] = {name: None if value is None else Decimal(value) for name, value in counts.items()}
    return told


def summed(lines: list[Row], keys: tuple[str, ...]) -> Counted:
    """The same of several shards."""
    sums: Counted = {}
    for line in lines:
        for about, counts in keyed([line], keys).items():
            known = sums.setdefault(about, dict.fromkeys(counts))
            for name, value in counts.items():
                if value is not None:
                    known[name] = (known[name] or Decimal(0)) + value
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
    query: LiteralString = "select public.payment_lines('2026-10-01', '2100-01-01')"
    payment = all_on(cluster, group_on(cluster, shops, routed, 0).payment(), 1)
    refund = Refund.of(payment, 100)
    assert record(routed, refund)["outcome"] == "recorded"
    assert brief(reconcile(routed, payment)) == ("applied", None)
    assert record(routed, refund.then("failed"))["outcome"] == "recorded"

    lines = scalar(routed, query)

    parts = []
    for shard in cluster.shards:
        with shard.act_as("service_role") as alone:
            parts += scalar(alone, query)
    both = [line for line in parts if (line["kind"], line["id"]) == ("refund", refund.id)]
    assert sorted(line["order_group_id"] or "" for line in both) == ["", str(payment.order_group_id)]
    expected = {(line["kind"], line["id"], line["at"]): line for line in sorted(parts, key=names_a_group)}
    assert sorted(map(json.dumps, lines)) == sorted(map(json.dumps, expected.values()))
    told = [(line["kind"], line["amount"]) for line in lines if line["id"] == refund.id]
    assert told == [("refund", "-1.00"), ("refund_failed", "1.00")]
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
