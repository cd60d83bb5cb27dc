"""`import_order_group()`: history comes in whole, once, and leaves the stock as it was; or not one row is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Self
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.races import ENDS, End, RaceDatabase
from testkit.database import Connection, Database, Row, scalar
from testkit.order_group_requests import OrderGroupRequest, request
from testkit.payments import Payment, reconcile
from testkit.previewed import preview
from testkit.refunds import Refund, record
from testkit.shop import Shop

PAID_AT = datetime(2023, 5, 17, 9, 30, tzinfo=UTC)
IMPORT: LiteralString = """
select public.import_order_group(
    p_order_group_id => %(order_group_id)s,
    p_buyer_id => %(buyer_id)s,
    p_currency => %(currency)s,
    p_orders => %(orders)s,
    p_amount_minor => %(amount_minor)s,
    p_paid_at => %(paid_at)s,
    p_livemode => %(livemode)s,
    p_checkout_session_id => %(checkout_session_id)s,
    p_payment_intent_id => %(payment_intent_id)s,
    p_stripe_event_id => %(event_id)s,
    p_session_metadata => %(metadata)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An order group of the past and its payment; spoil one field with `but()`."""

    request: OrderGroupRequest
    amount_minor: int | None = 980
    paid_at: datetime | None = PAID_AT
    livemode: bool | None = True
    checkout_session_id: str | None = field(default_factory=lambda: f"cs_live_{uuid4().hex}")
    payment_intent_id: str | None = field(default_factory=lambda: f"pi_{uuid4().hex}")
    event_id: str | None = None

    @property
    def id(self) -> UUID:
        assert self.request.order_group_id
        return self.request.order_group_id

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def asking(self, **changes: Any) -> Self:
        return replace(self, request=self.request.but(**changes))

    def send(self, connection: Connection) -> Row:
        values = {
            "order_group_id": self.request.order_group_id,
            "buyer_id": self.request.buyer_id,
            "currency": self.request.currency,
            "orders": json.dumps(self.request.orders),
            "amount_minor": self.amount_minor,
            "paid_at": self.paid_at,
            "livemode": self.livemode,
            "checkout_session_id": self.checkout_session_id,
            "payment_intent_id": self.payment_intent_id,
            "event_id": self.event_id,
            "metadata": json.dumps({"cart": "7"}),
        }
        row = connection.execute(IMPORT, values).fetchone()
        assert row
        answer: Row = row["import_order_group"]
        return answer


def past(shop: Shop, **changes: Any) -> Past:
    """Two orders, of 4.90 each, with five items of three products."""
    return Past(request=request(shop)).but(**changes)


def payment_of(sold: Past) -> Payment:
    """The payment as Stripe's own event tells it."""
    return Payment(
        order_group_id=sold.id,
        amount_minor=980,
        amount="9.80",
        livemode=True,
        event_created=PAID_AT,
        checkout_session_id=sold.checkout_session_id,
        payment_intent_id=sold.payment_intent_id,
    )


def verdict(told: Row) -> tuple[str, str | None]:
    return told["outcome"], told["reason"]


def rows(connection: Connection, query: LiteralString, *values: Any) -> list[Row]:
    return connection.execute(query, values).fetchall()


def test_history_comes_in_with_orders_items_event_and_ledger_and_the_stock_stays(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    sold = past(shop)
    stock = "select product_id, on_hand, reserved, available from public.inventory_levels order by product_id"
    before = rows(service, stock)

    told = sold.send(service)

    event_id = f"import_{sold.checkout_session_id}"
    pieces = {
        item["product_id"]: sum(
            other["quantity"]
            for order in sold.request.orders
            for other in order["items"]
            if other["product_id"] == item["product_id"]
        )
        for order in sold.request.orders
        for item in order["items"]
    }
    assert told == {
        "outcome": "imported",
        "reason": None,
        "detail": None,
        "order_group_id": str(sold.id),
        "stripe_event_id": event_id,
        "orders_paid": 2,
        "ledger_entries": 10,  # five items: a receipt and an order_commit of each
    }
    assert rows(
        superuser,
        "select status, total_amount::text, currency, buyer_id, stripe_webhook_event_id, stripe_payment_intent_id,"
        " stripe_checkout_session_id, stripe_webhook_event_created_at, stripe_session_metadata"
        " from public.order_groups where id = %s",
        sold.id,
    ) == [
        {
            "status": "paid",
            "total_amount": "9.80",
            "currency": "USD",
            "buyer_id": shop.buyer_id,
            "stripe_webhook_event_id": event_id,
            "stripe_payment_intent_id": sold.payment_intent_id,
            "stripe_checkout_session_id": sold.checkout_session_id,
            "stripe_webhook_event_created_at": PAID_AT,
            "stripe_session_metadata": {"cart": "7"},
        }
    ]
    assert rows(
        superuser,
        "select type, created_at, livemode, amount_minor, amount::text, currency, source, outcome, account"
        " from payments.stripe_events where id = %s and order_group_id = %s",
        event_id,
        sold.id,
    ) == [
        {
            "type": "checkout.session.completed",
            "created_at": PAID_AT,
            "livemode": True,
            "amount_minor": 980,
            "amount": "9.80",
            "currency": "USD",
            "source": "replay",
            "outcome": "applied",
            "account": None,
        }
    ]
    moved = rows(
        superuser,
        "select entry_type, product_id, sum(quantity_delta)::int as pieces from public.inventory_ledger"
        " where stripe_webhook_event_id = %s or receipt_key like %s group by 1, 2 order by 1, 2",
        event_id,
        f"import {sold.id} %",
    )
    assert moved == [
        {"entry_type": kind, "product_id": UUID(product), "pieces": sign * count}
        for kind, sign in (("order_commit", -1), ("receipt", 1))
        for product, count in sorted(pieces.items())
    ]
    assert rows(service, stock) == before
    assert rows(superuser, "select * from payments.broken_invariants()") == []


def test_any_number_of_pieces_comes_in(service: Connection, superuser: Connection, shop: Shop) -> None:
    """Two items of one product may have more pieces together than one column holds."""
    sold = past(shop)
    order = sold.request.orders[0]
    item = order["items"][0] | {"quantity": 2_147_483_647, "unit_amount": "0.00"}
    most = sold.asking(orders=[order | {"total_amount": "9.80", "items": [item, item]}])

    assert most.send(service) == {
        "outcome": "imported",
        "reason": None,
        "detail": None,
        "order_group_id": str(most.id),
        "stripe_event_id": f"import_{sold.checkout_session_id}",
        "orders_paid": 1,
        "ledger_entries": 4,
    }
    assert rows(superuser, "select * from payments.broken_invariants()") == []


def test_accountants_find_it_on_the_day_when_it_was_paid(service: Connection, shop: Shop) -> None:
    past(shop).send(service)

    report = scalar(
        service, "select public.payment_report(%s, %s)", PAID_AT - timedelta(days=1), PAID_AT + timedelta(days=1)
    )

    assert report["days"] == [{"day": "2023-05-17", "lines": 3}]  # a payment and two orders
    assert report["money"] == [{"currency": "USD", "gross": "9.80", "refunded": "0", "net": "9.80"}]
    assert [check["name"] for check in report["checks"] if not check["ok"]] == []


def test_imported_twice_is_imported_once_whatever_event_id_is_given(
    db: Database, service: Connection, shop: Shop
) -> None:
    sold = past(shop)
    first = sold.send(service)
    before = db.snapshot()

    again = sold.send(service)

    assert again == first | {"outcome": "already_imported", "orders_paid": 0, "ledger_entries": 0}
    assert db.snapshot() == before
    assert verdict(sold.but(event_id="evt_1").send(service)) == ("already_imported", None)


def test_sweep_knows_the_payment_and_a_late_event_of_it_changes_nothing(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    sold = past(shop)
    sold.send(service)
    payment = payment_of(sold)

    assert [told["is_known"] for told in preview(service, [payment])] == [True]
    assert reconcile(service, payment)["outcome"] == "already_paid"
    assert rows(superuser, "select * from payments.exceptions") == []


# What is spoiled -> how the import is answered.
SPOILED: dict[str, tuple[Callable[[Past], Past], str, str | None]] = {
    "another amount": (lambda sold: sold.but(amount_minor=981), "amount_mismatch", None),
    "no amount": (lambda sold: sold.but(amount_minor=None), "amount_missing", None),
    "no currency of Stripe's": (lambda sold: sold.asking(currency="XXX"), "currency_unsupported", None),
    "no group": (lambda sold: sold.asking(order_group_id=None), "malformed_request", "p_order_group_id"),
    "no order": (lambda sold: sold.asking(orders=[]), "order_group_empty", None),
    "no buyer of ours": (lambda sold: sold.asking(buyer_id=uuid4()), "buyer_not_found", None),
    "an unreadable item": (
        lambda sold: sold.asking(orders=[sold.request.orders[0] | {"items": [{"quantity": 1}]}]),
        "malformed_request",
        "p_orders[0].items[0].product_id",
    ),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_does_not_fit_is_rejected_and_not_one_row_is_written(
    db: Database, service: Connection, shop: Shop, spoil: str
) -> None:
    change, reason, detail = SPOILED[spoil]
    sold = change(past(shop))
    before = db.snapshot()

    told = sold.send(service)

    assert told == {
        "outcome": "rejected",
        "reason": reason,
        "detail": detail,
        "order_group_id": str(sold.request.order_group_id) if sold.request.order_group_id else None,
        "stripe_event_id": f"import_{sold.checkout_session_id}",
        "orders_paid": 0,
        "ledger_entries": 0,
    }
    assert db.snapshot() == before


def test_group_that_lives_is_no_history(db: Database, service: Connection, shop: Shop) -> None:
    pending, paid = past(shop), past(shop)
    pending.request.send(service)
    paid.send(service)
    before = db.snapshot()

    assert verdict(pending.send(service)) == ("rejected", "order_group_differs")
    assert verdict(paid.asking(buyer_id=None).send(service)) == ("rejected", "order_group_differs")
    rival = paid.but(checkout_session_id="cs_live_other", payment_intent_id="pi_other")
    assert verdict(rival.send(service)) == ("rejected", "duplicate_payment")
    again = past(shop, checkout_session_id=paid.checkout_session_id, payment_intent_id=paid.payment_intent_id)
    assert verdict(again.send(service)) == ("rejected", "event_collision")
    assert verdict(again.but(event_id="evt_2").send(service)) == ("rejected", "payment_already_used")
    assert db.snapshot() == before


@pytest.mark.parametrize("missing", ["paid_at", "livemode", "checkout_session_id"])
def test_payment_without_time_mode_or_session_is_refused(
    db: Database, service: Connection, shop: Shop, missing: str
) -> None:
    before = db.snapshot()

    for empty in (None, " ") if missing == "checkout_session_id" else (None,):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            past(shop, **{missing: empty}).send(service)
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            past(shop, **{missing: empty, "event_id": "evt_1"}).send(service)

    assert db.snapshot() == before


@pytest.mark.parametrize("paid_at", [datetime(1999, 12, 31, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_time_that_is_not_of_the_past_is_refused(
    db: Database, service: Connection, shop: Shop, paid_at: datetime
) -> None:
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_paid_at"):
        past(shop, paid_at=paid_at).send(service)

    assert db.snapshot() == before


def test_payment_that_was_settled_otherwise_is_rejected_and_says_so(
    db: Database, service: Connection, shop: Shop
) -> None:
    gone_back, settled = past(shop), past(shop)
    assert record(service, Refund.of(payment_of(gone_back)))["outcome"] == "recorded"
    early = payment_of(settled)
    assert reconcile(service, early)["reason"] == "order_group_not_found"
    exception = scalar(service, "select id from public.list_payment_exceptions(p_event => %s)", early.event_id)
    service.execute("select public.resolve_payment_exception(%s, 'refunded', 'ada', 'by hand')", [exception])
    before = db.snapshot()

    for sold in (gone_back, settled, settled.but(event_id=early.event_id)):
        assert verdict(sold.send(service)) == ("rejected", "payment_resolved")
    assert db.snapshot() == before


@pytest.mark.parametrize("end", ENDS)
def test_of_two_imports_at_once_one_imports(database: RaceDatabase, end: End) -> None:
    sold = past(database.shop)
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    one.start(lambda connection: sold.send(connection)["outcome"])
    assert one.answer() == "imported"
    other.start(lambda connection: sold.send(connection)["outcome"])
    other.until_waiting_for(one)
    assert one.end(end) == end

    assert other.answer() == {"commit": "already_imported", "rollback": "imported"}[end]
    assert other.end("commit") == "commit"
    database.dismiss()


@pytest.mark.parametrize("end", ENDS)
def test_import_and_the_payments_own_event_wait_for_each_other(database: RaceDatabase, end: End) -> None:
    """The event comes while the import is under way: it waits for it, and never meets half of it."""
    sold = past(database.shop, event_id=f"evt_{uuid4().hex}")
    payment = payment_of(sold).but(event_id=sold.event_id, session_metadata={"cart": "7"})
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    one.start(lambda connection: sold.send(connection)["outcome"])
    assert one.answer() == "imported"
    other.start(lambda connection: reconcile(connection, payment)["outcome"])
    other.until_waiting_for(one)
    assert one.end(end) == end

    assert other.answer() == {"commit": "replayed", "rollback": "rejected"}[end]
    assert other.end("commit") == "commit"
    database.dismiss()


def test_refund_of_the_past_is_recorded_after_it(service: Connection, superuser: Connection, shop: Shop) -> None:
    sold = past(shop)
    sold.send(service)

    told = scalar(
        service,
        "select public.record_refund(%s, %s, %s, %s, %s, %s, %s)",
        "re_1",
        sold.payment_intent_id,
        980,
        "9.80",
        "usd",
        "succeeded",
        PAID_AT + timedelta(days=3),
    )

    assert told["outcome"] == "recorded"
    assert rows(superuser, "select status from public.order_groups where id = %s", sold.id) == [{"status": "refunded"}]
    assert rows(superuser, "select * from payments.broken_invariants()") == []
