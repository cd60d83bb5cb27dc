"""Stock: receipts, adjustments, levels."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.shop import Shop


def test_on_hand_is_the_sum_of_receipts_adjustments_and_commits(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    product_id = shop.sellers[0].product_ids[0]

    receipt = scalar(service, "select public.record_inventory_receipt(%s, 10, ' first delivery ')", product_id)
    adjustment = scalar(service, "select public.record_inventory_adjustment(%s, -3, 'broken')", product_id)
    reconcile(service, shop.order_group([[(4, "1")]]).payment())

    assert scalar(service, "select on_hand from public.inventory_levels where product_id = %s", product_id) == 3
    rows = superuser.execute("select * from public.inventory_ledger order by id").fetchall()
    assert [(r["id"], r["entry_type"], r["quantity_delta"], r["note"]) for r in rows[:2]] == [
        (receipt, "receipt", 10, "first delivery"),
        (adjustment, "adjustment", -3, "broken"),
    ]
    assert (rows[2]["entry_type"], rows[2]["quantity_delta"], rows[2]["order_item_id"] is None) == (
        "order_commit",
        -4,
        False,
    )


def test_entry_that_names_no_seller_bears_its_products(owner: Connection, shop: Shop) -> None:
    entry = "insert into public.inventory_ledger (product_id, entry_type, quantity_delta) values (%s, %s, 5)"
    for seller in shop.sellers:
        owner.execute(entry, [seller.product_ids[0], "receipt"])
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="there is no product"):
        owner.execute(entry, [uuid4(), "receipt"])

    rows = owner.execute("select product_id, seller_id from public.inventory_ledger order by id").fetchall()
    assert rows == [{"product_id": seller.product_ids[0], "seller_id": seller.id} for seller in shop.sellers]


def test_product_that_never_moved_has_nothing_on_hand(service: Connection, shop: Shop) -> None:
    levels = service.execute("select on_hand from public.inventory_levels").fetchall()

    assert [row["on_hand"] for row in levels] == [0] * 6
    assert len(shop.sellers) == 2


@pytest.mark.parametrize(
    ("function", "quantity", "note"),
    [
        ("record_inventory_receipt", 0, "x"),
        ("record_inventory_receipt", -1, "x"),
        ("record_inventory_receipt", None, "x"),
        ("record_inventory_adjustment", 0, "x"),
        ("record_inventory_adjustment", None, "x"),
        ("record_inventory_adjustment", 1, None),
        ("record_inventory_adjustment", 1, "  "),
    ],
)
def test_movement_without_sense_is_refused(
    db: Database, service: Connection, shop: Shop, function: str, quantity: int | None, note: str | None
) -> None:
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        service.execute(f"select public.{function}(%s, %s, %s)", [shop.sellers[0].product_ids[0], quantity, note])

    assert db.snapshot() == before


@pytest.mark.parametrize("function", ["record_inventory_receipt", "record_inventory_adjustment"])
def test_movement_of_an_unknown_product_is_refused(service: Connection, function: str) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        service.execute(f"select public.{function}(%s, 1, 'x')", [uuid4()])
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        service.execute(f"select public.{function}(null, 1, 'x')")


ROWS: list[dict[str, Any]] = [
    {"entry_type": "order_commit", "quantity_delta": 1},
    {"entry_type": "order_commit", "quantity_delta": -1, "order_item_id": None},
    {"entry_type": "order_commit", "quantity_delta": -1, "stripe_webhook_event_id": None},
    {"entry_type": "receipt", "quantity_delta": -1, "order_item_id": None, "stripe_webhook_event_id": None},
    {"entry_type": "receipt", "quantity_delta": 1},
    {"entry_type": "receipt", "quantity_delta": 1, "order_item_id": None},
    {"entry_type": "adjustment", "quantity_delta": 1, "stripe_webhook_event_id": None},
    {"entry_type": "adjustment", "quantity_delta": 0, "order_item_id": None, "stripe_webhook_event_id": None},
    {"entry_type": "order_return", "quantity_delta": 1, "stripe_webhook_event_id": None},
    {"entry_type": "theft", "quantity_delta": -1, "order_item_id": None, "stripe_webhook_event_id": None},
]


@pytest.mark.parametrize("row", ROWS)
def test_ledger_rows_that_contradict_themselves_are_refused_to_the_owner_too(
    owner: Connection, shop: Shop, row: dict[str, Any]
) -> None:
    group = shop.order_group()
    whole = {"order_item_id": group.item_ids[0], "stripe_webhook_event_id": "evt_x"} | row

    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(
            "insert into public.inventory_ledger"
            " (product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)"
            " values (%(product)s, %(seller)s, %(order_item_id)s, %(entry_type)s, %(quantity_delta)s,"
            " %(stripe_webhook_event_id)s)",
            whole | {"product": shop.sellers[0].product_ids[0], "seller": shop.sellers[0].id},
        )


def test_item_cannot_be_committed_twice_by_anybody(service: Connection, owner: Connection, shop: Shop) -> None:
    reconcile(service, shop.order_group().payment())

    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute(
            "insert into public.inventory_ledger"
            " (product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)"
            " select product_id, seller_id, order_item_id, entry_type, quantity_delta, 'evt_other'"
            " from public.inventory_ledger"
        )
