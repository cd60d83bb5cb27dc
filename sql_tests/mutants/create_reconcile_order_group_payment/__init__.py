"""Faults of the migration create_reconcile_order_group_payment, step by step."""

from __future__ import annotations

from sql_tests.mutants.create_reconcile_order_group_payment import comparing, judging, paying, reading, reconciling
from sql_tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *reading.MUTANTS,
    *comparing.MUTANTS,
    *judging.MUTANTS,
    *paying.MUTANTS,
    *reconciling.MUTANTS,
)
