"""One seller's part of a paid group is given up: its order is refunded, its goods come back, no money moves."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sql_tests.goods import give_back, give_up, line, returns, sold
from sql_tests.settling import settle
from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.payments import reconcile
from testkit.refunds import Refund, record
from testkit.shop import OrderGroup, Shop


def answer_of(outcome: str, order_id: UUID | None, group_id: UUID | None, **more: Any) -> Row:
    return {
        "outcome": outcome,
        "reason": None,
        "order_id": str(order_id) if order_id else None,
        "order_group_id": str(group_id) if group_id else None,
        "ledger_entries": 0,
    } | more


def test_order_is_given_up_once_and_what_is_still_out_of_its_items_comes_back(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    first, second = group.order_ids
    one, two, three, *_ = group.item_ids
    give_back(service, group.id, [line(one, 1), line(three, 2)])
    before = db.snapshot()

    told = give_up(service, first, "  sold out ")
    after = db.snapshot()
    again = give_up(service, first, "once more")

    assert told == answer_of("refunded", first, group.id, ledger_entries=2)
    assert again == answer_of("already_refunded", first, group.id)
    assert db.snapshot() == after
    assert [(row["order_item_id"], row["quantity_delta"], row["note"]) for row in returns(superuser)[2:]] == [
        (item, quantity, "sold out") for item, quantity in sorted({two: 2, three: 1}.items())
    ]
    orders = service.execute("select id, status from public.orders").fetchall()
    assert {row["id"]: row["status"] for row in orders} == {first: "refunded", second: "paid"}
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {
        "public.orders",
        "public.inventory_ledger",
        "public.order_status_changes",
        "payments.status_change_notes",
    }
    assert broken_invariants(superuser) == []


def test_group_stays_paid_when_its_last_order_is_given_up(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)

    told = [give_up(service, order)["outcome"] for order in group.order_ids]

    assert told == ["refunded", "refunded"]
    assert scalar(service, "select status from public.order_groups") == "paid"
    assert scalar(service, "select sum(on_hand) from public.inventory_levels") == 0
    assert broken_invariants(superuser) == []


def test_step_says_who_took_it_and_beside_it_why_to_nobody_who_may_read_the_step(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    scalar(service, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])
    service.execute("select set_config('request.jwt.claims', %s, false)", [f'{{"sub": "{shop.stranger_id}"}}'])

    give_up(service, group.order_ids[0], "sold out")

    rows = superuser.execute(
        "select c.order_id, c.from_status, c.to_status, c.changed_by, n.note from public.order_status_changes as c"
        " left join payments.status_change_notes as n on (n.order_group_id, n.status_change_id)"
        " = (c.order_group_id, c.id) where c.order_id = %s order by c.id",
        [group.order_ids[0]],
    ).fetchall()
    assert [tuple(row.values())[1:] for row in rows] == [
        ("pending", "paid", "reconcile_order_group_payment", None),
        ("paid", "fulfilled", "service_role", None),
        ("fulfilled", "refunded", str(shop.stranger_id), "sold out"),
    ]
    assert {row["recorded_by"] for row in returns(superuser)} == {str(shop.stranger_id)}
    with (
        db.act_as("authenticated", user_id=shop.buyer_id) as buyer,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        buyer.execute("select * from payments.status_change_notes")


def test_reason_is_kept_beside_its_step_whatever_steps_other_orders_take_at_that_moment(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = sold(service, shop)
    owner.execute(
        "create function public.pass_on() returns trigger language plpgsql security definer set search_path = '' as"
        " $$ begin update public.orders set status = 'fulfilled' where id <> new.id; return null; end $$;"
        " create trigger z_pass_on after update on public.orders for each row when (new.status = 'refunded')"
        " execute function public.pass_on()"
    )

    give_up(service, group.order_ids[0], "sold out")

    rows = superuser.execute(
        "select c.order_id, c.to_status from payments.status_change_notes as n join public.order_status_changes as c"
        " on (c.order_group_id, c.id) = (n.order_group_id, n.status_change_id)"
    ).fetchall()
    assert rows == [{"order_id": group.order_ids[0], "to_status": "refunded"}]
    assert scalar(service, "select status from public.orders where id = %s", group.order_ids[1]) == "fulfilled"


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_order_is_given_up_however_far_it_has_come_and_goes_no_further(
    service: Connection, shop: Shop, steps: int
) -> None:
    group = sold(service, shop)
    for status in ("fulfilled", "shipped", "delivered")[:steps]:
        scalar(service, "select public.advance_order(%s, %s)", group.order_ids[0], status)

    assert give_up(service, group.order_ids[0])["outcome"] == "refunded"

    moved = scalar(service, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])
    assert (moved["reason"], moved["status"]) == ("order_status_moves_forward", "refunded")


@pytest.mark.parametrize(("returning", "entries"), [(True, 3), (None, 3), (False, 0)])
def test_goods_stay_out_where_the_shop_says_so_and_may_come_back_later(
    service: Connection, superuser: Connection, shop: Shop, returning: bool | None, entries: int
) -> None:
    group = sold(service, shop)

    told = give_up(service, group.order_ids[0], "lost on its way", returning=returning)
    later = give_back(service, group.id, [line(group.item_ids[2], 3)], "found")

    assert told == answer_of("refunded", group.order_ids[0], group.id, ledger_entries=entries)
    assert len(returns(superuser)) == (entries or 1)
    assert later["reason"] == ("exceeds_commit" if entries else None)
    assert broken_invariants(superuser) == []


def test_order_whose_goods_are_all_back_is_given_up_without_an_entry(service: Connection, shop: Shop) -> None:
    group = sold(service, shop)
    give_back(service, group.id, [line(item, n) for item, n in zip(group.item_ids[:3], (1, 2, 3), strict=True)])

    told = give_up(service, group.order_ids[0])

    assert told == answer_of("refunded", group.order_ids[0], group.id)


@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_order_of_a_group_that_nobody_paid_is_not_given_up(
    db: Database, service: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    if status == "cancelled":
        settle(service, group, status)
    before = db.snapshot()

    told = give_up(service, group.order_ids[0])

    assert told == answer_of("rejected", group.order_ids[0], group.id, reason="order_group_not_paid")
    assert db.snapshot() == before


def test_order_of_a_group_whose_money_is_all_back_was_given_up_with_it(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    """Its goods, where they come back, are lines of a return."""
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    assert record(service, Refund.of(payment))["outcome"] == "recorded"
    before = db.snapshot()

    for order in group.order_ids:
        assert give_up(service, order) == answer_of("already_refunded", order, group.id)
    assert db.snapshot() == before
    assert give_back(service, group.id, [line(group.item_ids[0], 1)])["outcome"] == "returned"
    assert broken_invariants(superuser) == []


def test_order_that_was_given_up_stays_so_when_a_refund_of_all_the_money_fails(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    first, second = group.order_ids
    scalar(service, "select public.advance_order(%s, 'fulfilled')", second)
    give_up(service, first)
    back = Refund.of(payment)

    def statuses() -> list[str]:
        rows = service.execute(
            "select status from public.order_groups union all"
            " (select status from public.orders order by array_position(%s, id))",
            [[first, second]],
        )
        return [row["status"] for row in rows]

    assert record(service, back)["outcome"] == "recorded"
    assert statuses() == ["refunded", "refunded", "refunded"]
    assert record(service, back.then("failed"))["outcome"] == "recorded"
    assert statuses() == ["paid", "refunded", "fulfilled"]
    assert [row["quantity_delta"] for row in returns(superuser)] == sorted_by_item(group, (1, 2, 3))
    assert broken_invariants(superuser) == []


def sorted_by_item(group: OrderGroup, quantities: tuple[int, ...]) -> list[int]:
    """The quantities of the first order's items, in the order of the items' ids."""
    return [quantity for _, quantity in sorted(zip(group.item_ids, quantities, strict=False))]


def test_order_that_nobody_knows_is_not_found(db: Database, service: Connection, shop: Shop) -> None:
    sold(service, shop)
    unknown, before = uuid4(), db.snapshot()

    assert give_up(service, unknown) == answer_of("rejected", unknown, None, reason="order_not_found")
    assert give_up(service, None) == answer_of("rejected", None, None, reason="order_not_found")
    assert db.snapshot() == before


@pytest.mark.parametrize("note", [None, "", "   "])
def test_order_is_not_given_up_without_a_reason(
    db: Database, service: Connection, shop: Shop, note: str | None
) -> None:
    group = sold(service, shop)
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        give_up(service, group.order_ids[0], note)

    assert db.snapshot() == before


def test_payment_that_comes_again_does_not_bring_a_given_up_order_back(
    db: Database, service: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment)
    for order in group.order_ids:
        give_up(service, order)
    before = db.snapshot()

    assert reconcile(service, payment)["outcome"] == "replayed"
    assert db.snapshot() == before
    assert reconcile(service, payment.twin())["outcome"] == "already_paid"
    assert scalar(service, "select count(*) from public.orders where status = 'refunded'") == 2


def test_receipts_and_adjustments_say_who_recorded_them_too(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    product = shop.sellers[0].product_ids[0]
    scalar(service, "select public.record_inventory_receipt(%s, 5, 'delivery')", product)
    service.execute("select set_config('request.jwt.claims', %s, false)", ['{"sub": "ada"}'])
    scalar(service, "select public.record_inventory_adjustment(%s, -1, 'broken')", product)
    reconcile(service, shop.order_group([[(1, "1")]]).payment())

    rows = superuser.execute("select entry_type, recorded_by from public.inventory_ledger order by id").fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("receipt", "service_role"),
        ("adjustment", "ada"),
        ("order_commit", None),
    ]
