"""A small marketplace, put into a project as a shop's server would: as service_role, over the Data API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from supabase import Client, create_client

from local_stack.surface import StackSurface

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Product:
    """One product; `unit_amount` in major units, `stock` as received."""

    id: str
    seller_id: str
    name: str
    unit_amount: Decimal
    stock: int


@dataclass(frozen=True, slots=True)
class Item:
    """What somebody wants to buy."""

    product: Product
    quantity: int

    @property
    def amount(self) -> Decimal:
        """Major units."""
        return self.product.unit_amount * self.quantity


class DataApiShop:
    """Writes a marketplace's rows. Raises postgrest.APIError where the database refuses."""

    def __init__(self, stack: StackSurface) -> None:
        self._stack = stack
        self._api: Client = create_client(stack.url, stack.service_role_key)

    def insert(self, table: str, row: Row) -> Row:
        """Insert one row and return it."""
        return cast(list[Row], self._api.table(table).insert(cast(Any, row)).execute().data)[0]

    def buyer(self, email: str) -> UUID:
        """A signed-up user."""
        return self._stack.create_user(email)

    def seller(self, name: str) -> str:
        """A seller; returns its id."""
        return str(self.insert("sellers", {"name": name})["id"])

    def product(self, seller_id: str, sku: str, name: str, unit_amount: str, *, stock: int) -> Product:
        """A product and the receipt of its stock; `unit_amount` in major units."""
        row = self.insert("products", {"seller_id": seller_id, "sku": sku, "name": name})
        receipt = {"p_product_id": row["id"], "p_quantity": stock, "p_note": "first delivery"}
        self._api.rpc("record_inventory_receipt", receipt).execute()
        return Product(row["id"], seller_id, name, Decimal(unit_amount), stock)

    def pending_group(self, buyer_id: UUID, items: Sequence[Item], *, currency: str = "USD") -> tuple[str, Decimal]:
        """A pending order group with one order per seller; returns its id and its total in major units."""
        total = sum((item.amount for item in items), Decimal(0))
        group_id: str = self.insert(
            "order_groups", {"buyer_id": str(buyer_id), "currency": currency, "total_amount": str(total)}
        )["id"]
        for seller_id in dict.fromkeys(item.product.seller_id for item in items):
            theirs = [item for item in items if item.product.seller_id == seller_id]
            order_total = sum((item.amount for item in theirs), Decimal(0))
            order = self.insert(
                "orders", {"order_group_id": group_id, "seller_id": seller_id, "total_amount": str(order_total)}
            )
            for item in theirs:
                self.insert(
                    "order_items",
                    {
                        "order_id": order["id"],
                        "product_id": item.product.id,
                        "quantity": item.quantity,
                        "unit_amount": str(item.product.unit_amount),
                    },
                )
        return group_id, total
