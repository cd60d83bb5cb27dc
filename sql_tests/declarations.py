"""What each function, column, policy and index of the project is declared to be; read by `test_declarations.py`.

One line each. Of a function: name and parameters, result, what it is, and its own settings besides the empty `search_path` that
all have. What is not said: owned by `postgres`, neither strict nor leakproof, not for parallel plans.
"""

# ruff: noqa: E501

from __future__ import annotations

FUNCTIONS = """
payments.assert_pending(p_order_group_id uuid, p_status text) | void | plpgsql immutable invoker
payments.assert_representable(p_amount numeric, p_currency text) | void | plpgsql stable invoker
payments.broken_invariants() | TABLE(invariant text, subject text, detail text) | sql stable invoker
payments.broken_invariants_of(p_since timestamptz, p_until timestamptz) | TABLE(invariant text, subject text, detail text) | plpgsql stable invoker | work_mem=64MB, random_page_cost=1.1, jit=off
payments.caller() | text | plpgsql stable invoker
payments.calling_role() | text | plpgsql stable invoker
payments.calling_user() | text | plpgsql stable invoker
payments.cancel_held_order_groups(p_order_group_ids uuid[]) | integer | plpgsql volatile invoker
payments.close_as_recorded(p_refund_id text, p_dispute_id text) | void | plpgsql volatile invoker
payments.definitions() | TABLE(kind text, object text, name text, definition text) | sql stable invoker
payments.describe_dispute(p_dispute payments.disputes) | jsonb | sql immutable invoker
payments.describe_event(p_event payments.stripe_events) | jsonb | sql immutable invoker
payments.describe_order_group(p_order_group_id uuid) | jsonb | sql stable invoker
payments.describe_refund(p_refund payments.refunds) | jsonb | sql immutable invoker
payments.dispute_rank(p_status text) | integer | plpgsql immutable invoker
payments.exceptions_of_payment(p_event payments.stripe_events) | SETOF payments.exceptions | plpgsql stable invoker
payments.find_payment(p_payment_intent_id text) | TABLE(order_group_id uuid, has_paid boolean, amount_minor bigint, currency text) | plpgsql stable invoker
payments.fit_refunds(p_payment_intent_id text, p_amount_minor bigint) | void | plpgsql volatile invoker
payments.has_paid_another_group(p_event payments.stripe_events) | boolean | plpgsql stable invoker
payments.has_room(p_refund payments.refunds, p_amount_minor bigint) | boolean | plpgsql stable invoker
payments.is_all_back(p_event payments.stripe_events) | boolean | plpgsql stable invoker
payments.is_normalised(p_amount_minor bigint, p_amount numeric, p_currency text) | boolean | plpgsql stable invoker
payments.is_representable(p_amount numeric, p_currency payments.currencies) | boolean | plpgsql immutable invoker
payments.is_requested_group(p_group public.order_groups, p_buyer_id uuid, p_currency text, p_items payments.requested_item[], p_reserve boolean) | boolean | plpgsql stable invoker
payments.is_same_event(p_known payments.stripe_events, p_event payments.stripe_events) | boolean | plpgsql immutable invoker
payments.judge(p_event payments.stripe_events, p_unmatched_reason text, p_group public.order_groups) | payments.judgement | plpgsql stable invoker
payments.judge_order_group_request(p_buyer_id uuid, p_currency text, p_items payments.requested_item[]) | text | plpgsql stable invoker | random_page_cost=1.1
payments.judge_taken(p_event payments.stripe_events) | text | plpgsql stable invoker
payments.lock_order_group(p_order_group_id uuid) | text | plpgsql volatile definer
payments.lock_order_group_of_held_child(p_order_group_id uuid) | text | sql volatile definer | lock_timeout=900ms
payments.lock_payment_intent(p_payment_intent_id text) | void | plpgsql volatile invoker
payments.malformed_field(p_orders jsonb) | text | plpgsql immutable invoker
payments.malformed_line(p_lines jsonb) | text | plpgsql immutable invoker
payments.money_lines(p_since timestamptz, p_until timestamptz) | TABLE(happened_at timestamptz, kind text, id text, order_group_id uuid, order_id uuid, seller_id uuid, checkout_session_id text, payment_intent_id text, livemode boolean, currency text, amount numeric, is_simulated boolean) | plpgsql stable invoker | work_mem=64MB, random_page_cost=1.1, jit=off
payments.named_order_group(p_session_metadata jsonb) | uuid | plpgsql immutable invoker
payments.normalise_event(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamptz, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) | payments.stripe_events | plpgsql stable invoker
payments.normalise_refund(p_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamptz, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) | payments.refunds | plpgsql stable invoker
payments.open_doors() | TABLE(kind text, object text, role text) | sql stable invoker
payments.no_verdict(p_payment jsonb, p_outcome text, p_sqlstate text) | jsonb | plpgsql immutable invoker
payments.own_objects() | TABLE(kind text, id oid, object text, owner oid, acl aclitem[]) | sql stable invoker
payments.pay(p_event payments.stripe_events, p_orders integer) | jsonb | plpgsql volatile invoker
payments.preview(p_payment jsonb) | jsonb | plpgsql stable invoker
payments.privilege_differences() | TABLE(is_missing boolean, kind text, object text, column_name text, grantee text, privilege text, statement text) | sql stable invoker
payments.read_event(p_payment jsonb) | payments.stripe_events | plpgsql stable invoker
payments.reconcile(p_event payments.stripe_events, p_unmatched_reason text) | jsonb | plpgsql volatile invoker | random_page_cost=1.1
payments.record_definitions(p_objects text[] DEFAULT NULL::text[], p_parts text[] DEFAULT '{}'::text[]) | bigint | sql volatile invoker
payments.record_dispute(p_dispute payments.disputes, p_stripe_event_id text) | jsonb | plpgsql volatile invoker | random_page_cost=1.1
payments.record_refund(p_refund payments.refunds, p_stripe_event_id text) | jsonb | plpgsql volatile invoker | random_page_cost=1.1
payments.refund_rank(p_status text) | integer | plpgsql immutable invoker
payments.requested_items(p_orders jsonb) | payments.requested_item[] | plpgsql volatile invoker
payments.reserved_pieces(p_product_id uuid) | bigint | plpgsql stable definer | random_page_cost=1.1
payments.restore_privileges() | SETOF text | plpgsql volatile invoker
payments.returnable_items(p_order_group_id uuid) | TABLE(order_item_id uuid, order_id uuid, quantity bigint) | plpgsql stable invoker | random_page_cost=1.1
payments.schedule_expiry() | text | plpgsql volatile definer
payments.set_aside(p_event payments.stripe_events, p_outcome text, p_reason text, p_expected jsonb, p_named_order_group_id uuid DEFAULT NULL::uuid) | jsonb | plpgsql volatile invoker
payments.set_aside_refund_or_dispute(p_refund_id text, p_dispute_id text, p_stripe_event_id text, p_order_group_id uuid, p_payment_intent_id text, p_reason text, p_expected jsonb, p_received jsonb) | boolean | plpgsql volatile invoker
payments.set_aside_with(p_event payments.stripe_events, p_exception_id bigint) | jsonb | plpgsql volatile invoker
payments.settle_payment(p_event payments.stripe_events, p_has_paid boolean) | void | plpgsql volatile invoker
payments.settle_refunds(p_payment_intent_id text) | void | plpgsql volatile invoker
payments.tell_dispute(p_dispute payments.disputes, p_stripe_event_id text, p_order_group_id uuid, p_payment jsonb) | void | plpgsql volatile invoker
payments.tg_exceptions__forget_notifications() | trigger | plpgsql volatile invoker
payments.tg_history__refuse_change() | trigger | plpgsql volatile invoker
payments.tg_inventory_ledger__bear_seller() | trigger | plpgsql stable invoker
payments.tg_order_groups__fit_currency() | trigger | plpgsql stable definer
payments.tg_order_groups__note_buyer() | trigger | plpgsql stable invoker
payments.tg_order_groups__stay_settled() | trigger | plpgsql volatile invoker
payments.tg_order_items__find_promise() | trigger | plpgsql volatile definer
payments.tg_order_items__need_pending_group() | trigger | plpgsql volatile definer
payments.tg_order_items__stay_as_sold() | trigger | plpgsql volatile definer
payments.tg_orders__need_pending_group() | trigger | plpgsql volatile definer
payments.tg_orders__record_changes() | trigger | plpgsql volatile definer
payments.tg_orders__refund_as_owner() | trigger | plpgsql stable invoker
payments.tg_settled__start_pending() | trigger | plpgsql stable invoker
payments.tg_stripe_events__lose_metadata_alone() | trigger | plpgsql stable invoker
payments.unfit_refunds(p_payment_intent_id text, p_amount_minor bigint, p_currency text) | TABLE(refund_id text, reason text) | plpgsql stable invoker
payments.verdict(p_order_group_id uuid, p_event_id text, p_outcome text, p_reason text DEFAULT NULL::text, p_orders_paid integer DEFAULT 0, p_ledger_entries integer DEFAULT 0) | jsonb | plpgsql immutable invoker
payments.without_metadata(p_evidence jsonb, p_order_group_id uuid) | jsonb | plpgsql immutable invoker
payments.write_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_expires_at timestamptz, p_reserved_product_ids uuid[], p_items payments.requested_item[]) | boolean | plpgsql volatile invoker
payments.write_returns(p_order_item_ids uuid[], p_quantities bigint[], p_note text, p_refund_id text) | integer | plpgsql volatile invoker
public.advance_order(p_order_id uuid, p_status text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.create_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_expires_at timestamptz DEFAULT NULL::timestamptz, p_reserve boolean DEFAULT false) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.expire_order_groups(p_limit integer DEFAULT 500) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.explain_order_group(p_order_group_id uuid) | jsonb | plpgsql stable definer
public.find_order_groups(p_id text) | jsonb | plpgsql stable definer | random_page_cost=1.1
public.import_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_amount_minor bigint, p_paid_at timestamptz, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_stripe_event_id text DEFAULT NULL::text, p_session_metadata jsonb DEFAULT '{}'::jsonb) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.list_payment_exceptions(p_status text DEFAULT 'open'::text, p_id bigint DEFAULT NULL::bigint, p_event text DEFAULT NULL::text, p_sessions text[] DEFAULT NULL::text[], p_reason text DEFAULT NULL::text, p_limit integer DEFAULT NULL::integer, p_before timestamptz DEFAULT NULL::timestamptz) | TABLE(id bigint, stripe_event_id text, order_group_id uuid, checkout_session_id text, payment_intent_id text, reason text, attempts integer, first_seen_at timestamptz, last_seen_at timestamptz, details jsonb, status text, resolution text, resolved_by text, resolved_at timestamptz, note text, rule text) | plpgsql stable definer | plan_cache_mode=force_custom_plan
public.list_refunds_and_disputes(p_since timestamptz, p_until timestamptz) | TABLE(id text, kind text, payment_intent_id text, order_group_id uuid, amount_minor bigint, currency text, status text) | plpgsql stable definer
public.note_awaiting_funds(p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamptz) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.payment_lines(p_since timestamptz, p_until timestamptz) | jsonb | plpgsql stable definer | statement_timeout=60s
public.payment_report(p_since timestamptz, p_until timestamptz) | jsonb | plpgsql stable definer | statement_timeout=60s, work_mem=64MB, random_page_cost=1.1, jit=off
public.payments_by_mode() | jsonb | plpgsql stable definer
public.preview_order_group_payments(p_payments jsonb) | jsonb | plpgsql stable definer | random_page_cost=1.1
public.reconcile_order_group_payment(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamptz, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb DEFAULT '{}'::jsonb, p_source text DEFAULT 'webhook'::text, p_unmatched_reason text DEFAULT NULL::text, p_account text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.reconcile_order_group_payments(p_payments jsonb) | jsonb | plpgsql volatile definer | lock_timeout=50ms, default_transaction_isolation=read committed
public.reconciliation_readiness() | jsonb | sql volatile definer
public.record_dispute(p_dispute_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamptz, p_reason text DEFAULT NULL::text, p_livemode boolean DEFAULT true, p_source text DEFAULT 'webhook'::text, p_stripe_event_id text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.record_inventory_adjustment(p_product_id uuid, p_quantity_delta integer, p_note text) | bigint | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.record_inventory_receipt(p_product_id uuid, p_quantity integer, p_note text DEFAULT NULL::text, p_key text DEFAULT NULL::text) | bigint | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.record_refund(p_refund_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamptz, p_reason text DEFAULT NULL::text, p_livemode boolean DEFAULT true, p_source text DEFAULT 'webhook'::text, p_stripe_event_id text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.refund_order(p_order_id uuid, p_note text, p_return_items boolean DEFAULT true) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.claim_exception_notifications(p_address text, p_seconds integer DEFAULT 300) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.finish_exception_notifications(p_address text, p_exception_ids bigint[], p_is_sent boolean) | integer | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.resolve_payment_exception(p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.return_order_items(p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text DEFAULT NULL::text) | jsonb | plpgsql volatile definer | lock_timeout=3s, default_transaction_isolation=read committed
public.security_findings() | TABLE(finding text, object text, detail text) | sql stable definer
"""

