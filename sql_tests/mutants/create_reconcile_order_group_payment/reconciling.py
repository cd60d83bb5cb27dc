"""Faults of locks and their order, of what is kept, and of the public function."""

from __future__ import annotations

from sql_tests.mutants.killers import FIRST, HEALTHY, MATRIX, RACES
from sql_tests.mutants.mutant import Mutant

FILE = "create_reconcile_order_group_payment"

EVENT_COLUMNS = (
    "id type created_at received_at processed_at livemode order_group_id checkout_session_id payment_intent_id"
    " amount_minor amount currency session_metadata source outcome account"
).split()

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "replay-not-known",
        "the event id is not looked up before the lock",
        FILE,
        "    if v_is_replay then\n"
        "        return payments.verdict(p_event.order_group_id, p_event.id, 'replayed');\n    end if;\n\n"
        "    -- Deliveries",
        "    -- Deliveries",
        ("test_replay_does_not_wait",),
    ),
    Mutant(
        "payment-takes-no-lock",
        "a payment does not lock its group",
        FILE,
        "    where g.id = p_event.order_group_id\n    for update;",
        "    where g.id = p_event.order_group_id;",
        ("test_second_payment_waits_for_the_first", RACES),
    ),
    Mutant(
        "exception-not-locked",
        "a payment does not lock the case of its event",
        FILE,
        "        order by x.id\n        for update of x;",
        "        order by x.id;",
        ("test_operators_word_on_a_case_that_names",),
    ),
    Mutant(
        "no-turns",
        "deliveries of one event do not take turns where no group's lock makes them",
        FILE,
        "    perform pg_advisory_xact_lock(hashtextextended(p_event.id, 0));\n",
        "",
        ("test_event_that_is_being_applied", "test_delivery_that_found_no_group"),
    ),
    Mutant(
        "conflict-on-the-id-alone",
        "a rival that took the payment for another group shows as a broken index",
        FILE,
        "on conflict do nothing;",
        "on conflict (id) do nothing;",
        ("test_payment_that_names_two_groups",),
    ),
    Mutant(
        "exception-stays-open",
        "an exception stays open though its event was applied",
        FILE,
        "            if v_judgement.has_exceptions then\n                update",
        "            if false then\n                update",
        ("test_rejected_event_is_applied_once_its_cause_is_gone",),
    ),
    Mutant(
        "twin-pays-again",
        "a twin event pays the group again",
        FILE,
        "            if v_judgement.outcome = 'already_paid' then",
        "            if false then",
        ("test_twin_event_of_the_payment_is_recorded",),
    ),
    Mutant(
        "runs-as-the-relay",
        "the function runs with the relay's rights",
        FILE,
        "security definer\nset search_path = ''\nset lock_timeout = '3s'",
        "security invoker\nset search_path = ''\nset lock_timeout = '3s'",
        (FIRST,),
    ),
    Mutant(
        "search-path-mutable",
        "the function finds its names on a path that a caller might fill",
        FILE,
        "security definer\nset search_path = ''\nset lock_timeout = '3s'",
        "security definer\nset search_path = 'public'\nset lock_timeout = '3s'",
        (HEALTHY,),
    ),
    Mutant(
        "waits-for-ever",
        "a payment waits for a lock as long as the caller's session lets it",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_payment_that_gets_no_lock",),
    ),
    Mutant(
        "isolation-of-the-project",
        "the function does not ask the Data API for read committed",
        FILE,
        "set default_transaction_isolation = 'read committed'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "declared-stable",
        "the function is declared to write nothing, and the Data API calls it read-only",
        FILE,
        "language plpgsql\nvolatile\nsecurity definer\nset search_path = ''\nset lock_timeout = '3s'",
        "language plpgsql\nstable\nsecurity definer\nset search_path = ''\nset lock_timeout = '3s'",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "serialization-failure-raised",
        "a serialization failure reaches the Data API, which runs it again for ever",
        FILE,
        "        when serialization_failure then",
        "        when division_by_zero then",
        (RACES,),
    ),
    Mutant(
        "serialization-failure-renamed",
        "a serialization failure is caught and raised again as itself",
        FILE,
        "using errcode = 'lock_not_available';",
        "using errcode = 'serialization_failure';",
        (RACES,),
    ),
    Mutant(
        "open-to-the-public",
        "everybody may pay order groups",
        FILE,
        "    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text\n"
        ") from public, anon, authenticated;",
        "    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text\n"
        ") from anon, authenticated;",
        (MATRIX,),
    ),
    Mutant(
        "open-to-visitors-of-older-projects",
        "visitors of older projects may pay order groups",
        FILE,
        "    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text\n"
        ") from public, anon, authenticated;",
        "    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text\n"
        ") from public, authenticated;",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "closed-to-the-relay",
        "service_role of newer projects may not pay order groups",
        FILE,
        "grant execute on function public.reconcile_order_group_payment(\n"
        "    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text\n"
        ") to service_role;",
        "",
        (FIRST,),
    ),
    Mutant(
        "not-judged-again",
        "an operator's word that was waited for is not heard",
        FILE,
        "        for update of x;\n        v_judgement := payments.judge(p_event, p_unmatched_reason, v_group);\n",
        "        for update of x;\n",
        ("test_operators_word_on_a_case_that_names",),
    ),
    Mutant(
        "inner-part-callable",
        "the decision itself is anybody's",
        FILE,
        "revoke execute on function payments.reconcile(payments.stripe_events, text)\n"
        "from public, anon, authenticated, service_role;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "event-inserted-by-place",
        "a column that the shop has added to the events, with a default, stops every payment",
        FILE,
        "insert into payments.stripe_events (\n"
        + "".join(f"            {column},\n" for column in EVENT_COLUMNS[:-1])
        + f"            {EVENT_COLUMNS[-1]}\n        )\n        values (\n"
        + "".join(f"            v_event.{column},\n" for column in EVENT_COLUMNS[:-1])
        + f"            v_event.{EVENT_COLUMNS[-1]}\n        )\n",
        "insert into payments.stripe_events\n        values (v_event.*)\n",
        ("test_whatever_a_shop_adds",),
    ),
    Mutant(
        "account-not-kept",
        "an event does not keep its account",
        FILE,
        "            v_event.outcome,\n            v_event.account\n",
        "            v_event.outcome,\n            null\n",
        ("test_account_of_an_event_is_kept",),
    ),
    Mutant(
        "twin-case-stays-open",
        "a payment that is applied closes the case of its own event only",
        FILE,
        "                    and (x.stripe_event_id = v_event.id or v_event.outcome = 'applied');",
        "                    and x.stripe_event_id = v_event.id;",
        ("test_payment_that_is_applied_closes",),
    ),
    Mutant(
        "twin-closes-every-case",
        "an event that only repeats a payment closes the cases of its other events",
        FILE,
        "                    and (x.stripe_event_id = v_event.id or v_event.outcome = 'applied');",
        "                    and true;",
        ("test_event_that_only_repeats", "test_histories_of_many_order_groups"),
    ),
    Mutant(
        "source-by-default-the-sweep",
        "a call without a source is the sweep's",
        FILE,
        "p_source text default 'webhook'",
        "p_source text default 'sweep'",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "isolation-without-the-exception",
        "plans prefer to read whole tables",
        FILE,
        "set random_page_cost = 1.1\nas $$\ndeclare\n    v_event payments.stripe_events;\n    v_group",
        "as $$\ndeclare\n    v_event payments.stripe_events;\n    v_group",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "verdict-counts-one-order",
        "the verdict of a twin tells the orders of the group",
        FILE,
        "return payments.verdict(p_event.order_group_id, p_event.id, 'already_paid');",
        "return payments.verdict(p_event.order_group_id, p_event.id, 'already_paid', null, v_judgement.orders);",
        ("test_replays_twins_and_closed_cases_are_answered_without_counts",),
    ),
    Mutant(
        "erased-metadata-come-back",
        "what was erased comes back with the next event",
        FILE,
        "        p_event.session_metadata := '{}';\n",
        "        null;\n",
        ("test_erased_metadata_do_not_come_back",),
    ),
    Mutant(
        "erased-metadata-come-back-without-a-group",
        "what was erased comes back with an event that only names the group",
        FILE,
        "coalesce(p_event.order_group_id, v_named_id)",
        "p_event.order_group_id",
        ("test_erased_metadata_do_not_come_back",),
    ),
    Mutant(
        "event-without-a-group-waits-for-no-erasure",
        "an event that only names the group keeps its metadata beside an erasure",
        FILE,
        "        where g.id = v_named_id\n        for share;",
        "        where g.id = v_named_id;",
        ("test_erasure_and_payment_wait",),
    ),
    Mutant(
        "collision-copies-metadata",
        "a collision keeps a copy of the metadata of another group's event",
        FILE,
        "payments.describe_event(e) - 'session_metadata'",
        "payments.describe_event(e)",
        ("test_evidence.py",),
    ),
)
