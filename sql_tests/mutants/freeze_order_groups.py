"""Faults of the migration freeze_order_groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sql_tests.mutants.killers import FROZEN
from sql_tests.mutants.mutant import Mutant

FILE = "freeze_order_groups"

EVERY_COLUMN = "test_every_column_of_a_settled_group_its_orders_and_items_is_frozen"
BY_A_TRIGGER = "test_no_column_of_a_settled_group_is_changed_by_a_trigger_of_the_shops"
CLAIM_STEPS = "test_settled_group_takes_these_steps_of_its_buyer"
METADATA_ALONE = "test_settled_group_loses_its_metadata_alone"
# What a settled group keeps, and what a payment wrote, as the trigger's function compares them.
KEPT = (
    "id",
    "total_amount",
    "created_at",
    "expires_at",
    "awaiting_funds_since",
    "awaiting_funds_session_id",
    "awaiting_funds_event_id",
    "reserved_product_ids",
)
PAID = (
    "paid_at",
    "stripe_webhook_event_id",
    "stripe_webhook_event_created_at",
    "stripe_webhook_received_at",
    "stripe_payment_intent_id",
    "stripe_checkout_session_id",
)


def editable(columns: Sequence[str], indent: int, *killed_by: str) -> Iterator[Mutant]:
    """For each of the columns a fault that leaves it out of their comparison."""

    def compared(names: Sequence[str]) -> str:
        pad = " " * indent
        rows = [f",\n{pad}    ".join(f"{row}.{name}" for name in names) for row in ("new", "old")]
        return f"(\n{pad}    {rows[0]}\n{pad}) is not distinct from (\n{pad}    {rows[1]}\n{pad})"

    for column in columns:
        yield Mutant(
            f"settled-{column.replace('_', '-')}-editable",
            f"a settled group's {column} may be changed",
            FILE,
            compared(columns),
            compared([name for name in columns if name != column]),
            killed_by,
        )


MUTANTS: tuple[Mutant, ...] = (
    *editable(KEPT, 16, EVERY_COLUMN, BY_A_TRIGGER),
    *editable(PAID, 24, EVERY_COLUMN),
    Mutant(
        "had-no-buyer",
        "a group that is made with a buyer counts as a guest's",
        FILE,
        "new.buyer_since := new.created_at;",
        "new.buyer_since := null;",
        ("test_evidence.py",),
    ),
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
        "                                old.status in ('paid', 'refunded')\n",
        "                                old.status in ('paid', 'cancelled', 'refunded')\n",
        argument="the amount must be that of the group's refunds, and only a group that was paid has any",
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
        "settled-buyer-since-editable",
        "a settled group's buyer_since may be changed",
        FILE,
        "new.buyer_since is not distinct from old.buyer_since\n                        and ",
        "",
        (CLAIM_STEPS,),
    ),
    Mutant(
        "settled-group-never-claimed",
        "a settled group of a guest gets no buyer",
        FILE,
        "and num_nulls(new.buyer_id, new.buyer_since) = 0",
        "and false",
        ("test_guests_group_is_claimed_once",),
    ),
    Mutant(
        "guest-without-buyer-had-one",
        "a settled group of a guest may be told that it had a buyer",
        FILE,
        "and num_nulls(new.buyer_id, new.buyer_since) = 0",
        "and new.buyer_since is not null",
        (CLAIM_STEPS,),
    ),
    Mutant(
        "settled-group-claimed-again",
        "a settled group whose buyer's account was deleted may get another buyer",
        FILE,
        "num_nulls(old.buyer_id, old.buyer_since) = 2",
        "old.buyer_id is null",
        (CLAIM_STEPS,),
    ),
    Mutant(
        "claimed-along-with-a-refund",
        "a group may be claimed and refunded in one go",
        FILE,
        "new.status = old.status\n                        and num_nulls(old",
        "num_nulls(old",
        ("test_claim_and_refund_do_not_come_in_one",),
    ),
    Mutant(
        "settled-session-metadata-editable",
        "a settled group's stripe_session_metadata may be changed",
        FILE,
        "new.stripe_session_metadata is not distinct from old.stripe_session_metadata\n",
        "true\n",
        (EVERY_COLUMN,),
    ),
    Mutant(
        "settled-metadata-emptied-without-a-word",
        "a settled group's metadata may be emptied where another group's were erased",
        FILE,
        "where e.order_group_id = new.id",
        "where true",
        (METADATA_ALONE,),
    ),
    Mutant(
        "settled-metadata-rewritten-on-a-word",
        "a settled group's metadata may be rewritten where they were erased",
        FILE,
        "old.stripe_session_metadata <> '{}' and new.stripe_session_metadata = '{}' then",
        "old.stripe_session_metadata <> '{}' then",
        (METADATA_ALONE,),
    ),
    Mutant(
        "cancelled-group-gets-metadata",
        "an erasure gives metadata, empty ones, to a group that had none",
        FILE,
        "old.stripe_session_metadata <> '{}' and new.stripe_session_metadata = '{}' then",
        "new.stripe_session_metadata = '{}' then",
        ("test_cancelled_group_gets_no_metadata",),
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
        "pending-becomes-refunded",
        "a pending group may become refunded",
        FILE,
        "(old.status = 'pending' and new.status in ('paid', 'cancelled'))",
        "old.status = 'pending'",
        ("test_pending_group_cannot_become_refunded",),
    ),
    Mutant(
        "yen-have-cents",
        "a total may have decimals that its currency has not",
        FILE,
        "(p_amount * p_currency.minor_per_major) % p_currency.minor_multiple = 0",
        "true",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "isk-total-has-hundredths",
        "a total may be counted in hundredths that do not exist",
        FILE,
        "% p_currency.minor_multiple = 0",
        "% 1 = 0",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "new-total-unchecked",
        "an edited total may be one that its currency cannot express",
        FILE,
        "new.currency is distinct from old.currency or new.total_amount is distinct from old.total_amount",
        "new.currency is distinct from old.currency",
        ("test_total_that_its_currency_cannot_express",),
    ),
    Mutant(
        "triggers-total-unchecked",
        "a total that a shop's trigger writes is not looked at",
        FILE,
        "after update on public.order_groups\nfor each row when (new.currency",
        "after update of currency, total_amount on public.order_groups\nfor each row when (new.currency",
        ("test_what_a_shops_trigger_makes_of_a_pending_group",),
    ),
    Mutant(
        "currency-of-a-trigger-unchecked",
        "a currency that a shop's trigger writes is not looked at",
        FILE,
        "new.currency is distinct from old.currency or new.total_amount is distinct from old.total_amount",
        "new.total_amount is distinct from old.total_amount",
        (BY_A_TRIGGER,),
    ),
    Mutant(
        "group-changes-its-currency",
        "a group may get another currency",
        FILE,
        "if tg_op = 'UPDATE' and new.currency is distinct from old.currency then",
        "if false then",
        ("test_order_bears_its_groups_currency",),
    ),
    Mutant(
        "payment-without-its-name",
        "a payment is put down to the role that called the function",
        FILE,
        "                    when v_is_payment then 'reconcile_order_group_payment'\n",
        "",
        ("test_each_step_is_one_row",),
    ),
    Mutant(
        "refund-without-its-name",
        "a refund is put down to the role that called the function",
        FILE,
        "                    when old.status <> 'pending' then 'record_refund'\n",
        "",
        ("test_order_that_was_given_up_before",),
    ),
    Mutant(
        "refunded-amount-by-hand",
        "the owner may write what went back as the owner likes",
        FILE,
        "        v_is_refund := new.refunded_amount = (",
        "        v_is_refund := new.refunded_amount is distinct from (",
        ("test_owner_writes_no_refunded_amount",),
    ),
    Mutant(
        "set-aside-refunds-count-for-the-guard",
        "the guard counts refunds that were set aside",
        FILE,
        "r.order_group_id = new.id and r.status = 'succeeded' and r.set_aside_reason is null",
        "r.order_group_id = new.id and r.status = 'succeeded'",
        ("test_refund_and_dispute_that_disagree",),
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
        "                                and new.status in ('paid', 'refunded')\n",
        "                                and new.status = old.status\n",
        ("test_order_that_was_given_up_before",),
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
