"""Faults of the migration create_advance_order."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX, STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_advance_order"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "member-moves-any-order",
        "a member moves another seller's order",
        FILE,
        "where m.seller_id = o.seller_id and m.user_id::pg_catalog.text = payments.calling_user()",
        "where m.user_id::pg_catalog.text = payments.calling_user()",
        ("test_order_of_another_seller_is_not_found",),
    ),
    Mutant(
        "everybody-moves-orders",
        "whoever is signed in moves any order",
        FILE,
        "payments.calling_role() = 'service_role'",
        "payments.calling_role() <> 'anon'",
        ("test_order_of_another_seller_is_not_found",),
    ),
    Mutant(
        "server-moves-nothing",
        "the shop's server moves no order",
        FILE,
        "payments.calling_role() = 'service_role'",
        "false",
        ("test_order_moves_one_step_on",),
    ),
    Mutant(
        "advance-skips-a-step",
        "a member may ship an order that was not fulfilled",
        FILE,
        "('fulfilled', 'shipped'), ",
        "('fulfilled', 'shipped'), ('paid', 'shipped'), ",
        ("test_order_moves_one_step_on",),
    ),
    Mutant(
        "advance-refunds",
        "a member refunds an order",
        FILE,
        "(('paid', 'fulfilled'), ",
        "(('paid', 'refunded'), ('paid', 'fulfilled'), ",
        ("test_order_moves_one_step_on",),
    ),
    Mutant(
        "visitors-move-orders",
        "visitors may call the function that moves orders",
        FILE,
        "revoke execute on function public.advance_order(uuid, text) from public, anon;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "advance-order-serialized-away",
        "advance_order answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'the order was changed by a rival'\n            using errcode = 'lock_not_available'",
        "        raise exception 'the order was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
)
