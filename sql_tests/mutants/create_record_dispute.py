"""Faults of the migration create_record_dispute."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_record_dispute"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "disputes-for-everybody",
        "every role may record a dispute",
        FILE,
        ") from public, anon, authenticated;\ngrant execute on function public.record_dispute(",
        ") from public;\ngrant execute on function public.record_dispute(",
        (MATRIX,),
    ),
    Mutant(
        "lost-outranks-won",
        "a dispute that was won is lost by an older word",
        FILE,
        "        prevented, lost, won}'::pg_catalog.text[]",
        "        prevented, won, lost}'::pg_catalog.text[]",
        ("test_every_order_of_these_steps",),
    ),
    Mutant(
        "closed-inquiry-is-final",
        "an inquiry that was closed never becomes a dispute",
        FILE,
        "warning_needs_response, warning_under_review, warning_closed, needs_response, under_review, "
        "charge_refunded,\n"
        "        prevented",
        "warning_needs_response, warning_under_review, needs_response, under_review, warning_closed, "
        "charge_refunded,\n"
        "        prevented",
        ("test_every_order_of_these_steps",),
    ),
    Mutant(
        "won-stays-open",
        "a dispute that was won stays open",
        FILE,
        "('won', 'warning_closed', 'charge_refunded', 'prevented')",
        "('warning_closed', 'charge_refunded', 'prevented')",
        ("test_dispute_is_one_exception",),
    ),
    Mutant(
        "lost-is-closed",
        "a dispute that was lost needs nobody",
        FILE,
        "('won', 'warning_closed', 'charge_refunded', 'prevented')",
        "('won', 'lost', 'warning_closed', 'charge_refunded', 'prevented')",
        ("test_dispute_is_one_exception",),
    ),
    Mutant(
        "dispute-of-another-currency",
        "a dispute in another currency is recorded",
        FILE,
        "when v_payment.currency <> p_dispute.currency\n",
        "when v_payment.currency = 'XXX'\n",
        ("test_dispute_in_another_currency",),
    ),
    Mutant(
        "dispute-under-an-old-snapshot",
        "a dispute is recorded under an isolation that does not see a payment that has just come",
        FILE,
        "elsif current_setting('transaction_isolation') <> 'read committed' then",
        "elsif current_setting('transaction_isolation') = 'serializable' then",
        ("test_stricter_isolation_which",),
    ),
    Mutant(
        "dispute-collision-unseen",
        "the same dispute may come with another amount",
        FILE,
        "(v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)\n"
        "        = (p_dispute.payment_intent_id, p_dispute.amount_minor, p_dispute.currency, "
        "p_dispute.livemode);",
        "(v_known.payment_intent_id, v_known.currency, v_known.livemode)\n"
        "        = (p_dispute.payment_intent_id, p_dispute.currency, p_dispute.livemode);",
        ("test_known_id_of_something_else",),
    ),
)
