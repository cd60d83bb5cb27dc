"""What another account was paid pays nothing here, whichever group its session names."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.database import Connection, Row, scalar
from testkit.payments import Payment
from testkit.previewed import preview, reconcile
from testkit.shop import OrderGroup, Shop

CASE = "select * from payments.exceptions where stripe_event_id = %s"


def foreign(group: OrderGroup, spelled: str | None = None) -> Payment:
    """A seller's own sale, whose session names the platform's group."""
    return group.payment().but(
        order_group_id=None,
        unmatched_reason="foreign_account",
        account="acct_seller",
        session_metadata={"order_group_id": spelled or str(group.id)},
    )


def case_of(superuser: Connection, payment: Payment) -> Row:
    row = superuser.execute(CASE, [payment.event_id]).fetchone()
    assert row is not None
    return row


def test_foreign_payment_is_kept_whole_with_account_and_named_group(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = foreign(group := shop.order_group())

    verdict = reconcile(service, payment)

    assert verdict == {
        "outcome": "unmatched",
        "reason": "foreign_account",
        "order_group_id": None,
        "stripe_event_id": payment.event_id,
        "orders_paid": 0,
        "ledger_entries": 0,
    }
    case = case_of(superuser, payment)
    assert (case["order_group_id"], case["status"], case["attempts"]) == (None, "open", 1)
    assert case["details"] == {
        "expected": None,
        "named_order_group_id": str(group.id),
        "received": {
            "event_type": payment.event_type,
            "event_created_at": "2026-11-01T12:00:00+00:00",
            "livemode": False,
            "order_group_id": None,
            "checkout_session_id": payment.checkout_session_id,
            "payment_intent_id": payment.payment_intent_id,
            "amount_minor": "7424",
            "amount": "74.24",
            "currency": "USD",
            "session_metadata": {"order_group_id": str(group.id)},
            "source": "webhook",
            "account": "acct_seller",
        },
    }
    assert scalar(superuser, "select status from public.order_groups") == "pending"
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == 0


def test_named_group_is_read_however_it_is_spelled(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    named = {}
    for spelled in (
        str(group.id).upper(),
        group.id.hex,
        f" {group.id} ",
        f"\t{group.id}\r\n",
        "cart-17",
        f"{group.id}0",
    ):
        payment = foreign(group, spelled)
        reconcile(service, payment)
        named[spelled] = case_of(superuser, payment)["details"]["named_order_group_id"]

    assert list(named.values()) == [str(group.id)] * 4 + [None] * 2


@pytest.mark.parametrize("shared", [(), ("checkout_session_id", "payment_intent_id"), ("event_id",)])
@pytest.mark.parametrize("resolution", [None, "dismissed", "refunded"])
def test_buyers_own_payment_is_applied_as_if_nothing_had_been(
    service: Connection, superuser: Connection, shop: Shop, shared: tuple[str, ...], resolution: str | None
) -> None:
    theirs = foreign(group := shop.order_group())
    reconcile(service, theirs)
    case = case_of(superuser, theirs)
    if resolution:
        scalar(service, "select public.resolve_payment_exception(%s, %s, 'ada', 'theirs')", case["id"], resolution)
    own = group.payment().but(**{name: getattr(theirs, name) for name in shared})

    verdict = reconcile(service, own)

    # A person's word on an event id is final, whatever comes under it.
    expected = ("resolved", 0) if resolution and "event_id" in shared else ("applied", 5)
    assert (verdict["outcome"], verdict["ledger_entries"]) == expected
    after = case_of(superuser, theirs)
    applied_itself = "event_id" in shared and not resolution
    assert after["resolution"] == ("reconciled" if applied_itself else resolution)
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


def test_foreign_money_after_the_buyers_own_changes_nothing(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    own = (group := shop.order_group()).payment()
    reconcile(service, own)
    theirs = foreign(group).but(checkout_session_id=own.checkout_session_id, payment_intent_id=own.payment_intent_id)

    answers = [reconcile(service, payment) for payment in (theirs, own.twin(), own)]

    assert [answer["outcome"] for answer in answers] == ["unmatched", "already_paid", "replayed"]
    assert case_of(superuser, theirs)["status"] == "open"


@pytest.mark.parametrize("first", ["own", "foreign"])
def test_known_event_with_another_account_is_a_collision(service: Connection, shop: Shop, first: str) -> None:
    group = shop.order_group()
    own = group.payment().but(account=None if first == "own" else "acct_own")
    reconcile(service, own)

    answers = [
        reconcile(service, own.but(account="acct_another")),
        reconcile(service, foreign(group).but(event_id=own.event_id)),
        reconcile(service, own),
    ]

    assert [(answer["outcome"], answer["reason"]) for answer in answers] == [
        ("rejected", "event_collision"),
        ("rejected", "event_collision"),
        ("replayed", None),
    ]


def test_account_that_is_one_of_ours_after_all_closes_its_own_cases(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    first = foreign(group := shop.order_group())
    second = first.twin()
    reconcile(service, first)
    reconcile(service, second)

    answer = reconcile(service, second.but(order_group_id=group.id, unmatched_reason=None))

    assert answer["outcome"] == "applied"
    assert [case_of(superuser, one)["resolution"] for one in (first, second)] == ["reconciled", "reconciled"]


def test_story_of_the_named_group_tells_the_foreign_payment(service: Connection, shop: Shop) -> None:
    group, other = shop.order_group(), shop.order_group()
    theirs = foreign(group)
    reconcile(service, theirs)

    def story(of: OrderGroup) -> dict[str, Any]:
        told: dict[str, Any] = scalar(service, "select public.explain_order_group(%s)", of.id)
        return told

    told = story(group)
    (entry,) = [one for one in told["timeline"] if one["kind"] == "payment_exception"]
    assert (entry["reason"], entry["details"]["received"]["account"]) == ("foreign_account", "acct_seller")
    assert told["verdict"] == "Pending: only another Stripe account was paid for it, which pays nothing here."
    assert told["open_exceptions"] == 0
    assert story(other)["verdict"].startswith("Pending: no payment has been recorded")


def test_persons_word_on_foreign_money_is_none_on_the_payment_of_the_same_session(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    theirs = foreign(group := shop.order_group())
    reconcile(service, theirs)
    scalar(
        service,
        "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'theirs')",
        case_of(superuser, theirs)["id"],
    )
    own = group.payment().but(checkout_session_id=theirs.checkout_session_id)

    told = preview(service, [theirs, own])

    assert [(one["outcome"], one["resolved"]) for one in told] == [("resolved", True), ("applied", False)]
