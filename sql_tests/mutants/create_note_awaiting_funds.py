"""Faults of the migration create_note_awaiting_funds."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_note_awaiting_funds"
BOUNDS = "test_notice_beyond_the_bounds"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "notice-without-a-lock",
        "the group is not locked before its status is looked at",
        FILE,
        "    where g.id = p_order_group_id\n    for update;\n",
        "    where g.id = p_order_group_id;\n",
        ("test_expiry_races.py",),
    ),
    Mutant(
        "settled-group-is-noted",
        "a group that is not pending is noted",
        FILE,
        "        when v_status <> 'pending' then\n            v_reason := 'order_group_not_pending';\n",
        "",
        ("test_notice_of_a_settled_group",),
    ),
    Mutant(
        "noted-again",
        "a later notice takes the place of the first",
        FILE,
        "        when v_since is not null then\n            v_outcome := 'already_noted';\n",
        "",
        ("test_first_notice_is_kept",),
    ),
    Mutant(
        "unknown-group-is-noted",
        "a notice of a group that does not exist succeeds",
        FILE,
        "        when not found then\n            v_reason := 'order_group_not_found';\n",
        "",
        ("test_notice_of_an_unknown_group",),
    ),
    Mutant(
        "notice-of-the-databases-clock",
        "the time is the database's, not the event's",
        FILE,
        "coalesce(p_stripe_event_created, clock_timestamp())",
        "clock_timestamp()",
        ("test_first_notice_is_kept",),
    ),
    Mutant(
        "notice-without-a-time",
        "a notice without the event's time leaves the group as it was",
        FILE,
        "coalesce(p_stripe_event_created, clock_timestamp())",
        "p_stripe_event_created",
        ("test_notice_without_the_events_time",),
    ),
    Mutant(
        "notice-without-ids",
        "ids may be missing",
        FILE,
        "p_order_group_id is null or v_session_id is null or v_event_id is null",
        "p_order_group_id is null",
        (BOUNDS,),
    ),
    Mutant(
        "notice-without-a-group",
        "the group may be missing",
        FILE,
        "p_order_group_id is null or v_session_id is null",
        "v_session_id is null",
        ("test_notice_without_a_group",),
    ),
    Mutant(
        "notice-with-long-ids",
        "ids may be of any length",
        FILE,
        "greatest(length(v_session_id), length(v_event_id)) > v_longest",
        "false",
        (BOUNDS,),
    ),
    Mutant(
        "notice-of-any-time",
        "the event's time may be any",
        FILE,
        "p_stripe_event_created not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00'",
        "false",
        (BOUNDS,),
    ),
    Mutant(
        "notice-raises-40001",
        "under a stricter isolation a notice raises what PostgREST repeats for ever",
        FILE,
        "errcode = 'lock_not_available'",
        "errcode = 'serialization_failure'",
        ("test_notice_that_meets_a_change",),
    ),
    Mutant(
        "notice-by-visitors",
        "anon may note",
        FILE,
        "timestamptz) from public, anon, authenticated;",
        "timestamptz) from public, authenticated;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
)
