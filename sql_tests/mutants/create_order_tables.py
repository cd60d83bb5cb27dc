"""Faults of the migration create_order_tables."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_order_tables"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "unknown-currency",
        "a group may be in a currency that Stripe does not know",
        FILE,
        "    constraint order_groups_currency_fkey foreign key (currency) references payments.currencies (code),\n",
        "",
        ("test_currencies_that_stripe_does_not_know",),
    ),
    Mutant(
        "group-total-negative",
        "a group's total may be negative",
        FILE,
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, ",
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[-1, ",
        ("test_totals_that_no_currency_can_express",),
    ),
    Mutant(
        "group-total-unbounded",
        "a group's total may be NaN or infinite",
        FILE,
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0,)'",
        ("test_totals_that_no_currency_can_express",),
    ),
    Mutant(
        "order-total-negative",
        "an order's total may be negative",
        FILE,
        "orders_total_amount_is_money_check check (\n        total_amount <@ '[0, ",
        "orders_total_amount_is_money_check check (\n        total_amount <@ '[-1, ",
        ("orders_total_amount_is_money_check",),
    ),
    Mutant(
        "unit-amount-too-fine",
        "an item's price may have four decimals",
        FILE,
        "min_scale(unit_amount) <= 3",
        "min_scale(unit_amount) <= 4",
        ("order_items_unit_amount_is_money_check",),
    ),
    Mutant(
        "group-status-unknown",
        "a group may have a status that nobody knows",
        FILE,
        "'{pending, paid, cancelled, refunded}'",
        "'{pending, paid, cancelled, refunded, draft}'",
        ("order_groups_status_is_known_check",),
    ),
    Mutant(
        "paid-without-a-payment",
        "a group may be paid without saying by which session",
        FILE,
        "            and stripe_webhook_event_id is not null\n            and stripe_checkout_session_id is not null\n",
        "            and stripe_webhook_event_id is not null\n",
        ("order_groups_paid_has_its_payment_check",),
    ),
    Mutant(
        "pending-with-a-payment",
        "a pending group may already have a payment intent",
        FILE,
        "            paid_at, stripe_webhook_event_id, stripe_payment_intent_id, stripe_checkout_session_id\n",
        "            paid_at, stripe_webhook_event_id, stripe_checkout_session_id\n",
        ("order_groups_unpaid_has_no_payment_check",),
    ),
    Mutant(
        "event-pays-two-groups",
        "two groups may be paid by one event",
        FILE,
        "    constraint order_groups_stripe_webhook_event_id_key unique (stripe_webhook_event_id),\n",
        "",
        ("order_groups_stripe_webhook_event_id_key",),
    ),
    Mutant(
        "paid-order-without-its-time",
        "a paid order need not say when",
        FILE,
        "status <> all('{paid, fulfilled, shipped, delivered}')",
        "status <> all('{fulfilled, shipped, delivered}')",
        ("orders_paid_has_its_time_check",),
    ),
    Mutant(
        "quantity-zero",
        "an item may have the quantity zero",
        FILE,
        "check (quantity > 0)",
        "check (quantity >= 0)",
        ("order_items_quantity_is_positive_check",),
    ),
    Mutant(
        "orders-go-with-their-group",
        "who removes a group removes its orders without a word",
        FILE,
        "foreign key (order_group_id) references public.order_groups (id) on delete restrict",
        "foreign key (order_group_id) references public.order_groups (id) on delete cascade",
        ("orders_order_group_id_fkey",),
    ),
    Mutant(
        "groups-go-with-their-buyer",
        "who deletes an account removes its order groups",
        FILE,
        "references auth.users (id) on delete set null",
        "references auth.users (id) on delete cascade",
        ("test_deleted_buyer_is_forgotten",),
    ),
    Mutant(
        "sessions-index-missing",
        "the sweep reads all groups to find a few sessions",
        FILE,
        "create index order_groups_stripe_checkout_session_id_idx\n"
        "on public.order_groups (stripe_checkout_session_id) where stripe_checkout_session_id is not null;\n",
        "",
        ("test_groups_are_found_by_their_sessions",),
    ),
    Mutant(
        "items-index-missing",
        "finding a group's items reads all items",
        FILE,
        "create index order_items_order_group_id_idx on public.order_items (order_group_id);\n",
        "",
        ("a new event",),
    ),
    Mutant(
        "groups-without-policies",
        "row level security of the order groups is off",
        FILE,
        "alter table public.order_groups enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "items-without-policies",
        "row level security of the items is off",
        FILE,
        "alter table public.order_items enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "groups-unrevoked",
        "older projects' automatic grants on the order groups stay",
        FILE,
        "revoke all on table public.order_groups from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "payment-column-writable",
        "a leaked key may insert a group with the time of a payment",
        FILE,
        "grant insert (id, buyer_id, currency, total_amount, status) on table public.order_groups",
        "grant insert (id, buyer_id, currency, total_amount, status, paid_at) on table public.order_groups",
        ("test_leaked_service_key_cannot_rewrite_history",),
    ),
    Mutant(
        "order-total-writable",
        "a leaked key may change an order's total",
        FILE,
        "grant update (status) on table public.orders to service_role;",
        "grant update (status, total_amount) on table public.orders to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "order-status-unwritable",
        "the shop cannot move an order's status forward",
        FILE,
        "grant update (status) on table public.orders to service_role;\n",
        "",
        ("test_replay_after_fulfilment",),
    ),
    Mutant(
        "groups-of-guests",
        "who has no id sees the groups of all guests",
        FILE,
        "using (buyer_id = (select auth.uid()));",
        "using (buyer_id is not distinct from (select auth.uid()));",
        ("test_user_without_an_id_sees_nothing",),
    ),
    Mutant(
        "groups-of-everybody",
        "everybody sees all order groups",
        FILE,
        "using (buyer_id = (select auth.uid()));",
        "using (true);",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "orders-of-every-buyer",
        "the policy of the orders leaves whose groups they are to the policy of the groups",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where (select auth.uid()) is not null\n",
        (HEALTHY,),
    ),
    Mutant(
        "orders-of-no-member",
        "a seller's member does not see the seller's orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id is null\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "orders-of-all-sellers",
        "a member sees every seller's orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n    ))\n    or order_group_id = any(array(\n"
        "        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        (HEALTHY,),
    ),
    Mutant(
        "items-of-everybody",
        "everybody sees all items",
        FILE,
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    true or seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "items-of-no-buyer",
        "a buyer does not see the items of their orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id is null\n",
        ("test_buyer_sees_their_own_group",),
    ),
    Mutant(
        "buyers-list-unordered",
        "a buyer's groups are read whole for the newest of them",
        FILE,
        "on public.order_groups (buyer_id, created_at desc) include (id);",
        "on public.order_groups (buyer_id) include (id);",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "sellers-list-unordered",
        "a seller's orders are read whole for the newest of them",
        FILE,
        "on public.orders (seller_id, created_at desc);",
        "on public.orders (seller_id);",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "policies-let-nothing-through",
        "the planner takes the policies for so strict that it fetches all orders for a page of twenty",
        FILE,
        "alter table public.orders alter column seller_id set (n_distinct = 300);\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "fulfilment-reads-all-orders",
        "what waits to be fulfilled has no index",
        FILE,
        "create index orders_to_fulfil_paid_at_idx on public.orders (paid_at) where status = 'paid';\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "pending-reads-all-groups",
        "pending groups by age have no index",
        FILE,
        "create index order_groups_pending_created_at_idx on public.order_groups (created_at) where "
        "status = 'pending';\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "paid-at-reads-all-groups",
        "groups by the time of payment have no index",
        FILE,
        "create index order_groups_paid_at_idx on public.order_groups (paid_at) where paid_at is not null;\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "intent-reads-all-groups",
        "a group is not found by its payment intent",
        FILE,
        "create index order_groups_stripe_payment_intent_id_idx\n"
        "on public.order_groups (stripe_payment_intent_id) where stripe_payment_intent_id is not null;\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "item-of-another-seller",
        "an item may be another seller's product",
        FILE,
        "    foreign key (product_id, seller_id) references public.products (id, seller_id) on delete restrict,\n",
        "    foreign key (product_id) references public.products (id) on delete restrict,\n",
        ("test_product_of_another_seller",),
    ),
    Mutant(
        "item-of-another-group",
        "an item may bear another group than its order",
        FILE,
        "    foreign key (order_id, order_group_id, seller_id)\n"
        "    references public.orders (id, order_group_id, seller_id) on delete restrict,\n",
        "    foreign key (order_id) references public.orders (id) on delete restrict,\n",
        ("order_items_order_id_fkey",),
    ),
    Mutant(
        "sku-unwritable",
        "a shop cannot say what it sold under which number",
        FILE,
        "quantity, unit_amount, sku, title) on table public.order_items",
        "quantity, unit_amount, title) on table public.order_items",
        (MATRIX,),
    ),
)
