"""Which rule decides where a payment breaks several."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from local_stack.supabase_cli import REPOSITORY
from sql_tests.settling import settle
from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop

pytestmark = pytest.mark.usefixtures("each_way")

# The reasons of a rejection, the first that holds decides.
REASONS = (
    "order_group_not_found",
    "order_group_not_payable",
    "order_group_empty",
    "amount_missing",
    "currency_unsupported",
    "amount_normalization_mismatch",
    "currency_mismatch",
    "amount_mismatch",
    "totals_inconsistent",
    "duplicate_payment",
    "payment_already_used",
)

# How a payment's amount, its currency and its payment intent may be wrong, and which reasons each gives.
AMOUNTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "right": ({}, set()),
    "none": ({"amount_minor": None, "amount": None}, {"amount_missing"}),
    "none in minor units": ({"amount_minor": None}, {"amount_missing"}),
    "in other major units": ({"amount": "7"}, {"amount_normalization_mismatch"}),
    "another": ({"amount_minor": 1, "amount": "0.01"}, {"amount_mismatch"}),
    "another, in other major units": (
        {"amount_minor": 1, "amount": "7"},
        {"amount_normalization_mismatch", "amount_mismatch"},
    ),
}
CURRENCIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "right": ({}, set()),
    "none": ({"currency": None}, {"currency_unsupported", "currency_mismatch"}),
    "unknown": ({"currency": "xxx"}, {"currency_unsupported", "currency_mismatch"}),
    "another": ({"currency": "eur"}, {"currency_mismatch"}),
}
# How the group may be wrong.
GROUPS: dict[str, set[str]] = {
    "right": set(),
    "unknown": {"order_group_not_found"},
    "of another total": {"totals_inconsistent"},
    "empty": {"order_group_empty", "totals_inconsistent"},
    "with an empty order": {"order_group_empty"},
    "cancelled": {"order_group_not_payable"},
    "cancelled and empty": {"order_group_not_payable", "order_group_empty", "totals_inconsistent"},
    "refunded": {"order_group_not_payable", "duplicate_payment"},
    "paid by another payment": {"duplicate_payment"},
}


def group_that_is(what: str, service: Connection, shop: Shop) -> OrderGroup:
    if what == "of another total":
        return shop.order_group(total_amount=Decimal("70.00"))
    if "empty" in what:
        orders = [[(1, "5.00")], []] if what == "with an empty order" else []
        group = shop.order_group(orders, total_amount=Decimal("5.00"))
    else:
        group = shop.order_group()
    if "cancelled" in what:
        settle(service, group, "cancelled")
    elif what in ("refunded", "paid by another payment"):
        settle(service, group, "refunded" if what == "refunded" else "paid")
    return group


@pytest.mark.parametrize("what", GROUPS)
def test_first_reason_that_holds_decides_from_the_very_first(service: Connection, shop: Shop, what: str) -> None:
    used = shop.order_group().payment()
    reconcile(service, used)
    told, expected = {}, {}

    for amount, currency, is_used in product(AMOUNTS, CURRENCIES, (True, False)):
        group = group_that_is(what, service, shop)
        wrong = GROUPS[what] | AMOUNTS[amount][1] | CURRENCIES[currency][1]
        payment = group.payment().but(**AMOUNTS[amount][0], **CURRENCIES[currency][0])
        if what == "unknown":
            payment = payment.but(order_group_id=uuid4())
        if is_used:
            payment = payment.but(payment_intent_id=used.payment_intent_id)
            wrong = wrong | {"payment_already_used"}
        case = (amount, currency, is_used)
        told[case] = reconcile(service, payment)["reason"]
        expected[case] = next((reason for reason in REASONS if reason in wrong), None)

    assert told == expected


def test_the_contract_lists_the_reasons_in_the_order_of_their_rules() -> None:
    text = (REPOSITORY / "docs" / "contract.md").read_text()
    table = text.partition("| reason of a rejection |")[2].partition("\n\n")[0]
    listed = re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|$)", table, re.MULTILINE)

    assert tuple(listed[listed.index("order_group_not_found") : listed.index("payment_refunded")]) == REASONS


def test_no_rule_looks_at_the_session_metadata_which_may_be_empty(superuser: Connection) -> None:
    """RELAY_METADATA_KEYS and an erasure empty them. Read are the bodies of the judgement and of all that it calls."""
    bodies = {
        row["name"]: row["body"]
        for row in superuser.execute(
            "select p.proname as name, p.prosrc as body from pg_catalog.pg_proc as p"
            " where p.pronamespace = 'payments'::regnamespace"
        ).fetchall()
    }

    judging: set[str] = set()
    found = {"judge", "judge_taken"}
    while found - judging:
        judging |= found
        found = {name for caller in judging for name in re.findall(r"\bpayments\.(\w+)\(", bodies[caller])}

    assert judging >= {"is_same_event", "has_paid_another_group", "exceptions_of_payment", "is_all_back"}
    assert [name for name in sorted(judging) if "metadata" in bodies[name]] == []


def test_what_is_known_of_an_event_comes_before_every_reason(service: Connection, shop: Shop) -> None:
    """Replayed, resolved, collision, and only then what the event is like."""
    payment = shop.order_group().payment()
    reconcile(service, payment)
    other = payment.but(amount_minor=1, amount="0.01")
    nameless = payment.but(order_group_id=None, unmatched_reason="missing_reference")

    collisions = [reconcile(service, one) for one in (other, nameless, other.but(order_group_id=uuid4()))]
    (case,) = service.execute("select id from public.list_payment_exceptions()").fetchall()
    scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada')", case["id"])

    assert {(told["outcome"], told["reason"]) for told in collisions} == {("rejected", "event_collision")}
    assert [reconcile(service, one)["outcome"] for one in (other, nameless, payment)] == [
        "resolved",
        "resolved",
        "replayed",
    ]


def test_word_that_is_missing_comes_before_a_group_that_is_closed(service: Connection, shop: Shop) -> None:
    """An event that names no group is unmatched, whatever else is wrong with it, until its case is closed."""
    payment = (
        shop.order_group()
        .payment()
        .but(order_group_id=None, unmatched_reason="conflicting_references", amount_minor=None, currency="xxx")
    )

    first = reconcile(service, payment)
    (case,) = service.execute("select id from public.list_payment_exceptions()").fetchall()
    scalar(service, "select public.resolve_payment_exception(%s, 'refunded', 'ada')", case["id"])

    assert (first["outcome"], first["reason"]) == ("unmatched", "conflicting_references")
    assert reconcile(service, payment)["outcome"] == "resolved"


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
