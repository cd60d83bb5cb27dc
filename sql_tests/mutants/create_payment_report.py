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
        "report-without-twins",
        "the report does not count the twins of a payment's event",
        FILE,
        "e.outcome = 'already_paid'\n",
        "e.outcome = 'never'\n",
        ("test_totals_are_the_sums_of_the_days", "test_payment_report.py"),
    ),
    Mutant(
        "report-simulated-is-applied",
        "what `relay simulate` has paid is among the payments",
        FILE,
        "                        when l.is_simulated then 'simulated'\n",
        "",
        ("test_what_was_simulated_is_no_money_and_apart",),
    ),
    Mutant(
        "report-simulated-is-money",
        "what `relay simulate` has paid is money that came",
        FILE,
        "                where not m.is_simulated\n",
        "",
        ("test_what_was_simulated_is_no_money_and_apart",),
    ),
    Mutant(
        "report-simulated-is-a-sellers",
        "what `relay simulate` has paid is a seller's",
        FILE,
        " and not l.is_simulated\n",
        "\n",
        ("test_what_was_simulated_is_no_money_and_apart",),
    ),
    Mutant(
        "report-net-is-gross",
        "what went back is not taken off what was paid",
        FILE,
        "'net', (m.gross - m.refunded)::pg_catalog.text",
        "'net', m.gross::pg_catalog.text",
        ("test_what_was_paid_and_refunded_adds_up_by_currency",),
    ),
    Mutant(
        "report-refunds-what-paid-nothing",
        "money that had paid nothing is taken off what was paid when it goes back",
        FILE,
        "(where l.kind = 'refund' and l.order_group_id is not null)",
        "(where l.kind = 'refund')",
        ("test_what_was_paid_and_refunded_adds_up_by_currency",),
    ),
    Mutant(
        "report-seller-net-is-gross",
        "a seller's orders that were given up are not taken off",
        FILE,
        "'net', (w.gross - w.refunded)::pg_catalog.text",
        "'net', w.gross::pg_catalog.text",
        ("test_each_sellers_part_adds_up_by_currency",),
    ),
    Mutant(
        "report-counts-given-up-orders-as-sold",
        "an order that is given up counts as one more",
        FILE,
        "count(*) filter (where l.kind = 'order') as orders",
        "count(*) as orders",
        ("test_each_sellers_part_adds_up_by_currency",),
    ),
    Mutant(
        "report-without-returns",
        "the report does not tell what came back",
        FILE,
        "l.entry_type in ('order_commit', 'order_return') and",
        "l.entry_type in ('order_commit') and",
        ("test_stock_that_came_back_and_was_corrected",),
    ),
    Mutant(
        "report-oversells-what-is-there",
        "stock that is there counts as oversold",
        FILE,
        "greatest(-h.on_hand, 0)",
        "abs(h.on_hand)",
        ("test_report_of_a_month_is_whole",),
    ),
    Mutant(
        "report-of-old-corrections",
        "the report lists the corrections of all times",
        FILE,
        "where l.entry_type = 'adjustment' and l.created_at >= p_since and l.created_at < p_until",
        "where l.entry_type = 'adjustment'",
        ("test_stock_that_came_back_and_was_corrected",),
    ),
    Mutant(
        "report-without-what-was-expected",
        "an open exception does not tell what was expected",
        FILE,
        "'expected_amount', x.details -> 'expected' ->> 'total_amount'",
        "'expected_amount', null",
        ("test_report_of_a_month_is_whole",),
    ),
)
