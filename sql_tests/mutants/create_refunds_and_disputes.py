"""Faults of the migration create_refunds_and_disputes."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_refunds_and_disputes"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "refunds-readable",
        "service_role may read the refunds",
        FILE,
        "revoke all on table payments.refunds from public, anon, authenticated, service_role;",
        "grant select on table payments.refunds to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "disputes-readable",
        "service_role may read the disputes",
        FILE,
        "revoke all on table payments.disputes from public, anon, authenticated, service_role;",
        "grant select on table payments.disputes to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "refund-of-nothing",
        "a refund of nothing may be recorded",
        FILE,
        "constraint refunds_amount_is_positive_check check (amount_minor > 0 and amount > 0)",
        "constraint refunds_amount_is_positive_check check (amount_minor > 0)",
        ("test_constraint_refuses",),
    ),
    Mutant(
        "refunds-of-a-payment-without-an-index",
        "who asks for a payment's refunds reads all of them",
        FILE,
        "create index refunds_payment_intent_id_idx on payments.refunds (payment_intent_id);\n",
        "",
        ("test_each_index",),
    ),
    Mutant(
        "failures-without-an-index",
        "a report reads the steps of all refunds to find those that failed in its window",
        FILE,
        "create index refund_status_changes_succeeded_changed_at_idx on payments.refund_status_changes (changed_at)\n"
        "where from_status = 'succeeded';\n",
        "",
        ("test_lines_of_a_window_read_no_big_table_whole",),
    ),
)
