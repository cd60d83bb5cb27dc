"""Faults in what a payment is compared with: its event, its exceptions, what else it has paid."""

from __future__ import annotations

from sql_tests.mutants.killers import COLLISION, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_reconcile_order_group_payment"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "refund-by-session-alone",
        "a refund counts for the events of the session, not for those of the payment intent",
        FILE,
        "                x.checkout_session_id = p_event.checkout_session_id\n"
        "                or x.payment_intent_id = p_event.payment_intent_id\n            )\n            and (\n",
        "                x.checkout_session_id = p_event.checkout_session_id\n            )\n            and (\n",
        ("test_refund_counts_for_the_session",),
    ),
    Mutant(
        "refund-by-intent-alone",
        "a refund counts for the events of the payment intent, not for those of the session",
        FILE,
        "                x.checkout_session_id = p_event.checkout_session_id\n"
        "                or x.payment_intent_id = p_event.payment_intent_id\n            )\n            and (\n",
        "                x.payment_intent_id = p_event.payment_intent_id\n            )\n            and (\n",
        ("test_refund_counts_for_the_session",),
    ),
    Mutant(
        "corruption-unnoticed",
        "a pending group that an event has paid passes as a payment that was used elsewhere",
        FILE,
        "    elsif exists (\n        select 1\n        from payments.stripe_events as e\n",
        "    elsif false and exists (\n        select 1\n        from payments.stripe_events as e\n",
        ("test_pending_group_that_an_event_has_paid",),
    ),
    Mutant(
        "collision-type",
        "another type under a known event id is a replay",
        FILE,
        ") is not distinct from (\n        p_event.type,",
        ") is not distinct from (\n        p_known.type,",
        (COLLISION,),
    ),
    Mutant(
        "collision-created-at",
        "another time under a known event id is a replay",
        FILE,
        "        p_event.type,\n        p_event.created_at,",
        "        p_event.type,\n        p_known.created_at,",
        (COLLISION,),
    ),
    Mutant(
        "collision-livemode",
        "another mode under a known event id is a replay",
        FILE,
        "        p_event.created_at,\n        p_event.livemode,",
        "        p_event.created_at,\n        p_known.livemode,",
        (COLLISION,),
    ),
    Mutant(
        "collision-order-group",
        "another group under a known event id is a replay",
        FILE,
        "        p_event.livemode,\n        p_event.order_group_id,",
        "        p_event.livemode,\n        p_known.order_group_id,",
        (COLLISION,),
    ),
    Mutant(
        "collision-session",
        "another session under a known event id is a replay",
        FILE,
        "        p_event.checkout_session_id,\n        p_event.payment_intent_id,\n        p_event.amount_minor,",
        "        p_known.checkout_session_id,\n        p_event.payment_intent_id,\n        p_event.amount_minor,",
        (COLLISION,),
    ),
    Mutant(
        "collision-intent",
        "another payment intent under a known event id is a replay",
        FILE,
        "        p_event.checkout_session_id,\n        p_event.payment_intent_id,\n        p_event.amount_minor,",
        "        p_event.checkout_session_id,\n        p_known.payment_intent_id,\n        p_event.amount_minor,",
        (COLLISION,),
    ),
    Mutant(
        "collision-amount",
        "another amount under a known event id is a replay",
        FILE,
        "        p_event.payment_intent_id,\n        p_event.amount_minor,",
        "        p_event.payment_intent_id,\n        p_known.amount_minor,",
        (COLLISION,),
    ),
    Mutant(
        "collision-currency",
        "another currency under a known event id is a replay",
        FILE,
        "        p_event.amount_minor,\n        p_event.currency,\n",
        "        p_event.amount_minor,\n        p_known.currency,\n",
        (COLLISION,),
    ),
    Mutant(
        "replay-without-intent-collides",
        "a replay of an event without a payment intent is a collision, because null equals nothing",
        FILE,
        "p_known.account\n    ) is not distinct from (\n",
        "p_known.account\n    ) = (\n",
        ("test_replay_of_an_event_with_nothing",),
    ),
    Mutant(
        "used-intent-accepted",
        "a payment intent that has paid another group is not noticed",
        FILE,
        "            and e.payment_intent_id = p_event.payment_intent_id\n"
        "            and e.order_group_id <> p_event.order_group_id\n",
        "            and e.payment_intent_id = p_event.payment_intent_id\n"
        "            and e.order_group_id = p_event.order_group_id\n",
        ("test_twin_that_shares_the_other_half",),
    ),
    Mutant(
        "used-session-accepted",
        "a session that has paid another group is not noticed",
        FILE,
        "            and e.checkout_session_id = p_event.checkout_session_id\n"
        "            and e.order_group_id <> p_event.order_group_id\n",
        "            and e.checkout_session_id = p_event.checkout_session_id\n            and false\n",
        ("test_payment_that_paid_one_group_cannot_pay_another",),
    ),
    Mutant(
        "judgement-of-taken-callable",
        "the judgement of what is taken is anybody's",
        FILE,
        "revoke execute on function payments.judge_taken(payments.stripe_events)\n"
        "from public, anon, authenticated, service_role;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "account-is-no-identity",
        "a known event id with another account is a replay",
        FILE,
        "        p_event.currency,\n        p_event.account\n",
        "        p_event.currency,\n        p_known.account\n",
        (COLLISION, "test_foreign_accounts.py"),
    ),
    Mutant(
        "foreign-money-is-this-payments",
        "what another account was paid counts as money of the payment of the same session",
        FILE,
        "                x.reason <> 'foreign_account'\n"
        "                or x.details -> 'received' ->> 'account' = p_event.account\n",
        "                true\n",
        ("test_buyers_own_payment_is_applied",),
    ),
    Mutant(
        "own-account-stays-foreign",
        "cases of an account that became one of ours stay open beside its payment",
        FILE,
        "                x.reason <> 'foreign_account'\n"
        "                or x.details -> 'received' ->> 'account' = p_event.account\n",
        "                x.reason <> 'foreign_account'\n",
        ("test_account_that_is_one_of_ours",),
    ),
)
