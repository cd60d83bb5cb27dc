"""`payment_report()`, whole: a month whose payments, cases and movements stand on and beside its boundaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, LiteralString
from uuid import UUID

import pytest

from sql_tests.goods import give_back, line
from testkit.database import Connection, past_every_guard, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup, Shop

SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns", "Pacific/Pago_Pago")
RESOLVE: LiteralString = "select public.resolve_payment_exception(%s, %s, 'ada', 'why')"


def move(superuser: Connection, statement: LiteralString, *values: Any) -> None:
    with past_every_guard(superuser):
        superuser.execute(statement, values)


def paid(service: Connection, superuser: Connection, group: OrderGroup, at: datetime) -> Payment:
    """A payment that was processed then."""
    payment = group.payment()
    assert reconcile(service, payment)["outcome"] == "applied"
    with past_every_guard(superuser):
        superuser.execute(
            "update payments.stripe_events set (processed_at, created_at) = (%s, %s) where id = %s",
            [at, at, payment.event_id],
        )
        superuser.execute(
            "update public.order_groups set paid_at = %s, stripe_webhook_event_created_at = %s where id = %s",
            [at, at, group.id],
        )
        superuser.execute("update public.orders set paid_at = %s where order_group_id = %s", [at, group.id])
        superuser.execute(
            "update public.order_status_changes set changed_at = %s where order_group_id = %s", [at, group.id]
        )
        superuser.execute(
            "update public.inventory_ledger set created_at = %s where stripe_webhook_event_id = %s",
            [at, payment.event_id],
        )
    return payment


def set_aside(service: Connection, superuser: Connection, payment: Payment, at: datetime) -> int:
    """A payment that was rejected then, its case's id."""
    assert reconcile(service, payment)["outcome"] in ("rejected", "unmatched")
    move(
        superuser,
        "update payments.exceptions set (first_seen_at, event_created_at, last_seen_at) = (%s, %s, first_seen_at)"
        " where stripe_event_id = %s",
        at,
        at,
        payment.event_id,
    )
    case: int = scalar(superuser, "select id from payments.exceptions where stripe_event_id = %s", payment.event_id)
    return case


def received(service: Connection, superuser: Connection, product_id: UUID, pieces: int, at: datetime) -> None:
    entry = scalar(service, "select public.record_inventory_receipt(%s, %s)", product_id, pieces)
    move(superuser, "update public.inventory_ledger set created_at = %s where id = %s", at, entry)


def wrong(group: OrderGroup, amount: str, **changes: Any) -> Payment:
    minor = int(amount.replace(".", ""))
    return group.payment().but(amount_minor=minor, amount=amount, **changes)


@pytest.fixture
def month(service: Connection, superuser: Connection, shop: Shop) -> dict[str, Any]:
    """What happened around March 2026, in dollars, yen and dinars; by name what the report must name."""
    first, second = shop.sellers
    group = shop.order_group
    superuser.execute("update public.sellers set name = 'Zoe' where id = %s", [first.id])
    superuser.execute("update public.sellers set name = 'Abe' where id = %s", [second.id])

    # Payments: an instant before the month, at its beginning, in it, an instant before its end, at its end.
    paid(service, superuser, group([[(1, "1")]]), SINCE - INSTANT)
    paid(service, superuser, group([[(2, "1")]]), SINCE)
    # The first items of two sellers, and of the first seller's second product.
    double = paid(
        service, superuser, group([[(3, "1"), (4, "2")], [(5, "10.10")]]), datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
    )
    paid(service, superuser, group([[(1, "500")]], currency="JPY"), datetime(2026, 3, 14, 0, 30, tzinfo=UTC))
    paid(service, superuser, group([[(1, "1.234")]], currency="KWD"), UNTIL - INSTANT)
    paid(service, superuser, group([[(7, "1")]]), UNTIL)
    twin = double.twin()
    reconcile(service, twin)
    move(superuser, "update payments.stripe_events set created_at = %s where id = %s", SINCE, twin.event_id)

    # Goods came in an instant before the month's end, and at its end.
    received(service, superuser, first.product_ids[0], 100, UNTIL - INSTANT)
    received(service, superuser, first.product_ids[0], 1000, UNTIL)
    received(service, superuser, first.product_ids[2], 50, SINCE)

    # Cases: the same instants; two events of one session; what was resolved; what named no group.
    cases = {
        "before": set_aside(service, superuser, wrong(group(), "0.11"), SINCE - INSTANT),
        "at the beginning": set_aside(service, superuser, wrong(group(), "0.12"), SINCE),
        "at the end": set_aside(service, superuser, wrong(group(), "0.13"), UNTIL),
    }
    pair = wrong(group(), "0.20")
    cases["first of two"] = set_aside(service, superuser, pair, datetime(2026, 3, 20, 9, tzinfo=UTC))
    cases["second of two"] = set_aside(
        service, superuser, pair.twin().but(amount_minor=21, amount="0.21"), datetime(2026, 3, 20, 10, tzinfo=UTC)
    )
    nameless = wrong(group(), "0.30").but(order_group_id=None, unmatched_reason="missing_reference", currency="eur")
    cases["nameless"] = set_aside(service, superuser, nameless, UNTIL - INSTANT)
    closed = set_aside(service, superuser, wrong(group(), "0.40"), datetime(2026, 3, 20, 8, tzinfo=UTC))
    scalar(service, RESOLVE, closed, "dismissed")
    # Of two events of one payment the open one counts, though the closed one came before.
    half = wrong(group(), "0.50")
    scalar(service, RESOLVE, set_aside(service, superuser, half, datetime(2026, 3, 21, 1, tzinfo=UTC)), "dismissed")
    cases["open half"] = set_aside(
        service, superuser, half.twin().but(amount_minor=51, amount="0.51"), datetime(2026, 3, 21, 2, tzinfo=UTC)
    )
    return cases


