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
        "(new.id, new.order_group_id, new.currency) is not distinct from (old.id, old.order_group_id, old.currency);",
        "(new.id, new.currency) is not distinct from (old.id, old.currency);",
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
        "(new.seller_id, new.total_amount, new.created_at)\n"
        "        is not distinct from (old.seller_id, old.total_amount, old.created_at)",
        "(new.seller_id, new.created_at)\n        is not distinct from (old.seller_id, old.created_at)",
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
        "('fulfilled', 'shipped'), ('shipped', 'delivered')",
        "('fulfilled', 'shipped')",
        (
            "test_frozen.py",
            "test_replay_after_fulfilment",
        ),
    ),
    Mutant(
        "order-paid-at-changes-on-its-way",
        "a step may change when the order was paid",
        FILE,
        "        when new.paid_at is distinct from old.paid_at then false\n",
        "",
        (
            "test_step_forward_cannot_change",
            "test_what_a_trigger_of_the_shop_writes",
            FROZEN,
        ),
    ),
    Mutant(
        "shop-settles-orders",
        "the shop may refund orders by itself",
        FILE,
        "for each row when (new.status = 'refunded' and old",
        "for each row when (new.status = 'returned' and old",
        ("test_frozen.py",),
    ),
    Mutant(
        "granted-all-refunds-orders",
        "whoever may update the table, by a careless grant, refunds orders",
        FILE,
        "    if not pg_has_role(\n        current_user, (\n            select c.relowner\n"
        "            from pg_catalog.pg_class as c\n            where c.oid = tg_relid\n        ), 'usage'\n"
        "    ) then",
        "    if not has_table_privilege(current_user, tg_relid, 'update') then",
        ("test_shops_server_that_was_granted_everything",),
    ),
    Mutant(
        "order-without-its-group",
        "an order may be paid while its group is pending",
        FILE,
        "select g.status = new.status and",
        "select",
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
        "refunded-from-anywhere",
        "an order that nobody paid may become refunded",
        FILE,
        "when new.status = 'refunded' then old.status in ('paid', 'fulfilled', 'shipped', 'delivered')",
        "when new.status = 'refunded' then true",
        (
            "test_frozen.py",
            "test_status_history.py",
        ),
    ),
    Mutant(
        "order-paid-at-another-time",
        "an order may be paid at another time than its group",
        FILE,
        "select g.status = new.status and g.paid_at is not distinct from new.paid_at",
        "select g.status = new.status",
        ("test_what_a_trigger_of_the_shop_writes",),
    ),
    Mutant(
        "order-edit-without-the-groups-lock",
        "who edits an order does not ask whether its group is pending",
        FILE,
        "    perform payments.assert_pending(old.order_group_id,"
        " payments.lock_order_group_of_held_child(old.order_group_id));\n",
        "",
        (FROZEN,),
    ),
    Mutant(
        "order-written-anew-is-a-change",
        "a writer who sets all columns of a settled order to what they are is refused",
        FILE,
        "    if v_stays and v_moves_forward\n        and (new.seller_id",
        "    if v_stays and v_moves_forward and new.status <> old.status\n        and (new.seller_id",
        ("test_writing_a_settled_order_as_it_is_changes_nothing",),
    ),
    Mutant(
        "order-status-written-anew-is-a-step",
        "writing an order's status as it is counts as a step",
        FILE,
        "    if new.status <> old.status then\n",
        "    if true then\n",
        ("test_status_history.py",),
    ),
    Mutant(
        "order-in-another-currency",
        "an order does not bear its group's currency",
        FILE,
        "    select g.currency\n    into new.currency\n",
        "    select 'USD'\n    into new.currency\n",
        ("test_order_bears_its_groups_currency",),
    ),
    Mutant(
        "order-total-unchecked",
        "a new order's total may be one that its currency cannot express",
        FILE,
        "    perform payments.assert_representable(new.total_amount, new.currency);\n    return new;\n",
        "    return new;\n",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "edited-order-total-unchecked",
        "an edited order's total may be one that its currency cannot express",
        FILE,
        "    perform payments.assert_representable(new.total_amount, new.currency);\n    return null;\n",
        "    return null;\n",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "order-payment-without-its-name",
        "an order's payment is put down to the role that called the function",
        FILE,
        "case when v_is_payment then 'reconcile_order_group_payment' else payments.caller() end",
        "payments.caller()",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "steps-of-nobody",
        "the steps of orders are not recorded as the table's owner",
        FILE,
        "create or replace function payments.tg_orders__record_changes()\nreturns trigger\nlanguage plpgsql\n"
        "volatile\nsecurity definer",
        "create or replace function payments.tg_orders__record_changes()\nreturns trigger\nlanguage plpgsql\n"
        "volatile\nsecurity invoker",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "refunded-orders-own-columns-frozen",
        "a shop cannot write columns of its own on refunded orders",
        FILE,
        "for each row when (new.status = 'refunded' and old.status <> 'refunded')",
        "for each row when (new.status = 'refunded')",
        ("test_a_shop_writes_its_own_columns",),
    ),
    Mutant(
        "refunded-group-ships",
        "an order of a refunded group moves on",
        FILE,
        "            select g.status = 'paid'\n",
        "            select g.status in ('paid', 'refunded')\n",
        ("test_order_of_a_refunded_group_goes_nowhere",),
    ),
    Mutant(
        "shop-refunds-an-order",
        "the shop's server refunds an order that was delivered",
        FILE,
        "            where c.oid = tg_relid\n        ), 'usage'\n    ) then\n        raise exception 'order %",
        "            where c.oid = tg_relid\n        ), 'usage'\n    ) and old.status <> 'delivered' then\n"
        "        raise exception 'order %",
        ("test_order_takes_these_steps_and_no_others_by_the_shop_and_by_its_owner",),
    ),
)