COLUMNS = """
payments.currencies.code text not null
payments.currencies.exponent smallint not null
payments.currencies.minor_multiple integer not null default 1
payments.currencies.minor_per_major integer not null generated  CASE exponent WHEN 0 THEN 1 WHEN 2 THEN 100 WHEN 3 THEN 1000 ELSE NULL::integer END

payments.dispute_status_changes.changed_at timestamptz not null
payments.dispute_status_changes.dispute_id text not null
payments.dispute_status_changes.from_status text
payments.dispute_status_changes.id bigint not null identity a
payments.dispute_status_changes.source text not null
payments.dispute_status_changes.stripe_event_id text
payments.dispute_status_changes.to_status text not null

payments.disputes.amount numeric not null
payments.disputes.amount_minor bigint not null
payments.disputes.created_at timestamptz not null
payments.disputes.currency text not null
payments.disputes.id text not null
payments.disputes.livemode boolean not null
payments.disputes.order_group_id uuid
payments.disputes.payment_intent_id text not null
payments.disputes.reason text
payments.disputes.recorded_at timestamptz not null
payments.disputes.set_aside_reason text
payments.disputes.source text not null
payments.disputes.status text not null
payments.disputes.status_changed_at timestamptz not null

payments.exceptions.attempts integer not null default 1
payments.exceptions.checkout_session_id text
payments.exceptions.details jsonb not null default '{}'::jsonb
payments.exceptions.dispute_id text
payments.exceptions.event_created_at timestamptz
payments.exceptions.first_seen_at timestamptz not null default now()
payments.exceptions.id bigint not null identity a
payments.exceptions.last_seen_at timestamptz not null default now()
payments.exceptions.note text
payments.exceptions.order_group_id uuid
payments.exceptions.payment_intent_id text
payments.exceptions.reason text not null
payments.exceptions.refund_id text
payments.exceptions.resolution text
payments.exceptions.resolved_at timestamptz
payments.exceptions.resolved_by text
payments.exceptions.status text not null default 'open'::text
payments.exceptions.stripe_event_id text not null

payments.expected_definitions.definition text not null
payments.expected_definitions.kind text not null
payments.expected_definitions.name text not null
payments.expected_definitions.object text not null

payments.expected_grants.column_name text not null default ''::text
payments.expected_grants.grantee text not null
payments.expected_grants.object text not null
payments.expected_grants.privilege text not null

payments.invariants.claim text not null
payments.invariants.name text not null
payments.invariants.place integer not null

payments.notifications.address text not null
payments.notifications.claimed_until timestamptz not null
payments.notifications.exception_id bigint not null
payments.notifications.sent_at timestamptz

payments.metadata_erasures.erased_at timestamptz not null
payments.metadata_erasures.erased_by text not null
payments.metadata_erasures.note text not null
payments.metadata_erasures.order_group_id uuid not null
payments.last_expiry.id integer not null default 1
payments.last_expiry.ran_at timestamptz

payments.reasons.outcome text not null
payments.reasons.reason text not null
payments.reasons.sentence text not null

payments.refund_status_changes.changed_at timestamptz not null
payments.refund_status_changes.from_status text
payments.refund_status_changes.id bigint not null identity a
payments.refund_status_changes.refund_id text not null
payments.refund_status_changes.source text not null
payments.refund_status_changes.stripe_event_id text
payments.refund_status_changes.to_status text not null

payments.refunds.amount numeric not null
payments.refunds.amount_minor bigint not null
payments.refunds.created_at timestamptz not null
payments.refunds.currency text not null
payments.refunds.id text not null
payments.refunds.livemode boolean not null
payments.refunds.order_group_id uuid
payments.refunds.payment_intent_id text not null
payments.refunds.reason text
payments.refunds.recorded_at timestamptz not null
payments.refunds.set_aside_reason text
payments.refunds.source text not null
payments.refunds.status text not null
payments.refunds.status_changed_at timestamptz not null

payments.status_change_notes.note text not null
payments.status_change_notes.order_group_id uuid not null
payments.status_change_notes.status_change_id bigint not null

payments.stripe_events.account text
payments.stripe_events.amount numeric not null
payments.stripe_events.amount_minor bigint not null
payments.stripe_events.checkout_session_id text not null
payments.stripe_events.created_at timestamptz
payments.stripe_events.currency text not null
payments.stripe_events.id text not null
payments.stripe_events.livemode boolean not null
payments.stripe_events.order_group_id uuid not null
payments.stripe_events.outcome text not null
payments.stripe_events.payment_intent_id text
payments.stripe_events.processed_at timestamptz not null
payments.stripe_events.received_at timestamptz not null
payments.stripe_events.session_metadata jsonb not null
payments.stripe_events.source text not null
payments.stripe_events.type text not null

public.inventory_ledger.created_at timestamptz not null default clock_timestamp()
public.inventory_ledger.entry_type text not null
public.inventory_ledger.id bigint not null identity a
public.inventory_ledger.note text
public.inventory_ledger.order_item_id uuid
public.inventory_ledger.product_id uuid not null
public.inventory_ledger.quantity_delta integer not null
public.inventory_ledger.receipt_key text
public.inventory_ledger.recorded_by text
public.inventory_ledger.seller_id uuid not null
public.inventory_ledger.stripe_refund_id text
public.inventory_ledger.stripe_webhook_event_id text

public.inventory_levels.available bigint
public.inventory_levels.name text
public.inventory_levels.on_hand bigint
public.inventory_levels.product_id uuid
public.inventory_levels.reserved bigint
public.inventory_levels.seller_id uuid
public.inventory_levels.sku text

public.order_groups.awaiting_funds_event_id text
public.order_groups.awaiting_funds_session_id text
public.order_groups.awaiting_funds_since timestamptz
public.order_groups.buyer_id uuid
public.order_groups.buyer_since timestamptz
public.order_groups.created_at timestamptz not null default now()
public.order_groups.currency text not null
public.order_groups.expires_at timestamptz
public.order_groups.id uuid not null default gen_random_uuid()
public.order_groups.paid_at timestamptz
public.order_groups.refunded_amount numeric not null default 0
public.order_groups.reserved_product_ids uuid[]
public.order_groups.status text not null default 'pending'::text
public.order_groups.stripe_checkout_session_id text
public.order_groups.stripe_payment_intent_id text
public.order_groups.stripe_session_metadata jsonb
public.order_groups.stripe_webhook_event_created_at timestamptz
public.order_groups.stripe_webhook_event_id text
public.order_groups.stripe_webhook_received_at timestamptz
public.order_groups.total_amount numeric not null

public.order_items.id uuid not null default gen_random_uuid()
public.order_items.order_group_id uuid not null
public.order_items.order_id uuid not null
public.order_items.product_id uuid not null
public.order_items.quantity integer not null
public.order_items.seller_id uuid not null
public.order_items.sku text not null
public.order_items.title text not null
public.order_items.unit_amount numeric not null

public.order_status_changes.changed_at timestamptz not null
public.order_status_changes.changed_by text not null
public.order_status_changes.from_status text not null
public.order_status_changes.id bigint not null identity a
public.order_status_changes.order_group_id uuid not null
public.order_status_changes.order_id uuid
public.order_status_changes.seller_id uuid
public.order_status_changes.to_status text not null

public.orders.created_at timestamptz not null default now()
public.orders.currency text not null
public.orders.id uuid not null default gen_random_uuid()
public.orders.order_group_id uuid not null
public.orders.paid_at timestamptz
public.orders.seller_id uuid not null
public.orders.status text not null default 'pending'::text
public.orders.total_amount numeric not null

public.products.created_at timestamptz not null default now()
public.products.id uuid not null default gen_random_uuid()
public.products.name text not null
public.products.seller_id uuid not null
public.products.sku text not null

public.seller_members.created_at timestamptz not null default now()
public.seller_members.seller_id uuid not null
public.seller_members.user_id uuid not null

public.sellers.created_at timestamptz not null default now()
public.sellers.id uuid not null default gen_random_uuid()
public.sellers.name text not null
"""

