"""Every privilege that an API role holds, written by hand. What is not here must not exist."""

from __future__ import annotations

ROLES = ("public", "anon", "authenticated", "service_role", "authenticator")
TABLE_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
COLUMN_VERBS = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
SEQUENCE_VERBS = ("USAGE", "SELECT", "UPDATE")

MONEY_BACK = (
    "id",
    "payment_intent_id",
    "order_group_id",
    "amount_minor",
    "amount",
    "currency",
    "status",
    "reason",
    "created_at",
    "livemode",
    "source",
    "recorded_at",
    "status_changed_at",
    "set_aside_reason",
)
COLUMNS: dict[str, tuple[str, ...]] = {
    "public.sellers": ("id", "name", "created_at"),
    "public.seller_members": ("seller_id", "user_id", "created_at"),
    "public.products": ("id", "seller_id", "sku", "name", "created_at"),
    "public.order_groups": (
        "id",
        "buyer_id",
        "currency",
        "total_amount",
        "status",
        "created_at",
        "paid_at",
        "stripe_webhook_event_id",
        "stripe_webhook_event_created_at",
        "stripe_webhook_received_at",
        "stripe_payment_intent_id",
        "stripe_checkout_session_id",
        "stripe_session_metadata",
        "expires_at",
        "awaiting_funds_since",
        "awaiting_funds_session_id",
        "awaiting_funds_event_id",
        "reserved_product_ids",
        "buyer_since",
        "refunded_amount",
    ),
    "public.orders": (
        "id",
        "order_group_id",
        "seller_id",
        "currency",
        "status",
        "total_amount",
        "created_at",
        "paid_at",
    ),
    "public.order_items": (
        "id",
        "order_id",
        "product_id",
        "quantity",
        "unit_amount",
        "sku",
        "title",
        "order_group_id",
        "seller_id",
    ),
    "public.inventory_ledger": (
        "id",
        "product_id",
        "seller_id",
        "order_item_id",
        "entry_type",
        "quantity_delta",
        "stripe_webhook_event_id",
        "note",
        "created_at",
        "receipt_key",
        "stripe_refund_id",
        "recorded_by",
    ),
    "public.order_status_changes": (
        "id",
        "order_group_id",
        "order_id",
        "seller_id",
        "from_status",
        "to_status",
        "changed_at",
        "changed_by",
    ),
    "public.inventory_levels": ("product_id", "seller_id", "sku", "name", "on_hand", "reserved", "available"),
    "payments.currencies": ("code", "exponent", "minor_multiple", "minor_per_major"),
    "payments.stripe_events": (
        "id",
        "type",
        "created_at",
        "received_at",
        "processed_at",
        "livemode",
        "order_group_id",
        "checkout_session_id",
        "payment_intent_id",
        "amount_minor",
        "amount",
        "currency",
        "session_metadata",
        "source",
        "outcome",
        "account",
    ),
    "payments.expected_definitions": ("kind", "object", "name", "definition"),
    "payments.expected_grants": ("object", "column_name", "grantee", "privilege"),
    "payments.last_expiry": ("id", "ran_at"),
    "payments.invariants": ("name", "place", "claim"),
    "payments.metadata_erasures": ("order_group_id", "erased_at", "erased_by", "note"),
    "payments.notifications": ("exception_id", "address", "claimed_until", "sent_at"),
    "payments.status_change_notes": ("order_group_id", "status_change_id", "note"),
    "payments.reasons": ("reason", "outcome", "sentence"),
    "payments.exceptions": (
        "id",
        "stripe_event_id",
        "order_group_id",
        "checkout_session_id",
        "payment_intent_id",
        "reason",
        "attempts",
        "first_seen_at",
        "last_seen_at",
        "details",
        "status",
        "resolution",
        "resolved_by",
        "resolved_at",
        "note",
        "refund_id",
        "dispute_id",
        "event_created_at",
    ),
    "payments.refunds": MONEY_BACK,
    "payments.disputes": MONEY_BACK,
    "payments.refund_status_changes": (
        "id",
        "refund_id",
        "from_status",
        "to_status",
        "changed_at",
        "source",
        "stripe_event_id",
    ),
    "payments.dispute_status_changes": (
        "id",
        "dispute_id",
        "from_status",
        "to_status",
        "changed_at",
        "source",
        "stripe_event_id",
    ),
}
SEQUENCES = (
    "public.inventory_ledger_id_seq",
    "public.order_status_changes_id_seq",
    "payments.exceptions_id_seq",
    "payments.refund_status_changes_id_seq",
    "payments.dispute_status_changes_id_seq",
)

