"""What is kept of a payment, row by row and key by key: the whole verdict, the whole case, the whole event."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, LiteralString

import pytest

from testkit.database import Connection, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup, Shop

CREATED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
RESOLVE: LiteralString = "select public.resolve_payment_exception(%s, %s, %s, %s)"


def row(connection: Connection, query: LiteralString, *values: Any) -> dict[str, Any]:
    found = connection.execute(query, values).fetchone()
    assert found is not None
    return found


def cases(service: Connection) -> list[dict[str, Any]]:
    return service.execute("select * from public.list_payment_exceptions('all')").fetchall()


def as_kept(listed: dict[str, Any], event_created_at: Any = CREATED) -> dict[str, Any]:
    """A payment's exception as its row: the list tells the rule, and not what refunds and the report need."""
    kept = {"refund_id": None, "dispute_id": None, "event_created_at": event_created_at}
    return {name: value for name, value in listed.items() if name != "rule"} | kept


def payment_of(group: OrderGroup, **changes: Any) -> Payment:
    """A payment whose every field tells itself from every other."""
    return group.payment().but(
        event_id="evt_1",
        event_type="checkout.session.async_payment_succeeded",
        livemode=True,
        checkout_session_id="cs_1",
        payment_intent_id="pi_1",
        session_metadata={"order_group_id": str(group.id), "note": "gift"},
        source="sweep",
        **changes,
    )


def verdict(
    group: OrderGroup | None, event: str, outcome: str, reason: str | None = None, **counts: int
) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "reason": reason,
        "order_group_id": str(group.id) if group else None,
        "stripe_event_id": event,
        "orders_paid": 0,
        "ledger_entries": 0,
    } | counts


def received(group: OrderGroup | None, payment: Payment, **changes: Any) -> dict[str, Any]:
    return {
        "event_type": payment.event_type,
        "event_created_at": "2026-11-01T12:00:00+00:00",
        "livemode": payment.livemode,
        "account": None,
        "order_group_id": str(group.id) if group else None,
        "checkout_session_id": payment.checkout_session_id,
        "payment_intent_id": payment.payment_intent_id,
        "amount_minor": str(payment.amount_minor),
        "amount": payment.amount,
        "currency": "USD",
        "session_metadata": payment.session_metadata,
        "source": payment.source,
    } | changes


def expected(**changes: Any) -> dict[str, Any]:
    """The group that a payment was compared with: three items in two orders of 74.24 USD in all."""
    return {
        "order_group_status": "pending",
        "currency": "USD",
        "total_amount": "74.24",
        "orders": 2,
        "orders_total": "74.24",
        "items": 5,
        "paid_by_event_id": None,
        "paid_by_payment_intent_id": None,
        "paid_by_checkout_session_id": None,
    } | changes


def test_payment_is_kept_whole_in_its_event_its_group_and_the_ledger(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(2, "1.50")]])
    payment = payment_of(group)

    with service.transaction():
        began = scalar(service, "select now()")
        told = reconcile(service, payment)
        judged = scalar(service, "select clock_timestamp()")

    assert told == verdict(group, "evt_1", "applied", orders_paid=1, ledger_entries=1)
    event = row(superuser, "select * from payments.stripe_events")
    paid_at = event["processed_at"]
    assert began < paid_at < judged
    assert event == {
        "id": "evt_1",
        "type": "checkout.session.async_payment_succeeded",
        "created_at": CREATED,
        "received_at": began,
        "processed_at": paid_at,
        "livemode": True,
        "order_group_id": group.id,
        "checkout_session_id": "cs_1",
        "payment_intent_id": "pi_1",
        "amount_minor": 300,
        "amount": Decimal("3.00"),
        "currency": "USD",
        "session_metadata": payment.session_metadata,
        "source": "sweep",
        "outcome": "applied",
        "account": None,
    }
    kept = row(superuser, "select * from public.order_groups")
    assert kept == {
        "id": group.id,
        "buyer_id": shop.buyer_id,
        "currency": "USD",
        "total_amount": Decimal("3.00"),
        "status": "paid",
        "created_at": kept["created_at"],
        "paid_at": paid_at,
        "stripe_webhook_event_id": "evt_1",
        "stripe_webhook_event_created_at": CREATED,
        "stripe_webhook_received_at": began,
        "stripe_payment_intent_id": "pi_1",
        "stripe_checkout_session_id": "cs_1",
        "stripe_session_metadata": payment.session_metadata,
        "expires_at": None,
        "awaiting_funds_since": None,
        "awaiting_funds_session_id": None,
        "awaiting_funds_event_id": None,
        "reserved_product_ids": None,
        "buyer_since": kept["created_at"],
        "refunded_amount": Decimal(0),
    }
    ledger = row(superuser, "select * from public.inventory_ledger")
    assert ledger == {
        "id": ledger["id"],
        "product_id": shop.sellers[0].product_ids[0],
        "seller_id": shop.sellers[0].id,
        "order_item_id": group.item_ids[0],
        "entry_type": "order_commit",
        "quantity_delta": -2,
        "stripe_webhook_event_id": "evt_1",
        "note": None,
        "created_at": paid_at,
        "receipt_key": None,
        "stripe_refund_id": None,
        "recorded_by": None,
    }


