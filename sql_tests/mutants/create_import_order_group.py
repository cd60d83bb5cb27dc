"""Faults of the migration create_import_order_group."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_import_order_group"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "import-without-time",
        "a payment of the past without a time counts as one of today",
        FILE,
        "v_event_id is null or p_paid_at is null or p_livemode is null",
        "v_event_id is null or p_livemode is null",
        ("test_payment_without_time_mode_or_session",),
    ),
    Mutant(
        "import-of-tomorrow",
        "a payment of the past may be one of the next century",
        FILE,
        "    if p_paid_at < '2000-01-01 00:00+00' or p_paid_at > clock_timestamp() then\n",
        "    if p_paid_at < '2000-01-01 00:00+00' then\n",
        ("test_time_that_is_not_of_the_past",),
    ),
    Mutant(
        "import-rejects-without-a-word",
        "an import of a payment whose money went back is rejected without a reason",
        FILE,
        "if v_verdict ->> 'outcome' = 'resolved' then",
        "if false then",
        ("test_payment_that_was_settled_otherwise",),
    ),
    Mutant(
        "import-empties-the-shelf",
        "what was sold long ago is taken from today's stock",
        FILE,
        "if v_made ->> 'outcome' = 'created' then",
        "if false then",
        ("test_history_comes_in",),
    ),
    Mutant(
        "import-adopts-a-checkout",
        "an import pays a pending group that a checkout has made",
        FILE,
        "elsif v_made ->> 'status' = 'pending' then",
        "elsif false then",
        ("test_group_that_lives_is_no_history",),
    ),
    Mutant(
        "import-leaves-half",
        "a rejected import leaves a pending group, receipts and an exception",
        FILE,
        "if v_outcome = 'rejected' then",
        "if false then",
        ("test_what_does_not_fit",),
    ),
    Mutant(
        "import-believes-the-orders",
        "the amount that Stripe took is not compared with the orders",
        FILE,
        "p_amount_minor => p_amount_minor,\n"
        "                p_amount => (\n                    select round(p_amount_minor::",
        "p_amount_minor => (v_made ->> 'amount_minor')::bigint,\n"
        "                p_amount => (\n                    select round((v_made ->> 'amount_minor')::",
        ("test_what_does_not_fit",),
    ),
    Mutant(
        "import-of-today",
        "an imported payment is told on the day of the import",
        FILE,
        "p_stripe_event_created => p_paid_at,",
        "p_stripe_event_created => now(),",
        ("test_accountants_find_it",),
    ),
    Mutant(
        "import-twice-told-as-new",
        "an import that came before is told as a new one",
        FILE,
        "when 'replayed' then 'already_imported'",
        "when 'replayed' then 'imported'",
        ("test_imported_twice",),
    ),
    Mutant(
        "import-known-payment-rejected",
        "a payment that has paid its group by another event is told as rejected",
        FILE,
        "                when 'already_paid' then 'already_imported'\n",
        "",
        ("test_imported_twice",),
    ),
    Mutant(
        "everybody-imports",
        "any signed-in user may write paid orders of the past",
        FILE,
        "\n) to service_role;",
        "\n) to service_role, authenticated;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
    Mutant(
        "importing-waits-for-ever",
        "importing waits for a lock as long as the session lets it",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "import-order-group-serialized-away",
        "import_order_group answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "            raise exception 'order group % was changed by a rival', p_order_group_id\n"
        "                using errcode = 'lock_not_available'",
        "            raise exception 'order group % was changed by a rival', p_order_group_id\n"
        "                using errcode = 'serialization_failure'",
        argument="What it calls answers 55P03 itself; serializable may refuse a statement between these calls too, "
        "at no time that a test can choose.",
    ),
)
