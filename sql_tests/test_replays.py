"""Replays change nothing; rejected events are judged afresh; what an operator closed stays closed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.previewed import reconcile
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("each_way")


def test_replay_changes_not_one_row(db: Database, service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    before = db.snapshot()

    verdicts = [reconcile(service, payment) for _ in range(3)]

    assert [(v["outcome"], v["orders_paid"], v["ledger_entries"]) for v in verdicts] == [("replayed", 0, 0)] * 3
    assert db.snapshot() == before


def test_replay_of_a_twin_changes_not_one_row(db: Database, service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    twin = payment.twin()
    reconcile(service, payment)
    reconcile(service, twin)
    before = db.snapshot()

    assert reconcile(service, twin)["outcome"] == "replayed"
    assert db.snapshot() == before


def test_replay_after_fulfilment_does_not_set_the_orders_back(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    for status in ("fulfilled", "shipped", "delivered"):
        service.execute("update public.orders set status = %s where order_group_id = %s", [status, group.id])
    before = db.snapshot()

    assert reconcile(service, payment)["outcome"] == "replayed"
    assert db.snapshot() == before
    assert reconcile(service, payment.twin())["outcome"] == "already_paid"
    assert db.snapshot()["public.orders"] == before["public.orders"]


@pytest.mark.parametrize("change", [{"source": "sweep"}, {"source": "replay"}, {"session_metadata": {"more": "1"}}])
def test_replay_from_another_source_or_relay_version_is_still_a_replay(
    db: Database, service: Connection, shop: Shop, change: dict[str, Any]
) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    before = db.snapshot()

    assert reconcile(service, payment.but(**change))["outcome"] == "replayed"
    assert db.snapshot() == before


@pytest.mark.parametrize(
    "change",
    [
        {"order_group_id": uuid4()},
        {"amount_minor": 1, "amount": "0.01"},
        {"amount_minor": None, "amount": None},
        {"currency": "eur"},
        {"checkout_session_id": "cs_test_other"},
        {"payment_intent_id": "pi_other"},
        {"payment_intent_id": None},
        {"livemode": True},
        {"account": "acct_another"},
        {"event_type": "checkout.session.async_payment_succeeded"},
        {"event_created": datetime(2026, 11, 2, tzinfo=UTC)},
        {"order_group_id": None, "unmatched_reason": "missing_reference"},
    ],
)
def test_known_event_id_with_another_payload_is_a_collision(
    db: Database, service: Connection, superuser: Connection, shop: Shop, change: dict[str, Any]
) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    before = db.snapshot()

    verdict = reconcile(service, payment.but(**change))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "event_collision")
    kept = superuser.execute("select * from payments.exceptions").fetchall()
    assert [(x["stripe_event_id"], x["reason"]) for x in kept] == [(payment.event_id, "event_collision")]
    assert kept[0]["details"]["expected"]["amount_minor"] == str(payment.amount_minor)
    after = db.snapshot()
    assert after.pop("payments.exceptions") != before.pop("payments.exceptions")
    assert after == before
    assert reconcile(service, payment)["outcome"] == "replayed"


def test_known_event_id_for_another_pending_group_is_a_collision(service: Connection, shop: Shop) -> None:
    first, second = shop.order_group(), shop.order_group()
    payment = first.payment()
    reconcile(service, payment)

    verdict = reconcile(service, second.payment().but(event_id=payment.event_id))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "event_collision")


def test_later_attempts_of_a_rejected_event_only_count_it_up(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
    reconcile(service, payment)
    first = superuser.execute("select * from payments.exceptions").fetchone()
    before = db.snapshot()

    verdicts = [reconcile(service, payment) for _ in range(2)]

    assert {(v["outcome"], v["reason"]) for v in verdicts} == {("rejected", "amount_mismatch")}
    last = superuser.execute("select * from payments.exceptions").fetchone()
    assert first is not None
    assert last is not None
    assert last == first | {"attempts": 3, "last_seen_at": last["last_seen_at"]}
    assert last["last_seen_at"] > first["last_seen_at"]
    after = db.snapshot()
    del before["payments.exceptions"], after["payments.exceptions"]
    assert after == before


def test_rejected_event_is_applied_once_its_cause_is_gone_and_its_exception_closes(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    assert reconcile(service, payment)["reason"] == "amount_mismatch"
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])

    verdict = reconcile(service, payment)

    assert (verdict["outcome"], verdict["orders_paid"], verdict["ledger_entries"]) == ("applied", 2, 5)
    closed = superuser.execute("select * from payments.exceptions").fetchone()
    assert closed is not None
    assert (closed["status"], closed["resolution"], closed["attempts"]) == ("resolved", "reconciled", 1)
    assert reconcile(service, payment)["outcome"] == "replayed"


def test_unmatched_event_that_names_its_group_after_all_is_applied_and_its_case_closes(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    unmatched = payment.but(order_group_id=None, unmatched_reason="malformed_reference")
    assert reconcile(service, unmatched)["outcome"] == "unmatched"

    assert reconcile(service, payment)["outcome"] == "applied"

    closed = superuser.execute("select status, resolution from payments.exceptions").fetchall()
    assert closed == [{"status": "resolved", "resolution": "reconciled"}]


def test_case_of_an_event_is_its_own_also_where_the_event_names_another_payment_now(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    unmatched = payment.rival().but(
        event_id=payment.event_id, order_group_id=None, unmatched_reason="malformed_reference"
    )
    assert reconcile(service, unmatched)["outcome"] == "unmatched"

    assert reconcile(service, payment)["outcome"] == "applied"

    closed = superuser.execute("select status, resolution from payments.exceptions").fetchall()
    assert closed == [{"status": "resolved", "resolution": "reconciled"}]


def test_reason_that_changes_is_shown_and_the_earlier_one_is_kept(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    payment = group.payment()
    reconcile(service, payment)
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    verdict = reconcile(service, payment)

    assert verdict["reason"] == "order_group_not_payable"
    kept = superuser.execute("select * from payments.exceptions").fetchone()
    assert kept is not None
    assert (kept["reason"], kept["attempts"]) == ("order_group_not_payable", 2)
    assert [entry["reason"] for entry in kept["details"]["earlier"]] == ["amount_mismatch"]


@pytest.mark.parametrize("resolution", ["refunded", "fixed_by_hand", "dismissed"])
def test_resolved_exception_answers_resolved_and_changes_not_one_row(
    db: Database, service: Connection, owner: Connection, superuser: Connection, shop: Shop, resolution: str
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    exception_id = scalar(superuser, "select id from payments.exceptions")
    scalar(service, "select public.resolve_payment_exception(%s, %s, 'ada', 'sent back')", exception_id, resolution)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    before = db.snapshot()

    verdict = reconcile(service, payment)

    assert (verdict["outcome"], verdict["reason"]) == ("resolved", None)
    assert db.snapshot() == before


def test_resolved_unmatched_event_answers_resolved(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment().but(order_group_id=None, unmatched_reason="missing_reference")
    reconcile(service, payment)
    exception_id = scalar(superuser, "select id from payments.exceptions")
    scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada')", exception_id)
    before = db.snapshot()

    assert reconcile(service, payment)["outcome"] == "resolved"
    assert db.snapshot() == before


def test_collision_of_an_event_that_was_rejected_before_it_was_applied_opens_the_case_again(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    reconcile(service, payment)

    verdict = reconcile(service, payment.but(currency="eur"))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "event_collision")
    kept = superuser.execute("select * from payments.exceptions").fetchone()
    assert kept is not None
    assert (kept["status"], kept["resolution"], kept["reason"]) == ("open", None, "event_collision")
    assert [entry["reason"] for entry in kept["details"]["earlier"]] == ["amount_mismatch"]


def test_exception_that_opens_again_has_lost_the_note_with_which_it_was_closed(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    assert reconcile(service, twin := payment.twin())["outcome"] == "applied"
    kept = superuser.execute("select status, note from payments.exceptions").fetchone()
    assert kept == {"status": "resolved", "note": f"event {twin.event_id} of this payment was applied"}
    assert reconcile(service, payment)["outcome"] == "already_paid"

    assert reconcile(service, payment.but(currency="eur"))["reason"] == "event_collision"

    kept = superuser.execute("select status, note from payments.exceptions").fetchone()
    assert kept == {"status": "open", "note": None}


def test_error_in_the_middle_leaves_nothing_half_done(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    superuser.execute(
        """
        create function public.tg_fail() returns trigger language plpgsql as $$
        begin raise exception 'disk full' using errcode = 'disk_full'; end $$;
        create trigger fail after insert on public.inventory_ledger for each statement execute function public.tg_fail()
        """
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DiskFull):
        reconcile(service, payment)

    assert db.snapshot() == before
    superuser.execute("drop trigger fail on public.inventory_ledger")
    assert reconcile(service, payment)["outcome"] == "applied"


def test_replay_of_an_event_with_nothing_that_may_be_null_is_a_replay(
    db: Database, service: Connection, shop: Shop
) -> None:
    payment = shop.order_group([[(1, "0")]]).payment().but(payment_intent_id=None, event_created=None)
    reconcile(service, payment)
    before = db.snapshot()

    assert reconcile(service, payment)["outcome"] == "replayed"
    assert db.snapshot() == before
