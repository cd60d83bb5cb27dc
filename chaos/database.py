"""The database of a run: pending groups by the thousand, written as `service_role`; and what became of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from chaos.plan import Group, Scenario
from local_stack.surface import StackSurface
from testkit.database import Connection, Row, connected
from testkit.invariants import broken_invariants
from testkit.shop import Shop, open_shop

SELLERS = 4
PRODUCTS = 5


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What the database shows at the end."""

    events: dict[str, dict[str, Any]]
    exceptions: dict[str, dict[str, Any]]
    groups: dict[uuid.UUID, dict[str, Any]]
    commits: dict[uuid.UUID, int]
    """Item id -> quantity that the stock ledger took for it."""
    broken_invariants: list[str]
    reversals: dict[str, str]
    """Refund or dispute -> its status."""
    open_disputes: set[str]
    """Those with an open exception."""


def connect(stack: StackSurface, user: str = "supabase_admin") -> Connection:
    """An own session, past the gateway."""
    return psycopg.connect(stack.dsn(user=user), autocommit=True, row_factory=dict_row)


def fill(stack: StackSurface, scenarios: Sequence[Scenario]) -> None:
    """Sellers, products, and every scenario's groups, still pending."""
    with connected(stack) as (superuser, service):
        shop = open_shop(superuser, service, sellers=SELLERS, products=PRODUCTS)
        add_groups(service, shop, [group for scenario in scenarios for group in scenario.groups])


def add_groups(service: Connection, shop: Shop, groups: Sequence[Group]) -> None:
    """The shop's groups, still pending."""
    with service.transaction(), service.cursor() as cursor:
        cursor.executemany(
            "insert into public.order_groups (id, buyer_id, currency, total_amount) values (%s, %s, %s, %s)",
            [(group.id, shop.buyer_id, group.currency, group.total) for group in groups],
        )
        cursor.executemany(
            "insert into public.orders (id, order_group_id, seller_id, total_amount) values (%s, %s, %s, %s)",
            [row for group in groups for row in _orders(shop, group)],
        )
        cursor.executemany(
            "insert into public.order_items (id, order_id, product_id, quantity, unit_amount)"
            " values (%s, %s, %s, %s, %s)",
            [row for group in groups for row in _items(shop, group)],
        )


def _orders(shop: Shop, group: Group) -> list[tuple[Any, ...]]:
    return [
        (
            order_id,
            group.id,
            shop.sellers[seller].id,
            sum(item.quantity * item.unit_amount for item in group.items if item.seller == seller),
        )
        for seller, order_id in group.orders.items()
    ]


def _items(shop: Shop, group: Group) -> list[tuple[Any, ...]]:
    return [
        (
            item.id,
            group.orders[item.seller],
            shop.sellers[item.seller].product_ids[item.product],
            item.quantity,
            item.unit_amount,
        )
        for item in group.items
    ]


def look(stack: StackSurface) -> DatabaseState:
    """Everything that the end is judged by."""
    with connect(stack, "postgres") as owner:
        broken = broken_invariants(owner)
    with connect(stack) as superuser:
        return state_of(superuser, broken)


def state_of(superuser: Connection, broken: Sequence[Row]) -> DatabaseState:
    """What one database shows, and which of its invariants are broken."""
    events = superuser.execute("select id, order_group_id, outcome from payments.stripe_events").fetchall()
    exceptions = superuser.execute(
        "select stripe_event_id, reason, status, attempts, dispute_id from payments.exceptions"
    ).fetchall()
    groups = superuser.execute(
        "select id, status, refunded_amount, stripe_webhook_event_id, stripe_checkout_session_id"
        " from public.order_groups"
    ).fetchall()
    reversals = superuser.execute(
        "select id, status from payments.refunds union all select id, status from payments.disputes"
    ).fetchall()
    commits = superuser.execute(
        "select order_item_id, sum(-quantity_delta)::int as taken from public.inventory_ledger"
        " where entry_type = 'order_commit' group by order_item_id"
    ).fetchall()
    return DatabaseState(
        events={row["id"]: row for row in events},
        exceptions={row["stripe_event_id"]: row for row in exceptions},
        groups={row["id"]: row for row in groups},
        commits={row["order_item_id"]: row["taken"] for row in commits},
        reversals={row["id"]: row["status"] for row in reversals},
        open_disputes={
            row["dispute_id"] for row in exceptions if row["status"] == "open" and row["reason"] == "payment_disputed"
        },
        broken_invariants=[f"{row['invariant']}: {row['subject']}, {row['detail']}" for row in broken],
    )
