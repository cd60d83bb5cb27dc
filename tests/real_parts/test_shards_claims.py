"""Each id has one shard for ever; claims are of what one database would read, and stand as long as it takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, element, reconcile, reconcile_together
from testkit.refunds import Refund, record
from testkit.shards import (
    SEND,
    Cluster,
    age,
    all_on,
    brief,
    group_on,
    id_on,
    ids_of,
    rows_of_shards,
    waiting,
)
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("sound")


# Which shard


def test_a_key_has_the_same_shard_in_every_release(owner: Connection) -> None:
    # The first eight digits that `printf %s evt_1 | md5sum` tells, without the highest bit.
    places = {
        "": 0x541D8CD9,
        "evt_1": 0x4C2454F1,
        "pi_1": 0x44042EDA,
        "00000000-0000-0000-0000-000000000000": 0x1F89C84A,
    }
    rows = owner.execute("select k, shards.place(k) from unnest(%s::text[]) as k", [list(places)]).fetchall()
    assert {row["k"]: row["place"] for row in rows} == places

    for number in (6, 2**31 + 6, 2**62 + 6):
        assert scalar(owner, "select shards.place_of_exception(%s)", number) == 6


def test_there_are_two_four_or_eight_shards_and_never_three(cluster: Cluster) -> None:
    with cluster.router.connect() as superuser, pytest.raises(psycopg.errors.InvalidParameterValue):
        superuser.execute("select shards.connect('{host=/a,host=/b,host=/c}', 'relay_router', 'its password')")
    for number, shards in ((0, 3), (2, 2), (-1, 2)):
        with cluster.shards[0].connect("postgres") as shard, pytest.raises(psycopg.errors.InvalidParameterValue):
            shard.execute("select shards.become(%s, %s)", [number, shards])


@pytest.mark.parametrize("way", SEND)
@pytest.mark.parametrize("number", [0, 1])
def test_money_that_names_no_group_is_kept_on_the_shard_of_its_intent_else_of_its_session(
    cluster: Cluster, routed: Connection, way: str, number: int
) -> None:
    nobodys = Payment(order_group_id=None, amount_minor=100, amount="1.00", unmatched_reason="missing_reference")
    intent = all_on(cluster, nobodys, 1 - number).but(payment_intent_id=id_on(cluster, number, "pi"))
    session = all_on(cluster, nobodys, 1 - number).but(
        payment_intent_id=None, checkout_session_id=id_on(cluster, number, "cs_test")
    )

    told = [SEND[way](routed, each) for each in (intent, session)]

    assert [brief(each) for each in told] == [("unmatched", "missing_reference")] * 2
    query = "select stripe_event_id as id from payments.exceptions where stripe_event_id = any(%s)"
    kept = rows_of_shards(cluster, query, [intent.event_id, session.event_id])
    assert {row["id"] for row in kept[number]} == {intent.event_id, session.event_id}
    assert kept[1 - number] == []


# What is read and kept


@pytest.mark.parametrize("written", ["{0}", "{0.hex}", "{{{0}}}"])
def test_ids_are_read_as_one_database_reads_them(
    cluster: Cluster, shops: list[Shop], routed: Connection, written: str
) -> None:
    group, other = (group_on(cluster, shops, routed, number) for number in (0, 1))
    payment = group.payment()
    loose = {
        **element(payment),
        "p_order_group_id": written.format(group.id).upper(),
        "p_stripe_event_id": f" {payment.event_id}",
        "p_checkout_session_id": f"{payment.checkout_session_id}  ",
        "p_payment_intent_id": f" {payment.payment_intent_id} ",
    }

    (told,) = reconcile_together(routed, [loose])

    assert brief(told) == ("applied", None)
    claimed = [row for rows in rows_of_shards(cluster, CLAIMS, [*ids_of(payment)]) for row in rows]
    assert {(row["id"], row["order_group_id"]) for row in claimed} == {(id_, group.id) for id_ in ids_of(payment)}
    stolen = other.payment().but(payment_intent_id=f"  {payment.payment_intent_id}")
    assert brief(reconcile(routed, stolen)) == ("rejected", "payment_already_used")


CLAIMS = "select xmin::text, c.* from shards.claims as c where id = any(%s) order by id"


@pytest.mark.parametrize("way", SEND)
def test_what_is_kept_is_what_was_sent(cluster: Cluster, shops: list[Shop], routed: Connection, way: str) -> None:
    group = group_on(cluster, shops, routed, 1)
    payment = group.payment().but(
        livemode=True, session_metadata={"a": "b"}, source="sweep", account="acct_1", event_type="checkout.session.paid"
    )
    refund = Refund.of(payment, 100, reason="duplicate", status="pending", source="replay")

    assert brief(SEND[way](routed, payment)) == ("applied", None)
    assert brief(record(routed, refund)) == ("recorded", None)

    query = "select e.*, amount::text from payments.stripe_events as e where e.id = %s"
    ((event,),) = (rows for rows in rows_of_shards(cluster, query, payment.event_id) if rows)
    del event["received_at"], event["processed_at"]
    assert event == {
        "id": payment.event_id,
        "type": payment.event_type,
        "created_at": payment.event_created,
        "livemode": True,
        "order_group_id": group.id,
        "checkout_session_id": payment.checkout_session_id,
        "payment_intent_id": payment.payment_intent_id,
        "amount_minor": 1250,
        "amount": "12.50",
        "currency": "USD",
        "session_metadata": {"a": "b"},
        "source": "sweep",
        "account": "acct_1",
        "outcome": "applied",
    }
    query = """
        select r.*, amount::text, c.stripe_event_id
        from payments.refunds as r inner join payments.refund_status_changes as c on r.id = c.refund_id
        where r.id = %s
    """
    ((kept,),) = (rows for rows in rows_of_shards(cluster, query, refund.id) if rows)
    del kept["recorded_at"], kept["status_changed_at"]
    assert kept == {
        "id": refund.id,
        "payment_intent_id": payment.payment_intent_id,
        "order_group_id": group.id,
        "amount_minor": 100,
        "amount": "1.00",
        "currency": "USD",
        "status": "pending",
        "reason": "duplicate",
        "created_at": refund.created,
        "livemode": True,
        "source": "replay",
        "set_aside_reason": None,
        "stripe_event_id": refund.event_id,
    }


# How long a claim stands


def test_a_claim_whose_payment_was_seen_stands_for_ever(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    group, other = (group_on(cluster, shops, routed, number) for number in (0, 1))
    payment = group.payment()
    assert brief(reconcile(routed, payment)) == ("applied", None)

    assert waiting(owner).isdisjoint(ids_of(payment))
    age(cluster, group.id, "2 hours")
    before = rows_of_shards(cluster, CLAIMS, [*ids_of(payment)])
    swept = owner.execute("select id from shards.sweep_claims(clock_timestamp())").fetchall()
    again = reconcile(routed, payment)
    stolen = reconcile(routed, other.payment().but(payment_intent_id=payment.payment_intent_id))
    for shard in cluster.shards:
        with shard.act_as("service_role") as sweep:
            # As a sweep does that has read them before another one saw the payment.
            sweep.execute("select shards.release_claims(%s)", [[*ids_of(payment)]])

    assert {row["id"] for row in swept}.isdisjoint(ids_of(payment))
    assert (brief(again), brief(stolen)) == (("replayed", None), ("rejected", "payment_already_used"))
    assert rows_of_shards(cluster, CLAIMS, [*ids_of(payment)]) == before
    assert all(row["is_paid"] for rows in before for row in rows)


def test_an_intent_by_which_nothing_was_paid_is_given_up_and_pays_another_group(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    group, other = (group_on(cluster, shops, routed, number) for number in (0, 1))
    payment = group.payment()
    twin = payment.twin().but(payment_intent_id=f"pi_{uuid4().hex}")
    assert [brief(reconcile(routed, each)) for each in (payment, twin)] == [("applied", None), ("already_paid", None)]

    age(cluster, group.id, "1 hour")
    swept = owner.execute("select id, state from shards.sweep_claims(clock_timestamp())").fetchall()

    ours = ids_of(payment) | ids_of(twin)
    assert [tuple(row.values()) for row in swept if row["id"] in ours] == [(twin.payment_intent_id, "released")]
    later = other.payment().but(payment_intent_id=twin.payment_intent_id)
    assert brief(reconcile(routed, later)) == ("applied", None)


def test_a_claim_is_relied_on_for_a_minute(
    cluster: Cluster, shops: list[Shop], routed: Connection, owner: Connection
) -> None:
    payment = group_on(cluster, shops, routed, 0).payment()
    claims = scalar(owner, "select shards.claim_for(%s)", json.dumps([element(payment)], default=str))

    with cluster.shards[0].act_as("service_role") as shard:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            reconcile_with(shard, payment, claims, seconds=61)
        told = reconcile_with(shard, payment, claims, seconds=50)

    assert brief(told) == ("applied", None)


def reconcile_with(shard: Connection, payment: Payment, claims: list[Row], *, seconds: int) -> Row:
    """Relies on the claims as if they had been made so long ago."""
    claimed_at = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    made = [claim | {"claimed_at": claimed_at} for claim in claims]
    values = [json.dumps(value, default=str) for value in (element(payment), made)]
    told: Row = scalar(shard, "select shards.reconcile_alone(%s, %s)", *values)
    return told


def test_a_claim_that_was_given_up_pays_though_its_refusal_was_not_forgotten(
    cluster: Cluster, shops: list[Shop], routed: Connection
) -> None:
    first, second = (group_on(cluster, shops, routed, number) for number in (0, 1))
    wrong = first.payment().but(amount_minor=1, amount="0.01")
    right = second.payment().but(payment_intent_id=wrong.payment_intent_id)
    assert brief(reconcile(routed, wrong)) == ("rejected", "amount_mismatch")
    assert brief(reconcile(routed, right)) == ("rejected", "payment_already_used")

    age(cluster, first.id, "1 hour")
    for shard in cluster.shards:  # the sweep ends here
        with shard.act_as("service_role") as sweep:
            sweep.execute("select shards.release_claims(%s)", [[*ids_of(wrong)]])

    assert brief(reconcile(routed, right)) == ("applied", None)
