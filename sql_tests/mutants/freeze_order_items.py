"""Faults of the migration freeze_order_items."""

from __future__ import annotations

from sql_tests.mutants.killers import FIRST, FROZEN
from sql_tests.mutants.mutant import Mutant

FILE = "freeze_order_items"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "item-changeable",
        "an item of a settled group may be changed",
        FILE,
        "before insert or update or delete on public.order_items",
        "before insert or delete on public.order_items",
        (FROZEN,),
    ),
    Mutant(
        "item-removable",
        "an item of a settled group may be deleted",
        FILE,
        "before insert or update or delete on public.order_items",
        "before insert or update on public.order_items",
        (FROZEN,),
    ),
    Mutant(
        "item-leaves-its-order",
        "an item may move to another order",
        FILE,
        "if (new.id, new.order_id) is distinct from (old.id, old.order_id) then",
        "if new.id is distinct from old.id then",
        ("test_children_stay_with_their_parents",),
    ),
    Mutant(
        "trigger-runs-as-the-shop",
        "the guard of the items runs with the shop's rights, which cannot lock a group",
        FILE,
        "returns trigger\nlanguage plpgsql\nvolatile\nsecurity definer\nset search_path = ''\nas $$\ndeclare\n"
        "    v_order_group_id pg_catalog.uuid;",
        "returns trigger\nlanguage plpgsql\nvolatile\nsecurity invoker\nset search_path = ''\nas $$\ndeclare\n"
        "    v_order_group_id pg_catalog.uuid;",
        (FIRST,),
    ),
)
