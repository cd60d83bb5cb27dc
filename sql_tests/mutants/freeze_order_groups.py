"""Faults of the migration freeze_order_groups."""

from __future__ import annotations

from sql_tests.mutants.killers import FROZEN
from sql_tests.mutants.mutant import Mutant

FILE = "freeze_order_groups"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "shop-starts-paid",
        "whoever may read the table may start a group as paid",
        FILE,
        "not has_table_privilege(current_user, tg_relid, 'update') then",
        "not has_table_privilege(current_user, tg_relid, 'select') then",
        ("test_shop_inserts_pending_groups",),
    ),
    Mutant(
        "cancelled-becomes-refunded",
        "a group that nobody paid may become refunded",
        FILE,
        "if old.status = 'paid' and new.status = 'refunded' then",
        "if new.status = 'refunded' then",
        ("test_group_that_nobody_paid_cannot",),
    ),
    Mutant(
        "another-buyer",
        "a settled group may get another buyer",
        FILE,
        "        if new.buyer_id is null then\n            v_allowed.buyer_id := null;\n        end if;\n",
        "        v_allowed.buyer_id := new.buyer_id;\n",
        (FROZEN,),
    ),
    Mutant(
        "buyer-cannot-leave",
        "an account that has bought cannot be deleted",
        FILE,
        "        if new.buyer_id is null then\n            v_allowed.buyer_id := null;\n        end if;\n",
        "",
        ("test_deleted_buyer_is_forgotten",),
    ),
    Mutant(
        "settled-group-removable",
        "a settled group may be deleted",
        FILE,
        "before update or delete on public.order_groups",
        "before update on public.order_groups",
        (FROZEN,),
    ),
    Mutant(
        "cancelled-group-changeable",
        "a cancelled group may be changed",
        FILE,
        "for each row when (old.status <> 'pending')",
        "for each row when (old.status = 'paid')",
        (FROZEN,),
    ),
)
