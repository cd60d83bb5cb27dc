"""Faults of the migration create_order_status_changes."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_order_status_changes"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "steps-rewritable",
        "a step that was taken may be rewritten",
        FILE,
        "create trigger order_status_changes_is_append_only\nbefore update or delete or truncate on",
        "create trigger order_status_changes_is_append_only\nbefore delete or truncate on",
        ("test_history_cannot_be_rewritten",),
    ),
    Mutant(
        "steps-rewritable-by-replicas",
        "whoever replicates may rewrite the steps",
        FILE,
        "alter table public.order_status_changes enable always trigger order_status_changes_is_append_only;\n",
        "",
        (
            "test_history_cannot_be_rewritten",
            HEALTHY,
        ),
    ),
    Mutant(
        "steps-of-all-sellers",
        "a member sees the steps of every seller",
        FILE,
        "    seller_id = any(array(\n        select m.seller_id\n        from public.seller_members as m\n"
        "        where m.user_id = (select auth.uid())\n",
        "    seller_id = any(array(\n        select m.seller_id\n        from public.seller_members as m\n",
        (
            "test_change_is_read_by",
            HEALTHY,
        ),
    ),
    Mutant(
        "steps-of-no-buyer",
        "a buyer does not see the steps of their orders",
        FILE,
        "g.buyer_id = (select auth.uid())",
        "g.buyer_id is null",
        ("test_change_is_read_by",),
    ),
    Mutant(
        "steps-without-policies",
        "row level security of the steps is off",
        FILE,
        "alter table public.order_status_changes enable row level security;\n",
        "",
        ("test_change_is_read_by",),
    ),
    Mutant(
        "steps-unrevoked",
        "older projects' automatic grants on the steps stay",
        FILE,
        "revoke all on table public.order_status_changes from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "nobody-took-the-step",
        "a member's step is put down to the role",
        FILE,
        "coalesce(payments.calling_user(), payments.calling_role())",
        "payments.calling_role()",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "owner-took-every-step",
        "a step is put down to the owner of the function that took it",
        FILE,
        "coalesce(nullif(current_setting('role'), 'none'), session_user::pg_catalog.text)",
        "current_user::pg_catalog.text",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "step-without-a-move",
        "a step may lead from a status to itself",
        FILE,
        "check (from_status <> to_status)",
        "check (from_status is not null)",
        ("order_status_changes_is_a_step_check",),
    ),
    Mutant(
        "step-without-a-seller",
        "an order's step may be without its seller",
        FILE,
        "check ((order_id is null) = (seller_id is null))",
        "check (order_id is null or seller_id is not null or true)",
        ("order_status_changes_order_has_its_seller_check",),
    ),
)
