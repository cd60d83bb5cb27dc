"""A basket becomes a pending order group in one call, once, or the answer says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.order_group_requests import Json, OrderGroupRequest, line, request
from testkit.payments import Payment, reconcile
from testkit.shop import Shop

LATER = datetime(2099, 1, 1, tzinfo=UTC)
ANSWER: Json = dict.fromkeys(
    (
        "outcome",
        "reason",
        "detail",
        "lines",
        "order_group_id",
        "status",
        "currency",
        "total_amount",
        "amount_minor",
        "expires_at",
    )
)


def rejected(asked: OrderGroupRequest, reason: str, detail: str | None = None) -> Json:
    """The whole answer."""
    id_ = asked.order_group_id
    return ANSWER | {
        "outcome": "rejected",
        "reason": reason,
        "detail": detail,
        "order_group_id": str(id_) if id_ else None,
    }


def test_one_call_makes_the_group_its_orders_and_its_items(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    order_id, item_id = uuid4(), uuid4()
    first, second = shop.sellers
    asked = OrderGroupRequest(
        buyer_id=shop.buyer_id,
        currency=" usd ",
        expires_at=LATER,
        orders=[
            {
                "id": str(order_id),
                "seller_id": str(first.id),
                "total_amount": "12.50",
                "items": [
                    line(first.product_ids[0], 2, "5.00", id=str(item_id)),
                    line(first.product_ids[1], 1, "0.50"),
                ],
            },
            {"seller_id": str(second.id), "total_amount": 7, "items": [line(second.product_ids[0], 3, "2.33")]},
        ],
    )

    answer = asked.send(service)

    assert answer == ANSWER | {
        "outcome": "created",
        "order_group_id": str(asked.order_group_id),
        "status": "pending",
        "currency": "usd",
        "total_amount": "19.50",
        "amount_minor": 1950,
        "expires_at": "2099-01-01T00:00:00+00:00",
    }
    group = superuser.execute("select * from public.order_groups").fetchone()
    assert group is not None
    assert {name: value for name, value in group.items() if value is not None} == {
        "id": asked.order_group_id,
        "buyer_id": shop.buyer_id,
        "currency": "USD",
        "total_amount": Decimal("19.50"),
        "status": "pending",
        "created_at": group["created_at"],
        "buyer_since": group["created_at"],
        "expires_at": LATER,
        "refunded_amount": 0,
    }
    orders = superuser.execute("select * from public.orders order by total_amount desc").fetchall()
    assert orders == [
        {
            "id": id_,
            "order_group_id": asked.order_group_id,
            "seller_id": seller.id,
            "currency": "USD",
            "status": "pending",
            "total_amount": total,
            "created_at": group["created_at"],
            "paid_at": None,
        }
        for id_, seller, total in ((order_id, first, Decimal("12.50")), (orders[1]["id"], second, Decimal(7)))
    ]
    items = superuser.execute("select * from public.order_items order by quantity desc").fetchall()
    assert [{name: value for name, value in item.items() if name != "id"} for item in items] == [
        {
            "order_id": order["id"],
            "product_id": seller.product_ids[place],
            "quantity": quantity,
            "unit_amount": Decimal(unit),
            "sku": f"SKU-{place + 1}",
            "title": f"Product {place + 1} of seller {number}",
            "order_group_id": asked.order_group_id,
            "seller_id": seller.id,
        }
        for order, seller, number, place, quantity, unit in (
            (orders[1], second, 2, 0, 3, "2.33"),
            (orders[0], first, 1, 0, 2, "5.00"),
            (orders[0], first, 1, 1, 1, "0.50"),
        )
    ]
    assert items[1]["id"] == item_id
    assert broken_invariants(superuser) == []


def test_what_was_created_is_paid_by_what_the_answer_says(service: Connection, shop: Shop) -> None:
    asked = request(shop, currency="KWD", total="4.900")
    answer = asked.send(service)

    paid = reconcile(
        service,
        Payment(
            order_group_id=UUID(answer["order_group_id"]),
            amount_minor=answer["amount_minor"],
            amount=answer["total_amount"],
            currency=answer["currency"],
        ),
    )

    assert (answer["total_amount"], answer["amount_minor"], answer["currency"]) == ("9.800", 9800, "kwd")
    assert (paid["outcome"], paid["orders_paid"], paid["ledger_entries"]) == ("applied", 2, 5)
    assert asked.send(service) == answer | {"outcome": "already_created", "status": "paid"}


# the same request


def changed(asked: OrderGroupRequest, place: tuple[int | str, ...], value: object) -> OrderGroupRequest:
    """The request with another value at that place of its orders; `...` takes the key away."""
    orders = deepcopy(asked.orders)
    inner = orders
    for step in place[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return asked.but(orders=orders)


def test_an_equal_request_writes_nothing(db: Database, service: Connection, shop: Shop) -> None:
    """Ids that were left out, the order of orders and items, and how an amount is written make no difference."""
    asked = request(shop, [[(1, "5.00"), (2, "1.25"), (2, "1.25")], [(1, "3.00")]], expires_at=LATER)
    asked = changed(changed(asked, (0, "id"), str(uuid4())), (0, "items", 1, "id"), str(uuid4()))
    answer = asked.send(service)
    before = db.snapshot()

    equal = [
        asked,
        asked.but(expires_at=None),
        asked.but(currency="usd"),
        asked.but(orders=asked.orders[::-1]),
        changed(asked, (0, "items"), asked.orders[0]["items"][::-1]),
        changed(asked, (0, "id"), ...),
        changed(asked, (0, "id"), None),
        changed(asked, (0, "items", 1, "id"), ...),
        changed(asked, (0, "id"), str(asked.orders[0]["id"]).upper()),
        changed(asked, (0, "total_amount"), 4.9),
        changed(asked, (0, "total_amount"), "04.900"),
        changed(asked, (1, "items", 0, "unit_amount"), 3),
    ]
    answers = [one.send(service) for one in equal]

    assert answers == [answer | {"outcome": "already_created"}] * len(equal)
    assert db.snapshot() == before


def test_another_request_under_the_same_id_is_refused(db: Database, service: Connection, shop: Shop) -> None:
    asked = request(shop, [[(1, "5.00"), (2, "1.25")], [(1, "3.00")]])
    order_id, item_id = str(uuid4()), str(uuid4())
    asked = changed(changed(asked, (0, "id"), order_id), (0, "items", 0, "id"), item_id)
    asked.send(service)
    before = db.snapshot()

    others = [
        asked.but(buyer_id=shop.stranger_id),
        asked.but(buyer_id=None),
        asked.but(currency="EUR"),
        asked.but(currency="XXX"),
        asked.but(reserve=True),
        asked.but(orders=asked.orders[:1]),
        asked.but(orders=[*asked.orders, asked.orders[1]]),
        changed(asked, (0, "id"), str(uuid4())),
        changed(changed(asked, (0, "id"), ...), (1, "id"), order_id),
        changed(asked, (0, "seller_id"), str(shop.sellers[1].id)),
        changed(asked, (0, "total_amount"), "4.91"),
        changed(asked, (0, "items"), asked.orders[0]["items"][:1]),
        changed(asked, (0, "items"), asked.orders[0]["items"] + asked.orders[0]["items"][1:]),
        changed(asked, (0, "items", 0, "id"), str(uuid4())),
        changed(changed(asked, (0, "items", 0, "id"), ...), (0, "items", 1, "id"), item_id),
        changed(asked, (0, "items", 0, "product_id"), str(shop.sellers[0].product_ids[2])),
        changed(asked, (0, "items", 0, "quantity"), 2),
        changed(asked, (0, "items", 0, "unit_amount"), "5.01"),
    ]
    answers = [one.send(service) for one in others]

    assert answers == [rejected(asked, "order_group_differs")] * len(others)
    assert db.snapshot() == before


def test_a_guests_request_is_the_same_after_the_group_got_its_buyer(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    asked = request(shop, buyer_id=None)
    assert asked.send(service)["outcome"] == "created"
    superuser.execute("update public.order_groups set buyer_id = %s, buyer_since = clock_timestamp()", [shop.buyer_id])

    assert asked.send(service)["outcome"] == "already_created"
    assert asked.but(buyer_id=shop.buyer_id).send(service)["outcome"] == "already_created"
    assert asked.but(buyer_id=shop.stranger_id).send(service)["reason"] == "order_group_differs"


def test_a_group_of_plain_inserts_is_recognised(service: Connection, shop: Shop) -> None:
    group = shop.order_group([[(2, "5.00")]])
    asked = request(shop, [[(2, "5.00")]], total="10.00", order_group_id=group.id)

    assert asked.send(service)["outcome"] == "already_created"
    shop.add_item(group.order_ids[0], shop.sellers[0].product_ids[0], 2, "5.00")
    assert asked.send(service)["reason"] == "order_group_differs"


# what cannot be created

# Where, which value, and the field that the answer names.
MALFORMED: list[tuple[tuple[int | str, ...], Any, str]] = [
    ((0,), 5, "p_orders[0]"),
    ((1,), None, "p_orders[1]"),
    ((1,), [], "p_orders[1]"),
    ((0, "id"), "x", "p_orders[0].id"),
    ((0, "id"), 5, "p_orders[0].id"),
    ((0, "seller_id"), ..., "p_orders[0].seller_id"),
    ((0, "seller_id"), None, "p_orders[0].seller_id"),
    ((0, "seller_id"), "{}", "p_orders[0].seller_id"),
    ((1, "total_amount"), ..., "p_orders[1].total_amount"),
    ((1, "total_amount"), None, "p_orders[1].total_amount"),
    ((1, "total_amount"), True, "p_orders[1].total_amount"),
    ((1, "total_amount"), "-0.01", "p_orders[1].total_amount"),
    ((1, "total_amount"), -1, "p_orders[1].total_amount"),
    ((1, "total_amount"), "NaN", "p_orders[1].total_amount"),
    ((1, "total_amount"), "Infinity", "p_orders[1].total_amount"),
    ((1, "total_amount"), "1e3", "p_orders[1].total_amount"),
    ((1, "total_amount"), " 1", "p_orders[1].total_amount"),
    ((1, "total_amount"), "1\n", "p_orders[1].total_amount"),
    ((1, "total_amount"), "1,50", "p_orders[1].total_amount"),
    ((1, "total_amount"), "", "p_orders[1].total_amount"),
    ((1, "total_amount"), {"1": 1}, "p_orders[1].total_amount"),
    ((1, "items"), ..., "p_orders[1].items"),
    ((1, "items"), {}, "p_orders[1].items"),
    ((1, "items"), None, "p_orders[1].items"),
    ((1, "note"), "x", "p_orders[1].note"),
    ((0, "items", 1), "x", "p_orders[0].items[1]"),
    ((0, "items", 0, "id"), "", "p_orders[0].items[0].id"),
    ((0, "items", 0, "product_id"), ..., "p_orders[0].items[0].product_id"),
    ((0, "items", 0, "product_id"), "5", "p_orders[0].items[0].product_id"),
    ((0, "items", 0, "quantity"), ..., "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), 0, "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), -1, "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), 1.5, "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), 2**31, "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), "1", "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "quantity"), None, "p_orders[0].items[0].quantity"),
    ((0, "items", 0, "unit_amount"), ..., "p_orders[0].items[0].unit_amount"),
    ((0, "items", 0, "unit_amount"), None, "p_orders[0].items[0].unit_amount"),
    ((0, "items", 0, "unit_amount"), "-1", "p_orders[0].items[0].unit_amount"),
    ((0, "items", 0, "title"), "x", "p_orders[0].items[0].title"),
]


def test_what_cannot_be_read_is_named(db: Database, service: Connection, shop: Shop) -> None:
    asked = request(shop)
    requests = [(changed(asked, place, value), detail) for place, value, detail in MALFORMED]
    requests += [
        (asked.but(orders=None), "p_orders"),
        (asked.but(orders={}), "p_orders"),
        (asked.but(orders="[]"), "p_orders"),
        (asked.but(order_group_id=None), "p_order_group_id"),
        (asked.but(currency=None), "p_currency"),
        (asked.but(reserve=None), "p_reserve"),
        (asked.but(expires_at="infinity"), "p_expires_at"),
        (asked.but(expires_at="-infinity"), "p_expires_at"),
        (asked.but(expires_at="1999-12-31T00:00:00Z"), "p_expires_at"),
        (asked.but(expires_at="2100-01-02T00:00:00Z"), "p_expires_at"),
    ]
    before = db.snapshot()

    for wrong, detail in requests:
        assert wrong.send(service) == rejected(wrong, "malformed_request", detail), (wrong, detail)

    assert db.snapshot() == before


def test_the_first_wrong_field_is_named(service: Connection, shop: Shop) -> None:
    asked = request(shop)
    for place in ((1, "items", 0, "quantity"), (1, "seller_id"), (0, "items", 2, "unit_amount"), (0, "items", 1, "id")):
        asked = changed(asked, place, "x")
        assert asked.send(service)["detail"] == "p_orders" + "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in place
        )


def test_ids_that_are_taken_are_refused(db: Database, service: Connection, shop: Shop) -> None:
    there = shop.order_group()
    twice = str(uuid4())
    asked = request(shop)
    requests = [
        changed(asked, (0, "id"), str(there.order_ids[0])),
        changed(asked, (1, "items", 1, "id"), str(there.item_ids[0])),
        changed(changed(asked, (0, "id"), twice), (1, "id"), twice),
        changed(changed(asked, (0, "items", 0, "id"), twice), (1, "items", 1, "id"), twice),
    ]
    before = db.snapshot()

    assert [one.send(service) for one in requests] == [rejected(asked, "malformed_request", "id")] * len(requests)
    assert db.snapshot() == before


def test_what_the_shop_does_not_have_is_refused_in_the_order_of_the_reasons(
    db: Database, service: Connection, shop: Shop
) -> None:
    """Each is right but for what is named; then all of them are wrong at once, and are put right one by one."""
    asked = request(shop)
    nobody, other = str(uuid4()), str(shop.sellers[1].product_ids[0])
    alone: list[tuple[str, OrderGroupRequest]] = [
        ("order_group_empty", asked.but(orders=[])),
        ("order_group_empty", changed(asked, (1, "items"), [])),
        ("currency_unsupported", asked.but(currency="XXX")),
        ("currency_unsupported", asked.but(currency="")),
        ("amount_not_representable", changed(asked, (0, "total_amount"), "1.001")),
        ("amount_not_representable", changed(asked, (0, "items", 0, "unit_amount"), "1.001")),
        ("amount_not_representable", changed(asked, (0, "total_amount"), "1" + "0" * 15)),
        ("amount_not_representable", changed(asked, (0, "total_amount"), "9" * 200_000)),
        ("amount_not_representable", changed(asked, (0, "items", 0, "unit_amount"), "0." + "1" * 200_000)),
        (
            "amount_not_representable",
            changed(changed(asked, (0, "total_amount"), "6" + "0" * 14), (1, "total_amount"), "6" + "0" * 14),
        ),
        ("seller_not_found", changed(asked, (1, "seller_id"), nobody)),
        ("product_not_found", changed(asked, (0, "items", 1, "product_id"), nobody)),
        ("product_not_of_seller", changed(asked, (0, "items", 1, "product_id"), other)),
        ("buyer_not_found", asked.but(buyer_id=uuid4())),
    ]
    before = db.snapshot()
    for reason, wrong in alone:
        assert wrong.send(service) == rejected(wrong, reason)

    all_wrong = changed(asked, (0, "total_amount"), "1.001")
    all_wrong = changed(all_wrong, (1, "seller_id"), nobody)
    all_wrong = changed(all_wrong, (0, "items", 1, "product_id"), nobody)
    all_wrong = changed(all_wrong, (0, "items", 2, "product_id"), other).but(currency="XXX", buyer_id=uuid4())
    repairs: list[tuple[str, Callable[[OrderGroupRequest], OrderGroupRequest]]] = [
        ("currency_unsupported", lambda r: r.but(currency="USD")),
        ("amount_not_representable", lambda r: changed(r, (0, "total_amount"), "1.00")),
        ("seller_not_found", lambda r: changed(r, (1, "seller_id"), str(shop.sellers[1].id))),
        ("product_not_found", lambda r: changed(r, (0, "items", 1, "product_id"), str(shop.sellers[0].product_ids[1]))),
        (
            "product_not_of_seller",
            lambda r: changed(r, (0, "items", 2, "product_id"), str(shop.sellers[0].product_ids[2])),
        ),
        ("buyer_not_found", lambda r: r.but(buyer_id=shop.buyer_id)),
    ]
    for reason, repair in repairs:
        assert all_wrong.send(service) == rejected(all_wrong, reason)
        all_wrong = repair(all_wrong)
    assert db.snapshot() == before
    assert all_wrong.send(service)["outcome"] == "created"


# What a shop's trigger makes of the rows that are written: its event, its table, and what it does.
MEDDLERS: dict[str, tuple[LiteralString, LiteralString, LiteralString]] = {
    "keeps items back": ("before", "order_items", "if new.quantity > 1 then return null; end if;"),
    "changes a quantity": ("before", "order_items", "new.quantity := new.quantity + 1;"),
    "changes a price": ("before", "order_items", "new.unit_amount := new.unit_amount + 1;"),
    "adds an item": (
        "after",
        "orders",
        "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
        " select new.id, p.id, 1, 0 from public.products as p where p.seller_id = new.seller_id limit 1;",
    ),
    "changes an order's total": ("before", "orders", "new.total_amount := new.total_amount + 1;"),
    "takes from one order what it adds to another": (
        "before",
        "orders",
        "new.total_amount := new.total_amount + case when exists ("
        " select from public.orders as o where o.order_group_id = new.order_group_id"
        ") then -1 else 1 end;",
    ),
    "adds an empty order": (
        "after",
        "order_groups",
        "insert into public.orders (order_group_id, seller_id, total_amount)"
        " select new.id, s.id, 0 from public.sellers as s limit 1;",
    ),
    "changes the group's total": ("before", "order_groups", "new.total_amount := new.total_amount + 1;"),
    "takes the buyer away": ("before", "order_groups", "new.buyer_id := null;"),
    "moves the end": ("before", "order_groups", "new.expires_at := now();"),
    "breaks the promise": ("before", "order_groups", "new.reserved_product_ids := null;"),
}


@pytest.mark.parametrize("meddles", MEDDLERS)
def test_a_trigger_of_the_shop_that_changes_what_was_requested_leaves_nothing(
    db: Database, owner: Connection, service: Connection, shop: Shop, meddles: str
) -> None:
    when, table, does = MEDDLERS[meddles]
    owner.execute(
        f"create function public.meddle() returns trigger language plpgsql as $$begin {does} return new; end$$;"
        f"create trigger meddle {when} insert on public.{table} for each row execute function public.meddle()"
    )
    for product_id in (product_id for seller in shop.sellers for product_id in seller.product_ids):
        service.execute("select public.record_inventory_receipt(%s, 100, 'goods')", [product_id])
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="is not written as it was requested"):
        request(shop, reserve=True, expires_at=LATER).send(service)

    assert db.snapshot() == before


def test_a_trigger_of_the_shop_that_keeps_the_group_back_is_an_error_and_no_endless_wait(
    db: Database, owner: Connection, service: Connection, shop: Shop
) -> None:
    owner.execute(
        "create function public.keep_back() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger keep_back before insert on public.order_groups for each row execute function public.keep_back()"
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="cannot be written") as raised:
        request(shop).send(service)

    assert raised.value.diag.message_hint == "a trigger or a rule on order_groups keeps its rows back"
    assert db.snapshot() == before


def test_orders_whose_ids_are_exchanged_are_another_request(db: Database, service: Connection, shop: Shop) -> None:
    """Two orders of one seller with the same goods, which differ in what they cost."""
    one, other = str(uuid4()), str(uuid4())
    asked = request(shop, [[(1, "1.00")]])
    cheap, dear = ({**asked.orders[0], "total_amount": total} for total in ("1.00", "3.00"))
    first = asked.but(orders=[{**cheap, "id": one}, {**dear, "id": other}])
    assert first.send(service)["outcome"] == "created"
    assert first.send(service)["outcome"] == "already_created"
    before = db.snapshot()

    told = first.but(orders=[{**cheap, "id": other}, {**dear, "id": one}]).send(service)

    assert (told["outcome"], told["reason"]) == ("rejected", "order_group_differs")
    assert db.snapshot() == before


# amounts


def test_amounts_of_every_currency_reach_stripe_exactly_or_not_at_all(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """`amount_minor` is the sum by Stripe's table, or the call says that the currency has no such amount."""
    table = superuser.execute("select * from payments.currencies order by code").fetchall()
    amount = st.decimals(0, 10**15, allow_nan=False, allow_infinity=False, places=None) | st.decimals(
        0, 10_000, places=3
    )

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(st.sampled_from(table), st.lists(amount, min_size=1, max_size=3))
    def holds(currency: dict[str, Any], totals: list[Decimal]) -> None:
        asked = request(shop, [[(1, "0")]] * len(totals), currency=currency["code"])
        for place, total in enumerate(totals):
            asked = changed(asked, (place, "total_amount"), format(total, "f"))
        answer = asked.send(service)
        minor = [total.scaleb(currency["exponent"]) for total in totals]
        fits = all(one % currency["minor_multiple"] == 0 for one in minor) and sum(totals) < 10**15
        if fits:
            assert (answer["outcome"], answer["amount_minor"]) == ("created", sum(minor))
            assert Decimal(answer["total_amount"]) == sum(totals)
        else:
            assert (answer["outcome"], answer["reason"]) == ("rejected", "amount_not_representable")

    holds()


def test_a_thousand_items_in_one_call(service: Connection, superuser: Connection, shop: Shop) -> None:
    asked = request(shop, [[(1, "0.10")] * 500, [(2, "0.20")] * 500])

    answer = asked.send(service)

    assert (answer["outcome"], answer["amount_minor"]) == ("created", 980)
    assert asked.send(service)["outcome"] == "already_created"
    assert scalar(superuser, "select count(*) from public.order_items") == 1000
    # The lock of the group is taken by each item, and writes it no more than the first time.
    assert scalar(superuser, "select pg_relation_size('public.order_groups')") == 8192
