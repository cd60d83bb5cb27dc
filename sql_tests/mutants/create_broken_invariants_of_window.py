"""Faults of the migration create_broken_invariants_of_window."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_broken_invariants_of_window"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "window-without-steps",
        "a group that took a step in the window is not checked for it",
        FILE,
        "        where c.changed_at >= p_since and c.changed_at < p_until\n",
        "        where false\n",
        ("test_fault_is_named_by_its_invariant",),
    ),
    Mutant(
        "window-without-the-waiting",
        "a group that waits is not checked",
        FILE,
        "where g.status = 'pending' and g.created_at >= p_since",
        "where false and g.created_at >= p_since",
        ("test_fault_is_named_by_its_invariant",),
    ),
    Mutant(
        "window-without-earlier-stock",
        "stock that was taken before the window is missed",
        FILE,
        "            union all\n            select l.*\n            from window_items as i\n"
        "            inner join public.inventory_ledger as l on i.id = l.order_item_id\n",
        "",
        ("test_step_of_this_window",),
    ),
    Mutant(
        "window-counts-stock-twice",
        "stock that was taken in the window counts twice",
        FILE,
        "and (l.order_item_id is null or l.order_item_id not in (select i.id from window_items as i))\n",
        "",
        ("test_checks_hold_on_healthy_data",),
    ),
)
