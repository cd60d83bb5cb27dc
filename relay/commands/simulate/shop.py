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
# Pieces of each product, more than all scenarios sell: nothing is oversold.
_STOCK: Final = 1000


class Group(TypedDict):
    """A row of order_groups; the amount in major units."""

    status: str
    currency: str
    total_amount: Amount


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
    """Makes two sellers with one product each, and order groups. All these rows stay in the project."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._products: list[tuple[str, str]] = []

    async def group(self, scenario: Scenario) -> Target:
        """Make an order group for a scenario. Raises NoVerdict or Declined."""
        if not self._products:
            self._products = [await self._product(), await self._product()]
        currency = scenario.currency or "USD"
        parts = _PARTS[currency]
        group_id = str(uuid.uuid4())
        total = str(sum(map(Decimal, parts)))
        await self._records.insert("order_groups", {"id": group_id, "currency": currency, "total_amount": total})
        for (seller_id, product_id), amount in zip(self._products, parts, strict=True):
            order_id = str(uuid.uuid4())
            order = {"id": order_id, "order_group_id": group_id, "seller_id": seller_id, "total_amount": amount}
            await self._records.insert("orders", order)
            item = {"order_id": order_id, "product_id": product_id, "quantity": 1, "unit_amount": amount}
            await self._records.insert("order_items", item)
        if scenario.needs is Needs.CANCELLED:
            await self._records.call("cancel_order_group", {"p_order_group_id": group_id})
        return await read_target(self._records, group_id)

    async def _product(self) -> tuple[str, str]:
        seller_id, product_id = str(uuid.uuid4()), str(uuid.uuid4())
        await self._records.insert("sellers", {"id": seller_id, "name": NAME})
        product = {"id": product_id, "seller_id": seller_id, "sku": "SIMULATION", "name": NAME}
        await self._records.insert("products", product)
        receipt = {"p_product_id": product_id, "p_quantity": _STOCK, "p_note": NAME}
        await self._records.call("record_inventory_receipt", receipt)
        return seller_id, product_id
