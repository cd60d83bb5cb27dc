"""From a basket to Stripe's payment page, and back: what is for sale, the two calls of a checkout, and its end."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from stripe import StripeClient
from supabase import AsyncClient

PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
# Stripe's page closes first (30 minutes are its least): the order still waits when the last payment's event comes.
ORDER_LASTS, PAGE_CLOSES_EARLIER = timedelta(minutes=60), timedelta(minutes=15)

Json = dict[str, Any]


class Refused(Exception):
    """The buyer cannot check out: `reason` says why, and `lines` what is left where that is the reason."""

    def __init__(self, reason: str, lines: list[Json] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.lines = reason, lines


async def catalogue(database: AsyncClient) -> dict[str, Json]:
    """What is for sale, by product id, in the price list's order. Buyers may not read these tables themselves."""
    places = list(PRICES["goods"])
    levels = database.table("inventory_levels").select("product_id,seller_id,sku,name,available")
    rows: Any = (await levels.in_("sku", places).execute()).data
    seller_ids = {row["seller_id"] for row in rows}
    sellers: Any = (await database.table("sellers").select("id,name").in_("id", seller_ids).execute()).data
    names = {seller["id"]: seller["name"] for seller in sellers}
    rows.sort(key=lambda row: places.index(row["sku"]))
    return {
        row["product_id"]: {**row, **PRICES["goods"][row["sku"]], "seller": names[row["seller_id"]]} for row in rows
    }


def orders_of(goods: dict[str, Json], lines: dict[str, int]) -> list[Json]:
    """An order per seller, at our prices; `lines` are pieces by product id."""
    orders = []
    for seller_id in {goods[product_id]["seller_id"] for product_id in lines}:
        theirs = {
            product_id: pieces for product_id, pieces in lines.items() if goods[product_id]["seller_id"] == seller_id
        }
        total = sum(pieces * Decimal(goods[product_id]["price"]) for product_id, pieces in theirs.items())
        items = [{"product_id": p, "quantity": n, "unit_amount": goods[p]["price"]} for p, n in theirs.items()]
        orders.append({"seller_id": seller_id, "total_amount": str(total), "items": items})
    return orders


async def start(database: AsyncClient, stripe: StripeClient, shop_url: str, **order: Any) -> Json:
    """A pending order with its promise of stock, then Stripe's page for exactly its amount. Raises Refused.

    `order` is `order_group_id`, which the browser makes up, `buyer_id` and `orders`; asked again, it is the same page.
    """
    asked = {f"p_{name}": value for name, value in order.items()} | {
        "p_currency": PRICES["currency"],
        "p_expires_at": (datetime.now(UTC) + ORDER_LASTS).isoformat(),
        "p_reserve": True,
    }
    group: Any = (await database.rpc("create_order_group", asked).execute()).data
    if group["outcome"] == "rejected":
        raise Refused(group["reason"], group["lines"])
    page_closes = datetime.fromisoformat(group["expires_at"]) - PAGE_CLOSES_EARLIER
    if group["status"] != "pending" or page_closes < datetime.now(UTC):
        raise Refused(f"order_is_{group['status']}")
    order_group_id = group["order_group_id"]
    price: Any = {
        "currency": group["currency"],
        "unit_amount": group["amount_minor"],
        "product_data": {"name": f"Order {order_group_id[:8]}"},
    }
    session = await stripe.v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "line_items": [{"quantity": 1, "price_data": price}],
            "client_reference_id": order_group_id,
            "metadata": {"order_group_id": order_group_id},
            "payment_intent_data": {"metadata": {"order_group_id": order_group_id}},
            "success_url": f"{shop_url}/order?id={order_group_id}&session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{shop_url}/",
            "expires_at": int(page_closes.timestamp()),
        },
        {"idempotency_key": f"checkout-{order_group_id}"},
    )
    return {"url": session.url, "checkout_session_id": session.id}


async def leave(database: AsyncClient, stripe: StripeClient, buyer_id: str, checkout_session_id: str) -> None:
    """The buyer has not paid: closes Stripe's page, then the order, which frees the stock. Raises Refused."""
    session = await stripe.v1.checkout.sessions.retrieve_async(checkout_session_id)
    order_group_id = session.metadata["order_group_id"] if session.metadata else ""
    own = database.table("order_groups").select("id").eq("id", order_group_id).eq("buyer_id", buyer_id)
    if not (await own.execute()).data:
        raise Refused("order_not_found")
    if session.status == "complete":
        raise Refused("order_is_paid")
    if session.status == "open":
        await stripe.v1.checkout.sessions.expire_async(checkout_session_id)
    await database.rpc("cancel_order_group", {"p_order_group_id": order_group_id}).execute()
