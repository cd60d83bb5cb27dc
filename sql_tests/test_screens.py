"""What a shop's screens list is read by index, as PostgREST asks it, and no further than its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import pytest
from psycopg import pq

from sql_tests.volume import BIG_TABLES, LARGE, filled, key, scanned, walk
from testkit.database import Connection, Database

PAGE = 20

# PostgREST's embedding: a lateral join for each row, on all columns of the foreign key.
ITEMS: LiteralString = """
    left join lateral (
        select json_agg(i) as order_items from (
            select i.* from public.order_items as i
            where i.order_id = o.id and i.order_group_id = o.order_group_id and i.seller_id = o.seller_id
        ) as i
    ) as items on true
"""
ORDERS: LiteralString = "select o.*, items.order_items from public.orders as o" + ITEMS
PURCHASES: LiteralString = (
    "select g.*, embedded.orders from public.order_groups as g left join lateral (select json_agg(o) as orders from ("
    + ORDERS
    + " where o.order_group_id = g.id) as o) as embedded on true"
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A question, who asks it (null: the service key), and how many rows of big tables it may look at."""

    asked_by: str | None
    question: LiteralString
    most_rows: int


SELLER: LiteralString = "md5('large seller')::uuid"
MEMBER, BUYER = "large seller's member", "large buyer"
# The policy for buyers reads the ids of their own groups, from the index alone: once for each table that has it.
OWN_GROUPS = LARGE
PRODUCTS = 1000  # few enough for the planner to sort them

SCREENS: dict[str, Listing] = {
    "a seller's newest orders with their items": Listing(
        MEMBER, ORDERS + f" where o.seller_id = {SELLER} order by o.created_at desc limit 20", 2 * PAGE
    ),
    "all that a member may see, newest first": Listing(
        MEMBER, ORDERS + " order by o.created_at desc limit 20", 4 * LARGE
    ),
    "a seller's orders of a day": Listing(
        MEMBER,
        ORDERS + " where o.created_at >= '2024-01-02' and o.created_at < '2024-01-03' order by o.created_at desc",
        4 * 300,
    ),
    "an order with its items": Listing(MEMBER, ORDERS + " where o.id = md5('large order' || :large + 7)::uuid", 4),
    "an order's history": Listing(
        MEMBER, "select * from public.order_status_changes where order_id = md5('large order' || :large + 7)::uuid", 1
    ),
    "stock of one seller, by number": Listing(
        MEMBER, f"select * from public.inventory_levels where seller_id = {SELLER} order by sku limit 20", 3 * PRODUCTS
    ),
    "the last movements of a seller's stock": Listing(
        MEMBER, f"select * from public.inventory_ledger where seller_id = {SELLER} order by id desc limit 20", PAGE
    ),
    "the movements of one product": Listing(
        MEMBER,
        "select * from public.inventory_ledger where product_id = md5('large product7')::uuid"
        " order by id desc limit 20",
        100,
    ),
    "a buyer's newest purchases with orders and items": Listing(
        BUYER, PURCHASES + " order by g.created_at desc limit 20", 3 * PAGE + 2 * OWN_GROUPS
    ),
    "one purchase of a buyer": Listing(
        BUYER, PURCHASES + " where g.id = md5('large group7')::uuid", 3 + 2 * OWN_GROUPS
    ),
    "a small member's orders with items": Listing("member12", ORDERS + " order by o.created_at desc limit 20", 1000),
    "a small buyer's purchases": Listing("user12", PURCHASES + " order by g.created_at desc limit 20", 100),
    "nobody's orders": Listing("nobody", ORDERS + " order by o.created_at desc limit 20", 0),
    "pending groups by age": Listing(
        None, "select * from public.order_groups where status = 'pending' order by created_at limit 20", PAGE
    ),
    "paid and not fulfilled": Listing(
        None, "select * from public.orders where status = 'paid' order by paid_at limit 20", PAGE
    ),
    "groups paid on a day": Listing(
        None,
        "select * from public.order_groups where paid_at >= '2024-01-02' and paid_at < '2024-01-03'",
        1440 + 2 * 300,
    ),
    "a group by its payment intent": Listing(
        None, "select * from public.order_groups where stripe_payment_intent_id = 'pi_77'", 1
    ),
    "a group by its session": Listing(
        None, "select * from public.order_groups where stripe_checkout_session_id = 'cs_77'", 1
    ),
    "a case by its session": Listing(None, "select * from payments.exceptions where checkout_session_id = 'cs_x77'", 1),
    "a case by its number": Listing(None, "select * from payments.exceptions where id = 77", 1),
    "open cases, oldest first": Listing(
        None, "select * from payments.exceptions where status = 'open' order by first_seen_at limit 20", PAGE
    ),
    "a seller's orders, for the server": Listing(
        None, ORDERS + f" where o.seller_id = {SELLER} order by o.created_at desc limit 20", 2 * PAGE
    ),
    "a buyer's purchases, for the server": Listing(
        None, PURCHASES + " where g.buyer_id = md5('large buyer')::uuid order by g.created_at desc limit 20", 3 * PAGE
    ),
    "what was sold of a product": Listing(
        None, "select * from public.order_items where product_id = md5('large product7')::uuid limit 20", PAGE
    ),
}


@pytest.fixture(scope="module")
def big(module_db: Database) -> Iterator[Connection]:
    with filled(module_db) as superuser:
        yield superuser


@pytest.mark.parametrize("screen", SCREENS)
def test_list_of_a_screen_is_read_by_index_and_no_further_than_its_page(
    module_db: Database, big: Connection, screen: str
) -> None:
    assert big.info.status == pq.ConnStatus.OK
    listing = SCREENS[screen]
    question = listing.question.replace(":large", str(LARGE))
    private = "payments." in question  # read by functions alone, as the owner
    reader = (
        module_db.connect("postgres")
        if private
        else module_db.act_as("authenticated", user_id=key(listing.asked_by))
        if listing.asked_by
        else module_db.act_as("service_role")
    )

    with reader:
        row = reader.execute(f"explain (analyze, format json) {question}".encode()).fetchone()
    assert row is not None
    top = row["QUERY PLAN"][0]["Plan"]

    looked_at = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in walk(top)
        if node.get("Relation Name") in BIG_TABLES and node["Actual Loops"]
    )
    assert scanned([top]) == set()
    assert looked_at <= listing.most_rows
