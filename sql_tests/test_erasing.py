"""Session metadata of an order group are erased from everywhere at once, and do not come back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from sql_tests.session_metadata import JENNY, KIM, erase, erased, everything, pay, places, unmatched
from sql_tests.settling import settle
from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup, Shop

METADATA = ("session_metadata", "stripe_session_metadata")


def emptied(value: Any) -> Any:
    """The same without what Jenny's sessions said."""
    if isinstance(value, dict):
        return {key: {} if key in METADATA and JENNY in str(part) else emptied(part) for key, part in value.items()}
    return [emptied(part) for part in value] if isinstance(value, list) else value


def long_life(service: Connection, group: OrderGroup, other: OrderGroup) -> list[Payment]:
    """Jenny's group and Kim's, with metadata wherever a payment can leave some."""
    paid = pay(service, group.payment(), "applied")
    kims = pay(service, other.payment(), "applied", KIM)
    twin = pay(service, paid.twin(), "already_paid")
    duplicate = pay(service, paid.rival(), "rejected duplicate_payment")
    # Two reasons of one event, the former one kept; and events that were another group's before, or are now.
    pay(service, wrong := paid.rival().but(amount_minor=1, amount="0.01"), "rejected amount_mismatch")
    wrong = pay(service, wrong.but(currency="eur"), "rejected currency_mismatch")
    pay(service, moved := wrong.rival(), "rejected currency_mismatch")
    pay(service, moved.but(order_group_id=other.id), "rejected currency_mismatch", KIM)
    nameless = unmatched(group, "conflicting_references", f" {group.id.hex.upper()} ")
    pay(service, nameless, "unmatched conflicting_references")
    theirs = pay(service, unmatched(group, "foreign_account", str(group.id)), "unmatched foreign_account")
    found = unmatched(group, "conflicting_references", str(group.id))
    pay(service, found, "unmatched conflicting_references")
    pay(service, found.but(order_group_id=other.id, unmatched_reason=None), "rejected duplicate_payment", KIM)
    pay(service, other.payment().but(event_id=paid.event_id), "rejected event_collision", KIM)
    collided = pay(service, group.payment().but(event_id=kims.event_id), "rejected event_collision")
    pay(service, unmatched(other, "conflicting_references", str(other.id)), "unmatched conflicting_references", KIM)
    case = scalar(
        service, "select id from public.list_payment_exceptions() where stripe_event_id = %s", duplicate.event_id
    )
    scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'seen')", case)
    scalar(service, "select public.reopen_payment_exception(%s, 'ada', 'not yet')", case)
    return [paid, twin, duplicate, wrong, theirs, collided, nameless]


