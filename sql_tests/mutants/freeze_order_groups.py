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
        "new.status <> 'pending' and not pg_has_role(",
        "new.status <> 'pending' and not has_table_privilege(tg_relid, 'select') and not pg_has_role(",
        ("test_shop_inserts_pending_groups",),
    ),
    Mutant(
        "granted-all-is-the-owner",
        "whoever was granted the table may start a group as paid",
        FILE,
        "new.status <> 'pending' and not pg_has_role(",
        "new.status <> 'pending' and not has_table_privilege(tg_relid, 'update') and not pg_has_role(",
        ("test_shops_server_that_was_granted_everything",),
    ),
    Mutant(
        "granted-all-pays-by-hand",
        "whoever was granted the table may pay a pending group without a payment",
        FILE,
        "before insert or update of status on public.order_groups",
        "before insert on public.order_groups",
        ("test_shops_server_that_was_granted_everything",),
    ),
    Mutant(
        "cancelled-becomes-refunded",
        "a group that nobody paid may become refunded",
        FILE,
        "(old.status = 'paid' and new.status = 'refunded')",
        "new.status = 'refunded'",
        ("test_group_that_nobody_paid_cannot",),
    ),
    Mutant(
        "another-buyer",
        "a settled group may get another buyer",
        FILE,
        "(new.buyer_id is null or new.buyer_id is not distinct from old.buyer_id)",
        "true",
        (FROZEN,),
    ),
    Mutant(
        "buyer-cannot-leave",
        "an account that has bought cannot be deleted",
        FILE,
        "(new.buyer_id is null or new.buyer_id is not distinct from old.buyer_id)",
        "new.buyer_id is not distinct from old.buyer_id",
        ("test_deleted_buyer_is_forgotten",),
    ),
    Mutant(
        "settled-group-removable",
        "a settled group may be deleted",
        FILE,
        "create trigger order_groups_stay\nbefore delete on public.order_groups\n"
        "for each row when (old.status <> 'pending')\n"
        "execute function payments.tg_order_groups__stay_settled();\n",
        "",
        (
            FROZEN,
            "test_group_without_orders",
        ),
    ),
    Mutant(
        "cancelled-group-changeable",
        "a cancelled group may be changed",
        FILE,
        "(old.status = 'pending' and new.status = 'pending')",
        "new.status in ('pending', 'cancelled')",
        (FROZEN,),
    ),
    Mutant(
        "total-changes-with-the-payment",
        "a trigger of the shop may change a group's total as it is paid",
        FILE,
        "(new.id, new.currency, new.total_amount, new.created_at)\n"
        "                is not distinct from (old.id, old.currency, old.total_amount, old.created_at)",
        "(new.id, new.currency, new.created_at)\n"
        "                is not distinct from (old.id, old.currency, old.created_at)",
        (
            "test_what_a_trigger_of_the_shop_writes",
            FROZEN,
        ),
    ),
    Mutant(
        "pending-becomes-refunded",
        "a pending group may become refunded",
        FILE,
        "(old.status = 'pending' and new.status in ('paid', 'cancelled'))",
        "old.status = 'pending'",
        ("test_group_that_nobody_paid_cannot",),
    ),
    Mutant(
        "yen-have-cents",
        "a total may have decimals that its currency has not",
        FILE,
        "(p_amount * c.minor_per_major) % c.minor_multiple <> 0",
        "p_amount <> p_amount",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "isk-total-has-hundredths",
        "a total may be counted in hundredths that do not exist",
        FILE,
        "% c.minor_multiple <> 0",
        "% 1 <> 0",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "new-total-unchecked",
        "an edited total may be one that its currency cannot express",
        FILE,
        "before insert or update of currency, total_amount on public.order_groups",
        "before insert on public.order_groups",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "group-changes-its-currency",
        "a pending group may get another currency than its orders",
        FILE,
        "if tg_op = 'UPDATE' and new.currency is distinct from old.currency then",
        "if false then",
        ("test_order_bears_its_groups_currency",),
    ),
    Mutant(
        "payment-without-its-name",
        "a payment is put down to the role that called the function",
        FILE,
        "case when v_is_payment then 'reconcile_order_group_payment' else payments.caller() end",
        "payments.caller()",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "group-step-at-another-time",
        "a group's step to paid has another time than its payment",
        FILE,
        "case when v_is_payment then new.paid_at else clock_timestamp() end",
        "clock_timestamp()",
        ("test_payment_has_one_time",),
    ),
    Mutant(
        "every-write-is-a-step",
        "writing a group's status as it is counts as a step",
        FILE,
        "        if new.status <> old.status then\n            v_is_payment",
        "        if true then\n            v_is_payment",
        ("test_status_history.py",),
    ),
    Mutant(
        "settled-created-at-editable",
        "a settled group's created_at may be changed",
        FILE,
        "(new.id, new.currency, new.total_amount, new.created_at)\n"
        "                is not distinct from (old.id, old.currency, old.total_amount, old.created_at)",
        "(new.id, new.currency, new.total_amount)\n"
        "                is not distinct from (old.id, old.currency, old.total_amount)",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-paid-at-editable",
        "a settled group's paid_at may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-webhook-event-id-editable",
        "a settled group's stripe_webhook_event_id may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-webhook-event-created-at-editable",
        "a settled group's stripe_webhook_event_created_at may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-webhook-received-at-editable",
        "a settled group's stripe_webhook_received_at may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-payment-intent-id-editable",
        "a settled group's stripe_payment_intent_id may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-checkout-session-id-editable",
        "a settled group's stripe_checkout_session_id may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_session_metadata\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-session-metadata-editable",
        "a settled group's stripe_session_metadata may be changed",
        FILE,
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id,\n"
        "                            new.stripe_session_metadata\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id,\n"
        "                            old.stripe_session_metadata\n",
        "(\n                            new.paid_at,\n"
        "                            new.stripe_webhook_event_id,\n"
        "                            new.stripe_webhook_event_created_at,\n"
        "                            new.stripe_webhook_received_at,\n"
        "                            new.stripe_payment_intent_id,\n"
        "                            new.stripe_checkout_session_id\n"
        "                        ) is not distinct from (\n                            old.paid_at,\n"
        "                            old.stripe_webhook_event_id,\n"
        "                            old.stripe_webhook_event_created_at,\n"
        "                            old.stripe_webhook_received_at,\n"
        "                            old.stripe_payment_intent_id,\n"
        "                            old.stripe_checkout_session_id\n",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-buyer-found",
        "a settled group of a guest may get a buyer",
        FILE,
        "new.buyer_id is not distinct from old.buyer_id)",
        "old.buyer_id is null or new.buyer_id = old.buyer_id)",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "paid-never-refunded",
        "a paid group cannot be refunded by its owner",
        FILE,
        "(new.status = old.status or (old.status = 'paid' and new.status = 'refunded'))",
        "new.status = old.status",
        ("test_every_column_of_a_settled_group_its_orders_and_items_is_frozen",),
    ),
    Mutant(
        "settled-groups-removed",
        "who owns the tables may remove a cancelled group",
        FILE,
        "for each row when (old.status <> 'pending')",
        "for each row when (old.status <> all ('{pending, cancelled}'))",
        ("test_group_without_orders_is_removed_as_long_as_it_is_pending",),
    ),
)
