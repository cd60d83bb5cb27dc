"""When a step was taken and in whose name, and what two who write at the same instant do to each other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.races import RaceDatabase
from sql_tests.settling import settle
from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.refunds import refund_in_full
from testkit.shop import OrderGroup, Shop

PAYMENT = "reconcile_order_group_payment"
CLAIMS, OLD_CLAIM = "request.jwt.claims", "request.jwt.claim.sub"


def last_step(superuser: Connection, group: OrderGroup) -> dict[str, Any]:
    row = superuser.execute(
        "select changed_at, changed_by from public.order_status_changes where order_group_id = %s"
        " order by id desc limit 1",
        [group.id],
    ).fetchone()
    assert row is not None
    return row


# Settings of the session -> in whose name it takes a step; the session is the shop's server, through the Data API.
NAMES: list[tuple[dict[str, str], str]] = [
    ({}, "service_role"),
    ({CLAIMS: ""}, "service_role"),
    ({CLAIMS: "{}"}, "service_role"),
    ({CLAIMS: '{"role": "service_role"}'}, "service_role"),
    ({CLAIMS: '{"sub": null}'}, "service_role"),
    ({CLAIMS: '{"sub": "ada"}'}, "ada"),
    ({CLAIMS: '{"sub": "0c0ffee0-0000-4000-8000-000000000001"}'}, "0c0ffee0-0000-4000-8000-000000000001"),
    ({OLD_CLAIM: "bob"}, "bob"),
    ({OLD_CLAIM: "", CLAIMS: '{"sub": "ada"}'}, "ada"),
    ({OLD_CLAIM: "bob", CLAIMS: '{"sub": "ada"}'}, "bob"),
]


@pytest.mark.parametrize(("settings", "name"), NAMES)
def test_step_is_taken_in_the_name_that_the_session_bears(
    db: Database, superuser: Connection, shop: Shop, settings: dict[str, str], name: str
) -> None:
    group = shop.order_group()
    with db.connect("authenticator") as session:  # where a setting was never made, which the other fixtures make
        session.execute("set role service_role")
        for setting, value in settings.items():
            session.execute("select set_config(%s, %s, false)", [setting, value])

        scalar(session, "select public.cancel_order_group(%s)", group.id)

    assert last_step(superuser, group)["changed_by"] == name


@pytest.mark.parametrize("role", ["postgres", "supabase_admin"])
def test_step_of_a_direct_session_bears_its_login(db: Database, superuser: Connection, shop: Shop, role: str) -> None:
    group = shop.order_group()
    with db.connect(role) as session:
        scalar(session, "select public.cancel_order_group(%s)", group.id)

    assert last_step(superuser, group)["changed_by"] == role


@pytest.mark.parametrize("step", ["cancelled", "refunded", "an order's", "an order's refund"])
def test_later_step_bears_the_time_at_which_it_was_taken(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, step: str
) -> None:
    """Neither the payment's time nor that at which its transaction began."""
    group = shop.order_group()
    if step != "cancelled":
        settle(service, group, "paid")

    with owner.transaction():
        began = scalar(owner, "select now()")
        if step == "cancelled":
            scalar(owner, "select public.cancel_order_group(%s)", group.id)
        elif step == "refunded":
            refund_in_full(owner, group.id)
        else:
            target = "fulfilled" if step == "an order's" else "refunded"
            owner.execute("update public.orders set status = %s where id = %s", [target, group.order_ids[0]])
        ended = scalar(owner, "select clock_timestamp()")

    assert began < last_step(superuser, group)["changed_at"] < ended


@pytest.mark.parametrize("status", ["paid", "refunded"])
def test_column_of_the_shops_own_is_written_by_its_server_whatever_the_order_is(
    service: Connection, owner: Connection, shop: Shop, status: str
) -> None:
    owner.execute(
        "alter table public.orders add tracking text; grant update (tracking) on public.orders to service_role"
    )
    group = shop.order_group()
    settle(service, group, status)

    service.execute("update public.orders set tracking = 'T1', status = status where order_group_id = %s", [group.id])

    rows = owner.execute("select tracking, status from public.orders").fetchall()
    assert rows == [{"tracking": "T1", "status": status}] * 2


