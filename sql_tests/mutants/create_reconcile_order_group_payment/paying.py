"""Faults in what a good payment writes."""

from __future__ import annotations

from sql_tests.mutants.killers import FIRST, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_reconcile_order_group_payment"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "orders-not-locked",
        "a payment does not lock its orders in one order",
        FILE,
        "    order by o.id\n    for update;\n",
        "    order by o.id;\n",
        ("test_orders_are_locked_by_id",),
    ),
    Mutant(
        "paid-at-by-the-transaction",
        "a group says that it was paid when the transaction began, before the lock",
        FILE,
        "        status = 'paid',\n        paid_at = p_event.processed_at,\n        stripe_webhook_event_id",
        "        status = 'paid',\n        paid_at = p_event.received_at,\n        stripe_webhook_event_id",
        (FIRST,),
    ),
    Mutant(
        "intent-not-kept",
        "the group does not keep the payment intent that paid it",
        FILE,
        "        stripe_payment_intent_id = p_event.payment_intent_id,\n",
        "        stripe_payment_intent_id = null,\n",
        (FIRST,),
    ),
    Mutant(
        "every-group-paid",
        "one payment pays all pending groups of its session's price",
        FILE,
        "    where g.id = p_event.order_group_id;\n\n    perform",
        "    where g.status = 'pending' and g.total_amount = p_event.amount;\n\n    perform",
        ("test_payment_of_one_group_leaves_other_groups_alone",),
    ),
    Mutant(
        "orders-stay-pending",
        "the orders of a paid group stay pending",
        FILE,
        "    update public.orders as o\n    set\n        status = 'paid',\n        paid_at = p_event.processed_at\n"
        "    where o.order_group_id = p_event.order_group_id;\n",
        "",
        (FIRST,),
    ),
    Mutant(
        "stock-grows-by-sales",
        "a sale adds its quantity to the stock",
        FILE,
        "        -i.quantity,",
        "        i.quantity,",
        (FIRST,),
    ),
    Mutant(
        "one-piece-per-item",
        "a sale takes one piece, whatever the quantity",
        FILE,
        "        -i.quantity,",
        "        -1,",
        (FIRST,),
    ),
    Mutant(
        "ledger-in-any-order",
        "the items of a payment reach the ledger in any order",
        FILE,
        "    where i.order_group_id = p_event.order_group_id\n    order by i.id;",
        "    where i.order_group_id = p_event.order_group_id;",
        (FIRST,),
    ),
    Mutant(
        "uncounted-order",
        "an order that came after the sum may be paid",
        FILE,
        "    if v_is_as_judged is not true then",
        "    if false then",
        ("test_order_that_comes_after_the_sum",),
    ),
    Mutant(
        "counts-swapped",
        "the verdict calls the items orders",
        FILE,
        "'applied', null, p_orders, v_entries)",
        "'applied', null, v_entries, p_orders)",
        (FIRST,),
    ),
    Mutant(
        "payment-itself-callable",
        "what a payment writes is anybody's",
        FILE,
        "revoke execute on function payments.pay(payments.stripe_events, integer)\n"
        "from public, anon, authenticated, service_role;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "total-not-looked-at",
        "the group's total may change while it is paid",
        FILE,
        "            g.total_amount,\n            g.stripe_webhook_event_id",
        "            p_event.amount,\n            g.stripe_webhook_event_id",
        argument="The guard of settled groups, which always runs, refuses another total before this looks again.",
    ),
    Mutant(
        "sum-not-looked-at",
        "the orders' totals may change while they are paid",
        FILE,
        "            o.total_amount,\n            l.entries\n",
        "            p_event.amount,\n            l.entries\n",
        argument="The guard of settled orders, which always runs, refuses another total before this looks again.",
    ),
    *(
        Mutant(name, claim, FILE, search, replace, ("test_what_a_shops_trigger_does",))
        for name, claim, search, replace in (
            (
                "orders-not-looked-at",
                "an order may stay pending while its group is paid",
                "filter (where o.status = 'paid' and o.paid_at = p_event.processed_at)",
                "filter (where true)",
            ),
            (
                "quantities-not-looked-at",
                "the ledger may take another quantity",
                "                and i.quantity = -l.quantity_delta\n",
                "",
            ),
            (
                "entries-not-looked-at",
                "the ledger may miss an item",
                "            p_event.amount,\n            l.items\n",
                "            p_event.amount,\n            l.entries\n",
            ),
        )
    ),
    Mutant(
        "metadata-not-kept-by-the-group",
        "the group does not keep the session's metadata",
        FILE,
        "stripe_session_metadata = p_event.session_metadata",
        "stripe_session_metadata = '{}'",
        ("test_payment_is_kept_whole_in_its_event_its_group_and_the_ledger",),
    ),
)
