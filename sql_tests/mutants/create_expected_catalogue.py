"""Faults of the migration create_expected_catalogue."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_expected_catalogue"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "expectations-without-policies",
        "row level security of the expected grants is off",
        FILE,
        "alter table payments.expected_grants enable row level security;\n",
        "",
        (HEALTHY,),
    ),
    Mutant(
        "expectations-writable",
        "service_role may say what is expected of its own privileges",
        FILE,
        "revoke all on table payments.expected_grants from public, anon, authenticated, service_role;",
        "grant insert on table payments.expected_grants to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "definitions-writable",
        "service_role may say what is expected of functions",
        FILE,
        "revoke all on table payments.expected_definitions from public, anon, authenticated, service_role;",
        "grant update on table payments.expected_definitions to service_role;",
        (MATRIX,),
    ),
)
