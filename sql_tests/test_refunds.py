"""A payment that an operator has sent back pays nothing through another event, and no other payment is held up."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.payments import Payment, reconcile
from testkit.refunds import refund_in_full
from testkit.shop import OrderGroup, Shop


def rejected_and_resolved(
    service: Connection, owner: Connection, group: OrderGroup, payment: Payment, resolution: str
) -> None:
    """The payment was rejected, an operator closed the case, and its cause is gone since."""
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    assert reconcile(service, payment)["reason"] == "amount_mismatch"
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    scalar(
        service,
        "select public.resolve_payment_exception(x.id, %s, 'ada') from public.list_payment_exceptions() as x",
        resolution,
    )


def test_refunded_payment_pays_nothing_through_its_twin_event_either(
    db: Database, service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    twin = payment.twin()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    exception_id = scalar(superuser, "select id from payments.exceptions")
    scalar(service, "select public.resolve_payment_exception(%s, 'refunded', 'ada')", exception_id)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])

    assert reconcile(service, twin)["outcome"] == "resolved"

    kept = superuser.execute("select * from payments.exceptions order by id").fetchall()
    assert [(x["stripe_event_id"], x["status"], x["resolution"], x["resolved_by"]) for x in kept] == [
        (payment.event_id, "resolved", "refunded", "ada"),
        (twin.event_id, "resolved", "refunded", "ada"),
    ]
    assert kept[1]["note"] == f"same payment as exception {exception_id}"
    before = db.snapshot()
    assert reconcile(service, twin)["outcome"] == "resolved"
    assert db.snapshot() == before
    assert reconcile(service, payment.rival())["outcome"] == "applied"


def test_refund_of_one_event_closes_no_other_case_and_hides_no_twin(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    first = payment.rival()
    second = first.twin()
    reconcile(service, payment)
    reconcile(service, first)
    reconcile(service, second)
    exception_id = scalar(superuser, "select id from payments.exceptions where stripe_event_id = %s", first.event_id)
    scalar(service, "select public.resolve_payment_exception(%s, 'refunded', 'ada')", exception_id)

    assert reconcile(service, second)["reason"] == "duplicate_payment"
    assert reconcile(service, payment.twin())["outcome"] == "already_paid"
    listed = service.execute("select stripe_event_id, attempts from public.list_payment_exceptions()").fetchall()
    assert listed == [{"stripe_event_id": second.event_id, "attempts": 2}]


@pytest.mark.parametrize("resolution", ["fixed_by_hand", "dismissed"])
def test_case_that_was_closed_without_a_refund_leaves_the_twin_event_free(
    service: Connection, owner: Connection, shop: Shop, resolution: str
) -> None:
    group = shop.order_group()
    payment = group.payment()
    rejected_and_resolved(service, owner, group, payment, resolution)

    assert reconcile(service, payment.twin())["outcome"] == "applied"


@pytest.mark.parametrize(
    "other", [{"checkout_session_id": "cs_test_other"}, {"payment_intent_id": "pi_other"}, {"payment_intent_id": None}]
)
def test_refund_counts_for_the_session_and_for_the_payment_intent(
    db: Database, service: Connection, owner: Connection, shop: Shop, other: dict[str, Any]
) -> None:
    group = shop.order_group()
    payment = group.payment()
    rejected_and_resolved(service, owner, group, payment, "refunded")
    twin = payment.twin().but(**other)
    before = db.snapshot()

    assert reconcile(service, twin)["outcome"] == "resolved"

    after = db.snapshot()
    assert len(after.pop("payments.exceptions")) == len(before.pop("payments.exceptions")) + 1
    assert after == before
    kept = db.snapshot()
    assert reconcile(service, twin)["outcome"] == "resolved"
    assert db.snapshot() == kept


@pytest.mark.parametrize("went_along", [True, False])
def test_order_of_a_refunded_group_goes_nowhere(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, went_along: bool
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    refund_in_full(service, group.id)
    if not went_along:
        with past_every_guard(superuser):
            superuser.execute("update public.orders set status = 'paid' where id = %s", [group.order_ids[0]])

    for connection in (service, owner):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("update public.orders set status = 'fulfilled' where id = %s", [group.order_ids[0]])


def test_pending_or_cancelled_group_is_never_refunded(service: Connection, owner: Connection, shop: Shop) -> None:
    pending, cancelled = shop.order_group(), shop.order_group()
    scalar(service, "select public.cancel_order_group(%s)", cancelled.id)

    for group in (pending, cancelled):
        with pytest.raises(psycopg.errors.CheckViolation):
            owner.execute("update public.order_groups set status = 'refunded' where id = %s", [group.id])
