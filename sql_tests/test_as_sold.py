"""Whose an item is, and what it was called when it was sold: filled by the database, and true for ever."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop


def items(connection: Connection, order_id: UUID) -> list[dict[str, Any]]:
    return connection.execute(
        "select product_id, sku, title, seller_id, order_group_id from public.order_items"
        " where order_id = %s order by sku",
        [order_id],
    ).fetchall()


def test_item_bears_what_its_product_was_called_or_what_the_shop_calls_it(service: Connection, shop: Shop) -> None:
    group, seller = shop.order_group([[(1, "5.00")]]), shop.sellers[0]
    whose = {"seller_id": seller.id, "order_group_id": group.id}

    service.execute(
        "insert into public.order_items (order_id, product_id, quantity, unit_amount, sku, title)"
        " values (%(order)s, %(product)s, 1, 0, 'GIFT', 'A gift'), (%(order)s, %(product)s, 1, 0, null, 'Called so')",
        {"order": group.order_ids[0], "product": seller.product_ids[1]},
    )

    assert items(service, group.order_ids[0]) == [
        {"product_id": seller.product_ids[1], "sku": "GIFT", "title": "A gift"} | whose,
        {"product_id": seller.product_ids[0], "sku": "SKU-1", "title": "Product 1 of seller 1"} | whose,
        {"product_id": seller.product_ids[1], "sku": "SKU-2", "title": "Called so"} | whose,
    ]


def test_renamed_product_renames_no_history(service: Connection, shop: Shop) -> None:
    groups = [shop.order_group([[(1, "5.00")]]) for _ in range(2)]
    reconcile(service, groups[0].payment())
    before = [items(service, group.order_ids[0]) for group in groups]

    service.execute(
        "update public.products set sku = 'NEW', name = 'New' where id = %s", [shop.sellers[0].product_ids[0]]
    )
    service.execute("update public.sellers set name = 'Renamed' where id = %s", [shop.sellers[0].id])

    assert [items(service, group.order_ids[0]) for group in groups] == before
    (item,) = items(service, shop.order_group([[(1, "5.00")]]).order_ids[0])
    assert (item["sku"], item["title"]) == ("NEW", "New")
    assert scalar(service, "select name from public.sellers where id = %s", shop.sellers[0].id) == "Renamed"


def test_item_that_becomes_another_product_is_called_like_that_one(owner: Connection, shop: Shop) -> None:
    group, (first, second, third) = shop.order_group([[(1, "5.00")]]), shop.sellers[0].product_ids
    edit: LiteralString = "update public.order_items set product_id = %s where id = %s"

    owner.execute(edit, [second, group.item_ids[0]])
    (item,) = items(owner, group.order_ids[0])
    owner.execute(
        "update public.order_items set product_id = %s, title = 'So' where id = %s", [third, group.item_ids[0]]
    )
    (named,) = items(owner, group.order_ids[0])

    assert first != second
    assert (item["sku"], item["title"]) == ("SKU-2", "Product 2 of seller 1")
    assert (named["sku"], named["title"]) == ("SKU-3", "So")


@pytest.mark.parametrize("status", ["pending", "paid"])
@pytest.mark.parametrize("column", ["seller_id", "order_group_id", "sku", "title"])
def test_what_an_item_bears_is_not_for_the_writer_to_choose_and_frozen_with_its_group(
    service: Connection, owner: Connection, shop: Shop, column: str, status: str
) -> None:
    group, other = shop.order_group(), shop.order_group()
    value = {"seller_id": shop.sellers[1].id, "order_group_id": other.id, "sku": "X", "title": "X"}[column]
    edit = f"update public.order_items set {column} = %s where id = %s".encode()
    before = items(owner, group.order_ids[0])

    if status == "paid":
        reconcile(service, group.payment())
        with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
            owner.execute(edit, [value, group.item_ids[0]])
    else:
        owner.execute(edit, [value, group.item_ids[0]])

    unchanged = items(owner, group.order_ids[0]) == before
    assert unchanged is (status == "paid" or column in ("seller_id", "order_group_id"))


def test_product_of_another_seller_is_refused_before_anybody_pays(db: Database, owner: Connection, shop: Shop) -> None:
    group, foreign = shop.order_group(), shop.sellers[1].product_ids[0]
    before = db.snapshot()

    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="order_items_product_id_fkey"):
        shop.add_item(group.order_ids[0], foreign, 1, "1")
    for edit, names in {
        "update public.order_items set product_id = %s where id = %s": [foreign, group.item_ids[0]],
        "update public.orders set seller_id = %s where id = %s": [shop.sellers[1].id, group.order_ids[0]],
        "update public.products set seller_id = %s, sku = 'X' where id = %s": [shop.sellers[0].id, foreign],
    }.items():
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            owner.execute(edit.encode(), names)

    assert db.snapshot() == before


def test_order_bears_its_groups_currency_for_ever(owner: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "5")], []], currency="JPY")
    read: LiteralString = "select distinct currency from public.orders where order_group_id = %s"

    for edit, id_ in {
        "update public.orders set currency = 'USD' where id = %s": group.order_ids[0],
        "update public.order_groups set currency = 'USD' where id = %s": group.id,
    }.items():
        with pytest.raises(psycopg.errors.CheckViolation, match=r"stays|cannot change"):
            owner.execute(edit.encode(), [id_])

    assert owner.execute(read, [group.id]).fetchall() == [{"currency": "JPY"}]


def test_membership_that_ends_ends_what_is_seen(
    db: Database, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    group: OrderGroup = shop.order_group()
    member = connections.enter_context(db.act_as("authenticated", user_id=shop.sellers[0].member_id))
    read: LiteralString = "select id from public.orders"
    assert member.execute(read).fetchall() == [{"id": group.order_ids[0]}]

    service.execute("delete from public.seller_members where user_id = %s", [shop.sellers[0].member_id])

    assert member.execute(read).fetchall() == []


def test_levels_name_the_product(service: Connection, shop: Shop) -> None:
    seller = shop.sellers[0]
    scalar(service, "select public.record_inventory_receipt(%s, 3)", seller.product_ids[1])

    levels = service.execute(
        "select * from public.inventory_levels where seller_id = %s order by sku", [seller.id]
    ).fetchall()

    assert levels == [
        {
            "product_id": product_id,
            "seller_id": seller.id,
            "sku": f"SKU-{place}",
            "name": f"Product {place} of seller 1",
            "on_hand": 3 if place == 2 else 0,
            "reserved": 0,
            "available": 3 if place == 2 else 0,
        }
        for place, product_id in enumerate(seller.product_ids, start=1)
    ]
