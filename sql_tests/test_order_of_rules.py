"""Which rule decides where a payment breaks several."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.shop import Shop

SPOILT: list[tuple[str, dict[str, Any]]] = [
    ("amount_missing", {"amount": None}),
    ("currency_unsupported", {"currency": "xxx"}),
    ("amount_normalization_mismatch", {"amount": "7"}),
    ("currency_mismatch", {"currency": "eur"}),
    ("amount_mismatch", {"amount_minor": 1, "amount": "0.01"}),
]


@pytest.mark.parametrize("place", range(len(SPOILT) - 1))
def test_reasons_are_judged_in_the_order_of_the_contract(service: Connection, shop: Shop, place: int) -> None:
    group = shop.order_group(total_amount=Decimal("70.00"))  # which is not the sum of its orders, the last reason
    first, later = SPOILT[place], SPOILT[place + 1]

    verdict = reconcile(service, group.payment().but(**(later[1] | first[1])))

    assert verdict["reason"] == first[0]


def test_wrong_amount_is_the_reason_before_inconsistent_totals(service: Connection, shop: Shop) -> None:
    group = shop.order_group(total_amount=Decimal("70.00"))

    assert reconcile(service, group.payment().but(**SPOILT[-1][1]))["reason"] == "amount_mismatch"


def test_pending_group_with_an_order_that_is_ahead_of_it_is_not_payable(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    order_id = scalar(
        owner,
        "insert into public.orders (order_group_id, seller_id, total_amount, status, paid_at)"
        " values (%s, %s, 0, 'paid', now()) returning id",
        group.id,
        shop.sellers[0].id,
    )
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, "0")

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_not_payable")
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == 0


def test_event_of_the_same_payment_intent_in_another_session_is_already_paid(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)

    assert reconcile(service, payment.twin().but(checkout_session_id="cs_test_other"))["outcome"] == "already_paid"


@pytest.mark.parametrize("shared", ["payment_intent_id", "checkout_session_id"])
def test_twin_that_shares_the_other_half_of_its_payment_with_another_group_is_rejected(
    service: Connection, superuser: Connection, shop: Shop, shared: str
) -> None:
    payment, other = shop.order_group().payment(), shop.order_group().payment()
    reconcile(service, payment)
    reconcile(service, other)

    verdict = reconcile(service, payment.twin().but(**{shared: getattr(other, shared)}))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "payment_already_used")
    assert scalar(superuser, "select count(*) from payments.stripe_events") == 2
