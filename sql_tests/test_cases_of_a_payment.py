"""The cases of one payment: what is applied under one of its events settles those of the others."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import Payment
from testkit.previewed import reconcile
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("each_way")

SPOILT: dict[str, dict[str, Any]] = {
    "amount": {"amount_minor": 1, "amount": "0.01"},
    "no reference": {"order_group_id": None, "unmatched_reason": "missing_reference"},
    "another group": {"order_group_id": uuid4()},
}


def cases(superuser: Connection) -> dict[str, tuple[Any, ...]]:
    """status, resolution, resolved_by, note of each event's case."""
    rows = superuser.execute("select * from payments.exceptions").fetchall()
    return {x["stripe_event_id"]: (x["status"], x["resolution"], x["resolved_by"], x["note"]) for x in rows}


def resolve(service: Connection, payment: Payment, resolution: str) -> None:
    scalar(
        service,
        "select public.resolve_payment_exception(x.id, %s, 'ada', 'seen') from public.list_payment_exceptions() as x"
        " where x.stripe_event_id = %s",
        resolution,
        payment.event_id,
    )


@pytest.mark.parametrize("lost", [None, "checkout_session_id", "payment_intent_id"])
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_payment_that_is_applied_closes_the_open_cases_of_its_session_or_intent(
    service: Connection, superuser: Connection, shop: Shop, spoilt: dict[str, Any], lost: str | None
) -> None:
    payment = shop.order_group().payment()
    first, stranger = payment.twin().but(**spoilt), payment.rival().but(**spoilt)
    if lost:
        first = first.but(**{lost: "of_another_api_version"})
    reconcile(service, first)
    reconcile(service, stranger)

    assert reconcile(service, payment)["outcome"] == "applied"

    assert cases(superuser) == {
        first.event_id: (
            "resolved",
            "reconciled",
            "reconcile_order_group_payment",
            f"event {payment.event_id} of this payment was applied",
        ),
        stranger.event_id: ("open", None, None, None),
    }
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_event_whose_payment_was_applied_under_another_stays_closed(
    db: Database, service: Connection, shop: Shop, spoilt: dict[str, Any]
) -> None:
    payment = shop.order_group().payment()
    first = payment.twin().but(**spoilt)
    reconcile(service, first)
    reconcile(service, payment)
    before = db.snapshot()

    assert reconcile(service, first)["outcome"] == "resolved"
    assert db.snapshot() == before


def test_event_that_only_repeats_a_payment_leaves_its_other_cases_open(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    odd = payment.twin().but(**SPOILT["amount"])
    reconcile(service, odd)

    assert reconcile(service, payment.twin())["outcome"] == "already_paid"
    assert cases(superuser)[str(odd.event_id)] == ("open", None, None, None)


def test_money_that_has_paid_a_group_cannot_be_called_refunded(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    late = [payment.twin().but(**spoilt) for spoilt in SPOILT.values()]
    by_intent = payment.twin().but(checkout_session_id="cs_other", **SPOILT["no reference"])
    for one in (*late, by_intent):
        reconcile(service, one)
    before = db.snapshot()

    for one in (*late, by_intent):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has paid order group"):
            resolve(service, one, "refunded")

    assert db.snapshot() == before
    for one in (*late, by_intent):
        resolve(service, one, "dismissed")
    assert {status for status, *_ in cases(superuser).values()} == {"resolved"}


def test_second_payment_can_be_called_refunded(service: Connection, superuser: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    rival = payment.rival()
    reconcile(service, rival)

    resolve(service, rival, "refunded")

    assert cases(superuser)[str(rival.event_id)] == ("resolved", "refunded", "ada", "seen")
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_money_that_was_sent_back_pays_nothing_whichever_group_its_case_named(
    service: Connection, superuser: Connection, shop: Shop, spoilt: dict[str, Any]
) -> None:
    payment = shop.order_group().payment()
    first = payment.twin().but(**spoilt)
    reconcile(service, first)
    resolve(service, first, "refunded")

    assert reconcile(service, payment)["outcome"] == "resolved"
    assert scalar(superuser, "select status from public.order_groups") == "pending"

    scalar(
        service,
        "select public.reopen_payment_exception(x.id, 'ada', 'it had not gone')"
        " from public.list_payment_exceptions('all') as x where x.stripe_event_id = %s",
        first.event_id,
    )
    assert reconcile(service, payment)["outcome"] == "applied"
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


def test_case_is_seen_when_it_is_judged_not_when_its_transaction_began(
    db: Database, superuser: Connection, shop: Shop
) -> None:
    with db.act_as("service_role", autocommit=False) as slow:
        slow.execute("select 1")
        payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
        between = scalar(superuser, "select clock_timestamp()")
        reconcile(slow, payment)
        slow.commit()

    assert scalar(
        superuser,
        "select bool_and(first_seen_at > %s and last_seen_at > %s) from payments.exceptions",
        between,
        between,
    )
