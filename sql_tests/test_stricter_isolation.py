"""No function answers 40001, whatever the caller's isolation: PostgREST would run the transaction again for ever.

A rival makes the same call, writes every row anew, and commits; the caller still sees the database as it was before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import IsolationLevel, sql
from psycopg.types.json import Jsonb

from sql_tests.goods import give_back, give_up, line, sold
from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.order_group_requests import OrderGroupRequest, request
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.refunds import Dispute, Refund, record
from testkit.shop import Shop

ADDRESS = "0" * 64
Call = Callable[[Connection], Any]


def asking(text: LiteralString, *values: Any) -> Call:
    return lambda connection: scalar(connection, text, *values)


def rejected(shop: Shop) -> int:
    """A payment's exception, by its number."""
    payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
    assert reconcile(shop.service, payment)["outcome"] == "rejected"
    rows = shop.service.execute("select id from public.list_payment_exceptions(p_event => %s)", [payment.event_id])
    number: int = rows.fetchall()[0]["id"]
    return number


def applied(shop: Shop) -> Payment:
    payment = shop.order_group().payment()
    assert reconcile(shop.service, payment)["outcome"] == "applied"
    return payment


def created(shop: Shop, **others: Any) -> OrderGroupRequest:
    asked = request(shop).but(**others)
    assert asked.send(shop.service)["outcome"] == "created"
    return asked


def advance(shop: Shop) -> Call:
    return asking("select public.advance_order(%s, 'fulfilled')", sold(shop.service, shop).order_ids[0])


def cancel(shop: Shop) -> Call:
    return asking("select public.cancel_order_group(%s)", created(shop).order_group_id)


def claim(shop: Shop) -> Call:
    guests = created(shop, buyer_id=None)
    return asking("select public.claim_order_group(%s, %s)", guests.order_group_id, shop.buyer_id)


def claim_notifications(shop: Shop) -> Call:
    rejected(shop)
    return asking("select public.claim_exception_notifications(%s, 300)", ADDRESS)


def create(shop: Shop) -> Call:
    return request(shop).send


def erase(shop: Shop) -> Call:
    group = sold(shop.service, shop)
    return asking("select public.erase_order_group_metadata(%s, 'ada', 'the buyer asked')", group.id)


def expire(shop: Shop) -> Call:
    created(shop, expires_at="2026-01-01T00:00Z")
    return asking("select public.expire_order_groups()")


def finish_notifications(shop: Shop) -> Call:
    number = rejected(shop)
    asking("select public.claim_exception_notifications(%s, 300)", ADDRESS)(shop.service)
    return asking("select public.finish_exception_notifications(%s, %s, true)", ADDRESS, [number])


def import_one(shop: Shop) -> Call:
    asked = request(shop)
    return asking(
        "select public.import_order_group(%s, %s, 'USD', %s, 980, '2023-05-17T09:30Z', true, 'cs_live_1', 'pi_1')",
        asked.order_group_id,
        asked.buyer_id,
        Jsonb(asked.orders),
    )


def note(shop: Shop) -> Call:
    return asking("select public.note_awaiting_funds(%s, 'cs_1', 'evt_1', now())", created(shop).order_group_id)


def pay(shop: Shop) -> Call:
    payment = shop.order_group().payment()
    return lambda connection: reconcile(connection, payment)


def pay_together(shop: Shop) -> Call:
    payments = [shop.order_group().payment() for _ in range(2)]
    return lambda connection: [answer["outcome"] for answer in reconcile_together(connection, payments)]


def record_dispute(shop: Shop) -> Call:
    dispute = Dispute.of(applied(shop))
    return lambda connection: record(connection, dispute)


def record_refund(shop: Shop) -> Call:
    refund = Refund.of(applied(shop))
    return lambda connection: record(connection, refund)


def adjust(shop: Shop) -> Call:
    product_id = shop.sellers[0].product_ids[0]
    return asking("select 'an entry' from public.record_inventory_adjustment(%s, -1, 'broken')", product_id)


def receive(shop: Shop) -> Call:
    return asking("select public.record_inventory_receipt(%s, 3, 'came in', 'box 1')", shop.sellers[0].product_ids[0])


def give_an_order_up(shop: Shop) -> Call:
    group = sold(shop.service, shop)
    return lambda connection: give_up(connection, group.order_ids[0])


def reopen(shop: Shop) -> Call:
    number = rejected(shop)
    resolve_it = "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'seen')"
    asking(resolve_it, number)(shop.service)
    return asking("select public.reopen_payment_exception(%s, 'ada', 'not yet')", number)


def resolve(shop: Shop) -> Call:
    return asking("select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'seen')", rejected(shop))


def take_back(shop: Shop) -> Call:
    group = sold(shop.service, shop)
    return lambda connection: give_back(connection, group.id, [line(group.item_ids[0], 1)])


# The call of each function that writes, and what it answers.
LOST = "55P03"  # nothing has happened: try again
REFUSED = "25000"  # not under this isolation
TAKEN = "23505"  # by a row that this transaction does not see
CALLS: dict[str, tuple[Callable[[Shop], Call], object]] = {
    "advance_order": (advance, LOST),
    "cancel_order_group": (cancel, LOST),
    "claim_exception_notifications": (claim_notifications, LOST),
    "claim_order_group": (claim, LOST),
    "create_order_group": (create, LOST),
    "erase_order_group_metadata": (erase, REFUSED),
    "expire_order_groups": (expire, LOST),
    "finish_exception_notifications": (finish_notifications, LOST),
    "import_order_group": (import_one, LOST),
    "note_awaiting_funds": (note, LOST),
    "reconcile_order_group_payment": (pay, LOST),
    "reconcile_order_group_payments": (pay_together, ["deferred", "deferred"]),
    "record_dispute": (record_dispute, REFUSED),
    "record_inventory_adjustment": (adjust, "an entry"),
    "record_inventory_receipt": (receive, TAKEN),
    "record_refund": (record_refund, REFUSED),
    "refund_order": (give_an_order_up, REFUSED),
    "reopen_payment_exception": (reopen, LOST),
    "resolve_payment_exception": (resolve, LOST),
    "return_order_items": (take_back, REFUSED),
}


def test_every_function_that_writes_is_called(superuser: Connection) -> None:
    writing = superuser.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v'"
    ).fetchall()

    # It is volatile for the clock's sake.
    assert {row["proname"] for row in writing} == {*CALLS, "reconciliation_readiness"}


@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
@pytest.mark.parametrize("name", CALLS)
def test_whoever_sees_the_database_of_before_is_told_to_try_again(
    db: Database, service: Connection, superuser: Connection, shop: Shop, name: str, isolation: IsolationLevel
) -> None:
    prepare, expected = CALLS[name]
    call = prepare(shop)
    with db.act_as("service_role", autocommit=False) as stricter:
        stricter.isolation_level = isolation
        stricter.execute("select 1")
        call(service)
        write_every_row_anew(superuser)
        try:
            answer = call(stricter)
        except psycopg.Error as error:
            answer = error.sqlstate
        stricter.rollback()

    assert answer == expected


def write_every_row_anew(superuser: Connection) -> None:
    columns = superuser.execute(
        "select c.oid::regclass::text as table, min(a.attname) as column from pg_class as c"
        " inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and a.attgenerated = ''"
        " and a.attidentity = '' and not a.attisdropped"
        " where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'payments'::regnamespace) group by c.oid"
    ).fetchall()
    with past_every_guard(superuser):
        for row in columns:
            table, column = sql.SQL(row["table"]), sql.Identifier(row["column"])
            superuser.execute(sql.SQL("update {0} set {1} = {1}").format(table, column))