def test_metadata_are_emptied_in_all_places_and_nothing_else_changes(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    long_life(service, group, other)
    before, kims = everything(superuser), places(superuser, KIM)
    began = scalar(superuser, "select clock_timestamp()")
    assert places(superuser, JENNY) == {
        "payments.exceptions": 7,
        "payments.stripe_events": 2,
        "public.order_groups": 1,
    }

    answer = erase(service, group.id, " ada ", " asked to ")

    (row,) = superuser.execute("select * from payments.metadata_erasures").fetchall()
    assert answer == erased(group, 10)
    assert places(superuser, JENNY) == {}
    assert places(superuser, KIM) == kims
    after = everything(superuser)
    word = after.pop("payments.metadata_erasures")
    assert before.pop("payments.metadata_erasures") == []
    # In any order: the rows are sorted by their texts.
    assert {table: sorted(map(str, rows)) for table, rows in after.items()} == {
        table: sorted(map(str, rows)) for table, rows in emptied(before).items()
    }
    assert row == {"order_group_id": group.id, "erased_at": row["erased_at"], "erased_by": "ada", "note": "asked to"}
    assert len(word) == 1
    assert began < row["erased_at"] < scalar(superuser, "select clock_timestamp()")
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


def test_erased_metadata_do_not_come_back_with_whatever_comes_again_or_later(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    sent = long_life(service, group, other)
    erase(service, group.id)
    before = everything(superuser)

    again = [reconcile(service, payment)["outcome"] for payment in sent]
    after = everything(superuser)
    pay(service, sent[0].twin(), "already_paid")
    pay(service, sent[0].rival(), "rejected duplicate_payment")
    pay(service, sent[0].rival().but(amount_minor=1, amount="0.01"), "rejected amount_mismatch")
    for reason in ("conflicting_references", "foreign_account"):
        pay(service, unmatched(group, reason, group.id.hex), f"unmatched {reason}")
    collision = pay(service, other.payment().but(event_id=sent[0].event_id), "rejected event_collision", KIM)
    pay(service, group.payment().but(event_id=collision.event_id), "rejected event_collision")

    assert again == ["replayed", "replayed", *["rejected"] * 2, "unmatched", "rejected", "unmatched"]
    # Not one of them is another payload now: what came again was counted, and its evidence stays as it is.
    counted = ("attempts", "last_seen_at")
    assert [{key: row[key] for key in row if key not in counted} for row in after.pop("payments.exceptions")] == [
        {key: row[key] for key in row if key not in counted} for row in before.pop("payments.exceptions")
    ]
    assert after == before
    assert places(superuser, JENNY) == {}
    named = superuser.execute(
        "select x.details ->> 'named_order_group_id' as id, count(*) as cases from payments.exceptions as x"
        " where x.order_group_id is null group by 1 order by 2"
    ).fetchall()
    assert named == [{"id": str(other.id), "cases": 1}, {"id": str(group.id), "cases": 4}]
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_metadata_of_a_group_without_payment_are_not_kept_later(
    service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    if status == "cancelled":
        settle(service, group, status)

    assert erase(service, group.id) == erased(group, 0)
    pay(service, group.payment(), {"pending": "applied", "cancelled": "rejected order_group_not_payable"}[status])

    assert places(superuser, JENNY) == {}
    metadata = scalar(superuser, "select stripe_session_metadata from public.order_groups where id = %s", group.id)
    assert metadata == ({} if status == "pending" else None)


def test_second_erasure_changes_nothing_and_keeps_the_first_word(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    pay(service, group.payment(), "applied")
    erase(service, group.id)
    before = db.snapshot()

    assert erase(service, group.id, "kim", "once more") == erased(group, 0)
    assert db.snapshot() == before


def test_second_erasure_empties_what_came_back_by_another_way(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """A row of an old backup, put in by hand."""
    group = shop.order_group()
    pay(service, payment := group.payment(), "applied")
    erase(service, group.id)
    with past_every_guard(superuser):
        superuser.execute(
            "update payments.stripe_events set session_metadata = %s", ['{"email": "jenny@example.test"}']
        )
    assert payment.event_id

    assert erase(service, group.id) == erased(group, 1)
    assert places(superuser, JENNY) == {}


@pytest.mark.parametrize(("by", "note"), [(None, "why"), (" ", "why"), ("ada", None), ("ada", " ")])
def test_erasure_says_by_whom_and_why(
    db: Database, service: Connection, shop: Shop, by: str | None, note: str | None
) -> None:
    group = shop.order_group()
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        erase(service, group.id, by, note)

    assert db.snapshot() == before


def test_unknown_group_leaves_no_word(db: Database, service: Connection, shop: Shop) -> None:
    pay(service, shop.order_group().payment(), "applied")
    before, unknown = db.snapshot(), uuid4()

    for group_id in (unknown, None):
        assert erase(service, group_id) == {
            "outcome": "rejected",
            "reason": "order_group_not_found",
            "order_group_id": str(group_id) if group_id else None,
            "emptied": 0,
        }
    assert db.snapshot() == before


def test_copy_that_an_older_release_kept_in_a_collision_is_emptied_too(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    paid = pay(service, group.payment(), "applied", KIM)
    pay(service, other.payment().but(event_id=paid.event_id), "rejected event_collision", KIM)
    superuser.execute(
        "update payments.exceptions set details = jsonb_set(details, '{expected}',"
        " (details -> 'expected') || jsonb_build_object('session_metadata', jsonb_build_object('email', %s::text)))",
        [JENNY],
    )

    erase(service, group.id)

    assert places(superuser, JENNY) == {}
    assert places(superuser, KIM) == {"payments.exceptions": 1}


def test_evidence_that_is_nested_deeply_is_no_obstacle(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    deep = "[" * 5000 + "]" * 5000
    payment = group.payment().but(order_group_id=None, unmatched_reason="malformed_reference", session_metadata={})
    reconcile(service, payment)
    superuser.execute(
        "update payments.exceptions set details = jsonb_build_object('earlier', '[]'::jsonb, 'received',"
        " jsonb_build_object('session_metadata', jsonb_build_object('deep', %s::jsonb)))",
        [deep],
    )

    assert erase(service, group.id)["emptied"] == 0


def test_story_tells_by_whom_the_metadata_were_erased(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    pay(service, group.payment(), "applied")
    erase(service, group.id)

    story = scalar(service, "select public.explain_order_group(%s)", group.id)

    at = scalar(superuser, "select to_jsonb(erased_at) from payments.metadata_erasures")
    assert story["timeline"][-1] == {
        "at": at,
        "kind": "metadata_erased",
        "erased_by": "ada",
        "note": "asked to",
        "rule": "erased session metadata are gone in all places, and later ones are not kept",
    }
    assert JENNY not in str(story)
    assert scalar(service, "select public.explain_order_group(%s)", shop.order_group().id)["timeline"][1:] == []
