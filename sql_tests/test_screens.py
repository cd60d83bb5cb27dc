"""What a shop's screens list is read by index, no further than its page: as SQL, and through the real PostgREST."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import httpx
import pytest
from psycopg import pq

from local_stack.keys import USER_TOKEN_SECONDS, Keys, sign
from local_stack.postgrest import PostgREST
from sql_tests.volume import BIG_TABLES, LARGE, Plan, filled, key, scanned, walk
from testkit.database import Connection, Database
from testkit.screens import screens

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

    assert scanned([top]) == set()
    assert looked_at(top) <= listing.most_rows


def looked_at(top: Plan) -> int:
    """How many rows of big tables were read, whether they were shown or not."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in walk(top)
        if node.get("Relation Name") in BIG_TABLES and node["Actual Loops"]
    )


@pytest.fixture(scope="module")
def data_api(
    module_db: Database, big: Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgREST, Keys]]:
    """The real PostgREST over the filled database."""
    assert big.info.status == pq.ConnStatus.OK
    keys = Keys.generate()
    postgrest = PostgREST(
        dsn=module_db.url("authenticator"),
        jwt_secret=keys.jwt_secret,
        token=keys.service_role_key,
        log=tmp_path_factory.mktemp("postgrest") / "postgrest.log",
        tells_plans=True,
    )
    postgrest.start()
    yield postgrest, keys
    postgrest.stop()


# Who asks for a list of docs/adopting.md (null: the service key), and how many rows of big tables it may look at.
DOCUMENTED: dict[str, tuple[str | None, int]] = {
    "a seller's newest orders": (MEMBER, 2 * PAGE),
    "a buyer's purchases": (BUYER, 3 * PAGE + 3 * OWN_GROUPS),
    "what happened to an order": (MEMBER, 1),
    "a seller's stock": (MEMBER, 3 * PRODUCTS),
    "its last movements": (MEMBER, PAGE),
    "paid, to be fulfilled (server)": (None, PAGE),
    "pending checkouts (server)": (None, PAGE),
}


def test_the_lists_of_the_documents_are_known() -> None:
    assert set(screens()) == set(DOCUMENTED)


@pytest.mark.parametrize("screen", DOCUMENTED)
def test_documented_list_is_read_by_index_through_postgrest(data_api: tuple[PostgREST, Keys], screen: str) -> None:
    postgrest, keys = data_api
    asked_by, most_rows = DOCUMENTED[screen]
    id_ = key(f"large order{LARGE + 7}") if "order_id=eq" in screens()[screen] else key("large seller")
    path = screens()[screen].replace("<id>", str(id_))
    claims = {"role": "authenticated", "sub": str(key(asked_by))} if asked_by else {"role": "service_role"}
    token = sign(keys.jwt_secret, claims, lifetime=USER_TOKEN_SECONDS)

    answers = [
        httpx.get(f"{postgrest.url}/{path}", headers={"Authorization": f"Bearer {token}", "Accept": accept})
        for accept in ("application/json", "application/vnd.pgrst.plan+json; options=analyze")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    rows, (plan,) = (answer.json() for answer in answers)
    assert rows
    assert scanned([plan["Plan"]]) == set()
    assert looked_at(plan["Plan"]) <= most_rows
