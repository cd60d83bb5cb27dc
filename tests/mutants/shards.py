"""Faults of the databases behind a router: `make shards-mutants` sows one at a time. The files are those of deploy/shards."""

# ruff: noqa: E501  a line for each fault reads as a table

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

_SHARDS = "tests/real_parts/test_shards.py::test_"
_CLAIMS = "tests/real_parts/test_shards_claims.py::test_"
_GROUPS = "tests/real_parts/test_shards_order_groups.py::test_"
_BACK = "tests/real_parts/test_shards_money_back.py::test_"
_GUARDS = "tests/real_parts/test_shards_guards.py::test_"
_AS_ONE = "tests/real_parts/test_shards_as_one.py::test_"

PAYS = (_SHARDS + "a_payment_pays_its_group_on_its_shard_and_comes_again_as_a_replay",)
OTHER = (_SHARDS + "what_paid_a_group_of_one_shard_pays_none_of_the_other_and_becomes_an_exception",)
RIVALS = (_SHARDS + "rivals_for_one_payment_on_two_shards_meet_at_the_claim",)
BATCH = (_SHARDS + "a_batch_is_split_by_shard_and_answered_in_its_own_order",)
SENT_AGAIN = (_SHARDS + "a_claim_whose_payment_did_not_follow_is_found_and_pays_when_it_is_sent_again",)
HOUR = (_SHARDS + "a_claim_that_nobody_relied_on_for_an_hour_is_given_up_and_another_group_is_paid",)
DEFERRED = (_SHARDS + "with_a_shard_away_a_batch_is_deferred_and_alone_the_other_shards_payments_pay",)
AWAY = (_SHARDS + "with_a_shard_away_nothing_that_needs_it_is_answered",)
REFUND = (_BACK + "a_refund_reaches_its_payment_before_and_after_it",)
DISPUTE = (_BACK + "a_dispute_reaches_its_payment_before_and_after_it",)
PLACES = (_CLAIMS + "a_key_has_the_same_shard_in_every_release",)
POWERS = (_CLAIMS + "there_are_two_four_or_eight_shards_and_never_three",)
GROUPLESS = (_CLAIMS + "money_that_names_no_group_is_kept_on_the_shard_of_its_intent_else_of_its_session",)
LOOSE = (_CLAIMS + "ids_are_read_as_one_database_reads_them",)
KEPT = (_CLAIMS + "what_is_kept_is_what_was_sent",)
STANDS = (_CLAIMS + "a_claim_whose_payment_was_seen_stands_for_ever",)
USELESS = (_CLAIMS + "an_intent_by_which_nothing_was_paid_is_given_up_and_pays_another_group",)
MINUTE = (_CLAIMS + "a_claim_is_relied_on_for_a_minute",)
GIVEN_UP = (_CLAIMS + "a_claim_that_was_given_up_pays_though_its_refusal_was_not_forgotten",)
FOLLOWS = (_BACK + "a_refund_waits_for_the_claim_of_its_payment_and_follows_it",)
GROUP = (_GROUPS + "what_begins_with_an_order_group_goes_to_its_shard",)
ALL = (_GROUPS + "what_is_asked_of_all_shards_is_told_of_all",)
EXPIRE = (_GROUPS + "order_groups_expire_on_each_shard",)
PRIVILEGES = (_GUARDS + "service_role_may_call_what_is_public_and_nobody_else_anything",)
UNSAFE = (_GUARDS + "what_is_unsafe_on_one_shard_is_found",)
READY = (_GUARDS + "the_router_is_as_ready_as_the_worst_of_the_shards",)
SWEEP = (_AS_ONE + "the_sweep_pays_what_was_claimed_and_never_paid_on_either_shard",)
SUMS = (_AS_ONE + "report_and_listing_are_the_sums_of_the_shards",)
LIST = (_AS_ONE + "a_list_of_exceptions_is_one_list",)
LINES = (_AS_ONE + "lines_are_those_of_the_shards_and_a_refund_that_came_first_is_one",)
ORDER = (_AS_ONE + "an_order_is_moved_and_given_up_wherever_it_lies",)
INVARIANTS = (_GUARDS + "the_invariants_across_shards_notice_what_is_spoiled",)

ROUTER = "router.sql"
READING = "router_reading.sql"
SHARD = "shard.sql"

