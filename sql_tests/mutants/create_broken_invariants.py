"""Faults of the migration create_broken_invariants."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_broken_invariants"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "invariants-callable",
        "the function that names broken invariants is anybody's",
        FILE,
        "revoke execute on function payments.broken_invariants() from public, anon, authenticated, service_role;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "invariant-with-the-wrong-sign",
        "the ledger is expected to add what was sold",
        FILE,
        "(i.product_id, -i.quantity)",
        "(i.product_id, i.quantity)",
        ("test_payment_report.py",),
    ),
)
