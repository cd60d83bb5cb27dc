"""A payment pays once over all shards (deploy/shards), whichever of them is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, scalar
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.previewed import preview, verdict_of
from testkit.shards import (
    NO_ANSWER,
    SEND,
    Cluster,
    age,
    all_on,
    away,
    brief,
    group_on,
    id_on,
    ids_of,
    rows_of_shards,
    until_waiting,
    waiting,
)
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("sound")


def claims(cluster: Cluster, payment: Payment) -> set[tuple[int, str, Any]]:
    """Where the claims of a payment lie, and who holds them."""
    rows = rows_of_shards(cluster, "select * from shards.claims where id = any(%s)", [*ids_of(payment)])
    return {(number, row["id"], row["order_group_id"]) for number, claimed in enumerate(rows) for row in claimed}


# Payments


@pytest.mark.parametrize("way", SEND)
@pytest.mark.parametrize("number", [0, 1])
def test_a_payment_pays_its_group_on_its_shard_and_comes_again_as_a_replay(
    cluster: Cluster, shops: list[Shop], routed: Connection, way: str, number: int
) -> None:
    group = group_on(cluster, shops, routed, number)
    payment = group.payment()

    first, again, twin = (SEND[way](routed, each) for each in (payment, payment, payment.twin()))

    assert first == {
        "outcome": "applied",
        "reason": None,
        "order_group_id": str(group.id),
        "stripe_event_id": payment.event_id,
        "orders_paid": 1,
        "ledger_entries": 1,
    }
    assert [brief(again), brief(twin)] == [("replayed", None), ("already_paid", None)]
    assert {(id_, held) for _, id_, held in claims(cluster, payment)} == {(id_, group.id) for id_ in ids_of(payment)}
    groups = rows_of_shards(cluster, "select status from public.order_groups where id = %s", group.id)
    assert groups == [[{"status": "paid"}] if place == number else [] for place in (0, 1)]


@pytest.mark.parametrize("way", SEND)
@pytest.mark.parametrize("shared", ["event_id", "checkout_session_id", "payment_intent_id"])
def test_what_paid_a_group_of_one_shard_pays_none_of_the_other_and_becomes_an_exception(
    cluster: Cluster, shops: list[Shop], routed: Connection, shared: str, way: str
) -> None:
    first, second = (group_on(cluster, shops, routed, number) for number in (0, 1))
    paid = first.payment()
    payment = second.payment().but(**{shared: getattr(paid, shared)})
    assert brief(SEND[way](routed, paid)) == ("applied", None)

    (told,) = preview(routed, [payment])
    refused = SEND[way](routed, payment)

    assert verdict_of(told) == refused
    assert brief(refused) == ("rejected", "payment_already_used")
    rows = routed.execute(
        "select id, order_group_id, reason from public.list_payment_exceptions(p_event => %s)", [payment.event_id]
    ).fetchall()
    assert [(row["order_group_id"], row["reason"]) for row in rows] == [(second.id, "payment_already_used")]
    assert rows[0]["id"] % 2 == 1, "the number of an exception tells its shard"
    status = scalar(routed, "select status from public.order_groups where id = %s", second.id)
    assert status == "pending"
    closed = scalar(
        routed, "select public.resolve_payment_exception(%s, 'fixed_by_hand', 'ops', 'told')", rows[0]["id"]
    )
    assert (closed["stripe_event_id"], closed["status"]) == (payment.event_id, "resolved")
    assert brief(SEND[way](routed, payment)) == ("resolved", None)


@pytest.mark.parametrize("winner", [0, 1])
def test_rivals_for_one_payment_on_two_shards_meet_at_the_claim(
    cluster: Cluster, shops: list[Shop], routed: Connection, winner: int
) -> None:
    groups = [group_on(cluster, shops, routed, number) for number in (0, 1)]
    intent = f"pi_{uuid4().hex}"
    payments = [group.payment().but(payment_intent_id=intent) for group in groups]
    (place,) = cluster.shards_of([intent])

    with (
        cluster.shards[place].connect(autocommit=False) as holder,
        cluster.shards[place].connect() as observer,
        cluster.router.act_as("service_role") as one,
        cluster.router.act_as("service_role") as other,
        ThreadPoolExecutor(2) as threads,
    ):
        holder.execute("select payments.lock_payment_intent(%s)", [intent])
        calls = []
        order = [winner, 1 - winner]
        for waiting, (number, session) in enumerate(zip(order, (one, other), strict=True), start=1):
            calls.append(threads.submit(reconcile, session, payments[number]))
            until_waiting(observer, waiting, calls[-1])
        holder.rollback()
        told = [call.result() for call in calls]

    assert [brief(each) for each in told] == [("applied", None), ("rejected", "payment_already_used")]


def test_a_batch_is_split_by_shard_and_answered_in_its_own_order(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    payments: list[Payment | Any] = [group_on(cluster, shops, routed, place % 2).payment() for place in range(6)]
    rival = payments[0].rival()
    stolen = payments[1].but(order_group_id=payments[2].order_group_id, event_id=f"evt_{uuid4().hex}")
    unmatched = payments[3].but(
        order_group_id=None,
        unmatched_reason="missing_reference",
        event_id=f"evt_{uuid4().hex}",
        checkout_session_id=f"cs_test_{uuid4().hex}",
        payment_intent_id=f"pi_{uuid4().hex}",
    )
    wrong = payments[4].but(amount_minor=1, amount="0.01", event_id=f"evt_{uuid4().hex}")

    told = reconcile_together(routed, [*payments[:4], rival, stolen, unmatched, wrong, "no payment", payments[5]])

    assert [brief(each) for each in told] == [
        *[("applied", None)] * 4,
        ("rejected", "duplicate_payment"),
        ("rejected", "duplicate_payment"),
        ("unmatched", "missing_reference"),
        ("rejected", "amount_mismatch"),
        ("failed", None),
        ("applied", None),
    ]
    assert told[8]["sqlstate"] == "22023"
    last = [wrong, payments[5], payments[0], "no payment", payments[1]]
    assert [verdict_of(each) for each in preview(routed, last)] == reconcile_together(routed, last)
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        reconcile_together(routed, [{"p_checkout_session_id": f"cs_{number}"} for number in range(33)])
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        preview(routed, [{"p_checkout_session_id": f"cs_{number}"} for number in range(501)])
    assert reconcile_together(routed, []) == preview(routed, []) == []


# Faults


def test_a_claim_whose_payment_did_not_follow_is_found_and_pays_when_it_is_sent_again(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    payment = all_on(cluster, group_on(cluster, shops, routed, 1).payment(), 0)

    with away(cluster.servers[1]), pytest.raises(NO_ANSWER):
        reconcile(routed, payment)

    assert {held for _, _, held in claims(cluster, payment)} == {payment.order_group_id}
    ids = ids_of(payment)
    assert ids & waiting(owner) == ids
    assert brief(reconcile(routed, payment)) == ("applied", None)
    assert ids & waiting(owner) == set()


def test_a_claim_that_nobody_relied_on_for_an_hour_is_given_up_and_another_group_is_paid(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    first, second = (group_on(cluster, shops, routed, number) for number in (0, 1))
    wrong = first.payment().but(amount_minor=1, amount="0.01")
    right = second.payment().but(payment_intent_id=wrong.payment_intent_id)
    assert brief(reconcile(routed, wrong)) == ("rejected", "amount_mismatch")
    assert brief(reconcile(routed, right)) == ("rejected", "payment_already_used")
    age(cluster, first.id, "59 minutes")
    assert ids_of(wrong) <= waiting(owner), "they are young, and the payment may be under way"

    age(cluster, first.id, "1 minute")
    assert brief(reconcile(routed, right)) == ("rejected", "payment_already_used"), (
        "and this does not prolong the claim"
    )
    released = owner.execute("select id, state from shards.sweep_claims(clock_timestamp())").fetchall()

    assert {row["id"] for row in released if row["state"] == "released"} == ids_of(wrong)
    assert [brief(told) for told in preview(routed, [right])] == [("applied", None)]
    assert brief(reconcile(routed, right)) == ("applied", None)
    still_open = routed.execute(
        "select id from public.list_payment_exceptions(p_event => %s)", [right.event_id]
    ).fetchall()
    assert still_open == []


def test_with_a_shard_away_a_batch_is_deferred_and_alone_the_other_shards_payments_pay(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    here, there = (all_on(cluster, group_on(cluster, shops, routed, n).payment(), n) for n in (0, 1))

    with away(cluster.servers[1]):
        together = reconcile_together(routed, [here, there])
        alone = reconcile(routed, here)
        with pytest.raises(NO_ANSWER):
            reconcile(routed, there)

    assert together == [
        {
            "outcome": "deferred",
            "reason": None,
            "order_group_id": str(payment.order_group_id),
            "stripe_event_id": payment.event_id,
            "orders_paid": 0,
            "ledger_entries": 0,
            "sqlstate": "55P03",
        }
        for payment in (here, there)
    ]
    assert brief(alone) in (("applied", None), ("replayed", None))
    assert brief(reconcile(routed, there)) == ("applied", None)


# What the relay and the shop call, with the group and an intent of the shard that is away.
NEEDS_THE_SHARD = (
    "public.cancel_order_group(%(group)s)",
    "public.note_awaiting_funds(%(group)s, 'cs_test_1', 'evt_1', now())",
    "public.record_refund('re_1', %(intent)s, 100, 1.00, 'usd', 'succeeded', now())",
    "public.record_dispute('dp_1', %(intent)s, 100, 1.00, 'usd', 'needs_response', now())",
    "public.preview_order_group_payments(jsonb_build_array(jsonb_build_object('p_order_group_id', %(group)s::text)))",
    "public.refund_order(%(group)s, 'sold out')",
    "public.advance_order(%(group)s, 'fulfilled')",
)
# Half of an answer would be read as all of it.
NEEDS_ALL = (
    "public.expire_order_groups()",
    "public.find_order_groups('evt_1')",
    "public.list_payment_exceptions()",
    "public.list_refunds_and_disputes('2026-10-01', '2026-12-31')",
    "public.payment_lines('2026-10-01', '2026-12-31')",
    "public.payment_report('2026-10-01', '2026-12-31')",
    "public.payments_by_mode()",
    "public.reconciliation_readiness()",
    "public.security_findings()",
)


def test_with_a_shard_away_nothing_that_needs_it_is_answered(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    values = {"group": group_on(cluster, shops, routed, 1).id, "intent": id_on(cluster, 1, "pi")}
    raised: dict[str, type[psycopg.Error]] = {}

    with away(cluster.servers[1]):
        with pytest.raises(psycopg.Error):
            routed.execute("select public.payments_by_mode()")  # the old session was ended; from now on there is none
        for call in (*NEEDS_THE_SHARD, *NEEDS_ALL):
            with pytest.raises(psycopg.Error) as error:
                routed.execute(f"select {call}".encode(), values)
            raised[call] = error.type

    assert {raised[call] for call in NEEDS_THE_SHARD} == {psycopg.errors.ConnectionFailure}
