"""A buyer, a stranger, the members of two sellers and a visitor look at one order group."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from testkit.database import Connection, Database, Role, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop, new_user

EVERYTHING = ("sellers", "seller_members", "products", "order_groups", "orders", "order_items", "inventory_ledger")


@pytest.fixture
def group(service: Connection, shop: Shop) -> OrderGroup:
    """A paid group with one order of each seller, besides a stranger's group that nobody here may see."""
    for seller in shop.sellers:
        scalar(service, "select public.record_inventory_receipt(%s, 10)", seller.product_ids[0])
    group = shop.order_group()
    reconcile(service, group.payment())
    return group


class Eyes:
    """What somebody sees through the Data API."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ids(self, table: str, column: str = "id") -> set[Any]:
        query = sql.SQL("select {} as seen from {}").format(sql.Identifier(column), sql.Identifier("public", table))
        return {row["seen"] for row in self.connection.execute(query)}


Look = Callable[..., Eyes]


@pytest.fixture
def look(db: Database, connections: ExitStack) -> Look:
    def through(role: Role, user_id: UUID | None = None) -> Eyes:
        return Eyes(connections.enter_context(db.act_as(role, user_id=user_id)))

    return through


def test_buyer_sees_their_own_group_orders_and_items_and_nothing_else(
    look: Look, shop: Shop, superuser: Connection, group: OrderGroup
) -> None:
    others = shop.order_group(buyer_id=new_user(superuser))

    buyer = look("authenticated", shop.buyer_id)

    assert buyer.ids("order_groups") == {group.id}
    assert buyer.ids("orders") == set(group.order_ids)
    assert buyer.ids("order_items") == set(group.item_ids)
    assert others.id not in buyer.ids("order_groups")
    for table in ("sellers", "products", "inventory_ledger"):
        assert buyer.ids(table) == set()
    assert buyer.ids("seller_members", "user_id") == set()
    assert buyer.ids("inventory_levels", "product_id") == set()


def test_member_sees_their_sellers_part_and_never_the_other_sellers(
    look: Look, service: Connection, shop: Shop, group: OrderGroup
) -> None:
    for position, seller in enumerate(shop.sellers):
        member = look("authenticated", seller.member_id)
        own_order = group.order_ids[position]
        own_items = service.execute("select id from public.order_items where order_id = %s", [own_order]).fetchall()
        own_ledger = service.execute(
            "select id from public.inventory_ledger where product_id = any(%s)", [list(seller.product_ids)]
        ).fetchall()

        assert member.ids("order_groups") == set()
        assert member.ids("orders") == {own_order}
        assert member.ids("order_items") == {row["id"] for row in own_items}
        assert member.ids("products") == set(seller.product_ids)
        assert member.ids("inventory_ledger") == {row["id"] for row in own_ledger}
        assert member.ids("inventory_levels", "product_id") == set(seller.product_ids)
        assert member.ids("sellers") == {seller.id}
        assert member.ids("seller_members", "user_id") == {seller.member_id}


def test_levels_that_a_member_sees_are_the_sums_of_the_ledger(look: Look, shop: Shop, group: OrderGroup) -> None:
    member = look("authenticated", shop.sellers[0].member_id)

    levels = member.connection.execute("select * from public.inventory_levels").fetchall()

    assert len(group.item_ids) == 5
    assert sorted(row["on_hand"] for row in levels) == [-3, -2, 9]


def test_stranger_sees_nothing(look: Look, shop: Shop, group: OrderGroup) -> None:
    stranger = look("authenticated", shop.stranger_id)

    assert len(group.order_ids) == 2
    for table in EVERYTHING:
        column = "user_id" if table == "seller_members" else "id"
        assert stranger.ids(table, column) == set()
    assert stranger.ids("inventory_levels", "product_id") == set()


def test_user_without_an_id_sees_nothing_not_even_the_groups_of_guests(
    look: Look, owner: Connection, group: OrderGroup
) -> None:
    owner.execute("update public.order_groups set buyer_id = null where id = %s", [group.id])
    nobody = look("authenticated")

    for table in ("order_groups", "orders", "order_items"):
        assert nobody.ids(table) == set()


def test_member_who_also_buys_sees_both_and_no_more(look: Look, shop: Shop, group: OrderGroup) -> None:
    seller = shop.sellers[0]
    bought = shop.order_group(buyer_id=seller.member_id)

    member = look("authenticated", seller.member_id)

    assert member.ids("order_groups") == {bought.id}
    assert member.ids("orders") == {group.order_ids[0], *bought.order_ids}


@pytest.mark.parametrize("table", [*EVERYTHING, "inventory_levels"])
def test_visitor_is_denied_outright(look: Look, group: OrderGroup, table: str) -> None:
    assert group.order_ids
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        look("anon").connection.execute(f"select * from public.{table}")


@pytest.mark.parametrize(
    "statement",
    [
        "update public.order_groups set total_amount = 0",
        "update public.order_groups set status = 'paid'",
        "update public.orders set status = 'delivered'",
        "delete from public.order_items where true",
        "insert into public.order_groups (currency, total_amount) values ('USD', 1)",
        "insert into public.seller_members (seller_id, user_id) select id, auth.uid() from public.sellers",
        "insert into public.inventory_ledger (product_id, entry_type, quantity_delta) select id, 'receipt', 9"
        " from public.products",
        "select * from payments.stripe_events",
        "select public.list_payment_exceptions()",
        "select public.record_inventory_receipt(gen_random_uuid(), 1)",
    ],
)
def test_buyer_and_member_write_nothing(
    db: Database, look: Look, shop: Shop, group: OrderGroup, statement: str
) -> None:
    assert group.order_ids
    before = db.snapshot()
    for user_id in (shop.buyer_id, shop.sellers[0].member_id):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            look("authenticated", user_id).connection.execute(statement)

    assert db.snapshot() == before


def test_member_who_leaves_sees_nothing_any_more(look: Look, owner: Connection, shop: Shop, group: OrderGroup) -> None:
    seller = shop.sellers[0]
    owner.execute("delete from public.seller_members where user_id = %s", [seller.member_id])

    member = look("authenticated", seller.member_id)

    assert group.order_ids
    assert member.ids("orders") == set()
    assert member.ids("products") == set()
