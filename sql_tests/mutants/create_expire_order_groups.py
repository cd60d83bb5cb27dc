"""Faults of the migration create_expire_order_groups."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_expire_order_groups"
WHICH = "test_only_pending_groups_whose_time"
LOCKED = "test_locked_rows_are_left"
RACES = "test_expiry_races.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "awaited-money-expires",
        "a group whose money is under way expires",
        FILE,
        "        where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null\n"
        "        order by g.expires_at\n",
        "        where g.status = 'pending' and g.expires_at <= v_now\n        order by g.expires_at\n",
        (WHICH,),
    ),
    Mutant(
        "expires-too-early",
        "a group expires before its time",
        FILE,
        "        where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null\n"
        "        order by g.expires_at\n",
        "        where g.status = 'pending' and g.expires_at is not null and g.awaiting_funds_since is null\n"
        "        order by g.expires_at\n",
        (WHICH,),
    ),
    Mutant(
        "paid-group-expires",
        "a group that is not pending is taken too",
        FILE,
        "        where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null\n"
        "        order by g.expires_at\n",
        "        where g.expires_at <= v_now and g.awaiting_funds_since is null\n        order by g.expires_at\n",
        (WHICH,),
    ),
    Mutant(
        "expiry-in-any-order",
        "the limit takes any groups that are due",
        FILE,
        "        order by g.expires_at\n        limit",
        "        order by g.expires_at desc\n        limit",
        ("test_limit_takes_the_groups",),
    ),
    Mutant(
        "expiry-without-a-limit",
        "the limit is not kept to",
        FILE,
        "        limit p_limit\n",
        "",
        ("test_limit_takes_the_groups",),
    ),
    Mutant(
        "any-limit",
        "the limit has no bounds",
        FILE,
        "p_limit is null or p_limit not between 0 and v_most",
        "p_limit < 0",
        ("test_limit_out_of_bounds",),
    ),
    Mutant(
        "expiry-waits-for-a-group",
        "expiry waits for whoever holds a group",
        FILE,
        "        limit p_limit\n        for update skip locked\n",
        "        limit p_limit\n        for update\n",
        (LOCKED, RACES),
    ),
    Mutant(
        "expiry-without-a-lock",
        "the groups are not locked",
        FILE,
        "        limit p_limit\n        for update skip locked\n",
        "        limit p_limit\n",
        (LOCKED, RACES),
    ),
    Mutant(
        "expiry-waits-for-an-order",
        "expiry waits for whoever holds an order",
        FILE,
        "            order by o.id\n            for update skip locked\n",
        "            order by o.id\n            for update\n",
        (LOCKED,),
    ),
    Mutant(
        "left-is-what-was-taken",
        "what awaits funds is told as left",
        FILE,
        "    from public.order_groups as g\n"
        "    where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null;\n",
        "    from public.order_groups as g\n    where g.status = 'pending' and g.expires_at <= v_now;\n",
        (WHICH,),
    ),
    Mutant(
        "run-is-not-recorded",
        "nobody knows when expiry ran",
        FILE,
        "    set ran_at = v_now\n",
        "    set ran_at = l.ran_at\n",
        ("test_readiness_tells_the_last_run",),
    ),
    Mutant(
        "runs-wait-for-each-other",
        "two runs at once wait for each other",
        FILE,
        "            from payments.last_expiry as free\n            for update skip locked\n",
        "            from payments.last_expiry as free\n",
        ("test_two_runs_at_once",),
    ),
    Mutant(
        "last-expiry-is-not-one-row",
        "the last expiry may have several rows",
        FILE,
        "check (id = 1)",
        "check (id > 0)",
        ("test_schema.py", "test_last_expiry_is_one_row"),
    ),
    Mutant(
        "expiry-raises-40001",
        "under a stricter isolation expiry raises what PostgREST repeats for ever",
        FILE,
        "errcode = 'lock_not_available'",
        "errcode = 'serialization_failure'",
        ("test_expiry_that_meets_a_change",),
    ),
    Mutant(
        "expiry-by-visitors",
        "anon may expire order groups",
        FILE,
        "expire_order_groups(integer) from public, anon, authenticated;",
        "expire_order_groups(integer) from public, authenticated;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
    Mutant(
        "expiry-without-its-index",
        "what is due is looked for among all groups",
        FILE,
        "on public.order_groups (expires_at)\nwhere status = 'pending' and expires_at is not null"
        " and awaiting_funds_since is null;",
        "on public.order_groups (awaiting_funds_since)\nwhere status = 'pending' and expires_at is not null"
        " and awaiting_funds_since is null;",
        ("test_each_index_", "test_expiry_reaches_what_is_due"),
    ),
)
