"""Every column of what is settled, and every step between two statuses, tried as the owner of the tables."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import psycopg
import pytest
from psycopg import sql

from sql_tests.other_values import another, columns
from sql_tests.settling import SETTLED, settle
from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop, new_user

PATH = ("paid", "fulfilled", "shipped", "delivered")
GROUP_STATUSES = ("pending", "paid", "cancelled", "refunded")
ORDER_STATUSES = ("pending", *PATH, "cancelled", "refunded")

TABLES = ("order_groups", "orders", "order_items")


def refused(connection: Connection, statement: sql.SQL | sql.Composed, *values: object) -> bool:
    """Whether it raises a violation; the row has to be there, and nothing is kept."""
    try:
        with connection.transaction(force_rollback=True):
            assert connection.execute(statement, values).rowcount == 1
            connection.execute("set constraints all immediate")
    except psycopg.IntegrityError:
        return True
    return False


@pytest.mark.parametrize("status", SETTLED)
def test_every_column_of_a_settled_group_its_orders_and_items_is_frozen(
    db: Database, service: Connection, owner: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group([[(1, "5")], []] if status == "cancelled" else [[(1, "5")]])
    guests = shop.order_group([[(1, "5")]])
    superuser.execute("update public.order_groups set buyer_id = null where id = %s", [guests.id])
    for one in (group, guests):
        settle(service, one, status)
    ids = {
        "order_groups": (group.id, guests.id),
        "orders": group.order_ids,  # the last one of a cancelled group has no items whose key would hold it
        "order_items": group.item_ids,
    }
    elsewhere = shop.order_group([[(1, "5")]])
    # What a foreign key would not refuse for being nobody's.
    somebodys = {
        "order_groups.buyer_id": new_user(superuser),
        "orders.seller_id": scalar(service, "insert into public.sellers (name) values ('Another') returning id"),
        "orders.order_group_id": elsewhere.id,
        "order_items.order_id": elsewhere.order_ids[0],
        "order_items.product_id": shop.sellers[0].product_ids[1],
    }
    before = db.snapshot()

    changeable = set()
    for table in TABLES:
        for (column, type_), id_ in product(columns(owner, f"public.{table}").items(), ids[table]):
            somebody = somebodys.get(f"{table}.{column}")
            value = sql.Literal(somebody) if somebody else another(column, type_)
            statement = sql.SQL("update {} set {} = {} where id = %s").format(
                sql.Identifier("public", table), sql.Identifier(column), value
            )
            if not refused(owner, statement, id_):
                changeable.add(f"{table}.{column}")

    assert changeable == set()
    assert db.snapshot() == before


def test_no_column_of_a_settled_group_is_changed_by_a_trigger_of_the_shops(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    """A statement's columns do not tell what a trigger writes, and no order's key holds a group without orders."""
    group = shop.order_group([])
    settle(service, group, "cancelled")
    somebodys = {"buyer_id": sql.Literal(str(new_user(superuser))), "currency": sql.Literal("EUR")}
    owner.execute("create function public.rewrite() returns trigger language plpgsql as 'begin return new; end'")
    owner.execute("create trigger aa before update on public.order_groups for each row execute function rewrite()")

    changeable = set()
    for column, type_ in columns(owner, "public.order_groups").items():
        body = sql.SQL("begin new.{} := (select {} from (select new.*) as row); return new; end").format(
            sql.Identifier(column), somebodys.get(column, another(column, type_))
        )
        owner.execute(
            sql.SQL("create or replace function public.rewrite() returns trigger language plpgsql as {}").format(
                sql.Literal(body.as_string(owner))
            )
        )
        if not refused(owner, sql.SQL("update public.order_groups set expires_at = null where id = %s"), group.id):
            changeable.add(column)

    assert changeable == set()


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("new.total_amount := 10.005", "total_amount_is_money_of_its_currency"),
        ("new.currency := ''EUR''", "order_group_keeps_its_currency"),
    ],
)
def test_what_a_shops_trigger_makes_of_a_pending_group_is_money_of_its_currency(
    db: Database, owner: Connection, shop: Shop, body: str, refusal: str
) -> None:
    """A statement's columns do not tell what a trigger writes."""
    group = shop.order_group()
    owner.execute(
        f"create function public.rewrite() returns trigger language plpgsql as 'begin {body}; return new; end'"
    )
    owner.execute("create trigger zz before update on public.order_groups for each row execute function rewrite()")
    before = db.snapshot()

    with pytest.raises(psycopg.errors.CheckViolation) as raised:
        owner.execute("update public.order_groups set expires_at = now() where id = %s", [group.id])

    assert raised.value.diag.constraint_name == refusal
    assert db.snapshot() == before


