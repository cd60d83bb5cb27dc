"""Stock that is promised: derived from pending groups, for exactly as many buyers as there are pieces."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.races import ENDS, End, RaceDatabase
from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.order_group_requests import Json, OrderGroupRequest, line, request
from testkit.payments import Payment, reconcile
from testkit.shop import Shop, new_user

PAST, FUTURE = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


def levels(connection: Connection, product_id: UUID) -> tuple[int, int, int]:
    """On hand, reserved, available."""
    row = connection.execute(
        "select on_hand, reserved, available from public.inventory_levels where product_id = %s", [product_id]
    ).fetchone()
    assert row is not None
    return row["on_hand"], row["reserved"], row["available"]


def receive(connection: Connection, product_id: UUID, quantity: int) -> None:
    connection.execute("select public.record_inventory_receipt(%s, %s)", [product_id, quantity])


def wanting(shop: Shop, quantity: int, product_id: UUID | None = None) -> OrderGroupRequest:
    """A request with a promise of so many pieces of the first seller's first product."""
    seller = shop.sellers[0]
    item = line(product_id or seller.product_ids[0], quantity)
    orders = [{"seller_id": str(seller.id), "total_amount": "1.00", "items": [item]}]
    return OrderGroupRequest(orders=orders, buyer_id=shop.buyer_id, reserve=True)


def payment_of(answer: Json) -> Payment:
    return Payment(
        order_group_id=UUID(answer["order_group_id"]),
        amount_minor=answer["amount_minor"],
        amount=answer["total_amount"],
        currency=answer["currency"],
    )


def test_a_promise_lasts_until_its_group_is_paid_cancelled_or_expired(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    product = shop.sellers[0].product_ids[0]
    receive(service, product, 10)
    told = [levels(service, product)]

    paid = wanting(shop, 1).send(service)
    cancelled = wanting(shop, 2).send(service)
    wanting(shop, 3).but(expires_at=FUTURE).send(service)
    told.append(levels(service, product))
    wanting(shop, 1).but(expires_at=PAST).send(service)
    wanting(shop, 4).but(reserve=False).send(service)
    shop.order_group([[(4, "1.00")]])
    told.append(levels(service, product))
    assert reconcile(service, payment_of(paid))["outcome"] == "applied"
    told.append(levels(service, product))
    service.execute("select public.cancel_order_group(%s)", [cancelled["order_group_id"]])
    told.append(levels(service, product))
    owner.execute("update public.order_groups set expires_at = now() where expires_at = %s", [FUTURE])
    told.append(levels(service, product))
    owner.execute("update public.order_groups set awaiting_funds_since = now() where expires_at > %s", [PAST])
    told.append(levels(service, product))

    assert told == [(10, 0, 10), (10, 6, 4), (10, 6, 4), (9, 5, 4), (9, 3, 6), (9, 0, 9), (9, 3, 6)]
    assert broken_invariants(superuser) == []


def test_what_is_not_there_is_not_promised_and_each_product_is_named_once(
    db: Database, service: Connection, shop: Shop
) -> None:
    first, second, third = shop.sellers[0].product_ids
    for product, quantity in ((first, 5), (second, 2), (third, 9)):
        receive(service, product, quantity)
    service.execute("select public.record_inventory_adjustment(%s, -3, 'lost')", [second])
    wanting(shop, 1).send(service)
    asked = wanting(shop, 3)
    asked.orders[0]["items"] += [line(second), line(third, 9), line(first, 2), line(first, 1)]
    before = db.snapshot()

    answer = asked.send(service)

    assert {name: value for name, value in answer.items() if value is not None} == {
        "outcome": "rejected",
        "reason": "insufficient_stock",
        "order_group_id": str(asked.order_group_id),
        "lines": sorted(
            [
                {"product_id": str(first), "requested": 6, "available": 4},
                {"product_id": str(second), "requested": 1, "available": -1},
            ],
            key=lambda each: UUID(str(each["product_id"])).int,
        ),
    }
    assert db.snapshot() == before
    assert asked.but(reserve=False).send(service)["outcome"] == "created"


def test_items_that_come_later_are_promised_too(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    """The shop's key may insert items of a pending group, and its owner may change them."""
    first, second, third = shop.sellers[0].product_ids
    receive(service, first, 3)
    answer = wanting(shop, 1).send(service)
    order_id = scalar(service, "select id from public.orders")

    shop.add_item(order_id, first, 1, "1.00")
    item_id = shop.add_item(order_id, second, 2, "1.00")
    told = [levels(service, each) for each in (first, second, third)]
    owner.execute("update public.order_items set product_id = %s where id = %s", [third, item_id])
    told += [levels(service, each) for each in (first, second, third)]

    assert told == [(3, 2, 1), (0, 2, -2), (0, 0, 0), (3, 2, 1), (0, 0, 0), (0, 2, -2)]
    assert broken_invariants(superuser) == []
    unpromised = shop.order_group([[(1, "1.00")]])
    shop.add_item(unpromised.order_ids[0], first, 1, "1.00")
    assert levels(service, first) == (3, 2, 1)
    assert answer["outcome"] == "created"


def test_a_member_reads_the_figures_of_the_own_products_alone(db: Database, service: Connection, shop: Shop) -> None:
    first, second = shop.sellers
    receive(service, first.product_ids[0], 5)
    receive(service, second.product_ids[0], 1)
    wanting(shop, 2).send(service)

    with db.act_as("authenticated", user_id=first.member_id) as member:
        told = member.execute(
            "select product_id, on_hand, reserved, available from public.inventory_levels order by on_hand desc, sku"
        ).fetchall()

    assert [tuple(row.values()) for row in told] == [
        (first.product_ids[0], 5, 2, 3),
        (first.product_ids[1], 0, 0, 0),
        (first.product_ids[2], 0, 0, 0),
    ]
    with db.act_as("authenticated", user_id=second.member_id) as member:
        told = member.execute("select * from public.inventory_levels where available > 0").fetchall()
        assert [row["product_id"] for row in told] == [second.product_ids[0]]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema payments"):
            member.execute("select payments.reserved_pieces(%s)", [first.product_ids[0]])


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_no_promise_is_made_on_an_old_snapshot(db: Database, shop: Shop, isolation: IsolationLevel) -> None:
    with db.act_as("service_role", autocommit=False) as connection:
        connection.rollback()
        connection.isolation_level = isolation
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="read committed"):
            wanting(shop, 1).send(connection)
        connection.rollback()
        assert wanting(shop, 1).but(reserve=False).send(connection)["outcome"] == "created"


# races


def rivals(database: RaceDatabase, first: OrderGroupRequest, second: OrderGroupRequest, end: End) -> tuple[Json, Json]:
    """The answers of two requests, the second of which waits for the first."""
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))
    one.start(first.send)
    answer = one.answer()
    other.start(second.send)
    other.until_waiting_for(one)
    one.end(end)
    return answer, other.answer()


