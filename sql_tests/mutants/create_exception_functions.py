"""Faults of the migration create_exception_functions."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX, STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_exception_functions"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "newest-first",
        "exceptions are listed newest first",
        FILE,
        "order by x.first_seen_at, x.id",
        "order by x.first_seen_at desc, x.id",
        ("test_open_exceptions_are_listed_oldest_first",),
    ),
    Mutant(
        "list-unordered",
        "exceptions are listed as they lie in the table",
        FILE,
        "    order by x.first_seen_at, x.id\n",
        "",
        ("test_case_that_came_again_keeps_its_place",),
    ),
    Mutant(
        "list-of-everything",
        "the list of open exceptions holds resolved ones",
        FILE,
        "(p_status = 'all' or x.status = p_status)",
        "true",
        ("test_lists_tell_open_from_resolved",),
    ),
    Mutant(
        "list-of-null",
        "no status is a status of which there is none",
        FILE,
        "if p_status is null or p_status not in",
        "if p_status not in",
        ("test_lists_tell_open_from_resolved",),
    ),
    Mutant(
        "resolved-as-reconciled",
        "an operator may claim that the function applied an event",
        FILE,
        "p_resolution not in ('refunded', 'fixed_by_hand', 'dismissed')",
        "p_resolution not in ('refunded', 'fixed_by_hand', 'dismissed', 'reconciled')",
        ("test_resolution_without_sense_is_refused",),
    ),
    Mutant(
        "resolved-by-nobody",
        "an operator need not say who",
        FILE,
        "elsif btrim(coalesce(p_resolved_by, '')) = '' or",
        "elsif p_resolved_by is null or",
        ("test_resolution_without_sense_is_refused",),
    ),
    Mutant(
        "resolved-twice",
        "a closed case may be closed again",
        FILE,
        "elsif v_exception.status <> 'open' then",
        "elsif v_exception.status is null then",
        ("test_exception_is_resolved_once",),
    ),
    Mutant(
        "resolution-without-the-groups-lock",
        "an operator does not take the group's lock",
        FILE,
        "    perform payments.lock_order_group(x.order_group_id)\n    from payments.exceptions as x\n"
        "    where x.id = p_exception_id;\n",
        "",
        argument="The lock of the case parts them too: payments.reconcile() locks a payment's cases, then judges anew.",
    ),
    Mutant(
        "resolution-without-the-cases-lock",
        "an operator does not lock the case",
        FILE,
        "    where x.id = p_exception_id\n    for update;",
        "    where x.id = p_exception_id;",
        ("test_two_operators_close_a_case_without_a_group",),
    ),
    Mutant(
        "resolution-waits-for-ever",
        "an operator waits for a lock as long as the session lets them",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "resolution-by-everybody",
        "signed-in users of older projects may close cases",
        FILE,
        "public.resolve_payment_exception(bigint, text, text, text) from public, anon, authenticated;",
        "public.resolve_payment_exception(bigint, text, text, text) from public, anon;",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "paid-and-refunded",
        "the case of money that has paid a group can be closed as refunded",
        FILE,
        "    elsif p_resolution = 'refunded' and v_exception.reason <> 'foreign_account' then",
        "    elsif false then",
        ("test_money_that_has_paid_a_group",),
    ),
    Mutant(
        "paid-and-refunded-by-intent",
        "the case of a payment intent that has paid a group can be closed as refunded",
        FILE,
        "                or e.payment_intent_id = v_exception.payment_intent_id\n",
        "",
        ("test_money_that_has_paid_a_group",),
    ),
    *(
        Mutant(
            f"listed-whatever-{column}",
            f"a list is not narrowed by {column}",
            FILE,
            f"        and ({parameter} is null or x.{column} ",
            f"        and (true or {parameter} is null or x.{column} ",
            ("test_a_list_holds_what_its_parameters_ask_for",),
        )
        for column, parameter in (
            ("id", "p_id"),
            ("stripe_event_id", "p_event"),
            ("checkout_session_id", "p_sessions"),
            ("reason", "p_reason"),
            ("first_seen_at", "p_before"),
        )
    ),
    Mutant(
        "listed-without-limit",
        "a list is longer than its limit",
        FILE,
        "    limit p_limit;",
        "    limit p_limit + 1;",
        ("test_a_list_holds_what_its_parameters_ask_for",),
    ),
    Mutant(
        "resolve-payment-exception-serialized-away",
        "resolve_payment_exception answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'the payment exception was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'the payment exception was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
    Mutant(
        "boundless-word-of-a-resolution",
        "a resolution may bear a text of any length",
        FILE,
        "    elsif length(p_note) > v_longest_note then",
        "    elsif false then",
        ("test_what_a_person_says",),
    ),
)
