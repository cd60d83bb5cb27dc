"""The stage of the tests: databases, actors, a shop, and payments for its order groups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, LiteralString
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

Connection = psycopg.Connection[dict[str, Any]]
Role = Literal["anon", "authenticated", "service_role"]
Row = dict[str, Any]

SUPERUSER = "supabase_admin"
TABLES = (
    "public.sellers",
    "public.seller_members",
    "public.products",
    "public.order_groups",
    "public.orders",
    "public.order_items",
    "public.inventory_ledger",
    "payments.currencies",
    "payments.stripe_events",
    "payments.exceptions",
)


@dataclass(frozen=True, slots=True)
class Database:
    """One clone of the template; every login role has the server's one password."""

    name: str
    host: str
    port: int
    password: str

    def dsn(self, user: str) -> str:
        return make_conninfo(
            host=self.host, port=self.port, user=user, password=self.password, dbname=self.name, sslmode="disable"
        )

    def url(self, user: str) -> str:
        return (
            f"postgresql://{user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{self.name}?sslmode=disable"
        )

    def connect(self, user: str = SUPERUSER, *, autocommit: bool = True) -> Connection:
        return psycopg.connect(self.dsn(user), autocommit=autocommit, row_factory=dict_row)

    def act_as(self, role: Role, *, user_id: UUID | None = None, autocommit: bool = True) -> Connection:
        """A session as PostgREST opens it: logged in as authenticator, then switched to the role."""
        connection = self.connect("authenticator")
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
        connection.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
        connection.autocommit = autocommit
        return connection

    def snapshot(self) -> dict[str, list[Row]]:
        """Every row of every table with the transaction that wrote it: equal snapshots mean nothing was written."""
        with self.connect() as connection:
            return {
                table: connection.execute(
                    sql.SQL("select t.xmin::text as xmin, t.* from {} as t order by t::text").format(
                        sql.Identifier(*table.split("."))
                    )
                ).fetchall()
                for table in TABLES
            }


def scalar(connection: Connection, query: LiteralString, *values: Any) -> Any:
    """The single value of a query's single row."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    (value,) = row.values()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the relay sends for one event; spoil one field with `but()`."""

    order_group_id: UUID | None
    amount_minor: int | None
    amount: str | None
    currency: str | None = "usd"
    event_id: str | None = field(default_factory=lambda: f"evt_{uuid4().hex}")
    event_type: str | None = "checkout.session.completed"
    event_created: datetime | None = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    livemode: bool | None = False
    checkout_session_id: str | None = field(default_factory=lambda: f"cs_test_{uuid4().hex}")
    payment_intent_id: str | None = field(default_factory=lambda: f"pi_{uuid4().hex}")
    session_metadata: dict[str, Any] | None = field(default_factory=lambda: {"source": "web"})
    source: str | None = "webhook"
    unmatched_reason: str | None = None

    def but(self, **changes: Any) -> Payment:
        return replace(self, **changes)

    def twin(self) -> Payment:
        """Another event of the same payment, as Stripe sends one for delayed methods."""
        return self.but(event_id=f"evt_{uuid4().hex}", event_type="checkout.session.async_payment_succeeded")

    def rival(self) -> Payment:
        """Another payment for the same order group: the buyer paid in a second tab."""
        return self.but(
            event_id=f"evt_{uuid4().hex}",
            checkout_session_id=f"cs_test_{uuid4().hex}",
            payment_intent_id=f"pi_{uuid4().hex}",
        )

    def parameters(self) -> dict[str, Any]:
        return {
            "p_order_group_id": self.order_group_id,
            "p_stripe_event_id": self.event_id,
            "p_stripe_event_type": self.event_type,
            "p_stripe_event_created": self.event_created,
            "p_livemode": self.livemode,
            "p_checkout_session_id": self.checkout_session_id,
            "p_payment_intent_id": self.payment_intent_id,
            "p_amount_minor": self.amount_minor,
            "p_amount": self.amount,
            "p_currency": self.currency,
            "p_session_metadata": None if self.session_metadata is None else json.dumps(self.session_metadata),
            "p_source": self.source,
            "p_unmatched_reason": self.unmatched_reason,
        }


RECONCILE: LiteralString = """
select public.reconcile_order_group_payment(
    p_order_group_id => %(p_order_group_id)s,
    p_stripe_event_id => %(p_stripe_event_id)s,
    p_stripe_event_type => %(p_stripe_event_type)s,
    p_stripe_event_created => %(p_stripe_event_created)s,
    p_livemode => %(p_livemode)s,
    p_checkout_session_id => %(p_checkout_session_id)s,
    p_payment_intent_id => %(p_payment_intent_id)s,
    p_amount_minor => %(p_amount_minor)s,
    p_amount => %(p_amount)s,
    p_currency => %(p_currency)s,
    p_session_metadata => %(p_session_metadata)s,
    p_source => %(p_source)s,
    p_unmatched_reason => %(p_unmatched_reason)s
) as verdict
"""


def reconcile(connection: Connection, payment: Payment) -> Row:
    """Calls the function with a payment and returns its verdict."""
    row = connection.execute(RECONCILE, payment.parameters()).fetchone()
    assert row is not None
    verdict: Row = row["verdict"]
    return verdict


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


# Stripe's currencies that do not count in hundredths: https://docs.stripe.com/currencies#zero-decimal
ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()
THREE_DECIMAL = "BHD JOD KWD OMR TND".split()
EXPONENTS = dict.fromkeys(ZERO_DECIMAL, 0) | dict.fromkeys(THREE_DECIMAL, 3)

# Two orders with five items: (quantity, unit amount) per item.
TWO_ORDERS: Sequence[Sequence[tuple[int, str]]] = (
    ((1, "19.99"), (2, "5.00"), (3, "1.25")),
    ((1, "40.00"), (5, "0.10")),
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
