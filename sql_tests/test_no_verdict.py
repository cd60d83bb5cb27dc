"""What must not be possible is an error and no verdict, and nothing is half done."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database
from testkit.payments import reconcile
from testkit.shop import Shop


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

    with pytest.raises(psycopg.errors.DataCorrupted, match="has 2 orders but 3 were paid"):
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