@pytest.mark.parametrize("zone", ZONES)
def test_report_of_a_month_is_whole_wherever_it_is_asked(
    service: Connection, superuser: Connection, shop: Shop, month: dict[str, Any], zone: str
) -> None:
    service.execute("select set_config('TimeZone', %s, false)", [zone])
    first, second = shop.sellers

    with service.transaction():
        now = scalar(service, "select now()")
        told: dict[str, Any] = scalar(service, "select public.payment_report(%s, %s)", SINCE, UNTIL)

    assert [datetime.fromisoformat(told.pop(key)) for key in ("since", "until", "generated_at")] == [SINCE, UNTIL, now]
    keys = ("day", "currency", "outcome", "payments", "amount")
    assert {frozenset(one) for one in told["totals"]} == {frozenset(keys)}
    assert [tuple(one[key] for key in keys) for one in told.pop("totals")] == [
        ("2026-03-01", "USD", "already_paid", 1, None),
        ("2026-03-01", "USD", "applied", 1, "2"),
        ("2026-03-01", "USD", "rejected", 1, "0.12"),
        ("2026-03-14", "JPY", "applied", 1, "500"),
        ("2026-03-14", "USD", "applied", 1, "61.50"),
        ("2026-03-20", "USD", "rejected", 1, "0.20"),
        ("2026-03-20", "USD", "resolved", 1, "0.40"),
        ("2026-03-21", "USD", "rejected", 1, "0.51"),
        ("2026-03-31", "EUR", "unmatched", 1, "0.30"),
        ("2026-03-31", "KWD", "applied", 1, "1.234"),
    ]
    rows = {row["id"]: row for row in superuser.execute("select * from payments.exceptions").fetchall()}
    order = ("before", "at the beginning", "first of two", "second of two", "open half", "nameless", "at the end")
    told_cases = told.pop("exceptions")
    for case in told_cases:
        case["first_seen_at"] = datetime.fromisoformat(case["first_seen_at"])
        case["last_seen_at"] = datetime.fromisoformat(case["last_seen_at"])
    assert told_cases == [
        {
            "id": row["id"],
            "reason": row["reason"],
            "order_group_id": row["order_group_id"] and str(row["order_group_id"]),
            "checkout_session_id": row["checkout_session_id"],
            "attempts": 1,
            "first_seen_at": row["first_seen_at"],
            "last_seen_at": row["last_seen_at"],
            "currency": row["details"]["received"]["currency"],
            "amount": row["details"]["received"]["amount"],
            "expected_currency": "USD" if row["order_group_id"] else None,
            "expected_amount": "74.24" if row["order_group_id"] else None,
        }
        for row in (rows[month[name]] for name in order)
    ]
    assert told.pop("stock") == [
        {
            "product_id": str(seller.product_ids[place]),
            "seller": name,
            "sku": f"SKU-{place + 1}",
            "product": f"Product {place + 1} of seller {1 if seller is first else 2}",
            "opening": opening,
            "received": received,
            "committed": committed,
            "items": items,
            "returned": 0,
            "corrected": 0,
            "on_hand": on_hand,
            "oversold": max(-on_hand, 0),
        }
        for seller, name, place, opening, received, committed, items, on_hand in (
            (second, "Abe", 0, 0, 0, 5, 1, -5),
            (first, "Zoe", 0, -1, 100, 7, 4, 92),
            (first, "Zoe", 1, 0, 0, 4, 1, -4),
            (first, "Zoe", 2, 0, 50, 0, 0, 50),
        )
    ]
    assert told.pop("adjustments") == []
    assert [tuple(one.values()) for one in told.pop("days")] == [
        ("2026-03-01", 3),
        ("2026-03-14", 5),
        ("2026-03-20", 2),
        ("2026-03-21", 1),
        ("2026-03-31", 3),
    ]
    assert told.pop("money") == [
        {"currency": currency, "gross": gross, "refunded": "0", "net": gross}
        for currency, gross in (("JPY", "500"), ("KWD", "1.234"), ("USD", "63.50"))
    ]
    assert told.pop("modes") == [{"mode": "test", "payments": 4}]
    assert told.pop("sellers") == [
        {
            "seller_id": str(seller.id),
            "seller": name,
            "currency": currency,
            "orders": orders,
            "gross": gross,
            "refunded": "0",
            "net": gross,
        }
        for seller, name, currency, orders, gross in (
            (second, "Abe", "USD", 1, "50.50"),
            (first, "Zoe", "JPY", 1, "500"),
            (first, "Zoe", "KWD", 1, "1.234"),
            (first, "Zoe", "USD", 2, "13"),
        )
    ]
    checks = told.pop("checks")
    assert [(check["name"], check["claim"]) for check in checks] == [
        tuple(row.values())
        for row in superuser.execute("select name, claim from payments.invariants order by place").fetchall()
    ]
    assert {(check["ok"], check["faults"], str(check["examples"])) for check in checks} == {(True, 0, "[]")}
    assert told == {"simulated": []}