INDEXES = """
dispute_status_changes_dispute_id_idx ON payments.dispute_status_changes USING btree (dispute_id, id)
dispute_status_changes_stripe_event_id_idx ON payments.dispute_status_changes USING btree (stripe_event_id)
disputes_created_at_idx ON payments.disputes USING btree (created_at)
disputes_currency_idx ON payments.disputes USING btree (currency)
disputes_order_group_id_idx ON payments.disputes USING btree (order_group_id)
disputes_payment_intent_id_idx ON payments.disputes USING btree (payment_intent_id)
disputes_set_aside_reason_idx ON payments.disputes USING btree (set_aside_reason)
disputes_status_changed_at_idx ON payments.disputes USING btree (status_changed_at)
exceptions_checkout_session_id_idx ON payments.exceptions USING btree (checkout_session_id)
exceptions_happened_at_idx ON payments.exceptions USING btree (COALESCE(event_created_at, first_seen_at))
exceptions_first_seen_at_idx ON payments.exceptions USING btree (first_seen_at)
exceptions_named_order_group_id_idx ON payments.exceptions USING btree (((details ->> 'named_order_group_id'::text))) WHERE (reason = 'foreign_account'::text)
exceptions_open_first_seen_at_idx ON payments.exceptions USING btree (first_seen_at) WHERE (status = 'open'::text)
exceptions_order_group_id_idx ON payments.exceptions USING btree (order_group_id)
exceptions_payment_intent_id_idx ON payments.exceptions USING btree (payment_intent_id)
exceptions_reason_idx ON payments.exceptions USING btree (reason)
inventory_ledger_adjustment_created_at_idx ON public.inventory_ledger USING btree (created_at) WHERE (entry_type = 'adjustment'::text)
inventory_ledger_adjustment_product_id_id_idx ON public.inventory_ledger USING btree (product_id, id) WHERE (entry_type = 'adjustment'::text)
inventory_ledger_created_at_idx ON public.inventory_ledger USING brin (created_at)
inventory_ledger_order_return_created_at_idx ON public.inventory_ledger USING btree (created_at) WHERE (entry_type = 'order_return'::text)
inventory_ledger_order_return_order_item_id_idx ON public.inventory_ledger USING btree (order_item_id) WHERE (entry_type = 'order_return'::text)
inventory_ledger_product_id_idx ON public.inventory_ledger USING btree (product_id, seller_id) INCLUDE (quantity_delta, created_at)
inventory_ledger_seller_id_id_idx ON public.inventory_ledger USING btree (seller_id, id)
order_groups_buyer_id_created_at_idx ON public.order_groups USING btree (buyer_id, created_at DESC) INCLUDE (id)
order_groups_currency_idx ON public.order_groups USING btree (currency)
order_groups_expiring_expires_at_idx ON public.order_groups USING btree (expires_at) WHERE ((status = 'pending'::text) AND (expires_at IS NOT NULL) AND (awaiting_funds_since IS NULL))
order_groups_paid_at_idx ON public.order_groups USING btree (paid_at) WHERE (paid_at IS NOT NULL)
order_groups_pending_created_at_idx ON public.order_groups USING btree (created_at) WHERE (status = 'pending'::text)
order_groups_reserved_product_ids_idx ON public.order_groups USING gin (reserved_product_ids) WITH (fastupdate=off) WHERE ((status = 'pending'::text) AND (reserved_product_ids IS NOT NULL))
order_groups_stripe_checkout_session_id_idx ON public.order_groups USING btree (stripe_checkout_session_id) WHERE (stripe_checkout_session_id IS NOT NULL)
order_groups_stripe_payment_intent_id_idx ON public.order_groups USING btree (stripe_payment_intent_id) WHERE (stripe_payment_intent_id IS NOT NULL)
order_items_order_group_id_idx ON public.order_items USING btree (order_group_id)
order_items_order_id_idx ON public.order_items USING btree (order_id, order_group_id, seller_id)
order_items_product_id_idx ON public.order_items USING btree (product_id, seller_id)
order_items_seller_id_idx ON public.order_items USING btree (seller_id)
order_status_changes_changed_at_idx ON public.order_status_changes USING brin (changed_at)
order_status_changes_refunded_changed_at_idx ON public.order_status_changes USING btree (changed_at) WHERE (('refunded'::text = from_status) OR ('refunded'::text = to_status))
order_status_changes_order_id_idx ON public.order_status_changes USING btree (order_id)
order_status_changes_seller_id_idx ON public.order_status_changes USING btree (seller_id)
orders_seller_id_created_at_idx ON public.orders USING btree (seller_id, created_at DESC)
orders_to_fulfil_paid_at_idx ON public.orders USING btree (paid_at) WHERE (status = 'paid'::text)
refund_status_changes_refund_id_idx ON payments.refund_status_changes USING btree (refund_id, id)
refund_status_changes_stripe_event_id_idx ON payments.refund_status_changes USING btree (stripe_event_id)
refund_status_changes_succeeded_changed_at_idx ON payments.refund_status_changes USING btree (changed_at) WHERE (from_status = 'succeeded'::text)
refunds_created_at_idx ON payments.refunds USING btree (created_at)
refunds_currency_idx ON payments.refunds USING btree (currency)
refunds_order_group_id_idx ON payments.refunds USING btree (order_group_id)
refunds_payment_intent_id_idx ON payments.refunds USING btree (payment_intent_id)
refunds_set_aside_reason_idx ON payments.refunds USING btree (set_aside_reason)
refunds_status_changed_at_idx ON payments.refunds USING btree (status_changed_at)
seller_members_seller_id_idx ON public.seller_members USING btree (seller_id)
stripe_events_order_group_id_idx ON payments.stripe_events USING btree (order_group_id)
stripe_events_happened_at_idx ON payments.stripe_events USING brin (COALESCE(created_at, processed_at) timestamptz_minmax_multi_ops)
stripe_events_processed_at_idx ON payments.stripe_events USING brin (processed_at)
unique currencies_pkey ON payments.currencies USING btree (code)
unique dispute_status_changes_pkey ON payments.dispute_status_changes USING btree (id)
unique disputes_pkey ON payments.disputes USING btree (id)
unique exceptions_dispute_id_key ON payments.exceptions USING btree (dispute_id) WHERE (dispute_id IS NOT NULL)
unique exceptions_pkey ON payments.exceptions USING btree (id)
unique exceptions_refund_id_key ON payments.exceptions USING btree (refund_id) WHERE (refund_id IS NOT NULL)
unique exceptions_stripe_event_id_key ON payments.exceptions USING btree (stripe_event_id)
unique expected_definitions_pkey ON payments.expected_definitions USING btree (kind, object, name)
unique expected_grants_pkey ON payments.expected_grants USING btree (object, column_name, grantee, privilege)
unique invariants_pkey ON payments.invariants USING btree (name)
unique invariants_place_key ON payments.invariants USING btree (place)
unique inventory_ledger_order_commit_order_item_id_key ON public.inventory_ledger USING btree (order_item_id) WHERE (entry_type = 'order_commit'::text)
unique inventory_ledger_pkey ON public.inventory_ledger USING btree (id)
unique inventory_ledger_receipt_key_key ON public.inventory_ledger USING btree (receipt_key) WHERE (receipt_key IS NOT NULL)
unique metadata_erasures_pkey ON payments.metadata_erasures USING btree (order_group_id)
unique last_expiry_pkey ON payments.last_expiry USING btree (id)
unique notifications_pkey ON payments.notifications USING btree (exception_id, address)
unique order_groups_pkey ON public.order_groups USING btree (id)
unique order_groups_stripe_webhook_event_id_key ON public.order_groups USING btree (stripe_webhook_event_id)
unique order_items_pkey ON public.order_items USING btree (id)
unique order_status_changes_pkey ON public.order_status_changes USING btree (order_group_id, id)
unique orders_order_group_id_id_seller_id_key ON public.orders USING btree (order_group_id, id, seller_id)
unique orders_pkey ON public.orders USING btree (id)
unique products_id_seller_id_key ON public.products USING btree (id, seller_id)
unique products_pkey ON public.products USING btree (id)
unique products_seller_id_sku_key ON public.products USING btree (seller_id, sku)
unique reasons_pkey ON payments.reasons USING btree (reason)
unique refund_status_changes_pkey ON payments.refund_status_changes USING btree (id)
unique refunds_pkey ON payments.refunds USING btree (id)
unique seller_members_pkey ON public.seller_members USING btree (user_id, seller_id)
unique sellers_pkey ON public.sellers USING btree (id)
unique status_change_notes_pkey ON payments.status_change_notes USING btree (order_group_id, status_change_id)
unique stripe_events_applied_checkout_session_id_key ON payments.stripe_events USING btree (checkout_session_id) WHERE (outcome = 'applied'::text)
unique stripe_events_applied_order_group_id_key ON payments.stripe_events USING btree (order_group_id) WHERE (outcome = 'applied'::text)
unique stripe_events_applied_payment_intent_id_key ON payments.stripe_events USING btree (payment_intent_id) WHERE (outcome = 'applied'::text)
unique stripe_events_pkey ON payments.stripe_events USING btree (id)
"""

