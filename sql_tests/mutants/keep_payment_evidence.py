"""Faults of the migration keep_payment_evidence."""

from __future__ import annotations

from sql_tests.mutants.killers import COLLISION
from sql_tests.mutants.mutant import Mutant

FILE = "keep_payment_evidence"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "attempts-not-counted",
        "later attempts of a rejected event are not counted",
        FILE,
        "attempts = x.attempts + 1",
        "attempts = x.attempts",
        ("test_later_attempts_of_a_rejected_event",),
    ),
    Mutant(
        "last-attempt-forgotten",
        "when a rejected event came last is not kept",
        FILE,
        "last_seen_at = excluded.last_seen_at",
        "last_seen_at = x.last_seen_at",
        ("test_later_attempts_of_a_rejected_event",),
    ),
    Mutant(
        "reason-not-updated",
        "a reason that changes is not shown",
        FILE,
        "reason = excluded.reason,\n            details",
        "reason = x.reason,\n            details",
        ("test_reason_that_changes_is_shown",),
    ),
    Mutant(
        "earlier-reasons-lost",
        "of an event's former reasons only the last is kept",
        FILE,
        "coalesce(x.details -> 'earlier', '[]'::pg_catalog.jsonb) || jsonb_build_object(",
        "'[]'::pg_catalog.jsonb || jsonb_build_object(",
        ("test_every_earlier_reason",),
    ),
    Mutant(
        "operators-word-undone",
        "a case that an operator closed is opened by the next attempt",
        FILE,
        "        where x.status = 'open' or x.resolution = 'reconciled';",
        "        where true;",
        ("test_resolved_unmatched_event_answers_resolved",),
    ),
    Mutant(
        "collision-after-success-lost",
        "a collision is not kept where the event had been rejected before it was applied",
        FILE,
        "        where x.status = 'open' or x.resolution = 'reconciled';",
        "        where x.status = 'open';",
        ("test_collision_of_an_event_that_was_rejected",),
    ),
    Mutant(
        "reopened-still-resolved",
        "a case that is opened again keeps its resolution",
        FILE,
        "            status = 'open',\n            resolution = null,",
        "            status = x.status,\n            resolution = x.resolution,",
        ("test_collision_of_an_event_that_was_rejected",),
    ),
    Mutant(
        "resolved-answers-rejected",
        "an event that an operator has closed is rejected all the same",
        FILE,
        "    if not found then\n        return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');",
        "    if not found then\n"
        "        return payments.verdict(p_event.order_group_id, p_event.id, p_outcome, p_reason);",
        ("test_resolved_unmatched_event_answers_resolved",),
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
        "        p_event.amount_minor,\n        p_event.currency\n",
        "        p_event.amount_minor,\n        p_known.currency\n",
        (COLLISION,),
    ),
    Mutant(
        "replay-without-intent-collides",
        "a replay of an event without a payment intent is a collision, because null equals nothing",
        FILE,
        "    ) is not distinct from (\n",
        "    ) = (\n",
        ("test_replay_of_an_event_with_nothing",),
    ),
    Mutant(
        "refunded-twin-left-open",
        "another event of a payment that was sent back opens a case of its own",
        FILE,
        "    where x.stripe_event_id = p_event.id and x.status = 'open';",
        "    where false;",
        ("test_refunded_payment_pays_nothing",),
    ),
    Mutant(
        "case-of-the-first-group",
        "a case keeps the group that its first delivery named",
        FILE,
        "            order_group_id = excluded.order_group_id,\n",
        "",
        ("test_case_names_the_group",),
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
)
