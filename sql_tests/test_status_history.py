"""Each step of a group or order has one row, whoever takes it, and a member may take the next step of an own order."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise, product
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from sql_tests.settling import SETTLED, settle
from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.refunds import refund_in_full
from testkit.shop import OrderGroup, Shop

PATH = ("paid", "fulfilled", "shipped", "delivered")
STATUSES = ("pending", *PATH, "cancelled", "refunded")
PAYMENT = "reconcile_order_group_payment"


def history(connection: Connection, group: OrderGroup) -> list[tuple[UUID | None, str, str, str]]:
    """The steps in their order; the orders of one statement, which has none, by their ids."""
    rows = connection.execute(
        "select order_id, from_status, to_status, changed_by from public.order_status_changes"
        " where order_group_id = %s"
        " order by min(id) over (partition by order_id is null, from_status, to_status, changed_by),"
        " order_id nulls first",
        [group.id],
    )
    return [tuple(row.values()) for row in rows]


def advance(connection: Connection, order_id: UUID | None, status: str | None) -> dict[str, Any]:
    told: dict[str, Any] = scalar(connection, "select public.advance_order(%s, %s)", order_id, status)
    return told


def member_of(db: Database, connections: ExitStack, shop: Shop, place: int = 0) -> Connection:
    return connections.enter_context(db.act_as("authenticated", user_id=shop.sellers[place].member_id))


def test_each_step_is_one_row_with_its_author_and_creation_is_none(
    db: Database, service: Connection, owner: Connection, shop: Shop, connections: ExitStack
) -> None:
    paid, cancelled, waiting = (shop.order_group() for _ in range(3))
    first, second = sorted(paid.order_ids)
    member = member_of(db, connections, shop)
    payment = paid.payment()

    for attempt in (payment, payment, payment.twin(), payment.rival()):
        reconcile(service, attempt)
    for _ in range(2):
        scalar(service, "select public.cancel_order_group(%s)", cancelled.id)
    advance(member, paid.order_ids[0], "fulfilled")
    service.execute("update public.orders set status = 'fulfilled' where id = %s", [paid.order_ids[1]])
    service.execute("update public.orders set status = status where order_group_id = %s", [paid.id])
    refund_in_full(service, paid.id)

    assert history(owner, paid) == [
        (None, "pending", "paid", PAYMENT),
        (first, "pending", "paid", PAYMENT),
        (second, "pending", "paid", PAYMENT),
        (paid.order_ids[0], "paid", "fulfilled", str(shop.sellers[0].member_id)),
        (paid.order_ids[1], "paid", "fulfilled", "service_role"),
        (None, "paid", "refunded", "record_refund"),
        (first, "fulfilled", "refunded", "record_refund"),
        (second, "fulfilled", "refunded", "record_refund"),
    ]
    assert history(owner, cancelled) == [
        (None, "pending", "cancelled", "service_role"),
        *((order_id, "pending", "cancelled", "service_role") for order_id in sorted(cancelled.order_ids)),
    ]
    assert history(owner, waiting) == []


def test_payment_has_one_time_in_all_that_it_writes(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    times = superuser.execute(
        "select paid_at as at from public.order_groups union all select paid_at from public.orders"
        " union all select changed_at from public.order_status_changes"
        " union all select created_at from public.inventory_ledger"
        " union all select processed_at from payments.stripe_events"
    ).fetchall()

    assert len(times) == 1 + 2 + 3 + 5 + 1
    assert len({row["at"] for row in times}) == 1


def test_thousand_orders_of_one_statement_have_a_thousand_rows(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(1, "1")]] * 1000)
    reconcile(service, shop.order_group().payment())  # a plan for two orders is kept now

    reconcile(service, group.payment())

    steps = superuser.execute(
        "select c.order_id, o.seller_id = c.seller_id as is_the_sellers from public.order_status_changes as c"
        " join public.orders as o on o.id = c.order_id where c.order_group_id = %s",
        [group.id],
    ).fetchall()
    assert {row["order_id"] for row in steps} == set(group.order_ids)
    assert len(steps) == 1000
    assert all(row["is_the_sellers"] for row in steps)


def test_change_is_read_by_whoever_may_read_the_group_or_the_order(
    db: Database, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    read: LiteralString = "select order_id from public.order_status_changes"

    def seen(user_id: UUID) -> set[UUID | None]:
        reader = connections.enter_context(db.act_as("authenticated", user_id=user_id))
        rows = reader.execute(read).fetchall()
        return {row["order_id"] for row in rows}

    assert seen(shop.buyer_id) == {None, *group.order_ids}
    assert [seen(seller.member_id) for seller in shop.sellers] == [{order_id} for order_id in group.order_ids]
    assert seen(shop.stranger_id) == set()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        connections.enter_context(db.act_as("anon")).execute(read)


def test_explanation_tells_each_step(service: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "5")]])
    (order_id,) = group.order_ids
    reconcile(service, group.payment())
    advance(service, order_id, "fulfilled")

    story = scalar(service, "select public.explain_order_group(%s)", group.id)["timeline"]

    kept = ("order_id", "from_status", "to_status", "changed_by", "rule")
    paid = "one payment of its total moves a group and its orders from pending to paid"
    forward = "an order of a paid group moves forward, one step at a time"
    assert [entry["kind"] for entry in story] == [
        "order_group_created",
        "stripe_event",
        "status_change",
        "status_change",
        "inventory_ledger",
        "status_change",
    ]
    assert [tuple(entry[key] for key in kept) for entry in story if entry["kind"] == "status_change"] == [
        (None, "pending", "paid", PAYMENT, paid),
        (str(order_id), "pending", "paid", PAYMENT, paid),
        (str(order_id), "paid", "fulfilled", "service_role", forward),
    ]


# --- one step on ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["member", "server"])
def test_order_moves_one_step_on_and_no_other_way(
    db: Database, service: Connection, owner: Connection, shop: Shop, connections: ExitStack, who: str
) -> None:
    actor = service if who == "server" else member_of(db, connections, shop)
    told: dict[tuple[str, str], tuple[str, str | None, str]] = {}
    expected: dict[tuple[str, str], tuple[str, str | None, str]] = {}

    for start, target in product(STATUSES, STATUSES):
        group = shop.order_group([[(1, "1")]])
        if start in PATH:
            settle(service, group, "paid")
            for status in PATH[1 : PATH.index(start) + 1]:
                advance(service, group.order_ids[0], status)
        elif start != "pending":
            settle(service, group, start)
            if start == "refunded":
                owner.execute("update public.orders set status = 'refunded' where order_group_id = %s", [group.id])
        answer = advance(actor, group.order_ids[0], target)
        told[start, target] = (answer["outcome"], answer["reason"], answer["status"])
        is_next = (start, target) in pairwise(PATH)
        expected[start, target] = (
            ("moved", None, target) if is_next else ("rejected", "order_status_moves_forward", start)
        )
        assert scalar(owner, "select status from public.orders where id = %s", group.order_ids[0]) == answer["status"]
        assert answer["order_id"] == str(group.order_ids[0])

    assert sum(outcome == "moved" for outcome, _, _ in told.values()) == 3
    assert told == expected


def test_order_of_another_seller_is_not_found_by_anybody_else(
    db: Database, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    before = db.snapshot()
    buyer = connections.enter_context(db.act_as("authenticated", user_id=shop.buyer_id))
    nobody = connections.enter_context(db.act_as("authenticated"))
    member = member_of(db, connections, shop, place=1)

    for actor in (buyer, nobody, member):
        assert advance(actor, group.order_ids[0], "fulfilled") == {
            "outcome": "rejected",
            "reason": "order_not_found",
            "order_id": str(group.order_ids[0]),
            "status": None,
        }
    for order_id in (uuid4(), None):
        assert advance(service, order_id, "fulfilled")["reason"] == "order_not_found"
    assert advance(service, group.order_ids[0], None)["reason"] == "order_status_moves_forward"

    assert db.snapshot() == before


# --- by value ---------------------------------------------------------------------------------------------------------

# What a shop's own trigger might write along with a step, and what refuses it.
HOUSE_TRIGGERS: dict[str, tuple[str, LiteralString]] = {
    "an order's total": ("orders", "new.total_amount := 0"),
    "an order's seller": (
        "orders",
        "new.seller_id := (select id from public.sellers where id <> new.seller_id limit 1)",
    ),
    "an order's time of payment": ("orders", "new.paid_at := '2020-01-01'"),
    "an order's status": ("orders", "new.status := 'delivered'"),
    "an order's currency": ("orders", "new.currency := 'EUR'"),
    "a group's total": ("order_groups", "new.total_amount := 0"),
    "a group's currency": ("order_groups", "new.currency := 'EUR'"),
    "a group's buyer": ("order_groups", "new.buyer_id := (select id from auth.users where id <> new.buyer_id limit 1)"),
}


@pytest.mark.parametrize("what", HOUSE_TRIGGERS)
def test_what_a_trigger_of_the_shop_writes_unseen_is_refused_at_the_payment(
    db: Database, service: Connection, owner: Connection, shop: Shop, what: str
) -> None:
    group = shop.order_group()
    house_trigger(owner, *HOUSE_TRIGGERS[what])
    before = db.snapshot()

    with pytest.raises(psycopg.IntegrityError, match=r"frozen|cannot|stays|order_items_order_id_fkey"):
        reconcile(service, group.payment())

    assert db.snapshot() == before


@pytest.mark.parametrize("what", [what for what, (table, _) in HOUSE_TRIGGERS.items() if table == "orders"])
def test_what_a_trigger_of_the_shop_writes_unseen_is_refused_at_a_later_step(
    db: Database, service: Connection, owner: Connection, shop: Shop, what: str
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    house_trigger(owner, *HOUSE_TRIGGERS[what])
    before = db.snapshot()

    with pytest.raises(psycopg.IntegrityError, match=r"frozen|cannot|stays|order_items_order_id_fkey"):
        service.execute("update public.orders set status = 'fulfilled' where id = %s", [group.order_ids[0]])

    assert db.snapshot() == before


def house_trigger(owner: Connection, table: str, assignment: str) -> None:
    owner.execute(
        f"""
        create function public.house_rule() returns trigger language plpgsql security definer set search_path = ''
        as $$ begin {assignment}; return new; end $$;
        create trigger zz_house_rule before update of status on public.{table}
        for each row execute function public.house_rule();
        """.encode()
    )


@pytest.mark.parametrize("settled", SETTLED)
def test_columns_of_the_shop_stay_the_shops(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, settled: str
) -> None:
    owner.execute(
        "alter table public.order_groups add note text, add extra json default '{}',"
        " add label text generated always as (status || currency) stored, add updated_at timestamptz;"
        " alter table public.orders add tracking text, add extra json default '{}',"
        " add label text generated always as (status || currency) stored, add updated_at timestamptz"
    )
    for table in ("order_groups", "orders"):
        house_trigger(owner, table, "new.updated_at := clock_timestamp()")
        owner.execute("alter function public.house_rule() rename to house_rule_of_" + table)
    group = shop.order_group()
    settle(service, group, settled)

    owner.execute("update public.order_groups set note = 'gift', extra = '{\"a\": 1}' where id = %s", [group.id])
    owner.execute("update public.orders set tracking = 'T1', extra = '{}' where order_group_id = %s", [group.id])
    superuser.execute("delete from auth.users where id = %s", [shop.buyer_id])

    row = owner.execute("select buyer_id, note, status from public.order_groups").fetchone()
    assert row == {"buyer_id": None, "note": "gift", "status": settled}
