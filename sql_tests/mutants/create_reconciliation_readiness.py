"""Faults of the migration create_reconciliation_readiness."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_reconciliation_readiness"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "contract-counted-up",
        "the database counts its contract up without the relay",
        FILE,
        "'contract_version', 1,\n        'old",
        "'contract_version', 2,\n        'old",
        ("test_readiness_tells_contract",),
    ),
    Mutant(
        "relays-before-unserved",
        "the database does not tell the oldest relay that it serves",
        FILE,
        "        'oldest_contract_version', 1,\n",
        "",
        ("test_readiness_tells_contract",),
    ),
    Mutant(
        "readiness-of-the-owner",
        "readiness tells the owner's rights instead of the caller's",
        FILE,
        "coalesce(nullif(current_setting('role', true), 'none'), session_user::pg_catalog.text) as name",
        "current_user::pg_catalog.text as name",
        ("test_readiness_tells_contract",),
    ),
    Mutant(
        "readiness-of-some-overload",
        "one executable overload is enough to be ready",
        FILE,
        "coalesce(bool_and(",
        "coalesce(bool_or(",
        ("test_readiness_wants_every_overload",),
    ),
    Mutant(
        "readiness-of-nothing",
        "whether a function that is missing can be executed is unknown, not false",
        FILE,
        "(\n            "
        "select coalesce(bool_and(has_function_privilege(caller.name, reconcile.oid, 'execute')), false)\n",
        "(\n            select bool_and(has_function_privilege(caller.name, reconcile.oid, 'execute'))\n",
        ("test_readiness_without_the_function",),
    ),
    Mutant(
        "readiness-blind-to-anon",
        "readiness does not ask for visitors",
        FILE,
        "                    has_function_privilege('anon', reconcile.oid, 'execute')\n                    or ",
        "                    ",
        ("test_readiness_sees_that_the_function_is_open",),
    ),
    Mutant(
        "readiness-blind-to-authenticated",
        "readiness does not ask for signed-in users",
        FILE,
        "                    or has_function_privilege('authenticated', reconcile.oid, 'execute')\n",
        "",
        ("test_readiness_sees_that_the_function_is_open",),
    ),
    Mutant(
        "readiness-blind-to-public",
        "readiness does not ask for everybody",
        FILE,
        "                    or has_function_privilege('public', reconcile.oid, 'execute')\n",
        "",
        argument="What everybody may do, anon may do, and anon is asked for; the line says what is meant.",
    ),
    Mutant(
        "readiness-with-multiples",
        "readiness tells multiples instead of exponents",
        FILE,
        "jsonb_object_agg(c.code, c.exponent)",
        "jsonb_object_agg(c.code, c.minor_multiple)",
        ("test_readiness_tells_contract",),
    ),
)
