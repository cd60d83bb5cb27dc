"""Blanks and letters: what is trimmed, what is folded, and what counts as written."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import Shop

RESOLVE: LiteralString = "select public.resolve_payment_exception(%s, %s, %s, %s)"
REOPEN: LiteralString = "select public.reopen_payment_exception(%s, %s, %s)"

# What is trimmed in a payment, and where it is kept.
TRIMMED = {
    "event_id": "id",
    "event_type": "type",
    "checkout_session_id": "checkout_session_id",
    "payment_intent_id": "payment_intent_id",
    "currency": "currency",
}


def padded(payment: Payment, *fields: str) -> Payment:
    return payment.but(**{field: f"  {getattr(payment, field)} " for field in fields})


def case(service: Connection, shop: Shop) -> int:
    reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))
    id_: int = scalar(service, "select max(id) from public.list_payment_exceptions('all')")
    return id_


def test_payment_is_kept_without_the_blanks_around_its_words(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()

    told = reconcile(service, padded(payment, *TRIMMED))

    assert (told["outcome"], told["stripe_event_id"]) == ("applied", payment.event_id)
    kept = superuser.execute("select * from payments.stripe_events").fetchone()
    assert kept is not None
    assert {column: kept[column] for column in TRIMMED.values()} == {
        column: getattr(payment, field) for field, column in TRIMMED.items()
    } | {"currency": "USD"}


@pytest.mark.parametrize("field", TRIMMED)
def test_same_event_with_other_blanks_is_a_replay(db: Database, service: Connection, shop: Shop, field: str) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    before = db.snapshot()

    assert reconcile(service, padded(payment, field))["outcome"] == "replayed"

    assert db.snapshot() == before


@pytest.mark.parametrize("field", ["event_id", "event_type", "checkout_session_id", "payment_intent_id"])
def test_letters_of_an_id_are_not_folded(service: Connection, superuser: Connection, shop: Shop, field: str) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)
    capitals = payment.but(**{field: getattr(payment, field).upper()})

    told = reconcile(service, capitals)

    # Another event of the same payment; for the others the known event with another payload.
    assert told["outcome"] == ("already_paid" if field == "event_id" else "rejected")
    assert scalar(superuser, "select count(*) from payments.stripe_events") == (2 if field == "event_id" else 1)


@pytest.mark.parametrize("word", [" webhook", "webhook ", "Webhook", "", "WEBHOOK"])
def test_source_is_taken_as_written(service: Connection, shop: Shop, word: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_source must be webhook, sweep or replay"):
        reconcile(service, shop.order_group().payment().but(source=word))


@pytest.mark.parametrize(
    "word",
    [
        " missing_reference",
        "Missing_Reference",
        "",
        # Reasons of rejections are not reasons why there is no group.
        "order_group_not_found",
        "amount_mismatch",
        "event_collision",
    ],
)
def test_reason_why_there_is_no_group_is_taken_as_written(service: Connection, shop: Shop, word: str) -> None:
    payment = shop.order_group().payment().but(order_group_id=None, unmatched_reason=word)

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is not known"):
        reconcile(service, payment)


@pytest.mark.parametrize("source", ["webhook", "sweep", "replay"])
def test_each_source_is_recorded(service: Connection, superuser: Connection, shop: Shop, source: str) -> None:
    reconcile(service, shop.order_group().payment().but(source=source))

    assert scalar(superuser, "select source from payments.stripe_events") == source


def test_what_a_call_leaves_out_has_these_defaults(service: Connection, superuser: Connection, shop: Shop) -> None:
    """As PostgREST calls with the parameters that an older relay knows."""
    payment = shop.order_group().payment()
    given = {
        k: v
        for k, v in payment.parameters().items()
        if k not in ("p_session_metadata", "p_source", "p_unmatched_reason")
    }
    call = ", ".join(f"{name} => %({name})s" for name in given)

    service.execute(f"select public.reconcile_order_group_payment({call})".encode(), given)

    row = superuser.execute("select source, session_metadata, outcome from payments.stripe_events").fetchone()
    assert row == {"source": "webhook", "session_metadata": {}, "outcome": "applied"}


@pytest.mark.parametrize(
    ("function", "given", "kept"),
    [
        ("record_inventory_receipt", "  first delivery ", "first delivery"),
        ("record_inventory_receipt", "   ", None),
        ("record_inventory_receipt", "", None),
        ("record_inventory_receipt", None, None),
        ("record_inventory_adjustment", "  Broken ", "Broken"),
    ],
)
def test_note_of_a_movement_is_trimmed_and_blank_is_none(
    service: Connection, superuser: Connection, shop: Shop, function: str, given: str | None, kept: str | None
) -> None:
    service.execute(f"select public.{function}(%s, 1, %s)".encode(), [shop.sellers[0].product_ids[0], given])

    assert scalar(superuser, "select note from public.inventory_ledger") == kept


@pytest.mark.parametrize(("function", "least"), [("record_inventory_receipt", 1), ("record_inventory_adjustment", -1)])
def test_least_movement_is_one_piece(
    service: Connection, superuser: Connection, shop: Shop, function: str, least: int
) -> None:
    for quantity in (1, least):
        service.execute(f"select public.{function}(%s, %s, 'x')".encode(), [shop.sellers[0].product_ids[0], quantity])

    rows = superuser.execute("select quantity_delta, created_at from public.inventory_ledger order by id").fetchall()
    assert [row["quantity_delta"] for row in rows] == [1, least]


def test_movement_bears_the_time_at_which_it_was_written(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    with service.transaction():
        began = scalar(service, "select now()")
        scalar(service, "select public.record_inventory_receipt(%s, 1)", shop.sellers[0].product_ids[0])

    assert scalar(superuser, "select created_at from public.inventory_ledger") > began


@pytest.mark.parametrize("word", ["Refunded", " refunded", "reconciled", "open", ""])
def test_resolution_is_taken_as_written(service: Connection, shop: Shop, word: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_resolution must be"):
        service.execute(RESOLVE, [case(service, shop), word, "ada", None])


@pytest.mark.parametrize("word", ["refunded", "fixed_by_hand", "dismissed"])
def test_each_word_of_an_operator_closes_a_case(service: Connection, shop: Shop, word: str) -> None:
    told = scalar(service, RESOLVE, case(service, shop), word, "  Ada L. ", "  note ")

    assert [told[key] for key in ("resolution", "resolved_by", "note")] == [word, "Ada L.", "note"]


@pytest.mark.parametrize("word", [" open", "Open", "", "closed"])
def test_status_of_a_list_is_taken_as_written(service: Connection, word: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_status must be open, resolved or all"):
        service.execute("select * from public.list_payment_exceptions(%s)", [word])


@pytest.mark.parametrize("word", [" fulfilled", "Fulfilled", "", "fulfilled "])
def test_status_of_an_order_is_taken_as_written(service: Connection, shop: Shop, word: str) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    told: dict[str, Any] = scalar(service, "select public.advance_order(%s, %s)", group.order_ids[0], word)

    assert told == {
        "outcome": "rejected",
        "reason": "order_status_moves_forward",
        "order_id": str(group.order_ids[0]),
        "status": "paid",
    }


def test_who_reopens_and_why_is_trimmed(service: Connection, shop: Shop) -> None:
    id_ = case(service, shop)
    scalar(service, RESOLVE, id_, "dismissed", "ada", None)

    (word,) = scalar(service, REOPEN, id_, "  Bob ", "  was none ")["details"]["reopened"]

    assert (word["reopened_by"], word["reopened_note"], word["note"]) == ("Bob", "was none", None)
