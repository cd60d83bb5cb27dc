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
    Mutant(
        "all-triggers-are-fragile",
        "a shop's trigger with a search_path of its own is named",
        FILE,
        "where s.setting like 'search\\_path=%'",
        "where false",
        ("test_whatever_a_shop_adds", "test_readiness_names_the_shops_triggers"),
    ),
    Mutant(
        "fragile-triggers-on-evidence-unseen",
        "a shop's trigger on a private table is not named",
        FILE,
        "                    c.relnamespace = 'payments'::pg_catalog.regnamespace\n                    or ",
        "                    ",
        ("test_readiness_names_the_shops_triggers",),
    ),
    Mutant(
        "triggers-on-the-shops-tables-are-named",
        "a trigger on a table of the shop's own is named",
        FILE,
        "                        from payments.expected_grants as g\n",
        "                        from payments.expected_grants as g union select c.oid::pg_catalog.regclass::text\n",
        ("test_readiness_names_the_shops_triggers",),
    ),
    Mutant(
        "disabled-triggers-are-named",
        "a trigger that does not fire is named",
        FILE,
        "                and t.tgenabled <> 'D'\n",
        "",
        ("test_readiness_names_the_shops_triggers",),
    ),
    Mutant(
        "c-triggers-are-named",
        "a function in C, which looks no name up, is named",
        FILE,
        "                and l.lanname not in ('internal', 'c')\n",
        "",
        ("test_readiness_names_the_shops_triggers",),
    ),
)
