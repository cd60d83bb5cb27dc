"""Faults of the migration create_payment_report."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_payment_report"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "report-for-everybody",
        "signed-in users may read the accountant's page",
        FILE,
        "grant execute on function public.payment_report(timestamptz, timestamptz) to service_role;",
        "grant execute on function public.payment_report(timestamptz, timestamptz) to service_role, authenticated;",
        (MATRIX,),
    ),
    Mutant(
        "report-counts-twins",
        "the report adds the money of a twin event once more",
        FILE,
        "case when e.outcome = 'applied' and abs(e.amount) < 1e19 then e.amount end as amount",
        "e.amount as amount",
        ("test_payment_report.py",),
    ),
    Mutant(
        "report-without-open-cases",
        "the report leaves out the payments of open cases, because null is not unlike anything",
        FILE,
        "where x.resolution is distinct from 'reconciled'",
        "where x.resolution <> 'reconciled'",
        ("test_payment_report.py",),
    ),
    Mutant(
        "report-of-checks-by-name",
        "the report lists its checks in another order",
        FILE,
        "order by k.place",
        "order by k.name",
        ("test_the_checks_are_the_invariants_in_their_order",),
    ),
    Mutant(
        "report-with-floats",
        "the report's amounts are JSON numbers",
        FILE,
        "'amount', t.amount::pg_catalog.text",
        "'amount', t.amount",
        ("test_payment_report.py",),
    ),
    Mutant(
        "report-of-resolved-cases",
        "the report lists resolved cases as open",
        FILE,
        "where x.status = 'open'\n",
        "where x.status is not null\n",
        ("test_payment_report.py",),
    ),
    Mutant(
        "report-counts-earlier-payments-again",
        "a payment that was set aside before the window counts again when another of its events is",
        FILE,
        "            where x.set_aside_at >= p_since\n",
        "",
        ("test_payment_that_was_set_aside_on_both_sides",),
    ),
    Mutant(
        "report-of-the-windows-events-alone",
        "the report does not look for a payment's events beyond its window",
        FILE,
        "                    o.checkout_session_id in (",
        "                    false and o.checkout_session_id in (",
        ("test_payment_that_was_set_aside_on_both_sides",),
    ),
    Mutant(
        "report-takes-the-last-day",
        "a payment counts on the day on which the last of its events was set aside",
        FILE,
        "min(x.first_seen_at) over (partition by x.payment)",
        "max(x.first_seen_at) over (partition by x.payment)",
        ("test_payment_that_was_set_aside_on_both_sides",),
    ),
    Mutant(
        "report-adds-what-is-no-number",
        "one event whose amount is no number takes the sums of its day along",
        FILE,
        "case when e.outcome = 'applied' and abs(e.amount) < 1e19 then",
        "case when e.outcome = 'applied' then",
        ("test_amount_that_is_no_money_adds_nothing",),
    ),
)
