"""Faults of the migration schedule_expiry; what pg_cron itself must show is in tests/deploy/test_pg_cron.py."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "schedule_expiry"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "schedule-without-pg-cron",
        "a database without pg_cron says that it has a schedule",
        FILE,
        "return 'pg_cron_not_installed';",
        "return 'scheduled';",
        ("test_schedule_waits_for_pg_cron",),
    ),
    Mutant(
        "schedule-by-anybody",
        "everybody may turn the schedule on",
        FILE,
        "revoke execute on function payments.schedule_expiry() from public, anon, authenticated, service_role;\n",
        "",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
)
