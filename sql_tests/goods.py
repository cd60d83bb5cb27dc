"""Goods that are sold, come back, and orders that are given up, as the shop's server does it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from testkit.database import Connection, Row, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop


def sold(service: Connection, shop: Shop) -> OrderGroup:
    """A paid group: of its items were sold 1, 2 and 3 by the first seller, 1 and 5 by the second."""
    group = shop.order_group()
    assert reconcile(service, group.payment())["outcome"] == "applied"
    return group


def line(item_id: UUID, quantity: Any) -> Row:
    return {"order_item_id": str(item_id), "quantity": quantity}


def give_back(
    connection: Connection, group_id: UUID | None, lines: object, note: str | None = "too small", refund: Any = None
) -> Row:
    answer: Row = scalar(
        connection, "select public.return_order_items(%s, %s, %s, %s)", group_id, Jsonb(lines), note, refund
    )
    return answer


def give_up(connection: Connection, order_id: UUID | None, note: str | None = "sold out", **more: bool | None) -> Row:
    returning = ", p_return_items => %(returning)s" if more else ""
    row = connection.execute(
        f"select public.refund_order(%(order)s, %(note)s{returning}) as answer".encode(),
        {"order": order_id, "note": note, **more},
    ).fetchone()
    assert row is not None
    answer: Row = row["answer"]
    return answer


def returns(superuser: Connection) -> list[Row]:
    """What has come back, in the order in which it was recorded."""
    return superuser.execute(
        "select order_item_id, quantity_delta, note, stripe_refund_id, recorded_by from public.inventory_ledger"
        " where entry_type = 'order_return' order by id"
    ).fetchall()
