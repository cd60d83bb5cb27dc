"""`payment_report()`: what an accountant is told is what the rows say, in one snapshot, without a buyer."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from sql_tests.goods import give_back, line
from testkit.database import Connection, past_every_guard, scalar
from testkit.payments import Payment
from testkit.payments import reconcile as reconcile_as_made
from testkit.refunds import Refund, record
from testkit.shop import Shop

NOW = datetime.now(UTC)


def reconcile(connection: Connection, payment: Payment) -> dict[str, Any]:
    """The event was made just now."""
    return reconcile_as_made(connection, payment.but(event_created=NOW))


def report(connection: Connection, *, days: int = 1) -> dict[str, Any]:
    since, until = NOW - timedelta(days=days), NOW + timedelta(days=days)
    told: dict[str, Any] = scalar(connection, "select public.payment_report(%s, %s)", since, until)
    return told


def totals(told: dict[str, Any]) -> dict[tuple[str | None, str], tuple[int, str | None]]:
    return {(one["currency"], one["outcome"]): (one["payments"], one["amount"]) for one in told["totals"]}


def test_totals_are_by_day_currency_and_outcome_and_exact(service: Connection, shop: Shop) -> None:
    dollars, yen, dinar = (
        shop.order_group(),
        shop.order_group([[(2, "500")]], currency="JPY"),
        shop.order_group([[(1, "1.230")]], currency="KWD"),
    )
    for group in (dollars, yen, dinar, shop.order_group()):
        reconcile(service, group.payment())
    twin = shop.order_group().payment()
    reconcile(service, twin)
    reconcile(service, twin.twin())
    reconcile(service, dollars.payment())
    reconcile(service, shop.order_group().payment().but(order_group_id=None, unmatched_reason="missing_reference"))

    told = report(service)

    assert totals(told) == {
        ("USD", "applied"): (3, "222.72"),
        ("USD", "already_paid"): (1, None),
        ("USD", "rejected"): (1, "74.24"),
        ("USD", "unmatched"): (1, "74.24"),
        ("JPY", "applied"): (1, "1000"),
        ("KWD", "applied"): (1, "1.230"),
    }
    assert {one["day"] for one in told["totals"]} <= {(NOW + timedelta(days=d)).date().isoformat() for d in (0, 1)}


def test_what_was_simulated_is_no_money_and_apart(service: Connection, shop: Shop) -> None:
    real, played = shop.order_group().payment(), shop.order_group().payment()
    played = played.but(checkout_session_id="cs_test_sim_1", payment_intent_id="pi_sim_1")
    rejected = shop.order_group().payment().but(
        checkout_session_id="cs_test_sim_2", payment_intent_id="pi_sim_2", amount_minor=1, amount="0.01"
    )  # fmt: skip
    for payment in (real, played, played.twin(), rejected):
        reconcile(service, payment)
    refund: LiteralString = (
        "select public.record_refund(%s, %s, 424, 4.24, 'usd', 'succeeded', %s, p_livemode => false)"
    )
    service.execute(refund, ["re_sim_1", "pi_sim_1", NOW])
    service.execute(refund, ["re_sim_2", "pi_sim_of_no_payment", NOW])

    told = report(service)
    lines = scalar(service, "select public.payment_lines(%s, %s)", told["since"], told["until"])

    assert totals(told) == {("USD", "applied"): (1, "74.24"), ("USD", "simulated"): (2, "74.25")}
    assert sum(day["lines"] for day in told["days"]) == len(lines)
    assert Counter(line["kind"] for line in lines if line["kind"].endswith(("payment", "rejected", "refund"))) == {
        "payment": 1,
        "simulated_payment": 1,
        "simulated_rejected": 1,
        "simulated_refund": 2,
    }
    assert told["money"] == [{"currency": "USD", "gross": "74.24", "refunded": "0", "net": "74.24"}]
    assert told["simulated"] == [{"currency": "USD", "gross": "74.24", "refunded": "4.24", "net": "70.00"}]
    assert sum(Decimal(one["gross"]) for one in told["sellers"]) == Decimal("74.24")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e19", "-1e999"])
def test_amount_that_is_no_money_adds_nothing(
    service: Connection, superuser: Connection, shop: Shop, amount: str
) -> None:
    payment = shop.order_group().payment()
    for one in (payment, shop.order_group().payment()):
        assert reconcile(service, one)["outcome"] == "applied"
    with past_every_guard(superuser):
        superuser.execute("update payments.stripe_events set amount = %s where id = %s", [amount, payment.event_id])

    told = report(service)

    assert totals(told) == {("USD", "applied"): (2, "74.24")}
    assert {check["name"] for check in told["checks"] if not check["ok"]} == {
        "event_amount_agrees_with_its_minor_units",
        "paid_total_is_what_was_charged",
    }


def test_two_events_of_one_payment_that_were_set_aside_are_one_sum(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment().but(amount_minor=100, amount="1.00")
    reconcile(service, payment)
    reconcile(service, payment.twin())

    assert totals(report(service)) == {("USD", "rejected"): (1, "1.00")}


def test_what_was_applied_after_all_is_counted_once_and_what_was_resolved_apart(
    service: Connection, shop: Shop
) -> None:
    group = shop.order_group([], total_amount=shop.order_group().total_amount)
    payment = group.payment()
    reconcile(service, payment)
    order_id = shop.add_order(group.id, shop.sellers[0], group.total_amount)
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, group.total_amount)
    reconcile(service, payment)
    reconcile(service, group.payment())
    (exception,) = service.execute("select id from public.list_payment_exceptions()").fetchall()
    scalar(service, "select public.resolve_payment_exception(%s, 'refunded', 'ada', 'twice')", exception["id"])

    told = report(service)

    assert totals(told) == {("USD", "applied"): (1, "74.24"), ("USD", "resolved"): (1, "74.24")}
    assert told["exceptions"] == []


@pytest.mark.parametrize("reason", ["amount_mismatch", "event_collision", "payment_already_used"])
def test_payment_that_paid_is_no_other_money_where_a_later_event_of_it_does_not_fit(
    service: Connection, shop: Shop, reason: str
) -> None:
    paid = shop.order_group().payment()
    later = {
        "amount_mismatch": paid.twin().but(amount_minor=7425, amount="74.25"),
        "event_collision": paid.but(amount_minor=7425, amount="74.25"),
        "payment_already_used": paid.twin().but(order_group_id=shop.order_group().id),
    }[reason]

    assert reconcile(service, paid)["outcome"] == "applied"
    assert reconcile(service, later)["reason"] == reason

    told = report(service)
    assert totals(told) == {("USD", "applied"): (1, "74.24")}
    assert [one["reason"] for one in told["exceptions"]] == [reason]


def test_payment_that_paid_is_no_other_money_where_a_person_had_closed_its_first_event(
    service: Connection, shop: Shop
) -> None:
    group = shop.order_group([], total_amount=shop.order_group().total_amount)
    payment = group.payment()
    reconcile(service, payment)
    (exception,) = service.execute("select id from public.list_payment_exceptions()").fetchall()
    scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'why')", exception["id"])
    order_id = shop.add_order(group.id, shop.sellers[0], group.total_amount)
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, group.total_amount)

    assert reconcile(service, payment.twin())["outcome"] == "applied"

    told = report(service)
    lines = scalar(service, "select public.payment_lines(%s, %s)", told["since"], told["until"])
    assert totals(told) == {("USD", "applied"): (1, "74.24")}
    assert [line["kind"] for line in lines] == ["payment", "order"]


def test_the_window_is_half_open_and_open_exceptions_are_told_whenever_they_came(
    service: Connection, shop: Shop
) -> None:
    reconcile(service, shop.order_group().payment())
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))

    past: dict[str, Any] = scalar(
        service, "select public.payment_report(%s, %s)", NOW - timedelta(days=9), NOW - timedelta(days=8)
    )

    assert (past["totals"], past["stock"]) == ([], [])
    (exception,) = past["exceptions"]
    assert (exception["reason"], exception["amount"], exception["currency"]) == ("amount_mismatch", "0.01", "USD")


def test_stock_is_what_was_committed_per_product(service: Connection, shop: Shop) -> None:
    product = shop.sellers[0].product_ids[0]
    scalar(service, "select public.record_inventory_receipt(%s, 10, 'in')", product)
    for _ in range(2):
        reconcile(service, shop.order_group([[(3, "1.00")]]).payment())

    (stock,) = report(service)["stock"]

    assert (stock["product_id"], stock["committed"], stock["items"], stock["on_hand"]) == (str(product), 6, 2, 4)
    assert (stock["seller"], stock["sku"]) == ("Seller 1", "SKU-1")


def test_checks_hold_on_healthy_data_and_a_fault_is_named(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    assert all(check["ok"] for check in report(service)["checks"])

    with past_every_guard(superuser, force_rollback=True):
        superuser.execute("update public.orders set status = 'cancelled' where order_group_id = %s", [group.id])
        broken = [check for check in report(superuser)["checks"] if not check["ok"]]

    assert [(check["name"], check["faults"]) for check in broken] == [("order_follows_its_group", 2)]
    assert len(broken[0]["examples"]) == 2


def test_the_checks_are_the_invariants_in_their_order(service: Connection, superuser: Connection) -> None:
    rows = superuser.execute("select name, claim from payments.invariants order by place").fetchall()

    assert [(check["name"], check["claim"]) for check in report(service)["checks"]] == [
        (row["name"], row["claim"]) for row in rows
    ]


def test_step_of_this_window_for_a_payment_of_an_earlier_one_is_no_fault(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    with past_every_guard(superuser):
        superuser.execute(
            """
            update public.order_groups set paid_at = paid_at - interval '40 days';
            update public.orders set paid_at = paid_at - interval '40 days';
            update public.order_status_changes set changed_at = changed_at - interval '40 days';
            update payments.stripe_events
            set processed_at = processed_at - interval '40 days', created_at = created_at - interval '40 days';
            update public.order_groups
            set stripe_webhook_event_created_at = stripe_webhook_event_created_at - interval '40 days';
            update public.inventory_ledger set created_at = created_at - interval '40 days'
            """
        )
    scalar(service, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])

    told = report(service)

    assert [check for check in told["checks"] if not check["ok"]] == []
    assert (told["totals"], told["stock"]) == ([], [])
    assert [check["faults"] for check in report(service, days=50)["checks"]] == [0] * len(told["checks"])


def test_stock_is_that_of_the_windows_end(service: Connection, superuser: Connection, shop: Shop) -> None:
    product = shop.sellers[0].product_ids[0]
    scalar(service, "select public.record_inventory_receipt(%s, 10, 'in')", product)
    reconcile(service, shop.order_group([[(3, "1.00")]]).payment())
    until = scalar(superuser, "select clock_timestamp()")
    scalar(service, "select public.record_inventory_receipt(%s, 5, 'later')", product)

    then: dict[str, Any] = scalar(service, "select public.payment_report(%s, %s)", NOW - timedelta(days=1), until)

    assert [(row["committed"], row["on_hand"]) for row in then["stock"]] == [(3, 7)]
    assert [(row["committed"], row["on_hand"]) for row in report(service)["stock"]] == [(3, 12)]


def test_payments_are_counted_by_mode(service: Connection, shop: Shop) -> None:
    """Those that were applied; no order, refund, twin, simulation, nor what was set aside."""
    live, test = shop.order_group().payment().but(livemode=True), shop.order_group().payment()
    made_up = shop.order_group().payment().but(checkout_session_id="cs_test_sim_1", payment_intent_id="pi_sim_1")
    aside = shop.order_group().payment().but(livemode=True, amount_minor=1, amount="0.01")
    for one in (live, live.twin(), test, shop.order_group().payment(), made_up, aside):
        reconcile(service, one)
    assert record(service, Refund.of(live, 424, created=NOW))["outcome"] == "recorded"

    assert report(service)["modes"] == [{"mode": "live", "payments": 1}, {"mode": "test", "payments": 2}]
    assert scalar(service, "select public.payment_report('2020-01-01', '2020-02-01')")["modes"] == []


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_closed_month_keeps_a_refund_that_fails_in_the_next(
    service: Connection, superuser: Connection, shop: Shop, end: str
) -> None:
    october, november, december = (datetime(2025, month, 1, tzinfo=UTC) for month in (10, 11, 12))
    windows = {"closed": (october, november), "next": (november, december), "both": (october, december)}
    payment = shop.order_group([[(1, "74.24")]]).payment().but(event_created=datetime(2025, 10, 5, tzinfo=UTC))
    reconcile_as_made(service, payment)
    back = Refund.of(payment, 424, id="re_1", created=datetime(2025, 10, 31, 23, 59, tzinfo=UTC))
    # Neither of these has ever succeeded.
    pending, never = back.but(id="re_2", status="pending"), back.but(id="re_3", status="failed")
    for one in (back, pending, never, pending.then(end)):
        assert record(service, one)["outcome"] == "recorded"

    def told(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        report = scalar(service, "select public.payment_report(%s, %s)", *windows[name])
        del report["generated_at"]
        return report, scalar(service, "select public.payment_lines(%s, %s)", *windows[name])

    closed = told("closed")
    assert record(service, back.then(end))["outcome"] == "recorded"
    with past_every_guard(superuser):
        superuser.execute(
            "update payments.refund_status_changes set changed_at = %s where to_status in ('failed', 'canceled')",
            [november],
        )

    assert told("closed") == closed
    assert {name: told(name)[0]["money"] for name in windows} == {
        "closed": [{"currency": "USD", "gross": "74.24", "refunded": "4.24", "net": "70.00"}],
        "next": [{"currency": "USD", "gross": "0", "refunded": "-4.24", "net": "4.24"}],
        "both": [{"currency": "USD", "gross": "74.24", "refunded": "0.00", "net": "74.24"}],
    }
    assert [(one["kind"], one["id"], one["amount"]) for one in told("closed")[1]] == [
        ("payment", payment.event_id, "74.24"),
        ("order", closed[1][1]["id"], "74.24"),
        ("refund", "re_1", "-4.24"),
    ]
    (failure,) = told("next")[1]
    assert failure == {
        **closed[1][2],
        "at": "2025-11-01T00:00:00+00:00",
        "day": "2025-11-01",
        "kind": "refund_failed",
        "amount": "4.24",
    }
    assert told("closed")[1] + told("next")[1] == told("both")[1]


def test_no_buyer_and_no_metadata_are_in_it(service: Connection, shop: Shop) -> None:
    reconcile(service, shop.order_group().payment().but(session_metadata={"email": "jenny@example.test"}))
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))

    text = json.dumps(report(service))

    assert "jenny" not in text
    assert str(shop.buyer_id) not in text
    assert "session_metadata" not in text


@pytest.mark.parametrize(("since", "until"), [(NOW, NOW), (NOW, NOW - timedelta(1)), (None, NOW), (NOW, None)])
def test_a_window_that_is_none_is_refused(service: Connection, since: datetime | None, until: datetime | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="begins before it ends"):
        service.execute("select public.payment_report(%s, %s)", [since, until])


def test_stock_that_came_back_and_was_corrected_is_told_with_who_and_why(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(3, "1"), (2, "1")]])
    reconcile(service, group.payment())
    give_back(service, group.id, [line(group.item_ids[0], 2)])
    product = shop.sellers[0].product_ids[1]
    for quantity, note in ((-2, "broken"), (1, "found")):
        scalar(service, "select public.record_inventory_adjustment(%s, %s, %s)", product, quantity, note)
    with past_every_guard(superuser):
        superuser.execute(
            "insert into public.inventory_ledger"
            " (product_id, seller_id, entry_type, quantity_delta, note, created_at)"
            " values (%s, %s, 'adjustment', 9, 'long ago', now() - interval '9 days')",
            [product, shop.sellers[0].id],
        )

    told = report(service)

    keys = ("opening", "received", "committed", "returned", "corrected", "items", "on_hand", "oversold")
    assert [tuple(row[key] for key in keys) for row in told["stock"]] == [
        (0, 0, 3, 2, 0, 1, -1, 1),
        (9, 0, 2, 0, -1, 1, 6, 0),
    ]
    times = [row.pop("at") for row in told["adjustments"]]
    assert times == sorted(times, reverse=True)
    assert told["adjustments"] == [
        {
            "product_id": str(product),
            "seller": "Seller 1",
            "sku": "SKU-2",
            "product": "Product 2 of seller 1",
            "quantity_delta": quantity,
            "recorded_by": "service_role",
            "note": note,
        }
        for quantity, note in ((1, "found"), (-2, "broken"))
    ]


def test_days_of_money_are_stripes_whatever_our_clock_says(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """Both were processed today; Stripe made one event yesterday, and of the other it did not say."""
    yesterday = NOW - timedelta(days=1)
    for made in (yesterday, None):
        reconcile_as_made(service, shop.order_group([[(1, "1")]]).payment().but(event_created=made))
        wrong = shop.order_group([[(1, "2")]]).payment().but(event_created=made, amount_minor=3, amount="0.03")
        reconcile_as_made(service, wrong)

    (today,) = superuser.execute("select (now() at time zone 'UTC')::date as day").fetchall()
    days = [(one["day"], one["outcome"], one["amount"]) for one in report(service, days=3)["totals"]]

    assert days == [
        (day, outcome, amount)
        for day in (yesterday.date().isoformat(), today["day"].isoformat())
        for outcome, amount in (("applied", "1"), ("rejected", "0.03"))
    ]
