"""Faults of the migration keep_history_append_only."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "keep_history_append_only"

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
        "events-updatable",
        "a recorded event may be changed",
        FILE,
        "before update or delete or truncate on payments.stripe_events",
        "before delete or truncate on payments.stripe_events",
        ("test_history_cannot_be_rewritten",),
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