_LISTED: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    # Which shard a key has
    ("another_hash", ROUTER, "md5(p_key), 1, 8)", "md5(p_key), 9, 8)", PLACES),
    ("small_exceptions_alone", ROUTER, "(p_exception_id & 2147483647)::pg_catalog.int4", "p_exception_id::pg_catalog.int4", PLACES),
    ("exception_of_the_other_shard", ROUTER, "(p_exception_id & 2147483647)", "(p_exception_id / 2 & 2147483647)", OTHER),
    ("three_shards", ROUTER, " or v_shards & (v_shards - 1) <> 0 then", " then", POWERS),
    ("shard_out_of_range", SHARD, "if p_number not between 0 and p_shards - 1 or p_shards", "if p_shards", POWERS),
    ("exceptions_of_one_number", SHARD, " * p_shards + p_number\n", " * p_shards\n", OTHER),
    # Where a payment goes
    ("payment_by_its_intent", ROUTER, "        shards.named_group(p_payment)::pg_catalog.text,\n        nullif(", "        nullif(", PAYS),
    ("unmatched_by_its_session", ROUTER, "        nullif(btrim(p_payment ->> 'p_payment_intent_id'), ''),\n", "", GROUPLESS),
    ("unmatched_by_its_intent_alone", ROUTER, "        btrim(p_payment ->> 'p_checkout_session_id'),\n        ''\n", "        ''\n", GROUPLESS),
    ("group_as_it_is_written", ROUTER, "translate(lower(p_payment ->> 'p_order_group_id'), '{}-', '')", "translate(p_payment ->> 'p_order_group_id', '-', '')", LOOSE),
    ("unmatched_lost", ROUTER, "        'p_unmatched_reason', p_unmatched_reason,\n", "", GROUPLESS),
    ("account_lost", ROUTER, "        'p_unmatched_reason', p_unmatched_reason,\n        'p_account', p_account\n", "        'p_unmatched_reason', p_unmatched_reason\n", KEPT),
    # Claims
    ("unclaimed", ROUTER, "shards.claim_for(jsonb_build_array(v_payment))", "'[]'", PAYS),
    ("unclaimed_together", ROUTER, "cross join shards.claim_for(p_payments) as c (claims)", "cross join (values ('[]'::pg_catalog.jsonb)) as c (claims)", PAYS),
    ("event_unclaimed", ROUTER, "        btrim(p.payment ->> 'p_stripe_event_id'),\n        btrim", "        btrim", PAYS + OTHER),
    ("session_unclaimed", ROUTER, "        btrim(p.payment ->> 'p_checkout_session_id'),\n        btrim(p.payment ->> 'p_payment_intent_id')\n    ]", "        btrim(p.payment ->> 'p_payment_intent_id')\n    ]", PAYS + OTHER),
    ("intent_unclaimed", ROUTER, "        btrim(p.payment ->> 'p_checkout_session_id'),\n        btrim(p.payment ->> 'p_payment_intent_id')\n    ]", "        btrim(p.payment ->> 'p_checkout_session_id')\n    ]", PAYS + OTHER),
    ("claimed_with_its_spaces", ROUTER, "        btrim(p.payment ->> 'p_payment_intent_id')\n    ]", "        p.payment ->> 'p_payment_intent_id'\n    ]", LOOSE),
    ("claimed_for_nobody", ROUTER, "g.order_group_id is not null and ", "", BATCH),
    ("claimed_on_the_groups_shard", ROUTER, "            array_agg(shards.place(w.id)) as places,\n            array_agg(w.id) as ids,\n            array_agg(w.order_group_id)", "            array_agg(shards.place(w.order_group_id::text)) as places,\n            array_agg(w.id) as ids,\n            array_agg(w.order_group_id)", OTHER),
    ("all_claims_on_one_shard", ROUTER, "    run on p_places;\n    select c.id, c.order_group_id, c.claimed_at, c.has_money_back", "    run on 0;\n    select c.id, c.order_group_id, c.claimed_at, c.has_money_back", PAYS),
    ("last_comer_claims", SHARD, "            set claimed_at = excluded.claimed_at\n            where c.order_group_id = excluded.order_group_id and not c.is_paid;", "            set order_group_id = excluded.order_group_id, claimed_at = excluded.claimed_at;", OTHER),
    ("rival_prolongs_the_claim", SHARD, "where c.order_group_id = excluded.order_group_id and not c.is_paid;", "where not c.is_paid;", HOUR),
    ("paid_claim_is_written_again", SHARD, "where c.order_group_id = excluded.order_group_id and not c.is_paid;", "where c.order_group_id = excluded.order_group_id;", STANDS),
    ("paid_claim_grows_old", SHARD, "            when not c.is_paid and (c.id", "            when (c.id", STANDS),
    ("claims_do_not_wait", SHARD, "        perform payments.lock_payment_intent(v_wanted.id);\n", "", RIVALS),
    ("claims_an_hour_good", SHARD, "constant interval := '1 minute'", "constant interval := '1 hour'", MINUTE),
    # A refused claim and its exception
    ("refusal_unnoted_alone", SHARD, "    perform shards.note_claims(jsonb_build_array(p_payment), p_claims);\n", "", OTHER),
    ("refusal_unnoted_together", SHARD, "    perform shards.note_claims(to_jsonb(p_payments), p_claims);\n", "", OTHER),
    ("refused_event_unnoted", SHARD, "                    btrim(p.payment ->> 'p_stripe_event_id'),\n", "", OTHER),
    ("refused_intent_unnoted", SHARD, "                    btrim(p.payment ->> 'p_checkout_session_id'),\n                    btrim(p.payment ->> 'p_payment_intent_id')\n", "                    btrim(p.payment ->> 'p_checkout_session_id')\n", OTHER),
    ("refused_for_ever", SHARD, "        where t.order_group_id <> excluded.order_group_id;", "        where false;", GIVEN_UP),
    ("let_in_though_taken", SHARD, "        return null;\n    end if;\n    return new;", "        return new;\n    end if;\n    return new;", OTHER),
    ("judged_without_the_refusals", SHARD, "            t.id in (p_event.id, p_event.checkout_session_id, p_event.payment_intent_id)\n", "            false\n", OTHER),
    # Many at once
    ("answers_as_they_come", ROUTER, "        select jsonb_agg(r.answer order by r.at)\n", "        select jsonb_agg(r.answer)\n", BATCH),
    ("positions_of_the_shard", SHARD, "        p_positions[a.place],\n        a.answer\n    from jsonb_array_elements(public.reconcile", "        a.place::integer,\n        a.answer\n    from jsonb_array_elements(public.reconcile", BATCH),
    ("batch_on_one_shard", ROUTER, "    run on p_places;\n    select r.at, r.answer from shards.reconcile_together", "    run on 0;\n    select r.at, r.answer from shards.reconcile_together", BATCH),
    ("foretold_by_one_shard", ROUTER, "    run on p_places;\n    select r.at, r.answer from shards.preview_together", "    run on 0;\n    select r.at, r.answer from shards.preview_together", BATCH),
    ("foretold_without_claims", ROUTER, "where w.order_group_id <> h.order_group_id\n", "where false\n", OTHER),
    ("more_than_32", ROUTER, "constant integer := 32;", "constant integer := 64;", BATCH),
    # A shard that is away
    ("one_failure_ends_the_batch", ROUTER, "    when invalid_parameter_value then\n        raise;\n    when others then\n", "    when invalid_parameter_value then\n        raise;\n    when division_by_zero then\n", DEFERRED),
    ("deferred_without_its_event", ROUTER, "p.payment ->> 'p_stripe_event_id',\n                    'orders_paid'", "null,\n                    'orders_paid'", DEFERRED),
    ("deferred_is_failed", ROUTER, "'outcome', 'deferred'", "'outcome', 'failed'", DEFERRED),
    ("away_is_a_fault_of_ours", ROUTER, "            using errcode = 'connection_failure';", "            using errcode = 'internal_error';", DEFERRED),
    ("payment_untranslated", ROUTER, "        shards.place_of(v_payment), v_payment, shards.claim_for(jsonb_build_array(v_payment))\n    );\nexception\n    when internal_error then\n", "        shards.place_of(v_payment), v_payment, shards.claim_for(jsonb_build_array(v_payment))\n    );\nexception\n    when division_by_zero then\n", DEFERRED),
    ("refund_untranslated", ROUTER, "    return v_verdict;\nexception\n    when internal_error then\n", "    return v_verdict;\nexception\n    when division_by_zero then\n", AWAY),
    ("cancel_untranslated", ROUTER, "(p_order_group_id, p_checkout_session_id);\nexception\n    when internal_error then\n", "(p_order_group_id, p_checkout_session_id);\nexception\n    when division_by_zero then\n", AWAY),
    ("ready_without_a_shard", READING, "    run on all;\n    target public.reconciliation_readiness;", "    run on 0;\n    target public.reconciliation_readiness;", AWAY),
    ("listing_of_one_shard", READING, "    run on all;\n    target public.list_payment_exceptions;", "    run on 0;\n    target public.list_payment_exceptions;", LIST),
    # Claims without a payment
    ("claims_of_one_shard_open", ROUTER, "    run on all;\n    select c.id, c.order_group_id, c.claimed_at from shards.open_claims", "    run on 1;\n    select c.id, c.order_group_id, c.claimed_at from shards.open_claims", SENT_AGAIN),
    ("paid_is_asked_of_the_claims_shard", READING, "select shards.place(g.id::pg_catalog.text)\n                from unnest(v_order_groups) with", "select shards.place(g.id::pg_catalog.text)\n                from unnest(v_ids) with", SENT_AGAIN),
    ("event_never_paid", SHARD, "(w.id = e.id or (e.outcome = 'applied' and w.id in (e.checkout_session_id, e.payment_intent_id)))", "e.outcome = 'applied' and w.id in (e.checkout_session_id, e.payment_intent_id)", SENT_AGAIN),
    ("known_has_paid", SHARD, "(e.outcome = 'applied' and w.id in (e.checkout_session_id, e.payment_intent_id))", "w.id in (e.checkout_session_id, e.payment_intent_id)", USELESS),
    ("unsettled", SHARD, "    set is_paid = true\n", "    set is_paid = false\n", STANDS),
    ("young_claim_is_released", SHARD, "clock_timestamp() - pg_catalog.interval '1 hour'", "clock_timestamp() - pg_catalog.interval '1 minute'", HOUR),
    ("paid_claim_is_released", SHARD, "        not c.is_paid\n        and c.claimed_at < clock", "        c.claimed_at < clock", STANDS),
    ("never_released", SHARD, "clock_timestamp() - pg_catalog.interval '1 hour'", "clock_timestamp() - pg_catalog.interval '2 hours'", HOUR),
    ("refusals_unforgotten", READING, "        perform shards.forget_taken(v_free);\n", "        null;\n", HOUR),
    ("forgotten_on_one_shard", ROUTER, "    run on all;\n    select t.id from shards.forget_taken", "    run on 0;\n    select t.id from shards.forget_taken", HOUR),
    # Money that goes back
    ("refund_by_its_own_id", ROUTER, "        shards.place(btrim(p_arguments ->> 'p_payment_intent_id')), p_kind, p_arguments\n", "        shards.place(p_arguments ->> 'id'), p_kind, p_arguments\n", REFUND),
    ("refund_stays_with_its_intent", ROUTER, "shards.record(shards.place(v_verdict ->> 'order_group_id'), p_kind", "shards.record(shards.place(p_arguments ->> 'p_payment_intent_id'), p_kind", REFUND),
    ("refund_misses_the_claim", SHARD, "    if v_holder is not null then\n", "    if false then\n", REFUND),
    ("refund_does_not_wait_for_the_claim", SHARD, "    perform payments.lock_payment_intent(v_intent);\n", "", FOLLOWS),
    ("early_refund_stays", ROUTER, "        where c.has_money_back\n", "        where not c.has_money_back\n", REFUND),
    ("early_refund_goes_to_its_intent", ROUTER, "perform shards.record(shards.place(v_early.order_group_id::pg_catalog.text),", "perform shards.record(shards.place(v_early.arguments ->> 'p_payment_intent_id'),", REFUND),
    ("early_dispute_unseen", SHARD, "            from payments.disputes as d\n            where d.payment_intent_id = c.id\n", "            from payments.disputes as d\n            where false\n", DISPUTE),
    ("early_dispute_stays", SHARD, "        where d.payment_intent_id = any(p_ids)\n", "        where false\n", DISPUTE),
    ("dispute_is_a_refund", ROUTER, "shards.record_money_back('dispute',", "shards.record_money_back('refund',", DISPUTE),
    ("refund_without_its_event", SHARD, "            v_given.p_stripe_event_id\n        );\n    end if;\n", "            null\n        );\n    end if;\n", KEPT),
    ("refund_is_listed_twice", READING, "    select distinct on (m.id) m.*\n", "    select m.*\n", REFUND),
    ("refund_without_its_group", READING, "    order by m.id, m.order_group_id nulls last;", "    order by m.id, m.order_group_id nulls first;", DISPUTE),
    # Order groups and orders
    ("group_made_elsewhere", ROUTER, "    run on shards.place(p_order_group_id::text);\n$$;\ncreate or replace function shards.cancel", "    run on shards.place(p_buyer_id::text);\n$$;\ncreate or replace function shards.cancel", PAYS),
    ("cancelled_by_its_session", ROUTER, "    run on shards.place(p_order_group_id::text);\n    target public.cancel", "    run on shards.place(p_checkout_session_id);\n    target public.cancel", GROUP),
    ("funds_by_their_session", ROUTER, "    run on shards.place(p_order_group_id::text);\n    target public.note", "    run on shards.place(p_checkout_session_id);\n    target public.note", GROUP),
    ("claimed_by_its_buyer", ROUTER, "    run on shards.place(p_order_group_id::text);\n$$;\ncreate or replace function public.return", "    run on shards.place(p_buyer_id::text);\n$$;\ncreate or replace function public.return", GROUP),
    ("returned_by_its_refund", ROUTER, "    run on shards.place(p_order_group_id::text);\n$$;\ncreate or replace function public.explain", "    run on shards.place(p_refund_id);\n$$;\ncreate or replace function public.explain", GROUP),
    ("refunds_orders_of_one_shard", ROUTER, "    run on all;\n    target public.refund_order;", "    run on 0;\n    target public.refund_order;", ORDER),
    ("advances_orders_of_one_shard", ROUTER, "    run on all;\n    target public.advance_order;", "    run on 1;\n    target public.advance_order;", ORDER),
    ("answer_of_the_one_without_it", ROUTER, "is not distinct from 'order_not_found'", "is distinct from 'order_not_found'", ORDER),
    ("items_return_always", ROUTER, "shards.refund_order(p_order_id, p_note, p_return_items)", "shards.refund_order(p_order_id, p_note, true)", ORDER),
    ("groups_without_the_last_shard", ROUTER, "from generate_series(0, v_shards - 1) as n (number)", "from generate_series(1, v_shards - 1) as n (number)", SWEEP),
    # What is told of all of them
    ("limit_per_shard", READING, "    order by x.first_seen_at, x.id\n    limit p_limit;", "    order by x.first_seen_at, x.id;", LIST),
    ("every_page_is_the_first", READING, "p_reason, p_limit, p_before) as x", "p_reason, p_limit, null) as x", LIST),
    ("line_twice", READING, "select distinct on (l.line ->> 'kind', l.line ->> 'id', l.line ->> 'at') l.line", "select l.line", LINES),
    ("line_without_its_group", READING, "l.line ->> 'order_group_id' nulls last", "l.line ->> 'order_group_id' nulls first", LINES),
    ("report_of_one_shard", READING, "    run on all;\n    target public.payment_report;", "    run on 0;\n    target public.payment_report;", SUMS),
    ("report_of_the_largest", READING, "else coalesce(to_jsonb(sum(", "else coalesce(to_jsonb(max(", SUMS),
    ("money_of_the_largest", READING, "then to_jsonb(sum(", "then to_jsonb(max(", SUMS),
    ("currencies_added_up", READING, "'sellers', 'seller', 'seller_id', 'currency')", "'sellers', 'seller', 'seller_id')", SUMS),
    ("one_sound_shard_is_enough", READING, "bool_and((k.line -> 'ok')::pg_catalog.bool) as ok", "bool_or((k.line -> 'ok')::pg_catalog.bool) as ok", INVARIANTS),
    ("one_executable_shard_is_enough", READING, "bool_and((r.told -> 'can_execute')", "bool_or((r.told -> 'can_execute')", READY),
    ("anon_on_one_shard", READING, "bool_or((r.told -> 'anon_can_execute')", "bool_and((r.told -> 'anon_can_execute')", READY),
    ("newest_contract", READING, "min((r.told -> 'contract_version')", "max((r.told -> 'contract_version')", READY),
    ("exceptions_of_one_shard", READING, "sum(e.value::pg_catalog.int8) as cases", "max(e.value::pg_catalog.int8) as cases", READY),
    ("findings_of_one_shard", READING, "    run on all;\n    target public.security_findings;", "    run on 0;\n    target public.security_findings;", UNSAFE),
    ("groups_found_on_one_shard", READING, "    run on all;\n    target public.find_order_groups;", "    run on 0;\n    target public.find_order_groups;", ALL),
    ("expired_on_one_shard", READING, "    run on all;\n    target public.expire_order_groups;", "    run on 0;\n    target public.expire_order_groups;", EXPIRE),
    ("modes_of_the_largest", READING, "sum((e.value -> 'payments')::pg_catalog.int8) as payments", "max((e.value -> 'payments')::pg_catalog.int8) as payments", ALL),
    # Invariants
    ("two_groups_are_fine", READING, "having count(distinct f.order_group_id) > 1", "having count(distinct f.order_group_id) > 2", INVARIANTS),
    ("missing_claim_is_fine", READING, "c.order_group_id is distinct from p.order_group_id", "c.order_group_id <> p.order_group_id", INVARIANTS),
    ("any_claim_is_fine", READING, "c.order_group_id is distinct from p.order_group_id", "c.order_group_id is null", INVARIANTS),
    ("any_place_is_fine", READING, "f.shard <> shards.place(", "f.shard > 2 + shards.place(", INVARIANTS),
    ("broken_on_one_shard", ROUTER, "    run on all;\n    select b.shard", "    run on 0;\n    select b.shard", INVARIANTS),
    ("facts_of_events_alone", SHARD, "unnest(array[e.id, e.checkout_session_id, e.payment_intent_id]) with", "unnest(array[e.id, e.payment_intent_id]) with", INVARIANTS),
    ("facts_of_what_is_known", SHARD, "(i.place = 1 or e.outcome = 'applied')", "true", USELESS),
    # Who may call what
    ("open_to_everybody", READING, "        execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);\n", "", PRIVILEGES),
    ("open_to_anon", READING, "grant execute on function %s to service_role', v_function", "grant execute on function %s to service_role, anon', v_function", PRIVILEGES),
    ("shards_open_to_service_role", READING, "if v_function::text not like 'shards.%' then", "if v_function::text not like 'shards.connect(%' then", PRIVILEGES),
    ("acts_as_the_superuser", READING, "            execute format('alter function %s owner to postgres', v_function);\n", "            null;\n", PRIVILEGES),
    ("groups_open_to_anon", ROUTER, "    revoke all on public.order_groups from public, anon, authenticated, service_role;\n", "    grant select on public.order_groups to anon;\n", PRIVILEGES),
    ("schema_open_to_anon", ROUTER, "revoke all on schema shards from public, anon, authenticated;", "grant usage on schema shards to anon;", PRIVILEGES),
    ("claims_open_to_service_role", SHARD, "shards.claims, shards.taken, shards.settings from public, anon, authenticated, service_role;", "shards.claims, shards.taken, shards.settings from public, anon, authenticated;\ngrant select, delete on shards.claims to service_role;", PRIVILEGES),
    ("claims_without_policies", SHARD, "alter table shards.claims enable row level security;\n", "", PRIVILEGES),
    ("release_open_to_everybody", SHARD, "revoke execute on function shards.release_claims(text[]) from public, anon, authenticated;\n", "", PRIVILEGES),
    ("payment_as_its_caller", ROUTER, "    p_account text default null\n)\nreturns jsonb\nlanguage plpgsql\nvolatile\nsecurity definer\n", "    p_account text default null\n)\nreturns jsonb\nlanguage plpgsql\nvolatile\n", PAYS),
    ("path_of_the_caller", ROUTER, "    p_account text default null\n)\nreturns jsonb\nlanguage plpgsql\nvolatile\nsecurity definer\nset search_path = ''\n", "    p_account text default null\n)\nreturns jsonb\nlanguage plpgsql\nvolatile\nsecurity definer\n", PRIVILEGES),
    ("group_made_in_the_callers_path", ROUTER, "    p_reserve boolean default false\n)\nreturns jsonb\nlanguage plproxy\nsecurity definer\nset search_path = ''\n", "    p_reserve boolean default false\n)\nreturns jsonb\nlanguage plproxy\nsecurity definer\n", PRIVILEGES),
    ("claim_in_the_callers_path", SHARD, "language plpgsql\nvolatile\nsecurity definer\nset search_path = ''\nset lock_timeout = '3s'\nas $$\ndeclare\n    v_wanted pg_catalog.record;", "language plpgsql\nvolatile\nsecurity definer\nset lock_timeout = '3s'\nas $$\ndeclare\n    v_wanted record;", PRIVILEGES),
)  # fmt: skip
MUTANTS = tuple(
    Mutant(name, "", f"deploy/shards/{file}", search, replace, killed_by)
    for name, file, search, replace, killed_by in _LISTED
)
SAMPLE = ("last_comer_claims", "away_is_a_fault_of_ours")
"""What `make real-parts` tries; `make shards-mutants` tries all."""
