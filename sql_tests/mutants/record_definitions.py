"""Faults of the migration record_definitions."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY
from sql_tests.mutants.mutant import Mutant

FILE = "record_definitions"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "nothing-is-expected",
        "what the migrations made is not recorded",
        FILE,
        "select payments.record_definitions();",
        "select 1;",
        (HEALTHY,),
    ),
)
