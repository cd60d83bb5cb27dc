"""Faults of the migration create_broken_invariants."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX
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
        "invariant-untold",
        "an invariant that is broken is missing on the report",
        FILE,
        "(26, 'duplicate_payment_is_of_a_paid_group', 'A duplicate payment is of a paid order group'),\n",
        "",
        ("test_every_invariant_has_its_fault",),
    ),
    Mutant(
        "invariants-in-one-place",
        "two invariants may be listed in one place",
        FILE,
        "    constraint invariants_pkey primary key (name),\n    constraint invariants_place_key unique (place)\n",
        "    constraint invariants_pkey primary key (name)\n",
        ("test_every_constraint_has_its_violation",),
    ),
    Mutant(
        "invariants-without-policies",
        "row level security of the invariants is off",
        FILE,
        "alter table payments.invariants enable row level security;\n",
        "",
        (HEALTHY,),
    ),
    Mutant(
        "invariants-readable",
        "service_role may read the invariants",
        FILE,
        "revoke all on table payments.invariants from public, anon, authenticated, service_role;",
        "grant select on table payments.invariants to service_role;",
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
    Mutant(
        "returns-beyond-the-commit-untold",
        "the invariants do not add up what came back of an item",
        FILE,
        "where l.quantity > c.quantity",
        "where false",
        ("test_fault_is_named_by_its_invariant",),
    ),
    Mutant(
        "all-returns-are-too-many",
        "the invariants find an item that came back whole",
        FILE,
        "where l.quantity > c.quantity",
        "where l.quantity >= c.quantity",
        ("test_healthy_database_breaks_no_invariant",),
    ),
    Mutant(
        "erased-group-unchecked",
        "the invariants do not look for erased metadata in order groups",
        FILE,
        "where g.stripe_session_metadata <> '{}'",
        "where false",
        ("test_erased_metadata_are_found",),
    ),
    Mutant(
        "erased-events-unchecked",
        "the invariants do not look for erased metadata in recorded events",
        FILE,
        "where e.session_metadata <> '{}'",
        "where false",
        ("test_erased_metadata_are_found",),
    ),
    Mutant(
        "erased-exceptions-unchecked",
        "the invariants do not look for erased metadata in exceptions",
        FILE,
        "where x.details <> payments.without_metadata(x.details, t.order_group_id)",
        "where false",
        ("test_erased_metadata_are_found",),
    ),
    Mutant(
        "erased-naming-exceptions-unchecked",
        "the invariants do not look for erased metadata in exceptions that only name the group",
        FILE,
        "coalesce(x.order_group_id::pg_catalog.text, x.details ->> 'named_order_group_id')",
        "x.order_group_id::pg_catalog.text",
        ("test_erased_metadata_are_found",),
    ),
)