# Reading whole tables: authenticated through policies, service_role past them.
READABLE = (
    "public.sellers",
    "public.seller_members",
    "public.products",
    "public.order_groups",
    "public.orders",
    "public.order_items",
    "public.inventory_ledger",
    "public.inventory_levels",
    "public.order_status_changes",
)
TABLE_GRANTS: dict[tuple[str, str], set[str]] = {
    (role, relation): {"SELECT"} for role in ("authenticated", "service_role") for relation in READABLE
}
# A membership ends when it is removed.
TABLE_GRANTS["service_role", "public.seller_members"].add("DELETE")

# Writing single columns: service_role alone.
COLUMN_GRANTS: dict[tuple[str, str, str], set[str]] = {
    ("service_role", "public.sellers", "INSERT"): {"id", "name"},
    ("service_role", "public.seller_members", "INSERT"): {"seller_id", "user_id"},
    ("service_role", "public.sellers", "UPDATE"): {"name"},
    ("service_role", "public.products", "INSERT"): {"id", "seller_id", "sku", "name"},
    ("service_role", "public.products", "UPDATE"): {"sku", "name"},
    ("service_role", "public.order_groups", "INSERT"): {"id", "buyer_id", "currency", "total_amount", "status"},
    ("service_role", "public.orders", "INSERT"): {"id", "order_group_id", "seller_id", "total_amount", "status"},
    ("service_role", "public.orders", "UPDATE"): {"status"},
    ("service_role", "public.order_items", "INSERT"): {
        "id",
        "order_id",
        "product_id",
        "quantity",
        "unit_amount",
        "sku",
        "title",
    },
}