@pytest.mark.parametrize("status", SETTLED)
def test_every_column_of_a_payment_stays_though_the_status_moves_on(
    db: Database, service: Connection, owner: Connection, shop: Shop, status: str
) -> None:
    """A refund, or the same status once more, is no occasion to rewrite what was paid."""
    group = shop.order_group([[(1, "5")]])
    settle(service, group, status)
    next_status = "refunded" if status == "paid" else status
    before = db.snapshot()

    changeable = set()
    for column, type_ in columns(owner, "public.order_groups").items():
        if column in ("status", "buyer_id"):
            continue
        statement = sql.SQL("update public.order_groups set status = {}, {} = {} where id = %s").format(
            sql.Literal(next_status), sql.Identifier(column), another(column, type_)
        )
        if not refused(owner, statement, group.id):
            changeable.add(column)

    assert changeable == set()
    assert db.snapshot() == before


def test_pending_group_is_edited_but_keeps_its_currency_and_its_children_their_place(
    owner: Connection, shop: Shop
) -> None:
    group = shop.order_group([[(1, "5")]])
    empty = shop.order_group([[]])
    somebody = sql.Literal(str(shop.stranger_id))

    def kept(table: str, id_: object) -> set[str]:
        return {
            column
            for column, type_ in columns(owner, f"public.{table}").items()
            if refused(
                owner,
                sql.SQL("update {} set {} = {} where id = %s").format(
                    sql.Identifier("public", table),
                    sql.Identifier(column),
                    somebody if column == "buyer_id" else another(column, type_),
                ),
                id_,
            )
        }

    payment = {
        "paid_at",
        "stripe_webhook_event_id",
        "stripe_payment_intent_id",
        "stripe_checkout_session_id",
        "refunded_amount",
    }
    assert kept("order_groups", group.id) == {"id", "currency", "status", *payment}
    assert kept("order_groups", empty.id) == {"id", "currency", "status", *payment}
    assert kept("orders", group.order_ids[0]) == {
        "id",
        "order_group_id",
        "seller_id",
        "currency",
        "status",
        "paid_at",
    }
    assert kept("order_items", group.item_ids[0]) == {"id", "order_id", "product_id"}


def test_order_without_items_keeps_its_id_as_well(owner: Connection, shop: Shop) -> None:
    """No key of an item holds it: the rule alone does."""
    group = shop.order_group([[], [(1, "5")]])

    for column in ("id", "order_group_id", "currency"):
        statement = sql.SQL("update public.orders set {} = {} where id = %s").format(
            sql.Identifier(column), another(column, "text" if column == "currency" else "uuid")
        )
        assert refused(owner, statement, group.order_ids[0]), column
    with owner.transaction(force_rollback=True):
        owner.execute("update public.orders set seller_id = %s where id = %s", [shop.sellers[1].id, group.order_ids[0]])


@pytest.mark.parametrize("first", GROUP_STATUSES)
def test_group_takes_these_steps_and_no_others(service: Connection, owner: Connection, shop: Shop, first: str) -> None:
    group = shop.order_group([[(1, "5")]])
    if first != "pending":
        settle(service, group, first)
    payment = (
        ", paid_at = now(), stripe_webhook_event_id = 'evt_x', stripe_checkout_session_id = 'cs_x'"
        if first == "pending"
        else ""
    )

    told = {}
    for target in GROUP_STATUSES:
        for columns_too in {"", payment}:
            statement = sql.SQL("update public.order_groups set status = {}" + columns_too + " where id = %s").format(
                sql.Literal(target)
            )
            told[target, bool(columns_too)] = not refused(owner, statement, group.id)
    steps = {target for (target, _), passed in told.items() if passed}

    # What is refunded follows from the refunds; who deletes the buyer's account writes the row as it is.
    assert (
        steps
        == {
            "pending": {"pending", "paid", "cancelled"},
            "paid": {"paid"},
            "cancelled": {"cancelled"},
            "refunded": {"refunded"},
        }[first]
    )
    if first == "pending":
        assert {case for case, passed in told.items() if passed} == {
            ("pending", False),
            ("paid", True),
            ("cancelled", False),
        }


