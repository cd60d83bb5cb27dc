"""What operators see and do: exceptions, cancelling and explaining."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from relay.core.outcomes import REASONS_OF, Outcome
from testkit.database import Connection, Database, Row, scalar
from testkit.payments import reconcile
from testkit.shop import Shop


def wrong_amount(service: Connection, shop: Shop) -> Row:
    """An open exception, as operators see it."""
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))
    return service.execute("select * from public.list_payment_exceptions()").fetchall()[-1]


def resolve(service: Connection, exception_id: Any, resolution: str | None = "refunded", by: str | None = "ada") -> Row:
    row: Row = scalar(
        service, "select public.resolve_payment_exception(%s, %s, %s, ' told the buyer ')", exception_id, resolution, by
    )
    return row


def test_open_exceptions_are_listed_oldest_first_with_what_was_expected_and_what_came(
    service: Connection, shop: Shop
) -> None:
    first, second = wrong_amount(service, shop), wrong_amount(service, shop)

    rows = service.execute("select * from public.list_payment_exceptions()").fetchall()

    assert [row["id"] for row in rows] == [first["id"], second["id"]]
    assert rows[0]["details"]["expected"]["total_amount"] == "74.24"
    assert rows[0]["details"]["received"]["amount_minor"] == "1"
    assert rows[0]["details"]["received"]["amount"] == "0.01"


def test_lists_tell_open_from_resolved(service: Connection, shop: Shop) -> None:
    first, second = wrong_amount(service, shop), wrong_amount(service, shop)
    resolve(service, first["id"])

    seen = {
        status: [row["id"] for row in service.execute("select * from public.list_payment_exceptions(%s)", [status])]
        for status in ("open", "resolved", "all")
    }

    assert seen == {"open": [second["id"]], "resolved": [first["id"]], "all": [first["id"], second["id"]]}
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        service.execute("select * from public.list_payment_exceptions('closed')")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        service.execute("select * from public.list_payment_exceptions(null)")


def test_a_list_holds_what_its_parameters_ask_for(service: Connection, owner: Connection, shop: Shop) -> None:
    rows = [wrong_amount(service, shop) for _ in range(3)]
    resolve(service, rows[1]["id"])
    reconcile(service, shop.order_group().payment().but(currency="eur"))
    ids = [*(row["id"] for row in rows), max(row["id"] for row in rows) + 1]
    for place, id_ in enumerate(ids):
        owner.execute(
            "update payments.exceptions set first_seen_at = %s where id = %s", [f"2026-01-0{place + 1}T00:00Z", id_]
        )
    first, second, third, fourth = ids
    asked: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [first, third, fourth]),
        ({"p_status": "all"}, ids),
        ({"p_id": third}, [third]),
        ({"p_id": second}, []),
        ({"p_status": "all", "p_id": second}, [second]),
        ({"p_event": rows[2]["stripe_event_id"]}, [third]),
        ({"p_sessions": [rows[2]["checkout_session_id"], rows[0]["checkout_session_id"], "cs_x"]}, [first, third]),
        ({"p_sessions": []}, []),
        ({"p_reason": "currency_mismatch"}, [fourth]),
        ({"p_reason": "amount_mismatch", "p_limit": 1}, [first]),
        ({"p_limit": 0}, []),
        ({"p_before": "2026-01-03T00:00Z"}, [first]),
        ({"p_status": "all", "p_before": "2026-01-03T00:00:01Z", "p_limit": 2}, [first, second]),
        ({"p_reason": "no_such_reason"}, []),
    ]

    for parameters, expected in asked:
        named = ", ".join(f"{name} => %s" for name in parameters)
        told = service.execute(
            f"select id from public.list_payment_exceptions({named})".encode(), [*parameters.values()]
        )
        assert [row["id"] for row in told] == expected, parameters

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_limit must not be negative"):
        service.execute("select * from public.list_payment_exceptions(p_limit => -1)")


def test_resolving_records_who_when_what_and_why(service: Connection, superuser: Connection, shop: Shop) -> None:
    exception = wrong_amount(service, shop)

    answer = resolve(service, exception["id"], "fixed_by_hand", " ada@shop ")

    kept = superuser.execute("select * from payments.exceptions").fetchone()
    assert kept is not None
    assert (kept["status"], kept["resolution"], kept["resolved_by"], kept["note"]) == (
        "resolved",
        "fixed_by_hand",
        "ada@shop",
        "told the buyer",
    )
    assert kept["resolved_at"] >= kept["last_seen_at"]
    assert answer["id"] == kept["id"]
    assert answer["status"] == "resolved"


@pytest.mark.parametrize(
    ("resolution", "by"), [("paid", "ada"), ("reconciled", "ada"), (None, "ada"), ("refunded", " "), ("refunded", None)]
)
def test_resolution_without_sense_is_refused(
    db: Database, service: Connection, shop: Shop, resolution: str | None, by: str | None
) -> None:
    exception = wrong_amount(service, shop)
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        resolve(service, exception["id"], resolution, by)

    assert db.snapshot() == before


def test_exception_is_resolved_once(db: Database, service: Connection, shop: Shop) -> None:
    exception = wrong_amount(service, shop)
    resolve(service, exception["id"])
    before = db.snapshot()

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="closed as refunded by ada"):
        resolve(service, exception["id"], "dismissed", "bob")
    with pytest.raises(psycopg.errors.NoDataFound):
        resolve(service, -1)
    with pytest.raises(psycopg.errors.NoDataFound):
        resolve(service, None)

    assert db.snapshot() == before


def test_cancelling_a_pending_group_cancels_its_orders(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()

    answer = scalar(service, "select public.cancel_order_group(%s)", group.id)
    again = scalar(service, "select public.cancel_order_group(%s)", group.id)

    assert answer == {
        "outcome": "cancelled",
        "reason": None,
        "order_group_id": str(group.id),
        "orders_cancelled": 2,
    }
    assert (again["outcome"], again["orders_cancelled"]) == ("already_cancelled", 0)
    assert scalar(superuser, "select status from public.order_groups") == "cancelled"
    orders = superuser.execute("select status, paid_at from public.orders").fetchall()
    assert orders == [{"status": "cancelled", "paid_at": None}] * 2


@pytest.mark.parametrize(
    ("awaited", "ended", "reason"),
    [
        (None, "cs_test_a", None),
        ("cs_test_a", "cs_test_a", None),
        ("cs_test_a", " cs_test_a ", None),
        ("cs_test_a", None, None),
        ("cs_test_a", "", None),
        ("cs_test_a", "cs_test_b", "order_group_awaits_another_session"),
    ],
)
def test_ended_session_cancels_only_the_group_that_awaits_no_other(
    db: Database, service: Connection, shop: Shop, awaited: str | None, ended: str | None, reason: str | None
) -> None:
    group = shop.order_group()
    if awaited:
        scalar(service, "select public.note_awaiting_funds(%s, %s, 'evt_1', '2026-11-01 12:00Z')", group.id, awaited)
    before = db.snapshot()

    answer = scalar(service, "select public.cancel_order_group(%s, %s)", group.id, ended)

    assert answer == {
        "outcome": "rejected" if reason else "cancelled",
        "reason": reason,
        "order_group_id": str(group.id),
        "orders_cancelled": 0 if reason else 2,
    }
    assert (db.snapshot() == before) is (reason is not None)


def test_paid_group_is_not_cancelled(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    before = db.snapshot()

    answer = scalar(service, "select public.cancel_order_group(%s)", group.id)
    unknown = scalar(service, "select public.cancel_order_group(%s)", uuid4())

    assert (answer["outcome"], answer["reason"]) == ("rejected", "order_group_not_pending")
    assert (unknown["outcome"], unknown["reason"]) == ("rejected", "order_group_not_found")
    assert db.snapshot() == before


def explain(service: Connection, group_id: Any) -> Row:
    story: Row = scalar(service, "select public.explain_order_group(%s)", group_id)
    return story


def test_explanation_tells_the_whole_story_in_order(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    reconcile(service, payment)
    reconcile(service, payment.twin())
    reconcile(service, payment.rival())

    story = explain(service, group.id)

    assert [entry["kind"] for entry in story["timeline"]] == [
        "order_group_created",
        "payment_exception",
        "stripe_event",
        *["status_change"] * 3,
        *["inventory_ledger"] * 5,
        "stripe_event",
        "payment_exception",
    ]
    assert [e["reason"] for e in story["timeline"] if e["kind"] == "payment_exception"] == [
        "amount_mismatch",
        "duplicate_payment",
    ]
    assert [e["outcome"] for e in story["timeline"] if e["kind"] == "stripe_event"] == ["applied", "already_paid"]
    assert all(entry["rule"] for entry in story["timeline"])
    assert [e["rule"] for e in story["timeline"] if e["kind"] == "payment_exception"] == [
        "the payment is not the order group's total",
        "another payment had paid the order group: this one is owed back",
    ]
    assert [entry["at"] for entry in story["timeline"]] == sorted(entry["at"] for entry in story["timeline"])
    assert story["order_group"]["total_amount"] == "74.24"
    assert story["verdict"] == f"Paid by event {payment.event_id}."
    assert story["open_exceptions"] == 1
    assert sorted(len(order["items"]) for order in story["orders"]) == [2, 3]


def test_explanation_of_groups_that_are_not_paid(service: Connection, shop: Shop) -> None:
    waiting, refused, cancelled = shop.order_group(), shop.order_group(), shop.order_group()
    reconcile(service, refused.payment().but(amount_minor=1, amount="0.01"))
    scalar(service, "select public.cancel_order_group(%s)", cancelled.id)
    reconcile(service, cancelled.payment())

    assert explain(service, waiting.id)["verdict"] == (
        "Pending: no payment has been recorded. A delivery that failed before a verdict leaves no row here:"
        " the relay's log and Stripe's list of deliveries tell of it."
    )
    assert explain(service, refused.id)["verdict"] == "Pending: a payment came but could not be applied."
    assert explain(service, cancelled.id)["verdict"] == "It is cancelled, and a payment came that needs a person."
    assert explain(service, uuid4())["verdict"] == "There is no such order group."
    assert explain(service, uuid4())["timeline"] == []


def test_reasons_are_those_of_the_relay_each_with_its_outcome_and_a_sentence(superuser: Connection) -> None:
    rows = superuser.execute("select reason, outcome, sentence from payments.reasons").fetchall()

    assert {(row["reason"], row["outcome"]) for row in rows} == {
        (str(reason), str(outcome))
        for outcome in (Outcome.UNMATCHED, Outcome.REJECTED, Outcome.RECORDED)
        for reason in REASONS_OF[outcome]
        if reason is not None
    }
    assert [row["reason"] for row in rows if len(row["sentence"]) < 20] == []


def test_amounts_in_answers_are_text(service: Connection, shop: Shop) -> None:
    """JSON numbers become floats on their way through clients; money must not."""
    exception = wrong_amount(service, shop)
    story = explain(service, exception["order_group_id"])

    assert Decimal(story["order_group"]["total_amount"]) == Decimal("74.24")
    assert isinstance(story["order_group"]["total_amount"], str)
    assert {type(order["total_amount"]) for order in story["orders"]} == {str}
    assert {type(item["unit_amount"]) for order in story["orders"] for item in order["items"]} == {str}


def test_every_earlier_reason_of_an_event_is_kept(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    owner.execute("update public.orders set total_amount = 1 where order_group_id = %s", [group.id])
    reconcile(service, payment)
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    reconcile(service, payment)

    kept = scalar(superuser, "select details from payments.exceptions")
    assert [entry["reason"] for entry in kept["earlier"]] == ["amount_mismatch", "totals_inconsistent"]


def test_every_payload_that_came_under_a_rejected_event_id_is_kept(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
    reconcile(service, payment)

    reconcile(service, payment.but(amount_minor=2, amount="0.02"))

    details = scalar(superuser, "select details from payments.exceptions")
    assert details["received"]["amount_minor"] == "2"
    assert [entry["received"]["amount_minor"] for entry in details["earlier"]] == ["1"]


def test_case_that_came_again_keeps_its_place_in_the_list(service: Connection, shop: Shop) -> None:
    payments = [shop.order_group().payment().but(amount_minor=1, amount="0.01") for _ in range(3)]
    for payment in [*payments, payments[0]]:
        reconcile(service, payment)

    rows = service.execute("select stripe_event_id from public.list_payment_exceptions()").fetchall()

    assert [row["stripe_event_id"] for row in rows] == [payment.event_id for payment in payments]