RECONCILE = (
    "public.reconcile_order_group_payment(uuid,text,text,timestamp with time zone,boolean,text,text,bigint,"
    "numeric,text,jsonb,text,text,text)"
)
FUNCTIONS_FOR_SERVICE_ROLE = {
    RECONCILE,
    "public.record_refund(text,text,bigint,numeric,text,text,timestamp with time zone,text,boolean,text,text)",
    "public.record_dispute(text,text,bigint,numeric,text,text,timestamp with time zone,text,boolean,text,text)",
    "public.record_inventory_receipt(uuid,integer,text,text)",
    "public.record_inventory_adjustment(uuid,integer,text)",
    "public.list_payment_exceptions(text,bigint,text,text[],text,integer,timestamp with time zone)",
    "public.resolve_payment_exception(bigint,text,text,text)",
    "public.reopen_payment_exception(bigint,text,text)",
    "public.claim_exception_notifications(text,integer)",
    "public.finish_exception_notifications(text,bigint[],boolean)",
    "public.cancel_order_group(uuid,text)",
    "public.list_refunds_and_disputes(timestamp with time zone,timestamp with time zone)",
    "public.return_order_items(uuid,jsonb,text,text)",
    "public.refund_order(uuid,text,boolean)",
    "public.create_order_group(uuid,uuid,text,jsonb,timestamp with time zone,boolean)",
    "public.claim_order_group(uuid,uuid)",
    "public.erase_order_group_metadata(uuid,text,text)",
    "public.expire_order_groups(integer)",
    "public.note_awaiting_funds(uuid,text,text,timestamp with time zone)",
    "public.explain_order_group(uuid)",
    "public.find_order_groups(text)",
    "public.preview_order_group_payments(jsonb)",
    "public.reconcile_order_group_payments(jsonb)",
    "public.payment_report(timestamp with time zone,timestamp with time zone)",
    "public.payment_lines(timestamp with time zone,timestamp with time zone)",
    "public.reconciliation_readiness()",
    "public.security_findings()",
}
# The first asks who calls: a member of the order's seller. The second serves a view: nobody enters its schema.
FUNCTIONS_FOR_BOTH = {"public.advance_order(uuid,text)", "payments.reserved_pieces(uuid)"}
FUNCTIONS_FOR_NOBODY = {
    "payments.cancel_held_order_groups(uuid[])",
    "payments.schedule_expiry()",
    "payments.caller()",
    "payments.calling_role()",
    "payments.calling_user()",
    "payments.tg_orders__record_changes()",
    "payments.assert_pending(uuid,text)",
    "payments.assert_representable(numeric,text)",
    "payments.broken_invariants()",
    "payments.broken_invariants_of(timestamp with time zone,timestamp with time zone)",
    "payments.definitions()",
    "payments.describe_event(payments.stripe_events)",
    "payments.describe_order_group(uuid)",
    "payments.exceptions_of_payment(payments.stripe_events)",
    "payments.has_paid_another_group(payments.stripe_events)",
    "payments.is_representable(numeric,payments.currencies)",
    "payments.is_requested_group(public.order_groups,uuid,text,payments.requested_item[],boolean)",
    "payments.judge_order_group_request(uuid,text,payments.requested_item[])",
    "payments.malformed_field(jsonb)",
    "payments.requested_items(jsonb)",
    "payments.malformed_line(jsonb)",
    "payments.money_lines(timestamp with time zone,timestamp with time zone)",
    "payments.returnable_items(uuid)",
    "payments.write_returns(uuid[],bigint[],text,text)",
    "payments.tg_order_items__find_promise()",
    "payments.write_order_group(uuid,uuid,text,timestamp with time zone,uuid[],payments.requested_item[])",
    "payments.is_same_event(payments.stripe_events,payments.stripe_events)",
    "payments.judge(payments.stripe_events,text,public.order_groups)",
    "payments.judge_taken(payments.stripe_events)",
    "payments.lock_order_group(uuid)",
    "payments.lock_order_group_of_held_child(uuid)",
    "payments.normalise_event(uuid,text,text,timestamp with time zone,boolean,text,text,bigint,numeric,text,jsonb,"
    "text,text,text)",
    "payments.named_order_group(jsonb)",
    "payments.open_doors()",
    "payments.no_verdict(jsonb,text,text)",
    "payments.own_objects()",
    "payments.pay(payments.stripe_events,integer)",
    "payments.preview(jsonb)",
    "payments.privilege_differences()",
    "payments.read_event(jsonb)",
    "payments.reconcile(payments.stripe_events,text)",
    "payments.record_definitions(text[],text[])",
    "payments.restore_privileges()",
    "payments.seller_of_product(uuid)",
    "payments.set_aside(payments.stripe_events,text,text,jsonb,uuid)",
    "payments.set_aside_with(payments.stripe_events,bigint)",
    "payments.tg_history__refuse_change()",
    "payments.tg_order_groups__fit_currency()",
    "payments.tg_order_groups__note_buyer()",
    "payments.tg_order_groups__stay_settled()",
    "payments.tg_order_items__need_pending_group()",
    "payments.tg_order_items__stay_as_sold()",
    "payments.tg_orders__refund_as_owner()",
    "payments.tg_orders__need_pending_group()",
    "payments.tg_settled__start_pending()",
    "payments.tg_stripe_events__lose_metadata_alone()",
    "payments.verdict(uuid,text,text,text,integer,integer)",
    "payments.without_metadata(jsonb,uuid)",
    "payments.lock_payment_intent(text)",
    "payments.find_payment(text)",
    "payments.unfit_refunds(text,bigint,text)",
    "payments.is_all_back(payments.stripe_events)",
    "payments.set_aside_refund_or_dispute(text,text,text,uuid,text,text,jsonb,jsonb)",
    "payments.close_as_recorded(text,text)",
    "payments.settle_refunds(text)",
    "payments.settle_payment(payments.stripe_events,boolean)",
    "payments.normalise_refund(text,text,bigint,numeric,text,text,timestamp with time zone,text,boolean,text,text)",
    "payments.is_normalised(bigint,numeric,text)",
    "payments.refund_rank(text)",
    "payments.describe_refund(payments.refunds)",
    "payments.record_refund(payments.refunds,text)",
    "payments.dispute_rank(text)",
    "payments.describe_dispute(payments.disputes)",
    "payments.tell_dispute(payments.disputes,text,uuid,jsonb)",
    "payments.record_dispute(payments.disputes,text)",
}
FUNCTIONS = sorted(FUNCTIONS_FOR_SERVICE_ROLE | FUNCTIONS_FOR_BOTH | FUNCTIONS_FOR_NOBODY)


def may_table(role: str, relation: str, verb: str) -> bool:
    """Whether the role holds the verb on the whole relation."""
    return verb in TABLE_GRANTS.get((role, relation), set())


def may_column(role: str, relation: str, column: str, verb: str) -> bool:
    """Whether the role holds the verb on the column, through the relation or the column itself."""
    return may_table(role, relation, verb) or column in COLUMN_GRANTS.get((role, relation, verb), set())


def may_execute(role: str, signature: str) -> bool:
    """Whether the role may call the function."""
    if signature in FUNCTIONS_FOR_BOTH:
        return role in ("authenticated", "service_role")
    return role == "service_role" and signature in FUNCTIONS_FOR_SERVICE_ROLE
