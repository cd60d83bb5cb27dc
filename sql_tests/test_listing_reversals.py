"""The sweep reads what is on record of refunds and disputes by the window in which Stripe created them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.shop import Shop

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=3)
MOMENT = timedelta(microseconds=1)
TIMES = {"before": SINCE - MOMENT, "first": SINCE, "last": UNTIL, "after": UNTIL + MOMENT}


def test_what_was_created_in_the_window_is_listed_with_what_is_compared(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    for kind, status in (("refund", "pending"), ("dispute", "needs_response")):
        for name, created in TIMES.items():
            answer = scalar(
                service,
                f"select public.record_{kind}(%s, %s, 100, 1.00, 'USD', %s, %s, p_livemode => %s)",
                f"{kind}_{name}",
                payment.payment_intent_id,
                status,
                created,
                payment.livemode,
            )
            assert answer["outcome"] == "recorded"

    listed = service.execute(
        "select * from public.list_refunds_and_disputes(%s, %s) order by id", [SINCE, UNTIL]
    ).fetchall()

    assert listed == [
        {
            "id": f"{kind}_{name}",
            "kind": kind,
            "payment_intent_id": payment.payment_intent_id,
            "order_group_id": group.id,
            "amount_minor": 100,
            "currency": "USD",
            "status": {"refund": "pending", "dispute": "needs_response"}[kind],
        }
        for kind in ("dispute", "refund")
        for name in ("first", "last")
    ]
