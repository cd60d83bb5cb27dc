"""Faults of the migration create_payment_records."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_payment_records"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "group-applied-twice",
        "two events may have paid one group, as far as the index is concerned",
        FILE,
        "create unique index stripe_events_applied_order_group_id_key",
        "create index stripe_events_applied_order_group_id_key",
        ("stripe_events_applied_order_group_id_key",),
    ),
    Mutant(
        "intent-applied-twice",
        "a payment intent may pay two groups at the same instant",
        FILE,
        "create unique index stripe_events_applied_payment_intent_id_key",
        "create index stripe_events_applied_payment_intent_id_key",
        ("test_payment_that_names_two_groups",),
    ),
    Mutant(
        "session-applied-twice",
        "a session may pay two groups at the same instant",
        FILE,
        "create unique index stripe_events_applied_checkout_session_id_key",
        "create index stripe_events_applied_checkout_session_id_key",
        ("test_payment_that_names_two_groups",),
    ),
    Mutant(
        "twins-collide",
        "the twin event of a payment offends the index of payment intents",
        FILE,
        "on payments.stripe_events (payment_intent_id) where outcome = 'applied';",
        "on payments.stripe_events (payment_intent_id);",
        ("test_twin_event_of_the_payment_is_recorded",),
    ),
    Mutant(
        "event-of-no-group",
        "an event may name a group that does not exist",
        FILE,
        "    constraint stripe_events_order_group_id_fkey\n"
        "    foreign key (order_group_id) references public.order_groups (id) on delete restrict,\n",
        "",
        ("stripe_events_order_group_id_fkey",),
    ),
    Mutant(
        "event-source-unknown",
        "an event may come from a source that nobody knows",
        FILE,
        "check (source = any('{webhook, sweep, replay}'))",
        "check (source is not null)",
        ("stripe_events_source_is_known_check",),
    ),
    Mutant(
        "event-outcome-unknown",
        "an event may be recorded that was rejected",
        FILE,
        "check (outcome = any('{applied, already_paid}'))",
        "check (outcome = any('{applied, already_paid, rejected}'))",
        ("stripe_events_outcome_is_known_check",),
    ),
    Mutant(
        "exception-reason-unknown",
        "a collision cannot be kept as an exception",
        FILE,
        ",\n('event_collision', 'rejected', 'the event id was processed before, with another payload')",
        "",
        ("test_reasons_are_those_of_the_relay",),
    ),
    Mutant(
        "exception-reason-misspelt",
        "an exception may have a reason that nobody knows",
        FILE,
        "    constraint exceptions_reason_fkey foreign key (reason)"
        " references payments.reasons (reason) on delete restrict,\n",
        "",
        ("exceptions_reason_fkey",),
    ),
    Mutant(
        "unmatched-is-rejected",
        "a reference that is missing counts as a rejection",
        FILE,
        "('missing_reference', 'unmatched',",
        "('missing_reference', 'rejected',",
        ("test_reasons_are_those_of_the_relay",),
    ),
    Mutant(
        "reasons-without-policies",
        "row level security of the reasons is off",
        FILE,
        "alter table payments.reasons enable row level security;\n",
        "",
        (HEALTHY,),
    ),
    Mutant(
        "reasons-readable",
        "service_role may read the reasons",
        FILE,
        "revoke all on table payments.reasons from public, anon, authenticated, service_role;",
        "grant select on table payments.reasons to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "exception-half-resolved",
        "a resolved exception need not say by whom",
        FILE,
        "(resolution is not null and resolved_by is not null and resolved_at is not null)",
        "(resolution is not null and resolved_at is not null)",
        ("exceptions_resolved_says_how_and_by_whom_check",),
    ),
    Mutant(
        "exceptions-without-policies",
        "row level security of the exceptions is off",
        FILE,
        "alter table payments.exceptions enable row level security;\n",
        "",
        (HEALTHY,),
    ),
    Mutant(
        "exceptions-readable",
        "service_role may read the exceptions past the function",
        FILE,
        "revoke all on table payments.exceptions from public, anon, authenticated, service_role;",
        "grant select on table payments.exceptions to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "exceptions-unrevoked",
        "what the private tables do not grant is not revoked either",
        FILE,
        "revoke all on table payments.exceptions from public, anon, authenticated, service_role;\n",
        "",
        argument="Supabase's automatic grants are for the schema public alone; the line guards against wider ones.",
    ),
)
