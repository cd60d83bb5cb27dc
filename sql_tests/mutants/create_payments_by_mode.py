"""Faults of the migration create_payments_by_mode."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_payments_by_mode"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "modes-mixed-up",
        "payments of test mode are told as live ones",
        FILE,
        "case m.livemode when true then 'live' else 'test' end",
        "case m.livemode when false then 'live' else 'test' end",
        ("test_payments_are_counted_by_mode",),
    ),
    Mutant(
        "twins-counted-as-payments",
        "the second event of a payment counts as a payment",
        FILE,
        "            where s.outcome = 'applied'\n",
        "",
        ("test_payments_are_counted_by_mode",),
    ),
    Mutant(
        "everybody-counts-payments",
        "any signed-in user learns how many payments the shop has had",
        FILE,
        "grant execute on function public.payments_by_mode() to service_role;",
        "grant execute on function public.payments_by_mode() to service_role, authenticated;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
)