@pytest.mark.parametrize("end", ENDS)
def test_the_last_piece_is_promised_once(database: RaceDatabase, end: End) -> None:
    shop = database.shop
    product = scalar(
        shop.service,
        "insert into public.products (seller_id, sku, name) values (%s, %s, 'Last piece') returning id",
        shop.sellers[0].id,
        f"LAST-{end}",
    )
    receive(shop.service, product, 1)

    first, second = rivals(database, wanting(shop, 1, product), wanting(shop, 1, product), end)

    assert (first["outcome"], second["outcome"]) == (
        "created",
        {"commit": "rejected", "rollback": "created"}[end],
    )
    assert (
        second["lines"]
        == {
            "commit": [{"product_id": str(product), "requested": 1, "available": 0}],
            "rollback": None,
        }[end]
    )


@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_two_equal_calls_make_one_group(database: RaceDatabase, end: End, reserve: bool) -> None:
    shop = database.shop
    product = scalar(
        shop.service,
        "insert into public.products (seller_id, sku, name) values (%s, %s, 'One piece') returning id",
        shop.sellers[0].id,
        f"ONE-{end}-{reserve}",
    )
    receive(shop.service, product, 1)
    asked = wanting(shop, 1, product).but(reserve=reserve)

    first, second = rivals(database, asked, asked, end)

    assert first["outcome"] == "created"
    assert second == first | {"outcome": {"commit": "already_created", "rollback": "created"}[end]}


@pytest.mark.parametrize("end", ENDS)
def test_another_request_under_the_same_id_waits_and_differs(database: RaceDatabase, end: End) -> None:
    asked = request(database.shop)

    first, second = rivals(database, asked, asked.but(currency="EUR"), end)

    assert first["outcome"] == "created"
    assert (second["outcome"], second["reason"]) == {
        "commit": ("rejected", "order_group_differs"),
        "rollback": ("created", None),
    }[end]


def test_a_payment_does_not_wait_for_a_promise(database: RaceDatabase) -> None:
    """The promise holds the product's lock, which the ledger's foreign key asks for in a weaker form."""
    shop = database.shop
    receive(shop.service, shop.sellers[0].product_ids[0], 5)
    group = shop.order_group([[(1, "1.00")]])
    holder = database.rival(IsolationLevel.READ_COMMITTED)
    holder.start(wanting(shop, 1).send)
    assert holder.answer()["outcome"] == "created"

    assert reconcile(shop.service, group.payment())["outcome"] == "applied"

    holder.end("commit")


def test_many_buyers_of_few_pieces_get_exactly_these(db: Database, service: Connection, shop: Shop) -> None:
    """On four connections, two products in either order: no deadlock, and no piece is sold twice."""
    first, second, _ = shop.sellers[0].product_ids
    receive(service, first, 17)
    receive(service, second, 23)
    connections = [db.act_as("service_role") for _ in range(4)]

    def buy(connection: Connection, number: int) -> list[str]:
        answers = []
        for turn in range(20):
            asked = wanting(shop, 1, first)
            asked.orders[0]["items"] += [line(second)] if turn % 2 else []
            asked.orders[0]["items"] = asked.orders[0]["items"][:: 1 if number % 2 else -1]
            answer = asked.send(connection)
            answers.append(answer["reason"] or answer["outcome"])
        return answers

    with ThreadPoolExecutor(4) as threads:
        answers = Counter(one for each in threads.map(buy, connections, range(4)) for one in each)
    for connection in connections:
        connection.close()

    assert answers == {"created": 17, "insufficient_stock": 63}
    assert levels(service, first) == (17, 17, 0)
    assert levels(service, second)[2] == 23 - levels(service, second)[1] >= 0


def test_the_promise_of_a_buyer_who_leaves_goes_on(service: Connection, superuser: Connection, shop: Shop) -> None:
    product = shop.sellers[0].product_ids[0]
    receive(service, product, 2)
    buyer = new_user(superuser)
    wanting(shop, 1).but(buyer_id=buyer, order_group_id=uuid4()).send(service)

    superuser.execute("delete from auth.users where id = %s", [buyer])

    assert levels(service, product) == (2, 1, 1)
