"""Small faults, each of which the suite must notice: `make mutants` sows one at a time into the migrations.

`search` stands exactly once in its file; a test sees to that. `killed_by` holds parts of the ids of the tests that
probably notice: they run first, so that the whole takes minutes. `argument` says why no test can.
"""

from __future__ import annotations

from itertools import chain

from sql_tests.mutants import (
    announce_order_groups,
    create_advance_order,
    create_broken_invariants,
    create_broken_invariants_of_window,
    create_cancel_order_group,
    create_catalogue_functions,
    create_claim_order_group,
    create_create_order_group,
    create_erase_order_group_metadata,
    create_exception_functions,
    create_exception_notifications,
    create_expected_catalogue,
    create_expire_order_groups,
    create_explain_order_group,
    create_find_order_groups,
    create_import_order_group,
    create_inventory_functions,
    create_inventory_ledger,
    create_list_refunds_and_disputes,
    create_money_lines,
    create_note_awaiting_funds,
    create_order_group_lock,
    create_order_status_changes,
    create_order_tables,
    create_payment_records,
    create_payment_report,
    create_payments_by_mode,
    create_payments_schema,
    create_preview_order_group_payments,
    create_reconcile_order_group_payment,
    create_reconcile_order_group_payments,
    create_reconciliation_readiness,
    create_record_dispute,
    create_record_refund,
    create_refund_order,
    create_refunds_and_disputes,
    create_reopen_payment_exception,
    create_return_order_items,
    create_security_findings,
    create_sellers_and_products,
    freeze_order_groups,
    freeze_order_items,
    freeze_orders,
    keep_history_append_only,
    keep_payment_evidence,
    record_definitions,
    schedule_expiry,
    settle_refunds,
)
from sql_tests.mutants.mutant import Mutant, migration

MUTANTS: tuple[Mutant, ...] = tuple(
    chain.from_iterable(
        module.MUTANTS
        for module in (
            create_payments_schema,
            create_expected_catalogue,
            create_sellers_and_products,
            create_order_tables,
            create_payment_records,
            create_refunds_and_disputes,
            create_inventory_ledger,
            keep_history_append_only,
            create_order_status_changes,
            create_list_refunds_and_disputes,
            create_order_group_lock,
            freeze_order_groups,
            freeze_orders,
            freeze_order_items,
            keep_payment_evidence,
            settle_refunds,
            create_reconcile_order_group_payment,
            create_reconcile_order_group_payments,
            create_record_refund,
            create_record_dispute,
            create_preview_order_group_payments,
            create_inventory_functions,
            create_exception_functions,
            create_reopen_payment_exception,
            create_exception_notifications,
            create_cancel_order_group,
            create_return_order_items,
            create_refund_order,
            create_advance_order,
            create_create_order_group,
            create_claim_order_group,
            create_import_order_group,
            create_erase_order_group_metadata,
            create_note_awaiting_funds,
            create_expire_order_groups,
            schedule_expiry,
            create_explain_order_group,
            create_find_order_groups,
            create_reconciliation_readiness,
            create_payments_by_mode,
            create_catalogue_functions,
            create_security_findings,
            create_broken_invariants,
            create_broken_invariants_of_window,
            create_money_lines,
            create_payment_report,
            record_definitions,
            announce_order_groups,
        )
    )
)
"""All of them, in the order of the migrations."""

__all__ = ["MUTANTS", "Mutant", "migration"]