# members' accounts


def test_account_of_a_member_takes_the_membership_along_and_nothing_else(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    first, second = shop.sellers
    group = shop.order_group()
    reconcile(service, group.payment())
    before = superuser.execute("select * from public.orders order by id").fetchall()

    superuser.execute("delete from auth.users where id = %s", [first.member_id])

    left = superuser.execute("select seller_id, user_id from public.seller_members").fetchall()
    assert left == [{"seller_id": second.id, "user_id": second.member_id}]
    assert superuser.execute("select * from public.orders order by id").fetchall() == before
    assert scalar(superuser, "select count(*) from public.sellers") == 2


def test_seller_without_orders_and_products_takes_its_memberships_along(
    service: Connection, owner: Connection, shop: Shop
) -> None:
    seller: UUID = scalar(service, "insert into public.sellers (name) values ('Closed') returning id")
    service.execute(
        "insert into public.seller_members (seller_id, user_id) values (%s, %s)", [seller, shop.sellers[0].member_id]
    )

    owner.execute("delete from public.sellers where id = %s", [seller])

    assert scalar(owner, "select count(*) from public.seller_members where seller_id = %s", seller) == 0
    assert scalar(owner, "select count(*) from public.seller_members") == 2


# two at the same instant


def test_two_members_at_once_take_one_step_together(database: RaceDatabase, group: OrderGroup) -> None:
    """The second waits for the first and is judged by what the first has done."""
    reconcile(database.shop.service, group.payment())
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    def advance(connection: Connection) -> Any:
        return scalar(connection, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])

    one.start(advance)
    told = [one.answer()]
    other.start(advance)
    other.until_waiting_for(one)
    one.end("commit")
    told.append(other.answer())
    other.end("commit")

    assert [(answer["outcome"], answer["reason"], answer["status"]) for answer in told] == [
        ("moved", None, "fulfilled"),
        ("rejected", "order_status_moves_forward", "fulfilled"),
    ]
    steps = scalar(
        database.observer,
        "select count(*) from public.order_status_changes where order_id = %s and to_status = 'fulfilled'",
        group.order_ids[0],
    )
    assert steps == 1


@pytest.mark.parametrize("kind", ["an order and an order", "an item and an item", "an order and an item"])
def test_second_edit_of_a_group_waits_for_the_first(database: RaceDatabase, group: OrderGroup, kind: str) -> None:
    seller = database.shop.sellers[0]
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    def add(connection: Connection, what: str) -> Any:
        if what == "an order":
            return scalar(
                connection,
                "insert into public.orders (order_group_id, seller_id, total_amount) values (%s, %s, 0) returning id",
                group.id,
                seller.id,
            )
        return scalar(
            connection,
            "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
            " values (%s, %s, 1, 0) returning id",
            group.order_ids[0],
            seller.product_ids[0],
        )

    first, second = kind.split(" and ")
    one.start(lambda connection: add(connection, first))
    assert one.answer()
    other.start(lambda connection: add(connection, second))
    other.until_waiting_for(one)
    one.end("commit")
    assert other.answer()
    other.end("commit")


def test_second_resolution_of_a_case_waits_for_the_first_and_is_told_of_it(
    database: RaceDatabase, group: OrderGroup
) -> None:
    service = database.shop.service
    reconcile(service, group.payment().but(amount_minor=1, amount="0.01"))
    case = scalar(service, "select id from public.list_payment_exceptions() where order_group_id = %s", group.id)
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    def resolve(connection: Connection, who: str) -> str:
        try:
            told = scalar(connection, "select public.resolve_payment_exception(%s, 'refunded', %s)", case, who)
        except psycopg.Error as error:
            return str(error).splitlines()[0]
        return str(told["resolved_by"])

    one.start(lambda connection: resolve(connection, "ada"))
    assert one.answer() == "ada"
    other.start(lambda connection: resolve(connection, "bob"))
    other.until_waiting_for(one)
    one.end("commit")

    assert other.answer().startswith(f"payment exception {case} was closed as refunded by ada at ")
    other.end("rollback")
