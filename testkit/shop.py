"""A shop, whose server writes as `service_role`, and what its buyers pay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from local_stack.surface import StackSurface
from testkit.database import Connection, connected, scalar
from testkit.payments import EXPONENTS, Payment
from testkit.stripe_events import Json, completed

# Two orders with five items: (quantity, unit amount) per item.
TWO_ORDERS: Sequence[Sequence[tuple[int, str]]] = (
    ((1, "19.99"), (2, "5.00"), (3, "1.25")),
    ((1, "40.00"), (5, "0.10")),
)

# What a page that shows it must escape.
HOSTILE_NAME = "Bowl <script>alert(1)</script> \"' & <img src=x onerror=alert(1)>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    id: UUID
    member_id: UUID
    product_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGroup:
    id: UUID
    buyer_id: UUID
    currency: str
    total_amount: Decimal
    order_ids: tuple[UUID, ...]
    item_ids: tuple[UUID, ...]

    def payment(self) -> Payment:
        """The payment that Stripe reports when the buyer paid exactly the total."""
        minor = self.total_amount.scaleb(EXPONENTS.get(self.currency, 2))
        assert minor == minor.to_integral_value()
        return Payment(
            order_group_id=self.id,
            amount_minor=int(minor),
            amount=format(self.total_amount, "f"),
            currency=self.currency.lower(),
        )


@dataclass(frozen=True, slots=True)
class Shop:
    """Sellers with products and members, and buyers; order groups are made as the shop's server makes them."""

    service: Connection
    sellers: tuple[Seller, ...]
    buyer_id: UUID
    stranger_id: UUID

    def order_group(
        self,
        orders: Sequence[Sequence[tuple[int, str]]] = TWO_ORDERS,
        *,
        currency: str = "USD",
        buyer_id: UUID | None = None,
        total_amount: Decimal | None = None,
    ) -> OrderGroup:
        """A pending group: one order per seller in turn, one item per (quantity, unit amount)."""
        sums = [sum((q * Decimal(unit) for q, unit in items), Decimal(0)) for items in orders]
        total = sum(sums, Decimal(0)) if total_amount is None else total_amount
        buyer = buyer_id or self.buyer_id
        with self.service.transaction():
            group_id: UUID = scalar(
                self.service,
                "insert into public.order_groups (buyer_id, currency, total_amount) values (%s, %s, %s) returning id",
                buyer,
                currency,
                total,
            )
            order_ids: list[UUID] = []
            item_ids: list[UUID] = []
            for position, (items, amount) in enumerate(zip(orders, sums, strict=True)):
                seller = self.sellers[position % len(self.sellers)]
                order_ids.append(self.add_order(group_id, seller, amount))
                for place, (quantity, unit_amount) in enumerate(items):
                    product_id = seller.product_ids[place % len(seller.product_ids)]
                    item_ids.append(self.add_item(order_ids[-1], product_id, quantity, unit_amount))
        return OrderGroup(
            id=group_id,
            buyer_id=buyer,
            currency=currency,
            total_amount=total,
            order_ids=tuple(order_ids),
            item_ids=tuple(item_ids),
        )

    def add_order(self, group_id: UUID, seller: Seller, amount: Decimal | str) -> UUID:
        order_id: UUID = scalar(
            self.service,
            "insert into public.orders (order_group_id, seller_id, total_amount) values (%s, %s, %s) returning id",
            group_id,
            seller.id,
            amount,
        )
        return order_id

    def add_item(self, order_id: UUID, product_id: UUID, quantity: int, unit_amount: Decimal | str) -> UUID:
        item_id: UUID = scalar(
            self.service,
            "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
            " values (%s, %s, %s, %s) returning id",
            order_id,
            product_id,
            quantity,
            unit_amount,
        )
        return item_id


def new_user(connection: Connection) -> UUID:
    """A person who has signed up; `connection` is the superuser's, as Supabase Auth's is."""
    user_id: UUID = scalar(connection, "insert into auth.users (id) values (gen_random_uuid()) returning id")
    return user_id


def open_shop(superuser: Connection, service: Connection, *, sellers: int = 2, products: int = 3) -> Shop:
    """Sellers with a member and products each, a buyer, and a stranger who has nothing to do with any of it."""
    made = []
    for number in range(1, sellers + 1):
        member_id = new_user(superuser)
        seller_id = scalar(service, "insert into public.sellers (name) values (%s) returning id", f"Seller {number}")
        service.execute(
            "insert into public.seller_members (seller_id, user_id) values (%s, %s)", [seller_id, member_id]
        )
        product_ids = tuple(
            scalar(
                service,
                "insert into public.products (seller_id, sku, name) values (%s, %s, %s) returning id",
                seller_id,
                f"SKU-{place}",
                f"Product {place} of seller {number}",
            )
            for place in range(1, products + 1)
        )
        made.append(Seller(id=seller_id, member_id=member_id, product_ids=product_ids))
    return Shop(service, tuple(made), new_user(superuser), new_user(superuser))


@contextmanager
def shop_on(stack: StackSurface) -> Iterator[Shop]:
    """A shop on a running stack."""
    with connected(stack) as (superuser, service):
        yield open_shop(superuser, service)


def paid(group: OrderGroup, **session: Any) -> Json:
    """The event of a buyer who paid exactly the total; each call is another payment."""
    payment = group.payment()
    return completed(str(group.id), **{"amount_total": payment.amount_minor, "currency": payment.currency, **session})
