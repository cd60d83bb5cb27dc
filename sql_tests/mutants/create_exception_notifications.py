"""Faults of the migration create_exception_notifications."""

from __future__ import annotations

from sql_tests.mutants.killers import STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_exception_notifications"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "claimed-by-two",
        "two who claim at the same time both tell the address",
        FILE,
        "                where n.sent_at is null and n.claimed_until < clock_timestamp()\n            returning",
        "            returning",
        ("test_two_who_claim_at_once",),
    ),
    Mutant(
        "looking-claims",
        "who only looks takes what others shall tell",
        FILE,
        "    if p_seconds > 0 then\n        -- In one order",
        "    if true then\n        -- In one order",
        ("test_looking_writes_nothing",),
    ),
    Mutant(
        "told-for-ever",
        "an exception that is opened again is not told again",
        FILE,
        "when (new.status <> old.status)",
        "when (false)",
        ("test_an_exception_that_opens_again_is_told_again",),
    ),
    Mutant(
        "claimed-for-ever",
        "what a run that died had claimed is told by nobody",
        FILE,
        "or (n.sent_at is null and n.claimed_until < clock_timestamp()))",
        ")",
        ("test_a_claim_ends",),
    ),
    Mutant(
        "failure-is-told",
        "an address that could not be told counts as told",
        FILE,
        "    if p_is_sent then\n",
        "    if true then\n",
        ("test_what_could_not_be_told_is_given_back",),
    ),
    Mutant(
        "notifications-claimed-by-anybody",
        "everybody may claim notifications",
        FILE,
        "claim_exception_notifications(text, integer) from public, anon, authenticated;",
        "claim_exception_notifications(text, integer) from anon;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
    Mutant(
        "claim-exception-notifications-serialized-away",
        "claim_exception_notifications answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'a payment exception was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'a payment exception was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
    Mutant(
        "finish-exception-notifications-serialized-away",
        "finish_exception_notifications answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'a notification was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'a notification was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
)
