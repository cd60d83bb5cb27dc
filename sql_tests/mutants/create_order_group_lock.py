"""Faults of the migration create_order_group_lock."""

from __future__ import annotations

from sql_tests.mutants.killers import FROZEN, MATRIX, RACES
from sql_tests.mutants.mutant import Mutant

FILE = "create_order_group_lock"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "edits-take-no-lock",
        "an edit of a child does not lock the group",
        FILE,
        "    where g.id = p_order_group_id\n    for update;",
        "    where g.id = p_order_group_id;",
        ("test_edit_waits_for_the_payment", RACES),
    ),
    Mutant(
        "editor-outwaits-the-payment",
        "an editor that holds a child waits so long that the payment becomes a deadlock's victim",
        FILE,
        "set lock_timeout = '900ms'",
        "set lock_timeout = '9s'",
        ("test_race_failures.py",),
    ),
    Mutant(
        "cancelled-is-editable",
        "only paid groups are frozen against changes of their children",
        FILE,
        "if p_status <> 'pending' then",
        "if p_status = 'paid' then",
        (FROZEN,),
    ),
    Mutant(
        "lock-function-callable",
        "the function that locks groups is anybody's",
        FILE,
        "revoke execute on function payments.lock_order_group(uuid) from public, anon, authenticated, service_role;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "silent-lock",
        "an edit locks its group without leaving a trace for a payment with an older snapshot",
        FILE,
        "    if v_status = 'pending' and not v_is_ours then",
        "    if false then",
        ("test_item_added_before_the_payment",),
    ),
    Mutant(
        "unknown-status-is-frozen",
        "an order of a group that does not exist is frozen",
        FILE,
        "if p_status <> 'pending' then",
        "if p_status is distinct from 'pending' then",
        ("test_constraint_refuses_what_it_is_for",),
    ),
)
