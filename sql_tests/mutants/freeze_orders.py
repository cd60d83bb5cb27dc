"""Faults of the migration freeze_orders."""

from __future__ import annotations

from sql_tests.mutants.killers import FROZEN
from sql_tests.mutants.mutant import Mutant

FILE = "freeze_orders"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "order-leaves-its-group",
        "an order may move to another group",
        FILE,
        "if (new.id, new.order_group_id) is distinct from (old.id, old.order_group_id) then",
        "if new.id is distinct from old.id then",
        ("test_children_stay_with_their_parents",),
    ),
    Mutant(
        "order-removable",
        "an order of a settled group may be deleted",
        FILE,
        "before insert or delete on public.orders",
        "before insert on public.orders",
        (FROZEN,),
    ),
    Mutant(
        "order-addable",
        "an order may be added to a settled group",
        FILE,
        "before insert or delete on public.orders",
        "before delete on public.orders",
        (FROZEN,),
    ),
    Mutant(
        "order-total-changeable",
        "the total of a settled group's order may be changed",
        FILE,
        "before update of id, order_group_id, seller_id, total_amount on public.orders",
        "before update of id, order_group_id, seller_id on public.orders",
        (FROZEN,),
    ),
    Mutant(
        "order-skips-a-step",
        "an order may be shipped that was not fulfilled",
        FILE,
        "('fulfilled', 'shipped'), ",
        "('fulfilled', 'shipped'), ('paid', 'shipped'), ",
        ("test_frozen.py",),
    ),
    Mutant(
        "order-never-arrives",
        "a shipped order cannot be delivered",
        FILE,
        ", ('shipped', 'delivered'))",
        ")",
        ("test_frozen.py", "test_replay_after_fulfilment"),
    ),
    Mutant(
        "order-paid-at-changes-on-its-way",
        "a step forward may change when the order was paid",
        FILE,
        "    elsif new.paid_at is not distinct from old.paid_at then",
        "    elsif true then",
        ("test_step_forward_cannot_change",),
    ),
    Mutant(
        "shop-settles-orders",
        "the shop may refund orders by itself",
        FILE,
        ":= has_table_privilege(current_user, tg_relid, 'update');",
        ":= has_table_privilege(current_user, tg_relid, 'select');",
        ("test_frozen.py",),
    ),
    Mutant(
        "order-without-its-group",
        "an order may be paid while its group is pending",
        FILE,
        "new.status in ('paid', 'cancelled') and new.status = v_group_status then",
        "new.status in ('paid', 'cancelled') then",
        ("test_shop_cannot_settle_a_pending_order",),
    ),
    Mutant(
        "delivered-is-final",
        "a delivered order cannot be refunded",
        FILE,
        "old.status in ('paid', 'fulfilled', 'shipped', 'delivered')",
        "old.status in ('paid', 'fulfilled', 'shipped')",
        ("test_owner_can_refund_an_order",),
    ),
    Mutant(
        "order-paid-at-unguarded",
        "when an order was paid may be changed alone",
        FILE,
        "before update of status, paid_at on public.orders",
        "before update of status on public.orders",
        (FROZEN,),
    ),
    Mutant(
        "order-total-never-looked-at",
        "a change of an order's total alone is taken for none",
        FILE,
        "        and (new.id, new.order_group_id, new.seller_id, new.total_amount)\n"
        "        is not distinct from (old.id, old.order_group_id, old.seller_id, old.total_amount)\n",
        "        and (new.id, new.order_group_id, new.seller_id)\n"
        "        is not distinct from (old.id, old.order_group_id, old.seller_id)\n",
        (FROZEN,),
    ),
    Mutant(
        "order-paid-at-never-looked-at",
        "a change of when an order was paid is taken for none",
        FILE,
        "    if (new.status, new.paid_at) is not distinct from (old.status, old.paid_at) then",
        "    if new.status is not distinct from old.status then",
        (FROZEN,),
    ),
    Mutant(
        "order-written-anew-is-a-change",
        "a writer who sets all columns of a settled order to what they are is refused",
        FILE,
        "        and (new.id, new.order_group_id, new.seller_id, new.total_amount)\n"
        "        is not distinct from (old.id, old.order_group_id, old.seller_id, old.total_amount)\n",
        "        and false\n",
        ("test_writing_a_settled_order_as_it_is_changes_nothing",),
    ),
    Mutant(
        "order-status-written-anew-is-a-change",
        "a writer who sets a settled order's status to what it is is refused",
        FILE,
        "    if (new.status, new.paid_at) is not distinct from (old.status, old.paid_at) then",
        "    if false then",
        ("test_writing_a_settled_order_as_it_is_changes_nothing",),
    ),
)
