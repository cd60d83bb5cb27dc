"""An operator's word can be taken back: it is kept, and the payment is judged anew."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.payments import reconcile
from testkit.shop import Shop

REOPEN: LiteralString = "select public.reopen_payment_exception(%s, %s, %s)"
RESOLVE: LiteralString = "select public.resolve_payment_exception(%s, %s, %s, %s)"


def cases(service: Connection) -> list[dict[str, Any]]:
    return service.execute("select * from public.list_payment_exceptions('all') order by id").fetchall()


def test_reopened_case_keeps_every_former_word(service: Connection, shop: Shop) -> None:
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))
    (before,) = cases(service)

    closed = [scalar(service, RESOLVE, before["id"], "dismissed", "ada", "a test")]
    scalar(service, REOPEN, before["id"], " bob ", " it was none ")
    closed.append(scalar(service, RESOLVE, before["id"], "fixed_by_hand", "ada", None))
    told = scalar(service, REOPEN, before["id"], "cy", "not yet")

    (after,) = cases(service)
    words = after["details"].pop("reopened")
    assert after == before
    assert told["status"] == "open"
    assert told["details"]["reopened"] == words
    assert [[word[key] for key in ("resolution", "resolved_by", "resolved_at", "note")] for word in words] == [
        [row[key] for key in ("resolution", "resolved_by", "resolved_at", "note")] for row in closed
    ]
    assert [(word["reopened_by"], word["reopened_note"]) for word in words] == [
        ("bob", "it was none"),
        ("cy", "not yet"),
    ]
    assert all(word["reopened_at"] for word in words)


def test_reopened_words_outlive_another_reason(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment().but(amount_minor=1, amount="0.01")
    reconcile(service, payment)
    (case,) = cases(service)
    scalar(service, RESOLVE, case["id"], "dismissed", "ada", "a test")
    scalar(service, REOPEN, case["id"], "bob", "none")
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    reconcile(service, payment)

    (after,) = cases(service)
    assert after["reason"] == "order_group_not_payable"
    assert [word["resolved_by"] for word in after["details"]["reopened"]] == ["ada"]


def test_reopened_refund_lets_the_payment_pay_with_each_of_its_events(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([], total_amount=shop.order_group().total_amount)
    payment = group.payment()
    other = payment.rival()
    for event in (payment, other):
        assert reconcile(service, event)["reason"] == "order_group_empty"
    first, second = cases(service)
    for case in (first, second):
        scalar(service, RESOLVE, case["id"], "refunded", "ada", "sent back")
    order_id = shop.add_order(group.id, shop.sellers[0], group.total_amount)
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, group.total_amount)
    twin = payment.twin()
    assert reconcile(service, twin)["outcome"] == "resolved"

    scalar(service, REOPEN, first["id"], "ada", "it was the other one")

    assert [(case["status"], case["stripe_event_id"]) for case in cases(service)] == [
        ("open", payment.event_id),
        ("resolved", other.event_id),
        ("open", twin.event_id),
    ]
    assert reconcile(service, twin)["outcome"] == "applied"
    assert reconcile(service, payment)["outcome"] == "already_paid"
    assert reconcile(service, other)["outcome"] == "resolved"
    assert {case["resolution"] for case in cases(service)} == {"reconciled", "refunded"}
    assert broken_invariants(superuser) == []


def test_only_an_operators_word_can_be_taken_back(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group([], total_amount=shop.order_group().total_amount)
    payment = group.payment()
    reconcile(service, payment)
    order_id = shop.add_order(group.id, shop.sellers[0], group.total_amount)
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, group.total_amount)
    reconcile(service, payment)
    reconcile(service, payment.rival())
    applied, waiting = cases(service)
    before = db.snapshot()

    for case in (applied, waiting):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            service.execute(REOPEN, [case["id"], "ada", "why"])
    for unknown in (waiting["id"] + 1, None):
        with pytest.raises(psycopg.errors.NoDataFound):
            service.execute(REOPEN, [unknown, "ada", "why"])

    assert db.snapshot() == before


@pytest.mark.parametrize(("by", "note"), [(None, "why"), (" ", "why"), ("ada", None), ("ada", " ")])
def test_who_reopens_must_say_who_and_why(service: Connection, shop: Shop, by: str | None, note: str | None) -> None:
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))
    (case,) = cases(service)
    scalar(service, RESOLVE, case["id"], "dismissed", "ada", "a test")

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_by must say who reopens"):
        service.execute(REOPEN, [case["id"], by, note])

    assert [case["status"] for case in cases(service)] == ["resolved"]


def test_reopening_waits_for_the_groups_lock(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment().but(amount_minor=1, amount="0.01"))
    (case,) = cases(service)
    scalar(service, RESOLVE, case["id"], "dismissed", "ada", "a test")

    with owner.transaction():
        owner.execute("select from public.order_groups where id = %s for update", [group.id])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            service.execute(REOPEN, [case["id"], "ada", "why"])

    assert scalar(service, REOPEN, case["id"], "ada", "why")["status"] == "open"