STORAGE = """
public.inventory_levels security_invoker=on
public.order_groups.buyer_id n_distinct=300
public.order_groups_reserved_product_ids_idx fastupdate=off
public.orders fillfactor=80
public.orders.seller_id n_distinct=300
"""

POLICIES = """
payments.currencies | Nobody can read currencies | permissive for r to public using false
payments.dispute_status_changes | Nobody can read steps of disputes | permissive for r to public using false
payments.disputes | Nobody can read disputes | permissive for r to public using false
payments.exceptions | Nobody can read exceptions | permissive for r to public using false
payments.expected_definitions | Nobody can read expected definitions | permissive for r to public using false
payments.expected_grants | Nobody can read expected grants | permissive for r to public using false
payments.invariants | Nobody can read invariants | permissive for r to public using false
payments.last_expiry | Nobody can read the last expiry | permissive for r to public using false
payments.metadata_erasures | Nobody can read metadata erasures | permissive for r to public using false
payments.notifications | Nobody can read notifications | permissive for r to public using false
payments.reasons | Nobody can read reasons | permissive for r to public using false
payments.refund_status_changes | Nobody can read steps of refunds | permissive for r to public using false
payments.refunds | Nobody can read refunds | permissive for r to public using false
payments.status_change_notes | Nobody can read notes of status changes | permissive for r to public using false
payments.stripe_events | Nobody can read Stripe events | permissive for r to public using false
public.inventory_ledger | Members can read their sellers' stock movements | permissive for r to authenticated using (seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))
public.order_groups | Buyers can read their own order groups | permissive for r to authenticated using (buyer_id = ( SELECT auth.uid() AS uid))
public.order_items | Buyers and the seller's members can read an item | permissive for r to authenticated using ((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))
public.order_status_changes | Buyers and the seller's members can read a status change | permissive for r to authenticated using ((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))
public.orders | Buyers and the seller's members can read an order | permissive for r to authenticated using ((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))
public.products | Members can read their sellers' products | permissive for r to authenticated using (seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))
public.seller_members | Members can read their own memberships | permissive for r to authenticated using (user_id = ( SELECT auth.uid() AS uid))
public.sellers | Members can read their own sellers | permissive for r to authenticated using (id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))
"""
