"""Goods come back from a paid group, all lines or none, and never more of an item than was sold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from sql_tests.goods import give_back, line, returns, sold
from sql_tests.races import ISOLATIONS
from sql_tests.settling import settle
from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.payments import reconcile
from testkit.shop import Shop

MOST_LINES = 10_000


def answer_of(group_id: UUID | None, reason: str | None = None, **more: Any) -> Row:
    return {
        "outcome": "rejected" if reason else "returned",
        "reason": reason,
        "detail": None,
        "lines": None,
        "order_group_id": str(group_id) if group_id else None,
        "ledger_entries": 0,
    } | more


def test_pieces_that_come_back_are_on_hand_again_and_name_their_item_the_reason_the_refund_and_who(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    one, two, three, *_ = group.item_ids
    before = scalar(superuser, "select clock_timestamp()")

    told = give_back(service, group.id, [line(three, 2), line(two, 1)], "  too small ", " re_1 ")
    later = give_back(service, group.id, [line(three, 1), line(one, 1)], "late")

    assert told == answer_of(group.id, ledger_entries=2)
    assert later == answer_of(group.id, ledger_entries=2)
    first = {two: 1, three: 2}
    second = {one: 1, three: 1}
    assert returns(superuser) == [
        {
            "order_item_id": item,
            "quantity_delta": quantity,
            "note": note,
            "stripe_refund_id": refund,
            "recorded_by": "service_role",
        }
        for items, note, refund in ((first, "too small", "re_1"), (second, "late", None))
        for item, quantity in sorted(items.items())
    ]
    rows = superuser.execute(
        "select l.product_id = i.product_id and l.seller_id = i.seller_id as is_of_the_item, l.stripe_webhook_event_id,"
        " l.created_at > %s and l.created_at <= clock_timestamp() as is_now from public.inventory_ledger as l"
        " join public.order_items as i on i.id = l.order_item_id where l.entry_type = 'order_return'",
        [before],
    ).fetchall()
    assert rows == [{"is_of_the_item": True, "stripe_webhook_event_id": None, "is_now": True}] * 4
    levels = service.execute(
        "select on_hand from public.inventory_levels where seller_id = %s order by sku", [shop.sellers[0].id]
    ).fetchall()
    assert [row["on_hand"] for row in levels] == [0, -1, 0]
    assert broken_invariants(superuser) == []


@pytest.mark.parametrize("status", ["pending", "paid", "cancelled", "refunded"])
def test_goods_come_back_from_a_group_that_was_paid_whatever_became_of_its_money(
    db: Database, service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    if status != "pending":
        settle(service, group, status)
    before = db.snapshot()

    told = give_back(service, group.id, [line(group.item_ids[0], 1)])

    if status in {"paid", "refunded"}:
        assert told == answer_of(group.id, ledger_entries=1)
        assert len(returns(superuser)) == 1
    else:
        assert told == answer_of(group.id, "order_group_not_paid")
        assert db.snapshot() == before


def test_neither_a_step_nor_a_total_follows_from_goods_that_come_back(
    db: Database, service: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    before = db.snapshot()

    give_back(service, group.id, [line(item, 1) for item in group.item_ids])

    after = db.snapshot()
    assert len(after.pop("public.inventory_ledger")) == len(before.pop("public.inventory_ledger")) + 5
    assert after == before


def test_group_that_nobody_knows_was_never_paid(db: Database, service: Connection, shop: Shop) -> None:
    group = sold(service, shop)
    unknown, before = uuid4(), db.snapshot()

    assert give_back(service, unknown, [line(group.item_ids[0], 1)]) == answer_of(unknown, "order_group_not_paid")
    assert give_back(service, None, [line(group.item_ids[0], 1)]) == answer_of(None, "order_group_not_paid")
    assert db.snapshot() == before


def test_item_of_another_group_or_of_none_takes_all_lines_with_it(
    db: Database, service: Connection, shop: Shop
) -> None:
    group, another = sold(service, shop), sold(service, shop)
    strangers = sorted([another.item_ids[0], uuid4()])
    before = db.snapshot()

    told = give_back(service, group.id, [line(group.item_ids[0], 1), *(line(item, 4) for item in strangers)])

    lines = [{"order_item_id": str(item), "requested": 4, "returnable": None} for item in strangers]
    assert told == answer_of(group.id, "item_not_in_order_group", lines=lines)
    assert db.snapshot() == before


def test_more_than_was_sold_takes_all_lines_with_it_and_is_told_item_by_item(
    db: Database, service: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    one, two, three, _, five = group.item_ids
    give_back(service, group.id, [line(three, 1)])
    before = db.snapshot()

    told = give_back(service, group.id, [line(three, 3), line(five, 5), line(one, 2), line(two, 2)])

    lines = [
        {"order_item_id": str(item), "requested": requested, "returnable": returnable}
        for item, requested, returnable in sorted([(one, 2, 1), (three, 3, 2)])
    ]
    assert told == answer_of(group.id, "exceeds_commit", lines=lines)
    assert db.snapshot() == before


def test_lines_of_one_item_are_added_up(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = sold(service, shop)
    five = group.item_ids[4]
    upper = line(five, 2) | {"order_item_id": str(five).upper()}

    too_many = give_back(service, group.id, [line(five, 3), line(five, 3)])
    told = give_back(service, group.id, [line(five, 3), upper])

    assert too_many["lines"] == [{"order_item_id": str(five), "requested": 6, "returnable": 5}]
    assert told == answer_of(group.id, ledger_entries=1)
    assert [row["quantity_delta"] for row in returns(superuser)] == [5]


def test_sum_of_lines_beyond_what_an_integer_holds_is_more_than_was_sold(service: Connection, shop: Shop) -> None:
    group = sold(service, shop)
    item, most = group.item_ids[0], 2**31 - 1

    told = give_back(service, group.id, [line(item, most)] * 3)

    lines = [{"order_item_id": str(item), "requested": 3 * most, "returnable": 1}]
    assert told == answer_of(group.id, "exceeds_commit", lines=lines)


@pytest.mark.parametrize("quantity", [1.0, 2])
def test_whole_number_is_one_however_it_is_written(
    service: Connection, superuser: Connection, shop: Shop, quantity: float
) -> None:
    group = sold(service, shop)

    assert give_back(service, group.id, [line(group.item_ids[1], quantity)])["outcome"] == "returned"
    assert [row["quantity_delta"] for row in returns(superuser)] == [quantity]


GOOD: Row = {"order_item_id": "5f0c1f0e-0000-4000-8000-000000000001", "quantity": 1}
NO_QUANTITIES: Sequence[object] = (0, -1, 1.5, 1e-9, 2**31, 10**400, "1", "", True, None, [1], {"a": 1})
NO_UUIDS: Sequence[object] = ("", "x", f"{GOOD['order_item_id']}0", f"{GOOD['order_item_id']}\n", 7, None, [], {})
NO_LINES: Sequence[object] = (None, {}, GOOD, "x", 1, True, [])
MALFORMED: list[tuple[object, str]] = [
    *((value, "p_lines") for value in NO_LINES),
    *(([GOOD, element], "p_lines[1]") for element in (None, [], "x", 1, [GOOD])),
    *(([GOOD | {"quantity": quantity}], "p_lines[0].quantity") for quantity in NO_QUANTITIES),
    *(([GOOD | {"order_item_id": text}], "p_lines[0].order_item_id") for text in NO_UUIDS),
    ([{"order_item_id": GOOD["order_item_id"]}], "p_lines[0].quantity"),
    ([{"quantity": 1}], "p_lines[0].order_item_id"),
    ([GOOD | {"z": 1, "note": "x"}], "p_lines[0].note"),
    ([GOOD, GOOD | {"quantity": 0}, {}], "p_lines[1].quantity"),
    ([GOOD] * (MOST_LINES + 1), "p_lines"),
]


@pytest.mark.parametrize(("lines", "detail"), MALFORMED)
def test_what_cannot_be_read_is_answered_with_its_place(
    db: Database, service: Connection, shop: Shop, lines: object, detail: str
) -> None:
    group = sold(service, shop)
    before = db.snapshot()

    told = give_back(service, group.id, lines)

    assert told == answer_of(group.id, "malformed_request", detail=detail)
    assert db.snapshot() == before


def test_request_of_sql_nulls_and_one_without_its_reason_cannot_be_read(
    db: Database, service: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    lines = [line(group.item_ids[0], 1)]
    before = db.snapshot()

    assert scalar(service, "select public.return_order_items(null, null, 'x')") == answer_of(
        None, "malformed_request", detail="p_lines"
    )
    for note in (None, "", "  "):
        assert give_back(service, group.id, lines, note) == answer_of(group.id, "malformed_request", detail="p_note")
    told = give_back(service, group.id, lines, refund="r" * 256)
    assert told == answer_of(group.id, "malformed_request", detail="p_refund_id")
    assert db.snapshot() == before


def test_refund_need_not_be_known_and_a_blank_one_is_none(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    longest = "r" * 255

    give_back(service, group.id, [line(group.item_ids[0], 1)], refund=longest)
    give_back(service, group.id, [line(group.item_ids[1], 1)], refund="  ")

    assert [row["stripe_refund_id"] for row in returns(superuser)] == [longest, None]


def test_as_many_lines_as_there_may_be_come_back_at_once(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(20, "0.01")] * 500])
    assert reconcile(service, group.payment())["outcome"] == "applied"

    told = give_back(service, group.id, [line(item, 1) for item in group.item_ids] * 20)

    assert MOST_LINES == 500 * 20
    assert told == answer_of(group.id, ledger_entries=500)
    assert {row["quantity_delta"] for row in returns(superuser)} == {20}
    assert broken_invariants(superuser) == []


def test_return_that_a_trigger_leaves_out_is_not_called_returned(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    owner.execute(
        "create function public.swallow() returns trigger language plpgsql set search_path = '' as"
        " $$ begin return null; end $$;"
        " create trigger swallow before insert on public.inventory_ledger for each row"
        " when (new.quantity_delta = 2) execute function public.swallow()"
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted):
        give_back(service, group.id, [line(group.item_ids[0], 1), line(group.item_ids[1], 2)])

    assert db.snapshot() == before


@pytest.mark.parametrize("isolation", ISOLATIONS[1:])
def test_stricter_isolation_which_would_not_see_a_rivals_return_is_refused(
    db: Database, service: Connection, shop: Shop, isolation: psycopg.IsolationLevel
) -> None:
    group = sold(service, shop)
    before = db.snapshot()

    with db.act_as("service_role", autocommit=False) as session:
        session.isolation_level = isolation
        for statement, arguments in (
            ("select public.return_order_items(%s, %s, 'x')", [group.id, Jsonb([line(group.item_ids[0], 1)])]),
            ("select public.refund_order(%s, 'x')", [group.order_ids[0]]),
        ):
            with pytest.raises(psycopg.errors.InvalidTransactionState):
                session.execute(statement, arguments)
            session.rollback()

    assert db.snapshot() == before


def test_sellers_member_reads_what_came_back_and_the_buyer_does_not(
    db: Database, service: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    give_back(service, group.id, [line(item, 1) for item in group.item_ids], "not as described")
    read = "select count(*) from public.inventory_ledger where entry_type = 'order_return'"

    seen = []
    for user_id in (shop.sellers[0].member_id, shop.sellers[1].member_id, shop.buyer_id, shop.stranger_id):
        with db.act_as("authenticated", user_id=user_id) as reader:
            seen.append(scalar(reader, read))

    assert seen == [3, 2, 0, 0]
