"""The order groups of a simulation: read from the project, or made in it under names that say what they are for."""

import uuid
from decimal import Decimal
from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers
from relay.commands.answers import Amount
from relay.commands.endings import CommandError
from relay.commands.simulate.scenarios import Needs, Scenario, Target
from relay.core.currency import EXPONENTS
from relay.data_api.records import Records

NAME: Final = "Simulation (relay simulate)"
# The amounts of two sellers' orders in major units, with the decimals of each currency.
_PARTS: Final = {"USD": ("100.00", "23.45"), "JPY": ("700", "300"), "KWD": ("1.000", "0.230"), "ISK": ("60", "40")}
_SKU: Final = "SIMULATION"
# Pieces of each product. The least is more than all scenarios sell: nothing is oversold.
_LEAST_STOCK: Final = 100
_RECEIPT: Final = 1000


class Group(TypedDict):
    """A row of order_groups; the amount in major units."""

    status: str
    currency: str
    total_amount: Amount


class Product(TypedDict):
    """What is read of a row of products."""

    id: str
    seller_id: str


class Level(TypedDict):
    """What is read of a row of inventory_levels, in pieces."""

    available: int


async def read_target(records: Records, order_group_id: str) -> Target:
    """The group as it is now. Raises NoVerdict, Declined, or CommandError where Stripe cannot charge it."""
    columns = "id,status,currency,total_amount::text"
    rows = await records.rows("order_groups", columns, ("id", "eq", order_group_id))
    if not rows:
        raise CommandError(f"there is no order group {order_group_id}")
    group = answers.read(Group, rows[0], of="order_groups")
    total, currency = group["total_amount"], group["currency"]
    if currency not in EXPONENTS:
        raise CommandError(f"this release does not know in which units Stripe counts {currency}: a newer one may")
    minor = Decimal(total).scaleb(EXPONENTS[currency])
    if minor != minor.to_integral_value():
        raise CommandError(f"Stripe cannot charge {total} {currency}: too many decimals")
    return Target(order_group_id, group["status"], currency, int(minor))


class SimulatedShop:
    """Makes order groups of two sellers with one product each, whom the first simulation makes. All these rows stay in
    the project.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._products: list[Product] = []

    async def group(self, scenario: Scenario) -> Target:
        """Make an order group for a scenario. Raises NoVerdict or Declined."""
        self._products = self._products or await self._products_in_stock()
        currency = scenario.currency or "USD"
        parts = _PARTS[currency]
        group_id = str(uuid.uuid4())
        total = str(sum(map(Decimal, parts)))
        await self._records.insert("order_groups", {"id": group_id, "currency": currency, "total_amount": total})
        for product, amount in zip(self._products, parts, strict=True):
            order_id, seller_id = str(uuid.uuid4()), product["seller_id"]
            order = {"id": order_id, "order_group_id": group_id, "seller_id": seller_id, "total_amount": amount}
            await self._records.insert("orders", order)
            item = {"order_id": order_id, "product_id": product["id"], "quantity": 1, "unit_amount": amount}
            await self._records.insert("order_items", item)
        if scenario.needs is Needs.CANCELLED:
            await self._records.call("cancel_order_group", {"p_order_group_id": group_id})
        return await read_target(self._records, group_id)

    async def _products_in_stock(self) -> list[Product]:
        """Two products. Two simulations that are a project's first at the same time make their own, and later ones take
        the same two of these.
        """
        mine = (("sku", "eq", _SKU), ("name", "eq", NAME))
        rows = await self._records.some("products", "id,seller_id", *mine, order=[("id", False)], limit=2)
        products = [answers.read(Product, row, of="products") for row in rows]
        while len(products) < 2:
            products.append(await self._new_product())
        for product in products:
            await self._stock_up(product["id"])
        return products

    async def _new_product(self) -> Product:
        product = Product(id=str(uuid.uuid4()), seller_id=str(uuid.uuid4()))
        await self._records.insert("sellers", {"id": product["seller_id"], "name": NAME})
        await self._records.insert("products", {**product, "sku": _SKU, "name": NAME})
        return product

    async def _stock_up(self, product_id: str) -> None:
        order = [("product_id", False)]
        mine = ("product_id", "eq", product_id)
        (row,) = await self._records.some("inventory_levels", "available", mine, order=order, limit=1)
        if answers.read(Level, row, of="inventory_levels")["available"] < _LEAST_STOCK:
            receipt = {"p_product_id": product_id, "p_quantity": _RECEIPT, "p_note": NAME}
            await self._records.call("record_inventory_receipt", receipt)
