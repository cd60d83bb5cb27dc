"""Faults of the migration create_claim_order_group."""

from __future__ import annotations

from sql_tests.mutants.killers import STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_claim_order_group"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "claim-without-lock",
        "two buyers at once both get a guest's group",
        FILE,
        "v_status := payments.lock_order_group(p_order_group_id);",
        "v_status := (select g.status from public.order_groups as g where g.id = p_order_group_id);",
        ("test_of_two_buyers_at_once",),
    ),
    Mutant(
        "claim-of-no-group",
        "a group that does not exist is claimed with success",
        FILE,
        "        when v_status is null then\n            v_reason := 'order_group_not_found';\n",
        "",
        ("test_neither_an_unknown_group",),
    ),
    Mutant(
        "claim-by-nobody",
        "a group is claimed for nobody, and by nobody ever after",
        FILE,
        "        when p_buyer_id is null then\n            v_reason := 'buyer_not_found';\n",
        "",
        ("test_neither_an_unknown_group",),
    ),
    Mutant(
        "claimed-twice",
        "the buyer who has the group is told that another one has",
        FILE,
        "        when v_buyer_id = p_buyer_id then\n            v_outcome := 'already_claimed';\n",
        "",
        ("test_guests_group_is_claimed_once",),
    ),
    Mutant(
        "forgotten-buyer-inherited",
        "the group of a deleted account goes to whoever claims it",
        FILE,
        "when v_buyer_since is not null then",
        "when v_buyer_id is not null then",
        ("test_group_whose_buyer_deleted",),
    ),
    Mutant(
        "claim-without-time",
        "a claimed group does not know since when it has its buyer",
        FILE,
        "set\n                    buyer_id = p_buyer_id,\n                    buyer_since = clock_timestamp()\n",
        "set buyer_id = p_buyer_id\n",
        ("test_guests_group_is_claimed_once",),
    ),
    Mutant(
        "every-key-is-the-buyers",
        "any foreign key that a claim violates is a missing buyer",
        FILE,
        "if v_constraint <> 'order_groups_buyer_id_fkey' then",
        "if false then",
        ("test_foreign_key_of_the_shops_own",),
    ),
    Mutant(
        "missing-buyer-raised",
        "a buyer who does not exist is an error instead of an answer",
        FILE,
        "if v_constraint <> 'order_groups_buyer_id_fkey' then",
        "if true then",
        ("test_neither_an_unknown_group",),
    ),
    Mutant(
        "everybody-claims",
        "any signed-in user may claim any guest's group",
        FILE,
        "grant execute on function public.claim_order_group(uuid, uuid) to service_role;",
        "grant execute on function public.claim_order_group(uuid, uuid) to service_role, authenticated;",
        ("test_catalogue_holds_exactly_the_matrix",),
    ),
    Mutant(
        "claiming-waits-for-ever",
        "claiming waits for a lock as long as the session lets it",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "claim-order-group-serialized-away",
        "claim_order_group answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'the order group was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'the order group was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
)
