"""Faults of the migration keep_history_append_only."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "keep_history_append_only"

HISTORY = "test_history_cannot_be_rewritten"
KEPT = "test_what_needs_a_person_and_what_has_gone_back"
METADATA_ALONE = "test_recorded_event_loses_its_metadata_alone"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "ledger-truncatable",
        "the ledger may be truncated",
        FILE,
        "before update or delete or truncate on public.inventory_ledger",
        "before update or delete on public.inventory_ledger",
        ("test_history_cannot_be_rewritten",),
    ),
    Mutant(
        "events-truncatable",
        "the events may be truncated",
        FILE,
        "before delete or truncate on payments.stripe_events",
        "before delete on payments.stripe_events",
        (HISTORY,),
    ),
    Mutant(
        "events-removable",
        "a recorded event may be removed",
        FILE,
        "before delete or truncate on payments.stripe_events",
        "before truncate on payments.stripe_events",
        (HISTORY,),
    ),
    Mutant(
        "exceptions-removable",
        "an exception may be removed",
        FILE,
        "before delete or truncate on payments.exceptions",
        "before truncate on payments.exceptions",
        (KEPT,),
    ),
    Mutant(
        "exceptions-truncatable",
        "the exceptions may be truncated",
        FILE,
        "before delete or truncate on payments.exceptions",
        "before delete on payments.exceptions",
        (KEPT,),
    ),
    Mutant(
        "events-updatable",
        "a recorded event may be changed where its metadata were erased",
        FILE,
        "        and (to_jsonb(new) - v_others)::pg_catalog.text = (to_jsonb(old) - v_others)::pg_catalog.text\n",
        "",
        (HISTORY, METADATA_ALONE),
    ),
    Mutant(
        "events-nearly-the-same",
        "a number of an event may be written otherwise where its metadata were erased",
        FILE,
        "(to_jsonb(new) - v_others)::pg_catalog.text = (to_jsonb(old) - v_others)::pg_catalog.text",
        "(to_jsonb(new) - v_others) = (to_jsonb(old) - v_others)",
        (METADATA_ALONE,),
    ),
    Mutant(
        "events-emptied-without-a-word",
        "an event's metadata may be emptied where another group's were erased",
        FILE,
        "where e.order_group_id = new.order_group_id",
        "where true",
        (METADATA_ALONE,),
    ),
    Mutant(
        "events-rewritten-on-a-word",
        "an event's metadata may be rewritten where they were erased",
        FILE,
        "if new.session_metadata = '{}'\n        and ",
        "if ",
        (METADATA_ALONE,),
    ),
    Mutant(
        "events-guarded-too-early",
        "a trigger of the shop's own changes an event behind an erasure",
        FILE,
        "after update on payments.stripe_events\nfor each row",
        "before update on payments.stripe_events\nfor each row",
        ("test_shops_trigger_cannot_use",),
    ),
    Mutant(
        "generated-column-stops-erasure",
        "a column that the shop generates from the metadata makes them last for ever",
        FILE,
        "a.attgenerated <> '' or ",
        "",
        ("test_column_that_is_generated",),
    ),
    Mutant(
        "updated-at-stops-erasure",
        "an updated_at of the shop's makes the metadata last for ever",
        FILE,
        "a.attname in ('session_metadata', 'updated_at')",
        "a.attname = 'session_metadata'",
        ("test_whatever_a_shop_adds_to_every_table_stops_nothing",),
    ),
    Mutant(
        "event-updates-open-to-replicas",
        "a session in replication mode may change the events",
        FILE,
        "alter table payments.stripe_events enable always trigger stripe_events_lose_metadata_alone;\n",
        "",
        (HISTORY,),
    ),
    Mutant(
        "ledger-open-to-replicas",
        "a session in replication mode may rewrite the ledger",
        FILE,
        "alter table public.inventory_ledger enable always trigger inventory_ledger_is_append_only;\n",
        "",
        ("test_history_cannot_be_rewritten",),
    ),
    Mutant(
        "events-open-to-replicas",
        "a session in replication mode may rewrite the events",
        FILE,
        "alter table payments.stripe_events enable always trigger stripe_events_is_append_only;\n",
        "",
        ("test_history_cannot_be_rewritten",),
    ),
)