def test_months_that_follow_each_other_count_everything_once(service: Connection, month: dict[str, Any]) -> None:
    assert month
    windows = [(LONG_AGO, SINCE), (SINCE, UNTIL), (UNTIL, datetime(2030, 1, 1, tzinfo=UTC))]

    reports = [scalar(service, "select public.payment_report(%s, %s)", *window) for window in windows]
    whole = scalar(service, "select public.payment_report(%s, %s)", windows[0][0], windows[-1][1])

    def count(told: dict[str, Any]) -> list[int]:
        return [
            sum(one["payments"] for one in told["totals"]),
            sum(one["committed"] for one in told["stock"]),
            sum(one["items"] for one in told["stock"]),
        ]

    assert [sum(part) for part in zip(*map(count, reports), strict=True)] == count(whole)
    assert {len(told["exceptions"]) for told in [*reports, whole]} == {len(whole["exceptions"])}


def test_payment_that_was_set_aside_on_both_sides_of_a_boundary_counts_once_on_its_first_day(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    open_twice, closed_first = wrong(shop.order_group(), "0.60"), wrong(shop.order_group(), "0.70")
    set_aside(service, superuser, open_twice, UNTIL - INSTANT)
    scalar(service, RESOLVE, set_aside(service, superuser, closed_first, UNTIL - INSTANT), "dismissed")
    for payment, amount in ((open_twice, "0.61"), (closed_first, "0.71")):
        twin = payment.but(amount_minor=int(amount[2:]), amount=amount)
        set_aside(service, superuser, twin.twin(), UNTIL)
        set_aside(service, superuser, twin.twin(), UNTIL + timedelta(days=40))

    windows = {
        "before": (LONG_AGO, SINCE),
        "month": (SINCE, UNTIL),
        "next": (UNTIL, UNTIL + timedelta(days=30)),
        "third": (UNTIL + timedelta(days=30), UNTIL + timedelta(days=60)),
        "whole": (LONG_AGO, UNTIL + timedelta(days=60)),
    }
    told = {
        name: scalar(service, "select public.payment_report(%s, %s)", *window)["totals"]
        for name, window in windows.items()
    }

    # Of the second payment an open event tells the sum, though a closed one came first.
    both = {"day": "2026-03-31", "currency": "USD", "outcome": "rejected", "payments": 2, "amount": "1.31"}
    assert told == {"before": [], "month": [both], "next": [], "third": [], "whole": [both]}


def test_ten_examples_of_a_fault_are_told_the_first_by_name(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(1, "1")]] * 12)
    paid(service, superuser, group, SINCE)
    move(superuser, "update public.orders set status = 'cancelled' where order_group_id = %s", group.id)

    told = scalar(service, "select public.payment_report(%s, %s)", SINCE, UNTIL)

    (broken,) = [check for check in told["checks"] if not check["ok"]]
    assert (broken["name"], broken["faults"]) == ("order_follows_its_group", 12)
    assert broken["examples"] == [
        f"order {order_id}: it is cancelled, order group {group.id} is paid"
        for order_id in sorted(group.order_ids)[:10]
    ]