@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_group_without_orders_is_removed_as_long_as_it_is_pending(
    service: Connection, owner: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group([])
    if status == "cancelled":
        settle(service, group, status)

    is_kept = refused(owner, sql.SQL("delete from public.order_groups where id = %s"), group.id)

    assert is_kept is (status == "cancelled")


def reach(service: Connection, owner: Connection, group: OrderGroup, status: str) -> None:
    """Takes the group's only order to that status."""
    if status in ("cancelled", "refunded"):
        settle(service, group, status)
    elif status != "pending":
        assert reconcile(service, group.payment())["outcome"] == "applied"
    for step in PATH[1 : PATH.index(status) + 1] if status in PATH else ():
        service.execute("update public.orders set status = %s where order_group_id = %s", [step, group.id])
    assert scalar(owner, "select status from public.orders where order_group_id = %s", group.id) == status


def pairs(froms: Iterable[str], to: str) -> set[tuple[str, str]]:
    return {(one, to) for one in froms}


FORWARD = {("paid", "fulfilled"), ("fulfilled", "shipped"), ("shipped", "delivered")}
SAME = {(status, status) for status in ORDER_STATUSES}


def test_order_takes_these_steps_and_no_others_by_the_shop_and_by_its_owner(
    service: Connection, owner: Connection, shop: Shop
) -> None:
    told: dict[str, set[tuple[str, str]]] = {"shop": set(), "owner": set(), "owner, with a time": set()}

    for first in ORDER_STATUSES:
        group = shop.order_group([[(1, "5")]])
        reach(service, owner, group, first)
        for target in ORDER_STATUSES:
            step = sql.SQL("update public.orders set status = {} where id = %s").format(sql.Literal(target))
            timed = sql.SQL("update public.orders set status = {}, paid_at = now() where id = %s").format(
                sql.Literal(target)
            )
            for who, actor, statement in (
                ("shop", service, step),
                ("owner", owner, step),
                ("owner, with a time", owner, timed),
            ):
                if not refused(actor, statement, group.order_ids[0]):
                    told[who].add((first, target))

    assert told == {
        "shop": SAME | FORWARD,
        "owner": SAME | FORWARD | pairs(PATH, "refunded"),
        "owner, with a time": set(),
    }


def test_orders_are_paid_and_cancelled_with_their_group_and_at_its_time_only(owner: Connection, shop: Shop) -> None:
    """What the functions do, done by the owner by hand: the group first, then its orders."""
    told = set()
    payment: dict[str, str] = {
        "paid": "status = 'paid', paid_at = now(), stripe_webhook_event_id = 'evt_x',"
        " stripe_checkout_session_id = 'cs_x'",
        "cancelled": "status = 'cancelled'",
        "pending": "total_amount = total_amount",
    }
    for of_the_group, target, time in product(payment, ("paid", "cancelled"), ("the group's", "another", "none")):
        group = shop.order_group([[(1, "5")]])
        value = {"the group's": "now()", "another": "now() - interval '1 s'", "none": "null"}[time]
        try:
            with owner.transaction(force_rollback=True):
                owner.execute(
                    f"update public.order_groups set {payment[of_the_group]} where id = '{group.id}'".encode()
                )
                owner.execute(
                    f"update public.orders set status = '{target}', paid_at = {value}"
                    f" where order_group_id = '{group.id}'".encode()
                )
        except psycopg.IntegrityError:
            continue
        told.add((of_the_group, target, time))

    assert told == {("paid", "paid", "the group's"), ("cancelled", "cancelled", "none")}
