"""Faults of the migration create_reopen_payment_exception."""

from __future__ import annotations

from sql_tests.mutants.killers import STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_reopen_payment_exception"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "second-word-replaces-the-first",
        "only the last of the former words is kept",
        FILE,
        "coalesce(x.details -> 'reopened', '[]'::pg_catalog.jsonb) || jsonb_build_object(",
        "'[]'::pg_catalog.jsonb || jsonb_build_object(",
        ("test_reopened",),
    ),
    Mutant(
        "what-was-applied-opens-again",
        "a case that its payment closed may be reopened",
        FILE,
        "v_exception.status <> 'resolved' or v_exception.resolution = 'reconciled'",
        "v_exception.status <> 'resolved'",
        ("test_only_an_operators_word",),
    ),
    Mutant(
        "open-case-opens-again",
        "an open case may be reopened",
        FILE,
        "v_exception.status <> 'resolved' or v_exception.resolution = 'reconciled'",
        "v_exception.resolution = 'reconciled'",
        ("test_only_an_operators_word",),
    ),
    Mutant(
        "twin-stays-refunded",
        "the payment's other events stay closed as refunded",
        FILE,
        "        or (\n            v_exception.resolution = 'refunded'\n            and x.resolution = 'refunded'",
        "        or (\n            false",
        ("test_reopened_refund",),
    ),
    Mutant(
        "every-refund-opens",
        "reopening one payment's refund opens those of the group's other payments",
        FILE,
        "                x.checkout_session_id = v_exception.checkout_session_id\n",
        "                x.checkout_session_id is not null\n",
        ("test_reopened_refund",),
    ),
    Mutant(
        "reopening-without-the-groups-lock",
        "who reopens a case does not take the group's lock",
        FILE,
        "    perform payments.lock_order_group(x.order_group_id)\n    from payments.exceptions as x\n"
        "    where x.id = p_exception_id;\n",
        "",
        ("test_reopening_waits_for_the_groups_lock",),
    ),
    Mutant(
        "reopening-waits-for-ever",
        "who reopens a case waits for a lock as long as the session lets them",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "reopened-by-nobody",
        "a case may be reopened without a name",
        FILE,
        "btrim(coalesce(p_by, '')) = ''\n        or ",
        "",
        ("test_who_reopens_must_say",),
    ),
    Mutant(
        "reopened-for-nothing",
        "a case may be reopened without a reason",
        FILE,
        " or btrim(coalesce(p_note, '')) = ''",
        "",
        ("test_who_reopens_must_say",),
    ),
    Mutant(
        "reopen-payment-exception-serialized-away",
        "reopen_payment_exception answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'the payment exception was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'the payment exception was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
    Mutant(
        "boundless-word-of-a-reopening",
        "a reopening may bear a text of any length",
        FILE,
        "        or length(p_note) > v_longest_note\n",
        "",
        ("test_what_a_person_says",),
    ),
)
