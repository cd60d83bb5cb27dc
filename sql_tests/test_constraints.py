"""Every constraint refuses what it is for, to the owner of the tables too; one that nothing violates is named here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import open_shop

# What another rule refuses first: a currency without minor units in a major one cannot be stored at all, and the
# keys that others refer to contain the primary key.
IMPLIED = {
    "currencies_exponent_is_known_check",
    "orders_order_group_id_id_seller_id_key",
    "products_id_seller_id_key",
}

GROUP: LiteralString = (
    "insert into public.order_groups (currency, total_amount, status, paid_at, stripe_webhook_event_id,"
    " stripe_payment_intent_id, stripe_checkout_session_id) values "
)
ORDER: LiteralString = "insert into public.orders (order_group_id, seller_id, total_amount, status) values "
ITEM: LiteralString = "insert into public.order_items (order_id, product_id, quantity, unit_amount) values "
STEP: LiteralString = (
    "insert into public.order_status_changes (changed_at, changed_by, order_group_id, order_id, seller_id, from_status,"
    " to_status) select now(), 'ada', x.a::uuid, x.b::uuid, x.c::uuid, x.d, x.e from (values "
)
LEDGER: LiteralString = (
    "insert into public.inventory_ledger (seller_id, product_id, order_item_id, entry_type, quantity_delta,"
    " stripe_webhook_event_id) select %(seller)s, x.a::uuid, x.b::uuid, x.c, x.d, x.e from (values "
)
# An event like the one that paid the group, but for another group, session and payment intent.
EVENT: LiteralString = (
    "insert into payments.stripe_events select (jsonb_populate_record(e, jsonb_build_object("
    "'id', 'evt_x', 'order_group_id', %(pending)s, 'checkout_session_id', 'cs_x', 'payment_intent_id', 'pi_x') || "
)
FROM_EVENT: LiteralString = ")).* from payments.stripe_events as e where e.id = %(event)s"
EXCEPTION: LiteralString = "insert into payments.exceptions (stripe_event_id, reason, details, attempts, status"
NOBODY: LiteralString = "gen_random_uuid()"
# The same columns for both: a row that is good, and what is spoiled of it.
MONEY_BACK: LiteralString = (
    "jsonb_build_object('id', 'x_1', 'payment_intent_id', 'pi_1', 'amount_minor', 1, 'amount', 0.01, 'currency', 'USD',"
    " 'status', status, 'created_at', now(), 'livemode', false, 'source', 'webhook', 'recorded_at', now(),"
    " 'status_changed_at', now()) || "
)
REFUND: LiteralString = (
    "insert into payments.refunds select (jsonb_populate_record(null::payments.refunds, " + MONEY_BACK
)
DISPUTE: LiteralString = (
    "insert into payments.disputes select (jsonb_populate_record(null::payments.disputes, " + MONEY_BACK
)
OF_REFUND: LiteralString = ")).* from (values ('succeeded')) as v (status)"
OF_DISPUTE: LiteralString = ")).* from (values ('won')) as v (status)"
REFUND_STEP: LiteralString = (
    "insert into payments.refund_status_changes (refund_id, from_status, to_status, changed_at, source) values "
)
DISPUTE_STEP: LiteralString = (
    "insert into payments.dispute_status_changes (dispute_id, from_status, to_status, changed_at, source) values "
)

VIOLATIONS: list[tuple[str, LiteralString]] = [
    ("currencies_code_is_iso_check", "insert into payments.currencies (code, exponent) values ('usd', 2)"),
    (
        "currencies_minor_multiple_is_positive_check",
        "insert into payments.currencies (code, exponent, minor_multiple) values ('AAA', 2, 0)",
    ),
    ("last_expiry_is_one_row_check", "insert into payments.last_expiry (id) values (2)"),
    ("sellers_name_is_not_blank_check", "insert into public.sellers (name) values (' ')"),
    (
        "seller_members_seller_id_fkey",
        f"insert into public.seller_members (seller_id, user_id) values ({NOBODY}, %(buyer)s)",
    ),
    (
        "seller_members_user_id_fkey",
        f"insert into public.seller_members (seller_id, user_id) values (%(seller)s, {NOBODY})",
    ),
    (
        "products_seller_id_sku_key",
        "insert into public.products (seller_id, sku, name) select seller_id, sku, 'another' from public.products",
    ),
    ("products_seller_id_fkey", f"insert into public.products (seller_id, sku, name) values ({NOBODY}, 'A', 'B')"),
    ("products_seller_id_fkey", "delete from public.sellers where id = %(seller_without_orders)s"),
    (
        "order_groups_buyer_id_fkey",
        f"insert into public.order_groups (buyer_id, currency, total_amount) values ({NOBODY}, 'USD', 1)",
    ),
    ("order_groups_currency_fkey", GROUP + "('XXX', 1, 'pending', null, null, null, null)"),
    ("order_groups_currency_fkey", GROUP + "('usd', 1, 'pending', null, null, null, null)"),
    ("order_groups_total_amount_is_money_check", GROUP + "('USD', -1, 'pending', null, null, null, null)"),
    ("order_groups_status_is_known_check", GROUP + "('USD', 1, 'draft', null, null, null, null)"),
    ("order_groups_paid_has_its_payment_check", GROUP + "('USD', 1, 'paid', null, %(event)s, null, 'cs')"),
    ("order_groups_paid_has_its_payment_check", GROUP + "('USD', 1, 'paid', now(), null, null, 'cs')"),
    ("order_groups_paid_has_its_payment_check", GROUP + "('USD', 1, 'paid', now(), %(event)s, null, null)"),
    ("order_groups_unpaid_has_no_payment_check", GROUP + "('USD', 1, 'pending', now(), null, null, null)"),
    ("order_groups_unpaid_has_no_payment_check", GROUP + "('USD', 1, 'pending', null, %(event)s, null, null)"),
    ("order_groups_unpaid_has_no_payment_check", GROUP + "('USD', 1, 'cancelled', null, null, 'pi', null)"),
    ("order_groups_unpaid_has_no_payment_check", GROUP + "('USD', 1, 'pending', null, null, null, 'cs')"),
    ("order_groups_stripe_webhook_event_id_key", GROUP + "('USD', 1, 'paid', now(), %(event)s, null, 'cs')"),
    (
        "order_groups_buyer_has_its_time_check",
        "update public.order_groups set buyer_since = null where id = %(pending)s",
    ),
    ("orders_order_group_id_fkey", ORDER + f"({NOBODY}, %(seller)s, 1, 'pending')"),
    ("orders_order_group_id_fkey", "delete from public.order_groups where id = %(pending)s"),
    ("orders_seller_id_fkey", ORDER + f"(%(pending)s, {NOBODY}, 1, 'pending')"),
    ("orders_status_is_known_check", ORDER + "(%(pending)s, %(seller)s, 1, 'lost')"),
    ("orders_total_amount_is_money_check", ORDER + "(%(pending)s, %(seller)s, -1, 'pending')"),
    ("orders_total_amount_is_money_check", ORDER + "(%(pending)s, %(seller)s, 1e15, 'pending')"),
    ("orders_paid_has_its_time_check", ORDER + "(%(pending)s, %(seller)s, 1, 'paid')"),
    ("orders_paid_has_its_time_check", ORDER + "(%(pending)s, %(seller)s, 1, 'delivered')"),
    ("order_items_order_id_fkey", ITEM + f"({NOBODY}, %(product)s, 1, 1)"),
    ("order_items_order_id_fkey", "delete from public.orders where id = %(pending_order)s"),
    ("order_items_product_id_fkey", ITEM + f"(%(pending_order)s, {NOBODY}, 1, 1)"),
    ("order_items_product_id_fkey", ITEM + "(%(pending_order)s, %(product_of_another)s, 1, 1)"),
    (
        "order_items_product_id_fkey",
        "update public.products set seller_id = %(seller)s, sku = 'X' where id = %(product_of_another)s",
    ),
    ("order_items_order_id_fkey", "update public.orders set seller_id = %(another)s where id = %(pending_order)s"),
    (
        "inventory_ledger_product_id_fkey",
        LEDGER + "(%(product_of_another)s, null, 'receipt', 1, null)) as x (a, b, c, d, e)",
    ),
    ("order_items_quantity_is_positive_check", ITEM + "(%(pending_order)s, %(product)s, 0, 1)"),
    ("order_items_unit_amount_is_money_check", ITEM + "(%(pending_order)s, %(product)s, 1, -1)"),
    ("order_items_unit_amount_is_money_check", ITEM + "(%(pending_order)s, %(product)s, 1, 'Infinity')"),
    ("order_items_unit_amount_is_money_check", ITEM + "(%(pending_order)s, %(product)s, 1, 0.0001)"),
    (
        "stripe_events_applied_order_group_id_key",
        EVENT + "jsonb_build_object('order_group_id', e.order_group_id)" + FROM_EVENT,
    ),
    (
        "stripe_events_applied_payment_intent_id_key",
        EVENT + "jsonb_build_object('payment_intent_id', e.payment_intent_id)" + FROM_EVENT,
    ),
    (
        "stripe_events_applied_checkout_session_id_key",
        EVENT + "jsonb_build_object('checkout_session_id', e.checkout_session_id)" + FROM_EVENT,
    ),
    ("stripe_events_order_group_id_fkey", EVENT + f"jsonb_build_object('order_group_id', {NOBODY})" + FROM_EVENT),
    ("stripe_events_source_is_known_check", EVENT + "jsonb_build_object('source', 'guess')" + FROM_EVENT),
    ("stripe_events_outcome_is_known_check", EVENT + "jsonb_build_object('outcome', 'rejected')" + FROM_EVENT),
    ("exceptions_attempts_is_positive_check", EXCEPTION + ") values ('evt', 'amount_missing', '{}', 0, 'open')"),
    ("exceptions_reason_fkey", EXCEPTION + ") values ('evt', 'because', '{}', 1, 'open')"),
    (
        "exceptions_resolution_is_known_check",
        EXCEPTION + ", resolution, resolved_by, resolved_at)"
        " values ('evt', 'amount_missing', '{}', 1, 'resolved', 'forgotten', 'ada', now())",
    ),
    (
        "exceptions_resolved_says_how_and_by_whom_check",
        EXCEPTION + ", resolution, resolved_at)"
        " values ('evt', 'amount_missing', '{}', 1, 'resolved', 'refunded', now())",
    ),
    (
        "exceptions_resolved_says_how_and_by_whom_check",
        EXCEPTION + ", resolution, resolved_by, resolved_at)"
        " values ('evt', 'amount_missing', '{}', 1, 'open', 'refunded', 'ada', now())",
    ),
    ("refunds_order_group_id_fkey", REFUND + f"jsonb_build_object('order_group_id', {NOBODY})" + OF_REFUND),
    ("refunds_currency_fkey", REFUND + "jsonb_build_object('currency', 'XXX')" + OF_REFUND),
    ("refunds_set_aside_reason_fkey", REFUND + "jsonb_build_object('set_aside_reason', 'because')" + OF_REFUND),
    ("refunds_amount_is_positive_check", REFUND + "jsonb_build_object('amount_minor', 0)" + OF_REFUND),
    ("refunds_amount_is_positive_check", REFUND + "jsonb_build_object('amount', 0)" + OF_REFUND),
    ("refunds_status_is_known_check", REFUND + "jsonb_build_object('status', 'won')" + OF_REFUND),
    ("refunds_source_is_known_check", REFUND + "jsonb_build_object('source', 'guess')" + OF_REFUND),
    ("refund_status_changes_refund_id_fkey", REFUND_STEP + "('re_nobody', null, 'pending', now(), 'webhook')"),
    ("refund_status_changes_is_a_step_check", REFUND_STEP + "(%(refund)s, 'pending', 'pending', now(), 'webhook')"),
    ("disputes_order_group_id_fkey", DISPUTE + f"jsonb_build_object('order_group_id', {NOBODY})" + OF_DISPUTE),
    ("disputes_currency_fkey", DISPUTE + "jsonb_build_object('currency', 'XXX')" + OF_DISPUTE),
    ("disputes_set_aside_reason_fkey", DISPUTE + "jsonb_build_object('set_aside_reason', 'because')" + OF_DISPUTE),
    ("disputes_amount_is_positive_check", DISPUTE + "jsonb_build_object('amount_minor', 0)" + OF_DISPUTE),
    ("disputes_amount_is_positive_check", DISPUTE + "jsonb_build_object('amount', 0)" + OF_DISPUTE),
    ("disputes_status_is_known_check", DISPUTE + "jsonb_build_object('status', 'succeeded')" + OF_DISPUTE),
    ("disputes_source_is_known_check", DISPUTE + "jsonb_build_object('source', 'guess')" + OF_DISPUTE),
    ("dispute_status_changes_dispute_id_fkey", DISPUTE_STEP + "('dp_nobody', null, 'won', now(), 'webhook')"),
    ("dispute_status_changes_is_a_step_check", DISPUTE_STEP + "(%(dispute)s, 'won', 'won', now(), 'webhook')"),
    (
        "exceptions_refund_id_key",
        EXCEPTION + ", refund_id) values ('evt', 'exceeds_payment', '{}', 1, 'open', 're'),"
        " ('evt_2', 'exceeds_payment', '{}', 1, 'open', 're')",
    ),
    (
        "exceptions_dispute_id_key",
        EXCEPTION + ", dispute_id) values ('evt', 'payment_disputed', '{}', 1, 'open', 'dp'),"
        " ('evt_2', 'payment_disputed', '{}', 1, 'open', 'dp')",
    ),
    (
        "order_groups_total_bounds_refunded_amount_check",
        "insert into public.order_groups (currency, total_amount, refunded_amount) values ('USD', 1, 1.01)",
    ),
    (
        "order_groups_total_bounds_refunded_amount_check",
        "insert into public.order_groups (currency, total_amount, refunded_amount) values ('USD', 1, -0.01)",
    ),
    (
        "order_groups_refunded_is_all_back_check",
        "insert into public.order_groups (currency, total_amount, refunded_amount, status)"
        " values ('USD', 1, 0.99, 'refunded')",
    ),
    (
        "order_groups_refunded_is_all_back_check",
        "insert into public.order_groups (currency, total_amount, status) values ('USD', 0, 'refunded')",
    ),
    (
        "order_groups_refunded_is_all_back_check",
        "insert into public.order_groups (currency, total_amount, refunded_amount, status, paid_at,"
        " stripe_webhook_event_id, stripe_checkout_session_id) values ('USD', 1, 1, 'paid', now(), 'evt_a', 'cs_a')",
    ),
    (
        "order_groups_unpaid_has_no_payment_check",
        "insert into public.order_groups (currency, total_amount, refunded_amount) values ('USD', 1, 0.5)",
    ),
    ("invariants_place_key", "insert into payments.invariants values ('all_is_well', 1, 'All is well')"),
    ("reasons_outcome_is_known_check", "insert into payments.reasons values ('because', 'applied', 'so')"),
    ("exceptions_status_is_known_check", EXCEPTION + ") values ('evt', 'amount_missing', '{}', 1, 'closed')"),
    (
        "exceptions_stripe_event_id_key",
        EXCEPTION + ") values ('evt', 'amount_missing', '{}', 1, 'open'), ('evt', 'amount_missing', '{}', 1, 'open')",
    ),
    ("inventory_ledger_product_id_fkey", LEDGER + f"({NOBODY}, null, 'receipt', 1, null)) as x (a, b, c, d, e)"),
    (
        "inventory_ledger_order_item_id_fkey",
        LEDGER + f"(%(product)s, {NOBODY}, 'order_commit', -1, 'evt')) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_entry_type_is_known_check",
        LEDGER + "(%(product)s, null, 'theft', -1, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_order_commit_takes_stock_check",
        LEDGER + "(%(product)s, %(item)s, 'order_commit', 1, 'evt')) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_order_commit_takes_stock_check",
        LEDGER + "(%(product)s, null, 'order_commit', -1, 'evt')) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_order_commit_takes_stock_check",
        LEDGER + "(%(product)s, %(item)s, 'order_commit', -1, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_receipt_adds_stock_check",
        LEDGER + "(%(product)s, null, 'receipt', -1, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_quantity_delta_is_not_zero_check",
        LEDGER + "(%(product)s, null, 'adjustment', 0, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_order_return_adds_stock_check",
        LEDGER + "(%(product)s, %(item)s, 'order_return', 1, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_only_orders_have_an_item_check",
        LEDGER + "(%(product)s, %(item)s, 'receipt', 1, null)) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_only_order_commit_has_an_event_check",
        LEDGER + "(%(product)s, null, 'receipt', 1, 'evt')) as x (a, b, c, d, e)",
    ),
    (
        "inventory_ledger_only_order_return_has_a_refund_check",
        "insert into public.inventory_ledger (seller_id, product_id, entry_type, quantity_delta, stripe_refund_id)"
        " values (%(seller)s, %(product)s, 'receipt', 1, 're_1')",
    ),
    (
        "notifications_address_is_a_digest_check",
        "insert into payments.notifications (exception_id, address, claimed_until)"
        " values (1, 'mailtos://somebody', now())",
    ),
    (
        "inventory_ledger_only_receipt_has_a_key_check",
        "insert into public.inventory_ledger (seller_id, product_id, entry_type, quantity_delta, receipt_key)"
        " values (%(seller)s, %(product)s, 'adjustment', 1, 'note 1')",
    ),
    (
        "inventory_ledger_receipt_key_key",
        "insert into public.inventory_ledger (seller_id, product_id, entry_type, quantity_delta, receipt_key)"
        " select %(seller)s, %(product)s, 'receipt', 1, 'note 1' from generate_series(1, 2)",
    ),
    (
        "inventory_ledger_order_commit_order_item_id_key",
        LEDGER + "(%(product)s, %(item)s, 'order_commit', -1, 'evt')) as x (a, b, c, d, e)",
    ),
    ("order_status_changes_is_a_step_check", STEP + "(%(pending)s, null, null, 'paid', 'paid')) as x (a, b, c, d, e)"),
    (
        "order_status_changes_order_has_its_seller_check",
        STEP + "(%(pending)s, null, %(seller)s, 'pending', 'paid')) as x (a, b, c, d, e)",
    ),
    (
        "order_status_changes_order_has_its_seller_check",
        STEP + "(%(pending)s, %(item)s, null, 'pending', 'paid')) as x (a, b, c, d, e)",
    ),
]


@dataclass(frozen=True, slots=True)
class Example:
    """A paid and a pending group, seen by the owner of the tables."""

    owner: Connection
    names: dict[str, Any]


@pytest.fixture(scope="module")
def example(module_db: Database) -> Iterator[Example]:
    with module_db.connect() as superuser, module_db.act_as("service_role") as service:
        shop = open_shop(superuser, service, sellers=3)
        paid, pending = shop.order_group(), shop.order_group()
        payment = paid.payment()
        assert reconcile(service, payment)["outcome"] == "applied"
        record(service, refund := Refund.of(payment, 1))
        record(service, dispute := Dispute.of(payment))
        names = {
            "refund": refund.id,
            "dispute": dispute.id,
            "buyer": shop.buyer_id,
            "seller": shop.sellers[0].id,
            "seller_without_orders": shop.sellers[2].id,
            "product": shop.sellers[0].product_ids[0],
            "another": shop.sellers[1].id,
            "product_of_another": shop.sellers[1].product_ids[0],
            "item": paid.item_ids[0],
            "event": payment.event_id,
            "pending": pending.id,
            "pending_order": pending.order_ids[0],
        }
        with module_db.connect("postgres") as owner:
            yield Example(owner, names)


@pytest.mark.parametrize(("constraint", "statement"), VIOLATIONS, ids=[name for name, _ in VIOLATIONS])
def test_constraint_refuses_what_it_is_for(example: Example, constraint: str, statement: LiteralString) -> None:
    with pytest.raises(psycopg.IntegrityError) as refusal, example.owner.transaction(force_rollback=True):
        example.owner.execute(statement, example.names)

    assert refusal.value.diag.constraint_name == constraint


def test_every_constraint_has_its_violation(example: Example) -> None:
    rows = example.owner.execute(
        """
        select c.conname::text as name from pg_constraint as c
        where c.connamespace in ('public'::regnamespace, 'payments'::regnamespace) and c.contype in ('c', 'f', 'u', 'x')
        union
        select r.relname::text from pg_index as i inner join pg_class as r on r.oid = i.indexrelid
        where i.indisunique and not i.indisprimary
            and r.relnamespace in ('public'::regnamespace, 'payments'::regnamespace)
        """
    ).fetchall()

    assert {row["name"] for row in rows} == {name for name, _ in VIOLATIONS} | IMPLIED


def test_exponent_that_is_not_known_cannot_be_stored(example: Example) -> None:
    with pytest.raises(psycopg.IntegrityError):
        example.owner.execute("insert into payments.currencies (code, exponent) values ('AAA', 4)")

    assert scalar(example.owner, "select count(*) from payments.currencies where code = 'AAA'") == 0
