"""Faults in reading a payment's parameters."""

from __future__ import annotations

from sql_tests.mutants.killers import SPOILT
from sql_tests.mutants.mutant import Mutant

FILE = "create_reconcile_order_group_payment"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "group-optional",
        "a payment may name neither a group nor a reason why not",
        FILE,
        "elsif (p_order_group_id is null) <> (p_unmatched_reason is not null) then",
        "elsif p_order_group_id is not null and p_unmatched_reason is not null then",
        ("test_call_that_no_relay_would_make",),
    ),
    Mutant(
        "unmatched-reason-unknown",
        "any word is a reason why there is no group",
        FILE,
        "where r.reason = p_unmatched_reason and r.outcome = 'unmatched'",
        "where r.outcome = 'unmatched'",
        ("test_call_that_no_relay_would_make",),
    ),
    Mutant(
        "currency-by-letter",
        "the currency is compared with its case",
        FILE,
        "nullif(upper(btrim(p_currency)), '')",
        "nullif(btrim(p_currency), '')",
        ("test_currency_is_compared_without_case",),
    ),
    Mutant(
        "blank-session",
        "a session id may be blank",
        FILE,
        "nullif(btrim(p_checkout_session_id), '')",
        "btrim(p_checkout_session_id)",
        ("test_blank_is_not_an_id",),
    ),
    Mutant(
        "blank-intent",
        "a blank payment intent is one, and two free groups collide on it",
        FILE,
        "nullif(btrim(p_payment_intent_id), '')",
        "btrim(p_payment_intent_id)",
        ("test_blank_payment_intent_is_none",),
    ),
    Mutant(
        "no-number-is-an-amount",
        "NaN and infinity are amounts",
        FILE,
        "case when p_amount not in ('NaN', 'Infinity', '-Infinity') then p_amount end",
        "p_amount",
        (SPOILT,),
    ),
    *(
        Mutant(name, claim, FILE, search, replace, ("test_call_that_no_relay_would_make",))
        for name, claim, search, replace in (
            ("long-ids", "ids of 256 characters are kept", "    ) > v_longest then", "    ) > v_longest + 1 then"),
            ("long-event-ids", "event ids have no bound", "        length(v_event.id),\n", ""),
            ("long-types", "types have no bound", "        length(v_event.type),\n", ""),
            ("long-session-ids", "session ids have no bound", "        length(v_event.checkout_session_id),\n", ""),
            ("long-intent-ids", "intent ids have no bound", "        length(v_event.payment_intent_id),\n", ""),
            ("long-accounts", "accounts have no bound", "        length(v_event.account),\n", ""),
            (
                "long-amounts",
                "amounts have no bound",
                "        length(v_event.amount::pg_catalog.text)\n",
                "        0\n",
            ),
            (
                "long-currency",
                "a currency may have 4 letters",
                "length(v_event.currency) > 3",
                "length(v_event.currency) > 4",
            ),
            (
                "much-metadata",
                "65537 bytes of metadata are kept",
                "> v_most_metadata then",
                "> v_most_metadata + 1 then",
            ),
            ("early-events", "an event of 1999 is kept", "between '2000-01-01", "between '1999-01-01"),
            ("late-events", "an event of 2100 is kept", "and '2100-01-01 00:00:00+00'", "and '2101-01-01 00:00:00+00'"),
        )
    ),
    Mutant(
        "session-with-blanks",
        "blanks around a session's id make it another session",
        FILE,
        "v_event.checkout_session_id := nullif(btrim(p_checkout_session_id), '');",
        "v_event.checkout_session_id := case when btrim(p_checkout_session_id) <> '' then p_checkout_session_id end;",
        ("test_payment_is_kept_without_the_blanks_around_its_words",),
    ),
    Mutant(
        "metadata-empty-array",
        "metadata that is missing becomes an empty array",
        FILE,
        "coalesce(p_session_metadata, '{}'::pg_catalog.jsonb)",
        "coalesce(p_session_metadata, '[]'::pg_catalog.jsonb)",
        ("test_case_of_nothing_sent_keeps_nothing_and_does_not_invent_it",),
    ),
)
