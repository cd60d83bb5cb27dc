"""Faults of the migration keep_payment_evidence."""

from __future__ import annotations

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
        "reopened-still-resolved",
        "a case that is opened again keeps its resolution",
        FILE,
        "            status = 'open',\n            resolution = null,",
        "            status = x.status,\n            resolution = x.resolution,",
        ("test_collision_of_an_event_that_was_rejected",),
    ),
    Mutant(
        "refunded-twin-left-open",
        "another event of a payment that was sent back opens a case of its own",
        FILE,
        "    where x.stripe_event_id = p_event.id;",
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
        "named-group-not-kept",
        "the case of another account's payment does not say which group was named",
        FILE,
        "            when 'foreign_account' then",
        "            when 'never' then",
        ("test_foreign_payment_is_kept_whole",),
    ),
    Mutant(
        "account-not-described",
        "the evidence does not name the account",
        FILE,
        "        'account', p_event.account\n",
        "        'account', null\n",
        ("test_foreign_payment_is_kept_whole",),
    ),
    Mutant(
        "seen-when-the-transaction-began",
        "a case says that it was seen when its transaction began, before the lock",
        FILE,
        "    v_now timestamptz := clock_timestamp();",
        "    v_now timestamptz := now();",
        ("test_case_is_seen_when_it_is_judged",),
    ),
)
