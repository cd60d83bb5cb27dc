"""`invariants.sql` is silent about a healthy database and names each thing that can be broken in it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb

from local_stack.binaries import find_bin_dir
from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.invariants import INVARIANTS, broken_invariants
from testkit.payments import reconcile
from testkit.refunds import Dispute, Refund, record, refund_in_full
from testkit.shop import Shop, open_shop

# What could be wrong -> how to make it so, past every guard. There are two paid groups (the first with a twin event,
# with an item that came back, a refund and a dispute), a refunded one, a pending one, a cancelled one with a rejected
# payment. :paid and :pending name groups, :event the paying event, :refund the refund.
FAULTS: dict[str, LiteralString] = {
    "paid_group_has_its_applied_event": "delete from payments.stripe_events where id = :event",
    "group_is_paid_by_one_event": """
        drop index payments.stripe_events_applied_order_group_id_key;
        insert into payments.stripe_events
        select (jsonb_populate_record(
            e, '{"id": "evt_2", "checkout_session_id": "cs_2", "payment_intent_id": "pi_2"}')).*
        from payments.stripe_events as e where e.id = :event
    """,
    "applied_event_has_paid_its_group": """
        insert into payments.stripe_events
        select (jsonb_populate_record(e, jsonb_build_object(
            'id', 'evt_2', 'checkout_session_id', 'cs_2', 'payment_intent_id', 'pi_2', 'order_group_id', :pending))).*
        from payments.stripe_events as e where e.id = :event
    """,
    "paid_group_shows_the_payment_of_its_event": """
        update public.order_groups set stripe_payment_intent_id = 'pi_2'
        where id = :paid
    """,
    "unpaid_group_shows_no_payment": """
        alter table public.order_groups drop constraint order_groups_unpaid_has_no_payment_check;
        update public.order_groups set stripe_checkout_session_id = 'cs_2' where id = :pending
    """,
    "twin_event_is_of_the_payment_that_paid": """
        insert into payments.stripe_events
        select (jsonb_populate_record(e, '{"id": "evt_2", "checkout_session_id": "cs_2", "payment_intent_id": "pi_2",
            "outcome": "already_paid"}')).*
        from payments.stripe_events as e where e.id = :event
    """,
    "payment_pays_one_group": """
        drop index payments.stripe_events_applied_payment_intent_id_key;
        update payments.stripe_events set payment_intent_id = 'pi_2' where outcome = 'applied';
        update public.order_groups set stripe_payment_intent_id = 'pi_2' where paid_at is not null
    """,
    "event_amount_agrees_with_its_minor_units": """
        update payments.stripe_events set amount_minor = amount_minor * 100
        where id = :event
    """,
    "paid_total_is_what_was_charged": """
        update public.order_groups set total_amount = total_amount + 2 where id = :paid;
        update public.orders set total_amount = total_amount + 1 where order_group_id = :paid
    """,
    "paid_total_is_the_sum_of_its_orders": """
        update public.orders set total_amount = total_amount + 1
        where order_group_id = :paid
    """,
    "order_is_in_the_currency_of_its_order_group": """
        update public.orders set currency = 'EUR' where order_group_id = :paid
    """,
    "order_follows_its_group": "update public.orders set status = 'pending' where order_group_id = :paid",
    "order_is_paid_when_its_group_is": """
        update public.orders set paid_at = paid_at + interval '1 second'
        where order_group_id = :paid
    """,
    "paid_order_has_items": """
        insert into public.orders (order_group_id, seller_id, currency, status, total_amount, paid_at)
        select o.order_group_id, o.seller_id, o.currency, 'paid', 0, o.paid_at from public.orders as o
        where o.order_group_id = :paid limit 1
    """,
    "item_is_sold_by_its_orders_seller": """
        update public.orders as o
        set seller_id = (select s.id from public.sellers as s where s.id <> o.seller_id limit 1)
        where o.order_group_id = :pending
    """,
    "paid_item_is_committed": """
        insert into public.order_items (
            order_id, product_id, quantity, unit_amount, sku, title, order_group_id, seller_id)
        select i.order_id, i.product_id, 1, 1, i.sku, i.title, i.order_group_id, i.seller_id
        from public.order_items as i
        join public.orders as o on o.id = i.order_id where o.order_group_id = :paid limit 1
    """,
    "item_is_committed_once": """
        drop index public.inventory_ledger_order_commit_order_item_id_key;
        insert into public.inventory_ledger (
            product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)
        select l.product_id, l.seller_id, l.order_item_id, l.entry_type, l.quantity_delta, l.stripe_webhook_event_id
        from public.inventory_ledger as l where l.entry_type = 'order_commit' limit 1
    """,
    "order_commit_has_a_paid_item": """
        insert into public.inventory_ledger (
            product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)
        select i.product_id, i.seller_id, i.id, 'order_commit', -i.quantity, :event from public.order_items as i
        join public.orders as o on o.id = i.order_id where o.order_group_id = :pending limit 1
    """,
    "order_commit_takes_what_was_ordered": """
        update public.order_items as i set quantity = quantity + 1
        from public.orders as o where o.id = i.order_id and o.order_group_id = :paid
    """,
    "order_commit_names_the_event_that_paid": """
        update public.inventory_ledger set stripe_webhook_event_id = 'evt_2'
        where stripe_webhook_event_id = :event
    """,
    "order_return_follows_its_commit": """
        insert into public.inventory_ledger (
            product_id, seller_id, order_item_id, entry_type, quantity_delta, note)
        select i.product_id, i.seller_id, i.id, 'order_return', 1, 'never sold' from public.order_items as i
        where i.order_group_id = :pending limit 1
    """,
    "order_returns_are_within_the_commit": """
        insert into public.inventory_ledger (
            product_id, seller_id, order_item_id, entry_type, quantity_delta, note)
        select l.product_id, l.seller_id, l.order_item_id, 'order_return', 1, 'once more'
        from public.inventory_ledger as l where l.entry_type = 'order_return'
    """,
    "ledger_entry_moves_stock_its_own_way": """
        alter table public.inventory_ledger drop constraint inventory_ledger_receipt_adds_stock_check;
        update public.inventory_ledger set quantity_delta = -1 where entry_type = 'receipt'
    """,
    "on_hand_is_the_sum_of_the_ledger": """
        create or replace view public.inventory_levels with (security_invoker = on) as
        select p.id as product_id, p.seller_id, p.sku, p.name, sum(l.quantity_delta)::bigint as on_hand,
            0::bigint as reserved, 0::bigint as available
        from public.products as p inner join public.inventory_ledger as l on l.product_id = p.id
        where l.entry_type <> 'receipt' group by p.id
    """,
    "exception_is_of_an_event_not_processed": """
        insert into payments.exceptions (stripe_event_id, order_group_id, reason, details)
        values (:event, :paid, 'amount_mismatch', '{}')
    """,
    "closed_or_collided_exception_has_its_event": """
        update payments.exceptions set status = 'resolved',
            resolution = 'reconciled', resolved_by = 'x', resolved_at = now()
    """,
    "duplicate_payment_is_of_a_paid_group": """
        insert into payments.exceptions (stripe_event_id, order_group_id, reason, details)
        values ('evt_2', :pending, 'duplicate_payment', '{}')
    """,
    "payment_that_paid_left_no_exception_open": """
        insert into payments.exceptions (
            stripe_event_id, order_group_id, checkout_session_id, reason, first_seen_at, last_seen_at)
        select 'evt_2', e.order_group_id, e.checkout_session_id, 'amount_mismatch', e.received_at, e.received_at
        from payments.stripe_events as e where e.id = :event
    """,
    "refunded_exception_is_of_money_that_paid_nothing": """
        insert into payments.exceptions (
            stripe_event_id, payment_intent_id, reason, status, resolution, resolved_by, resolved_at)
        select 'evt_2', e.payment_intent_id, 'missing_reference', 'resolved', 'refunded', 'ada', now()
        from payments.stripe_events as e where e.id = :event
    """,
    "promise_is_found_by_its_products": """
        update public.order_groups set reserved_product_ids = '{}' where id = :pending
    """,
    "reserved_is_not_negative": """
        alter table public.order_items drop constraint order_items_quantity_is_positive_check;
        update public.order_groups as g set reserved_product_ids = array(
            select i.product_id from public.order_items as i where i.order_group_id = g.id
        ) where g.id = :pending;
        update public.order_items set quantity = -quantity where order_group_id = :pending
    """,
    "erased_metadata_are_gone": """
        insert into payments.metadata_erasures values (:paid, now(), 'ada', 'asked to')
    """,
    "refunds_are_within_what_was_paid": """
        update payments.refunds set amount = amount + 1000, amount_minor = amount_minor + 100000, status = 'pending'
        where id = :refund;
        update payments.refund_status_changes set to_status = 'pending' where refund_id = :refund;
        update public.order_groups set refunded_amount = 0 where id = :paid
    """,
    "refunded_amount_is_what_went_back": "update public.order_groups set refunded_amount = 0.02 where id = :paid",
    "group_is_refunded_when_all_is_back": """
        alter table public.order_groups drop constraint order_groups_refunded_is_all_back_check;
        update public.order_groups set status = 'refunded' where id = :paid;
        update public.orders set status = 'refunded' where order_group_id = :paid;
        insert into public.order_status_changes (
            order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by)
        select o.order_group_id, o.id, o.seller_id, 'paid', 'refunded', now(), 'ada' from public.orders as o
        where o.order_group_id = :paid
    """,
    "orders_of_a_refunded_group_are_refunded": """
        update public.orders set status = 'shipped' where id = (
            select o.id from public.orders as o join public.order_groups as g on g.id = o.order_group_id
            where g.status = 'refunded' limit 1)
    """,
    "money_back_is_of_the_payment_that_paid": "update payments.disputes set order_group_id = :pending",
    "dispute_of_a_paid_group_has_its_exception": "delete from payments.exceptions where dispute_id is not null",
    "refund_is_in_the_currency_of_its_order_group": "update payments.refunds set currency = 'EUR' where id = :refund",
    "money_back_agrees_with_its_minor_units": "update payments.refunds set amount_minor = 7 where id = :refund",
    "refund_is_where_its_last_step_took_it": """
        update payments.refund_status_changes set to_status = 'failed' where refund_id = :refund
    """,
    "dispute_is_where_its_last_step_took_it": "delete from payments.dispute_status_changes",
    "refunded_order_has_its_step": "delete from public.order_status_changes where to_status = 'refunded'",
}

# Further ways to break an invariant.
FURTHER_FAULTS: tuple[tuple[str, LiteralString], ...] = (
    ("order_follows_its_group", "update public.orders set status = 'cancelled' where order_group_id = :pending"),
    ("order_follows_its_group", "update public.orders set status = 'pending' where order_group_id = :cancelled"),
    (
        "order_is_paid_when_its_group_is",
        """
        alter table public.orders drop constraint orders_paid_has_its_time_check;
        update public.orders set paid_at = null where order_group_id = :paid
        """,
    ),
    (
        "order_commit_takes_what_was_ordered",
        """
        update public.inventory_ledger as l set (product_id, seller_id) = (
            select p.id, p.seller_id from public.products as p where p.id <> l.product_id limit 1)
        where l.entry_type = 'order_commit' and l.stripe_webhook_event_id <> :event
        """,
    ),
    (
        "order_commit_names_the_event_that_paid",
        """
        alter table public.inventory_ledger drop constraint inventory_ledger_order_commit_takes_stock_check;
        update public.inventory_ledger set stripe_webhook_event_id = null
        where stripe_webhook_event_id = :event
        """,
    ),
    (
        "order_commit_has_a_paid_item",
        """
        insert into public.inventory_ledger (
            product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)
        select p.id, p.seller_id, gen_random_uuid(), 'order_commit', -1, :event from public.products as p limit 1
        """,
    ),
    (
        "order_return_follows_its_commit",
        """
        update public.inventory_ledger as l set (product_id, seller_id) = (
            select p.id, p.seller_id from public.products as p where p.id <> l.product_id limit 1)
        where l.entry_type = 'order_return'
        """,
    ),
    ("money_back_agrees_with_its_minor_units", "update payments.disputes set amount = amount + 1"),
    ("refunded_order_has_its_step", "delete from public.order_status_changes where order_id is not null"),
    (
        "refunded_order_has_its_step",
        "update public.order_status_changes set to_status = 'shipped' where to_status = 'refunded'",
    ),
)


@dataclass(frozen=True, slots=True)
class Example:
    superuser: Connection
    names: dict[str, str]


@pytest.fixture(scope="module")
def example(module_db: Database) -> Iterator[Example]:
    """What the faults are about, and what their names stand for."""
    with module_db.connect() as superuser, module_db.act_as("service_role") as service:
        shop = open_shop(superuser, service)
        paid, other, pending, cancelled, refunded = (shop.order_group() for _ in range(5))
        payment = paid.payment()
        reconcile(service, payment)
        reconcile(service, payment.twin())
        reconcile(service, other.payment())
        scalar(service, "select public.cancel_order_group(%s)", cancelled.id)
        reconcile(service, cancelled.payment())
        item = {"order_item_id": str(paid.item_ids[0]), "quantity": 1}
        scalar(service, "select public.return_order_items(%s, %s, 'too large')", paid.id, Jsonb([item]))
        scalar(
            service, "select public.record_inventory_receipt(%s, 5, 'first delivery')", shop.sellers[0].product_ids[0]
        )
        record(service, refund := Refund.of(payment, 1))
        record(service, Dispute.of(payment))
        reconcile(service, refunded.payment())
        refund_in_full(service, refunded.id)
        assert payment.event_id is not None
        assert refund.id is not None
        names = {
            "paid": str(paid.id),
            "pending": str(pending.id),
            "cancelled": str(cancelled.id),
            "event": payment.event_id,
            "refund": refund.id,
        }
        yield Example(superuser, names)


def test_healthy_database_breaks_no_invariant(example: Example) -> None:
    assert broken_invariants(example.superuser) == []


OF_WINDOW: LiteralString = "select * from payments.broken_invariants_of(%s::timestamptz, %s::timestamptz)"


@pytest.mark.parametrize(("invariant", "fault"), [*FAULTS.items(), *FURTHER_FAULTS])
def test_fault_is_named_by_its_invariant_and_by_no_other(
    example: Example, invariant: str, fault: LiteralString
) -> None:
    named = re.sub(r"(?<!:):(\w+)", lambda name: f"'{example.names[name[1]]}'", fault)

    with past_every_guard(example.superuser, force_rollback=True):
        example.superuser.execute(named.encode())
        broken = broken_invariants(example.superuser)
        of_window, of_another = (
            example.superuser.execute(OF_WINDOW, [since, until]).fetchall()
            for since, until in (("2020-01-01", "2100-01-01"), ("2020-01-01", "2020-02-01"))
        )

    assert {row["invariant"] for row in broken} == {row["invariant"] for row in of_window} == {invariant}
    assert [row for row in of_window if row not in broken] == of_another == []
    assert all(row["subject"] and row["detail"] for row in broken)


def test_erased_metadata_are_found_in_each_of_their_places(example: Example) -> None:
    names = {"paid": example.names["paid"], "said": '{"email": "jenny@example.test"}'}

    with past_every_guard(example.superuser, force_rollback=True):
        run = example.superuser.execute
        run("insert into payments.metadata_erasures values (%(paid)s, now(), 'ada', 'asked to')", names)
        run("update public.order_groups set stripe_session_metadata = '{}' where id = %(paid)s", names)
        run("update payments.stripe_events set session_metadata = '{}' where order_group_id = %(paid)s", names)
        healthy = broken_invariants(example.superuser)
        run(
            "insert into payments.exceptions (stripe_event_id, order_group_id, reason, details) select 'evt_' || g.n,"
            " case g.n when 1 then %(paid)s::uuid end, 'conflicting_references', jsonb_build_object("
            " 'named_order_group_id', %(paid)s::text, 'received', jsonb_build_object("
            " 'session_metadata', %(said)s::jsonb || jsonb_build_object('order_group_id', %(paid)s::text)))"
            " from generate_series(1, 2) as g (n)",
            names,
        )
        run("update public.order_groups set stripe_session_metadata = %(said)s where id = %(paid)s", names)
        run("update payments.stripe_events set session_metadata = %(said)s where order_group_id = %(paid)s", names)
        broken = broken_invariants(example.superuser)
        told = run("select * from payments.broken_invariants()").fetchall()

    assert healthy == []
    assert told == broken
    assert {(row["invariant"], row["subject"]) for row in broken} == {
        ("erased_metadata_are_gone", f"order_group {names['paid']}")
    }
    assert len({row["detail"] for row in broken}) == len(broken) == 5


def test_every_invariant_has_its_fault_and_its_claim_in_the_order_of_the_query(example: Example) -> None:
    written = list(dict.fromkeys(re.findall(r"select\n\s+'(\w+)',", INVARIANTS.read_text())))
    rows = example.superuser.execute("select name, claim from payments.invariants order by place").fetchall()

    assert sorted(written) == sorted(FAULTS)
    assert [row["name"] for row in rows] == written
    assert [row["name"] for row in rows if len(row["claim"]) < 20] == []


def test_invariants_run_by_psql_as_the_owner_in_a_read_only_transaction(
    db: Database, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    with past_every_guard(superuser):
        superuser.execute("update public.orders set status = 'cancelled' where order_group_id = %s", [group.id])

    done = subprocess.run(
        [find_bin_dir() / "psql", db.dsn("postgres"), "-XAt", "-v", "ON_ERROR_STOP=1", "-f", INVARIANTS],
        env={"PGOPTIONS": "-c default_transaction_read_only=on"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert {line.split("|")[0] for line in done.stdout.splitlines()} == {"order_follows_its_group"}
