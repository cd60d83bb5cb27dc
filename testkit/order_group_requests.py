"""Requests to create an order group, as a shop's server makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from testkit.database import Connection, scalar
from testkit.shop import TWO_ORDERS, Shop

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGroupRequest:
    """The parameters of `create_order_group`; `orders` is JSON and may be anything."""

    orders: Any
    buyer_id: UUID | None
    order_group_id: UUID | None = field(default_factory=uuid4)
    currency: str | None = "USD"
    expires_at: datetime | str | None = None
    reserve: bool | None = False

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def send(self, connection: Connection) -> Json:
        """The function's answer."""
        answer: Json = scalar(
            connection,
            "select public.create_order_group(%s, %s, %s, %s, %s, %s)",
            self.order_group_id,
            self.buyer_id,
            self.currency,
            None if self.orders is None else Jsonb(self.orders),
            self.expires_at,
            self.reserve,
        )
        return answer


def line(product_id: UUID, quantity: int = 1, unit_amount: str = "1.00", **others: Any) -> Json:
    """One item of a request."""
    return {"product_id": str(product_id), "quantity": quantity, "unit_amount": unit_amount, **others}


def request(
    shop: Shop, orders: Sequence[Sequence[tuple[int, str]]] = TWO_ORDERS, *, total: str = "4.90", **others: Any
) -> OrderGroupRequest:
    """One order per seller in turn, one item per (quantity, unit amount); each order costs `total`."""
    asked = []
    for place, items in enumerate(orders):
        seller = shop.sellers[place % len(shop.sellers)]
        products = seller.product_ids
        asked.append(
            {
                "seller_id": str(seller.id),
                "total_amount": total,
                "items": [
                    line(products[number % len(products)], quantity, unit)
                    for number, (quantity, unit) in enumerate(items)
                ],
            }
        )
    return OrderGroupRequest(**{"orders": asked, "buyer_id": shop.buyer_id, **others})
