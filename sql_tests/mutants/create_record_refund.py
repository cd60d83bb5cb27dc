"""Faults of the migration create_record_refund."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_record_refund"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "refunds-for-everybody",
        "every role may record a refund",
        FILE,
        ") from public, anon, authenticated;\ngrant execute on function public.record_refund(",
        ") from public;\ngrant execute on function public.record_refund(",
        (MATRIX,),
    ),
    Mutant(
        "refund-under-an-old-snapshot",
        "a refund is recorded under an isolation that does not see a payment that has just come",
        FILE,
        "elsif current_setting('transaction_isolation') <> 'read committed' then",
        "elsif current_setting('transaction_isolation') = 'serializable' then",
        ("test_stricter_isolation_which",),
    ),
    Mutant(
        "refund-of-any-amount",
        "major units need not agree with minor units",
        FILE,
        "and p_amount * c.minor_per_major = p_amount_minor",
        "and p_amount is not null",
        (
            "test_amounts_follow",
            "test_refund_that_does_not_fit",
        ),
    ),
    Mutant(
        "fraction-of-a-krona",
        "a refund may be a fraction that Stripe does not pay back",
        FILE,
        "            and p_amount_minor % c.minor_multiple = 0\n",
        "",
        ("test_fraction_that_stripe",),
    ),
    Mutant(
        "succeeded-is-final",
        "a succeeded refund cannot fail",
        FILE,
        "when 'failed' then 3",
        "when 'failed' then 2",
        ("test_status_only_moves_on",),
    ),
    Mutant(
        "requires-action-is-pending",
        "a refund that requires action is no step on",
        FILE,
        "when 'requires_action' then 1",
        "when 'requires_action' then 0",
        ("test_status_only_moves_on",),
    ),
    Mutant(
        "collision-of-amounts-unseen",
        "the same refund may come with another amount",
        FILE,
        "(v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)\n"
        "        = (p_refund.payment_intent_id, p_refund.amount_minor, p_refund.currency, p_refund.livemode);",
        "(v_known.payment_intent_id, v_known.currency, v_known.livemode)\n"
        "        = (p_refund.payment_intent_id, p_refund.currency, p_refund.livemode);",
        ("test_known_id_of_something_else",),
    ),
    Mutant(
        "collision-of-modes-unseen",
        "the same refund may come in another mode",
        FILE,
        "(v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)\n"
        "        = (p_refund.payment_intent_id, p_refund.amount_minor, p_refund.currency, p_refund.livemode);",
        "(v_known.payment_intent_id, v_known.amount_minor, v_known.currency)\n"
        "        = (p_refund.payment_intent_id, p_refund.amount_minor, p_refund.currency);",
        ("test_known_id_of_something_else",),
    ),
    Mutant(
        "refund-of-another-currency",
        "a refund in another currency is recorded",
        FILE,
        "when v_payment.currency <> p_refund.currency\n",
        "when v_payment.currency = 'XXX'\n",
        ("test_refund_that_does_not_fit",),
    ),
    Mutant(
        "room-stays-unused",
        "a refund that had no room never counts, though the one that took it has failed",
        FILE,
        "        if v_status in ('failed', 'canceled') then",
        "        if false then",
        ("test_refund_that_had_no_room", "test_every_order_of_these_steps"),
    ),
    Mutant(
        "callers-record",
        "a type of the caller's own stands for what was read",
        FILE,
        "    v_payment pg_catalog.record;",
        "    v_payment record;",
        ("test_caller_cannot_put_types",),
    ),
)
