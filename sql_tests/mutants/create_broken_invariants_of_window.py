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
        ("test_window_checks_what_happened_in_it",),
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
        "                not exists (\n                    select 1\n                    from window_moves",
        "                false and not exists (\n                    select 1\n                    from window_moves",
        ("test_step_of_this_window",),
    ),
    Mutant(
        "window-counts-stock-twice",
        "stock that was taken in the window counts twice",
        FILE,
        "                    where l.order_item_id = i.id and l.entry_type = 'order_commit'\n                )",
        "                    where false\n                )",
        ("test_checks_hold_on_healthy_data",),
    ),
    Mutant(
        "window-without-returns",
        "a group whose goods came back in the window is not checked for it",
        FILE,
        "        where l.created_at >= p_since and l.created_at < p_until and l.entry_type = 'order_return'\n",
        "        where false\n",
        ("test_window_checks_what_happened_in_it",),
    ),
    Mutant(
        "window-without-earlier-returns",
        "goods that came back before the window are missed",
        FILE,
        "                    and not (r.created_at >= $3 and r.created_at < $4)\n",
        "                    and false\n",
        ("test_window_counts_what_came_back_of_an_item_before_it",),
    ),
    Mutant(
        "window-counts-returns-twice",
        "goods that came back in the window count twice",
        FILE,
        "                    and not (r.created_at >= $3 and r.created_at < $4)\n",
        "",
        ("test_window_counts_what_came_back_of_an_item_before_it",),
    ),
)
