"""Settled groups are frozen, history is append-only, and an order's status moves forward only."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from sql_tests.settling import SETTLED, settle
from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import Shop

EDITS: dict[str, LiteralString] = {
    "another total": "update public.order_groups set total_amount = total_amount + 1 where id = %(group)s",
    "another currency": "update public.order_groups set currency = 'EUR' where id = %(group)s",
    "another buyer": "update public.order_groups set buyer_id ="
    " (select id from auth.users where id <> buyer_id limit 1) where id = %(group)s",
    "pending again": "update public.order_groups set status = 'pending' where id = %(group)s",
    "another payment": "update public.order_groups set stripe_payment_intent_id = 'pi_x' where id = %(group)s",
    "another time": "update public.order_groups set paid_at = now() where id = %(group)s",
    "no group": "delete from public.order_groups where id = %(group)s",
    "an order's total": "update public.orders set total_amount = 0 where id = %(order)s",
    "an order's seller": "update public.orders set seller_id = gen_random_uuid() where id = %(order)s",
    "an order's paid_at": "update public.orders set paid_at = '2020-01-01' where id = %(order)s",
    "no order": "delete from public.orders where id = %(order)s",
    "one more order": "insert into public.orders (order_group_id, seller_id, total_amount)"
    " select order_group_id, seller_id, 0 from public.orders where id = %(order)s",
    "an item's quantity": "update public.order_items set quantity = quantity + 1 where id = %(item)s",
    "an item's price": "update public.order_items set unit_amount = 0 where id = %(item)s",
    "no item": "delete from public.order_items where id = %(item)s",
    "one more item": "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
    " select order_id, product_id, 1, 0 from public.order_items where id = %(item)s",
}


@pytest.mark.parametrize("status", SETTLED)
def test_settled_group_is_frozen_for_its_owner_too(
    db: Database, service: Connection, owner: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    settle(service, group, status)
    names = {"group": group.id, "order": group.order_ids[0], "item": group.item_ids[0]}
    before = db.snapshot()

    for connection in (owner, superuser):
        for edit in EDITS.values():
            with pytest.raises(
                psycopg.IntegrityError, match=r"frozen|cannot|stays|has_no_payment_check|is_all_back_check|_fkey"
            ):
                connection.execute(edit, names)

    assert db.snapshot() == before


def test_writing_a_settled_order_as_it_is_changes_nothing(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    read = "select status, total_amount, paid_at from public.orders where order_group_id = %s order by id"
    before = owner.execute(read, [group.id]).fetchall()

    # What an object-relational mapper sends that writes whole rows.
    owner.execute(
        "update public.orders set id = id, order_group_id = order_group_id, seller_id = seller_id,"
        " total_amount = total_amount, status = status, paid_at = paid_at where order_group_id = %s",
        [group.id],
    )

    assert owner.execute(read, [group.id]).fetchall() == before


def test_shop_cannot_add_to_a_settled_group(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
        shop.add_order(group.id, shop.sellers[0], "1")
    with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
        shop.add_item(group.order_ids[0], shop.sellers[0].product_ids[0], 1, "1")


def test_pending_group_can_be_edited_by_its_owner(owner: Connection, service: Connection, shop: Shop) -> None:
    group = shop.order_group()

    owner.execute("update public.order_items set quantity = 9 where id = %s", [group.item_ids[0]])
    owner.execute("delete from public.order_items where id = %s", [group.item_ids[1]])
    owner.execute("update public.orders set total_amount = total_amount + 1 where id = %s", [group.order_ids[0]])
    owner.execute("update public.order_groups set total_amount = total_amount + 1 where id = %s", [group.id])

    payment = group.payment()
    assert reconcile(service, payment)["reason"] == "amount_mismatch"
    assert payment.amount_minor is not None
    right = payment.rival().but(amount_minor=payment.amount_minor + 100, amount=str(group.total_amount + 1))
    assert reconcile(service, right)["ledger_entries"] == 4


@pytest.mark.parametrize(
    "edit",
    [
        "update public.orders set order_group_id = %(other_group)s where id = %(order)s",
        "update public.orders set order_group_id = %(other_group)s where id = %(empty_order)s",
        "update public.orders set id = gen_random_uuid() where id = %(empty_order)s",
        "update public.order_items set order_id = %(other_order)s where id = %(item)s",
        "update public.order_items set order_id = %(sibling)s where id = %(item)s",
        "update public.order_items set id = gen_random_uuid() where id = %(item)s",
    ],
)
def test_children_stay_with_their_parents(owner: Connection, shop: Shop, edit: LiteralString) -> None:
    group, other = shop.order_group([[(1, "1")], []]), shop.order_group()
    names = {
        "order": group.order_ids[0],
        "empty_order": group.order_ids[1],
        "item": group.item_ids[0],
        "other_group": other.id,
        "other_order": other.order_ids[0],
        # Of the same seller, in the same group: no foreign key has anything against it.
        "sibling": scalar(
            owner,
            "insert into public.orders (order_group_id, seller_id, total_amount)"
            " select order_group_id, seller_id, 0 from public.orders where id = %s returning id",
            group.order_ids[0],
        ),
    }

    with pytest.raises(psycopg.IntegrityError, match=r"stays in its order|order_items_order_id_fkey"):
        owner.execute(edit, names)


def test_order_without_items_stays_in_a_settled_group(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "1")], []])
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        owner.execute("delete from public.orders where id = %s", [group.order_ids[1]])

    assert refusal.value.diag.constraint_name == "order_group_is_frozen_unless_pending"


@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_order_that_nobody_paid_cannot_become_refunded(
    service: Connection, owner: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    if status == "cancelled":
        scalar(service, "select public.cancel_order_group(%s)", group.id)

    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        owner.execute("update public.orders set status = 'refunded' where id = %s", [group.order_ids[0]])

    assert refusal.value.diag.constraint_name == "order_status_moves_forward"


def test_deleted_buyer_is_forgotten_and_the_paid_group_stays(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    superuser.execute("delete from auth.users where id = %s", [shop.buyer_id])

    row = superuser.execute("select buyer_id, status from public.order_groups").fetchone()
    assert row == {"buyer_id": None, "status": "paid"}


@pytest.mark.parametrize(
    "table",
    [
        "public.inventory_ledger",
        "public.order_status_changes",
        "payments.stripe_events",
        "payments.metadata_erasures",
        "payments.status_change_notes",
    ],
)
@pytest.mark.parametrize("verb", ["update", "delete", "truncate", "truncate cascade"])
@pytest.mark.parametrize("replica", [False, True])
def test_history_cannot_be_rewritten_by_anybody(
    db: Database,
    service: Connection,
    owner: Connection,
    superuser: Connection,
    shop: Shop,
    table: str,
    verb: str,
    *,
    replica: bool,
) -> None:
    reconcile(service, (group := shop.order_group()).payment())
    scalar(service, "select public.erase_order_group_metadata(%s, 'ada', 'asked to')", group.id)
    scalar(service, "select public.refund_order(%s, 'out of stock')", group.order_ids[0])
    before = db.snapshot()
    key = {"public.order_status_changes": "changed_by", "payments.stripe_events": "source"}.get(table, "note")
    statement = {
        "update": f"update {table} set {key} = 'sweep' where true",
        "delete": f"delete from {table} where true",
        "truncate": f"truncate {table}",
        "truncate cascade": f"truncate {table} cascade",
    }[verb]
    if replica:
        superuser.execute("set session_replication_role = replica")

    for connection in (owner, superuser):
        with pytest.raises(psycopg.Error, match=r"is append-only|cannot truncate a table referenced"):
            connection.execute(statement)

    assert db.snapshot() == before


@pytest.mark.parametrize("table", ["payments.exceptions", "payments.refunds", "payments.disputes"])
@pytest.mark.parametrize("verb", ["delete from {}", "truncate {}", "truncate {} cascade"])
@pytest.mark.parametrize("replica", [False, True])
def test_what_needs_a_person_and_what_has_gone_back_is_removed_by_nobody(
    db: Database,
    service: Connection,
    owner: Connection,
    superuser: Connection,
    shop: Shop,
    table: str,
    verb: str,
    *,
    replica: bool,
) -> None:
    payment, short = shop.order_group().payment(), shop.order_group().payment().but(amount_minor=1, amount="0.01")
    assert [reconcile(service, one)["outcome"] for one in (payment, short)] == ["applied", "rejected"]
    assert record(service, Refund.of(payment))["outcome"] == "recorded"
    assert record(service, Dispute.of(payment))["outcome"] == "recorded"
    before = db.snapshot()
    if replica:
        superuser.execute("set session_replication_role = replica")

    for connection in (owner, superuser):
        with pytest.raises(psycopg.Error, match=r"is append-only|cannot truncate a table referenced"):
            connection.execute(verb.format(table).encode())

    assert db.snapshot() == before


def test_truncating_the_orders_cannot_take_the_ledger_along(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    reconcile(service, shop.order_group().payment())
    before = db.snapshot()

    for table in ("order_items", "orders", "order_groups", "products"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            owner.execute(f"truncate public.{table} cascade")

    assert db.snapshot() == before


def test_fulfilment_moves_one_step_at_a_time(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    path = ("paid", "fulfilled", "shipped", "delivered")
    every = (*path, "pending", "cancelled", "refunded")

    for position, status in enumerate(path):
        following = path[position + 1] if status != path[-1] else None
        for target in every:
            if target in (status, following):
                continue
            with pytest.raises(psycopg.errors.CheckViolation):
                service.execute("update public.orders set status = %s where id = %s", [target, group.order_ids[0]])
        if following:
            service.execute("update public.orders set status = %s where id = %s", [following, group.order_ids[0]])

    assert scalar(service, "select status from public.orders where id = %s", group.order_ids[0]) == "delivered"
    assert scalar(service, "select status from public.orders where id = %s", group.order_ids[1]) == "paid"


@pytest.mark.parametrize("status", ["paid", "fulfilled", "cancelled", "refunded"])
def test_shop_cannot_settle_a_pending_order(
    service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()

    with pytest.raises(psycopg.errors.CheckViolation):
        service.execute("update public.orders set status = %s where order_group_id = %s", [status, group.id])
    with pytest.raises(psycopg.errors.CheckViolation):
        superuser.execute(
            "update public.orders set status = %s, paid_at = now() where order_group_id = %s", [status, group.id]
        )


@pytest.mark.parametrize("status", ["paid", "cancelled", "refunded"])
def test_shop_inserts_pending_groups_and_orders_only(service: Connection, shop: Shop, status: str) -> None:
    group = shop.order_group()

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="starts as pending"):
        service.execute(
            "insert into public.order_groups (currency, total_amount, status) values ('USD', 1, %s)", [status]
        )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="starts as pending"):
        service.execute(
            "insert into public.orders (order_group_id, seller_id, total_amount, status) values (%s, %s, 1, %s)",
            [group.id, shop.sellers[0].id, status],
        )


def test_shop_may_say_pending_itself(service: Connection) -> None:
    service.execute("insert into public.order_groups (currency, total_amount, status) values ('USD', 1, 'pending')")


@pytest.mark.parametrize(
    "statement",
    [
        "update public.order_status_changes set changed_by = 'ada' where true",
        "insert into public.order_status_changes (order_group_id, from_status, to_status, changed_at, changed_by)"
        " select id, 'paid', 'refunded', now(), 'ada' from public.order_groups",
        "update public.order_groups set status = 'paid' where true",
        "update public.order_groups set total_amount = 0 where true",
        "update public.orders set total_amount = 0 where true",
        "update public.orders set paid_at = now() where true",
        "update public.order_items set quantity = 1 where true",
        "delete from public.order_groups where true",
        "delete from public.orders where true",
        "delete from public.order_items where true",
        "update public.products set seller_id = seller_id where true",
        "insert into public.order_groups (currency, total_amount, paid_at) values ('USD', 1, now())",
        "insert into public.order_groups (currency, total_amount, stripe_payment_intent_id) values ('USD', 1, 'pi')",
        "insert into public.inventory_ledger (product_id, entry_type, quantity_delta)"
        " select id, 'receipt', 1 from public.products",
        "update public.inventory_ledger set note = 'x' where true",
        "truncate public.inventory_ledger",
        "select * from payments.stripe_events",
        "insert into payments.exceptions (stripe_event_id, reason, details) values ('evt', 'amount_missing', '{}')",
    ],
)
def test_leaked_service_key_cannot_rewrite_history(
    db: Database, service: Connection, shop: Shop, statement: LiteralString
) -> None:
    reconcile(service, shop.order_group().payment())
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        service.execute(statement)

    assert db.snapshot() == before


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "1e15", "0.0001"])
def test_totals_that_no_currency_can_express_are_refused(service: Connection, amount: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        service.execute("insert into public.order_groups (currency, total_amount) values ('USD', %s)", [amount])


@pytest.mark.parametrize("currency", ["usd", "US", "", "XXX"])
def test_currencies_that_stripe_does_not_know_are_refused(service: Connection, currency: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        service.execute("insert into public.order_groups (currency, total_amount) values (%s, 1)", [currency])


def test_group_that_nobody_paid_cannot_become_refunded(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    with pytest.raises(psycopg.errors.CheckViolation, match="is_all_back_check"):
        owner.execute("update public.order_groups set status = 'refunded' where id = %s", [group.id])


def test_pending_group_cannot_become_refunded_though_all_of_it_fits(owner: Connection, shop: Shop) -> None:
    group = shop.order_group()

    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        owner.execute(
            "update public.order_groups set status = 'refunded', refunded_amount = total_amount where id = %s",
            [group.id],
        )

    assert refusal.value.diag.constraint_name == "order_group_is_frozen_unless_pending"


def test_step_forward_cannot_change_when_the_order_was_paid(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from paid to fulfilled"):
        owner.execute(
            "update public.orders set status = 'fulfilled', paid_at = '2020-01-01' where id = %s", [group.order_ids[0]]
        )


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_owner_can_refund_an_order_wherever_it_is_on_its_way(
    service: Connection, owner: Connection, shop: Shop, steps: int
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    for status in ("fulfilled", "shipped", "delivered")[:steps]:
        service.execute("update public.orders set status = %s where id = %s", [status, group.order_ids[0]])

    owner.execute("update public.orders set status = 'refunded' where id = %s", [group.order_ids[0]])

    assert scalar(owner, "select paid_at is not null from public.orders where id = %s", group.order_ids[0])
