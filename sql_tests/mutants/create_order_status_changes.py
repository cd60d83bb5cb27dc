"""Faults of the migration create_order_status_changes."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX, POLICIES
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
            POLICIES,
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
    Mutant(
        "step-without-its-time",
        "a step need not say when it was taken",
        FILE,
        "    changed_at timestamptz not null,",
        "    changed_at timestamptz,",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "step-without-its-author",
        "a step need not say who took it",
        FILE,
        "    changed_by text not null,",
        "    changed_by text,",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "older-claims-unread",
        "the caller is not told from the setting of older Data APIs",
        FILE,
        "        nullif(current_setting('request.jwt.claim.sub', true), ''),\n",
        "",
        ("test_step_is_taken_in_the_name_that_the_session_bears",),
    ),
    Mutant(
        "no-claims-are-an-error",
        "a session without claims cannot take a step",
        FILE,
        "nullif(current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb",
        "current_setting('request.jwt.claims')::pg_catalog.jsonb",
        ("test_step_is_taken_in_the_name_that_the_session_bears",),
    ),
    Mutant(
        "empty-claims-are-an-error",
        "a session whose claims are empty cannot take a step",
        FILE,
        "nullif(current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb",
        "current_setting('request.jwt.claims', true)::pg_catalog.jsonb",
        ("test_step_is_taken_in_the_name_that_the_session_bears",),
    ),
    Mutant(
        "no-role-is-none",
        "who has taken no role is called none",
        FILE,
        "coalesce(nullif(current_setting('role'), 'none'), session_user::pg_catalog.text)",
        "current_setting('role')",
        ("test_step_of_a_direct_session_bears_its_login",),
    ),
    Mutant(
        "seller-steps-index-missing",
        "a member's steps are found by reading all",
        FILE,
        "create index order_status_changes_seller_id_idx on public.order_status_changes (seller_id);\n",
        "",
        ("test_each_index_is_there_in_its_form",),
    ),
)
