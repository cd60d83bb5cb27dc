"""What must not be possible is an error and no verdict, and nothing is half done."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database
from testkit.payments import reconcile
from testkit.shop import Shop

pytestmark = pytest.mark.usefixtures("each_way")


def test_pending_group_that_an_event_has_paid_is_an_error_and_no_verdict(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    paid, pending = shop.order_group(), shop.order_group()
    reconcile(service, paid.payment())
    owner.execute(
        "insert into payments.stripe_events select (jsonb_populate_record(e, jsonb_build_object("
        " 'id', 'evt_x', 'order_group_id', %s::text, 'checkout_session_id', 'cs_x', 'payment_intent_id', 'pi_x'"
        " ))).* from payments.stripe_events as e",
        [str(pending.id)],
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted):
        reconcile(service, pending.payment())

    assert db.snapshot() == before


def test_event_that_a_trigger_of_the_shop_keeps_back_is_an_error_and_nothing_is_paid(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    owner.execute(
        "create function public.keep_back() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger keep_back before insert on payments.stripe_events"
        " for each row execute function public.keep_back()"
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="cannot be recorded"):
        reconcile(service, group.payment())

    assert db.snapshot() == before


def test_order_that_comes_after_the_sum_is_an_error_and_nothing_is_paid(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    slip_in_while_paying(
        superuser,
        "insert into public.orders (order_group_id, seller_id, total_amount)"
        " select o.order_group_id, o.seller_id, 1 from public.orders as o limit 1",
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="is not written as it was judged"):
        reconcile(service, group.payment())

    assert db.snapshot() == before


def test_item_that_comes_after_the_sum_is_committed_like_the_others(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    slip_in_while_paying(
        superuser,
        "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
        " select i.order_id, i.product_id, 1, 0 from public.order_items as i limit 1",
    )

    assert reconcile(service, group.payment())["ledger_entries"] == 6
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize(
    ("table", "event", "when", "body"),
    [
        ("order_groups", "update", "", "new.total_amount := new.total_amount + 1; return new"),
        ("order_groups", "update", "", "new.paid_at := now() - interval '1 day'; return new"),
        ("order_groups", "update", "", "new.stripe_payment_intent_id := 'pi_other'; return new"),
        ("order_groups", "update", "", "return null"),
        ("orders", "update", "", "new.total_amount := new.total_amount + 1; return new"),
        ("orders", "update", "", "return null"),
        ("inventory_ledger", "insert", "", "return null"),
        ("inventory_ledger", "insert", "when (new.quantity_delta = -1)", "return null"),
        ("inventory_ledger", "insert", "", "new.quantity_delta := new.quantity_delta - 1; return new"),
    ],
)
def test_what_a_shops_trigger_does_to_rows_on_their_way_is_never_called_applied(
    db: Database, service: Connection, superuser: Connection, shop: Shop, table: str, event: str, when: str, body: str
) -> None:
    """Its name comes after those of the guards, so that it has the last word on the row."""
    group = shop.order_group()
    superuser.execute(
        f"create function public.tg_shop() returns trigger language plpgsql as $$ begin {body}; end $$;"
        f"create trigger zz_shop before {event} on public.{table} for each row {when}"
        " execute function public.tg_shop()".encode()
    )
    before = db.snapshot()

    with pytest.raises((psycopg.errors.DataCorrupted, psycopg.errors.CheckViolation)):
        reconcile(service, group.payment())

    assert db.snapshot() == before


def test_rule_that_swallows_ledger_rows_is_never_called_applied(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    superuser.execute("create rule swallow as on insert to public.inventory_ledger do instead nothing")
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="is not written as it was judged"):
        reconcile(service, group.payment())

    assert db.snapshot() == before


def test_columns_that_a_shop_adds_to_the_events_stop_no_payment(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    superuser.execute(
        "alter table payments.stripe_events add column seen_by text not null default 'nobody',"
        " add column cents bigint generated always as (amount_minor) stored, add column note text"
    )

    assert reconcile(service, shop.order_group().payment())["outcome"] == "applied"


def slip_in_while_paying(superuser: Connection, statement: LiteralString) -> None:
    """Somebody else's trigger, between the verdict and the group's new status."""
    superuser.execute(
        f"create function public.tg_slip_in() returns trigger language plpgsql"
        f" as $$ begin {statement}; return new; end $$"
    )
    superuser.execute(
        "create trigger slip_in before insert on payments.stripe_events"
        " for each row execute function public.tg_slip_in()"
    )
