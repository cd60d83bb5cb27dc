"""`relay init --with queues`: one message for each change of an order group, and a payment that no queue holds up."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from local_stack.platform import REGIMES
from sql_tests.conftest import PROJECT_DIR
from testkit import queues
from testkit.database import Connection, Database, Role, Row, scalar
from testkit.payments import reconcile, reconcile_together
from testkit.queues import read, waiting
from testkit.refunds import record, refund_in_full
from testkit.shop import OrderGroup, Shop, new_user

pytestmark = pytest.mark.usefixtures("queue")
UNANNOUNCED = "select message, failed_with from payments.unannounced_events order by id"


def message(superuser: Connection, event: str, group: OrderGroup, from_status: str = "pending") -> Row:
    """What the queue must hold of a step: its words, and the time that history has."""
    at = scalar(
        superuser,
        "select to_jsonb(changed_at) from public.order_status_changes"
        " where order_group_id = %s and order_id is null and from_status = %s and to_status = %s",
        group.id,
        from_status,
        event,
    )
    return {"event": event, "order_group_id": str(group.id), "from_status": from_status, "at": at}


def test_each_change_of_a_group_is_one_message_of_ids_and_nothing_else_is_any(
    superuser: Connection, service: Connection, shop: Shop
) -> None:
    paid, cancelled, rejected = (shop.order_group() for _ in range(3))
    payment = paid.payment()

    for attempt in (payment, payment, payment.twin(), payment.rival(), rejected.payment().but(amount="1.00")):
        reconcile(service, attempt)
    for _ in range(2):
        scalar(service, "select public.cancel_order_group(%s)", cancelled.id)
    service.execute("update public.orders set status = 'fulfilled' where order_group_id = %s", [paid.id])
    service.execute("select public.record_inventory_receipt(%s, 5, 'came')", [shop.sellers[0].product_ids[0]])
    refund_in_full(service, paid.id)

    assert waiting(superuser) == [
        message(superuser, "paid", paid),
        message(superuser, "cancelled", cancelled),
        message(superuser, "refunded", paid, "paid"),
    ]


def test_full_refund_that_fails_afterwards_is_a_payment_again(
    superuser: Connection, service: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    refund = refund_in_full(service, group.id)

    outcomes = [record(service, refund.then("failed"))["outcome"] for _ in range(2)]

    assert outcomes == ["recorded", "replayed"]
    assert waiting(superuser) == [
        message(superuser, "paid", group),
        message(superuser, "refunded", group, "paid"),
        message(superuser, "paid", group, "refunded"),
    ]


def test_goods_that_come_back_are_one_message_for_each_call(
    superuser: Connection, service: Connection, shop: Shop
) -> None:
    group, other = shop.order_group(), shop.order_group()
    for paid in (group, other):
        reconcile(service, paid.payment())
    superuser.execute("truncate pgmq.q_order_group_events")
    returning = "select public.return_order_items(%s, %s, 'broken')"

    def lines(*item_ids: UUID) -> Jsonb:
        return Jsonb([{"order_item_id": str(item_id), "quantity": 1} for item_id in item_ids])

    outcomes = [
        scalar(service, returning, group.id, lines(*group.item_ids[:3]))["outcome"],
        scalar(service, returning, group.id, lines(group.item_ids[0]))["outcome"],  # there was one
        scalar(service, returning, other.id, lines(other.item_ids[1]))["outcome"],
        scalar(service, "select public.refund_order(%s, 'sold out')", group.order_ids[1])["outcome"],
    ]

    assert outcomes == ["returned", "rejected", "returned", "refunded"]
    rows = superuser.execute(
        "select distinct i.order_group_id, to_jsonb(l.created_at) as at, l.created_at from public.inventory_ledger as l"
        " inner join public.order_items as i on l.order_item_id = i.id"
        " where l.entry_type = 'order_return' order by l.created_at"
    ).fetchall()
    assert [row["order_group_id"] for row in rows] == [group.id, other.id, group.id]
    assert waiting(superuser) == [
        {"event": "returned", "order_group_id": str(row["order_group_id"]), "from_status": None, "at": row["at"]}
        for row in rows
    ]


def test_rolled_back_payment_is_not_announced(db: Database, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()

    with db.act_as("service_role", autocommit=False) as service:
        assert reconcile(service, group.payment())["outcome"] == "applied"
        service.rollback()

    assert waiting(superuser) == []
    assert superuser.execute(UNANNOUNCED).fetchall() == []


def test_batch_announces_the_groups_that_it_has_paid_and_no_other(
    db: Database, superuser: Connection, service: Connection, shop: Shop
) -> None:
    """The second fails, and the third is deferred, once each has announced its group."""
    groups = sorted((shop.order_group() for _ in range(5)), key=lambda group: group.id)
    payments = [group.payment() for group in groups]
    superuser.execute(
        f"create function public.tg_shop() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        f"create trigger zz_shop before insert on public.inventory_ledger for each row"
        f" when (new.stripe_webhook_event_id = '{payments[1].event_id}') execute function public.tg_shop()".encode()
    )
    payments[3] = payments[3].but(amount="1.00")

    with db.connect("postgres", autocommit=False) as holder:
        holder.execute("select id from public.orders where id = %s for update", [groups[2].order_ids[0]])
        answers = reconcile_together(service, [*payments, payments[0]])

    outcomes = [answer["outcome"] for answer in answers]
    assert outcomes == ["applied", "failed", "deferred", "rejected", "applied", "replayed"]
    assert waiting(superuser) == [message(superuser, "paid", groups[place]) for place in (0, 4)]
    assert superuser.execute(UNANNOUNCED).fetchall() == []


def test_expired_group_is_announced_as_cancelled(superuser: Connection, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    superuser.execute("update public.order_groups set expires_at = now() where id = %s", [group.id])

    service.execute("select public.expire_order_groups()")

    assert waiting(superuser) == [message(superuser, "cancelled", group)]


def test_reader_sees_a_message_until_it_finishes_it(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    (first,) = read(service, seconds=1)
    assert read(service) == []
    superuser.execute("update pgmq.q_order_group_events set vt = clock_timestamp() where true")
    (again,) = read(service)

    assert first == message(superuser, "paid", group) | {"id": first["id"], "reads": 1}
    assert again == first | {"reads": 2}
    assert scalar(service, "select public.finish_order_group_event(%s)", first["id"]) is True
    assert scalar(service, "select public.finish_order_group_event(%s)", first["id"]) is False
    assert waiting(superuser) == []


def test_message_that_is_set_aside_waits_in_the_archive(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    (found,) = read(service)

    assert scalar(service, "select public.set_aside_order_group_event(%s)", found["id"]) is True

    assert waiting(superuser) == []
    archive = superuser.execute("select msg_id, read_ct, message from pgmq.a_order_group_events").fetchall()
    expected: Row = {"msg_id": found["id"], "read_ct": 1, "message": message(superuser, "paid", group)}
    assert archive == [expected]
    assert scalar(service, "select public.set_aside_order_group_event(%s)", found["id"]) is False


@pytest.mark.parametrize(("limit", "seconds"), [(0, 60), (101, 60), (None, 60), (10, 0), (10, 43_201), (10, None)])
def test_reader_asks_within_bounds(service: Connection, limit: Any, seconds: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        read(service, limit=limit, seconds=seconds)


def test_two_readers_never_see_one_message(
    db: Database, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    for _ in range(4):
        reconcile(service, shop.order_group().payment())
    other = connections.enter_context(db.act_as("service_role"))

    with service.transaction():
        mine = read(service, limit=2)
        theirs = read(other)

    assert len(mine) == len(theirs) == 2
    assert {one["id"] for one in mine}.isdisjoint(one["id"] for one in theirs)


def drop(owner: Connection) -> None:
    owner.execute("select pgmq.drop_queue('order_group_events')")


def take_rights(owner: Connection) -> None:
    owner.execute("revoke insert on pgmq.q_order_group_events from postgres")


@pytest.mark.parametrize(
    ("break_it", "mend", "code"),
    [
        (drop, "select pgmq.create('order_group_events')", "42P01"),
        (take_rights, "grant insert on pgmq.q_order_group_events to postgres", "42501"),
    ],
)
def test_payment_goes_through_without_its_queue_and_is_announced_once_the_queue_is_back(
    superuser: Connection, owner: Connection, service: Connection, shop: Shop, break_it: Any, mend: str, code: str
) -> None:
    paid, cancelled = shop.order_group(), shop.order_group()
    break_it(owner)

    assert reconcile(service, paid.payment())["outcome"] == "applied"
    assert scalar(service, "select public.cancel_order_group(%s)", cancelled.id)["outcome"] == "cancelled"

    expected = [message(superuser, "paid", paid), message(superuser, "cancelled", cancelled)]
    kept = superuser.execute(UNANNOUNCED).fetchall()
    assert kept == [{"message": each, "failed_with": code} for each in expected]
    with pytest.raises(psycopg.Error) as failure:
        read(service)
    assert failure.value.sqlstate == code
    assert superuser.execute(UNANNOUNCED).fetchall() == kept

    owner.execute(mend.encode())
    found = read(service)

    assert found == [{**each, "id": one["id"], "reads": 1} for each, one in zip(expected, found, strict=True)]
    assert superuser.execute(UNANNOUNCED).fetchall() == []
    assert waiting(superuser) == expected


def test_payment_does_not_wait_for_whoever_locks_the_queue(
    db: Database, superuser: Connection, service: Connection, shop: Shop
) -> None:
    group = shop.order_group()

    with db.connect("postgres", autocommit=False) as holder:
        holder.execute("lock table pgmq.q_order_group_events in access exclusive mode")
        assert reconcile(service, group.payment())["outcome"] == "applied"
        kept = superuser.execute(UNANNOUNCED).fetchall()

    assert kept == [{"message": message(superuser, "paid", group), "failed_with": "55P03"}]


def test_readers_send_what_was_kept_once(
    db: Database, owner: Connection, superuser: Connection, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    drop(owner)
    groups = [shop.order_group() for _ in range(3)]
    for group in groups:
        reconcile(service, group.payment())
    owner.execute("select pgmq.create('order_group_events')")
    other = connections.enter_context(db.act_as("service_role"))

    with service.transaction():
        mine = read(service, limit=2)
        theirs = read(other)

    assert [one["order_group_id"] for one in (*mine, *theirs)] == [str(group.id) for group in groups]
    assert len(waiting(superuser)) == 3


def test_buyers_account_is_deleted_as_ever(superuser: Connection, service: Connection, shop: Shop) -> None:
    buyer: UUID = new_user(superuser)
    group = shop.order_group(buyer_id=buyer)
    reconcile(service, group.payment())

    superuser.execute("delete from auth.users where id = %s", [buyer])

    assert scalar(superuser, "select buyer_id from public.order_groups where id = %s", group.id) is None
    assert waiting(superuser) == [message(superuser, "paid", group)]
    assert str(buyer) not in str(waiting(superuser))


@pytest.mark.parametrize("regime", REGIMES)
def test_nobody_but_the_functions_reaches_the_queue_and_nothing_is_found(
    db: Database, superuser: Connection, service: Connection, connections: ExitStack
) -> None:
    assert superuser.execute("select * from public.security_findings()").fetchall() == []

    statements = (
        "select public.read_order_group_events()",
        "select public.finish_order_group_event(1)",
        "select public.set_aside_order_group_event(1)",
        "select pgmq.send('order_group_events', '{}')",
        "select * from pgmq.q_order_group_events",
        "select * from pgmq.a_order_group_events",
        "select * from payments.unannounced_events",
        "select payments.announce('paid', gen_random_uuid(), null, now())",
    )
    clients: tuple[Role, ...] = ("anon", "authenticated")
    for role in clients:
        client = connections.enter_context(db.act_as(role))
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(statement)
    for statement in statements[3:]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(statement)
    held = superuser.execute(
        "select c.relname, a.grantee::regrole::text as grantee from pg_class as c, aclexplode(c.relacl) as a"
        " where c.relnamespace = 'pgmq'::regnamespace and c.relname like '_\\_order_group_events'"
        " and a.grantee <> c.relowner and a.grantee <> 'pg_monitor'::regrole"
    ).fetchall()
    assert held == []


def test_door_that_the_project_opens_for_other_queues_stays_shut_for_this_one(
    db: Database, owner: Connection, service: Connection, shop: Shop, connections: ExitStack
) -> None:
    for _ in range(2):
        reconcile(service, shop.order_group().payment())
    (found,) = read(service, limit=1, seconds=1)
    scalar(service, "select public.set_aside_order_group_event(%s)", found["id"])
    owner.execute(
        "grant usage on schema pgmq to authenticated; grant all on all tables in schema pgmq to authenticated"
    )
    client = connections.enter_context(db.act_as("authenticated"))

    assert client.execute("select * from pgmq.read('order_group_events', 1, 10)").fetchall() == []
    assert client.execute("select * from pgmq.a_order_group_events").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        client.execute("select pgmq.send('order_group_events', '{}')")


def test_types_of_the_callers_own_do_not_run_with_the_owners_rights(
    db: Database, superuser: Connection, shop: Shop, connections: ExitStack
) -> None:
    superuser.execute(f'grant temporary on database "{db.name}" to service_role')
    group = shop.order_group()
    caller = connections.enter_context(db.act_as("service_role"))
    caller.execute(
        "create function pg_temp.evil() returns pg_catalog.bool language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$"
    )
    for name in ("text", "jsonb", "int8", "timestamptz"):
        caller.execute(f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil())")
    caller.execute("grant execute on function pg_temp.evil() to public")

    assert scalar(caller, "select public.cancel_order_group(%s::pg_catalog.uuid)", group.id)["outcome"] == "cancelled"
    (found,) = scalar(caller, "select public.read_order_group_events()")
    caller.execute("select public.set_aside_order_group_event(%s::bigint)", [found["id"]])

    assert superuser.execute(UNANNOUNCED).fetchall() == []
    assert scalar(superuser, "select count(*) from pgmq.a_order_group_events") == 1


def test_migration_says_what_is_missing_where_there_are_no_queues(owner: Connection) -> None:
    owner.execute("drop schema pgmq cascade")

    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        queues.announce(owner, PROJECT_DIR)

    assert "Supabase Queues (the extension pgmq) is not here" in str(refused.value)
    assert "Turn on Queues in the dashboard" in (refused.value.diag.message_hint or "")
