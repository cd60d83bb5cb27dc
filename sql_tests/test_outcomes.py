"""Every outcome and every reason of the contract, with what is kept and what stays untouched."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.payments import Payment
from testkit.previewed import reconcile
from testkit.refunds import refund_in_full
from testkit.shop import OrderGroup, Shop

pytestmark = pytest.mark.usefixtures("each_way")

NO_NUMBERS = {None, "NaN", "Infinity", "-Infinity"}


def untouched(connection: Connection, group: OrderGroup) -> bool:
    """Whether group, orders and ledger are as before any payment."""
    row = connection.execute(
        """
        select
            g.status, g.paid_at, g.stripe_webhook_event_id, g.stripe_payment_intent_id, g.stripe_session_metadata,
            (select array_agg(distinct o.status) from public.orders as o where o.order_group_id = g.id) as orders,
            (select count(*) from public.inventory_ledger) as ledger,
            (select count(*) from payments.stripe_events) as events
        from public.order_groups as g where g.id = %s
        """,
        [group.id],
    ).fetchone()
    return row is not None and list(row.values()) == ["pending", None, None, None, None, ["pending"], 0, 0]


def test_first_payment_marks_group_and_orders_paid_and_commits_every_item_once(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()

    verdict = reconcile(service, payment)

    assert verdict == {
        "outcome": "applied",
        "reason": None,
        "order_group_id": str(group.id),
        "stripe_event_id": payment.event_id,
        "orders_paid": 2,
        "ledger_entries": 5,
    }
    paid = superuser.execute("select * from public.order_groups where id = %s", [group.id]).fetchone()
    assert paid is not None
    assert paid["status"] == "paid"
    assert paid["stripe_webhook_event_id"] == payment.event_id
    assert paid["stripe_webhook_event_created_at"] == payment.event_created
    assert paid["stripe_payment_intent_id"] == payment.payment_intent_id
    assert paid["stripe_checkout_session_id"] == payment.checkout_session_id
    assert paid["stripe_session_metadata"] == {"source": "web"}
    assert paid["paid_at"] >= paid["stripe_webhook_received_at"]
    orders = superuser.execute("select * from public.orders where order_group_id = %s", [group.id]).fetchall()
    assert [(o["status"], o["paid_at"]) for o in orders] == [("paid", paid["paid_at"])] * 2
    ledger = superuser.execute(
        """
        select l.order_item_id, l.entry_type, l.quantity_delta = -i.quantity as right_quantity,
            l.product_id = i.product_id as right_product, l.stripe_webhook_event_id
        from public.inventory_ledger as l inner join public.order_items as i on i.id = l.order_item_id
        order by l.id
        """
    ).fetchall()
    assert [tuple(row.values()) for row in ledger] == [
        (item_id, "order_commit", True, True, payment.event_id) for item_id in sorted(group.item_ids)
    ]
    event = superuser.execute("select * from payments.stripe_events").fetchall()
    assert [(e["id"], e["outcome"], e["amount_minor"], e["amount"], e["currency"]) for e in event] == [
        (payment.event_id, "applied", payment.amount_minor, group.total_amount, "USD")
    ]
    assert scalar(superuser, "select count(*) from payments.exceptions") == 0


def test_payment_of_one_group_leaves_other_groups_alone(service: Connection, superuser: Connection, shop: Shop) -> None:
    paid, other = shop.order_group(), shop.order_group()

    reconcile(service, paid.payment())

    assert scalar(superuser, "select status from public.order_groups where id = %s", other.id) == "pending"
    statuses = superuser.execute("select distinct status from public.orders where order_group_id = %s", [other.id])
    assert [row["status"] for row in statuses] == ["pending"]
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == len(paid.item_ids)


def test_group_that_costs_nothing_is_paid_without_a_payment_intent(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(1, "0")]])

    verdict = reconcile(service, group.payment().but(payment_intent_id=None))

    assert verdict["outcome"] == "applied"
    assert scalar(superuser, "select stripe_payment_intent_id from public.order_groups") is None


def test_two_free_groups_do_not_collide_on_their_missing_payment_intent(service: Connection, shop: Shop) -> None:
    first, second = shop.order_group([[(1, "0")]]), shop.order_group([[(1, "0")]])

    verdicts = [reconcile(service, g.payment().but(payment_intent_id=None)) for g in (first, second)]

    assert [v["outcome"] for v in verdicts] == ["applied", "applied"]


@pytest.mark.parametrize("spelling", ["usd", "USD", " usd "])
def test_currency_is_compared_without_case_and_blanks(service: Connection, shop: Shop, spelling: str) -> None:
    payment = shop.order_group().payment().but(currency=spelling)

    assert reconcile(service, payment)["outcome"] == "applied"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order_group_id": uuid4()}, "order_group_not_found"),
        ({"amount_minor": None}, "amount_missing"),
        ({"amount": None}, "amount_missing"),
        ({"amount_minor": None, "amount": None}, "amount_missing"),
        ({"amount_minor": -7424, "amount": "-74.24"}, "amount_missing"),
        ({"currency": None}, "currency_unsupported"),
        ({"currency": ""}, "currency_unsupported"),
        ({"currency": "xxx"}, "currency_unsupported"),
        ({"currency": "us"}, "currency_unsupported"),
        ({"amount": "7424"}, "amount_normalization_mismatch"),
        ({"amount": "74.240001"}, "amount_normalization_mismatch"),
        ({"amount": "NaN"}, "amount_missing"),
        ({"amount": "Infinity"}, "amount_missing"),
        ({"amount": "-Infinity"}, "amount_missing"),
        ({"currency": "eur"}, "currency_mismatch"),
        ({"currency": "jpy", "amount": "7424"}, "currency_mismatch"),
        ({"amount_minor": 7423, "amount": "74.23"}, "amount_mismatch"),
        ({"amount_minor": 7425, "amount": "74.25"}, "amount_mismatch"),
        ({"amount_minor": 0, "amount": "0"}, "amount_mismatch"),
        ({"amount_minor": 9223372036854775807, "amount": "92233720368547758.07"}, "amount_mismatch"),
    ],
)
def test_spoilt_payment_is_rejected_with_its_evidence_and_nothing_is_paid(
    service: Connection, superuser: Connection, shop: Shop, change: dict[str, Any], reason: str
) -> None:
    group = shop.order_group()
    assert group.total_amount == Decimal("74.24")
    payment = group.payment().but(**change)

    verdict = reconcile(service, payment)

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", reason)
    assert verdict["order_group_id"] == str(payment.order_group_id)
    assert (verdict["orders_paid"], verdict["ledger_entries"]) == (0, 0)
    assert untouched(superuser, group)
    kept = superuser.execute("select * from payments.exceptions").fetchall()
    assert [(x["stripe_event_id"], x["order_group_id"], x["reason"], x["attempts"], x["status"]) for x in kept] == [
        (payment.event_id, payment.order_group_id, reason, 1, "open")
    ]
    received = kept[0]["details"]["received"]
    assert received["checkout_session_id"] == payment.checkout_session_id
    assert received["amount_minor"] == (None if payment.amount_minor is None else str(payment.amount_minor))
    assert received["amount"] == (None if payment.amount in NO_NUMBERS else payment.amount)


def test_group_without_orders_is_rejected_as_empty(service: Connection, shop: Shop) -> None:
    group = shop.order_group([], total_amount=Decimal(0))

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_empty")


def test_order_without_items_makes_its_group_empty(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "5.00")], []])

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_empty")
    assert untouched(superuser, group)


def test_total_that_is_not_the_sum_of_the_orders_is_rejected(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group(total_amount=Decimal("70.00"))

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "totals_inconsistent")
    assert untouched(superuser, group)


def test_cancelled_group_is_not_revived_by_a_late_payment(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_not_payable")
    assert scalar(superuser, "select status from public.order_groups") == "cancelled"
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("already_paid", None)),
        ({"amount_minor": 1, "amount": "0.01"}, ("rejected", "amount_mismatch")),
        ({"currency": "eur"}, ("rejected", "currency_mismatch")),
        ({"checkout_session_id": "cs_other", "payment_intent_id": "pi_other"}, ("rejected", "order_group_not_payable")),
    ],
    ids=["of its payment", "another amount", "another currency", "of another payment"],
)
def test_refunded_group_knows_the_payment_that_had_paid_it(
    service: Connection,
    superuser: Connection,
    shop: Shop,
    change: dict[str, Any],
    expected: tuple[str, str | None],
) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    refund_in_full(service, group.id)

    verdict = reconcile(service, payment.twin().but(**change))

    assert (verdict["outcome"], verdict["reason"]) == expected
    assert scalar(superuser, "select status from public.order_groups where id = %s", group.id) == "refunded"
    assert broken_invariants(superuser) == []


def test_second_payment_for_a_paid_group_is_kept_as_a_duplicate_with_both_payments(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    first = group.payment()
    second = first.rival()
    reconcile(service, first)

    verdict = reconcile(service, second)

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "duplicate_payment")
    details = scalar(superuser, "select details from payments.exceptions")
    assert details["expected"]["paid_by_payment_intent_id"] == first.payment_intent_id
    assert details["received"]["payment_intent_id"] == second.payment_intent_id
    assert scalar(superuser, "select stripe_payment_intent_id from public.order_groups") == first.payment_intent_id
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == len(group.item_ids)


def test_free_group_paid_by_one_session_rejects_another_session(service: Connection, shop: Shop) -> None:
    payment = shop.order_group([[(1, "0")]]).payment().but(payment_intent_id=None)
    reconcile(service, payment)

    verdict = reconcile(service, payment.rival().but(payment_intent_id=None))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "duplicate_payment")


@pytest.mark.parametrize("shared", ["payment_intent_id", "checkout_session_id"])
def test_payment_that_paid_one_group_cannot_pay_another(
    service: Connection, superuser: Connection, shop: Shop, shared: str
) -> None:
    first, second = shop.order_group(), shop.order_group()
    payment = first.payment()
    reconcile(service, payment)

    verdict = reconcile(service, second.payment().but(**{shared: getattr(payment, shared)}))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "payment_already_used")
    assert scalar(superuser, "select status from public.order_groups where id = %s", second.id) == "pending"


def test_twin_event_of_the_payment_is_recorded_and_changes_nothing_else(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    before = db.snapshot()

    verdict = reconcile(service, payment.twin())

    assert (verdict["outcome"], verdict["reason"]) == ("already_paid", None)
    assert (verdict["orders_paid"], verdict["ledger_entries"]) == (0, 0)
    after = db.snapshot()
    assert len(after.pop("payments.stripe_events")) == len(before.pop("payments.stripe_events")) + 1
    assert after == before
    outcomes = superuser.execute("select outcome from payments.stripe_events order by processed_at").fetchall()
    assert [row["outcome"] for row in outcomes] == ["applied", "already_paid"]


def test_event_of_the_same_session_without_its_intent_is_already_paid(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)

    assert reconcile(service, payment.twin().but(payment_intent_id=None))["outcome"] == "already_paid"


def test_twin_with_another_amount_is_a_mismatch_even_on_a_paid_group(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)

    verdict = reconcile(service, payment.twin().but(amount_minor=1, amount="0.01"))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "amount_mismatch")


def test_success_event_alone_pays_the_group(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment().but(event_type="checkout.session.async_payment_succeeded")

    assert reconcile(service, payment)["outcome"] == "applied"


@pytest.mark.parametrize(
    "reason", ["missing_reference", "malformed_reference", "conflicting_references", "foreign_account"]
)
def test_event_that_names_no_group_is_kept_and_counted(
    service: Connection, superuser: Connection, shop: Shop, reason: str
) -> None:
    payment = shop.order_group().payment().but(order_group_id=None, unmatched_reason=reason)

    verdicts = [reconcile(service, payment) for _ in range(3)]

    assert {(v["outcome"], v["reason"], v["order_group_id"]) for v in verdicts} == {("unmatched", reason, None)}
    kept = superuser.execute("select * from payments.exceptions").fetchall()
    assert [(x["reason"], x["attempts"], x["order_group_id"]) for x in kept] == [(reason, 3, None)]


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": None},
        {"event_id": " "},
        {"event_type": None},
        {"livemode": None},
        {"checkout_session_id": None},
        {"source": "guess"},
        {"source": None},
        {"order_group_id": None},
        {"unmatched_reason": "missing_reference"},
        {"order_group_id": None, "unmatched_reason": "because"},
        {"unmatched_reason": "foreign_account", "account": "acct_another"},
        {"event_id": "e" * 256},
        {"event_type": "t" * 256},
        {"checkout_session_id": "c" * 256},
        {"payment_intent_id": "p" * 256},
        {"account": "a" * 256},
        {"currency": "usdd"},
        {"amount": "1" * 256},
        {"session_metadata": {"a": "x" * 65528}},
        {"event_created": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)},
        {"event_created": datetime(2100, 1, 1, 0, 0, 1, tzinfo=UTC)},
        {"event_created": "infinity"},
        {"event_created": "-infinity"},
    ],
)
def test_call_that_no_relay_would_make_is_refused(
    db: Database, service: Connection, shop: Shop, change: dict[str, Any]
) -> None:
    payment: Payment = shop.order_group().payment().but(**change)
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        reconcile(service, payment)

    assert db.snapshot() == before


def test_event_without_time_and_metadata_is_applied(service: Connection, superuser: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment().but(event_created=None, session_metadata=None)

    assert reconcile(service, payment)["outcome"] == "applied"
    assert scalar(superuser, "select stripe_session_metadata from public.order_groups") == {}


def test_sold_stock_may_become_negative_because_the_money_has_come(service: Connection, shop: Shop) -> None:
    group = shop.order_group([[(7, "1.00")]])
    product_id = shop.sellers[0].product_ids[0]
    scalar(service, "select public.record_inventory_receipt(%s, 5, 'delivery')", product_id)

    reconcile(service, group.payment())

    level = scalar(service, "select on_hand from public.inventory_levels where product_id = %s", product_id)
    assert level == -2


@pytest.mark.parametrize("field", ["event_id", "event_type", "checkout_session_id"])
def test_blank_is_not_an_id(service: Connection, shop: Shop, field: str) -> None:
    payment = shop.order_group().payment().but(**{field: "  "})

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        reconcile(service, payment)


def test_blank_payment_intent_is_none(service: Connection, superuser: Connection, shop: Shop) -> None:
    payments = [shop.order_group([[(1, "0")]]).payment().but(payment_intent_id=" ") for _ in range(2)]

    assert [reconcile(service, payment)["outcome"] for payment in payments] == ["applied", "applied"]
    assert scalar(superuser, "select count(payment_intent_id) from payments.stripe_events") == 0


def test_arguments_may_be_as_long_as_their_bounds(service: Connection, superuser: Connection, shop: Shop) -> None:
    payment = (
        shop.order_group()
        .payment()
        .but(
            event_id="e" * 255,
            event_type="t" * 255,
            checkout_session_id="c" * 255,
            payment_intent_id="p" * 255,
            account="a" * 255,
            session_metadata={"a": "x" * 65527},
            event_created=datetime(2100, 1, 1, tzinfo=UTC),
        )
    )

    assert reconcile(service, payment)["outcome"] == "applied"
    assert scalar(superuser, "select octet_length(session_metadata::text) from payments.stripe_events") == 65536


def test_account_of_an_event_is_kept_with_it(service: Connection, superuser: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment().but(account=" acct_own ")

    assert reconcile(service, payment)["outcome"] == "applied"
    assert reconcile(service, payment.but(account="acct_own"))["outcome"] == "replayed"
    assert scalar(superuser, "select account from payments.stripe_events") == "acct_own"
