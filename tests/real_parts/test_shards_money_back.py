"""Refunds and disputes find their payment on its shard, whether they come before it, at the same moment or after it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testkit.database import Connection
from testkit.payments import reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shards import Cluster, brief, group_on, id_on, rows_of_shards, until_waiting
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("sound")


@pytest.mark.parametrize(("home", "number"), [(0, 1), (1, 1)])
def test_a_refund_reaches_its_payment_before_and_after_it(
    cluster: Cluster, shops: list[Shop], routed: Connection, home: int, number: int
) -> None:
    early, late = (
        group_on(cluster, shops, routed, number).payment().but(payment_intent_id=id_on(cluster, home, "pi"))
        for _ in range(2)
    )
    # Their own ids say nothing about where they belong.
    before = Refund.of(early, id=id_on(cluster, 1 - home, "re"))
    after = Refund.of(late, 500, id=id_on(cluster, 1 - home, "re"))

    told = [
        record(routed, before),
        reconcile(routed, early),
        reconcile(routed, late),
        record(routed, after),
        record(routed, after),
    ]

    assert [brief(each) for each in told] == [
        ("recorded", None),
        ("resolved", None),
        ("applied", None),
        ("recorded", None),
        ("replayed", None),
    ]
    rows = routed.execute(
        "select status, refunded_amount::text from public.order_groups where id = any(%s) order by status desc",
        [[early.order_group_id, late.order_group_id]],
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [("pending", "0"), ("paid", "5.00")]
    # What sent all of a payment back before it came belongs to no group, as in one database.
    assert listed(routed, before, after) == {before.id: None, after.id: late.order_group_id}


@pytest.mark.parametrize(("home", "number"), [(0, 1), (1, 1)])
def test_a_dispute_reaches_its_payment_before_and_after_it(
    cluster: Cluster, shops: list[Shop], routed: Connection, home: int, number: int
) -> None:
    early, late = (
        group_on(cluster, shops, routed, number).payment().but(payment_intent_id=id_on(cluster, home, "pi"))
        for _ in range(2)
    )
    before, after = Dispute.of(early), Dispute.of(late)

    told = [record(routed, before), reconcile(routed, early), reconcile(routed, late), record(routed, after)]

    assert [brief(each) for each in told] == [
        ("recorded", None),
        ("applied", None),
        ("applied", None),
        ("recorded", None),
    ]
    assert listed(routed, before, after) == {before.id: early.order_group_id, after.id: late.order_group_id}
    disputed = rows_of_shards(
        cluster,
        "select order_group_id from payments.disputes where id = any(%s) and order_group_id is not null",
        [before.id, after.id],
    )
    assert {row["order_group_id"] for row in disputed[number]} == {early.order_group_id, late.order_group_id}


def listed(service: Connection, *told: Refund) -> dict[str, Any]:
    """Refunds and disputes as the sweep sees them, each once, with their groups."""
    rows = service.execute(
        "select id, order_group_id from public.list_refunds_and_disputes('2026-11-02', '2026-11-03')"
        " where id = any(%s)",
        [[each.id for each in told]],
    ).fetchall()
    assert len(rows) == len(told)
    return {row["id"]: row["order_group_id"] for row in rows}


def test_a_refund_waits_for_the_claim_of_its_payment_and_follows_it(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    payment = group_on(cluster, shops, routed, 1).payment().but(payment_intent_id=id_on(cluster, 0, "pi"))
    refund = Refund.of(payment, 500)
    claim = "select shards.claim(%s, array[%s])"

    with (
        cluster.shards[0].connect(autocommit=False) as holder,
        cluster.shards[0].connect() as observer,
        ThreadPoolExecutor(1) as thread,
    ):
        holder.execute(claim, [[payment.payment_intent_id], payment.order_group_id])
        call = thread.submit(record, routed, refund)
        until_waiting(observer, 1, call)
        holder.commit()
        told = call.result()

    assert brief(told) == ("recorded", None)
    recorded = rows_of_shards(cluster, "select id from payments.refunds where id = %s", refund.id)
    assert recorded == [[], [{"id": refund.id}]]
    assert brief(reconcile(routed, payment)) == ("applied", None)
