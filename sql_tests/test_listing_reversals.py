"""The sweep reads what is on record of refunds and disputes by the window of their creation or of their recording."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from testkit.database import Connection, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import Shop

SINCE = datetime(2025, 11, 1, tzinfo=UTC)  # long before the tests record anything
UNTIL = SINCE + timedelta(days=3)
MOMENT = timedelta(microseconds=1)
TIMES = {"before": SINCE - MOMENT, "first": SINCE, "last": UNTIL, "after": UNTIL + MOMENT}


STATUSES = {"refund": "pending", "dispute": "needs_response"}


def record(service: Connection, payment: Payment, kind: str, name: str, created: datetime) -> None:
    answer = scalar(
        service,
        f"select public.record_{kind}(%s, %s, 100, 1.00, 'USD', %s, %s, p_livemode => %s)",
        f"{kind}_{name}",
        payment.payment_intent_id,
        STATUSES[kind],
        created,
        payment.livemode,
    )
    assert answer["outcome"] == "recorded"


def test_what_was_created_in_the_window_is_listed_with_what_is_compared(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    for kind in STATUSES:
        for name, created in TIMES.items():
            record(service, payment, kind, name, created)

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
            "status": STATUSES[kind],
        }
        for kind in ("dispute", "refund")
        for name in ("first", "last")
    ]


def test_what_was_recorded_in_the_window_is_listed_whatever_time_it_says(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """The time of its creation is what the caller says; the time of recording is the database's own."""
    payment = shop.order_group().payment()
    reconcile(service, payment)
    for kind in STATUSES:
        for name in TIMES:
            record(service, payment, kind, name, datetime(2001, 1, 1, tzinfo=UTC))
            statement = f"update payments.{kind}s set status_changed_at = %s where id = %s"
            superuser.execute(statement.encode(), [TIMES[name], f"{kind}_{name}"])

    listed = service.execute(
        "select id from public.list_refunds_and_disputes(%s, %s) order by id", [SINCE, UNTIL]
    ).fetchall()

    assert [row["id"] for row in listed] == ["dispute_first", "dispute_last", "refund_first", "refund_last"]


def test_what_has_just_been_recorded_is_of_a_window_until_now(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    for kind in STATUSES:
        record(service, payment, kind, "now", datetime(2001, 1, 1, tzinfo=UTC))

    listed = service.execute(
        "select id from public.list_refunds_and_disputes(now() - interval '1 minute', clock_timestamp()) order by id"
    ).fetchall()

    assert [row["id"] for row in listed] == ["dispute_now", "refund_now"]
