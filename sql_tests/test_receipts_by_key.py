"""A receipt of goods that its caller has named counts once, however often and by however many it is recorded."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from testkit.database import Connection, Database, scalar
from testkit.shop import Shop

RECEIVE: LiteralString = "select public.record_inventory_receipt(%s, %s, %s, %s)"


def test_same_key_answers_the_same_entry_and_writes_nothing(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    product = shop.sellers[0].product_ids[0]
    first = scalar(service, RECEIVE, product, 5, "first delivery", "note 1")
    before = db.snapshot()

    again = [scalar(service, RECEIVE, product, 5, note, key) for note, key in ((None, "note 1"), ("x", "  note 1 "))]

    assert again == [first, first]
    assert db.snapshot() == before
    rows = superuser.execute(
        "select id, product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, note,"
        " receipt_key from public.inventory_ledger"
    ).fetchall()
    assert rows == [
        {
            "id": first,
            "product_id": product,
            "seller_id": shop.sellers[0].id,
            "order_item_id": None,
            "entry_type": "receipt",
            "quantity_delta": 5,
            "stripe_webhook_event_id": None,
            "note": "first delivery",
            "receipt_key": "note 1",
        }
    ]


@pytest.mark.parametrize("spoilt", ["product", "product of another seller", "quantity"])
def test_same_key_for_other_goods_is_refused(db: Database, service: Connection, shop: Shop, spoilt: str) -> None:
    product, other = shop.sellers[0].product_ids[:2]
    goods: dict[str, tuple[Any, int]] = {
        "product": (other, 5),
        "product of another seller": (shop.sellers[1].product_ids[0], 5),
        "quantity": (product, 6),
    }
    entry = scalar(service, RECEIVE, product, 5, None, "note 1")
    before = db.snapshot()

    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=f"already stands for entry {entry}: 5 of product {product}"
    ):
        service.execute(RECEIVE, [*goods[spoilt], None, "note 1"])

    assert db.snapshot() == before


@pytest.mark.parametrize("key", [None, "", "   "])
def test_receipts_without_a_key_each_count(
    service: Connection, superuser: Connection, shop: Shop, key: str | None
) -> None:
    entries = {scalar(service, RECEIVE, shop.sellers[0].product_ids[0], 5, None, key) for _ in range(2)}

    assert len(entries) == 2
    assert scalar(superuser, "select array_agg(receipt_key) from public.inventory_ledger") == [None, None]


def test_key_has_255_characters_at_most(db: Database, service: Connection, superuser: Connection, shop: Shop) -> None:
    product = shop.sellers[0].product_ids[0]
    scalar(service, RECEIVE, product, 5, None, f" {'é' * 255} ")
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_key has 255 characters at most"):
        service.execute(RECEIVE, [product, 5, None, "é" * 256])

    assert db.snapshot() == before
    assert scalar(superuser, "select receipt_key from public.inventory_ledger") == "é" * 255


def test_unique_violation_of_a_shops_own_is_told_as_it_is(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    owner.execute("create unique index shop_one_note on public.inventory_ledger (note)")
    product = shop.sellers[0].product_ids[0]
    scalar(service, RECEIVE, product, 5, "same", "note 1")
    before = db.snapshot()

    with pytest.raises(psycopg.errors.UniqueViolation, match="shop_one_note"):
        service.execute(RECEIVE, [product, 5, "same", "note 2"])

    assert db.snapshot() == before


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda level: level.name.lower())
def test_two_receipts_under_one_key_at_once_make_one_entry(
    database: RaceDatabase, isolation: IsolationLevel, end: End
) -> None:
    product, key = database.shop.sellers[0].product_ids[0], f"{isolation.name} {end}"
    first, second = database.rival(isolation), database.rival(isolation)

    def receive(connection: Connection) -> Any:
        try:
            return scalar(connection, RECEIVE, product, 5, None, key)
        except psycopg.Error as error:
            return error.sqlstate

    second.begin()
    first.start(receive)
    entry = first.answer()
    second.start(receive)
    second.until_waiting_for(first)
    assert first.end(end) == end
    answer = second.answer()

    # A transaction that looks at the past cannot see the entry that its own is refused for; its next one can.
    hidden = end == "commit" and isolation is not IsolationLevel.READ_COMMITTED
    assert (answer == "23505") is hidden
    assert second.end("rollback" if hidden else "commit") in ENDS
    again = database.rival(isolation)
    again.start(receive)
    kept = again.answer()
    assert again.end("commit") == "commit"
    assert (kept == entry) is (end == "commit")
    assert hidden or answer == kept
    rows = database.observer.execute(
        "select id, quantity_delta from public.inventory_ledger where receipt_key = %s", [key]
    ).fetchall()
    assert rows == [{"id": kept, "quantity_delta": 5}]