# What happened in the window -> how its time is set; each concerns a group of which all else is long ago.
MARKS: dict[str, LiteralString] = {
    "it waits since then": "update public.order_groups set created_at = %(at)s where id = %(pending)s",
    "it was paid then": "update public.order_groups set paid_at = %(at)s where id = %(group)s;"
    " update public.orders set paid_at = %(at)s where order_group_id = %(group)s",
    "it took a step then": "update public.order_status_changes set changed_at = %(at)s"
    " where order_group_id = %(group)s",
    "it had an event then": "update payments.stripe_events set processed_at = %(at)s where order_group_id = %(group)s",
    "goods came back then": "update public.inventory_ledger set created_at = %(at)s"
    " where order_item_id = %(item)s and entry_type = 'order_return'",
    "it had a case then": "update payments.exceptions set first_seen_at = %(at)s where order_group_id = %(group)s",
}


def test_window_checks_what_happened_in_it_its_beginning_included_and_its_end_not(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, pending = shop.order_group([[(1, "1")]]), shop.order_group([[(1, "1")]])
    payment = paid(service, superuser, group, LONG_AGO)
    set_aside(service, superuser, payment.rival(), LONG_AGO)
    move(superuser, "update public.order_groups set created_at = %s where true", LONG_AGO)
    give_back(service, group.id, [line(group.item_ids[0], 1)])
    move(superuser, "update public.inventory_ledger set created_at = %s where true", LONG_AGO)
    move(superuser, "update public.orders set status = 'cancelled' where true")
    names = {"group": group.id, "item": group.item_ids[0], "pending": pending.id}
    times = {
        "before": SINCE - INSTANT,
        "at the beginning": SINCE,
        "just before the end": UNTIL - INSTANT,
        "at the end": UNTIL,
    }

    told = {}
    for (mark, statement), (when, at) in product(MARKS.items(), times.items()):
        with past_every_guard(superuser, force_rollback=True):
            for one in statement.split(";"):
                superuser.execute(one.encode(), names | {"at": at})
            rows = superuser.execute(
                "select * from payments.broken_invariants_of(%s, %s) where invariant = 'order_follows_its_group'",
                [SINCE, UNTIL],
            ).fetchall()
        told[mark, when] = len(rows)

    assert told == {
        (mark, when): int(when in ("at the beginning", "just before the end")) for mark, when in product(MARKS, times)
    }


def test_window_counts_what_came_back_of_an_item_before_it_and_nothing_twice(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(3, "1")]])
    paid(service, superuser, group, LONG_AGO)
    for _ in range(3):
        give_back(service, group.id, [line(group.item_ids[0], 1)])
    entries = [row["id"] for row in superuser.execute("select id from public.inventory_ledger order by id offset 1")]
    for entry, at in zip(entries, (LONG_AGO, SINCE, UNTIL - INSTANT), strict=True):
        move(superuser, "update public.inventory_ledger set created_at = %s where id = %s", at, entry)
    question: LiteralString = "select * from payments.broken_invariants_of(%s, %s)"

    healthy = superuser.execute(question, [SINCE, UNTIL]).fetchall()
    with past_every_guard(superuser, force_rollback=True):
        superuser.execute("update public.inventory_ledger set quantity_delta = 2 where id = %s", [entries[0]])
        (broken,) = superuser.execute(question, [SINCE, UNTIL]).fetchall()
        of_another = superuser.execute(question, [UNTIL, UNTIL + timedelta(days=30)]).fetchall()

    assert healthy == of_another == []
    assert broken == {
        "invariant": "order_returns_are_within_the_commit",
        "subject": f"order_item {group.item_ids[0]}",
        "detail": "4 came back of 3",
    }