def test_case_of_a_wrong_amount_is_kept_whole(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = payment_of(group, amount_minor=7000, amount="70.00")

    with service.transaction():
        began = scalar(service, "select now()")
        told = reconcile(service, payment)

    assert told == verdict(group, "evt_1", "rejected", "amount_mismatch")
    (case,) = cases(service)
    assert case["first_seen_at"] > began
    assert case == {
        "id": case["id"],
        "stripe_event_id": "evt_1",
        "order_group_id": group.id,
        "checkout_session_id": "cs_1",
        "payment_intent_id": "pi_1",
        "reason": "amount_mismatch",
        "attempts": 1,
        "first_seen_at": case["first_seen_at"],
        "last_seen_at": case["first_seen_at"],
        "details": {"expected": expected(), "received": received(group, payment)},
        "status": "open",
        "resolution": None,
        "resolved_by": None,
        "resolved_at": None,
        "note": None,
        "rule": "the payment is not the order group's total",
    }
    assert row(superuser, "select * from payments.exceptions") == as_kept(case)


def test_case_of_a_second_payment_says_what_had_paid(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, payment_of(group))
    second = payment_of(group).but(event_id="evt_2", checkout_session_id="cs_2", payment_intent_id="pi_2")

    told = reconcile(service, second)

    assert told == verdict(group, "evt_2", "rejected", "duplicate_payment")
    (case,) = cases(service)
    assert case["details"] == {
        "expected": expected(
            order_group_status="paid",
            paid_by_event_id="evt_1",
            paid_by_payment_intent_id="pi_1",
            paid_by_checkout_session_id="cs_1",
        ),
        "received": received(group, second),
    }


def test_case_of_totals_that_disagree_tells_both(service: Connection, shop: Shop) -> None:
    group = shop.order_group(total_amount=Decimal(70))
    payment = payment_of(group)

    told = reconcile(service, payment)

    assert told == verdict(group, "evt_1", "rejected", "totals_inconsistent")
    (case,) = cases(service)
    assert case["details"] == {"expected": expected(total_amount="70"), "received": received(group, payment)}


def test_case_of_no_group_has_nothing_to_compare_with(service: Connection, shop: Shop) -> None:
    payment = payment_of(shop.order_group()).but(order_group_id=None, unmatched_reason="malformed_reference")

    told = reconcile(service, payment)

    assert told == verdict(None, "evt_1", "unmatched", "malformed_reference")
    (case,) = cases(service)
    assert case["details"] == {
        "expected": None,
        "received": received(None, payment),
        "named_order_group_id": payment.session_metadata and payment.session_metadata["order_group_id"],
    }
    assert case["order_group_id"] is None


def test_case_of_nothing_sent_keeps_nothing_and_does_not_invent_it(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    bare = {"amount_minor": None, "amount": None, "currency": None, "payment_intent_id": None}
    payment = payment_of(group).but(**bare, event_created=None, session_metadata=None)

    reconcile(service, payment)

    (case,) = cases(service)
    assert case["details"]["received"] == received(group, payment, event_created_at=None, session_metadata={}, **bare)


def test_collision_is_compared_with_the_event_that_was_processed(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    first = payment_of(group)
    reconcile(service, first)
    other = first.but(amount_minor=1, amount="0.01", source="replay")

    told = reconcile(service, other)

    assert told == verdict(group, "evt_1", "rejected", "event_collision")
    (case,) = cases(service)
    kept = received(group, first)
    del kept["session_metadata"]  # the event itself has them
    assert case["details"] == {"expected": kept, "received": received(group, other)}


def test_case_that_comes_again_otherwise_follows_what_came_last_and_keeps_what_came_before(
    service: Connection, shop: Shop
) -> None:
    group, another = shop.order_group(), shop.order_group()
    first = payment_of(group, amount_minor=7000, amount="70.00")
    second = first.but(order_group_id=another.id, checkout_session_id="cs_2", payment_intent_id="pi_2")
    reconcile(service, first)
    (before,) = cases(service)

    with service.transaction():
        began = scalar(service, "select now()")
        reconcile(service, second)

    (after,) = cases(service)
    assert after["last_seen_at"] > began
    (earlier,) = after["details"]["earlier"]
    assert datetime.fromisoformat(earlier["until"]) == before["last_seen_at"]
    assert after == before | {
        "order_group_id": another.id,
        "checkout_session_id": "cs_2",
        "payment_intent_id": "pi_2",
        "attempts": 2,
        "last_seen_at": after["last_seen_at"],
        "details": {
            "expected": expected(),
            "received": received(another, second),
            "earlier": [
                {
                    "reason": "amount_mismatch",
                    "until": earlier["until"],  # as a time, above: JSON has no zeros at a second's end
                    "expected": expected(),
                    "received": received(group, first),
                }
            ],
        },
    }


def test_same_payload_by_another_way_is_counted_and_nothing_else(service: Connection, shop: Shop) -> None:
    payment = payment_of(shop.order_group(), amount_minor=7000, amount="70.00")
    reconcile(service, payment)
    (before,) = cases(service)

    reconcile(service, payment.but(source="webhook"))

    (after,) = cases(service)
    assert after == before | {"attempts": 2, "last_seen_at": after["last_seen_at"]}
    assert after["last_seen_at"] > before["last_seen_at"]


def test_resolution_changes_these_columns_and_answers_with_the_row(service: Connection, shop: Shop) -> None:
    reconcile(service, payment_of(shop.order_group(), amount_minor=7000, amount="70.00"))
    (before,) = cases(service)

    with service.transaction():
        began = scalar(service, "select now()")
        told = scalar(service, RESOLVE, before["id"], "fixed_by_hand", " ada ", "  paid twice  ")

    (after,) = cases(service)
    assert after == before | {
        "status": "resolved",
        "resolution": "fixed_by_hand",
        "resolved_by": "ada",
        "resolved_at": after["resolved_at"],
        "note": "paid twice",
    }
    assert after["resolved_at"] > began
    listed = scalar(service, "select to_jsonb(x) from public.list_payment_exceptions('all') as x")
    assert told == as_kept(listed, told["event_created_at"])


@pytest.mark.parametrize("note", [None, "", "   "])
def test_resolution_without_a_word_has_no_note(service: Connection, shop: Shop, note: str | None) -> None:
    reconcile(service, payment_of(shop.order_group(), amount_minor=1, amount="0.01"))
    (case,) = cases(service)

    assert scalar(service, RESOLVE, case["id"], "dismissed", "ada", note)["note"] is None


def test_case_that_its_own_payment_closes_says_so(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group([], total_amount=Decimal(5))
    payment = payment_of(group)
    assert reconcile(service, payment)["reason"] == "order_group_empty"
    (before,) = cases(service)
    order_id = shop.add_order(group.id, shop.sellers[0], "5")
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, "5")

    assert reconcile(service, payment)["outcome"] == "applied"

    assert cases(service) == [
        before
        | {
            "status": "resolved",
            "resolution": "reconciled",
            "resolved_by": "reconcile_order_group_payment",
            "resolved_at": scalar(superuser, "select processed_at from payments.stripe_events"),
        }
    ]


def test_later_event_of_a_refunded_payment_is_closed_with_the_first_of_its_cases(
    service: Connection, shop: Shop
) -> None:
    group = shop.order_group([], total_amount=Decimal(5))
    first = payment_of(group)
    second = first.but(event_id="evt_2")
    for payment in (first, second):
        reconcile(service, payment)
    for case in cases(service):
        scalar(service, RESOLVE, case["id"], "refunded", "ada" if case["stripe_event_id"] == "evt_1" else "bob", None)
    order_id = shop.add_order(group.id, shop.sellers[0], "5")
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, "5")
    third = first.but(event_id="evt_3")

    with service.transaction():
        began = scalar(service, "select now()")
        told = reconcile(service, third)

    assert told == verdict(group, "evt_3", "resolved")
    one, _, case = cases(service)
    assert began < case["first_seen_at"] <= case["resolved_at"]
    assert case == {
        "id": case["id"],
        "stripe_event_id": "evt_3",
        "order_group_id": group.id,
        "checkout_session_id": "cs_1",
        "payment_intent_id": "pi_1",
        "reason": "order_group_empty",
        "attempts": 1,
        "first_seen_at": case["first_seen_at"],
        "last_seen_at": case["first_seen_at"],
        "details": {"expected": None, "received": received(group, third)},
        "status": "resolved",
        "resolution": "refunded",
        "resolved_by": "ada",
        "resolved_at": case["resolved_at"],
        "note": f"same payment as exception {one['id']}",
        "rule": "the group has no order, or an order has no item",
    }


def test_replays_twins_and_closed_cases_are_answered_without_counts(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = payment_of(group)
    reconcile(service, payment)
    wrong = payment_of(shop.order_group(), amount_minor=1, amount="0.01").but(event_id="evt_3")
    reconcile(service, wrong)
    (case,) = cases(service)
    scalar(service, RESOLVE, case["id"], "dismissed", "ada", None)

    told = [reconcile(service, one) for one in (payment, payment.but(event_id="evt_2"), wrong)]

    assert told == [
        verdict(group, "evt_1", "replayed"),
        verdict(group, "evt_2", "already_paid"),
        verdict(None, "evt_3", "resolved") | {"order_group_id": str(wrong.order_group_id)},
    ]


def test_list_tells_every_column_of_each_case_open_ones_by_default(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    for number in (1, 2, 3):
        payment = payment_of(shop.order_group(), amount_minor=number, amount=f"0.0{number}")
        reconcile(service, payment.but(event_id=f"evt_{number}"))
    first, second, third = cases(service)
    scalar(service, RESOLVE, second["id"], "dismissed", "ada", "a test")

    rows = superuser.execute("select * from payments.exceptions order by id").fetchall()

    listed = cases(service)
    assert [as_kept(case) for case in listed] == rows
    assert service.execute("select * from public.list_payment_exceptions()").fetchall() == [first, third]
    assert service.execute("select * from public.list_payment_exceptions('resolved')").fetchall() == [listed[1]]


def test_reopened_case_is_as_it_was_besides_the_word_that_was_taken_back(service: Connection, shop: Shop) -> None:
    reconcile(service, payment_of(shop.order_group(), amount_minor=1, amount="0.01"))
    (before,) = cases(service)
    closed = scalar(service, RESOLVE, before["id"], "dismissed", "ada", "a test")

    told = scalar(service, "select public.reopen_payment_exception(%s, '  bob ', ' none  ')", before["id"])

    (after,) = cases(service)
    (word,) = after["details"].pop("reopened")
    assert after == before
    assert told["details"] == before["details"] | {"reopened": [word]}
    assert word.pop("reopened_at") > closed["resolved_at"]
    assert word == {
        "resolution": "dismissed",
        "resolved_by": "ada",
        "resolved_at": closed["resolved_at"],
        "note": "a test",
        "reopened_by": "bob",
        "reopened_note": "none",
    }
